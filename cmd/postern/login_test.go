package main

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"postern"
	"postern/internal/api/apitest"
	"postern/internal/identity"
)

// memoryRing is a keyring in memory.
type memoryRing struct {
	sync.Mutex
	kept map[string]string
}

func (m *memoryRing) get(name string) (string, error) {
	m.Lock()
	defer m.Unlock()
	if v, ok := m.kept[name]; ok {
		return v, nil
	}
	return "", keyring.ErrNotFound
}

func (m *memoryRing) set(name, value string) error {
	m.Lock()
	defer m.Unlock()
	m.kept[name] = value
	return nil
}

func (m *memoryRing) remove(name string) error {
	m.Lock()
	defer m.Unlock()
	delete(m.kept, name)
	return nil
}

// programLogin is a login of alice's, as the command line gets it off a browser's.
func programLogin(t *testing.T, w *apitest.World) identity.LoginTokens {
	t.Helper()
	ctx := t.Context()
	alice, err := w.Identity.AuthenticatePassword(ctx, "alice", postern.NewSecret(apitest.Password), netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	web, err := w.Identity.StartLogin(ctx, postern.WebLogin, identity.Vouched{Identity: alice}, identity.Where{})
	if err != nil {
		t.Fatal(err)
	}
	by, err := w.Identity.AuthenticateCookie(ctx, web.Token)
	if err != nil {
		t.Fatal(err)
	}
	code, err := w.Identity.IssueCode(ctx, by, identity.Challenge("v"), "r", identity.Where{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.Identity.RedeemCode(ctx, code, "v", "r")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A login renews itself, whoever needs it first; its secrets are where they belong.
func TestLoginRenewsItself(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"keyring": {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}, "file": {"POSTERN_KEYRING": "off"},
	} {
		t.Run(name, func(t *testing.T) {
			w := apitest.New(t)
			tm := at(t, w, "")
			for k, v := range env {
				tm.env[k] = v
			}
			ring := &memoryRing{kept: map[string]string{}}
			a := &app{ui: newTUI(), getenv: func(k string) string { return tm.env[k] }, now: time.Now, ring: ring}
			login := programLogin(t, w)
			err := a.keep(w.URL, storedLogin{
				User: "alice", Token: login.Token.Reveal(), ExpiresAt: time.Now().Add(10 * time.Second), Refresh: login.Refresh.Reveal(),
				LoginEnds: login.Record.ExpiresAt, CAFile: w.CAFile, TPMKey: "as its TPM wrapped it",
			})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(tm.env["HOME"], ".config/postern/credentials.json")
			text, err := os.ReadFile(file)
			if err != nil || strings.Contains(string(text), "postern_rt_") != (name == "file") {
				t.Fatalf("%v %s", err, text)
			}
			var wg sync.WaitGroup
			for range 4 { // commands that run beside each other
				wg.Go(func() {
					c, _, err := a.client()
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					if who, err := c.Whoami(t.Context()); err != nil || who.Name != "alice" {
						t.Errorf("%+v, %v", who, err)
					}
				})
			}
			wg.Wait()
			record, err := w.Identity.Login(t.Context(), login.Record.ID)
			if err != nil || record.Generation != 2 || !record.EndedAt.IsZero() {
				t.Errorf("renewed to generation %d, ended %v: %v", record.Generation, record.EndedAt, err)
			}
			if stored, err := a.credentials().read(); err != nil || stored.Logins[w.URL].keyIn() != keyInTPM {
				t.Errorf("its key isn't kept: %v", err)
			}
			if err := w.Identity.EndLogin(t.Context(), login.Record.ID, "an admin said so"); err != nil {
				t.Fatal(err)
			}
			a.now = func() time.Time { return time.Now().Add(time.Hour) }
			c, _, err := a.client()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Whoami(t.Context())
			if code, hint := a.ui.judge(err); code != exitSignedIn || !strings.Contains(hint, "postern login") {
				t.Errorf("exit %d, %q: %v", code, hint, err)
			}
			text, err = os.ReadFile(file)
			if err != nil || strings.Contains(string(text), "postern_") || len(ring.kept) > 0 {
				t.Errorf("what is over is kept: %v %s %v", err, text, ring.kept)
			}
		})
	}
}

// The link that opens the browser is good once, and what comes back counts only
// with the state that went out.
func TestLoopback(t *testing.T) {
	w := apitest.New(t)
	a := &app{ui: newTUI(), getenv: func(string) string { return "" }, now: time.Now}
	c, err := a.dial(target{server: w.URL, caFile: w.CAFile})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := &loopback{client: c, host: "127.0.0.1:4000", redirect: "http://127.0.0.1:4000/callback", start: "/once", state: "the-state", verifier: "v", done: make(chan outcome, 1)}
	get := func(host, target string) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "http://"+host+target, nil)
		out := httptest.NewRecorder()
		b.ServeHTTP(out, r)
		return out
	}
	if out := get("evil.example:4000", "/once"); out.Code != http.StatusMisdirectedRequest {
		t.Errorf("by another name: %d", out.Code)
	}
	if out := get(b.host, "/once"); out.Code != http.StatusSeeOther || !strings.HasPrefix(out.Header().Get("Location"), w.URL+"/oauth/authorize?") {
		t.Errorf("%d %s", out.Code, out.Header())
	}
	if out := get(b.host, "/once"); out.Code != http.StatusGone || out.Header().Get("Location") != "" {
		t.Errorf("opened twice: %d", out.Code)
	}
	for _, target := range []string{"/callback", "/callback?code=x", "/callback?code=x&state=another", "/callback?error=access_denied&state="} {
		if out := get(b.host, target); out.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", target, out.Code)
		}
	}
	if len(b.done) > 0 {
		t.Error("a stranger ended the sign-in")
	}
	if out := get(b.host, "/callback?code=postern_ac_x&state=the-state"); out.Code != http.StatusBadRequest {
		t.Errorf("%d", out.Code)
	}
	if got := <-b.done; got.err == nil {
		t.Error("signed in by a made-up code")
	}
	if out := get(b.host, "/callback?code=x&state=the-state"); out.Code != http.StatusGone {
		t.Errorf("twice: %d", out.Code)
	}
}

// OpenSSH's client shows the certificate of the login that there is, not of one
// that has ended or that another gateway gave.
func TestSSHCertificateIsOfTheLogin(t *testing.T) {
	w := apitest.New(t)
	tm := at(t, w, "")
	tm.in = apitest.Password + "\n"
	file := filepath.Join(tm.env["HOME"], ".config/postern/ssh/id_ed25519-cert.pub")
	certify := func() string {
		t.Helper()
		tm.ok("ssh", "certify")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	tm.ok("login", "--user", "alice", "--password-stdin")
	first := certify()
	if certify() != first {
		t.Error("a certificate that holds was got anew")
	}
	tm.ok("login", "--user", "alice", "--password-stdin") // over the other
	second := certify()
	if second == first {
		t.Error("after another login: the certificate of the one before")
	}
	tm.ok("logout")
	if _, err := os.Stat(file); err == nil {
		t.Error("the certificate outlives the logout")
	}
	tm.env["POSTERN_TOKEN"] = w.Token(t, "alice").Reveal()
	third := certify()
	if certify() != third {
		t.Error("a token's certificate was got anew")
	}
	tm.env["POSTERN_TOKEN"] = w.Token(t, "dave").Reveal()
	if certify() == third {
		t.Error("with another token: the certificate of the one before")
	}
}
