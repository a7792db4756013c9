package approval_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern"
	"postern/internal/approval"
	"postern/internal/store"
)

// log is an audit log in memory. While broken it takes nothing.
type log struct {
	mu      sync.Mutex
	entries []postern.AuditEntry
	broken  atomic.Bool
}

func (l *log) Append(ctx context.Context, e postern.AuditEntry) error {
	if l.broken.Load() {
		return errors.New("disk full")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, e)
	return nil
}

func (l *log) Act(ctx context.Context, entries func() []postern.AuditEntry, do func(context.Context) error) error {
	if l.broken.Load() {
		return fmt.Errorf("%w: disk full", postern.ErrUnaudited)
	}
	if err := do(ctx); err != nil {
		return err
	}
	for _, e := range entries() {
		if err := l.Append(context.WithoutCancel(ctx), e); err != nil {
			return err
		}
	}
	return nil
}

// lines are the entries as "action outcome by".
func (l *log) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, e := range l.entries {
		all = append(all, e.Action+" "+e.Outcome+" "+e.Identity)
	}
	return all
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Fatalf("got %v, want %v that says %q", err, want, says)
	}
}

func open(t *testing.T, dir string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite", dir)
	ok(t, err)
	return db
}

// newServices are n services, each with its own connection to one store, as of
// n gateways; and the log that they share.
func newServices(t *testing.T, n int) ([]*approval.Service, *log) {
	t.Helper()
	dir, l := t.TempDir(), &log{}
	var all []*approval.Service
	for range n {
		db := open(t, dir)
		t.Cleanup(func() { _ = db.Close() })
		s, err := approval.New(approval.Config{Store: db, Audit: l, Poll: 10 * time.Millisecond})
		ok(t, err)
		all = append(all, s)
	}
	return all, l
}

func newService(t *testing.T) (*approval.Service, *log) {
	t.Helper()
	all, l := newServices(t, 1)
	return all[0], l
}

func review(id string) postern.Review {
	now := time.Now().UTC()
	return postern.Review{
		ID: id, State: postern.ReviewPending, Session: "ss_1", N: 3, Identity: "alice", Kind: postern.User, Actor: "helper",
		Resource: "db", Command: "UPDATE payments SET x = 1", Commands: []postern.Command{{Verb: "update", Text: "UPDATE payments SET x = 1"}},
		Rule: "payments", Approvers: []postern.Principal{"group:dba"}, Approvals: 1, Digest: "digest of " + id, Policy: "p1",
		CreatedAt: now, ExpiresAt: now.Add(15 * time.Minute),
	}
}

func person(name string) postern.Identity {
	return postern.Identity{Name: name, Kind: postern.User, Groups: []string{"dba"}}
}

func through(id, actor postern.Identity) postern.Identity {
	id.Actor = &actor
	return id
}

func state(t *testing.T, s *approval.Service, id string, want postern.ReviewState) postern.Review {
	t.Helper()
	rv, err := s.Get(context.WithoutCancel(t.Context()), id)
	ok(t, err)
	if rv.State != want {
		t.Fatalf("the review is %s, want %s", rv.State, want)
	}
	return rv
}

type waited struct {
	rv  postern.Review
	err error
}

func wait(ctx context.Context, s *approval.Service, id string) <-chan waited {
	done := make(chan waited, 1)
	go func() {
		rv, err := s.Wait(ctx, id)
		done <- waited{rv, err}
	}()
	return done
}

