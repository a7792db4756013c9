package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"postern"
	"postern/internal/api/apitest"
)

// terminal runs commands as one person at one machine.
type terminal struct {
	t   *testing.T
	env map[string]string
	in  string
	now func() time.Time
	// asked is what the person types when a password is asked for.
	asked string
}

// at is a terminal of somebody who is signed in by token; nil: nobody.
func at(t *testing.T, w *apitest.World, token string) *terminal {
	t.Helper()
	return &terminal{t: t, now: time.Now, env: map[string]string{
		"POSTERN_SERVER": w.URL, "POSTERN_CA_FILE": w.CAFile, "POSTERN_TOKEN": token, "HOME": t.TempDir(),
	}}
}

// run runs a command line.
func (tm *terminal) run(args ...string) (code int, out, err string) {
	tm.t.Helper()
	var o, e bytes.Buffer
	ui := &tui{in: strings.NewReader(tm.in), out: &o, err: &e}
	if tm.asked != "" {
		ui.readPassword = func() ([]byte, error) { return []byte(tm.asked), nil }
	}
	a := &app{ui: ui, getenv: func(name string) string { return tm.env[name] }, now: tm.now}
	code = run(tm.t.Context(), a, args)
	return code, o.String(), e.String()
}

// ok runs a command line that must be done, and returns what it printed.
func (tm *terminal) ok(args ...string) string {
	tm.t.Helper()
	code, out, err := tm.run(args...)
	if code != 0 {
		tm.t.Fatalf("postern %s: exit %d\n%s%s", strings.Join(args, " "), code, out, err)
	}
	return out
}

// fails runs a command line that must end with a code, and returns what it said.
func (tm *terminal) fails(code int, args ...string) string {
	tm.t.Helper()
	got, out, err := tm.run(args...)
	if got != code {
		tm.t.Errorf("postern %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, err)
	}
	return err
}

// keysOf are the keys of the JSON object in text, or of the first in a list, in order.
func keysOf(t *testing.T, text string) []string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	var keys []string
	depth, key := 0, true
	for {
		token, err := dec.Token()
		if err != nil {
			t.Fatalf("no JSON: %v\n%s", err, text)
		}
		switch token {
		case json.Delim('['):
			if depth > 0 {
				depth++
			}
			continue
		case json.Delim('{'):
			depth++
			if depth > 1 {
				continue
			}
			key = true
			continue
		case json.Delim(']'), json.Delim('}'):
			depth--
			if depth == 0 {
				return keys
			}
			if depth == 1 {
				key = true
			}
			continue
		}
		if depth == 1 {
			if key {
				keys = append(keys, fmt.Sprint(token))
			}
			key = !key
		}
	}
}

func wantKeys(t *testing.T, text string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, keysOf(t, text)); diff != "" {
		t.Errorf("keys (-want +got):\n%s\n%s", diff, text)
	}
}

func TestLoginAndLogout(t *testing.T) {
	w := apitest.New(t)
	tm := at(t, w, "")
	tm.fails(exitSignedIn, "whoami")
	tm.fails(exitUsage, "login", "--password-stdin")
	tm.fails(exitUsage, "login", "--user", "alice", "--device")
	tm.fails(exitUsage, "login", "--user", "alice") // no terminal to ask at
	tm.in = "wrong password\n"
	if said := tm.fails(exitSignedIn, "login", "--user", "alice", "--password-stdin"); !strings.HasPrefix(said, "error: wrong user or password") || strings.Contains(said, "hint:") {
		t.Errorf("said %s", said)
	}
	tm.in = apitest.Password + "\n"
	tm.ok("login", "--user", "alice", "--password-stdin")
	file := filepath.Join(tm.env["HOME"], ".config/postern/credentials.json")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("credentials: %v, mode %v", err, info.Mode())
	}
	// The login remembers where and whom to trust.
	tm.env = map[string]string{"HOME": tm.env["HOME"]}
	if out := tm.ok("whoami"); !strings.Contains(out, "alice") || !strings.Contains(out, w.URL) {
		t.Errorf("whoami %s", out)
	}
	tm.now = func() time.Time { return time.Now().Add(24 * time.Hour) }
	if said := tm.fails(exitSignedIn, "ls"); !strings.Contains(said, "has expired") || !strings.Contains(said, "hint: ") {
		t.Errorf("said %s", said)
	}
	tm.now = time.Now
	tm.ok("logout")
	text, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(text), "token") {
		t.Errorf("after logout: %v %s", err, text)
	}
	tm.fails(exitSignedIn, "whoami", "--server", w.URL)
	// A folder of one's own, and a password typed in.
	tm.env = map[string]string{"POSTERN_CONFIG": t.TempDir(), "POSTERN_CA_FILE": w.CAFile}
	tm.asked = apitest.Password
	tm.ok("login", "--server", w.URL, "--user", "dave")
	if _, err := os.Stat(filepath.Join(tm.env["POSTERN_CONFIG"], "credentials.json")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(tm.env["POSTERN_CONFIG"], "credentials.json"), []byte(`{"token": secret`), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := tm.fails(exitFailed, "whoami"); strings.Contains(said, "secret") {
		t.Errorf("said %s", said)
	}
}

