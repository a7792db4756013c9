package identity

import (
	"sync"
	"time"
)

// maxBuckets bounds the memory of a Limiter.
const maxBuckets = 10_000

// Limiter counts attempts by key: a burst at once, then one every so often. Its
// methods may be called from several goroutines.
type Limiter struct {
	burst int
	every time.Duration
	now   func() time.Time

	mu   sync.Mutex
	full map[string]time.Time // when the key's bucket will be full again
}

// NewLimiter makes a limiter with all its buckets full.
func NewLimiter(burst int, every time.Duration, now func() time.Time) *Limiter {
	return &Limiter{burst: burst, every: every, now: now, full: map[string]time.Time{}}
}

// Take says whether one more attempt may be made, and counts it.
func (l *Limiter) Take(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	at, ok := l.full[key]
	if !ok {
		l.makeRoom(now)
	}
	if at.Before(now) {
		at = now
	}
	at = at.Add(l.every)
	if at.Sub(now) > time.Duration(l.burst)*l.every {
		return false
	}
	l.full[key] = at
	return true
}

// GiveBack undoes one take: only failures count.
func (l *Limiter) GiveBack(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.full[key]; ok {
		l.full[key] = at.Add(-l.every)
	}
}

// makeRoom forgets keys whose bucket is full, and if none is, any one.
func (l *Limiter) makeRoom(now time.Time) {
	if len(l.full) < maxBuckets {
		return
	}
	for key, at := range l.full {
		if !at.After(now) {
			delete(l.full, key)
		}
	}
	for key := range l.full {
		if len(l.full) < maxBuckets {
			return
		}
		delete(l.full, key)
	}
}
