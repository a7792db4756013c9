package workload_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"postern"
	"postern/internal/identity/workload"
	"postern/internal/identity/workload/issuertest"
	"postern/internal/store"
)

const (
	audience = "https://gw.example"
	match    = `claims.repository_id == "123" && claims.repository_owner_id == "45" && claims.environment == "production" && ` +
		`claims.job_workflow_ref == "acme/shop/.github/workflows/report.yml@refs/heads/main" && claims.event_name != "pull_request_target"`
)

type house struct {
	t      testing.TB
	issuer *issuertest.Issuer
	db     *store.DB
	now    time.Time
	rule   workload.Rule
}

func newHouse(t testing.TB) *house {
	t.Helper()
	i := issuertest.New(t)
	db, err := store.Open(t.Context(), "sqlite", t.TempDir())
	ok(t, err)
	t.Cleanup(func() { ok(t, db.Close()) })
	return &house{t: t, issuer: i, db: db, now: time.Now(), rule: workload.Rule{
		Name: "github", Issuer: i.URL, Audience: audience, Match: match, Identity: "ci:{{claims.repository}}", Groups: []string{"ci"},
		CAFile: i.CAFile, Place: "postern.yaml:3",
	}}
}

func (h *house) verifier(rules ...workload.Rule) *workload.Verifier {
	h.t.Helper()
	if len(rules) == 0 {
		rules = []workload.Rule{h.rule}
	}
	v, err := workload.New(workload.Config{Rules: rules, Store: h.db, Now: func() time.Time { return h.now }})
	ok(h.t, err)
	return v
}

func job() map[string]any {
	return issuertest.GitHub("acme/shop", "123", "45", "production", "refs/heads/main", "push")
}

func with(claims map[string]any, name string, value any) map[string]any {
	claims[name] = value
	return claims
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *house) token(more map[string]any) string {
	return h.issuer.Sign(h.issuer.Claims(h.now, audience, more))
}

func refused(t *testing.T, v *workload.Verifier, token, says string) {
	t.Helper()
	id, err := v.Verify(t.Context(), postern.NewSecret(token))
	if !errors.Is(err, workload.ErrRefused) || !strings.Contains(err.Error(), says) || id.Name != "" {
		t.Errorf("%+v, %v; want a refusal that says %q", id, err, says)
	}
	if err != nil && len(token) > 40 && strings.Contains(err.Error(), token[len(token)-20:]) {
		t.Error("the refusal shows the token")
	}
}

func TestVerify(t *testing.T) {
	h := newHouse(t)
	v := h.verifier()
	id, err := v.Verify(t.Context(), postern.NewSecret(h.token(job())))
	ok(t, err)
	if id.Name != "ci:acme/shop" || id.Kind != postern.Workload || len(id.Groups) != 1 || id.Groups[0] != "ci" ||
		id.Subject != h.issuer.URL+"#repo:acme/shop:environment:production" || id.Claims["repository_id"] != "123" ||
		!id.Expires.Equal(h.now.Add(time.Hour).UTC()) {
		t.Errorf("%+v", id)
	}
	for says, claims := range map[string]map[string]any{
		"claims don't match":           issuertest.GitHub("fork/shop", "999", "77", "production", "refs/pull/1/merge", "pull_request"),
		"rule \"github\": its claims ": with(job(), "environment", "staging"),
		"don't match (its sub":         with(job(), "job_workflow_ref", "acme/shop/.github/workflows/evil.yml@refs/heads/main"),
		"claims don't match (":         with(job(), "event_name", "pull_request_target"),
		"don't match":                  with(job(), "repository_id", 123), // a number is no text
		`audience is "https://other"`:  with(job(), "aud", "https://other"),
		"not \"https://gw.example\" a": with(job(), "aud", []string{audience, "https://other"}),
		"audience is , not":            with(job(), "aud", nil),
		"it has no exp":                with(job(), "exp", nil),
		"it expired at":                with(job(), "exp", h.now.Add(-61*time.Second).Unix()),
		"good from":                    with(job(), "nbf", h.now.Add(62*time.Second).Unix()),
		"in the future":                with(job(), "iat", h.now.Add(62*time.Second).Unix()),
		"more than 24h":                with(job(), "exp", h.now.Add(48*time.Hour).Unix()),
		"no sub":                       with(job(), "sub", nil),
		"not of its type":              with(job(), "sub", 7),
		"no rule trusts its issuer":    with(job(), "iss", "https://token.evil.example"),
		"no rule trusts":               with(job(), "iss", h.issuer.URL+"/"),
		"a name takes only letters":    with(job(), "repository", "acme/shop alice"),
		"takes only letters":           with(job(), "repository", "acme/shop+tk_00"),
		"at most 160":                  with(job(), "repository", strings.Repeat("a", 161)),
		"no claim repository":          with(job(), "repository", nil),
		"two of its claims are":        with(with(job(), "a", map[string]any{"b": 1}), "a.b", 2),
	} {
		if says == "no claim repository" {
			says = "claim repository is no text"
		}
		refused(t, v, h.token(claims), says)
	}
	// Within the allowed skew.
	for name, at := range map[string]time.Duration{"exp": -59 * time.Second, "nbf": 58 * time.Second, "iat": 58 * time.Second} {
		_, err := v.Verify(t.Context(), postern.NewSecret(h.token(with(job(), name, h.now.Add(at).Unix()))))
		if err != nil {
			t.Errorf("%s %v from now: %v", name, at, err)
		}
	}
}