func TestLsAndToken(t *testing.T) {
	w := apitest.New(t)
	tm := at(t, w, w.Token(t, "alice").Reveal())
	if out := tm.ok("ls"); !strings.Contains(out, "orders-db") || strings.Contains(out, "secret-db") || !strings.Contains(out, "postern connect orders-db") {
		t.Errorf("ls %s", out)
	}
	if out := tm.ok("ls", "-o", "yaml"); !strings.Contains(out, "- name: orders-db\n  type: postgres\n") {
		t.Errorf("ls %s", out)
	}
	plain := tm.ok("token", "orders-db")
	if strings.Count(plain, "\n") != 1 || strings.ContainsAny(strings.TrimSpace(plain), " {:") {
		t.Errorf("token %q", plain)
	}
	out := tm.ok("token", "orders-db", "--ttl", "5m", "--uses", "1", "-o", "json")
	wantKeys(t, out, "token", "user", "host", "port", "database", "expires_at", "dsn")
	var token printedToken
	if err := json.Unmarshal([]byte(out), &token); err != nil {
		t.Fatal(err)
	}
	want := "postgresql://alice:" + token.Token + "@gw.example:15432/orders-db?sslmode=verify-full&sslrootcert=" + w.CAFile
	if token.DSN != want || !strings.Contains(out, `Z"`) {
		t.Errorf("dsn %s, want %s", token.DSN, want)
	}
	if dsn := tm.ok("token", "orders-db", "-o", "dsn"); !regexp.MustCompile(`^postgresql://alice:\S+@gw\.example:15432/orders-db\?sslmode=verify-full&sslrootcert=/\S+\n$`).MatchString(dsn) {
		t.Errorf("dsn %s", dsn)
	}
	env := tm.ok("token", "orders-db", "-o", "env")
	for _, want := range []string{
		"export PGHOST='gw.example'\n", "export PGPORT='15432'\n", "export PGUSER='alice'\n", "export PGDATABASE='orders-db'\n",
		"export PGSSLMODE='verify-full'\n", "export PGSSLROOTCERT='" + w.CAFile + "'\n", "export PGPASSWORD='",
	} {
		if !strings.Contains(env, want) {
			t.Errorf("no %q in\n%s", want, env)
		}
	}
	tm.fails(exitDenied, "token", "secret-db")
	tm.fails(exitDenied, "token", "no-such-db")
	tm.fails(exitUsage, "token")
	tm.fails(exitUsage, "token", "a", "b")
	tm.fails(exitUsage, "token", "orders-db", "--ttl", "-1m")
	tm.fails(exitUsage, "token", "orders-db", "--ttl", "1000h")
	tm.fails(exitUsage, "token", "orders-db", "-o", "xml")
}

