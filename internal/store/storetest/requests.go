package storetest

import (
	"testing"

	"postern"
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
