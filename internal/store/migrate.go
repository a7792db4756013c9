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
	for try := 1; ; try++ {
		if err := up(ctx, db, dialect); err == nil || try == migrateTries || ctx.Err() != nil {
			return err
		}
	}
}

func up(ctx context.Context, db *sql.DB, dialect goose.Dialect) error {
	p, err := provider(db, dialect)
	if err != nil {
		return err
	}
	have, newest, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("store: read the schema's version: %w", err)
	}
	if have > newest {
		return fmt.Errorf("store: its schema has version %d, and this program knows up to %d: "+
			"run the newer postern that made it, or restore a backup from before the upgrade", have, newest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("store: migrate from version %d: %w", have, err)
	}
	return nil
}

// provider has all migrations.
func provider(db *sql.DB, dialect goose.Dialect) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	p, err := goose.NewProvider(dialect, db, files, goose.WithGoMigrations(programs()...))
	if err != nil {
		return nil, fmt.Errorf("store: migrations: %w", err)
	}
	return p, nil
}
