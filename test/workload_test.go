package test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postern/internal/identity/workload/issuertest"
)

// trusting is a gateway that trusts jobs of acme/shop in the production
// environment, whatever starts them but a pull request of a fork.
func trusting(t *testing.T) (*gateway, *issuertest.Issuer, string) {
	t.Helper()
	issuer := issuertest.New(t)
	g := newGateway(t, fmt.Sprintf(`  workloads:
    - name: github
      issuer: %s
      ca_file: %s
      match: >-
        claims.repository_id == "123" && claims.repository_owner_id == "45" && claims.environment == "production" &&
        claims.job_workflow_ref == "acme/shop/.github/workflows/report.yml@refs/heads/main" && claims.event_name != "pull_request_target"
      identity: "ci:{{claims.repository}}"
      groups: [engineering]
`, issuer.URL, issuer.CAFile))
	g.start()
	_, port, err := net.SplitHostPort(g.https)
	if err != nil {
		t.Fatal(err)
	}
	return g, issuer, "https://localhost:" + port
}

// fails runs the CLI, which must end with this exit code, and returns what it said.
func (g *gateway) fails(code int, token string, args ...string) string {
	g.t.Helper()
	cmd := exec.Command(g.program, args...)
	cmd.Env, cmd.Dir = g.environ(token), g.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != code {
		g.t.Errorf("postern %s: %v, want exit code %d\n%s", strings.Join(args, " "), err, code, out.String())
	}
	return out.String()
}

// grant asks the token endpoint.
func (g *gateway) grant(form url.Values) (status int, answer map[string]any) {
	g.t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(g.read("data/ca.pem")))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	form.Set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
	resp, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).PostForm("https://"+g.https+"/oauth/token", form)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		g.t.Fatalf("%v: %s", err, text)
	}
	return resp.StatusCode, answer
}

// A job's own token gives it a psql session in one step; a fork's doesn't, nor
// another audience's, and why is for the operator to know.
func TestJobOfAPipeline(t *testing.T) {
	g, issuer, audience := trusting(t)
	job := func() map[string]any {
		return issuertest.GitHub("acme/shop", "123", "45", "production", "refs/heads/main", "push")
	}
	token := issuer.Token(audience, job())
	out, err := g.run(token, "exec", "orders-db", "-c", "SELECT count(*) > 0 AS some FROM orders", "--", "--tuples-only", "--no-align")
	if err != nil || out != "t" {
		t.Fatalf("%q, %v", out, err)
	}
	// The next command of the job uses the login that the first was given.
	if out, err := g.run(token, "token", "orders-db"); err != nil || !strings.HasPrefix(out, "postern_st_") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := g.run(token, "whoami", "-o", "json"); err != nil || !strings.Contains(out, `"ci:acme/shop"`) || !strings.Contains(out, `"workload"`) {
		t.Errorf("%s, %v", out, err)
	}
	// A denied command and its exit code are the job's, too.
	if said := g.fails(4, token, "exec", "orders-db", "-c", "DROP TABLE orders"); !strings.Contains(said, "postern: denied by") {
		t.Error(said)
	}
	dave := g.login("dave")
	sessions, err := g.run(dave, "session", "ls", "--identity", "ci:acme/shop", "-o", "json")
	if err != nil || !strings.Contains(sessions, `"ci:acme/shop"`) {
		t.Errorf("%s, %v", sessions, err)
	}
	// The file that the first login is kept in is somewhere else for a thief.
	if err := os.Remove(g.path(".config/postern/credentials.json")); err != nil {
		t.Fatal(err)
	}
	for cause, stolen := range map[string]string{
		"it was used before":                 token,
		"claims don't match":                 issuer.Token(audience, issuertest.GitHub("fork/shop", "999", "77", "production", "refs/pull/7/merge", "pull_request")),
		"not \\\"" + audience + "\\\" alone": issuer.Token("https://other.example", job()),
		"no rule trusts its issuer":          issuer.Token(audience, map[string]any{"iss": "https://token.evil.example"}),
		"it expired at":                      issuer.Sign(issuer.Claims(time.Now().Add(-time.Hour), audience, job())),
	} {
		said := g.fails(3, stolen, "exec", "orders-db", "-c", "SELECT 1")
		if !strings.Contains(said, "the token was not accepted") || strings.Contains(said, "claims") && strings.Contains(said, "match") {
			t.Errorf("the caller is told: %s", said)
		}
		entries, err := g.run(dave, "audit", "tail", "-n", "5", "-o", "json")
		if err != nil || !strings.Contains(entries, cause) {
			t.Errorf("the audit log doesn't say %q: %s, %v", cause, entries, err)
		}
	}
}

