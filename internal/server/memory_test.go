package server

import (
	"context"
	"runtime"
	"testing"
)

func TestPacer(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name            string
		allocated, live uint64
		want            int
	}{
		{"idle", 0, 15 * mib, 25},
		{"nearly idle", busyRate - 1, 15 * mib, 25},
		{"busy, little is live", 30 * mib, 2 * mib, 800},
		{"busy, some is live", 30 * mib, 16 * mib, 200},
		{"busy, much is live", 30 * mib, 128 * mib, 100},
		{"busy, very much is live", 900 * mib, 4096 * mib, 100},
		{"nothing is known to be live", 30 * mib, 0, 800},
	} {
		var p pacer
		if got, free := p.step(usage{c.allocated, c.live, 0}); got != c.want || free {
			t.Errorf("%s: %d, %t; want %d", c.name, got, free, c.want)
		}
	}
}

// TestPacerGivesBack: memory is given back once after each time that it was busy.
func TestPacerGivesBack(t *testing.T) {
	p := pacer{last: usage{connections: 100}}
	total := uint64(0)
	for i, c := range []struct {
		allocated uint64
		percent   int
		free      bool
	}{
		{0, 25, false}, // a gateway that just began
		{busyRate, 800, false},
		{0, 800, false},
		{busyRate, 800, false},
		{0, 800, false},
		{0, 800, false},
		{0, 25, true},
		{0, 25, true},
		{0, 25, true},
		{0, 25, false},
		{0, 25, false},
		{busyRate, 800, false},
		{0, 800, false},
		{0, 800, false},
		{0, 25, true},
		{busyRate, 800, false}, // busy again before all was given back
		{0, 800, false},
		{0, 800, false},
		{0, 25, true},
		{0, 25, true},
		{0, 25, true},
		{0, 25, false},
	} {
		total += c.allocated
		if percent, free := p.step(usage{total, 1 << 20, 100}); percent != c.percent || free != c.free {
			t.Errorf("step %d: %d, %t; want %d, %t", i, percent, free, c.percent, c.free)
		}
	}
}

// TestPacerOpening: while sessions are opened it collects often, unless much more is
// allocated than they need, and what that left behind is given back, too.
func TestPacerOpening(t *testing.T) {
	var p pacer
	total := uint64(0)
	for i, c := range []struct {
		allocated, connections uint64
		percent                int
		free                   bool
	}{
		{0, opening - 1, 25, false},
		{busyRate - 1, opening - 1, 25, false},
		{busyRate, opening - 1, 800, false},
		{opening*forOpening - 1, 2*opening - 1, 25, false},
		{opening * forOpening, 3*opening - 1, 800, false}, // they work already
		{0, 4*opening - 1, 25, false},
		{busyRate, 5*opening - 2, 800, false}, // some more are no burst
		{busyRate, 100, 25, false},
		{busyRate, 10, 800, false}, // sessions have ended
		{0, 10 + opening, 25, false},
		{0, 10 + opening, 800, false},
		{0, 10 + opening, 800, false},
		{0, 10 + opening, 25, true},
	} {
		total += c.allocated
		if percent, free := p.step(usage{total, 1 << 20, c.connections}); percent != c.percent || free != c.free {
			t.Errorf("step %d: %d, %t; want %d, %t", i, percent, free, c.percent, c.free)
		}
	}
}

// TestPacerCollected: work that begins is told by the first collections, within the second.
func TestPacerCollected(t *testing.T) {
	p := pacer{last: usage{allocated: 1 << 30, connections: 100}}
	for i, c := range []struct {
		allocated, connections uint64
		ok                     bool
	}{
		{busyRate - 1, 100, false},
		{busyRate, 100, true},
		{busyRate, 50, true},
		{busyRate, 100 + opening - 1, true},
		{busyRate - 1, 100 + opening, false},
		{opening*forOpening - 1, 100 + opening, false},
		{max(busyRate, opening*forOpening), 100 + opening, true},
	} {
		if percent, ok := p.collected(usage{1<<30 + c.allocated, 16 << 20, c.connections}); percent != 200 || ok != c.ok {
			t.Errorf("step %d: %d, %t; want 200, %t", i, percent, ok, c.ok)
		}
	}
	if p != (pacer{last: usage{allocated: 1 << 30, connections: 100}}) {
		t.Error("what a second is measured from has changed")
	}
}

// TestWatchCollector: every collection is told of, while somebody wants to know.
func TestWatchCollector(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	told := watchCollector(ctx)
	for range 3 {
		runtime.GC()
		<-told
	}
	cancel()
}
