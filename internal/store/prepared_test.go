package store

import (
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
