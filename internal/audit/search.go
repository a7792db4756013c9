package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"postern"
)

// How many records a search returns.
const (
	defaultFound = 100
	maxFound     = 1000
)

// ErrNoWord is returned for a filter whose text holds nothing to look for.
var ErrNoWord = errors.New("the text to search for holds no word: no letter, digit or underscore")

// Search returns the latest records that a filter picks, the last first, of all
// that was appended or queued before.
func (l *Log) Search(ctx context.Context, f postern.AuditFilter) ([]postern.AuditRecord, error) {
	if f.Text != "" && len(words(f.Text)) == 0 {
		return nil, ErrNoWord
	}
	l.flush(ctx)
	size := l.Size()
	if err := l.index.reach(ctx, size); err != nil {
		return nil, fmt.Errorf("search the audit log: %w", err)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = defaultFound
	}
	limit = min(limit, maxFound)
	before := size + 1
	if f.Before > 0 {
		before = min(before, f.Before)
	}
	reader := &runReader{store: l.cfg.Store}
	found := []postern.AuditRecord{}
	var failed error
	err := l.index.pick(ctx, &f, before, func(seq int64) bool {
		var r postern.AuditRecord
		if r, failed = reader.read(ctx, seq); failed != nil {
			return false
		}
		if picks(&f, &r) {
			found = append(found, r)
		}
		return len(found) < limit
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("search the audit log: %w", err)
	}
	return found, nil
}

// Entries returns what Search does, oldest first.
func (l *Log) Entries(ctx context.Context, f postern.AuditFilter) ([]postern.AuditRecord, error) {
	found, err := l.Search(ctx, f)
	slices.Reverse(found)
	return found, err
}

// runReader reads single entries, and keeps what was read around the last.
type runReader struct {
	store Store
	run   []postern.AuditRecord
}

// runSize is how many are read around one. The store reads more of them anyway, and
// the more it has to return, the more often they are of two of its rows.
const runSize = 32

func (r *runReader) read(ctx context.Context, seq int64) (postern.AuditRecord, error) {
	if len(r.run) == 0 || seq < r.run[0].Seq || seq > r.run[len(r.run)-1].Seq {
		var err error
		if r.run, err = r.store.AuditRecords(ctx, (seq-1)/runSize*runSize, runSize); err != nil {
			return postern.AuditRecord{}, err
		}
	}
	for i := range r.run {
		if r.run[i].Seq == seq {
			rec, err := decodeBody(r.run[i].Body)
			if err != nil || rec.Seq != seq {
				return rec, &TamperedError{Seq: seq, Reason: "it can't be read"}
			}
			return rec, nil
		}
	}
	return postern.AuditRecord{}, &TamperedError{Seq: seq, Reason: "it is missing"}
}