func TestSignatures(t *testing.T) {
	h := newHouse(t)
	v := h.verifier()
	good := h.token(job())
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // refused below
	ok(t, err)
	claims := h.issuer.Claims(h.now, audience, job())
	public, err := json.Marshal(jose.JSONWebKey{Key: stranger.Public()})
	ok(t, err)
	for what, c := range map[string]struct{ token, says string }{
		"none":                  {none + "." + parts[1] + ".", "it is no JWT"},
		"HMAC":                  {issuertest.Sign(t, jose.HS256, public, claims), "it is no JWT that is signed"},
		"another key, same kid": {issuertest.Sign(t, jose.ES256, jose.JSONWebKey{Key: stranger, KeyID: "key-0"}, claims), "its signature is none of"},
		"another key, no kid":   {issuertest.Sign(t, jose.ES256, stranger, claims), "its signature is none of"},
		"another kid":           {issuertest.Sign(t, jose.ES256, jose.JSONWebKey{Key: stranger, KeyID: "x"}, claims), `has no key "x"`},
		"another algorithm":     {issuertest.Sign(t, jose.RS256, jose.JSONWebKey{Key: weak, KeyID: "key-0"}, claims), "has no key"},
		"changed claims":        {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+h.issuer.URL+`"}`)) + "." + parts[2], "its signature"},
		"no signature":          {parts[0] + "." + parts[1] + ".", "its signature"},
		"huge":                  {good + strings.Repeat("A", 9000), "longer than 8192"},
		"nothing":               {"", "it is no JWT"},
		"dots":                  {"..", "it is no JWT"},
		"with spaces":           {parts[0] + "." + parts[1] + " ." + parts[2], "it is no JWT"},
		"JSON serialization":    {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, "it is no JWT"},
	} {
		t.Run(what, func(t *testing.T) { refused(t, v, c.token, c.says) })
	}
	_, err = v.Verify(t.Context(), postern.NewSecret(good))
	ok(t, err)
}

// A key in the token's own header is nobody's.
func TestEmbeddedKey(t *testing.T) {
	h := newHouse(t)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: stranger}, &jose.SignerOptions{EmbedJWK: true})
	ok(t, err)
	payload, err := json.Marshal(h.issuer.Claims(h.now, audience, job()))
	ok(t, err)
	signed, err := signer.Sign(payload)
	ok(t, err)
	text, err := signed.CompactSerialize()
	ok(t, err)
	refused(t, h.verifier(), text, "its signature")
}

