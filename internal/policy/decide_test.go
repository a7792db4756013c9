package policy

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern"
)

// TestDefaultDeny: nothing is open unless an access says so, and whoever has
// none isn't told what there is.
func TestDefaultDeny(t *testing.T) {
	set := mustSet(t, ordersDB+engineersOpen)
	read := cmd(postern.Read, "select", table("public.orders"))
	stranger := asking(postern.Identity{Name: "mallory", Kind: postern.User})
	nowhere := asking(alice())
	nowhere.Resource = "no-such-db"
	for _, r := range []Request{stranger, nowhere} {
		check(t, set, r, "deny default-deny", read)
		o := set.Open(r)
		if o.Allowed || o.Visible || o.Rule != "default-deny" || strings.Contains(o.Reason, "orders") {
			t.Errorf("open: %+v", o)
		}
	}
	if a, b := set.Open(stranger), set.Open(nowhere); a != b {
		t.Errorf("a resource that isn't there is answered %+v, one that may not be seen %+v", b, a)
	}
	check(t, set, asking(alice()), "allow engineers", read)
	check(t, set, asking(alice()), "deny default-deny")
	check(t, new(Set), asking(alice()), "deny default-deny", read)
	if o := new(Set).Open(asking(alice())); o.Allowed || o.Visible {
		t.Errorf("the zero set opens: %+v", o)
	}
	if d := new(Set).Explain(asking(alice()), nil).Decision; d.Verdict != postern.Deny {
		t.Errorf("the zero set explains: %+v", d)
	}
}

const metricsReaders = ordersDB + `
kind: Access
name: readers
to: ["group:ci"]
on: {names: [orders-db]}
allow:
- {verbs: [select], objects: ["metrics.*", "function:public.safe_*"]}
- {verbs: [insert], objects: ["log.*"]}
---
`

func TestAllowLists(t *testing.T) {
	set := mustSet(t, metricsReaders)
	r := asking(postern.Identity{Name: "ci", Kind: postern.Service, Groups: []string{"ci"}})
	for _, c := range []struct {
		want string
		cmd  postern.Command
	}{
		{"allow readers", cmd(postern.Read, "select", table("metrics.daily"))},
		{"allow readers", cmd(postern.Read, "select", table("metrics.daily"), table("metrics.hourly"))},
		{"allow readers", cmd(postern.Read, "select", postern.Object{Kind: "column", Name: "metrics.daily.value"})},
		{"allow readers", cmd(postern.Read, "select", postern.Object{Kind: "view", Name: "metrics.daily"})},
		{"allow readers", cmd(postern.Read, "select")}, // SELECT 1
		{"allow readers", cmd(postern.Control, "begin")},
		{"allow readers", cmd(postern.Control, "set", postern.Object{Kind: "setting", Name: "timezone"})},
		{"allow readers", cmd(postern.Write, "insert", written("log.lines"))},
		{"allow readers", cmd(postern.Write, "insert select", written("log.lines"), table("metrics.daily"))},
		{"allow readers", cmd(postern.Write, "insert", written("log.lines"), table("metrics.daily"))}, // reads with a right to select
		{"allow readers", cmd(postern.Read, "select", table("metrics.daily"), postern.Object{Kind: "function", Name: "public.safe_sum"})},

		{"deny readers", cmd(postern.Read, "select", table("public.customers"))},
		{"deny readers", cmd(postern.Read, "select", table("metrics.daily"), table("public.customers"))},
		{"deny readers", cmd(postern.Read, "select", postern.Object{Kind: "column", Name: "public.customers.email"})},
		{"deny readers", cmd(postern.Read, "select", table("metrics"))},
		{"deny readers", cmd(postern.Read, "select", table("metrics.daily.x"))},
		{"deny readers", cmd(postern.Read, "select", table("metricsx.daily"))},
		{"deny readers", cmd(postern.Read, "select", table("xmetrics.daily"))},
		{"deny readers", cmd(postern.Read, "show")},
		{"deny readers", cmd(postern.Write, "delete", written("metrics.daily"))},
		{"deny readers", cmd(postern.Write, "delete select", written("metrics.daily"))},         // WITH d AS (DELETE …) SELECT
		{"deny readers", cmd(postern.Write, "insert", written("metrics.daily"))},                // insert is for log
		{"deny readers", cmd(postern.Write, "insert select", written("metrics.daily"))},         // though select is for metrics
		{"deny readers", cmd(postern.Write, "insert select", written("log.a"), table("log.b"))}, // log can't be read
		{"deny readers", cmd(postern.Write, "insert", written("log.lines"), table("public.t"))}, // nor what nobody allowed
		{"deny readers", cmd(postern.Read, "select", postern.Object{Kind: "function", Name: "public.wipe"})},
		{"deny readers", cmd(postern.Read, "select", postern.Object{Kind: "file", Name: "metrics.daily"})}, // another kind of that name
		{"deny readers", cmd(postern.Read, "select", postern.Object{Kind: "", Name: "metrics.daily"})},
		{"deny readers", cmd(postern.Write, "select", table("metrics.daily"))},    // a function that writes
		{"deny readers", cmd(postern.Admin, "select")},                            // SELECT pg_reload_conf()
		{"deny readers", cmd(postern.Write, "insert")},                            // into what?
		{"deny readers", cmd(postern.Control, "begin", written("metrics.daily"))}, // control doesn't write
		{"deny readers", cmd(postern.Control, "discard", table("public.t"))},
		{"deny readers", cmd(postern.Unknown, "select", table("metrics.daily"))},
	} {
		check(t, set, r, c.want, c.cmd)
	}
	d := set.Decide(r, []postern.Command{cmd(postern.Write, "delete", written("public.orders"))})
	if want := `"delete" isn't allowed here. Allowed is: select on metrics.*, function:public.safe_*; insert on log.*.`; d.Reason != want {
		t.Errorf("reason %q, want %q", d.Reason, want)
	}
	d = set.Decide(r, []postern.Command{cmd(postern.Read, "select", table("public.customers"))})
	if !strings.HasPrefix(d.Reason, `"select" on table "public.customers" isn't allowed here.`) {
		t.Errorf("reason %q", d.Reason)
	}
}

