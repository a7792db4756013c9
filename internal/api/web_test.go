package api_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
	"postern/internal/identity"
	"postern/internal/identity/oidc"
	"postern/internal/identity/oidc/oidctest"
)

const gateway = "https://gw.example:8443"

// web is a gateway whose people come from a provider, and a browser.
type web struct {
	*apitest.World
	t        testing.TB
	provider *oidctest.Provider
	server   *httptest.Server
	browser  *http.Client
	from     net.Addr // of the next browser; nil: any
}

func newWeb(t testing.TB) *web {
	t.Helper()
	w := &web{World: apitest.New(t), t: t, provider: oidctest.New(t)}
	w.provider.Claims["groups"] = []string{"engineering"}
	w.provider.Claims["preferred_username"] = "erin"
	p, err := oidc.New(oidc.Config{
		Name: "corp", Issuer: w.provider.URL, ClientID: oidctest.Client, GroupsClaim: "groups", Redirect: gateway + "/auth/callback/corp",
		Secret: func(context.Context) (postern.Secret, error) { return postern.NewSecret(oidctest.Secret), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Providers = oidc.Set{p}
	handler, err := api.New(w.Config())
	if err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewTLSServer(handler)
	t.Cleanup(w.server.Close)
	w.browser = w.newBrowser()
	return w
}

// newBrowser is a browser without cookies. It follows no redirect by itself.
func (w *web) newBrowser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.server.Certificate())
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "gw.example:8443" {
				addr = w.server.Listener.Addr().String()
			}
			return (&net.Dialer{LocalAddr: w.from}).DialContext(ctx, network, addr)
		},
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

type answered struct {
	status int
	body   string
	to     string // where a redirect leads
	header http.Header
}

func (w *web) send(r *http.Request) answered {
	w.t.Helper()
	resp, err := w.browser.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	out := answered{status: resp.StatusCode, body: string(body), header: resp.Header}
	if to, err := resp.Location(); err == nil {
		out.to = to.String()
	}
	return out
}

func (w *web) get(to string) answered {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, to, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.send(r)
}

func (w *web) post(to string, form url.Values) answered {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.send(r)
}

// follow follows redirects until a page, or another host.
func (w *web) follow(a answered) answered {
	w.t.Helper()
	for range 10 {
		if a.to == "" || !(strings.HasPrefix(a.to, gateway) || strings.HasPrefix(a.to, w.provider.URL)) {
			return a
		}
		a = w.get(a.to)
	}
	w.t.Fatal("redirects go on")
	return a
}

func (w *web) signIn() {
	w.t.Helper()
	if a := w.follow(w.get(gateway + "/auth/login?return=/auth/done")); a.status != 200 || !strings.Contains(a.body, "Done") {
		w.t.Fatalf("signing in ends with %d %s", a.status, a.body)
	}
}

var hiddenFields = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// fields are a page's hidden fields.
func fields(body string) url.Values {
	out := url.Values{}
	for _, m := range hiddenFields.FindAllStringSubmatch(body, -1) {
		out.Set(m[1], strings.NewReplacer("&#43;", "+", "&amp;", "&", "&#39;", "'").Replace(m[2]))
	}
	return out
}

// logged is the reason of the newest audit entry of an action and outcome.
func (w *web) logged(action, outcome string) string {
	w.t.Helper()
	records, err := w.Audit.Tail(w.t.Context(), 0, 500)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := len(records) - 1; i >= 0; i-- {
		if records[i].Action == action && records[i].Outcome == outcome {
			return records[i].Reason
		}
	}
	return ""
}

func TestBrowserSignsIn(t *testing.T) {
	w := newWeb(t)
	a := w.get(gateway + "/auth/login?return=/reviews/rv_1%3Fx%3D1")
	if !strings.HasPrefix(a.to, w.provider.URL+"/authorize?") || !strings.Contains(a.to, "code_challenge_method=S256") {
		t.Fatalf("%+v", a)
	}
	back := w.get(a.to)
	a = w.get(back.to)
	if a.to != gateway+"/reviews/rv_1?x=1" {
		t.Fatalf("%+v", a)
	}
	var session *http.Cookie
	for _, line := range a.header.Values("Set-Cookie") {
		if c, err := http.ParseSetCookie(line); err == nil && c.Name == "__Host-postern" {
			session = c
		}
	}
	if session == nil || !session.HttpOnly || !session.Secure || session.SameSite != http.SameSiteLaxMode || session.Path != "/" || session.Domain != "" || session.MaxAge <= 0 {
		t.Fatalf("cookie %+v", session)
	}
	if reason := w.logged("login", "ok"); !strings.Contains(reason, "web, corp, lg_") {
		t.Errorf("logged %q", reason)
	}
	who := w.get(gateway + "/api/v1/whoami")
	var got api.Whoami
	if err := json.Unmarshal([]byte(who.body), &got); err != nil || got.Name != "erin" || got.Subject != "corp:42" || got.CSRF == "" || got.Groups[0] != "engineering" {
		t.Fatalf("%s", who.body)
	}
	// The same answer again, by whoever has seen it: nothing.
	if again := w.get(back.to); again.status != http.StatusBadRequest || again.to != "" {
		t.Errorf("replayed: %+v", again)
	}
	out := w.get(gateway + "/auth/logout")
	if a = w.post(gateway+"/auth/logout", url.Values{"csrf": {"x"}}); a.status != http.StatusForbidden {
		t.Errorf("signed out by another page: %+v", a)
	}
	if a = w.post(gateway+"/auth/logout", fields(out.body)); a.status != 200 || !strings.Contains(a.body, w.provider.URL+"/end?") {
		t.Errorf("%+v", a)
	}
	if a = w.get(gateway + "/api/v1/whoami"); a.status != http.StatusUnauthorized {
		t.Errorf("%+v", a)
	}
}

// What a provider's answer lacks refuses it: the page says nothing of it, the
// audit log says which check it was, and the page's reference finds it.
func TestRefusedSignIns(t *testing.T) {
	reference := regexp.MustCompile(`under ([A-Z2-7]{8})\.`)
	for name, c := range map[string]struct {
		bend func(*web)
		says string
	}{
		"audience": {func(w *web) { w.provider.Claims["aud"] = "another" }, "expected audience"},
		"nonce":    {func(w *web) { w.provider.Claims["nonce"] = "another" }, "nonce"},
		"disabled": {func(w *web) {
			w.signIn()
			if _, err := w.Identity.Disable(t.Context(), postern.User, "erin"); err != nil {
				t.Fatal(err)
			}
		}, "disabled"},
		"taken": {func(w *web) { w.provider.Claims["preferred_username"] = "adam" }, "local user"},
		"name":  {func(w *web) { w.provider.Claims["preferred_username"] = "../adam" }, "only letters"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t)
			c.bend(w)
			a := w.follow(w.get(gateway + "/auth/login"))
			found := reference.FindStringSubmatch(a.body)
			if a.status != http.StatusForbidden || found == nil || strings.Contains(a.body, c.says) {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if reason := w.logged("login", "refused"); !strings.Contains(reason, c.says) || !strings.Contains(reason, found[1]) {
				t.Errorf("logged %q", reason)
			}
			if a = w.get(gateway + "/api/v1/whoami"); a.status != http.StatusUnauthorized {
				t.Errorf("let in: %+v", a)
			}
		})
	}
}

