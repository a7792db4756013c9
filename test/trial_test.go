package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"postern"
)

const heldPayments = `
kind: Access
name: engineers
to: ["group:engineering"]
on: {names: [orders-db]}
---
kind: Rule
name: changes
when: command.verb in ["insert", "update", "delete"]
then: review
review: {approvers: ["group:dba"], before: commit, hold: 40s, rows: 10, sample: 3}
`

// TestTrialWithDriver: pgx changes rows in the ways that it has, through one gateway;
// what it did is looked at and decided at another one.
func TestTrialWithDriver(t *testing.T) {
	g := newGateway(t, "")
	g.write("objects/policies.yaml", heldPayments)
	g.start()
	second := g.beside()
	second.start()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	token := g.sessionToken(g.login("alice"))
	_, port, err := net.SplitHostPort(g.postgres)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=localhost port=%s user=alice password=%s dbname=orders-db sslmode=verify-full sslrootcert=%s", port, token, g.path("data/ca.pem")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()

	dave := second.client(second.login("dave"))
	// decide answers the next review, and returns what it showed.
	decide := func(how string) <-chan postern.Review {
		seen := make(chan postern.Review, 1)
		go func() {
			defer close(seen)
			for ctx.Err() == nil {
				var list struct{ Items []postern.Review }
				if _, err := dave.call("GET", "/reviews?state=pending", nil, &list); err != nil || len(list.Items) == 0 {
					continue
				}
				var rv postern.Review
				if _, err := dave.call("GET", "/reviews/"+list.Items[0].ID, nil, &rv); err != nil {
					continue
				}
				if _, err := dave.call("POST", "/reviews/"+rv.ID+"/"+how, map[string]string{"reason": "by the test"}, nil); err == nil {
					seen <- rv
					return
				}
			}
		}()
		return seen
	}
	status := func(id int) string {
		rows := g.upstream.Exec(t, g.database, fmt.Sprintf("SELECT status FROM payments WHERE id = %d", id))
		if len(rows) == 0 {
			return "none"
		}
		return rows[0][0]
	}
	refused := func(err error) bool {
		var told *pgconn.PgError
		return errors.As(err, &told) && told.Code == "42501" && strings.Contains(told.Message, "it was run and undone")
	}

	const update = "UPDATE payments SET status = $1 WHERE id = $2 RETURNING id, status"
	for i, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		id, was := 20+i, "captured"
		name := fmt.Sprintf("by %v %d", mode, i)
		seen := decide("deny")
		if _, err := conn.Exec(ctx, update, mode, name, id); !refused(err) {
			t.Errorf("%s: denied with %v", name, err)
		}
		if rv := <-seen; rv.Evidence == nil || rv.Evidence.Trial == nil || status(id) != was {
			t.Errorf("%s: denied after %+v, it is %s", name, rv.Evidence, status(id))
		}
		seen = decide("approve")
		var got string
		var number int
		if err := conn.QueryRow(ctx, update, mode, name, id).Scan(&number, &got); err != nil || number != id || got != name {
			t.Errorf("%s: approved with %d %q, %v", name, number, got, err)
		}
		rv := <-seen
		if status(id) != name {
			t.Errorf("%s: it is %s", name, status(id))
		}
		trial := rv.Evidence.Trial
		if trial == nil || trial.Rows != 1 || trial.Sample == nil || len(trial.Sample.Rows) != 1 {
			t.Fatalf("%s: the other gateway shows %+v", name, rv.Evidence)
		}
		row := trial.Sample.Rows[0]
		if columns := strings.Join(trial.Sample.Columns, ","); columns != "id,status,order_id,amount" || *row.Before[1] != was || *row.After[1] != name || fmt.Sprint(row.Changed) != "[1]" {
			t.Errorf("%s: the other gateway shows %s, %v", name, columns, row)
		}
	}

	// A transaction of the driver's own.
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []int{30, 31} {
		seen := decide("approve")
		if _, err := tx.Exec(ctx, "DELETE FROM payments WHERE id = $1", id); err != nil {
			t.Fatal(err)
		}
		if rv := <-seen; !rv.Evidence.Trial.Within {
			t.Errorf("it isn't told that it is within a transaction: %+v", rv.Evidence.Trial)
		}
		if status(id) != "captured" {
			t.Error("it is committed before its client has")
		}
	}
	if err := tx.Commit(ctx); err != nil || status(30)+status(31) != "nonenone" {
		t.Errorf("committed: %v, %s, %s", err, status(30), status(31))
	}
	if tx, err = conn.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	decide("deny")
	if _, err := tx.Exec(ctx, "DELETE FROM payments WHERE id = $1", 32); !refused(err) {
		t.Errorf("denied with %v", err)
	}
	if err := tx.Commit(ctx); !errors.Is(err, pgx.ErrTxCommitRollback) {
		t.Errorf("a transaction in which something was denied commits with %v", err)
	}

	// A batch is one pipeline: reviewed before it runs.
	seen := decide("deny")
	batch := &pgx.Batch{}
	batch.Queue("DELETE FROM payments WHERE id = 33")
	batch.Queue("DELETE FROM payments WHERE id = 34")
	if err := conn.SendBatch(ctx, batch).Close(); err == nil {
		t.Error("a batch went through")
	}
	if rv := <-seen; rv.Evidence.Trial != nil || !strings.Contains(strings.Join(rv.Evidence.Missing, ""), "more than its Bind, Describe, Execute and Sync") {
		t.Errorf("a batch shows %+v", rv.Evidence)
	}
	if status(33)+status(34) != "capturedcaptured" {
		t.Error("a batch ran")
	}
	if err := conn.Ping(ctx); err != nil {
		t.Error(err)
	}
}

// TestTrialOfGatewayThatStops: a gateway that can't say any more whether what it holds
// is to be committed keeps nothing locked for long.
func TestTrialOfGatewayThatStops(t *testing.T) {
	g := newGateway(t, "")
	g.write("objects/policies.yaml", strings.Replace(heldPayments, "hold: 40s", "hold: 1s", 1))
	g.start()
	conn := g.mustConnect("alice", g.sessionToken(g.login("alice")))
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "DELETE FROM payments WHERE id = 12").ReadAll()
		done <- err
	}()
	held := func() string {
		return g.upstream.Exec(t, g.database, "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND backend_xid IS NOT NULL AND datname = current_database()")[0][0]
	}
	waitFor := func(what, want string) {
		t.Helper()
		for deadline := time.Now().Add(40 * time.Second); held() != want; {
			if time.Now().After(deadline) {
				t.Fatalf("%s, and it isn't so", what)
			}
		}
	}
	waitFor("a command is held", "1")
	if err := g.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitFor("the server has given up", "0")
	if err := g.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("it went through")
	}
	if rows := g.upstream.Exec(t, g.database, "SELECT count(*) FROM payments WHERE id = 12"); rows[0][0] != "1" {
		t.Error("it was deleted")
	}
}
