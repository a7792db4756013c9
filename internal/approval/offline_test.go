package approval_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"postern"
	"postern/internal/approval"
	"postern/internal/policy"
)

// offlineOffice is a service with a clock of its own, and a say in whose word
// still counts.
type offlineOffice struct {
	*approval.Service
	rules *rules
	log   *log
	now   time.Time
	gone  map[string]bool // whose account is disabled
	told  []approval.Step
	logs  []string // how holders entered
}

func newOfflineOffice(t *testing.T) *offlineOffice {
	t.Helper()
	o := &offlineOffice{rules: &rules{}, log: &log{}, now: time.Now().UTC().Truncate(time.Second), gone: map[string]bool{}}
	o.rules.put(t, accesses)
	db := open(t, t.TempDir())
	t.Cleanup(func() { _ = db.Close() })
	var err error
	o.Service, err = approval.New(approval.Config{
		Store: db, Audit: o.log, Policy: o.rules.set.Load, Now: func() time.Time { return o.now },
		Told: func(step approval.Step, _ postern.Review) { o.told = append(o.told, step) },
		Still: func(_ context.Context, _ []postern.Principal, v postern.Vote) error {
			if o.gone[v.By] {
				return errors.New("disabled")
			}
			return nil
		},
	})
	ok(t, err)
	return o
}

var issuer = postern.Identity{Name: "adam", Kind: postern.User, Groups: []string{"admins"}, Subject: "local:adam"}

func offlineFor(access string) approval.Offline {
	return approval.Offline{
		Holder: engineer("alice"), By: issuer, Hash: "hash of " + access, Accesses: []postern.OfflineAccess{{Resource: "db", Access: access}},
		For: 20 * time.Minute, TTL: 24 * time.Hour, Reason: "on call",
	}
}

func (o *offlineOffice) issue(t *testing.T, in approval.Offline) postern.OfflineGrant {
	t.Helper()
	g, err := o.IssueOffline(t.Context(), in)
	ok(t, err)
	return g
}

func (o *offlineOffice) use(ctx context.Context, id string, holder postern.Identity) (approval.OfflineOutcome, error) {
	return o.UseOffline(ctx, id, approval.OfflineUse{
		Holder: holder, Reason: "all is down",
		Enter: func(resource string, _ time.Time) (string, error) {
			o.logs = append(o.logs, resource)
			return "lg_" + resource, nil
		},
	})
}

// An offline grant that is used is emergency access like any other: with its end,
// its log, its word to everybody, and somebody who looks at it afterwards.
func TestOfflineGrant(t *testing.T) {
	ctx, o := t.Context(), newOfflineOffice(t)
	g := o.issue(t, offlineFor("emergency"))
	if g.Approvals != 0 || g.Seconds != 1200 || approval.OfflineState(g, o.now) != approval.OfflineReady {
		t.Fatalf("%+v", g)
	}
	used, err := o.use(ctx, g.ID, engineer("alice"))
	ok(t, err)
	o.TellOffline(ctx, used)
	rv := used.Reviews[0]
	r := state(t, o.Service, rv.ID, postern.ReviewApproved).Request
	if !r.BreakGlass || r.Offline != g.ID || r.Login != "lg_db" || !r.Grant.Until.Equal(o.now.Add(20*time.Minute)) || r.Reason != "all is down" {
		t.Errorf("%+v", r)
	}
	if e := used.Entries[0]; e.Action != "break_glass" || e.Identity != "alice" || e.Review != rv.ID {
		t.Errorf("%+v", e)
	}
	if !slices.Equal(o.told, []approval.Step{approval.Submitted}) || len(o.Grants(engineer("alice"))) != 1 || len(o.Grants(engineer("eve"))) != 0 {
		t.Errorf("told %v, grants %v", o.told, o.Grants(engineer("alice")))
	}
	_, err = o.use(ctx, g.ID, engineer("alice"))
	is(t, err, approval.ErrDecided, "it is used")
	_, err = o.RevokeOffline(ctx, g.ID, issuer, "")
	is(t, err, approval.ErrDecided, "postern request revoke "+rv.ID)

	// Whoever issued it doesn't judge its use.
	_, err = o.Revoke(ctx, rv.ID, issuer, "over")
	ok(t, err)
	security := []string{"security"}
	adam := issuer
	adam.Groups = security
	_, err = o.LookOver(ctx, rv.ID, adam, true, "fine")
	is(t, err, approval.ErrNotApprover, "issued the offline grant")
	_, err = o.LookOver(ctx, rv.ID, postern.Identity{Name: "sue", Kind: postern.User, Groups: security}, true, "fine")
	ok(t, err)
}

