package audit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern"
	"postern/internal/audit"
	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/internal/vault"
)

// place is a store, and a vault for the log's key.
type place struct {
	dir string
	db  *store.DB
	key *audit.Key
}

func newPlace(t testing.TB) *place {
	t.Helper()
	p := &place{dir: t.TempDir()}
	var err error
	p.db, err = store.Open(t.Context(), "sqlite", p.dir)
	must(t, err)
	t.Cleanup(func() { must(t, p.db.Close()) })
	p.key = p.openKey(t)
	return p
}

func (p *place) openKey(t testing.TB) *audit.Key {
	t.Helper()
	v, err := vault.Open(filepath.Join(p.dir, "vault"), postern.Secret{})
	must(t, err)
	key, err := audit.OpenKey(t.Context(), p.db, v, audit.Origin, rand.Reader)
	must(t, err)
	return key
}

func (p *place) config() audit.Config {
	return audit.Config{Store: p.db, Key: p.key, Anchor: filepath.Join(p.dir, "audit-checkpoint")}
}

func (p *place) open(t testing.TB, change func(*audit.Config)) *audit.Log {
	t.Helper()
	cfg := p.config()
	if change != nil {
		change(&cfg)
	}
	l, err := audit.Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { _ = l.Close(context.Background()) }) // those that expect an error close by themselves
	return l
}

// tamper runs SQL past the program, as who holds the file could.
func (p *place) tamper(t testing.TB, statements ...string) {
	t.Helper()
	storetest.Tamper(t, p.dir, statements...)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var began = time.Date(2026, 11, 24, 9, 30, 0, 123456000, time.UTC)

func entry(n int) postern.AuditEntry {
	return postern.AuditEntry{
		Time: began.Add(time.Duration(n) * time.Second), Action: "command", Identity: "alice", Resource: "orders-db",
		Session: fmt.Sprintf("ss_%d", n%3), N: int64(n), Verb: "select", Objects: []string{"public.orders"}, Outcome: "allow", Rule: "engineers-read",
	}
}

// fill adds entries one commit each, from n on.
func fill(t testing.TB, l *audit.Log, from, n int) {
	t.Helper()
	for i := range n {
		must(t, l.Append(t.Context(), entry(from+i)))
	}
}

// tampered returns the entry that a TamperedError names.
func tampered(t *testing.T, err error) int64 {
	t.Helper()
	var e *audit.TamperedError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a TamperedError", err)
	}
	return e.Seq
}

func TestAppendIsReadBack(t *testing.T) {
	p := newPlace(t)
	l := p.open(t, nil)
	hostile := postern.AuditEntry{
		Action: "command", Outcome: "deny", Identity: "a\xffb\x00c", Reason: strings.Repeat("x", 5000) + "<&>\u2028", Verb: "\xc3",
		Objects: make([]string, 300),
	}
	fill(t, l, 0, 3)
	must(t, l.Append(t.Context(), hostile))
	got, err := l.Tail(t.Context(), 0, 10)
	must(t, err)
	for i := range 3 {
		if diff := cmp.Diff(entry(i), got[i].AuditEntry); diff != "" || got[i].Seq != int64(i+1) {
			t.Errorf("entry %d: %s", got[i].Seq, diff)
		}
	}
	h := got[3]
	if h.Identity != "a\uFFFDb\uFFFDc" || len(h.Reason) > 4200 || len(h.Objects) != 257 || h.Objects[256] != "… and 44 more" || h.Time.IsZero() {
		t.Errorf("the hostile entry became %q, %d bytes of reason, %d objects", h.Identity, len(h.Reason), len(h.Objects))
	}
	if report, err := l.Verify(t.Context(), nil); err != nil || report.Entries != 4 {
		t.Errorf("verify: %+v, %v", report, err)
	}
	for name, c := range map[string]struct {
		f    postern.AuditFilter
		want string
	}{
		"session":  {postern.AuditFilter{Session: "ss_1"}, "2"},
		"identity": {postern.AuditFilter{Identity: "alice", After: 1}, "2,3"},
		"none":     {postern.AuditFilter{Resource: "elsewhere"}, ""},
		"limit":    {postern.AuditFilter{Limit: 2}, "3,4"}, // the latest
	} {
		records, err := l.Entries(t.Context(), c.f)
		must(t, err)
		if got := seqs(records); got != c.want {
			t.Errorf("filter by %s: %s, want %s", name, got, c.want)
		}
	}
	last, err := l.Tail(t.Context(), -1, 2)
	must(t, err)
	if got := seqs(last); got != "3,4" {
		t.Errorf("the last two are %s", got)
	}
}

