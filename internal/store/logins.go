package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"postern"
)

const loginColumns = "id, kind, identity, grant_id, client, source, created_at, expires_at, ended_at, end_reason, generation"

func scanLogin(r row) (postern.LoginRecord, error) {
	var l postern.LoginRecord
	var identity string
	var created, expires, ended int64
	err := r.Scan(&l.ID, &l.Kind, &identity, &l.Grant, &l.Client, &l.Source, &created, &expires, &ended, &l.EndReason, &l.Generation)
	if err != nil {
		return postern.LoginRecord{}, err
	}
	if err := json.Unmarshal([]byte(identity), &l.Identity); err != nil {
		return postern.LoginRecord{}, fmt.Errorf("identity: %w", err)
	}
	l.CreatedAt, l.ExpiresAt, l.EndedAt = fromMicros(created), fromMicros(expires), fromMicros(ended)
	return l, nil
}

// AddLogin adds a login. Its id is new.
func (db *DB) AddLogin(ctx context.Context, l postern.LoginRecord) error {
	identity, err := json.Marshal(l.Identity)
	if err != nil {
		return fmt.Errorf("store: add login: %w", err)
	}
	_, err = db.exec(ctx, `INSERT INTO logins (`+loginColumns+`, identity_kind, identity_name)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		l.ID, l.Kind, string(identity), l.Grant, l.Client, l.Source, micros(l.CreatedAt), micros(l.ExpiresAt),
		micros(l.EndedAt), l.EndReason, l.Generation, l.Identity.Kind, l.Identity.Name)
	return found(err, "add login")
}

// Login returns one login.
func (db *DB) Login(ctx context.Context, id string) (postern.LoginRecord, error) {
	l, err := scanLogin(db.row(ctx, "SELECT "+loginColumns+" FROM logins WHERE id = $1", id))
	return l, found(err, "login")
}

// LoginsOf returns an identity's logins, newest first.
func (db *DB) LoginsOf(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.LoginRecord, error) {
	return db.logins(ctx, "identity_kind = $1 AND identity_name = $2", kind, name)
}

// LoginsOfGrant returns the logins that came of a provider's grant, newest first.
func (db *DB) LoginsOfGrant(ctx context.Context, grant string) ([]postern.LoginRecord, error) {
	return db.logins(ctx, "grant_id = $1", grant)
}

func (db *DB) logins(ctx context.Context, where string, args ...any) ([]postern.LoginRecord, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT "+loginColumns+" FROM logins WHERE "+where+" ORDER BY created_at DESC, id DESC", args...) //nolint:gosec // where is ours
	if err != nil {
		return nil, found(err, "logins")
	}
	all, err := collect(rows, scanLogin)
	return all, found(err, "logins")
}

// SetLoginIdentity replaces who a login's person was verified to be.
func (db *DB) SetLoginIdentity(ctx context.Context, id string, who postern.Identity) error {
	identity, err := json.Marshal(who)
	if err != nil {
		return fmt.Errorf("store: set login's identity: %w", err)
	}
	n, err := db.exec(ctx, "UPDATE logins SET identity = $1 WHERE id = $2", string(identity), id)
	return touched(n, err, "set login's identity")
}

// EndLogin ends a login, and revokes the tokens that came of it. Ending it
// again changes nothing.
func (db *DB) EndLogin(ctx context.Context, id, reason string, at time.Time) error {
	if _, err := db.exec(ctx, "UPDATE logins SET ended_at = $1, end_reason = $2 WHERE id = $3 AND ended_at = 0", micros(at), reason, id); err != nil {
		return found(err, "end login")
	}
	_, err := db.exec(ctx, "UPDATE tokens SET revoked = 1 WHERE login = $1 AND revoked = 0 AND login <> ''", id)
	return found(err, "end login")
}

// AdvanceLogin makes the next generation of a login's refresh token the good
// one, and keeps its hash and the id of the token that goes with it: of two that
// race from one generation one wins.
func (db *DB) AdvanceLogin(ctx context.Context, id string, from int, hash, token string) error {
	n, err := db.exec(ctx, "UPDATE logins SET generation = $1 WHERE id = $2 AND generation = $3 AND ended_at = 0", from+1, id, from)
	if err := touched(n, err, "advance login"); err != nil {
		return err
	}
	_, err = db.exec(ctx, "INSERT INTO refresh_tokens (hash, login, generation, token) VALUES ($1, $2, $3, $4)", hash, id, from+1, token)
	return found(err, "advance login")
}

// RefreshToken says which login a refresh token is of, and of which generation.
func (db *DB) RefreshToken(ctx context.Context, hash string) (login string, generation int, err error) {
	err = db.row(ctx, "SELECT login, generation FROM refresh_tokens WHERE hash = $1", hash).Scan(&login, &generation)
	return login, generation, found(err, "refresh token")
}

// TokenOfGeneration returns the token that went with a login's refresh token.
func (db *DB) TokenOfGeneration(ctx context.Context, login string, generation int) (postern.Token, error) {
	t, err := scanToken(db.row(ctx, "SELECT "+tokenRead+` FROM tokens
		WHERE id = (SELECT token FROM refresh_tokens WHERE login = $1 AND generation = $2)`, login, generation))
	return t, found(err, "token")
}

const grantColumns = "id, kind, name, subject, sid, refresh, created_at, checked_at, ended_at"

func scanGrant(r row) (postern.LoginGrant, error) {
	var g postern.LoginGrant
	var created, checked, ended int64
	err := r.Scan(&g.ID, &g.Kind, &g.Name, &g.Subject, &g.SID, &g.Refresh, &created, &checked, &ended)
	g.CreatedAt, g.CheckedAt, g.EndedAt = fromMicros(created), fromMicros(checked), fromMicros(ended)
	return g, err
}

// PutGrant adds a provider's grant, or replaces what changes in one.
func (db *DB) PutGrant(ctx context.Context, g postern.LoginGrant) error {
	_, err := db.exec(ctx, `INSERT INTO grants (`+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (id) DO UPDATE SET sid = excluded.sid, refresh = excluded.refresh, checked_at = excluded.checked_at, ended_at = excluded.ended_at`,
		g.ID, g.Kind, g.Name, g.Subject, g.SID, g.Refresh, micros(g.CreatedAt), micros(g.CheckedAt), micros(g.EndedAt))
	return found(err, "put grant")
}

// Grant returns a provider's grant.
func (db *DB) Grant(ctx context.Context, id string) (postern.LoginGrant, error) {
	g, err := scanGrant(db.row(ctx, "SELECT "+grantColumns+" FROM grants WHERE id = $1", id))
	return g, found(err, "grant")
}

// GrantsOf returns an identity's grants that have not ended.
func (db *DB) GrantsOf(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.LoginGrant, error) {
	return db.grants(ctx, "kind = $1 AND name = $2 AND ended_at = 0 ORDER BY id", kind, name)
}

// DueGrants returns grants that a provider has not been asked about since a
// moment, and that a login still needs, the longest waiting first.
func (db *DB) DueGrants(ctx context.Context, before, now time.Time, limit int) ([]postern.LoginGrant, error) {
	return db.grants(ctx, `ended_at = 0 AND refresh <> '' AND checked_at < $1
		AND EXISTS (SELECT 1 FROM logins WHERE grant_id = grants.id AND logins.ended_at = 0 AND logins.expires_at > $2)
		ORDER BY checked_at LIMIT `+fmt.Sprint(limited(limit)), micros(before), micros(now))
}

func (db *DB) grants(ctx context.Context, where string, args ...any) ([]postern.LoginGrant, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT "+grantColumns+" FROM grants WHERE "+where, args...) //nolint:gosec // where is ours
	if err != nil {
		return nil, found(err, "grants")
	}
	all, err := collect(rows, scanGrant)
	return all, found(err, "grants")
}

// ClaimGrant marks a grant as asked about now, if nobody else did since: of
// several gateways one asks.
func (db *DB) ClaimGrant(ctx context.Context, id string, since, now time.Time) error {
	n, err := db.exec(ctx, "UPDATE grants SET checked_at = $1 WHERE id = $2 AND checked_at = $3 AND ended_at = 0", micros(now), id, micros(since))
	return touched(n, err, "claim grant")
}

// Spend marks a thing as used, and says whether this was the first time.
func (db *DB) Spend(ctx context.Context, what string, until time.Time) (bool, error) {
	n, err := db.exec(ctx, "INSERT INTO spent (what, expires_at) VALUES ($1, $2) ON CONFLICT (what) DO NOTHING", what, micros(until))
	return n == 1, found(err, "spend")
}

// DeleteExpiredLogins forgets logins that expired before a moment, and what
// belongs to them; codes, devices and spent things that expired before now.
func (db *DB) DeleteExpiredLogins(ctx context.Context, before, now time.Time) error {
	for _, s := range []struct {
		text string
		at   time.Time
	}{
		{"DELETE FROM logins WHERE expires_at < $1", before},
		{"DELETE FROM grants WHERE created_at < $1 AND NOT EXISTS (SELECT 1 FROM logins WHERE grant_id = grants.id)", before},
		{"DELETE FROM login_codes WHERE expires_at < $1", now},
		{"DELETE FROM devices WHERE expires_at < $1", now},
		{"DELETE FROM spent WHERE expires_at < $1", now},
	} {
		if _, err := db.exec(ctx, s.text, micros(s.at)); err != nil {
			return found(err, "delete expired logins")
		}
	}
	_, err := db.exec(ctx, "DELETE FROM refresh_tokens WHERE NOT EXISTS (SELECT 1 FROM logins WHERE logins.id = refresh_tokens.login)")
	return found(err, "delete expired logins")
}