func TestReviewCommands(t *testing.T) {
	w := apitest.New(t)
	w.Review(t, "rv_1", "alice")
	w.Review(t, "rv_2", "alice")
	alice, dave := at(t, w, w.Token(t, "alice").Reveal()), at(t, w, w.Token(t, "dave").Reveal())
	wantKeys(t, dave.ok("review", "ls", "-o", "json"), "id", "session", "identity", "actor", "resource", "command", "state", "expires_at")
	if out := dave.ok("review", "ls"); !strings.Contains(out, "UPDATE payments SET status = $1 WHERE id = 7") {
		t.Errorf("ls %s", out)
	}
	if out := dave.ok("review", "show", "rv_1"); !strings.Contains(out, "$1 = 'refunded'") || !strings.Contains(out, "Payments need a second pair of eyes.") {
		t.Errorf("show %s", out)
	}
	if said := alice.fails(exitDenied, "review", "approve", "rv_1"); !strings.Contains(said, "nobody decides over their own command") {
		t.Errorf("said %s", said)
	}
	if out := dave.ok("review", "approve", "rv_1", "--reason", "fine"); !strings.Contains(out, "rv_1 approved") {
		t.Errorf("approve %s", out)
	}
	dave.fails(exitFailed, "review", "deny", "rv_1")
	if out := dave.ok("review", "ls", "--quiet"); out != "rv_2\n" {
		t.Errorf("pending %q", out)
	}
	if out := dave.ok("review", "deny", "rv_2"); !strings.Contains(out, "rv_2 denied") {
		t.Errorf("deny %s", out)
	}
	if out := dave.ok("review", "ls", "-o", "json"); out != "[]\n" {
		t.Errorf("nothing is %q", out)
	}
	if out := dave.ok("review", "ls", "--state", "all", "-q"); len(strings.Fields(out)) != 2 {
		t.Errorf("all %q", out)
	}
	dave.fails(exitFailed, "review", "show", "rv_none")
	dave.fails(exitUsage, "review", "show")
	dave.fails(exitUsage, "review")
	if said := dave.fails(exitUsage, "review", "aprove", "rv_1"); !strings.Contains(said, "did you mean `postern review approve`?") {
		t.Errorf("said %s", said)
	}
}

func TestSessionCommands(t *testing.T) {
	w := apitest.New(t)
	info, rec := w.Session(t, "ss_1", "alice")
	w.EndSession(t, info, rec)
	_, live := w.Session(t, "ss_2", "alice")
	defer func() {
		if _, err := live.Close(); err != nil {
			t.Error(err)
		}
	}()
	adam := at(t, w, w.Token(t, "adam").Reveal())
	out := adam.ok("session", "ls", "-o", "json")
	wantKeys(t, out, "id", "identity", "actor", "resource", "started_at", "ended_at", "commands", "denied", "masked_values")
	if !strings.Contains(out, `"ended_at": null`) {
		t.Errorf("a live session has an end:\n%s", out)
	}
	for args, want := range map[string]string{"--live": "ss_2\n", "--ended": "ss_1\n", "--identity=alice": "ss_2\nss_1\n", "--identity=dave": "", "--limit=1": "ss_2\n"} {
		if got := adam.ok("session", "ls", "-q", args); got != want {
			t.Errorf("ls %s: %q, want %q", args, got, want)
		}
	}
	adam.fails(exitUsage, "session", "ls", "--live", "--ended")
	if out := adam.ok("session", "show", "ss_1"); !strings.Contains(out, "id: ss_1\n") || !strings.Contains(out, "client: psql\n") {
		t.Errorf("show %s", out)
	}
	if out := adam.ok("session", "replay", "ss_1"); !strings.Contains(out, "SELECT 1") {
		t.Errorf("replay %s", out)
	}
	lines := strings.Split(strings.TrimSpace(adam.ok("session", "export", "ss_1")), "\n")
	if len(lines) != 4 || slices.ContainsFunc(lines, func(line string) bool { return keysOf(t, line)[0] != "t" || keysOf(t, line)[1] != "kind" }) {
		t.Errorf("export %q", lines)
	}
	if code, out, said := adam.run("session", "export", "ss_2"); code != exitDenied || out != "" || !strings.Contains(said, "names you in watch") {
		t.Errorf("a live session, without the right to watch it: %d %s %s", code, out, said)
	}
	alice := at(t, w, w.Token(t, "alice").Reveal())
	code, out, said := alice.run("session", "export", "ss_2")
	if code != 0 || strings.Contains(out, "problem") || !strings.Contains(said, "the session is open") {
		t.Errorf("export of a live session: %d %s %s", code, out, said)
	}
	file := filepath.Join(t.TempDir(), "s.jsonl")
	adam.ok("session", "export", "ss_1", "--file", file)
	adam.fails(exitFailed, "session", "export", "ss_1", "--file", file) // it exists
	if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), "\n") != 4 {
		t.Errorf("file: %v %s", err, text)
	}
	if out := adam.ok("session", "kill", "ss_2"); out != "ss_2 ended\n" {
		t.Errorf("kill %q", out)
	}
	if out := adam.ok("session", "kill", "ss_2"); out != "ss_2 was over already\n" {
		t.Errorf("kill again %q", out)
	}
	at(t, w, w.Token(t, "dave").Reveal()).fails(exitFailed, "session", "kill", "ss_1")
}

