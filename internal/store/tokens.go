package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"postern"
)

const tokenColumns = "id, kind, hash, identity, resource, max_uses, uses, created_at, expires_at, revoked, bound_key, networks, parent, verifier, comment" //nolint:gosec // names of columns

// tokenRead is what is read of a token: what was written of it, and what became of it.
const tokenRead = tokenColumns + ", refused, refused_at, refused_why"

func scanToken(r row) (postern.Token, error) {
	var t postern.Token
	var identity, networks string
	var created, expires, refused int64
	err := r.Scan(&t.ID, &t.Kind, &t.Hash, &identity, &t.Resource, &t.MaxUses, &t.Uses, &created, &expires, &t.Revoked,
		&t.Key, &networks, &t.Parent, &t.Verifier, &t.Comment, &t.Refused, &refused, &t.RefusedWhy)
	if err != nil {
		return postern.Token{}, err
	}
	if err := json.Unmarshal([]byte(identity), &t.Identity); err != nil {
		return postern.Token{}, fmt.Errorf("identity: %w", err)
	}
	if err := json.Unmarshal([]byte(networks), &t.Networks); err != nil {
		return postern.Token{}, fmt.Errorf("networks: %w", err)
	}
	t.CreatedAt, t.ExpiresAt = fromMicros(created), fromMicros(expires)
	t.RefusedAt = fromMicros(refused)
	return t, nil
}

// PutToken adds a token. Its id and hash are new; an existing one is an error.
func (db *DB) PutToken(ctx context.Context, t postern.Token) error {
	identity, err := json.Marshal(t.Identity)
	if err != nil {
		return fmt.Errorf("store: put token: %w", err)
	}
	networks, err := json.Marshal(t.Networks)
	if err != nil {
		return fmt.Errorf("store: put token: %w", err)
	}
	var actor postern.Identity
	if t.Identity.Actor != nil {
		actor = *t.Identity.Actor
	}
	_, err = db.exec(ctx, `INSERT INTO tokens (`+tokenColumns+`, identity_kind, identity_name, actor_kind, actor_name, login)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`,
		t.ID, t.Kind, t.Hash, string(identity), t.Resource, t.MaxUses, t.Uses, micros(t.CreatedAt), micros(t.ExpiresAt),
		bit(t.Revoked), t.Key, string(networks), t.Parent, t.Verifier, t.Comment, t.Identity.Kind, t.Identity.Name, actor.Kind, actor.Name, t.Identity.Login)
	return found(err, "put token")
}

// Token returns the token with this id.
func (db *DB) Token(ctx context.Context, id string) (postern.Token, error) {
	t, err := scanToken(db.row(ctx, "SELECT "+tokenRead+" FROM tokens WHERE id = $1", id))
	return t, found(err, "token")
}

// TokenRevoked says whether a token was revoked.
func (db *DB) TokenRevoked(ctx context.Context, id string) (revoked bool, err error) {
	err = db.row(ctx, "SELECT revoked FROM tokens WHERE id = $1", id).Scan(&revoked)
	return revoked, found(err, "token")
}

// TokenByHash returns the token whose secret has this hash.
func (db *DB) TokenByHash(ctx context.Context, hash string) (postern.Token, error) {
	t, err := scanToken(db.row(ctx, "SELECT "+tokenRead+" FROM tokens WHERE hash = $1", hash))
	return t, found(err, "token")
}

// TokensOf returns an identity's tokens, newest first, whoever acts with them.
func (db *DB) TokensOf(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.Token, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT "+tokenRead+` FROM tokens
		WHERE identity_kind = $1 AND identity_name = $2 ORDER BY created_at DESC, id DESC`, kind, name)
	if err != nil {
		return nil, found(err, "tokens")
	}
	all, err := collect(rows, scanToken)
	return all, found(err, "tokens")
}

// UseToken counts one use of a token, if it still has one: of two that race for
// the last use one wins. A token that is unknown, revoked, expired or used up
// is [postern.ErrNotFound].
func (db *DB) UseToken(ctx context.Context, id string, now time.Time) error {
	n, err := db.exec(ctx, `UPDATE tokens SET uses = uses + 1
		WHERE id = $1 AND revoked = 0 AND expires_at > $2 AND (max_uses = 0 OR uses < max_uses)`, id, micros(now))
	return touched(n, err, "use token")
}

// countUse counts the session as a use of its token when it begins, if any number
// of uses is allowed. Those of others are counted by [DB.UseToken], before there
// is a session.
func countUse(ctx context.Context, tx *transaction, s *postern.SessionInfo) error {
	if !s.EndedAt.IsZero() {
		return nil
	}
	_, err := tx.ExecContext(ctx, "UPDATE tokens SET uses = uses + 1 WHERE id = $1 AND max_uses = 0", s.Token)
	return err
}

// TokensFrom returns the tokens that came of a login, newest first.
func (db *DB) TokensFrom(ctx context.Context, parent string) ([]postern.Token, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT "+tokenRead+` FROM tokens
		WHERE parent = $1 AND parent <> '' ORDER BY created_at DESC, id DESC`, parent)
	if err != nil {
		return nil, found(err, "tokens of a login")
	}
	all, err := collect(rows, scanToken)
	return all, found(err, "tokens of a login")
}

// DeleteToken forgets a token.
func (db *DB) DeleteToken(ctx context.Context, id string) error {
	n, err := db.exec(ctx, "DELETE FROM tokens WHERE id = $1", id)
	return touched(n, err, "delete token")
}

// NoteRefusal remembers that a token was refused to whoever presented it.
func (db *DB) NoteRefusal(ctx context.Context, id string, at time.Time, why string) error {
	n, err := db.exec(ctx, "UPDATE tokens SET refused = refused + 1, refused_at = $2, refused_why = $3 WHERE id = $1", id, micros(at), why)
	return touched(n, err, "note refusal")
}

// RevokeToken makes a token useless, and with it those that came of it. Revoking
// again is no error.
func (db *DB) RevokeToken(ctx context.Context, id string) error {
	n, err := db.exec(ctx, "UPDATE tokens SET revoked = 1 WHERE id = $1 OR (parent = $1 AND parent <> '')", id)
	return touched(n, err, "revoke token")
}

// RevokeTokensOf revokes every token of an identity, and every token with which
// it acts for another, and says how many were still valid.
func (db *DB) RevokeTokensOf(ctx context.Context, kind postern.IdentityKind, name string) (int, error) {
	n, err := db.exec(ctx, `UPDATE tokens SET revoked = 1 WHERE revoked = 0
		AND ((identity_kind = $1 AND identity_name = $2) OR (actor_kind = $1 AND actor_name = $2))`, kind, name)
	return n, found(err, "revoke tokens")
}

// DeleteExpiredTokens forgets the tokens that expired before a moment.
func (db *DB) DeleteExpiredTokens(ctx context.Context, before time.Time) (int, error) {
	n, err := db.exec(ctx, "DELETE FROM tokens WHERE expires_at < $1", micros(before))
	return n, found(err, "delete expired tokens")
}
