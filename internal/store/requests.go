package store

import (
	"context"
	"fmt"

	"postern"
)

// AddShadows adds to the counts of what rules in shadow mode would have done,
// all or nothing.
func (db *DB) AddShadows(ctx context.Context, counts []postern.ShadowCount) error {
	return db.tx(ctx, func(tx *transaction) error {
		for i := range counts {
			c := &counts[i]
			_, err := tx.ExecContext(ctx, `INSERT INTO shadows
				(rule, verdict, resource, identity, kind, verb, commands, first_at, last_at, last_session, last_n)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
				ON CONFLICT (rule, verdict, resource, kind, identity, verb) DO UPDATE SET
				commands = shadows.commands + excluded.commands, last_at = excluded.last_at,
				last_session = excluded.last_session, last_n = excluded.last_n`,
				c.Rule, c.Verdict.String(), c.Resource, c.Identity, c.Kind, c.Verb, c.Commands, micros(c.FirstAt), micros(c.LastAt), c.Session, c.N)
			if err != nil {
				return found(err, "count shadows")
			}
		}
		return nil
	})
}

// Shadows returns what rules in shadow mode would have done, latest first. An
// empty rule is any.
func (db *DB) Shadows(ctx context.Context, rule string, limit int) ([]postern.ShadowCount, error) {
	var q query
	if rule != "" {
		q.add("rule = $?", rule)
	}
	rows, err := db.from(ctx).QueryContext(ctx, q.text(`SELECT rule, verdict, resource, identity, kind, verb, commands, first_at, last_at,
		last_session, last_n FROM shadows`, fmt.Sprintf(" ORDER BY last_at DESC, rule, resource, identity, verb LIMIT %d", limited(limit))), q.args...)
	if err != nil {
		return nil, found(err, "shadows")
	}
	all, err := collect(rows, func(r row) (postern.ShadowCount, error) {
		var c postern.ShadowCount
		var verdict string
		var first, last int64
		err := r.Scan(&c.Rule, &verdict, &c.Resource, &c.Identity, &c.Kind, &c.Verb, &c.Commands, &first, &last, &c.Session, &c.N)
		if err == nil {
			err = c.Verdict.UnmarshalText([]byte(verdict))
		}
		c.FirstAt, c.LastAt = fromMicros(first), fromMicros(last)
		return c, err
	})
	return all, found(err, "shadows")
}

// AccessUse says how often each access opened a session on each resource, and
// when it did so last.
func (db *DB) AccessUse(ctx context.Context) ([]postern.AccessUse, error) {
	rows, err := db.from(ctx).QueryContext(ctx, `SELECT access, resource, COUNT(*), MAX(started_at) FROM sessions
		WHERE access <> '' GROUP BY access, resource ORDER BY access, resource`)
	if err != nil {
		return nil, found(err, "use of accesses")
	}
	all, err := collect(rows, func(r row) (postern.AccessUse, error) {
		var u postern.AccessUse
		var last int64
		err := r.Scan(&u.Access, &u.Resource, &u.Sessions, &last)
		u.LastAt = fromMicros(last)
		return u, err
	})
	return all, found(err, "use of accesses")
}