// TestOneAccessAllowsAllOfACommand: two accesses don't add up within one command.
func TestOneAccessAllowsAllOfACommand(t *testing.T) {
	set := mustSet(t, ordersDB+`
kind: Access
name: a
to: [everyone]
on: {names: [orders-db]}
allow: [{verbs: [select], objects: ["a.*"]}]
---
kind: Access
name: b
to: [everyone]
on: {names: [orders-db]}
allow: [{verbs: [select], objects: ["b.*"]}]
`)
	check(t, set, asking(alice()), "allow a", cmd(postern.Read, "select", table("a.x")))
	check(t, set, asking(alice()), "allow b", cmd(postern.Read, "select", table("b.x")))
	check(t, set, asking(alice()), "deny a", cmd(postern.Read, "select", table("a.x"), table("b.x")))
	check(t, set, asking(alice()), "allow a", cmd(postern.Read, "select", table("a.x")), cmd(postern.Read, "select", table("b.x")))
}

const restricted = ordersDB + engineersOpen

// TestUnknown: what isn't understood passes only where nothing restricts.
func TestUnknown(t *testing.T) {
	unknowns := []postern.Command{
		{},
		{Verb: "unknown", Verbs: []string{"unknown"}},
		{Verb: "unknown", Verbs: []string{"unknown"}, Access: postern.Read},
		{Verb: "select", Verbs: []string{"select", "unknown"}, Access: postern.Read},
		{Verb: "select", Verbs: []string{"select", "UNKNOWN"}, Access: postern.Read},
		{Verb: "select", Verbs: []string{"select"}, Access: postern.Unknown},
		{Verb: "select", Verbs: []string{"select"}, Access: 200},
		{Verb: "select", Access: postern.Read},
		{Verb: "", Verbs: []string{"select"}, Access: postern.Read},
		{Verb: "select", Verbs: []string{""}, Access: postern.Read},
		{Verb: "select", Verbs: []string{"select"}, Access: postern.Read, Problem: "syntax error at end of input"},
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing restricts", restricted, "allow engineers"},
		{"an allow list", metricsReaders, "deny readers"},
		{"a rule", restricted + "kind: Rule\nname: r\nwhen: 'false'\nthen: deny", "deny r"},
		{"a review", restricted + "kind: Rule\nname: r\nwhen: 'false'\nthen: review\nreview: {approvers: [everyone]}", "deny r"},
		{"a shipped rule", restricted + "kind: Rule\nname: r\nuse: no-truncate\nthen: deny", "deny r"},
		{"a mask", restricted + "kind: Mask\nname: m\ndetect: [email]", "deny m"},
		{"a rule that only allows", restricted + "kind: Rule\nname: r\nwhen: 'true'\nthen: allow", "allow r"},
		{"a rule on another resource", restricted + "kind: Rule\nname: r\non: {labels: {env: dev}}\nwhen: 'true'\nthen: deny", "allow engineers"},
		{"a rule for others", restricted + "kind: Rule\nname: r\nto: ['group:ci']\nwhen: 'true'\nthen: deny", "allow engineers"},
		{"a mask that exempts", restricted + "kind: Mask\nname: m\nexcept: ['group:engineering']\ndetect: [email]", "allow engineers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := mustSet(t, c.text)
			id := alice()
			if strings.Contains(c.text, "group:ci\"]\non") {
				id = postern.Identity{Name: "ci", Kind: postern.Service, Groups: []string{"ci"}}
			}
			for _, u := range unknowns {
				check(t, set, asking(id), c.want, u)
				// In one message with what is understood, the worst counts.
				check(t, set, asking(id), c.want, cmd(postern.Control, "begin"), u)
			}
		})
	}
	set := mustSet(t, restricted+"kind: Mask\nname: m\ndetect: [email]")
	d := set.Decide(asking(alice()), []postern.Command{{Problem: "a DO block"}})
	if want := "the command can't be understood (a DO block), and this mask restricts what may be done here. Write it in a simpler way."; d.Reason != want {
		t.Errorf("reason %q", d.Reason)
	}
}

