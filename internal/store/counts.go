package store

import (
	"context"
	"time"

	"postern"
)

// CountSessions counts the sessions that began at or after since, by slots of
// equal length from there and by resource.
func (db *DB) CountSessions(ctx context.Context, since time.Time, slot time.Duration) ([]postern.SessionCount, error) {
	from, width := micros(since), slot.Microseconds()
	rows, err := db.from(ctx).QueryContext(ctx, `SELECT (started_at - $1) / $2, resource, COUNT(*), SUM(commands), SUM(denied), SUM(masked_values)
		FROM sessions WHERE started_at >= $1 GROUP BY 1, 2 ORDER BY 1, 2`, from, width)
	if err != nil {
		return nil, found(err, "count sessions")
	}
	all, err := collect(rows, func(r row) (postern.SessionCount, error) {
		var c postern.SessionCount
		var n int64
		err := r.Scan(&n, &c.Resource, &c.Sessions, &c.Commands, &c.Denied, &c.Masked)
		c.At = fromMicros(from + n*width)
		return c, err
	})
	return all, found(err, "count sessions")
}
