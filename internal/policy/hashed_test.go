package policy

import (
	"strings"
	"testing"

	"postern"
)

// Which values are equal a hash tells anyway; everything else that a condition
// tells it doesn't.
func TestEqualityOfHashedColumns(t *testing.T) {
	const base = `
kind: Resource
name: orders-db
type: postgres
address: 127.0.0.1:1
---
kind: Access
name: everybody
to: [everyone]
on: {names: [orders-db]}
---
kind: Mask
name: hashes
columns: ["public.customers.email", "public.orders.customer_email"]
with: hash
---
kind: Mask
name: redacted
columns: ["public.customers.ssn"]
---
kind: Mask
name: parts
columns: ["public.events.body$.email"]
with: hash
`
	set := mustSet(t, base)
	for text, want := range map[string]postern.Verdict{
		"equal: public.customers.email = public.orders.customer_email": postern.Allow,
		"equal: public.customers.email":                                postern.Allow,
		"equal: public.customers.email = public.guesses.email":         postern.Deny,
		"equal: public.customers.email = public.customers.ssn":         postern.Deny,
		"equal: public.customers.ssn":                                  postern.Deny,
		"equal: public.customers.id = public.orders.customer_id":       postern.Allow,
		"equal: public.customers.email = public.events.body":           postern.Deny,
		"compared: public.customers.email":                             postern.Deny,
		"compared: public.events.body":                                 postern.Deny,
		"compared: public.customers.id":                                postern.Allow,
	} {
		cmd := postern.Command{Protocol: "postgres", Verb: "select", Verbs: []string{"select"}, Access: postern.Read}
		kind, columns, _ := strings.Cut(text, ": ")
		all := strings.Split(columns, " = ")
		var equal, compared []string
		if kind == "equal" {
			equal = []string{columns}
		} else {
			compared = all
		}
		cmd.Attrs = []postern.Attr{
			postern.StringsAttr("predicate_columns", all), postern.StringsAttr("compared_columns", compared), postern.StringsAttr("equal_columns", equal),
		}
		d := set.Decide(Request{Identity: postern.Identity{Name: "alice", Kind: postern.User}, Resource: "orders-db"}, []postern.Command{cmd})
		if d.Verdict != want {
			t.Errorf("%s: %+v", text, d)
		}
	}
}

// What can't be followed is denied, unless every mask says that it may be masked.
func TestOpaqueResults(t *testing.T) {
	const base = `
kind: Resource
name: orders-db
type: postgres
address: 127.0.0.1:1
---
kind: Access
name: everybody
to: [everyone]
on: {names: [orders-db]}
---
kind: Mask
name: pii
columns: ["public.customers.email"]
`
	request := Request{Identity: postern.Identity{Name: "alice", Kind: postern.User}, Resource: "orders-db"}
	opaque := postern.Command{
		Protocol: "postgres", Verb: "select", Verbs: []string{"select"}, Access: postern.Read,
		Attrs: []postern.Attr{postern.BoolAttr("opaque_result", true)},
	}
	calls := postern.Command{Protocol: "postgres", Verb: "select", Verbs: []string{"unknown", "select"}, Access: postern.Unknown, Problem: "It calls f, a function in C."}
	unread := postern.Command{Protocol: "postgres", Verb: "unknown", Verbs: []string{"unknown"}, Problem: "It doesn't parse."}
	for _, test := range []struct {
		add  string
		cmd  postern.Command
		want postern.Verdict
	}{
		{"", opaque, postern.Deny},
		{"opaque: deny\n", opaque, postern.Deny},
		{"opaque: mask\n", opaque, postern.Allow},
		{"", calls, postern.Deny},
		{"opaque: mask\n", calls, postern.Allow},
		{"opaque: mask\n", unread, postern.Deny},
		{"opaque: mask\n---\nkind: Mask\nname: other\ncolumns: [a.b.c]\n", calls, postern.Deny},
		{"opaque: mask\n---\nkind: Rule\nname: r\nuse: no-truncate\nthen: deny\n", calls, postern.Deny},
	} {
		d := mustSet(t, base+test.add).Decide(request, []postern.Command{test.cmd})
		if d.Verdict != test.want {
			t.Errorf("%q, %v: %+v", test.add, test.cmd.Verbs, d)
		}
		if test.want == postern.Allow && len(d.Masks) != 1 {
			t.Error("nothing would be masked")
		}
	}
}