func TestReplay(t *testing.T) {
	h := newHouse(t)
	v := h.verifier()
	token := h.token(job())
	_, err := v.Verify(t.Context(), postern.NewSecret(token))
	ok(t, err)
	refused(t, v, token, "it was used before")
	refused(t, h.verifier(), token, "it was used before") // another gateway on the store
	// The same jti in other claims.
	again := h.issuer.Claims(h.now, audience, with(job(), "jti", "one"))
	_, err = v.Verify(t.Context(), postern.NewSecret(h.issuer.Sign(again)))
	ok(t, err)
	again["nonce"] = "other"
	refused(t, v, h.issuer.Sign(again), "it was used before")
	// Without a jti all that it says counts, whatever the signature: ECDSA's is new each time.
	nameless := h.issuer.Claims(h.now, audience, with(job(), "jti", nil))
	_, err = v.Verify(t.Context(), postern.NewSecret(h.issuer.Sign(nameless)))
	ok(t, err)
	refused(t, v, h.issuer.Sign(nameless), "it was used before")
	// A refused token isn't used up, and takes no room.
	other := h.issuer.Claims(h.now, audience, with(job(), "jti", "kept"))
	other["environment"] = "staging"
	refused(t, v, h.issuer.Sign(other), "don't match")
	other["environment"] = "production"
	_, err = v.Verify(t.Context(), postern.NewSecret(h.issuer.Sign(other)))
	ok(t, err)
	// Of many at once one counts.
	race, won := postern.NewSecret(h.token(job())), 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := v.Verify(t.Context(), race); err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of one token were let in", won)
	}
	reuse := h.rule
	reuse.Reuse = true
	v = h.verifier(reuse)
	token = h.token(job())
	for range 2 {
		_, err = v.Verify(t.Context(), postern.NewSecret(token))
		ok(t, err)
	}
}

// The last bits of base64's last character may be anything to a lenient decoder:
// one token then has several spellings.
func TestReplayRespelled(t *testing.T) {
	h := newHouse(t)
	v := h.verifier()
	var token string
	for pad := ""; ; pad += "x" { // until the claims end within a character
		token = h.issuer.Sign(h.issuer.Claims(h.now, audience, with(with(job(), "jti", nil), "pad", pad)))
		if len(strings.Split(token, ".")[1])%4 == 2 {
			break
		}
	}
	_, err := v.Verify(t.Context(), postern.NewSecret(token))
	ok(t, err)
	parts := strings.Split(token, ".")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, parts[1][len(parts[1])-1])
	respelled := parts[0] + "." + parts[1][:len(parts[1])-1] + string(alphabet[last^1]) + "." + parts[2]
	if _, err := v.Verify(t.Context(), postern.NewSecret(respelled)); err == nil {
		t.Error("a token was let in twice, spelled in another way")
	}
}

func TestRotation(t *testing.T) {
	h := newHouse(t)
	v := h.verifier()
	verify := func() error { _, err := v.Verify(context.Background(), postern.NewSecret(h.token(job()))); return err }
	ok(t, verify())
	ok(t, verify())
	if n := h.issuer.Asked(); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
	old := h.token(job())
	h.issuer.Rotate()
	if verify() == nil {
		t.Error("an unknown key was accepted")
	}
	for range 20 { // whoever makes up key ids makes us ask no more often
		_ = verify()
	}
	if n := h.issuer.Asked(); n != 1 {
		t.Errorf("the keys were asked for %d times within the pause", n)
	}
	h.now = h.now.Add(11 * time.Second)
	ok(t, verify())
	if n := h.issuer.Asked(); n != 2 {
		t.Errorf("the keys were asked for %d times, want once more", n)
	}
	refused(t, v, old, "has no key")

	// An issuer that is down counts for an hour as it was.
	h.issuer.Down(true)
	h.now = h.now.Add(30 * time.Minute)
	ok(t, verify())
	h.now = h.now.Add(31 * time.Minute)
	refused(t, v, h.token(job()), "can't be read")
	h.issuer.Down(false)
	h.now = h.now.Add(11 * time.Second)
	ok(t, verify())
}

