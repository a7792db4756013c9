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

// TestBugOfTheServersSide: a bug while an answer is passed on ends its session, and is
// in the log; others go on.
func TestBugOfTheServersSide(t *testing.T) {
	if dropsPooled { // the race detector is on
		t.Skip("the bug is planted while the session runs")
	}
	o := newOffice(t, database(t), pgcluster.Superuser, "")
	o.door = openDoor(t, o.Gate, protocol.Options{AllowPlaintext: true})
	c := o.connect()
	if _, err := c.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
		t.Fatal(err)
	}
	r := o.relay(t, c)
	var log bytes.Buffer
	r.o.log = slog.New(slog.NewTextHandler(&log, nil))
	r.fromUp.beforeRead = func() error { panic("a bug") }
	const last = "postern: the gateway met a bug; tell an administrator"
	_, err := c.Exec(t.Context(), "SELECT 2").ReadAll()
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
}
