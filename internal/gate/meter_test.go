package gate

import (
	"testing"
	"time"

	"postern"
)

func TestMeter(t *testing.T) {
	var all meters
	now := time.Date(2026, 11, 1, 12, 0, 30, 0, time.UTC)
	scope := &postern.Scope{Delegation: "dg_1", RowsPerHour: 10}
	if all.of(nil, now) != nil || all.of(&postern.Scope{Delegation: "dg_2"}, now) != nil {
		t.Error("what has no limit is counted")
	}
	m := all.of(scope, now)
	check := func(at time.Time, n int64, want bool) {
		t.Helper()
		if got := m.add(at, n); got != want {
			t.Errorf("%d rows at %s: %v, want %v", n, at.Format(time.TimeOnly), got, want)
		}
	}
	check(now, 6, true)
	check(now.Add(10*time.Minute), 5, false) // more than is left: none of it
	check(now.Add(10*time.Minute), 4, true)
	if !m.spent(now.Add(59 * time.Minute)) {
		t.Error("it isn't used up")
	}
	if all.of(scope, now.Add(time.Minute)) != m {
		t.Error("another session of the delegation counts for itself")
	}
	check(now.Add(59*time.Minute), 1, false)
	check(now.Add(60*time.Minute), 6, true) // what is an hour old is forgotten
	check(now.Add(60*time.Minute), 1, false)
	check(now.Add(61*time.Minute), 1, false)
	check(now.Add(24*time.Hour), 10, true)
	check(now, 1, false) // a clock that is set back forgets nothing
	if all.of(scope, now.Add(48*time.Hour)) == m {
		t.Error("an idle delegation is remembered")
	}
}
