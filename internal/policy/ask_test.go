package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"postern"
)

const onRequest = ordersDB + `
kind: Access
name: reads
to: ["group:engineering"]
on: {names: [orders-db]}
allow: [{verbs: [select], objects: ["public.*"]}]
---
kind: Access
name: on-call
to: ["group:engineering", "workload:bot"]
on: {names: [orders-db]}
request: {approvers: ["group:dba"], approvals: 2, max: 4h, when: 'request.ticket.matches("^OPS-[0-9]+$")', message: "Name the OPS ticket."}
---
kind: Access
name: fixes
to: ["group:engineering"]
on: {names: [orders-db]}
allow: [{verbs: [update, select], objects: ["public.*"]}, {verbs: [delete], objects: ["public.jobs"]}]
request: {approvers: ["group:dba"]}
---
kind: Access
name: emergency
to: ["group:engineering"]
on: {names: [orders-db]}
break_glass: {reviewers: ["group:security"], max: 1h}
---
kind: Rule
name: no-drop
when: command.verb == "drop"
then: deny
---
`

func grantOf(s *Set, access string, verbs ...string) postern.Grant {
	return postern.Grant{
		Request: "rq_1", Access: access, Terms: s.Terms("orders-db", access), Resource: "orders-db", By: alice().Beings(), Verbs: verbs,
		From: monday.Add(-time.Hour), Until: monday.Add(time.Hour),
	}
}

func granted(gs ...postern.Grant) Request {
	r := asking(alice())
	r.Grants = gs
	return r
}

// A grant gives what its access allows, narrowed to its verbs, and no rule less.
func TestGrant(t *testing.T) {
	set := mustSet(t, onRequest)
	update, del := cmd(postern.Write, "update", written("public.orders")), cmd(postern.Write, "delete", written("public.orders"))
	drop, sel := cmd(postern.Admin, "drop", written("public.orders")), cmd(postern.Read, "select", table("public.orders"))
	d := check(t, set, asking(alice()), "deny reads", update)
	if d.Request != "fixes" && d.Request != "on-call" || !strings.Contains(d.Reason, "`postern request orders-db`") {
		t.Errorf("the refusal doesn't say how to ask: %+v", d)
	}
	all := granted(grantOf(set, "on-call"))
	check(t, set, all, "allow on-call", update)
	check(t, set, all, "allow on-call", del)
	check(t, set, all, "deny no-drop", drop)
	one := granted(grantOf(set, "on-call", "update"))
	check(t, set, one, "allow on-call", update)
	check(t, set, one, "allow reads", sel)
	check(t, set, one, "deny on-call", del)
	// A change that no verb names isn't covered by a list of verbs.
	check(t, set, one, "deny on-call", cmd(postern.Write, "select", postern.Object{Kind: "function", Name: "public.f"}))
	fix := granted(grantOf(set, "fixes", "update", "delete"))
	check(t, set, fix, "allow fixes", update)
	check(t, set, fix, "deny fixes", del) // delete is for jobs alone
	check(t, set, fix, "allow fixes", cmd(postern.Write, "delete", written("public.jobs")))
	if o := set.Open(all); !o.Allowed || o.Access != "reads" || !o.Until.IsZero() {
		t.Errorf("the standing right lasts longer: %+v", o)
	}
}

// A grant is worth nothing to anybody else, elsewhere, at another time, under
// another actor, for another version of its access, or once taken back.
func TestGrantDoesntFit(t *testing.T) {
	set := mustSet(t, onRequest)
	other := mustSet(t, strings.Replace(onRequest, "max: 4h", "max: 5h", 1))
	update := cmd(postern.Write, "update", written("public.orders"))
	bot := postern.Identity{Name: "bot", Kind: postern.Workload}
	through := alice()
	through.Actor = &bot
	for name, change := range map[string]func(*postern.Grant){
		"another's":     func(g *postern.Grant) { g.By = []postern.Being{{Kind: postern.User, Name: "bob"}} },
		"of a namesake": func(g *postern.Grant) { g.By = []postern.Being{{Kind: postern.Service, Name: "alice"}} },
		"of another issuer": func(g *postern.Grant) {
			g.By = []postern.Being{{Kind: postern.User, Name: "alice", Subject: "https://idp|7"}}
		},
		"through an actor":   func(g *postern.Grant) { g.By = through.Beings() },
		"of nobody":          func(g *postern.Grant) { g.By = nil },
		"elsewhere":          func(g *postern.Grant) { g.Resource = "metrics-db" },
		"ended":              func(g *postern.Grant) { g.Until = monday },
		"not begun":          func(g *postern.Grant) { g.From = monday.Add(time.Second) },
		"revoked":            func(g *postern.Grant) { g.RevokedAt = monday.Add(-time.Minute) },
		"of a standing one":  func(g *postern.Grant) { g.Access = "reads" },
		"of no access":       func(g *postern.Grant) { g.Access = "gone" },
		"of another version": func(g *postern.Grant) { g.Terms = other.Terms("orders-db", "on-call") },
		"without a version":  func(g *postern.Grant) { g.Terms = "" },
		"of other verbs":     func(g *postern.Grant) { g.Verbs = []string{"insert"} },
		"of any verb":        func(g *postern.Grant) { g.Verbs = []string{"*"} },
	} {
		t.Run(name, func(t *testing.T) {
			g := grantOf(set, "on-call")
			change(&g)
			if d := set.Decide(granted(g), []postern.Command{update}); d.Verdict != postern.Deny {
				t.Errorf("%+v", d)
			}
		})
	}
	r := granted(grantOf(set, "on-call"))
	r.Identity = through
	check(t, set, r, "deny fixes", update)
	g := grantOf(set, "on-call")
	g.By = through.Beings()
	r.Grants = []postern.Grant{g}
	check(t, set, r, "allow on-call", update)
}

