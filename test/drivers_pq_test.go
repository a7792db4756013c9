package test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
)

// withPQ is lib/pq, by way of database/sql. With binary_parameters=yes, which
// sends a query and its parameters at once, unnamed, it is called by that name.
func withPQ(more string) func(*testing.T, string, []string) string {
	return func(t *testing.T, part string, env []string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		p := &pqProgram{t: t, ctx: ctx, dsn: keywords(env) + more}
		p.conn = p.connect()
		if part == "controls" {
			p.controls()
		} else {
			p.parity()
		}
		return p.String()
	}
}

type pqProgram struct {
	transcript

	t    *testing.T
	ctx  context.Context //nolint:containedctx // one program, one context
	dsn  string
	conn *sql.Conn

	notices []string
}

func (p *pqProgram) connect() *sql.Conn {
	connector, err := pq.NewConnector(p.dsn)
	p.must(err)
	db := sql.OpenDB(pq.ConnectorWithNoticeHandler(connector, func(n *pq.Error) {
		p.notices = append(p.notices, strings.Join([]string{n.Severity, string(n.Code), n.Message, n.Detail, n.Hint}, "|"))
	}))
	p.t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(p.ctx)
	p.must(err)
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (p *pqProgram) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%v\n%s", err, tail(p.String()))
	}
}

func (p *pqProgram) attempt(what string, err error) {
	var e *pq.Error
	switch {
	case err == nil:
		p.say(what, "succeeded")
	case errors.As(err, &e):
		p.say(what, e.Severity, e.Code, e.Message, "|", e.Detail, "|", e.Hint, "|", e.Position, e.Table, e.Column, e.Constraint, e.Where, e.File, e.Line, e.Routine)
	default:
		p.say(what, err)
	}
}

// prepare prepares a statement for as long as the program runs.
func (p *pqProgram) prepare(on execer, query string) *sql.Stmt {
	p.t.Helper()
	statement, err := on.PrepareContext(p.ctx, query)
	p.must(err)
	p.t.Cleanup(func() { _ = statement.Close() })
	return statement
}

// shut closes a statement before that.
func (p *pqProgram) shut(what string, statement *sql.Stmt) { p.attempt(what, statement.Close()) }

// execer is a connection or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

func (p *pqProgram) try(what string, on execer, query string, args ...any) {
	result, err := on.ExecContext(p.ctx, query, args...)
	if err == nil {
		n, _ := result.RowsAffected()
		what = fmt.Sprint(what, " ", n)
	}
	p.attempt(what, err)
}

func (p *pqProgram) rows(on execer, query string, args ...any) {
	rows, err := on.QueryContext(p.ctx, query, args...)
	if err != nil {
		p.attempt("query", err)
		return
	}
	p.read(rows)
}

// read says what there is in each of the results.
func (p *pqProgram) read(rows *sql.Rows) {
	defer func() { _ = rows.Close() }()
	for more := true; more; more = rows.NextResultSet() {
		types, err := rows.ColumnTypes()
		p.must(err)
		for _, column := range types {
			p.say(column.Name(), column.DatabaseTypeName())
		}
		values, pointers := make([]any, len(types)), make([]any, len(types))
		for i := range values {
			pointers[i] = &values[i]
		}
		for rows.Next() {
			p.must(rows.Scan(pointers...))
			p.say(fmt.Sprintf("%v", values))
		}
	}
	p.attempt("rows", rows.Err())
}

