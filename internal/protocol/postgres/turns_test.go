package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/test/pgcluster"
)

// until waits until a query of the office's database, asked past the gateway, is true.
func (o *office) until(query string) {
	o.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if o.counted(query) == "t" {
			return
		}
		o.cluster.Exec(o.t, "postgres", "SELECT pg_sleep(0.01)") // it has more to do than to be asked
	}
	o.t.Fatal("it never came: ", query)
}

// turns is how many sessions wait for their turn.
func (o *office) turns() (n int) {
	all := o.door.p.relay.catalogs
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, at := range all.sites {
		at.mu.Lock()
		for _, d := range at.doubts {
			if d.turn > 0 {
				n++
			}
		}
		at.mu.Unlock()
	}
	return n
}

// What the server is at with a session: it waits for a lock, or sleeps.
const (
	someWait  = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"
	someSleep = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())"
)

const turnSetup = `CREATE SCHEMA o4; ALTER SCHEMA o4 OWNER TO app; SET ROLE app; CREATE TABLE o4.staff AS SELECT id, 7 AS s_int FROM public.staff;
CREATE TABLE o4.bag(what int); CREATE VIEW o4.v AS SELECT id, 7 AS what FROM public.plain;
CREATE FUNCTION o4.f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 7'; RESET ROLE;`

// turning is an office whose sessions wait for each other for so long, and two of them.
func turning(t *testing.T, turn time.Duration, setup string) (o *office, reads, changes *wire) {
	t.Helper()
	o = newOffice(t, evasionArena(t), "app", evasionMasks)
	o.cluster.Exec(t, o.database(), turnSetup+setup)
	o.door.p.relay.turn = turn
	reads, changes = o.wire(), o.wire()
	reads.query("SET search_path = o4, public")
	reads.want("SELECT s_int + 0 AS n FROM staff WHERE id = 1", "columns n\nrow 7\ndone SELECT 1\nready I\n")
	return o, reads, changes
}

