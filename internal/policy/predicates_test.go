package policy

import (
	"strings"
	"testing"

	"postern"
)

// A condition on a masked column tells its values.
func TestPredicatesOnMaskedColumns(t *testing.T) {
	const base = `
kind: Resource
name: orders-db
type: postgres
address: 127.0.0.1:1
credentials: {username: app, password: {env: NOWHERE}}
---
kind: Access
name: everybody
to: [everyone]
on: {names: [orders-db]}
---
kind: Mask
name: pii
on: {names: [orders-db]}
except: ["group:privacy"]
columns: ["public.customers.email", "*.*.card_number"]
`
	ask := func(column string) postern.Command {
		return postern.Command{
			Protocol: "postgres", Verb: "select", Verbs: []string{"select"}, Access: postern.Read,
			Attrs: []postern.Attr{postern.StringsAttr("predicate_columns", []string{"public.customers.id", column})},
		}
	}
	for name, c := range map[string]struct {
		mask   string
		groups []string
		column string
		want   postern.Verdict
	}{
		"masked":                    {"", nil, "public.customers.email", postern.Deny},
		"masked by a glob":          {"", nil, "archive.cards.card_number", postern.Deny},
		"another column":            {"", nil, "public.customers.city", postern.Allow},
		"another table":             {"", nil, "public.orders.email", postern.Allow},
		"exempt":                    {"", []string{"privacy"}, "public.customers.email", postern.Allow},
		"a name that can't be read": {"", nil, "public.a.b.email", postern.Deny},
		"allowed by the mask":       {"predicates: allow\n", nil, "public.customers.email", postern.Allow},
		"denied by the mask":        {"predicates: deny\n", nil, "public.customers.email", postern.Deny},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := Parse("p.yaml", []byte(base+c.mask))
			if err != nil {
				t.Fatal(err)
			}
			set, err := NewSet(objects, Options{Protocols: []ProtocolType{{Name: "postgres"}}})
			if err != nil {
				t.Fatal(err)
			}
			d := set.Decide(Request{Identity: postern.Identity{Name: "alice", Kind: postern.User, Groups: c.groups}, Resource: "orders-db"},
				[]postern.Command{ask(c.column)})
			if d.Verdict != c.want {
				t.Fatalf("decided %+v", d)
			}
			if d.Verdict == postern.Deny && (d.Rule != "pii" || !strings.Contains(d.Reason, c.column)) {
				t.Errorf("refused by %q: %s", d.Rule, d.Reason)
			}
		})
	}
	objects, err := Parse("p.yaml", []byte(base+"predicates: allow\n"))
	if err != nil {
		t.Fatal(err)
	}
	if rendered := string(objects[2].Render()); !strings.Contains(rendered, "predicates: allow") {
		t.Errorf("rendered without predicates:\n%s", rendered)
	}
}

// A copy that the mask doesn't cover would tell them to whoever reads the copy.
func TestCopiesOfMaskedColumns(t *testing.T) {
	objects, err := Parse("p.yaml", []byte(`
kind: Resource
name: orders-db
type: postgres
address: 127.0.0.1:1
credentials: {username: app, password: {env: NOWHERE}}
---
kind: Access
name: everybody
to: [everyone]
on: {names: [orders-db]}
---
kind: Mask
name: pii
on: {names: [orders-db]}
columns: ["public.customers.email"]
predicates: allow
`))
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewSet(objects, Options{Protocols: []ProtocolType{{Name: "postgres"}}})
	if err != nil {
		t.Fatal(err)
	}
	for moved, want := range map[string]postern.Verdict{
		"public.customers.email > public.copies.a":        postern.Deny,
		"public.customers.email > setting":                postern.Deny,
		"? > public.copies.a":                             postern.Deny,
		"? > public.customers.email":                      postern.Allow,
		"public.customers.email > public.customers.email": postern.Allow,
		"public.customers.id > public.copies.a":           postern.Allow,
		"public.a.b.email > public.copies.a":              postern.Deny,
		"public.customers.email":                          postern.Deny,
	} {
		cmd := postern.Command{
			Protocol: "postgres", Verb: "insert", Verbs: []string{"insert"}, Access: postern.Write,
			Attrs: []postern.Attr{postern.StringsAttr("moved_values", []string{"public.customers.city > public.copies.b", moved})},
		}
		d := set.Decide(Request{Identity: postern.Identity{Name: "alice", Kind: postern.User}, Resource: "orders-db"}, []postern.Command{cmd})
		if d.Verdict != want {
			t.Errorf("%s: decided %+v", moved, d)
		}
	}
}
