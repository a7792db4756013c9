package gate_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"postern"
	"postern/internal/gate"
)

// Whoever is watched is told by whom, and until when; so is the recording.
func TestWatchedSessionIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		s := open(t, h)
		if _, err := h.Watch(s.ID(), "carol"); !isDenied(err) {
			t.Errorf("a session that can't be told anything: %v", err)
		}
		var told []string
		release := s.Tell(func(words string) { told = append(told, words) })
		defer release()
		watch := func(who string) func() {
			stop, err := h.Watch(s.ID(), who)
			if err != nil {
				t.Fatal(err)
			}
			return stop
		}
		stop, again, other := watch("carol"), watch("carol"), watch("sue")
		synctest.Wait()
		want := []string{"postern: carol is watching this session", "postern: sue is watching this session"}
		if !slices.Equal(told, want) || !slices.Equal(s.Watched(), want) {
			t.Errorf("told %q, watched: %q", told, s.Watched())
		}
		stop()
		stop() // that they stopped twice is of no matter
		synctest.Wait()
		if len(told) != 2 {
			t.Errorf("carol watches yet, and it was told %q", told)
		}
		again()
		other()
		synctest.Wait()
		want = append(want, "postern: carol has stopped watching this session", "postern: sue has stopped watching this session")
		if !slices.Equal(told, want) || len(s.Watched()) != 0 {
			t.Errorf("told %q, watched: %q", told, s.Watched())
		}
		var recorded []string
		for _, e := range h.Recordings.Of(s.ID()).Events() {
			if e.Kind == postern.EventWatch {
				recorded = append(recorded, e.Text+" "+e.State)
			}
		}
		if got := strings.Join(recorded, ", "); got != "carol began, sue began, carol ended, sue ended" {
			t.Errorf("recorded: %s", got)
		}
	})
}

// A client that takes nothing is watched by no more than were told to it.
func TestClientThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		s := open(t, h)
		release := s.Tell(func(string) { <-s.Context().Done() })
		var err error
		watching := 0
		for err == nil {
			if _, err = h.Watch(s.ID(), strings.Repeat("x", watching+1)); err == nil {
				watching++
			}
			synctest.Wait()
		}
		if !isDenied(err) || watching > 100 {
			t.Errorf("%d watch, and then %v", watching, err)
		}
		if err := s.Close("over"); err != nil {
			t.Error(err)
		}
		release()
	})
}

// What has ended is not watched, and its end is no event of its watchers'.
func TestWatchUntilTheEnd(t *testing.T) {
	h := newHarness(t)
	s := open(t, h)
	release := s.Tell(func(string) {})
	stop, err := h.Watch(s.ID(), "carol")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close("over"); err != nil {
		t.Error(err)
	}
	release()
	stop()
	events := h.Recordings.Of(s.ID()).Events()
	if last := events[len(events)-1]; last.Kind != postern.EventClose {
		t.Errorf("the last event is %+v", last)
	}
	if _, err := h.Watch(s.ID(), "carol"); !errors.Is(err, postern.ErrNotFound) {
		t.Errorf("a session that is over: %v", err)
	}
	if strings.Contains(h.Log.String(), "can't be recorded") {
		t.Error(h.Log)
	}
}

// What can't be recorded isn't done: nobody watches.
func TestWatchIsRecorded(t *testing.T) {
	h := newHarness(t)
	s := open(t, h)
	defer s.Tell(func(string) {})()
	h.Recordings.Break(errors.New("disk full"))
	if _, err := h.Watch(s.ID(), "carol"); err == nil {
		t.Error("carol watches, and no recording says so")
	}
	<-s.Context().Done()
}

func isDenied(err error) bool {
	var denied *gate.DeniedError
	return errors.As(err, &denied) && denied.Reason != ""
}