// TestBypassTurns: a command that is under way reads what it was decided over, though
// another session gives its names another meaning: that one waits, or the command ends.
func TestBypassTurns(t *testing.T) {
	const (
		secret = "482137"
		steal  = "SELECT s_int + 0 FROM staff WHERE id = 1"
		drop   = "DROP TABLE o4.staff"
		view   = "CREATE OR REPLACE VIEW o4.v AS SELECT id, s_int + 0 AS what FROM public.staff"
		viewed = "SELECT what + 0 FROM v WHERE id = 1"
		fn     = "CREATE OR REPLACE FUNCTION o4.f() RETURNS int LANGUAGE sql STABLE AS 'SELECT s_int FROM public.staff WHERE id = 1'"
		copies = "INSERT INTO o4.bag SELECT s_int FROM staff WHERE id = 1"
		sleep  = "SELECT pg_sleep(0.8)"
	)
	for name, test := range map[string]struct {
		before      []string                   // of the one who changes
		first, then []pgproto3.FrontendMessage // of the one who reads, and of the one who changes
		when        string                     // the second comes once that is so
		changes     bool                       // the second comes first
	}{
		"behind a lock":                        {[]string{"BEGIN", drop}, join(q(steal)), join(q("COMMIT")), someWait, false},
		"behind a lock, prepared":              {[]string{"BEGIN", drop}, join(run(steal), syn()), join(q("COMMIT")), someWait, false},
		"behind a lock, in a transaction":      {[]string{"BEGIN", drop}, join(q("BEGIN"), q(steal)), join(q("COMMIT")), someWait, false},
		"behind a lock, by an extended COMMIT": {[]string{"BEGIN", drop}, join(q(steal)), join(run("COMMIT"), syn()), someWait, false},
		"behind a lock, by COMMIT and more":    {[]string{"BEGIN", drop}, join(q(steal)), join(q("COMMIT; SELECT 1")), someWait, false},
		"behind a lock, by END":                {[]string{"BEGIN", "SAVEPOINT a", drop, "RELEASE a"}, join(q(steal)), join(q("END")), someWait, false},
		"behind a lock, as a cursor":           {[]string{"BEGIN", drop}, join(q("BEGIN; DECLARE c CURSOR FOR " + steal + "; FETCH c")), join(q("COMMIT")), someWait, false},
		"behind a lock, as COPY":               {[]string{"BEGIN", drop}, join(q("COPY (" + steal + ") TO STDOUT")), join(q("COMMIT")), someWait, false},
		"behind a lock, and cancelled twice":   {[]string{"BEGIN", drop}, join(q("DO $$ begin perform s_int from staff; exception when query_canceled then insert into o4.bag select s_int from staff; end $$")), join(q("COMMIT")), someWait, false},
		"a copy behind a lock":                 {[]string{"BEGIN", drop}, join(q(copies)), join(q("COMMIT")), someWait, false},
		"a rename":                             {[]string{"BEGIN", "ALTER TABLE o4.staff RENAME TO x"}, join(q(steal)), join(q("COMMIT")), someWait, false},
		"a view":                               {[]string{"BEGIN", view}, join(q(viewed)), join(q("COMMIT")), someWait, false},
		"in a later statement":                 {nil, join(q(sleep + "; " + steal)), join(q(drop)), someSleep, false},
		"in a later message":                   {nil, join(run(sleep), run(steal), syn()), join(q(drop)), someSleep, false},
		"in a later query":                     {nil, join(q(sleep), q(steal)), join(q(drop)), someSleep, false},
		"in a later statement, by a pipeline":  {nil, join(q(sleep + "; " + steal)), join(run("BEGIN"), run(drop), run("COMMIT"), syn()), someSleep, false},
		"in a later statement, by Sync":        {nil, join(q(sleep + "; " + steal)), join(run(drop), syn()), someSleep, false},
		"a copy in a later statement":          {nil, join(q(sleep + "; " + copies)), join(q(drop)), someSleep, false},
		"a view in a later statement":          {nil, join(q(sleep + "; " + viewed)), join(q(view)), someSleep, false},
		"a function":                           {nil, join(q(sleep + "; SELECT f()")), join(q(fn)), someSleep, false},
		"a function, prepared":                 {nil, join(run("SELECT pg_sleep(0.8), f()"), syn()), join(run(fn), syn()), someSleep, false},
		"by a block":                           {nil, join(q(sleep + "; " + steal)), join(q("DO $$ begin drop table o4.staff; commit; end $$")), someSleep, false},
		"by a function":                        {[]string{"CREATE FUNCTION o4.g() RETURNS void LANGUAGE plpgsql AS 'begin drop table o4.staff; end'"}, join(q(sleep + "; " + steal)), join(q("SELECT o4.g()")), someSleep, false},
		"by rights to a schema":                {nil, join(q(sleep + "; " + steal)), join(q("REVOKE USAGE ON SCHEMA o4 FROM app")), someSleep, false},
		"by rights, behind a lock":             {[]string{"BEGIN; LOCK TABLE o4.staff; REVOKE USAGE ON SCHEMA o4 FROM app"}, join(q(steal)), join(q("COMMIT")), someWait, false},
		"another name of a schema":             {nil, join(q(sleep + "; " + steal)), join(q("ALTER SCHEMA o4 RENAME TO o5")), someSleep, false},
		"another schema":                       {[]string{"CREATE SCHEMA o5"}, join(q(sleep + "; " + steal)), join(q("ALTER TABLE o4.staff SET SCHEMA o5")), someSleep, false},
		"a schema that is dropped":             {nil, join(q(sleep + "; " + steal)), join(q("DROP SCHEMA o4 CASCADE")), someSleep, false},
		"behind what settings depend on":       {nil, join(q("SELECT set_config('search_path', 'o4, public', false), pg_sleep(0.8)"), q(steal)), join(q("BEGIN; " + drop + "; " + sleep + "; COMMIT")), someSleep, false},
		"behind that, in a pipeline":           {nil, join(run("SELECT set_config('search_path', 'o4, public', false), pg_sleep(0.8)"), run(steal), syn()), join(q("BEGIN; " + drop + "; " + sleep + "; COMMIT")), someSleep, false},
		"behind what plans depend on":          {nil, join(q("BEGIN; CREATE TEMP TABLE mine(id int)"), q(sleep+"; ROLLBACK"), q(steal)), join(q("BEGIN; " + drop + "; " + sleep + "; COMMIT")), someSleep, false},
		"behind a failed transaction":          {[]string{"BEGIN", "SELECT 1/0"}, join(q(sleep + "; " + steal)), join(q("ROLLBACK; " + drop)), someSleep, false},
		"behind a COMMIT that fails":           {[]string{"BEGIN", "SELECT 1/0"}, join(q(sleep + "; " + steal)), join(q("COMMIT; " + drop)), someSleep, false},
		"behind a failure, in a pipeline":      {[]string{"BEGIN", "SELECT 1/0"}, join(q(sleep + "; " + steal)), join(run("ROLLBACK"), run(drop), syn()), someSleep, false},
		"of a failed transaction":              {[]string{"BEGIN", drop, "SAVEPOINT a", "SELECT 1/0"}, join(q(sleep + "; " + steal)), join(q("ROLLBACK TO a; COMMIT")), someSleep, false},
		"of a failed one, in a pipeline":       {[]string{"BEGIN", drop, "SAVEPOINT a", "SELECT 1/0"}, join(q(sleep + "; " + steal)), join(run("ROLLBACK TO a"), run("COMMIT"), syn()), someSleep, false},
		"behind a query within a pipeline":     {nil, join(q(sleep + "; " + steal)), join(run("BEGIN"), q("COMMIT; SET search_path = o4"), run(drop), syn()), someSleep, false},
		"right behind a ROLLBACK":              {[]string{"BEGIN"}, join(q(sleep + "; " + steal)), join(q("ROLLBACK"), q(drop)), someSleep, false},
		"right behind a COMMIT":                {[]string{"BEGIN"}, join(q(sleep + "; " + steal)), join(q("COMMIT"), q(drop)), someSleep, false},
		"right behind a failure":               {[]string{"BEGIN", "SELECT 1/0"}, join(q(sleep + "; " + steal)), join(q("ROLLBACK"), q(drop)), someSleep, false},
		"a change that waits":                  {nil, join(q(steal)), join(q("BEGIN; " + drop + "; " + sleep + "; COMMIT")), someSleep, true},
		"a change that waits, of a view":       {nil, join(q(viewed)), join(q("BEGIN; " + view + "; " + sleep + "; COMMIT")), someSleep, true},
		"a change that waits, in a pipeline":   {nil, join(q(steal)), join(run(drop), run(sleep), syn()), someSleep, true},
		"a change that waits, as COPY":         {nil, join(q(copies)), join(q("BEGIN; " + drop + "; " + sleep + "; COMMIT")), someSleep, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, a, b := turning(t, 250*time.Millisecond, "")
			for _, text := range test.before {
				b.query(text)
			}
			if test.changes {
				b.send(test.then...)
				o.until(test.when)
				a.send(test.first...)
			} else {
				a.send(test.first...)
				o.until(test.when)
				b.send(test.then...)
			}
			saw, did := a.until(readies(test.first)), b.until(readies(test.then))
			t.Logf("it reads\n%sand the change is\n%s", saw, did)
			if strings.Contains(saw, secret) {
				t.Error("it shows what is masked")
			}
			if n := o.counted("SELECT count(*) FROM o4.bag WHERE what <> 7"); n != "0" {
				t.Error("it was copied")
			}
		})
	}
}

