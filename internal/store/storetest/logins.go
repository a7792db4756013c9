package storetest

import (
	"sync"
	"sync/atomic"
	"testing"

	"postern"
)

func login(id, grant string) postern.LoginRecord {
	return postern.LoginRecord{
		ID: id, Kind: postern.CLILogin, Grant: grant, Client: "laptop", Source: "192.0.2.1", CreatedAt: at(0), ExpiresAt: at(100),
		Identity: postern.Identity{Name: "alice", Kind: postern.User, Subject: "corp:1", Claims: postern.Claims{"a": "b"}},
	}
}

func testLogins(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	_, err := db.Login(ctx, "lg_1")
	missing(t, err)
	one, two := login("lg_1", "gr_1"), login("lg_2", "gr_2")
	two.CreatedAt = at(1)
	ok(t, db.AddLogin(ctx, one))
	ok(t, db.AddLogin(ctx, two))
	if db.AddLogin(ctx, one) == nil {
		t.Fatal("two logins have one id")
	}
	all, err := db.LoginsOf(ctx, postern.User, "alice")
	ok(t, err)
	same(t, all, []postern.LoginRecord{two, one})
	none, err := db.LoginsOf(ctx, postern.Service, "alice")
	ok(t, err)
	same(t, none, []postern.LoginRecord{})
	of, err := db.LoginsOfGrant(ctx, "gr_1")
	ok(t, err)
	same(t, of, []postern.LoginRecord{one})

	one.Identity.Claims = postern.Claims{"a": "c"}
	ok(t, db.SetLoginIdentity(ctx, "lg_1", one.Identity))
	missing(t, db.SetLoginIdentity(ctx, "lg_none", one.Identity))

	mine, other := token("tk_1"), token("tk_2")
	mine.Identity.Login, other.Identity.Login = "lg_1", "lg_2"
	free := token("tk_3")
	for _, tk := range []postern.Token{mine, other, free} {
		ok(t, db.PutToken(ctx, tk))
	}
	ok(t, db.EndLogin(ctx, "lg_1", "because", at(5)))
	ok(t, db.EndLogin(ctx, "lg_1", "again", at(6)))
	ok(t, db.EndLogin(ctx, "", "nobody's", at(6)))
	got, err := db.Login(ctx, "lg_1")
	ok(t, err)
	one.EndedAt, one.EndReason = at(5), "because"
	same(t, got, one)
	gone, err := db.Token(ctx, mine.ID)
	ok(t, err)
	same(t, gone.Revoked, true)
	for _, tk := range []postern.Token{other, free} {
		kept, err := db.Token(ctx, tk.ID)
		ok(t, err)
		same(t, kept.Revoked, false)
	}
}

func testRefreshTokens(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	ok(t, db.AddLogin(ctx, login("lg_1", "gr_1")))
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if db.AdvanceLogin(ctx, "lg_1", 0, string(rune('a'+i)), "") == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	same(t, won.Load(), int64(1))
	ok(t, db.AdvanceLogin(ctx, "lg_1", 1, "second", "tk_2"))
	missing(t, db.AdvanceLogin(ctx, "lg_1", 1, "late", ""))
	id, generation, err := db.RefreshToken(ctx, "second")
	ok(t, err)
	same(t, []any{id, generation}, []any{"lg_1", 2})
	_, _, err = db.RefreshToken(ctx, "late")
	missing(t, err)
	ok(t, db.PutToken(ctx, token("tk_2")))
	tk, err := db.TokenOfGeneration(ctx, "lg_1", 2)
	ok(t, err)
	same(t, tk, token("tk_2"))
	_, err = db.TokenOfGeneration(ctx, "lg_1", 1)
	missing(t, err)
	ok(t, db.EndLogin(ctx, "lg_1", "over", at(1)))
	missing(t, db.AdvanceLogin(ctx, "lg_1", 2, "third", ""))
	missing(t, db.AdvanceLogin(ctx, "lg_none", 0, "none", ""))
}

func testGrants(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	g := postern.LoginGrant{
		ID: "gr_1", Kind: postern.User, Name: "alice", Subject: "corp:1", SID: "s", Refresh: "sealed", CreatedAt: at(0), CheckedAt: at(1),
	}
	_, err := db.Grant(ctx, g.ID)
	missing(t, err)
	ok(t, db.PutGrant(ctx, g))
	due := func(before, now int64) int {
		t.Helper()
		all, err := db.DueGrants(ctx, at(before), at(now), 10)
		ok(t, err)
		return len(all)
	}
	same(t, due(50, 50), 0) // no login needs it
	ok(t, db.AddLogin(ctx, login("lg_1", "gr_1")))
	same(t, []int{due(50, 50), due(1, 50), due(200, 200)}, []int{1, 0, 0})
	ok(t, db.ClaimGrant(ctx, g.ID, at(1), at(9)))
	missing(t, db.ClaimGrant(ctx, g.ID, at(1), at(9)))
	g.CheckedAt, g.Refresh, g.SID = at(10), "next", "t"
	ok(t, db.PutGrant(ctx, g))
	got, err := db.Grant(ctx, g.ID)
	ok(t, err)
	same(t, got, g)
	all, err := db.GrantsOf(ctx, postern.User, "alice")
	ok(t, err)
	same(t, all, []postern.LoginGrant{g})
	g.EndedAt = at(11)
	ok(t, db.PutGrant(ctx, g))
	same(t, due(50, 50), 0)
	all, err = db.GrantsOf(ctx, postern.User, "alice")
	ok(t, err)
	same(t, all, []postern.LoginGrant{})
	missing(t, db.ClaimGrant(ctx, g.ID, at(10), at(12)))
}

