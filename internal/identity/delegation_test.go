package identity_test

import (
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/identity"
)

func (h *house) person(name string, groups ...string) postern.Identity {
	h.t.Helper()
	must(h.PutUser(h.t.Context(), name, groups, postern.NewSecret("correct horse")))(h.t)
	return postern.Identity{Name: name, Kind: postern.User, Subject: "local:" + name, Groups: groups}
}

func TestDelegation(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	alice := h.person("alice", "eng")
	bot, _ := h.service("bot", "bots")
	other, _ := h.service("other")
	dg := must(h.Delegate(ctx, alice, identity.Consent{
		Actor: postern.Identity{Kind: postern.Service, Name: "bot"}, Resources: []string{"db"}, Verbs: []string{"select"}, RowsPerHour: 10, TTL: time.Hour,
	}))(t)
	secret, tk, err := h.MintDelegated(ctx, dg.ID, bot, identity.SessionTerms{Resource: "db"})
	ok(t, err)
	adm := must(h.admit("alice", "db", secret))(t)
	id := adm.Identity
	if id.Name != "alice" || id.ActorName() != "bot" || id.Actor.Groups[0] != "bots" || id.Groups[0] != "eng" || id.Scope == nil ||
		id.Scope.Delegation != dg.ID || id.Scope.Resources[0] != "db" || id.Scope.Verbs[0] != "select" || id.Scope.RowsPerHour != 10 {
		t.Errorf("%+v, scope %+v", id, id.Scope)
	}
	for says, by := range map[string]postern.Identity{"another actor": other, "for another": alice, "pass that on": id} {
		_, _, err := h.MintDelegated(ctx, dg.ID, by, identity.SessionTerms{Resource: "db"})
		is(t, err, identity.ErrUnauthenticated, says)
	}
	for says, id := range map[string]string{"no delegation of that id": "dg_00", "is no delegation": tk.ID, "no delegation of": ""} {
		_, _, err := h.MintDelegated(ctx, id, bot, identity.SessionTerms{Resource: "db"})
		is(t, err, identity.ErrUnauthenticated, says)
	}
	// The consent itself is no credential.
	_, err = h.admit("alice", "db", postern.NewSecret(dg.ID))
	is(t, err, identity.ErrUnauthenticated, "unknown")
	_, err = h.Admit(ctx, postern.Credential{User: "alice", Resource: "db", Proof: postern.Proof{Token: dg.ID}})
	is(t, err, identity.ErrUnauthenticated, "is no session token")
	_, err = h.Admit(ctx, postern.Credential{User: "alice", Resource: "db", Proof: postern.Proof{Certificate: dg.ID}})
	is(t, err, identity.ErrUnauthenticated, "is no certificate")

	// Ending it ends what came of it, and what is open.
	h.opened(adm)
	ok(t, h.RevokeToken(ctx, dg.ID))
	if h.liveIDs() != 0 {
		t.Error("a session of an ended delegation lives")
	}
	_, err = h.admit("alice", "db", secret)
	is(t, err, identity.ErrUnauthenticated, "revoked")
	_, _, err = h.MintDelegated(ctx, dg.ID, bot, identity.SessionTerms{Resource: "db"})
	is(t, err, identity.ErrUnauthenticated, "revoked")
}

// A delegation is worth nothing once either of the two is.
func TestDelegationEndsWithEither(t *testing.T) {
	for what, end := range map[string]func(*house){
		"the person": func(h *house) { must(h.Disable(h.t.Context(), postern.User, "alice"))(h.t) },
		"the actor":  func(h *house) { must(h.Disable(h.t.Context(), postern.Service, "bot"))(h.t) },
		"its time":   func(h *house) { h.advance(2 * time.Hour) },
	} {
		t.Run(what, func(t *testing.T) {
			ctx, h := t.Context(), newHouse(t)
			alice := h.person("alice")
			bot, _ := h.service("bot")
			dg := must(h.Delegate(ctx, alice, identity.Consent{Actor: bot, Resources: []string{"db"}, TTL: time.Hour}))(t)
			secret, tk, err := h.MintDelegated(ctx, dg.ID, bot, identity.SessionTerms{Resource: "db", TTL: 10 * time.Hour})
			ok(t, err)
			if !tk.ExpiresAt.Equal(dg.ExpiresAt) {
				t.Errorf("the token outlives the consent: %v, %v", tk.ExpiresAt, dg.ExpiresAt)
			}
			must(h.admit("alice", "db", secret))(t)
			end(h)
			_, err = h.admit("alice", "db", secret)
			is(t, err, identity.ErrUnauthenticated, "")
			_, _, err = h.MintDelegated(ctx, dg.ID, bot, identity.SessionTerms{Resource: "db"})
			is(t, err, identity.ErrUnauthenticated, "")
		})
	}
}

func TestConsentsRefused(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	alice := h.person("alice")
	bot, _ := h.service("bot")
	acting := alice
	acting.Actor = &bot
	good := identity.Consent{Actor: bot, Resources: []string{"db"}}
	_, err := h.Delegate(ctx, acting, good)
	is(t, err, identity.ErrInvalid, "in their name")
	_, err = h.Delegate(ctx, alice, identity.Consent{Actor: postern.Identity{Kind: postern.Service, Name: "ghost"}, Resources: []string{"db"}})
	is(t, err, identity.ErrUnauthenticated, "no account")
	for says, change := range map[string]func(*identity.Consent){
		"who is to act":      func(c *identity.Consent) { c.Actor.Name = "" },
		"service:NAME":       func(c *identity.Consent) { c.Actor.Kind = "group" },
		"for themselves":     func(c *identity.Consent) { c.Actor = alice },
		"1 to 100 resources": func(c *identity.Consent) { c.Resources = nil },
		"a resource's name":  func(c *identity.Consent) { c.Resources = []string{""} },
		"verbs are words":    func(c *identity.Consent) { c.Verbs = []string{"select;"} },
		"rows per hour":      func(c *identity.Consent) { c.RowsPerHour = -1 },
		"at most 31 days":    func(c *identity.Consent) { c.TTL = 32 * 24 * time.Hour },
		"a comment has":      func(c *identity.Consent) { c.Comment = strings.Repeat("a", 200) },
	} {
		c := good
		change(&c)
		_, err := h.Delegate(ctx, alice, c)
		is(t, err, identity.ErrInvalid, says)
	}
}

// A delegation is made to outlast the login in which it is granted.
func TestDelegationOutlastsLogin(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	login := must(h.StartLogin(ctx, postern.CLILogin, identity.Vouched{Identity: h.person("alice")}, identity.Where{}))(t)
	alice := must(h.AuthenticateBearer(ctx, login.Token))(t)
	bot, _ := h.service("bot")
	dg := must(h.Delegate(ctx, alice, identity.Consent{Actor: bot, Resources: []string{"db"}}))(t)
	ok(t, h.EndLogin(ctx, login.Record.ID, "its person signed out"))
	secret, _, err := h.MintDelegated(ctx, dg.ID, bot, identity.SessionTerms{Resource: "db"})
	ok(t, err)
	must(h.admit("alice", "db", secret))(t)
}