// TestBypassGoesOn: what a message has committed counts for all others, though the session
// has another transaction open once it is answered.
func TestBypassGoesOn(t *testing.T) {
	const steal, drop = "SELECT s_int + 0 FROM staff WHERE id = 1", "DROP TABLE o4.staff"
	for name, msgs := range map[string][]pgproto3.FrontendMessage{
		"AND CHAIN":                join(q("BEGIN"), q(drop), q("COMMIT AND CHAIN")),
		"AND CHAIN, in one text":   join(q("BEGIN; " + drop + "; COMMIT AND CHAIN")),
		"AND CHAIN, in a pipeline": join(run("BEGIN"), run(drop), run("COMMIT AND CHAIN"), syn()),
		"in one text":              join(q("BEGIN; " + drop + "; COMMIT; BEGIN")),
		"in one text that fails":   join(q("BEGIN; " + drop + "; COMMIT; BEGIN; SELECT 1/0")),
		"in a pipeline":            join(run("BEGIN"), run(drop), run("COMMIT"), run("BEGIN"), syn()),
		"in a pipeline that fails": join(run("BEGIN"), run(drop), run("COMMIT"), run("BEGIN"), run("SELECT 1/0"), syn()),
	} {
		for _, before := range []string{"SELECT 1", "BEGIN"} {
			t.Run(name+", behind "+before, func(t *testing.T) {
				t.Parallel()
				o, a, b := turning(t, 250*time.Millisecond, "")
				a.query(before)
				b.talk(readies(msgs), msgs...)
				if o.counted("SELECT to_regclass('o4.staff') IS NULL") != "t" {
					t.Fatal("it isn't committed")
				}
				if saw := a.query(steal); strings.Contains(saw, "482137") {
					t.Errorf("it shows what is masked:\n%s", saw)
				}
			})
		}
	}
}

