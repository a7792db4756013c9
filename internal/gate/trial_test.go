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
	"postern/internal/gate/gatetest"
)

const heldObjects = "review: {approvers: [\"group:dba\"], timeout: 15m, before: commit, hold: 20s}"

// tryer runs nothing, and says what it is told to.
type tryer struct {
	tried gate.Tried
	err   error
	runs  int
	skip  bool // it doesn't begin
	then  func()
}

func (f *tryer) try(_ context.Context, d postern.Decision, begin func() error) (gate.Tried, error) {
	if d.Verdict == postern.Allow {
		return gate.Tried{}, errors.New("it was allowed before anybody was asked")
	}
	if !f.skip {
		if err := begin(); err != nil {
			return gate.Tried{}, err
		}
		f.runs++
	}
	if f.then != nil {
		f.then()
	}
	return f.tried, f.err
}

// states are those of the recording's events of reviews.
func states(h *gatetest.Harness) string {
	var all []string
	for _, e := range h.Recordings.Last().Flushed() {
		if e.Kind == postern.EventReview {
			all = append(all, e.State)
		}
	}
	return strings.Join(all, " ")
}

func actions(h *gatetest.Harness) string {
	var all []string
	for _, e := range h.Audit.Entries() {
		if strings.HasPrefix(e.Action, "review.") || e.Action == "command" {
			all = append(all, strings.TrimPrefix(e.Action, "review.")+" "+e.Outcome)
		}
	}
	return strings.Join(all, ", ")
}

// TestTrial: what was run is allowed only when it was approved; every other end is
// recorded as undone.
func TestTrial(t *testing.T) {
	did := func() *postern.Trial {
		return &postern.Trial{Tag: "UPDATE 2", Rows: 2, Sample: &postern.Sample{Table: "t"}, Missing: []string{"no more"}}
	}
	approve := func(h *gatetest.Harness, rv postern.Review) { h.Reviews.Settle(rv.ID, postern.ReviewApproved) }
	for name, c := range map[string]struct {
		tryer  tryer
		settle func(*gatetest.Harness, postern.Review)
		want   postern.Verdict
		reason string
		states string
	}{
		"approved": {tryer{tried: gate.Tried{Did: did()}}, approve, postern.Allow, "approved in review", "trial held pending approved"},
		"denied": {
			tryer{tried: gate.Tried{Did: did()}},
			func(h *gatetest.Harness, rv postern.Review) { h.Reviews.Settle(rv.ID, postern.ReviewDenied) },
			postern.Deny, "it was run and undone: review rv_", "trial held pending denied rolled_back",
		},
		"nobody answers": {
			tryer{tried: gate.Tried{Did: did()}},
			func(*gatetest.Harness, postern.Review) {},
			postern.Deny, "it was run and undone: review rv_", "trial held pending timed_out rolled_back",
		},
		"policy changed meanwhile": {
			tryer{tried: gate.Tried{Did: did()}}, func(h *gatetest.Harness, rv postern.Review) {
				h.SetObjects(strings.Replace(objects, "review: {approvers: [\"group:dba\"], timeout: 15m}", strings.Replace(heldObjects, "20s", "21s", 1), 1))
				approve(h, rv)
			}, postern.Deny, "it was run and undone: the policy changed", "trial held pending approved rolled_back",
		},
		"undone at once":    {tryer{tried: gate.Tried{Refused: "it changed 9 rows."}}, nil, postern.Deny, "it changed 9 rows.", "trial rolled_back"},
		"refused unrun":     {tryer{tried: gate.Tried{Refused: "it can't be masked."}, skip: true}, nil, postern.Deny, "it can't be masked.", ""},
		"not fit to be run": {tryer{tried: gate.Tried{Instead: "it is DDL"}, skip: true}, approve, postern.Allow, "approved in review", "pending approved"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.SetObjects(strings.Replace(objects, "review: {approvers: [\"group:dba\"], timeout: 15m}", heldObjects, 1))
				s := open(t, h)
				var rv postern.Review
				if c.settle != nil {
					go func() { c.settle(h, <-h.Reviews.Opened()) }()
				}
				began := time.Now()
				d, err := s.DecideWaiting(t.Context(), gate.Waiting{Tell: func(told postern.Review) { rv = told }, Try: c.tryer.try}, command("update", "update t set a = 1"))
				if err != nil || d.Verdict != c.want || !strings.HasPrefix(d.Reason, c.reason) {
					t.Errorf("got %+v, %v", d, err)
				}
				if got := states(h); got != c.states {
					t.Errorf("recorded %q, want %q", got, c.states)
				}
				if strings.HasSuffix(c.states, "timed_out rolled_back") && time.Since(began) != 20*time.Second {
					t.Errorf("it was held for %v", time.Since(began))
				}
				switch {
				case c.settle == nil:
					if rv.ID != "" {
						t.Error("somebody was asked")
					}
				case c.tryer.tried.Did != nil:
					if tr := rv.Evidence.Trial; tr == nil || tr.Rows != 2 || tr.Sample != nil || !strings.Contains(tr.Sealed, "\"table\":\"t\"") || rv.Evidence.Missing[0] != "no more" {
						t.Errorf("approvers are shown %+v", rv.Evidence)
					}
				default:
					if rv.Evidence.Trial != nil || !strings.HasSuffix(rv.Evidence.Missing[0], "it is DDL") || rv.ExpiresAt.Sub(rv.CreatedAt) != 15*time.Minute {
						t.Errorf("approvers are shown %+v", rv)
					}
				}
			})
		})
	}
}

