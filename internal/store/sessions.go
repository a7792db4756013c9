package store

import (
	"context"
	"fmt"

	"postern"
)

const sessionColumns = `id, identity, kind, actor, resource, protocol, database, token, access, source, client,
	started_at, ended_at, commands, denied, masked_values, end_reason, digest, login, grant_id`

func scanSession(r row) (postern.SessionInfo, error) {
	var s postern.SessionInfo
	var started, ended int64
	err := r.Scan(&s.ID, &s.Identity, &s.Kind, &s.Actor, &s.Resource, &s.Protocol, &s.Database, &s.Token, &s.Access,
		&s.Source, &s.Client, &started, &ended, &s.Commands, &s.Denied, &s.MaskedValues, &s.EndReason, &s.Digest, &s.Login, &s.Grant)
	s.StartedAt, s.EndedAt = fromMicros(started), fromMicros(ended)
	return s, err
}

// PutSession adds a session, or updates what changes in one: its database, its
// counters and its end. A session that has ended stays ended.
func (db *DB) PutSession(ctx context.Context, s postern.SessionInfo) error {
	err := db.tx(ctx, func(tx *transaction) error { return putSession(ctx, tx, &s) })
	return found(err, "put session "+s.ID)
}

func putSession(ctx context.Context, to executor, s *postern.SessionInfo) error {
	_, err := to.ExecContext(ctx, `INSERT INTO sessions (`+sessionColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
		ON CONFLICT (id) DO UPDATE SET database = excluded.database, ended_at = excluded.ended_at,
		commands = excluded.commands, denied = excluded.denied, masked_values = excluded.masked_values,
		end_reason = excluded.end_reason, digest = excluded.digest
		WHERE sessions.ended_at = 0 OR excluded.ended_at <> 0`,
		s.ID, s.Identity, s.Kind, s.Actor, s.Resource, s.Protocol, s.Database, s.Token, s.Access, s.Source, s.Client,
		micros(s.StartedAt), micros(s.EndedAt), s.Commands, s.Denied, s.MaskedValues, s.EndReason, s.Digest, s.Login, s.Grant)
	return err
}

// Session returns one session.
func (db *DB) Session(ctx context.Context, id string) (postern.SessionInfo, error) {
	s, err := scanSession(db.row(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE id = $1", id))
	return s, found(err, "session")
}

// Sessions returns the sessions that a filter picks, newest first.
func (db *DB) Sessions(ctx context.Context, f postern.SessionFilter) ([]postern.SessionInfo, error) {
	var q query
	if f.Identity != "" {
		q.add("identity = $?", f.Identity)
	}
	if f.Resource != "" {
		q.add("resource = $?", f.Resource)
	}
	if f.Live != nil && *f.Live {
		q.add("ended_at = 0")
	}
	if f.Live != nil && !*f.Live {
		q.add("ended_at <> 0")
	}
	if f.Before != "" {
		q.add("(started_at, id) < (SELECT c.started_at, c.id FROM sessions c WHERE c.id = $?)", f.Before)
	}
	return db.sessions(ctx, q, fmt.Sprintf(" ORDER BY started_at DESC, id DESC LIMIT %d", limited(f.Limit)))
}

// UnfinishedSessions returns every session without an end, oldest first: the
// live ones, and after a crash those whose end was never written.
func (db *DB) UnfinishedSessions(ctx context.Context) ([]postern.SessionInfo, error) {
	var q query
	q.add("ended_at = 0")
	return db.sessions(ctx, q, " ORDER BY started_at, id")
}

func (db *DB) sessions(ctx context.Context, q query, order string) ([]postern.SessionInfo, error) {
	rows, err := db.from(ctx).QueryContext(ctx, q.text("SELECT "+sessionColumns+" FROM sessions", order), q.args...)
	if err != nil {
		return nil, found(err, "sessions")
	}
	all, err := collect(rows, scanSession)
	return all, found(err, "sessions")
}