// TestBypassPlanned: a function that is run as its query is planned changes names as one
// does that is executed.
func TestBypassPlanned(t *testing.T) {
	const setup = `SET ROLE app; CREATE FUNCTION o4.g() RETURNS void LANGUAGE plpgsql AS 'begin drop table o4.staff; end';
CREATE FUNCTION o4.h() RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'begin perform o4.g(); return 1; end'; RESET ROLE`
	const steal = "SELECT s_int + 0 FROM staff WHERE id = 1"
	bound := join(parse("", "SELECT o4.h()"), bind("", ""), syn())
	t.Run("afterwards", func(t *testing.T) {
		t.Parallel()
		o, a, b := turning(t, 250*time.Millisecond, setup)
		a.query("BEGIN")
		b.talk(1, bound...)
		if o.counted("SELECT to_regclass('o4.staff') IS NULL") != "t" {
			t.Fatal("planning runs nothing")
		}
		if saw := a.query(steal); strings.Contains(saw, "482137") {
			t.Errorf("it shows what is masked:\n%s", saw)
		}
	})
	t.Run("meanwhile", func(t *testing.T) {
		t.Parallel()
		o, a, b := turning(t, 250*time.Millisecond, setup)
		a.send(q("SELECT pg_sleep(0.8); " + steal))
		o.until(someSleep)
		if did := b.talk(1, bound...); !strings.Contains(did, "error 55P03") {
			t.Errorf("the change is\n%s", did)
		}
		if saw := a.until(1); strings.Contains(saw, "482137") {
			t.Errorf("it shows what is masked:\n%s", saw)
		}
	})
}

// TestBypassTurnPassed: whoever has had its turn, or is about to, heeds those that have
// had theirs since.
func TestBypassTurnPassed(t *testing.T) {
	const drop, copies = "BEGIN; DROP TABLE o4.staff; SELECT pg_sleep(1.6); COMMIT", "INSERT INTO o4.bag SELECT s_int FROM staff WHERE id = 1"
	t.Run("in a pipeline", func(t *testing.T) {
		t.Parallel()
		o, a, b := turning(t, 250*time.Millisecond, "")
		a.send(join(run("CREATE TABLE o4.other(id int)"), &pgproto3.Flush{})...)
		o.until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'ClientRead' AND query LIKE 'CREATE TABLE o4.other%')")
		b.send(q(drop))
		o.until(someSleep)
		saw := a.talk(1, join(run(copies), syn())...)
		b.until(1)
		if o.counted("SELECT count(*) FROM o4.bag WHERE what <> 7") != "0" {
			t.Errorf("it was copied:\n%s", saw)
		}
	})
	t.Run("while it waits", func(t *testing.T) {
		t.Parallel()
		o, a, b := turning(t, 20*time.Second, "") // nobody gives up, but for a bug
		c := o.wire()
		c.send(q("SELECT pg_sleep(0.8); SELECT count(*) FROM o4.bag"))
		o.until(someSleep)
		a.send(q("ALTER TABLE o4.bag ADD COLUMN n int; " + copies))
		for deadline := time.Now().Add(20 * time.Second); o.turns() == 0; {
			if time.Now().After(deadline) {
				t.Fatal("it doesn't wait")
			}
		}
		b.send(q(drop))
		saw := a.until(1)
		c.until(1)
		b.until(1)
		if o.counted("SELECT count(*) FROM o4.bag WHERE what <> 7") != "0" {
			t.Errorf("it was copied:\n%s", saw)
		}
	})
}

// TestBypassTemporary: whoever may do anything to the server may drop another session's
// temporary tables, which gives their names another meaning there.
func TestBypassTemporary(t *testing.T) {
	for _, drop := range []string{"DROP TABLE %s.staff", "DROP SCHEMA %s CASCADE", "DO $$ begin drop table %s.staff; end $$"} {
		t.Run(drop, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, evasionArena(t), pgcluster.Superuser, evasionMasks)
			o.door.p.relay.turn = 250 * time.Millisecond
			a, b := o.wire(), o.wire()
			b.query("SELECT 1")
			a.query("CREATE TEMP TABLE staff AS SELECT 1 AS id, 7 AS s_int")
			schema := o.counted("SELECT relnamespace::regnamespace FROM pg_class WHERE relname = 'staff' AND relpersistence = 't'")
			a.want("SELECT s_int + 0 AS n FROM staff WHERE id = 1", "columns n\nrow 7\ndone SELECT 1\nready I\n")
			a.send(q("SELECT pg_sleep(0.8); SELECT s_int + 0 FROM staff WHERE id = 1"))
			o.until(someSleep)
			if did := b.query(fmt.Sprintf(drop, schema)); !strings.Contains(did, "error 55P03") {
				t.Errorf("the change is\n%s", did)
			}
			if saw := a.until(1); strings.Contains(saw, "482137") {
				t.Errorf("it shows what is masked:\n%s", saw)
			}
		})
	}
}

