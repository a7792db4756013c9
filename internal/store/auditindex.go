package store

import (
	"context"
	"database/sql"
	"encoding/base64"

	"postern"
)

// PutAuditSegment keeps a segment of the audit log's index, as a whole. One
// that is there stays: another process made it of the same entries.
func (db *DB) PutAuditSegment(ctx context.Context, s postern.AuditSegment) error {
	err := db.tx(ctx, func(tx *transaction) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO audit_segments (segment, from_time, to_time) VALUES ($1, $2, $3)
			ON CONFLICT (segment) DO NOTHING`, s.Number, micros(s.From), micros(s.To))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		for bucket, postings := range s.Buckets {
			if _, err := tx.ExecContext(ctx, `INSERT INTO audit_terms (bucket, segment, postings) VALUES ($1, $2, $3)
				ON CONFLICT (bucket, segment) DO UPDATE SET postings = excluded.postings`,
				bucket, s.Number, base64.StdEncoding.EncodeToString(postings)); err != nil {
				return err
			}
		}
		return nil
	})
	return found(err, "put a segment of the audit log's index")
}

// DropAuditIndex removes the index, so that it is made anew.
func (db *DB) DropAuditIndex(ctx context.Context) error {
	err := db.tx(ctx, func(tx *transaction) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM audit_terms"); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM audit_segments")
		return err
	})
	return found(err, "drop the audit log's index")
}

// AuditSegments returns the segments of the index, in order, without their buckets.
func (db *DB) AuditSegments(ctx context.Context) ([]postern.AuditSegment, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT segment, from_time, to_time FROM audit_segments ORDER BY segment")
	if err != nil {
		return nil, found(err, "segments of the audit log's index")
	}
	all, err := collect(rows, func(r row) (postern.AuditSegment, error) {
		var s postern.AuditSegment
		var from, to int64
		err := r.Scan(&s.Number, &from, &to)
		s.From, s.To = fromMicros(from), fromMicros(to)
		return s, err
	})
	return all, found(err, "segments of the audit log's index")
}

// AuditPostings calls fn with a bucket of each segment from one to another, in order.
func (db *DB) AuditPostings(ctx context.Context, bucket int, from, to int64, fn func(segment int64, postings []byte) error) error {
	rows, err := db.from(ctx).QueryContext(ctx, `SELECT segment, postings FROM audit_terms
		WHERE bucket = $1 AND segment >= $2 AND segment <= $3 ORDER BY segment`, bucket, from, to)
	if err != nil {
		return found(err, "the audit log's index")
	}
	_, err = collect(rows, func(r row) (struct{}, error) {
		var segment int64
		var text sql.RawBytes
		if err := r.(*sql.Rows).Scan(&segment, &text); err != nil { //nolint:errcheck,forcetypeassert // collect passes rows
			return struct{}{}, err
		}
		postings, err := base64.StdEncoding.AppendDecode(nil, text)
		if err != nil {
			postings = []byte{0} // what no bucket is, so that its reader says so
		}
		return struct{}{}, fn(segment, postings)
	})
	return found(err, "the audit log's index")
}