// TestTrialThatCantBeTried: a protocol that can't, and a condition on what is masked.
func TestTrialThatCantBeTried(t *testing.T) {
	h := newHarness(t)
	h.SetObjects(strings.Replace(objects, "review: {approvers: [\"group:dba\"], timeout: 15m}", heldObjects, 1) +
		"---\nkind: Mask\nname: m\nto: [\"group:nobody\"]\ncolumns: [public.t.mail]\nwith: redact\n")
	s := open(t, h)
	tells := command("update", "update t set a = 1 where mail = 'x'")
	tells.Attrs = []postern.Attr{postern.StringsAttr("predicate_columns", []string{"public.t.mail"})}
	f := &tryer{tried: gate.Tried{Did: &postern.Trial{}}}
	for want, ask := range map[string]func() (postern.Decision, error){
		"this protocol can't undo what was run": func() (postern.Decision, error) {
			return s.Decide(t.Context(), command("update", "update t set a = 1"))
		},
		"a condition looks at public.t.mail, which is masked for some: the number of rows would tell its values": func() (postern.Decision, error) {
			return s.DecideWaiting(t.Context(), gate.Waiting{Try: f.try}, tells)
		},
	} {
		go func() {
			rv := <-h.Reviews.Opened()
			if got := strings.Join(rv.Evidence.Missing, "; "); !strings.HasPrefix(got, "it has not run yet, and would be committed as it runs: "+want) {
				t.Errorf("approvers are told %q", got)
			}
			h.Reviews.Settle(rv.ID, postern.ReviewDenied)
		}()
		if d, err := ask(); err != nil || d.Verdict != postern.Deny || f.runs > 0 {
			t.Errorf("got %+v, %v, %d runs", d, err, f.runs)
		}
	}
}

// TestTrialIsWrittenFirst: nothing runs before it is recorded and audited, and nothing
// is allowed to be committed before the decision is.
func TestTrialIsWrittenFirst(t *testing.T) {
	broken := errors.New("the disk is full")
	for name, c := range map[string]struct {
		before, meanwhile, decided func(*gatetest.Harness)
		runs                       int
	}{
		"the recording breaks before it runs":   {before: func(h *gatetest.Harness) { h.Recordings.Break(broken) }},
		"the audit log breaks before it runs":   {before: func(h *gatetest.Harness) { h.Audit.Break(broken) }},
		"the session ends while it runs":        {meanwhile: func(h *gatetest.Harness) { h.End("killed", func(postern.SessionInfo) bool { return true }) }, runs: 1},
		"the recording breaks while it is held": {decided: func(h *gatetest.Harness) { h.Recordings.Break(broken) }, runs: 1},
		"the audit log breaks while it is held": {decided: func(h *gatetest.Harness) { h.Audit.Break(broken) }, runs: 1},
		"the session ends as it is approved":    {decided: func(h *gatetest.Harness) { h.End("killed", func(postern.SessionInfo) bool { return true }) }, runs: 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.SetObjects(strings.Replace(objects, "review: {approvers: [\"group:dba\"], timeout: 15m}", heldObjects, 1))
			s := open(t, h)
			f := &tryer{tried: gate.Tried{Did: &postern.Trial{Tag: "UPDATE 1"}}}
			if c.before != nil {
				c.before(h)
			}
			if c.meanwhile != nil {
				f.then = func() { c.meanwhile(h) }
			}
			if c.decided != nil {
				go func() {
					rv := <-h.Reviews.Opened()
					c.decided(h)
					h.Reviews.Settle(rv.ID, postern.ReviewApproved)
				}()
			}
			d, err := s.DecideWaiting(t.Context(), gate.Waiting{Try: f.try}, command("update", "update t set a = 1"))
			if d.Verdict == postern.Allow || err == nil {
				t.Errorf("got %+v, %v", d, err)
			}
			if f.runs != c.runs {
				t.Errorf("it ran %d times", f.runs)
			}
		})
	}
}

// TestTrialIsAudited: each step, and the decision before the commit.
func TestTrialIsAudited(t *testing.T) {
	h := newHarness(t)
	h.SetObjects(strings.Replace(objects, "review: {approvers: [\"group:dba\"], timeout: 15m}", heldObjects, 1))
	s := open(t, h)
	f := &tryer{tried: gate.Tried{Did: &postern.Trial{Tag: "UPDATE 1", Rows: 1}}}
	go func() { h.Reviews.Settle((<-h.Reviews.Opened()).ID, postern.ReviewApproved) }()
	id := ""
	d, err := s.DecideWaiting(t.Context(), gate.Waiting{Tell: func(rv postern.Review) { id = rv.ID }, Try: f.try}, command("update", "update t set a = 1"))
	if err != nil || d.Verdict != postern.Allow {
		t.Fatalf("got %+v, %v", d, err)
	}
	if err := s.Concluded(d, id, postern.TrialCommitted, ""); err != nil {
		t.Fatal(err)
	}
	if got := actions(h); got != "trial ok, held ok, command allow, committed ok" {
		t.Errorf("logged: %s", got)
	}
	for _, e := range h.Audit.Entries() {
		if strings.HasPrefix(e.Action, "review.") && (e.Review != id || e.N != 1 || e.Rule != "updates-reviewed") {
			t.Errorf("%+v", e)
		}
	}
}