func TestAuditCommands(t *testing.T) {
	w := apitest.New(t)
	at(t, w, w.Token(t, "alice").Reveal()).ok("token", "orders-db")
	audrey := at(t, w, w.Token(t, "audrey").Reveal())
	if out := audrey.ok("audit", "tail"); !regexp.MustCompile(`^1 \S+Z token\.create ok identity=alice target=user:alice resource=orders-db source=127\.0\.0\.1\n$`).MatchString(out) {
		t.Errorf("tail %s", out)
	}
	wantKeys(t, audrey.ok("audit", "tail", "-n", "1", "-o", "json"), "seq", "time", "action", "identity", "kind", "resource", "outcome", "target", "source", "policy")
	if out := audrey.ok("audit", "verify"); !strings.HasPrefix(out, "verified: 1 entries") {
		t.Errorf("verify %s", out)
	}
	dir := t.TempDir()
	key := strings.TrimSpace(audrey.ok("audit", "key"))
	audrey.ok("audit", "export", "--file", filepath.Join(dir, "a.jsonl"))
	if out := audrey.ok("audit", "verify", "--file", filepath.Join(dir, "a.jsonl"), "--key", key); !strings.HasPrefix(out, "verified: 2 entries") {
		t.Errorf("verify %s", out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "a.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Replace(text, []byte(`alice`), []byte(`mally`), 1)
	if err := os.WriteFile(filepath.Join(dir, "b.jsonl"), forged, 0o600); err != nil {
		t.Fatal(err)
	}
	if said := audrey.fails(exitFailed, "audit", "verify", "--file", filepath.Join(dir, "b.jsonl"), "--key", key); !strings.Contains(said, "not what was written") {
		t.Errorf("said %s", said)
	}
	at(t, w, w.Token(t, "alice").Reveal()).fails(exitDenied, "audit", "tail")
}

func TestObjectCommands(t *testing.T) {
	w := apitest.New(t)
	adam := at(t, w, w.Token(t, "adam").Reveal())
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("a.yaml", "kind: Rule\nname: a\nwhen: command.verb == \"truncate\"\nthen: deny") // without a line's end
	write("b.yml", "kind: Rule\nname: b\nwhen: command.verb == \"alter\"\nthen: deny\n")
	write("notes.txt", "not an object")
	if out := adam.ok("plan", "-f", dir); !strings.Contains(out, "Rule a would be created") || !strings.Contains(out, "Rule b would be created") {
		t.Errorf("plan %s", out)
	}
	if out := adam.ok("apply", "-f", dir); out != "Rule a created\nRule b created\n" {
		t.Errorf("apply %s", out)
	}
	if out := adam.ok("apply", "-f", dir); out != "nothing changes\n" {
		t.Errorf("apply again %s", out)
	}
	adam.in = "kind: Rule\nname: a\nwhen: command.verb == \"grant\"\nthen: deny\n"
	if out := adam.ok("apply", "-f", "-"); out != "Rule a changed\n" {
		t.Errorf("apply of stdin %s", out)
	}
	if out := adam.ok("get", "rule", "a"); !strings.Contains(out, "name: a\n") || !strings.Contains(out, "grant") {
		t.Errorf("get %s", out)
	}
	if out := adam.ok("get", "rule"); !strings.Contains(out, "no-drop") || !strings.Contains(out, "KIND") {
		t.Errorf("get %s", out)
	}
	wantKeys(t, adam.ok("get", "rule", "-o", "json"), "kind", "name", "source", "yaml")
	if out := adam.ok("get", "-o", "yaml"); strings.Count(out, "---\n") != 6 {
		t.Errorf("get %s", out)
	}
	for kind, want := range map[string]string{"rules": `; did you mean "Rule"?`, "bogus": "expected one of Resource, Access, Rule, "} {
		for _, line := range [][]string{{"get", kind}, {"get", kind, "a"}, {"delete", kind, "a"}} {
			if said := adam.fails(exitUsage, line...); !strings.Contains(said, `"`+kind+`" is not a kind`) || !strings.Contains(said, want) {
				t.Errorf("%v: said %s", line, said)
			}
		}
	}
	if out := adam.ok("delete", "rule", "a"); out != "Rule a deleted\n" {
		t.Errorf("delete %s", out)
	}
	adam.fails(exitFailed, "delete", "rule", "a")
	adam.fails(exitUsage, "apply")
	adam.fails(exitUsage, "delete", "rule")
	bad := write("z.yaml", "kind: Rule\nname: z\nwhen: command.verb == \"x\"\nthen: perhaps\n")
	if said := adam.fails(exitUsage, "apply", "-f", dir); !strings.Contains(said, bad+":4: ") {
		t.Errorf("the mistake isn't at its place:\n%s", said)
	}
	adam.in = "# one line\nkind: Rule\nname: nowhere\non: {names: [order-db]}\nwhen: command.verb == \"x\"\nthen: deny\n"
	for _, verb := range []string{"plan", "apply"} {
		code, out, said := adam.run(verb, "-f", filepath.Join(dir, "b.yml"), "-f", "-")
		if want := "warning: -:4: Rule nowhere: on.names[0]: there is no resource \"order-db\"; did you mean \"orders-db\"?\n"; code != 0 || said != want || !strings.Contains(out, "nowhere") {
			t.Errorf("%s: %d %s%s", verb, code, out, said)
		}
	}
	empty := write("empty/e.yaml", "\n---\n")
	for _, line := range [][]string{{"plan", "-f", empty}, {"apply", "-f", filepath.Dir(empty)}, {"policy", "test", empty}} {
		if said := adam.fails(exitUsage, line...); !strings.HasPrefix(said, "error: there is nothing in "+line[2]+"\n") {
			t.Errorf("%v: said %s", line, said)
		}
	}
	at(t, w, w.Token(t, "alice").Reveal()).fails(exitDenied, "plan", "-f", filepath.Join(dir, "a.yaml"))
	if said := adam.fails(exitUsage, "secret", "seal"); !strings.Contains(said, "hint: give the secret with --secret-file or --secret-stdin") {
		t.Errorf("said %s", said)
	}
	adam.in = "hunter2"
	if out := adam.ok("secret", "seal", "--secret-stdin"); out == "" || strings.Contains(out, "hunter2") {
		t.Errorf("sealed %s", out)
	}
}

func TestPolicyCommands(t *testing.T) {
	w := apitest.New(t)
	audrey := at(t, w, w.Token(t, "audrey").Reveal())
	out := audrey.ok("policy", "explain", "orders-db", "--as", "alice", "-c", "DROP TABLE orders", "-o", "json")
	keys := keysOf(t, out)
	for _, want := range []string{"decision", "rule", "commands", "masks"} {
		if !slices.Contains(keys, want) {
			t.Errorf("no %s in %v", want, keys)
		}
	}
	if !strings.Contains(out, `"decision": "deny"`) || !strings.Contains(out, `"rule": "no-drop"`) {
		t.Errorf("explain %s", out)
	}
	if out := audrey.ok("policy", "explain", "orders-db", "--as", "alice", "-c", "DROP TABLE orders"); !strings.HasPrefix(out, "deny by no-drop\n  Tables stay.\n") {
		t.Errorf("explain %s", out)
	}
	audrey.fails(exitUsage, "policy", "explain", "orders-db")
	file := filepath.Join(t.TempDir(), "tests.yaml")
	text := "cases:\n  - {as: alice, groups: [engineering], resource: orders-db, command: DROP TABLE x, expect: deny}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := audrey.ok("policy", "test", file); !strings.Contains(out, file+":2") || !strings.Contains(out, "ok") {
		t.Errorf("test %s", out)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(text, "expect: deny", "expect: allow", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := audrey.fails(exitFailed, "policy", "test", file); !strings.Contains(said, "1 of 1 expectations don't hold") {
		t.Errorf("said %s", said)
	}
	if err := os.WriteFile(file, []byte(text+"  - {as: alice, expect: perhaps}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := audrey.fails(exitUsage, "policy", "test", file); !strings.Contains(said, file+":3: ") || strings.Contains(said, "tests:") {
		t.Errorf("the mistake isn't at its place:\n%s", said)
	}
}

func TestAccountCommands(t *testing.T) {
	w := apitest.New(t)
	adam := at(t, w, w.Token(t, "adam").Reveal())
	out := adam.ok("service-account", "create", "ci", "--group", "ci", "--group", "bots", "-o", "json")
	wantKeys(t, out, "name", "key")
	var key printedKey
	if err := json.Unmarshal([]byte(out), &key); err != nil {
		t.Fatal(err)
	}
	ci := at(t, w, key.Key)
	if out := ci.ok("whoami"); !strings.Contains(out, "service") || !strings.Contains(out, "bots, ci") {
		t.Errorf("whoami %s", out)
	}
	wantKeys(t, adam.ok("service-account", "rotate", "ci", "-o", "json"), "name", "key")
	ci.fails(exitSignedIn, "whoami")
	code, out, said := adam.run("service-account", "rotate", "ci")
	if code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(said, "isn't shown again") {
		t.Errorf("rotate: %d %q %q", code, out, said)
	}
	ci = at(t, w, strings.TrimSpace(out))
	ci.ok("whoami")
	if out := adam.ok("service-account", "disable", "ci"); out != "service:ci disabled\n" {
		t.Errorf("disable %s", out)
	}
	ci.fails(exitSignedIn, "whoami")
	if out := adam.ok("service-account", "ls"); !strings.Contains(out, "disabled") {
		t.Errorf("ls %s", out)
	}
	if out := adam.ok("service-account", "enable", "ci", "-o", "json"); !strings.Contains(out, `"disabled": false`) {
		t.Errorf("enable %s", out)
	}
	ci.ok("whoami")
	adam.ok("service-account", "delete", "ci")
	ci.fails(exitSignedIn, "whoami")
	adam.fails(exitFailed, "service-account", "delete", "ci")
	adam.fails(exitFailed, "user", "disable", "adam")
	if out := adam.ok("user", "disable", "alice"); out != "user:alice disabled\n" {
		t.Errorf("disable %s", out)
	}
	if out := adam.ok("user", "ls", "-o", "yaml"); strings.Contains(strings.ToLower(out), "hash") || !strings.Contains(out, "- name: alice\n") {
		t.Errorf("ls %s", out)
	}
	at(t, w, w.Token(t, "dave").Reveal()).fails(exitDenied, "user", "ls")
	tm := &terminal{t: t, env: map[string]string{}, now: time.Now, in: "correct horse\n"}
	if out := tm.ok("user", "hash-password", "--password-stdin"); !strings.HasPrefix(out, "$argon2id$") {
		t.Errorf("hash %s", out)
	}
	tm.in = "short\n"
	tm.fails(exitUsage, "user", "hash-password", "--password-stdin")
}

func TestStatus(t *testing.T) {
	w := apitest.New(t)
	audrey := at(t, w, w.Token(t, "audrey").Reveal())
	if out := audrey.ok("status"); !strings.Contains(out, "2 resources") || !strings.Contains(out, "policy ") {
		t.Errorf("status %s", out)
	}
	wantKeys(t, audrey.ok("status", "-o", "json"), "version", "sessions", "resources", "objects", "policy", "warnings")
	at(t, w, w.Token(t, "alice").Reveal()).fails(exitDenied, "status")
}

// A demo that can't listen says what to do about it: there need be no other one.
func TestDemoAddresses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	tm := &terminal{t: t, env: map[string]string{}, now: time.Now}
	for address, want := range map[string]string{
		"foo":             "hint: choose another address with --https, like 127.0.0.1:18443\n",
		l.Addr().String(): "hint: another demo may be running; end it, or choose another address with --https\n",
	} {
		if said := tm.fails(exitUsage, "demo", "--dir", t.TempDir(), "--https", address, "--postgres", "127.0.0.1:0", "--ssh", "127.0.0.1:0"); !strings.Contains(said, want) {
			t.Errorf("%s: said %s", address, said)
		}
	}
}

// An argument that is empty, as a variable that isn't set makes it, is missing:
// nobody is called with it.
func TestEmptyArguments(t *testing.T) {
	w := apitest.New(t)
	tm := at(t, w, w.Token(t, "alice").Reveal())
	for line, want := range map[string]string{
		"review approve _":         "postern review approve needs the ID of a review: what is given is empty",
		"review show _":            "the ID of a review",
		"session kill _":           "postern session kill: argument 1 is empty",
		"token revoke _":           "the token's ID",
		"get rule _":               "postern get: argument 2 is empty",
		"delete _ name":            "postern delete: argument 1 is empty",
		"service-account delete _": "a NAME",
		"token _":                  "the RESOURCE",
		"exec _ -c x":              "the RESOURCE",
		"request _ --reason x":     "the RESOURCE",
	} {
		given := strings.Fields(line)
		for i, word := range given {
			if word == "_" {
				given[i] = " "
			}
		}
		if said := tm.fails(exitUsage, given...); !strings.Contains(said, want) {
			t.Errorf("%s: said %s", line, said)
		}
	}
}

func TestUnreachable(t *testing.T) {
	w := apitest.New(t)
	tm := at(t, w, "pst_x")
	delete(tm.env, "POSTERN_CA_FILE")
	if said := tm.fails(exitFailed, "whoami"); !strings.Contains(said, "hint: a gateway that has no certificate of its own makes a CA") {
		t.Errorf("said %s", said)
	}
	if said := tm.fails(exitFailed, "whoami", "--server", "https://127.0.0.1:1"); !strings.Contains(said, "error: reach https://127.0.0.1:1: ") {
		t.Errorf("said %s", said)
	}
	tm.fails(exitUsage, "whoami", "--server", "http://gw.example")
	tm.fails(exitUsage, "whoami", "--ca-file", "/no/such/file")
	tm.fails(exitUsage, "nothing")
	tm.fails(exitUsage, "--nothing")
	tm.fails(exitUsage, "whoami", "more")
}

// What comes from elsewhere can't move the cursor, set colours or hide text.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü":         "plain ü",
		"\x1b[31mred\x07": `\u001b[31mred\u0007`,
		"a\u202eb":        `a\u202eb`,
		"a\r\nb\tc":       "a\\u000d\nb\tc",
		"\u2028":          `\u2028`,
		"\u009b31m":       `\u009b31m`,
	} {
		if got := printable(in, true); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	var b bytes.Buffer
	(&tui{out: &b}).table([]string{"A", "B"}, [][]string{{"x\ny\x1b", ""}})
	if got, want := b.String(), "A          B\nx y\\u001b  -\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

var update = flag.Bool("update", false, "write docs/cli.md anew")

// TestEveryCommandHasAnExample holds each command to an example, and the
// documentation to the commands.
func TestDocumentation(t *testing.T) {
	root := newRootCommand(&app{ui: &tui{}, getenv: func(string) string { return "" }})
	var b strings.Builder
	b.WriteString("# The command line\n\nMade from the commands themselves by a test in cmd/postern; `postern COMMAND --help` says the same.\n\n" +
		"| exit code | |\n|---|---|\n| 0 | done |\n| 1 | failed |\n| 2 | bad usage |\n| 3 | not signed in, or expired |\n" +
		"| 4 | denied by policy |\n| 5 | denied in review, or timed out there |\n\n" +
		"| environment | |\n|---|---|\n| `POSTERN_SERVER` | the gateway's URL |\n" +
		"| `POSTERN_TOKEN` | a service account's key, a login token, or a JWT of an issuer in `identity.workloads` |\n" +
		"| `POSTERN_CA_FILE` | certificates to check the gateway's against, PEM |\n" +
		"| `POSTERN_KEYRING` | `off`: keep logins in a file, not in the system's keyring |\n" +
		"| `POSTERN_TPM` | the TPM 2.0 for the keys of logins: a device, or the Unix socket of one in software (default `/dev/tpmrm0`, on Linux); `off`: none |\n" +
		"| `POSTERN_CONFIG` | `serve`: the configuration file; else, unless it ends in .yaml or .yml, the folder that logins are kept in |\n\n" +
		"Flags of every command that calls the gateway:\n\n" + flagsOf(root.PersistentFlags()) + "\n")
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			if sub.Example == "" || sub.Short == "" {
				t.Errorf("%s has no example or no summary", sub.CommandPath())
			}
			if !sub.HasSubCommands() || strings.Contains(sub.Use, " ") { // `token RESOURCE` beside `token ls`
				about := sub.Long
				if about == "" {
					about = sub.Short + "."
				}
				fmt.Fprintf(&b, "## %s\n\n%s\n\n```\n%s\n```\n\n", strings.TrimSuffix(strings.TrimPrefix(sub.UseLine(), "postern "), " [flags]"), about, dedent(sub.Example))
				if flags := flagsOf(sub.LocalNonPersistentFlags()); flags != "" {
					b.WriteString(flags + "\n")
				}
			}
			walk(sub)
		}
	}
	walk(root)
	want := strings.TrimRight(b.String(), "\n") + "\n"
	const file = "../../docs/cli.md"
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/cli.md is out of date; go test ./cmd/postern -run Documentation -update\n%s", diff)
	}
}

