package store

import (
	"context"

	"postern"
)

func scanObject(r row) (postern.StoredObject, error) {
	var o postern.StoredObject
	var updated int64
	err := r.Scan(&o.Kind, &o.Name, &o.YAML, &o.UpdatedBy, &updated)
	o.UpdatedAt = fromMicros(updated)
	return o, err
}

// PutObjects adds or replaces objects and removes others, all or nothing. An
// object to be removed that isn't there is no error.
func (db *DB) PutObjects(ctx context.Context, put []postern.StoredObject, remove []postern.ObjectKey) error {
	return db.tx(ctx, func(tx *transaction) error {
		for _, k := range remove {
			if _, err := tx.ExecContext(ctx, "DELETE FROM objects WHERE kind = $1 AND name = $2", k.Kind, k.Name); err != nil {
				return found(err, "delete object "+k.Kind+"/"+k.Name)
			}
		}
		for _, o := range put {
			_, err := tx.ExecContext(ctx, `INSERT INTO objects (kind, name, yaml, updated_by, updated_at) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (kind, name) DO UPDATE SET yaml = excluded.yaml, updated_by = excluded.updated_by,
				updated_at = excluded.updated_at`, o.Kind, o.Name, o.YAML, o.UpdatedBy, micros(o.UpdatedAt))
			if err != nil {
				return found(err, "put object "+o.Kind+"/"+o.Name)
			}
		}
		return nil
	})
}

// Objects returns every object that was applied through the API, by kind and name.
func (db *DB) Objects(ctx context.Context) ([]postern.StoredObject, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT kind, name, yaml, updated_by, updated_at FROM objects ORDER BY kind, name")
	if err != nil {
		return nil, found(err, "objects")
	}
	all, err := collect(rows, scanObject)
	return all, found(err, "objects")
}