// TestTokenEndpoint speaks RFC 8693 to the gateway.
func TestTokenEndpoint(t *testing.T) {
	g, issuer, audience := trusting(t)
	const jwt, access = "urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:access_token"
	job := func() string {
		return issuer.Token(audience, issuertest.GitHub("acme/shop", "123", "45", "production", "refs/heads/main", "push"))
	}
	status, answer := g.grant(url.Values{"subject_token": {job()}, "subject_token_type": {jwt}})
	login, _ := answer["access_token"].(string)
	if status != http.StatusOK || !strings.HasPrefix(login, "postern_lt_") || answer["token_type"] != "Bearer" || answer["issued_token_type"] != access ||
		answer["user"] != "ci:acme/shop" || answer["expires_in"].(float64) < 3500 {
		t.Errorf("%d %v", status, answer)
	}
	status, answer = g.grant(url.Values{"subject_token": {job()}, "subject_token_type": {jwt}, "audience": {"orders-db"}})
	session, _ := answer["access_token"].(string)
	if status != http.StatusOK || !strings.HasPrefix(session, "postern_st_") || answer["token_type"] != "N_A" || answer["database"] != "orders-db" {
		t.Errorf("%d %v", status, answer)
	}
	conn := g.mustConnect("ci:acme/shop", session)
	_ = conn.Close(t.Context())
	status, answer = g.grant(url.Values{"subject_token": {login}, "subject_token_type": {access}, "audience": {"orders-db"}})
	if session, _ := answer["access_token"].(string); status != http.StatusOK || !strings.HasPrefix(session, "postern_st_") {
		t.Errorf("%d %v", status, answer)
	}
	for code, form := range map[string]url.Values{
		"invalid_grant":   {"subject_token": {"eyJ.eyJ.x"}, "subject_token_type": {jwt}},
		"invalid_request": {"subject_token": {login}, "subject_token_type": {access}},
		"invalid_target":  {"subject_token": {job()}, "subject_token_type": {jwt}, "audience": {"no-such-db"}},
	} {
		if status, answer := g.grant(form); status != http.StatusBadRequest || answer["error"] != code {
			t.Errorf("%d %v, want %s", status, answer, code)
		}
	}
	for says, form := range map[string]url.Values{
		"is there twice":             {"subject_token": {job(), "x"}, "subject_token_type": {jwt}},
		"subject_token is missing":   {"subject_token_type": {jwt}},
		"subject_token_type is":      {"subject_token": {"x"}, "subject_token_type": {"urn:x"}},
		"only urn:ietf":              {"subject_token": {"x"}, "requested_token_type": {"urn:x"}},
		"name the resource in audie": {"subject_token": {"x"}, "resource": {"https://x"}},
	} {
		if status, answer := g.grant(form); status != http.StatusBadRequest || !strings.Contains(fmt.Sprint(answer["error_description"]), says) {
			t.Errorf("%d %v, want %q", status, answer, says)
		}
	}
	// A session token is no subject.
	if status, answer := g.grant(url.Values{"subject_token": {session}, "subject_token_type": {access}, "audience": {"orders-db"}}); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("%d %v", status, answer)
	}
	if said := g.logged(); strings.Contains(said, session) || strings.Contains(said, login) {
		t.Error("the log shows a token")
	}
}

// A rule that trusts a whole issuer keeps the gateway from starting.
func TestCarelessRule(t *testing.T) {
	g := newGateway(t, "  workloads:\n    - {name: all, issuer: \"https://ci.example\", match: 'claims.repository != \"\"', identity: \"ci:{{claims.repository}}\"}\n")
	g.launch()
	<-g.exited
	g.cmd = nil
	if said := g.logged(); !strings.Contains(said, "trusts whatever the issuer signs") || !strings.Contains(said, "postern.yaml:") || !strings.Contains(said, `workload rule "all"`) {
		t.Error(said)
	}
}