// TestVerdicts: deny beats review beats allow, over rules and over commands.
func TestVerdicts(t *testing.T) {
	set := mustSet(t, restricted+`
kind: Rule
name: z-deny
when: command.verb in ["drop", "both"]
then: deny
message: No.
---
kind: Rule
name: a-review
when: command.verb in ["update", "both"]
then: review
review: {approvers: ["group:dba"]}
---
kind: Rule
name: m-allow
when: "true"
then: allow
`)
	r := asking(alice())
	read, update, drop, both := cmd(postern.Read, "select"), cmd(postern.Write, "update"), cmd(postern.Admin, "drop"), cmd(postern.Admin, "both")
	check(t, set, r, "allow m-allow", read)
	check(t, set, r, "review a-review", update)
	check(t, set, r, "deny z-deny", drop)
	check(t, set, r, "deny z-deny", both)
	check(t, set, r, "review a-review", read, update, read)
	check(t, set, r, "deny z-deny", read, update, drop, read)
	check(t, set, r, "deny z-deny", drop, update)
	d := check(t, set, r, "review a-review", update)
	if d.Review == nil || d.Review.Approvals != 1 || d.Review.Timeout != 15*time.Minute || d.Review.Approvers[0] != "group:dba" {
		t.Errorf("review terms: %+v", d.Review)
	}
	if d.Reason != "it has to be approved by group:dba." {
		t.Errorf("reason %q", d.Reason)
	}
	if d := set.Decide(r, []postern.Command{drop}); d.Review != nil {
		t.Errorf("a denial with review terms: %+v", d)
	}
}