// TestBypassPassing: what hangs on a session's temporary objects is gone with them, though
// no statement says so.
func TestBypassPassing(t *testing.T) {
	const steal = "SELECT s_int + 0 AS n FROM staff WHERE id = 1"
	for name, end := range map[string]pgproto3.FrontendMessage{
		"DROP":         q("DROP TYPE pg_temp.t CASCADE"),
		"DISCARD TEMP": q("DISCARD TEMP"),
		"DISCARD ALL":  q("DISCARD ALL"),
		"the end":      &pgproto3.Terminate{},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, a, b := turning(t, 250*time.Millisecond, "")
			b.query("DROP TABLE o4.staff")
			b.query("CREATE TYPE pg_temp.t AS ENUM ('a')")
			b.query("CREATE VIEW o4.staff AS SELECT 1 AS id, 7 AS s_int, 'a'::pg_temp.t AS what")
			a.query(steal)
			a.query("BEGIN")
			b.send(end)
			o.until("SELECT to_regclass('o4.staff') IS NULL")
			if saw := a.query(steal); strings.Contains(saw, "482137") {
				t.Errorf("it shows what is masked:\n%s", saw)
			}
		})
	}
	t.Run("nothing of it", func(t *testing.T) {
		t.Parallel()
		_, a, b := turning(t, 250*time.Millisecond, "")
		b.query(`CREATE TEMP TABLE mine(id serial PRIMARY KEY, what int CHECK (what > 0) DEFAULT 1, n int REFERENCES mine); CREATE TEMP VIEW shown AS SELECT id FROM mine;
CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE OPERATOR pg_temp.=== (leftarg = int, rightarg = int, function = int4eq);
CREATE STATISTICS ON what, n FROM mine; CREATE INDEX ON mine((what + 1)); CREATE TYPE pg_temp.t AS (a int); CREATE COLLATION pg_temp.c FROM "C"`)
		a.want("SELECT what + 0 AS n FROM v WHERE id = 1", "columns n\nrow 7\ndone SELECT 1\nready I\n")
	})
}

// TestBypassPrepared: a change that is prepared takes its turn as it is committed, by
// whomever, and whoever waits for its locks doesn't hold it up.
func TestBypassPrepared(t *testing.T) {
	c := pgcluster.Start(t, pgcluster.Options{Settings: []string{"max_prepared_transactions=2"}})
	c.Exec(t, "postgres", "CREATE DATABASE seed")
	c.Exec(t, "seed", evasionSeed(t))
	const steal = "SELECT s_int + 0 FROM staff WHERE id = 1"
	for name, test := range map[string]struct {
		first, then []pgproto3.FrontendMessage
		when        string
	}{
		"behind its lock":      {join(q(steal)), join(q("COMMIT PREPARED 'a change'")), someWait},
		"in a later statement": {join(q("SELECT pg_sleep(60); " + steal)), join(q("COMMIT PREPARED 'a change'")), someSleep},
		"in a pipeline":        {join(run(steal), syn()), join(run("COMMIT PREPARED 'a change'"), syn()), someWait},
		"in a transaction":     {join(q("BEGIN"), q(steal)), join(q("COMMIT PREPARED 'a change'")), someWait},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOfficeOf(t, c, c.Clone(t, "seed"), "app", evasionMasks)
			o.cluster.Exec(t, o.database(), turnSetup)
			o.door.p.relay.turn = 250 * time.Millisecond
			a, b := o.wire(), o.wire()
			a.query("SET search_path = o4, public")
			a.want("SELECT s_int + 0 AS n FROM staff WHERE id = 1", "columns n\nrow 7\ndone SELECT 1\nready I\n")
			b.query("BEGIN; ALTER TABLE o4.staff RENAME TO x; PREPARE TRANSACTION 'a change'")
			a.send(test.first...)
			o.until(test.when)
			if did := b.talk(1, test.then...); !strings.Contains(did, "done COMMIT PREPARED") {
				t.Errorf("the change is\n%s", did)
			}
			if saw := a.until(readies(test.first)); !strings.Contains(saw, "error 40001") || strings.Contains(saw, "482137") {
				t.Errorf("it reads\n%s", saw)
			}
		})
	}
}

