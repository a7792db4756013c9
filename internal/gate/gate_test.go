package gate_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern"
	"postern/internal/gate"
	"postern/internal/gate/gatetest"
	"postern/internal/policy"
)

const objects = `
kind: Resource
name: orders-db
type: postgres
address: 127.0.0.1:1
tls: {mode: disable}
credentials: {username: app, password: {env: NOWHERE}}
---
kind: Resource
name: hidden-db
type: postgres
address: 127.0.0.1:1
tls: {mode: disable}
credentials: {username: app, password: {env: NOWHERE}}
---
kind: Access
name: engineers
to: ["group:engineering"]
on: {names: [orders-db]}
max_session: 1h
---
kind: Rule
name: no-drop
when: command.verb == "drop"
then: deny
message: "Don't."
---
kind: Rule
name: updates-reviewed
when: command.verb == "update"
then: review
review: {approvers: ["group:dba"], timeout: 15m}
`

func newHarness(t *testing.T) *gatetest.Harness {
	return gatetest.New(t, gatetest.Options{
		Objects:    objects,
		Protocols:  []policy.ProtocolType{{Name: "postgres"}},
		Identities: []postern.Identity{{Name: "alice", Kind: postern.User, Groups: []string{"engineering"}}, {Name: "eve", Kind: postern.User}},
	})
}

func credential(user, resource string) postern.Credential {
	return postern.Credential{
		User: user, Secret: postern.NewSecret("token-" + user), Resource: resource, Protocol: "postgres",
		Source: netip.MustParseAddrPort("127.0.0.1:5000"),
	}
}

