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
	"postern/internal/vault"
)

// provider is what an identity provider says when it is asked again.
type provider struct {
	mu    sync.Mutex
	says  identity.Vouched
	err   error
	asked []string // the refresh tokens that it was asked with
}

func (p *provider) renew(_ context.Context, _ string, refresh postern.Secret) (identity.Vouched, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, refresh.Reveal())
	return p.says, p.err
}

// signedIn is a house where alice of corp has just signed in in a browser.
func signedIn(t *testing.T) (*house, *provider, identity.LoginTokens) {
	t.Helper()
	h, p := newHouse(t), &provider{}
	v, err := vault.Open(h.dir, postern.Secret{})
	ok(t, err)
	h.Service, err = identity.New(identity.Config{Store: h.db, Now: h.clock, End: h.end, Reclaim: h.reclaim, Renew: p.renew, Seal: v.Seal, Unseal: v.Unseal})
	ok(t, err)
	p.says = identity.Vouched{Identity: person("alice", "corp:1", "eng"), Refresh: postern.NewSecret("upstream-2")}
	web := must(h.StartLogin(t.Context(), postern.WebLogin, identity.Vouched{
		Identity: person("alice", "corp:1", "eng"), Refresh: postern.NewSecret("upstream-1"), SID: "sid-1",
	}, identity.Where{Client: "browser", Source: "192.0.2.1"}))(t)
	return h, p, web
}

const verifier = "a-verifier-of-at-least-forty-three-characters"

// program signs the command line in, off a browser's login.
func (h *house) program(web identity.LoginTokens) identity.LoginTokens {
	h.t.Helper()
	ctx := h.t.Context()
	by := must(h.AuthenticateCookie(ctx, web.Token))(h.t)
	code := must(h.IssueCode(ctx, by, identity.Challenge(verifier), "http://127.0.0.1:4000/callback", identity.Where{Client: "laptop", Source: "192.0.2.1"}))(h.t)
	return must(h.RedeemCode(ctx, code, verifier, "http://127.0.0.1:4000/callback"))(h.t)
}

func TestLoginsOfBrowserAndProgram(t *testing.T) {
	ctx := t.Context()
	h, _, web := signedIn(t)
	got := must(h.AuthenticateCookie(ctx, web.Token))(t)
	if got.Name != "alice" || got.Login != web.Record.ID || !got.Expires.Equal(h.clock().Add(12*time.Hour)) || got.Claims["dept"] != "7" {
		t.Errorf("%+v", got)
	}
	_, err := h.AuthenticateBearer(ctx, web.Token)
	is(t, err, identity.ErrUnauthenticated, "web token")
	cli := h.program(web)
	_, err = h.AuthenticateCookie(ctx, cli.Token)
	is(t, err, identity.ErrUnauthenticated, "no browser's token")
	if !web.Refresh.IsZero() || cli.Refresh.IsZero() {
		t.Error("a program has a refresh token, a browser none")
	}
	id := must(h.AuthenticateBearer(ctx, cli.Token))(t)
	secret, _ := h.session(id, "db")
	h.opened(must(h.admit("alice", "db", secret))(t))

	// The browser's sign-out is not the program's.
	ok(t, h.Logout(ctx, web.Token))
	_, err = h.AuthenticateCookie(ctx, web.Token)
	is(t, err, identity.ErrUnauthenticated, "")
	must(h.AuthenticateBearer(ctx, cli.Token))(t)
	if h.liveIDs() != 1 {
		t.Error("the program's session ended with the browser's")
	}
	h.advance(20 * time.Minute)
	_, err = h.AuthenticateBearer(ctx, cli.Token)
	is(t, err, identity.ErrUnauthenticated, "expired")
	must(h.Sweep(ctx))(t)
	must(h.Continues(ctx, cli.Token, id))(t) // a stream that began before
	ok(t, h.Logout(ctx, cli.Refresh))
	_, err = h.Continues(ctx, cli.Token, id)
	is(t, err, identity.ErrUnauthenticated, "ended")
	_, err = h.admit("alice", "db", secret)
	is(t, err, identity.ErrUnauthenticated, "")
	if h.liveIDs() != 0 {
		t.Error("a session lives on without its login")
	}
	ok(t, h.Logout(ctx, cli.Refresh))
	ok(t, h.Logout(ctx, cli.Token))
}

