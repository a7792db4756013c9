package audit

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"postern"
)

// Report is what was verified.
type Report struct {
	Entries     int64  `json:"entries"`
	Root        string `json:"root"`        // of the tree of all entries, base64
	Checkpoints int64  `json:"checkpoints"` // verified
	Signed      int64  `json:"signed"`      // how many entries the last checkpoint covers
	Checkpoint  string `json:"checkpoint"`  // the last, as signed
	PublicKey   string `json:"public_key"`
	Recordings  int64  `json:"recordings,omitempty"` // whose digest was compared
}

// Verify recomputes the whole log from its entries, and compares with the
// stored hashes, with every checkpoint and with the anchor. A difference is a
// [*TamperedError] that names the first entry that isn't as it was; the report
// then covers what precedes it. With a digester, which may be nil, each session's
// recording is compared with the digest in the log, too.
func (l *Log) Verify(ctx context.Context, digest Digester) (Report, error) {
	report := Report{PublicKey: l.PublicKey()}
	known, root := l.head()
	size, hashes, err := l.cfg.Store.AuditSize(ctx)
	if err != nil {
		return report, fmt.Errorf("verify the audit log: %w", err)
	}
	v := &verification{log: l, report: &report, known: known, root: root, index: indexCheck{index: l.index, segment: newSegment(0)}}
	v.index.sealed = l.index.count()
	t := &v.tree
	if err = l.walk(ctx, t, size, v.check(ctx)); err == nil {
		err = v.rest(ctx, size, hashes)
	}
	report.Entries, report.Root = t.size, t.root().String()
	if err == nil {
		err = v.index.conclude(ctx)
	}
	if err == nil && digest != nil {
		report.Recordings, err = v.recordings.check(ctx, digest)
	}
	if err != nil {
		return report, fmt.Errorf("verify the audit log: %w", err)
	}
	return report, nil
}

// walk reads the entries after t.size up to a size, checks each, and adds it to
// t. after, which may be nil, is called behind each.
func (l *Log) walk(ctx context.Context, t *tree, size int64, after func(*postern.AuditEntry) error) error {
	var computed [][32]byte
	for t.size < size {
		records, err := l.cfg.Store.AuditRecords(ctx, t.size, page)
		if err != nil {
			return err
		}
		records = records[:min(int64(len(records)), size-t.size)]
		if len(records) == 0 {
			return &TamperedError{Seq: t.size + 1, Reason: "it is missing"}
		}
		first := tlog.StoredHashCount(t.size)
		stored, err := l.cfg.Store.AuditHashes(ctx, first, int(tlog.StoredHashCount(t.size+int64(len(records)))-first))
		if err != nil {
			return err
		}
		for i := range records {
			if err := checkRecord(&records[i], t.size+1); err != nil {
				return err
			}
			computed = t.add(computed[:0], tlog.RecordHash(records[i].Body))
			for _, h := range computed {
				if len(stored) == 0 || stored[0] != h {
					return &TamperedError{Seq: t.size, Reason: "its hash isn't the stored one"}
				}
				stored = stored[1:]
			}
			if after != nil {
				if err := after(&records[i].AuditEntry); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkRecord checks a record by itself, and reads its entry.
func checkRecord(r *postern.AuditRecord, seq int64) error {
	if r.Seq != seq {
		return &TamperedError{Seq: seq, Reason: fmt.Sprintf("entry %d stands in its place", r.Seq)}
	}
	said, err := decodeBody(r.Body)
	if err != nil {
		return &TamperedError{Seq: seq, Reason: "it can't be read: " + err.Error()}
	}
	if said.Seq != seq {
		return &TamperedError{Seq: seq, Reason: fmt.Sprintf("entry %d stands in its place", said.Seq)}
	}
	r.AuditEntry = said.AuditEntry
	return nil
}

// verification compares checkpoints on the way.
type verification struct {
	log    *Log
	report *Report
	tree   tree
	known  int64 // the size and the root that this process knows
	root   tlog.Hash
	ahead  []postern.AuditCheckpoint // read, and not yet reached
	read   int64                     // the size of the last checkpoint that was read
	all    bool
	index  indexCheck

	recordings recordings
}

func (v *verification) check(ctx context.Context) func(*postern.AuditEntry) error {
	return func(e *postern.AuditEntry) error {
		if err := v.index.add(ctx, e); err != nil {
			return err
		}
		v.recordings.note(v.tree.size, e)
		if err := v.fill(ctx); err != nil {
			return err
		}
		if len(v.ahead) > 0 && v.ahead[0].Size <= v.tree.size {
			if err := v.checkpoint(); err != nil {
				return err
			}
		}
		if v.tree.size == v.known && v.tree.root() != v.root {
			return &TamperedError{Seq: v.report.Signed + 1, Reason: "the entries from here on were changed while the gateway ran, with their hashes"}
		}
		return nil
	}
}

// fill reads on when no checkpoint is known ahead.
func (v *verification) fill(ctx context.Context) error {
	if len(v.ahead) > 0 || v.all {
		return nil
	}
	var err error
	if v.ahead, err = v.log.cfg.Store.AuditCheckpoints(ctx, v.read, page); err != nil {
		return err
	}
	if v.all = len(v.ahead) == 0; !v.all {
		v.read = v.ahead[len(v.ahead)-1].Size
	}
	return nil
}

func (v *verification) checkpoint() error {
	next := v.ahead[0]
	v.ahead = v.ahead[1:]
	bad := func(format string, args ...any) error {
		return &TamperedError{Seq: v.report.Signed + 1, Reason: fmt.Sprintf("the checkpoint at %d ", next.Size) + fmt.Sprintf(format, args...)}
	}
	c, err := openCheckpoint(next.Note, v.log.cfg.Key.verifier)
	switch {
	case err != nil:
		return bad("can't be trusted: %v", err)
	case c.size != next.Size || c.size != v.tree.size:
		return bad("was signed for %d entries", c.size)
	case c.root != v.tree.root():
		return bad("was signed over other entries")
	}
	v.report.Checkpoints++
	v.report.Signed, v.report.Checkpoint = c.size, next.Note
	return nil
}

// rest checks what no entry leads to.
func (v *verification) rest(ctx context.Context, size, hashes int64) error {
	if size < v.known {
		return &TamperedError{Seq: size + 1, Reason: fmt.Sprintf("entries up to %d were removed while the gateway ran", v.known)}
	}
	if want := tlog.StoredHashCount(size); hashes != want {
		return &TamperedError{Reason: fmt.Sprintf("%d hashes are stored where there should be %d", hashes, want)}
	}
	if size > 0 && v.report.Checkpoints == 0 {
		return &TamperedError{Reason: "there is no checkpoint"}
	}
	if err := v.fill(ctx); err != nil {
		return err
	}
	// Entries that were added meanwhile may have been signed meanwhile.
	now, _, err := v.log.cfg.Store.AuditSize(ctx)
	if err != nil {
		return err
	}
	if len(v.ahead) > 0 && v.ahead[0].Size > now {
		return &TamperedError{Seq: now + 1, Reason: fmt.Sprintf("a checkpoint was signed for %d entries", v.ahead[0].Size)}
	}
	if err := v.log.checkAnchor(ctx, now); err != nil {
		return err
	}
	return v.log.checkWitnesses(ctx, now)
}
