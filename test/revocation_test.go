package test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"postern"
	"postern/internal/identity"
	"postern/internal/identity/signals/signalstest"
	"postern/internal/store"
)

const (
	eventAudience  = "https://gw.example/events/corp"
	logoutAudience = "the-gateways-client-id"
)

// corp is a gateway, the identity provider of its people, and their directory.
type corp struct {
	*gateway
	issuer *signalstest.Issuer
	people *identity.Service // in the gateway's own store, in place of a browser
	https  *http.Client
	scim   string            // the directory's token
	ids    map[string]string // of its users and groups, by name
	sids   map[string]string // the provider's sessions, by their person's name
}

func newCorp(t *testing.T) *corp {
	t.Helper()
	issuer, err := signalstest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	g := newGateway(t, fmt.Sprintf("  oidc: [{name: corp, issuer: %q, client_id: %s}]\n  signals: [{name: corp, issuer: %q, audience: %q, provider: corp}]\n",
		issuer.URL, logoutAudience, issuer.URL, eventAudience))
	g.start()
	c := &corp{gateway: g, issuer: issuer, ids: map[string]string{}, sids: map[string]string{}}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(g.read("data/ca.pem")))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, ServerName: "localhost"}}
	t.Cleanup(transport.CloseIdleConnections)
	c.https = &http.Client{Transport: transport, Timeout: time.Minute}
	out, err := g.run(bootstrapKey, "scim-token", "create", "okta", "--provider", "corp", "--subjects", "external-id", "-o", "json")
	var key struct{ Token string }
	if err != nil || json.Unmarshal([]byte(out), &key) != nil {
		t.Fatal(out, err)
	}
	c.scim = key.Token
	db, err := store.Open(t.Context(), "sqlite", g.path("data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	c.people, err = identity.New(identity.Config{Store: db, End: func(time.Time, string, func(postern.SessionInfo) bool) int { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	c.create("/Groups", "engineering", `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "engineering"}`)
	return c
}

// send sends to the gateway, and returns the status and the answer.
func (c *corp) send(method, path, contentType, body, token string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "https://"+c.gateway.https+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.https.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func (c *corp) directory(method, path, body string) (int, string) {
	c.t.Helper()
	return c.send(method, "/scim/v2"+path, "application/scim+json", body, c.scim)
}

func (c *corp) create(path, name, body string) {
	c.t.Helper()
	status, answer := c.directory(http.MethodPost, path, body)
	var made struct{ ID string }
	if status != http.StatusCreated || json.Unmarshal([]byte(answer), &made) != nil {
		c.t.Fatalf("%s: %d %s", name, status, answer)
	}
	c.ids[name] = made.ID
}

// patch changes a user or a group, and must be granted.
func (c *corp) patch(path, operation string) {
	c.t.Helper()
	status, answer := c.directory(http.MethodPatch, path, `{"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [`+operation+`]}`)
	if status/100 != 2 {
		c.t.Fatalf("%s %s: %d %s", path, operation, status, answer)
	}
}

// hire makes somebody known by the directory, in group engineering.
func (c *corp) hire(name string) {
	c.t.Helper()
	c.create("/Users", name, fmt.Sprintf(`{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": %q, "externalId": "sub-%s", "active": true}`, name, name))
	c.patch("/Groups/"+c.ids["engineering"], fmt.Sprintf(`{"op": "add", "path": "members", "value": [{"value": %q}]}`, c.ids[name]))
}

// signIn is what the provider's person brings of a sign-in: a session token.
func (c *corp) signIn(name string) (string, error) {
	c.sids[name] += "session of " + name + ";" // another one each time
	login, err := c.people.StartLogin(c.t.Context(), postern.CLILogin, identity.Vouched{
		Identity: postern.Identity{Name: name, Kind: postern.User, Subject: "corp:sub-" + name}, SID: c.sids[name],
	}, identity.Where{})
	if err != nil {
		return "", err
	}
	return c.run(login.Token.Reveal(), "token", "orders-db", "--ttl", "1h")
}

// sleeper is a psql that runs a long query.
type sleeper struct {
	c     *corp
	name  string
	told  bytes.Buffer // complete once ended is closed
	ended chan struct{}
}

// sleep has somebody sign in and run a query, and returns once that runs.
func (c *corp) sleep(name string) *sleeper {
	c.t.Helper()
	token, err := c.signIn(name)
	if err != nil {
		c.t.Fatal(name, err)
	}
	s := &sleeper{c: c, name: name, ended: make(chan struct{})}
	cmd := exec.CommandContext(c.t.Context(), "psql", "-X", "-At", "-c", "SELECT pg_sleep(600) -- of "+name)
	cmd.Env = append(c.environ(""), "PGUSER="+name, "PGPASSWORD="+token)
	cmd.Stderr = &s.told
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // what it said tells
		close(s.ended)
	}()
	for deadline := time.Now().Add(time.Minute); !s.runs(); {
		select {
		case <-s.ended:
			c.t.Fatalf("%s isn't let in: %s", name, s.told.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the query of %s doesn't run", name)
		}
	}
	return s
}

// runs says whether its query runs, by the server's own word.
func (s *sleeper) runs() bool {
	s.c.t.Helper()
	return s.c.upstream.Exec(s.c.t, s.c.database, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%-- of "+s.name+"'")[0][0] != "0"
}

// isCut waits for its end: psql was told why, the query was cancelled, and the
// audit log says how long that took.
func (s *sleeper) isCut(why string) {
	s.c.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		s.c.t.Fatalf("%s goes on", s.name)
	}
	if !strings.Contains(s.told.String(), "FATAL:  postern: session ended: "+why) {
		s.c.t.Errorf("%s was told: %s", s.name, s.told.String())
	}
	var entry struct {
		Outcome, Reason string
		LatencyUS       int64 `json:"latency_us"`
	}
	for deadline := time.Now().Add(time.Minute); entry.Outcome == "" && time.Now().Before(deadline); {
		out, err := s.c.run(bootstrapKey, "audit", "tail", "-n", "200", "-o", "json")
		if err != nil {
			s.c.t.Fatal(err)
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, `"session.close"`) && strings.Contains(line, `"identity":"`+s.name+`"`) && json.Unmarshal([]byte(line), &entry) != nil {
				s.c.t.Fatal(line)
			}
		}
	}
	if entry.Outcome != "ended" || entry.LatencyUS <= 0 || !strings.Contains(entry.Reason, why) {
		s.c.t.Errorf("in the audit log: %+v", entry)
	}
	if s.runs() {
		s.c.t.Errorf("the query of %s runs on", s.name)
	}
}

func (c *corp) logout(token string) int {
	c.t.Helper()
	status, _ := c.send(http.MethodPost, "/oauth/backchannel-logout/corp", "application/x-www-form-urlencoded", url.Values{"logout_token": {token}}.Encode(), "")
	return status
}

func (c *corp) event(token string) int {
	c.t.Helper()
	status, _ := c.send(http.MethodPost, "/events/corp", "application/secevent+jwt", token, "")
	return status
}

func (c *corp) signed(token string, err error) string {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

// Whatever takes somebody's rights away ends their psql with its reason, cancels
// what it runs, and stands in the audit log with how long it took.
func TestRevocationReachesPsql(t *testing.T) {
	c := newCorp(t)
	event := func(family, event string) func(string) {
		return func(name string) {
			if status := c.event(c.signed(c.issuer.Event(eventAudience, family, event, "sub-"+name))); status != http.StatusAccepted {
				t.Errorf("%s: %d", event, status)
			}
		}
	}
	for _, one := range []struct {
		name, why string
		revoke    func(name string)
		again     bool // they may sign in again
	}{
		{"ann", "its account was disabled", func(name string) {
			c.patch("/Users/"+c.ids[name], `{"op": "replace", "path": "active", "value": false}`)
		}, false},
		{"ben", "its groups were changed", func(name string) {
			c.patch("/Groups/"+c.ids["engineering"], fmt.Sprintf(`{"op": "remove", "path": "members[value eq \"%s\"]"}`, c.ids[name]))
		}, false},
		{"cat", "its account was disabled", func(name string) {
			if status, answer := c.directory(http.MethodDelete, "/Users/"+c.ids[name], ""); status != http.StatusNoContent {
				t.Error(status, answer)
			}
		}, false},
		{"dan", "", func(name string) {
			if status := c.logout(c.signed(c.issuer.Logout(logoutAudience, "sub-"+name, c.sids[name]))); status/100 != 2 {
				t.Error(status)
			}
		}, true},
		{"eve", "", event("caep", "session-revoked"), true},
		{"fay", "", event("caep", "credential-change"), true},
		{"gus", "", event("risc", "account-disabled"), false},
		{"hal", "its groups were changed", func(string) {
			c.patch("/Groups/"+c.ids["engineering"], `{"op": "replace", "path": "displayName", "value": "engineering-2"}`)
		}, false},
	} {
		t.Run(one.name, func(t *testing.T) {
			c.t = t
			c.gateway.t = t
			c.hire(one.name)
			s := c.sleep(one.name)
			one.revoke(one.name)
			s.isCut(one.why)
			if _, err := c.signIn(one.name); (err == nil) != one.again {
				t.Errorf("signs in again: %v", err)
			}
		})
	}
	c.t, c.gateway.t = t, t
}

// What doesn't come from the provider, is for somebody else, or was said before,
// ends nothing, and its sender isn't told what is wrong with it.
func TestForgedRevocationEndsNothing(t *testing.T) {
	c := newCorp(t)
	c.hire("ann")
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, kid := c.issuer.Key()
	forged := func(typ string, claims map[string]any) string {
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		return c.signed(signalstest.SignWith(jose.ES256, stranger, kid, typ, payload))
	}
	claims := c.issuer.EventClaims(eventAudience, "caep", "session-revoked", "sub-ann")
	unsigned := strings.Split(c.signed(c.issuer.Sign("secevent+jwt", claims)), ".")
	unsigned[0], unsigned[2] = "eyJhbGciOiJub25lIiwidHlwIjoic2VjZXZlbnQrand0In0", "" // {"alg":"none","typ":"secevent+jwt"}
	used := c.signed(c.issuer.Event(eventAudience, "caep", "session-revoked", "sub-ann"))
	if status := c.event(used); status != http.StatusAccepted {
		t.Fatal(status)
	}
	usedLogout := c.signed(c.issuer.Logout(logoutAudience, "sub-ann", ""))
	if status := c.logout(usedLogout); status/100 != 2 {
		t.Fatal(status)
	}
	s := c.sleep("ann") // signed in again, after both
	for name, attempt := range map[string]func() int{
		"forged event":   func() int { return c.event(forged("secevent+jwt", claims)) },
		"unsigned event": func() int { return c.event(strings.Join(unsigned, ".")) },
		"event for another": func() int {
			return c.event(c.signed(c.issuer.Event("https://other.example", "caep", "session-revoked", "sub-ann")))
		},
		"logout token as an event":  func() int { return c.event(c.signed(c.issuer.Logout(eventAudience, "sub-ann", ""))) },
		"logout for another client": func() int { return c.logout(c.signed(c.issuer.Logout("another-client", "sub-ann", ""))) },
		"event as a logout token": func() int {
			return c.logout(c.signed(c.issuer.Event(logoutAudience, "caep", "session-revoked", "sub-ann")))
		},
	} {
		if status := attempt(); status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, status)
		}
	}
	// What was taken already is acknowledged, as its sender must not send it for ever, and does nothing.
	if status := c.event(used); status != http.StatusAccepted {
		t.Errorf("replayed event: %d", status)
	}
	c.logout(usedLogout)
	if status, _ := c.send(http.MethodDelete, "/scim/v2/Users/"+c.ids["ann"], "application/scim+json", "", c.scim+"x"); status != http.StatusUnauthorized {
		t.Errorf("a wrong SCIM token: %d", status)
	}
	select {
	case <-s.ended:
		t.Fatalf("it ended: %s", s.told.String())
	default:
	}
	if !s.runs() {
		t.Error("its query was cancelled")
	}
	log := c.logged()
	for _, says := range []string{"audience", "signature"} {
		if !strings.Contains(log, says) {
			t.Errorf("the operator isn't told of the %s", says)
		}
	}
}

