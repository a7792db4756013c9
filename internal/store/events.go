package store

import (
	"context"
	"time"

	"postern"
)

// SeenEvent says whether an issuer's event was remembered.
func (db *DB) SeenEvent(ctx context.Context, issuer, id string) (bool, error) {
	var n int
	err := db.row(ctx, "SELECT count(*) FROM security_events WHERE issuer = $1 AND id = $2", issuer, id).Scan(&n)
	return n > 0, found(err, "security event")
}

// RememberEvent remembers an issuer's event until a moment. Doing so twice is
// no error.
func (db *DB) RememberEvent(ctx context.Context, issuer, id string, until time.Time) error {
	_, err := db.exec(ctx, `INSERT INTO security_events (issuer, id, until) VALUES ($1, $2, $3)
		ON CONFLICT (issuer, id) DO NOTHING`, issuer, id, micros(until))
	return found(err, "remember security event")
}

// DeleteExpiredEvents forgets the events whose moment has passed.
func (db *DB) DeleteExpiredEvents(ctx context.Context, before time.Time) (int, error) {
	n, err := db.exec(ctx, "DELETE FROM security_events WHERE until < $1", micros(before))
	return n, found(err, "delete expired events")
}

// GrantsOfSession returns the grants that a provider gave in one of its
// sessions, and that go on.
func (db *DB) GrantsOfSession(ctx context.Context, provider, sid string) ([]postern.LoginGrant, error) {
	return db.grants(ctx, "sid = $1 AND sid <> '' AND substr(subject, 1, length($2)) = $2 AND ended_at = 0 ORDER BY id", sid, provider+":")
}
