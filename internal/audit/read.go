package audit

import (
	"context"
	"fmt"

	"postern"
)

// flush waits for what is queued. While the log can't be written, or is closed,
// there is still something to read.
func (l *Log) flush(ctx context.Context) { _ = l.wait(ctx, item{flush: true}) }

func (l *Log) read(ctx context.Context, after int64, limit int) ([]postern.AuditRecord, error) {
	records, err := l.cfg.Store.AuditRecords(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	for i := range records {
		seq := records[i].Seq
		if records[i], err = decodeBody(records[i].Body); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", &TamperedError{Seq: seq, Reason: "it can't be read: " + err.Error()})
		}
	}
	return records, nil
}

// Tail returns up to limit records after seq, oldest first. A negative seq
// stands for the last records that there are.
func (l *Log) Tail(ctx context.Context, after int64, limit int) ([]postern.AuditRecord, error) {
	l.flush(ctx)
	return l.tail(ctx, after, limit)
}

func (l *Log) tail(ctx context.Context, after int64, limit int) ([]postern.AuditRecord, error) {
	if limit <= 0 || limit > page {
		limit = page
	}
	if after < 0 {
		after = max(0, l.Size()-int64(limit))
	}
	return l.read(ctx, after, limit)
}

// Next returns up to limit records after seq, oldest first, of those that are
// durable, and waits until there are some. It returns [ErrClosed] when there will
// be no more.
func (l *Log) Next(ctx context.Context, after int64, limit int) ([]postern.AuditRecord, error) {
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		records, err := l.tail(ctx, max(after, 0), limit)
		if err != nil || len(records) > 0 {
			return records, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		case <-l.done:
			if l.Size() <= after {
				return nil, ErrClosed
			}
		}
	}
}

// Follow calls fn with each record after seq, and goes on with those that this
// process commits, until ctx ends, the log is closed or fn returns an error. It
// returns that error, the context's, or [ErrClosed].
func (l *Log) Follow(ctx context.Context, after int64, fn func(postern.AuditRecord) error) error {
	for {
		records, err := l.Next(ctx, after, page)
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := fn(r); err != nil {
				return err
			}
			after = r.Seq
		}
	}
}
