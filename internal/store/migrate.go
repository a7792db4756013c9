package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrateTries is how often a migration is tried when another process, which
// opened the store at the same moment, may be running the same one.
const migrateTries = 5

// migrate brings the schema up to date, or refuses one from the future.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for try := 1; ; try++ {
		if err = up(ctx, db, dialect, files); err == nil || try == migrateTries || ctx.Err() != nil {
			return err
		}
	}
}

func up(ctx context.Context, db *sql.DB, dialect goose.Dialect, files fs.FS) error {
	provider, err := goose.NewProvider(dialect, db, files)
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	have, newest, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("store: read the schema's version: %w", err)
	}
	if have > newest {
		return fmt.Errorf("store: its schema has version %d, and this program knows up to %d: "+
			"run the newer postern that made it, or restore a backup from before the upgrade", have, newest)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("store: migrate from version %d: %w", have, err)
	}
	return nil
}
