package approval_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern"
	"postern/internal/approval"
	"postern/internal/policy"
)

const accesses = `
kind: Resource
name: db
type: postgres
address: 127.0.0.1:1
---
kind: Access
name: fixes
to: ["group:eng", "workload:bot"]
on: {names: [db]}
allow: [{verbs: [select, update, delete]}]
request: {approvers: ["group:dba"], approvals: 2, max: 4h, when: 'request.ticket != ""'}
---
kind: Access
name: emergency
to: ["group:eng"]
on: {names: [db]}
break_glass: {reviewers: ["group:security"], max: 30m}
---
kind: Access
name: emergency-of-two
to: ["group:eng"]
on: {names: [db]}
break_glass: {approvers: ["group:eng"], reviewers: ["group:security", "group:eng"]}
`

// rules is a policy that a test can change.
type rules struct{ set atomic.Pointer[policy.Set] }

func (r *rules) put(t *testing.T, text string) {
	t.Helper()
	objects, err := policy.Parse("p.yaml", []byte(text))
	ok(t, err)
	set, err := policy.NewSet(objects, policy.Options{Protocols: []policy.ProtocolType{{Name: "postgres"}}})
	ok(t, err)
	r.set.Store(set)
}

func engineer(name string) postern.Identity {
	return postern.Identity{Name: name, Kind: postern.User, Groups: []string{"eng"}, Subject: "local:" + name}
}

// desks are n services over one store and one policy, as of n gateways.
func desks(t *testing.T, n int) ([]*approval.Service, *log, *rules) {
	t.Helper()
	dir, l, r := t.TempDir(), &log{}, &rules{}
	r.put(t, accesses)
	var all []*approval.Service
	for range n {
		db := open(t, dir)
		t.Cleanup(func() { _ = db.Close() })
		s, err := approval.New(approval.Config{Store: db, Audit: l, Poll: 10 * time.Millisecond, Policy: r.set.Load})
		ok(t, err)
		_, err = s.Refresh(t.Context())
		ok(t, err)
		all = append(all, s)
	}
	return all, l, r
}

func fixes(by postern.Identity) policy.Asking {
	return policy.Asking{Identity: by, Resource: "db", Access: "fixes", For: time.Hour, Reason: "the queue is stuck", Ticket: "OPS-7"}
}

func approve(t *testing.T, s *approval.Service, id string, voters ...string) postern.Review {
	t.Helper()
	var rv postern.Review
	for _, v := range voters {
		var err error
		rv, err = s.Vote(t.Context(), id, person(v), true, "")
		ok(t, err)
	}
	return rv
}

func TestRequest(t *testing.T) {
	all, l, r := desks(t, 2)
	a, b := all[0], all[1]
	alice := engineer("alice")
	rv, err := a.Request(t.Context(), fixes(alice))
	ok(t, err)
	if rv.State != postern.ReviewPending || !strings.HasPrefix(rv.ID, "rq_") || rv.Approvals != 2 || rv.Command == "" {
		t.Fatalf("%+v", rv)
	}
	// Less is approved than was asked for, by each in another way.
	_, err = b.Cast(t.Context(), rv.ID, person("dora"), postern.Ballot{Approve: true, Seconds: 1800, Verbs: []string{"select", "update"}})
	ok(t, err)
	if len(a.Grants(alice)) != 0 {
		t.Fatal("one approval of two gave a grant")
	}
	_, err = a.Cast(t.Context(), rv.ID, person("dan"), postern.Ballot{Approve: true, Seconds: 2400, Verbs: []string{"update", "delete"}})
	ok(t, err)
	got := a.Grants(alice)
	if len(got) != 1 || !slices.Equal(got[0].Verbs, []string{"update"}) || got[0].Until.Sub(got[0].From) != 30*time.Minute ||
		got[0].Terms != r.set.Load().Terms("db", "fixes") || !got[0].Holds(time.Now(), "db", alice.Beings()) {
		t.Fatalf("%+v", got)
	}
	// The other gateway learns of it when it looks again.
	if changed, err := b.Refresh(t.Context()); err != nil || !changed || len(b.Grants(alice)) != 1 {
		t.Errorf("%v, %v, %+v", changed, err, b.Grants(alice))
	}
	if changed, err := b.Refresh(t.Context()); err != nil || changed {
		t.Errorf("nothing has changed: %v, %v", changed, err)
	}
	// No other name, kind or chain has it.
	robot := postern.Identity{Name: "alice", Kind: postern.Service}
	if len(a.Grants(engineer("bob"))) != 0 || len(a.Grants(robot)) != 0 {
		t.Error("somebody else has it")
	}
	want := []string{"request.submit review alice", "request.approve ok dora", "request.approve ok dan"}
	if got := l.lines(); !slices.Equal(got, want) {
		t.Errorf("logged %q", got)
	}
	// It is no command, and can't be spent or voided as one.
	is(t, a.Spend(t.Context(), rv.ID, rv.Digest), approval.ErrInvalid, "no command")
	// Taken back, it is gone at both.
	_, err = b.Revoke(t.Context(), rv.ID, alice, "done")
	ok(t, err)
	if changed, err := a.Refresh(t.Context()); err != nil || !changed || len(a.Grants(alice)) != 0 {
		t.Errorf("%v, %v, %+v", changed, err, a.Grants(alice))
	}
	_, err = b.Revoke(t.Context(), rv.ID, alice, "again")
	is(t, err, approval.ErrDecided, "void")
}

