package store

import (
	"context"
	"time"

	"postern"
)

// PutFactor adds a person's factor of a kind, in place of the one that they had.
func (db *DB) PutFactor(ctx context.Context, f postern.Factor) error {
	_, err := db.exec(ctx, `INSERT INTO factors (account, kind, sealed, confirmed, last_step, created_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (account, kind) DO UPDATE SET sealed = excluded.sealed, confirmed = excluded.confirmed,
		last_step = excluded.last_step, created_at = excluded.created_at`,
		f.Account, f.Kind, f.Sealed, bit(f.Confirmed), f.LastStep, micros(f.CreatedAt))
	return found(err, "put factor")
}

// Factors returns a person's factors.
func (db *DB) Factors(ctx context.Context, account string) ([]postern.Factor, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT account, kind, sealed, confirmed, last_step, created_at FROM factors WHERE account = $1 ORDER BY kind", account)
	if err != nil {
		return nil, found(err, "factors")
	}
	all, err := collect(rows, func(r row) (postern.Factor, error) {
		var f postern.Factor
		var created int64
		err := r.Scan(&f.Account, &f.Kind, &f.Sealed, &f.Confirmed, &f.LastStep, &created)
		f.CreatedAt = fromMicros(created)
		return f, err
	})
	return all, found(err, "factors")
}

// UseFactor takes a code of a time step, which must be later than that of every
// code before, and confirms the factor. Of two that race, one is
// [postern.ErrNotFound].
func (db *DB) UseFactor(ctx context.Context, account, kind, sealed string, step int64) error {
	n, err := db.exec(ctx, `UPDATE factors SET last_step = $4, confirmed = 1
		WHERE account = $1 AND kind = $2 AND sealed = $3 AND last_step < $4`, account, kind, sealed, step)
	return touched(n, err, "use factor")
}

// DeleteFactors removes a person's factors, and says how many they were.
func (db *DB) DeleteFactors(ctx context.Context, account string) (int, error) {
	n, err := db.exec(ctx, "DELETE FROM factors WHERE account = $1", account)
	return n, found(err, "delete factors")
}

const breakGlassColumns = "id, account, hash, source, created_at, expires_at, confirmed_by, used_at"

// AddBreakGlass adds a login that waits for its second person.
func (db *DB) AddBreakGlass(ctx context.Context, b postern.BreakGlassLogin) error {
	_, err := db.exec(ctx, "INSERT INTO break_glass_logins ("+breakGlassColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		b.ID, b.Account, b.Hash, b.Source, micros(b.CreatedAt), micros(b.ExpiresAt), b.ConfirmedBy, micros(b.UsedAt))
	return found(err, "add break-glass login")
}

func scanBreakGlass(r row) (postern.BreakGlassLogin, error) {
	var b postern.BreakGlassLogin
	var created, expires, used int64
	err := r.Scan(&b.ID, &b.Account, &b.Hash, &b.Source, &created, &expires, &b.ConfirmedBy, &used)
	b.CreatedAt, b.ExpiresAt, b.UsedAt = fromMicros(created), fromMicros(expires), fromMicros(used)
	return b, err
}

// BreakGlass returns one of them.
func (db *DB) BreakGlass(ctx context.Context, id string) (postern.BreakGlassLogin, error) {
	b, err := scanBreakGlass(db.row(ctx, "SELECT "+breakGlassColumns+" FROM break_glass_logins WHERE id = $1", id))
	return b, found(err, "break-glass login")
}

// BreakGlassByHash returns the one whose secret has this hash.
func (db *DB) BreakGlassByHash(ctx context.Context, hash string) (postern.BreakGlassLogin, error) {
	b, err := scanBreakGlass(db.row(ctx, "SELECT "+breakGlassColumns+" FROM break_glass_logins WHERE hash = $1", hash))
	return b, found(err, "break-glass login")
}

// ConfirmBreakGlass notes its second person, once, while it waits.
func (db *DB) ConfirmBreakGlass(ctx context.Context, id, by string, now time.Time) error {
	n, err := db.exec(ctx, `UPDATE break_glass_logins SET confirmed_by = $2
		WHERE id = $1 AND confirmed_by = '' AND account <> $2 AND expires_at > $3`, id, by, micros(now))
	return touched(n, err, "confirm break-glass login")
}

// UseBreakGlass takes it up, once, when it was confirmed.
func (db *DB) UseBreakGlass(ctx context.Context, id string, now time.Time) error {
	n, err := db.exec(ctx, `UPDATE break_glass_logins SET used_at = $2
		WHERE id = $1 AND confirmed_by <> '' AND used_at = 0 AND expires_at > $2`, id, micros(now))
	return touched(n, err, "use break-glass login")
}

// DeleteExpiredBreakGlass forgets those that nobody can take up any more.
func (db *DB) DeleteExpiredBreakGlass(ctx context.Context, before time.Time) (int, error) {
	n, err := db.exec(ctx, "DELETE FROM break_glass_logins WHERE expires_at < $1", micros(before))
	return n, found(err, "delete expired break-glass logins")
}