// A login lasts from the moment when the provider vouched for its person,
// whatever is made of it later.
func TestLoginsEnd(t *testing.T) {
	ctx := t.Context()
	h, p, web := signedIn(t)
	h.advance(11 * time.Hour)
	cli := h.program(web)
	h.advance(50 * time.Minute)
	p.err = nil
	cli = must(h.RefreshLogin(ctx, cli.Refresh))(t)
	if !cli.ExpiresAt.Equal(web.Record.ExpiresAt) {
		t.Errorf("a token until %v, of a login until %v", cli.ExpiresAt, web.Record.ExpiresAt)
	}
	h.advance(10 * time.Minute)
	_, err := h.RefreshLogin(ctx, cli.Refresh)
	is(t, err, identity.ErrUnauthenticated, "expired")
	_, err = h.AuthenticateBearer(ctx, cli.Token)
	is(t, err, identity.ErrUnauthenticated, "expired")
	_, err = h.AuthenticateCookie(ctx, web.Token)
	is(t, err, identity.ErrUnauthenticated, "expired")
	must(h.Sweep(ctx))(t)
	_, err = h.Login(ctx, web.Record.ID)
	ok(t, err)
	h.advance(25 * time.Hour)
	must(h.Sweep(ctx))(t)
	if _, err = h.Login(ctx, web.Record.ID); !errors.Is(err, postern.ErrNotFound) {
		t.Error(err)
	}
}

func TestRefresh(t *testing.T) {
	ctx := t.Context()
	h, _, web := signedIn(t)
	one := h.program(web)
	must(h.AuthenticateBearer(ctx, one.Token))(t)
	two := must(h.RefreshLogin(ctx, one.Refresh))(t)
	must(h.AuthenticateBearer(ctx, one.Token))(t) // what runs on with it may
	must(h.AuthenticateBearer(ctx, two.Token))(t)

	// A copied refresh token, used after its owner went on: both are out.
	secret, _ := h.session(must(h.AuthenticateBearer(ctx, two.Token))(t), "db")
	h.opened(must(h.admit("alice", "db", secret))(t))
	_, err := h.RefreshLogin(ctx, one.Refresh)
	is(t, err, identity.ErrReused, "alice")
	_, err = h.RefreshLogin(ctx, two.Refresh)
	is(t, err, identity.ErrUnauthenticated, "ended")
	for _, token := range []postern.Secret{one.Token, two.Token} {
		_, err = h.AuthenticateBearer(ctx, token)
		is(t, err, identity.ErrUnauthenticated, "")
	}
	if h.liveIDs() != 0 || !strings.Contains(h.why[0], "used twice") {
		t.Errorf("live %d, told %q", h.liveIDs(), h.why)
	}
	must(h.AuthenticateCookie(ctx, web.Token))(t) // another login
}

// An answer that never arrived doesn't cost the login; but whoever holds a copy
// gets no further than its owner's next step.
func TestRefreshAnswerLost(t *testing.T) {
	ctx := t.Context()
	h, _, web := signedIn(t)
	one := h.program(web)
	lost := must(h.RefreshLogin(ctx, one.Refresh))(t)
	again := must(h.RefreshLogin(ctx, one.Refresh))(t)
	_, err := h.AuthenticateBearer(ctx, lost.Token)
	is(t, err, identity.ErrUnauthenticated, "revoked")
	must(h.AuthenticateBearer(ctx, again.Token))(t)
	_, err = h.RefreshLogin(ctx, lost.Refresh)
	is(t, err, identity.ErrReused, "")
	_, err = h.AuthenticateBearer(ctx, again.Token)
	is(t, err, identity.ErrUnauthenticated, "")
}