func TestDiscovery(t *testing.T) {
	for says, change := range map[string]func(*issuertest.Issuer){
		"of another issuer": func(i *issuertest.Issuer) { i.Document("issuer", "https://other.example") },
		"no https jwks_uri": func(i *issuertest.Issuer) { i.Document("jwks_uri", "http://127.0.0.1/keys") },
		"404":               func(i *issuertest.Issuer) { i.Document("jwks_uri", i.URL+"/none") },
		"503":               func(i *issuertest.Issuer) { i.Down(true) },
		"more than 1048576": func(i *issuertest.Issuer) { i.Document("padding", strings.Repeat("a", 1<<20)) },
	} {
		h := newHouse(t)
		change(h.issuer)
		refused(t, h.verifier(), h.token(job()), says)
	}
}

func TestKeysFromFile(t *testing.T) {
	h := newHouse(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // left out
	ok(t, err)
	file := filepath.Join(t.TempDir(), "bundle.jwks")
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: key.Public(), KeyID: "svid", Use: "jwt-svid"}, {Key: weak.Public(), KeyID: "weak"}, {Key: key.Public(), KeyID: "enc", Use: "enc"},
	}})
	ok(t, err)
	ok(t, os.WriteFile(file, set, 0o600))
	v := h.verifier(workload.Rule{
		Name: "mesh", Issuer: "spire", Audience: audience, Match: `claims.sub == "spiffe://example.org/reports/nightly"`,
		Identity: "spiffe:{{claims.sub}}", JWKSFile: file, Place: "x",
	})
	claims := h.issuer.Claims(h.now, audience, map[string]any{"iss": "spire", "sub": "spiffe://example.org/reports/nightly", "jti": nil})
	id, err := v.Verify(t.Context(), postern.NewSecret(issuertest.Sign(t, jose.ES256, jose.JSONWebKey{Key: key, KeyID: "svid"}, claims)))
	ok(t, err)
	if id.Name != "spiffe:spiffe://example.org/reports/nightly" {
		t.Errorf("%+v", id)
	}
	refused(t, v, issuertest.Sign(t, jose.ES256, jose.JSONWebKey{Key: key, KeyID: "enc"}, claims), "has no key")
	refused(t, v, issuertest.Sign(t, jose.RS256, jose.JSONWebKey{Key: weak, KeyID: "weak"}, claims), "has no key")
}

