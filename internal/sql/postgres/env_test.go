package postgres

import (
	"slices"
	"strings"
	"testing"

	"postern"
	"postern/internal/sql"
)

// TestEnv: what the session is decides what names mean.
func TestEnv(t *testing.T) {
	c := testCatalog(t)
	env := func(change func(*Env)) *Env {
		e := testEnv(t)
		change(e)
		return e
	}
	for _, x := range []struct {
		name string
		env  *Env
		text string
		want string
	}{
		{"nothing known", &Env{StandardConformingStrings: true}, "select lower(a) from t", "unknown,select unknown ?.t function:?.lower!"},
		{"nothing known, qualified", &Env{StandardConformingStrings: true}, "select pg_catalog.lower(a) from s.t", "select read s.t"},
		{"nothing known, sequence", &Env{StandardConformingStrings: true}, "select pg_catalog.nextval('s')", "call,select write function:pg_catalog.nextval! ?.s!"},
		{"offline", &Env{SearchPath: []string{"public"}, Offline: true, StandardConformingStrings: true}, "select count(*), now() from t where lower(a) = 'x'", "select read where public.t"},
		{"offline, not the server's", &Env{SearchPath: []string{"public"}, Offline: true, StandardConformingStrings: true}, "select mine(a) from s.t", "unknown,select unknown s.t function:?.mine!"},
		{"other path", env(func(e *Env) { e.SearchPath = []string{"app"} }), "select * from plain", "select read app.plain"},
		{"order of the path", env(func(e *Env) { e.SearchPath = []string{"app", "public"} }), "select * from plain", "select read app.plain"},
		{"unknown path, one of its name", env(func(e *Env) { e.SearchPath = nil }), "select * from customers", "select read public.customers"},
		{"unknown path, two of its name", env(func(e *Env) { e.SearchPath = nil }), "select * from plain", "select read ?.plain"},
		{"unknown path, function", env(func(e *Env) { e.SearchPath = nil }), "select wipe(), lower('x')", "drop,select admin function:public.wipe! public.orders!"},
		{"empty path", env(func(e *Env) { e.SearchPath = []string{} }), "select * from plain, pg_class", "select read ?.plain pg_catalog.pg_class"},
		{"user's schema", env(func(e *Env) { e.SearchPath, e.User = ParseSearchPath(`"$user", public`), "app" }), "select * from plain", "select read app.plain"},
		{"touched", env(func(e *Env) { e.Touched = []string{"relation plain"} }), "select * from plain, customers", "select read ?.plain public.customers"},
		{"touched, qualified", env(func(e *Env) { e.Touched = []string{"relation plain"} }), "select * from public.plain", "select read public.plain"},
		{"touched function", env(func(e *Env) { e.Touched = []string{"function lower"} }), "select upper('x'), pg_catalog.lower('x')", "select read"},
		{"touched function is unknown", env(func(e *Env) { e.Touched = []string{"function lower"} }), "select lower('x')", "unknown,select unknown function:?.lower!"},
		{"touched all", env(func(e *Env) { e.Touched = []string{"*"} }), "select * from plain", "select read ?.plain"},
		{"database", testEnv(t), "select * from t.public.plain", "select read public.plain"},
		{"other database", testEnv(t), "select * from u.public.plain", "select read ?.plain"},
		{"path after a commit, steady", env(func(e *Env) { e.Steady = true }), "commit; select * from plain", "commit control\nselect read public.plain"},
		{"path after a commit, not steady", testEnv(t), "commit; select * from plain", "commit control\nselect read ?.plain"},
		{"path set and rolled back", testEnv(t), "begin; set search_path = app; rollback; select * from plain", "begin control\nset control\nrollback control\nselect read public.plain"},
		{"path set and kept", testEnv(t), "begin; set search_path = app; commit; select * from plain", "begin control\nset control\ncommit control\nselect read app.plain"},
		{"path set by a function", testEnv(t), "select set_config('search_path', 'app', false); select * from plain", "select,set read function:pg_catalog.set_config\nselect read app.plain"},
		{"path set for some rows", testEnv(t), "select set_config('search_path', 'app', false) from customers; select * from plain", "select,set read public.customers function:pg_catalog.set_config\nselect read ?.plain"},
		{"role", testEnv(t), "set role bob; select * from plain", "set admin setting:role!\nselect read ?.plain"},
	} {
		t.Run(x.name, func(t *testing.T) { checkIn(t, x.env, x.text, x.want) })
	}
	if c.Server < 150000 {
		t.Errorf("server version %d", c.Server)
	}
}

