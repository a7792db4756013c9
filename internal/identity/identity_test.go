package identity_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern"
	"postern/internal/identity"
	"postern/internal/store"
	"postern/internal/vault"
)

// house is a service over a real store, with a clock and a list of live sessions.
type house struct {
	*identity.Service
	t    *testing.T
	db   *store.DB
	dir  string
	now  atomic.Int64
	mu   sync.Mutex
	live []postern.SessionInfo
	why  []string
	// reclaimed are the claims that live sessions were told of, by login.
	reclaimed map[string]postern.Claims
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), reclaimed: map[string]postern.Claims{}}
	h.now.Store(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	db, err := store.Open(t.Context(), "sqlite", h.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	h.db = db
	v, err := vault.Open(h.dir, postern.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	h.Service, err = identity.New(identity.Config{Store: db, Now: h.clock, End: h.end, Seal: v.Seal, Unseal: v.Unseal})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) clock() time.Time        { return time.Unix(0, h.now.Load()) }
func (h *house) advance(d time.Duration) { h.now.Add(int64(d)) }

func (h *house) reclaim(login string, claims postern.Claims) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reclaimed[login] = claims
}

func (h *house) end(_ time.Time, reason string, match func(postern.SessionInfo) bool) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := len(h.live)
	h.live = slices.DeleteFunc(h.live, match)
	if ended := before - len(h.live); ended > 0 {
		h.why = append(h.why, reason)
		return ended
	}
	return 0
}

// opened lists a session as live, as the gate would after Admit.
func (h *house) opened(adm postern.Admission) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live = append(h.live, postern.SessionInfo{
		ID: "ss_" + adm.Token, Identity: adm.Identity.Name, Kind: adm.Identity.Kind, Actor: adm.Identity.ActorName(), Token: adm.Token, Login: adm.Identity.Login,
	})
}

func (h *house) liveIDs() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.live)
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Fatalf("got %v, want %v that says %q", err, want, says)
	}
}

func (h *house) service(name string, groups ...string) (postern.Identity, postern.Secret) {
	h.t.Helper()
	_, key, err := h.CreateServiceAccount(h.t.Context(), name, groups)
	ok(h.t, err)
	return must(h.AuthenticateBearer(h.t.Context(), key))(h.t), key
}

func (h *house) session(id postern.Identity, resource string) (postern.Secret, postern.Token) {
	h.t.Helper()
	secret, tk, err := h.MintSession(h.t.Context(), id, identity.SessionTerms{Resource: resource})
	ok(h.t, err)
	return secret, tk
}

func (h *house) admit(user, resource string, secret postern.Secret) (postern.Admission, error) {
	return h.Admit(h.t.Context(), postern.Credential{User: user, Secret: secret, Resource: resource, Protocol: "postgres"})
}

func TestServiceKey(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	a, key, err := h.CreateServiceAccount(ctx, "ci", []string{"b", "a"})
	ok(t, err)
	if !strings.HasPrefix(key.Reveal(), "postern_sk_") || len(key.Reveal()) != 57 {
		t.Errorf("a key of %d characters", len(key.Reveal()))
	}
	id := must(h.AuthenticateBearer(ctx, key))(t)
	if id.Name != "ci" || id.Kind != postern.Service || !slices.Equal(id.Groups, []string{"a", "b"}) || !id.Expires.IsZero() {
		t.Errorf("%+v", id)
	}
	if a.SecretHash == key.Reveal() || a.Source != "api" || !a.CreatedAt.Equal(h.clock()) {
		t.Errorf("%+v", a)
	}
	_, _, err = h.CreateServiceAccount(ctx, "ci", nil)
	is(t, err, identity.ErrExists, "service:ci")

	rotated, second, err := h.RotateKey(ctx, "ci")
	ok(t, err)
	if !rotated.RotatedAt.Equal(h.clock()) {
		t.Errorf("%+v", rotated)
	}
	_, err = h.AuthenticateBearer(ctx, key)
	is(t, err, identity.ErrUnauthenticated, "unknown")
	must(h.AuthenticateBearer(ctx, second))(t)
	must(h.Disable(ctx, postern.Service, "ci"))(t)
	_, err = h.AuthenticateBearer(ctx, second)
	is(t, err, identity.ErrUnauthenticated, "disabled")
	must(h.Enable(ctx, postern.Service, "ci"))(t)
	must(h.AuthenticateBearer(ctx, second))(t)
	ok(t, h.Delete(ctx, postern.Service, "ci"))
	_, err = h.AuthenticateBearer(ctx, second)
	is(t, err, identity.ErrUnauthenticated, "unknown")
}

