package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"postern"
	"postern/internal/audit"
)

func TestProofs(t *testing.T) {
	p := newPlace(t)
	l := p.open(t, nil)
	key := l.PublicKey()
	if _, err := l.Checkpoint(t.Context()); !errors.Is(err, postern.ErrNotFound) {
		t.Errorf("a checkpoint of an empty log: %v", err)
	}
	var kept []string
	for n := range 13 {
		fill(t, l, n, 1)
		c, err := l.Checkpoint(t.Context())
		must(t, err)
		kept = append(kept, c)
		if size, err := audit.CheckpointSize(c, key); err != nil || size != int64(n+1) {
			t.Errorf("checkpoint %d is of %d entries, %v", n+1, size, err)
		}
	}
	for seq := int64(1); seq <= 13; seq++ {
		proof, err := l.Prove(t.Context(), seq)
		must(t, err)
		wire, err := json.Marshal(proof)
		must(t, err)
		var read audit.Proof
		must(t, json.Unmarshal(wire, &read))
		if r, err := audit.VerifyProof(read, key); err != nil || r.Seq != seq || r.N != seq-1 {
			t.Errorf("proof of %d: %+v, %v", seq, r, err)
		}
		bent := read
		bent.Entry = bytes.Replace(bent.Entry, []byte("alice"), []byte("mallory"), 1)
		_, err = audit.VerifyProof(bent, key)
		tampered(t, err)
		bent = read
		bent.Entry = bytes.Replace(bent.Entry, fmt.Appendf(nil, `"seq":%d,`, seq), fmt.Appendf(nil, `"seq":%d,`, seq%13+1), 1)
		_, err = audit.VerifyProof(bent, key)
		tampered(t, err)
		_, err = audit.VerifyProof(read, newPlace(t).key.Public())
		tampered(t, err)

		x, err := l.ProveExtension(t.Context(), seq)
		must(t, err)
		if from, to, err := audit.VerifyExtension(kept[seq-1], x, key); err != nil || from != seq || to != 13 {
			t.Errorf("extension of %d: %d, %d, %v", seq, from, to, err)
		}
		if _, _, err := audit.VerifyExtension(kept[seq%13], x, key); err == nil {
			t.Errorf("the extension of %d is one of %d, too", seq, seq%13+1)
		}
	}
	for _, seq := range []int64{0, 14} {
		if _, err := l.Prove(t.Context(), seq); !errors.Is(err, postern.ErrNotFound) {
			t.Errorf("prove %d: %v", seq, err)
		}
		if _, err := l.ProveExtension(t.Context(), seq); !errors.Is(err, postern.ErrNotFound) {
			t.Errorf("extend %d: %v", seq, err)
		}
	}
	p.tamper(t, `UPDATE audit_batches SET packed = pack(replace(unpack(packed), 'alice', 'mallory')) WHERE first = 8`)
	_, err := l.Prove(t.Context(), 8)
	if seq := tampered(t, err); seq != 8 {
		t.Errorf("a changed entry: %v", err)
	}
}

