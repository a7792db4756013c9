package postgres

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
)

const rowRule = "kind: Rule\nname: small-steps\nmax_affected: 2\nthen: deny\nmessage: Go in small steps.\n"

// limitSeed has what goes around counting: functions, triggers, cascades.
const limitSeed = `
CREATE TABLE parent(id int PRIMARY KEY); CREATE TABLE child(id int REFERENCES parent ON DELETE CASCADE);
INSERT INTO parent VALUES (1), (2); INSERT INTO child SELECT 1 FROM generate_series(1, 10);
CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS $$ BEGIN UPDATE plain SET qty = 0; RETURN 1; END $$;
CREATE FUNCTION wipes() RETURNS int LANGUAGE sql AS 'UPDATE plain SET qty = 0; SELECT 1';
CREATE TABLE watched(id int); CREATE FUNCTION tr() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN UPDATE plain SET qty = 0; RETURN NEW; END $$;
CREATE TRIGGER tr AFTER INSERT ON watched FOR EACH ROW EXECUTE FUNCTION tr();
CREATE TABLE late(id int); CREATE CONSTRAINT TRIGGER trl AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tr();
CREATE VIEW through AS SELECT * FROM plain;
CREATE TABLE parts(id int) PARTITION BY LIST (id); CREATE TABLE parts_d PARTITION OF parts DEFAULT; INSERT INTO parts SELECT generate_series(1, 5);
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;`

// limitState is everything that the commands below could change.
const limitState = "SELECT (SELECT string_agg(p::text, ' ' ORDER BY id) FROM plain p), (SELECT count(*) FROM child), (SELECT count(*) FROM watched), (SELECT count(*) FROM late), (SELECT count(*) FROM parts)"

func limitOffice(t *testing.T) *office {
	t.Helper()
	o := newOffice(t, evasionArena(t), "app", rowRule)
	o.cluster.Exec(t, o.database(), limitSeed)
	return o
}

