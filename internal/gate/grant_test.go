package gate_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern"
	"postern/internal/gate"
	"postern/internal/gate/gatetest"
	"postern/internal/policy"
)

const onRequest = `
kind: Resource
name: orders-db
type: postgres
address: 127.0.0.1:1
tls: {mode: disable}
credentials: {username: app, password: {env: NOWHERE}}
---
kind: Access
name: fixes
to: ["group:engineering"]
on: {names: [orders-db]}
request: {approvers: ["group:dba"], max: 4h}
---
kind: Rule
name: no-drop
when: command.verb == "drop"
then: deny
mode: shadow
message: "Later."
`

func onRequestHarness(t *testing.T) *gatetest.Harness {
	return gatetest.New(t, gatetest.Options{
		Objects: onRequest, Protocols: []policy.ProtocolType{{Name: "postgres"}},
		Identities: []postern.Identity{{Name: "alice", Kind: postern.User, Groups: []string{"engineering"}}, {Name: "bob", Kind: postern.User, Groups: []string{"engineering"}}},
	})
}

func grantTo(h *gatetest.Harness, name string, lasts time.Duration, verbs ...string) postern.Grant {
	return postern.Grant{
		Request: "rq_1", Access: "fixes", Terms: h.Terms("orders-db", "fixes"), Resource: "orders-db",
		By: []postern.Being{{Kind: postern.User, Name: name}}, Verbs: verbs, From: time.Now(), Until: time.Now().Add(lasts),
	}
}

// Without a grant the refusal says how, and where, to ask.
func TestRefusalSaysHowToAsk(t *testing.T) {
	h := onRequestHarness(t)
	caller, err := h.Authenticate(t.Context(), credential("alice", "orders-db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = caller.Open(t.Context(), postern.Target{Resource: "orders-db"})
	var denied *gate.DeniedError
	if !errors.As(err, &denied) || !strings.Contains(denied.Reason, "`postern request orders-db`") ||
		!strings.Contains(denied.Reason, "https://gw.test/requests/orders-db/fixes") {
		t.Fatalf("got %v", err)
	}
	h.SetGrants(grantTo(h, "bob", time.Hour))
	if _, err = caller.Open(t.Context(), postern.Target{Resource: "orders-db"}); err == nil {
		t.Error("another's grant opened it")
	}
}

// The deadline is absolute: at it the session ends, whatever it does, and the
// one of a grant that was prolonged ends at the new one.
func TestGrantEndsItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := onRequestHarness(t)
		h.SetGrants(grantTo(h, "alice", time.Hour))
		began := time.Now()
		s := open(t, h)
		if info := s.Info(); info.Grant != "rq_1" || info.Access != "fixes" {
			t.Errorf("%+v", info)
		}
		time.Sleep(30 * time.Minute)
		longer := grantTo(h, "alice", time.Hour)
		h.SetGrants(grantTo(h, "alice", 30*time.Minute), longer)
		if h.Recheck() != 0 {
			t.Fatal("the session ended when its grant was prolonged")
		}
		<-s.Context().Done()
		if took := time.Since(began); took != 90*time.Minute {
			t.Errorf("ended after %v", took)
		}
		if d, err := s.Decide(t.Context(), command("select", "select 1")); err == nil || d.Verdict == postern.Allow {
			t.Errorf("%+v, %v", d, err)
		}
	})
}

// A grant that is taken back ends its session as soon as the gate is told, and
// decides nothing more even before.
func TestRevokedGrant(t *testing.T) {
	h := onRequestHarness(t)
	h.SetGrants(grantTo(h, "alice", time.Hour))
	s := open(t, h)
	if d, err := s.Decide(t.Context(), command("update", "update t set a = 1")); err != nil || d.Verdict != postern.Allow {
		t.Fatalf("%+v, %v", d, err)
	}
	h.SetGrants()
	if d, err := s.Decide(t.Context(), command("update", "update t set a = 1")); err != nil || d.Verdict != postern.Deny || d.Request != "fixes" {
		t.Errorf("%+v, %v", d, err)
	}
	if h.Recheck() != 1 || s.Context().Err() == nil {
		t.Error("the session goes on")
	}
}

func TestGrantOfOneVerb(t *testing.T) {
	h := onRequestHarness(t)
	h.SetGrants(grantTo(h, "alice", time.Hour, "select"))
	s := open(t, h)
	for verb, want := range map[string]postern.Verdict{"select": postern.Allow, "update": postern.Deny, "drop": postern.Deny} {
		if d, err := s.Decide(t.Context(), command(verb, verb)); err != nil || d.Verdict != want {
			t.Errorf("%s: %+v, %v", verb, d, err)
		}
	}
	if h.Shadows() != nil {
		t.Error("what was denied anyway counts for a rule in shadow mode")
	}
}

// What a rule in shadow mode would have done is recorded and counted, and the
// command runs.
func TestShadowed(t *testing.T) {
	h := onRequestHarness(t)
	h.SetGrants(grantTo(h, "alice", time.Hour))
	s := open(t, h)
	d, err := s.Decide(t.Context(), command("drop", "drop table t"))
	if err != nil || d.Verdict != postern.Allow || len(h.Shadows()) != 1 || h.Shadows()[0].Rule != "no-drop" {
		t.Fatalf("%+v, %v, %+v", d, err, h.Shadows())
	}
	events := h.Recordings.Last().Events()
	last := events[len(events)-1]
	if last.Decision == nil || len(last.Decision.Shadow) != 1 || last.Decision.Shadow[0].Verdict != postern.Deny {
		t.Errorf("recorded %+v", last)
	}
}
