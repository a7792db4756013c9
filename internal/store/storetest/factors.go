package storetest

import (
	"testing"

	"postern"
)

func testFactors(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	f := postern.Factor{Account: "alice", Kind: "totp", Sealed: "s1", CreatedAt: at(1)}
	missing(t, db.UseFactor(ctx, "alice", "totp", "s1", 5))
	ok(t, db.PutFactor(ctx, f))
	ok(t, db.UseFactor(ctx, "alice", "totp", "s1", 5))
	missing(t, db.UseFactor(ctx, "alice", "totp", "s1", 5)) // the same code again
	missing(t, db.UseFactor(ctx, "alice", "totp", "s1", 4)) // an earlier one
	missing(t, db.UseFactor(ctx, "alice", "totp", "s2", 6)) // of a secret that was replaced
	ok(t, db.UseFactor(ctx, "alice", "totp", "s1", 6))
	all, err := db.Factors(ctx, "alice")
	ok(t, err)
	f.Confirmed, f.LastStep = true, 6
	same(t, all, []postern.Factor{f})
	n, err := db.DeleteFactors(ctx, "alice")
	ok(t, err)
	same(t, n, 1)
	all, err = db.Factors(ctx, "alice")
	ok(t, err)
	same(t, all, []postern.Factor{})
}

func testBreakGlass(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	b := postern.BreakGlassLogin{ID: "bg_1", Account: "alice", Hash: "h", Source: "192.0.2.1", CreatedAt: at(1), ExpiresAt: at(10)}
	ok(t, db.AddBreakGlass(ctx, b))
	missing(t, db.UseBreakGlass(ctx, "bg_1", at(2)))              // not confirmed
	missing(t, db.ConfirmBreakGlass(ctx, "bg_1", "alice", at(2))) // by herself
	missing(t, db.ConfirmBreakGlass(ctx, "bg_1", "bob", at(10)))  // too late
	ok(t, db.ConfirmBreakGlass(ctx, "bg_1", "bob", at(2)))
	missing(t, db.ConfirmBreakGlass(ctx, "bg_1", "carol", at(2)))
	missing(t, db.UseBreakGlass(ctx, "bg_1", at(10)))
	ok(t, db.UseBreakGlass(ctx, "bg_1", at(3)))
	missing(t, db.UseBreakGlass(ctx, "bg_1", at(3)))
	b.ConfirmedBy, b.UsedAt = "bob", at(3)
	got, err := db.BreakGlassByHash(ctx, "h")
	ok(t, err)
	same(t, got, b)
	got, err = db.BreakGlass(ctx, "bg_1")
	ok(t, err)
	same(t, got, b)
	n, err := db.DeleteExpiredBreakGlass(ctx, at(11))
	ok(t, err)
	same(t, n, 1)
}
