//go:build screenshots

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/internal/identity/workload/issuertest"
	"postern/internal/sshserver"
)

// TestScreenshots takes pictures of every page of the console, into the folder
// that POSTERN_SCREENSHOTS names; `make screenshots` runs it.
func TestScreenshots(t *testing.T) {
	dir := t.TempDir()
	server, stop, err := sshserver.Start(sshserver.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	issuer := issuertest.New(t)
	g := newGateway(t, fmt.Sprintf(trustedPrograms, issuer.URL, issuer.CAFile))
	g.write("objects/web.yaml", fmt.Sprintf(shells, server.Addr, server.User, filepath.Join(dir, "client_key"), server.HostKey))
	g.write("objects/late.yaml", fmt.Sprintf(lateAccess, g.upstream.Addr, g.database, g.path("db.password")))
	g.write("objects/watch.yaml", "{kind: Recordings, name: on-call, watch: [\"user:dave\"]}\n")
	g.start()
	day := g.busyDay(t)
	g.node(t, "e2e/screenshots.mjs", g.publicURL(), password, os.Getenv("POSTERN_SCREENSHOTS"),
		"/sessions/"+day.session, "/reviews/"+day.review, "/sessions/"+day.shell, "/requests/"+day.request)
	g.stop()
	<-day.over
}

// day is what there is to look at after a day.
type day struct {
	session, shell  string        // a live one, of SQL, and one that is over
	review, request string        // both wait
	over            chan struct{} // closed when nothing waits any more
}

// busyDay has people and programs do what they do in a day.
func (g *gateway) busyDay(t *testing.T) day {
	t.Helper()
	alice := g.login("alice")
	d := day{over: make(chan struct{})}
	for user, statements := range map[string][]string{
		"petra": {"SELECT name, email, phone FROM customers ORDER BY id", "SELECT city, count(*) FROM customers GROUP BY city"},
		"dave":  {"SELECT count(*) FROM payments WHERE status = 'captured'", "EXPLAIN SELECT * FROM orders WHERE customer_id = 7"},
	} {
		conn := g.mustConnect(user, g.sessionToken(g.login(user)))
		runAll(t, conn, statements)
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range []string{"uptime", "ls -l /etc/hostname /etc/os-release", "df -h /"} {
		if _, err := g.run(alice, "exec", "web-1", "-c", command); err != nil {
			t.Fatal(err)
		}
	}
	shells, err := g.run(alice, "session", "ls", "--resource", "web-1", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	d.shell, _, _ = strings.Cut(shells, "\n")
	asked, err := g.run(alice, "request", "late-db", "--reason", "OPS-4711: find out which orders were charged twice", "--for", "1h", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var request struct{ ID string }
	if err := json.Unmarshal([]byte(asked), &request); err != nil {
		t.Fatal(err)
	}
	d.request = request.ID
	conn := g.mustConnect("alice", g.sessionToken(alice))
	runAll(t, conn, []string{
		"SELECT id, name, email, card_number FROM customers ORDER BY id LIMIT 5",
		"SELECT c.name, count(*) AS orders, sum(o.amount) AS spent FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.name ORDER BY spent DESC",
		"SELECT nam FROM customers",
		"DELETE FROM orders",
		"SELECT item, avg(amount)::numeric(10, 2) AS price FROM orders GROUP BY item",
		"DROP TABLE orders",
		"UPDATE orders SET item = 'teapot' WHERE id = 3",
		"SELECT status, count(*) FROM payments GROUP BY status",
		"SELECT email, phone FROM customers WHERE city IS NOT NULL ORDER BY id LIMIT 2",
	})
	go func() {
		defer close(d.over)
		_, _ = conn.Exec(t.Context(), "UPDATE payments SET status = 'refunded'\nWHERE order_id IN (SELECT id FROM orders WHERE customer_id = 7)").ReadAll() // nobody answers it
	}()
	if d.session, err = g.run(alice, "session", "ls", "--live", "--quiet"); err != nil {
		t.Fatal(err)
	}
	for d.review == "" {
		waiting, err := g.run(alice, "review", "ls", "--quiet")
		if err != nil {
			t.Fatal(err)
		}
		for id := range strings.Lines(waiting) {
			if id = strings.TrimSpace(id); id != d.request {
				d.review = id
			}
		}
	}
	return d
}

// runAll runs statements, of which some are refused.
func runAll(t *testing.T, conn *pgconn.PgConn, statements []string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s).ReadAll(); err != nil && !strings.Contains(err.Error(), "SQLSTATE 42") {
			t.Fatal(err)
		}
	}
}
