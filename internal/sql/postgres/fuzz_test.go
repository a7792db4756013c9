package postgres

import (
	"strings"
	"testing"

	"postern"
	"postern/internal/sql"
)

// FuzzAnalyze: whatever the text, the analysis doesn't panic, its statements'
// texts are the text, and nothing is claimed of what wasn't understood.
func FuzzAnalyze(f *testing.F) {
	for _, seed := range []string{
		"select 1", "select email from customers where id = 1; drop table plain", "with a as (delete from plain returning *) select * from a",
		"do $$ declare r record := wipe(); begin for r in select 1 loop null; end loop; end $$", "copy plain to stdout with (format csv, null 'x')",
		"merge into plain p using customers c on p.id = c.id when matched then delete", "explain analyze select * from v_deep2",
		"select * from json_to_recordset('[]') as t(a int) natural join v_mail", "set search_path = app, \"$user\"; prepare p as select $1; execute p(1)",
		"create table x as select row_to_json(c) from customers c", "alter table customers rename column email to x", "select (c).email.x[1] from customers c",
		"with recursive r(a) as (select 1 union select a + 1 from r) search depth first by a set o cycle a set m using p select * from r",
		"select query_to_xml('select ''x''', true, true, ''), U&\"\\0065mail\" from customers", "insert into plain select * from plain on conflict do nothing",
		"select xmlelement(name a), grouping(id) from plain group by rollup(id)", "declare c cursor for select 1; fetch all from c; move 3 in c; close c",
		"create function f() returns int language sql begin atomic select 1; end", "drop schema app cascade", "select '\\'", "update plain set (id, qty) = (select 1, 2)",
	} {
		f.Add(seed, true, uint8(0))
		f.Add(seed, false, uint8(3))
	}
	c := testCatalog(f)
	a := NewAnalyzer(64)
	f.Fuzz(func(t *testing.T, text string, scs bool, kind uint8) {
		env := &Env{SearchPath: []string{"public"}, User: "u", Database: "t", StandardConformingStrings: scs}
		if kind&1 == 0 {
			env.Catalog = c
		}
		if kind&2 != 0 {
			env.SearchPath = nil
		}
		if kind&4 != 0 {
			env.Touched = []string{"relation plain", "function lower"}
		}
		got := a.Analyze(text, env)
		if len(got.Statements) == 0 {
			return
		}
		var joined strings.Builder
		for i := range got.Statements {
			joined.WriteString(got.Statements[i].Command.Text)
			invariants(t, &got.Statements[i], env, 0)
		}
		if joined.String() != text {
			t.Fatalf("the statements' texts are %q, not %q", joined.String(), text)
		}
	})
}

func invariants(t *testing.T, s *sql.Statement, env *Env, depth int) {
	c := &s.Command
	if c.Protocol != protocol || c.Verb == "" || len(c.Verbs) == 0 {
		t.Fatalf("without a name: %+v", c)
	}
	unknownVerb := c.Verbs[0] == postern.VerbUnknown
	if unknownVerb != (c.Access == postern.Unknown) || unknownVerb != (c.Problem != "") {
		t.Fatalf("half unknown: verbs %v, access %s, problem %q", c.Verbs, c.Access, c.Problem)
	}
	if unknownVerb && s.UsesProven {
		t.Fatalf("unknown, and yet sure of what it uses: %q", c.Text)
	}
	if c.Verb == postern.VerbUnknown && !unknownVerb {
		t.Fatalf("an unknown verb with known effects: %q", c.Text)
	}
	for _, o := range s.Outputs {
		if o.Plain && o.Proven && len(o.Sources) == 0 {
			t.Fatalf("a plain column of nothing: %q", c.Text)
		}
		for _, from := range o.Sources {
			if from == argument {
				t.Fatalf("an argument of no call: %q", c.Text)
			}
			if env.Catalog == nil && o.Proven {
				t.Fatalf("proven without a catalog: %q", c.Text)
			}
		}
	}
	for _, list := range [][]postern.ColumnName{s.Predicates, s.Uses} {
		for _, from := range list {
			if from == argument {
				t.Fatalf("an argument of no call: %q", c.Text)
			}
		}
	}
	for _, attr := range c.Attrs {
		declared := false
		for _, d := range Attrs() {
			declared = declared || d.Name == attr.Name && d.Kind == attr.Kind
		}
		if !declared {
			t.Fatalf("undeclared attribute %q", attr.Name)
		}
	}
	if s.Inner != nil && depth < 3 {
		invariants(t, s.Inner, env, depth+1)
	}
}
