package postgres

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/internal/gate/gatetest"
)

// hostile is the longest that a client which doesn't cooperate keeps its
// session: partingTime twice, for what was on its way and for the last word,
// and what a loaded machine adds. All waits for well-behaved clients are longer.
const hostile = goodbyeTime - 200*time.Millisecond

func everySession(postern.SessionInfo) bool { return true }

// TestEndedSessionTellsItsLatency: the audit log says how long it took from
// what was accepted until the client was cut off and its query had stopped.
func TestEndedSessionTellsItsLatency(t *testing.T) {
	h, d, id := openShop(t)
	c := enter(t, d, id, "3.0")
	answer := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), "select pg_sleep(60) -- revoked").ReadAll()
		answer <- err
	}()
	sleeping(t, h, "-- revoked")
	accepted := time.Now().Add(-time.Second) // an event that took a second to verify
	if n := h.EndSince(accepted, "its account was disabled", everySession); n != 1 {
		t.Fatalf("ended %d sessions", n)
	}
	if err := <-answer; err == nil {
		t.Error("the query has an answer")
	}
	if err := d.served(t); err != nil {
		t.Error(err)
	}
	e := closed(t, h.Harness)
	if e.Outcome != "ended" || e.Reason != "postern: session ended: its account was disabled" || e.LatencyUS < 1_000_000 || e.LatencyUS > 1_000_000+hostile.Microseconds() {
		t.Errorf("in the audit log: %+v", e)
	}
}

// closed is the audit entry of the only session's end.
func closed(t *testing.T, h *gatetest.Harness) postern.AuditEntry {
	t.Helper()
	entries := h.Audit.Entries()
	i := slices.IndexFunc(entries, func(e postern.AuditEntry) bool { return e.Action == "session.close" })
	if i < 0 {
		t.Fatal("the session's end isn't in the audit log")
	}
	return entries[i]
}

// TestClientThatDoesntReadIsCutOff: nobody puts off the end of a session by
// not reading what the gateway still has for it.
func TestClientThatDoesntReadIsCutOff(t *testing.T) {
	h, d, id := openShop(t)
	c := enter(t, d, id, "3.0")
	hijacked, err := c.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hijacked.Conn.Close() }()
	query, err := (&pgproto3.Query{String: "select repeat('x', 100000) from generate_series(1, 1000000) -- unread"}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hijacked.Conn.Write(query); err != nil {
		t.Fatal(err)
	}
	pid := blocked(t, h, "-- unread")
	cutOff(t, h, d, pid)
}

// TestClientThatSendsWithoutEndIsCutOff: nor by sending more and more.
func TestClientThatSendsWithoutEndIsCutOff(t *testing.T) {
	h, d, id := openShop(t)
	h.cluster.Exec(t, "postgres", "drop table if exists heap; create table heap (line text)")
	c := enter(t, d, id, "3.0")
	hijacked, err := c.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	conn := hijacked.Conn
	out, err := (&pgproto3.Query{String: "copy heap from stdin -- endless"}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	row, err := (&pgproto3.CopyData{Data: append(bytes.Repeat([]byte("x"), 8000), '\n')}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	under, sending := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sending)
		for i := 0; ; i++ {
			if i == 1000 {
				close(under)
			}
			if _, err := conn.Write(out); err != nil {
				return
			}
			out = row
		}
	}()
	select {
	case <-under:
	case <-sending:
		t.Fatal("it was cut off before it was ended")
	}
	pid := waitFor(t, h, "query like '%-- endless'")
	cutOff(t, h, d, pid)
	_ = conn.Close()
	<-sending
	if n := h.cluster.Exec(t, "postgres", "select count(*) from heap")[0][0]; n != "0" {
		t.Errorf("%s lines stayed", n)
	}
}

// TestSilentClientIsCutOff: an idle client, that reads nothing and closes
// nothing, loses its connection, and its backend upstream is gone.
func TestSilentClientIsCutOff(t *testing.T) {
	h, d, id := openShop(t)
	c := enter(t, d, id, "3.0")
	if _, err := c.Exec(t.Context(), "begin; select 1 -- idle").ReadAll(); err != nil {
		t.Fatal(err)
	}
	pid := h.cluster.Exec(t, "postgres", "select pid from pg_stat_activity where query like '%-- idle' and pid <> pg_backend_pid()")[0][0]
	cutOff(t, h, d, pid)
	if _, err := c.Exec(t.Context(), "select 1").ReadAll(); err == nil {
		t.Error("the session lives on")
	}
}

// cutOff ends every session, and expects the one of them to be over soon, on
// both of its sides.
func cutOff(t *testing.T, h *house, d *door, pid string) {
	t.Helper()
	began := time.Now()
	if n := h.End("its account was disabled", everySession); n != 1 {
		t.Fatalf("ended %d sessions", n)
	}
	if err := d.served(t); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > hostile {
		t.Errorf("it took %v", took)
	}
	for deadline := time.Now().Add(20 * time.Second); len(h.cluster.Exec(t, "postgres", "select 1 from pg_stat_activity where pid = "+pid)) != 0; {
		if time.Now().After(deadline) {
			t.Fatal("its backend lives on")
		}
	}
	if e := closed(t, h.Harness); e.Outcome != "ended" || e.LatencyUS <= 0 {
		t.Errorf("in the audit log: %+v", e)
	}
}

