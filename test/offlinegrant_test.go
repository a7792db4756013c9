package test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"postern/internal/api"
)

const offlineAccess = `
kind: Access
name: emergency
to: ["group:engineering"]
on: {names: [orders-db]}
break_glass: {approvers: ["group:auditors"], reviewers: ["group:dba"], max: 30m}
`

// With a provider that doesn't answer, at two gateways on one store: a code from
// the safe lets its holder in once, for psql to the real server, until the
// emergency is taken back.
func TestOfflineGrantWithoutProvider(t *testing.T) {
	told := make(chan string, 10)
	channel := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body) // a message that is cut off isn't what is waited for
		told <- string(text)
	}))
	t.Cleanup(channel.Close)
	down := freeAddress(t) // nobody listens there
	a := newGateway(t, "  oidc: [{name: corp, issuer: \"https://"+down+"\", client_id: postern, client_secret: {file: db.password}}]\n"+
		"notify: [{name: hook, kind: webhook, for: [\"group:nobody\"], url: {file: hook.url}, secret: {file: hook.secret}}]\n")
	a.write("hook.url", channel.URL+"\n")
	a.write("hook.secret", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
	a.write("objects/policies.yaml", offlineAccess)
	a.start()
	dave, petra := a.login("dave"), a.login("petra")
	admin := a.client(dave)
	var issued api.IssuedOfflineGrant
	_, err := admin.call(http.MethodPost, "/offline-grants", api.NewOfflineGrant{
		User: "alice", Resources: []api.OfflineReaches{{Resource: "orders-db"}}, Reason: "on call", TTL: "2160h",
	}, &issued)
	if err != nil {
		t.Fatal(err)
	}
	a.write("code", issued.Code+"\n")
	use := []string{"offline-grant", "use", "--user", "alice", "--reason", "all is down", "--secret-file", a.path("code")}
	if _, err := a.run("", use...); err == nil || !strings.Contains(err.Error(), "0 of 1 were given") {
		t.Fatalf("one person was enough: %v", err)
	}
	if _, err := a.run(petra, "offline-grant", "approve", issued.ID, "--reason", "agreed"); err != nil {
		t.Fatal(err)
	}

	b := a.beside()
	for _, name := range []string{"hook.url", "hook.secret"} {
		b.write(name, a.read(name))
	}
	b.start()
	holder := api.OfflineCode{User: "alice", Secret: issued.Code, Reason: "all is down"}
	clients := []*client{a.client(""), b.client("")}
	entries := make([]api.OfflineEntry, 4)
	var calls []func() (int, error)
	for i := range entries {
		calls = append(calls, func() (int, error) { return clients[i%2].call(http.MethodPost, "/login/offline", holder, &entries[i]) })
	}
	if got := atOnce(calls...); got[200] != 1 || got[409] != 3 {
		t.Fatalf("used four times at once: %v", got)
	}
	var entry api.OfflineEntry
	for _, e := range entries {
		if e.ID != "" {
			entry = e
		}
	}
	at := a
	if _, port, _ := strings.Cut(b.postgres, ":"); strings.Contains(entry.Tokens[0].DSN, ":"+port+"/") {
		at = b
	}
	conn := at.mustConnect("alice", entry.Tokens[0].Token)
	if got := one(t, conn, "SELECT count(*) FROM orders"); got == "0" {
		t.Error("nothing was read")
	}
	if status, err := at.client(entry.Tokens[0].Token).call(http.MethodGet, "/whoami", nil, nil); status != http.StatusUnauthorized {
		t.Errorf("the API took the token: %d %v", status, err)
	}
	out, err := at.run(dave, "offline-grant", "ls")
	if err != nil || !strings.Contains(out, "used") || !strings.Contains(out, "all is down") || strings.Contains(out, issued.Code) {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(at.logged(), "glass broken") || !strings.Contains(at.logged(), "offline grant used") {
		t.Error("the log says nothing")
	}
	select {
	case text := <-told:
		if !strings.Contains(text, "all is down") || !strings.Contains(text, "EMERGENCY") || strings.Contains(text, issued.Code) || strings.Contains(text, entry.Tokens[0].Token) {
			t.Errorf("told %s", text)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody was told")
	}

	// What was let in is let out with the emergency.
	if _, err := at.run(dave, "request", "revoke", entry.Requests[0], "--reason", "over"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1").ReadAll(); err == nil {
		t.Error("the session outlived its emergency")
	}
	if _, err := at.connect("alice", entry.Tokens[0].Token, nil); err == nil {
		t.Error("the token outlived its emergency")
	}
	if _, err := at.run(dave, "request", "look-over", entry.Requests[0], "--finding", "fine"); err == nil || !strings.Contains(err.Error(), "issued the offline grant") {
		t.Errorf("who issued it judged its use: %v", err)
	}
	if _, err := at.run(dave, "audit", "verify"); err != nil {
		t.Error(err)
	}
	counts := map[string]int{}
	for _, e := range at.entries(dave) {
		counts[e.Action+" "+e.Outcome]++
	}
	if text, err := at.run(dave, "audit", "export"); err != nil || strings.Contains(text, issued.Code) {
		t.Errorf("the audit log holds the code, or can't be read: %v", err)
	}
	if counts["offline-grant.use ok"] != 1 || counts["break_glass ok"] != 1 || counts["offline-grant.use refused"] != 4 {
		t.Errorf("the log says %v", counts)
	}
	for _, g := range []*gateway{a, b} {
		if strings.Contains(g.logged(), issued.Code) {
			t.Error("a log holds the code")
		}
	}
	database, err := os.ReadFile(a.path("data/postern.db"))
	if err != nil || strings.Contains(string(database), issued.Code) {
		t.Errorf("the store holds the code, or can't be read: %v", err)
	}
}
