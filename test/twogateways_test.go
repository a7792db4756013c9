package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"postern"
)

// beside prepares a second gateway on this one's store, with a folder and
// addresses of its own. `serve` refuses two on one data_dir; what they share here
// is the store's file, the keys that open it, and the recordings.
func (g *gateway) beside() *gateway {
	g.t.Helper()
	second := &gateway{
		t: g.t, dir: g.t.TempDir(), program: g.program, upstream: g.upstream, extra: g.extra,
		https: freeAddress(g.t), postgres: freeAddress(g.t), ssh: freeAddress(g.t), database: g.database,
	}
	second.writeConfig()
	second.write("data/master.key", g.read("data/master.key"))
	for _, err := range []error{
		os.RemoveAll(second.path("objects")),
		os.Symlink(g.path("objects"), second.path("objects")),
		os.Symlink(g.path("data/postern.db"), second.path("data/postern.db")),
		os.Symlink(g.path("data/keys"), second.path("data/keys")),
		os.Symlink(g.path("data/recordings"), second.path("data/recordings")),
	} {
		if err != nil {
			g.t.Fatal(err)
		}
	}
	g.t.Cleanup(second.stop)
	return second
}

// client calls a gateway's API as somebody.
type client struct {
	base, token string
	http        *http.Client
}

// client is a caller of this gateway's API.
func (g *gateway) client(token string) *client {
	g.t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(g.read("data/ca.pem")))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 16}
	g.t.Cleanup(transport.CloseIdleConnections)
	return &client{base: "https://" + g.https + "/api/v1", token: token, http: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// call sends body, if any, and reads the answer into out, if any. The status is
// 0 when there was none.
func (c *client) call(method, path string, body, out any) (int, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return 0, err
		}
	}
	req, err := http.NewRequestWithContext(context.Background(), method, c.base+path, bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	if res.StatusCode >= 300 {
		return res.StatusCode, fmt.Errorf("%s %s: %s: %s", method, path, res.Status, answer)
	}
	if out == nil {
		return res.StatusCode, nil
	}
	return res.StatusCode, json.Unmarshal(answer, out)
}