// TestHeldTogether: a command is held only where every rule wants it, within the
// bounds of all.
func TestHeldTogether(t *testing.T) {
	review := func(name, terms string) string {
		return "---\nkind: Rule\nname: " + name + "\nwhen: command.verb == '" + name + "'\nthen: review\nreview: {approvers: [everyone]" + terms + "}\n"
	}
	set := mustSet(t, restricted+review("a", ", before: commit")+review("b", ", before: commit, hold: 30s, rows: 2000, sample: 0")+review("c", "")+review("d", ", before: run"))
	a, b, c, d := cmd(postern.Write, "a"), cmd(postern.Write, "b"), cmd(postern.Write, "c"), cmd(postern.Write, "d")
	for _, test := range []struct {
		cmds []postern.Command
		want *postern.CommitTerms
	}{
		{[]postern.Command{a}, &postern.CommitTerms{Hold: time.Minute, Rows: 1000, Sample: 5}},
		{[]postern.Command{a, b}, &postern.CommitTerms{Hold: 30 * time.Second, Rows: 1000, Sample: 0}},
		{[]postern.Command{b, a, b}, &postern.CommitTerms{Hold: 30 * time.Second, Rows: 1000, Sample: 0}},
		{[]postern.Command{c}, nil},
		{[]postern.Command{a, c}, nil},
		{[]postern.Command{d, a, b}, nil},
	} {
		got := set.Decide(asking(alice()), test.cmds)
		if got.Review == nil || (got.Review.Commit == nil) != (test.want == nil) || test.want != nil && *got.Review.Commit != *test.want {
			t.Errorf("decided %+v, want %+v", got.Review, test.want)
		}
	}
}

// TestReviewsTogether: one review stands for all that are asked for, or none does.
func TestReviewsTogether(t *testing.T) {
	review := func(name, verb, terms string) string {
		return "---\nkind: Rule\nname: " + name + "\nwhen: command.verb == '" + verb + "'\nthen: review\nreview: " + terms + "\n"
	}
	text := restricted +
		review("a", "a", "{approvers: ['group:dba', 'group:sec'], timeout: 10m}") +
		review("b", "b", "{approvers: ['group:sec', 'group:ops'], approvals: 2, timeout: 30m}") +
		review("c", "c", "{approvers: ['group:other']}") +
		review("d", "d", "{approvers: [everyone], approvals: 3}")
	set := mustSet(t, text)
	r := asking(alice())
	a, b, c, e := cmd(postern.Write, "a"), cmd(postern.Write, "b"), cmd(postern.Write, "c"), cmd(postern.Write, "d")
	for _, c := range []struct {
		cmds []postern.Command
		want postern.ReviewTerms
	}{
		{[]postern.Command{a}, postern.ReviewTerms{Approvers: []postern.Principal{"group:dba", "group:sec"}, Approvals: 1, Timeout: 10 * time.Minute}},
		{[]postern.Command{a, b}, postern.ReviewTerms{Approvers: []postern.Principal{"group:sec"}, Approvals: 2, Timeout: 10 * time.Minute}},
		{[]postern.Command{b, a}, postern.ReviewTerms{Approvers: []postern.Principal{"group:sec"}, Approvals: 2, Timeout: 10 * time.Minute}},
		{[]postern.Command{e, a}, postern.ReviewTerms{Approvers: []postern.Principal{"group:dba", "group:sec"}, Approvals: 3, Timeout: 10 * time.Minute}},
	} {
		d := set.Decide(r, c.cmds)
		if d.Verdict != postern.NeedsReview || d.Review == nil || d.Review.Approvals != c.want.Approvals || d.Review.Timeout != c.want.Timeout ||
			len(d.Review.Approvers) != len(c.want.Approvers) || d.Review.Approvers[0] != c.want.Approvers[0] {
			t.Errorf("decided %+v with %+v, want %+v", d, d.Review, c.want)
		}
	}
	d := check(t, set, r, "deny a", a, c)
	if !strings.Contains(d.Reason, `the rules "a" and "c" ask for approvals`) {
		t.Errorf("reason %q", d.Reason)
	}
	// Deciding didn't change the rules.
	if again := set.Decide(r, []postern.Command{a}); len(again.Review.Approvers) != 2 {
		t.Errorf("approvers of a are now %v", again.Review.Approvers)
	}
}

