package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"postern"
	"postern/internal/store"
)

// auditRecord is a record whose columns all differ.
func auditRecord(seq int64) postern.AuditRecord {
	word := func(s string) string { return fmt.Sprintf("%s %d \x01 ü", s, seq) }
	return postern.AuditRecord{Seq: seq, Body: fmt.Appendf(nil, `{"seq":%d,"x":"\u0000 ü"}`, seq), AuditEntry: postern.AuditEntry{
		Time: at(seq), Action: word("action"), Identity: word("identity"), Actor: word("actor"), Resource: word("resource"),
		Session: word("session"), Outcome: word("outcome"), Rule: word("rule"),
	}}
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

func testAuditFilter(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	_, err := db.AppendAudit(ctx, auditBatch(0, 9))
	ok(t, err)
	r := auditRecord(4)
	for name, c := range map[string]struct {
		f    postern.AuditFilter
		want []int64
	}{
		"all":      {postern.AuditFilter{}, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		"page":     {postern.AuditFilter{After: 3, Limit: 2}, []int64{4, 5}},
		"identity": {postern.AuditFilter{Identity: r.Identity}, []int64{4}},
		"resource": {postern.AuditFilter{Resource: r.Resource}, []int64{4}},
		"session":  {postern.AuditFilter{Session: r.Session}, []int64{4}},
		"action":   {postern.AuditFilter{Action: r.Action}, []int64{4}},
		"two":      {postern.AuditFilter{Action: r.Action, Session: "another"}, nil},
		"past":     {postern.AuditFilter{Action: r.Action, After: 4}, nil},
	} {
		records, err := db.AuditRecords(ctx, c.f)
		ok(t, err)
		var got []int64
		for _, rec := range records {
			got = append(got, rec.Seq)
			same(t, rec, auditRecord(rec.Seq))
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
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
