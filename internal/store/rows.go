package store

import (
	"context"
	"time"
)

// minuteOf is a moment's minute since 1970.
func minuteOf(at time.Time) int64 { return at.Unix() / 60 }

// TakeRows takes rows out of those that a delegation may have within sixty
// minutes, of which the one of a moment is the last: as many as are left, and
// no more than most. Whatever gateways take at the same time, together they
// take no more than limit. A clock that is set back gives nothing back.
func (db *DB) TakeRows(ctx context.Context, delegation string, limit, most int64, at time.Time) (taken int64, err error) {
	err = db.tx(ctx, func(tx *transaction) error {
		minute := minuteOf(at)
		if _, err := tx.ExecContext(ctx, "DELETE FROM delegation_rows WHERE minute <= $1", minute-60); err != nil {
			return err
		}
		var before int64
		err := tx.row(ctx, "SELECT CAST(COALESCE(SUM(taken), 0) AS BIGINT) FROM delegation_rows WHERE delegation = $1", delegation).Scan(&before)
		if err != nil {
			return err
		}
		if taken = max(0, min(most, limit-before)); taken == 0 {
			return nil
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO delegation_rows (delegation, minute, taken) VALUES ($1, $2, $3)
			ON CONFLICT (delegation, minute) DO UPDATE SET taken = delegation_rows.taken + excluded.taken`, delegation, minute, taken)
		return err
	})
	if err != nil {
		return 0, found(err, "take rows")
	}
	return taken, nil
}

// ReturnRows gives back rows that were taken at a moment, and not used.
func (db *DB) ReturnRows(ctx context.Context, delegation string, n int64, at time.Time) error {
	_, err := db.exec(ctx, "UPDATE delegation_rows SET taken = taken - $3 WHERE delegation = $1 AND minute = $2 AND taken >= $3",
		delegation, minuteOf(at), n)
	return found(err, "return rows")
}