func open(t *testing.T, h *gatetest.Harness) *gate.Session {
	t.Helper()
	caller, err := h.Authenticate(t.Context(), credential("alice", "orders-db"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := caller.Open(t.Context(), postern.Target{Resource: "orders-db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close("test over") })
	return s
}

func command(verb, text string) postern.Command {
	access := postern.Write
	if verb == "select" {
		access = postern.Read
	}
	return postern.Command{Protocol: "postgres", Verb: verb, Verbs: []string{verb}, Access: access, Text: text}
}

// Whatever is wrong with a login, the answer and its length are the same.
func TestRefusalsLookAlike(t *testing.T) {
	wrongToken := credential("alice", "orders-db")
	wrongToken.Secret = postern.NewSecret("token-nobody")
	empty := credential("alice", "orders-db")
	empty.Secret = postern.Secret{}
	otherName := credential("alice", "orders-db")
	otherName.User = "eve"
	for name, cred := range map[string]postern.Credential{
		"wrong token": wrongToken, "empty token": empty, "another's name": otherName,
		"no such resource": credential("eve", "nothing"), "resource without access": credential("eve", "orders-db"),
		"resource that alice may not see": credential("alice", "hidden-db"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				began := time.Now()
				caller, err := h.Authenticate(t.Context(), cred)
				if err == nil {
					_, err = caller.Open(t.Context(), postern.Target{Resource: cred.Resource})
				}
				if !errors.Is(err, gate.ErrRefused) {
					t.Errorf("got %v, want ErrRefused", err)
				}
				if took := time.Since(began); took != 300*time.Millisecond {
					t.Errorf("took %v, want 300ms", took)
				}
				entries := h.Audit.Entries()
				if len(entries) != 1 || entries[0].Outcome != "refused" || entries[0].Reason == "" {
					t.Errorf("audit log has %+v, want one refusal with its cause", entries)
				}
				if h.Dials.Load() != 0 {
					t.Error("an upstream was dialled")
				}
			})
		})
	}
}

func TestTokenOpensOnlyItsResource(t *testing.T) {
	h := newHarness(t)
	caller, err := h.Authenticate(t.Context(), credential("alice", "orders-db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := caller.Open(t.Context(), postern.Target{Resource: "hidden-db"}); !errors.Is(err, gate.ErrRefused) {
		t.Fatalf("got %v, want ErrRefused", err)
	}
}

func TestSessionIsRecordedBeforeItOpens(t *testing.T) {
	h := newHarness(t)
	h.Recordings.Refuse(errors.New("disk full"))
	caller, err := h.Authenticate(t.Context(), credential("alice", "orders-db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = caller.Open(t.Context(), postern.Target{Resource: "orders-db"})
	var denied *gate.DeniedError
	if !errors.As(err, &denied) || !strings.Contains(denied.Reason, "can't be recorded") {
		t.Fatalf("got %v, want a refusal that names the recording", err)
	}
	if len(h.Live()) != 0 {
		t.Error("the session is live")
	}
}

func TestSessionIsAuditedBeforeItOpens(t *testing.T) {
	h := newHarness(t)
	caller, err := h.Authenticate(t.Context(), credential("alice", "orders-db"))
	if err != nil {
		t.Fatal(err)
	}
	h.Audit.Break(errors.New("disk full"))
	if _, err = caller.Open(t.Context(), postern.Target{Resource: "orders-db"}); err == nil {
		t.Fatal("the session opened without an entry in the audit log")
	}
	if !h.Recordings.Last().Closed() {
		t.Error("the recording was left open")
	}
}

func TestDecideRecordsFirst(t *testing.T) {
	h := newHarness(t)
	s := open(t, h)
	d, err := s.Decide(t.Context(), command("select", "select 1"))
	if err != nil || d.Verdict != postern.Allow || d.N != 1 {
		t.Fatalf("got %+v, %v", d, err)
	}
	flushed := h.Recordings.Last().Flushed()
	if len(flushed) != 3 || flushed[1].Kind != postern.EventCommand || flushed[1].Command.Text != "select 1" || flushed[2].Kind != postern.EventDecision {
		t.Fatalf("on disk when Decide returned: %+v", flushed)
	}
}

func TestDenial(t *testing.T) {
	h := newHarness(t)
	s := open(t, h)
	d, err := s.Decide(t.Context(), command("select", "select 1; "), command("drop", "drop table t"))
	if err != nil || d.Verdict != postern.Deny || d.Rule != "no-drop" || d.Reason != "Don't." {
		t.Fatalf("got %+v, %v", d, err)
	}
	if info := s.Info(); info.Commands != 2 || info.Denied != 2 {
		t.Errorf("counted %d commands, %d denied; want 2 and 2: all or none run", info.Commands, info.Denied)
	}
	entries := h.Audit.Entries()
	last := entries[len(entries)-1]
	if last.Action != "command" || last.Outcome != "deny" || last.Rule != "no-drop" || last.Verb != "select,drop" {
		t.Errorf("audit log has %+v", last)
	}
}

// TestAuditTellsAllThatACommandDoes: what it does besides its first word isn't hidden.
func TestAuditTellsAllThatACommandDoes(t *testing.T) {
	h := newHarness(t)
	s := open(t, h)
	with := command("select", "with d as (delete from t returning *) select * from d")
	with.Verbs = []string{"delete", "select"}
	for _, c := range []struct {
		cmds []postern.Command
		want string
	}{
		{[]postern.Command{with}, "delete,select"},
		{[]postern.Command{command("select", "select 1; "), with, command("select", " ; select 2")}, "select,delete"},
		{[]postern.Command{{Verb: postern.VerbUnknown, Text: "?"}}, postern.VerbUnknown},
	} {
		if _, err := s.Decide(t.Context(), c.cmds...); err != nil {
			t.Fatal(err)
		}
		entries := h.Audit.Entries()
		if last := entries[len(entries)-1]; last.Action != "command" || last.Verb != c.want {
			t.Errorf("audit log has %+v, want %s", last, c.want)
		}
	}
}

func TestNothingToDecideIsDenied(t *testing.T) {
	s := open(t, newHarness(t))
	if d, err := s.Decide(t.Context()); err != nil || d.Verdict != postern.Deny {
		t.Fatalf("got %+v, %v", d, err)
	}
}

func TestUnrecordedSessionEnds(t *testing.T) {
	for name, broke := range map[string]func(*gatetest.Harness){
		"recording": func(h *gatetest.Harness) { h.Recordings.Break(errors.New("disk full")) },
		"audit log": func(h *gatetest.Harness) { h.Audit.Break(errors.New("disk full")) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			s := open(t, h)
			broke(h)
			d, err := s.Decide(t.Context(), command("select", "select 1"))
			if err == nil || d.Verdict != postern.Deny {
				t.Fatalf("got %+v, %v; want an error and no allow", d, err)
			}
			var ended *gate.EndedError
			if !errors.As(context.Cause(s.Context()), &ended) {
				t.Errorf("the session lives on: %v", context.Cause(s.Context()))
			}
		})
	}
}

func TestReview(t *testing.T) {
	for name, c := range map[string]struct {
		settle func(h *gatetest.Harness, rv postern.Review)
		want   postern.Verdict
		state  postern.ReviewState
		reason string
	}{
		"approved": {
			settle: func(h *gatetest.Harness, rv postern.Review) { h.Reviews.Settle(rv.ID, postern.ReviewApproved) },
			want:   postern.Allow, state: postern.ReviewSpent,
		},
		"denied": {
			settle: func(h *gatetest.Harness, rv postern.Review) { h.Reviews.Settle(rv.ID, postern.ReviewDenied) },
			want:   postern.Deny, state: postern.ReviewDenied, reason: "was denied",
		},
		"nobody answers": {
			settle: func(*gatetest.Harness, postern.Review) {},
			want:   postern.Deny, state: postern.ReviewTimedOut, reason: "not approved in time",
		},
		"policy changed meanwhile": {
			settle: func(h *gatetest.Harness, rv postern.Review) {
				h.SetObjects(strings.Replace(objects, "15m", "16m", 1))
				h.Reviews.Settle(rv.ID, postern.ReviewApproved)
			},
			want: postern.Deny, state: postern.ReviewVoid, reason: "policy changed",
		},
		"spent by somebody else": {
			settle: func(h *gatetest.Harness, rv postern.Review) {
				h.Reviews.Settle(rv.ID, postern.ReviewApproved)
				if err := h.Reviews.Spend(context.Background(), rv.ID, rv.Digest); err != nil {
					panic(err)
				}
			},
			want: postern.Deny, state: postern.ReviewSpent, reason: "ended without an approval (spent)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				s := open(t, h)
				var noticed postern.Review
				go func() { c.settle(h, <-h.Reviews.Opened()) }()
				d, err := s.DecideTelling(t.Context(), func(rv postern.Review) { noticed = rv }, command("update", "update t set a = 1"))
				if err != nil || d.Verdict != c.want || !strings.Contains(d.Reason, c.reason) {
					t.Fatalf("got %+v, %v; want %v with %q", d, err, c.want, c.reason)
				}
				if noticed.Command != "update t set a = 1" || noticed.Digest == "" {
					t.Errorf("the client was told of %+v", noticed)
				}
				if got := h.Reviews.State(noticed.ID); got != c.state {
					t.Errorf("the review is %s, want %s", got, c.state)
				}
			})
		})
	}
}

