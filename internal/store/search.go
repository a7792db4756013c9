package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"postern"
)

// States of a recording in the index of commands.
const (
	searchOpen = iota
	searchDone
	searchDeleted
)

// SearchScopes returns every scope of which something was indexed.
func (db *DB) SearchScopes(ctx context.Context) ([]postern.SearchScope, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT resource, identity, kind, actor FROM search_scopes ORDER BY resource, identity, kind, actor")
	if err != nil {
		return nil, found(err, "scopes of the index of commands")
	}
	all, err := collect(rows, func(r row) (postern.SearchScope, error) {
		var s postern.SearchScope
		err := r.Scan(&s.Resource, &s.Identity, &s.Kind, &s.Actor)
		return s, err
	})
	return all, found(err, "scopes of the index of commands")
}

// SearchState says how far a session's recording is indexed; the zero state:
// nothing of it is.
func (db *DB) SearchState(ctx context.Context, session string) (postern.SearchState, error) {
	var s postern.SearchState
	var state int
	err := db.row(ctx, "SELECT next, state FROM search_recordings WHERE session = $1", session).Scan(&s.Next, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return s, nil
	}
	s.Done = state != searchOpen
	return s, found(err, "index of session "+session)
}

// Unsearched returns the ids of ended sessions whose recordings are not, or not
// wholly, indexed, newest first, from one that began before a session on
// ("": from the newest).
func (db *DB) Unsearched(ctx context.Context, before string, limit int) ([]string, error) {
	var q query
	q.add("ended_at <> 0 AND NOT EXISTS (SELECT 1 FROM search_recordings r WHERE r.session = sessions.id AND r.state <> 0)")
	if before != "" {
		q.add("(started_at, id) < (SELECT c.started_at, c.id FROM sessions c WHERE c.id = $?)", before)
	}
	rows, err := db.from(ctx).QueryContext(ctx, q.text("SELECT id FROM sessions", fmt.Sprintf(" ORDER BY started_at DESC, id DESC LIMIT %d", limited(limit))), q.args...)
	if err != nil {
		return nil, found(err, "sessions that aren't indexed")
	}
	all, err := collect(rows, func(r row) (string, error) {
		var id string
		err := r.Scan(&id)
		return id, err
	})
	return all, found(err, "sessions that aren't indexed")
}

// wordsAtOnce is how many words one statement adds.
const wordsAtOnce = 100

// PutSearchPart adds a part to the index, and says how far the recording is
// with it; a nil part only says so. The part's ID moves on to the next that is
// free. Of a recording that was deleted, or that was indexed from elsewhere
// since it was read up to from, nothing is added: added is false.
func (db *DB) PutSearchPart(ctx context.Context, scope postern.SearchScope, session, from string, part *postern.SearchPart, to postern.SearchState) (added bool, err error) {
	err = db.tx(ctx, func(tx *transaction) error {
		added, err = putSearchState(ctx, tx, session, from, to)
		if err != nil || !added || part == nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO search_scopes (resource, identity, kind, actor) VALUES ($1, $2, $3, $4)
			ON CONFLICT (resource, identity, kind, actor) DO NOTHING`, scope.Resource, scope.Identity, scope.Kind, scope.Actor); err != nil {
			return err
		}
		for {
			res, err := tx.ExecContext(ctx, `INSERT INTO search_parts (part, session, begins, first, last) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (part) DO NOTHING`, part.ID, session, part.From, part.First, part.Last)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n > 0 {
				return errors.Join(err, putSearchWords(ctx, tx, part))
			}
			part.ID++
		}
	})
	return added, found(err, "index commands of session "+session)
}

func putSearchState(ctx context.Context, tx *transaction, session, from string, to postern.SearchState) (bool, error) {
	state := searchOpen
	if to.Done {
		state = searchDone
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO search_recordings (session, next, state) VALUES ($1, $2, $3)
		ON CONFLICT (session) DO UPDATE SET next = excluded.next, state = excluded.state
		WHERE search_recordings.state = 0 AND search_recordings.next = $4`, session, to.Next, state, from)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func putSearchWords(ctx context.Context, tx *transaction, part *postern.SearchPart) error {
	for words := part.Words; len(words) > 0; {
		some := words[:min(len(words), wordsAtOnce)]
		words = words[len(some):]
		var values strings.Builder
		args := make([]any, 0, len(some)+1)
		args = append(args, part.ID)
		for i, w := range some {
			if i > 0 {
				values.WriteString(", ")
			}
			args = append(args, w)
			fmt.Fprintf(&values, "($%d, $1)", len(args))
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO search_words (word, part) VALUES "+values.String()+" ON CONFLICT (word, part) DO NOTHING", args...); err != nil { //nolint:gosec // numbers of parameters, and nothing else
			return err
		}
	}
	return nil
}

// ForgetCommands removes from the index all that was indexed of a session's
// recording, and lets nothing of it in again.
func (db *DB) ForgetCommands(ctx context.Context, session string) error {
	err := db.tx(ctx, func(tx *transaction) error {
		for _, statement := range []string{
			`INSERT INTO search_recordings (session, next, state) VALUES ($1, '', 2) ON CONFLICT (session) DO UPDATE SET next = '', state = 2`,
			`DELETE FROM search_words WHERE part IN (SELECT part FROM search_parts WHERE session = $1)`,
			`DELETE FROM search_parts WHERE session = $1`,
		} {
			if _, err := tx.ExecContext(ctx, statement, session); err != nil {
				return err
			}
		}
		return nil
	})
	return found(err, "forget commands of session "+session)
}

// LatestPart returns the latest part, at or before one, that holds a word in
// either of two forms; 0: there is none.
func (db *DB) LatestPart(ctx context.Context, word, or, atOrBefore int64) (int64, error) {
	var part sql.NullInt64
	text, args := "SELECT MAX(part) FROM search_words WHERE word = $1 AND part <= $2", []any{word, atOrBefore}
	if or != word {
		text = `SELECT MAX(part) FROM (SELECT MAX(part) AS part FROM search_words WHERE word = $1 AND part <= $2
			UNION ALL SELECT MAX(part) FROM search_words WHERE word = $3 AND part <= $2) AS of_either`
		args = append(args, or)
	}
	err := db.row(ctx, text, args...).Scan(&part)
	return part.Int64, found(err, "the index of commands")
}

// SearchPart returns a part without its words.
func (db *DB) SearchPart(ctx context.Context, id int64) (postern.SearchPart, error) {
	p := postern.SearchPart{ID: id}
	err := db.row(ctx, "SELECT session, begins, first, last FROM search_parts WHERE part = $1", id).Scan(&p.Session, &p.From, &p.First, &p.Last)
	return p, found(err, "part of the index of commands")
}