// TestRulesThatFail: a condition that can't be evaluated denies, and says
// nothing about the values.
func TestRulesThatFail(t *testing.T) {
	for _, when := range []string{
		`identity.claims.team == "x"`,
		`resource.labels["nothing"] == "x"`,
		`command.verbs[7] == "x"`,
		`int(command.text) > 1`,
		`timestamp(command.text) < now`,
		`command.text.matches(command.params[0])`,
		`now.getHours(command.verb) == 1`,
		`cidr(command.text).containsIP("10.0.0.1")`,
		`dyn(command).nothing == 1`, `1 / (size(command.params) - 1) == 0`,
		`postern.Object{kind: "table"} in command.objects`,
	} {
		for _, then := range []string{"deny", "allow", "review\nreview: {approvers: [everyone]}"} {
			set := mustSet(t, restricted+"kind: Rule\nname: r\nwhen: >-\n  "+when+"\nthen: "+then)
			c := cmd(postern.Read, "select", postern.Param{Value: []byte("((")})
			c.Text = "hunter2"
			d := check(t, set, asking(alice()), "deny r", c)
			if !strings.Contains(d.Reason, "could not be evaluated") || strings.Contains(d.Reason, "hunter2") {
				t.Errorf("%s: reason %q", when, d.Reason)
			}
		}
	}
}

// TestCost: a condition that would look at too much ends soon, and denies.
func TestCost(t *testing.T) {
	c := cmd(postern.Read, "select")
	for range 2000 {
		c.Objects = append(c.Objects, table("public.t"))
		c.Params = append(c.Params, postern.Param{Value: []byte(strings.Repeat("y", 500))})
	}
	c.Text = strings.Repeat("x", 1<<20)
	for _, when := range []string{
		`command.objects.exists(a, command.objects.exists(b, a.name + b.name == command.text))`,
		`command.objects.exists(a, command.text.contains(a.name + "q"))`,
		`command.objects.exists(a, size(command.text) == 3)`,
		`command.objects.exists(a, command.text.lowerAscii() == a.name)`,
		`command.objects.exists(a, command.text.matches(a.name + "q"))`,
		`command.objects.exists(a, a.name in command.params)`,
		`command.objects.map(a, command.text + a.name) == command.params`,
	} {
		set := mustSet(t, restricted+"kind: Rule\nname: r\nwhen: >-\n  "+when+"\nthen: deny")
		began := time.Now()
		d := check(t, set, asking(alice()), "deny r", c)
		if took := time.Since(began); took > 5*time.Second || !strings.Contains(d.Reason, "could not be evaluated") {
			t.Errorf("%s took %v, reason %q", when, took, d.Reason)
		}
	}
	// One look at a large text is not too much.
	set := mustSet(t, restricted+"kind: Rule\nname: r\nwhen: command.text.matches('(a|b)+c') || command.text.lowerAscii().contains('drop')\nthen: deny")
	check(t, set, asking(alice()), "allow engineers", c)
}