func testDevices(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	d := postern.Device{Hash: "h", UserCode: "BCDFGHJK", State: postern.DevicePending, Client: "box", Source: "192.0.2.1", CreatedAt: at(0), ExpiresAt: at(10)}
	ok(t, db.AddDevice(ctx, d))
	twin := d
	twin.Hash = "h2"
	if db.AddDevice(ctx, twin) == nil {
		t.Fatal("two devices show one code")
	}
	got, err := db.Device(ctx, "h")
	ok(t, err)
	same(t, got, d)
	got, err = db.DeviceByUserCode(ctx, "BCDFGHJK")
	ok(t, err)
	same(t, got, d)
	_, err = db.Device(ctx, "none")
	missing(t, err)
	_, err = db.DeviceByUserCode(ctx, "")
	missing(t, err)
	alice := postern.Identity{Name: "alice", Kind: postern.User, Login: "lg_1"}
	missing(t, db.MoveDevice(ctx, "h", postern.DeviceApproved, postern.DeviceSpent, alice, at(1)))
	missing(t, db.MoveDevice(ctx, "h", postern.DevicePending, postern.DeviceApproved, alice, at(10)))
	ok(t, db.MoveDevice(ctx, "h", postern.DevicePending, postern.DeviceApproved, alice, at(9)))
	missing(t, db.MoveDevice(ctx, "h", postern.DevicePending, postern.DeviceDenied, alice, at(9)))
	got, err = db.Device(ctx, "h")
	ok(t, err)
	d.State, d.Identity = postern.DeviceApproved, alice
	same(t, got, d)
	n, err := db.WaitingDevices(ctx, at(9))
	ok(t, err)
	same(t, n, 1)
	n, err = db.WaitingDevices(ctx, at(10))
	ok(t, err)
	same(t, n, 0)
}

func testLoginCodes(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	c := postern.LoginCode{
		Hash: "h", Challenge: "c", Redirect: "r", Client: "laptop", Source: "192.0.2.1", ExpiresAt: at(10),
		Identity: postern.Identity{Name: "alice", Kind: postern.User, Login: "lg_1"},
	}
	ok(t, db.AddLoginCode(ctx, c))
	got, err := db.LoginCode(ctx, "h")
	ok(t, err)
	same(t, got, c)
	_, err = db.LoginCode(ctx, "none")
	missing(t, err)
	missing(t, db.UseLoginCode(ctx, "h", "lg_2", at(10)))
	ok(t, db.UseLoginCode(ctx, "h", "lg_2", at(9)))
	missing(t, db.UseLoginCode(ctx, "h", "lg_3", at(9)))
	got, err = db.LoginCode(ctx, "h")
	ok(t, err)
	same(t, got.Login, "lg_2")
}

func testSpend(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	var first atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if once, err := db.Spend(ctx, "state:x", at(10)); err != nil {
				t.Error(err)
			} else if once {
				first.Add(1)
			}
		})
	}
	wg.Wait()
	same(t, first.Load(), int64(1))
	once, err := db.Spend(ctx, "state:y", at(10))
	ok(t, err)
	same(t, once, true)
}

func testExpiredLogins(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	ok(t, db.PutGrant(ctx, postern.LoginGrant{ID: "gr_1", CreatedAt: at(0)}))
	ok(t, db.AddLogin(ctx, login("lg_1", "gr_1")))
	ok(t, db.AdvanceLogin(ctx, "lg_1", 0, "refresh", ""))
	ok(t, db.AddDevice(ctx, postern.Device{Hash: "d", UserCode: "u", ExpiresAt: at(10)}))
	ok(t, db.AddLoginCode(ctx, postern.LoginCode{Hash: "c", ExpiresAt: at(10)}))
	_, err := db.Spend(ctx, "x", at(10))
	ok(t, err)
	ok(t, db.DeleteExpiredLogins(ctx, at(100), at(10)))
	_, err = db.Login(ctx, "lg_1")
	ok(t, err)
	_, err = db.Device(ctx, "d")
	ok(t, err)
	ok(t, db.DeleteExpiredLogins(ctx, at(101), at(11)))
	_, err = db.Login(ctx, "lg_1")
	missing(t, err)
	_, err = db.Grant(ctx, "gr_1")
	missing(t, err)
	_, _, err = db.RefreshToken(ctx, "refresh")
	missing(t, err)
	_, err = db.Device(ctx, "d")
	missing(t, err)
	_, err = db.LoginCode(ctx, "c")
	missing(t, err)
	once, err := db.Spend(ctx, "x", at(20))
	ok(t, err)
	same(t, once, true)
}