func TestRowLimit(t *testing.T) {
	o := limitOffice(t)
	state := func() string { return strings.Join(o.cluster.Exec(t, o.database(), limitState)[0], " | ") }
	through := "host=" + o.door.host + " port=" + o.door.port + " " + conninfo
	before := state()
	for _, e := range []evasion{
		{SQL: "UPDATE plain SET qty = 0"},
		{SQL: "UPDATE plain SET qty = 0", Protocol: "extended-text"},
		{SQL: "UPDATE plain SET qty = 0", Protocol: "extended-nodescribe"},
		{SQL: "UPDATE plain SET qty = 0 RETURNING id", Protocol: "extended-portal1"},
		{SQL: "DELETE FROM plain WHERE id > 0 RETURNING *"},
		{SQL: "DELETE FROM plain WHERE id = 1; DELETE FROM plain WHERE id = 2; DELETE FROM plain WHERE id = 3"},
		{SQL: "BEGIN\n--;;\nUPDATE plain SET qty = 0\n--;;\nCOMMIT"},
		{SQL: "BEGIN\n--;;\nUPDATE plain SET qty = 0\n--;;\nCOMMIT", Protocol: "extended-text"},
		{SQL: "BEGIN\n--;;\nSAVEPOINT a\n--;;\nUPDATE plain SET qty = 0\n--;;\nRELEASE a\n--;;\nCOMMIT"},
		{SQL: "BEGIN; UPDATE plain SET qty = 0; COMMIT"},
		{SQL: "UPDATE plain SET qty = 0; COMMIT"},
		{SQL: "UPDATE plain SET qty = 0; COMMIT; BEGIN"},
		{SQL: "SELECT wipe()"},
		{SQL: "SELECT wipes()", Protocol: "extended-text"},
		{SQL: "WITH w AS (SELECT wipe() AS x) SELECT set_config('track_counts', 'off', true), x FROM w"},
		{SQL: "DO $$ BEGIN UPDATE plain SET qty = 0 WHERE id = 1; UPDATE plain SET qty = 0 WHERE id = 2; UPDATE plain SET qty = 0 WHERE id = 3; END $$"},
		{SQL: "DO $$ BEGIN UPDATE plain SET qty = 0; COMMIT; END $$"},
		{SQL: "DO $$ BEGIN BEGIN UPDATE plain SET qty = 0; END; PERFORM set_config('postern.c', '99', true); END $$"},
		{SQL: "DELETE FROM parent WHERE id = 1"},
		{SQL: "INSERT INTO watched VALUES (1)"},
		{SQL: "INSERT INTO late VALUES (1)"},
		{SQL: "INSERT INTO late VALUES (1)", Protocol: "extended-text"},
		{SQL: "UPDATE through SET qty = 0"},
		{SQL: "DELETE FROM parts"},
		{SQL: "INSERT INTO plain SELECT 10 + g, 'x', 0 FROM generate_series(1, 3) g"},
		{SQL: "INSERT INTO plain SELECT id, label, 0 FROM plain ON CONFLICT (id) DO UPDATE SET qty = 0"},
		{SQL: "MERGE INTO plain p USING plain q ON p.id = q.id WHEN MATCHED THEN UPDATE SET qty = 0"},
		{SQL: "WITH d AS (DELETE FROM plain RETURNING *) SELECT count(*) FROM d"},
		{SQL: "EXPLAIN ANALYZE UPDATE plain SET qty = 0"},
		{SQL: "PREPARE u AS UPDATE plain SET qty = 0\n--;;\nEXECUTE u"},
		{SQL: "BEGIN\n--;;\nDECLARE c CURSOR WITH HOLD FOR SELECT wipe()\n--;;\nCOMMIT"},
		{SQL: "TRUNCATE plain"},
		{SQL: "COPY (SELECT wipe()) TO STDOUT"},
		{SQL: "\\fastpath wipe"},
		{SQL: "SELECT 1 FROM plain WHERE wipe() = 1 LIMIT 1"},
	} {
		t.Run(e.Protocol+e.SQL, func(t *testing.T) {
			o.t = t
			s := e.run(t, o, through)
			if got := state(); got != before {
				t.Errorf("it changed %s\nto %s", before, got)
			}
			if !s.refused() && !strings.Contains(s.shown(), "permission denied") && !strings.Contains(s.shown(), "invalid transaction termination") {
				t.Errorf("no denial: %.300s", s.shown())
			}
		})
	}
}

