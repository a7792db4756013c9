package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// transaction is a connection on which one has begun. It isn't database/sql's: of
// those each begins, ends and looks for its context's end by goroutines, and has
// BEGIN and COMMIT parsed anew, which took longer than what most of ours do.
// Between its statements it minds its context; one that runs isn't broken off.
type transaction struct{ conn *sql.Conn }

// ExecContext runs a statement.
func (t *transaction) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.conn.ExecContext(ctx, query, args...)
}

// QueryContext reads rows.
func (t *transaction) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.conn.QueryContext(ctx, query, args...)
}

// row reads one row.
func (t *transaction) row(ctx context.Context, query string, args ...any) row {
	if err := ctx.Err(); err != nil {
		return failedRow{err}
	}
	return t.conn.QueryRowContext(context.WithoutCancel(ctx), query, args...)
}

// beginTx begins a transaction that holds the write lock.
func (db *DB) beginTx(ctx context.Context) (*transaction, error) {
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: begin: %w", err)
	}
	t := &transaction{conn}
	if _, err := conn.ExecContext(ctx, db.begin); err != nil {
		return nil, errors.Join(fmt.Errorf("store: begin: %w", err), t.rollback())
	}
	if db.lock != "" {
		if _, err := conn.ExecContext(ctx, db.lock); err != nil {
			return nil, errors.Join(fmt.Errorf("store: lock: %w", err), t.rollback())
		}
	}
	return t, nil
}

// commit ends it. After an error nothing of it stays, or nobody can say.
func (t *transaction) commit(ctx context.Context) error {
	if _, err := t.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return errors.Join(fmt.Errorf("store: commit: %w", err), t.rollback())
	}
	return t.conn.Close()
}

// rollback undoes it. A connection of which nobody can say how far it is, is
// given up: that undoes all.
func (t *transaction) rollback() error {
	if _, err := t.conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
		if err := t.conn.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(err, driver.ErrBadConn) {
			return fmt.Errorf("store: roll back: %w", err)
		}
		return nil
	}
	return t.conn.Close()
}

// row reads one row where its context reads. It waits for a connection as long as
// the context lasts; what finds one row isn't broken off, and takes no goroutine.
func (db *DB) row(ctx context.Context, query string, args ...any) row {
	if u := db.unit(ctx); u != nil {
		return u.tx.row(ctx, query, args...)
	}
	conn, err := db.read.Conn(ctx)
	if err != nil {
		return failedRow{err}
	}
	return &ownRow{row: conn.QueryRowContext(context.WithoutCancel(ctx), query, args...), conn: conn}
}

// ownRow is a row with its connection, which Scan gives back.
type ownRow struct {
	row  *sql.Row
	conn *sql.Conn
}

func (r *ownRow) Scan(dest ...any) error {
	return errors.Join(r.row.Scan(dest...), r.conn.Close())
}

// failedRow is one that couldn't be asked for.
type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }
