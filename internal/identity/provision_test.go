package identity_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern"
	"postern/internal/identity"
)

func person(name, subject string, groups ...string) postern.Identity {
	return postern.Identity{
		Name: name, Kind: postern.User, Subject: subject, Email: name + "@example.com", Groups: groups, Claims: postern.Claims{"dept": "7"},
	}
}

// A person of a provider has an account from their first sign-in on, and keeps
// it: by subject, whatever they call themselves later.
func TestSignIn(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	got := must(h.SignIn(ctx, person("alice", "corp:1", "eng", "dba", "eng")))(t)
	if got.Name != "alice" || got.Subject != "corp:1" || got.Email != "alice@example.com" || got.Claims["dept"] != "7" || !slices.Equal(got.Groups, []string{"dba", "eng"}) {
		t.Errorf("%+v", got)
	}
	h.advance(time.Hour)
	got = must(h.SignIn(ctx, person("admin", "corp:1", "eng")))(t)
	if got.Name != "alice" || !slices.Equal(got.Groups, []string{"eng"}) {
		t.Errorf("after a rename at the provider: %+v", got)
	}
	a := must(h.AccountBySubject(ctx, "corp:1"))(t)
	if a.Name != "alice" || a.Source != "provider corp" || !a.LoginAt.Equal(h.clock()) || a.CreatedAt.Equal(a.LoginAt) {
		t.Errorf("%+v", a)
	}
	if all := must(h.Accounts(ctx))(t); len(all) != 1 {
		t.Errorf("accounts: %+v", all)
	}
}

// What was minted for a person of a provider stands and falls with their
// account, as a local user's does.
func TestPeopleStandWithTheirAccount(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	id := must(h.SignIn(ctx, person("alice", "corp:1", "eng")))(t)
	login, _, err := h.MintLogin(ctx, id)
	ok(t, err)
	secret, _ := h.session(id, "db")
	adm := must(h.admit("alice", "db", secret))(t)
	h.opened(adm)

	must(h.SignIn(ctx, person("alice", "corp:1", "eng")))(t)
	if h.liveIDs() != 1 {
		t.Error("signing in again with the same groups ended a session")
	}
	must(h.SignIn(ctx, person("alice", "corp:1", "dba")))(t)
	if h.liveIDs() != 0 || !strings.Contains(h.why[0], "groups were changed") {
		t.Errorf("live with the groups of yesterday: %v", h.why)
	}
	is(t, h.Still(ctx, adm), identity.ErrUnauthenticated, "groups")
	if again := must(h.AuthenticateBearer(ctx, login))(t); !slices.Equal(again.Groups, []string{"dba"}) {
		t.Errorf("groups of today: %v", again.Groups)
	}
	h.opened(must(h.admit("alice", "db", secret))(t))
	must(h.Disable(ctx, postern.User, "alice"))(t)
	if h.liveIDs() != 0 {
		t.Error("live while disabled")
	}
	_, err = h.AuthenticateBearer(ctx, login)
	is(t, err, identity.ErrUnauthenticated, "disabled")
	_, err = h.SignIn(ctx, person("alice", "corp:1", "eng"))
	is(t, err, identity.ErrUnauthenticated, "disabled")
	must(h.Enable(ctx, postern.User, "alice"))(t)
	must(h.SignIn(ctx, person("alice", "corp:1", "eng")))(t)

	ok(t, h.Delete(ctx, postern.User, "alice"))
	_, _, err = h.MintLogin(ctx, id)
	is(t, err, identity.ErrUnauthenticated, "no account")
	_, _, err = h.MintLogin(ctx, person("nobody", "corp:9"))
	is(t, err, identity.ErrUnauthenticated, "no account")
}

