package store

import "context"

// PutMeta keeps a small value under a name. Secrets are sealed before they come here.
func (db *DB) PutMeta(ctx context.Context, name, value string) error {
	_, err := db.exec(ctx, `INSERT INTO meta (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return found(err, "put meta "+name)
}

// AddMeta keeps a value under a name unless there is one already, and returns
// the one that is kept: of several processes that start at once all get the same.
func (db *DB) AddMeta(ctx context.Context, name, value string) (string, error) {
	if _, err := db.exec(ctx, "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", name, value); err != nil {
		return "", found(err, "add meta "+name)
	}
	return db.Meta(ctx, name)
}

// Meta returns the value kept under a name.
func (db *DB) Meta(ctx context.Context, name string) (string, error) {
	var value string
	err := db.row(ctx, "SELECT value FROM meta WHERE name = $1", name).Scan(&value)
	return value, found(err, "meta "+name)
}

// MetaNames returns the names of values that begin with a text, in which no
// character is one of LIKE's own, in order.
func (db *DB) MetaNames(ctx context.Context, prefix string) ([]string, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT name FROM meta WHERE name LIKE $1 ORDER BY name", prefix+"%")
	if err != nil {
		return nil, found(err, "names of meta")
	}
	all, err := collect(rows, func(r row) (name string, err error) { return name, r.Scan(&name) })
	return all, found(err, "names of meta")
}

// DeleteMeta forgets a value. One that isn't there is no error.
func (db *DB) DeleteMeta(ctx context.Context, name string) error {
	_, err := db.exec(ctx, "DELETE FROM meta WHERE name = $1", name)
	return found(err, "delete meta "+name)
}

// PutSealed keeps a sealed secret under a name, in place of an earlier one.
func (db *DB) PutSealed(ctx context.Context, name, ciphertext string) error {
	_, err := db.exec(ctx, `INSERT INTO sealed (name, ciphertext) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET ciphertext = excluded.ciphertext`, name, ciphertext)
	return found(err, "put sealed secret "+name)
}

// Sealed returns the sealed secret kept under a name.
func (db *DB) Sealed(ctx context.Context, name string) (string, error) {
	var ciphertext string
	err := db.row(ctx, "SELECT ciphertext FROM sealed WHERE name = $1", name).Scan(&ciphertext)
	return ciphertext, found(err, "sealed secret "+name)
}

// SealedNames returns the names of the sealed secrets, in order.
func (db *DB) SealedNames(ctx context.Context) ([]string, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT name FROM sealed ORDER BY name")
	if err != nil {
		return nil, found(err, "sealed secrets")
	}
	all, err := collect(rows, func(r row) (string, error) {
		var name string
		err := r.Scan(&name)
		return name, err
	})
	return all, found(err, "sealed secrets")
}

// DeleteSealed removes a sealed secret.
func (db *DB) DeleteSealed(ctx context.Context, name string) error {
	n, err := db.exec(ctx, "DELETE FROM sealed WHERE name = $1", name)
	return touched(n, err, "delete sealed secret "+name)
}
