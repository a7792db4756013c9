package store

import (
	"context"
	"database/sql"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/pressly/goose/v3"
)

// OpenPostgreSQL opens a store in PostgreSQL, as a second engine would: with the
// same SQL, and nothing of its own but how a transaction takes the write lock. It shows that the SQL is portable; what
// a gateway needs beyond that is not built.
func OpenPostgreSQL(ctx context.Context, dsn string) (*DB, error) {
	pool, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, err
	}
	db := &DB{read: pool, write: pool, begin: "BEGIN", lock: "SELECT pg_advisory_xact_lock(7022364302)"}
	return db, migrate(ctx, pool, goose.DialectPostgres)
}

// Down takes the schema back to a version.
func Down(dialect goose.Dialect) func(ctx context.Context, db *DB, version int64) error {
	return func(ctx context.Context, db *DB, version int64) error {
		p, err := provider(db.write, dialect)
		if err != nil {
			return err
		}
		_, err = p.DownTo(ctx, version)
		return err
	}
}

// Raw is the pool that a store writes by.
func Raw(db *DB) *sql.DB { return db.write }