func TestProviderDown(t *testing.T) {
	w := newWeb(t)
	w.provider.Down = true
	a := w.get(gateway + "/auth/login")
	if a.status != http.StatusBadGateway || !strings.Contains(a.body, "can&#39;t reach corp") || !strings.Contains(a.body, "stays so") {
		t.Errorf("%+v", a)
	}
}

// Nobody finishes a sign-in that another browser began, at another provider, or
// that was never begun; and two in one browser don't meet.
func TestAttemptsAreTheBrowsersOwn(t *testing.T) {
	w := newWeb(t)
	mine := w.get(w.get(gateway + "/auth/login?return=/one").to)
	other := w.get(w.get(gateway + "/auth/login?return=/two").to)
	first := w.browser
	w.browser = w.newBrowser() // the victim of a planted link
	for _, to := range []string{
		mine.to, gateway + "/auth/callback/corp", gateway + "/auth/callback/corp?code=x&state=AAAAAAAAAAAAAAAA", gateway + "/auth/callback/corp?state=%00%00%00%00%00%00%00%00",
	} {
		if a := w.get(to); a.status != http.StatusBadRequest || len(a.header.Values("Set-Cookie")) > 0 && strings.Contains(a.header.Get("Set-Cookie"), "__Host-postern=") {
			t.Errorf("%s: %+v", to, a)
		}
	}
	if a := w.get(gateway + "/auth/callback/none?code=x"); a.status != http.StatusNotFound {
		t.Errorf("%+v", a)
	}
	w.browser = first
	if a := w.get(other.to); a.to != gateway+"/two" {
		t.Errorf("%+v", a)
	}
	if a := w.get(mine.to); a.to != gateway+"/one" {
		t.Errorf("%+v", a)
	}
}

