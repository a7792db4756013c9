package postgres

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/internal/protocol"
	"postern/test/pgcluster"
)

// TestBug: a bug while an answer is passed on, or before the next message of the client,
// ends its session, and is in the log; others go on.
func TestBug(t *testing.T) {
	if dropsPooled { // the race detector is on
		t.Skip("the bug is planted while the session runs")
	}
	bug := func() error { panic("a bug") }
	for side, plant := range map[string]func(*relay){
		"server": func(r *relay) { r.fromUp.beforeRead = bug },
		"client": func(r *relay) { r.fromHere.beforeRead = bug },
	} {
		t.Run(side, func(t *testing.T) {
			o := newOffice(t, database(t), pgcluster.Superuser, "")
			o.door = openDoor(t, o.Gate, protocol.Options{AllowPlaintext: true})
			c := o.connect()
			if _, err := c.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
				t.Fatal(err)
			}
			r := o.relay(t, c)
			var log bytes.Buffer
			r.o.log = slog.New(slog.NewTextHandler(&log, nil))
			plant(r)
			const last = "postern: the gateway met a bug; tell an administrator"
			_, err := c.Exec(t.Context(), "SELECT 2").ReadAll()
			if err == nil { // it was answered before
				err = c.WaitForNotification(t.Context())
			}
			var said *pgconn.PgError
			if !errors.As(err, &said) || said.Message != last {
				t.Errorf("the client is told %v", err)
			}
			if err := o.door.served(t); err == nil || !strings.Contains(err.Error(), "a bug") {
				t.Errorf("the operator is told %v", err)
			}
			if e := closed(t, o.Harness); e.Reason != last {
				t.Errorf("in the audit log: %+v", e)
			}
			if !strings.Contains(log.String(), "session broke on a bug") || !strings.Contains(log.String(), r.s.ID()) {
				t.Errorf("in the log: %s", log.String())
			}
			if _, err := o.connect().Exec(t.Context(), "SELECT 3").ReadAll(); err != nil {
				t.Error(err)
			}
		})
	}
}
