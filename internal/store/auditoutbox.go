package store

import (
	"context"
	"encoding/json"

	"postern"
)

// AuditOutbox returns the oldest of the entries that are kept for the log, and
// their ids, by which a batch says that it has taken them over.
func (db *DB) AuditOutbox(ctx context.Context, limit int) (entries []postern.AuditEntry, ids []string, err error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT id, entry FROM audit_outbox ORDER BY time, id LIMIT $1", limit)
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

func takeOutbox(ctx context.Context, tx *transaction, ids []string) error {
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
