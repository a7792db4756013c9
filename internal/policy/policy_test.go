package policy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern"
)

// testOptions are protocols with the facts that PostgreSQL's and a shell's
// analysers state.
func testOptions() Options {
	sql := []postern.AttrType{
		{Name: "has_where", Kind: postern.AttrBool},
		{Name: "has_limit", Kind: postern.AttrBool},
		{Name: "functions", Kind: postern.AttrStrings},
		{Name: "multi", Kind: postern.AttrBool},
		{Name: "assigned_columns", Kind: postern.AttrStrings},
		{Name: "predicate_columns", Kind: postern.AttrStrings},
		{Name: "changes_rows", Kind: postern.AttrBool},
		{Name: "program", Kind: postern.AttrBool},
		{Name: "file_access", Kind: postern.AttrBool},
	}
	return Options{
		Protocols: []ProtocolType{
			{Name: "postgres", Attrs: sql},
			{Name: "mysql", Attrs: sql},
			{Name: "ssh", Attrs: []postern.AttrType{
				{Name: "recursive_delete", Kind: postern.AttrBool},
				{Name: "depth", Kind: postern.AttrInt},
				{Name: "host", Kind: postern.AttrString},
			}, Section: &SectionType{Of: "shell", Decode: decodeTestSection}},
		},
		Detectors: []string{"email", "credit_card", "iban", "ssn", "phone", "ip", "secret"},
	}
}

const ordersDB = `
kind: Resource
name: orders-db
type: postgres
labels: {env: prod, team: payments}
address: 10.0.0.5:5432
database: orders
credentials: {username: app, password: {env: ORDERS_DB_PASSWORD}}
---
`

const engineersOpen = `
kind: Access
name: engineers
to: ["group:engineering"]
on: {names: [orders-db]}
---
`

func mustSet(t testing.TB, text string) *Set {
	t.Helper()
	objects, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatalf("parse:\n%v", err)
	}
	set, err := NewSet(objects, testOptions())
	if err != nil {
		t.Fatalf("compile:\n%v", err)
	}
	return set
}

// monday is a working hour in Berlin.
var monday = time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)

func alice() postern.Identity {
	return postern.Identity{Name: "alice", Kind: postern.User, Groups: []string{"engineering"}}
}

func asking(id postern.Identity) Request {
	return Request{Identity: id, Resource: "orders-db", Source: netip.MustParseAddr("10.1.2.3"), Client: "psql", Started: monday, Now: monday}
}

func table(name string) postern.Object { return postern.Object{Kind: "table", Name: name} }
func written(name string) postern.Object {
	return postern.Object{Kind: "table", Name: name, Write: true}
}

// cmd makes a command; each part is an object or an attribute.
func cmd(access postern.Access, verbs string, parts ...any) postern.Command {
	c := postern.Command{Protocol: "postgres", Verbs: strings.Fields(verbs), Access: access, Text: verbs + " …"}
	if len(c.Verbs) > 0 {
		c.Verb = c.Verbs[0]
	}
	for _, p := range parts {
		switch p := p.(type) {
		case postern.Object:
			c.Objects = append(c.Objects, p)
		case postern.Attr:
			c.Attrs = append(c.Attrs, p)
		case postern.Param:
			c.Params = append(c.Params, p)
		}
	}
	return c
}

// check decides over commands and compares "verdict rule".
func check(t *testing.T, s *Set, r Request, want string, cmds ...postern.Command) postern.Decision {
	t.Helper()
	d := s.Decide(r, cmds)
	got := strings.TrimSpace(d.Verdict.String() + " " + d.Rule)
	if got != want {
		t.Errorf("decided %q (%s), want %q, over %+v", got, d.Reason, want, cmds)
	}
	if d.Verdict == postern.Deny && (d.Rule == "" || d.Reason == "") {
		t.Errorf("a denial without rule or reason: %+v", d)
	}
	if d.Policy != s.Version() {
		t.Errorf("the decision names policy %q, the set is %q", d.Policy, s.Version())
	}
	return d
}