func (p *pqProgram) parity() {
	c := p.conn
	p.say("== connect")
	p.rows(c, "SELECT current_user, session_user, current_database(), version()")
	p.rows(c, "SELECT name, setting FROM pg_settings WHERE source = 'client' AND name <> 'application_name' ORDER BY name")

	p.say("== text")
	types, err := os.ReadFile("testdata/drivers/types.sql")
	p.must(err)
	p.rows(c, string(types))
	p.rows(c, "SELECT id, item, amount, placed FROM orders WHERE id <= $1 ORDER BY id", 5)
	p.rows(c, "SELECT $1::int[], $2::text[], $3::jsonb, $4::timestamptz, $5::bytea, $6::text",
		pq.Array([]int64{1, 2}), pq.Array([]string{"a", `b"`}), `{"k": 1}`, time.Unix(1e9, 0).UTC(), []byte{0, 255}, nil)

	p.say("== prepared")
	p.try("create", c, "CREATE TABLE drivers.p (a int PRIMARY KEY, b text)")
	insert := p.prepare(c, "INSERT INTO drivers.p VALUES ($1, $2) RETURNING *")
	for i := range 8 {
		rows, err := insert.QueryContext(p.ctx, i, sql.NullString{String: fmt.Sprint("row ", i), Valid: i != 3})
		p.must(err)
		p.read(rows)
	}
	_, err = insert.ExecContext(p.ctx, 1, "again")
	p.attempt("again", err)
	find := p.prepare(c, "SELECT * FROM drivers.p WHERE a = $1")
	for i := range 6 {
		if i == 4 {
			p.try("alter", c, "ALTER TABLE drivers.p ADD COLUMN c int")
		}
		rows, err := find.QueryContext(p.ctx, i)
		p.attempt("changed", err)
		if err == nil {
			p.read(rows)
		}
	}
	p.shut("closed", insert)
	p.shut("closed", find)
	p.rows(c, "SELECT * FROM nowhere WHERE a = $1", 1)

	p.copies()
	p.cancelled()

	c = p.conn
	p.say("== notices")
	p.try("raise", c, `DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second' USING HINT = 'a hint'; END $$`)
	p.try("drop", c, "DROP TABLE IF EXISTS drivers.missing")
	p.say(p.notices)

	p.say("== large objects")
	tx, err := c.BeginTx(p.ctx, nil)
	p.must(err)
	var oid uint32
	p.must(tx.QueryRowContext(p.ctx, "SELECT lo_from_bytea(0, $1)", []byte(strings.Repeat("large ", 5000))).Scan(&oid))
	p.rows(tx, "SELECT lo_get($1, 6, 12)", oid)
	p.try("put", tx, "SELECT lo_put($1, 6, 'LARGE')", oid)
	var object []byte
	p.must(tx.QueryRowContext(p.ctx, "SELECT lo_get($1)", oid).Scan(&object))
	p.say(digest(object))
	p.try("unlink", tx, "SELECT lo_unlink($1)", oid)
	p.must(tx.Commit())

	p.notifications()
	p.transactions()

	p.say("== big")
	p.try("create", c, "CREATE TABLE drivers.b (t text, y bytea)")
	text, data := strings.Repeat("0123456789abcdef", 10<<16), []byte(strings.Repeat("\x00\x01binary\xff", 10<<17))
	p.try("insert", c, "INSERT INTO drivers.b VALUES ($1, $2)", text, data)
	var gotText string
	var gotData []byte
	p.must(c.QueryRowContext(p.ctx, "SELECT t, y FROM drivers.b").Scan(&gotText, &gotData))
	p.say(digest(gotText), digest(gotData), gotText == text, string(gotData) == string(data))
	p.say("== end")
}

func (p *pqProgram) copies() {
	c := p.conn
	p.say("== copy")
	p.try("create", c, "CREATE TABLE drivers.c (a int, b text, c timestamptz)")
	for _, bad := range []bool{false, true} {
		tx, err := c.BeginTx(p.ctx, nil)
		p.must(err)
		in := p.prepare(tx, "COPY drivers.c (a, b, c) FROM STDIN")
		for i := range 5000 {
			var a any = i
			if bad && i == 4999 {
				a = "word"
			}
			if _, err = in.ExecContext(p.ctx, a, strings.Repeat("é\t", i%40), time.Unix(int64(i), 0).UTC()); err != nil {
				break
			}
		}
		p.must(err)
		_, err = in.ExecContext(p.ctx)
		p.attempt("flushed", err)
		p.shut("closed", in)
		if bad {
			p.must(tx.Rollback())
		} else {
			p.must(tx.Commit())
		}
	}
	p.rows(c, "SELECT count(*), max(a), sum(length(b)) FROM drivers.c")
}

func (p *pqProgram) cancelled() {
	p.say("== cancel")
	other := p.connect()
	var mine int
	p.must(p.conn.QueryRowContext(p.ctx, "SELECT pg_backend_pid()").Scan(&mine))
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		for {
			var busy bool
			err := other.QueryRowContext(p.ctx, "SELECT state = 'active' AND query LIKE '%pg_sleep%' FROM pg_stat_activity WHERE pid = $1", mine).Scan(&busy)
			if err != nil || busy {
				cancel()
				ended <- err
				return
			}
		}
	}()
	_, err := p.conn.ExecContext(ctx, "SELECT pg_sleep(60)")
	p.attempt("sleep", err)
	p.must(<-ended)
	p.conn = p.connect() // database/sql gives up a connection whose query was cancelled
	p.rows(p.conn, "SELECT 'still here'")
}

func (p *pqProgram) notifications() {
	p.say("== notify")
	listener := pq.NewListener(p.dsn, time.Second, time.Minute, nil)
	defer func() { _ = listener.Close() }()
	p.must(listener.Listen("news"))
	p.try("notify", p.conn, "SELECT pg_notify('news', 'from another'), pg_notify('news', repeat('x', 7000))")
	for range 2 {
		select {
		case n := <-listener.Notify:
			p.say(n.Channel, digest(n.Extra))
		case <-p.ctx.Done():
			p.must(p.ctx.Err())
		}
	}
	p.must(listener.Ping())
}

