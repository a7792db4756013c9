package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern"
	"postern/internal/store"
)

func testShadows(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	one := postern.ShadowCount{
		Rule: "no-drop", Verdict: postern.Deny, Resource: "db", Identity: "alice", Kind: postern.User, Verb: "drop", Commands: 2,
		FirstAt: at(1), LastAt: at(2), Session: "ss_1", N: 3,
	}
	robot := one
	robot.Kind, robot.Verdict, robot.FirstAt, robot.LastAt = postern.Service, postern.NeedsReview, at(4), at(4)
	other := one
	other.Rule, other.FirstAt, other.LastAt = "no-ddl", at(3), at(3)
	ok(t, db.AddShadows(ctx, []postern.ShadowCount{one, robot, other}))
	again := one
	again.Commands, again.FirstAt, again.LastAt, again.Session, again.N = 1<<40, at(9), at(9), "ss_2", 7
	ok(t, e.Again(t, db).AddShadows(ctx, []postern.ShadowCount{again}))
	want := again
	want.Commands, want.FirstAt = 1<<40+2, one.FirstAt
	got, err := db.Shadows(ctx, "", 0)
	ok(t, err)
	same(t, got, []postern.ShadowCount{want, robot, other})
	got, err = db.Shadows(ctx, "no-drop", 1)
	ok(t, err)
	same(t, got, []postern.ShadowCount{want})
	got, err = db.Shadows(ctx, "nothing", 0)
	ok(t, err)
	same(t, got, []postern.ShadowCount{})
}

func testAccessUse(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	for i, s := range []postern.SessionInfo{session("ss_1", 1), session("ss_2", 2), session("ss_3", 3), session("ss_4", 4)} {
		switch i {
		case 2:
			s.Resource = "web"
		case 3:
			s.Access = "" // it never opened
		}
		ok(t, db.PutSession(ctx, s))
	}
	got, err := db.AccessUse(ctx)
	ok(t, err)
	same(t, got, []postern.AccessUse{
		{Access: "engineers", Resource: "db", Sessions: 2, LastAt: at(2)}, {Access: "engineers", Resource: "web", Sessions: 1, LastAt: at(3)},
	})
}

func testNotifications(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	one := postern.Notification{Channel: "hook", Review: "rv_1", Step: "submitted", NextAt: at(5), CreatedAt: at(1), Body: []byte(`{"a":1}`)}
	ok(t, db.AddNotification(ctx, one))
	ok(t, db.AddNotification(ctx, one)) // the channel has it already
	other := one
	other.Channel = "mail"
	ok(t, db.AddNotification(ctx, other))
	later := one
	later.Step, later.NextAt = "approved", at(50)
	ok(t, db.AddNotification(ctx, later))
	none, err := db.ClaimNotifications(ctx, at(4), at(9), 10)
	ok(t, err)
	same(t, len(none), 0)
	claimed, err := db.ClaimNotifications(ctx, at(5), at(30), 10)
	ok(t, err)
	same(t, len(claimed), 2)
	want := one
	want.ID, want.State, want.Attempts, want.NextAt = 1, postern.NotificationQueued, 1, at(30)
	same(t, claimed[0], want)
	again, err := e.Again(t, db).ClaimNotifications(ctx, at(29), at(60), 10)
	ok(t, err)
	same(t, len(again), 0)
	want.State, want.Problem, want.NextAt = postern.NotificationDead, "refused", time.Time{}
	ok(t, db.SettleNotification(ctx, want))
	got, err := db.Notification(ctx, 1)
	ok(t, err)
	same(t, got, want)
	dead, err := db.Notifications(ctx, postern.NotificationDead, 0)
	ok(t, err)
	same(t, dead, []postern.Notification{want})
	sent := claimed[1]
	sent.State = postern.NotificationSent
	ok(t, db.SettleNotification(ctx, sent))
	ok(t, db.ForgetNotifications(ctx, at(2)))
	all, err := db.Notifications(ctx, "", 0)
	ok(t, err)
	same(t, []int64{all[0].ID, all[1].ID}, []int64{3, 1}) // dead letters stay
	_, err = db.Notification(ctx, 2)
	missing(t, err)
	missing(t, db.SettleNotification(ctx, sent))
}

func testNotificationsRace(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	for i := range 20 {
		ok(t, db.AddNotification(ctx, postern.Notification{Channel: "hook", Review: fmt.Sprint("rv_", i), Step: "submitted", NextAt: at(1)}))
	}
	var claimed atomic.Int64
	var wg sync.WaitGroup
	for _, one := range []*store.DB{db, e.Again(t, db), db} {
		wg.Go(func() {
			for {
				got, err := one.ClaimNotifications(ctx, at(2), at(99), 3)
				if err != nil {
					t.Error(err)
				}
				if len(got) == 0 {
					return
				}
				claimed.Add(int64(len(got)))
			}
		})
	}
	wg.Wait()
	same(t, claimed.Load(), int64(20))
}

func testSeeOnce(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	first, err := db.SeeOnce(ctx, "d", at(1))
	ok(t, err)
	again, err := e.Again(t, db).SeeOnce(ctx, "d", at(2))
	ok(t, err)
	other, err := db.SeeOnce(ctx, "e", at(9))
	ok(t, err)
	same(t, []bool{first, again, other}, []bool{true, false, true})
	ok(t, db.ForgetNotifications(ctx, at(5)))
	forgotten, err := db.SeeOnce(ctx, "d", at(9))
	ok(t, err)
	kept, err := db.SeeOnce(ctx, "e", at(9))
	ok(t, err)
	same(t, []bool{forgotten, kept}, []bool{true, false})
}