func TestBadBearer(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	id, _ := h.service("ci")
	secret, tk := h.session(id, "db")
	_, err := h.AuthenticateBearer(ctx, secret)
	is(t, err, identity.ErrUnauthenticated, "doesn't call the API")
	// What is kept in the store opens nothing.
	_, err = h.AuthenticateBearer(ctx, postern.NewSecret(tk.Hash))
	is(t, err, identity.ErrUnauthenticated, "unknown")
	for _, text := range []string{"", "x", "postern_sk_", strings.Repeat("x", 5000)} {
		_, err = h.AuthenticateBearer(ctx, postern.NewSecret(text))
		is(t, err, identity.ErrUnauthenticated, "")
	}
}

func TestLogin(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	must(h.PutUser(ctx, "alice", []string{"eng"}, postern.NewSecret("correct horse")))(t)
	home := netip.MustParseAddr("192.0.2.1")
	id := must(h.AuthenticatePassword(ctx, "alice", postern.NewSecret("correct horse"), home))(t)
	secret, tk, err := h.MintLogin(ctx, id)
	ok(t, err)
	if !strings.HasPrefix(secret.Reveal(), "postern_lt_") || tk.ExpiresAt.Sub(tk.CreatedAt) != 12*time.Hour {
		t.Errorf("%+v", tk)
	}
	got := must(h.AuthenticateBearer(ctx, secret))(t)
	if got.Name != "alice" || got.Kind != postern.User || !got.Expires.Equal(tk.ExpiresAt) {
		t.Errorf("%+v", got)
	}
	_, err = h.admit("alice", "db", secret)
	is(t, err, identity.ErrUnauthenticated, "no session token")

	// What comes of a login ends with it.
	h.advance(11 * time.Hour)
	_, st, err := h.MintSession(ctx, got, identity.SessionTerms{Resource: "db", TTL: 12 * time.Hour})
	ok(t, err)
	if !st.ExpiresAt.Equal(tk.ExpiresAt) {
		t.Errorf("a session token outlives its login: %v, %v", st.ExpiresAt, tk.ExpiresAt)
	}
	_, again, err := h.MintLogin(ctx, got)
	ok(t, err)
	if !again.ExpiresAt.Equal(tk.ExpiresAt) {
		t.Error("a login prolonged itself")
	}
	h.advance(time.Hour)
	_, err = h.AuthenticateBearer(ctx, secret)
	is(t, err, identity.ErrUnauthenticated, "expired")
	_, _, err = h.MintSession(ctx, got, identity.SessionTerms{Resource: "db"})
	is(t, err, identity.ErrUnauthenticated, "expired")
}

func TestLogout(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	id, key := h.service("ci")
	secret, _, err := h.MintLogin(ctx, id)
	ok(t, err)
	ok(t, h.Logout(ctx, secret))
	_, err = h.AuthenticateBearer(ctx, secret)
	is(t, err, identity.ErrUnauthenticated, "revoked")
	ok(t, h.Logout(ctx, secret))
	ok(t, h.Logout(ctx, key))
	must(h.AuthenticateBearer(ctx, key))(t) // a key is no login
}

func TestAdmit(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	id, key := h.service("ci", "g")
	secret, tk := h.session(id, "db")
	if !strings.HasPrefix(secret.Reveal(), "postern_st_") || tk.ExpiresAt.Sub(tk.CreatedAt) != 15*time.Minute || tk.ID == "" {
		t.Errorf("%+v", tk)
	}
	for _, user := range []string{"ci", "postern"} {
		adm := must(h.admit(user, "db", secret))(t)
		if adm.Identity.Name != "ci" || adm.Token != tk.ID || adm.Resource != "db" || !adm.Until.Equal(tk.ExpiresAt) {
			t.Errorf("%+v", adm)
		}
		ok(t, h.Still(ctx, adm))
	}
	refused := func(user, resource string, secret postern.Secret, says string) {
		t.Helper()
		adm, err := h.admit(user, resource, secret)
		is(t, err, identity.ErrUnauthenticated, says)
		if strings.Contains(err.Error(), secret.Reveal()) && !secret.IsZero() {
			t.Error("the error holds the token")
		}
		if adm.Identity.Name != "" {
			t.Errorf("admitted as %+v", adm)
		}
	}
	refused("alice", "db", secret, "another user")
	refused("", "db", secret, "another user")
	refused("ci", "db2", secret, "another resource")
	refused("ci", "", secret, "another resource")
	refused("ci", "db", postern.Secret{}, "unknown")
	refused("ci", "db", postern.NewSecret(secret.Reveal()+"x"), "unknown")
	refused("ci", "db", postern.NewSecret(strings.Repeat("x", 1<<20)), "no session token")
	refused("ci", "db", key, "unknown")
	login, _, err := h.MintLogin(ctx, id)
	ok(t, err)
	refused("ci", "db", login, "no session token")
	h.advance(15 * time.Minute)
	refused("ci", "db", secret, "expired")
}