// TestTurnAfterTheEnd: whoever waits for a command of a session that ends waits no longer
// than its server is at it.
func TestTurnAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(*office, *wire){
		"killed":     func(o *office, _ *wire) { o.End("killed by carol", firstOf(o)) },
		"broken off": func(_ *office, w *wire) { _ = w.conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, a, b := turning(t, 20*time.Second, "") // nobody gives up, but for a bug
			a.send(q("SELECT pg_sleep(1); SELECT count(s_int) FROM staff"))
			o.until(someSleep)
			b.send(q("DROP TABLE o4.staff"))
			for deadline := time.Now().Add(20 * time.Second); o.turns() == 0; {
				if time.Now().After(deadline) {
					t.Fatal("it doesn't wait")
				}
			}
			end(o, a)
			began := time.Now()
			if did := b.until(1); did != "done DROP TABLE\nready I\n" {
				t.Errorf("it is told\n%s", did)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it waited for %s", took)
			}
		})
	}
}

// firstOf picks the session that was opened first.
func firstOf(o *office) func(postern.SessionInfo) bool {
	all := o.Sessions.All()
	first := slices.MinFunc(all, func(a, b postern.SessionInfo) int { return a.StartedAt.Compare(b.StartedAt) })
	return func(s postern.SessionInfo) bool { return s.ID == first.ID }
}

// TestPolicyChangesBeforeTurn: a command that waits for its turn is run under the policy
// of then, and not that of when it was decided over.
func TestPolicyChangesBeforeTurn(t *testing.T) {
	for name, drop := range map[string][]pgproto3.FrontendMessage{
		"a query":  join(q("DROP TABLE o4.staff")),
		"extended": join(run("DROP TABLE o4.staff"), syn()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, a, b := turning(t, 20*time.Second, "") // nobody gives up, but for a bug
			a.send(q("SELECT pg_sleep(60); SELECT count(s_int) FROM staff"))
			o.until(someSleep)
			b.send(drop...)
			for deadline := time.Now().Add(20 * time.Second); o.turns() == 0; {
				if time.Now().After(deadline) {
					t.Fatal("it doesn't wait")
				}
			}
			o.change(evasionMasks + "---\n{kind: Rule, name: no-drop, when: 'command.verb == \"drop\"', then: deny, message: No more.}\n")
			o.counted("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
			a.until(1)
			if did := b.until(1); !strings.Contains(did, "error 40001 postern: the policy has changed") {
				t.Errorf("it is told\n%s", did)
			}
			if o.counted("SELECT to_regclass('o4.staff') IS NULL") == "t" {
				t.Error("it ran")
			}
			if got := b.query("DROP TABLE o4.staff"); !strings.Contains(got, "denied by rule \"no-drop\"") {
				t.Errorf("again:\n%s", got)
			}
		})
	}
}

