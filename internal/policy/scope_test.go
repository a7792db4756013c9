package policy_test

import (
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/policy"
)

// A scope takes away, and never gives.
func TestScope(t *testing.T) {
	objects, err := policy.Parse("test.yaml", []byte(`kind: Resource
name: db
type: postgres
address: 127.0.0.1:5432
---
kind: Resource
name: other
type: postgres
address: 127.0.0.1:5432
---
kind: Access
name: eng
to: ["group:eng"]
on: {names: [db, other]}
---
kind: Access
name: bots
to: ["group:bots"]
on: {names: [db, other]}
allow: [{verbs: [select, insert]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.NewSet(objects, policy.Options{Protocols: []policy.ProtocolType{{Name: "postgres"}}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	scope := postern.Scope{Delegation: "dg_1", Resources: []string{"db"}, Verbs: []string{"select", "update"}, Until: now.Add(time.Hour)}
	request := func(scope *postern.Scope) policy.Request {
		return policy.Request{Resource: "db", Now: now, Identity: postern.Identity{
			Name: "alice", Kind: postern.User, Groups: []string{"eng"}, Scope: scope,
			Actor: &postern.Identity{Name: "bot", Kind: postern.Service, Groups: []string{"bots"}},
		}}
	}
	command := func(verb string, access postern.Access) []postern.Command {
		return []postern.Command{{
			Protocol: "postgres", Verb: verb, Verbs: []string{verb}, Access: access, Text: verb,
			Objects: []postern.Object{{Kind: "table", Name: "public.t", Write: access == postern.Write}},
		}}
	}
	for _, c := range []struct {
		verb   string
		access postern.Access
		want   postern.Verdict
		rule   string
	}{
		{"select", postern.Read, postern.Allow, "eng"},
		{"insert", postern.Write, postern.Deny, "dg_1"}, // both may, the delegation not
		{"update", postern.Write, postern.Deny, "bots"}, // the delegation may, the actor not
		{"delete", postern.Write, postern.Deny, "bots"},
		{postern.VerbUnknown, postern.Unknown, postern.Deny, "bots"},
	} {
		d := set.Decide(request(&scope), command(c.verb, c.access))
		if d.Verdict != c.want || d.Rule != c.rule {
			t.Errorf("%s: %v by %s (%s), want %v by %s", c.verb, d.Verdict, d.Rule, d.Reason, c.want, c.rule)
		}
	}
	// A scope binds whoever has it, actor or not; what can't be understood isn't within verbs.
	alone := request(&scope)
	alone.Identity.Actor = nil
	if d := set.Decide(alone, command(postern.VerbUnknown, postern.Unknown)); d.Verdict != postern.Deny || d.Rule != "dg_1" {
		t.Errorf("%+v", d)
	}
	inner := request(nil)
	inner.Identity.Actor.Scope = &scope
	if d := set.Decide(inner, command("insert", postern.Write)); d.Verdict != postern.Deny || d.Rule != "dg_1" {
		t.Errorf("%+v", d)
	}
	if o := set.Open(request(&scope)); !o.Allowed || !o.Until.Equal(scope.Until) {
		t.Errorf("%+v, want it to end with the delegation", o)
	}
	elsewhere := request(&scope)
	elsewhere.Resource = "other"
	late := request(&scope)
	late.Now = scope.Until
	for says, r := range map[string]policy.Request{"isn't for this resource, but for db": elsewhere, "has ended": late, "isn't for this resource": request(&postern.Scope{})} {
		if o := set.Open(r); o.Allowed || !strings.Contains(o.Reason, says) {
			t.Errorf("%+v, want %q", o, says)
		}
		if d := set.Decide(r, command("select", postern.Read)); d.Verdict != postern.Deny || !strings.Contains(d.Reason, says) {
			t.Errorf("%+v, want %q", d, says)
		}
	}
	if e := set.Explain(request(&scope), command("insert", postern.Write)); e.Decision.Rule != "dg_1" {
		t.Errorf("%+v", e.Decision)
	}
}
