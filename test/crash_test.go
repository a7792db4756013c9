package test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"postern"
)

// After SIGKILL in mid-session, replay shows every command that reached the server.
func TestKillLosesNoCommand(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	g.upstream.Exec(t, g.database, "SET ROLE shop; CREATE TABLE reached (id integer)")
	token := g.sessionToken(g.login("dave"))

	const clients, enough = 8, 400
	var writers sync.WaitGroup
	var done sync.Mutex
	count, reached := 0, make(chan struct{})
	for c := range clients {
		conn := g.mustConnect("dave", token)
		writers.Go(func() {
			for i := 0; ; i++ {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				_, err := conn.Exec(ctx, fmt.Sprintf("INSERT INTO reached VALUES (%d)", c*1_000_000+i)).ReadAll()
				cancel()
				if err != nil {
					return // the gateway is gone
				}
				done.Lock()
				if count++; count == enough {
					close(reached)
				}
				done.Unlock()
			}
		})
	}
	<-reached
	g.kill()
	writers.Wait()

	g.start()
	admin := g.login("dave")
	recorded := map[string]bool{}
	ids, err := g.run(admin, "session", "ls", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range strings.Fields(ids) {
		lines, err := g.run(admin, "session", "export", id)
		if err != nil {
			t.Fatal(err)
		}
		closed := false
		for line := range strings.Lines(lines) {
			var e postern.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			if e.Kind == postern.EventCommand {
				recorded[e.Command.Text] = true
			}
			closed = closed || e.Kind == postern.EventClose
		}
		if !closed {
			t.Errorf("session %s was not ended after the restart", id)
		}
	}
	rows := g.upstream.Exec(t, g.database, "SELECT id FROM reached")
	if len(rows) < enough {
		t.Fatalf("only %d rows reached the server", len(rows))
	}
	for _, row := range rows {
		if text := "INSERT INTO reached VALUES (" + row[0] + ")"; !recorded[text] {
			t.Errorf("%s reached the server, and is in no recording", text)
		}
	}
	if _, err := g.run(admin, "audit", "verify"); err != nil {
		t.Error(err)
	}
}
