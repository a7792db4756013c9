package gate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postern"
)

// rowBytes is how much of a result counts as one row: otherwise a table folded
// into one value would be one.
const rowBytes = 1 << 10

// portions is into how many parts an hour's rows are divided: a gateway takes
// one at a time from the store, so that few rows cost a write there.
const portions = 16

// maxPortion bounds what a gateway that crashes takes with it.
const maxPortion = 4 << 10

// meters count what delegations have, over all their sessions here.
type meters struct {
	mu   sync.Mutex
	byID map[string]*meter
}

// of is a delegation's meter, which is released when the session ends; nil for
// one without a limit.
func (m *meters) of(scope *postern.Scope, from Allowances) *meter {
	if scope == nil || scope.RowsPerHour <= 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byID == nil {
		m.byID = map[string]*meter{}
	}
	found, ok := m.byID[scope.Delegation]
	if !ok {
		found = &meter{delegation: scope.Delegation, limit: scope.RowsPerHour, from: from}
		m.byID[scope.Delegation] = found
	}
	found.users++
	return found
}

// release gives back what a delegation took and hasn't used, with its last session.
func (m *meters) release(ctx context.Context, one *meter) error {
	m.mu.Lock()
	one.users--
	last := one.users == 0
	if last {
		delete(m.byID, one.delegation)
	}
	m.mu.Unlock()
	if !last {
		return nil
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	return one.giveBack(ctx)
}

// meter is what a delegation took from the store and hasn't used.
type meter struct {
	delegation string
	limit      int64
	from       Allowances
	users      int // sessions; guarded by meters.mu

	mu    sync.Mutex
	left  int64
	taken time.Time // in whose minute what is left counts
}

// have makes sure that n rows are left, or returns false. The caller holds mu.
func (m *meter) have(ctx context.Context, now time.Time, n int64) (bool, error) {
	if m.left > 0 && now.Unix()/60 != m.taken.Unix()/60 {
		// A row counts in the minute in which it is sent.
		if err := m.giveBack(ctx); err != nil {
			return false, err
		}
	}
	if m.left >= n {
		return true, nil
	}
	most := max(n-m.left, min(m.limit/portions, maxPortion))
	got, err := m.from.TakeRows(ctx, m.delegation, m.limit, most, now)
	if err != nil {
		return false, err
	}
	m.left, m.taken = m.left+got, now
	return m.left >= n, nil
}

func (m *meter) giveBack(ctx context.Context) error {
	if m.left == 0 {
		return nil
	}
	if err := m.from.ReturnRows(ctx, m.delegation, m.left, m.taken); err != nil {
		return err
	}
	m.left = 0
	return nil
}

// add counts rows, unless they are more than what is left.
func (m *meter) add(ctx context.Context, now time.Time, n int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ok, err := m.have(ctx, now, n)
	if ok {
		m.left -= n
	}
	return ok, err
}

// spent says whether nothing is left.
func (m *meter) spent(ctx context.Context, now time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ok, err := m.have(ctx, now, 1)
	return !ok, err
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
	ok, err := s.meter.add(s.ctx, s.gate.cfg.Now(), n)
	if ok {
		return nil
	}
	ended := &EndedError{Reason: s.outOfRows()}
	if err != nil {
		ended.Reason = s.uncounted(err)
	}
	s.end(ended)
	return ended
}

// uncounted words for the client that the store can't count.
func (s *Session) uncounted(err error) string {
	s.gate.cfg.Log.Error("rows of a delegation can't be counted", "session", s.info.ID, "error", err)
	return "the rows that delegation " + s.meter.delegation + " allows can't be counted now. Try again later, or tell an administrator."
}

func (s *Session) outOfRows() string {
	return fmt.Sprintf("delegation %s allows %d rows an hour, and they are used up. Ask for less at a time, or wait.",
		s.meter.delegation, s.meter.limit)
}

// metered denies commands of a session whose rows are used up, so that its
// client learns of it by an error and not by its end.
func (s *Session) metered(d postern.Decision) postern.Decision {
	if s.meter == nil || d.Verdict == postern.Deny {
		return d
	}
	spent, err := s.meter.spent(s.ctx, s.gate.cfg.Now())
	denied := postern.Decision{Rule: s.meter.delegation, Reason: s.outOfRows(), Policy: d.Policy}
	switch {
	case err != nil:
		denied.Reason = s.uncounted(err)
		return denied
	case spent:
		return denied
	}
	return d
}
