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
	busyRate   = 4 << 20   // bytes allocated in a second, from which on it is busy
	restsAfter = 10        // seconds without, before it is idle again
	usualPace  = 100       // Go's own: garbage as much as is live
	mostPace   = 800       // per cent
	roomToGrow = 128 << 20 // bytes of garbage, at most, for which it is let wait
)

// pace is by how many per cent garbage may outgrow the live heap before it is
// collected: more while much is allocated, so long as that takes little memory.
func pace(allocated, live uint64) int {
	if allocated < busyRate {
		return usualPace
	}
	return int(min(max(roomToGrow*100/max(live, 1), usualPace), mostPace))
}

// paceCollector paces the garbage collector until ctx ends, unless the
// environment says how: GOGC is the operator's word.
func paceCollector(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	sample := []measured.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	measured.Read(sample)
	before, now, quiet := sample[0].Value.Uint64(), usualPace, 0
	defer func() { debug.SetGCPercent(usualPace) }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		measured.Read(sample)
		allocated := sample[0].Value.Uint64()
		next := pace(allocated-before, sample[1].Value.Uint64())
		before = allocated
		if quiet++; next > usualPace {
			quiet = 0
		}
		if next != now && (quiet == 0 || quiet >= restsAfter) {
			debug.SetGCPercent(next)
			now = next
		}
	}
}
