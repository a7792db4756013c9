package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern"
)

const (
	directoryUserColumns  = "id, provider, user_name, external_id, account, active, disabled, deleted, attributes, created_at, modified_at"
	directoryGroupColumns = "id, provider, name, external_id, created_at, modified_at"
	scimTokenColumns      = "name, hash, provider, subjects, created_by, created_at, expires_at, revoked" //nolint:gosec // names of columns
)

func scanDirectoryUser(r row) (postern.DirectoryUser, error) {
	var u postern.DirectoryUser
	var created, modified int64
	err := r.Scan(&u.ID, &u.Provider, &u.UserName, &u.ExternalID, &u.Account, &u.Active, &u.Disabled, &u.Deleted, &u.Attributes, &created, &modified)
	u.CreatedAt, u.ModifiedAt = fromMicros(created), fromMicros(modified)
	return u, err
}

// PutDirectoryUser adds a person of a directory, or replaces the one with that id.
func (db *DB) PutDirectoryUser(ctx context.Context, u postern.DirectoryUser) error {
	_, err := db.exec(ctx, `INSERT INTO scim_users (`+directoryUserColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (id) DO UPDATE SET user_name = excluded.user_name, external_id = excluded.external_id, account = excluded.account,
		active = excluded.active, disabled = excluded.disabled, deleted = excluded.deleted, attributes = excluded.attributes,
		modified_at = excluded.modified_at`,
		u.ID, u.Provider, u.UserName, u.ExternalID, u.Account, bit(u.Active), bit(u.Disabled), bit(u.Deleted), u.Attributes,
		micros(u.CreatedAt), micros(u.ModifiedAt))
	return found(err, "put directory user")
}

// DirectoryUser returns one person of a directory, deleted ones too.
func (db *DB) DirectoryUser(ctx context.Context, id string) (postern.DirectoryUser, error) {
	u, err := scanDirectoryUser(db.row(ctx, "SELECT "+directoryUserColumns+" FROM scim_users WHERE id = $1", id))
	return u, found(err, "directory user")
}

// DirectoryUsers returns all people of a provider's directory, deleted ones
// too, oldest first.
func (db *DB) DirectoryUsers(ctx context.Context, provider string) ([]postern.DirectoryUser, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT "+directoryUserColumns+" FROM scim_users WHERE provider = $1 ORDER BY created_at, id", provider)
	if err != nil {
		return nil, found(err, "directory users")
	}
	all, err := collect(rows, scanDirectoryUser)
	return all, found(err, "directory users")
}

func scanDirectoryGroup(r row) (postern.DirectoryGroup, error) {
	var g postern.DirectoryGroup
	var created, modified int64
	err := r.Scan(&g.ID, &g.Provider, &g.Name, &g.ExternalID, &created, &modified)
	g.CreatedAt, g.ModifiedAt = fromMicros(created), fromMicros(modified)
	return g, err
}

// PutDirectoryGroup adds a group of a directory with its members, or replaces
// the one with that id.
func (db *DB) PutDirectoryGroup(ctx context.Context, g postern.DirectoryGroup) error {
	return db.tx(ctx, func(tx *transaction) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO scim_groups (`+directoryGroupColumns+`) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, external_id = excluded.external_id, modified_at = excluded.modified_at`,
			g.ID, g.Provider, g.Name, g.ExternalID, micros(g.CreatedAt), micros(g.ModifiedAt))
		if err != nil {
			return found(err, "put directory group")
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM scim_members WHERE group_id = $1", g.ID); err != nil {
			return found(err, "put directory group")
		}
		for some := range slices.Chunk(g.Members, 100) {
			args := []any{g.ID}
			var values []string
			for i, m := range some {
				args = append(args, m)
				values = append(values, fmt.Sprintf("($1, $%d)", i+2))
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO scim_members (group_id, user_id) VALUES "+strings.Join(values, ", "), args...); err != nil { //nolint:gosec // numbers of parameters
				return found(err, "put directory group")
			}
		}
		return nil
	})
}