func TestReviewIsWithdrawnWhenTheClientGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		s := open(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		var id string
		go func() {
			id = (<-h.Reviews.Opened()).ID
			cancel()
		}()
		d, err := s.Decide(ctx, command("update", "update t set a = 1"))
		if err != nil || d.Verdict != postern.Deny {
			t.Fatalf("got %+v, %v", d, err)
		}
		if got := h.Reviews.State(id); got != postern.ReviewWithdrawn {
			t.Errorf("the review is %s", got)
		}
	})
}

func TestDigestTellsCommandsApart(t *testing.T) {
	h := newHarness(t)
	s := open(t, h)
	param := func(v string) postern.Command {
		c := command("update", "update t set a = $1")
		c.Params = []postern.Param{{Value: []byte(v)}}
		return c
	}
	null := param("")
	null.Params[0].Null = true
	state := param("1")
	state.State = "search_path=other"
	seen := map[string]int{}
	for i, cmds := range [][]postern.Command{
		{param("1")},
		{param("2")},
		{null},
		{param("")},
		{state},
		{command("update", "update t set a = $1")},
		{command("update", "update t set a = "), command("update", "$1")},
	} {
		d := gate.DigestOf(s, "rv_1", "v1", cmds)
		if j, ok := seen[d]; ok {
			t.Errorf("commands %d and %d have one digest", i, j)
		}
		seen[d] = i
	}
	if gate.DigestOf(s, "rv_1", "v1", nil) == gate.DigestOf(s, "rv_2", "v1", nil) {
		t.Error("two reviews have one digest")
	}
}

