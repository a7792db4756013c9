// Package issuertest is an issuer of JWTs with a discovery document and
// published keys, for tests.
package issuertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Issuer signs tokens. Its URL is its name.
type Issuer struct {
	URL    string
	CAFile string

	t      testing.TB
	server *httptest.Server

	mu       sync.Mutex
	key      *ecdsa.PrivateKey
	kid      string
	serial   int
	asked    int
	down     bool
	document map[string]any
}

// New starts an issuer, or fails the test.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t}
	i.Rotate()
	i.server = httptest.NewTLSServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.server.Close)
	i.URL = i.server.URL
	i.CAFile = filepath.Join(t.TempDir(), "issuer-ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw})
	if err := os.WriteFile(i.CAFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	i.document = map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"}
	return i
}

// Rotate replaces the signing key.
func (i *Issuer) Rotate() {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.kid = key, fmt.Sprintf("key-%d", i.serial)
	i.serial++
}

// Down makes the issuer answer with errors.
func (i *Issuer) Down(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Asked is how often the keys were asked for.
func (i *Issuer) Asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// Document changes a member of the discovery document.
func (i *Issuer) Document(name string, value any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.document[name] = value
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var answer any
	switch {
	case i.down:
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	case r.URL.Path == "/.well-known/openid-configuration":
		answer = i.document
	case r.URL.Path == "/keys":
		i.asked++
		answer = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: i.kid, Algorithm: string(jose.ES256), Use: "sig"}}}
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the client may have gone
}

// Claims are a token's, over those that every token has: issued now, for five
// minutes, with a jti of its own.
func (i *Issuer) Claims(now time.Time, audience string, more map[string]any) map[string]any {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serial++
	claims := map[string]any{
		"iss": i.URL, "aud": audience, "sub": "stranger", "jti": fmt.Sprintf("jti-%d", i.serial),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	for name, value := range more {
		if value == nil {
			delete(claims, name)
			continue
		}
		claims[name] = value
	}
	return claims
}

// Sign signs claims with the issuer's key.
func (i *Issuer) Sign(claims map[string]any) string {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	return Sign(i.t, jose.ES256, jose.JSONWebKey{Key: i.key, KeyID: i.kid}, claims)
}

// Token is a signed token that is issued now.
func (i *Issuer) Token(audience string, more map[string]any) string {
	i.t.Helper()
	return i.Sign(i.Claims(time.Now(), audience, more))
}

// Sign signs claims with any key.
func Sign(t testing.TB, alg jose.SignatureAlgorithm, key any, claims any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// GitHub are the claims of a job of a repository, in the form of GitHub Actions.
func GitHub(repository, repositoryID, ownerID, environment, ref, event string) map[string]any {
	return map[string]any{
		"sub": "repo:" + repository + ":environment:" + environment, "repository": repository, "repository_id": repositoryID,
		"repository_owner_id": ownerID, "environment": environment, "ref": ref, "event_name": event,
		"job_workflow_ref": "acme/shop/.github/workflows/report.yml@refs/heads/main", "runner_environment": "github-hosted",
	}
}