// Checkpoints that were kept elsewhere show what an export alone can't.
func TestExportAgainstKeptCheckpoints(t *testing.T) {
	p := newPlace(t)
	l := p.open(t, nil)
	export := func(l *audit.Log) string {
		t.Helper()
		var out bytes.Buffer
		must(t, l.Export(t.Context(), &out))
		return out.String()
	}
	fill(t, l, 0, 5)
	five, err := l.Checkpoint(t.Context())
	must(t, err)
	old := export(l)
	fill(t, l, 5, 4)
	nine, err := l.Checkpoint(t.Context())
	must(t, err)
	whole := export(l)

	// Who has the store and the key goes back to five entries, and on with others.
	fork := newPlace(t)
	forked := fork.open(t, func(c *audit.Config) { c.Key = p.key })
	fill(t, forked, 0, 5)
	fill(t, forked, 100, 4)

	both := audit.SplitCheckpoints("\n" + nine + "\n" + five + "\n")
	if len(both) != 2 || both[0] != nine || both[1] != five {
		t.Fatalf("taken apart: %q", both)
	}
	for name, c := range map[string]struct {
		export string
		kept   []string
		at     int64
	}{
		"whole":                          {whole, both, 0},
		"old, known to be so":            {old, []string{five}, 0},
		"cut, or an old copy":            {old, both, 6},
		"forked":                         {export(forked), both, 6},
		"forked, and nobody looked":      {export(forked), []string{five}, 0},
		"rewritten from the first on":    {export(forked), []string{nine}, 1},
		"a checkpoint of another's hand": {whole, []string{strings.Replace(five, "time ", "time 1", 1)}, -1},
	} {
		report, err := audit.VerifyExport(t.Context(), strings.NewReader(c.export), l.PublicKey(), audit.Against{Checkpoints: c.kept})
		switch {
		case c.at == 0 && err != nil:
			t.Errorf("%s: %+v, %v", name, report, err)
		case c.at < 0 && err == nil:
			t.Errorf("%s: taken", name)
		case c.at > 0 && tampered(t, err) != c.at:
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecordingsAreCompared(t *testing.T) {
	p := newPlace(t)
	l := p.open(t, nil)
	for _, id := range []string{"ss_a", "ss_b", "ss_c"} {
		must(t, l.Append(t.Context(), postern.AuditEntry{Action: "session.close", Outcome: "ok", Session: id, Digest: "sha256:" + id}))
	}
	var out bytes.Buffer
	verify := func(digest audit.Digester) error {
		t.Helper()
		out.Reset()
		must(t, l.Export(t.Context(), &out))
		report, err := l.Verify(t.Context(), digest)
		other, otherErr := audit.VerifyExport(t.Context(), &out, l.PublicKey(), audit.Against{Recordings: digest})
		if fmt.Sprint(err) != strings.Replace(fmt.Sprint(otherErr), "the export", "the audit log", 1) || report.Recordings != other.Recordings {
			t.Errorf("the log: %v\nits export: %v", err, otherErr)
		}
		return err
	}
	fine := func(id string) (string, error) { return "sha256:" + id, nil }
	must(t, verify(fine))
	swapped := verify(func(id string) (string, error) { return fine(strings.Replace(id, "b", "a", 1)) })
	if tampered(t, swapped) != 2 || !strings.Contains(swapped.Error(), "ss_b was replaced") {
		t.Error(swapped)
	}
	gone := func(id string) (string, error) {
		if id == "ss_c" {
			return "", fs.ErrNotExist
		}
		return fine(id)
	}
	if err := verify(gone); tampered(t, err) != 3 {
		t.Error(err)
	}
	must(t, l.Append(t.Context(), postern.AuditEntry{Action: audit.ActionShredded, Outcome: "failed", Session: "ss_c"}))
	if err := verify(gone); tampered(t, err) != 3 {
		t.Error("a deletion that failed excuses:", err)
	}
	must(t, l.Append(t.Context(), postern.AuditEntry{Action: audit.ActionShredded, Outcome: "ok", Session: "ss_c"}))
	must(t, verify(gone))
	all := verify(func(string) (string, error) { return "", errors.New("damaged") })
	if tampered(t, all) != 1 || !strings.HasSuffix(all.Error(), "session ss_a isn't what was written: damaged; at entry 2: the recording of session ss_b isn't what was written: damaged") {
		t.Error(all)
	}
	for i := range 200 {
		must(t, l.Append(t.Context(), postern.AuditEntry{Action: "session.close", Outcome: "ok", Session: fmt.Sprintf("ss_%d", i), Digest: "sha256:x"}))
	}
	all = verify(func(string) (string, error) { return "", fs.ErrNotExist })
	if tampered(t, all) != 1 || strings.Count(all.Error(), "is missing") != 100 || !strings.HasSuffix(all.Error(), "; and 102 more") {
		t.Error(all)
	}
}

// A session's end without a digest vouches for no recording: it is named until an
// entry has the digest, or says that the recording was deleted.
func TestEndsWithoutADigestAreNamed(t *testing.T) {
	p := newPlace(t)
	l := p.open(t, nil)
	add := func(action, outcome, digest string) {
		t.Helper()
		must(t, l.Append(t.Context(), postern.AuditEntry{Action: action, Outcome: outcome, Session: "ss_a", Digest: digest}))
	}
	verify := func() error {
		t.Helper()
		_, err := l.Verify(t.Context(), func(id string) (string, error) { return "sha256:" + id, nil })
		return err
	}
	add("session.close", "failed", "")
	add("recording.damaged", "failed", "")
	if err := verify(); tampered(t, err) != 1 || !strings.Contains(err.Error(), "ss_a has no digest") {
		t.Error(err)
	}
	add(audit.ActionFinished, "ok", "sha256:ss_a")
	must(t, verify())
	add(audit.ActionFinished, "ok", "sha256:other") // the first counts
	must(t, verify())
	add("session.close", "failed", "")
	add(audit.ActionFinished, "ok", "sha256:other")
	if err := verify(); tampered(t, err) != 6 || !strings.Contains(err.Error(), "ss_a was replaced") {
		t.Error(err)
	}
	add(audit.ActionShredded, "ok", "")
	must(t, verify())
}