func (p *pqProgram) transactions() {
	c := p.conn
	p.say("== transactions")
	p.try("create", c, "CREATE TABLE drivers.t (a int PRIMARY KEY)")
	tx, err := c.BeginTx(p.ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	p.must(err)
	p.rows(tx, "SHOW transaction_isolation")
	p.try("insert", tx, "INSERT INTO drivers.t VALUES ($1)", 1)
	p.try("savepoint", tx, "SAVEPOINT s")
	p.try("duplicate", tx, "INSERT INTO drivers.t VALUES ($1)", 1)
	p.try("aborted", tx, "SELECT 1")
	p.try("back", tx, "ROLLBACK TO s")
	p.rows(tx, "SELECT a FROM drivers.t")
	p.must(tx.Commit())
	tx, err = c.BeginTx(p.ctx, &sql.TxOptions{ReadOnly: true})
	p.must(err)
	p.try("read only", tx, "INSERT INTO drivers.t VALUES (2)")
	p.attempt("commit", tx.Commit())
	p.rows(c, "SELECT 1 AS a; INSERT INTO drivers.t VALUES (9); SELECT 2 AS b, 'x' AS c")
	p.try("half", c, "INSERT INTO drivers.t VALUES (8); INSERT INTO drivers.t VALUES (8)")
	p.rows(c, "SELECT a FROM drivers.t ORDER BY a")
	p.try("empty", c, "")
	p.try("syntax", c, "SELEC 1")
	p.try("division", c, "SELECT 1 / $1", 0)
}

func (p *pqProgram) deny(what string, err error) {
	var e *pq.Error
	switch {
	case !errors.As(err, &e):
		p.say(what+":", "not denied", err)
	case e.Code == "42501":
		p.say(what+":", e.Code, e.Message)
	default:
		p.say(what+":", e.Code)
	}
}

func (p *pqProgram) count(what string, on execer) {
	rows, err := on.QueryContext(p.ctx, "SELECT count(*) FROM orders")
	p.must(err)
	defer func() { _ = rows.Close() }()
	var n int
	for rows.Next() {
		p.must(rows.Scan(&n))
	}
	p.must(rows.Err())
	p.say(what+":", n)
}

func (p *pqProgram) controls() {
	c := p.conn
	for id := range 3 {
		values, pointers := make([]any, 7), make([]any, 7)
		for i := range values {
			pointers[i] = &values[i]
		}
		p.must(c.QueryRowContext(p.ctx, fmt.Sprint("SELECT id, name, email, phone, card_number, joined, notes FROM customers WHERE id = ", id+1)).Scan(pointers...))
		p.say("text:", show(values...))
	}
	statement := p.prepare(c, "SELECT email, phone FROM customers WHERE id = $1")
	defer func() { _ = statement.Close() }()
	for range 7 {
		var email, phone string
		p.must(statement.QueryRowContext(p.ctx, 1).Scan(&email, &phone))
		p.say("prepared:", show(email, phone))
	}
	deny := func(what string, on execer, query string, args ...any) {
		_, err := on.ExecContext(p.ctx, query, args...)
		p.deny(what, err)
	}
	deny("denied", c, "DROP TABLE orders")
	deny("denied prepared", c, "DELETE FROM orders WHERE $1", true)
	p.count("alive", c)
	tx, err := c.BeginTx(p.ctx, nil)
	p.must(err)
	p.exec(tx, "INSERT INTO orders VALUES ($1, 1, 'lamp', 1, now())", 1000)
	deny("denied in a transaction", tx, "DELETE FROM orders")
	deny("then", tx, "SELECT 1")
	p.must(tx.Rollback())
	p.count("alive", c)
	tx, err = c.BeginTx(p.ctx, nil)
	p.must(err)
	p.exec(tx, "INSERT INTO orders VALUES ($1, 1, 'lamp', 1, now())", 1001)
	p.exec(tx, "SAVEPOINT s")
	deny("denied after a savepoint", tx, "DELETE FROM orders")
	p.exec(tx, "ROLLBACK TO s")
	p.count("back at it", tx)
	p.must(tx.Rollback())
	deny("denied in several", c, "SELECT 1; DELETE FROM orders; SELECT 2")
	p.count("end", c)
}

func (p *pqProgram) exec(on execer, query string, args ...any) {
	p.t.Helper()
	_, err := on.ExecContext(p.ctx, query, args...)
	p.must(err)
}