// A directory that goes wrong and deletes everybody is stopped, and loud.
func TestDirectoryThatDeletesEverybody(t *testing.T) {
	c := newCorp(t)
	var names []string
	for i := range 14 {
		names = append(names, fmt.Sprintf("person%d", i))
		c.hire(names[i])
	}
	last := c.sleep(names[13])
	deleted := 0
	for _, name := range names {
		status, answer := c.directory(http.MethodDelete, "/Users/"+c.ids[name], "")
		switch status {
		case http.StatusNoContent:
			deleted++
		case http.StatusForbidden:
			if !strings.Contains(answer, "allow-removals") {
				t.Errorf("it is told %s", answer)
			}
		default:
			t.Fatal(status, answer)
		}
	}
	if deleted != 10 {
		t.Errorf("%d are gone", deleted)
	}
	if status, answer := c.directory(http.MethodDelete, "/Groups/"+c.ids["engineering"], ""); status != http.StatusForbidden {
		t.Errorf("their group: %d %s", status, answer)
	}
	if !last.runs() {
		t.Error("the last one's query was cancelled")
	}
	out, err := c.run(bootstrapKey, "audit", "tail", "-n", "200", "-o", "json")
	if err != nil || !strings.Contains(out, `"scim.guard"`) {
		t.Errorf("in the audit log: %s, %v", out, err)
	}
	if _, err := c.run(bootstrapKey, "scim-token", "allow-removals", "okta", "--for", "30m"); err != nil {
		t.Fatal(err)
	}
	if status, answer := c.directory(http.MethodDelete, "/Users/"+c.ids[names[13]], ""); status != http.StatusNoContent {
		t.Fatal(status, answer)
	}
	last.isCut("its account was disabled")
}

