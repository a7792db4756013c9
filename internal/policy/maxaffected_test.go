package policy

import (
	"strings"
	"testing"

	"postern"
)

func TestMaxAffected(t *testing.T) {
	const base = `
kind: Resource
name: orders-db
type: postgres
address: 127.0.0.1:5432
---
kind: Access
name: all
to: [everyone]
on: {names: [orders-db]}
---
kind: Rule
name: wide
on: {names: [orders-db]}
max_affected: 1000
then: deny
---
kind: Rule
name: narrow
on: {names: [orders-db]}
when: command.objects.exists(o, o.write && o.name == "public.payments") // dear
max_affected: 10
then: deny
message: Payments are changed one by one.
---
kind: Rule
name: also
on: {names: [orders-db]}
when: command.verb == "drop"
then: deny
`
	set := mustSet(t, base)
	request := Request{Identity: postern.Identity{Name: "alice", Kind: postern.User}, Resource: "orders-db"}
	change := func(rows bool, table string, verbs ...string) postern.Command {
		return postern.Command{
			Protocol: "postgres", Verb: verbs[0], Verbs: verbs, Access: postern.Write, Objects: []postern.Object{{Kind: "table", Name: table, Write: true}},
			Attrs: []postern.Attr{postern.BoolAttr("changes_rows", rows)},
		}
	}
	for name, test := range map[string]struct {
		cmds    []postern.Command
		verdict postern.Verdict
		rule    string
		rows    int64
	}{
		"of any table":      {[]postern.Command{change(true, "public.orders", "update")}, postern.Allow, "wide", 1000},
		"of one":            {[]postern.Command{change(true, "public.payments", "update")}, postern.Allow, "narrow", 10},
		"the least of two":  {[]postern.Command{change(true, "public.orders", "update"), change(true, "public.payments", "delete")}, postern.Allow, "narrow", 10},
		"no rows":           {[]postern.Command{change(false, "public.orders", "create")}, postern.Allow, "", 0},
		"uncounted":         {[]postern.Command{change(true, "public.orders", "truncate")}, postern.Deny, "wide", 0},
		"uncounted for now": {[]postern.Command{change(true, "public.orders", "declare", "select")}, postern.Deny, "wide", 0},
		"another rule's no": {[]postern.Command{change(false, "public.orders", "drop")}, postern.Deny, "also", 0},
		"not understood":    {[]postern.Command{{Protocol: "postgres", Verb: "unknown", Verbs: []string{"unknown"}}}, postern.Deny, "also", 0},
	} {
		d := set.Decide(request, test.cmds)
		switch {
		case d.Verdict != test.verdict:
			t.Errorf("%s: %+v", name, d)
		case test.verdict == postern.Deny && d.Rule != test.rule:
			t.Errorf("%s: denied by %s", name, d.Rule)
		case test.verdict == postern.Allow && (d.Limit != nil) != (test.rows > 0):
			t.Errorf("%s: limit %+v", name, d.Limit)
		case d.Limit != nil && test.verdict == postern.Allow && (d.Limit.Rows != test.rows || d.Limit.Rule != test.rule):
			t.Errorf("%s: limit %+v", name, d.Limit)
		}
	}
	for broken, want := range map[string]string{
		"kind: Rule\nname: r\nmax_affected: 0\nthen: deny\n":                 "expected a number from 1",
		"kind: Rule\nname: r\nmax_affected: 5\nthen: allow\n":                "it is deny",
		"kind: Rule\nname: r\nmax_affected: 5\nthen: deny\nmode: shadow\n":   "not in the shadow",
		"kind: Rule\nname: r\nmax_affected: 5\nuse: read-only\nthen: deny\n": "no meaning here",
		"kind: Rule\nname: r\nthen: deny\n":                                  "expected either when",
	} {
		if _, err := Parse("f.yaml", []byte(broken)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", broken, err, want)
		}
	}
	objects, err := Parse("f.yaml", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(objects[2].Render()); !strings.Contains(text, "max_affected: 1000") {
		t.Error(text)
	}
	// A protocol that counts no rows can't have such a rule.
	if _, err := NewSet(mustParse(t, "kind: Rule\nname: r\non: {types: [ssh]}\nmax_affected: 5\nthen: deny\n"), testOptions()); err == nil || !strings.Contains(err.Error(), "changes_rows") {
		t.Errorf("%v", err)
	}
}

func mustParse(t *testing.T, text string) []Object {
	t.Helper()
	objects, err := Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}
