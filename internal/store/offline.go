package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"postern"
)

func scanOfflineGrant(r row) (postern.OfflineGrant, error) {
	var g postern.OfflineGrant
	var hash, body string
	if err := r.Scan(&hash, &body); err != nil {
		return g, err
	}
	if err := json.Unmarshal([]byte(body), &g); err != nil {
		return g, fmt.Errorf("body: %w", err)
	}
	g.Hash = hash
	return g, nil
}

// AddOfflineGrant adds an offline grant. Its id and its code are new.
func (db *DB) AddOfflineGrant(ctx context.Context, g postern.OfflineGrant) error {
	body, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("store: add offline grant: %w", err)
	}
	_, err = db.exec(ctx, "INSERT INTO offline_grants (id, hash, issued_at, version, body) VALUES ($1, $2, $3, 1, $4)",
		g.ID, g.Hash, micros(g.IssuedAt), string(body))
	return found(err, "add offline grant")
}

// OfflineGrant returns one of them.
func (db *DB) OfflineGrant(ctx context.Context, id string) (postern.OfflineGrant, error) {
	g, err := scanOfflineGrant(db.row(ctx, "SELECT hash, body FROM offline_grants WHERE id = $1", id))
	return g, found(err, "offline grant")
}

// OfflineGrantByHash returns the one whose code has this hash.
func (db *DB) OfflineGrantByHash(ctx context.Context, hash string) (postern.OfflineGrant, error) {
	g, err := scanOfflineGrant(db.row(ctx, "SELECT hash, body FROM offline_grants WHERE hash = $1", hash))
	return g, found(err, "offline grant")
}

// OfflineGrants returns them, newest first, from after the one with the id
// before on; "": from the newest.
func (db *DB) OfflineGrants(ctx context.Context, before string, limit int) ([]postern.OfflineGrant, error) {
	var q query
	if before != "" {
		q.add("(issued_at, id) < (SELECT c.issued_at, c.id FROM offline_grants c WHERE c.id = $?)", before)
	}
	rows, err := db.from(ctx).QueryContext(ctx, q.text("SELECT hash, body FROM offline_grants",
		fmt.Sprintf(" ORDER BY issued_at DESC, id DESC LIMIT %d", limited(limit))), q.args...)
	if err != nil {
		return nil, found(err, "offline grants")
	}
	all, err := collect(rows, scanOfflineGrant)
	return all, found(err, "offline grants")
}

// UpdateOfflineGrant changes one as one step, as [DB.UpdateReview] does. Its id,
// its code and its time of issue can't be changed.
func (db *DB) UpdateOfflineGrant(ctx context.Context, id string, change func(*postern.OfflineGrant) error) (postern.OfflineGrant, error) {
	for {
		g, err := db.updateOfflineGrant(ctx, id, change)
		if !errors.Is(err, errChanged) {
			return g, err
		}
	}
}

func (db *DB) updateOfflineGrant(ctx context.Context, id string, change func(*postern.OfflineGrant) error) (postern.OfflineGrant, error) {
	var g postern.OfflineGrant
	err := db.tx(ctx, func(tx *transaction) error {
		var version int64
		err := tx.row(ctx, "SELECT version FROM offline_grants WHERE id = $1", id).Scan(&version)
		if err == nil {
			g, err = scanOfflineGrant(tx.row(ctx, "SELECT hash, body FROM offline_grants WHERE id = $1 AND version = $2", id, version))
		}
		if err != nil {
			return found(err, "offline grant")
		}
		was := g
		if err := change(&g); err != nil {
			g = was
			return err
		}
		g.ID, g.Hash, g.IssuedAt = was.ID, was.Hash, was.IssuedAt
		body, err := json.Marshal(g)
		if err != nil {
			return found(err, "update offline grant")
		}
		// The version is checked for engines that don't lock a row by reading it.
		n, err := exec(ctx, tx, "UPDATE offline_grants SET body = $1, version = version + 1 WHERE id = $2 AND version = $3", string(body), id, version)
		if err == nil && n == 0 {
			return errChanged
		}
		return found(err, "update offline grant")
	})
	return g, err
}
