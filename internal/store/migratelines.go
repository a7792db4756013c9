package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"

	"github.com/pressly/goose/v3"
)

// programs are the migrations that SQL can't do.
func programs() []*goose.Migration {
	return []*goose.Migration{
		goose.NewGoMigration(71, &goose.GoFunc{RunTx: addPacked}, &goose.GoFunc{RunTx: dropPacked}),
	}
}

// addPacked makes room for lines that are compressed, and for hashes as bytes:
// both were most of what the audit log wrote. Rows that are there stay as they
// are, however many: a row has one form or the other.
//
// BYTEA is PostgreSQL's word; SQLite keeps bytes in a column of any type.
func addPacked(ctx context.Context, tx *sql.Tx) error {
	return each(ctx, tx,
		"ALTER TABLE audit_batches ADD COLUMN packed BYTEA", // NULL: lines has them
		"ALTER TABLE audit_hashes ADD COLUMN raw BYTEA",     // NULL: hashes has them
	)
}

// dropPacked writes all rows in the form of before.
func dropPacked(ctx context.Context, tx *sql.Tx) error {
	err := rewrite(ctx, tx, "SELECT first, packed FROM audit_batches WHERE packed IS NOT NULL ORDER BY first LIMIT 64",
		"UPDATE audit_batches SET lines = $2, packed = NULL WHERE first = $1", func(packed []byte) (string, error) {
			lines, err := unpackLines(packed)
			return string(lines), err
		})
	if err != nil {
		return fmt.Errorf("lines of the audit log: %w", err)
	}
	err = rewrite(ctx, tx, "SELECT idx, raw FROM audit_hashes WHERE raw IS NOT NULL ORDER BY idx LIMIT 64",
		"UPDATE audit_hashes SET hashes = $2, raw = NULL WHERE idx = $1", func(raw []byte) (string, error) {
			return hex.EncodeToString(raw), nil
		})
	if err != nil {
		return fmt.Errorf("hashes of the audit log: %w", err)
	}
	return each(ctx, tx, "ALTER TABLE audit_batches DROP COLUMN packed", "ALTER TABLE audit_hashes DROP COLUMN raw")
}

func each(ctx context.Context, tx *sql.Tx, statements ...string) error {
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// rewrite updates what a query picks, a key and bytes, until it picks nothing.
func rewrite(ctx context.Context, tx *sql.Tx, picked, update string, change func([]byte) (string, error)) error {
	type keyed struct {
		key   int64
		value []byte
	}
	for {
		rows, err := tx.QueryContext(ctx, picked)
		if err != nil {
			return err
		}
		all, err := collect(rows, func(r row) (keyed, error) {
			var one keyed
			err := r.Scan(&one.key, &one.value)
			return one, err
		})
		if err != nil || len(all) == 0 {
			return err
		}
		for _, one := range all {
			text, err := change(one.value)
			if err != nil {
				return fmt.Errorf("row %d: %w", one.key, err)
			}
			if _, err := tx.ExecContext(ctx, update, one.key, text); err != nil {
				return err
			}
		}
	}
}
