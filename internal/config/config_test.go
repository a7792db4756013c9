package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern"
)

func TestEmptyFileIsDefault(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "{}\n", "store:\nlisten: {}\nlog: {level: \"\"}\n"} {
		got, err := parse("postern.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		got.File = ""
		if diff := cmp.Diff(Default(), got, cmpopts.IgnoreUnexported(Listen{}, postern.Secret{})); diff != "" {
			t.Errorf("%q (-default +got):\n%s", text, diff)
		}
	}
}

func TestValues(t *testing.T) {
	c, err := parse("/etc/postern/postern.yaml", []byte(`
data_dir: ../../var/lib/postern
store: {url: sqlite}
recordings: {url: "file:/srv/rec", sync: flush, min_free: 2GiB}
listen: {https: 0.0.0.0:443, postgres: ":5432", ssh: off}
public_url: https://gw.example:8443/
tls: {cert_file: tls/cert.pem, key_file: /keys/key.pem}
allow_plaintext: true
identity:
  local:
    users:
      - {name: alice, groups: [engineering], email: alice@example.com, password_hash: "$argon2id$v=19$m=65536,t=1,p=1$c2FsdA$aGFzaA"}
roles: {admins: ["user:alice"], auditors: ["group:audit", everyone]}
objects: [./policies, /srv/more]
sessions: {token_ttl: 5m, max_token_ttl: 1h, login_ttl: 8h}
limits: {handshake_timeout: 3s, max_connections: 7}
log: {level: debug, format: json}
drain_timeout: 0
`))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("data_dir", c.DataDir, "/var/lib/postern")
	check("store", c.Store.URL, "sqlite")
	check("recordings", c.RecordingsFolder(), "/srv/rec")
	check("min_free", int64(c.Recordings.MinFree), int64(2<<30))
	check("sync", c.Recordings.Sync, "flush")
	check("https", c.Listen.HTTPS, "0.0.0.0:443")
	check("native", c.Listen.Native, map[string]string{"postgres": ":5432", "ssh": ""})
	check("public_url", c.PublicURL, "https://gw.example:8443")
	check("cert", []string{c.TLS.CertFile, c.TLS.KeyFile}, []string{"/etc/postern/tls/cert.pem", "/keys/key.pem"})
	check("plaintext", c.AllowPlaintext, true)
	check("objects", c.Objects, []string{"/etc/postern/policies", "/srv/more"})
	check("admins", c.Roles.Admins, []postern.Principal{"user:alice"})
	check("ttl", c.Sessions, Sessions{TokenTTL: 5 * time.Minute, MaxTokenTTL: time.Hour, LoginTTL: 8 * time.Hour, RefreshEvery: 15 * time.Minute})
	check("limits", c.Limits, Limits{HandshakeTimeout: 3 * time.Second, MaxConnections: 7})
	check("log", c.Log, Log{Level: "debug", Format: "json"})
	check("drain", c.DrainTimeout, 30*time.Second)
	u := c.Identity.Local.Users[0]
	check("user", []string{u.Name, u.Email, u.Groups[0]}, []string{"alice", "alice@example.com", "engineering"})
	check("line", u.Line, 12)
	if !strings.HasPrefix(u.PasswordHash.Reveal(), "$argon2id$") {
		t.Error("password hash is lost")
	}
}