// TestRulesRefused are the rules that can't be meant.
func TestRulesRefused(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		change func(*workload.Rule)
		says   string
	}{
		{func(r *workload.Rule) { r.Match = "" }, "match is missing"},
		{func(r *workload.Rule) { r.Match = "true" }, "looks at no claim"},
		{func(r *workload.Rule) { r.Match = `claims.iss == "` + h.issuer.URL + `"` }, "looks at no claim"},
		{func(r *workload.Rule) { r.Match = `claims.aud == "` + audience + `" && claims.exp > 0.0` }, "looks at no claim"},
		{func(r *workload.Rule) { r.Match = `claims.repository != ""` }, "holds for strangers"},
		{func(r *workload.Rule) { r.Match = `has(claims.repository)` }, "holds for strangers"},
		{func(r *workload.Rule) { r.Match = `"repository" in claims` }, "holds for strangers"},
		{func(r *workload.Rule) { r.Match = `!(claims.event_name in ["pull_request"])` }, "holds for strangers"},
		{func(r *workload.Rule) { r.Match = `claims.repository.matches(".*")` }, "holds for strangers"},
		{func(r *workload.Rule) { r.Match = `claims.repository == "acme/shop" || true` }, "holds for"},
		{func(r *workload.Rule) { r.Match = `claims.repository == claims.repository` }, "holds for strangers"},
		{func(r *workload.Rule) { r.Match = `claims["repository"].size() > 3` }, "holds for strangers"},
		{func(r *workload.Rule) { r.Match = `claims["kubernetes.io"].namespace != "x"` }, "holds for strangers"},
		{func(r *workload.Rule) { r.Match = `claims.protected == "true"` }, "holds for strangers"},
		{func(r *workload.Rule) { r.Match = `!has(claims.fork)` }, "holds for"},
		{func(r *workload.Rule) { r.Match = `claims.repository` }, "" /* of any type: it holds for nobody whose claim is no bool, and "true" is one */},
		{func(r *workload.Rule) { r.Match = `claims.repository ==` }, "Syntax error"},
		{func(r *workload.Rule) { r.Match = `claim.repository == "x"` }, "undeclared reference"},
		{func(r *workload.Rule) { r.Match = `"x"` }, "expected one that is true or false"},
		{func(r *workload.Rule) { r.Match = strings.Repeat(" ", 5000) + match }, "size exceeds"},
		{func(r *workload.Rule) { r.Issuer = "" }, "issuer is missing"},
		{func(r *workload.Rule) { r.Issuer = "http://insecure.example" }, "no https URL"},
		{func(r *workload.Rule) { r.JWKSURL = "ftp://x" }, "jwks_url"},
		{func(r *workload.Rule) { r.JWKSURL, r.JWKSFile = "https://x", "y" }, "exclude each other"},
		{func(r *workload.Rule) { r.JWKSFile = "/nowhere" }, "jwks_file"},
		{func(r *workload.Rule) { r.CAFile = "/nowhere" }, "ca_file"},
		{func(r *workload.Rule) { r.Audience = "" }, "audience is missing"},
		{func(r *workload.Rule) { r.Name = "" }, "name is missing"},
		{func(r *workload.Rule) { r.Life = 13 * time.Hour }, "at most 12h"},
		{func(r *workload.Rule) { r.Identity = "" }, "identity is missing"},
		{func(r *workload.Rule) { r.Identity = "{{claims.repository}}" }, "begins with a word and a colon"},
		{func(r *workload.Rule) { r.Identity = "alice" }, "begins with a word and a colon"},
		{func(r *workload.Rule) { r.Identity = "ci:{{claims.a}}{{claims.b}}" }, "between two claims"},
		{func(r *workload.Rule) { r.Identity = "ci:{{claims.a}}-{{claims.b}}" }, "between two claims"},
		{func(r *workload.Rule) { r.Identity = "ci:{{ claim.a }}" }, "besides {{claims.NAME}}"},
		{func(r *workload.Rule) { r.Identity = "ci:{{claims.a" }, "besides {{claims.NAME}}"},
		{func(r *workload.Rule) { r.Identity = "ci:a b" }, "besides {{claims.NAME}}"},
	} {
		r := h.rule
		c.change(&r)
		_, err := workload.New(workload.Config{Rules: []workload.Rule{r}, Store: h.db})
		if c.says == "" {
			c.says = "holds for strangers"
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "postern.yaml:3: workload rule") {
			t.Errorf("%+v:\n%v, want %q", r.Match+" "+r.Identity, err, c.says)
		}
	}
}

// Two issuers' programs never have one name.
func TestNamesApart(t *testing.T) {
	h := newHouse(t)
	gitlab := h.rule
	gitlab.Name, gitlab.Issuer = "gitlab", "https://gitlab.example"
	for _, c := range []struct {
		identity, issuer string
		ok               bool
	}{
		{"ci:{{claims.project_path}}", gitlab.Issuer, false},
		{"ci:{{claims.repository}}", gitlab.Issuer, false},
		{"ci:gitlab:{{claims.project_path}}", gitlab.Issuer, false}, // a repository may be called gitlab:…, as far as we know
		{"ci:{{claims.sub}}", h.rule.Issuer, false},
		{"ci:{{claims.repository}}", h.rule.Issuer, true},
		{"gitlab:{{claims.project_path}}", gitlab.Issuer, true},
	} {
		other := gitlab
		other.Identity, other.Issuer = c.identity, c.issuer
		_, err := workload.New(workload.Config{Rules: []workload.Rule{h.rule, other}, Store: h.db})
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "a beginning of its own") {
			t.Errorf("%s of %s: %v", c.identity, c.issuer, err)
		}
	}
	twice := h.rule
	if _, err := workload.New(workload.Config{Rules: []workload.Rule{h.rule, twice}, Store: h.db}); err == nil || !strings.Contains(err.Error(), "two rules of this name") {
		t.Error(err)
	}
}

