package storetest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"postern"
	"postern/internal/store"
)

// auditRecord is a record as it is stored: its place and its line.
func auditRecord(seq int64) postern.AuditRecord {
	return postern.AuditRecord{Seq: seq, Body: fmt.Appendf(nil, `{"seq":%d,"x":"\u0000 ü"}`, seq)}
}

// auditBatch is one of n records after others, with two hashes a record.
func auditBatch(after int64, n int) postern.AuditBatch {
	b := postern.AuditBatch{FirstHash: 2 * after}
	for i := range int64(n) {
		seq := after + i + 1
		b.Records = append(b.Records, auditRecord(seq))
		b.Hashes = append(b.Hashes, auditHash(2*seq-2), auditHash(2*seq-1))
	}
	return b
}

func auditHash(index int64) [32]byte {
	return [32]byte{0: byte(index), 1: byte(index >> 8), 31: 0xff}
}

func testAudit(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	size := func(entries, hashes int64) {
		t.Helper()
		n, h, err := db.AuditSize(ctx)
		ok(t, err)
		same(t, []int64{n, h}, []int64{entries, hashes})
	}
	appended := func(b postern.AuditBatch, want bool) {
		t.Helper()
		added, err := db.AppendAudit(ctx, b)
		ok(t, err)
		same(t, added, want)
	}
	size(0, 0)
	_, err := db.LastAuditCheckpoint(ctx)
	missing(t, err)

	appended(auditBatch(0, 3), true)
	signed := auditBatch(3, 4)
	signed.Checkpoint = &postern.AuditCheckpoint{Size: 7, Note: "seven\n— ü\n"}
	appended(signed, true)
	size(7, 14)

	// A batch that doesn't begin where the log ends adds nothing.
	for _, after := range []int64{0, 6, 8} {
		stale := auditBatch(after, 2)
		stale.Checkpoint = &postern.AuditCheckpoint{Size: after + 2, Note: "stale"}
		appended(stale, false)
	}
	other := auditBatch(7, 1)
	other.FirstHash = 13
	appended(other, false)
	size(7, 14)

	appended(postern.AuditBatch{Checkpoint: &postern.AuditCheckpoint{Size: 7, Note: "another seven"}}, true)
	appended(postern.AuditBatch{Checkpoint: &postern.AuditCheckpoint{Size: 5, Note: "five"}}, true)
	checkpoints, err := db.AuditCheckpoints(ctx, 0, 10)
	ok(t, err)
	same(t, checkpoints, []postern.AuditCheckpoint{{Size: 5, Note: "five"}, {Size: 7, Note: "seven\n— ü\n"}})
	checkpoints, err = db.AuditCheckpoints(ctx, 5, 10)
	ok(t, err)
	same(t, len(checkpoints), 1)
	last, err := db.LastAuditCheckpoint(ctx)
	ok(t, err)
	same(t, last.Size, int64(7))

	for from := range int64(14) {
		for n := 1; n <= 16; n++ {
			hashes, err := db.AuditHashes(ctx, from, n)
			ok(t, err)
			same(t, len(hashes), min(n, int(14-from)))
			for i, h := range hashes {
				same(t, h, auditHash(from+int64(i)))
			}
		}
	}
}

