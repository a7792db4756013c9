package gate

import (
	"fmt"
	"sync"
	"time"

	"postern"
)

// rowBytes is how much of a result counts as one row: otherwise a table folded
// into one value would be one.
const rowBytes = 1 << 10

// meters count what delegations and accesses have had, over all their sessions here.
type meters struct {
	mu   sync.Mutex
	byID map[string]*meter
}

// of is a delegation's meter; nil for one without a limit.
func (m *meters) of(scope *postern.Scope, now time.Time) *meter {
	if scope == nil || scope.RowsPerHour <= 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(now)
	return m.named(scope.Delegation, scope.RowsPerHour, now)
}

// add counts by the meter of that name and limit, unless it is more than what is left.
func (m *meters) add(name string, limit int64, now time.Time, n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock() // so that a meter isn't forgotten before it has counted
	return m.named(name, limit, now).add(now, n)
}

// named is the meter of that name and limit. The caller holds mu.
func (m *meters) named(name string, limit int64, now time.Time) *meter {
	// By the limit as well: an id's terms don't change, and must not seem to.
	id := fmt.Sprintf("%s/%d", name, limit)
	if found, ok := m.byID[id]; ok {
		return found
	}
	m.forget(now)
	if m.byID == nil {
		m.byID = map[string]*meter{}
	}
	found := &meter{limit: limit}
	m.byID[id] = found
	return found
}

// forget drops the meters that have nothing to remember. The caller holds mu.
func (m *meters) forget(now time.Time) {
	for id, old := range m.byID {
		if old.idle(now) {
			delete(m.byID, id)
		}
	}
}

// meter counts rows, files or bytes in the sixty minutes up to now, by the minute.
type meter struct {
	limit int64

	mu      sync.Mutex
	minutes [60]int64
	last    int64 // the minute of the latest count, since 1970
	sum     int64
}

// forward forgets what is an hour old. The caller holds mu.
func (m *meter) forward(now time.Time) {
	minute := now.Unix() / 60
	for i := m.last + 1; i <= minute && i <= m.last+60; i++ {
		m.sum -= m.minutes[i%60]
		m.minutes[i%60] = 0
	}
	m.last = max(m.last, minute)
}

// add counts rows, unless they are more than what is left.
func (m *meter) add(now time.Time, n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forward(now)
	if m.sum+n > m.limit {
		return false
	}
	m.sum += n
	m.minutes[m.last%60] += n
	return true
}

// spent says whether nothing is left.
func (m *meter) spent(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forward(now)
	return m.sum >= m.limit
}

// idle says whether there is nothing to remember.
func (m *meter) idle(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forward(now)
	return m.sum == 0
}

// CountsRows says whether the session's rows are counted: then each is told to
// Rows before it is sent.
func (s *Session) CountsRows() bool { return s.meter != nil }

// Rows counts one row of so many bytes that is about to be sent to the client.
// An error has ended the session: the row must not be sent.
func (s *Session) Rows(size int) error {
	if s.meter == nil {
		return nil
	}
	n := int64(max(1, (size+rowBytes-1)/rowBytes))
	if s.meter.add(s.gate.cfg.Now(), n) {
		return nil
	}
	err := &EndedError{Reason: s.outOfRows()}
	s.end(err)
	return err
}

func (s *Session) outOfRows() string {
	return fmt.Sprintf("delegation %s allows %d rows an hour, and they are used up. Ask for less at a time, or wait.",
		s.req.Identity.Scope.Delegation, s.meter.limit)
}

// metered denies commands of a session whose rows are used up, so that its
// client learns of it by an error and not by its end.
func (s *Session) metered(d postern.Decision) postern.Decision {
	if s.meter == nil || d.Verdict == postern.Deny || !s.meter.spent(s.gate.cfg.Now()) {
		return d
	}
	return postern.Decision{Rule: s.req.Identity.Scope.Delegation, Reason: s.outOfRows(), Policy: d.Policy}
}
