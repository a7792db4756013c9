package postgres

import (
	"strings"
	"testing"
)

// TestUndoable: what a rollback is known to undo, and why the rest isn't.
func TestUndoable(t *testing.T) {
	for text, want := range map[string]string{
		"update plain set qty = 1 where id = 2":                                                    "",
		"delete from plain":                                                                        "",
		"insert into plain values (nextval('plain_seq'), 'x', 1)":                                  "",
		"insert into plain select 1, pg_notify('a', 'b')::text, 2":                                 "",
		"merge into plain p using orders o on o.id = p.id when matched then delete":                "",
		"update plain set qty = bump(1)::text::int":                                                "",
		"update plain set qty = wipe_rows()":                                                       "",
		"with d as (delete from plain returning *) insert into metrics.daily(n) select qty from d": "",
		"insert into plain(id) values (1) returning id":                                            "",
		"insert into audited values (1, 'x')":                                                      "",
		"insert into many values (1)":                                                              "",
		"insert into ruled values (1)":                                                             "",
		"delete from parent_t":                                                                     "",
		"insert into mailed values (1, 'x')":                                                       "",
		"insert into dyn_audited values (1)":                                                       "it does what can't be told",
		"insert into plain select id, x, 1 from ft":                                                "it is about public.ft, a foreign table",
		"insert into ft values (1, 'x')":                                                           "it is about public.ft, a foreign table",
		"select 1":                                                                                 "only INSERT, UPDATE, DELETE and MERGE are held",
		"select wipe_rows()":                                                                       "only INSERT, UPDATE, DELETE and MERGE are held",
		"with d as (delete from plain returning *) select * from d":                                "only INSERT, UPDATE, DELETE and MERGE are held",
		"explain analyze delete from plain":                                                        "only INSERT, UPDATE, DELETE and MERGE are held",
		"copy plain from stdin":                                                                    "only INSERT, UPDATE, DELETE and MERGE are held",
		"commit":                                                                                   "only INSERT, UPDATE, DELETE and MERGE are held",
		"delet from plain":                                                                         "",
		"insert into plain values (setval('plain_seq', 1), 'x', 1)":                                "it calls pg_catalog.setval, whose effect a rollback doesn't undo",
		"delete from plain where pg_advisory_lock(id) is null":                                     "it calls pg_catalog.pg_advisory_lock, whose effect a rollback doesn't undo",
		"delete from plain where pg_advisory_xact_lock(id) is null":                                "it calls pg_catalog.pg_advisory_xact_lock, whose effect a rollback doesn't undo",
		"delete from plain where pg_reload_conf()":                                                 "it calls pg_catalog.pg_reload_conf, whose effect a rollback doesn't undo",
		"update plain set label = pg_read_file('x')":                                               "it calls pg_catalog.pg_read_file, which reads or writes files",
		"update plain set qty = lo_import('x')::int":                                               "it calls pg_catalog.lo_import, which reads or writes files",
		"update plain set label = dyn('select 1')":                                                 "it does what can't be told",
		"update plain set qty = wipe()":                                                            "it changes more than rows",
		"update plain set label = dblink_exec('x', 'y')":                                           "it does what can't be told",
		"update plain set label = nowhere(1)":                                                      "it does what can't be told",
		"update plain set label = set_config('a.b', 'c', false)":                                   "it changes settings of the session",
		"update plain set label = query_to_xml('select pg_advisory_lock(1)', true, true, '')::text": "it calls pg_catalog.pg_advisory_lock, whose effect a rollback doesn't undo",
		"update pg_class set relname = 'x'": "it changes more than rows",
	} {
		st := &analysed(t, text, testEnv(t)).Statements[0]
		if text == "delet from plain" { // no statement at all
			want = ""
			if st.Undoable {
				t.Errorf("%s is undoable", text)
			}
		} else if st.Undoable != (want == "") {
			t.Errorf("%s: undoable is %v", text, st.Undoable)
		}
		if st.Lasting != want {
			t.Errorf("%s: got %q, want %q", text, st.Lasting, want)
		}
	}
	env := testEnv(t)
	env.Touched = []string{"relation plain"}
	if st := NewAnalyzer(0).Analyze("delete from plain", env).Statements[0]; st.Undoable || st.Lasting != Uncertain {
		t.Errorf("with names in doubt: %q", st.Lasting)
	}
	if st := NewAnalyzer(0).Analyze("delete from plain", &Env{StandardConformingStrings: true}).Statements[0]; st.Undoable {
		t.Error("without a catalog it is undoable")
	}
}

// TestLook: the queries by which rows are read.
func TestLook(t *testing.T) {
	for text, want := range map[string]string{
		"update plain set qty = $2, label = 'x' where id = $1":                                   "SELECT plain.id, plain.qty, plain.label FROM plain WHERE id = $1 LIMIT 9",
		"delete from only app.plain as p where p.id in (select id from plain);":                  "SELECT p.id, p.label, p.secret FROM ONLY app.plain p WHERE p.id IN (SELECT id FROM plain) LIMIT 9",
		"update plain p set qty = o.id from orders o join customers c on true where o.id = p.id": "SELECT p.id, p.qty, p.label FROM plain p, orders o JOIN customers c ON true WHERE o.id = p.id LIMIT 9",
		"delete from plain using orders where orders.id = plain.id":                              "SELECT plain.id, plain.label, plain.qty FROM plain, orders WHERE orders.id = plain.id LIMIT 9",
		"update v_plain set qty = 1":                                                             "it is about a view, or about no table that can be told",
		"with x as (select 1) delete from plain":                                                 "it has a WITH",
		"delete from plain where current of c":                                                   "it is about a cursor's row",
		"delete from plain; delete from plain":                                                   "it isn't one statement",
		"select 1":                                                                               "it isn't INSERT, UPDATE, DELETE or MERGE",
	} {
		env := testEnv(t)
		st := &NewAnalyzer(0).Analyze(text, env).Statements[0]
		cmd := st.Command
		cmd.Text = text
		l, got := LookAt(&cmd, env.Catalog)
		if l != nil {
			got = l.Before(l.Columns([]int{1}, 3), 9)
		}
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", text, got, want)
		}
	}
	env := testEnv(t)
	l, _ := LookAt(&NewAnalyzer(0).Analyze("insert into app.plain values (1)", env).Statements[0].Command, env.Catalog)
	if got := l.Written([]int{1, 3}, 2); got != `SELECT t."id", t."secret" FROM "app"."plain" AS t WHERE t.xmin OPERATOR(pg_catalog.=) $1 LIMIT 2` {
		t.Error(got)
	}
	if got := l.ByKey([]int{2}, []int{1, 2}, 2); !strings.HasSuffix(got, `, t.xmin FROM "app"."plain" AS t WHERE t."id" OPERATOR(pg_catalog.=) $1 AND t."label" OPERATOR(pg_catalog.=) $2 OR t."id" OPERATOR(pg_catalog.=) $3 AND t."label" OPERATOR(pg_catalog.=) $4`) {
		t.Error(got)
	}
}