// What a batch says of sessions is put with it, or not at all.
func testAuditSessions(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	s := postern.SessionInfo{ID: "ss_1", Identity: "alice", Kind: postern.User, Resource: "orders-db", Protocol: "postgres", Token: "tk_any", StartedAt: at(1)}
	ok(t, db.PutToken(ctx, postern.Token{ID: "tk_any", Kind: postern.SessionToken, Hash: "any", ExpiresAt: at(100)}))
	ok(t, db.PutToken(ctx, postern.Token{ID: "tk_once", Kind: postern.SessionToken, Hash: "once", MaxUses: 1, ExpiresAt: at(100)}))
	uses := func(id string, want int) {
		t.Helper()
		got, err := db.Token(ctx, id)
		ok(t, err)
		same(t, got.Uses, want)
	}
	stale := auditBatch(5, 1)
	stale.Sessions = []postern.SessionInfo{s}
	added, err := db.AppendAudit(ctx, stale)
	ok(t, err)
	same(t, added, false)
	_, err = db.Session(ctx, s.ID)
	missing(t, err)
	uses("tk_any", 0)

	opened := auditBatch(0, 1)
	opened.Sessions = []postern.SessionInfo{s}
	added, err = db.AppendAudit(ctx, opened)
	ok(t, err)
	same(t, added, true)
	got, err := db.Session(ctx, s.ID)
	ok(t, err)
	same(t, got, s)

	// Both may come at once, in their order.
	ended, other := s, s
	ended.EndedAt, ended.EndReason = at(2), "over"
	other.ID, other.Token = "ss_2", "tk_once"
	otherEnded := other
	otherEnded.EndedAt = at(3)
	both := auditBatch(1, 3)
	both.Sessions = []postern.SessionInfo{other, ended, otherEnded}
	added, err = db.AppendAudit(ctx, both)
	ok(t, err)
	same(t, added, true)
	// A session is a use of a token that has no limit; of one that has, it took its
	// use before.
	uses("tk_any", 1)
	uses("tk_once", 0)
	for _, want := range []postern.SessionInfo{ended, otherEnded} {
		got, err = db.Session(ctx, want.ID)
		ok(t, err)
		same(t, got, want)
	}
}

// Records are read from any place on, however they were committed.
func testAuditRecords(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	const size = 312
	for after := int64(0); after < size; {
		n := min(int(after)+1, size-int(after), 150)
		added, err := db.AppendAudit(ctx, auditBatch(after, n))
		ok(t, err)
		same(t, added, true)
		after += int64(n)
	}
	for after := int64(0); after <= size; after += 3 {
		for _, limit := range []int{1, 2, 63, 64, 65, 200} {
			records, err := db.AuditRecords(ctx, after, limit)
			ok(t, err)
			same(t, len(records), int(min(int64(limit), size-after)))
			for i, rec := range records {
				same(t, rec, auditRecord(after+int64(i)+1))
			}
		}
	}
}

// Lines of any size that an entry may have are kept together as far as they can be
// read again; one of which nobody could is refused.
func testAuditLargeLines(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	var b postern.AuditBatch
	for i, size := range []int{1, 3 << 20, 1, 1 << 20, 4<<20 - 1, 2 << 20, 2<<20 - 2} {
		b.Records = append(b.Records, postern.AuditRecord{Seq: int64(i) + 1, Body: bytes.Repeat([]byte{'a' + byte(i)}, size)})
	}
	added, err := db.AppendAudit(ctx, b)
	ok(t, err)
	same(t, added, true)
	for after := range b.Records {
		records, err := db.AuditRecords(ctx, int64(after), 100)
		ok(t, err)
		same(t, len(records), len(b.Records)-after)
		for i, r := range records {
			if want := b.Records[after+i]; r.Seq != want.Seq || !bytes.Equal(r.Body, want.Body) {
				t.Errorf("after %d: record %d has %d bytes", after, r.Seq, len(r.Body))
			}
		}
	}
	more := postern.AuditBatch{Records: []postern.AuditRecord{{Seq: 8, Body: make([]byte, 4<<20)}}}
	if added, err = db.AppendAudit(ctx, more); err == nil || added || !strings.Contains(err.Error(), "entry 8") {
		t.Errorf("a line that can't be read again: %v, %v", added, err)
	}
	n, _, err := db.AuditSize(ctx)
	ok(t, err)
	same(t, n, int64(7))
}

