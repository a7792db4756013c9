package server

import (
	"context"
	"os"
	"runtime/debug"
	measured "runtime/metrics"
	"time"
)

// How the garbage collector is paced. Most of what the gateway allocates is
// garbage as soon as a command is answered, and little is not: at Go's own pace a
// busy gateway with a live heap of 15 MiB collects several times a second, for a
// fifth of its time.
const (
	paceEvery  = time.Second
	busyRate   = 4 << 20  // bytes allocated in a second, from which on it is busy
	restsAfter = 3        // seconds without, before it is idle again
	giveBack   = 3        // collections then: each halves the stacks of goroutines that need less
	usualPace  = 100      // Go's own: garbage as much as is live
	mostPace   = 800      // per cent
	roomToGrow = 32 << 20 // bytes of garbage, at most, for which it is let wait
	opening    = 16       // goroutines more in a second, from which on sessions are being opened
)

// pacer says, once a second, by how many per cent garbage may outgrow the live
// heap before it is collected: more while much is allocated, so long as that
// takes little memory. What sessions are opened with is not all garbage: what stays
// would be scattered over as many pages as are let grow, and none of them could be
// given back. Where it was busy and isn't, memory goes back to the system. The zero
// pacer has seen nothing yet.
type pacer struct {
	busy       bool // since memory was last given back
	quiet      int  // seconds
	goroutines uint64
}

// step takes what was allocated since the last one, what is live, and how many
// goroutines there are.
func (p *pacer) step(allocated, live, goroutines uint64) (percent int, free bool) {
	opens := goroutines >= p.goroutines+opening
	p.goroutines = goroutines
	if p.quiet++; allocated >= busyRate || opens {
		p.busy, p.quiet = true, 0
	}
	switch {
	case opens:
		return usualPace, false
	case p.busy && p.quiet < restsAfter:
		return int(min(max(roomToGrow*100/max(live, 1), usualPace), mostPace)), false
	case !p.busy:
		return usualPace, false
	}
	p.busy = p.quiet < restsAfter+giveBack-1
	return usualPace, true
}

// paceCollector paces the garbage collector until ctx ends, unless the
// environment says how: GOGC is the operator's word.
func paceCollector(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	defer func() { debug.SetGCPercent(usualPace) }()
	sample := []measured.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	var p pacer
	for before, now := uint64(0), usualPace; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		measured.Read(sample)
		allocated := sample[0].Value.Uint64()
		next, free := p.step(allocated-before, sample[1].Value.Uint64(), sample[2].Value.Uint64())
		if before = allocated; next != now {
			debug.SetGCPercent(next)
			now = next
		}
		if free {
			debug.FreeOSMemory()
		}
	}
}
