package test

import (
	"context"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A gateway that dies, or is told to stop, while a command waits for a review
// leaves no review behind that could still be approved, and no session that
// looks live; what it logged verifies.
func TestStopsWhileReviewWaits(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"kill": syscall.SIGKILL, "drain": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, "")
			g.write("objects/wait.yaml", "kind: Rule\nname: wait\nwhen: command.verb == \"delete\"\nthen: review\nreview: {approvers: [\"group:dba\"]}\n")
			g.start()
			conn := g.mustConnect("alice", g.sessionToken(g.login("alice")))
			ran := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				_, err := conn.Exec(ctx, "DELETE FROM orders WHERE id = 1").ReadAll()
				ran <- err
			}()
			dave := g.login("dave")
			id := ""
			for deadline := time.Now().Add(20 * time.Second); id == "" && time.Now().Before(deadline); {
				var err error
				if id, err = g.run(dave, "review", "ls", "--quiet"); err != nil {
					t.Fatal(err)
				}
			}
			if id == "" {
				t.Fatal("no review was asked for")
			}
			// A second gateway by mistake does no harm meanwhile.
			if out, err := exec.Command(g.program, "serve", "--config", g.path("postern.yaml")).CombinedOutput(); err == nil || !strings.Contains(string(out), "another gateway runs") {
				t.Errorf("a second gateway: %v: %s", err, out)
			}
			if list, err := g.run(dave, "session", "ls", "--live", "--quiet"); err != nil || list == "" {
				t.Errorf("the live sessions beside a second gateway: %q, %v", list, err)
			}
			g.signal(sig)
			if err := <-ran; err == nil {
				t.Error("the command ran without an approval")
			}
			g.start()
			if _, err := g.run(dave, "review", "approve", id); err == nil {
				t.Error("a review that nobody waits for can be approved")
			}
			if list, err := g.run(dave, "session", "ls", "--live", "--quiet"); err != nil || list != "" {
				t.Errorf("sessions that look live: %q, %v", list, err)
			}
			if _, err := g.run(dave, "audit", "verify"); err != nil {
				t.Error(err)
			}
		})
	}
}
