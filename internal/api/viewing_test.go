package api_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/api/apitest"
	"postern/internal/recording"
)

// piiMask binds everybody but those in dba.
const piiMask = `kind: Mask
name: pii
on: {names: [orders-db]}
except: ["group:dba"]
columns: ["public.customers.email"]
detect: [email]
with: redact
`

const viewers = `kind: Recordings
name: security-only
on: {labels: {env: prod}}
view: ["group:dba", "group:auditors"]
`

// recorded is an ended session of a user in which a customer's data was seen.
func recorded(t *testing.T, w *apitest.World, id, user string, on []postern.Mask) postern.SessionInfo {
	t.Helper()
	info, rec := w.Session(t, id, user)
	value, name := "ines@example.com", "Ines"
	cmd := postern.Command{
		Protocol: "postgres", Verb: "select", Verbs: []string{"select"}, Text: "SELECT * FROM customers WHERE email = 'ines@example.com' OR id = $1",
		Params: []postern.Param{{Value: []byte("ines@example.com")}, {Null: true}},
	}
	at := func(s int) time.Time { return info.StartedAt.Add(time.Duration(s) * 100 * time.Millisecond) }
	err := rec.Append(
		postern.Event{Time: at(21), Kind: postern.EventCommand, N: 2, Command: &cmd},
		postern.Event{Time: at(22), Kind: postern.EventDecision, N: 2, Decision: &postern.Decision{Verdict: postern.Allow, Masks: on, N: 2}},
		postern.Event{Time: at(23), Kind: postern.EventResult, N: 2, Tag: "SELECT 1", Columns: []string{"email", "name"}, Rows: [][]*string{{&value, &name}, {nil, &name}}, RowCount: 2},
		postern.Event{Time: at(24), Kind: postern.EventError, N: 2, Code: "XX000", Text: "key (email)=(ines@example.com) exists"},
		postern.Event{Time: at(25), Kind: postern.EventOutput, N: 2, Text: "printed: ines@example.com"},
		postern.Event{Time: at(26), Kind: postern.EventInput, N: 2, Text: "typed: ines@example.com"},
		postern.Event{Time: at(27), Kind: postern.EventNotice, Text: "of nobody's: ines@example.com"},
	)
	if err != nil {
		t.Fatal(err)
	}
	w.EndSession(t, info, rec)
	return info
}

func apply(t *testing.T, w *apitest.World, documents string) {
	t.Helper()
	must(as(t, w, "adam").Apply(t.Context(), []byte(documents)))(t)
}

