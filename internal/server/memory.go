package server

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	measured "runtime/metrics"
	"time"
)

// How the garbage collector is paced. Most of what the gateway allocates is
// garbage as soon as a command is answered, and little is not: at Go's own pace a
// busy gateway with a live heap of 15 MiB collects several times a second, for a
// fifth of its time. One that isn't busy has the time to collect more often than
// that, and holds less for it.
const (
	paceEvery  = time.Second
	busyRate   = 4 << 20   // bytes allocated in a second, from which on it is busy
	restsAfter = 3         // seconds without, before it is idle again
	giveBack   = 3         // collections then: each halves the stacks of goroutines that need less
	calmPace   = 25        // per cent, while it isn't busy, or opens sessions
	usualPace  = 100       // Go's own: garbage as much as is live
	mostPace   = 800       // per cent
	roomToGrow = 32 << 20  // bytes of garbage, at most, for which it is let wait
	opening    = 8         // connections more in a second, from which on sessions are being opened
	forOpening = 512 << 10 // bytes allocated for each of those, from which on something else is done, too
)

// usage is what has been allocated, in bytes, what is live, and how many connections
// are open.
type usage struct{ allocated, live, connections uint64 }

// pacer says by how many per cent garbage may outgrow the live heap before it is
// collected: more while much is allocated, so long as that takes little memory. What
// sessions are opened with is not all garbage: what stays would be scattered over as
// many pages as are let grow, and none of them could be given back. Where it was busy
// and isn't, memory goes back to the system. The zero pacer has seen nothing yet.
type pacer struct {
	last  usage // a second ago, or less
	busy  bool  // since memory was last given back
	quiet int   // seconds
}

// step is called once a second.
func (p *pacer) step(now usage) (percent int, free bool) {
	opens, works := p.opens(now), p.works(now)
	p.last = now
	if p.quiet++; works || opens {
		p.busy, p.quiet = true, 0
	}
	switch {
	case opens:
		return calmPace, false
	case p.busy && p.quiet < restsAfter:
		return busyPace(now.live), false
	case !p.busy:
		return calmPace, false
	}
	p.busy = p.quiet < restsAfter+giveBack-1
	return calmPace, true
}

// collected is called after a collection: a second is long for who is collected for
// ten times in it. It is for work that has only begun.
func (p *pacer) collected(now usage) (percent int, ok bool) {
	return busyPace(now.live), p.works(now) && !p.opens(now)
}

func (p *pacer) works(now usage) bool { return now.allocated >= p.last.allocated+busyRate }

func (p *pacer) opens(now usage) bool {
	more := now.connections - min(now.connections, p.last.connections)
	return more >= opening && now.allocated < p.last.allocated+more*forOpening
}

func busyPace(live uint64) int {
	return int(min(max(roomToGrow*100/max(live, 1), usualPace), mostPace))
}

// paceCollector paces the garbage collector until ctx ends, unless the
// environment says how: GOGC is the operator's word. connections is how many are open.
func paceCollector(ctx context.Context, connections func() int) error {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	defer func() { debug.SetGCPercent(usualPace) }()
	sample := []measured.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	measure := func() usage {
		measured.Read(sample)
		return usage{sample[0].Value.Uint64(), sample[1].Value.Uint64(), uint64(connections())} //nolint:gosec // a count
	}
	collections := watchCollector(ctx)
	var p pacer
	for now := usualPace; ; {
		next, free := now, false
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			next, free = p.step(measure())
		case <-collections:
			if looser, ok := p.collected(measure()); ok {
				next = looser
			}
		}
		if next != now {
			debug.SetGCPercent(next)
			now = next
		}
		if free {
			debug.FreeOSMemory()
		}
	}
}

// watchCollector tells of each collection, until ctx ends, whoever is ready to hear it.
func watchCollector(ctx context.Context) <-chan struct{} {
	told := make(chan struct{}, 1)
	var watch func()
	watch = func() {
		runtime.AddCleanup(new([64]byte), func(struct{}) { // garbage of the next one
			if ctx.Err() != nil {
				return
			}
			watch()
			select {
			case told <- struct{}{}:
			default:
			}
		}, struct{}{})
	}
	watch()
	return told
}
