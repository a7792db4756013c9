package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
	"postern/internal/api/client"
)

// What can't be written to the audit log isn't done.
func TestNothingIsDoneUnaudited(t *testing.T) {
	w := apitest.New(t)
	w.Review(t, "rv_1", "alice")
	adam, alice, dave := as(t, w, "adam"), as(t, w, "alice"), as(t, w, "dave")
	must(adam.CreateServiceAccount(t.Context(), api.NewServiceAccount{Name: "ci"}))(t)
	_, rec := w.Session(t, "ss_1", "alice")
	defer func() { must(rec.Close())(t) }()
	token := must(alice.CreateToken(t.Context(), api.TokenRequest{Resource: "orders-db"}))(t)
	policy := w.Objects.Set().Version()
	w.Audit.Fail(errors.New("disk full"))
	for name, act := range map[string]func() error{
		"login": func() error {
			_, err := alice.Login(t.Context(), "alice", postern.NewSecret(apitest.Password), "")
			return err
		},
		"logout": func() error { return alice.Logout(t.Context()) },
		"token.create": func() error {
			_, err := alice.CreateToken(t.Context(), api.TokenRequest{Resource: "orders-db"})
			return err
		},
		"token.revoke": func() error { return alice.RevokeToken(t.Context(), token.ID) },
		"create": func() error {
			_, err := adam.CreateServiceAccount(t.Context(), api.NewServiceAccount{Name: "x"})
			return err
		},
		"rotate":       func() error { _, err := adam.RotateServiceAccount(t.Context(), "ci"); return err },
		"disable":      func() error { _, err := adam.SetServiceAccount(t.Context(), "ci", true); return err },
		"disable user": func() error { _, err := adam.SetUser(t.Context(), "alice", true); return err },
		"delete":       func() error { return adam.DeleteServiceAccount(t.Context(), "ci") },
		"kill":         func() error { _, err := adam.Kill(t.Context(), "ss_1", ""); return err },
		"read":         func() error { return adam.Events(t.Context(), "ss_1", false, func([]byte) error { return nil }) },
		"apply": func() error {
			_, err := adam.Apply(t.Context(), []byte("kind: Rule\nname: x\nwhen: command.verb == \"alter\"\nthen: deny\n"))
			return err
		},
		"seal":         func() error { _, err := adam.Seal(t.Context(), postern.NewSecret("x")); return err },
		"audit.export": func() error { return adam.ExportAudit(t.Context(), &strings.Builder{}) },
	} {
		if err := act(); err == nil || !strings.Contains(err.Error(), "audit log can't be written") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := dave.Vote(t.Context(), "rv_1", true, ""); err == nil {
		t.Error("an unaudited vote counts")
	}
	w.Audit.Fail(nil)
	if rv := must(dave.Review(t.Context(), "rv_1"))(t); rv.State != postern.ReviewPending {
		t.Errorf("the review is %s", rv.State)
	}
	if len(w.Live.Live()) != 1 || w.Objects.Set().Version() != policy {
		t.Error("an unaudited act had an effect")
	}
	accounts := must(adam.ServiceAccounts(t.Context()))(t)
	if len(accounts) != 1 || accounts[0].Disabled || !accounts[0].RotatedAt.IsZero() {
		t.Errorf("accounts %+v", accounts)
	}
	if got := must(alice.Tokens(t.Context(), ""))(t); len(got) != 2 || got[0].Revoked || got[1].Revoked {
		t.Errorf("tokens %+v", got)
	}
}

func TestHeaders(t *testing.T) {
	w := apitest.New(t)
	resp := send(t, w, request{path: "/healthz"})
	_ = resp.Body.Close()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Strict-Transport-Security": "max-age=31536000",
		"Access-Control-Allow-Origin": "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestGuard(t *testing.T) {
	w := apitest.New(t)
	token := w.Token(t, "alice").Reveal()
	login := `{"user": "alice", "password": "x"}`
	for _, test := range []struct {
		name    string
		request request
		status  int
	}{
		{"by its public name", request{path: "/healthz", host: "gw.example:8443"}, 200},
		{"by a number", request{path: "/healthz", host: "[::1]:8443"}, 200},
		{"by localhost", request{path: "/healthz", host: "localhost"}, 200},
		{"by another name", request{path: "/healthz", host: "evil.example"}, 421},
		{"another site's page", request{method: "POST", path: "/api/v1/login", body: login, header: http.Header{"Sec-Fetch-Site": {"cross-site"}}}, 403},
		{"another origin", request{method: "POST", path: "/api/v1/login", body: login, header: http.Header{"Origin": {"https://evil.example"}}}, 403},
		{"no such path", request{path: "/api/v1/nothing", token: token}, 404},
		{"no such method", request{method: "PUT", path: "/api/v1/whoami", token: token}, 404},
		{"nothing at all", request{path: "/"}, 404},
		{"too large", request{method: "POST", path: "/api/v1/login", body: `{"user": "` + strings.Repeat("a", 2<<20) + `"}`}, 413},
		{"not JSON", request{method: "POST", path: "/api/v1/login", body: `{`}, 400},
		{"another key", request{method: "POST", path: "/api/v1/login", body: `{"user": "a", "password": "b", "admin": true}`}, 422},
		{"ready", request{path: "/readyz"}, 200},
	} {
		resp := send(t, w, test.request)
		_ = resp.Body.Close()
		if resp.StatusCode != test.status {
			t.Errorf("%s: status %d, want %d", test.name, resp.StatusCode, test.status)
		}
		if kind := resp.Header.Get("Content-Type"); test.status >= 400 && kind != "application/problem+json" {
			t.Errorf("%s: %s is no problem document", test.name, kind)
		}
	}
}

// What was sent isn't in the answer: it may be a password.
func TestErrorsDontEcho(t *testing.T) {
	w := apitest.New(t)
	token := w.Token(t, "adam").Reveal()
	for path, body := range map[string]string{
		"/api/v1/login":            `{"user": "alice", "password": "` + strings.Repeat("hunter2", 500) + `"}`,
		"/api/v1/login?x":          `{"user": "alice", "password": {"hunter2": 1}}`,
		"/api/v1/secrets/seal":     `{"secret": ["hunter2"]}`,
		"/api/v1/service-accounts": `{"name": "hunter2 hunter2"}`,
	} {
		status, answer := do(t, w, request{method: "POST", path: path, body: body, token: token})
		if status < 400 || strings.Contains(answer, "hunter2") && !strings.Contains(path, "service") {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
}

// Metrics name resources: from elsewhere they take an auditor.
func TestMetrics(t *testing.T) {
	w := apitest.New(t)
	cfg := w.Config()
	cfg.Metrics = http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = out.Write([]byte("postern_sessions 1\n")) })
	handler := must(api.New(cfg))(t)
	for _, test := range []struct {
		remote, user string
		status       int
	}{
		{"127.0.0.1:1", "", 200}, {"[::1]:1", "", 200}, {"192.0.2.1:1", "", 401}, {"192.0.2.1:1", "alice", 403}, {"192.0.2.1:1", "audrey", 200},
	} {
		req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		req.Host, req.RemoteAddr = "localhost", test.remote
		if test.user != "" {
			req.Header.Set("Authorization", "Bearer "+w.Token(t, test.user).Reveal())
		}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		if rec.Code != test.status {
			t.Errorf("from %s as %q: %d, want %d", test.remote, test.user, rec.Code, test.status)
		}
	}
}

type panicking struct{}

func (panicking) Live() []postern.SessionInfo { panic("a bug") }

func (panicking) End(string, func(postern.SessionInfo) bool) int { return 0 }

func (panicking) Watch(string, string) (func(), error) { return func() {}, nil }

// A bug ends its own request, with an answer.
func TestPanic(t *testing.T) {
	w := apitest.New(t)
	cfg := w.Config()
	cfg.Live = panicking{}
	handler := must(api.New(cfg))(t)
	req := httptest.NewRequest(http.MethodGet, "/api/v1/status", nil)
	req.Host = "localhost"
	req.Header.Set("Authorization", "Bearer "+w.Token(t, "adam").Reveal())
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, req)
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "a bug") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	if _, err := api.New(api.Config{}); err == nil {
		t.Error("an API of nothing was made")
	}
}

func TestClientRefuses(t *testing.T) {
	for _, server := range []string{"", "gw.example", "http://gw.example", "https://user:pw@gw.example", "ftp://gw.example"} {
		if _, err := client.New(client.Config{Server: server}); err == nil {
			t.Errorf("%q was accepted", server)
		}
	}
	w := apitest.New(t)
	c := must(client.New(client.Config{Server: w.URL}))(t)
	_, err := c.Whoami(t.Context())
	var unreachable *client.UnreachableError
	if !errors.As(err, &unreachable) {
		t.Errorf("a certificate of an unknown CA: %v", err)
	}
	// A redirect isn't followed: it would carry the token along.
	moved := httptest.NewServer(http.RedirectHandler("https://evil.example/", http.StatusFound))
	defer moved.Close()
	u := must(url.Parse(moved.URL))(t)
	c = must(client.New(client.Config{Server: "http://" + u.Host, Token: postern.NewSecret("t")}))(t)
	_, err = c.Whoami(t.Context())
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Status != 302 {
		t.Errorf("a redirect: %v", err)
	}
}
