package oidc_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"postern"
	"postern/internal/identity"
	"postern/internal/identity/oidc"
	"postern/internal/identity/oidc/oidctest"
)

const redirect = "https://gw.example/auth/callback/corp"

func newProvider(t *testing.T, at *oidctest.Provider, change func(*oidc.Config)) *oidc.Provider {
	t.Helper()
	cfg := oidc.Config{
		Name: "corp", Issuer: at.URL, ClientID: oidctest.Client, Redirect: redirect, GroupsClaim: "groups",
		Secret: func(context.Context) (postern.Secret, error) { return postern.NewSecret(oidctest.Secret), nil },
	}
	if change != nil {
		change(&cfg)
	}
	p, err := oidc.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// browse sends a browser to the provider, and returns what it comes back with.
func browse(t *testing.T, to string) oidc.Answer {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(to)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	back, err := resp.Location()
	if err != nil || !strings.HasPrefix(back.String(), redirect+"?") {
		t.Fatalf("sent to %v: %v", back, err)
	}
	q := back.Query()
	return oidc.Answer{State: q.Get("state"), Code: q.Get("code"), Issuer: q.Get("iss")}
}

func signIn(t *testing.T, p *oidc.Provider) (identity.Vouched, error) {
	t.Helper()
	to, a, err := p.Begin(t.Context())
	if err != nil {
		return identity.Vouched{}, err
	}
	return p.Finish(t.Context(), a, browse(t, to))
}

func TestSignIn(t *testing.T) {
	at := oidctest.New(t)
	at.Refresh = "first"
	at.Claims = map[string]any{
		"preferred_username": "alice", "email": "alice@example.com", "email_verified": true, "sid": "s1", "dept": map[string]any{"id": 7},
		"groups": []string{"eng", "dba"}, "amr": []string{"hwk"},
	}
	v, err := signIn(t, newProvider(t, at, nil))
	if err != nil {
		t.Fatal(err)
	}
	id := v.Identity
	if id.Name != "alice" || id.Subject != "corp:42" || id.Kind != postern.User || id.Email != "alice@example.com" ||
		!slices.Equal(id.Groups, []string{"eng", "dba"}) || v.SID != "s1" || v.Refresh.IsZero() {
		t.Errorf("%+v", v)
	}
	if id.Claims["dept.id"] != "7" || id.Claims["amr"] != `["hwk"]` || id.Claims["iss"] != at.URL || id.Claims["nonce"] != "" || id.Claims["sid"] != "" {
		t.Errorf("claims %v", id.Claims)
	}
	asked := at.Asked[0]
	if asked.Get("code_verifier") == "" || asked.Get("client_secret") != "" || asked.Get("redirect_uri") != redirect {
		t.Errorf("asked %v", asked)
	}
}

func TestClaims(t *testing.T) {
	for name, c := range map[string]struct {
		claims, userinfo map[string]any
		change           func(*oidc.Config)
		name             string
		groups           []string
		says             string // why it is refused
	}{
		"nested": {
			claims: map[string]any{"realm_access": map[string]any{"roles": []string{"a"}}},
			change: func(c *oidc.Config) { c.GroupsClaim = "realm_access.roles" }, name: "alice", groups: []string{"a"},
		},
		"a name with dots": {
			claims: map[string]any{"https://corp.example/groups": []string{"a"}},
			change: func(c *oidc.Config) { c.GroupsClaim = "https://corp.example/groups" }, name: "alice", groups: []string{"a"},
		},
		"one text":          {claims: map[string]any{"groups": "a"}, name: "alice", groups: []string{"a"}},
		"none":              {name: "alice"},
		"from userinfo":     {userinfo: map[string]any{"sub": "42", "groups": []string{"a"}}, name: "alice", groups: []string{"a"}},
		"the token counts":  {userinfo: map[string]any{"sub": "42", "groups": []string{"a"}, "preferred_username": "root"}, name: "alice", groups: []string{"a"}},
		"another's info":    {userinfo: map[string]any{"sub": "43", "groups": []string{"a"}}, says: "another subject"},
		"no name":           {claims: map[string]any{"preferred_username": nil}, says: "set name_claim"},
		"name is no text":   {claims: map[string]any{"preferred_username": 7}, says: "set name_claim"},
		"name by email":     {claims: map[string]any{"email": "a@b.example", "email_verified": true}, change: func(c *oidc.Config) { c.NameClaim = "email" }, name: "a@b.example"},
		"unverified email":  {claims: map[string]any{"email": "a@b.example"}, change: func(c *oidc.Config) { c.NameClaim = "email" }, says: "verified"},
		"verified in words": {claims: map[string]any{"email": "a@b.example", "email_verified": "true"}, change: func(c *oidc.Config) { c.NameClaim = "email" }, says: "verified"},
		"groups of numbers": {claims: map[string]any{"groups": []any{"a", 1}}, says: "no text"},
		"groups object":     {claims: map[string]any{"groups": map[string]any{"a": 1}}, says: "no list"},
		"too much":          {claims: map[string]any{"much": strings.Repeat("x", 70<<10)}, says: "too large"},
		"far too much":      {claims: map[string]any{"much": strings.Repeat("x", 200<<10)}, says: "bytes, more than"},
		"huge":              {claims: map[string]any{"much": strings.Repeat("x", 2<<20)}, says: ""},
	} {
		t.Run(name, func(t *testing.T) {
			at := oidctest.New(t)
			for k, v := range c.claims {
				at.Claims[k] = v
			}
			at.UserInfo = c.userinfo
			v, err := signIn(t, newProvider(t, at, c.change))
			if c.name == "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("got %v, want %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v.Identity.Name != c.name || !slices.Equal(v.Identity.Groups, c.groups) {
				t.Errorf("%+v", v.Identity)
			}
		})
	}
}

// Every check of an ID token refuses, and says to the operator which it was.
func TestBadTokens(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(name string, value any) func(*oidctest.Provider) {
		return func(at *oidctest.Provider) { at.Claims[name] = value }
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, c := range map[string]struct {
		bend func(*oidctest.Provider)
		says string
	}{
		"alg none": {func(at *oidctest.Provider) {
			at.Sign = func(claims []byte) string {
				b64 := base64.RawURLEncoding
				return b64.EncodeToString([]byte(`{"alg":"none"}`)) + "." + b64.EncodeToString(claims) + "."
			}
		}, "ID token"},
		"HMAC with the public key": {func(at *oidctest.Provider) {
			der, _ := x509.MarshalPKIXPublicKey(at.Key.Public())
			key := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
			at.Sign = func(claims []byte) string {
				return oidctest.Signed(jose.HS256, jose.JSONWebKey{Key: key, KeyID: "k1"}, claims)
			}
		}, "unexpected signature algorithm"},
		"HMAC with the client's secret": {func(at *oidctest.Provider) {
			at.Sign = func(claims []byte) string {
				return oidctest.Signed(jose.HS256, []byte(strings.Repeat(oidctest.Secret, 3)), claims)
			}
		}, "unexpected signature algorithm"},
		"a key that isn't published": {func(at *oidctest.Provider) {
			at.Sign = func(claims []byte) string {
				return oidctest.Signed(jose.RS256, jose.JSONWebKey{Key: other, KeyID: "k2"}, claims)
			}
		}, "failed to verify signature"},
		"another key under the same id": {func(at *oidctest.Provider) {
			at.Sign = func(claims []byte) string {
				return oidctest.Signed(jose.RS256, jose.JSONWebKey{Key: other, KeyID: "k1"}, claims)
			}
		}, "failed to verify signature"},
		"a key in the token": {func(at *oidctest.Provider) {
			at.Sign = func(claims []byte) string {
				signer, _ := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: other}, &jose.SignerOptions{EmbedJWK: true})
				signed, _ := signer.Sign(claims)
				out, _ := signed.CompactSerialize()
				return out
			}
		}, "failed to verify signature"},
		"no JWT": {func(at *oidctest.Provider) { at.Sign = func([]byte) string { return "x.y.z" } }, "ID token"},
		"two signatures": {func(at *oidctest.Provider) {
			at.Sign = func(c []byte) string { return `{"payload":"e30","signatures":[]}` }
		}, "ID token"},
		"no token":          {func(at *oidctest.Provider) { at.Sign = func([]byte) string { return "" } }, "no ID token"},
		"another issuer":    {claim("iss", "https://evil.example"), "different provider"},
		"no issuer":         {claim("iss", nil), "different provider"},
		"another audience":  {claim("aud", "somebody"), "expected audience"},
		"no audience":       {claim("aud", nil), "expected audience"},
		"audiences, no azp": {claim("aud", []string{"somebody", oidctest.Client}), "another client"},
		"azp of another":    {claim("azp", "somebody"), "another client"},
		"expired":           {claim("exp", in(-61*time.Second)), "expired"},
		"never expires":     {claim("exp", nil), "expired"},
		"of the future":     {claim("iat", in(2*time.Minute)), "future"},
		"not yet":           {claim("nbf", in(2*time.Minute)), "good yet"},
		"no subject":        {claim("sub", nil), "subject"},
		"another nonce":     {claim("nonce", "mine"), "nonce"},
		"no nonce":          {claim("nonce", nil), "nonce"},
		"another's at_hash": {claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), "another access token"},
	} {
		t.Run(name, func(t *testing.T) {
			at := oidctest.New(t)
			c.bend(at)
			_, err := signIn(t, newProvider(t, at, nil))
			if !errors.Is(err, identity.ErrUnauthenticated) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// Clocks may differ by a minute.
func TestSkew(t *testing.T) {
	for name, bend := range map[string]map[string]any{
		"expired just now": {"exp": time.Now().Add(-50 * time.Second).Unix()},
		"issued soon":      {"iat": time.Now().Add(50 * time.Second).Unix()},
		"good soon":        {"nbf": time.Now().Add(50 * time.Second).Unix()},
	} {
		at := oidctest.New(t)
		for k, v := range bend {
			at.Claims[k] = v
		}
		if _, err := signIn(t, newProvider(t, at, nil)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What comes back must be the answer to what was asked, from who was asked, once.
func TestAnswers(t *testing.T) {
	at := oidctest.New(t)
	p := newProvider(t, at, nil)
	to, a, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.State == b.State || a.Nonce == b.Nonce || a.Verifier == b.Verifier || len(a.Nonce) < 26 {
		t.Errorf("%+v %+v", a, b)
	}
	answer := browse(t, to)
	check := func(a oidc.Attempt, answer oidc.Answer, says string) {
		t.Helper()
		if _, err := p.Finish(t.Context(), a, answer); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	check(b, answer, "state")
	check(oidc.Attempt{}, oidc.Answer{Code: answer.Code}, "state")
	foreign := answer
	foreign.Issuer = "https://evil.example"
	check(a, foreign, "issuer")
	injected := b // another's code in an attempt of mine
	injected.State = answer.State
	check(injected, answer, "invalid_grant")
	check(a, answer, "invalid_grant") // it was spent by that
	to, a, err = p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answer = browse(t, to)
	if _, err := p.Finish(t.Context(), a, answer); err != nil {
		t.Fatal(err)
	}
	check(a, answer, "invalid_grant")
}

func TestRenew(t *testing.T) {
	at := oidctest.New(t)
	at.Refresh = "first"
	p := newProvider(t, at, nil)
	v, err := signIn(t, p)
	if err != nil {
		t.Fatal(err)
	}
	at.Claims["groups"] = []string{"new"}
	next, err := p.Renew(t.Context(), "corp:42", v.Refresh)
	if err != nil || !slices.Equal(next.Identity.Groups, []string{"new"}) || next.Refresh.IsZero() || next.Refresh.Equal(v.Refresh) {
		t.Fatalf("%+v, %v", next, err)
	}
	is := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	_, err = p.Renew(t.Context(), "corp:42", v.Refresh) // rotated
	is(err, identity.ErrGrantEnded)
	at.NoIDToken, at.UserInfo = true, map[string]any{"sub": "42", "preferred_username": "alice", "groups": []string{"info"}}
	p = newProvider(t, at, nil)
	if next, err = p.Renew(t.Context(), "corp:42", next.Refresh); err != nil || !slices.Equal(next.Identity.Groups, []string{"info"}) {
		t.Fatalf("%+v, %v", next, err)
	}
	at.UserInfo = nil
	p = newProvider(t, at, nil)
	if next, err = p.Renew(t.Context(), "corp:42", next.Refresh); err != nil || next.Identity.Name != "" || next.Identity.Subject != "corp:42" {
		t.Fatalf("%+v, %v", next, err)
	}
	at.NoIDToken, at.Sub = false, "43"
	_, err = p.Renew(t.Context(), "corp:42", next.Refresh)
	is(err, identity.ErrGrantEnded)
	at.Sub, at.Refuse = "42", "invalid_client"
	_, err = p.Renew(t.Context(), "corp:42", postern.NewSecret(at.Refresh))
	is(err, identity.ErrProviderDown)
	at.Refuse, at.Down = "", true
	_, err = p.Renew(t.Context(), "corp:42", postern.NewSecret(at.Refresh))
	is(err, identity.ErrProviderDown)
	at.Down = false
	if _, err = p.Renew(t.Context(), "corp:42", postern.NewSecret(at.Refresh)); err != nil {
		t.Error(err)
	}
	_, err = oidc.Set{p}.Renew(t.Context(), "gone:42", postern.NewSecret("x"))
	is(err, identity.ErrGrantEnded)
}

// A provider that is down at start is asked again, and not too often; one that
// was discovered once stays so.
func TestProviderDown(t *testing.T) {
	at := oidctest.New(t)
	at.Down = true
	now := time.Now()
	p := newProvider(t, at, func(c *oidc.Config) { c.Now = func() time.Time { return now } })
	_, _, err := p.Begin(t.Context())
	if !errors.Is(err, identity.ErrProviderDown) {
		t.Fatal(err)
	}
	at.Down = false
	if _, _, err = p.Begin(t.Context()); !errors.Is(err, identity.ErrProviderDown) {
		t.Errorf("asked again at once: %v", err)
	}
	now = now.Add(6 * time.Second)
	if err := p.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	at.Down = true
	now = now.Add(2 * time.Hour)
	if _, _, err = p.Begin(t.Context()); err != nil {
		t.Errorf("forgot the provider: %v", err)
	}
	if got := p.SignOut("https://gw.example/auth/done"); !strings.HasPrefix(got, at.URL+"/end?") || !strings.Contains(got, url.QueryEscape("https://gw.example/auth/done")) {
		t.Errorf("sign-out at %q", got)
	}
}

func TestBadDiscovery(t *testing.T) {
	for name, wrong := range map[string]map[string]any{
		"another issuer": {"issuer": "https://evil.example"},
		"no token":       {"token_endpoint": nil},
		"no address":     {"authorization_endpoint": "javascript:alert(1)"},
		"no keys":        {"jwks_uri": ""},
		"too large":      {"much": strings.Repeat("x", 2<<20)},
	} {
		at := oidctest.New(t)
		at.Wrong = wrong
		if _, _, err := newProvider(t, at, nil).Begin(t.Context()); !errors.Is(err, identity.ErrProviderDown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Neither the client's secret nor a token is in an error.
func TestErrorsHoldNoSecret(t *testing.T) {
	at := oidctest.New(t)
	at.Refuse = "invalid_grant"
	p := newProvider(t, at, nil)
	to, a, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answer := browse(t, to)
	_, err = p.Finish(t.Context(), a, answer)
	text, _ := json.Marshal(err.Error())
	for _, secret := range []string{oidctest.Secret, answer.Code, a.Verifier, a.Nonce} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%s shows %q", text, secret)
		}
	}
	_, err = p.Renew(t.Context(), "corp:42", postern.NewSecret("a-refresh-token"))
	if err == nil || strings.Contains(err.Error(), "a-refresh-token") {
		t.Errorf("%v", err)
	}
}