// Where breaking the glass takes a second person, so does an offline grant: one
// who neither issued it nor holds it.
func TestOfflineGrantOfTwo(t *testing.T) {
	ctx, o := t.Context(), newOfflineOffice(t)
	in := offlineFor("emergency-of-two")
	in.By = engineer("dora")
	g := o.issue(t, in)
	_, err := o.use(ctx, g.ID, engineer("alice"))
	is(t, err, approval.ErrDecided, "0 of 1 were given")
	for _, c := range []struct {
		voter postern.Identity
		says  string
	}{
		{engineer("alice"), "for them"},
		{engineer("dora"), "a second person does"},
		{through(engineer("eve"), engineer("alice")), "for them"},
		{through(engineer("eve"), engineer("dora")), "a second person does"},
		{through(engineer("eve"), issuer), "only group:eng"},
		{issuer, "only group:eng"},
		{postern.Identity{Name: "alice", Kind: postern.Service, Groups: []string{"eng"}}, "for them"},
		{postern.Identity{}, "needs a name"},
	} {
		_, err := o.ApproveOffline(ctx, g.ID, c.voter, "")
		is(t, err, approval.ErrNotApprover, c.says)
	}
	_, err = o.ApproveOffline(ctx, g.ID, engineer("eve"), "agreed")
	ok(t, err)
	_, err = o.ApproveOffline(ctx, g.ID, engineer("bob"), "me too")
	is(t, err, approval.ErrDecided, "it is ready")
	used, err := o.use(ctx, g.ID, engineer("alice"))
	ok(t, err)
	if v := used.Reviews[0].Votes; len(v) != 1 || v[0].By != "eve" {
		t.Errorf("%+v", v)
	}

	// Issued by its holder, it takes another all the same.
	in.By, in.Hash = engineer("alice"), "another"
	own := o.issue(t, in)
	_, err = o.ApproveOffline(ctx, own.ID, engineer("alice"), "")
	is(t, err, approval.ErrNotApprover, "")
	_, err = o.use(ctx, own.ID, engineer("alice"))
	is(t, err, approval.ErrDecided, "waits for approvals")
}

// What makes an offline grant useless, before it is used.
func TestOfflineGrantVoid(t *testing.T) {
	approved := func(t *testing.T, o *offlineOffice) postern.OfflineGrant {
		g := o.issue(t, offlineFor("emergency-of-two"))
		_, err := o.ApproveOffline(t.Context(), g.ID, engineer("eve"), "")
		ok(t, err)
		return g
	}
	for name, c := range map[string]struct {
		spoil  func(*testing.T, *offlineOffice, postern.OfflineGrant)
		holder postern.Identity
		target error
		says   string
	}{
		"revoked": {func(t *testing.T, o *offlineOffice, g postern.OfflineGrant) {
			_, err := o.RevokeOffline(t.Context(), g.ID, issuer, "")
			ok(t, err)
		}, engineer("alice"), approval.ErrDecided, "it is revoked"},
		"expired": {
			func(_ *testing.T, o *offlineOffice, _ postern.OfflineGrant) { o.now = o.now.Add(24 * time.Hour) },
			engineer("alice"), approval.ErrDecided, "it is expired",
		},
		"the access was changed": {func(t *testing.T, o *offlineOffice, _ postern.OfflineGrant) {
			o.rules.put(t, changedOffline)
		}, engineer("alice"), approval.ErrDecided, "was changed"},
		"the access is gone": {func(t *testing.T, o *offlineOffice, _ postern.OfflineGrant) {
			o.rules.put(t, "kind: Resource\nname: db\ntype: postgres\naddress: 127.0.0.1:1\n")
		}, engineer("alice"), approval.ErrDecided, "was changed"},
		"who approved it is disabled": {
			func(_ *testing.T, o *offlineOffice, _ postern.OfflineGrant) { o.gone["eve"] = true },
			engineer("alice"), approval.ErrDecided, "the approval of eve",
		},
		"who issued it is disabled": {
			func(_ *testing.T, o *offlineOffice, _ postern.OfflineGrant) { o.gone["adam"] = true },
			engineer("alice"), approval.ErrDecided, "adam, who issued it",
		},
		"somebody else's": {func(*testing.T, *offlineOffice, postern.OfflineGrant) {}, engineer("eve"), approval.ErrNotApprover, "somebody else's"},
		"another person of that name": {
			func(*testing.T, *offlineOffice, postern.OfflineGrant) {},
			postern.Identity{Name: "alice", Kind: postern.User, Groups: []string{"eng"}, Subject: "corp:9"},
			approval.ErrNotApprover, "somebody else's",
		},
		"through an agent": {
			func(*testing.T, *offlineOffice, postern.OfflineGrant) {}, through(engineer("alice"), engineer("eve")),
			approval.ErrNotApprover, "somebody else's",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOfflineOffice(t)
			g := approved(t, o)
			c.spoil(t, o, g)
			_, err := o.use(t.Context(), g.ID, c.holder)
			is(t, err, c.target, c.says)
			list, err := o.List(t.Context(), postern.ReviewFilter{})
			ok(t, err)
			if len(list) != 0 {
				t.Errorf("%+v", list)
			}
		})
	}
	// Who has lost the access by today's groups has lost it with the code, too.
	o := newOfflineOffice(t)
	g := approved(t, o)
	outsider := engineer("alice")
	outsider.Groups = []string{"sales"}
	_, err := o.use(t.Context(), g.ID, outsider)
	if refused := (*policy.AskError)(nil); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
}