func TestApproveAndSpendOnce(t *testing.T) {
	ctx := t.Context()
	s, l := newService(t)
	rv := review("rv_1")
	ok(t, s.Submit(ctx, rv))
	done := wait(ctx, s, rv.ID)
	got, err := s.Vote(ctx, rv.ID, person("dora"), true, "looks right")
	ok(t, err)
	if got.State != postern.ReviewApproved || len(got.Votes) != 1 || got.Votes[0].By != "dora" || got.Votes[0].Reason != "looks right" || got.DecidedAt.IsZero() {
		t.Errorf("%+v", got)
	}
	w := <-done
	if w.err != nil || w.rv.State != postern.ReviewApproved {
		t.Fatalf("%+v", w)
	}
	is(t, s.Spend(ctx, rv.ID, "another digest"), approval.ErrInvalid, "something else")
	ok(t, s.Spend(ctx, rv.ID, rv.Digest))
	is(t, s.Spend(ctx, rv.ID, rv.Digest), approval.ErrDecided, "spent")
	is(t, s.Void(ctx, rv.ID, "too late"), approval.ErrDecided, "spent")
	_, err = s.Vote(ctx, rv.ID, person("dan"), false, "")
	is(t, err, approval.ErrDecided, "spent")
	want := []string{"review.submit review alice", "review.approve ok dora", "review.spend ok alice"}
	if got := l.lines(); !slices.Equal(got, want) {
		t.Errorf("logged %q", got)
	}
	e := l.entries[1]
	if e.Review != rv.ID || e.Digest != rv.Digest || e.Session != "ss_1" || e.N != 3 || e.Verb != "update" || e.Reason != "looks right" || e.Rule != "payments" {
		t.Errorf("%+v", e)
	}
}

// TestRowsAreDropped: the rows that approvers are shown are kept for as long as the
// review is to be decided.
func TestRowsAreDropped(t *testing.T) {
	ctx := t.Context()
	s, _ := newService(t)
	for name, decide := range map[string]func(id string){
		"approved":  func(id string) { _, err := s.Vote(ctx, id, person("dan"), true, ""); ok(t, err) },
		"denied":    func(id string) { _, err := s.Vote(ctx, id, person("dan"), false, "no"); ok(t, err) },
		"withdrawn": func(id string) { _, err := s.Withdraw(ctx, id, "gone"); ok(t, err) },
	} {
		rv := review("rv_" + name)
		rv.Approvals = 2
		rv.Evidence = &postern.Evidence{Trial: &postern.Trial{Tag: "UPDATE 1", Sealed: "rows"}}
		ok(t, s.Submit(ctx, rv))
		_, err := s.Vote(ctx, rv.ID, person("dora"), true, "")
		ok(t, err)
		if got := state(t, s, rv.ID, postern.ReviewPending); got.Evidence.Trial.Sealed != "rows" {
			t.Errorf("%s: the rows are gone before it is decided", name)
		}
		decide(rv.ID)
		if got := state(t, s, rv.ID, postern.ReviewState(name)); got.Evidence.Trial.Sealed != "" || got.Evidence.Trial.Tag != "UPDATE 1" {
			t.Errorf("%s: kept is %+v", name, got.Evidence.Trial)
		}
	}
}

func TestDeny(t *testing.T) {
	ctx := t.Context()
	s, l := newService(t)
	rv := review("rv_1")
	rv.Approvals = 2
	ok(t, s.Submit(ctx, rv))
	_, err := s.Vote(ctx, rv.ID, person("dora"), true, "")
	ok(t, err)
	state(t, s, rv.ID, postern.ReviewPending)
	// Who approved may think better of it: one no is enough.
	got, err := s.Vote(ctx, rv.ID, person("dora"), false, "on second thought")
	ok(t, err)
	if got.State != postern.ReviewDenied || len(got.Votes) != 2 {
		t.Errorf("%+v", got)
	}
	is(t, s.Spend(ctx, rv.ID, rv.Digest), approval.ErrDecided, "denied")
	_, err = s.Vote(ctx, rv.ID, person("dan"), true, "")
	is(t, err, approval.ErrDecided, "denied")
	if got := l.lines(); got[len(got)-1] != "review.deny ok dora" {
		t.Errorf("logged %q", got)
	}
}

