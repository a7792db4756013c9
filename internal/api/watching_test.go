package api_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
)

const watchers = `kind: Recordings
name: on-call
watch: ["group:dba"]
`

// To read what is still recorded is to watch, whichever way: a right that
// neither a role nor view gives, told to the session's client, and audited.
func TestOpenSessionsAreWatchedByThoseWhoAreNamed(t *testing.T) {
	w := apitest.New(t)
	info, rec := w.Session(t, "ss_1", "alice")
	ways := map[string]func(user string) error{
		"export": func(user string) error {
			// An open session's recording has no end: what there is comes, and that.
			return as(t, w, user).Events(t.Context(), "ss_1", false, func([]byte) error { return nil })
		},
		"replay": func(user string) error { return as(t, w, user).Replay(t.Context(), "ss_1", 0, 0, &bytes.Buffer{}) },
		"follow": func(user string) error { return follow(t, as(t, w, user), "ss_1") },
	}
	refused := func(user string, status int, words string) {
		t.Helper()
		for way, try := range ways {
			if said := wantStatus(t, try(user), status); !strings.Contains(said, words) {
				t.Errorf("%s, %s: %s", user, way, said)
			}
		}
	}
	refused("audrey", http.StatusForbidden, "names you in watch")
	refused("adam", http.StatusForbidden, "names you in watch")
	refused("dave", http.StatusNotFound, "")
	apply(t, w, viewers) // they may see it when it has ended
	refused("dave", http.StatusForbidden, "names you in watch")
	if told := w.Live.Told(); told != "" {
		t.Errorf("alice was told %q", told)
	}
	log := must(w.Audit.Entries(t.Context(), postern.AuditFilter{Action: "session.watch", Session: "ss_1", Limit: 100}))(t)
	if len(log) != 9 || log[0].Outcome != "refused" || log[0].Target != "user:alice" || log[0].Reason == "" {
		t.Errorf("the log: %+v", log)
	}

	remove(t, w, "Recordings", "security-only")
	apply(t, w, watchers)
	if s := must(as(t, w, "dave").Session(t.Context(), "ss_1"))(t); s.Identity != "alice" {
		t.Errorf("dave sees %+v", s)
	}
	for way, try := range ways {
		if err := try("dave"); wantNothingButTheEnd(err) != nil {
			t.Errorf("%s: %v", way, err)
		}
		if began, ended := w.Live.WaitTold(t), w.Live.WaitTold(t); began != "dave watches" || ended != "dave has stopped watching" {
			t.Errorf("%s: alice was told %q, %q", way, began, ended)
		}
	}
	log = must(w.Audit.Entries(t.Context(), postern.AuditFilter{Action: "session.watch", Identity: "dave", Outcome: "ended", Limit: 100}))(t)
	if len(log) != 3 || log[0].Session != "ss_1" || log[0].Target != "user:alice" {
		t.Errorf("the log: %+v", log)
	}

	// Nobody is watched by themselves.
	for way, try := range ways {
		if err := try("alice"); wantNothingButTheEnd(err) != nil {
			t.Errorf("%s by alice: %v", way, err)
		}
	}
	if told := w.Live.Told(); told != "" {
		t.Errorf("alice was told %q", told)
	}

	// Whoever can't be told isn't watched.
	w.Live.Deafen()
	refused("dave", http.StatusConflict, "can't be told")

	// Nor does the right reach beyond the end.
	w.EndSession(t, info, rec)
	refused("dave", http.StatusForbidden, "names you in view")
	if err := ways["replay"]("audrey"); err != nil {
		t.Errorf("an auditor, when it has ended: %v", err)
	}
}

// wantNothingButTheEnd is err, unless it says no more than that the recording
// isn't over.
func wantNothingButTheEnd(err error) error {
	if err == nil || errors.Is(err, errEnough) || strings.Contains(err.Error(), "no end") || strings.Contains(err.Error(), "unfinished") {
		return nil
	}
	return err
}

var errEnough = errors.New("enough was read")

// follow follows a session up to its first decision.
func follow(t *testing.T, c interface {
	Events(ctx context.Context, id string, follow bool, line func([]byte) error) error
}, id string,
) error {
	t.Helper()
	return c.Events(t.Context(), id, true, func(line []byte) error {
		if bytes.Contains(line, []byte(`"decision"`)) {
			return errEnough
		}
		return nil
	})
}

// Whoever follows a session does so no longer than they may.
func TestWatchingEndsWithItsRight(t *testing.T) {
	w := apitest.New(t)
	w.Session(t, "ss_1", "alice")
	apply(t, w, watchers)
	began, over := make(chan struct{}, 16), make(chan error, 1)
	go func() {
		over <- as(t, w, "dave").Events(t.Context(), "ss_1", true, func([]byte) error {
			began <- struct{}{}
			return nil
		})
	}()
	<-began
	remove(t, w, "Recordings", "on-call")
	if err := <-over; err == nil {
		t.Error("it ended as if that were the recording's end")
	}
	if began, ended := w.Live.WaitTold(t), w.Live.WaitTold(t); began != "dave watches" || ended != "dave has stopped watching" {
		t.Errorf("alice was told %q, %q", began, ended)
	}
}

// A search is no way around: it finds nothing in what its caller couldn't watch.
func TestSearchIsNoWayToWatch(t *testing.T) {
	w := apitest.New(t)
	w.Session(t, "ss_1", "alice")
	if err := w.Search.Add(t.Context(), "ss_1"); err != nil {
		t.Fatal(err)
	}
	find := func(user string) int {
		return len(searched(t, w, user, api.CommandFilter{Text: "select"}))
	}
	if a, b := find("alice"), find("audrey"); a != 1 || b != 0 {
		t.Errorf("alice finds %d of hers, audrey %d", a, b)
	}
	apply(t, w, "kind: Recordings\nname: on-call\nwatch: [\"group:auditors\"]\n")
	if n := find("audrey"); n != 1 {
		t.Errorf("audrey, who may watch, finds %d", n)
	}
}
