package store_test

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/identity"
	"postern/internal/store"
	"postern/internal/vault"
)

// Every secret that Postern keeps goes through the store once, and must not be
// found in any of its tables, nor in any file beside it.
func TestNoSecretInClear(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	secrets := fill(t, db, dir)
	reached := map[string]bool{}
	for table, values := range tables(t, dir) {
		for _, v := range values {
			reached[table] = true
			for what, secret := range secrets {
				if shows(v, secret) {
					t.Errorf("table %s shows the %s", table, what)
				}
			}
		}
	}
	for _, table := range []string{"accounts", "tokens", "sealed", "meta", "grants", "logins", "refresh_tokens", "login_codes", "devices"} {
		if !reached[table] {
			t.Errorf("table %s is empty: the test looked at nothing", table)
		}
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for what, secret := range secrets {
			if shows(text, secret) {
				t.Errorf("%s shows the %s", path, what)
			}
		}
		return err
	})
	if err != nil || files < 4 { // the database, its log, the master key, a data key
		t.Errorf("%d files, %v", files, err)
	}
}

// shows says whether text holds a secret, as it is or in a usual encoding.
func shows(text []byte, secret string) bool {
	s := []byte(secret)
	return slices.ContainsFunc([][]byte{
		s, []byte(hex.EncodeToString(s)), []byte(base64.StdEncoding.EncodeToString(s)), []byte(base64.RawURLEncoding.EncodeToString(s)),
	}, func(form []byte) bool { return bytes.Contains(text, form) })
}

// fill makes one of each secret, and returns them by name.
func fill(t *testing.T, db *store.DB, dir string) map[string]string {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	v, err := vault.Open(dir, postern.Secret{})
	must(err)
	ids, err := identity.New(identity.Config{
		Store: db, End: func(time.Time, string, func(postern.SessionInfo) bool) int { return 0 }, Seal: v.Seal, Unseal: v.Unseal,
	})
	must(err)
	secrets := map[string]string{
		"bootstrap key": strings.Repeat("bootstrap", 4), "password": "correct horse", "sealed secret": "battery staple", "mask key": "0123456789abcdef",
	}
	_, err = ids.Bootstrap(ctx, postern.NewSecret(secrets["bootstrap key"]))
	must(err)
	_, err = ids.PutUser(ctx, "alice", []string{"eng"}, postern.NewSecret(secrets["password"]))
	must(err)
	_, key, err := ids.CreateServiceAccount(ctx, "ci", nil)
	must(err)
	_, rotated, err := ids.RotateKey(ctx, "ci")
	must(err)
	id, err := ids.AuthenticateBearer(ctx, rotated)
	must(err)
	login, _, err := ids.MintLogin(ctx, id)
	must(err)
	session, _, err := ids.MintSession(ctx, id, identity.SessionTerms{Resource: "db", TTL: time.Minute, Uses: 1})
	must(err)
	_, err = ids.Admit(ctx, postern.Credential{User: "ci", Resource: "db", Secret: session})
	must(err)
	secrets["first key"], secrets["key"] = key.Reveal(), rotated.Reveal()
	secrets["login token"], secrets["session token"] = login.Reveal(), session.Reveal()

	upstream := "what-the-provider-gave-to-ask-it-again"
	web, err := ids.StartLogin(ctx, postern.WebLogin, identity.Vouched{
		Identity: postern.Identity{Name: "bob", Kind: postern.User, Subject: "corp:7"}, Refresh: postern.NewSecret(upstream),
	}, identity.Where{})
	must(err)
	by, err := ids.AuthenticateCookie(ctx, web.Token)
	must(err)
	code, err := ids.IssueCode(ctx, by, identity.Challenge("a verifier"), "", identity.Where{})
	must(err)
	cli, err := ids.RedeemCode(ctx, code, "a verifier", "")
	must(err)
	device, _, err := ids.StartDevice(ctx, identity.Where{})
	must(err)
	secrets["provider's refresh token"], secrets["browser's token"], secrets["login code"] = upstream, web.Token.Reveal(), code.Reveal()
	secrets["refresh token"], secrets["program's token"], secrets["device code"] = cli.Refresh.Reveal(), cli.Token.Reveal(), device.Reveal()

	sealed, err := v.SealSecret("orders", postern.NewSecret(secrets["sealed secret"]))
	must(err)
	must(db.PutSealed(ctx, "orders", sealed))
	maskKey, err := v.Seal("mask key", []byte(secrets["mask key"]))
	must(err)
	must(db.PutMeta(ctx, "mask-key", maskKey))
	return secrets
}

// tables are all values of all tables.
func tables(t *testing.T, dir string) map[string][][]byte {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "postern.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	names := query(t, db, "SELECT name FROM sqlite_master WHERE type = 'table'")
	if len(names) < 7 {
		t.Fatalf("only %d tables", len(names))
	}
	all := map[string][][]byte{}
	for _, name := range names {
		all[string(name)] = query(t, db, fmt.Sprintf("SELECT * FROM %q", name))
	}
	return all
}

// query returns every value of every row, as bytes.
func query(t *testing.T, db *sql.DB, text string) [][]byte {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for rows.Next() {
		values, into := make([][]byte, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		all = append(all, values...)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
