package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"sync/atomic"

	"postern"
)

// entryKey is the key of a context's pending entry.
type entryKey struct{}

// pendingEntry is an entry that the context's first write takes along.
type pendingEntry struct {
	entry postern.AuditEntry
	kept  atomic.Bool
}

// WithEntry returns a context whose first write to this store that changes
// anything keeps an entry for the audit log, in the same transaction. kept says
// whether there was such a write: the act and its entry are then both durable, or
// neither is.
func (*DB) WithEntry(ctx context.Context, e postern.AuditEntry) (with context.Context, kept func() bool) {
	p := &pendingEntry{entry: e}
	return context.WithValue(ctx, entryKey{}, p), p.kept.Load
}

// pending is the entry that a write with this context has to keep, or nil.
func pending(ctx context.Context) *pendingEntry {
	p, _ := ctx.Value(entryKey{}).(*pendingEntry)
	if p == nil || p.kept.Load() {
		return nil
	}
	return p
}

func (p *pendingEntry) keep(ctx context.Context, tx *sql.Tx) error {
	text, err := json.Marshal(p.entry)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO audit_outbox (id, time, entry) VALUES ($1, $2, $3)", rand.Text(), micros(p.entry.Time), string(text))
	return err
}

// AuditOutbox returns the oldest of the entries that are kept for the log, and
// their ids, by which a batch says that it has taken them over.
func (db *DB) AuditOutbox(ctx context.Context, limit int) (entries []postern.AuditEntry, ids []string, err error) {
	rows, err := db.read.QueryContext(ctx, "SELECT id, entry FROM audit_outbox ORDER BY time, id LIMIT $1", limit)
	if err != nil {
		return nil, nil, found(err, "audit outbox")
	}
	_, err = collect(rows, func(r row) (struct{}, error) {
		var id, text string
		var e postern.AuditEntry
		if err := r.Scan(&id, &text); err != nil {
			return struct{}{}, err
		}
		// What was put there by somebody else is taken over as what it is.
		if json.Unmarshal([]byte(text), &e) != nil {
			e = postern.AuditEntry{Action: "audit.unreadable", Outcome: "failed", Reason: text}
		}
		entries, ids = append(entries, e), append(ids, id)
		return struct{}{}, nil
	})
	return entries, ids, found(err, "audit outbox")
}

func takeOutbox(ctx context.Context, tx *sql.Tx, ids []string) error {
	for _, id := range ids {
		res, err := tx.ExecContext(ctx, "DELETE FROM audit_outbox WHERE id = $1", id)
		if err != nil {
			return err
		}
		// Another process has taken it over already.
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errAuditMoved
		}
	}
	return nil
}
