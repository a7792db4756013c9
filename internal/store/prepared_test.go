package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

// A statement that is kept answers anew each time: while rows of it are being read,
// after its table has changed, after it failed, and with other values.
func TestKeptStatements(t *testing.T) {
	pool, err := openPool(filepath.Join(t.TempDir(), "test.db"), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	c, err := pool.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	exec := func(text string, args ...any) error {
		t.Helper()
		_, err := c.ExecContext(ctx, text, args...)
		return err
	}
	if err := exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	const insert = "INSERT INTO t (id, v) VALUES ($1, $2)"
	for i, v := range []any{"a", nil, "b", "b"} {
		if err := exec(insert, i, v); (err != nil) != (v == nil) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if exec(insert, 3, "c") == nil {
		t.Error("a key was taken twice")
	}
	const read = "SELECT id, v FROM t WHERE id >= $1 ORDER BY id"
	count := func(from int) (n int) {
		t.Helper()
		rows, err := c.QueryContext(ctx, read, from)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			n++
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	outer, err := c.QueryContext(ctx, read, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = outer.Close() }()
	seen := 0
	for outer.Next() {
		seen++
		if n := count(2); n != 2 {
			t.Errorf("%d rows within another reading", n)
		}
	}
	if err := outer.Close(); err != nil || outer.Err() != nil || seen != 3 {
		t.Errorf("%d rows, %v, %v", seen, err, outer.Err())
	}
	if err := exec("ALTER TABLE t RENAME TO old"); err != nil {
		t.Fatal(err)
	}
	if err := exec("CREATE TABLE t (id INTEGER, v INTEGER, w INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if n := count(0); n != 0 {
		t.Errorf("%d rows of a table that is another by now", n)
	}
	if err := exec(insert, 7, 8); err != nil {
		t.Error(err)
	}
	if n := count(7); n != 1 {
		t.Errorf("%d rows", n)
	}
	for _, err := range []error{c.Close(), pool.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

// What a transaction did is there after its commit and in no other case: not after
// an error, a panic, or the end of its context, and none of them leaves it open on
// the connection that the next one uses.
func TestTransactionsEnd(t *testing.T) {
	db, err := Open(t.Context(), "sqlite", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put := func(ctx context.Context, tx *transaction, name string) {
		t.Helper()
		if _, err := tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ($1, '')", name); err != nil {
			t.Error(err)
		}
	}
	isThere := func(name string, want bool) {
		t.Helper()
		if _, err := db.Meta(t.Context(), name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	works := func(name string) {
		t.Helper()
		err := db.tx(t.Context(), func(tx *transaction) error { put(t.Context(), tx, name); return nil })
		if err != nil {
			t.Error(err)
		}
		isThere(name, true)
	}
	works("first")

	failed := errors.New("failed")
	if err := db.tx(t.Context(), func(tx *transaction) error { put(t.Context(), tx, "error"); return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	isThere("error", false)
	works("after an error")

	func() {
		defer func() { _ = recover() }()
		_ = db.tx(t.Context(), func(tx *transaction) error { put(t.Context(), tx, "panic"); panic("a bug") })
	}()
	isThere("panic", false)
	works("after a panic")

	ctx, cancel := context.WithCancel(t.Context())
	err = db.tx(ctx, func(tx *transaction) error { put(ctx, tx, "context"); cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	isThere("context", false)
	works("after its context")
	if err := db.tx(ctx, func(*transaction) error { t.Error("it began"); return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := db.row(ctx, "SELECT 1").Scan(new(int)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	// SQLite has undone it by itself: nobody is there to roll it back.
	err = db.tx(t.Context(), func(tx *transaction) error {
		put(t.Context(), tx, "lost")
		_, err := tx.ExecContext(t.Context(), "ROLLBACK")
		return err
	})
	if err == nil {
		t.Error("a transaction that is gone was committed")
	}
	isThere("lost", false)
	works("after one that was lost")
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