// TestTemporary: a session's temporary table hides a permanent one; another
// session's may, as long as it isn't known whose it is.
func TestTemporary(t *testing.T) {
	all, err := answers()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	c, err := LoadCatalog(func(query string) ([][]*string, error) {
		n++
		rows := all[n-1]
		add := func(cells ...string) {
			row := make([]*string, len(rows[0]))
			for i := range cells {
				if cells[i] != "" {
					row[i] = &cells[i]
				}
			}
			rows = append(slices.Clone(rows), row)
		}
		switch parts[n-1].name {
		case "schemas":
			add("pg_temp_3")
		case "relations":
			add("4000001", "pg_temp_3", "plain", "r", "bob", "", "", "0")
		case "columns":
			add("4000001", "1", "hidden", "25", "f", "f", "")
		}
		return rows, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	env := testEnv(t)
	env.Catalog = c
	checkIn(t, env, "select * from plain", "select read ?.plain")
	checkIn(t, env, "select * from public.plain", "select read public.plain")
	env.TempSchema = "pg_temp_3"
	checkIn(t, env, "select hidden from plain", "select read pg_temp_3.plain")
	checkIn(t, env, "select * from pg_temp.plain", "select read pg_temp_3.plain")
	env.SearchPath = []string{"public", "pg_temp"}
	checkIn(t, env, "select * from plain", "select read public.plain")
	env.TempSchema, env.SearchPath = "pg_temp_4", []string{"public"}
	checkIn(t, env, "select * from plain", "select read public.plain")
}

// TestCatalog: what the protocol asks the catalog itself.
func TestCatalog(t *testing.T) {
	c := testCatalog(t)
	origins := func(table, column string) string {
		t.Helper()
		r := c.Relation("public", table)
		if r == nil {
			t.Fatalf("no relation %s", table)
		}
		i := r.columnIndex(column)
		name, ok := c.ColumnByAttr(r.OID, uint16(i+1))
		if !ok || name.Column != column || name.Table != table {
			t.Errorf("column %d of %s is %v", i+1, table, name)
		}
		sources, complete := c.Origins(r.OID, uint16(i+1))
		if !complete {
			return "~" + columnList(sources)
		}
		return columnList(sources)
	}
	for _, x := range []struct{ table, column, want string }{
		{"customers", "email", "customers.email"},
		{"v_swapped", "id", "customers.email"},
		{"v_deep", "x", "customers.email"},
		{"v_deep2", "m", "customers.email"},
		{"v_union", "label", "plain.label+customers.card_number"},
		{"mv_mail", "email", "customers.email"},
		{"gen", "low", "gen.low+gen.email"},
		{"orders", "customer_email", "orders.customer_email+customers.email"},
		{"ft", "x", "~ft.x"},
		{"wide", "c3", "wide.c3"},
		{"people_1", "email", "people_1.email+people.email"},
	} {
		if got := origins(x.table, x.column); got != x.want {
			t.Errorf("%s.%s comes from %s, want %s", x.table, x.column, got, x.want)
		}
	}
	wide := c.Relation("public", "wide")
	if _, ok := c.ColumnByAttr(wide.OID, 3); ok {
		t.Error("a dropped column has a name")
	}
	for _, attribute := range []uint16{0, 99, 65535} {
		if _, ok := c.ColumnByAttr(wide.OID, attribute); ok {
			t.Errorf("attribute %d has a name", attribute)
		}
		if _, complete := c.Origins(wide.OID, attribute); complete {
			t.Errorf("attribute %d has an origin", attribute)
		}
	}
	for _, x := range []struct {
		schema, name string
		t, elem      postern.ValueType
		width        int
	}{
		{"pg_catalog", "text", postern.TextValue, 0, 0},
		{"pg_catalog", "int4", postern.IntValue, 0, 4},
		{"pg_catalog", "timestamptz", postern.TimeValue, 0, 8},
		{"pg_catalog", "_text", postern.ArrayValue, postern.TextValue, 0},
		{"public", "posint", postern.IntValue, 0, 4},
		{"public", "mail", postern.TextValue, 0, 0},
		{"public", "mood", postern.OpaqueValue, 0, 0},
		{"public", "pair", postern.OpaqueValue, 0, 0},
		{"public", "citext", postern.TextValue, 0, 0},
		{"pg_catalog", "jsonb", postern.JSONValue, 0, 0},
		{"pg_catalog", "uuid", postern.UUIDValue, 0, 16},
		{"pg_catalog", "numeric", postern.NumericValue, 0, 0},
		{"pg_catalog", "int4range", postern.OpaqueValue, 0, 0},
		{"public", "_pair", postern.ArrayValue, postern.OpaqueValue, 0},
	} {
		typ := c.types[name{x.schema, x.name}]
		if typ == nil {
			t.Errorf("no type %s", x.name)
			continue
		}
		if kind, elem, width := c.ValueType(typ.OID); kind != x.t || elem != x.elem || width != x.width {
			t.Errorf("%s is %v of %v, %d bytes", x.name, kind, elem, width)
		}
	}
	var oid uint32
	for _, f := range c.functionsNamed["lo_get"] {
		oid = f.OID
	}
	if f, ok := c.FunctionByOID(oid); !ok || f.Schema != "pg_catalog" || f.Name != "lo_get" {
		t.Errorf("function %d is %+v", oid, f)
	}
}

// TestLoadVersions: the queries fit the server's version, and equal answers
// make equal catalogs.
func TestLoadVersions(t *testing.T) {
	for server, body := range map[int]bool{120000: false, 130005: false, 140000: true, 170002: true} {
		for _, p := range parts {
			query := p.query(server)
			if p.name == "functions" && strings.Contains(query, "prosqlbody") != body {
				t.Errorf("for server %d: %s", server, query)
			}
		}
	}
	all, err := answers()
	if err != nil {
		t.Fatal(err)
	}
	load := func(change int) string {
		n := 0
		c, err := LoadCatalog(func(string) ([][]*string, error) {
			n++
			rows := all[n-1]
			if parts[n-1].name == "relations" {
				rows = rows[:len(rows)-change]
			}
			return rows, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return c.Version
	}
	first, again, other := load(0), load(0), load(1)
	if first != again || first == other {
		t.Error("versions don't tell catalogs apart")
	}
}

// TestLoadRefuses: answers of another shape are errors, not another catalog.
func TestLoadRefuses(t *testing.T) {
	all, err := answers()
	if err != nil {
		t.Fatal(err)
	}
	for broken := range parts {
		for _, bad := range [][]*string{{}, {nil}, {new(string)}} {
			n := 0
			_, err := LoadCatalog(func(string) ([][]*string, error) {
				n++
				if n-1 == broken {
					return [][]*string{bad}, nil
				}
				return all[n-1], nil
			})
			if err == nil && parts[broken].name != "schemas" {
				t.Errorf("%s: a row of %d columns was taken", parts[broken].name, len(bad))
			}
		}
	}
}

// TestStatements: what a statement says of the session.
func TestStatements(t *testing.T) {
	for _, x := range []struct {
		text string
		want func(s *sql.Statement) bool
	}{
		{"prepare p as select 1", func(s *sql.Statement) bool { return s.Prepares == "p" && s.Inner.Command.Verb == "select" }},
		{"execute p", func(s *sql.Statement) bool { return s.Executes == "p" }},
		{"declare c cursor for select id from plain", func(s *sql.Statement) bool {
			return s.Declares == "c" && len(s.Inner.Outputs) == 1 && s.OutputsKnown && len(s.Outputs) == 0
		}},
		{"fetch 3 from c", func(s *sql.Statement) bool { return s.Fetches == "c" && !s.OutputsKnown }},
		{"deallocate p", func(s *sql.Statement) bool { return s.Forgets == "p" }},
		{"deallocate all", func(s *sql.Statement) bool { return s.Forgets == "*" }},
		{"close all", func(s *sql.Statement) bool { return s.Forgets == "*" }},
		{"discard all", func(s *sql.Statement) bool { return s.Forgets == "*" && s.Unsettles && s.ChangesCatalog }},
		{"set search_path = app, \"$user\", \"A,b\"", func(s *sql.Statement) bool {
			return slices.Equal(s.Sets, []sql.Setting{{Name: "search_path", Value: `"app", "$user", "A,b"`, Known: true}}) && !s.Unsettles &&
				slices.Equal(ParseSearchPath(s.Sets[0].Value), []string{"app", "$user", "A,b"})
		}},
		{"set local statement_timeout = 5", func(s *sql.Statement) bool {
			return slices.Equal(s.Sets, []sql.Setting{{Name: "statement_timeout", Value: "5", Known: true, Local: true}})
		}},
		{"set standard_conforming_strings = off", func(s *sql.Statement) bool {
			return s.Sets[0].Name == "standard_conforming_strings" && s.Sets[0].Value == "off"
		}},
		{"reset search_path", func(s *sql.Statement) bool { return s.Unsettles }},
		{"reset all", func(s *sql.Statement) bool { return s.Unsettles }},
		{"set role bob", func(s *sql.Statement) bool { return s.Unsettles && s.Command.Access == postern.Admin }},
		{"select set_config('a.b', 'c', true)", func(s *sql.Statement) bool {
			return slices.Equal(s.Sets, []sql.Setting{{Name: "a.b", Value: "c", Known: true, Local: true}}) && !s.Unsettles
		}},
		{"select set_config('search_path', label, false) from plain", func(s *sql.Statement) bool { return s.Unsettles && !s.Sets[0].Known }},
		{"begin", func(s *sql.Statement) bool { return s.Transaction == "begin" }},
		{"end", func(s *sql.Statement) bool { return s.Transaction == "commit" }},
		{"rollback to x", func(s *sql.Statement) bool { return s.Transaction == "rollback to" }},
		{"commit prepared 'x'", func(s *sql.Statement) bool {
			return s.Transaction == "" && s.ChangesCatalog && slices.Equal(s.Touches, []string{touchesAll})
		}},
		{"rollback prepared 'x'", func(s *sql.Statement) bool { return s.Transaction == "" && !s.ChangesCatalog }},
		{"create table x(a int)", func(s *sql.Statement) bool { return s.ChangesCatalog && slices.Contains(s.Touches, "relation x") }},
		{"drop function wipe()", func(s *sql.Statement) bool { return s.ChangesCatalog && slices.Contains(s.Touches, "function wipe") }},
		{"grant select on plain to bob", func(s *sql.Statement) bool { return !s.ChangesCatalog && len(s.Touches) == 0 }},
		{"select wipe()", func(s *sql.Statement) bool { return s.ChangesCatalog && slices.Contains(s.Touches, "relation orders") }},
		{"select 1", func(s *sql.Statement) bool { return !s.ChangesCatalog && !s.Unsettles && len(s.Touches) == 0 }},
		{"select * from v_deep2", func(s *sql.Statement) bool {
			return slices.Contains(s.Reads, sql.Table{Schema: "public", Name: "customers"})
		}},
		{"select id from plain limit 5", func(s *sql.Statement) bool { return s.Command.Attr(attrHasLimit).Bool }},
		{"select id from plain", func(s *sql.Statement) bool {
			return s.Command.Attr(attrHasLimit).Kind == postern.AttrBool && !s.Command.Attr(attrHasLimit).Bool
		}},
		{"update plain set qty = 1, label = 'x' where id = 3", func(s *sql.Statement) bool {
			return slices.Equal(s.Command.Attr(attrAssigned).Strings, []string{"public.plain.qty", "public.plain.label"}) &&
				slices.Equal(s.Command.Attr(attrPredicates).Strings, []string{"public.plain.id"})
		}},
		{"select lower('x'), app.helper()", func(s *sql.Statement) bool {
			return slices.Equal(s.Command.Attr(attrFunctions).Strings, []string{"pg_catalog.lower", "app.helper"})
		}},
		{"select 1; select 2", func(s *sql.Statement) bool { return s.Command.Attr(attrMulti).Bool }},
	} {
		s := &NewAnalyzer(0).Analyze(x.text, testEnv(t)).Statements[0]
		if !x.want(s) {
			t.Errorf("%s: %+v", x.text, *s)
		}
	}
}

// TestCopyOptions: options are read as the server reads them, or not at all.
func TestCopyOptions(t *testing.T) {
	text := sql.Copy{Out: true, Delim: '\t', Null: `\N`}
	csv := sql.Copy{Out: true, CSV: true, Delim: ',', Quote: '"', Escape: '"'}
	for _, x := range []struct {
		options string
		want    *sql.Copy
	}{
		{"", &text},
		{"(format text)", &text},
		{"(format csv)", &csv},
		{"csv", &csv},
		{"(format binary)", &sql.Copy{Out: true, Binary: true}},
		{"binary", &sql.Copy{Out: true, Binary: true}},
		{"csv header", &sql.Copy{Out: true, CSV: true, Header: true, Delim: ',', Quote: '"', Escape: '"'}},
		{"(format csv, header false)", &csv},
		{"(format csv, header on)", &sql.Copy{Out: true, CSV: true, Header: true, Delim: ',', Quote: '"', Escape: '"'}},
		{"(format csv, delimiter ';', null 'x', quote '''', escape '\\')", &sql.Copy{Out: true, CSV: true, Delim: ';', Null: "x", Quote: '\'', Escape: '\\'}},
		{"(delimiter '|', null '')", &sql.Copy{Out: true, Delim: '|'}},
		{"delimiter as '|' null as 'n'", &sql.Copy{Out: true, Delim: '|', Null: "n"}},
		{"(encoding 'LATIN1')", &sql.Copy{Out: true, Delim: '\t', Null: `\N`, Encoding: "LATIN1"}},
		{"(format csv, force_quote *)", &csv},
		{"(format csv, force_quote (id))", &csv},
		{"(format xml)", nil},
		{"(delimiter 'ab')", nil},
		{"(delimiter '')", nil},
		{"(delimiter E'\\n')", nil},
		{"(delimiter 'a')", nil},
		{"(quote 'x')", nil},
		{"(format csv, quote 'ab')", nil},
		{"(format csv, delimiter '\"')", nil},
		{"(null E'a\\nb')", nil},
		{"(format csv, null '\"')", nil},
		{"(format binary, delimiter 'x')", nil},
		{"(whatever 1)", nil},
		{"(format csv, format text)", nil},
		{"(format binary, header)", nil},
	} {
		s := &NewAnalyzer(0).Analyze("copy plain to stdout "+x.options, testEnv(t)).Statements[0]
		if x.want == nil {
			if s.Command.Access != postern.Unknown {
				t.Errorf("%s was taken as %+v", x.options, s.Copy)
			}
			continue
		}
		if s.Copy == nil || *s.Copy != *x.want {
			t.Errorf("%s\n got %+v\nwant %+v (%s)", x.options, s.Copy, *x.want, s.Command.Problem)
		}
	}
}

// TestCache: the cache gives what was said, is bounded, and tells apart what
// gives a text its meaning.
func TestCache(t *testing.T) {
	a := NewAnalyzer(8)
	env := testEnv(t)
	first := a.Analyze("select * from plain", env)
	if a.Analyze("select * from plain", env) != first {
		t.Error("the same question was answered twice")
	}
	for _, change := range []func(*Env){
		func(e *Env) { e.SearchPath = []string{"app"} }, func(e *Env) { e.SearchPath = nil }, func(e *Env) { e.Catalog = nil }, func(e *Env) { e.Touched = []string{"relation plain"} },
		func(e *Env) { e.StandardConformingStrings = false }, func(e *Env) { e.Database = "u" }, func(e *Env) { e.TempSchema = "pg_temp_1" }, func(e *Env) { e.Encoding = "SJIS" }, func(e *Env) { e.User = "eve" },
		func(e *Env) { e.Steady = true }, func(e *Env) { e.Offline = true },
	} {
		other := testEnv(t)
		change(other)
		if a.Analyze("select * from plain", other) == first {
			t.Errorf("another session got the same answer: %+v", other)
		}
	}
	for i := range 100 {
		a.Analyze("select "+itoa(i), env)
	}
	if n := len(a.young) + len(a.old); n > 8 {
		t.Errorf("%d analyses are kept, want 8 at most", n)
	}
	known := &sql.Statement{OutputsKnown: true, UsesProven: true, Command: postern.Command{Verb: "delete", Verbs: []string{"delete"}, Access: postern.Write}}
	env.Prepared = func(string) *sql.Statement { return known }
	checkSame := func(want string) {
		t.Helper()
		if got := describe(a.Analyze("execute p", env)); got != want {
			t.Errorf("execute p: got %s, want %s", got, want)
		}
	}
	checkSame("delete,execute write")
	env.Prepared = nil
	checkSame("unknown,execute unknown")
}

// TestConcurrent: one analyser and one catalog serve many sessions.
func TestConcurrent(t *testing.T) {
	a, env := NewAnalyzer(16), testEnv(t)
	done := make(chan string)
	texts := []string{"select * from v_deep2", "select lookup2(1), standard(2)", "insert into audited values (1, 'x')", "select (rows_of()).ssn", "do $$ begin perform wipe(); end $$"}
	for range 8 {
		go func() {
			var all []string
			for range 20 {
				for _, text := range texts {
					all = append(all, describe(a.Analyze(text, env)))
				}
			}
			done <- strings.Join(all, "\n")
		}()
	}
	first := <-done
	for range 7 {
		if <-done != first {
			t.Error("sessions got different answers")
		}
	}
}

// TestKeyTellsPathsApart: no two search paths, however long, share an analysis.
func TestKeyTellsPathsApart(t *testing.T) {
	seen := make(map[key][]string)
	for _, path := range [][]string{
		nil,
		{},
		{"a"},
		{"b"},
		{"a", "b"},
		{"b", "a"},
		{"a", "b", "c"},
		{"a", "b", "d"},
		{"a", "b", "c", "d"},
		{"a", "b", "cd"},
		{"a", "b", "c", "d", "e"},
		{"a", "b", "c", "de"},
		{"a", "b", "c\x00d"},
	} {
		k := (&Env{SearchPath: path}).key("select 1")
		if other, ok := seen[k]; ok {
			t.Errorf("%q and %q are one", path, other)
		}
		seen[k] = path
	}
}