// What stays below the limit is as without it, in its words and in its effect.
func TestWithinRowLimit(t *testing.T) {
	for _, e := range []evasion{
		{SQL: "UPDATE plain SET qty = 0 WHERE id < 3\n--;;\nSELECT qty FROM plain ORDER BY id"},
		{SQL: "UPDATE plain SET qty = 0 WHERE id < 3 RETURNING id", Protocol: "extended-portal1"},
		{SQL: "INSERT INTO plain VALUES (9, 'x', 1), (10, 'y', 2) RETURNING id\n--;;\nSELECT count(*) FROM plain", Protocol: "extended-text"},
		{SQL: "BEGIN\n--;;\nUPDATE plain SET qty = 0 WHERE id = 1\n--;;\nUPDATE plain SET qty = 0 WHERE id = 2\n--;;\nUPDATE plain SET qty = 0 WHERE id = 3\n--;;\nSELECT sum(qty) FROM plain\n--;;\nCOMMIT\n--;;\nSELECT sum(qty) FROM plain"},
		{SQL: "BEGIN\n--;;\nDELETE FROM plain WHERE id = 1\n--;;\nROLLBACK\n--;;\nSELECT count(*) FROM plain", Protocol: "extended-text"},
		{SQL: "BEGIN\n--;;\nSAVEPOINT a\n--;;\nDELETE FROM plain WHERE id < 3\n--;;\nROLLBACK TO a\n--;;\nDELETE FROM plain WHERE id > 1\n--;;\nCOMMIT\n--;;\nSELECT count(*) FROM plain"},
		{SQL: "INSERT INTO plain VALUES (1, 'dup', 1)"},
		{SQL: "INSERT INTO plain VALUES (1, 'dup', 1)", Protocol: "extended-text"},
		{SQL: "BEGIN\n--;;\nINSERT INTO plain VALUES (1, 'dup', 1)\n--;;\nSELECT 1\n--;;\nROLLBACK\n--;;\nSELECT 1"},
		{SQL: "UPDATE plain SET qty = 1/0"},
		{SQL: "INSERT INTO plain VALUES (11, 'x', 1); INSERT INTO plain VALUES (12, 'y', 1)\n--;;\nSELECT max(id) FROM plain"},
		{SQL: "INSERT INTO plain VALUES (11, 'x', 1); INSERT INTO plain VALUES (1, 'y', 1)\n--;;\nSELECT max(id) FROM plain"},
		{SQL: "SELECT count(*) FROM plain\n--;;\nCREATE TABLE made(id int)\n--;;\nINSERT INTO made VALUES (1)\n--;;\nDROP TABLE made"},
		{SQL: "CREATE TEMP TABLE many AS SELECT generate_series(1, 100) AS i\n--;;\nDELETE FROM many\n--;;\nSELECT count(*) FROM many"},
		{SQL: "SELECT id FROM plain WHERE id = 1 FOR UPDATE"},
		{SQL: "PREPARE u(int) AS UPDATE plain SET qty = 7 WHERE id = $1\n--;;\nEXECUTE u(1)\n--;;\nEXECUTE u(2)\n--;;\nEXECUTE u(3)\n--;;\nSELECT sum(qty) FROM plain"},
		{SQL: "SET TRANSACTION READ ONLY\n--;;\nUPDATE plain SET qty = 1 WHERE id = 1\n--;;\nSHOW transaction_isolation"},
	} {
		t.Run(e.Protocol+e.SQL, func(t *testing.T) {
			o := limitOffice(t)
			want := e.run(t, o, e.withRole().direct(o, o.database()))
			o = limitOffice(t)
			if got := e.run(t, o, "host="+o.door.host+" port="+o.door.port+" "+conninfo); got.shown() != want.shown() {
				t.Errorf("got  %s\nwant %s", got.shown(), want.shown())
			}
		})
	}
}

func (e evasion) withRole() evasion {
	e.Role = "app"
	return e
}

// What was undone is told, recorded and audited.
func TestRowLimitIsToldAndKept(t *testing.T) {
	o := limitOffice(t)
	w := o.wire()
	got := w.query("update plain set qty = 0")
	if !strings.Contains(got, `postern: denied by rule "small-steps": it changed more than 2 rows, and was undone. Go in small steps.`) || !strings.Contains(got, "42501") || !strings.HasSuffix(got, "ready I\n") {
		t.Errorf("%s", got)
	}
	if got := w.query("select 1"); !strings.Contains(got, "row 1") {
		t.Errorf("the session is over: %s", got)
	}
	found := false
	for _, e := range o.events(postern.EventError) {
		found = found || e.Code == "42501" && strings.Contains(e.Text, "small-steps")
	}
	if !found {
		t.Error("it isn't in the recording")
	}
	found = false
	for _, entry := range o.Audit.Entries() {
		found = found || entry.Outcome == "deny" && entry.Rule == "small-steps" && entry.Verb == "update" && slices.Contains(entry.Objects, "public.plain")
	}
	if !found {
		t.Errorf("it isn't in the audit log")
	}
}

