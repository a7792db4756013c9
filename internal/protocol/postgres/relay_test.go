package postgres

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/test/pgcluster"
)

// client runs one of PostgreSQL's programs against the gateway.
func (o *office) client(program string, args ...string) (string, error) {
	o.t.Helper()
	path, err := pgcluster.Binary(program)
	if err != nil {
		o.t.Skip("SKIPPED, NOT TESTED: ", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{
		"LC_ALL=C", "HOME=" + o.t.TempDir(), "PATH=" + os.Getenv("PATH"),
		"PGHOST=" + o.door.host, "PGPORT=" + o.door.port, "PGUSER=alice", "PGPASSWORD=token-alice", "PGDATABASE=db", "PGSSLMODE=disable",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// database makes a database for one test.
func database(t testing.TB) string {
	t.Helper()
	return databaseLike(t, "template1")
}

// databaseLike makes a copy of another database, for one test.
func databaseLike(t testing.TB, template string) string {
	t.Helper()
	return cluster.Get(t).Clone(t, template)
}

// TestScript runs a session of psql through the gateway and past it, and
// compares all that it prints.
func TestScript(t *testing.T) {
	const script = `
\set VERBOSITY verbose
\set SHOW_CONTEXT always
create table t(id int primary key, name text, at timestamptz default '2026-01-02 03:04:05+00');
\d t
\dt
insert into t(id, name) values (1, 'one'), (2, 'two'), (3, null) returning id;
select * from t order by id;
begin; update t set name = 'uno' where id = 1; savepoint s; select 1/0; rollback to s; select * from t where id = 1; commit;
select nothing; select 2;
insert into t values (1);
\copy t(id, name) to stdout
\copy t(id, name) from stdin
10	ten
11	\N
\.
copy t(id) from stdin;
12
13
\.
copy t(id) from stdin;
14
not a number
\.
select count(*) from t;
select 1 as a \; select 2 as b \; select 3 as c;
select 'a' \gset x_
\echo :x_?column?
prepare p(int) as select name from t where id = $1; execute p(1); deallocate p; execute p(1);
begin; declare c cursor for select id from t order by id; fetch 2 from c; move 1 in c; fetch all from c; close c; commit;
\gdesc
select id, name from t \gdesc
select $1::int + $2::int \bind 1 2 \g
do $$ begin raise notice 'hello %', 42; raise warning 'careful'; end $$;
do $$ begin raise exception 'no' using hint = 'maybe', detail = 'why'; end $$;
listen chan; notify chan, 'payload'; select 1;
set search_path = pg_catalog; show search_path; reset search_path;
set standard_conforming_strings = off; select 'a\\b'; set standard_conforming_strings = on; select 'a\b';
set client_encoding = latin1; select 'x'; reset client_encoding;
create function f(int) returns int language sql as 'select $1 + 1'; select f(1);
call nothing();
vacuum t;
begin; begin; rollback; rollback;
explain (costs off) select * from t where id = 1;
;
-- nothing
select * from generate_series(1, 3) \crosstabview
\lo_list
truncate t;
drop table t; drop function f;
`
	o := newOffice(t, database(t), pgcluster.Superuser, "")
	file := filepath.Join(t.TempDir(), "script.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := o.client("psql", "-X", "-a", "-f", file)
	if err != nil {
		t.Fatal(err, got)
	}
	path, err := pgcluster.Binary("psql")
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: ", err)
	}
	cmd := exec.Command(path, "-X", "-a", "-f", file, o.cluster.DSN(pgcluster.Superuser, o.cluster.Password, database(t)))
	cmd.Env = []string{"LC_ALL=C", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	want, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err, string(want))
	}
	if got, want := pids.ReplaceAllString(got, "PID"), pids.ReplaceAllString(string(want), "PID"); got != want {
		t.Errorf("through the gateway:\n%s\npast it:\n%s", got, want)
	}
}

// TestPrograms: PostgreSQL's own programs work through the gateway.
func TestPrograms(t *testing.T) {
	from := database(t)
	o := newOffice(t, from, pgcluster.Superuser, "")
	run := func(program string, args ...string) string {
		t.Helper()
		out, err := o.client(program, args...)
		if err != nil {
			t.Fatalf("%s %v: %v\n%s\n%s", program, args, err, out, o.Log)
		}
		return out
	}
	run("pgbench", "-i", "-q", "-s", "1")
	for _, mode := range []string{"simple", "extended", "prepared"} {
		run("pgbench", "-n", "-M", mode, "-c", "4", "-t", "20")
		run("pgbench", "-n", "-M", mode, "-S", "-c", "2", "-t", "50")
	}
	pipeline := filepath.Join(t.TempDir(), "pipeline.sql")
	if err := os.WriteFile(pipeline, []byte("\\startpipeline\nselect 1;\nselect abalance from pgbench_accounts where aid = 7;\nselect 2;\n\\endpipeline\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("pgbench", "-n", "-M", "prepared", "-c", "2", "-t", "20", "-f", pipeline)
	dump := filepath.Join(t.TempDir(), "dump")
	run("pg_dump", "-Fc", "-f", dump)
	into := database(t)
	o2 := newOffice(t, into, pgcluster.Superuser, "")
	if out, err := o2.client("pg_restore", "-d", "db", dump); err != nil {
		t.Fatal(err, out)
	}
	const count = "select count(*) from pgbench_accounts"
	if got, want := o.cluster.Exec(t, into, count), o.cluster.Exec(t, from, count); got[0][0] != want[0][0] {
		t.Errorf("restored %v rows of %v", got, want)
	}
}

// TestLargeValues: values go through in bounded memory.
func TestLargeValues(t *testing.T) {
	o := newOffice(t, "postgres", pgcluster.Superuser, "")
	w := o.wire()
	w.query("select 1") // the catalog has been read then
	const size = 100 << 20
	query, _ := (&pgproto3.Query{String: "select repeat('x', 104857600)"}).Encode(nil)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := w.conn.Write(query); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	total := 0
	for total < size {
		n, err := w.conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	runtime.ReadMemStats(&after)
	most := uint64(8 << 20)
	if dropsPooled {
		most = 64 << 20
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > most {
		t.Errorf("a row of 100 MiB made the gateway allocate %d bytes", grown)
	}
}

// TestCopyBothWays sends and fetches more than any buffer holds.
func TestCopyBothWays(t *testing.T) {
	o := newOffice(t, database(t), pgcluster.Superuser, "")
	c := o.connect()
	ctx := t.Context()
	if _, err := c.Exec(ctx, "create table big(id int, v text)").ReadAll(); err != nil {
		t.Fatal(err)
	}
	row := "1\t" + strings.Repeat("y", 1000) + "\n"
	const rows = 20000
	tag, err := c.CopyFrom(ctx, io.LimitReader(&repeated{row: row}, int64(rows*len(row))), "copy big from stdin")
	if err != nil || tag.RowsAffected() != rows {
		t.Fatal(tag, err)
	}
	var out bytes.Buffer
	if tag, err = c.CopyTo(ctx, &out, "copy big to stdout"); err != nil || tag.RowsAffected() != rows || out.Len() != rows*len(row) {
		t.Errorf("%v %v: %d bytes", tag, err, out.Len())
	}
	results := o.events(postern.EventResult)
	if n := len(results); n != 3 || results[1].Bytes != int64(rows*len(row)) || results[2].Bytes != int64(rows*len(row)) || results[1].RowCount != rows {
		t.Errorf("recorded %+v", results)
	}
}

type repeated struct {
	row string
	at  int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m := copy(p[n:], r.row[r.at:])
		n += m
		r.at = (r.at + m) % len(r.row)
	}
	return n, nil
}

// TestCopyInTheExtendedProtocol as libpq does it: the Sync of the Execute is
// ignored by the server while it waits for data.
func TestCopyInTheExtendedProtocol(t *testing.T) {
	o := newOffice(t, database(t), pgcluster.Superuser, "")
	o.wire().query("create table c(id int)")
	for _, wire := range []*wire{o.wire(), newWire(t, o.cluster.Connect(t, o.events(postern.EventOpen)[0].Session.Database))} {
		wire.query("truncate c")
		wire.send(join(parse("", "copy c from stdin"), bind("", ""), execute(""), syn())...)
		got := wire.next() + wire.next() + wire.next()
		wire.send(&pgproto3.CopyData{Data: []byte("1\n")}, syn(), &pgproto3.CopyData{Data: []byte("2\n")}, &pgproto3.CopyDone{}, syn(), q("select count(*) from c"))
		got += wire.until(2)
		wire.send(join(parse("", "copy c from stdin"), bind("", ""), execute(""), syn())...)
		got += wire.next() + wire.next() + wire.next()
		wire.send(&pgproto3.CopyData{Data: []byte("x\n")}, &pgproto3.CopyData{Data: []byte("2\n")}, &pgproto3.CopyDone{}, syn(), q("select count(*) from c"))
		got += wire.until(2)
		wire.send(join(parse("", "copy c from stdin"), bind("", ""), execute(""), &pgproto3.CopyData{Data: []byte("7\n")}, &pgproto3.CopyFail{Message: "enough"}, syn(), q("select 1"))...)
		got += wire.until(2)
		wire.send(q("copy c from stdin; select 1; copy c from stdin; select 2"), &pgproto3.CopyData{Data: []byte("1\n")}, &pgproto3.CopyDone{}, &pgproto3.CopyData{Data: []byte("1\n")}, &pgproto3.CopyDone{}, q("select 3"))
		got += wire.until(2)
		wire.send(q("select 4"), &pgproto3.CopyData{Data: []byte("not asked for")}, &pgproto3.CopyDone{}, q("select 5"))
		got += wire.until(2)
		const want = "parsecomplete\nbindcomplete\ncopyinresponse\ndone COPY 2\nready I\ncolumns count\nrow 2\ndone SELECT 1\nready I\n" +
			"parsecomplete\nbindcomplete\ncopyinresponse\nerror 22P02 invalid input syntax for type integer: \"x\"\nready I\ncolumns count\nrow 2\ndone SELECT 1\nready I\n" +
			"parsecomplete\nbindcomplete\ncopyinresponse\nerror 57014 COPY from stdin failed: enough\nready I\ncolumns ?column?\nrow 1\ndone SELECT 1\nready I\n" +
			"copyinresponse\ndone COPY 1\ncolumns ?column?\nrow 1\ndone SELECT 1\ncopyinresponse\ndone COPY 1\ncolumns ?column?\nrow 2\ndone SELECT 1\nready I\ncolumns ?column?\nrow 3\ndone SELECT 1\nready I\n" +
			"columns ?column?\nrow 4\ndone SELECT 1\nready I\ncolumns ?column?\nrow 5\ndone SELECT 1\nready I\n"
		if got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
}

func TestPortals(t *testing.T) {
	o := newOffice(t, "postgres", pgcluster.Superuser, "")
	direct := o.direct("postgres")
	for _, msgs := range [][]pgproto3.FrontendMessage{
		join(q("begin"), parse("", "select * from generate_series(1, 5) g"), bind("p", ""), &pgproto3.Execute{Portal: "p", MaxRows: 2}, &pgproto3.Execute{Portal: "p", MaxRows: 2}, execute("p"), execute("p"), &pgproto3.Close{ObjectType: 'P', Name: "p"}, execute("p"), syn(), q("rollback")),
		join(q("begin"), q("declare c cursor for select 1 as a union all select 2"), &pgproto3.Describe{ObjectType: 'P', Name: "c"}, execute("c"), syn(), q("commit")),
		join(q("begin"), parse("", "select 1 as a"), bind("p", ""), syn(), q("fetch all from p"), q("commit")),
		join(q("prepare sp as select 5"), bind("", "sp"), execute(""), syn(), q("deallocate sp")),
		join(parse("pp", "select 6"), syn(), q("execute pp"), q("deallocate pp")),
		join(bind("", "missing"), execute(""), syn(), execute("missing"), syn(), q("select 1")),
		join(&pgproto3.Describe{ObjectType: 'S', Name: "missing"}, syn(), &pgproto3.Close{ObjectType: 'S', Name: "missing"}, syn(), q("select 1")),
		join(parse("", ""), bind("", ""), &pgproto3.Describe{ObjectType: 'P'}, execute(""), syn(), q(""), q(" -- nothing")),
		join(&pgproto3.FunctionCall{Function: 1299, ResultFormatCode: 0}, q("select 1")),
		join(&pgproto3.FunctionCall{Function: 4294967295}, q("select 1")),
		join(parse("", "select $1::int"), bind("", "", "x"), syn(), parse("", "select $1::int"), bind("", "", "7"), execute(""), syn(), q("select 1")),
	} {
		got, want := o.wire().all(msgs...), direct.all(msgs...)
		if got = times.ReplaceAllString(got, "TIME"); got != times.ReplaceAllString(want, "TIME") {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
}

// TestUpstreamDies: in mid-row nothing more can be said; between messages the
// client is told.
func TestUpstreamDies(t *testing.T) {
	o := newOffice(t, "postgres", pgcluster.Superuser, "")
	w := o.wire()
	pid := strings.TrimPrefix(strings.Split(w.query("select pg_backend_pid()"), "\n")[1], "row ")
	o.cluster.Exec(t, "postgres", "select pg_terminate_backend("+pid+")")
	if got := w.next(); got != "error 57P01 terminating connection due to administrator command\n" {
		t.Errorf("got %s", got)
	}
	if err := o.door.served(t); err != nil {
		t.Error(err)
	}
	if _, err := w.f.Receive(); err == nil {
		t.Error("the connection goes on")
	}
}

// What differs from run to run.
var (
	pids  = regexp.MustCompile(`with PID \d+`)
	times = regexp.MustCompile(`result [0-9a-f]+`)
)