// A refused entry costs none of a token's uses.
func TestUses(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	id, _ := h.service("ci")
	secret, tk, err := h.MintSession(ctx, id, identity.SessionTerms{Resource: "db", TTL: time.Hour, Uses: 2})
	ok(t, err)
	for range 3 {
		_, err = h.admit("ci", "other", secret)
		is(t, err, identity.ErrUnauthenticated, "another resource")
		_, err = h.admit("eve", "db", secret)
		is(t, err, identity.ErrUnauthenticated, "another user")
	}
	var in atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := h.admit("ci", "db", secret); err == nil {
				in.Add(1)
			} else if !errors.Is(err, identity.ErrUnauthenticated) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if in.Load() != 2 {
		t.Errorf("%d entries with two uses", in.Load())
	}
	_, err = h.admit("ci", "db", secret)
	is(t, err, identity.ErrUnauthenticated, "used up")
	if got := must(h.db.Token(ctx, tk.ID))(t); got.Uses != 2 {
		t.Errorf("%d uses", got.Uses)
	}
}

func TestMintSessionLimits(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	id, _ := h.service("ci")
	for _, c := range []struct {
		resource string
		ttl      time.Duration
		uses     int
		says     string
	}{
		{"", 0, 0, "one resource"},
		{strings.Repeat("x", 300), 0, 0, "one resource"},
		{"db", 12*time.Hour + 1, 0, "at most 12h0m0s"},
		{"db", -1, 0, "at most 12h0m0s"},
		{"db", 0, -1, "uses"},
		{"db", 0, 2_000_000, "uses"},
	} {
		_, _, err := h.MintSession(ctx, id, identity.SessionTerms{Resource: c.resource, TTL: c.ttl, Uses: c.uses})
		is(t, err, identity.ErrInvalid, c.says)
	}
	_, _, err := h.MintSession(ctx, postern.Identity{}, identity.SessionTerms{Resource: "db"})
	is(t, err, identity.ErrInvalid, "identity")
	_, _, err = h.MintSession(ctx, postern.Identity{Name: "ghost", Kind: postern.User}, identity.SessionTerms{Resource: "db"})
	is(t, err, identity.ErrUnauthenticated, "no account user:ghost")
}

// Whatever takes an identity's rights away takes its tokens and sessions, at once.
func TestRevocationIsImmediate(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(h *house, token string) error
		says string // why the token is refused; "": it is not
		why  string // what the session's client is told
	}{
		{"token", func(h *house, token string) error { return h.RevokeToken(h.t.Context(), token) }, "revoked", "token was revoked"},
		{"disable", func(h *house, _ string) error { _, err := h.Disable(h.t.Context(), postern.Service, "ci"); return err }, "disabled", "disabled"},
		{"delete", func(h *house, _ string) error { return h.Delete(h.t.Context(), postern.Service, "ci") }, "no account", "deleted"},
		{"rotate", func(h *house, _ string) error { _, _, err := h.RotateKey(h.t.Context(), "ci"); return err }, "revoked", "rotated"},
		{"all", func(h *house, _ string) error {
			_, _, err := h.RevokeAll(h.t.Context(), postern.Service, "ci", "an administrator said so")
			return err
		}, "revoked", "an administrator said so"},
		{"groups", func(h *house, _ string) error {
			_, err := h.SetGroups(h.t.Context(), postern.Service, "ci", []string{"new"})
			return err
		}, "", "groups were changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			id, _ := h.service("ci", "old")
			other, _ := h.service("other")
			secret, tk := h.session(id, "db")
			otherSecret, _ := h.session(other, "db")
			adm := must(h.admit("ci", "db", secret))(t)
			h.opened(adm)
			h.opened(must(h.admit("other", "db", otherSecret))(t))
			ok(t, c.do(h, tk.ID))
			if h.liveIDs() != 1 || h.live[0].Identity != "other" {
				t.Errorf("live: %+v", h.live)
			}
			if len(h.why) != 1 || !strings.Contains(h.why[0], c.why) {
				t.Errorf("told %q", h.why)
			}
			if h.Still(t.Context(), adm) == nil {
				t.Error("an admission from before still stands")
			}
			again, err := h.admit("ci", "db", secret)
			if c.says == "" {
				ok(t, err)
				if !slices.Equal(again.Identity.Groups, []string{"new"}) {
					t.Errorf("groups %v", again.Identity.Groups)
				}
				return
			}
			is(t, err, identity.ErrUnauthenticated, c.says)
			must(h.admit("other", "db", otherSecret))(t)
		})
	}
}

