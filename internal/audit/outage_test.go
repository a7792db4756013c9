package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern"
	"postern/internal/audit"
)

var errDisk = errors.New("database or disk is full")

// moodyStore is a store whose disk can be full.
type moodyStore struct {
	audit.Store

	mu      sync.Mutex
	full    bool
	commits bool // commits, and says that it failed
	blind   bool // can't be read either
	batches int
	gate    chan struct{} // a commit waits for it
}

func (s *moodyStore) set(change func(*moodyStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *moodyStore) AppendAudit(ctx context.Context, b postern.AuditBatch) (bool, error) {
	s.mu.Lock()
	full, commits, gate := s.full, s.commits, s.gate
	s.batches++
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if full && !commits {
		return false, errDisk
	}
	ok, err := s.Store.AppendAudit(ctx, b)
	if full && err == nil {
		err = errDisk
	}
	return ok, err
}

func (s *moodyStore) AuditRecords(ctx context.Context, after int64, limit int) ([]postern.AuditRecord, error) {
	s.mu.Lock()
	blind := s.blind
	s.mu.Unlock()
	if blind {
		return nil, errDisk
	}
	return s.Store.AuditRecords(ctx, after, limit)
}

func TestOutage(t *testing.T) {
	for name, how := range map[string]func(*moodyStore){
		"the disk is full":                  func(s *moodyStore) { s.full = true },
		"the commit's answer is lost":       func(s *moodyStore) { s.full, s.commits, s.blind = true, true, true },
		"nothing is written, nothing read":  func(s *moodyStore) { s.full, s.blind = true, true },
		"it failed, but had been committed": func(s *moodyStore) { s.full, s.commits = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlace(t)
				s := &moodyStore{Store: p.db}
				l := p.open(t, func(c *audit.Config) { c.Store = s })
				fill(t, l, 0, 2)
				s.set(how)
				must(t, l.Queue(entry(2)))         // accepted: must not be lost
				time.Sleep(100 * time.Millisecond) // synctest's clock
				synctest.Wait()
				if name == "it failed, but had been committed" {
					if l.Err() != nil || l.Size() != 3 {
						t.Errorf("size %d, %v", l.Size(), l.Err())
					}
					return
				}
				for what, err := range map[string]error{
					"queue": l.Queue(entry(9)), "append": l.Append(t.Context(), entry(9)), "err": l.Err(),
				} {
					if !errors.Is(err, errDisk) {
						t.Errorf("%s during the outage: %v", what, err)
					}
				}
				s.set(func(s *moodyStore) { s.full, s.commits, s.blind = false, false, false })
				time.Sleep(time.Second) // synctest's clock
				synctest.Wait()
				must(t, l.Err())
				fill(t, l, 3, 1)
				records, err := l.Tail(t.Context(), 0, 10)
				must(t, err)
				var said []string
				for _, r := range records {
					said = append(said, fmt.Sprint(r.Action, r.N))
				}
				if got := strings.Join(said, " "); got != "command0 command1 command2 audit.outage0 command3" {
					t.Errorf("the log holds %s", got)
				}
				if report, err := l.Verify(t.Context(), nil); err != nil || report.Entries != 5 {
					t.Errorf("%+v, %v", report, err)
				}
				must(t, l.Close(t.Context()))
			})
		})
	}
}

func TestCloseDuringAnOutageTriesOnceMore(t *testing.T) {
	p := newPlace(t)
	s := &moodyStore{Store: p.db}
	l := p.open(t, func(c *audit.Config) { c.Store = s })
	s.set(func(s *moodyStore) { s.full = true })
	if err := l.Append(t.Context(), entry(0)); !errors.Is(err, errDisk) {
		t.Fatalf("append: %v", err)
	}
	if err := l.Close(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("close: %v", err)
	}
}

func TestForeignRowsEndTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		l := p.open(t, nil)
		fill(t, l, 1, 25)
		forge(t, p)
		p.tamper(t, `DELETE FROM audit_batches WHERE first = 25`)
		must(t, l.Queue(entry(26)))
		time.Sleep(100 * time.Millisecond) // synctest's clock
		synctest.Wait()
		tampered(t, l.Append(t.Context(), entry(27)))
		time.Sleep(time.Minute) // synctest's clock: it doesn't mend by itself
		tampered(t, l.Err())
		tampered(t, l.Close(t.Context()))
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := &moodyStore{Store: p.db, gate: make(chan struct{})}
		l := p.open(t, func(c *audit.Config) { c.Store = s })
		queued := make(chan int)
		go func() {
			n := 0
			for ; n < 10_000; n++ {
				if l.Queue(entry(n)) != nil {
					break
				}
			}
			queued <- n
		}()
		synctest.Wait() // the commit waits, the queue is full, Queue waits
		select {
		case n := <-queued:
			t.Fatalf("%d entries were taken while nothing was written", n)
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Append(ctx, entry(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("append to a full queue: %v", err)
		}
		close(s.gate)
		if n := <-queued; n != 10_000 {
			t.Errorf("%d entries were taken", n)
		}
		must(t, l.Close(t.Context()))
		if l.Size() != 10_000 {
			t.Errorf("%d entries are durable", l.Size())
		}
		if s.batches > 50 {
			t.Errorf("%d commits for 10,000 entries that waited", s.batches)
		}
	})
}

func TestQueuedEntriesShareACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := &moodyStore{Store: p.db}
		l := p.open(t, func(c *audit.Config) { c.Store = s })
		commits := func(do func()) int {
			s.set(func(s *moodyStore) { s.batches = 0 })
			do()
			synctest.Wait()
			n := 0
			s.set(func(s *moodyStore) { n = s.batches })
			return n
		}
		fill(t, l, 0, 1)
		if n := commits(func() {
			for i := range 20 {
				must(t, l.Queue(entry(1+i)))
				time.Sleep(time.Millisecond) // synctest's clock
			}
			time.Sleep(50 * time.Millisecond)
		}); n != 1 || l.Size() != 21 {
			t.Errorf("%d commits, %d entries", n, l.Size())
		}
		// Whoever waits for an entry doesn't wait for others to join it.
		began := time.Now()
		if n := commits(func() {
			must(t, l.Queue(entry(21)))
			synctest.Wait() // the commit waits for others
			must(t, l.Append(t.Context(), entry(22)))
		}); n != 1 || time.Since(began) != 0 || l.Size() != 23 {
			t.Errorf("%d commits, %d entries, %v", n, l.Size(), time.Since(began))
		}
		must(t, l.Queue(entry(23)))
		synctest.Wait()
		records, err := l.Tail(t.Context(), 20, 10)
		must(t, err)
		if len(records) != 4 || time.Since(began) != 0 {
			t.Errorf("%d records after %v, want those that were queued, too", len(records), time.Since(began))
		}
		must(t, l.Close(t.Context()))
	})
}

func TestCheckpointAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		p := newPlace(t)
		l := p.open(t, func(c *audit.Config) { c.Log = slog.New(slog.NewTextHandler(&logged, nil)) })
		last := func() int64 {
			synctest.Wait()
			c, err := p.db.LastAuditCheckpoint(t.Context())
			must(t, err)
			return c.Size
		}
		fill(t, l, 0, 1)
		if got := last(); got != 1 {
			t.Errorf("the first entry is signed at once: signed %d", got)
		}
		fill(t, l, 1, 2)
		time.Sleep(9 * time.Second) // synctest's clock
		fill(t, l, 3, 2)
		if got := last(); got != 1 {
			t.Errorf("after 9 s: signed %d", got)
		}
		time.Sleep(time.Second) // synctest's clock
		if got := last(); got != 5 {
			t.Errorf("after 10 s: signed %d", got)
		}
		time.Sleep(time.Hour) // synctest's clock
		if n := strings.Count(logged.String(), "audit log checkpoint"); n != 2 {
			t.Errorf("%d checkpoints were logged", n)
		}
		must(t, l.Close(t.Context()))
	})
}