// changedOffline is the policy with one of its accesses changed in a detail.
const changedOffline = `
kind: Resource
name: db
type: postgres
address: 127.0.0.1:1
---
kind: Access
name: emergency-of-two
to: ["group:eng", "group:sales"]
on: {names: [db]}
break_glass: {approvers: ["group:eng"], reviewers: ["group:security", "group:eng"]}
`

func TestOfflineGrantRefused(t *testing.T) {
	o := newOfflineOffice(t)
	for name, spoil := range map[string]func(*approval.Offline){
		"without a hash":       func(in *approval.Offline) { in.Hash = "" },
		"for a service":        func(in *approval.Offline) { in.Holder.Kind = postern.Service },
		"for who acts":         func(in *approval.Offline) { in.Holder = through(in.Holder, engineer("eve")) },
		"of nothing":           func(in *approval.Offline) { in.Accesses = nil },
		"of one thing twice":   func(in *approval.Offline) { in.Accesses = append(in.Accesses, in.Accesses[0]) },
		"without a reason":     func(in *approval.Offline) { in.Reason = " " },
		"for ever":             func(in *approval.Offline) { in.TTL = 367 * 24 * time.Hour },
		"until the past":       func(in *approval.Offline) { in.TTL = -time.Hour },
		"hidden in a reason":   func(in *approval.Offline) { in.Reason = "\x1b[2J" },
		"for less than naught": func(in *approval.Offline) { in.For = -time.Hour },
	} {
		in := offlineFor("emergency")
		spoil(&in)
		_, err := o.IssueOffline(t.Context(), in)
		if !errors.Is(err, approval.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, spoil := range map[string]func(*approval.Offline){
		"longer than it can be had for":     func(in *approval.Offline) { in.For = time.Hour },
		"of an access that isn't emergency": func(in *approval.Offline) { in.Accesses[0].Access = "fixes" },
		"of several, and none named":        func(in *approval.Offline) { in.Accesses[0].Access = "" },
		"for who couldn't ask":              func(in *approval.Offline) { in.Holder.Groups = []string{"sales"} },
		"of what isn't there":               func(in *approval.Offline) { in.Accesses[0].Resource = "other" },
	} {
		in := offlineFor("emergency")
		spoil(&in)
		_, err := o.IssueOffline(t.Context(), in)
		if refused := (*policy.AskError)(nil); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Used at two gateways at once: one gets in.
func TestOfflineGrantRace(t *testing.T) {
	ctx := t.Context()
	both, _, _ := desks(t, 2)
	for range 5 {
		in := offlineFor("emergency")
		in.Hash = time.Now().String()
		g, err := both[0].IssueOffline(ctx, in)
		ok(t, err)
		var wg sync.WaitGroup
		var mu sync.Mutex
		n := 0
		for i := range 6 {
			wg.Go(func() {
				_, err := both[i%2].UseOffline(ctx, g.ID, approval.OfflineUse{
					Holder: engineer("alice"), Reason: "x", Enter: func(string, time.Time) (string, error) { return "", nil },
				})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					n++
				} else if !errors.Is(err, approval.ErrDecided) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n != 1 {
			t.Fatalf("used %d times", n)
		}
	}
}
