package test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// get is a path of the API as a monitor reads it, from loopback.
func (g *gateway) get(path string) string {
	g.t.Helper()
	//nolint:gosec // loopback, and nothing secret is sent
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	res, err := client.Get("https://" + g.https + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(body)
}

// What a monitor reads says what happens.
func TestHealthAndMetrics(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	conn := g.mustConnect("alice", g.sessionToken(g.login("alice")))
	one(t, conn, "SELECT email FROM customers WHERE id = 1")
	if _, err := conn.Exec(t.Context(), "DROP TABLE orders").ReadAll(); err == nil {
		t.Fatal("the table was dropped")
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := g.get(path); got != "ok\n" {
			t.Errorf("%s answers %q", path, got)
		}
	}
	metrics := g.get("/metrics")
	for _, want := range []string{
		`postern_sessions{resource="orders-db"} 1`,
		`postern_logins_total{outcome="ok",protocol="postgres"} 1`,
		`postern_decisions_total{protocol="postgres",verdict="allow"} 1`,
		`postern_decisions_total{protocol="postgres",verdict="deny"} 1`,
		`postern_masked_values_total 1`,
		`postern_policy_reloads_total{outcome="ok"} 1`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(metrics) {
			if strings.HasPrefix(line, "postern_") && !strings.Contains(line, "_bucket") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}

// SIGTERM: no new session, live ones may go on for drain_timeout, then they are
// told, and the gateway ends with everything written.
func TestDrain(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	admin := g.login("dave")
	token := g.sessionToken(admin)
	conn := g.mustConnect("dave", token)
	one(t, conn, "SELECT 'before'")
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(g.logged(), "gateway stops"); {
		if time.Now().After(deadline) {
			t.Fatal("the gateway doesn't stop")
		}
		time.Sleep(10 * time.Millisecond) // polling another process
	}
	if _, err := g.connect("dave", token, nil); err == nil {
		t.Error("a session opened while the gateway stops")
	}
	if got := one(t, conn, "SELECT 'while it drains'"); got != "while it drains" {
		t.Errorf("a live session gives %q", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := conn.Exec(ctx, "SELECT pg_sleep(60)").ReadAll()
	if err == nil || !strings.Contains(err.Error(), "session ended: the gateway is shutting down") {
		t.Errorf("the session's last word is %v", err)
	}
	select {
	case <-g.exited:
	case <-ctx.Done():
		t.Fatal("the gateway didn't end")
	}
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d:\n%s", code, g.logged())
	}
	g.cmd = nil

	g.start()
	admin = g.login("dave")
	id, err := g.run(admin, "session", "ls", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	replay, err := g.run(admin, "session", "replay", id)
	if err != nil || !strings.Contains(replay, "the gateway is shutting down") || strings.Contains(replay, "interrupted") {
		t.Errorf("the recording ends with %v:\n%s", err, replay)
	}
}

// SIGHUP reads the objects again.
func TestReloadOnHangup(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	g.write("objects/policies.yaml", g.read("objects/policies.yaml")+"---\nkind: Rule\nname: no-cities\nwhen: command.text.contains(\"city\")\nthen: deny\n")
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	conn := g.mustConnect("alice", g.sessionToken(g.login("alice")))
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err := conn.Exec(t.Context(), "SELECT city FROM customers").ReadAll()
		if err != nil && strings.Contains(err.Error(), "no-cities") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the rule isn't in force: %v\n%s", err, g.logged())
		}
		time.Sleep(20 * time.Millisecond) // the gateway is reading
	}
}
