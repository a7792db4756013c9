package store_test

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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
	listed := credentialColumns(t)
	for _, c := range columns(t, dir) {
		for _, v := range c.values {
			for what, secret := range secrets {
				if shows(v, secret) {
					t.Errorf("column %s shows the %s", c.name, what)
				}
			}
			if form, ok := listed[c.name]; ok && len(v) > 0 {
				reached[c.name] = true
				if !form.Match(v) {
					t.Errorf("column %s holds what isn't protected as docs/secrets.md says", c.name)
				}
			}
		}
	}
	for name := range listed {
		if !reached[name] {
			t.Errorf("column %s is empty: the test looked at nothing", name)
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

	_, scim, err := ids.CreateSCIMToken(ctx, "okta", "corp", "", "user:alice", time.Hour)
	must(err)
	totp, err := ids.EnrolTOTP(ctx, "alice", "Postern")
	must(err)
	_, glass, err := ids.BeginBreakGlass(ctx, postern.Identity{Name: "alice", Kind: postern.User}, "192.0.2.1")
	must(err)
	offline, hash, err := ids.NewOfflineCode()
	must(err)
	must(db.AddOfflineGrant(ctx, postern.OfflineGrant{ID: "og_1", Hash: hash, For: postern.Being{Kind: postern.User, Name: "alice"}}))
	secrets["offline grant's code"] = offline.Reveal()
	alice, err := ids.AuthenticateBearer(ctx, cli.Token)
	must(err)
	consent, err := ids.Delegate(ctx, alice, identity.Consent{Actor: id, Resources: []string{"db"}, TTL: time.Hour})
	must(err)
	delegated, _, err := ids.MintDelegated(ctx, consent.ID, id, identity.SessionTerms{Resource: "db", TTL: time.Minute})
	must(err)
	secrets["SCIM token"], secrets["TOTP secret"], secrets["break-glass secret"] = scim.Reveal(), totp.Secret, glass.Reveal()
	secrets["delegated session token"] = delegated.Reveal()

	sealed, err := v.SealSecret("orders", postern.NewSecret(secrets["sealed secret"]))
	must(err)
	must(db.PutSealed(ctx, "orders", sealed))
	maskKey, err := v.Seal("mask key", []byte(secrets["mask key"]))
	must(err)
	must(db.PutMeta(ctx, "mask-key", maskKey))
	return secrets
}

// TestEveryColumnIsAccountedFor: whoever adds a column to the store says, in
// docs/secrets.md, how the credential in it is protected, or, here, that it
// holds none.
func TestEveryColumnIsAccountedFor(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	credentials, none := credentialColumns(t), map[string]bool{}
	for table, names := range withoutCredentials() {
		for name := range strings.FieldsSeq(names) {
			none[table+"."+name] = true
		}
	}
	there := map[string]bool{}
	for _, c := range columns(t, dir) {
		there[c.name] = true
		_, listed := credentials[c.name]
		switch {
		case listed && none[c.name]:
			t.Errorf("column %s can't both hold a credential and none", c.name)
		case !listed && !none[c.name]:
			t.Errorf("column %s is new: list it in docs/secrets.md, \"In the store\", with how it is protected, or in withoutCredentials if it holds no credential", c.name)
		}
	}
	for name := range credentials {
		if !there[name] {
			t.Errorf("docs/secrets.md lists column %s, which there isn't", name)
		}
	}
	for name := range none {
		if !there[name] {
			t.Errorf("withoutCredentials lists column %s, which there isn't", name)
		}
	}
}

// withoutCredentials are the columns that hold no credential, by table: names,
// moments, counts, settings that are references, and what people and commands said.
func withoutCredentials() map[string]string {
	return map[string]string{
		"accounts":           "kind name groups disabled source created_at rotated_at provider subject email login_at break_glass",
		"audit_batches":      "first last lines packed",
		"audit_checkpoints":  "size note",
		"audit_hashes":       "idx hashes raw",
		"audit_outbox":       "id time entry",
		"audit_segments":     "segment from_time to_time",
		"audit_terms":        "bucket segment postings",
		"break_glass_logins": "id account source created_at expires_at confirmed_by used_at",
		"delegation_rows":    "delegation minute taken",
		"devices":            "user_code state client source identity created_at expires_at",
		"factors":            "account kind confirmed last_step created_at",
		"goose_db_version":   "id version_id is_applied tstamp",
		"grants":             "id kind name subject sid created_at checked_at ended_at",
		"login_codes":        "challenge redirect client source identity expires_at login",
		"logins":             "id kind identity_kind identity_name identity grant_id client source created_at expires_at ended_at end_reason generation",
		"meta":               "name",
		"notifications":      "id channel review step state attempts next_at problem created_at body",
		"objects":            "kind name yaml updated_by updated_at",
		"offline_grants":     "id issued_at version body",
		"refresh_tokens":     "login generation token",
		"reviews":            "id state identity session resource created_at expires_at version body",
		"scim_groups":        "id provider name external_id created_at modified_at",
		"scim_members":       "group_id user_id",
		"scim_tokens":        "name provider subjects created_by created_at expires_at revoked",
		"scim_users":         "id provider user_name external_id account active disabled deleted attributes created_at modified_at",
		"sealed":             "name",
		"search_parts":       "part session begins first last",
		"search_recordings":  "session next state",
		"search_scopes":      "resource identity kind actor",
		"search_words":       "word part",
		"security_events":    "issuer id until",
		"seen_messages":      "digest seen_at",
		"sessions":           "id identity kind actor resource protocol database token access source client started_at ended_at commands denied masked_values end_reason digest login grant_id",
		"shadows":            "rule verdict resource identity kind verb commands first_at last_at last_session last_n",
		"spent":              "what expires_at",
		"sqlite_sequence":    "name seq",
		"tokens":             "id kind identity_kind identity_name actor_kind actor_name identity resource max_uses uses created_at expires_at revoked login bound_key networks parent comment refused refused_at refused_why",
		"used":               "id expires_at",
	}
}

// credentialColumns are those that docs/secrets.md lists, with the form of what
// is in them.
func credentialColumns(t *testing.T) map[string]*regexp.Regexp {
	t.Helper()
	forms := map[string]*regexp.Regexp{
		"SHA-256":             regexp.MustCompile(`^[0-9a-f]{64}$`),
		"SHA-256, or a name":  regexp.MustCompile(`^[0-9a-f]{64}$|^(certificate|delegation|ssh-key):`),
		"SHA-256, argon2id":   regexp.MustCompile(`^[0-9a-f]{64}$|^\$argon2id\$v=19\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`),
		"SCRAM-SHA-256":       regexp.MustCompile(`^SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]{44}:[A-Za-z0-9+/=]{44}$`),
		"sealed, or a number": regexp.MustCompile(`^pv1\.[A-Za-z0-9_-]{60,}$|^[0-9TZ:.-]+$`),
		"sealed":              regexp.MustCompile(`^pv1\.[A-Za-z0-9_-]{60,}$`),
	}
	text, err := os.ReadFile("../../docs/secrets.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "### In the store\n")
	section, _, _ := strings.Cut(rest, "\n#")
	all := map[string]*regexp.Regexp{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+\\.[a-z_]+)` \\| [^|]+ \\| ([^|]+) \\|$").FindAllStringSubmatch(section, -1) {
		form, ok := forms[row[2]]
		if !ok {
			t.Fatalf("docs/secrets.md says of %s that it is protected by %q, of which this test knows no form", row[1], row[2])
		}
		all[row[1]] = form
	}
	if len(all) < 10 {
		t.Fatalf("docs/secrets.md lists only %d columns", len(all))
	}
	return all
}

// column is a column of the store, TABLE.COLUMN, with all that is in it.
type column struct {
	name   string
	values [][]byte
}

// columns are all of them.
func columns(t *testing.T, dir string) []column {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "postern.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	names := query(t, db, "SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'")
	if len(names) < 100 {
		t.Fatalf("only %d columns", len(names))
	}
	all := make([]column, len(names))
	for i, name := range names {
		table, field, _ := strings.Cut(string(name), ".")
		all[i] = column{name: string(name), values: query(t, db, fmt.Sprintf("SELECT %q FROM %q", field, table))}
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