// Nobody approves what they asked for, in whatever guise, or twice.
func TestRequestVoters(t *testing.T) {
	all, l, _ := desks(t, 1)
	s := all[0]
	boss := engineer("alice")
	boss.Groups = append(boss.Groups, "dba", "admins")
	bot := postern.Identity{Name: "bot", Kind: postern.Workload}
	inner := postern.Identity{Name: "inner", Kind: postern.Workload}
	ask := fixes(boss)
	ask.Identity.Actor = &bot
	bot.Actor = &inner
	_, err := s.Request(t.Context(), ask)
	if err == nil {
		t.Fatal("an actor without any access asked")
	}
	bot.Actor = nil
	rv, err := s.Request(t.Context(), ask)
	ok(t, err)
	service := postern.Identity{Name: "alice", Kind: postern.Service, Groups: []string{"dba"}}
	machine := postern.Identity{Name: "bot", Kind: postern.Service, Groups: []string{"dba"}}
	through := person("dora")
	through.Actor = &boss
	for name, voter := range map[string]postern.Identity{
		"who asked": boss, "their service account": service, "their actor": machine, "somebody through them": through, "a stranger": person2("carl", "eng"),
	} {
		_, err := s.Vote(t.Context(), rv.ID, voter, true, "")
		if !errors.Is(err, approval.ErrNotApprover) {
			t.Errorf("%s: %v", name, err)
		}
	}
	approve(t, s, rv.ID, "dora")
	_, err = s.Vote(t.Context(), rv.ID, person("dora"), true, "")
	is(t, err, approval.ErrDecided, "someone else must")
	refused := 0
	for _, line := range l.lines() {
		if strings.HasPrefix(line, "request.approve refused") {
			refused++
		}
	}
	if refused != 5 || len(s.Grants(ask.Identity)) != 0 {
		t.Errorf("%d refusals logged, grants %+v", refused, s.Grants(ask.Identity))
	}
}

func person2(name, group string) postern.Identity {
	return postern.Identity{Name: name, Kind: postern.User, Groups: []string{group}}
}

// What was asked for isn't what is in force any more: an approval is void.
func TestRequestAfterPolicyChange(t *testing.T) {
	all, _, r := desks(t, 1)
	s := all[0]
	rv, err := s.Request(t.Context(), fixes(engineer("alice")))
	ok(t, err)
	approve(t, s, rv.ID, "dora")
	r.put(t, strings.Replace(accesses, "select, update, delete", "select, update, delete, truncate", 1))
	_, err = s.Vote(t.Context(), rv.ID, person("dan"), true, "")
	is(t, err, approval.ErrDecided, "the access was changed")
	state(t, s, rv.ID, postern.ReviewVoid)
	if len(s.Grants(engineer("alice"))) != 0 {
		t.Error("it was granted all the same")
	}
}

