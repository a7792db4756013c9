package api_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
)

// searched is what a user finds, as "session#n".
func searched(t *testing.T, w *apitest.World, user string, f api.CommandFilter) []string {
	t.Helper()
	found := []string{}
	for _, h := range must(as(t, w, user).SearchCommands(t.Context(), f))(t) {
		found = append(found, h.Session+"#"+string(rune('0'+h.N)))
	}
	return found
}

func TestSearchCommands(t *testing.T) {
	w := apitest.New(t)
	recorded(t, w, "ss_hers", "alice", nil)
	recorded(t, w, "ss_his", "dave", nil)
	for _, id := range []string{"ss_hers", "ss_his"} {
		if err := w.Search.Add(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	finds := func(user, text string, want ...string) {
		t.Helper()
		if got := searched(t, w, user, api.CommandFilter{Text: text}); !slices.Equal(got, append([]string{}, want...)) {
			t.Errorf("%s looks for %s and finds %v, not %v", user, text, got, want)
		}
	}
	finds("audrey", "customers", "ss_his#2", "ss_hers#2")
	finds("audrey", "INES example", "ss_his#2", "ss_hers#2") // no mask binds anybody yet
	finds("alice", "customers", "ss_hers#2")
	finds("dave", "customers", "ss_his#2")
	if got := searched(t, w, "audrey", api.CommandFilter{Text: "customers", Identity: "alice", Resource: "orders-db"}); !slices.Equal(got, []string{"ss_hers#2"}) {
		t.Errorf("of alice: %v", got)
	}
	if got := searched(t, w, "alice", api.CommandFilter{Text: "customers", Identity: "dave"}); len(got) != 0 {
		t.Errorf("alice finds dave's: %v", got)
	}
	_, err := as(t, w, "alice").SearchCommands(t.Context(), api.CommandFilter{Text: "?!"})
	wantStatus(t, err, http.StatusUnprocessableEntity)

	// What a mask hides isn't found by whom it binds, nor shown in what is.
	apply(t, w, piiMask)
	finds("audrey", "ines")
	finds("audrey", "withheld")
	finds("alice", "ines", "ss_hers#2") // she wrote it
	finds("dave", "ines", "ss_his#2")   // no mask binds him
	for _, h := range must(as(t, w, "audrey").SearchCommands(t.Context(), api.CommandFilter{Text: "customers"}))(t) {
		if strings.Contains(h.Text, "ines") || h.Verdict != "allow" || h.Verb != "select" || h.Resource != "orders-db" {
			t.Errorf("audrey sees %+v", h)
		}
	}

	// The right to recordings is the right to search them.
	apply(t, w, strings.Replace(viewers, `, "group:auditors"`, "", 1))
	finds("audrey", "customers")
	finds("adam", "customers")
	finds("dave", "customers", "ss_his#2", "ss_hers#2")
	finds("alice", "customers", "ss_hers#2")
	remove(t, w, "Recordings", "security-only")

	// Who searched is in the log, and what they saw of; not what they looked for.
	log := must(as(t, w, "audrey").SearchAudit(t.Context(), postern.AuditFilter{Action: "session.search", Identity: "dave"}))(t)
	read := must(as(t, w, "audrey").SearchAudit(t.Context(), postern.AuditFilter{Action: "session.read", Identity: "dave", Session: "ss_hers"}))(t)
	if len(log) != 3 || len(read) != 1 {
		t.Errorf("the log has %d searches, %d readings", len(log), len(read))
	}
	for _, r := range append(log, read...) {
		if strings.Contains(string(r.Body), "customers") || strings.Contains(string(r.Body), "ines") {
			t.Errorf("the log says what was looked for: %s", r.Body)
		}
	}
	w.Audit.Fail(errors.New("disk full"))
	if _, err := as(t, w, "dave").SearchCommands(t.Context(), api.CommandFilter{Text: "customers"}); err == nil {
		t.Error("searched without the log")
	}
	w.Audit.Fail(nil)

	if err := as(t, w, "adam").DeleteRecording(t.Context(), "ss_hers", "request 4711"); err != nil {
		t.Fatal(err)
	}
	finds("dave", "customers", "ss_his#2")
	if err := w.Search.Add(t.Context(), "ss_hers"); err != nil {
		t.Error(err)
	}
	finds("alice", "customers")

	// Of a resource that is gone nobody knows what to hide: only who wrote it finds it.
	old := postern.SessionInfo{ID: "ss_old", Identity: "alice", Kind: postern.User, Resource: "gone-db", StartedAt: time.Now()}
	rec := must(w.Recordings.Start(old))(t)
	command := postern.Event{Time: old.StartedAt, Kind: postern.EventCommand, N: 1, Command: &postern.Command{Text: "select antiques"}}
	if err := errors.Join(w.Store.PutSession(t.Context(), old), rec.Append(command)); err != nil {
		t.Fatal(err)
	}
	must(rec.Close())(t)
	if err := w.Search.Add(t.Context(), old.ID); err != nil {
		t.Fatal(err)
	}
	finds("audrey", "antiques")
	finds("dave", "antiques")
	finds("alice", "antiques", "ss_old#1")
}
