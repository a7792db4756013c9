package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// transcript is what a driver's program prints.
type transcript struct{ strings.Builder }

func (s *transcript) say(words ...any) { fmt.Fprintln(s, words...) }

// digest stands for data that is too long to print.
func digest[T string | []byte](data T) string {
	return fmt.Sprintf("%d bytes %.8x", len(data), sha256.Sum256([]byte(data)))
}

// keywords is an environment as a connection string.
func keywords(env []string) string {
	var b strings.Builder
	for name, variableName := range map[string]string{
		"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
		"dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT",
	} {
		if v := variable(env, variableName); v != "" {
			fmt.Fprintf(&b, "%s='%s' ", name, strings.ReplaceAll(v, "'", `\'`))
		}
	}
	return b.String()
}

// show is a row in the form that controls.txt has.
func show(values ...any) string {
	var words []string
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			words = append(words, "NULL")
		case time.Time:
			words = append(words, v.Format(time.DateOnly))
		default:
			words = append(words, fmt.Sprint(v))
		}
	}
	return strings.Join(words, " | ")
}

// withPgx is pgx, by its extended queries, pipelines and binary format.
func withPgx(t *testing.T, part string, env []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	p := &pgxProgram{t: t, ctx: ctx, dsn: keywords(env)}
	p.conn = p.connect()
	if part == "controls" {
		p.controls()
	} else {
		p.parity()
	}
	return p.String()
}

type pgxProgram struct {
	transcript

	t       *testing.T
	ctx     context.Context //nolint:containedctx // one program, one context
	dsn     string
	conn    *pgx.Conn
	notices []string
	heard   []*pgconn.Notification
}

func (p *pgxProgram) connect() *pgx.Conn {
	config, err := pgx.ParseConfig(p.dsn)
	p.must(err)
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		p.notices = append(p.notices, strings.Join([]string{n.Severity, n.Code, n.Message, n.Detail, n.Hint}, "|"))
	}
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { p.heard = append(p.heard, n) }
	conn, err := pgx.ConnectConfig(p.ctx, config)
	p.must(err)
	p.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (p *pgxProgram) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%v\n%s", err, tail(p.String()))
	}
}

// attempt says how something went.
func (p *pgxProgram) attempt(what string, err error) {
	var e *pgconn.PgError
	switch {
	case err == nil:
		p.say(what, "succeeded")
	case errors.As(err, &e):
		p.say(what, e.Severity, e.Code, e.Message, "|", e.Detail, "|", e.Hint, "|", e.Position, e.SchemaName, e.TableName, e.ColumnName, e.ConstraintName, e.Where, e.File, e.Routine)
	default:
		p.say(what, err)
	}
}

func (p *pgxProgram) exec(sql string, args ...any) {
	p.t.Helper()
	_, err := p.conn.Exec(p.ctx, sql, args...)
	p.must(err)
}

// try is exec for what may fail.
func (p *pgxProgram) try(what, sql string, args ...any) {
	tag, err := p.conn.Exec(p.ctx, sql, args...)
	p.attempt(what+" "+tag.String(), err)
}

// rows says what a query returned, as Go values.
func (p *pgxProgram) rows(sql string, args ...any) {
	rows, err := p.conn.Query(p.ctx, sql, args...)
	p.must(err)
	for rows.Next() {
		values, err := rows.Values()
		p.must(err)
		p.say(fmt.Sprintf("%v", values))
	}
	p.attempt(rows.CommandTag().String(), rows.Err())
}

func (p *pgxProgram) parity() {
	p.say("== connect")
	for _, name := range []string{
		"server_version", "server_encoding", "client_encoding", "standard_conforming_strings", "TimeZone", "DateStyle",
		"IntervalStyle", "integer_datetimes", "is_superuser", "session_authorization", "application_name", "in_hot_standby",
	} {
		p.say(name, p.conn.PgConn().ParameterStatus(name))
	}
	p.rows("SELECT current_user, session_user, current_database()")
	p.formats()
	p.prepared()
	p.pipelines()
	p.copies()
	p.cancelled()

	p.say("== notices")
	p.exec(`DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second' USING HINT = 'a hint', DETAIL = 'a detail'; RAISE DEBUG 'hidden'; END $$`)
	p.exec("DROP TABLE IF EXISTS drivers.missing")
	p.say(p.notices)

	p.largeObjects()
	p.notifications()
	p.transactions()

	p.say("== big")
	p.exec("CREATE TABLE drivers.b (t text, y bytea)")
	text, data := strings.Repeat("0123456789abcdef", 10<<16), bytes.Repeat([]byte("\x00\x01binary\xff"), 10<<17)
	p.exec("INSERT INTO drivers.b VALUES ($1, $2)", text, data)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
		var gotText string
		var gotData []byte
		p.must(p.conn.QueryRow(p.ctx, "SELECT t, y FROM drivers.b", mode).Scan(&gotText, &gotData))
		p.say(digest(gotText), digest(gotData), gotText == text, bytes.Equal(gotData, data))
	}
	p.say("== end")
}

