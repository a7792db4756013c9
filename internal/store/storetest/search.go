package storetest

import (
	"testing"
	"time"

	"postern"
)

func testSearch(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	scope := postern.SearchScope{Resource: "orders-db", Identity: "alice", Kind: postern.User}
	put := func(session, from string, part *postern.SearchPart, to postern.SearchState, want bool) {
		t.Helper()
		added, err := db.PutSearchPart(ctx, scope, session, from, part, to)
		ok(t, err)
		same(t, added, want)
	}
	latest := func(word, or, at, want int64) {
		t.Helper()
		part, err := db.LatestPart(ctx, word, or, at)
		ok(t, err)
		same(t, part, want)
	}
	words := make([]int64, 250)
	for i := range words {
		words[i] = int64(i-100) * 1_000_000_007
	}
	state, err := db.SearchState(ctx, "ss_1")
	ok(t, err)
	same(t, state, postern.SearchState{})

	one := postern.SearchPart{ID: 10, Session: "ss_1", First: 1, Last: 3, Words: words}
	put("ss_1", "", &one, postern.SearchState{Next: "a"}, true)
	two := postern.SearchPart{ID: 10, Session: "ss_1", From: "a", First: 4, Last: 4, Words: []int64{1, 2}}
	put("ss_1", "a", &two, postern.SearchState{Next: "b", Done: true}, true)
	same(t, two.ID, int64(11)) // 10 was taken
	put("ss_1", "b", &postern.SearchPart{ID: 99, Words: []int64{1}}, postern.SearchState{}, false)
	put("ss_2", "", nil, postern.SearchState{Next: "x"}, true)
	put("ss_2", "y", &postern.SearchPart{ID: 99, Words: []int64{1}}, postern.SearchState{}, false)
	state, err = db.SearchState(ctx, "ss_1")
	ok(t, err)
	same(t, state, postern.SearchState{Next: "b", Done: true})

	scopes, err := db.SearchScopes(ctx)
	ok(t, err)
	same(t, scopes, []postern.SearchScope{scope})
	part, err := db.SearchPart(ctx, 11)
	ok(t, err)
	two.Words = nil
	same(t, part, two)
	_, err = db.SearchPart(ctx, 12)
	missing(t, err)

	latest(1, 1, 100, 11)
	latest(1, 1, 10, 0)
	latest(words[0], words[0], 100, 10)
	latest(words[249], 1, 100, 11)
	latest(words[249], 1, 10, 10)
	latest(3, 4, 100, 0)

	ended := postern.SessionInfo{ID: "ss_1", Identity: "alice", Kind: postern.User, StartedAt: at(1), EndedAt: at(2)}
	ok(t, db.PutSession(ctx, ended))
	ended.ID, ended.StartedAt = "ss_2", at(2)
	ok(t, db.PutSession(ctx, ended))
	ended.ID, ended.StartedAt = "ss_3", at(3)
	ok(t, db.PutSession(ctx, ended))
	ended.ID, ended.EndedAt = "ss_4", time.Time{}
	ok(t, db.PutSession(ctx, ended))
	ids, err := db.Unsearched(ctx, "", 10)
	ok(t, err)
	same(t, ids, []string{"ss_3", "ss_2"})
	ids, err = db.Unsearched(ctx, "ss_3", 10)
	ok(t, err)
	same(t, ids, []string{"ss_2"})

	ok(t, db.ForgetCommands(ctx, "ss_1"))
	latest(1, words[0], 100, 0)
	_, err = db.SearchPart(ctx, 11)
	missing(t, err)
	put("ss_1", "", &one, postern.SearchState{}, false)
	ok(t, db.ForgetCommands(ctx, "ss_5"))
	put("ss_5", "", &postern.SearchPart{ID: 99, Words: []int64{1}}, postern.SearchState{}, false)
}
