package server

import "testing"

func TestPacer(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name            string
		allocated, live uint64
		want            int
	}{
		{"idle", 0, 15 * mib, 100},
		{"nearly idle", busyRate - 1, 15 * mib, 100},
		{"busy, little is live", 30 * mib, 2 * mib, 800},
		{"busy, some is live", 30 * mib, 16 * mib, 200},
		{"busy, much is live", 30 * mib, 128 * mib, 100},
		{"busy, very much is live", 900 * mib, 4096 * mib, 100},
		{"nothing is known to be live", 30 * mib, 0, 800},
	} {
		var p pacer
		if got, free := p.step(c.allocated, c.live, 0); got != c.want || free {
			t.Errorf("%s: %d, %t; want %d", c.name, got, free, c.want)
		}
	}
}

// TestPacerGivesBack: memory is given back once after each time that it was busy.
func TestPacerGivesBack(t *testing.T) {
	var p pacer
	p.goroutines = 100
	for i, c := range []struct {
		allocated uint64
		percent   int
		free      bool
	}{
		{0, 100, false}, // a gateway that just began
		{busyRate, 800, false},
		{0, 800, false},
		{busyRate, 800, false},
		{0, 800, false},
		{0, 800, false},
		{0, 100, true},
		{0, 100, true},
		{0, 100, true},
		{0, 100, false},
		{0, 100, false},
		{busyRate, 800, false},
		{0, 800, false},
		{0, 800, false},
		{0, 100, true},
		{busyRate, 800, false}, // busy again before all was given back
		{0, 800, false},
		{0, 800, false},
		{0, 100, true},
		{0, 100, true},
		{0, 100, true},
		{0, 100, false},
	} {
		if percent, free := p.step(c.allocated, 1<<20, 100); percent != c.percent || free != c.free {
			t.Errorf("step %d: %d, %t; want %d, %t", i, percent, free, c.percent, c.free)
		}
	}
}

// TestPacerOpening: while sessions are opened it collects as Go does, however much
// is allocated, and what that left behind is given back, too.
func TestPacerOpening(t *testing.T) {
	var p pacer
	for i, c := range []struct {
		allocated, goroutines uint64
		percent               int
		free                  bool
	}{
		{0, opening - 1, 100, false},
		{busyRate, opening - 1, 800, false},
		{busyRate, 2*opening - 1, 100, false},
		{0, 3*opening - 1, 100, false},
		{busyRate, 4*opening - 2, 800, false}, // some more are no burst
		{busyRate, 100, 100, false},
		{busyRate, 10, 800, false}, // sessions have ended
		{0, 10 + opening, 100, false},
		{0, 10 + opening, 800, false},
		{0, 10 + opening, 800, false},
		{0, 10 + opening, 100, true},
	} {
		if percent, free := p.step(c.allocated, 1<<20, c.goroutines); percent != c.percent || free != c.free {
			t.Errorf("step %d: %d, %t; want %d, %t", i, percent, free, c.percent, c.free)
		}
	}
}
