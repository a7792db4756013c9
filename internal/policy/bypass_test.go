package policy

import (
	"strings"
	"testing"

	"postern"
)

// TestNamesThatLookAllowed: none of these is an object that the pattern allows.
func TestNamesThatLookAllowed(t *testing.T) {
	for _, c := range []struct{ pattern, kind, name string }{
		// The dots of a quoted part are no dots.
		{"metrics.*", "table", `"metrics.daily"`},
		{"metrics.*", "table", `"metrics.x".customers`},
		{"metrics.*", "table", `"metrics".x.y`},
		{"metrics.*", "table", `public."metrics.daily"`},
		{"metrics.daily", "table", `"metrics.daily"`},
		{"*.daily", "table", `"a.daily"`},
		{"*.daily", "table", `public."x.daily"`},
		{"*.*.c", "column", `public."t.c"`},
		// A part must be there, and be closed.
		{"metrics.*", "table", "metrics."},
		{"metrics.*", "table", "metrics"},
		{"metrics.*", "table", "metrics.."},
		{"metrics.*", "table", ".metrics.daily"},
		{"metrics.*", "table", "metrics..daily"},
		{"metrics.*", "table", `metrics.""`},
		{"metrics.*", "table", `"metrics.daily`},
		{"metrics.*", "table", `metrics."daily`},
		{"metrics.*", "table", `metrics.daily"`},
		{"metrics.*", "table", `"metrics"x.daily`},
		{"metrics.*", "table", `me"trics".daily`},
		{"metrics.*", "table", ""},
		{"*.*", "table", "x"},
		{"*", "file", "x"},
		// Case and look-alikes.
		{"metrics.*", "table", "Metrics.daily"},
		{"metrics.*", "table", "METRICS.daily"},
		{"metrics.*", "table", "ｍetrics.daily"},       // fullwidth m
		{"metrics.*", "table", "mеtrics.daily"},       // Cyrillic e
		{"metrics.*", "table", "metrics\u200b.daily"}, // zero width space
		{"metrics.*", "table", "metrics\u2024daily"},  // one dot leader
		{"metrics.*", "table", "metrics\x00.daily"},
		{"metrics.*", "table", " metrics.daily"},
		{"café.*", "table", "cafe\u0301.daily"}, // the same to the eye
		// Globs are not regular expressions, and only the star is special.
		{"m.tric", "table", "m.atric"},
		{"m[ab].x", "table", "ma.x"},
		{"m?.x", "table", "ma.x"},
		{"metrics.daily*", "table", "metrics.dail"},
		{"metrics.*_ro", "table", "metrics.x_ro_rw"},
		{`"metrics*".x`, "table", "metrics1.x"}, // quoted: the star is a star
		// Another kind of thing with that name.
		{"metrics.*", "function", "metrics.daily"},
		{"metrics.*", "file", "metrics.daily"},
		{"metrics.*", "schema", "metrics.daily"},
		{"metrics.*", "", "metrics.daily"},
		{"metrics.*", "Table", "metrics.daily"},
		{"function:metrics.*", "table", "metrics.daily"},
		{"function:metrics.*", "procedure", "metrics.daily"},
		{"function:*", "file", "x"},
		// Columns are under their table, and only there.
		{"metrics.*", "column", "metrics.daily"},
		{"metrics.*", "column", "metrics.daily.a.b"},
		{"metrics.*", "column", "public.metrics.daily"},
		{"metrics.daily", "column", "metrics.hourly.x"},
		{"metrics.daily.x", "column", "metrics.daily.x"},
		// Files that lead elsewhere.
		{"file:/tmp/*", "file", "/tmp/a/b"},
		{"file:/tmp/*", "file", "/tmp/../etc/passwd"},
		{"file:/tmp/*", "file", "/tmp/.."},
		{"file:/tmp/*", "file", "/tmp//x"},
		{"file:/tmp/*", "file", "/tmp/./x"},
		{"file:/tmp/*", "file", "tmp/x"},
		{"file:/tmp/*", "file", "/tmp"},
		{"file:/tmp/**", "file", "/tmp/../etc/passwd"},
		{"file:/tmp/**", "file", "/tmp/a/../../etc/passwd"},
		{"file:/tmp/**", "file", "/tmp"},
		{"file:/tmp/**", "file", "/tmpx/a"},
		{"file:*/x", "file", "../x"},
		{"file:/tmp/*.csv", "file", "/tmp/a.csv.sh"},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Fatalf("%s: %v", c.pattern, err)
		}
		if p.matches(object(c.kind, c.name)) {
			t.Errorf("%s allows %s %q", c.pattern, c.kind, c.name)
		}
	}
	for _, c := range []struct{ pattern, kind, name string }{
		{"metrics.*", "table", "metrics.daily"},
		{"metrics.*", "view", `"metrics"."daily"`},
		{"metrics.*", "table", `metrics."a.b"`},
		{"metrics.*", "table", `metrics."say ""x"""`},
		{`metrics."a.b"`, "table", `metrics."a.b"`},
		{`metrics."a*"`, "table", `metrics."a*"`},
		{"metrics.*", "column", "metrics.daily.value"},
		{"metrics.*", "column", `metrics."a.b"."c.d"`},
		{"me*s.d*y", "table", "metrics.daily"},
		{"m**s.x", "table", "metrics.x"},
		{"*", "table", "anything.at.all"},
		{"*", "table", `"not closed`},
		{"*.*", "table", "?.x"},
		{"function:public.f*", "function", "public.foo"},
		{"function:*", "function", "x.y.z"},
		{"column:a.b.c", "column", "a.b.c"},
		{"file:/tmp/*", "file", "/tmp/a.csv"},
		{"file:/tmp/**", "file", "/tmp/a/b/c"},
		{"file:/home/*/data/**", "file", "/home/x/data/a/b"},
		{"file:/**", "file", "/etc/passwd"},
		{"key:session:*", "key", "session:1:2"},
		{"größe.*", "table", "größe.x"},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Fatalf("%s: %v", c.pattern, err)
		}
		if !p.matches(object(c.kind, c.name)) {
			t.Errorf("%s doesn't allow %s %q", c.pattern, c.kind, c.name)
		}
	}
}