func dedent(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "  "), "\n  ", "\n")
}

func flagsOf(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		_, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(&b, "- `%s`: %s\n", name, usage)
	})
	return b.String()
}

func TestExecCode(t *testing.T) {
	for _, test := range []struct {
		code int
		said string
		want int
	}{
		{0, "NOTICE:  postern: waiting for approval by group:dba: https://gw/reviews/rv_1", exitDone},
		{1, `ERROR:  postern: denied by rule "no-drop": Tables stay.`, exitDenied},
		{1, `ERROR:  postern: denied by rule "payments": review rv_1 was denied by dave: no`, exitReview},
		{1, `ERROR:  postern: denied by rule "payments": review rv_1 was not approved in time. Run the command again to ask again.`, exitReview},
		{1, `ERROR:  relation "x" does not exist`, exitFailed},
		{2, "psql: error: connection refused", exitFailed},
	} {
		if got := execCode(test.code, test.said); got != test.want {
			t.Errorf("%d %q: %d, want %d", test.code, test.said, got, test.want)
		}
	}
}

func TestDocumentsKeepTheirPlaces(t *testing.T) {
	var d documents
	d.add("a.yaml", []byte("one\ntwo"))
	d.add("b.yaml", []byte("three\n"))
	if got, want := string(d.text), "one\ntwo\n---\nthree\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if diff := cmp.Diff([]part{{"a.yaml", 1}, {"b.yaml", 4}}, d.parts, cmp.AllowUnexported(part{})); diff != "" {
		t.Error(diff)
	}
}

