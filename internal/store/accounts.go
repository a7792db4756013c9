package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"postern"
)

const accountColumns = "kind, name, provider, subject, email, groups, secret_hash, disabled, source, created_at, rotated_at, login_at, break_glass"

func scanAccount(r row) (postern.Account, error) {
	var a postern.Account
	var groups, provider, subject string
	var created, rotated, login int64
	err := r.Scan(&a.Kind, &a.Name, &provider, &subject, &a.Email, &groups, &a.SecretHash, &a.Disabled, &a.Source, &created, &rotated, &login, &a.BreakGlass)
	if err != nil {
		return postern.Account{}, err
	}
	if err := json.Unmarshal([]byte(groups), &a.Groups); err != nil {
		return postern.Account{}, fmt.Errorf("groups: %w", err)
	}
	if provider != "" {
		a.Subject = provider + ":" + subject
	}
	a.CreatedAt, a.RotatedAt, a.LoginAt = fromMicros(created), fromMicros(rotated), fromMicros(login)
	return a, nil
}

// PutAccount adds an account, or replaces the one of that kind and name. A
// second account of one provider's subject is an error.
func (db *DB) PutAccount(ctx context.Context, a postern.Account) error {
	if a.Groups == nil {
		a.Groups = []string{}
	}
	groups, err := json.Marshal(a.Groups)
	if err != nil {
		return fmt.Errorf("store: put account %s: %w", a.Name, err)
	}
	provider, subject, _ := strings.Cut(a.Subject, ":")
	_, err = db.exec(ctx, `INSERT INTO accounts (`+accountColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (kind, name) DO UPDATE SET provider = excluded.provider, subject = excluded.subject, email = excluded.email,
		groups = excluded.groups, secret_hash = excluded.secret_hash, disabled = excluded.disabled, source = excluded.source,
		created_at = excluded.created_at, rotated_at = excluded.rotated_at, login_at = excluded.login_at, break_glass = excluded.break_glass`,
		a.Kind, a.Name, provider, subject, a.Email, string(groups), a.SecretHash, bit(a.Disabled), a.Source,
		micros(a.CreatedAt), micros(a.RotatedAt), micros(a.LoginAt), bit(a.BreakGlass))
	if err != nil {
		return fmt.Errorf("store: put account %s: %w", a.Name, err)
	}
	return nil
}

// Account returns one account.
func (db *DB) Account(ctx context.Context, kind postern.IdentityKind, name string) (postern.Account, error) {
	a, err := scanAccount(db.row(ctx,
		"SELECT "+accountColumns+" FROM accounts WHERE kind = $1 AND name = $2", kind, name))
	return a, found(err, "account")
}

// AccountByKey returns the service account whose key has this hash.
func (db *DB) AccountByKey(ctx context.Context, hash string) (postern.Account, error) {
	if hash == "" { // an account without a key has no hash
		return postern.Account{}, found(sql.ErrNoRows, "account")
	}
	a, err := scanAccount(db.row(ctx,
		"SELECT "+accountColumns+" FROM accounts WHERE secret_hash = $1 AND kind = $2", hash, postern.Service))
	return a, found(err, "account")
}

// AccountBySubject returns the account of a provider's subject, "PROVIDER:SUB".
func (db *DB) AccountBySubject(ctx context.Context, full string) (postern.Account, error) {
	provider, subject, _ := strings.Cut(full, ":")
	if provider == "" || subject == "" { // an account that waits for its person has none
		return postern.Account{}, found(sql.ErrNoRows, "account")
	}
	a, err := scanAccount(db.row(ctx,
		"SELECT "+accountColumns+" FROM accounts WHERE provider = $1 AND subject = $2", provider, subject))
	return a, found(err, "account")
}

// Accounts returns all accounts, by kind and name.
func (db *DB) Accounts(ctx context.Context) ([]postern.Account, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT "+accountColumns+" FROM accounts ORDER BY kind, name")
	if err != nil {
		return nil, fmt.Errorf("store: accounts: %w", err)
	}
	all, err := collect(rows, scanAccount)
	return all, found(err, "accounts")
}

// DeleteAccount removes an account.
func (db *DB) DeleteAccount(ctx context.Context, kind postern.IdentityKind, name string) error {
	n, err := db.exec(ctx, "DELETE FROM accounts WHERE kind = $1 AND name = $2", kind, name)
	return touched(n, err, "delete account")
}

// found words a query's error: a row that isn't there is [postern.ErrNotFound].
func found(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("store: %s: %w", what, postern.ErrNotFound)
	default:
		return fmt.Errorf("store: %s: %w", what, err)
	}
}

// touched words the outcome of a statement that must have met a row.
func touched(n int, err error, what string) error {
	if err == nil && n == 0 {
		err = sql.ErrNoRows
	}
	return found(err, what)
}