// Drivers send BEGIN, statements and COMMIT in one stride.
func TestRowLimitInPipelines(t *testing.T) {
	o := limitOffice(t)
	count := func() string {
		return o.cluster.Exec(t, o.database(), "SELECT count(*) FROM plain WHERE qty = 0")[0][0]
	}
	one := func(text string) []pgproto3.FrontendMessage {
		return join(parse("", text), &pgproto3.Bind{}, execute(""))
	}
	for _, test := range []struct {
		name  string
		texts []string
		want  string
		deny  bool
	}{
		{"within a transaction of its own", []string{"begin", "update plain set qty = 0 where id = 1", "commit"}, "1", false},
		{"beyond, in one", []string{"begin", "update plain set qty = 0", "commit"}, "0", true},
		{"several that add up", []string{"update plain set qty = 0 where id = 1", "update plain set qty = 0 where id = 2", "update plain set qty = 0 where id = 3"}, "0", true},
		{"after a commit", []string{"begin", "commit", "update plain set qty = 0"}, "0", true},
		{"a commit after", []string{"update plain set qty = 0", "commit"}, "0", true},
		{"a transaction after", []string{"update plain set qty = 0", "begin"}, "0", true},
		{"a rollback after", []string{"begin", "update plain set qty = 0", "rollback"}, "0", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o.t = t
			w := o.wire()
			var msgs []pgproto3.FrontendMessage
			for _, text := range test.texts {
				msgs = append(msgs, one(text)...)
			}
			var s seen
			s.take(w, append(msgs, syn())...)
			s.take(w, q("rollback"))
			if got := count(); got != test.want || s.refused() != test.deny {
				t.Errorf("%s rows are changed, refused %v: %s", got, s.refused(), s.shown())
			}
			s = seen{}
			if s.take(w, q("select 40 + 2")); strings.Join(s.rows, "") != "42" {
				t.Errorf("out of step: %s", s.shown())
			}
			o.cluster.Exec(t, o.database(), "UPDATE plain SET qty = id * 10")
		})
	}
}

// COPY is counted when the client's data has ended.
func TestRowLimitOfCopy(t *testing.T) {
	o := limitOffice(t)
	count := func() string { return o.cluster.Exec(t, o.database(), "SELECT count(*) FROM plain")[0][0] }
	for _, test := range []struct {
		name, data, want string
		before           string
		fail, deny       bool
	}{
		{"within", "21\tx\t1\n22\ty\t2\n", "5", "", false, false},
		{"beyond", "31\tx\t1\n32\ty\t2\n33\tz\t3\n", "5", "", false, true},
		{"beyond, in a transaction", "31\tx\t1\n32\ty\t2\n33\tz\t3\n", "5", "begin", false, true},
		{"given up", "41\tx\t1\n", "5", "", true, false},
		{"not to be read", "no number\tx\t1\n", "5", "", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o.t = t
			w := o.wire()
			if test.before != "" {
				w.query(test.before)
			}
			w.send(q("COPY plain FROM STDIN"), &pgproto3.CopyData{Data: []byte(test.data)})
			var s seen
			if test.fail {
				s.take(w, &pgproto3.CopyFail{Message: "no more"})
			} else {
				s.take(w, &pgproto3.CopyDone{})
			}
			if s.refused() != test.deny {
				t.Errorf("refused %v: %s", s.refused(), s.shown())
			}
			if test.before != "" {
				s.take(w, q("commit"))
			}
			s = seen{}
			if s.take(w, q("select 40 + 2")); strings.Join(s.rows, "") != "42" {
				t.Errorf("out of step: %s", s.shown())
			}
			if got := count(); got != test.want {
				t.Errorf("%s rows, want %s", got, test.want)
			}
		})
	}
	// An answer that comes before the data ends leaves nothing open.
	w := o.wire()
	var s seen
	s.take(w, q("COPY nowhere FROM STDIN"))
	s.take(w, q("select pg_catalog.pg_current_xact_id_if_assigned() is null"))
	if strings.Join(s.rows, "") != "t" || len(s.errors) != 1 {
		t.Errorf("%s", s.shown())
	}
}
