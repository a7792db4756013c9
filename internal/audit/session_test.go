package audit_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"postern"
	"postern/internal/audit"
)

// A session's beginning is in the log and in the list, or in neither, and its end
// shares the commit of somebody who can't wait.
func TestSessionsAreCommittedWithTheirEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := &moodyStore{Store: p.db}
		l := p.open(t, func(c *audit.Config) { c.Store = s })
		first := postern.SessionInfo{ID: "ss_1", Identity: "alice", Kind: postern.User, StartedAt: entry(1).Time}
		must(t, l.AppendSession(t.Context(), postern.AuditEntry{Action: "session.open", Session: first.ID}, first))
		if got, err := p.db.Session(t.Context(), first.ID); err != nil || !got.EndedAt.IsZero() || l.Size() != 1 {
			t.Fatalf("the list has %+v, %v; the log has %d entries", got, err, l.Size())
		}

		zeroth := postern.SessionInfo{ID: "ss_0", Identity: "alice", Kind: postern.User, StartedAt: entry(1).Time, EndedAt: entry(1).Time}
		must(t, l.AppendSessionSoon(t.Context(), postern.AuditEntry{Action: "session.close", Session: zeroth.ID}, zeroth))
		ended := first
		ended.EndedAt = entry(2).Time
		over := make(chan error, 1)
		go func() {
			over <- l.AppendSessionSoon(t.Context(), postern.AuditEntry{Action: "session.close", Session: ended.ID}, ended)
		}()
		synctest.Wait()
		if len(over) > 0 {
			t.Error("an end didn't wait, though another had come just before")
		}
		before := s.batches
		second := postern.SessionInfo{ID: "ss_2", Identity: "alice", Kind: postern.User, StartedAt: entry(3).Time}
		must(t, l.AppendSession(t.Context(), postern.AuditEntry{Action: "session.open", Session: second.ID}, second))
		must(t, <-over)
		if n := s.batches - before; n != 1 {
			t.Errorf("one that ended and one that began took %d commits", n)
		}
		if got, err := p.db.Session(t.Context(), first.ID); err != nil || got.EndedAt.IsZero() {
			t.Errorf("the list has %+v, %v", got, err)
		}

		// With nobody to share with, it waits no longer than it may, and not at all
		// where none has ended shortly before.
		began := time.Now()
		second.EndedAt = entry(4).Time
		must(t, l.AppendSessionSoon(t.Context(), postern.AuditEntry{Action: "session.close", Session: second.ID}, second))
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("an end alone took %v", took)
		}
		time.Sleep(50 * time.Millisecond) // of the bubble
		began = time.Now()
		must(t, l.AppendSessionSoon(t.Context(), postern.AuditEntry{Action: "session.close", Session: second.ID}, second))
		if took := time.Since(began); took != 0 {
			t.Errorf("an end that none preceded took %v", took)
		}
	})
}

// A session that can't be entered into the log isn't in the list either.
func TestSessionsThatCantBeLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := &moodyStore{Store: p.db, full: true}
		l := p.open(t, func(c *audit.Config) { c.Store = s })
		info := postern.SessionInfo{ID: "ss_1", Identity: "alice", Kind: postern.User, StartedAt: entry(1).Time}
		for _, put := range []func(context.Context, postern.AuditEntry, postern.SessionInfo) error{l.AppendSession, l.AppendSessionSoon} {
			if err := put(t.Context(), postern.AuditEntry{Action: "session.open", Session: info.ID}, info); !errors.Is(err, errDisk) {
				t.Errorf("got %v, want that the disk is full", err)
			}
		}
		s.set(func(s *moodyStore) { s.full = false })
		time.Sleep(2 * time.Second) // of the bubble: the log tries again each second
		if err := l.Err(); err != nil {
			t.Error(err)
		}
		if _, err := p.db.Session(t.Context(), info.ID); !errors.Is(err, postern.ErrNotFound) {
			t.Errorf("the list has the session, %v", err)
		}
		found, err := l.Search(t.Context(), postern.AuditFilter{Session: info.ID})
		must(t, err)
		if len(found) != 0 {
			t.Errorf("the log has %+v", found)
		}
	})
}

// A session that ends while the store takes nothing is over all the same: its end is
// in the log and in the list once the store takes it, and only once.
func TestEndsOutlastAnOutage(t *testing.T) {
	for name, how := range map[string]func(*moodyStore){
		"the disk is full":            func(s *moodyStore) { s.full = true },
		"the commit's answer is lost": func(s *moodyStore) { s.full, s.commits, s.blind = true, true, true },
		"nothing is read either":      func(s *moodyStore) { s.full, s.blind = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlace(t)
				s := &moodyStore{Store: p.db}
				l := p.open(t, func(c *audit.Config) { c.Store = s })
				var all []postern.SessionInfo
				for _, id := range []string{"ss_1", "ss_2", "ss_3"} {
					info := postern.SessionInfo{ID: id, Identity: "alice", Kind: postern.User, StartedAt: entry(1).Time}
					must(t, l.AppendSession(t.Context(), postern.AuditEntry{Action: "session.open", Session: id}, info))
					all = append(all, info)
				}
				s.set(how)
				for i := range all { // the first finds the outage, the others are in it
					all[i].EndedAt, all[i].Digest = entry(2).Time, "sha256:"+all[i].ID
					put := l.AppendSession
					if i == 1 {
						put = l.AppendSessionSoon
					}
					if err := put(t.Context(), postern.AuditEntry{Action: "session.close", Session: all[i].ID}, all[i]); !errors.Is(err, errDisk) {
						t.Errorf("got %v, want that the disk is full", err)
					}
				}
				s.set(func(s *moodyStore) { s.full, s.commits, s.blind = false, false, false })
				time.Sleep(2 * time.Second) // of the bubble: the log tries again each second
				must(t, l.Err())
				for _, info := range all {
					if got, err := p.db.Session(t.Context(), info.ID); err != nil || got.EndedAt.IsZero() || got.Digest != info.Digest {
						t.Errorf("the list has %+v, %v", got, err)
					}
					found, err := l.Search(t.Context(), postern.AuditFilter{Session: info.ID, Action: "session.close"})
					must(t, err)
					if len(found) != 1 {
						t.Errorf("the log has %d ends of %s", len(found), info.ID)
					}
				}
				must(t, l.Close(t.Context()))
			})
		})
	}
}