func TestRefreshTokensOfOld(t *testing.T) {
	ctx := t.Context()
	h, _, web := signedIn(t)
	first := h.program(web)
	last := first
	for range 3 { // nobody uses what is in the answers
		last = must(h.RefreshLogin(ctx, last.Refresh))(t)
	}
	_, err := h.RefreshLogin(ctx, first.Refresh)
	is(t, err, identity.ErrReused, "")
	for _, bad := range []string{"", "postern_rt_x", first.Token.Reveal(), web.Token.Reveal(), strings.Repeat("x", 1<<20)} {
		_, err = h.RefreshLogin(ctx, postern.NewSecret(bad))
		is(t, err, identity.ErrUnauthenticated, "")
	}
}

func TestRefreshRaced(t *testing.T) {
	ctx := t.Context()
	h, _, web := signedIn(t)
	one := h.program(web)
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := h.RefreshLogin(ctx, one.Refresh)
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, identity.ErrRaced) && !errors.Is(err, identity.ErrUnauthenticated):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() == 0 {
		t.Error("nobody won")
	}
}

// The provider is asked again, and what it says counts.
func TestProviderIsAsked(t *testing.T) {
	ctx := t.Context()
	h, p, web := signedIn(t)
	cli := h.program(web)
	ok(t, h.RenewLogins(ctx))
	cli = must(h.RefreshLogin(ctx, cli.Refresh))(t)
	if len(p.asked) != 0 {
		t.Errorf("asked %q at once", p.asked)
	}
	h.advance(16 * time.Minute)
	secret, _ := h.session(must(h.AuthenticateBearer(ctx, must(h.RefreshLogin(ctx, cli.Refresh))(t).Token))(t), "db")
	h.opened(must(h.admit("alice", "db", secret))(t))
	h.advance(16 * time.Minute)
	p.says.Identity.Groups, p.says.Identity.Claims = []string{"dba"}, postern.Claims{"dept": "8"}
	p.says.Refresh = postern.Secret{}
	ok(t, h.RenewLogins(ctx))
	if !slices.Equal(p.asked, []string{"upstream-1", "upstream-2"}) {
		t.Errorf("asked with %q", p.asked)
	}
	if h.liveIDs() != 0 || !strings.Contains(h.why[0], "groups") {
		t.Errorf("live %d, told %q", h.liveIDs(), h.why)
	}
	id := must(h.AuthenticateCookie(ctx, web.Token))(t)
	if !slices.Equal(id.Groups, []string{"dba"}) || id.Claims["dept"] != "8" {
		t.Errorf("%+v", id)
	}
	h.advance(16 * time.Minute)
	ok(t, h.RenewLogins(ctx))
	if p.asked[2] != "upstream-2" {
		t.Errorf("asked with %q", p.asked)
	}
}

// Claims that the provider changed are told to the sessions of the logins that
// came of it, and a session that was opened with the old ones isn't.
func TestProviderChangesClaims(t *testing.T) {
	ctx := t.Context()
	h, p, web := signedIn(t)
	cli := h.program(web)
	id := must(h.AuthenticateBearer(ctx, cli.Token))(t)
	secret, _ := h.session(id, "db")
	adm := must(h.admit("alice", "db", secret))(t)
	h.advance(16 * time.Minute)
	ok(t, h.RenewLogins(ctx))
	if len(h.reclaimed) != 0 {
		t.Errorf("told %v of what stayed", h.reclaimed)
	}
	ok(t, h.Still(ctx, adm))
	h.advance(16 * time.Minute)
	p.says.Identity.Claims = postern.Claims{"dept": "8"}
	ok(t, h.RenewLogins(ctx))
	if len(h.reclaimed) != 2 || h.reclaimed[id.Login]["dept"] != "8" { // the program's, and the browser's
		t.Errorf("told %v", h.reclaimed)
	}
	is(t, h.Still(ctx, adm), identity.ErrUnauthenticated, "claims")
}