// atOnce runs every one of some calls at the same moment, and counts the answers
// by their status.
func atOnce(calls ...func() (int, error)) map[int]int {
	var all sync.WaitGroup
	var mu sync.Mutex
	begin, statuses := make(chan struct{}), map[int]int{}
	for _, call := range calls {
		all.Go(func() {
			<-begin
			status, _ := call() // a refusal is an answer
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	close(begin)
	all.Wait()
	return statuses
}

// entries are what the audit log says, oldest first.
func (g *gateway) entries(token string) []postern.AuditRecord {
	g.t.Helper()
	text, err := g.run(token, "audit", "export")
	if err != nil {
		g.t.Fatal(err)
	}
	var all []postern.AuditRecord
	for line := range strings.Lines(text) {
		var e postern.AuditRecord
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			g.t.Fatalf("%v in %q", err, line)
		}
		all = append(all, e)
	}
	return all
}

// twoApprovals holds every update until two people have approved it.
const twoApprovals = `
kind: Access
name: everybody
to: [everyone]
on: {names: [orders-db]}
---
kind: Rule
name: updates
to: ["group:engineering"]
when: command.verb == "update"
then: review
review: {approvers: ["group:dba", "group:auditors"], approvals: 2}
`

// The same approval, the same denial and the same token, at two gateways on one
// store at once: each counts once, and a command runs once or not at all.
func TestTwoGatewaysOnOneStore(t *testing.T) {
	a := newGateway(t, "")
	a.write("objects/policies.yaml", twoApprovals)
	a.start()
	b := a.beside()
	b.start()
	a.upstream.Exec(t, a.database, "SET ROLE shop; CREATE TABLE counted (n integer); INSERT INTO counted VALUES (0)")
	alice, dave, petra := a.login("alice"), a.login("dave"), b.login("petra")
	conn := a.mustConnect("alice", a.sessionToken(alice))

	daves := []*client{a.client(dave), b.client(dave)}
	petras := []*client{a.client(petra), b.client(petra)}
	vote := func(c *client, id, word string) func() (int, error) {
		return func() (int, error) { return c.call(http.MethodPost, "/reviews/"+id+"/"+word, map[string]string{}, nil) }
	}
	ran := 0
	const rounds = 6
	for round := range rounds {
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			_, err := conn.Exec(ctx, "UPDATE counted SET n = n + 1").ReadAll()
			done <- err
		}()
		id := pendingReview(t, daves[1])
		// One person, four times at two gateways.
		got := atOnce(vote(daves[0], id, "approve"), vote(daves[1], id, "approve"), vote(daves[0], id, "approve"), vote(daves[1], id, "approve"))
		if got[200] != 1 || got[409] != 3 {
			t.Fatalf("one person approved four times at once: %v", got)
		}
		if round%2 == 0 {
			got = atOnce(vote(petras[0], id, "approve"), vote(petras[1], id, "approve"), vote(daves[0], id, "approve"), vote(daves[1], id, "approve"))
		} else { // the last approval, and a denial
			got = atOnce(vote(petras[0], id, "approve"), vote(petras[1], id, "deny"), vote(daves[1], id, "approve"))
		}
		if got[200] != 1 {
			t.Fatalf("the last word was counted %d times: %v", got[200], got)
		}
		var rv postern.Review
		if _, err := daves[1].call(http.MethodGet, "/reviews/"+id, nil, &rv); err != nil {
			t.Fatal(err)
		}
		err := <-done
		if denied := rv.State == postern.ReviewDenied; denied != (err != nil) {
			t.Fatalf("the review is %s, and the command says %v", rv.State, err)
		}
		if err == nil {
			ran++
		}
		if got := atOnce(vote(daves[0], id, "approve"), vote(petras[1], id, "approve")); got[409] != 2 {
			t.Fatalf("an ended review was voted on: %v", got)
		}
	}
	if got := a.upstream.Exec(t, a.database, "SELECT n FROM counted")[0][0]; got != fmt.Sprint(ran) || ran < rounds/2 {
		t.Errorf("%d commands were allowed, and %s ran", ran, got)
	}

	once, err := a.run(alice, "token", "orders-db", "--uses", "1")
	if err != nil {
		t.Fatal(err)
	}
	enter := func(g *gateway) func() (int, error) {
		return func() (int, error) {
			conn, err := g.connect("alice", once, nil)
			if err != nil {
				return http.StatusForbidden, err
			}
			return http.StatusOK, conn.Close(context.Background())
		}
	}
	if got := atOnce(enter(a), enter(b), enter(a), enter(b), enter(a), enter(b)); got[200] != 1 {
		t.Errorf("a token for one session opened %d", got[200])
	}

	if _, err := b.run(dave, "audit", "verify"); err != nil {
		t.Error(err)
	}
	counts := map[string]int{}
	for _, e := range b.entries(dave) {
		counts[e.Action+" "+e.Outcome]++
	}
	if counts["review.submit review"] != rounds || counts["review.spend ok"] != ran {
		t.Errorf("the log says %v", counts)
	}
	if denied := rounds - ran; counts["review.deny ok"] != denied || counts["review.approve ok"] != rounds+ran {
		t.Errorf("of %d reviews %d were denied; the log says %v", rounds, denied, counts)
	}
}

// Only the gateway that a session is open on can tell its client who watches it:
// another one on the same store says so, shows nothing, and keeps that it was asked.
func TestWatchAtAnotherGateway(t *testing.T) {
	a := newGateway(t, "")
	a.write("objects/policies.yaml", "{kind: Access, name: everybody, to: [everyone], on: {names: [orders-db]}}\n")
	a.write("objects/watch.yaml", "{kind: Recordings, name: on-call, watch: [\"user:dave\"]}\n")
	a.start()
	b := a.beside()
	b.start()
	alice, dave, petra := a.login("alice"), a.login("dave"), b.login("petra")
	host, port, _ := strings.Cut(a.postgres, ":")
	psql := a.begin(t, alice, []string{"PGPASSWORD=" + a.sessionToken(alice)}, "psql", "-X", "-At",
		fmt.Sprintf("host=%s port=%s user=alice dbname=orders-db sslmode=require", host, port))
	psql.types("SELECT 'ready' || 1;")
	psql.prints("ready1")
	id := b.live(petra, "orders-db")
	for _, args := range [][]string{{"watch", id}, {"export", "-f", id}, {"export", id}, {"replay", id}} {
		out, code, said := b.runCode(dave, append([]string{"session"}, args...)...)
		if code == 0 || strings.Contains(out, "ready") || !strings.Contains(said, "is open on another gateway") {
			t.Errorf("%q: %q, %d, %s", args, out, code, said)
		}
	}
	watch := a.begin(t, dave, nil, a.program, "session", "export", "-f", id)
	watch.prints("ready")
	psql.types("SELECT 'told' || 1;")
	psql.prints("NOTICE:  postern: dave is watching this session")
	watch.stop()
	psql.stop()
	failed := 0
	for _, e := range b.entries(petra) {
		if e.Action == "session.watch" && e.Outcome == "failed" && e.Session == id && e.Reason == "it isn't open on this gateway" {
			failed++
		}
	}
	if failed != 4 {
		t.Errorf("%d failures in the audit log, want 4", failed)
	}
}

// pendingReview waits for the one review that is pending.
func pendingReview(t *testing.T, c *client) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // polling another process
		var page struct{ Items []postern.Review }
		if _, err := c.call(http.MethodGet, "/reviews?state=pending", nil, &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Items) == 1 {
			return page.Items[0].ID
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d reviews are pending", len(page.Items))
		}
	}
}

