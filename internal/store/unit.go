package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"postern"
)

// unit is a transaction that a context carries: what this store reads and writes
// with the context belongs to it.
type unit struct {
	tx   *transaction
	over atomic.Bool // it was committed or undone; the context is like any other again

	mu    sync.Mutex // guards what follows, and keeps steps of two goroutines apart
	after []func()
}

// unitKey is the key of a store's unit in a context.
type unitKey struct{ db *DB }

// unit is the one that a context carries, or nil.
func (db *DB) unit(ctx context.Context) *unit {
	u, _ := ctx.Value(unitKey{db}).(*unit)
	if u == nil || u.over.Load() {
		return nil
	}
	return u
}

// Together makes an act and its entries in the audit log one transaction: all
// that do writes with its context, and the entries, are durable together or not
// at all. entries is called when do has succeeded. Nobody else writes
// meanwhile, so do must not wait for anybody who does. An error of do undoes
// everything and is returned, but for a [*postern.DoneError]: what that one did
// stays, without the entries. An entry that can't be kept is
// [postern.ErrUnaudited].
func (db *DB) Together(ctx context.Context, entries func() []postern.AuditEntry, do func(context.Context) error) error {
	if u := db.unit(ctx); u != nil { // a part of a greater act
		if err := do(ctx); err != nil {
			return err
		}
		return u.step(ctx, func(tx *transaction) error { return keepEntries(ctx, tx, entries()) })
	}
	u := &unit{}
	var refused error
	err := db.tx(ctx, func(tx *transaction) error {
		u.tx = tx
		defer u.over.Store(true)
		err := do(context.WithValue(ctx, unitKey{db}, u))
		if done := (*postern.DoneError)(nil); errors.As(err, &done) {
			refused = err
			return nil
		}
		if err != nil {
			return err
		}
		return keepEntries(ctx, tx, entries())
	})
	if err != nil {
		return err
	}
	for _, f := range u.after {
		f()
	}
	return refused
}

// After has f called once what ctx's [DB.Together] does is durable, and never
// if it is undone; outside of one, now. Sessions are ended by it: one that is
// opened before the commit would still find its right in the store.
func (db *DB) After(ctx context.Context, f func()) {
	u := db.unit(ctx)
	if u == nil {
		f()
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.after = append(u.after, f)
}

// step runs f within the unit; an error undoes what f did, and no more.
func (u *unit) step(ctx context.Context, f func(*transaction) error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, err := u.tx.ExecContext(ctx, "SAVEPOINT step"); err != nil {
		return fmt.Errorf("store: begin: %w", err)
	}
	if err := f(u.tx); err != nil {
		// The latest of that name is meant, and stays; the transaction ends it.
		_, undo := u.tx.ExecContext(context.WithoutCancel(ctx), "ROLLBACK TO SAVEPOINT step")
		return errors.Join(err, undo)
	}
	if _, err := u.tx.ExecContext(ctx, "RELEASE SAVEPOINT step"); err != nil {
		return fmt.Errorf("store: commit: %w", err)
	}
	return nil
}

// querier is what is read from.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// from is where a context reads: in its unit, which sees its own writes, or else
// what is committed.
func (db *DB) from(ctx context.Context) querier {
	if u := db.unit(ctx); u != nil {
		return u.tx
	}
	return db.read
}

// keepEntries keeps entries for the audit log, in the transaction of their act.
func keepEntries(ctx context.Context, tx *transaction, entries []postern.AuditEntry) error {
	for i, e := range entries {
		text, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("%w: %w", postern.ErrUnaudited, err)
		}
		// Entries of one act have one time; the id keeps their order.
		id := fmt.Sprintf("%04d%s", i, rand.Text())
		if _, err := tx.ExecContext(ctx, "INSERT INTO audit_outbox (id, time, entry) VALUES ($1, $2, $3)", id, micros(e.Time), string(text)); err != nil {
			return fmt.Errorf("%w: %w", postern.ErrUnaudited, err)
		}
	}
	return nil
}
