package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"postern"
)

func scanReview(r row) (postern.Review, error) {
	var body string
	if err := r.Scan(&body); err != nil {
		return postern.Review{}, err
	}
	return decodeReview(body)
}

func decodeReview(body string) (postern.Review, error) {
	var rv postern.Review
	if err := json.Unmarshal([]byte(body), &rv); err != nil {
		return postern.Review{}, fmt.Errorf("body: %w", err)
	}
	return rv, nil
}

// PutReview adds a review; one with its id must not exist.
func (db *DB) PutReview(ctx context.Context, rv postern.Review) error {
	body, err := json.Marshal(rv)
	if err != nil {
		return fmt.Errorf("store: put review: %w", err)
	}
	_, err = db.exec(ctx, `INSERT INTO reviews (id, state, identity, session, resource, created_at, expires_at, version, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8)`,
		rv.ID, rv.State, rv.Identity, rv.Session, rv.Resource, micros(rv.CreatedAt), micros(rv.ExpiresAt), string(body))
	return found(err, "put review")
}

// Review returns one review.
func (db *DB) Review(ctx context.Context, id string) (postern.Review, error) {
	rv, err := scanReview(db.row(ctx, "SELECT body FROM reviews WHERE id = $1", id))
	return rv, found(err, "review")
}

// Reviews returns the reviews that a filter picks, newest first.
func (db *DB) Reviews(ctx context.Context, f postern.ReviewFilter) ([]postern.Review, error) {
	var q query
	if f.State != "" {
		q.add("state = $?", f.State)
	}
	if f.Identity != "" {
		q.add("identity = $?", f.Identity)
	}
	switch f.Of {
	case "request":
		q.add("session = ''")
	case "command":
		q.add("session <> ''")
	}
	if f.Before != "" {
		q.add("(created_at, id) < (SELECT c.created_at, c.id FROM reviews c WHERE c.id = $?)", f.Before)
	}
	rows, err := db.from(ctx).QueryContext(ctx, q.text("SELECT body FROM reviews",
		fmt.Sprintf(" ORDER BY created_at DESC, id DESC LIMIT %d", limited(f.Limit))), q.args...)
	if err != nil {
		return nil, found(err, "reviews")
	}
	all, err := collect(rows, scanReview)
	return all, found(err, "reviews")
}

// errChanged says that another process changed a review between read and write.
var errChanged = errors.New("changed by another process")

// UpdateReview changes one review as one step: no other change, by this or
// another process, comes between what change reads and what is written. When
// change returns an error nothing is written, and that error is returned with
// the review as it stands. change may be called again, and must not call the
// store. The review's id, identity, session and times of creation and expiry
// can't be changed.
func (db *DB) UpdateReview(ctx context.Context, id string, change func(*postern.Review) error) (postern.Review, error) {
	for {
		rv, err := db.updateReview(ctx, id, change)
		if !errors.Is(err, errChanged) {
			return rv, err
		}
	}
}

func (db *DB) updateReview(ctx context.Context, id string, change func(*postern.Review) error) (postern.Review, error) {
	var rv postern.Review
	err := db.tx(ctx, func(tx *transaction) error {
		var version int64
		var before string
		err := tx.row(ctx, "SELECT version, body FROM reviews WHERE id = $1", id).Scan(&version, &before)
		if err != nil {
			return found(err, "review")
		}
		if rv, err = decodeReview(before); err != nil {
			return found(err, "review")
		}
		changed, err := decodeReview(before) // a copy that shares nothing with rv
		if err != nil {
			return found(err, "review")
		}
		if err := change(&changed); err != nil {
			return err
		}
		changed.ID, changed.Identity, changed.Kind, changed.Session = rv.ID, rv.Identity, rv.Kind, rv.Session
		changed.CreatedAt, changed.ExpiresAt = rv.CreatedAt, rv.ExpiresAt
		body, err := json.Marshal(changed)
		if err != nil {
			return found(err, "update review")
		}
		// The version is checked for engines that don't lock a row by reading it.
		res, err := tx.ExecContext(ctx, "UPDATE reviews SET state = $1, body = $2, version = version + 1 WHERE id = $3 AND version = $4",
			changed.State, string(body), id, version)
		if err != nil {
			return found(err, "update review")
		}
		n, err := res.RowsAffected()
		if err != nil {
			return found(err, "update review")
		}
		if n == 0 {
			return errChanged
		}
		rv = changed
		return nil
	})
	return rv, err
}
