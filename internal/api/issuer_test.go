package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
	"postern/internal/identity"
	"postern/internal/identity/issuer"
	"postern/internal/identity/oidc"
	"postern/internal/identity/oidc/oidctest"
)

// newLocalWeb is a gateway whose people sign in at its own provider.
func newLocalWeb(t *testing.T) *web {
	t.Helper()
	w := &web{World: apitest.New(t), t: t, provider: oidctest.New(t)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own, err := issuer.New(issuer.Config{PublicURL: gateway, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	p, err := oidc.New(oidc.Config{
		Name: identity.LocalProvider, Issuer: own.URL(), ClientID: issuer.ClientID, Redirect: own.Callback(), Transport: own.Transport(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Providers = oidc.Set{p}
	cfg := w.Config()
	cfg.Issuer = own
	handler, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewTLSServer(handler)
	t.Cleanup(w.server.Close)
	w.browser = w.newBrowser()
	return w
}

func (w *web) password(page answered, user, password string) answered {
	w.t.Helper()
	form := fields(page.body)
	form.Set("user", user)
	form.Set("password", password)
	return w.post(gateway+"/issuer/login", form)
}

func TestLocalUserSignsIn(t *testing.T) {
	w := newLocalWeb(t)
	page := w.follow(w.get(gateway + "/auth/login?return=/auth/done"))
	if page.status != 200 || !strings.Contains(page.body, `type="password"`) {
		t.Fatalf("%d %s", page.status, page.body)
	}
	for _, try := range [][2]string{{"alice", "wrong"}, {"nobody", apitest.Password}} {
		if a := w.password(page, try[0], try[1]); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "Wrong user or password, or code.") {
			t.Errorf("%v: %+v", try, a)
		}
	}
	if reason := w.logged("login", "refused"); reason != "wrong user, password or code" {
		t.Errorf("logged %q", reason)
	}
	if a := w.follow(w.password(page, "alice", apitest.Password)); a.status != 200 || !strings.Contains(a.body, "Done") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := w.get(gateway + "/api/v1/whoami"); !strings.Contains(a.body, `"subject":"local:alice"`) || !strings.Contains(a.body, "engineering") {
		t.Errorf("%+v", a)
	}
	if reason := w.logged("login", "ok"); !strings.HasPrefix(reason, "web, local, lg_") {
		t.Errorf("logged %q", reason)
	}
	// The page again, after it did its work.
	if a := w.password(page, "alice", apitest.Password); a.status != http.StatusBadRequest {
		t.Errorf("%+v", a)
	}
	if _, err := w.Identity.Disable(t.Context(), postern.User, "alice"); err != nil {
		t.Fatal(err)
	}
	if a := w.get(gateway + "/api/v1/whoami"); a.status != http.StatusUnauthorized {
		t.Errorf("%+v", a)
	}
}

// Whoever sends another a link to a sign-in of their own gets nothing of it:
// the password page is the browser's that began it.
func TestSignInIsNotHandedOn(t *testing.T) {
	w := newLocalWeb(t)
	attacker := w.browser
	page := w.follow(w.get(gateway + "/auth/login"))
	link := gateway + issuer.LoginPath + "?id=" + fields(page.body).Get("id")
	w.browser = w.newBrowser() // the victim
	if a := w.get(link); a.status != http.StatusBadRequest {
		t.Errorf("the victim is asked for a password: %+v", a)
	}
	if a := w.password(page, "alice", apitest.Password); a.status != http.StatusBadRequest {
		t.Errorf("the victim signs the attacker in: %+v", a)
	}
	w.get(gateway + "/auth/login") // with a sign-in of their own under way, too
	if a := w.password(page, "alice", apitest.Password); a.status != http.StatusBadRequest {
		t.Errorf("the victim signs the attacker in: %+v", a)
	}
	w.browser = attacker
	if a := w.get(gateway + issuer.Prefix + "/authorize/callback?id=" + fields(page.body).Get("id")); strings.Contains(a.to, "code=") {
		t.Errorf("a code without a person: %+v", a)
	}
}

// The built-in provider serves one client, with PKCE, at one address.
func TestIssuerServesOneClient(t *testing.T) {
	w := newLocalWeb(t)
	ask := func(change map[string]string) answered {
		t.Helper()
		q := url.Values{
			"client_id": {issuer.ClientID}, "response_type": {"code"}, "scope": {"openid"}, "state": {"AAAAAAAAAA"}, "nonce": {"n"},
			"redirect_uri": {gateway + "/auth/callback/local"}, "code_challenge": {identity.Challenge("v")}, "code_challenge_method": {"S256"},
		}
		for k, v := range change {
			q.Set(k, v)
		}
		return w.get(gateway + issuer.Prefix + "/authorize?" + q.Encode())
	}
	if a := ask(nil); !strings.Contains(a.to, issuer.LoginPath+"?id=") {
		t.Fatalf("%+v", a)
	}
	for name, change := range map[string]map[string]string{
		"another client":   {"client_id": "evil"},
		"another redirect": {"redirect_uri": "https://evil.example/auth/callback/local"},
		"implicit":         {"response_type": "id_token"},
	} {
		if a := ask(change); strings.Contains(a.to, issuer.LoginPath) || strings.HasPrefix(a.to, "https://evil.example") {
			t.Errorf("%s: %+v", name, a)
		}
	}
	for _, path := range []string{"/oauth/introspect", "/device_authorization", "/revoke", "/end_session", "/healthz", "/ready", "/debug"} {
		if a := w.get(gateway + issuer.Prefix + path); a.status != http.StatusNotFound {
			t.Errorf("%s: %+v", path, a)
		}
	}
	for _, form := range []url.Values{
		{"grant_type": {"authorization_code"}, "client_id": {issuer.ClientID}, "code": {"made up"}, "redirect_uri": {gateway + "/auth/callback/local"}, "code_verifier": {"v"}},
		{"grant_type": {"client_credentials"}, "client_id": {issuer.ClientID}},
		{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {issuer.ClientID}, "subject_token": {"x"}, "subject_token_type": {"x"}},
		{"grant_type": {"refresh_token"}, "client_id": {issuer.ClientID}, "refresh_token": {"x"}},
	} {
		if a := w.post(gateway+issuer.Prefix+"/oauth/token", form); a.status < 400 || a.status > 499 || strings.Contains(a.body, "access_token\":") {
			t.Errorf("%v: %+v", form, a)
		}
	}
}

// Nobody fills the provider's memory from one place, so that others can't sign in.
func TestIssuerIsBounded(t *testing.T) {
	w := newLocalWeb(t)
	begun := 0
	for range 100 {
		a := w.get(gateway + issuer.Prefix + "/authorize?" + url.Values{
			"client_id": {issuer.ClientID}, "response_type": {"code"}, "scope": {"openid"}, "state": {"AAAAAAAAAA"},
			"redirect_uri": {gateway + "/auth/callback/local"}, "code_challenge": {identity.Challenge("v")}, "code_challenge_method": {"S256"},
		}.Encode())
		if a.status == http.StatusTooManyRequests {
			break
		}
		begun++
	}
	if begun < 60 || begun > 90 {
		t.Errorf("%d sign-ins begun", begun)
	}
}