func TestConditions(t *testing.T) {
	c := cmd(postern.Write, "update select", written("public.orders"), table("public.users"),
		postern.BoolAttr("has_where", true), postern.StringsAttr("functions", []string{"pg_catalog.now"}),
		postern.Param{Value: []byte("42")}, postern.Param{Null: true}, postern.Param{Binary: true, Value: []byte{0xde, 0xad}})
	c.Text = "UPDATE orders SET x = 1 WHERE y"
	id := alice()
	id.Claims = postern.Claims{"repository": "acme/shop"}
	id.Actor = &postern.Identity{Name: "helper", Kind: postern.Workload, Groups: []string{"engineering"}}
	r := asking(id)
	r.Started = monday.Add(-time.Hour)
	for _, c2 := range []string{
		`command.protocol == "postgres" && command.verb == "update" && command.verbs == ["update", "select"]`,
		`command.access == "write" && "select" in command.verbs && size(command.objects) == 2`,
		`command.objects[0].kind == "table" && command.objects[0].write && !command.objects[1].write`,
		`command.objects.exists(o, o.name == "public.users") && command.objects.all(o, o.name.startsWith("public."))`,
		`command.objects.filter(o, o.write).map(o, o.name) == ["public.orders"]`,
		`command.text.contains("orders") && command.text.lowerAscii().startsWith("update") && " x ".trim() == "x" && "aB".upperAscii() == "AB"`,
		`command.params == ["42", "", "dead"]`,
		`command.has_where && has(command.has_where) && !command.multi && !has(command.multi)`,
		`"pg_catalog.now" in command.functions && command.predicate_columns == []`,
		`sets.intersects(command.verbs, ["delete", "update"])`,
		`identity.name == "alice" && identity.kind == "user" && "engineering" in identity.groups && identity.actor == "helper"`,
		`identity.claims.repository == "acme/shop" && "repository" in identity.claims && !has(identity.claims.other)`,
		`resource.name == "orders-db" && resource.type == "postgres" && resource.labels.env == "prod"`,
		`session.source_ip == "10.1.2.3" && session.client == "psql" && cidr("10.0.0.0/8").containsIP(session.source_ip)`,
		`now - session.started == duration("1h")`,
		`now.getHours("Europe/Berlin") == 11 && now.getHours("+02:00") == 12 && now.getHours() == 10 && now.getDayOfWeek("Europe/Berlin") == 1`,
		`now.getFullYear("UTC") == 2026 && now.getMonth("UTC") == 0 && now.getDate("UTC") == 5 && now.getDayOfMonth("UTC") == 4 && now.getDayOfYear("UTC") == 4`,
		`now.getMinutes("UTC") == 0 && now.getSeconds("UTC") == 0 && now.getMilliseconds("UTC") == 0 && duration("2h").getHours() == 2`,
		`dyn(command).verb == "update" && dyn(identity).name == "alice" && type(command) != type(identity)`,
		`command.objects[0] == command.objects[0] && command.objects[0] != command.objects[1]`,
	} {
		set := mustSet(t, restricted+"kind: Rule\nname: r\nwhen: >-\n  "+c2+"\nthen: deny")
		d := set.Decide(r, []postern.Command{c})
		if d.Rule != "r" || strings.Contains(d.Reason, "evaluated") {
			t.Errorf("%s: doesn't hold: %+v", c2, d)
		}
		set = mustSet(t, restricted+"kind: Rule\nname: r\nwhen: >-\n  !("+c2+")\nthen: deny")
		check(t, set, r, "allow engineers", c)
	}
	// What the analyser states of another kind than its protocol declared.
	set := mustSet(t, restricted+"kind: Rule\nname: r\nwhen: command.has_where\nthen: deny")
	d := check(t, set, r, "deny r", cmd(postern.Read, "select", postern.StringAttr("has_where", "no")))
	if !strings.Contains(d.Reason, "evaluated") {
		t.Errorf("reason %q", d.Reason)
	}
}

// TestActors: rights are the intersection, restrictions the union.
func TestActors(t *testing.T) {
	set := mustSet(t, ordersDB+`
kind: Access
name: engineers
to: ["group:engineering"]
on: {names: [orders-db]}
---
kind: Access
name: agents-read
to: ["workload:agent-*"]
on: {names: [orders-db]}
allow: [{verbs: [select]}]
max_session: 1h
---
kind: Mask
name: pii
except: ["group:engineering"]
detect: [email]
---
kind: Rule
name: agents-slowly
to: ["workload:*"]
when: command.text.contains("pg_sleep")
then: deny
`)
	alone, agent := alice(), postern.Identity{Name: "agent-7", Kind: postern.Workload}
	together := alice()
	together.Actor = &agent
	mallory := alice()
	mallory.Actor = &postern.Identity{Name: "mallory", Kind: postern.Workload}
	read, write := cmd(postern.Read, "select"), cmd(postern.Write, "insert", written("public.orders"))

	check(t, set, asking(alone), "allow engineers", write)
	check(t, set, asking(together), "deny agents-read", write)
	check(t, set, asking(mallory), "deny default-deny", read)
	d := check(t, set, asking(together), "allow engineers", read)
	if len(d.Masks) != 1 {
		t.Errorf("only the identity is exempt, and the mask doesn't bind: %+v", d)
	}
	if d := set.Decide(asking(alone), []postern.Command{read}); len(d.Masks) != 0 {
		t.Errorf("the exempt identity alone is masked: %+v", d)
	}
	sleep := read
	sleep.Text = "SELECT pg_sleep(1)"
	check(t, set, asking(alone), "allow engineers", sleep)
	check(t, set, asking(together), "deny agents-slowly", sleep)
	if o := set.Open(asking(together)); !o.Allowed || o.Access != "engineers" || !o.Until.Equal(monday.Add(time.Hour)) {
		t.Errorf("the actor's end doesn't count: %+v", o)
	}
	if o := set.Open(asking(mallory)); o.Allowed || o.Visible {
		t.Errorf("an actor without access sees: %+v", o)
	}
	// An actor of an actor counts too; a chain without end may do nothing.
	deep := alice()
	deep.Actor = &postern.Identity{Name: "agent-1", Kind: postern.Workload, Actor: &postern.Identity{Name: "mallory", Kind: postern.Workload}}
	check(t, set, asking(deep), "deny default-deny", read)
	circle := alice()
	circle.Actor = &postern.Identity{Name: "agent-1", Kind: postern.Workload}
	circle.Actor.Actor = circle.Actor
	check(t, set, asking(circle), "deny default-deny", read)
}

