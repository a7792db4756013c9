package server

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"postern"
)

// What is over its time is deleted, and said so; what is held or younger stays.
func TestRecordingsExpire(t *testing.T) {
	h := newHouse(t)
	h.write("objects/keep.yaml", "kind: Recordings\nname: keep\nkeep: 30d\n---\nkind: Recordings\nname: case\nof: [\"user:mallory\"]\nhold: court order\n"+
		"---\nkind: Recordings\nname: longer\nof: [\"user:bob\"]\nkeep: 90d\n")
	s := h.mustOpen()
	record := func(id, user string, days int) {
		t.Helper()
		began := time.Now().UTC().AddDate(0, 0, -days)
		info := postern.SessionInfo{ID: id, Identity: user, Kind: postern.User, Resource: "orders-db", Protocol: "postgres", StartedAt: began}
		rec, err := s.recordings.Start(info)
		must(t, err)
		info.EndedAt = began.Add(time.Hour)
		must(t, rec.Append(postern.Event{Time: info.EndedAt, Kind: postern.EventClose, Session: &info}))
		info.Digest, err = rec.Close()
		must(t, err)
		must(t, s.store.PutSession(t.Context(), info))
		must(t, s.audit.Append(t.Context(), postern.AuditEntry{Action: "session.close", Outcome: "ok", Session: id, Digest: info.Digest}))
	}
	record("ss_old", "alice", 40)
	record("ss_young", "alice", 20)
	record("ss_held", "mallory", 400)
	record("ss_longer", "bob", 40)
	record("ss_longest", "bob", 100)
	for range 2 { // the second time there is nothing to do
		must(t, s.expire(t.Context()))
		for id, stays := range map[string]bool{"ss_old": false, "ss_young": true, "ss_held": true, "ss_longer": true, "ss_longest": false} {
			if _, err := s.recordings.Digest(id); (err == nil) != stays || err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", id, err)
			}
		}
		found, err := s.audit.Search(t.Context(), postern.AuditFilter{Action: "recording.delete"})
		must(t, err)
		if len(found) != 2 || found[0].Digest == "" || found[0].Session != "ss_old" || found[0].Reason != "its 30 days are over" {
			t.Errorf("the log says %+v", found)
		}
	}
	if report, err := s.audit.Verify(t.Context(), s.recordings.Digest); err != nil || report.Recordings != 3 {
		t.Errorf("%+v, %v", report, err)
	}
}