func TestApprovalsOfDifferentPeople(t *testing.T) {
	ctx := t.Context()
	s, _ := newService(t)
	rv := review("rv_1")
	rv.Approvals = 3
	ok(t, s.Submit(ctx, rv))
	dora, bot := person("dora"), postern.Identity{Name: "bot", Kind: postern.Service, Groups: []string{"dba"}}
	vote := func(voter postern.Identity, says string) {
		t.Helper()
		_, err := s.Vote(ctx, rv.ID, voter, true, "")
		if says == "" {
			ok(t, err)
			return
		}
		is(t, err, approval.ErrDecided, says)
	}
	vote(dora, "")
	vote(dora, "you have approved")
	vote(through(person("dan"), bot), "")
	vote(bot, "you have approved")                         // it has, for dan
	vote(through(person("eve"), bot), "you have approved") // and again for another
	state(t, s, rv.ID, postern.ReviewPending)
	vote(person("eve"), "")
	state(t, s, rv.ID, postern.ReviewApproved)
}

func TestMayVote(t *testing.T) {
	rv := review("rv_1")
	rv.Approvers = []postern.Principal{"group:dba", "user:boss"}
	service := func(name string) postern.Identity {
		return postern.Identity{Name: name, Kind: postern.Service, Groups: []string{"dba"}}
	}
	admin := postern.Identity{Name: "root", Kind: postern.User, Groups: []string{"admins"}}
	for _, c := range []struct {
		who   string
		voter postern.Identity
		says  string // "" may
	}{
		{"an approver by group", person("dora"), ""},
		{"an approver by name", postern.Identity{Name: "boss", Kind: postern.User}, ""},
		{"a service that is an approver", service("bot"), ""},
		{"a service of the requester's name", service("alice"), "their own command"},
		{"approvers both", through(person("dora"), service("bot")), ""},
		{"the requester", person("alice"), "their own command"},
		{"the requester's actor", service("helper"), "acts for another"},
		{"the requester through another", through(person("alice"), service("bot")), "their own command"},
		{"the requester for another", through(person("dora"), person("alice")), "their own command"},
		{"the actor for another", through(person("dora"), service("helper")), "acts for another"},
		{"the requester two steps away", through(person("dora"), through(service("bot"), person("alice"))), "their own command"},
		{"an administrator", admin, "only group:dba, user:boss"},
		{"an approver through one who is none", through(person("dora"), postern.Identity{Name: "ai", Kind: postern.Workload}), "only group:dba"},
		{"a service of an approver's name", postern.Identity{Name: "boss", Kind: postern.Service}, "only group:dba"},
		{"nobody", postern.Identity{}, "needs a name"},
		{"nobody of a group", postern.Identity{Groups: []string{"dba"}}, "needs a name"},
	} {
		err := approval.MayVote(rv, c.voter)
		if c.says == "" && err != nil {
			t.Errorf("%s: %v", c.who, err)
		}
		if c.says != "" && (!errors.Is(err, approval.ErrNotApprover) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", c.who, err, c.says)
		}
	}
	everyone := rv
	everyone.Approvers = []postern.Principal{"everyone"}
	if approval.MayVote(everyone, person("alice")) == nil {
		t.Error("where everyone may decide, the requester may, too")
	}
}

// A vote of someone who may not is refused, is in the log, and changes nothing.
func TestRefusedVoteIsLogged(t *testing.T) {
	ctx := t.Context()
	s, l := newService(t)
	rv := review("rv_1")
	ok(t, s.Submit(ctx, rv))
	_, err := s.Vote(ctx, rv.ID, person("alice"), true, "")
	is(t, err, approval.ErrNotApprover, "their own command")
	if got := state(t, s, rv.ID, postern.ReviewPending); len(got.Votes) != 0 {
		t.Errorf("%+v", got.Votes)
	}
	if got := l.lines(); !slices.Equal(got, []string{"review.submit review alice", "review.approve refused alice"}) {
		t.Errorf("logged %q", got)
	}
	_, err = s.Vote(ctx, "rv_none", person("dora"), true, "")
	is(t, err, postern.ErrNotFound, "")
	for _, reason := range []string{strings.Repeat("x", 2001), "\x1b[2J"} {
		_, err = s.Vote(ctx, rv.ID, person("dora"), true, reason)
		is(t, err, approval.ErrInvalid, "reason")
	}
}

