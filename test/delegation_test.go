package test

import (
	"net/url"
	"strings"
	"testing"
)

// serviceAccount makes a service account, and returns its key.
func (g *gateway) serviceAccount(name string, groups ...string) string {
	g.t.Helper()
	args := []string{"service-account", "create", name, "-o", "json"}
	for _, group := range groups {
		args = append(args, "--group", group)
	}
	out, err := g.run(bootstrapKey, args...)
	if err != nil {
		g.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(out, `"key"`)
	_, rest, _ = strings.Cut(rest, `"`)
	key, _, _ := strings.Cut(rest, `"`)
	return key
}

// An agent that acts for a person can do what both may, within what the person
// allowed; the database, the recording and the log name both.
func TestAgentActsForAPerson(t *testing.T) {
	g := newGateway(t, "")
	g.write("objects/agents.yaml", `kind: Access
name: agents-read
to: ["group:agents"]
on: {names: [orders-db]}
allow: [{verbs: [select, insert], objects: ["public.*"]}]
`)
	g.start()
	agent := g.serviceAccount("agent", "agents")
	stranger := g.serviceAccount("stranger", "agents")
	alice := g.login("alice")
	dg, err := g.run(alice, "delegate", "--to", "service:agent", "--resource", "orders-db", "--verb", "select", "--rows-per-hour", "20", "--for", "1h")
	if err != nil || !strings.HasPrefix(dg, "dg_") {
		t.Fatalf("%q, %v", dg, err)
	}
	// Another can't use it, and nobody with a resource that isn't in it.
	if said := g.fails(4, stranger, "exec", "orders-db", "--delegation", dg, "-c", "SELECT 1"); !strings.Contains(said, "isn't yours to use") {
		t.Error(said)
	}
	if said := g.fails(4, alice, "exec", "orders-db", "--delegation", dg, "-c", "SELECT 1"); !strings.Contains(said, "isn't yours to use") {
		t.Error(said)
	}
	token, err := g.run(agent, "token", "orders-db", "--delegation", dg)
	if err != nil {
		t.Fatal(err)
	}
	conn := g.mustConnect("alice", token)
	query := func(sql string) (string, error) {
		t.Helper()
		results, err := conn.Exec(t.Context(), sql).ReadAll()
		if err != nil || len(results) == 0 || len(results[0].Rows) == 0 {
			return "", err
		}
		return string(results[0].Rows[0][0]), nil
	}
	denied := func(sql, says string) {
		t.Helper()
		if out, err := query(sql); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %q, %v; want %q", sql, out, err, says)
		}
	}
	if out := g.upstream.Exec(t, g.database, "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE '%alice'"); len(out) != 1 || out[0][0] != "agent for alice" {
		t.Errorf("the server sees %q", out)
	}
	denied("INSERT INTO orders DEFAULT VALUES", dg)                              // both may, the delegation not
	denied("DELETE FROM orders WHERE id = 1", "agents-read")                     // alice may, the agent not
	denied("SELECT * FROM metrics.daily_sales", "agents-read")                   // alice may, the agent not
	denied("DROP TABLE orders", "denied by")                                     // neither
	denied("WITH x AS (DELETE FROM orders RETURNING id) SELECT * FROM x", "den") // hidden
	// One value that folds a table together counts as more than a row; then nothing is left.
	if _, err := query("SELECT id FROM orders LIMIT 5"); err != nil {
		t.Fatal(err)
	}
	_, err = query("SELECT repeat('x', 100000)")
	if err == nil || !strings.Contains(err.Error(), "allows 20 rows an hour") {
		t.Errorf("a fat row: %v", err)
	}
	conn, err = g.connect("alice", token, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err = query("SELECT 1"); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "allows 20 rows an hour") || conn.IsClosed() {
		t.Errorf("after 20 rows: %v", err) // an error, and not the session's end
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Both names stand in sessions, recordings and the log. The session may be ending yet.
	dave := g.login("dave")
	list, err := g.run(dave, "session", "ls", "--identity", "alice", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	session := strings.Fields(list)[0]
	if replay, err := g.run(dave, "session", "replay", session); err != nil || !strings.Contains(replay, "alice") || !strings.Contains(replay, "through agent") {
		t.Errorf("%v: %s", err, replay)
	}
	log, err := g.run(dave, "audit", "tail", "-n", "200", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	decisions := 0
	for line := range strings.Lines(log) {
		if strings.Contains(line, session) && !strings.Contains(line, `"session.read"`) {
			decisions++
			if !strings.Contains(line, `"identity":"alice"`) || !strings.Contains(line, `"actor":"agent"`) {
				t.Errorf("an entry without both names: %s", line)
			}
		}
	}
	if decisions < 5 {
		t.Errorf("%d entries about the session", decisions)
	}
	// A change of application_name, however it is spelled, ends the session.
	for _, sql := range []string{"SET application_name = 'psql'", "SELECT set_config('application_name', 'x', false)"} {
		fresh, err := g.run(alice, "delegate", "--to", "service:agent", "--resource", "orders-db")
		if err != nil {
			t.Fatal(err)
		}
		token, err := g.run(agent, "token", "orders-db", "--delegation", fresh)
		if err != nil {
			t.Fatal(err)
		}
		c := g.mustConnect("alice", token)
		_, err = c.Exec(t.Context(), sql).ReadAll()
		if err == nil {
			_, err = c.Exec(t.Context(), "SELECT 1").ReadAll()
		}
		if err == nil {
			t.Errorf("%s goes on", sql)
		}
	}
	// The person sees it, and ends it: the open session, too.
	if out, err := g.run(alice, "delegation", "ls"); err != nil || !strings.Contains(out, dg) || !strings.Contains(out, "service:agent") || !strings.Contains(out, "20 rows an hour") {
		t.Errorf("%s, %v", out, err)
	}
	if _, err := g.run(stranger, "delegation", "end", dg); err == nil {
		t.Error("a stranger ends it")
	}
	if _, err := g.run(alice, "delegation", "end", dg); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1").ReadAll(); err == nil {
		t.Error("the session goes on")
	}
	if said := g.fails(4, agent, "exec", "orders-db", "--delegation", dg, "-c", "SELECT 1"); !strings.Contains(said, "has ended") {
		t.Error(said)
	}
	if _, err := g.connect("alice", token, nil); err == nil {
		t.Error("a token of an ended delegation opens")
	}
}

// The same by RFC 8693: a delegation as the subject, the actor's own token beside it.
func TestDelegationByTokenExchange(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	agent := g.serviceAccount("agent", "engineering")
	alice := g.login("alice")
	dg, err := g.run(alice, "delegate", "--to", "service:agent", "--resource", "orders-db")
	if err != nil {
		t.Fatal(err)
	}
	const access, delegation = "urn:ietf:params:oauth:token-type:access_token", "urn:postern:params:oauth:token-type:delegation"
	form := func() url.Values {
		return url.Values{
			"subject_token": {dg}, "subject_token_type": {delegation}, "actor_token": {agent}, "actor_token_type": {access}, "audience": {"orders-db"},
		}
	}
	status, answer := g.grant(form())
	token, _ := answer["access_token"].(string)
	if status != 200 || answer["user"] != "alice" {
		t.Fatalf("%d %v", status, answer)
	}
	_ = g.mustConnect("alice", token).Close(t.Context())
	for what, change := range map[string]func(url.Values){
		"no actor":         func(f url.Values) { f.Del("actor_token") },
		"the person":       func(f url.Values) { f.Set("actor_token", alice) },
		"a session token":  func(f url.Values) { f.Set("actor_token", token) },
		"no audience":      func(f url.Values) { f.Del("audience") },
		"another resource": func(f url.Values) { f.Set("audience", "other-db") },
		"another id":       func(f url.Values) { f.Set("subject_token", "dg_00") },
		"impersonation":    func(f url.Values) { f.Set("subject_token", alice); f.Set("subject_token_type", access) },
	} {
		f := form()
		change(f)
		if status, answer := g.grant(f); status == 200 {
			t.Errorf("%s: %v", what, answer)
		}
	}
}