// DeleteDirectoryGroup removes a group, with its list of members.
func (db *DB) DeleteDirectoryGroup(ctx context.Context, id string) error {
	return db.tx(ctx, func(tx *transaction) error {
		for _, text := range []string{"DELETE FROM scim_members WHERE group_id = $1", "DELETE FROM scim_groups WHERE id = $1"} {
			if _, err := tx.ExecContext(ctx, text, id); err != nil {
				return found(err, "delete directory group")
			}
		}
		return nil
	})
}

// DirectoryGroups returns the groups of a provider's directory with their
// members, oldest first; of every directory when provider is "".
func (db *DB) DirectoryGroups(ctx context.Context, provider string) ([]postern.DirectoryGroup, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT "+directoryGroupColumns+" FROM scim_groups WHERE provider = $1 OR $1 = '' ORDER BY created_at, id", provider)
	if err != nil {
		return nil, found(err, "directory groups")
	}
	all, err := collect(rows, scanDirectoryGroup)
	if err != nil {
		return nil, found(err, "directory groups")
	}
	type member struct{ group, user string }
	rows, err = db.from(ctx).QueryContext(ctx, "SELECT group_id, user_id FROM scim_members ORDER BY group_id, user_id")
	if err != nil {
		return nil, found(err, "members")
	}
	members, err := collect(rows, func(r row) (member, error) {
		var m member
		err := r.Scan(&m.group, &m.user)
		return m, err
	})
	of := map[string][]string{}
	for _, m := range members {
		of[m.group] = append(of[m.group], m.user)
	}
	for i := range all {
		all[i].Members = append([]string{}, of[all[i].ID]...)
	}
	return all, found(err, "members")
}

// PutSCIMToken adds a token of a directory. Its name and hash are new.
func (db *DB) PutSCIMToken(ctx context.Context, t postern.SCIMToken) error {
	_, err := db.exec(ctx, "INSERT INTO scim_tokens ("+scimTokenColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		t.Name, t.Hash, t.Provider, t.Subjects, t.CreatedBy, micros(t.CreatedAt), micros(t.ExpiresAt), bit(t.Revoked))
	return found(err, "put SCIM token")
}

func scanSCIMToken(r row) (postern.SCIMToken, error) {
	var t postern.SCIMToken
	var created, expires int64
	err := r.Scan(&t.Name, &t.Hash, &t.Provider, &t.Subjects, &t.CreatedBy, &created, &expires, &t.Revoked)
	t.CreatedAt, t.ExpiresAt = fromMicros(created), fromMicros(expires)
	return t, err
}

// SCIMTokens returns every directory's tokens, by name.
func (db *DB) SCIMTokens(ctx context.Context) ([]postern.SCIMToken, error) {
	rows, err := db.from(ctx).QueryContext(ctx, "SELECT "+scimTokenColumns+" FROM scim_tokens ORDER BY name")
	if err != nil {
		return nil, found(err, "SCIM tokens")
	}
	all, err := collect(rows, scanSCIMToken)
	return all, found(err, "SCIM tokens")
}

// SCIMTokenByHash returns the token whose secret has this hash.
func (db *DB) SCIMTokenByHash(ctx context.Context, hash string) (postern.SCIMToken, error) {
	t, err := scanSCIMToken(db.row(ctx, "SELECT "+scimTokenColumns+" FROM scim_tokens WHERE hash = $1", hash))
	return t, found(err, "SCIM token")
}

// RevokeSCIMToken makes a directory's token useless. Revoking again is no error.
func (db *DB) RevokeSCIMToken(ctx context.Context, name string) error {
	n, err := db.exec(ctx, "UPDATE scim_tokens SET revoked = 1 WHERE name = $1", name)
	return touched(n, err, "revoke SCIM token")
}