// SIGKILL of one of two gateways in the middle of administrative acts: whatever
// was answered is in the log, and there is no entry without its act, nor an act
// without its entry.
func TestKillLosesNoAct(t *testing.T) {
	a := newGateway(t, "")
	a.start()
	b := a.beside()
	b.start()
	admin := a.login("dave")
	const callers, enough = 4, 60 // of each gateway; acts at the one that is killed
	var all sync.WaitGroup
	var mu sync.Mutex
	done, acts, reached := map[string]bool{}, 0, make(chan struct{}) // acts that were answered
	act := func(c *client, method, path string, body any, name string) bool {
		if _, err := c.call(method, path, body, nil); err != nil {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		done[name] = true
		if acts++; acts == enough {
			close(reached)
		}
		return true
	}
	killed := make(chan struct{})
	for n, g := range []*gateway{a, b} {
		c := g.client(admin)
		for k := range callers {
			all.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("job-%d-%d-%d", n, k, i)
					if !act(c, http.MethodPost, "/service-accounts", map[string]any{"name": name, "groups": []string{"ci"}}, "service-account.create "+name) {
						return // the gateway is gone
					}
					if i%2 == 0 && !act(c, http.MethodPost, "/service-accounts/"+name+"/disable", nil, "service-account.disable "+name) {
						return
					}
					select {
					case <-killed:
						return
					default:
					}
				}
			})
		}
	}
	<-reached
	a.kill()
	close(killed)
	all.Wait()
	a.start()

	if _, err := a.run(admin, "audit", "verify"); err != nil {
		t.Error(err)
	}
	logged := map[string]int{}
	for _, e := range a.entries(admin) {
		if name, ok := strings.CutPrefix(e.Target, "service:job-"); ok && e.Outcome == "ok" {
			logged[e.Action+" job-"+name]++
		}
	}
	var page struct{ Items []postern.Account }
	if _, err := b.client(admin).call(http.MethodGet, "/service-accounts", nil, &page); err != nil {
		t.Fatal(err)
	}
	stands := map[string]bool{} // acts whose effect is there
	for _, account := range page.Items {
		if strings.HasPrefix(account.Name, "job-") {
			stands["service-account.create "+account.Name] = true
			if account.Disabled {
				stands["service-account.disable "+account.Name] = true
			}
		}
	}
	for name := range done {
		if !stands[name] || logged[name] == 0 {
			t.Errorf("%s was answered; it was done: %t; entries: %d", name, stands[name], logged[name])
		}
	}
	for name, n := range logged {
		if !stands[name] || n != 1 {
			t.Errorf("the log says %s %d times; it was done: %t", name, n, stands[name])
		}
	}
	for name := range stands {
		if logged[name] == 0 {
			t.Errorf("%s was done, and isn't in the log", name)
		}
	}
	t.Logf("%d acts answered, %d done, %d in the log", len(done), len(stands), len(logged))
}