func seqs(records []postern.AuditRecord) string {
	var out []string
	for _, r := range records {
		out = append(out, fmt.Sprint(r.Seq))
	}
	return strings.Join(out, ",")
}

func TestLogGoesOnAfterRestart(t *testing.T) {
	p := newPlace(t)
	for round := range 5 {
		l := p.open(t, func(c *audit.Config) { c.Key = p.openKey(t) })
		fill(t, l, round*7, 7)
		if round%2 == 0 { // with and without a last checkpoint
			must(t, l.Close(t.Context()))
		}
		report, err := l.Verify(t.Context(), nil)
		if err != nil || report.Entries != int64(round*7+7) {
			t.Fatalf("round %d: %+v, %v", round, report, err)
		}
	}
}

func TestManyWriters(t *testing.T) {
	p := newPlace(t)
	l := p.open(t, func(c *audit.Config) { c.CheckpointEntries = 100 })
	const writers, each = 16, 100
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				e := entry(i)
				e.Session = fmt.Sprintf("ss_w%d", w)
				var err error
				if i%2 == 0 {
					err = l.Queue(e)
				} else {
					err = l.Append(context.Background(), e)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, l.Close(t.Context()))
	report, err := l.Verify(t.Context(), nil)
	if err != nil || report.Entries != writers*each || report.Signed != report.Entries || report.Checkpoints < 4 {
		t.Fatalf("%+v, %v", report, err)
	}
	for w := range writers {
		records, err := l.Entries(t.Context(), postern.AuditFilter{Session: fmt.Sprintf("ss_w%d", w), Limit: 1000})
		must(t, err)
		for i, r := range records {
			if r.N != int64(i) {
				t.Fatalf("writer %d: entry %d stands in place %d", w, r.N, i)
			}
		}
		if len(records) != each {
			t.Errorf("writer %d has %d entries", w, len(records))
		}
	}
	if err := l.Queue(entry(1)); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("queue after close: %v", err)
	}
}