// With several claims in a name, none but the last alone may hold what stands
// between them.
func TestNamesOfSeveralClaims(t *testing.T) {
	h := newHouse(t)
	r := h.rule
	r.Match, r.Identity = `claims["kubernetes.io"].namespace == "reports"`, `k8s:{{claims["kubernetes.io"].namespace}}:{{claims["kubernetes.io"].serviceaccount.name}}`
	v := h.verifier(r)
	token := func(account string) string {
		return h.token(map[string]any{"kubernetes.io": map[string]any{"namespace": "reports", "serviceaccount": map[string]any{"name": account}}})
	}
	id, err := v.Verify(t.Context(), postern.NewSecret(token("nightly")))
	ok(t, err)
	if id.Name != "k8s:reports:nightly" || id.Claims["kubernetes.io.namespace"] != "reports" {
		t.Errorf("%+v", id)
	}
	refused(t, v, token("a:b"), "a name takes only")
}

func BenchmarkVerify(b *testing.B) {
	h := newHouse(b)
	v := h.verifier()
	next := func() postern.Secret { return postern.NewSecret(h.token(job())) }
	for b.Loop() {
		b.StopTimer()
		token := next()
		b.StartTimer()
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
}

// The rules in force are told with how their issuers answer: asked at most once
// a minute, and once for all rules of an issuer.
func TestTrusted(t *testing.T) {
	h := newHouse(t)
	second := h.rule
	second.Name, second.Match = "github-staging", `claims.repository_id == "456"`
	file := filepath.Join(t.TempDir(), "keys.json")
	ok(t, os.WriteFile(file, []byte(`{"keys": []}`), 0o600))
	third := workload.Rule{
		Name: "spiffe", Issuer: "spiffe://acme", Audience: audience, Match: `claims.sub == "spiffe://acme/ns/a/sa/b"`, Identity: "pod:{{claims.sub}}", JWKSFile: file, Place: "postern.yaml:20",
	}
	v := h.verifier(h.rule, second, third)
	began := h.now
	for range 3 {
		all := v.Trusted(t.Context())
		if len(all) != 3 || all[0].Name != "github" || all[1].Name != "github-staging" || all[2].Name != "spiffe" || all[0].Life != time.Hour || all[2].Place != "postern.yaml:20" {
			t.Fatalf("%+v", all)
		}
		for _, r := range all {
			if r.Keys.Err != nil || !r.Keys.Asked.Equal(began) || !r.Keys.Good.Equal(began) {
				t.Errorf("%s: %+v", r.Name, r.Keys)
			}
		}
	}
	if h.issuer.Asked() != 1 {
		t.Errorf("asked %d times", h.issuer.Asked())
	}
	h.issuer.Down(true)
	ok(t, os.Remove(file))
	h.now = began.Add(time.Minute)
	for _, r := range v.Trusted(t.Context()) {
		if r.Keys.Err == nil || !r.Keys.Asked.Equal(h.now) || !r.Keys.Good.Equal(began) {
			t.Errorf("%s: %+v", r.Name, r.Keys)
		}
	}
	// Looking changes nothing about what counts meanwhile.
	if _, err := v.Verify(t.Context(), postern.NewSecret(h.token(job()))); err != nil {
		t.Errorf("a key that was read a minute ago: %v", err)
	}
	h.issuer.Down(false)
	h.issuer.Rotate()
	h.now = began.Add(2 * time.Minute)
	if all := v.Trusted(t.Context()); all[0].Keys.Err != nil || !all[1].Keys.Good.Equal(h.now) {
		t.Errorf("%+v", all)
	}
	if _, err := v.Verify(t.Context(), postern.NewSecret(h.token(job()))); err != nil {
		t.Errorf("a key that a look has found: %v", err)
	}
}