func TestSubmitRefuses(t *testing.T) {
	ctx := t.Context()
	s, l := newService(t)
	for name, spoil := range map[string]func(*postern.Review){
		"no id":           func(rv *postern.Review) { rv.ID = "" },
		"no identity":     func(rv *postern.Review) { rv.Identity = "" },
		"no digest":       func(rv *postern.Review) { rv.Digest = "" },
		"approved":        func(rv *postern.Review) { rv.State = postern.ReviewApproved },
		"with votes":      func(rv *postern.Review) { rv.Votes = []postern.Vote{{By: "dora", Approve: true}} },
		"no approvers":    func(rv *postern.Review) { rv.Approvers = nil },
		"wrong approvers": func(rv *postern.Review) { rv.Approvers = []postern.Principal{"dba"} },
		"no approvals":    func(rv *postern.Review) { rv.Approvals = 0 },
		"over already":    func(rv *postern.Review) { rv.ExpiresAt = time.Now() },
		"without end":     func(rv *postern.Review) { rv.ExpiresAt = time.Now().AddDate(1, 0, 0) },
	} {
		rv := review("rv_1")
		spoil(&rv)
		if err := s.Submit(ctx, rv); !errors.Is(err, approval.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(l.lines()) != 0 {
		t.Errorf("logged %q", l.lines())
	}
}

func TestPendingAreLimited(t *testing.T) {
	ctx := t.Context()
	s, _ := newService(t)
	for i := range 10 {
		ok(t, s.Submit(ctx, review(fmt.Sprintf("rv_%d", i))))
	}
	err := s.Submit(ctx, review("rv_10"))
	var many *approval.TooManyError
	if !errors.As(err, &many) || many.Pending != 10 || !strings.Contains(many.ForPerson(), "10 of your commands") {
		t.Fatalf("%v", err)
	}
	other := review("rv_11")
	other.Kind = postern.Service
	ok(t, s.Submit(ctx, other)) // another being of that name
	_, err = s.Withdraw(ctx, "rv_3", "changed my mind")
	ok(t, err)
	ok(t, s.Submit(ctx, review("rv_10")))
}

// The client goes while it waits: nobody can let its command run any more.
func TestWithdrawn(t *testing.T) {
	s, l := newService(t)
	ok(t, s.Submit(t.Context(), review("rv_1")))
	ctx, leave := context.WithCancel(t.Context())
	done := wait(ctx, s, "rv_1")
	leave()
	if w := <-done; w.err != nil || w.rv.State != postern.ReviewWithdrawn {
		t.Fatalf("%+v", w)
	}
	_, err := s.Vote(t.Context(), "rv_1", person("dora"), true, "")
	is(t, err, approval.ErrDecided, "withdrawn")
	if got := l.lines(); got[len(got)-1] != "review.withdraw ok alice" {
		t.Errorf("logged %q", got)
	}
}

// Approved when the client has gone already: the approval is void.
func TestApprovedForNobody(t *testing.T) {
	s, _ := newService(t)
	rv := review("rv_1")
	ok(t, s.Submit(t.Context(), rv))
	_, err := s.Vote(t.Context(), rv.ID, person("dora"), true, "")
	ok(t, err)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	got, err := s.Wait(ctx, rv.ID)
	ok(t, err)
	if got.State != postern.ReviewVoid {
		t.Errorf("%s", got.State)
	}
	is(t, s.Spend(t.Context(), rv.ID, rv.Digest), approval.ErrDecided, "void")
}

// What can't be logged isn't done.
func TestLogBroken(t *testing.T) {
	ctx := t.Context()
	s, l := newService(t)
	rv := review("rv_1")
	l.broken.Store(true)
	if err := s.Submit(ctx, rv); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Fatal(err)
	}
	_, err := s.Get(ctx, rv.ID)
	is(t, err, postern.ErrNotFound, "")
	l.broken.Store(false)
	ok(t, s.Submit(ctx, rv))
	l.broken.Store(true)
	if _, err := s.Vote(ctx, rv.ID, person("dora"), true, ""); err == nil {
		t.Fatal("a vote was counted that isn't in the log")
	}
	state(t, s, rv.ID, postern.ReviewPending)
	l.broken.Store(false)
	_, err = s.Vote(ctx, rv.ID, person("dora"), true, "")
	ok(t, err)
	l.broken.Store(true)
	if s.Spend(ctx, rv.ID, rv.Digest) == nil || s.Void(ctx, rv.ID, "") == nil {
		t.Fatal("a step was taken that isn't in the log")
	}
	state(t, s, rv.ID, postern.ReviewApproved)
}

// A vote through another gateway is noticed by polling.
func TestVoteElsewhere(t *testing.T) {
	ctx := t.Context()
	both, _ := newServices(t, 2)
	ok(t, both[0].Submit(ctx, review("rv_1")))
	done := wait(ctx, both[0], "rv_1")
	_, err := both[1].Vote(ctx, "rv_1", person("dora"), true, "")
	ok(t, err)
	if w := <-done; w.err != nil || w.rv.State != postern.ReviewApproved {
		t.Fatalf("%+v", w)
	}
}

// Two approvers at once, at two gateways: both votes count, each once.
func TestVotesRace(t *testing.T) {
	ctx := t.Context()
	both, l := newServices(t, 2)
	for round := range 5 {
		rv := review(fmt.Sprintf("rv_%d", round))
		rv.Approvals = 2
		ok(t, both[0].Submit(ctx, rv))
		var wg sync.WaitGroup
		for i := range 6 { // three people, each at both gateways
			wg.Go(func() {
				_, err := both[i%2].Vote(ctx, rv.ID, person(fmt.Sprint("p", i/2)), true, "")
				if err != nil && !errors.Is(err, approval.ErrDecided) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got := state(t, both[1], rv.ID, postern.ReviewApproved)
		if len(got.Votes) != 2 || got.Votes[0].By == got.Votes[1].By {
			t.Fatalf("%+v", got.Votes)
		}
		ok(t, both[0].Void(ctx, rv.ID, "next round"))
	}
	// Whoever lost logged that their step wasn't done.
	balance := map[string]int{}
	for _, e := range l.entries {
		if e.Action == "review.approve" && e.Outcome == "ok" {
			balance[e.Review]++
		}
		if e.Action == "review.approve" && e.Outcome == "refused" && strings.HasPrefix(e.Reason, "not done: ") {
			balance[e.Review]--
		}
	}
	for id, n := range balance {
		if n != 2 {
			t.Errorf("the log counts %d approvals of %s", n, id)
		}
	}
}

// Approval and departure at once: the review ends either way, and only an
// approval that came first can be spent.
func TestApproveAgainstWithdraw(t *testing.T) {
	both, _ := newServices(t, 2)
	for round := range 10 {
		rv := review(fmt.Sprintf("rv_%d", round))
		ok(t, both[0].Submit(t.Context(), rv))
		ctx, leave := context.WithCancel(t.Context())
		done := wait(ctx, both[0], rv.ID)
		var wg sync.WaitGroup
		wg.Go(leave)
		wg.Go(func() {
			_, err := both[1].Vote(t.Context(), rv.ID, person("dora"), true, "")
			if err != nil && !errors.Is(err, approval.ErrDecided) {
				t.Error(err)
			}
		})
		wg.Wait()
		w := <-done
		ok(t, w.err)
		spent := both[0].Spend(t.Context(), rv.ID, rv.Digest)
		switch w.rv.State {
		case postern.ReviewApproved:
			ok(t, spent)
		case postern.ReviewWithdrawn, postern.ReviewVoid:
			is(t, spent, approval.ErrDecided, string(w.rv.State))
		default:
			t.Fatalf("ended as %s", w.rv.State)
		}
	}
}

func TestSpendRace(t *testing.T) {
	ctx := t.Context()
	both, _ := newServices(t, 2)
	for round := range 5 {
		rv := review(fmt.Sprintf("rv_%d", round))
		ok(t, both[0].Submit(ctx, rv))
		_, err := both[0].Vote(ctx, rv.ID, person("dora"), true, "")
		ok(t, err)
		var spent atomic.Int64
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if err := both[i%2].Spend(ctx, rv.ID, rv.Digest); err == nil {
					spent.Add(1)
				} else if !errors.Is(err, approval.ErrDecided) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if spent.Load() != 1 {
			t.Fatalf("spent %d times", spent.Load())
		}
	}
}

// inBubble runs f with a clock that jumps, over a real store.
func inBubble(t *testing.T, f func(t *testing.T, s *approval.Service, l *log)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, l := open(t, dir), &log{}
		s, err := approval.New(approval.Config{Store: db, Audit: l})
		ok(t, err)
		f(t, s, l)
		ok(t, db.Close())
	})
}

func TestTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, s *approval.Service, l *log) {
		rv := review("rv_1")
		ok(t, s.Submit(t.Context(), rv))
		got, err := s.Wait(t.Context(), rv.ID)
		ok(t, err)
		if got.State != postern.ReviewTimedOut {
			t.Errorf("%s", got.State)
		}
		if late := time.Since(rv.ExpiresAt); late != 0 {
			t.Errorf("ended %v after its deadline", late)
		}
		if got := l.lines(); got[len(got)-1] != "review.timeout ok alice" {
			t.Errorf("logged %q", got)
		}
	})
}