func TestRequestRefused(t *testing.T) {
	all, _, _ := desks(t, 1)
	s := all[0]
	for name, c := range map[string]struct {
		change func(*policy.Asking)
		says   string
	}{
		"no reason":   {func(a *policy.Asking) { a.Reason = " \n" }, "its reason is missing"},
		"long reason": {func(a *policy.Asking) { a.Reason = strings.Repeat("x", 2001) }, "at most 2000"},
		"bell":        {func(a *policy.Asking) { a.Reason = "a\x07" }, "text of at most"},
		"escape":      {func(a *policy.Asking) { a.Ticket = "\x1b[31m" }, "text of at most"},
		"no ticket":   {func(a *policy.Asking) { a.Ticket = "" }, "it asks for request.ticket"},
		"seconds":     {func(a *policy.Asking) { a.For = 30 * time.Millisecond }, "a second at least"},
		"past":        {func(a *policy.Asking) { a.For = -time.Hour }, "a second at least"},
		"too long":    {func(a *policy.Asking) { a.For = 5 * time.Hour }, "at most 4h"},
		"star":        {func(a *policy.Asking) { a.Verbs = []string{"*"} }, "is no verb"},
		"verb":        {func(a *policy.Asking) { a.Verbs = []string{"drop"} }, "doesn't allow all of drop"},
		"stranger":    {func(a *policy.Asking) { a.Identity = person("dora") }, "no resource of that name"},
	} {
		a := fixes(engineer("alice"))
		c.change(&a)
		if _, err := s.Request(t.Context(), a); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
	rv, err := s.Request(t.Context(), fixes(engineer("alice")))
	ok(t, err)
	for name, b := range map[string]postern.Ballot{
		"longer":      {Approve: true, Seconds: 3601},
		"negative":    {Approve: true, Seconds: -1},
		"other verbs": {Approve: true, Verbs: []string{"drop"}},
		"any verb":    {Approve: true, Verbs: []string{"*"}},
	} {
		if _, err := s.Cast(t.Context(), rv.ID, person("dora"), b); !errors.Is(err, approval.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = s.Cast(t.Context(), rv.ID, person("dora"), postern.Ballot{Approve: true, Verbs: []string{"select"}})
	ok(t, err)
	_, err = s.Cast(t.Context(), rv.ID, person("dan"), postern.Ballot{Approve: true, Verbs: []string{"update"}})
	is(t, err, approval.ErrInvalid, "leaves no verb")
	state(t, s, rv.ID, postern.ReviewPending)
	for range 9 {
		_, err := s.Request(t.Context(), fixes(engineer("alice")))
		ok(t, err)
	}
	var many *approval.TooManyError
	if _, err := s.Request(t.Context(), fixes(engineer("alice"))); !errors.As(err, &many) {
		t.Errorf("the eleventh: %v", err)
	}
	// A command is approved as it is.
	cmd := review("rv_1")
	cmd.Identity = "bob"
	ok(t, s.Submit(t.Context(), cmd))
	_, err = s.Cast(t.Context(), "rv_1", person("dora"), postern.Ballot{Approve: true, Seconds: 60})
	is(t, err, approval.ErrInvalid, "as it is")
}

func timed(t *testing.T, f func(t *testing.T, s *approval.Service, l *log, changes *atomic.Int64)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, l, r := open(t, dir), &log{}, &rules{}
		r.put(t, accesses)
		var changes atomic.Int64
		s, err := approval.New(approval.Config{Store: db, Audit: l, Policy: r.set.Load, Changed: func() { changes.Add(1) }})
		ok(t, err)
		_, err = s.Refresh(t.Context())
		ok(t, err)
		f(t, s, l, &changes)
		ok(t, db.Close())
	})
}

// A grant is prolonged by the same approvals, up to its access's longest and
// not a moment further; taking it back takes back what prolongs it.
func TestExtend(t *testing.T) {
	timed(t, func(t *testing.T, s *approval.Service, _ *log, changes *atomic.Int64) {
		alice := engineer("alice")
		rv, err := s.Request(t.Context(), fixes(alice))
		ok(t, err)
		_, err = s.Extend(t.Context(), rv.ID, alice, time.Hour, "more")
		is(t, err, approval.ErrDecided, "only a grant that holds")
		rv = approve(t, s, rv.ID, "dora", "dan")
		began := rv.Request.Grant.From
		_, err = s.Extend(t.Context(), rv.ID, engineer("bob"), time.Hour, "more")
		is(t, err, postern.ErrNotFound, "")
		time.Sleep(30 * time.Minute) // the bubble's clock
		more, err := s.Extend(t.Context(), rv.ID, alice, 2*time.Hour, "it takes longer")
		ok(t, err)
		more = approve(t, s, more.ID, "dora", "dan")
		if got := more.Request.Grant.Until.Sub(began); got != 3*time.Hour {
			t.Errorf("lasts %v", got)
		}
		last, err := s.Extend(t.Context(), more.ID, alice, 4*time.Hour, "and longer")
		ok(t, err)
		last = approve(t, s, last.ID, "dora", "dan")
		if got := last.Request.Grant.Until.Sub(began); got != 4*time.Hour {
			t.Errorf("lasts %v, and the access 4h", got)
		}
		_, err = s.Extend(t.Context(), last.ID, alice, time.Hour, "and longer")
		is(t, err, approval.ErrDecided, "as long as it can be had for")
		pending, err := s.Extend(t.Context(), rv.ID, alice, time.Hour, "the first again")
		ok(t, err)
		n := changes.Load()
		_, err = s.Revoke(t.Context(), rv.ID, person("dora"), "enough")
		ok(t, err)
		if len(s.Grants(alice)) != 0 || changes.Load() == n {
			t.Errorf("%+v", s.Grants(alice))
		}
		for _, id := range []string{rv.ID, more.ID, last.ID} {
			state(t, s, id, postern.ReviewVoid)
		}
		state(t, s, pending.ID, postern.ReviewWithdrawn)
	})
}

// What a grant's end and its revocation look like to whoever watches.
func TestGrantEnds(t *testing.T) {
	timed(t, func(t *testing.T, s *approval.Service, l *log, changes *atomic.Int64) {
		alice := engineer("alice")
		rv, err := s.Request(t.Context(), fixes(alice))
		ok(t, err)
		approve(t, s, rv.ID, "dora", "dan")
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { s.Watch(ctx, func(err error) { t.Error(err) }) })
		n := changes.Load()
		time.Sleep(time.Hour + 2*time.Second)
		synctest.Wait()
		state(t, s, rv.ID, postern.ReviewSpent)
		if len(s.Grants(alice)) != 0 || changes.Load() == n {
			t.Errorf("%+v", s.Grants(alice))
		}
		if got := l.lines(); got[len(got)-1] != "grant.end ok alice" {
			t.Errorf("logged %q", got)
		}
		late, err := s.Request(t.Context(), fixes(alice))
		ok(t, err)
		time.Sleep(24*time.Hour + 20*time.Second)
		synctest.Wait()
		state(t, s, late.ID, postern.ReviewTimedOut)
		_, err = s.Vote(t.Context(), late.ID, person("dora"), true, "")
		is(t, err, approval.ErrDecided, "timed_out")
		stop()
		wg.Wait()
	})
}