// A provider that says no ends the login; one that doesn't answer only keeps it
// from being renewed.
func TestProviderSaysNo(t *testing.T) {
	ctx := t.Context()
	h, p, web := signedIn(t)
	cli := h.program(web)
	secret, _, err := h.MintSession(ctx, must(h.AuthenticateBearer(ctx, cli.Token))(t), identity.SessionTerms{Resource: "db", TTL: 8 * time.Hour})
	ok(t, err)
	h.opened(must(h.admit("alice", "db", secret))(t))
	h.advance(16 * time.Minute)
	p.err = identity.ErrProviderDown
	_, err = h.RefreshLogin(ctx, cli.Refresh)
	is(t, err, identity.ErrProviderDown, "")
	is(t, h.RenewLogins(ctx), identity.ErrProviderDown, "")
	must(h.admit("alice", "db", secret))(t)
	if h.liveIDs() != 1 {
		t.Error("a session ended because the provider was down")
	}
	p.err = nil
	cli = must(h.RefreshLogin(ctx, cli.Refresh))(t)
	h.advance(16 * time.Minute)
	p.err = identity.ErrGrantEnded
	ok(t, h.RenewLogins(ctx))
	if h.liveIDs() != 0 || !strings.Contains(h.why[0], "no longer stands by it") {
		t.Errorf("live %d, told %q", h.liveIDs(), h.why)
	}
	_, err = h.admit("alice", "db", secret)
	is(t, err, identity.ErrUnauthenticated, "ended")
	_, err = h.RefreshLogin(ctx, cli.Refresh)
	is(t, err, identity.ErrUnauthenticated, "ended")
	_, err = h.AuthenticateCookie(ctx, web.Token)
	is(t, err, identity.ErrUnauthenticated, "")
}

func TestProviderSpeaksOfAnother(t *testing.T) {
	ctx := t.Context()
	h, p, web := signedIn(t)
	p.says.Identity = person("dave", "corp:2", "admins")
	h.advance(16 * time.Minute)
	ok(t, h.RenewLogins(ctx))
	_, err := h.AuthenticateCookie(ctx, web.Token)
	is(t, err, identity.ErrUnauthenticated, "")
}

// What ends an identity ends its logins: no refresh token brings it back.
func TestRevocationEndsLogins(t *testing.T) {
	for name, do := range map[string]func(h *house) error{
		"disable": func(h *house) error { _, err := h.Disable(h.t.Context(), postern.User, "alice"); return err },
		"delete":  func(h *house) error { return h.Delete(h.t.Context(), postern.User, "alice") },
		"all":     func(h *house) error { _, _, err := h.RevokeAll(h.t.Context(), postern.User, "alice", "so"); return err },
		"grants":  func(h *house) error { _, err := h.EndGrants(h.t.Context(), "corp:1", "", "so"); return err },
		"sid":     func(h *house) error { _, err := h.EndGrants(h.t.Context(), "corp:1", "sid-1", "so"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			h, _, web := signedIn(t)
			cli := h.program(web)
			if n := must(h.EndGrants(ctx, "corp:1", "another sid", "so"))(t); n != 0 {
				t.Errorf("ended %d", n)
			}
			if n := must(h.EndGrants(ctx, "corp:9", "", "so"))(t); n != 0 {
				t.Errorf("ended %d", n)
			}
			ok(t, do(h))
			_, _ = h.Enable(ctx, postern.User, "alice")
			_, err := h.RefreshLogin(ctx, cli.Refresh)
			is(t, err, identity.ErrUnauthenticated, "")
			_, err = h.AuthenticateBearer(ctx, cli.Token)
			is(t, err, identity.ErrUnauthenticated, "")
			_, err = h.AuthenticateCookie(ctx, web.Token)
			is(t, err, identity.ErrUnauthenticated, "")
		})
	}
}