// TestTurns: who changes a name and who reads by it wait for each other, and nobody else
// does.
func TestTurns(t *testing.T) {
	// Nobody gives up, but for a bug.
	o, a, b := turning(t, 20*time.Second, "")
	const sleep, woken = "SELECT pg_sleep(0.2)", "columns pg_sleep\nrow \ndone SELECT 1\n"
	asleep := func(w *wire, text string) {
		t.Helper()
		w.send(q(text))
		o.until(someSleep)
	}

	asleep(a, sleep+"; SELECT count(s_int) FROM staff")
	b.want("ALTER TABLE o4.staff RENAME TO crew", "done ALTER TABLE\nready I\n")
	if got := a.until(1); got != woken+"columns count\nrow 2\ndone SELECT 1\nready I\n" {
		t.Errorf("it reads\n%s", got)
	}
	asleep(b, "BEGIN; ALTER TABLE o4.crew RENAME TO staff; "+sleep+"; COMMIT")
	a.want("SELECT s_int + 0 AS n FROM staff WHERE id = 1", "columns n\nrow 7\ndone SELECT 1\nready I\n")
	b.until(1)
	asleep(b, "BEGIN; CREATE OR REPLACE VIEW o4.v AS SELECT id, 8 AS what FROM plain; "+sleep+"; COMMIT")
	a.want("SELECT what + 0 AS n FROM v WHERE id = 1", "columns n\nrow 8\ndone SELECT 1\nready I\n")
	b.until(1)

	// A name of another thing, or one that nobody else can see, makes no difference.
	o, a, b = turning(t, time.Millisecond, "")
	a.query("CREATE TEMP TABLE mine(id int)")
	a.send(q("INSERT INTO bag SELECT s_int + f() FROM staff, v, (SELECT count(*) FROM mine) AS m WHERE pg_sleep(60) IS NULL"))
	o.until(someSleep)
	for _, text := range []string{
		"CREATE TABLE o4.other(id int)", "ALTER TABLE o4.other ADD COLUMN n int", "CREATE INDEX ON o4.other(n)", "DROP TABLE o4.other",
		"CREATE VIEW o4.w AS SELECT 1 AS n", "DROP VIEW o4.w", "CREATE TEMP TABLE mine(id int)", "DROP TABLE mine", "CREATE TEMP VIEW v AS SELECT 1 AS n",
	} {
		if got := b.query(text); strings.Contains(got, "error") {
			t.Errorf("%s: %s", text, got)
		}
	}
	// Nor does a command that waits for what its own session does, or a change that isn't
	// to be committed yet.
	d := o.wire()
	d.send(q("SELECT set_config('search_path', 'o4', false) FROM plain WHERE pg_sleep(60) IS NULL"), q("SELECT 1"))
	o.until("SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
	b.want("CREATE TABLE o4.other(id int)", "done CREATE TABLE\nready I\n")
	b.query("BEGIN")
	if got := b.talk(1, join(run("CREATE OR REPLACE FUNCTION o4.f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 8'"), syn())...); !strings.HasSuffix(got, "done CREATE FUNCTION\nready T\n") {
		t.Error(got)
	}
	b.want("ROLLBACK", "done ROLLBACK\nready I\n")
	denied := o.Audit.Entries()
	const words = "postern: a command of another session is under way that reads by a name which this changes; run it again once that has ended"
	b.want("DROP TABLE o4.staff", "error 55P03 "+words+"\nready I\n")
	if more := o.Audit.Entries()[len(denied):]; len(more) != 2 || more[1].Outcome != "deny" || more[1].Reason != words {
		t.Errorf("the audit log has %+v", more)
	}
	// Who reads by nothing that it knows of isn't waited for, once its command has ended.
	o.counted("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
	o.until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if got := b.query("DROP VIEW o4.v; DROP TABLE o4.staff"); !strings.Contains(got, words) {
			if got != "done DROP VIEW\ndone DROP TABLE\nready I\n" {
				t.Error(got)
			}
			return
		}
	}
	t.Error("it waits for whom there isn't any more")
}

// TestBypassPutOff: a trigger that runs at the end of its transaction reads what the
// command that set it off was decided over.
func TestBypassPutOff(t *testing.T) {
	const (
		setup = `SET ROLE app; CREATE TABLE o4.t(x int);
CREATE FUNCTION o4.tf() RETURNS trigger LANGUAGE plpgsql AS $$ begin insert into o4.bag select s_int from staff; return null; end $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON o4.t DEFERRABLE FOR EACH ROW EXECUTE FUNCTION o4.tf();
CREATE FUNCTION o4.put() RETURNS void LANGUAGE sql AS 'SET CONSTRAINTS ALL DEFERRED; INSERT INTO o4.t VALUES (1)'; RESET ROLE`
		deferred = "SET CONSTRAINTS ALL DEFERRED"
		insert   = "INSERT INTO o4.t VALUES (1)"
		drop     = "DROP TABLE o4.staff"
	)
	for name, test := range map[string]struct {
		msgs, others, then []pgproto3.FrontendMessage
	}{
		"its own change":             {join(q("BEGIN"), q(deferred), q(insert), q(drop), q("COMMIT")), nil, nil},
		"all in one text":            {join(q("BEGIN; " + deferred + "; " + insert + "; " + drop + "; COMMIT")), nil, nil},
		"in a text, without COMMIT":  {join(q(deferred + "; " + insert + "; " + drop)), nil, nil},
		"in a pipeline":              {join(run(deferred), run(insert), run(drop), syn()), nil, nil},
		"in a block":                 {join(q("DO $$ begin set constraints all deferred; insert into o4.t values (1); drop table o4.staff; end $$")), nil, nil},
		"by a function":              {join(q("BEGIN"), q("SELECT o4.put()"), q(drop), q("COMMIT")), nil, nil},
		"of another search path":     {join(q("BEGIN"), q(deferred), q(insert), q("SET search_path = public"), q("COMMIT")), nil, nil},
		"of another path, in a text": {join(q(deferred + "; " + insert + "; SET search_path = public")), nil, nil},
		"of a temporary table":       {join(q("BEGIN"), q("CREATE TEMP TABLE staff AS SELECT 7 AS s_int"), q(deferred), q(insert), q("DROP TABLE pg_temp.staff; "+drop), q("COMMIT")), nil, nil},
		"another's change":           {join(q("BEGIN"), q(deferred), q(insert)), join(q(drop)), join(q("COMMIT"))},
		"another's transaction":      {join(q("BEGIN"), q(deferred), q(insert)), join(q("BEGIN"), q(drop), q("COMMIT")), join(q("COMMIT"))},
		"another's, amid a pipeline": {join(run(deferred), run(insert), &pgproto3.Flush{}), join(q(drop)), join(syn())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, a, b := turning(t, 250*time.Millisecond, setup)
			got := a.talk(readies(test.msgs), test.msgs...)
			if test.others != nil {
				if readies(test.msgs) == 0 {
					o.until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'ClientRead' AND query = '" + insert + "')")
				}
				got += b.talk(readies(test.others), test.others...)
				got += a.talk(readies(test.then), test.then...)
			}
			t.Log(got)
			if n := o.counted("SELECT count(*) FROM o4.bag WHERE what <> 7"); n != "0" {
				t.Error("it was copied")
			}
			if !strings.Contains(got, "error 55P03") && !strings.Contains(got, "error 42501") {
				t.Error("nobody is told")
			}
		})
	}
	t.Run("nothing of it", func(t *testing.T) {
		t.Parallel()
		o, a, b := turning(t, 250*time.Millisecond, setup)
		got := a.query("BEGIN; "+deferred+"; "+insert+"; CREATE TABLE o4.other(id int); CREATE TEMP TABLE passing(id int)") + b.query("CREATE TABLE o4.another(id int)") +
			a.query("SET LOCAL statement_timeout = 0") + a.query("COMMIT") + b.query(drop)
		if strings.Contains(got, "error") || o.counted("SELECT count(*) FROM o4.bag WHERE what = 7") != "2" {
			t.Error(got)
		}
	})
}