// A name is one person's: nobody gets another's by calling themselves so.
func TestNamesAreTaken(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	must(h.PutUser(ctx, "root", []string{"admins"}, postern.Secret{}))(t)
	first := must(h.SignIn(ctx, person("alice", "corp:1", "eng")))(t)
	for _, id := range []postern.Identity{
		person("root", "corp:2"), person("ROOT", "corp:2"), person("alice", "corp:2"), person("Alice", "corp:2"), person("alice", "other:1"),
	} {
		_, err := h.SignIn(ctx, id)
		is(t, err, identity.ErrTaken, "user:")
		_, err = h.Provision(ctx, id)
		is(t, err, identity.ErrTaken, "user:")
	}
	_, err := h.PutUser(ctx, "alice", []string{"admins"}, postern.NewSecret("correct horse"))
	is(t, err, identity.ErrTaken, "provider")
	err = h.Declare(ctx, []postern.Account{{Name: "alice", Kind: postern.User, Groups: []string{"admins"}, Source: "postern.yaml:3"}})
	is(t, err, identity.ErrTaken, "another name")

	// Deleted and taken by another, the name doesn't bring the first one's tokens back to life.
	secret, _ := h.session(first, "db")
	adm := must(h.admit("alice", "db", secret))(t)
	ok(t, h.Delete(ctx, postern.User, "alice"))
	must(h.SignIn(ctx, person("alice", "corp:2", "eng")))(t)
	_, err = h.admit("alice", "db", secret)
	is(t, err, identity.ErrUnauthenticated, "")
	is(t, h.Still(ctx, adm), identity.ErrUnauthenticated, "")
	_, _, err = h.MintSession(ctx, first, identity.SessionTerms{Resource: "db"})
	is(t, err, identity.ErrUnauthenticated, "another subject")
	local := postern.Identity{Name: "alice", Kind: postern.User}
	_, _, err = h.MintSession(ctx, local, identity.SessionTerms{Resource: "db"})
	is(t, err, identity.ErrUnauthenticated, "another subject")
}

// A directory tells of people before they sign in, and has the last word over
// their groups from then on.
func TestProvision(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	must(h.Provision(ctx, person("alice", "corp:", "eng")))(t)
	_, err := h.SignIn(ctx, person("alice", "other:1"))
	is(t, err, identity.ErrTaken, "provider corp")
	got := must(h.SignIn(ctx, person("alice", "corp:1", "admins")))(t)
	if got.Subject != "corp:1" || !slices.Equal(got.Groups, []string{"eng"}) {
		t.Errorf("%+v", got)
	}
	_, err = h.SignIn(ctx, person("alice", "corp:2"))
	is(t, err, identity.ErrTaken, "another person")
	a := must(h.Provision(ctx, person("alice", "corp:", "dba")))(t)
	if a.Subject != "corp:1" || a.Source != "directory corp" || !slices.Equal(a.Groups, []string{"dba"}) {
		t.Errorf("%+v", a)
	}
	must(h.Disable(ctx, postern.User, "alice"))(t)
	if a = must(h.Provision(ctx, person("alice", "corp:1", "dba")))(t); !a.Disabled {
		t.Error("a directory's update enabled an account")
	}
	must(h.SignIn(ctx, person("bob", "corp:3", "eng")))(t)
	if a = must(h.Provision(ctx, person("bob", "corp:", "ops")))(t); a.Subject != "corp:3" || a.Groups[0] != "ops" {
		t.Errorf("%+v", a)
	}
	ok(t, h.Declare(ctx, nil)) // no file speaks of them
	if a = must(h.Account(ctx, postern.User, "bob"))(t); a.Disabled {
		t.Error("disabled for being in no file")
	}
}

func TestBadPeople(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	robot := person("robot", "corp:1")
	robot.Kind = postern.Service
	acting := person("alice", "corp:1")
	acting.Actor = &robot
	long := person("alice", "corp:1", make([]string, 1001)...)
	for i := range long.Groups {
		long.Groups[i] = strings.Repeat("g", i%100+1) + string(rune('0'+i/100))
	}
	mail := person("alice", "corp:1")
	mail.Email = "Alice <alice@example.com>"
	for _, id := range []postern.Identity{
		robot, acting, long, mail, person("alice", ""), person("alice", "corp"), person("alice", "local:alice"), person("alice", ":1"),
		person("alice", "Corp:1"), person("alice", "a b:1"), person("alice", "corp:"+strings.Repeat("x", 256)), person("alice", "corp:\x00"),
		person("postern", "corp:1"), person("a b", "corp:1"), person("", "corp:1"), person("alice", "corp:1", " eng"), person("alice", "corp:1", "a\nb"),
	} {
		if _, err := h.SignIn(ctx, id); err == nil {
			t.Errorf("%+v signed in", id)
		}
	}
	_, err := h.SignIn(ctx, person("alice", "corp:"))
	if err == nil {
		t.Error("nobody signed in")
	}
	many := person("alice", "corp:1")
	for i := range 300 {
		many.Groups = append(many.Groups, strings.Repeat("g", i%100+1)+string(rune('0'+i/100)))
	}
	must(h.SignIn(ctx, many))(t)
}

// However many sign-ins of one new person race, there is one account.
func TestSignInRaced(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := h.SignIn(ctx, person(strings.Repeat("a", i+1), "corp:1")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if all := must(h.Accounts(ctx))(t); len(all) != 1 {
		t.Errorf("accounts: %+v", all)
	}
}