func TestOpen(t *testing.T) {
	set := mustSet(t, ordersDB+`
kind: Access
name: by-day
to: ["group:engineering"]
on: {names: [orders-db]}
within: {hours: "Mon-Fri 08:00-19:00 UTC", networks: [10.0.0.0/8, "2001:db8::/32"]}
max_session: 8h
---
kind: Access
name: short
to: ["user:alice"]
on: {names: [orders-db]}
max_session: 1h
within: {hours: "Mon 00:00-24:00"}
---
kind: Access
name: on-call
to: ["group:oncall"]
on: {names: [orders-db]}
request: {approvers: ["group:dba"]}
`)
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	bob := postern.Identity{Name: "bob", Kind: postern.User, Groups: []string{"engineering"}}
	eve := postern.Identity{Name: "eve", Kind: postern.User, Groups: []string{"engineering", "oncall"}}
	dan := postern.Identity{Name: "dan", Kind: postern.User, Groups: []string{"oncall"}}
	for _, c := range []struct {
		name         string
		id           postern.Identity
		source       string
		started, now string // Mondays
		want         Opening
	}{
		{"eight hours", bob, "10.1.2.3", "", "2026-01-05T09:00:00Z", Opening{Allowed: true, Access: "by-day", Until: at("2026-01-05T17:00:00Z"), Visible: true}},
		{"until the window ends", bob, "10.1.2.3", "", "2026-01-05T13:00:00Z", Opening{Allowed: true, Access: "by-day", Until: at("2026-01-05T19:00:00Z"), Visible: true}},
		{"from its start, when checked again", bob, "10.1.2.3", "2026-01-05T08:00:00Z", "2026-01-05T15:00:00Z", Opening{Allowed: true, Access: "by-day", Until: at("2026-01-05T16:00:00Z"), Visible: true}},
		{"longer than that", bob, "10.1.2.3", "2026-01-05T08:00:00Z", "2026-01-05T16:00:00Z", Opening{Rule: "by-day", Reason: "it lets a session last no longer than 8h; connect again.", Visible: true}},
		{"at night", bob, "10.1.2.3", "", "2026-01-05T19:00:00Z", Opening{Rule: "by-day", Reason: "it holds only Mon-Fri 08:00-19:00 UTC.", Visible: true}},
		{"from elsewhere", bob, "192.0.2.1", "", "2026-01-05T09:00:00Z", Opening{Rule: "by-day", Reason: "it isn't given from this network address; connect from one of its networks.", Visible: true}},
		{"IPv4 in IPv6", bob, "::ffff:10.1.2.3", "", "2026-01-05T13:00:00Z", Opening{Allowed: true, Access: "by-day", Until: at("2026-01-05T19:00:00Z"), Visible: true}},
		{"IPv6", bob, "2001:db8::1", "", "2026-01-05T13:00:00Z", Opening{Allowed: true, Access: "by-day", Until: at("2026-01-05T19:00:00Z"), Visible: true}},
		{"other IPv4 in IPv6", bob, "::ffff:192.0.2.1", "", "2026-01-05T13:00:00Z", Opening{Rule: "by-day", Reason: "it isn't given from this network address; connect from one of its networks.", Visible: true}},
		{"from nowhere", bob, "", "", "2026-01-05T13:00:00Z", Opening{Rule: "by-day", Reason: "it isn't given from this network address; connect from one of its networks.", Visible: true}},
		{"the longest of two", alice(), "10.1.2.3", "", "2026-01-05T09:00:00Z", Opening{Allowed: true, Access: "by-day", Until: at("2026-01-05T17:00:00Z"), Visible: true}},
		{"the other of two", alice(), "192.0.2.1", "", "2026-01-05T09:00:00Z", Opening{Allowed: true, Access: "short", Until: at("2026-01-05T10:00:00Z"), Visible: true}},
		{"only on request", dan, "10.1.2.3", "", "2026-01-05T09:00:00Z", Opening{Rule: "on-call", Reason: "it has to be requested first: `postern request orders-db`.", Visible: true, Request: "on-call"}},
		{"closed, and on request", eve, "10.1.2.3", "", "2026-01-05T23:00:00Z", Opening{Rule: "by-day", Reason: "it holds only Mon-Fri 08:00-19:00 UTC. It can be requested: `postern request orders-db`.", Visible: true, Request: "on-call"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Request{Identity: c.id, Resource: "orders-db", Now: at(c.now)}
			if c.source != "" {
				r.Source = netip.MustParseAddr(c.source)
			}
			if c.started != "" {
				r.Started = at(c.started)
			}
			got := set.Open(r)
			if !got.Until.Equal(c.want.Until) {
				t.Errorf("until %v, want %v", got.Until, c.want.Until)
			}
			got.Until, c.want.Until = time.Time{}, time.Time{}
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			d := set.Decide(r, []postern.Command{cmd(postern.Read, "select")})
			if (d.Verdict == postern.Allow) != got.Allowed || !got.Allowed && d.Reason != got.Reason {
				t.Errorf("opening and decision differ: %+v, %+v", got, d)
			}
		})
	}
	open := mustSet(t, restricted)
	if o := open.Open(asking(alice())); !o.Allowed || !o.Until.IsZero() {
		t.Errorf("an access without bounds: %+v", o)
	}
}