// fakePsql stands in for psql: it says what it was given.
const fakePsql = `#!/bin/sh
echo "args: $*"
env | grep -E '^(PG|POSTERN)' | grep -v -E '^(PGPASSFILE|POSTERN_BIN)=' | sort
stat -c 'mode: %a' "$PGPASSFILE"
cat "$PGPASSFILE"
echo "passfile: $PGPASSFILE"
echo "ERROR:  postern: denied by rule \"no-drop\": Tables stay." >&2
exit ${FAKE_EXIT:-1}
`

// The session token reaches the client program in a file that only its owner
// reads and that is gone afterwards: not in arguments, not in the environment.
func TestConnectHandsOverTheTokenInAFile(t *testing.T) {
	w := apitest.New(t)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "psql"), []byte(fakePsql), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("POSTERN_TOKEN", "not for psql")
	t.Setenv("PGPASSWORD", "another server's")
	t.Setenv("PGHOSTADDR", "192.0.2.1")
	tm := at(t, w, w.Token(t, "alice").Reveal())
	code, out, _ := tm.run("exec", "orders-db", "-c", "DROP TABLE x", "--", "--csv")
	if code != exitDenied {
		t.Errorf("exit %d, want %d", code, exitDenied)
	}
	match := regexp.MustCompile(`(?s)^args: --no-psqlrc --set=ON_ERROR_STOP=1 --command=DROP TABLE x --csv\n` +
		`PGDATABASE=orders-db\nPGHOST=gw\.example\nPGPORT=15432\nPGREQUIREAUTH=scram-sha-256\n` +
		`PGSSLCERT=\S+\nPGSSLKEY=\S+\nPGSSLMODE=verify-full\nPGSSLROOTCERT=(\S+)\nPGUSER=alice\+(tk_\w+)\n` +
		`mode: 600\n\*:\*:\*:alice\+(?:tk_\w+):(\S+)\npassfile: (\S+)\n$`).FindStringSubmatch(out)
	if match == nil {
		t.Fatalf("psql was given\n%s", out)
	}
	if match[1] != w.CAFile {
		t.Errorf("CA file %s, want %s", match[1], w.CAFile)
	}
	cred := postern.Credential{User: "alice", Secret: postern.NewSecret(match[3]), Resource: "orders-db"}
	if _, err := w.Identity.Admit(t.Context(), cred); err == nil {
		t.Error("the token enters without the key that psql was given with it")
	}
	token, err := w.Store.Token(t.Context(), match[2])
	if err != nil {
		t.Fatal(err)
	}
	cred.Proof = postern.Proof{Key: token.Key}
	if _, err := w.Identity.Admit(t.Context(), cred); err != nil || token.Key == "" {
		t.Errorf("what psql was given doesn't enter: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(match[4])); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the password file is still there: %v", err)
	}
	t.Setenv("FAKE_EXIT", "7")
	if code, _, said := tm.run("connect", "orders-db", "--", "-c", "SELECT 1"); code != 7 || strings.Contains(said, "error: ") {
		t.Errorf("exit %d, said %s", code, said)
	}
	tm.fails(exitDenied, "connect", "secret-db")
	tm.fails(exitUsage, "connect")
	tm.fails(exitUsage, "connect", "orders-db", "-c", "x")
	tm.fails(exitUsage, "connect", "orders-db", "more")
	tm.fails(exitUsage, "exec", "orders-db")
	t.Setenv("PATH", t.TempDir())
	if said := tm.fails(exitUsage, "connect", "orders-db"); !strings.Contains(said, "psql is not installed") || !strings.Contains(said, "hint: install") {
		t.Errorf("said %s", said)
	}
}
