package policy

import (
	"testing"
	"time"

	"postern"
)

// TestDecideLasting: a decision is said to last only when nothing that may
// change until then was looked at.
func TestDecideLasting(t *testing.T) {
	rule := func(when string) string {
		return ordersDB + engineersOpen + "kind: Rule\nname: r\non: {names: [orders-db]}\nwhen: '" + when + "'\nthen: deny\n"
	}
	access := func(extra string) string {
		return ordersDB + "kind: Access\nname: a\nto: [\"group:engineering\"]\non: {names: [orders-db]}\n" + extra
	}
	end := monday.Add(8 * time.Hour)
	for _, c := range []struct {
		name, objects string
		lasting       bool
		until         time.Time
	}{
		{"an access alone", ordersDB + engineersOpen, true, time.Time{}},
		{"what it does", rule(`command.verb == "drop" || command.objects.exists(o, o.name == "x")`), true, time.Time{}},
		{"a fact", rule(`!command.has_limit && "f" in command.functions`), true, time.Time{}},
		{"who asks, from where", rule(`identity.name == "bob" || session.client == "curl"`), true, time.Time{}},
		{"its text", rule(`command.text.contains("drop")`), false, time.Time{}},
		{"its text in a list", rule(`["x"].exists(w, command.text == w)`), false, time.Time{}},
		{"its text as a list's range", rule(`[command.text].exists(w, w == "x")`), false, time.Time{}},
		{"its text by a choice", rule(`(true ? command.text : "") == "x"`), false, time.Time{}},
		{"its text within has", rule(`has(command.text) && command.text == "x"`), false, time.Time{}},
		{"its parameters", rule(`command.params.exists(p, p == "x")`), false, time.Time{}},
		{"how many parameters", rule(`size(command.params) > 3`), false, time.Time{}},
		{"it as a whole", rule(`[command].exists(c, c.verb == "drop")`), false, time.Time{}},
		{"the time", rule(`now > timestamp("2030-01-01T00:00:00Z")`), false, time.Time{}},
		{"the hour", rule(`now.getHours() > 22`), false, time.Time{}},
		{"how long it has been open", rule(`now - session.started > duration("3h")`), false, time.Time{}},
		{"when it was opened", rule(`session.started > timestamp("2030-01-01T00:00:00Z")`), true, time.Time{}},
		{"the text, for somebody else", ordersDB + engineersOpen + "kind: Rule\nname: r\nto: [\"user:bob\"]\non: {names: [orders-db]}\nwhen: command.text == \"x\"\nthen: deny\n", true, time.Time{}},
		{"a shipped rule", ordersDB + engineersOpen + "kind: Rule\nname: r\non: {names: [orders-db]}\nuse: no-drop-table\nthen: deny\n", true, time.Time{}},
		{"a rule in shadow mode", ordersDB + engineersOpen + "kind: Rule\nname: r\non: {names: [orders-db]}\nwhen: command.verb == \"select\"\nthen: deny\nmode: shadow\n", false, time.Time{}},
		{"a session's length", access("max_session: 8h\n"), true, end},
		{"hours", access("within: {hours: \"Mon-Sun 00:00-24:00\"}\n"), false, time.Time{}},
		{"a network", access("within: {networks: [10.0.0.0/8]}\n"), true, time.Time{}},
		{"a second access to be requested", ordersDB + engineersOpen + "kind: Access\nname: b\nto: [\"group:engineering\"]\non: {names: [orders-db]}\nrequest: {approvers: [\"user:bob\"]}\n", true, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, r := mustSet(t, c.objects), asking(alice())
			one := cmd(postern.Read, "select", table("public.orders"), postern.BoolAttr("has_limit", true))
			d, until, lasting := set.DecideLasting(r, one)
			if d.Verdict != postern.Allow {
				t.Fatalf("it isn't allowed: %+v", d)
			}
			if lasting != c.lasting || !until.Equal(c.until) {
				t.Errorf("lasting: %t, until %v; want %t, %v", lasting, until, c.lasting, c.until)
			}
		})
	}
}

// TestDecideLastingRefusals: what isn't allowed, or is allowed by a grant or a
// delegation, is decided over each time.
func TestDecideLastingRefusals(t *testing.T) {
	open := ordersDB + engineersOpen
	read := cmd(postern.Read, "select", table("public.orders"))
	scoped := alice()
	scoped.Scope = &postern.Scope{Resources: []string{"orders-db"}, Until: monday.Add(time.Hour)}
	granted := asking(alice())
	granted.Grants = []postern.Grant{{}}
	for _, c := range []struct {
		name, objects string
		r             Request
	}{
		{"a stranger", open, asking(postern.Identity{Name: "mallory", Kind: postern.User})},
		{"a rule", open + "kind: Rule\nname: r\non: {names: [orders-db]}\nwhen: command.verb == \"select\"\nthen: deny\n", asking(alice())},
		{"a review", open + "kind: Rule\nname: r\non: {names: [orders-db]}\nwhen: command.verb == \"select\"\nthen: review\nreview: {approvers: [\"user:bob\"]}\n", asking(alice())},
		{"a delegation", open, asking(scoped)},
		{"a grant", open, granted},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := mustSet(t, c.objects)
			d, _, lasting := set.DecideLasting(c.r, read)
			if lasting {
				t.Errorf("it is said to last: %+v", d)
			}
			if want := set.Decide(c.r, []postern.Command{read}); d.Verdict != want.Verdict || d.Rule != want.Rule {
				t.Errorf("it is %+v; want %+v", d, want)
			}
		})
	}
}