func TestReturnStaysHere(t *testing.T) {
	w := newWeb(t)
	for _, to := range []string{
		"https://evil.example/", "//evil.example/", `/\evil.example`, `\/evil.example`, "/%5cevil.example", "javascript:alert(1)", "evil", "/\t/evil.example",
		"https:evil.example", "///evil.example", "/a\r\nSet-Cookie: x=y", "http://gw.example:8443@evil.example/", strings.Repeat("/a", 2000),
	} {
		a := w.follow(w.get(gateway + "/auth/login?" + url.Values{"return": {to}}.Encode()))
		if a.status != http.StatusNotFound || !strings.Contains(a.body, "there is nothing at GET /;") {
			t.Errorf("%q leads to %q: %d %s", to, a.to, a.status, a.body)
		}
	}
}

// A call with the cookie is one of our own pages', or none.
func TestCookieCalls(t *testing.T) {
	w := newWeb(t)
	w.signIn()
	var who api.Whoami
	if err := json.Unmarshal([]byte(w.get(gateway+"/api/v1/whoami").body), &who); err != nil {
		t.Fatal(err)
	}
	call := func(change func(*http.Request)) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, gateway+"/api/v1/tokens", strings.NewReader(`{"resource": "orders-db"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Postern-Csrf", who.CSRF)
		change(r)
		return w.send(r).status
	}
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"own page":       {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin"); r.Header.Set("Origin", gateway) }, 201},
		"no browser":     {func(*http.Request) {}, 201},
		"no csrf":        {func(r *http.Request) { r.Header.Del("Postern-Csrf") }, 403},
		"another's csrf": {func(r *http.Request) { r.Header.Set("Postern-Csrf", "AAAA") }, 403},
		"other site":     {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"sister site":    {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403},
		"old browser":    {func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403},
		"null origin":    {func(r *http.Request) { r.Header.Set("Origin", "null") }, 403},
		"bad bearer":     {func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 401},
		"two cookies":    {func(r *http.Request) { r.Header.Set("Cookie", "__Host-postern=x") }, 401},
	} {
		if got := call(c.change); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, gateway+"/api/v1/whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if a := w.send(r); a.status != http.StatusForbidden {
		t.Errorf("read by another site: %+v", a)
	}
	// The browser's token is no bearer token.
	u, _ := url.Parse(gateway)
	for _, c := range w.browser.Jar.Cookies(u) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, gateway+"/api/v1/whoami", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+c.Value)
		if a := w.send(r); a.status != http.StatusUnauthorized {
			t.Errorf("%s as a bearer token: %+v", c.Name, a)
		}
	}
}

// What a proxy, or whoever plays one, says of a request changes nothing.
func TestForwardedHeadersAreIgnored(t *testing.T) {
	w := newWeb(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, gateway+"/auth/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9;host=evil.example",
		"X-Real-IP": "203.0.113.9", "X-Original-URL": "/auth/callback/corp", "X-Forwarded-User": "adam",
	} {
		r.Header.Set(name, value)
	}
	a := w.send(r)
	if !strings.Contains(a.to, url.QueryEscape(gateway+"/auth/callback/corp")) || strings.Contains(a.to, "evil") {
		t.Errorf("%+v", a)
	}
	r.URL.Path = "/api/v1/whoami"
	if a = w.send(r); a.status != http.StatusUnauthorized {
		t.Errorf("%+v", a)
	}
	// By another of our names, people are sent to the public one first.
	r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/auth/login?return=/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-Host", "evil.example")
	if a = w.send(r); a.status != http.StatusTemporaryRedirect || a.to != gateway+"/auth/login?return=/x" {
		t.Errorf("%+v", a)
	}
}

func TestPagesAreStrict(t *testing.T) {
	w := newWeb(t)
	w.signIn()
	for _, path := range []string{"/auth/logout", "/device", "/auth/done", "/device?user_code=%3Cscript%3Ealert(1)%3C/script%3E"} {
		a := w.get(gateway + path)
		policy := a.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'") ||
			strings.Contains(a.body, "<script") || strings.Contains(a.body, " style=") || strings.Contains(a.body, " on") && regexp.MustCompile(`\son[a-z]+=`).MatchString(a.body) {
			t.Errorf("%s: %s\n%s", path, policy, a.body)
		}
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached", path)
		}
	}
}

const (
	verifier = "a-verifier-that-only-the-program-knows-0123456789"
	loopback = "http://127.0.0.1:45678/callback"
)

func programURL(change map[string]string) string {
	q := url.Values{
		"client_id": {api.CLIClient}, "response_type": {"code"}, "redirect_uri": {loopback}, "state": {"the state"},
		"code_challenge": {identity.Challenge(verifier)}, "code_challenge_method": {"S256"}, "client": {"laptop"},
	}
	for k, v := range change {
		q.Set(k, v)
	}
	return gateway + "/oauth/authorize?" + q.Encode()
}

func (w *web) token(form url.Values) (answered, map[string]any) {
	w.t.Helper()
	browser := w.browser
	w.browser = w.newBrowser() // a program: it has no cookie
	defer func() { w.browser = browser }()
	if !form.Has("client_id") {
		form.Set("client_id", api.CLIClient)
	}
	a := w.post(gateway+"/oauth/token", form)
	var out map[string]any
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
	return a, out
}

// approve signs a program in, and returns what it is sent.
func (w *web) approve() url.Values {
	w.t.Helper()
	a := w.follow(w.get(programURL(nil)))
	if !strings.Contains(a.body, api.ConfirmCode(identity.Challenge(verifier))) || !strings.Contains(a.body, "laptop") ||
		!strings.Contains(a.header.Get("Content-Security-Policy"), "form-action 'self' http://127.0.0.1:45678;") {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
	form := fields(a.body)
	form.Set("decision", "approve")
	a = w.post(gateway+"/oauth/authorize", form)
	to, err := url.Parse(a.to)
	if err != nil || !strings.HasPrefix(a.to, loopback+"?") || to.Query().Get("state") != "the state" || to.Query().Get("iss") != gateway {
		w.t.Fatalf("%+v", a)
	}
	return to.Query()
}

func TestProgramSignsIn(t *testing.T) {
	w := newWeb(t)
	got := w.approve()
	redeem := url.Values{"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "code_verifier": {verifier}, "redirect_uri": {loopback}}
	for name, change := range map[string]map[string]string{
		"another process": {"code_verifier": "another"}, "another port": {"redirect_uri": "http://127.0.0.1:45679/callback"},
		"another client": {"client_id": "web"}, "another code": {"code": "postern_ac_" + strings.Repeat("0", 46)},
	} {
		form := url.Values{}
		for k, v := range redeem {
			form[k] = v
		}
		for k, v := range change {
			form.Set(k, v)
		}
		if a, out := w.token(form); a.status == 200 || out["access_token"] != nil {
			t.Errorf("%s: %+v", name, out)
		}
	}
	a, out := w.token(redeem)
	if a.status != 200 || out["token_type"] != "Bearer" || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%+v", a)
	}
	if reason := w.logged("login", "ok"); !strings.HasPrefix(reason, "cli, lg_") {
		t.Errorf("logged %q", reason)
	}
	bearer := postern.NewSecret(out["access_token"].(string))
	if id, err := w.Identity.AuthenticateBearer(t.Context(), bearer); err != nil || id.Name != "erin" {
		t.Errorf("%+v, %v", id, err)
	}
	a, next := w.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {out["refresh_token"].(string)}})
	if a.status != 200 || next["refresh_token"] == out["refresh_token"] {
		t.Errorf("%+v", a)
	}
	again := w.approve()
	_, other := w.token(url.Values{"grant_type": {"authorization_code"}, "code": {again.Get("code")}, "code_verifier": {verifier}, "redirect_uri": {loopback}})
	for range 2 {
		if a := w.post(gateway+"/oauth/revoke", url.Values{"client_id": {api.CLIClient}, "token": {other["refresh_token"].(string)}}); a.status != 200 {
			t.Errorf("%+v", a)
		}
	}
	if reason := w.logged("logout", "ok"); !strings.HasPrefix(reason, "lg_") {
		t.Errorf("logged %q", reason)
	}
	if _, err := w.Identity.AuthenticateBearer(t.Context(), postern.NewSecret(other["access_token"].(string))); err == nil {
		t.Error("signed out, and still in")
	}
	// The code again, by who has everything: a copy, and the end of the login.
	if a, out = w.token(redeem); a.status != 400 || out["error"] != "invalid_grant" {
		t.Errorf("%+v", a)
	}
	if reason := w.logged("login.reuse", "refused"); !strings.Contains(reason, "user:erin") {
		t.Errorf("logged %q", reason)
	}
	if _, err := w.Identity.AuthenticateBearer(t.Context(), bearer); err == nil {
		t.Error("the login goes on")
	}
	if a, _ = w.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {next["refresh_token"].(string)}}); a.status != 400 {
		t.Errorf("%+v", a)
	}
}

// An authorization request that isn't the command line's is never answered by
// a redirect, and no page of another's approves one.
func TestForeignPrograms(t *testing.T) {
	w := newWeb(t)
	w.signIn()
	for name, change := range map[string]map[string]string{
		"another host":    {"redirect_uri": "https://evil.example/callback"},
		"a name":          {"redirect_uri": "http://localhost:45678/callback"},
		"a trick":         {"redirect_uri": "http://127.0.0.1:45678@evil.example/callback"},
		"another path":    {"redirect_uri": "http://127.0.0.1:45678/elsewhere"},
		"another address": {"redirect_uri": "http://192.0.2.1:45678/callback"},
		"a query":         {"redirect_uri": "http://127.0.0.1:45678/callback?x=y"},
		"a low port":      {"redirect_uri": "http://127.0.0.1:80/callback"},
		"no port":         {"redirect_uri": "http://127.0.0.1/callback"},
		"odd address":     {"redirect_uri": "http://127.1:45678/callback"},
		"plain PKCE":      {"code_challenge_method": "plain"},
		"no challenge":    {"code_challenge": ""},
		"no state":        {"state": ""},
		"another client":  {"client_id": "evil"},
		"implicit":        {"response_type": "token"},
	} {
		if a := w.get(programURL(change)); a.status != http.StatusBadRequest || a.to != "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if a := w.get(programURL(nil) + "&state=twice"); a.status != http.StatusBadRequest {
		t.Errorf("%+v", a)
	}
	form := fields(w.get(programURL(nil)).body)
	form.Set("decision", "approve")
	form.Set("csrf", "of another page")
	if a := w.post(gateway+"/oauth/authorize", form); a.status != http.StatusForbidden || a.to != "" {
		t.Errorf("%+v", a)
	}
	form = fields(w.get(programURL(nil)).body)
	form.Set("decision", "approve")
	form.Set("redirect_uri", "https://evil.example/callback")
	if a := w.post(gateway+"/oauth/authorize", form); a.status != http.StatusBadRequest || a.to != "" {
		t.Errorf("%+v", a)
	}
	form.Set("redirect_uri", loopback)
	form.Set("decision", "deny")
	if a := w.post(gateway+"/oauth/authorize", form); !strings.Contains(a.to, "error=access_denied") || strings.Contains(a.to, "code=") {
		t.Errorf("%+v", a)
	}
}

func TestDeviceSignsIn(t *testing.T) {
	w := newWeb(t)
	start := func() map[string]any {
		t.Helper()
		var out map[string]any
		a := w.post(gateway+"/oauth/device_authorization", url.Values{"client_id": {api.CLIClient}, "client": {"build-7"}})
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != 200 {
			t.Fatalf("%+v", a)
		}
		return out
	}
	d := start()
	poll := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {d["device_code"].(string)}}
	if a, out := w.token(poll); a.status != 400 || out["error"] != "authorization_pending" {
		t.Errorf("%+v", a)
	}
	if a, out := w.token(poll); a.status != 400 || out["error"] != "slow_down" {
		t.Errorf("%+v", a)
	}
	page := w.follow(w.get(d["verification_uri_complete"].(string)))
	if !strings.Contains(page.body, "build-7") || !strings.Contains(page.body, "127.0.0.1") || !strings.Contains(page.body, d["user_code"].(string)) || !strings.Contains(page.body, "erin") {
		t.Fatalf("%s", page.body)
	}
	form := fields(page.body)
	form.Set("decision", "approve")
	form.Set("csrf", "x")
	if a := w.post(gateway+"/device", form); a.status != http.StatusForbidden {
		t.Errorf("approved by another page: %+v", a)
	}
	form.Set("csrf", fields(page.body).Get("csrf"))
	if a := w.post(gateway+"/device", form); a.status != 200 || !strings.Contains(a.body, "signed in as erin") {
		t.Errorf("%+v", a)
	}
	if reason := w.logged("device.approve", "ok"); reason != "at 127.0.0.1" {
		t.Errorf("logged %q", reason)
	}
	if a := w.post(gateway+"/device", form); a.status != http.StatusNotFound {
		t.Errorf("approved twice: %+v", a)
	}
	if a := w.post(gateway+"/oauth/token", url.Values{"grant_type": {"password"}}); a.status != 400 || !strings.Contains(a.body, "unsupported_grant_type") {
		t.Errorf("%+v", a)
	}
	if a := w.post(gateway+"/oauth/token", url.Values{"grant_type": {"refresh_token", "refresh_token"}}); a.status != 400 || !strings.Contains(a.body, "twice") {
		t.Errorf("%+v", a)
	}
}