func (p *pgxProgram) formats() {
	types, err := os.ReadFile("testdata/drivers/types.sql")
	p.must(err)
	for format, name := range []string{"text", "binary"} {
		p.say("== " + name)
		result := p.conn.PgConn().ExecParams(p.ctx, string(types), nil, nil, nil, []int16{int16(format)}).Read()
		p.must(result.Err)
		for i, f := range result.FieldDescriptions {
			p.say(f.Name, f.TableOID, f.TableAttributeNumber, f.DataTypeOID, f.DataTypeSize, f.TypeModifier, f.Format, fmt.Sprintf("%q", result.Rows[0][i]))
		}
		p.rows("SELECT id, item, amount, placed FROM orders ORDER BY id LIMIT 5", pgx.QueryResultFormats{int16(format)})
		p.rows(string(types), pgx.QueryResultFormats{int16(format)})
	}
}

func (p *pgxProgram) prepared() {
	p.say("== prepared")
	p.exec("CREATE TABLE drivers.p (a int PRIMARY KEY, b text)")
	description, err := p.conn.Prepare(p.ctx, "named", "INSERT INTO drivers.p VALUES ($1, $2) RETURNING a, b")
	p.must(err)
	for _, f := range description.Fields {
		p.say(description.ParamOIDs, f.Name, f.DataTypeOID, f.TableAttributeNumber)
	}
	for i := range 8 {
		p.rows("named", i, map[bool]any{true: nil, false: fmt.Sprint("row ", i)}[i == 3])
	}
	p.try("again", "named", 1, "duplicate")
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		for range 3 {
			p.rows("SELECT a, b FROM drivers.p WHERE a < $1 ORDER BY a", mode, 3)
		}
	}
	p.rows("SELECT name, statement, parameter_types FROM pg_prepared_statements WHERE name = 'named'")
	p.rows("SELECT * FROM drivers.p WHERE a = $1", 1)
	p.exec("ALTER TABLE drivers.p ADD COLUMN c int")
	for range 2 {
		p.rows("SELECT * FROM drivers.p WHERE a = $1", 1)
	}
	p.must(p.conn.Deallocate(p.ctx, "named"))
	_, err = p.conn.Prepare(p.ctx, "bad", "SELECT * FROM nowhere WHERE a = $1")
	p.attempt("bad", err)
	p.rows("SELECT $1::int[], $2::text[], $3::jsonb, $4::timestamptz, $5::bytea, $6::numeric",
		[]int32{1, 2}, []string{"a", `b"`}, map[string]int{"k": 1}, time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC), []byte{0, 255}, "1.50")
}

func (p *pgxProgram) pipelines() {
	p.say("== pipeline")
	p.exec("CREATE TABLE drivers.q (a int PRIMARY KEY)")
	batch := &pgx.Batch{}
	for i := range 6 {
		batch.Queue("INSERT INTO drivers.q VALUES ($1)", map[bool]int{true: 0, false: i}[i == 3])
	}
	p.batch(batch)
	p.rows("SELECT a FROM drivers.q")
	batch = &pgx.Batch{}
	batch.Queue("BEGIN")
	for i := range 5 {
		batch.Queue("INSERT INTO drivers.q VALUES ($1)", i)
	}
	batch.Queue("COMMIT")
	batch.Queue("SELECT count(*) FROM drivers.q")
	p.batch(batch)

	pipeline := p.conn.PgConn().StartPipeline(p.ctx)
	pipeline.SendPrepare("piped", "SELECT $1::int * 2", nil)
	for i := range 500 {
		pipeline.SendQueryPrepared("piped", [][]byte{fmt.Append(nil, i-250)}, nil, nil)
		if i%100 == 50 {
			pipeline.SendQueryParams("SELECT 1 / $1::int", [][]byte{[]byte("0")}, nil, nil, nil)
		}
		if i%20 == 0 {
			pipeline.SendPipelineSync()
		}
		if i%50 == 0 {
			pipeline.SendFlushRequest()
		}
	}
	pipeline.SendPipelineSync()
	p.must(pipeline.Flush())
	for {
		results, err := pipeline.GetResults()
		if results == nil && err == nil {
			break
		}
		switch r := results.(type) {
		case *pgconn.ResultReader:
			got := r.Read()
			p.attempt(fmt.Sprintf("%s %s", got.Rows, got.CommandTag), got.Err)
		default:
			p.attempt(fmt.Sprintf("%T", r), err)
		}
	}
	p.must(pipeline.Close())
	p.rows("SELECT 'still here'")
}

