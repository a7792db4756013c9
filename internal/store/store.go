// Package store keeps what must outlive the process: accounts, tokens, the
// lists of sessions and reviews, objects applied through the API, and small
// sealed values. One [DB] serves every consumer; each declares the few methods
// that it calls.
//
// One SQL text serves SQLite and PostgreSQL ($1 parameters, upsert, returning,
// times as microseconds). This build opens SQLite; the contract suite in
// storetest is what a second engine has to pass, and a test runs it with the
// same SQL over a PostgreSQL server.
//
// Nothing here is a secret in clear: tokens and keys come hashed, passwords as
// argon2id, credentials sealed.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// DB is the store. Its methods may be called from many goroutines, and by
// several processes on one store. A write that returned nil survives a crash
// of the machine.
type DB struct {
	read  *sql.DB // several connections, for queries
	write *sql.DB // one connection: every transaction begins as a writer
	path  string  // of SQLite's file
	begin string  // begins a transaction
	lock  string  // takes the write lock in one, where beginning it doesn't

	packers sync.Pool // of *auditPacker
}

// Open opens the store at url, brings its schema up to date, and returns it.
// "sqlite" is the file postern.db in the folder dir, which is made when it is
// missing. A store whose schema is newer than this program is refused. The
// caller closes it.
func Open(ctx context.Context, url, dir string) (*DB, error) {
	switch {
	case url == "" || url == "sqlite":
		return openSQLite(ctx, dir)
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		return nil, errors.New(`store: this build keeps its store in SQLite only; set store.url to "sqlite"`)
	default:
		return nil, errors.New(`store: store.url names no known engine; set it to "sqlite"`)
	}
}

// Close waits for running queries and closes the store.
func (db *DB) Close() error {
	return errors.Join(db.read.Close(), db.write.Close())
}

// Ping says whether the store answers.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	if err := db.row(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// tx runs f in a transaction that holds the write lock from its start, so that
// what f reads stays true until it commits. An error from f undoes everything.
// Within a unit it is a step of that.
func (db *DB) tx(ctx context.Context, f func(*transaction) error) error {
	if u := db.unit(ctx); u != nil {
		return u.step(ctx, f)
	}
	tx, err := db.beginTx(ctx)
	if err != nil {
		return err
	}
	over := false
	defer func() {
		if !over { // f has panicked
			_ = tx.rollback() // what is wrong is known
		}
	}()
	err = f(tx)
	over = true
	if err != nil {
		return errors.Join(err, tx.rollback())
	}
	return tx.commit(ctx)
}

// exec runs one writing statement by itself and says how many rows it touched.
func (db *DB) exec(ctx context.Context, query string, args ...any) (int, error) {
	if u := db.unit(ctx); u != nil {
		var n int
		err := u.step(ctx, func(tx *transaction) (err error) {
			n, err = exec(ctx, tx, query, args...)
			return err
		})
		return n, err
	}
	return exec(ctx, db.write, query, args...)
}

// executor is a transaction, or a connection.
type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func exec(ctx context.Context, to executor, query string, args ...any) (int, error) {
	res, err := to.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// row is what *sql.Row and *sql.Rows have in common.
type row interface{ Scan(dest ...any) error }

// collect reads every row of a query.
func collect[T any](rows *sql.Rows, scan func(row) (T, error)) ([]T, error) {
	all := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		all = append(all, v)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}

// micros is how a time is stored; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros is the stored time, in UTC.
func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// bit is how yes and no are stored.
func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// limited bounds a page.
func limited(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return min(n, maxLimit)
}

// query puts a list's WHERE together. Conditions hold the parameter's place as "$?".
type query struct {
	where []string
	args  []any
}

func (q *query) add(condition string, args ...any) {
	for _, a := range args {
		q.args = append(q.args, a)
		condition = strings.Replace(condition, "$?", fmt.Sprintf("$%d", len(q.args)), 1)
	}
	q.where = append(q.where, condition)
}

// text is the whole query: what is selected, the conditions, and order and limit.
func (q *query) text(selected, order string) string { return selected + q.String() + order }

func (q *query) String() string {
	if len(q.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(q.where, " AND ")
}