func TestMistakes(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"near miss", "data_dri: x\n", `p.yaml:1:1: unknown key "data_dri"; did you mean "data_dir"?`},
		{"nested near miss", "listen:\n  postgre: off\n", `p.yaml:2:3: unknown key "listen.postgre"; did you mean "postgres"?`},
		{"nothing near", "tls: {certificate: x}\n", `p.yaml:1:7: unknown key "tls.certificate"; here are: cert_file, key_file`},
		{"merge key", "a: &a {}\n<<: *a\n", "p.yaml:1:1: unknown key \"a\"; here are: data_dir|p.yaml:2:1: unknown key \"<<\""},
		{"twice", "log: {level: info}\nlog: {}\n", "p.yaml:2:1: log: it is in line 1 already"},
		{"wrong shape", "log: info\nobjects: x\nstore: [a]\n", "p.yaml:1:6: log: it is a mapping|p.yaml:2:10: objects: it is a list|p.yaml:3:8: store: it is a mapping"},
		{"not a mapping", "- a\n", "p.yaml:1:1: a configuration is a mapping"},
		{"two documents", "log: {}\n---\nlog: {}\n", "p.yaml:2:1: a configuration is a single document"},
		{"not YAML", "a: [\n", "p.yaml:1:1: did not find"},
		{"number for text", "data_dir: 7\n", "p.yaml:1:11: data_dir: it is a text; put 7 in quotes"},
		{"text for bool", "allow_plaintext: maybe\n", `p.yaml:1:18: allow_plaintext: "maybe" is neither true nor false`},
		{"one of", "log: {level: loud, format: xml}\n", `p.yaml:1:14: log.level: "loud" is none of|p.yaml:1:28: log.format: "xml" is none of text, json`},
		{"durations", "drain_timeout: 30\nsessions: {token_ttl: -1s}\n", `p.yaml:1:16: drain_timeout: "30" is no duration|p.yaml:2:23: sessions.token_ttl: "-1s" is no duration`},
		{"ttl order", "sessions: {token_ttl: 2h, max_token_ttl: 1h}\n", "p.yaml:1:23: sessions.token_ttl: it is longer"},
		{"size", "recordings: {min_free: lots}\n", `p.yaml:1:24: recordings.min_free: "lots" is no size`},
		{"number", "limits: {max_connections: -1}\n", `limits.max_connections: "-1" is no number from 0`},
		{"address", "listen: {https: localhost}\n", `p.yaml:1:17: listen.https: "localhost" is neither HOST:PORT nor off`},
		{"port", "listen: {https: 'localhost:99999'}\n", `is neither HOST:PORT nor off`},
		{"later stores", "store: {url: postgres://x}\nrecordings: {url: \"s3://b\"}\n", `store.url: postgres isn't supported by this version|recordings.url: s3 isn't supported by this version`},
		{"store", "store: {url: mysqlite}\n", `store.url: "mysqlite" is not what this version has: "sqlite"`},
		{
			"providers", "identity:\n  oidc:\n  - {name: Corp, issuer: \"http://idp.example\", client_id: a}\n  - {}\n  - {name: local, issuer: \"https://x\", client_id: a, client_secret: {env: A, file: b}}\n",
			"p.yaml:3:12: identity.oidc[0].name: a provider's name is up to 64 lower-case letters|p.yaml:3:26: identity.oidc[0].issuer: it is https://HOST|" +
				"p.yaml:4:5: identity.oidc[1]: name is missing|p.yaml:4:5: identity.oidc[1]: issuer is missing|p.yaml:4:5: identity.oidc[1]: client_id is missing|" +
				"p.yaml:5:12: identity.oidc[2].name: local is the built-in provider|p.yaml:5:69: identity.oidc[2].client_secret: it is kept in env or in file",
		},
		{"public url", "public_url: http://gw\n", "p.yaml:1:13: public_url: it is https://HOST"},
		{"half a certificate", "tls: {cert_file: a}\n", "p.yaml:1:6: tls: cert_file and key_file go together"},
		{"principal", "roles: {admins: [admins]}\n", `p.yaml:1:18: roles.admins[0]: "admins" is none of user:NAME`},
		{"everyone an admin", "roles: {admins: [everyone]}\n", "p.yaml:1:18: roles.admins[0]: everyone can't be an admin"},
		{
			"users", "identity: {local: {users: [{name: a/b, password_hash: x}, {}, {name: postern, password_hash: $argon2id$}]}}\n",
			"users[0].name: a name is|users[0].password_hash: it is no argon2id hash|users[1]: name is missing|users[1]: password_hash is missing|users[2].name: postern is the name",
		},
		{"same user", "identity: {local: {users: [{name: a, password_hash: $argon2id$}, {name: a, password_hash: $argon2id$}]}}\n", `users[1].name: user "a" is there twice`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse("p.yaml", []byte(test.text))
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got %v, want Errors", err)
			}
			wants := strings.Split(test.want, "|")
			if len(wants) != len(errs) {
				t.Errorf("%d mistakes, want %d:\n%v", len(errs), len(wants), err)
			}
			for _, want := range wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in:\n%v", want, err)
				}
			}
		})
	}
}

func TestSecretIsNotInMistakes(t *testing.T) {
	_, err := parse("p.yaml", []byte("identity: {local: {users: [{name: a, password_hash: hunter2hunter2}]}}\n"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want an error that doesn't show the value", err)
	}
}

func TestListeners(t *testing.T) {
	c := Default()
	got, err := c.Listeners([]string{"postgres"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"postgres": "127.0.0.1:15432"}, got); diff != "" {
		t.Error(diff)
	}
	c, err = parse("p.yaml", []byte("listen:\n  postgres: off\n  redis: off\n  mysql: 127.0.0.1:1\n  ssh: 127.0.0.1:2\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err = c.Listeners([]string{"postgres"})
	if len(got) != 0 {
		t.Errorf("listeners %v, want none", got)
	}
	want := "p.yaml:4:10: listen.mysql: this version doesn't speak mysql; remove the line, or set it to off\n" +
		"p.yaml:5:8: listen.ssh: this version doesn't speak ssh; remove the line, or set it to off"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoadBounds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	if _, err := Load(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("# \n", maxFile/2)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("huge file: %v", err)
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "p.yaml")
	if err := os.WriteFile(file, []byte("objects: [policies]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(folder, "policies"), filepath.Join(folder, "data"), filepath.Join(folder, "data", "recordings")}
	if diff := cmp.Diff(want, append(c.Objects, c.DataDir, c.RecordingsFolder())); diff != "" {
		t.Error(diff)
	}
}
