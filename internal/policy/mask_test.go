package policy

import (
	"slices"
	"strings"
	"testing"

	"postern"
)

const classified = `
kind: Resource
name: orders-db
type: postgres
address: 127.0.0.1:5432
---
kind: Resource
name: other-db
type: postgres
address: 127.0.0.1:5432
---
kind: Access
name: all
to: [everyone]
on: {names: ["*"]}
---
kind: Classification
name: orders
on: {names: [orders-db]}
columns:
  public.customers.email: [pii.email, contact]
  public.customers.ssn: [pii.ssn]
  public.events.body$.customer.email: [pii.email]
---
`

func masksOf(t *testing.T, set *Set, resource string) []postern.Mask {
	t.Helper()
	d := set.Decide(Request{Identity: postern.Identity{Name: "alice", Kind: postern.User}, Resource: resource},
		[]postern.Command{{Protocol: "postgres", Verb: "select", Verbs: []string{"select"}, Access: postern.Read}})
	return d.Masks
}

func TestMasksByLabel(t *testing.T) {
	for label, want := range map[string][]string{
		"pii.email": {"public.customers.email", "public.events.body$.customer.email"},
		"pii.*":     {"public.customers.email", "public.customers.ssn", "public.events.body$.customer.email"},
		"contact":   {"public.customers.email"},
		"*":         {"public.customers.email"},
		"none":      nil,
	} {
		set := mustSet(t, classified+"kind: Mask\nname: m\nlabels: [\""+label+"\"]\n")
		if got := masksOf(t, set, "orders-db"); len(got) != 1 || !slices.Equal(got[0].Columns, want) {
			t.Errorf("%s: %+v, want %v", label, got, want)
		}
		if got := masksOf(t, set, "other-db"); len(got) != 1 || len(got[0].Columns) != 0 {
			t.Errorf("%s: another resource's columns: %+v", label, got)
		}
		warned := slices.ContainsFunc(set.Warnings(), func(w string) bool { return strings.Contains(w, "no classification gives") })
		if warned != (want == nil) {
			t.Errorf("%s: warnings %q", label, set.Warnings())
		}
	}
}

func TestMaskFormat(t *testing.T) {
	const text = "kind: Mask\nname: m\non: {names: [orders-db]}\ncolumns: [\"public.events.body$..email\"]\nlabels: [pii.email]\n" +
		"with: bucket\nbucket: {number: 1000, date: month}\npredicates: allow\nopaque: mask\n"
	objects, err := Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	m := objects[0].Mask
	if m.With != postern.MaskBucket || m.Bucket != (postern.Bucket{Number: 1000, Date: "month"}) || !m.AllowPredicates || !m.MaskOpaque {
		t.Errorf("%+v", m)
	}
	again, err := Parse("f.yaml", objects[0].Render())
	if err != nil || string(again[0].Render()) != string(objects[0].Render()) {
		t.Errorf("%v\n%s", err, objects[0].Render())
	}
	for broken, want := range map[string]string{
		"kind: Mask\nname: m\ncolumns: [a.b.c]\nbucket: {number: 1}\n":                  "without `with: bucket`",
		"kind: Mask\nname: m\ncolumns: [a.b.c]\nwith: bucket\nbucket: {number: 0}\n":    "expected a number from 1",
		"kind: Mask\nname: m\ncolumns: [a.b.c]\nwith: bucket\nbucket: {date: decade}\n": "date",
		"kind: Mask\nname: m\ncolumns: [a.b.c]\nopaque: perhaps\n":                      "opaque",
		"kind: Mask\nname: m\ncolumns: [a.b.c$.x y]\n":                                  "path",
		"kind: Mask\nname: m\nlabels: [PII]\n":                                          "label",
		"kind: Classification\nname: c\n":                                               "columns: is missing",
		"kind: Classification\nname: c\ncolumns: {email: [pii.email]}\n":                "is no column",
		"kind: Classification\nname: c\ncolumns: {a.b.c: [pii.*]}\n":                    "is no label",
	} {
		if _, err := Parse("f.yaml", []byte(broken)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", broken, err, want)
		}
	}
}