func TestDialRefusesOtherAddresses(t *testing.T) {
	h := newHarness(t)
	s := open(t, h)
	if _, err := s.Dial(t.Context(), "127.0.0.1:2"); err == nil || h.Dials.Load() != 0 {
		t.Fatalf("dialled another address: %v", err)
	}
}

func TestSessionEndsAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, newHarness(t))
		<-s.Context().Done()
		var ended *gate.EndedError
		if !errors.As(context.Cause(s.Context()), &ended) || !strings.Contains(ended.Reason, "time is up") {
			t.Errorf("ended with %v", context.Cause(s.Context()))
		}
	})
}

func TestRecheckEndsWhatPolicyNoLongerOpens(t *testing.T) {
	h := newHarness(t)
	s := open(t, h)
	if h.Recheck() != 0 {
		t.Fatal("a rightful session was ended")
	}
	h.SetObjects(strings.Replace(objects, "group:engineering", "group:nobody", 1))
	if h.Recheck() != 1 || s.Context().Err() == nil {
		t.Fatal("the session lives on without an access")
	}
}

func TestEnd(t *testing.T) {
	h := newHarness(t)
	s := open(t, h)
	if n := h.End("gone", func(i postern.SessionInfo) bool { return i.Identity == "eve" }); n != 0 {
		t.Fatalf("ended %d sessions of somebody else", n)
	}
	if n := h.End("alice was disabled", func(i postern.SessionInfo) bool { return i.Identity == "alice" }); n != 1 {
		t.Fatalf("ended %d sessions, want 1", n)
	}
	if err := s.Close("client left"); err != nil {
		t.Fatal(err)
	}
	if info := h.Sessions.All()[0]; info.EndReason != "postern: session ended: alice was disabled" || info.Digest != "digest" || info.EndedAt.IsZero() {
		t.Errorf("stored as %+v", info)
	}
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		s := open(t, h)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			<-s.Context().Done()
			_ = s.Close("drained")
		}()
		h.Drain(ctx)
		if len(h.Live()) != 0 {
			t.Error("sessions are live after the drain")
		}
		if _, err := h.Authenticate(t.Context(), credential("alice", "orders-db")); !errors.Is(err, gate.ErrRefused) {
			t.Errorf("a login after the drain: %v", err)
		}
	})
}

// A session whose recording can't be ended has failed, and the log says why.
func TestRecordingWithoutAnEnd(t *testing.T) {
	h := newHarness(t)
	s := open(t, h)
	h.Recordings.Break(errors.New("no space left on device"))
	if err := s.Close("client left"); err == nil {
		t.Error("nobody is told")
	}
	entries := h.Audit.Entries()
	last := entries[len(entries)-2:]
	if last[0].Action != "recording.damaged" || last[0].Outcome != "failed" || !strings.HasSuffix(last[0].Reason, ": no space left on device") || last[0].Session != s.ID() {
		t.Errorf("the log has %+v", last[0])
	}
	if last[1].Action != "session.close" || last[1].Outcome != "failed" || last[1].Digest != "" || last[1].Reason != "client left" {
		t.Errorf("the log has %+v", last[1])
	}
	if said := h.Log.String(); !strings.Contains(said, `level=ERROR msg="recording is damaged"`) {
		t.Errorf("the operator isn't told:\n%s", said)
	}
}
