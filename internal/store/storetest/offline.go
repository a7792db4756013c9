package storetest

import (
	"errors"
	"sync"
	"testing"

	"postern"
	"postern/internal/store"
)

func offlineGrant(id string, seconds int64) postern.OfflineGrant {
	return postern.OfflineGrant{
		ID: id, Hash: "hash of " + id, For: postern.Being{Kind: postern.User, Name: "alice", Subject: "corp:7"},
		Accesses: []postern.OfflineAccess{{
			Resource: "db", Access: "emergency", Terms: "t1", Max: 3600,
			Approvers: []postern.Principal{"group:dba"}, Reviewers: []postern.Principal{"group:security"},
		}},
		Seconds: 1800, Reason: "the provider is down", Approvals: 1, IssuedBy: []postern.Being{{Kind: postern.User, Name: "dave"}},
		IssuedAt: at(seconds), ExpiresAt: at(seconds + 1000),
	}
}

func testOfflineGrants(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	_, err := db.OfflineGrant(ctx, "og_1")
	missing(t, err)
	one, two := offlineGrant("og_1", 1), offlineGrant("og_2", 2)
	ok(t, db.AddOfflineGrant(ctx, one))
	ok(t, db.AddOfflineGrant(ctx, two))
	again := offlineGrant("og_3", 3)
	again.Hash = one.Hash
	if db.AddOfflineGrant(ctx, one) == nil || db.AddOfflineGrant(ctx, again) == nil {
		t.Fatal("an id or a code was taken twice")
	}
	got, err := db.OfflineGrantByHash(ctx, "hash of og_1")
	ok(t, err)
	same(t, got, one)
	_, err = db.OfflineGrantByHash(ctx, "og_1")
	missing(t, err)
	all, err := db.OfflineGrants(ctx, "", 0)
	ok(t, err)
	same(t, all, []postern.OfflineGrant{two, one})
	all, err = db.OfflineGrants(ctx, "og_2", 5)
	ok(t, err)
	same(t, all, []postern.OfflineGrant{one})

	_, err = db.UpdateOfflineGrant(ctx, "og_9", func(*postern.OfflineGrant) error { return nil })
	missing(t, err)
	no := errors.New("no")
	got, err = db.UpdateOfflineGrant(ctx, "og_1", func(g *postern.OfflineGrant) error {
		g.UsedAt = at(5)
		return no
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	same(t, got, one)
	got, err = db.UpdateOfflineGrant(ctx, "og_1", func(g *postern.OfflineGrant) error {
		g.ID, g.Hash, g.IssuedAt = "other", "other", at(99)
		g.Votes, g.UsedAt = []postern.Vote{{By: "dora", Approve: true, At: at(4)}}, at(5)
		return nil
	})
	ok(t, err)
	one.Votes, one.UsedAt = []postern.Vote{{By: "dora", Approve: true, At: at(4)}}, at(5)
	same(t, got, one)
	got, err = db.OfflineGrant(ctx, "og_1")
	ok(t, err)
	same(t, got, one)
}

// Of many who use it at once, over two connections, one does.
func testOfflineGrantRace(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	both := []*store.DB{db, e.Again(t, db)}
	ok(t, db.AddOfflineGrant(ctx, offlineGrant("og_1", 1)))
	used := errors.New("used")
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for i := range 8 {
		wg.Go(func() {
			_, err := both[i%2].UpdateOfflineGrant(ctx, "og_1", func(g *postern.OfflineGrant) error {
				if !g.UsedAt.IsZero() {
					return used
				}
				g.UsedAt = at(5)
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				n++
			case !errors.Is(err, used):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	same(t, n, 1)
}
