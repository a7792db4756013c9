package store

import (
	"context"
	"time"
)

// UseOnce remembers an id until a moment. It says whether it was new: of several
// who come with one id, one is told so.
func (db *DB) UseOnce(ctx context.Context, id string, until time.Time) (bool, error) {
	n, err := db.exec(ctx, "INSERT INTO used (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING", id, micros(until))
	return n == 1, found(err, "use once")
}

// DeleteUsed forgets the ids whose time was over before a moment.
func (db *DB) DeleteUsed(ctx context.Context, before time.Time) (int, error) {
	n, err := db.exec(ctx, "DELETE FROM used WHERE expires_at < $1", micros(before))
	return n, found(err, "delete used")
}
