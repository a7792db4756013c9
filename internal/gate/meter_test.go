package gate

import (
	"context"
	"errors"
	"testing"
	"time"

	"postern"
)

// hourly is a store's count of one hour, over all gateways.
type hourly struct {
	taken map[string]int64
	err   error
}

func (h *hourly) TakeRows(_ context.Context, delegation string, limit, most int64, _ time.Time) (int64, error) {
	n := min(most, limit-h.taken[delegation])
	h.taken[delegation] += n
	return n, h.err
}

func (h *hourly) ReturnRows(_ context.Context, delegation string, n int64, _ time.Time) error {
	h.taken[delegation] -= n
	return h.err
}

// TestMeter: what two gateways take counts together, a row in the minute in
// which it is sent, and nothing that wasn't used stays taken.
func TestMeter(t *testing.T) {
	ctx, store := t.Context(), &hourly{taken: map[string]int64{}}
	now := time.Date(2026, 11, 1, 12, 0, 30, 0, time.UTC)
	scope := &postern.Scope{Delegation: "dg_1", RowsPerHour: 160}
	var here, there meters
	if here.of(nil, store) != nil || here.of(&postern.Scope{Delegation: "dg_2"}, store) != nil {
		t.Error("what has no limit is counted")
	}
	one, other := here.of(scope, store), there.of(scope, store)
	if here.of(scope, store) != one {
		t.Error("another session of the delegation counts for itself")
	}
	add := func(m *meter, at time.Time, n int64, want bool) {
		t.Helper()
		if got, err := m.add(ctx, at, n); got != want || err != nil {
			t.Errorf("%d rows: %v, %v; want %v", n, got, err, want)
		}
	}
	taken := func(want int64) {
		t.Helper()
		if got := store.taken["dg_1"]; got != want {
			t.Errorf("%d rows are taken, want %d", got, want)
		}
	}
	add(one, now, 1, true)
	taken(10) // a sixteenth at a time
	add(one, now, 9, true)
	taken(10)
	add(other, now, 100, true)
	taken(110)
	add(one, now, 2, true)
	taken(120)
	add(one, now.Add(time.Minute), 1, true) // in another minute: the 8 that weren't used go back first
	taken(122)
	add(one, now.Add(time.Minute), 48, false) // of 160, 10 + 100 + 2 + 1 are gone
	add(one, now.Add(time.Minute), 47, true)
	if spent, err := other.spent(ctx, now.Add(time.Minute)); !spent || err != nil {
		t.Errorf("not used up for the other gateway: %v, %v", spent, err)
	}
	store.taken["dg_1"] = 0 // an hour later
	add(one, now.Add(time.Hour), 1, true)
	taken(10)
	for range 2 {
		if err := here.release(ctx, one); err != nil {
			t.Fatal(err)
		}
	}
	taken(1)
	store.err = errors.New("the store is away")
	if ok, err := other.add(ctx, now.Add(time.Hour), 1); ok || err == nil {
		t.Error("rows pass that can't be counted")
	}
}