// What an older version wrote is read beside what is written now, and an older
// version can have all of it.
func testAuditMigration(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	const upTo = 70 // the last version that kept lines as text
	check := func(db *store.DB, size int64) {
		t.Helper()
		records, err := db.AuditRecords(ctx, 0, 1000)
		ok(t, err)
		same(t, int64(len(records)), size)
		for i, r := range records {
			same(t, r, auditRecord(int64(i)+1))
		}
		hashes, err := db.AuditHashes(ctx, 0, 1000)
		ok(t, err)
		same(t, int64(len(hashes)), 2*size)
		for i, h := range hashes {
			same(t, h, auditHash(int64(i)))
		}
		entries, n, err := db.AuditSize(ctx)
		ok(t, err)
		same(t, []int64{entries, n}, []int64{size, 2 * size})
	}
	appended := func(db *store.DB, after int64, n int) {
		t.Helper()
		added, err := db.AppendAudit(ctx, auditBatch(after, n))
		ok(t, err)
		same(t, added, true)
	}
	texts := func(query string) string {
		t.Helper()
		var all strings.Builder
		rows, err := e.Raw(db).QueryContext(ctx, query)
		ok(t, err)
		defer func() { ok(t, rows.Close()) }()
		for rows.Next() {
			var text string
			ok(t, rows.Scan(&text))
			all.WriteString(text)
		}
		ok(t, rows.Err())
		return all.String()
	}
	old := func(size int64) {
		t.Helper()
		var lines, hashes strings.Builder
		for seq := int64(1); seq <= size; seq++ {
			lines.Write(append(auditRecord(seq).Body, '\n'))
			for _, h := range [][32]byte{auditHash(2*seq - 2), auditHash(2*seq - 1)} {
				hashes.WriteString(hex.EncodeToString(h[:]))
			}
		}
		same(t, texts("SELECT lines FROM audit_batches ORDER BY first"), lines.String())
		same(t, texts("SELECT hashes FROM audit_hashes ORDER BY idx"), hashes.String())
	}

	appended(db, 0, 200)
	appended(db, 200, 1)
	check(db, 201)
	ok(t, e.Down(ctx, db, upTo))
	old(201)
	if _, err := db.AuditRecords(ctx, 0, 10); err == nil {
		t.Error("the older schema is the newer one")
	}
	again := e.Again(t, db)
	old(201)
	check(again, 201)
	appended(again, 201, 30)
	check(again, 231)
	ok(t, e.Down(ctx, db, upTo))
	old(231)
	check(e.Again(t, db), 231)
}