func TestTwoProcessesShareALog(t *testing.T) {
	p := newPlace(t)
	a, b := p.open(t, nil), p.open(t, func(c *audit.Config) { c.Anchor = "" })
	var wg sync.WaitGroup
	for _, l := range []*audit.Log{a, b} {
		wg.Go(func() {
			for i := range 50 {
				if err := l.Append(context.Background(), entry(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, a.Close(t.Context()))
	must(t, b.Close(t.Context()))
	if report, err := p.open(t, nil).Verify(t.Context(), nil); err != nil || report.Entries != 100 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestFollow(t *testing.T) {
	p := newPlace(t)
	l := p.open(t, nil)
	fill(t, l, 0, 3)
	seen, done := make(chan int64), make(chan error)
	go func() {
		done <- l.Follow(context.Background(), 1, func(r postern.AuditRecord) error {
			seen <- r.Seq
			return nil
		})
	}()
	for want := int64(2); want <= 5; want++ {
		if want > 3 {
			fill(t, l, int(want), 1)
		}
		if got := <-seen; got != want {
			t.Errorf("saw %d, want %d", got, want)
		}
	}
	must(t, l.Close(t.Context()))
	if err := <-done; !errors.Is(err, audit.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := p.open(t, nil).Follow(ctx, 0, func(postern.AuditRecord) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("follow ended with %v", err)
	}
}

// changes are what somebody might do to the store. at is the entry that Verify
// must name; open says that even a start notices.
var changes = []struct {
	name string
	sql  []string
	at   int64
	open bool
}{
	{"edit a body", []string{`UPDATE audit_batches SET packed = pack(replace(unpack(packed), 'alice', 'mallory')) WHERE first = 8`}, 8, false},
	{"edit a space", []string{`UPDATE audit_batches SET packed = pack(replace(unpack(packed), ',"n"', ', "n"')) WHERE first = 8`}, 8, false},
	{"edit a time", []string{`UPDATE audit_batches SET packed = pack(replace(unpack(packed), '09:30', '09:31')) WHERE first = 8`}, 8, false},
	{"spoil a body", []string{"UPDATE audit_batches SET packed = pack('nothing\n') WHERE first = 8"}, 8, false},
	{"empty a row", []string{`UPDATE audit_batches SET packed = pack('') WHERE first = 8`}, 8, false},
	{"spoil what is packed", []string{`UPDATE audit_batches SET packed = x'ffffff' WHERE first = 8`}, 8, false},
	{"cut what is packed", []string{`UPDATE audit_batches SET packed = substr(packed, 1, length(packed) - 1) WHERE first = 8`}, 8, false},
	{"make what is packed large", []string{`UPDATE audit_batches SET packed = x'ffffffff0f00' WHERE first = 8`}, 8, false},
	{"empty what is packed", []string{`UPDATE audit_batches SET packed = x'' WHERE first = 8`}, 8, false},
	{"take away what is packed", []string{`UPDATE audit_batches SET packed = NULL WHERE first = 8`}, 8, false},
	{"insert one", []string{
		`UPDATE audit_batches SET first = -first - 1, last = last + 1 WHERE first > 8`, `UPDATE audit_batches SET first = -first WHERE first < 0`,
		`INSERT INTO audit_batches SELECT 9, 9, lines, packed FROM audit_batches WHERE first = 8`,
	}, 9, true},
	{"insert one into a row", []string{`UPDATE audit_batches SET packed = pack(unpack(packed) || unpack(packed)) WHERE first = 8`}, 9, false},
	{"insert one that is numbered right", []string{
		`UPDATE audit_batches SET packed = pack(unpack(packed) || replace(unpack(packed), '"seq":8', '"seq":9')) WHERE first = 8`,
	}, 9, false},
	{"append one", []string{`INSERT INTO audit_batches SELECT 26, 26, '', pack(replace(unpack(packed), '"seq":25', '"seq":26')) FROM audit_batches WHERE first = 25`}, 26, true},
	{"delete one", []string{`DELETE FROM audit_batches WHERE first = 8`}, 8, false},
	{"delete the first", []string{`DELETE FROM audit_batches WHERE first = 1`}, 1, false},
	{"delete the last", []string{`DELETE FROM audit_batches WHERE first = 25`}, 25, true},
	{"delete all", []string{`DELETE FROM audit_batches`}, 1, true},
	{"swap two", []string{
		`UPDATE audit_batches SET first = first + 100 WHERE first IN (8, 9)`,
		`UPDATE audit_batches SET first = 117 - first, last = 117 - first WHERE first > 100`,
	}, 8, false},
	{"delete one and close the gap", []string{
		`DELETE FROM audit_batches WHERE first = 8`, `UPDATE audit_batches SET first = -first WHERE first > 8`,
		`UPDATE audit_batches SET first = -first - 1, last = last - 1 WHERE first < 0`,
	}, 8, true},
	{"spoil a hash", []string{`UPDATE audit_hashes SET raw = zeroblob(length(raw)) WHERE idx = 7`}, 5, false},
	{"delete a hash", []string{`DELETE FROM audit_hashes WHERE idx = 7`}, 5, false},
	{"delete the checkpoints", []string{`DELETE FROM audit_checkpoints`}, 0, true},
	{"replace a signature", []string{`UPDATE audit_checkpoints SET note = replace(note, 'postern-audit', 'postern_audit') WHERE size = 10`}, 2, false},
	{"move a checkpoint", []string{`UPDATE audit_checkpoints SET size = 11 WHERE size = 10`}, 2, false},
	{"cut back to a checkpoint", []string{
		`DELETE FROM audit_batches WHERE first > 10`, `DELETE FROM audit_checkpoints WHERE size > 10`,
		`DELETE FROM audit_hashes WHERE idx >= 18`,
	}, 11, true},
}

// At size 1, 10, 20 and 25 the log of 25 entries is signed.
func tamperedPlace(t *testing.T) (*place, *audit.Log) {
	p := newPlace(t)
	l := p.open(t, func(c *audit.Config) { c.CheckpointEntries = 9 })
	fill(t, l, 1, 25)
	return p, l
}

func TestTamperingIsFound(t *testing.T) {
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			p, l := tamperedPlace(t)
			must(t, l.Close(t.Context()))
			if report, err := l.Verify(t.Context(), nil); err != nil || report.Signed != 25 {
				t.Fatalf("before: %+v, %v", report, err)
			}
			p.tamper(t, c.sql...)
			_, err := l.Verify(t.Context(), nil)
			if seq := tampered(t, err); seq != c.at {
				t.Errorf("found at %d, want %d: %v", seq, c.at, err)
			}
			again, err := audit.Open(t.Context(), p.config())
			if c.open {
				tampered(t, err)
				return
			}
			must(t, err)
			_, err = again.Verify(t.Context(), nil)
			tampered(t, err)
			must(t, again.Close(t.Context()))
		})
	}
}

// Entries of a row that can't be decompressed are named, one by one, and those
// around them are found as before.
func TestDamagedRow(t *testing.T) {
	p, l := tamperedPlace(t)
	must(t, l.Close(t.Context()))
	p.tamper(t, `UPDATE audit_batches SET packed = x'ffffff' WHERE first = 8`)
	const says = "at entry 8: it can't be read: what the store has in its place is damaged, and can't be decompressed"
	again := p.open(t, nil)
	_, verify := again.Verify(t.Context(), nil)
	_, tail := again.Tail(t.Context(), 0, 100)
	export := again.Export(t.Context(), &bytes.Buffer{})
	for what, err := range map[string]error{"verify": verify, "tail": tail, "export": export} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if records, err := again.Tail(t.Context(), 8, 100); err != nil || len(records) != 17 {
		t.Errorf("%d records after it, %v", len(records), err)
	}
	found, err := again.Search(t.Context(), postern.AuditFilter{Identity: "alice"})
	if err != nil || len(found) != 24 {
		t.Errorf("found %d, %v", len(found), err)
	}
}

// A log that an older version wrote, with lines as text and hashes in
// hexadecimal, is verified, searched and added to as any.
func TestLogOfBeforeCompression(t *testing.T) {
	p, l := tamperedPlace(t)
	must(t, l.Close(t.Context()))
	p.tamper(t, `UPDATE audit_batches SET lines = unpack(packed), packed = NULL`, `UPDATE audit_hashes SET hashes = lower(hex(raw)), raw = NULL`)
	l = p.open(t, nil)
	fill(t, l, 26, 10)
	if report, err := l.Verify(t.Context(), nil); err != nil || report.Entries != 35 {
		t.Fatalf("%+v, %v", report, err)
	}
	found, err := l.Search(t.Context(), postern.AuditFilter{Identity: "alice"})
	if err != nil || len(found) != 35 {
		t.Errorf("found %d, %v", len(found), err)
	}
	p.tamper(t, `UPDATE audit_batches SET lines = replace(lines, 'alice', 'mallory') WHERE first = 8`)
	_, err = l.Verify(t.Context(), nil)
	if seq := tampered(t, err); seq != 8 {
		t.Errorf("found at %d: %v", seq, err)
	}
}

// The largest entry that there can be is kept, and read again.
func TestLargestEntry(t *testing.T) {
	l := newPlace(t).open(t, nil)
	text := strings.Repeat("\x01", 5<<10)
	largest := postern.AuditEntry{
		Action: text, Identity: text, Kind: postern.IdentityKind(text), Actor: text, Resource: text, Session: text, Verb: text,
		Objects: slices.Repeat([]string{text}, 300), Outcome: text, Rule: text, Reason: text, Review: text, Target: text, Source: text, Digest: text, Policy: text,
	}
	for range 2 {
		must(t, l.Append(t.Context(), largest))
	}
	report, err := l.Verify(t.Context(), nil)
	if err != nil || report.Entries != 2 {
		t.Errorf("%+v, %v", report, err)
	}
}

// forge rewrites entry 8 and every hash: all that can be done without the key.
func forge(t *testing.T, p *place) {
	t.Helper()
	other := newPlace(t)
	l := other.open(t, func(c *audit.Config) { c.CheckpointEntries = 9 })
	for i := 1; i <= 25; i++ {
		e := entry(i)
		if i == 8 {
			e.Identity = "mallory"
		}
		must(t, l.Append(t.Context(), e))
	}
	must(t, l.Close(t.Context()))
	p.tamper(t, `ATTACH DATABASE '`+filepath.Join(other.dir, "postern.db")+`' AS forged;
		DELETE FROM audit_batches; INSERT INTO audit_batches SELECT * FROM forged.audit_batches;
		DELETE FROM audit_hashes; INSERT INTO audit_hashes SELECT * FROM forged.audit_hashes`)
}

func TestForgedHashesAreFound(t *testing.T) {
	p, l := tamperedPlace(t)
	forge(t, p)
	_, err := l.Verify(t.Context(), nil)
	if seq := tampered(t, err); seq < 2 || seq > 8 {
		t.Errorf("found at %d: %v", seq, err)
	}
	if err := l.Export(t.Context(), &bytes.Buffer{}); err == nil {
		t.Error("an export vouches for the forged log")
	}
	_ = l.Close(t.Context())
	_, err = audit.Open(t.Context(), p.config())
	tampered(t, err)
}

func TestAnotherKeyIsRefused(t *testing.T) {
	p := newPlace(t)
	l := p.open(t, nil)
	fill(t, l, 0, 3)
	must(t, l.Close(t.Context()))
	cfg := p.config()
	cfg.Key = newPlace(t).key
	_, err := audit.Open(t.Context(), cfg)
	tampered(t, err)
}

func TestRestoredBackupIsRefused(t *testing.T) {
	p := newPlace(t)
	l := p.open(t, nil)
	fill(t, l, 0, 3)
	must(t, l.Close(t.Context()))
	backup := filepath.Join(t.TempDir(), "postern.db")
	must(t, p.db.Backup(t.Context(), backup))
	l = p.open(t, nil)
	fill(t, l, 3, 3)
	must(t, l.Close(t.Context()))

	old, err := store.Open(t.Context(), "sqlite", filepath.Dir(backup))
	must(t, err)
	defer func() { must(t, old.Close()) }()
	cfg := p.config()
	cfg.Store = old
	_, err = audit.Open(t.Context(), cfg)
	if seq := tampered(t, err); seq != 4 || !strings.Contains(err.Error(), cfg.Anchor) || !strings.Contains(err.Error(), "6 entries") {
		t.Errorf("refused with %v", err)
	}
	must(t, os.Rename(cfg.Anchor, cfg.Anchor+".gone"))
	l, err = audit.Open(t.Context(), cfg)
	must(t, err)
	must(t, l.Close(t.Context()))
}

func TestConfigIsChecked(t *testing.T) {
	p := newPlace(t)
	for _, cfg := range []audit.Config{
		{},
		{Store: p.db},
		{Key: p.key},
		{Store: p.db, Key: p.key, CheckpointEntries: -1},
		{Store: p.db, Key: p.key, CheckpointEntries: 1e6},
		{Store: p.db, Key: p.key, CheckpointAfter: -1},
	} {
		if _, err := audit.Open(t.Context(), cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