func TestMasksBind(t *testing.T) {
	set := mustSet(t, restricted+`
kind: Mask
name: b-all
detect: [email]
---
kind: Mask
name: a-engineers
to: ["group:engineering"]
columns: ["*.*.ssn"]
with: hash
---
kind: Mask
name: c-others
to: ["group:ci"]
detect: [phone]
---
kind: Mask
name: d-elsewhere
on: {labels: {env: "dev*"}}
detect: [phone]
`)
	for _, want := range []struct {
		verdict postern.Verdict
		cmd     postern.Command
	}{{postern.Allow, cmd(postern.Read, "select")}, {postern.Deny, postern.Command{}}} {
		d := set.Decide(asking(alice()), []postern.Command{want.cmd})
		if d.Verdict != want.verdict || len(d.Masks) != 2 || d.Masks[0].Name != "a-engineers" || d.Masks[0].With != postern.MaskHash ||
			d.Masks[1].Name != "b-all" || d.Masks[1].With != postern.MaskRedact {
			t.Errorf("%+v", d)
		}
	}
}

// TestManyGoroutines: a set is shared, and nothing in a decision is.
func TestManyGoroutines(t *testing.T) {
	set := mustSet(t, twenty())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				verb, want := "insert", "allow engineers"
				if (g+i)%2 == 0 {
					verb, want = "delete", "deny c0"
				}
				check(t, set, asking(alice()), want, cmd(postern.Write, verb, written("public.orders"), postern.BoolAttr("has_where", false)))
			}
		})
	}
	wg.Wait()
}