func TestCodes(t *testing.T) {
	ctx := t.Context()
	h, _, web := signedIn(t)
	by := must(h.AuthenticateCookie(ctx, web.Token))(t)
	const redirect = "http://127.0.0.1:4000/callback"
	issue := func() postern.Secret {
		t.Helper()
		return must(h.IssueCode(ctx, by, identity.Challenge(verifier), redirect, identity.Where{}))(t)
	}
	code := issue()
	for name, try := range map[string][2]string{
		"another verifier": {"not-" + verifier, redirect},
		"the challenge":    {identity.Challenge(verifier), redirect},
		"no verifier":      {"", redirect},
		"another port":     {verifier, "http://127.0.0.1:4001/callback"},
	} {
		if _, err := h.RedeemCode(ctx, code, try[0], try[1]); !errors.Is(err, identity.ErrUnauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cli := must(h.RedeemCode(ctx, code, verifier, redirect))(t)
	_, err := h.RedeemCode(ctx, code, "not-"+verifier, redirect) // who doesn't hold the verifier can't end it
	is(t, err, identity.ErrUnauthenticated, "verifier")
	must(h.AuthenticateBearer(ctx, cli.Token))(t)
	_, err = h.RedeemCode(ctx, code, verifier, redirect)
	is(t, err, identity.ErrReused, "alice")
	_, err = h.AuthenticateBearer(ctx, cli.Token)
	is(t, err, identity.ErrUnauthenticated, "")

	code = issue()
	h.advance(2 * time.Minute)
	_, err = h.RedeemCode(ctx, code, verifier, redirect)
	is(t, err, identity.ErrUnauthenticated, "expired")
	code = issue()
	ok(t, h.Logout(ctx, web.Token))
	_, err = h.RedeemCode(ctx, code, verifier, redirect)
	is(t, err, identity.ErrUnauthenticated, "ended")
	_, err = h.IssueCode(ctx, by, identity.Challenge(verifier), redirect, identity.Where{})
	is(t, err, identity.ErrUnauthenticated, "ended")
	for _, bad := range []string{"", "plain", verifier, identity.Challenge(verifier) + "A"} {
		_, err = h.IssueCode(ctx, by, bad, redirect, identity.Where{})
		is(t, err, identity.ErrInvalid, "challenge")
	}
}

func TestDevices(t *testing.T) {
	ctx := t.Context()
	h, _, web := signedIn(t)
	by := must(h.AuthenticateCookie(ctx, web.Token))(t)
	from := netip.MustParseAddr("192.0.2.7")
	start := func() (postern.Secret, postern.Device) {
		t.Helper()
		code, d, err := h.StartDevice(ctx, identity.Where{Client: "box\x1b[31m\u202e", Source: "198.51.100.9"})
		ok(t, err)
		if d.Client != "box[31m" || len(d.UserCode) != 8 {
			t.Errorf("%+v", d)
		}
		return code, d
	}
	code, d := start()
	_, err := h.PollDevice(ctx, code)
	is(t, err, identity.ErrDevicePending, "")
	_, err = h.PollDevice(ctx, code)
	is(t, err, identity.ErrDeviceTooFast, "")
	typed := " " + strings.ToLower(identity.ShowUserCode(d.UserCode))
	if found := must(h.WaitingDevice(ctx, by, typed, from))(t); found.Source != "198.51.100.9" {
		t.Errorf("%+v", found)
	}
	must(h.DecideDevice(ctx, by, typed, from, true))(t)
	_, err = h.DecideDevice(ctx, by, typed, from, false)
	is(t, err, identity.ErrDeviceGone, "")
	h.advance(5 * time.Second)
	cli := must(h.PollDevice(ctx, code))(t)
	if cli.Record.Kind != postern.DeviceLogin || cli.Record.Identity.Name != "alice" || cli.Record.Source != "198.51.100.9" {
		t.Errorf("%+v", cli.Record)
	}
	must(h.RefreshLogin(ctx, cli.Refresh))(t)
	h.advance(5 * time.Second)
	_, err = h.PollDevice(ctx, code)
	is(t, err, identity.ErrDeviceGone, "")

	code, d = start()
	must(h.DecideDevice(ctx, by, d.UserCode, from, false))(t)
	_, err = h.PollDevice(ctx, code)
	is(t, err, identity.ErrDeviceDenied, "")

	code, d = start()
	must(h.DecideDevice(ctx, by, d.UserCode, from, true))(t)
	ok(t, h.Logout(ctx, web.Token)) // whoever approved it has left before it asked
	_, err = h.PollDevice(ctx, code)
	is(t, err, identity.ErrUnauthenticated, "ended")

	code, _ = start()
	h.advance(10 * time.Minute)
	_, err = h.PollDevice(ctx, code)
	is(t, err, identity.ErrDeviceGone, "")
}

// Whoever guesses user codes is stopped, by name and by place, long before
// there is a chance to meet one.
func TestUserCodesAreNotGuessed(t *testing.T) {
	ctx := t.Context()
	h, _, web := signedIn(t)
	by := must(h.AuthenticateCookie(ctx, web.Token))(t)
	_, d, err := h.StartDevice(ctx, identity.Where{Source: "198.51.100.9"})
	ok(t, err)
	address := netip.MustParseAddr("192.0.2.0")
	tries := 0
	for ; tries < 100; tries++ {
		address = address.Next()
		if _, err = h.WaitingDevice(ctx, by, "BBBBBBBB", address); !errors.Is(err, identity.ErrDeviceGone) {
			break
		}
	}
	is(t, err, identity.ErrTooMany, "")
	if tries > 10 {
		t.Errorf("%d tries", tries)
	}
	_, err = h.WaitingDevice(ctx, by, d.UserCode, address)
	is(t, err, identity.ErrTooMany, "")
	for range 10 {
		_, _, err = h.StartDevice(ctx, identity.Where{Source: "203.0.113.1"})
		ok(t, err)
	}
	_, _, err = h.StartDevice(ctx, identity.Where{Source: "203.0.113.1"})
	is(t, err, identity.ErrTooMany, "")
}

// Local users have an account already; their sign-in makes none.
func TestLocalLogin(t *testing.T) {
	ctx := t.Context()
	h, _, _ := signedIn(t)
	must(h.PutUser(ctx, "bob", []string{"eng"}, postern.NewSecret("correct horse")))(t)
	bob := must(h.AuthenticatePassword(ctx, "bob", postern.NewSecret("correct horse"), netip.MustParseAddr("192.0.2.1")))(t)
	login := must(h.StartLogin(ctx, postern.PasswordLogin, identity.Vouched{Identity: bob}, identity.Where{}))(t)
	id := must(h.AuthenticateBearer(ctx, login.Token))(t)
	if id.Subject != "local:bob" || id.Login == "" {
		t.Errorf("%+v", id)
	}
	_, err := h.StartLogin(ctx, postern.WebLogin, identity.Vouched{Identity: postern.Identity{Name: "ghost", Kind: postern.User, Subject: "local:ghost"}}, identity.Where{})
	is(t, err, identity.ErrUnauthenticated, "no account")
	_, err = h.StartLogin(ctx, postern.WebLogin, identity.Vouched{Identity: postern.Identity{Name: "alice", Kind: postern.User, Subject: "local:alice"}}, identity.Where{})
	is(t, err, identity.ErrUnauthenticated, "another subject")
	must(h.PutUser(ctx, "bob", []string{"eng"}, postern.NewSecret("battery staple")))(t)
	_, err = h.AuthenticateBearer(ctx, login.Token)
	is(t, err, identity.ErrUnauthenticated, "ended")
}