// A vote at the deadline is too late, even when nobody waits to say so.
func TestVoteTooLate(t *testing.T) {
	inBubble(t, func(t *testing.T, s *approval.Service, _ *log) {
		rv := review("rv_1")
		ok(t, s.Submit(t.Context(), rv))
		time.Sleep(15 * time.Minute) // the bubble's clock
		_, err := s.Vote(t.Context(), rv.ID, person("dora"), true, "")
		is(t, err, approval.ErrDecided, "timed_out")
		state(t, s, rv.ID, postern.ReviewTimedOut)
	})
}

// A vote here wakes who waits at once, without a tick of the clock.
func TestVoteWakes(t *testing.T) {
	inBubble(t, func(t *testing.T, s *approval.Service, _ *log) {
		rv := review("rv_1")
		ok(t, s.Submit(t.Context(), rv))
		done := wait(t.Context(), s, rv.ID)
		synctest.Wait() // it waits
		began := time.Now()
		_, err := s.Vote(t.Context(), rv.ID, person("dora"), true, "")
		ok(t, err)
		w := <-done
		if w.err != nil || w.rv.State != postern.ReviewApproved {
			t.Fatalf("%+v", w)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

// What a gateway that died left behind is ended, once its time is up.
func TestSweep(t *testing.T) {
	inBubble(t, func(t *testing.T, s *approval.Service, _ *log) {
		ctx := t.Context()
		for _, id := range []string{"rv_pending", "rv_approved", "rv_denied"} {
			ok(t, s.Submit(ctx, review(id)))
		}
		_, err := s.Vote(ctx, "rv_approved", person("dora"), true, "")
		ok(t, err)
		_, err = s.Vote(ctx, "rv_denied", person("dora"), false, "")
		ok(t, err)
		sweep := func(want int) {
			t.Helper()
			n, err := s.Sweep(ctx)
			ok(t, err)
			if n != want {
				t.Errorf("ended %d, want %d", n, want)
			}
		}
		sweep(0)
		time.Sleep(16 * time.Minute) // the bubble's clock
		sweep(2)
		sweep(0)
		state(t, s, "rv_pending", postern.ReviewTimedOut)
		state(t, s, "rv_approved", postern.ReviewVoid)
		state(t, s, "rv_denied", postern.ReviewDenied)
		// The list is that of the store.
		list, err := s.List(ctx, postern.ReviewFilter{State: postern.ReviewDenied})
		ok(t, err)
		if len(list) != 1 || list[0].ID != "rv_denied" {
			t.Errorf("%+v", list)
		}
	})
}