// batch says what each of a batch's statements did.
func (p *pgxProgram) batch(batch *pgx.Batch) {
	results := p.conn.SendBatch(p.ctx, batch)
	for i := range batch.Len() {
		tag, err := results.Exec()
		p.attempt(fmt.Sprint("in batch ", i, " ", tag), err)
	}
	p.attempt("batch", results.Close())
	p.say(string(p.conn.PgConn().TxStatus()))
}

func (p *pgxProgram) copies() {
	p.say("== copy")
	p.exec("CREATE TABLE drivers.c (a int, b text, c timestamptz)")
	n, err := p.conn.CopyFrom(p.ctx, pgx.Identifier{"drivers", "c"}, []string{"a", "b", "c"}, pgx.CopyFromSlice(5000, func(i int) ([]any, error) {
		return []any{i, strings.Repeat("é", i%40), time.Unix(int64(i), 0)}, nil
	}))
	p.attempt(fmt.Sprint("binary in ", n), err)
	low := p.conn.PgConn()
	for _, in := range [][2]string{
		{"COPY drivers.c FROM STDIN", "1\ttab\\there\t\\N\n2\t\\N\t2026-01-01\n"},
		{"COPY drivers.c FROM STDIN (FORMAT csv)", "3,\"a \"\"quote\"\"\",\n"},
		{"COPY drivers.c FROM STDIN", "1\tx\t\\N\nword\ty\t\\N\n"},
		{"COPY drivers.nowhere FROM STDIN", "1\n"},
	} {
		tag, err := low.CopyFrom(p.ctx, strings.NewReader(in[1]), in[0])
		p.attempt(in[0]+" "+tag.String(), err)
	}
	_, err = low.CopyFrom(p.ctx, io.MultiReader(strings.NewReader("1\tx\t\\N\n"), brokenReader{}), "COPY drivers.c FROM STDIN")
	p.attempt("given up", err)
	for _, options := range []string{"", "(FORMAT csv, HEADER)", "(FORMAT binary)"} {
		var out bytes.Buffer
		tag, err := low.CopyTo(p.ctx, &out, "COPY (SELECT * FROM drivers.c ORDER BY a, b) TO STDOUT "+options)
		p.attempt(tag.String()+" "+digest(out.Bytes()), err)
	}
	_, err = low.CopyTo(p.ctx, io.Discard, "COPY (SELECT 1 / (n - 2000) FROM generate_series(1, 3000) n) TO STDOUT")
	p.attempt("fails in the middle", err)
	p.rows("SELECT count(*), max(a) FROM drivers.c")
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the program gave up") }

func (p *pgxProgram) cancelled() {
	p.say("== cancel")
	other := p.connect()
	var mine uint32
	p.must(p.conn.QueryRow(p.ctx, "SELECT pg_backend_pid()").Scan(&mine))
	ended := make(chan error, 1)
	go func() {
		for {
			var busy bool
			err := other.QueryRow(p.ctx, "SELECT state = 'active' AND query LIKE '%pg_sleep%' FROM pg_stat_activity WHERE pid = $1", mine).Scan(&busy)
			if err != nil || busy {
				ended <- errors.Join(err, p.conn.PgConn().CancelRequest(p.ctx))
				return
			}
		}
	}()
	p.try("sleep", "SELECT pg_sleep(60)")
	p.must(<-ended)
	p.rows("SELECT 'still here'")
	p.must(p.conn.PgConn().CancelRequest(p.ctx)) // nothing runs: nothing happens
	p.rows("SELECT 'and here'")
}

func (p *pgxProgram) largeObjects() {
	p.say("== large objects")
	tx, err := p.conn.Begin(p.ctx)
	p.must(err)
	objects := tx.LargeObjects()
	oid, err := objects.Create(p.ctx, 0)
	p.must(err)
	o, err := objects.Open(p.ctx, oid, pgx.LargeObjectModeWrite|pgx.LargeObjectModeRead)
	p.must(err)
	n, err := o.Write(bytes.Repeat([]byte("large "), 200_000))
	p.attempt(fmt.Sprint("written ", n), err)
	at, err := o.Seek(600_000, io.SeekStart)
	p.attempt(fmt.Sprint("at ", at), err)
	data, err := io.ReadAll(o)
	p.attempt(digest(data), err)
	p.must(o.Truncate(10))
	at, err = o.Seek(0, io.SeekEnd)
	p.attempt(fmt.Sprint("at ", at), err)
	p.must(o.Close())
	p.must(objects.Unlink(p.ctx, oid))
	_, err = objects.Open(p.ctx, 1, pgx.LargeObjectModeRead)
	p.attempt("not there", err)
	p.must(tx.Rollback(p.ctx))
	p.functionCall()
}

// functionCall uses the protocol's own message for it, as libpq's lo_open does.
func (p *pgxProgram) functionCall() {
	hijacked, err := p.connect().PgConn().Hijack()
	p.must(err)
	defer func() { _ = hijacked.Conn.Close() }()
	for _, argument := range []string{"\x00\x00\x00\x2a", "short"} {
		hijacked.Frontend.Send(&pgproto3.FunctionCall{
			Function: 1397, ArgFormatCodes: []uint16{1}, Arguments: [][]byte{[]byte(argument)}, ResultFormatCode: 1, // int4abs
		})
		p.must(hijacked.Frontend.Flush())
		for ready := false; !ready; {
			message, err := hijacked.Frontend.Receive()
			p.must(err)
			switch m := message.(type) {
			case *pgproto3.FunctionCallResponse:
				p.say("result", m.Result)
			case *pgproto3.ErrorResponse:
				p.say("error", m.Code, m.Message)
			case *pgproto3.ReadyForQuery:
				p.say("ready", string(m.TxStatus))
				ready = true
			default:
				p.say(fmt.Sprintf("%T", m))
			}
		}
	}
}

func (p *pgxProgram) notifications() {
	p.say("== notify")
	other := p.connect()
	p.exec("LISTEN news")
	_, err := other.Exec(p.ctx, "SELECT pg_notify('news', 'from another'), pg_notify('news', repeat('x', 7000))")
	p.must(err)
	var theirs uint32
	p.must(other.QueryRow(p.ctx, "SELECT pg_backend_pid()").Scan(&theirs))
	for len(p.heard) < 2 {
		p.must(p.conn.PgConn().WaitForNotification(p.ctx))
	}
	p.exec("NOTIFY news, 'from myself'")
	for _, n := range p.heard {
		p.say(n.Channel, digest(n.Payload), n.PID == theirs)
	}
	p.exec("UNLISTEN *")
}

func (p *pgxProgram) transactions() {
	p.say("== transactions")
	status := func() { p.say(string(p.conn.PgConn().TxStatus())) }
	p.exec("CREATE TABLE drivers.t (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
	tx, err := p.conn.BeginTx(p.ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
	p.must(err)
	p.rows("SHOW transaction_isolation")
	p.exec("INSERT INTO drivers.t VALUES (1)")
	inner, err := tx.Begin(p.ctx)
	p.must(err)
	p.try("broken", "SELECT 1/0")
	status()
	p.try("aborted", "SELECT 1")
	p.must(inner.Rollback(p.ctx))
	status()
	p.rows("SELECT a FROM drivers.t")
	p.must(tx.Commit(p.ctx))
	status()
	tx, err = p.conn.Begin(p.ctx)
	p.must(err)
	p.exec("INSERT INTO drivers.t VALUES (1)")
	p.attempt("fails when committed", tx.Commit(p.ctx))
	status()
	p.exec("BEGIN")
	p.try("broken", "SELECT nothing")
	p.try("commit", "COMMIT")
	p.try("begin twice", "BEGIN")
	p.try("begin twice", "BEGIN")
	p.exec("DECLARE c SCROLL CURSOR FOR SELECT n FROM generate_series(1, 50) n")
	p.rows("FETCH 3 FROM c")
	p.rows("FETCH BACKWARD 1 FROM c")
	p.try("move", "MOVE ALL FROM c")
	p.exec("COMMIT")
	p.try("rollback", "ROLLBACK")

	results, err := p.conn.PgConn().Exec(p.ctx, "SELECT 1; INSERT INTO drivers.t VALUES (9); SELECT 2, 'x'; ; SET search_path = drivers; SHOW search_path").ReadAll()
	p.attempt("several", err)
	for _, r := range results {
		p.say(r.CommandTag, fmt.Sprintf("%s", r.Rows))
	}
	results, err = p.conn.PgConn().Exec(p.ctx, "SELECT 1; INSERT INTO t VALUES (8); SELECT 1/0; SELECT 3").ReadAll()
	p.attempt(fmt.Sprint("half ", len(results)), err)
	p.rows("SELECT a FROM t")
	p.try("empty", "")
	p.try("comment", "-- nothing")
	p.try("syntax", "SELEC 1")
	p.try("two in one", "SELECT 1; SELECT $1::int", 1)
	p.exec("RESET search_path")
}

// deny says how a denied statement ended.
func (p *pgxProgram) deny(what string, err error) {
	var e *pgconn.PgError
	switch {
	case !errors.As(err, &e):
		p.say(what+":", "not denied", err)
	case e.Code == "42501":
		p.say(what+":", e.Code, e.Message)
	default:
		p.say(what+":", e.Code)
	}
}

func (p *pgxProgram) count(what string) {
	var n int
	p.must(p.conn.QueryRow(p.ctx, "SELECT count(*) FROM orders").Scan(&n))
	p.say(what+":", n)
}

func (p *pgxProgram) controls() {
	for format, name := range []string{"text", "binary"} {
		rows, err := p.conn.Query(p.ctx, "SELECT id, name, email, phone, card_number, joined, notes FROM customers WHERE id <= 3 ORDER BY id", pgx.QueryResultFormats{int16(format)})
		p.must(err)
		for rows.Next() {
			values, err := rows.Values()
			p.must(err)
			p.say(name+":", show(values...))
		}
		p.must(rows.Err())
	}
	for range 7 {
		var email, phone string
		p.must(p.conn.QueryRow(p.ctx, "SELECT email, phone FROM customers WHERE id = $1", 1).Scan(&email, &phone))
		p.say("prepared:", show(email, phone))
	}
	var text, binary bytes.Buffer
	_, err := p.conn.PgConn().CopyTo(p.ctx, &text, "COPY (SELECT id, email, card_number FROM customers WHERE id = 1) TO STDOUT")
	p.must(err)
	p.say("copy out:", strings.ReplaceAll(strings.TrimSpace(text.String()), "\t", " | "))
	_, err = p.conn.PgConn().CopyTo(p.ctx, &binary, "COPY (SELECT id, email, card_number FROM customers WHERE id = 1) TO STDOUT (FORMAT binary)")
	p.must(err)
	fields := binaryCopyFields(binary.Bytes())
	p.say("binary copy:", show(int(fields[0][3]), string(fields[1]), string(fields[2])))

	deny := func(what, sql string, args ...any) {
		_, err := p.conn.Exec(p.ctx, sql, args...)
		p.deny(what, err)
	}
	deny("denied", "DROP TABLE orders", pgx.QueryExecModeSimpleProtocol)
	deny("denied prepared", "DELETE FROM orders")
	p.count("alive")
	p.exec("BEGIN")
	p.exec("INSERT INTO orders VALUES (1000, 1, 'lamp', 1, now())")
	deny("denied in a transaction", "DELETE FROM orders")
	deny("then", "SELECT 1")
	p.exec("ROLLBACK")
	p.count("alive")
	p.exec("BEGIN")
	p.exec("INSERT INTO orders VALUES (1001, 1, 'lamp', 1, now())")
	p.exec("SAVEPOINT s")
	deny("denied after a savepoint", "DELETE FROM orders")
	p.exec("ROLLBACK TO s")
	p.count("back at it")
	p.exec("ROLLBACK")

	pipeline := p.conn.PgConn().StartPipeline(p.ctx)
	for _, sql := range []string{"SELECT 'one'", "DELETE FROM orders WHERE id = -1", "DELETE FROM orders", "SELECT 'four'"} {
		pipeline.SendQueryParams(sql, nil, nil, nil, nil)
	}
	p.must(pipeline.Sync())
	tags := []string{"none", "none", "none", "none"}
	for i := range tags {
		results, err := pipeline.GetResults()
		if r, ok := results.(*pgconn.ResultReader); ok {
			var tag pgconn.CommandTag
			if tag, err = r.Close(); err == nil {
				tags[i] = tag.String()
			}
		}
		if err != nil {
			p.deny("denied in a pipeline", err)
			break
		}
	}
	p.must(pipeline.Close())
	p.say("pipeline results:", strings.Join(tags, ", "))
	p.count("alive after a pipeline")
	_, err = p.conn.PgConn().Exec(p.ctx, "SELECT 1; DELETE FROM orders; SELECT 2").ReadAll()
	p.deny("denied in several", err)
	p.count("end")
}

// binaryCopyFields are the fields of a binary COPY's first row.
func binaryCopyFields(data []byte) [][]byte {
	data = data[len("PGCOPY\n\xff\r\n\x00")+8:]
	fields := make([][]byte, int(data[0])<<8|int(data[1]))
	data = data[2:]
	for i := range fields {
		size := int(data[2])<<8 | int(data[3])
		fields[i], data = data[4:4+size], data[4+size:]
	}
	return fields
}
