package postgres

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"postern/internal/sql"
)

// others are literals of each kind, among them those that the analysis knows.
var others = map[kind][]string{
	kindInteger: {"0", "1", "2", "7", "32766", "32767", "32768", "2147483646", "2147483647"},
	kindNumeric: {"0.0", "1.0", "1.5", "2147483648", "9223372036854775807", "99999999999999999999", "0.00000000000000000000001"},
	kindString: {
		"''", "'a'", "'it''s'", "'1'", "'t'", "'true'", "'off'", "' No '", "'%'", "'%%'", "'a%'", "'.*'", "'^'", "'infinity'", "'-Infinity'", "'é'", "'public.customers'",
		"'customers'", "'select email from customers'", "'drop table plain'", "'search_path'", "'app.x'", "'role'", "'name'", "'2024-01-01'", "'{}'", "'a\nb'", "'--'", "'/*'", "'$1'", "'\"'",
	},
}

// analysed is the analysis of a text. It checks that texts which differ from it
// in their literals are never said to do what it does, unless they do.
func analysed(t *testing.T, text string, env *Env) *sql.Analysis {
	t.Helper()
	want := NewAnalyzer(0).Analyze(text, env)
	_, all, ok := outline(nil, nil, text)
	if !ok || len(all) == 0 {
		return want
	}
	a := NewAnalyzer(4096)
	sameAnalysis(t, a, text, env)
	for i, l := range all[:min(len(all), 4)] {
		for _, other := range append(others[l.kind], text[all[(i+1)%len(all)].from:all[(i+1)%len(all)].to]) {
			changed := text[:l.from] + other + text[l.to:]
			sameAnalysis(t, a, changed, env)
			b := NewAnalyzer(4096)
			b.Analyze(changed, env)
			sameAnalysis(t, b, text, env)
		}
	}
	return want
}

// sameAnalysis checks that an analyser says of a text what one without memory does.
func sameAnalysis(t *testing.T, a *Analyzer, text string, env *Env) {
	t.Helper()
	want := NewAnalyzer(0).Analyze(text, env)
	if got := a.Analyze(text, env); !reflect.DeepEqual(got, want) {
		t.Errorf("after texts that are like it, this is said of another:\n%s\n got %s\nwant %s", text, all(got), all(want))
	}
}

func all(a *sql.Analysis) string { return fmt.Sprintf("%+v", a.Statements) }

// TestLiterals: what only differs in literals that nothing depends on is
// analysed once.
func TestLiterals(t *testing.T) {
	for _, c := range []struct {
		known, text string
		same        bool
	}{
		{"select abalance from accounts where aid = 5;", "select abalance from accounts where aid = 77;", true},
		{"select name from customers where id = 5 and email = 'a'", "select name from customers where id = 6 and email = 'it''s'", true},
		{"select name from customers where id > 5 and name >= 'a'", "select name from customers where id > 6 and name >= 'b'", true},
		{"select name from customers where id < 5", "select name from customers where id < 2147483647", false},
		{"select name from customers where name like 'a%'", "select name from customers where name like 'b%'", true},
		{"select name from customers where name like 'a%'", "select name from customers where name like '%'", false},
		{"select name from customers where name >= 'a'", "select name from customers where name >= ''", false},
		{"insert into plain values (1, 2), (3, 4)", "insert into plain values (5, 6), (7, 8)", true},
		{"update plain set qty = 5 where id = 4", "update plain set qty = 6 where id = 9", true},
		{"update plain set qty = 5 where 1 = 2", "update plain set qty = 5 where 1 = 1", false},
		{"delete from plain where id = 4", "delete from plain where id = 5", true},
		{"delete from plain where qty * 0 = 1", "delete from plain where qty * 0 = 0", false},
		{"delete from plain where id in (1, 2)", "delete from plain where id in (3, 4)", false}, // it is tried out
		{"select email, name from customers order by 1", "select email, name from customers order by 2", false},
		{"select * from plain limit 10 offset 20", "select * from plain limit 11 offset 0", true},
		{"select current_setting('timezone')", "select current_setting('app.secret')", false},
		{"select set_config('app.x', 'a', false)", "select set_config('role', 'a', false)", false},
		{"select query_to_xml('select 1', true, true, '')", "select query_to_xml('select ssn from customers', true, true, '')", false},
		{"select nextval('a')", "select nextval('b')", false},
		{"set search_path = 'a'", "set search_path = 'b'", false},
		{"copy plain to stdout with (format csv, null 'x')", "copy plain to stdout with (format csv, null 'y')", false},
		{"do 'begin end'", "do 'begin perform wipe(); end'", false},
		{"select * from plain where id = 1 or qty > 9", "select * from plain where id = 2 or qty > 3", true},
		{"select 'a' 'b'", "select 'a' 'c'", false}, // neither can be parsed
		{"select float(24) '1'", "select float(25) '1'", false},
		{"select 1", "select 1.5", false},
		{"select 1", "select '1'", false},
		{"select * from plain where id = 1 -- 5", "select * from plain where id = 2 -- 5", false},
		{"select E'a'", "select E'b'", false},
		{`select 'a\'`, `select 'b\'`, false},
		{"select $$a$$", "select $$b$$", false},
		{"select 1; select 2", "select 1; select 3", false},
		{"prepare p as select * from plain where id = 1", "prepare p as select * from plain where id = 2", true},
	} {
		env := testEnv(t)
		a := NewAnalyzer(64)
		a.Analyze(c.known, env)
		k := env.key("")
		o := a.outline(c.text, env)
		k.text, k.outlined = string(o.text), true
		if same := len(o.all) > 0 && a.lookup(k, c.text, o.all) != nil; same != c.same {
			t.Errorf("%s\nafter %s\nis known: %v, want %v", c.text, c.known, same, c.same)
		}
		analysed(t, c.text, env)
		analysed(t, c.known, env)
	}
}