// TestGlobIsFast: a pattern of many stars over a text that almost matches.
func TestGlobIsFast(t *testing.T) {
	text := strings.Repeat("a", 10_000)
	if glob(strings.Repeat("a*", 500)+"b", text) || !glob(strings.Repeat("a*", 500)+"a", text) {
		t.Error("wrong")
	}
}

// TestWordsThatLookAllowed: verbs are compared in ASCII's letters alone.
func TestWordsThatLookAllowed(t *testing.T) {
	set := mustSet(t, metricsReaders)
	r := asking(postern.Identity{Name: "ci", Kind: postern.Service, Groups: []string{"ci"}})
	for _, verb := range []string{"ſelect", "selec", "select\x00", "select,insert", "*", "ѕelect", "sElEcT\u0301"} {
		check(t, set, r, "deny readers", postern.Command{Verb: verb, Verbs: []string{verb}, Access: postern.Read, Objects: []postern.Object{table("metrics.x")}})
		check(t, set, r, "deny readers", postern.Command{Verb: "select", Verbs: []string{"select", verb}, Access: postern.Read, Objects: []postern.Object{table("metrics.x")}})
		// The first verb counts also when the list of effects leaves it out.
		check(t, set, r, "deny readers", postern.Command{Verb: verb, Verbs: []string{"select"}, Access: postern.Read, Objects: []postern.Object{table("metrics.x")}})
	}
	check(t, set, r, "allow readers", cmd(postern.Read, "SELECT", table("metrics.x")))
	if sameWord("k", "\u212a") /* Kelvin */ || sameWord("s", "\u017f") || !sameWord("DeLeTe", "dElEtE") {
		t.Error("words")
	}
}

// TestPrincipalsThatLookAlike: names and groups are exactly themselves.
func TestPrincipalsThatLookAlike(t *testing.T) {
	set := mustSet(t, ordersDB+`
kind: Access
name: a
to: ["user:alice", "group:dba", "workload:ci:acme/*"]
on: {names: [orders-db]}
`)
	for _, id := range []postern.Identity{
		{Name: "Alice", Kind: postern.User},
		{Name: "аlice", Kind: postern.User},
		{Name: "alice ", Kind: postern.User},
		{Name: "alice", Kind: postern.Service},
		{Name: "alice", Kind: postern.Workload},
		{Name: "alice"},
		{Name: "x", Kind: postern.User, Groups: []string{"DBA", "dba ", "group:dba", "d*"}},
		{Name: "ci:acme/x/y", Kind: postern.Workload},
		{Name: "ci:acme/x", Kind: postern.User},
		{Name: "*", Kind: postern.User},
		{Name: "everyone", Kind: postern.User},
		{Name: "user:alice", Kind: postern.User},
		{},
	} {
		check(t, set, asking(id), "deny default-deny", cmd(postern.Read, "select"))
	}
	check(t, set, asking(postern.Identity{Name: "ci:acme/x", Kind: postern.Workload}), "allow a", cmd(postern.Read, "select"))
}

// TestExceptIsNarrow: an exemption exempts exactly those whom it names.
func TestExceptIsNarrow(t *testing.T) {
	set := mustSet(t, ordersDB+`
kind: Access
name: all
to: [everyone]
on: {names: [orders-db]}
---
kind: Rule
name: r
except: ["group:dba"]
use: no-truncate
then: deny
`)
	truncate := cmd(postern.Write, "truncate")
	dba := postern.Identity{Name: "d", Kind: postern.User, Groups: []string{"dba"}}
	check(t, set, asking(dba), "allow all", truncate)
	check(t, set, asking(postern.Identity{Name: "dba", Kind: postern.User}), "deny r", truncate)
	behalf := dba
	behalf.Actor = &postern.Identity{Name: "agent", Kind: postern.Workload}
	check(t, set, asking(behalf), "deny r", truncate)
	reverse := postern.Identity{Name: "x", Kind: postern.User, Actor: &dba}
	check(t, set, asking(reverse), "deny r", truncate)
}

// TestHiddenAmongMany: one bad command among any number of good ones decides.
func TestHiddenAmongMany(t *testing.T) {
	set := mustSet(t, restricted+"kind: Rule\nname: r\nuse: no-drop-table\nthen: deny")
	good, bad := cmd(postern.Read, "select"), cmd(postern.Admin, "drop", written("public.orders"))
	for at := range 5 {
		cmds := []postern.Command{good, good, good, good, good}
		cmds[at] = bad
		check(t, set, asking(alice()), "deny r", cmds...)
	}
}