func testAuditIndex(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	segment := func(n int64) postern.AuditSegment {
		return postern.AuditSegment{Number: n, From: at(n), To: at(n + 1), Buckets: [][]byte{{}, {0, 0xff, byte(n)}}}
	}
	read := func(bucket int, from, to int64) (got []int64) {
		t.Helper()
		ok(t, db.AuditPostings(ctx, bucket, from, to, func(n int64, postings []byte) error {
			same(t, string(postings), string(segment(n).Buckets[bucket]))
			got = append(got, n)
			return nil
		}))
		return got
	}
	for n := range int64(4) {
		ok(t, db.PutAuditSegment(ctx, segment(n)))
	}
	other := segment(2)
	other.To, other.Buckets = at(9), [][]byte{{1}, {2}}
	ok(t, db.PutAuditSegment(ctx, other)) // it is there already
	segments, err := db.AuditSegments(ctx)
	ok(t, err)
	same(t, len(segments), 4)
	for n, s := range segments {
		want := segment(int64(n))
		want.Buckets = nil
		same(t, s, want)
	}
	same(t, read(1, 1, 2), []int64{1, 2})
	same(t, read(0, 0, 9), []int64{0, 1, 2, 3})
	same(t, read(2, 0, 9), []int64(nil))
	stop := errors.New("enough")
	if err := db.AuditPostings(ctx, 1, 0, 9, func(int64, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the caller's error", err)
	}
	ok(t, db.DropAuditIndex(ctx))
	same(t, read(1, 0, 9), []int64(nil))
	ok(t, db.PutAuditSegment(ctx, segment(0)))
}

// Of several processes that append at once, one gets each place.
func testAuditRace(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	again := e.Again(t, db)
	const places = 10
	var won atomic.Int64
	var wg sync.WaitGroup
	for _, db := range []*store.DB{db, again} {
		wg.Go(func() {
			for place := range int64(places) {
				added, err := db.AppendAudit(ctx, auditBatch(2*place, 2))
				if err != nil {
					t.Error(err)
				}
				if added {
					won.Add(1)
				}
			}
		})
	}
	wg.Wait()
	n, h, err := db.AuditSize(ctx)
	ok(t, err)
	same(t, []int64{n, h, won.Load()}, []int64{2 * places, 4 * places, places})
}

// A write and the audit entry about it are one transaction.
func testAuditOutbox(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	entry := func(n int64) postern.AuditEntry {
		return postern.AuditEntry{Time: at(n), Action: fmt.Sprintf("act-%d", n), Objects: []string{"ü"}, Outcome: "ok"}
	}
	kept := func(want ...int64) []string {
		t.Helper()
		entries, ids, err := db.AuditOutbox(ctx, 10)
		ok(t, err)
		same(t, len(entries), len(want))
		for i, n := range want {
			same(t, entries[i], entry(n))
		}
		return ids
	}
	act := func(do func(context.Context) error, entries ...int64) error {
		return db.Together(ctx, func() []postern.AuditEntry {
			var all []postern.AuditEntry
			for _, n := range entries {
				all = append(all, entry(n))
			}
			return all
		}, do)
	}
	meta := func(ctx context.Context, key string) string {
		value, err := db.Meta(ctx, key)
		if errors.Is(err, postern.ErrNotFound) {
			return ""
		}
		ok(t, err)
		return value
	}
	// Several writes and several entries; what is written is read within, and
	// what waits for the end runs after it.
	ended := ""
	ok(t, act(func(with context.Context) error {
		ok(t, db.PutMeta(with, "a", "1"))
		ok(t, db.PutAuditSegment(with, postern.AuditSegment{Buckets: [][]byte{{1}}}))
		same(t, meta(with, "a"), "1")
		db.After(with, func() { ended = meta(ctx, "a") })
		same(t, ended, "")
		return nil
	}, 1, 2))
	same(t, ended, "1")
	ids := kept(1, 2)

	// What fails within undoes itself alone; what fails as a whole, everything.
	ok(t, act(func(with context.Context) error {
		ok(t, db.PutMeta(with, "b", "1"))
		missing(t, db.DeleteSealed(with, "nobody"))
		stale := auditBatch(7, 1)
		added, err := db.AppendAudit(with, stale)
		ok(t, err)
		same(t, added, false)
		return nil
	}))
	same(t, meta(ctx, "b"), "1")
	broken := errors.New("broken")
	err := act(func(with context.Context) error {
		ok(t, db.PutMeta(with, "b", "2"))
		db.After(with, func() { t.Error("it was undone") })
		return broken
	}, 3)
	same(t, errors.Is(err, broken), true)
	same(t, meta(ctx, "b"), "1")
	// A refusal that did something keeps that, and no entry.
	err = act(func(with context.Context) error {
		ok(t, db.PutMeta(with, "b", "3"))
		return &postern.DoneError{Err: broken}
	}, 3)
	same(t, errors.Is(err, broken), true)
	same(t, meta(ctx, "b"), "3")
	// The context is like any other afterwards.
	var late context.Context
	ok(t, act(func(with context.Context) error { late = with; return nil }))
	ok(t, db.PutMeta(late, "b", "4"))
	same(t, meta(late, "b"), "4")
	kept(1, 2)

	// A batch takes them over, once.
	b := auditBatch(0, 2)
	b.Outbox = ids
	added, err := db.AppendAudit(ctx, b)
	ok(t, err)
	same(t, added, true)
	kept()
	again := auditBatch(2, 2)
	again.Outbox = ids
	added, err = db.AppendAudit(ctx, again)
	ok(t, err)
	same(t, added, false)
	size, _, err := db.AuditSize(ctx)
	ok(t, err)
	same(t, size, int64(2))
}