// Without a fresh list no grant counts: one of them may have been taken back.
func TestGrantsGoStale(t *testing.T) {
	timed(t, func(t *testing.T, s *approval.Service, _ *log, _ *atomic.Int64) {
		rv, err := s.Request(t.Context(), fixes(engineer("alice")))
		ok(t, err)
		approve(t, s, rv.ID, "dora", "dan")
		time.Sleep(30 * time.Second)
		if len(s.Grants(engineer("alice"))) != 1 {
			t.Error("gone too soon")
		}
		time.Sleep(time.Second)
		if len(s.Grants(engineer("alice"))) != 0 {
			t.Error("a list of half a minute ago is trusted")
		}
	})
}

// Approval of what prolongs a grant and the revocation of that grant, at once,
// at two gateways: nothing of it survives.
func TestExtendAgainstRevoke(t *testing.T) {
	all, _, _ := desks(t, 2)
	alice := engineer("alice")
	for range 5 {
		rv, err := all[0].Request(t.Context(), fixes(alice))
		ok(t, err)
		approve(t, all[0], rv.ID, "dora", "dan")
		more, err := all[0].Extend(t.Context(), rv.ID, alice, time.Hour, "more")
		ok(t, err)
		approve(t, all[0], more.ID, "dora")
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := all[0].Vote(t.Context(), more.ID, person("dan"), true, ""); err != nil && !errors.Is(err, approval.ErrDecided) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			_, err := all[1].Revoke(t.Context(), rv.ID, alice, "")
			if err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		for _, s := range all {
			_, err := s.Refresh(t.Context())
			ok(t, err)
			if g := s.Grants(alice); len(g) != 0 {
				t.Fatalf("%+v", g)
			}
		}
	}
}

