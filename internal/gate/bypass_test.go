package gate_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern"
	"postern/internal/gate"
)

// A session that was killed decides nothing any more, though its connection
// may take a moment to notice.
func TestEndedSessionAllowsNothing(t *testing.T) {
	h := newHarness(t)
	s := open(t, h)
	h.End("alice was disabled", func(postern.SessionInfo) bool { return true })
	d, err := s.Decide(t.Context(), command("select", "select 1"))
	var ended *gate.EndedError
	if !errors.As(err, &ended) || d.Verdict != postern.Deny {
		t.Fatalf("got %+v, %v; want the end of the session", d, err)
	}
}

// An approval that comes together with the end of its session runs nothing,
// and isn't used up as if it had.
func TestApprovalOfEndedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		s := open(t, h)
		var id string
		h.Reviews.OnEnd(func() {
			h.End("alice was disabled", func(postern.SessionInfo) bool { return true })
		})
		go func() {
			id = (<-h.Reviews.Opened()).ID
			h.Reviews.Settle(id, postern.ReviewApproved)
		}()
		d, err := s.Decide(t.Context(), command("update", "update t set a = 1"))
		if err == nil || d.Verdict == postern.Allow {
			t.Fatalf("got %+v, %v; want the end of the session", d, err)
		}
		if got := h.Reviews.State(id); got != postern.ReviewVoid {
			t.Errorf("the review is %s, want void", got)
		}
		for _, e := range h.Recordings.Last().Events() {
			if e.Kind == postern.EventDecision && e.Decision.Verdict == postern.Allow {
				t.Error("the recording says that it was allowed")
			}
		}
	})
}

// An approval is for what the policy wanted as it was asked for. What it wants more by the
// time at which the command would run, nobody has given.
func TestApprovalUnderOtherTerms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.SetObjects(objects + `---
kind: Rule
name: two-of-them-later
when: command.verb == "update" && now >= timestamp("2000-01-01T00:10:00Z")
then: review
review: {approvers: ["group:dba"], approvals: 2, timeout: 15m}
`)
		s := open(t, h)
		decide := func(after time.Duration) (id string, d postern.Decision) {
			go func() {
				id = (<-h.Reviews.Opened()).ID
				time.Sleep(after)
				h.Reviews.Settle(id, postern.ReviewApproved)
			}()
			d, err := s.Decide(t.Context(), command("update", "update t set a = 1"))
			if err != nil {
				t.Fatal(err)
			}
			return id, d
		}
		if _, d := decide(5 * time.Minute); d.Verdict != postern.Allow {
			t.Errorf("approved before that: %+v", d)
		}
		if id, d := decide(10 * time.Minute); d.Verdict != postern.Deny || h.Reviews.State(id) != postern.ReviewVoid {
			t.Errorf("approved after that: %+v, and the review is %s", d, h.Reviews.State(id))
		}
	})
}

// A policy that changes while a session opens, after it was asked and before
// Recheck can find the session, counts.
func TestPolicyChangesWhileSessionOpens(t *testing.T) {
	without := strings.Replace(objects, "group:engineering", "group:nobody", 1)
	shorter := strings.Replace(objects, "max_session: 1h", "max_session: 1m", 1)
	t.Run("access is gone", func(t *testing.T) {
		h := newHarness(t)
		h.Recordings.OnStart(func() { h.SetObjects(without); h.Recheck() })
		caller, err := h.Authenticate(t.Context(), credential("alice", "orders-db"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := caller.Open(t.Context(), postern.Target{Resource: "orders-db"})
		if err == nil {
			_ = s.Close("test over")
			t.Fatal("a session opened under a policy that doesn't allow it")
		}
		if n := len(h.Live()); n != 0 {
			t.Errorf("%d sessions are live", n)
		}
	})
	t.Run("access is shorter", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			h.Recordings.OnStart(func() { h.SetObjects(shorter); h.Recheck() })
			began := time.Now()
			<-open(t, h).Context().Done()
			if took := time.Since(began); took != time.Minute {
				t.Errorf("the session lasted %v, want the new policy's 1m", took)
			}
		})
	})
}

// A resource that is pointed elsewhere, or given other labels with it, has
// other rules: they are not for a session that is still with the old server.
func TestResourceMovesUnderSession(t *testing.T) {
	moved := strings.Replace(objects, "address: 127.0.0.1:1", "address: 127.0.0.1:2", 1)
	t.Run("recheck", func(t *testing.T) {
		h := newHarness(t)
		s := open(t, h)
		h.SetObjects(moved)
		if h.Recheck() != 1 || s.Context().Err() == nil {
			t.Error("the session goes on with the old server")
		}
	})
	t.Run("decide", func(t *testing.T) {
		h := newHarness(t)
		s := open(t, h)
		h.SetObjects(moved)
		d, err := s.Decide(t.Context(), command("select", "select 1"))
		if err == nil || d.Verdict == postern.Allow {
			t.Errorf("the new policy allowed a command for the old server: %+v, %v", d, err)
		}
	})
}

// A session that can't be made known leaves nothing that looks live: no open
// recording, no entry in the list without an end.
func TestSessionThatCantStartLeavesNothing(t *testing.T) {
	h := newHarness(t)
	caller, err := h.Authenticate(t.Context(), credential("alice", "orders-db"))
	if err != nil {
		t.Fatal(err)
	}
	h.Audit.Break(errors.New("disk full"))
	if _, err = caller.Open(t.Context(), postern.Target{Resource: "orders-db"}); err == nil {
		t.Fatal("the session opened without an entry in the audit log")
	}
	for _, info := range h.Sessions.All() {
		if info.EndedAt.IsZero() {
			t.Errorf("session %s is listed as live", info.ID)
		}
	}
	events := h.Recordings.Last().Events()
	if last := events[len(events)-1]; last.Kind != postern.EventClose {
		t.Errorf("the recording ends with %s", last.Kind)
	}
	h.Audit.Break(nil)
	h.Recordings.OnStart(func() { h.Recordings.Break(errors.New("disk full")) })
	if _, err = caller.Open(t.Context(), postern.Target{Resource: "orders-db"}); err == nil {
		t.Fatal("the session opened unrecorded")
	}
	if !h.Recordings.Last().Closed() {
		t.Error("the recording that broke was never closed")
	}
}

// A token that is good, for a resource that has been closed to its owner since,
// takes no longer to refuse than one that is wrong.
func TestRefusalAtOpenTakesNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		began := time.Now()
		caller, err := h.Authenticate(t.Context(), credential("eve", "orders-db"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // the fake clock's: what a real login costs
		if _, err := caller.Open(context.Background(), postern.Target{Resource: "orders-db"}); !errors.Is(err, gate.ErrRefused) {
			t.Fatalf("got %v, want ErrRefused", err)
		}
		if took := time.Since(began); took != 300*time.Millisecond {
			t.Errorf("took %v, want 300ms as every refusal", took)
		}
	})
}
