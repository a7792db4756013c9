package storetest

import "testing"

func testEvents(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	seen := func(issuer, id string, want bool) {
		t.Helper()
		got, err := db.SeenEvent(ctx, issuer, id)
		ok(t, err)
		same(t, got, want)
	}
	seen("idp", "1", false)
	ok(t, db.RememberEvent(ctx, "idp", "1", at(10)))
	ok(t, db.RememberEvent(ctx, "idp", "1", at(20))) // again: no error, and no longer life
	seen("idp", "1", true)
	seen("other", "1", false)
	n, err := db.DeleteExpiredEvents(ctx, at(10))
	ok(t, err)
	same(t, n, 0)
	n, err = db.DeleteExpiredEvents(ctx, at(11))
	ok(t, err)
	same(t, n, 1)
	seen("idp", "1", false)
}
