package gate_test

import (
	"strings"
	"testing"

	"postern"
	"postern/internal/gate"
	"postern/internal/gate/gatetest"
	"postern/internal/policy"
)

const byClaim = `
kind: Resource
name: orders-db
type: postgres
address: 127.0.0.1:1
tls: {mode: disable}
credentials: {username: app, password: {env: NOWHERE}}
---
kind: Access
name: all
to: [everyone]
on: {names: [orders-db]}
---
kind: Rule
name: sales-only
when: command.verb == "select" && !(has(identity.claims.dept) && identity.claims.dept == "sales")
then: deny
message: "For sales."
`

// TestChangedClaimsEndSessions: a claim on which the policy depends ends the
// sessions of its login, and of who acts in its person's name, when it changes;
// another changes what they are decided by.
func TestChangedClaimsEndSessions(t *testing.T) {
	claims := func(dept string) postern.Claims { return postern.Claims{"dept": dept, "seen": "1"} }
	h := gatetest.New(t, gatetest.Options{
		Objects: byClaim, Protocols: []policy.ProtocolType{{Name: "postgres"}},
		Identities: []postern.Identity{
			{Name: "alice", Kind: postern.User, Login: "lg_alice", Claims: claims("sales")},
			{Name: "bob", Kind: postern.User, Login: "lg_bob", Claims: claims("sales")},
			{
				Name: "carol", Kind: postern.User, Claims: claims("sales"),
				Actor: &postern.Identity{Name: "agent", Kind: postern.User, Login: "lg_alice", Claims: claims("sales")},
			},
		},
	})
	alice, bob, carol := openAs(t, h, "alice"), openAs(t, h, "bob"), openAs(t, h, "carol")
	if n := h.Reclaim("lg_alice", postern.Claims{"dept": "sales", "seen": "2"}); n != 0 {
		t.Errorf("%d sessions ended by a claim on which nothing depends", n)
	}
	if got := alice.Identity().Claims["seen"]; got != "2" {
		t.Errorf("seen is %q", got)
	}
	if n := h.Reclaim("", postern.Claims{}); n != 0 {
		t.Errorf("%d sessions ended of no login", n)
	}
	h.SetObjects(strings.ReplaceAll(byClaim, "dept", "seen")) // what was changed meanwhile counts
	cmd := postern.Command{Protocol: "postgres", Verb: "select", Verbs: []string{"select"}, Access: postern.Read, Text: "select 1"}
	if d := alice.Preview(cmd); d.Verdict != postern.Deny {
		t.Errorf("it is %s", d.Verdict)
	}
	h.SetObjects(byClaim)
	if d := alice.Preview(cmd); d.Verdict != postern.Allow {
		t.Errorf("it is %s: %s", d.Verdict, d.Reason)
	}
	if n := h.Reclaim("lg_alice", claims("support")); n != 2 {
		t.Errorf("%d sessions ended, want that of alice and that of her agency", n)
	}
	for _, s := range []interface{ Err() error }{alice.Context(), carol.Context()} {
		if s.Err() == nil {
			t.Error("it lives on")
		}
	}
	if bob.Context().Err() != nil {
		t.Error("another's session ended")
	}
}

// openAs opens a session on orders-db.
func openAs(t *testing.T, h *gatetest.Harness, name string) *gate.Session {
	t.Helper()
	caller, err := h.Authenticate(t.Context(), credential(name, "orders-db"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := caller.Open(t.Context(), postern.Target{Resource: "orders-db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close("the test is over") })
	return s
}
