package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // in Go: no C compiler, no shared library
)

// readers is how many queries run at once; writers are one at a time.
const readers = 4

// openSQLite opens dir/postern.db. The file is for its owner alone, and so are
// the -wal and -shm files beside it, which SQLite makes with the same mode.
func openSQLite(ctx context.Context, dir string) (*DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	path, err := filepath.Abs(filepath.Join(dir, "postern.db"))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	// A restored backup may have come with a wider mode.
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	db := &DB{path: path, begin: "BEGIN IMMEDIATE"}
	if db.write, err = openPool(path, 1, url.Values{"_txlock": {"immediate"}}); err != nil {
		return nil, err
	}
	if err := migrate(ctx, db.write, goose.DialectSQLite3); err != nil {
		return nil, errors.Join(err, db.write.Close())
	}
	if db.read, err = openPool(path, readers, url.Values{"_query_only": {"1"}}); err != nil {
		return nil, errors.Join(err, db.write.Close())
	}
	return db, nil
}

// openPool opens connections to one file. synchronous is FULL: in WAL mode
// NORMAL would let the machine's crash undo a commit, and a revocation or a
// spent approval that was acknowledged must not come back. Each commit
// therefore costs one fsync.
func openPool(path string, conns int, extra url.Values) (*sql.DB, error) {
	q := url.Values{
		"_busy_timeout": {"10000"},
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"1"},
		// KiB for each connection: the system keeps the file's pages, too.
		"_pragma": {"cache_size(-256)"},
	}
	for k, v := range extra {
		q[k] = v
	}
	connector, err := sqlite.NewConnector("file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() + "?" + q.Encode())
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	pool := sql.OpenDB(preparing{connector})
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return pool, nil
}

// Backup writes a consistent copy of the store to path, which must not exist,
// while the store stays in use. The copy is for its owner alone.
func (db *DB) Backup(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("store: back up: %w", err)
	}
	// A connection of its own: it reads one snapshot, and writers go on.
	pool, err := openPool(db.path, 1, nil)
	if err == nil {
		_, err = pool.ExecContext(ctx, "VACUUM INTO $1", path)
		err = errors.Join(err, pool.Close())
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("store: back up: %w", err), os.Remove(path))
	}
	return nil
}
