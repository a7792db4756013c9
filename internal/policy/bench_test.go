package policy

import (
	"fmt"
	"strings"
	"testing"

	"postern"
)

// twenty is a resource with twenty rules, half of them shipped and half
// conditions of the kind that people write, and an access with an allow list.
func twenty() string {
	var b strings.Builder
	b.WriteString(ordersDB + `
kind: Access
name: engineers
to: ["group:engineering"]
on: {names: [orders-db]}
allow:
- {verbs: [select, insert, update, delete], objects: ["public.*", "metrics.*"]}
within: {hours: "Mon-Fri 08:00-19:00 Europe/Berlin", networks: [10.0.0.0/8]}
max_session: 8h
---
kind: Mask
name: pii
on: {labels: {env: prod}}
columns: ["public.customers.email"]
with: partial
`)
	conditions := []string{
		`command.verb in ["delete", "update"] && !command.has_where`,
		`command.multi && command.access == "write"`,
		`command.objects.exists(o, o.write && o.name.startsWith("payments."))`,
		`"pg_sleep" in command.functions`,
		`identity.kind == "service" && command.verb == "delete"`,
		`now.getHours("Europe/Berlin") >= 22 && command.access != "read"`,
		`resource.labels.env == "prod" && command.verb == "grant"`,
		`command.text.contains("drop")`,
		`session.client.startsWith("curl")`,
		`command.params.exists(p, p == "secret")`,
	}
	uses := []string{"no-drop-table", "no-delete-without-where", "no-truncate", "no-ddl", "no-copy-program", "no-file-read", "no-secrets-read"}
	for i := range 10 {
		fmt.Fprintf(&b, "---\nkind: Rule\nname: c%d\non: {labels: {env: prod}}\nwhen: >-\n  %s\nthen: deny\n", i, conditions[i])
		fmt.Fprintf(&b, "---\nkind: Rule\nname: u%d\non: {labels: {env: prod}}\nuse: %s\nthen: deny\n", i, uses[i%len(uses)])
	}
	return b.String()
}

func BenchmarkDecide(b *testing.B) {
	cmds := []postern.Command{cmd(postern.Read, "select", table("public.orders"), table("public.customers"),
		postern.BoolAttr("has_where", true), postern.StringsAttr("functions", []string{"pg_catalog.count"}))}
	for _, bench := range []struct{ name, text string }{
		{"20rules", twenty()},
		{"norules", ordersDB + engineersOpen},
	} {
		set := mustSet(b, bench.text)
		b.Run(bench.name, func(b *testing.B) {
			r := asking(alice())
			b.ReportAllocs()
			for b.Loop() {
				if d := set.Decide(r, cmds); d.Verdict != postern.Allow {
					b.Fatalf("%+v", d)
				}
			}
		})
	}
}

func BenchmarkNewSet(b *testing.B) {
	objects, err := Parse("f.yaml", []byte(twenty()))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewSet(objects, testOptions()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	text := []byte(twenty())
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Parse("f.yaml", text); err != nil {
			b.Fatal(err)
		}
	}
}
