package policy

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern"
)

func ruleText(on, when string) string {
	return ordersDB + "kind: Resource\nname: web-1\ntype: ssh\nlabels: {env: prod}\naddress: h:22\n---\nkind: Rule\nname: r\non: " + on + "\nwhen: " + when + "\nthen: deny\n"
}

// TestConditionMistakes: a condition that can't mean what it says isn't loaded.
func TestConditionMistakes(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"misspelt fact", ruleText("{types: [postgres]}", "'!command.has_were'"), `f.yaml:19: when: undefined field 'has_were'; did you mean "has_where"?`},
		{"misspelt fact, any protocol", ruleText("{labels: {env: prod}}", "'!command.has_were'"), `f.yaml:19: when: undefined field 'has_were'; did you mean "has_where"?`},
		{"misspelt variable", ruleText("{types: [postgres]}", "'comand.verb == \"x\"'"), `f.yaml:19: when: undeclared reference to 'comand' (did you mean 'command'?)`},
		{"misspelt field", ruleText("{types: [postgres]}", "'identity.gruops == []'"), `did you mean "groups"?`},
		{"another protocol's fact, by type", ruleText("{types: [postgres]}", "'command.recursive_delete'"), `f.yaml:19: when: undefined field 'recursive_delete'`},
		{"another protocol's fact, by name", ruleText("{names: [web-1]}", "'!command.has_where'"), `f.yaml:19: when: undefined field 'has_where'`},
		{"one of two types has no such fact", ruleText("{types: [postgres, ssh]}", "'!command.has_where'"), `(for ssh)`},
		{"not a yes or no", ruleText("{types: [postgres]}", "command.verb"), `the condition is of type string; expected one that is true or false`},
		{"of unknown type", ruleText("{types: [postgres]}", "dyn(command.verb)"), `the condition is of type dyn`},
		{"wrong types", ruleText("{types: [postgres]}", "'command.verb == 1'"), `f.yaml:19: when: found no matching overload for '_==_'`},
		{"syntax", ruleText("{types: [postgres]}", "'command.verb =='"), `f.yaml:19: when: Syntax error`},
		{"in its third line", ruleText("{types: [postgres]}", "|\n  command.verb == \"x\" &&\n  command.multi &&\n  command.txt == \"\""), `f.yaml:22: when: undefined field 'txt'; did you mean "text"?`},
		{"broken expression for texts", ruleText("{types: [postgres]}", "'command.text.matches(\"((\")'"), `invalid matches argument`},
		{"no such zone", ruleText("{types: [postgres]}", "'now.getHours(\"Europe/Berlln\") == 1'"), `f.yaml:19: when: "Europe/Berlln" is no time zone`},
		{"loops in loops in loops", ruleText("{types: [postgres]}", "'[1].exists(a, [1].exists(b, [1].exists(c, a == b && b == c)))'"), `nesting`},
		{"too long", ruleText("{types: [postgres]}", "'"+strings.Repeat("true && ", 2000)+"true'"), `size exceeds limit`},
		{"replace makes large texts", ruleText("{types: [postgres]}", "'command.text.replace(\"a\", command.text) == \"\"'"), `undeclared reference to 'replace'`},
		{"shipped rule misspelt", ordersDB + "kind: Rule\nname: r\nuse: no-drop-tables\nthen: deny", `f.yaml:12: use: "no-drop-tables" is no shipped rule; expected one of no-copy-program, no-ddl`},
		{"shipped rule for another protocol", ordersDB + "kind: Rule\nname: r\non: {names: [orders-db]}\nuse: no-recursive-delete\nthen: deny", `f.yaml:13: use: no-recursive-delete makes no sense for postgres`},
		{"protocol misspelt", "kind: Resource\nname: r\ntype: postgresql\naddress: h:1", `f.yaml:3: type: "postgresql" is no protocol of this gateway; expected one of postgres, mysql, ssh; did you mean "postgres"?`},
		{"type misspelt", ordersDB + "kind: Mask\nname: m\non: {types: [postgers]}\ndetect: [email]", `f.yaml:12: on.types[0]: "postgers" is no protocol of this gateway`},
		{"name that can't be", ordersDB + "kind: Mask\nname: m\non: {names: [\"orders?db\"]}\ndetect: [email]", `f.yaml:12: on.names[0]: "orders?db" can't be a resource's name`},
		{"detector misspelt", ordersDB + "kind: Mask\nname: m\ndetect:\n- email\n- phome", `f.yaml:14: detect[1]: "phome" is no detector; expected one of email, credit_card, iban, ssn, phone, ip, secret; did you mean "phone"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, err := Parse("f.yaml", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			set, err := NewSet(objects, testOptions())
			if err == nil {
				t.Fatal("it compiles")
			}
			if set != nil {
				t.Error("a set beside a mistake")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "f.yaml:") {
				t.Errorf("told:\n%v\nwant:\n%s", err, c.want)
			}
		})
	}
}

// TestRulesMeetTheirProtocols: a rule for all resources applies where it makes sense.
func TestRulesMeetTheirProtocols(t *testing.T) {
	set := mustSet(t, ruleText("{labels: {env: prod}}", "command.verb == 'delete' && !command.has_where")+`
---
kind: Access
name: all
to: [everyone]
on: {names: ["*"]}
---
kind: Rule
name: s
use: no-recursive-delete
then: deny
`)
	db, web := asking(alice()), asking(alice())
	web.Resource = "web-1"
	check(t, set, db, "deny r", cmd(postern.Write, "delete"))
	check(t, set, web, "allow all", cmd(postern.Write, "delete"))
	check(t, set, web, "deny s", cmd(postern.Write, "rm", postern.BoolAttr("recursive_delete", true)))
	check(t, set, db, "allow all", cmd(postern.Write, "rm", postern.BoolAttr("recursive_delete", true)))
	if w := set.Warnings(); len(w) != 0 {
		t.Errorf("warnings: %v", w)
	}
	set = mustSet(t, ordersDB+"kind: Rule\nname: r\non: {labels: {env: prod}}\nuse: no-recursive-delete\nthen: deny\n---\nkind: Mask\nname: m\non: {names: [order-db]}\ndetect: [email]\n")
	w := set.Warnings()
	if len(w) != 2 || !strings.Contains(w[0], "test.yaml:12: Rule r: on: the rule applies to none of the resources") ||
		!strings.Contains(w[1], `test.yaml:18: Mask m: on.names[0]: there is no resource "order-db"; did you mean "orders-db"?`) {
		t.Errorf("warnings: %q", w)
	}
}

func TestSelectors(t *testing.T) {
	r := &postern.Resource{Name: "orders-db", Type: "postgres", Labels: map[string]string{"env": "prod", "team": "payments"}}
	for _, c := range []struct {
		on   Selector
		want bool
	}{
		{Selector{}, true},
		{Selector{Names: []string{"orders-db"}}, true},
		{Selector{Names: []string{"x", "orders-*"}}, true},
		{Selector{Names: []string{"orders"}}, false},
		{Selector{Names: []string{"*"}, Types: []string{"mysql"}}, false},
		{Selector{Labels: map[string]string{"env": "prod", "team": "*"}}, true},
		{Selector{Labels: map[string]string{"env": "pro"}}, false},
		{Selector{Labels: map[string]string{"env": "prod", "region": "*"}}, false},
		{Selector{Names: []string{"orders-db"}, Labels: map[string]string{"env": "dev"}}, false},
		{Selector{Types: []string{"mysql", "postgres"}}, true},
	} {
		if got := c.on.picks(r); got != c.want {
			t.Errorf("%+v: %v", c.on, got)
		}
	}
}

// TestVersion: it is the same for the same objects in any order and any
// spelling, and another for every change.
func TestVersion(t *testing.T) {
	objects, err := Parse("f.yaml", []byte(everyKey), testOptions().Protocols...)
	if err != nil {
		t.Fatal(err)
	}
	version := func(objects []Object) string {
		t.Helper()
		set, err := NewSet(objects, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		return set.Version()
	}
	first := version(objects)
	reversed := slices.Clone(objects)
	slices.Reverse(reversed)
	if version(reversed) != first {
		t.Error("the order of objects counts")
	}
	respelt, err := Parse("other.yaml", []byte("# a comment\n"+strings.ReplaceAll(everyKey, "[orders-db]", `["orders-db"]`)), testOptions().Protocols...)
	if err != nil {
		t.Fatal(err)
	}
	if version(respelt) != first {
		t.Error("spelling and place count")
	}
	if len(first) != 64 {
		t.Errorf("version %q", first)
	}
	seen := map[string]string{first: "nothing"}
	for _, change := range []struct{ from, to string }{
		{"env: prod", "env: dev"},
		{"server_name: db.example", "server_name: x"},
		{"{env: A}", "{env: B}"},
		{"rows: 7", "rows: 8"},
		{"via: dc1", "via: dc2"},
		{"user:x", "user:z"},
		{"metrics.*", "metrics.a*"},
		{"12:30", "12:31"},
		{"90m", "91m"},
		{"uptime; true", "uptime"},
		{"max: 2d", "max: 3d"},
		{"approvals: 2, max", "approvals: 3, max"},
		{"except: [\"group:dba\"]\nwhen", "except: [\"group:dbx\"]\nwhen"},
		{"!command.has_where", "command.has_where"},
		{"One line", "Two line"},
		{"timeout: 5m", "timeout: 6m"},
		{"before: commit, hold: 90s, rows: 17, sample: 0", "before: run"},
		{"hold: 90s", "hold: 91s"},
		{"rows: 17", "rows: 18"},
		{"sample: 0", "sample: 1"},
		{"use: read-only", "use: no-ddl"},
		{"with: null", "with: hash"},
		{"detect: [email, ssn]", "detect: [email]"},
		{"card_number", "card_no"},
		{"disabled: true", "disabled: false"},
		{"- {verbs: [\"*\"]}\n", ""},
	} {
		text := strings.Replace(everyKey, change.from, change.to, 1)
		if text == everyKey {
			t.Fatalf("%q isn't there", change.from)
		}
		changed, err := Parse("f.yaml", []byte(text), testOptions().Protocols...)
		if err != nil {
			t.Fatal(err)
		}
		v := version(changed)
		if other, twice := seen[v]; twice {
			t.Errorf("changing %q gives the version of %q", change.from, other)
		}
		seen[v] = change.from
		if changes := Diff(objects, changed); len(changes) != 1 || changes[0].Action != ActionChange {
			t.Errorf("changing %q is the difference %+v", change.from, changes)
		}
	}
	if v := version(objects[:len(objects)-1]); seen[v] != "" {
		t.Error("an object less gives the version of " + seen[v])
	}
}

func TestDiff(t *testing.T) {
	parse := func(file, text string) []Object {
		t.Helper()
		objects, err := Parse(file, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return objects
	}
	was := parse("a.yaml", "kind: Mask\nname: a\ndetect: [email]\n---\nkind: Mask\nname: b\ndetect: [email]\n---\nkind: Mask\nname: c\ndetect: [email]\n")
	is := parse("b.yaml", "kind: Mask\nname: d\ndetect: [email]\n---\nkind: Mask\nname: b\ndetect: [email, ssn]\n---\nkind: Mask\nname: c\n# same\ndetect: ['email']\n")
	changes := Diff(was, is)
	if len(changes) != 3 {
		t.Fatalf("changes: %+v", changes)
	}
	for i, want := range []Change{
		{Action: ActionDelete, Kind: KindMask, Name: "a", Source: "a.yaml", Diff: "-detect: [email]"},
		{Action: ActionChange, Kind: KindMask, Name: "b", Source: "b.yaml", Diff: "-detect: [email]\n+detect: [email, ssn]\n"},
		{Action: ActionCreate, Kind: KindMask, Name: "d", Source: "b.yaml", Diff: "+name: d"},
	} {
		got := changes[i]
		if !strings.Contains(got.Diff, want.Diff) {
			t.Errorf("diff:\n%s\nlacks:\n%s", got.Diff, want.Diff)
		}
		got.Diff, want.Diff = "", ""
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if changes := Diff(is, is); len(changes) != 0 {
		t.Errorf("differences from itself: %+v", changes)
	}
}

func TestExplain(t *testing.T) {
	set := mustSet(t, metricsReaders+`
kind: Access
name: on-call
to: ["group:ci"]
on: {names: [orders-db]}
request: {approvers: ["group:dba"]}
---
kind: Rule
name: a-never
when: command.verb == "never"
then: deny
---
kind: Rule
name: b-fails
when: identity.claims.nothing == ""
then: deny
---
kind: Rule
name: c-denies
use: read-only
then: deny
---
kind: Rule
name: d-others
to: ["group:dba"]
use: read-only
then: deny
---
kind: Mask
name: m
detect: [email]
`)
	r := asking(postern.Identity{Name: "ci", Kind: postern.Service, Groups: []string{"ci"}})
	cmds := []postern.Command{cmd(postern.Read, "select", table("metrics.x")), cmd(postern.Write, "insert", written("log.x"))}
	e := set.Explain(r, cmds)
	if d := set.Decide(r, cmds); e.Decision.Verdict != d.Verdict || e.Decision.Rule != d.Rule || e.Decision.Reason != d.Reason || e.Decision.Policy != d.Policy {
		t.Errorf("explained %+v, decided %+v", e.Decision, d)
	}
	if !e.Opening.Allowed || e.Opening.Access != "readers" {
		t.Errorf("opening: %+v", e.Opening)
	}
	var got []string
	for _, s := range e.Steps {
		applies := "-"
		if s.Applies {
			applies = "+"
		}
		got = append(got, strings.Join([]string{applies, s.Kind, s.Name, []string{"all", "0", "1"}[s.Command+1], s.Outcome}, " "))
	}
	want := []string{
		"- Access on-call all it has to be requested first",
		"+ Access readers all it opens the resource",
		"- Rule d-others all it isn't about this identity",
		"+ Mask m all it binds: redact",
		"+ Access readers 0 it allows the command",
		"- Rule a-never 0 it doesn't match",
		"+ Rule b-fails 0 it could not be evaluated, and so denies",
		"- Rule c-denies 0 it doesn't match",
		"+ Access readers 1 it allows the command",
		"- Rule a-never 1 it doesn't match",
		"+ Rule b-fails 1 it could not be evaluated, and so denies",
		"+ Rule c-denies 1 it matches: deny",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if e.Steps[0].Source != "test.yaml:20" {
		t.Errorf("source %q", e.Steps[0].Source)
	}
	e = set.Explain(asking(alice()), cmds)
	if e.Decision.Verdict != postern.Deny || e.Opening.Visible || len(e.Steps) != 2 || e.Steps[0].Outcome != "it isn't for this identity" {
		t.Errorf("a stranger: %+v", e)
	}
}

func TestReach(t *testing.T) {
	set := mustSet(t, ordersDB+`
kind: Resource
name: metrics-db
type: postgres
address: h:1
---
kind: Resource
name: hidden-db
type: postgres
address: h:1
---
kind: Access
name: open
to: ["group:engineering"]
on: {names: [orders-db]}
within: {networks: [192.0.2.0/24]}
max_session: 1h
---
kind: Access
name: some
to: ["user:alice"]
on: {names: ["metrics-*"]}
allow: [{verbs: [select, insert]}, {verbs: [select, explain]}]
within: {hours: "Tue 00:00-24:00"}
---
kind: Access
name: asked
to: ["user:alice"]
on: {names: ["metrics-db"]}
allow: [{verbs: [delete]}]
request: {approvers: ["group:dba"]}
`)
	got := set.Reach(alice(), monday)
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	m, o := got[0], got[1]
	if m.Resource.Name != "metrics-db" || m.Open || !m.Requestable || !slices.Equal(m.Access, []string{"asked", "some"}) ||
		!slices.Equal(m.Verbs, []string{"delete", "explain", "insert", "select"}) || m.Closed != "it holds only Tue 00:00-24:00 UTC. It can be requested: `postern request metrics-db`." {
		t.Errorf("%+v", m)
	}
	if o.Resource.Name != "orders-db" || !o.Open || o.Requestable || o.Verbs != nil || !o.Until.Equal(monday.Add(time.Hour)) || o.Closed != "" {
		t.Errorf("%+v", o)
	}
	agent := alice()
	agent.Actor = &postern.Identity{Name: "x", Kind: postern.Workload}
	if got := set.Reach(agent, monday); len(got) != 0 {
		t.Errorf("an actor without access reaches %+v", got)
	}
	if all := set.Resources(); len(all) != 3 || all[0].Name != "hidden-db" {
		t.Errorf("resources: %+v", all)
	}
	if r, ok := set.Resource("orders-db"); !ok || r.RecordRows != 100 || r.Addresses[0] != "10.0.0.5:5432" || r.Credentials.Password.Env != "ORDERS_DB_PASSWORD" {
		t.Errorf("resource: %+v %v", r, ok)
	}
	if _, ok := set.Resource("x"); ok {
		t.Error("a resource that isn't there is found")
	}
}

func TestPolicyTests(t *testing.T) {
	set := mustSet(t, restricted+"kind: Rule\nname: r\nuse: no-truncate\nthen: deny")
	tests, err := ParseTests("t.yaml", []byte(`
cases:
- {as: alice, groups: [engineering], resource: orders-db, command: SELECT 1, expect: allow}
- name: no truncate
  as: alice
  groups: [engineering]
  resource: orders-db
  command: TRUNCATE orders
  expect: deny
  rule: r
- {as: "service:ci", resource: orders-db, command: SELECT 1, expect: allow}
- {as: alice, groups: [engineering], resource: orders-db, command: TRUNCATE orders, expect: deny, rule: other}
- {as: alice, resource: other-db, command: SELECT 1, expect: deny}
- {as: alice, groups: [engineering], actor: "workload:agent", actor_groups: [engineering], claims: {a: b}, source: 10.0.0.1, at: 2026-01-05T09:00:00Z, resource: orders-db, command: SELECT 1, expect: allow}
`))
	if err != nil {
		t.Fatal(err)
	}
	analyse := func(resource postern.Resource, text string) []postern.Command {
		typ := resource.Type
		if typ != "postgres" {
			t.Errorf("type %q", typ)
		}
		verb, _, _ := strings.Cut(strings.ToLower(text), " ")
		return []postern.Command{cmd(postern.Read, verb)}
	}
	var got []string
	for _, r := range tests.Run(set, monday, analyse) {
		if r.Passed != (r.Problem == "") {
			t.Errorf("%+v", r)
		}
		got = append(got, r.Problem)
	}
	want := []string{
		"", "",
		`expected allow, decided deny by "default-deny": no access allows it. See ` + "`postern ls` for what you can reach and what you can request.",
		`expected "other" to decide, it was "r"`,
		`there is no resource "other-db"`,
		"",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if c := tests.Cases[5]; c.Identity.Actor == nil || c.Identity.Actor.Kind != postern.Workload || c.Identity.Claims["a"] != "b" || !c.Source.IsValid() || c.At.IsZero() || c.Line != 14 {
		t.Errorf("%+v", c)
	}
	for text, want := range map[string]string{
		"":                      "t.yaml:1: there are no cases",
		"cases: []":             "t.yaml:1: cases: the list is empty",
		"cases:\n- {as: alice}": "t.yaml:2: cases[0].resource: is missing",
		"cases:\n- {as: a, resource: r, command: c, expect: no}":              "t.yaml:2: cases[0].expect: expected one of allow, deny, review",
		"cases:\n- {as: a, resource: r, command: c, expect: deny, ruel: x}":   `unknown key "ruel"; did you mean "rule"?`,
		"cases:\n- {as: a, resource: r, command: c, expect: deny, at: today}": "cases[0].at: expected a time like",
	} {
		if _, err := ParseTests("t.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: told %v, want %s", text, err, want)
		}
	}
}