// blocked waits until the server can't get rid of a query's rows.
func blocked(t *testing.T, h *house, comment string) (pid string) {
	t.Helper()
	return waitFor(t, h, "wait_event = 'ClientWrite' and query like '%"+comment+"'")
}

// waitFor waits for a backend, and returns its process id.
func waitFor(t *testing.T, h *house, condition string) (pid string) {
	t.Helper()
	watch := h.cluster.Connect(t, "postgres")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		results, err := watch.Exec(ctx, "select pid from pg_stat_activity where pid <> pg_backend_pid() and "+condition).ReadAll()
		if err != nil {
			t.Fatal("there is no backend of which ", condition, ": ", err)
		}
		if len(results[0].Rows) > 0 {
			return string(results[0].Rows[0][0])
		}
	}
}

// TestManySessionsEndTogether: their backends are ended by one statement, which
// ends nobody else's: not those of the same role that came another way.
func TestManySessionsEndTogether(t *testing.T) {
	h, d, id := openShop(t)
	others := make([]*pgconn.PgConn, 3)
	for i := range others {
		others[i] = h.cluster.Connect(t, "postgres")
	}
	const many = 2 * massLeast
	answers := make(chan error, many)
	for range many {
		c := enter(t, d, id, "3.0")
		go func() {
			_, err := c.Exec(t.Context(), "select pg_sleep(60) -- together").ReadAll()
			answers <- err
		}()
	}
	const running = "select count(*) from pg_stat_activity where query like '%-- together' and state = 'active' and pid <> pg_backend_pid()"
	for deadline := time.Now().Add(20 * time.Second); h.cluster.Exec(t, "postgres", running)[0][0] != strconv.Itoa(many); {
		if time.Now().After(deadline) {
			t.Fatal("they aren't running")
		}
	}
	if n := h.End("its account was disabled", everySession); n != many {
		t.Fatalf("ended %d sessions", n)
	}
	for range many {
		var told *pgconn.PgError
		if err := <-answers; !errors.As(err, &told) || told.Message != "postern: session ended: its account was disabled" {
			t.Errorf("got %v", err)
		}
		if err := d.served(t); err != nil {
			t.Error(err)
		}
	}
	if n := h.cluster.Exec(t, "postgres", running)[0][0]; n != "0" {
		t.Errorf("%s run on", n)
	}
	for _, other := range others {
		if _, err := other.Exec(t.Context(), "select 1").ReadAll(); err != nil {
			t.Error("somebody else's connection was ended: ", err)
		}
	}
	if len(d.p.mass.servers) != 0 {
		t.Error("somebody still leads")
	}
}

// TestMassMistakesNobodyForUs: a process id that has become another's is left alone.
func TestMassMistakesNobodyForUs(t *testing.T) {
	h, d, id := openShop(t)
	enter(t, d, id, "3.0")
	other := h.cluster.Connect(t, "postgres")
	ours := h.cluster.Connect(t, "postgres")
	local, err := net.Dial("tcp", h.cluster.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = local.Close() }()
	answer := make(chan error, 1)
	go func() {
		_, err := other.Exec(t.Context(), "select pg_sleep(60) -- of another").ReadAll()
		answer <- err
	}()
	sleeping(t, h, "-- of another")
	member := &massMember{u: &upstream{conn: local, pid: other.PID()}}
	found, err := cancelAll(t.Context(), ours, []*massMember{member})
	if err != nil || len(found) != 0 {
		t.Errorf("cancelled %v, %v", found, err)
	}
	select {
	case err := <-answer:
		t.Fatal("it was cancelled: ", err)
	default:
	}
	member.u.conn = other.Conn()
	found, err = cancelAll(t.Context(), ours, []*massMember{member})
	if err != nil || found[other.PID()] != massRunning {
		t.Errorf("not cancelled: %v, %v", found, err)
	}
	var cancelled *pgconn.PgError
	if err := <-answer; !errors.As(err, &cancelled) || cancelled.Code != "57014" {
		t.Errorf("got %v", err)
	}
}

// TestPipelineOfEndedSessionStops: what stands behind the running command is not
// run when that is cancelled.
func TestPipelineOfEndedSessionStops(t *testing.T) {
	h, d, id := openShop(t)
	h.cluster.Exec(t, "postgres", "drop table if exists trace; create table trace (line text)")
	c := enter(t, d, id, "3.0")
	hijacked, err := c.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hijacked.Conn.Close() }()
	var out []byte
	for _, text := range []string{"select pg_sleep(60) -- first", "select pg_sleep(0.1)", "insert into trace values ('it ran')"} {
		for _, m := range []pgproto3.FrontendMessage{&pgproto3.Parse{Query: text}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}} {
			if out, err = m.Encode(out); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := hijacked.Conn.Write(out); err != nil {
		t.Fatal(err)
	}
	pid := sleeping(t, h, "-- first")
	sent := func() bool {
		return slices.ContainsFunc(h.Recordings.Last().Events(), func(e postern.Event) bool {
			return e.Command != nil && strings.Contains(e.Command.Text, "it ran")
		})
	}
	for deadline := time.Now().Add(20 * time.Second); !sent(); {
		if time.Now().After(deadline) {
			t.Fatal("what stands behind it wasn't sent")
		}
	}
	cutOff(t, h, d, pid)
	if n := h.cluster.Exec(t, "postgres", "select count(*) from trace")[0][0]; n != "0" {
		t.Error("what stood behind it ran")
	}
}
