package postgres

import (
	"strings"
	"testing"

	"postern/test/pgcluster"
)

// TestStatementsAreKept: after what can't be read, a prepared statement may be
// another one. Where it isn't, it is the server's still: with its plan, and
// with the refusal to change its result's type.
func TestStatementsAreKept(t *testing.T) {
	const unreadable = "do $$ begin execute concat('select ', pg_backend_pid()); end $$"
	name := database(t)
	o := newOffice(t, name, pgcluster.Superuser, "")
	o.cluster.Exec(t, name, "create table kept (a int, b text); insert into kept values (1, 'x')")
	for _, c := range []struct{ what, name, between, want string }{
		{"changed", "s1", "alter table kept add column c int", "error 0A000"},
		{"the same", "s1", "select 1", "row 1|x"},
		{"quoted", "it's", "select 1", "row 1|x"},
		{"made by SQL", "s1", `do $$ begin execute concat('deallocate ', 's1'); execute concat('prepare s1 (int) as select b, a from kept where a = ', '$1'); end $$`, "row 1|x"},
		{"gone", "s1", `do $$ begin execute concat('deallocate ', 's1'); end $$`, "row 1|x"},
	} {
		w := o.wire()
		w.talk(1, join(parse(c.name, "select * from kept where a = $1"), bind("", c.name, "1"), execute(""), syn())...)
		w.query(unreadable)
		w.query(c.between)
		for range 2 {
			if got := w.talk(1, join(bind("", c.name, "1"), execute(""), syn())...); !strings.Contains(got, c.want) {
				t.Errorf("%s: got\n%s", c.what, got)
			}
		}
	}
}

// TestOwnQuestionThatFails: a question of the gateway's own that the server
// answers with an error as early as at Bind, where it asks for rights, costs the
// client no message, and leaves nothing behind that the next one would meet.
func TestOwnQuestionThatFails(t *testing.T) {
	name := evasionArena(t)
	o := newOffice(t, name, "app", "")
	o.cluster.Exec(t, name, "create table kept (a int, b text); insert into kept values (1, 'x'); grant select on kept to app; revoke select on pg_catalog.pg_prepared_statements from public")
	w := o.wire()
	w.talk(1, join(parse("s1", "select * from kept where a = $1"), bind("", "s1", "1"), execute(""), syn())...)
	for range 3 {
		w.query("do $$ begin execute concat('select ', pg_backend_pid()); end $$")
		if got := w.talk(1, join(bind("", "s1", "1"), execute(""), syn())...); !strings.Contains(got, "row 1|x") {
			t.Errorf("got\n%s", got)
		}
	}
}