// seen is all that a user gets to see of a recording, in both forms.
func seen(t *testing.T, w *apitest.World, user, id string) (string, error) {
	t.Helper()
	c := as(t, w, user)
	var out bytes.Buffer
	err := c.Events(t.Context(), id, false, func(line []byte) error {
		out.Write(line)
		return nil
	})
	if err != nil {
		return "", err
	}
	err = c.Events(t.Context(), id, true, func(line []byte) error {
		out.Write(line)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := c.Replay(t.Context(), id, 0, 0, &out); err != nil {
		t.Error(err)
	}
	return out.String(), nil
}

// What is exported is what was recorded, line by line, UTF-8 or not.
func TestEventsAreAsRecorded(t *testing.T) {
	w := apitest.New(t)
	info, rec := w.Session(t, "ss_1", "alice")
	if err := rec.Append(postern.Event{Time: info.StartedAt, Kind: postern.EventError, N: 1, Text: "caf\xe9 \u2028 <&>"}); err != nil {
		t.Fatal(err)
	}
	w.EndSession(t, info, rec)
	reader := must(w.Recordings.Read("ss_1"))(t)
	defer func() { _ = reader.Close() }()
	var want bytes.Buffer
	if err := recording.Export(&want, reader); err != nil || !strings.Contains(want.String(), `caf\udce9`) {
		t.Fatalf("%v: %s", err, want.String())
	}
	for _, follow := range []bool{false, true} {
		var got bytes.Buffer
		err := as(t, w, "alice").Events(t.Context(), "ss_1", follow, func(line []byte) error {
			got.Write(append(line[:len(line):len(line)], '\n'))
			return nil
		})
		if err != nil || got.String() != want.String() {
			t.Errorf("follow %v: %v\n%swas recorded as\n%s", follow, err, got.String(), want.String())
		}
	}
}

// Whoever looks at a recording sees it as the masks that bind them have it.
func TestRecordingsAreMaskedForTheirViewer(t *testing.T) {
	w := apitest.New(t)
	recorded(t, w, "ss_clear", "dave", nil)
	apply(t, w, piiMask)
	mask, _ := w.Objects.Set().MasksFor(postern.Identity{Name: "alice", Kind: postern.User}, "orders-db")
	recorded(t, w, "ss_masked", "alice", mask)
	for _, c := range []struct {
		user, id string
		clear    int // of 1: data is shown; of 2: commands are
	}{
		{"dave", "ss_clear", 3},    // his own, and no mask binds him
		{"adam", "ss_clear", 0},    // an admin is bound, and the session wasn't masked
		{"audrey", "ss_clear", 0},  // as an auditor is
		{"audrey", "ss_masked", 1}, // what came of it was masked then as it would be for her now
		{"alice", "ss_masked", 3},  // she wrote what she wrote
	} {
		text, err := seen(t, w, c.user, c.id)
		if err != nil {
			t.Errorf("%s, %s: %v", c.user, c.id, err)
			continue
		}
		for _, shown := range []struct {
			what string
			ok   bool
		}{
			{"Ines", c.clear&1 != 0},
			{"printed: ines@example.com", c.clear&1 != 0},
			{"typed: ines@example.com", c.clear&1 != 0},
			{"(email)=(ines@example.com)", c.clear&1 != 0},
			{"email = 'ines@example.com'", c.clear&2 != 0},
			{"SELECT * FROM customers", true},
			{"SELECT 1", true},
		} {
			if strings.Contains(text, shown.what) != shown.ok {
				t.Errorf("%s looks at %s: %q is shown: %v\n%s", c.user, c.id, shown.what, !shown.ok, text)
			}
		}
		if c.clear == 0 && strings.Contains(text, "ines@example.com") {
			t.Errorf("%s sees the address in %s:\n%s", c.user, c.id, text)
		}
		// Of no command, and so of no decision: shown to none whom a mask binds.
		if strings.Contains(text, "of nobody's: ines") != (c.user == "dave") {
			t.Errorf("%s sees the notice:\n%s", c.user, text)
		}
	}
	// A mask that was changed since is another mask.
	apply(t, w, strings.Replace(piiMask, "[\"public.customers.email\"]", "[\"public.customers.*\"]", 1))
	if text, err := seen(t, w, "alice", "ss_masked"); err != nil || strings.Contains(text, "Ines") {
		t.Errorf("the mask grew: %v\n%s", err, text)
	}
}

// To see recordings is a right of its own.
func TestRecordingsForThoseWhoAreNamed(t *testing.T) {
	w := apitest.New(t)
	info := recorded(t, w, "ss_1", "alice", nil)
	for _, user := range []string{"alice", "audrey", "adam"} {
		if _, err := seen(t, w, user, "ss_1"); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
	_, err := seen(t, w, "dave", "ss_1")
	wantStatus(t, err, http.StatusNotFound)

	apply(t, w, viewers)
	for _, user := range []string{"alice", "audrey", "dave"} {
		if _, err := seen(t, w, user, "ss_1"); err != nil {
			t.Errorf("%s, who is named or whose it is: %v", user, err)
		}
	}
	if s := must(as(t, w, "dave").Session(t.Context(), "ss_1"))(t); s.Identity != "alice" {
		t.Errorf("dave sees %+v", s)
	}
	// Not even an admin, whom it doesn't name.
	_, err = seen(t, w, "adam", "ss_1")
	if said := wantStatus(t, err, http.StatusForbidden); !strings.Contains(said, "security-only") {
		t.Error(said)
	}
	if err := as(t, w, "adam").Replay(t.Context(), "ss_1", 0, 0, &bytes.Buffer{}); err == nil {
		t.Error("adam replayed it")
	}
	if actions := w.Audit.Actions(t); !slices.Contains(actions, "session.read refused") {
		t.Errorf("the log holds %v", actions)
	}

	// Deletion is an admin's act, for a reason, unless it is held.
	for _, user := range []string{"alice", "audrey", "dave"} {
		wantStatus(t, as(t, w, user).DeleteRecording(t.Context(), "ss_1", "because"), http.StatusForbidden)
	}
	adam := as(t, w, "adam")
	apply(t, w, "kind: Recordings\nname: case\nof: [\"user:alice\"]\nhold: court order 17\n")
	if said := wantStatus(t, adam.DeleteRecording(t.Context(), "ss_1", "because"), http.StatusConflict); !strings.Contains(said, "court order 17") {
		t.Error(said)
	}
	if digest := must(w.Recordings.Digest("ss_1"))(t); digest == "" {
		t.Error("the recording is gone")
	}
	remove(t, w, "Recordings", "case")
	if err := adam.DeleteRecording(t.Context(), "ss_1", "request 4711"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Recordings.Digest("ss_1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file: %v", err)
	}
	_, err = seen(t, w, "alice", "ss_1")
	wantStatus(t, err, http.StatusNotFound)
	found := must(as(t, w, "audrey").SearchAudit(t.Context(), postern.AuditFilter{Action: "recording.delete"}))(t)
	stored := must(w.Store.Session(t.Context(), info.ID))(t)
	if len(found) != 1 || found[0].Reason != "request 4711" || found[0].Digest != stored.Digest || found[0].Identity != "adam" {
		t.Errorf("the log says %+v", found)
	}
}

func remove(t *testing.T, w *apitest.World, kind, name string) {
	t.Helper()
	must(as(t, w, "adam").DeleteObject(t.Context(), kind, name))(t)
}
