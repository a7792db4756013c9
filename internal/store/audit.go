package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"postern"
)

// AppendAudit adds a batch to the audit log, and puts its sessions, all or
// nothing. It returns false, having done nothing, when the batch doesn't begin where the stored log ends:
// another process has added to it.
func (db *DB) AppendAudit(ctx context.Context, b postern.AuditBatch) (bool, error) {
	err := db.tx(ctx, func(tx *transaction) error {
		var size, hashes int64
		if err := tx.row(ctx, auditSize).Scan(&size, &hashes); err != nil {
			return err
		}
		if len(b.Records) > 0 && (b.Records[0].Seq != size+1 || b.FirstHash != hashes) {
			return errAuditMoved
		}
		if err := takeOutbox(ctx, tx, b.Outbox); err != nil {
			return err
		}
		for i := range b.Sessions {
			if err := errors.Join(putSession(ctx, tx, &b.Sessions[i]), countUse(ctx, tx, &b.Sessions[i])); err != nil {
				return err
			}
		}
		return db.appendAudit(ctx, tx, b)
	})
	if errors.Is(err, errAuditMoved) {
		return false, nil
	}
	return err == nil, found(err, "append to the audit log")
}

// errAuditMoved undoes a batch whose place is taken.
var errAuditMoved = errors.New("the audit log has moved on")

func (db *DB) appendAudit(ctx context.Context, tx *transaction, b postern.AuditBatch) error {
	packer, ok := db.packers.Get().(*auditPacker)
	if !ok {
		packer = &auditPacker{}
	}
	defer db.packers.Put(packer)
	if err := insertAuditLines(ctx, tx, packer, b.Records); err != nil {
		return err
	}
	if len(b.Hashes) > 0 {
		if _, err := tx.ExecContext(ctx, "INSERT INTO audit_hashes (idx, hashes, raw) VALUES ($1, '', $2)", b.FirstHash, packer.raw(b.Hashes)); err != nil {
			return err
		}
	}
	if c := b.Checkpoint; c != nil {
		// Two processes may sign the same size: either's will do.
		_, err := tx.ExecContext(ctx, `INSERT INTO audit_checkpoints (size, note) VALUES ($1, $2)
			ON CONFLICT (size) DO NOTHING`, c.Size, c.Note)
		return err
	}
	return nil
}

func insertAuditLines(ctx context.Context, tx *transaction, packer *auditPacker, records []postern.AuditRecord) error {
	for len(records) > 0 {
		n := nextRun(records)
		packed, err := packer.pack(records[:n])
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO audit_batches (first, last, lines, packed) VALUES ($1, $2, '', $3)
			ON CONFLICT (first) DO NOTHING`, records[0].Seq, records[n-1].Seq, packed)
		if err != nil {
			return err
		}
		// An engine that lets writers run side by side shows only here who was first.
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(errAuditMoved, err)
		}
		records = records[n:]
	}
	return nil
}

// auditSize is one statement, so that both numbers are of one moment.
const auditSize = `SELECT COALESCE((SELECT last FROM audit_batches ORDER BY first DESC LIMIT 1), 0),
		COALESCE((SELECT idx + LENGTH(hashes) / 64 + COALESCE(LENGTH(raw), 0) / 32 FROM audit_hashes ORDER BY idx DESC LIMIT 1), 0)`

// AuditSize returns the number of the last entry, and how many hashes are stored.
func (db *DB) AuditSize(ctx context.Context) (entries, hashes int64, err error) {
	err = db.row(ctx, auditSize).Scan(&entries, &hashes)
	return entries, hashes, found(err, "size of the audit log")
}

// AuditRecords returns up to limit records after an entry, oldest first, with
// Seq, by their place, and Body alone: the body holds the entry. Of those in a row
// that is damaged Body is nil.
func (db *DB) AuditRecords(ctx context.Context, after int64, limit int) ([]postern.AuditRecord, error) {
	limit = limited(limit)
	rows, err := db.from(ctx).QueryContext(ctx, `SELECT first, last, lines, packed FROM audit_batches WHERE first <= $2
		AND first >= (SELECT COALESCE(MAX(first), 0) FROM audit_batches WHERE first <= $1) ORDER BY first`,
		after+1, after+int64(limit))
	if err != nil {
		return nil, found(err, "audit entries")
	}
	records := make([]postern.AuditRecord, 0, limit)
	_, err = collect(rows, func(r row) (struct{}, error) {
		var run auditRow
		err := r.Scan(&run.first, &run.last, &run.lines, &run.packed)
		if err == nil {
			records = run.appendTo(records, after, limit)
		}
		return struct{}{}, err
	})
	if err != nil {
		return nil, found(err, "audit entries")
	}
	return records, nil
}

// AuditHashes returns n of the stored hashes, from an index on. It returns fewer
// only where the stored ones end or are no hashes.
func (db *DB) AuditHashes(ctx context.Context, from int64, n int) ([][32]byte, error) {
	rows, err := db.from(ctx).QueryContext(ctx, `SELECT idx, hashes, raw FROM audit_hashes WHERE idx < $2
		AND idx >= (SELECT COALESCE(MAX(idx), 0) FROM audit_hashes WHERE idx <= $1) ORDER BY idx`, from, from+int64(n))
	if err != nil {
		return nil, found(err, "audit hashes")
	}
	out := make([][32]byte, 0, n)
	_, err = collect(rows, func(r row) (struct{}, error) {
		var index int64
		var text, raw sql.RawBytes
		if err := r.Scan(&index, &text, &raw); err != nil {
			return struct{}{}, err
		}
		all, err := hashBytes(raw, text)
		for ; len(all) >= 32; all, index = all[32:], index+1 {
			if index == from+int64(len(out)) && len(out) < n {
				out = append(out, [32]byte(all))
			}
		}
		return struct{}{}, err
	})
	if err != nil {
		return nil, found(err, "audit hashes")
	}
	return out, nil
}

// AuditCheckpoints returns checkpoints of more than a size, smallest first.
func (db *DB) AuditCheckpoints(ctx context.Context, after int64, limit int) ([]postern.AuditCheckpoint, error) {
	rows, err := db.from(ctx).QueryContext(ctx, fmt.Sprintf("SELECT size, note FROM audit_checkpoints WHERE size > $1 ORDER BY size LIMIT %d",
		limited(limit)), after)
	if err != nil {
		return nil, found(err, "audit checkpoints")
	}
	all, err := collect(rows, scanCheckpoint)
	return all, found(err, "audit checkpoints")
}

// LastAuditCheckpoint returns the checkpoint of the greatest size.
func (db *DB) LastAuditCheckpoint(ctx context.Context) (postern.AuditCheckpoint, error) {
	c, err := scanCheckpoint(db.row(ctx, "SELECT size, note FROM audit_checkpoints ORDER BY size DESC LIMIT 1"))
	return c, found(err, "last audit checkpoint")
}

func scanCheckpoint(r row) (postern.AuditCheckpoint, error) {
	var c postern.AuditCheckpoint
	err := r.Scan(&c.Size, &c.Note)
	return c, err
}