// TestBypassTurnsAcross: the same holds for sessions that come to the database by different
// resources, with different logins.
func TestBypassTurnsAcross(t *testing.T) {
	const second = `
kind: Resource
name: db2
type: postgres
address: %s
database: %s
tls: {mode: disable}
credentials: {username: owner}
---
kind: Access
name: second
to: [everyone]
on: {names: [db2]}
---
`
	database, c := evasionArena(t), cluster.Get(t)
	o := newOffice(t, database, "app", fmt.Sprintf(second, c.Addr, database)+evasionMasks)
	o.cluster.Exec(t, o.database(), turnSetup+"; GRANT ALL ON SCHEMA o4 TO owner; ALTER TABLE o4.staff OWNER TO owner; GRANT ALL ON o4.staff TO app")
	o.door.p.relay.turn = 250 * time.Millisecond
	a := o.wire()
	b := newWire(t, dial(t, "host="+o.door.host+" port="+o.door.port+" "+strings.Replace(conninfo, "dbname=db", "dbname=db2", 1)))
	const steal, ours = "SELECT s_int + 0 AS n FROM staff WHERE id = 1", "columns n\nrow 7\ndone SELECT 1\nready I\n"
	a.query("SET search_path = o4, public")
	a.want(steal, ours)
	a.send(q("SELECT pg_sleep(0.8); " + steal))
	o.until(someSleep)
	b.want("ALTER TABLE o4.staff RENAME TO crew", "error 55P03 postern: a command of another session is under way that reads by a name which this changes; run it again once that has ended\nready I\n")
	if got := a.until(1); !strings.HasSuffix(got, ours) {
		t.Errorf("it reads\n%s", got)
	}
	// What the other one has done is known at once.
	b.want("ALTER TABLE o4.staff RENAME TO crew", "done ALTER TABLE\nready I\n")
	if got := a.query(steal); strings.Contains(got, "482137") {
		t.Errorf("it reads\n%s", got)
	}
}

// TestTurnsOfChanges: of those who change the same, one comes after the other.
func TestTurnsOfChanges(t *testing.T) {
	o, _, _ := turning(t, 20*time.Second, "") // nobody gives up, but for a bug
	var done sync.WaitGroup
	for n := range 4 {
		w := o.wire()
		done.Go(func() {
			for range 8 {
				text := "CREATE OR REPLACE VIEW o4.v AS SELECT id, " + strconv.Itoa(n) + " AS what FROM plain"
				if n == 3 {
					text = "SELECT what + 0 FROM o4.v"
				}
				if n == 2 {
					text = "BEGIN; " + text + "; COMMIT"
				}
				if got := w.query(text); strings.Contains(got, "error") {
					t.Error(got)
					return
				}
			}
		})
	}
	done.Wait()
}
