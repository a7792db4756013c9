package storetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func testRows(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	other := e.Again(t, db)
	start := time.Date(2026, 11, 1, 12, 0, 30, 0, time.UTC)
	take := func(delegation string, most int64, at time.Time, want int64) {
		t.Helper()
		got, err := db.TakeRows(ctx, delegation, 10, most, at)
		ok(t, err)
		same(t, got, want)
	}
	take("dg_1", 6, start, 6)
	take("dg_2", 10, start, 10) // counts for itself
	ok(t, other.ReturnRows(ctx, "dg_1", 2, start))
	ok(t, other.ReturnRows(ctx, "dg_1", 9, start)) // never more than were taken
	got, err := other.TakeRows(ctx, "dg_1", 10, 8, start.Add(10*time.Minute))
	ok(t, err)
	same(t, got, int64(6))                        // what is left, over both processes
	take("dg_1", 1, start.Add(59*time.Minute), 0) // used up
	take("dg_1", 9, start.Add(60*time.Minute), 4) // what is an hour old is forgotten
	take("dg_1", 1, start, 0)                     // a clock that is set back forgets nothing
	take("dg_1", 99, start.Add(24*time.Hour), 10)
}

// testRowsRace: however many take at once, they get the limit together.
func testRowsRace(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	other := e.Again(t, db)
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var total atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		from := db
		if i%2 == 1 {
			from = other
		}
		all.Go(func() {
			n, err := from.TakeRows(ctx, "dg_1", 50, 7, at)
			if err != nil {
				t.Error(err)
			}
			total.Add(n)
		})
	}
	all.Wait()
	same(t, total.Load(), int64(50))
}