// A token in which a disabled account acts for another opens nothing.
func TestActorIsRevoked(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	helper, _ := h.service("helper", "tools")
	must(h.PutUser(ctx, "alice", []string{"eng"}, postern.Secret{}))(t)
	delegated := postern.Identity{Name: "alice", Kind: postern.User, Actor: &helper}
	secret, _ := h.session(delegated, "db")
	adm := must(h.admit("alice", "db", secret))(t)
	if adm.Identity.ActorName() != "helper" || !slices.Equal(adm.Identity.Actor.Groups, []string{"tools"}) {
		t.Errorf("%+v", adm.Identity)
	}
	h.opened(adm)
	must(h.Disable(ctx, postern.Service, "helper"))(t)
	if h.liveIDs() != 0 {
		t.Error("the session in which it acted is live")
	}
	if h.Still(ctx, adm) == nil {
		t.Error("the admission still stands")
	}
	must(h.Enable(ctx, postern.Service, "helper"))(t)
	_, err := h.admit("alice", "db", secret)
	is(t, err, identity.ErrUnauthenticated, "revoked")
}

func TestActorsThatGoOn(t *testing.T) {
	h := newHouse(t)
	a, _ := h.service("a")
	loop := a
	for range 6 {
		next := a
		actor := loop
		next.Actor = &actor
		loop = next
	}
	_, _, err := h.MintSession(t.Context(), loop, identity.SessionTerms{Resource: "db"})
	is(t, err, identity.ErrUnauthenticated, "act for each other")
}

func TestNames(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	for _, name := range []string{"", "postern", "Postern", "a b", "a/b", "a:b", "-a", "a\n", "ä", strings.Repeat("a", 200)} {
		_, _, err := h.CreateServiceAccount(ctx, name, nil)
		is(t, err, identity.ErrInvalid, "")
		_, err = h.PutUser(ctx, name, nil, postern.Secret{})
		is(t, err, identity.ErrInvalid, "")
	}
	for _, groups := range [][]string{{""}, {"a", "a"}, {" a"}, {"a\x00"}, make([]string, 101)} {
		_, _, err := h.CreateServiceAccount(ctx, "ci", groups)
		is(t, err, identity.ErrInvalid, "group")
	}
	must(h.PutUser(ctx, "alice.smith+x@example.com", []string{"Any Group: even this"}, postern.Secret{}))(t)
}

func TestSweep(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	id, _ := h.service("ci")
	h.session(id, "db")
	_, _, err := h.MintSession(ctx, id, identity.SessionTerms{Resource: "db", TTL: time.Hour})
	ok(t, err)
	h.advance(20 * time.Minute)
	if n := must(h.Sweep(ctx))(t); n != 1 {
		t.Errorf("forgot %d tokens", n)
	}
	if left := must(h.Tokens(ctx, postern.Service, "ci"))(t); len(left) != 1 {
		t.Errorf("%d tokens are left", len(left))
	}
}

// A store that doesn't answer is no reason to call anybody a stranger.
func TestStoreDown(t *testing.T) {
	h := newHouse(t)
	id, key := h.service("ci")
	secret, _ := h.session(id, "db")
	ok(t, h.db.Close())
	_, err := h.AuthenticateBearer(context.WithoutCancel(t.Context()), key)
	if err == nil || errors.Is(err, identity.ErrUnauthenticated) {
		t.Error(err)
	}
	if _, err = h.admit("ci", "db", secret); err == nil || errors.Is(err, identity.ErrUnauthenticated) {
		t.Error(err)
	}
}