func TestBreakGlass(t *testing.T) {
	timed(t, func(t *testing.T, s *approval.Service, l *log, _ *atomic.Int64) {
		alice := engineer("alice")
		ask := policy.Asking{Identity: alice, Resource: "db", Access: "emergency", BreakGlass: true, For: 20 * time.Minute, Reason: "all is down"}
		rv, err := s.Request(t.Context(), ask)
		ok(t, err)
		if rv.State != postern.ReviewApproved || len(s.Grants(alice)) != 1 || !strings.HasPrefix(rv.Command, "EMERGENCY ") {
			t.Fatalf("%+v", rv)
		}
		if got := l.lines(); !slices.Equal(got, []string{"break_glass ok alice"}) {
			t.Errorf("logged %q", got)
		}
		_, err = s.Request(t.Context(), ask)
		is(t, err, approval.ErrDecided, "you have it already")
		_, err = s.Extend(t.Context(), rv.ID, alice, time.Hour, "more")
		is(t, err, approval.ErrInvalid, "isn't prolonged")
		_, err = s.LookOver(t.Context(), rv.ID, person2("sue", "security"), true, "all fine")
		is(t, err, approval.ErrDecided, "once it has ended")
		time.Sleep(20 * time.Minute)
		_, err = s.Refresh(t.Context())
		ok(t, err)
		if len(s.Grants(alice)) != 0 {
			t.Error("it goes on")
		}
		own := alice
		own.Groups = []string{"security"}
		_, err = s.LookOver(t.Context(), rv.ID, own, true, "all fine")
		is(t, err, approval.ErrNotApprover, "others than who had it")
		_, err = s.LookOver(t.Context(), rv.ID, person2("sue", "eng"), true, "all fine")
		is(t, err, approval.ErrNotApprover, "by group:security")
		_, err = s.LookOver(t.Context(), rv.ID, person2("sue", "security"), true, "")
		is(t, err, approval.ErrInvalid, "say what you found")
		rv, err = s.LookOver(t.Context(), rv.ID, person2("sue", "security"), false, "read too much")
		ok(t, err)
		if rv.Request.Findings == nil || rv.Request.Findings.Approve || approval.Unseen(rv) {
			t.Errorf("%+v", rv.Request.Findings)
		}
		_, err = s.LookOver(t.Context(), rv.ID, person2("sam", "security"), true, "fine")
		is(t, err, approval.ErrDecided, "looked at it already")

		ask.Access = "emergency-of-two"
		two, err := s.Request(t.Context(), ask)
		ok(t, err)
		if two.State != postern.ReviewPending || len(s.Grants(alice)) != 0 {
			t.Fatalf("one person broke a glass of two: %+v", two)
		}
		_, err = s.Vote(t.Context(), two.ID, alice, true, "")
		is(t, err, approval.ErrNotApprover, "their own request")
		_, err = s.Vote(t.Context(), two.ID, engineer("bob"), true, "")
		ok(t, err)
		if len(s.Grants(alice)) != 1 {
			t.Error("not granted")
		}
		_, err = s.Revoke(t.Context(), two.ID, alice, "over")
		ok(t, err)
		_, err = s.LookOver(t.Context(), two.ID, engineer("bob"), true, "fine")
		is(t, err, approval.ErrNotApprover, "approved it")
		_, err = s.LookOver(t.Context(), two.ID, engineer("carol"), true, "fine")
		ok(t, err)
	})
}

// Between approval and use the approver lost the right to approve: it is void.
func TestApproverRevoked(t *testing.T) {
	dir, l := t.TempDir(), &log{}
	db := open(t, dir)
	t.Cleanup(func() { _ = db.Close() })
	gone := atomic.Bool{}
	s, err := approval.New(approval.Config{Store: db, Audit: l, Still: func(_ context.Context, approvers []postern.Principal, v postern.Vote) error {
		if gone.Load() && v.By == "dora" && slices.Contains(approvers, "group:dba") {
			return errors.New("account user:dora is disabled")
		}
		return nil
	}})
	ok(t, err)
	for _, late := range []bool{false, true} {
		rv := review("rv_" + map[bool]string{false: "a", true: "b"}[late])
		ok(t, s.Submit(t.Context(), rv))
		approve(t, s, rv.ID, "dora")
		gone.Store(late)
		err := s.Spend(t.Context(), rv.ID, rv.Digest)
		if !late {
			ok(t, err)
			continue
		}
		is(t, err, approval.ErrDecided, "dora is disabled")
		state(t, s, rv.ID, postern.ReviewVoid)
		if got := l.lines(); got[len(got)-1] != "review.void ok alice" {
			t.Errorf("logged %q", got)
		}
	}
}

func TestRequestLogBroken(t *testing.T) {
	all, l, _ := desks(t, 1)
	s, alice := all[0], engineer("alice")
	l.broken.Store(true)
	ask := policy.Asking{Identity: alice, Resource: "db", Access: "emergency", BreakGlass: true, Reason: "all is down"}
	if _, err := s.Request(t.Context(), ask); err == nil || len(s.Grants(alice)) != 0 {
		t.Errorf("%v, %+v", err, s.Grants(alice))
	}
	l.broken.Store(false)
	rv, err := s.Request(t.Context(), fixes(alice))
	ok(t, err)
	approve(t, s, rv.ID, "dora")
	l.broken.Store(true)
	if _, err := s.Vote(t.Context(), rv.ID, person("dan"), true, ""); err == nil || len(s.Grants(alice)) != 0 {
		t.Errorf("%v, %+v", err, s.Grants(alice))
	}
}
