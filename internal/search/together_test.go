package search_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern"
	"postern/internal/search"
)

// countingStore counts transactions of several sessions.
type countingStore struct {
	search.Store
	together atomic.Int64
}

func (s *countingStore) Together(ctx context.Context, entries func() []postern.AuditEntry, do func(context.Context) error) error {
	s.together.Add(1)
	return s.Store.Together(ctx, entries, do)
}

// Sessions that end one after the other are indexed by one commit. One that is
// deleted meanwhile is none of the others' business.
func TestEndedSessionsAreIndexedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &countingStore{Store: w.store}
		index, err := search.New(search.Config{
			Store: s, Recordings: w.recordings, Key: bytes.Repeat([]byte{1}, 32), Log: slog.New(slog.DiscardHandler),
			Live: func() []postern.SessionInfo { return nil },
		})
		check(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- index.Run(ctx) }()
		synctest.Wait()
		for i := range 5 {
			id := fmt.Sprint("ss_", i)
			rec, info := w.begin(t, id, "alice", "orders-db")
			run(t, rec, &info, "select something")
			w.end(t, rec, info)
			if i == 2 {
				check(t, index.Forget(ctx, id))
			}
			index.Ended(id)
		}
		time.Sleep(time.Second) // of the bubble
		synctest.Wait()
		want := []string{"ss_4#1", "ss_3#1", "ss_1#1", "ss_0#1"}
		if got := w.find(t, "something", w.readable(t, false), 10, inClear); !slices.Equal(got, want) {
			t.Errorf("found %v, want %v", got, want)
		}
		if n := s.together.Load(); n != 1 {
			t.Errorf("%d transactions", n)
		}
		cancel()
		check(t, <-done)
	})
}
