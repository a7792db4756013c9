package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"

	"postern"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

func open(t *testing.T, dir string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestSQLite(t *testing.T) {
	dirs := map[*store.DB]string{}
	var mu sync.Mutex
	storetest.Run(t, storetest.Engine{
		Open: func(t *testing.T) *store.DB {
			dir := t.TempDir()
			db := open(t, dir)
			mu.Lock()
			defer mu.Unlock()
			dirs[db] = dir
			return db
		},
		Down: store.Down(goose.DialectSQLite3), Raw: store.Raw,
		Again: func(t *testing.T, db *store.DB) *store.DB {
			mu.Lock()
			defer mu.Unlock()
			return open(t, dirs[db])
		},
	})
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"postgres://user:hunter2@db/x", "mysql://user:hunter2@db/x", "sqlite3"} {
		_, err := store.Open(t.Context(), url, t.TempDir())
		if err == nil || !strings.Contains(err.Error(), `"sqlite"`) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with ? and # and %41")
	db := open(t, dir)
	if err := db.PutMeta(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 { // the database, its log and the log's index
		t.Errorf("%d files", len(files))
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(f.Name(), "postern.db") || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
}

func TestModeIsTightened(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "postern.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func raw(t *testing.T, dir, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "postern.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), "sqlite", dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw(t, dir, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
	_, err = store.Open(t.Context(), "sqlite", dir)
	if err == nil || !strings.Contains(err.Error(), "version 9999") || !strings.Contains(err.Error(), "newer postern") {
		t.Fatal(err)
	}
}

func TestNotADatabase(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "postern.db"), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), "sqlite", dir); err == nil {
		t.Fatal("opened")
	}
}

// Several processes that start at once on a new folder all come up.
func TestOpenTogether(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			db, err := store.Open(context.WithoutCancel(t.Context()), "sqlite", dir)
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestBackup(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	db := open(t, t.TempDir())
	if err := db.PutMeta(ctx, "k", "before"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "postern.db")
	if err := db.Backup(ctx, path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := db.PutMeta(ctx, "k", "after"); err != nil {
		t.Fatal(err)
	}
	restored := open(t, dir)
	if v, err := restored.Meta(ctx, "k"); v != "before" || err != nil {
		t.Errorf("restored %q, %v", v, err)
	}
	if err := db.Backup(ctx, path); !errors.Is(err, os.ErrExist) {
		t.Errorf("overwrote a file: %v", err)
	}
}

// A store that is closed answers with an error that is no ErrNotFound.
func TestClosedStoreSaysSo(t *testing.T) {
	db, err := store.Open(t.Context(), "sqlite", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db.Ping(t.Context()) == nil {
		t.Error("a closed store answers")
	}
	if _, err := db.Account(t.Context(), postern.User, "x"); err == nil || errors.Is(err, postern.ErrNotFound) {
		t.Errorf("a closed store says %v: a caller would take the account for missing", err)
	}
}

func BenchmarkUseToken(b *testing.B) {
	db, err := store.Open(b.Context(), "sqlite", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tk := postern.Token{ID: "t", Hash: "h"}
	tk.CreatedAt = tk.CreatedAt.AddDate(2000, 0, 0)
	tk.ExpiresAt = tk.CreatedAt.AddDate(1, 0, 0)
	if err := db.PutToken(b.Context(), tk); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := db.UseToken(b.Context(), tk.ID, tk.CreatedAt); err != nil {
			b.Fatal(err)
		}
	}
}
