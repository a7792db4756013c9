package gate

import (
	"fmt"
	"sync"
	"time"
)

// amounts count what accesses let pass, over all sessions of an identity here.
type amounts struct {
	mu   sync.Mutex
	byID map[string]*amount
}

// add counts by the amount of that name and limit, unless it is more than what is left.
func (a *amounts) add(name string, limit int64, now time.Time, n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := fmt.Sprintf("%s/%d", name, limit)
	found, ok := a.byID[id]
	if !ok {
		for id, old := range a.byID {
			if old.idle(now) {
				delete(a.byID, id)
			}
		}
		if a.byID == nil {
			a.byID = map[string]*amount{}
		}
		found = &amount{limit: limit}
		a.byID[id] = found
	}
	return found.add(now, n)
}

// amount counts files or bytes in the sixty minutes up to now, by the minute.
// Whoever calls holds amounts.mu.
type amount struct {
	limit   int64
	minutes [60]int64
	last    int64 // the minute of the latest count, since 1970
	sum     int64
}

// forward forgets what is an hour old.
func (a *amount) forward(now time.Time) {
	minute := now.Unix() / 60
	for i := a.last + 1; i <= minute && i <= a.last+60; i++ {
		a.sum -= a.minutes[i%60]
		a.minutes[i%60] = 0
	}
	a.last = max(a.last, minute)
}

// add counts n more, unless they are more than what is left.
func (a *amount) add(now time.Time, n int64) bool {
	a.forward(now)
	if a.sum+n > a.limit {
		return false
	}
	a.sum += n
	a.minutes[a.last%60] += n
	return true
}

// idle says whether there is nothing to remember.
func (a *amount) idle(now time.Time) bool {
	a.forward(now)
	return a.sum == 0
}