func TestGrantEndsSession(t *testing.T) {
	set := mustSet(t, strings.Replace(onRequest, `to: ["group:engineering"]`, `to: ["group:others"]`, 1))
	g := grantOf(set, "on-call")
	if o := set.Open(granted(g)); !o.Allowed || o.Grant != "rq_1" || !o.Until.Equal(g.Until) {
		t.Errorf("%+v", o)
	}
	longer := g
	longer.Request, longer.Until = "rq_2", g.Until.Add(time.Hour)
	if o := set.Open(granted(g, longer)); !o.Until.Equal(longer.Until) || o.Grant != "rq_2" {
		t.Errorf("%+v", o)
	}
	reach := set.Reach(alice(), monday, g)
	if len(reach) != 1 || !reach[0].Open || !reach[0].Until.Equal(g.Until) {
		t.Errorf("%+v", reach)
	}
	if o := set.Open(asking(alice())); o.Allowed || o.Request != "fixes" && o.Request != "on-call" {
		t.Errorf("%+v", o)
	}
}

func TestAsk(t *testing.T) {
	set := mustSet(t, onRequest)
	ask := func(change func(*Asking)) (Terms, error) {
		a := Asking{Identity: alice(), Resource: "orders-db", Reason: "the queue is stuck", Ticket: "OPS-7", Now: monday}
		change(&a)
		return set.Ask(a)
	}
	terms, err := ask(func(a *Asking) { a.Access = "on-call"; a.For = 3 * time.Hour })
	if err != nil || terms.Approvals != 2 || terms.For != 3*time.Hour || terms.Digest != set.Terms("orders-db", "on-call") || terms.Digest == "" ||
		!slices.Equal(terms.Approvers, []postern.Principal{"group:dba"}) || terms.Timeout != 24*time.Hour {
		t.Errorf("%+v, %v", terms, err)
	}
	if terms, err = ask(func(a *Asking) { a.Verbs = []string{"delete"}; a.Ticket = "" }); err != nil || terms.Access != "fixes" || terms.For != time.Hour {
		t.Errorf("%+v, %v", terms, err)
	}
	if terms, err = ask(func(a *Asking) { a.BreakGlass = true }); err != nil || terms.Access != "emergency" || terms.Approvals != 0 {
		t.Errorf("%+v, %v", terms, err)
	}
	stranger := postern.Identity{Name: "mallory", Kind: postern.User}
	for name, c := range map[string]struct {
		change func(*Asking)
		says   string
	}{
		"several ways":       {func(*Asking) {}, "--access: fixes, on-call"},
		"too long":           {func(a *Asking) { a.For = 5 * time.Hour; a.Access = "on-call" }, "at most 4h"},
		"ticket":             {func(a *Asking) { a.Ticket = "HR-1"; a.Access = "on-call" }, "Name the OPS ticket."},
		"ticket hidden":      {func(a *Asking) { a.Ticket = "x\nOPS-7"; a.Access = "on-call" }, "Name the OPS ticket."},
		"verb":               {func(a *Asking) { a.Verbs = []string{"drop"}; a.Access = "fixes" }, "doesn't allow all of drop"},
		"any verb":           {func(a *Asking) { a.Verbs = []string{"*"}; a.Access = "fixes" }, "doesn't allow all of *"},
		"any verb of any":    {func(a *Asking) { a.Verbs = []string{"*"}; a.Access = "on-call" }, "doesn't allow all of *"},
		"standing":           {func(a *Asking) { a.Access = "reads" }, `no access "reads"`},
		"emergency by name":  {func(a *Asking) { a.Access = "emergency" }, `no access "emergency"`},
		"request by glass":   {func(a *Asking) { a.Access = "fixes"; a.BreakGlass = true }, `no access "fixes"`},
		"no such resource":   {func(a *Asking) { a.Resource = "nothing" }, "there is no resource of that name"},
		"hidden resource":    {func(a *Asking) { a.Identity = stranger }, "there is no resource of that name"},
		"actor without":      {func(a *Asking) { a.Identity.Actor = &stranger }, "there is no resource of that name"},
		"actor of one's own": {func(a *Asking) { a.Identity = stranger; id := alice(); a.Identity.Actor = &id }, "there is no resource of that name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ask(c.change)
			var refused *AskError
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if hidden := strings.Contains(c.says, "there is no resource"); refused != nil && refused.Hidden != hidden {
				t.Errorf("hidden: %v", refused.Hidden)
			}
		})
	}
}

