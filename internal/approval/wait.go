package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern"
)

// Wait returns a review once it is no longer pending. A vote cast here wakes it
// at once, one cast through another gateway within Config.Poll. At its deadline
// the review has timed out; when ctx ends first, it is withdrawn, or void if it
// was approved and will not run. An error leaves the review as it is: nothing
// may run on it.
func (s *Service) Wait(ctx context.Context, id string) (postern.Review, error) {
	woken := s.listen(id)
	defer s.unlisten(id, woken)
	for {
		rv, err := s.look(ctx, id)
		if err != nil {
			return postern.Review{}, fmt.Errorf("wait for review %s: %w", id, err)
		}
		if rv.State != postern.ReviewPending {
			return rv, nil
		}
		left := rv.ExpiresAt.Sub(s.cfg.Now())
		timer := time.NewTimer(max(min(left, s.cfg.Poll), 0))
		select {
		case <-woken:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// look reads a review, and ends it when its time or its client's is up.
func (s *Service) look(ctx context.Context, id string) (postern.Review, error) {
	over := ctx.Err() != nil
	reading, cancel := detached(ctx)
	defer cancel()
	rv, err := s.cfg.Store.Review(reading, id)
	switch {
	case err != nil:
		return postern.Review{}, err
	case rv.State == postern.ReviewPending && over:
		rv, err = s.Withdraw(ctx, id, "whoever waited has gone")
	case rv.State == postern.ReviewPending && !rv.ExpiresAt.After(s.cfg.Now()):
		rv, err = s.timeOut(ctx, id)
	case rv.State == postern.ReviewApproved && over:
		rv, err = s.end(ctx, id, ending{"review.void", Voided, postern.ReviewApproved, postern.ReviewVoid}, "whoever waited has gone")
	default:
		return rv, nil
	}
	if errors.Is(err, ErrDecided) { // someone was quicker; a review only moves on, so this ends
		return s.look(ctx, id)
	}
	return rv, err
}

// listen returns a channel that holds a value when a step was taken here.
func (s *Service) listen(id string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	woken := make(chan struct{}, 1)
	s.waiters[id] = append(s.waiters[id], woken)
	return woken
}

func (s *Service) unlisten(id string, woken chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := slices.DeleteFunc(s.waiters[id], func(w chan struct{}) bool { return w == woken })
	if len(left) == 0 {
		delete(s.waiters, id)
		return
	}
	s.waiters[id] = left
}

func (s *Service) wake(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiters[id] {
		select {
		case w <- struct{}{}:
		default: // it is told already
		}
	}
}
