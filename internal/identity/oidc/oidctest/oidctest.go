// Package oidctest is an OpenID Connect provider for tests, in which every
// single thing can be wrong. Providers that are right are tested with real ones.
package oidctest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Client is who the gateway is at the provider.
const (
	Client = "postern"
	Secret = "the client's secret"
)

// Provider is a provider. Its fields may be changed between requests, under Lock.
type Provider struct {
	sync.Mutex
	*httptest.Server
	Key *rsa.PrivateKey // signs
	Now func() time.Time

	Sub      string
	Claims   map[string]any // more claims of the ID token; nil values take claims out
	UserInfo map[string]any // nil: there is no such endpoint
	// Sign makes the ID token; nil: RS256 with Key.
	Sign func(claims []byte) string
	// Refresh is the refresh token that is given and expected; "": none.
	Refresh string
	// Refuse is the error that the token endpoint answers with; "": none.
	Refuse string
	// Down answers everything with 503.
	Down bool
	// Wrong replaces entries of the discovery document.
	Wrong map[string]any
	// NoIDToken leaves it out of answers to refresh tokens.
	NoIDToken bool

	codes map[string]url.Values // of the authorization requests
	Asked []url.Values          // of the token endpoint
}

// New starts a provider with one person, sub "42", name alice.
func New(t testing.TB) *Provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{Key: key, Now: time.Now, Sub: "42", Claims: map[string]any{"preferred_username": "alice"}, codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, p.keys()) })
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", p.userinfo)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.Lock()
		defer p.Unlock()
		if p.Down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (p *Provider) keys() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.Key.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}}
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	doc := map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}, "code_challenge_methods_supported": []string{"S256"},
		"end_session_endpoint": p.URL + "/end",
	}
	if p.UserInfo != nil {
		doc["userinfo_endpoint"] = p.URL + "/userinfo"
	}
	maps.Copy(doc, p.Wrong)
	answer(w, 200, doc)
}

// authorize signs the person in without asking.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	code := rand.Text()
	p.codes[code] = q
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || q.Get("client_id") != Client || q.Get("response_type") != "code" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.URL}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound) //nolint:gosec // of a test
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.Asked = append(p.Asked, r.PostForm)
	id, secret, _ := r.BasicAuth()
	if secret, _ = url.QueryUnescape(secret); id != Client || secret != Secret {
		answer(w, 401, map[string]any{"error": "invalid_client"})
		return
	}
	if p.Refuse != "" {
		answer(w, 400, map[string]any{"error": p.Refuse, "error_description": "so"})
		return
	}
	var nonce string
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		asked, ok := p.codes[r.PostForm.Get("code")]
		delete(p.codes, r.PostForm.Get("code"))
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		if !ok || asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) || asked.Get("redirect_uri") != r.PostForm.Get("redirect_uri") {
			answer(w, 400, map[string]any{"error": "invalid_grant"})
			return
		}
		nonce = asked.Get("nonce")
	default:
		if p.Refresh == "" || r.PostForm.Get("refresh_token") != p.Refresh {
			answer(w, 400, map[string]any{"error": "invalid_grant"})
			return
		}
	}
	out := map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 60}
	if p.Refresh != "" {
		p.Refresh = rand.Text()
		out["refresh_token"] = p.Refresh
	}
	if nonce != "" || !p.NoIDToken {
		out["id_token"] = p.idToken(nonce)
	}
	answer(w, 200, out)
}

func (p *Provider) idToken(nonce string) string {
	now := p.Now()
	claims := map[string]any{"iss": p.URL, "sub": p.Sub, "aud": Client, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "nonce": nonce}
	maps.Copy(claims, p.Claims)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	body, _ := json.Marshal(claims)
	if p.Sign != nil {
		return p.Sign(body)
	}
	return Signed(jose.RS256, jose.JSONWebKey{Key: p.Key, KeyID: "k1"}, body)
}

// Signed is a JWT.
func Signed(alg jose.SignatureAlgorithm, key any, claims []byte) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		panic(err) // a test's own key
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		panic(err)
	}
	out, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return out
}

func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	if p.UserInfo == nil || r.Header.Get("Authorization") != "Bearer access" {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	answer(w, 200, p.UserInfo)
}