// TestOutline says of which texts the tokens are known, and in what they differ.
func TestOutline(t *testing.T) {
	for text, want := range map[string]string{
		"select a1, 5 from t where b = 'x''y' and c=1.5;": "select a1, <i> from t where b = <s> and c=<n>;",
		`select "a 1", $1, a$2 from t2`:                   `select "a 1", $1, a$2 from t2`,
		"select 2147483647, 2147483648, 0":                "select <i>, <n>, <i>",
		"select '--', '/*', '$$'":                         "select <s>, <s>, <s>",
		"select -5, a-5":                                  "select -<i>, a-<i>",
		"select 1e5":                                      "?", "select 0x10": "?", "select 1_000": "?", "select .5": "?", "select 1.": "?", "select 007": "?", "select 5a": "?", "select 1..2": "?",
		"select E'a'": "?", "select n'a'": "?", "select U&'a'": "?", `select U&"a"`: "?", "select x'1f'": "?", "select date'2020-01-01'": "?", "select 1'a'": "?",
		"select 1 -- 2": "?", "select /* 1 */ 2": "?", "select $$1$$": "?", "select $a$1$a$": "?", "select 'a": "?", `select "a`: "?", `select 'a\'`: "?", "select é": "?", "select é5": "?",
		"select \x015": "?", "select '\x01'": "?", "select \x00": "?", "select $1a": "?", "select $1'a'": "?", "select a'": "?", "select \v5": "?", "select \u00a05": "?",
		"select 'é'": "select <s>",
	} {
		got := "?"
		if out, _, ok := outline(nil, nil, text); ok {
			got = strings.NewReplacer("\x01i", "<i>", "\x01n", "<n>", "\x01s", "<s>").Replace(string(out))
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// FuzzLiterals: whatever a text, and whatever its literals were before, what is
// said of it is what would be said without a memory.
func FuzzLiterals(f *testing.F) {
	for i, seed := range []string{
		"select abalance from accounts where aid = 5", "delete from plain where 1 = 2 or id > 5", "select * from plain where qty between 5 and 9 order by 1, 2",
		"select current_setting('x'), nextval('y'), set_config('a', 'b', 't')", "insert into plain select 5, 'a' where not 'f' = 'x' on conflict do nothing",
		"update plain set qty = 5 * 1 where id + 0 = 7 and length(name) >= 0 limit 3", "explain analyze delete from plain where id is not null or 'true'",
		"select interval '1' day, 'a'::regclass, cast(5 as numeric(3, 2)), float '5', extract('year' from now())", "select count(*) from plain group by 1 having max(5) > 3",
		"select * from json_to_recordset('[]') as t(a varchar(5))", "delete from plain where exists (select 1 from plain p where p.id < 2147483647)",
	} {
		f.Add(seed, uint64(i))
	}
	c := testCatalog(f)
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		_, lits, ok := outline(nil, nil, text)
		if !ok || len(lits) == 0 || len(text) > 2000 {
			return
		}
		env := &Env{Catalog: c, SearchPath: []string{"public"}, User: "u", Database: "t", StandardConformingStrings: true}
		a := NewAnalyzer(256)
		rnd := rand.New(rand.NewPCG(seed, 1))
		for range 6 {
			var changed strings.Builder
			at := 0
			for _, l := range lits {
				changed.WriteString(text[at:l.from])
				switch rnd.IntN(3) {
				case 0:
					changed.WriteString(text[l.from:l.to])
				default:
					changed.WriteString(others[l.kind][rnd.IntN(len(others[l.kind]))])
				}
				at = l.to
			}
			changed.WriteString(text[at:])
			sameAnalysis(t, a, changed.String(), env)
		}
		sameAnalysis(t, a, text, env)
	})
}