func TestAskMistakes(t *testing.T) {
	for text, says := range map[string]string{
		`request: {approvers: ["group:dba"], when: 'request.tiket == ""'}`:                `undefined field 'tiket'; did you mean "ticket"?`,
		`request: {approvers: ["group:dba"], when: 'command.verb == ""'}`:                 "undeclared reference to 'command'",
		`request: {approvers: ["group:dba"], when: 'request.reason'}`:                     "expected one that is true or false",
		`request: {approvers: ["group:dba"], max: 60d}`:                                   "at most 30d",
		`request: {approvers: ["group:dba"], timeout: 8d}`:                                "at most 7d",
		`break_glass: {approvals: 1, reviewers: ["group:a"]}`:                             "who may be the second person",
		`break_glass: {max: 1h}`:                                                          "who looks at it afterwards",
		"request: {approvers: [everyone]}\nbreak_glass: {reviewers: [everyone]}":          "make two of it",
		`request: {approvers: ["group:dba"], reviewers: ["group:dba"]}`:                   "reviewers",
		"request: {approvers: [\"group:dba\"], when: 'request.reason.size() > 5 && now'}": "expected type 'bool'",
	} {
		objects, err := Parse("a.yaml", []byte("kind: Access\nname: a\nto: [everyone]\non: {names: [\"*\"]}\n"+text+"\n"))
		if err == nil {
			_, err = NewSet(objects, testOptions())
		}
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "a.yaml:") {
			t.Errorf("%s: got %v, want %q", text, err, says)
		}
	}
}

// A rule in shadow mode says what it would have done, and does nothing.
func TestShadow(t *testing.T) {
	const rules = ordersDB + engineersOpen + `
kind: Rule
name: no-drop
when: command.verb == "drop"
then: deny
mode: shadow
message: "Later."
---
kind: Rule
name: updates
when: command.verb in ["update", "drop"]
then: review
mode: shadow
review: {approvers: ["group:dba"]}
---
kind: Rule
name: broken
when: identity.claims["team"] == "x" || command.verb == "insert"
then: deny
mode: shadow
to: ["group:odd"]
---
`
	set := mustSet(t, rules)
	r := asking(alice())
	shadows := func(d postern.Decision) string {
		var all []string
		for _, s := range d.Shadow {
			all = append(all, s.Verdict.String()+" "+s.Rule)
		}
		return strings.Join(all, ", ")
	}
	for want, c := range map[string]postern.Command{
		"":                             cmd(postern.Read, "select"),
		"review updates":               cmd(postern.Write, "update"),
		"deny no-drop, review updates": cmd(postern.Admin, "drop"),
	} {
		if got := shadows(check(t, set, r, "allow engineers", c)); got != want {
			t.Errorf("%s: got %q, want %q", c.Verb, got, want)
		}
	}
	// What can't be understood passes where only shadows would restrict it.
	got := shadows(check(t, set, r, "allow engineers", postern.Command{Verb: postern.VerbUnknown, Verbs: []string{postern.VerbUnknown}}))
	if got != "deny no-drop, deny updates" {
		t.Errorf("got %q", got)
	}
	odd := alice()
	odd.Groups = append(slices.Clone(odd.Groups), "odd")
	if got := shadows(check(t, set, asking(odd), "allow engineers", cmd(postern.Read, "select"))); got != "deny broken" {
		t.Errorf("a rule that fails: got %q", got)
	}
	// What is denied or reviewed anyway isn't the shadow's merit.
	enforced := mustSet(t, rules+"kind: Rule\nname: a-real-one\nwhen: command.verb == \"drop\"\nthen: review\nreview: {approvers: [\"group:dba\"]}\n")
	if got := shadows(check(t, enforced, r, "review a-real-one", cmd(postern.Admin, "drop"))); got != "deny no-drop" {
		t.Errorf("got %q", got)
	}
	rerendered(t, set.Objects()[2])
	explained := set.Explain(r, []postern.Command{cmd(postern.Admin, "drop")})
	if !slices.ContainsFunc(explained.Steps, func(s Step) bool {
		return s.Name == "no-drop" && !s.Applies && s.Outcome == "it is in shadow mode, and would have matched: deny"
	}) {
		t.Errorf("%+v", explained.Steps)
	}
}

func TestAskRendered(t *testing.T) {
	for _, o := range mustSet(t, onRequest).Objects() {
		rerendered(t, o)
	}
}
