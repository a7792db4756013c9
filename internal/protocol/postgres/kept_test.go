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
