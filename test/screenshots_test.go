//go:build screenshots

package test

import (
	"os"
	"strings"
	"testing"
)

// TestScreenshots takes pictures of every page of the console, into the folder
// that POSTERN_SCREENSHOTS names; `make screenshots` runs it.
func TestScreenshots(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	login := g.login("alice")
	conn := g.mustConnect("alice", g.sessionToken(login))
	one(t, conn, "SELECT email FROM customers WHERE id = 1")
	if _, err := conn.Exec(t.Context(), "DROP TABLE orders").ReadAll(); err == nil {
		t.Error("the table was dropped")
	}
	waits := make(chan struct{})
	go func() {
		defer close(waits)
		_, _ = conn.Exec(t.Context(), "UPDATE payments SET status = 'refunded' WHERE id = 7").ReadAll() // nobody answers it
	}()
	session, err := g.run(login, "session", "ls", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	var review string
	for review == "" {
		if review, err = g.run(login, "review", "ls", "--quiet"); err != nil {
			t.Fatal(err)
		}
		review = strings.TrimSpace(review)
	}
	g.node(t, "e2e/screenshots.mjs", g.publicURL(), "dave", password, os.Getenv("POSTERN_SCREENSHOTS"),
		"/sessions/"+strings.TrimSpace(session), "/reviews/"+review)
	g.stop()
	<-waits
}