// Whoever opens sessions while their account is being disabled has none that
// lives on: neither one that was admitted just before, nor one just after.
func TestRevocationRacesAdmission(t *testing.T) {
	c := newCorp(t)
	c.hire("ann")
	token, err := c.signIn("ann")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	opened := make(chan struct{}, 1024)
	done := make(chan error, 4)
	for range 4 {
		go func() {
			for {
				conn, err := c.connect("ann", token, nil)
				if err != nil {
					done <- err
					return
				}
				select {
				case opened <- struct{}{}:
				default:
				}
				go func() {
					_, _ = conn.Exec(ctx, "SELECT pg_sleep(600) -- of ann").ReadAll() // it ends, or the server tells below
					_ = conn.Close(context.WithoutCancel(ctx))
				}()
			}
		}()
	}
	for range 8 {
		select {
		case <-opened:
		case err := <-done:
			t.Fatal(err)
		}
	}
	c.patch("/Users/"+c.ids["ann"], `{"op": "replace", "path": "active", "value": false}`)
	for range 4 {
		if err := <-done; err == nil {
			t.Error("let in")
		}
	}
	s := &sleeper{c: c, name: "ann"}
	for deadline := time.Now().Add(time.Minute); s.runs(); {
		if time.Now().After(deadline) {
			t.Fatal("a session lives on")
		}
		<-time.After(50 * time.Millisecond)
	}
	// A session stays on the list until its end is written down.
	for deadline := time.Now().Add(time.Minute); ; {
		live, err := c.run(bootstrapKey, "session", "ls", "--live", "--identity", "ann", "--quiet")
		if err != nil {
			t.Fatal(err)
		}
		if live == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("live: %s", live)
		}
	}
}
