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

// After SIGKILL in the middle of a burst of 10,000 commands, replay shows every
// command that reached the server, and the audit log has a decision of each.
func TestKillLosesNoCommand(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	g.upstream.Exec(t, g.database, "SET ROLE shop; CREATE TABLE reached (id integer)")
	token := g.sessionToken(g.login("dave"))

	const clients, each, enough = 8, 1250, 5000
	var writers sync.WaitGroup
	var done sync.Mutex
	count, reached := 0, make(chan struct{})
	for c := range clients {
		conn := g.mustConnect("dave", token)
		writers.Go(func() {
			for i := range each {
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
	recorded := map[string]string{} // by the command's text, its session and number
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
				recorded[e.Command.Text] = fmt.Sprintf("%s %d", id, e.N)
			}
			closed = closed || e.Kind == postern.EventClose
		}
		if !closed {
			t.Errorf("session %s was not ended after the restart", id)
		}
	}
	logged := map[string]bool{}
	exported, err := g.run(admin, "audit", "export")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(exported) {
		var e postern.AuditRecord
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if e.Action == "command" {
			at := fmt.Sprintf("%s %d", e.Session, e.N)
			if logged[at] {
				t.Errorf("the audit log has two decisions of command %s", at)
			}
			logged[at] = e.Outcome == "allow" && e.Verb == "insert" && strings.Join(e.Objects, ",") == "public.reached"
		}
	}
	t.Logf("%d sessions caught up", strings.Count(exported, "were taken over from its recording"))
	rows := g.upstream.Exec(t, g.database, "SELECT id FROM reached")
	if len(rows) < enough {
		t.Fatalf("only %d rows reached the server", len(rows))
	}
	for _, row := range rows {
		text := "INSERT INTO reached VALUES (" + row[0] + ")"
		switch at := recorded[text]; {
		case at == "":
			t.Errorf("%s reached the server, and is in no recording", text)
		case !logged[at]:
			t.Errorf("%s reached the server as command %s, and is not in the audit log", text, at)
		}
	}
	if _, err := g.run(admin, "audit", "verify"); err != nil {
		t.Error(err)
	}
}
