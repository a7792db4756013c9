package test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/store/storetest"
)

// Whoever has the gateway's disk can change what he likes: `verify` names it, or
// the gateway doesn't even start.
func TestTamperingIsNamed(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	session := func(user string, statements ...string) (id string) {
		t.Helper()
		conn := g.mustConnect(user, g.sessionToken(g.login(user)))
		for _, text := range statements {
			_, _ = conn.Exec(t.Context(), text).ReadAll() // some are denied
		}
		_ = conn.Close(t.Context())
		out, err := g.run(g.login("dave"), "session", "ls", "--identity", user, "--quiet", "--limit", "1")
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	first := session("alice", "SELECT 1", "DROP TABLE orders", "SELECT 2")
	g.stop()
	old := copyFolder(t, g.path("data"))
	g.start()
	session("alice", "SELECT 3")
	second := session("dave", "SELECT 4", "DROP TABLE customers")
	dave := g.login("dave")
	kept, err := g.run(dave, "audit", "checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	g.write("kept.checkpoint", kept)
	verify := func(args ...string) (string, error) {
		t.Helper()
		return g.run(g.login("dave"), append([]string{"audit", "verify"}, args...)...)
	}
	if out, err := verify("--since", g.path("kept.checkpoint")); err != nil || !strings.Contains(out, "; 3 recordings") {
		t.Fatalf("before any change: %v\n%s", err, out)
	}
	g.stop()
	whole := copyFolder(t, g.path("data"))

	store := func(statements ...string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			storetest.Tamper(t, g.path("data"), statements...)
		}
	}
	recording := func(id string) string {
		t.Helper()
		found, err := filepath.Glob(g.path("data/recordings/*/*/*/" + id + ".prec"))
		if err != nil || len(found) != 1 {
			t.Fatalf("recording of %s: %v, %v", id, found, err)
		}
		return found[0]
	}
	key := func(change func([]byte)) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			text, err := os.ReadFile(recording(first))
			if err != nil {
				t.Fatal(err)
			}
			at := 34 + 1 + int(text[34]) // docs/recording-format.md, "Header"
			change(text[at+2:][:int(text[at])<<8|int(text[at+1])])
			if err := os.WriteFile(recording(first), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*testing.T)
		args   []string
		says   string
		starts bool
	}{
		"edit": {store(`UPDATE audit_batches SET packed = pack(replace(unpack(packed), 'no-drop-table', 'no-drop-tables'))`), nil, "at entry ", true},
		"spoil what is compressed": {
			store(`UPDATE audit_batches SET packed = substr(packed, 1, length(packed) - 1) WHERE first = 1`),
			nil, "at entry 1: it can't be read: what the store has in its place is damaged", true,
		},
		"delete": {
			store(`UPDATE audit_batches SET packed = pack(substr(unpack(packed), instr(unpack(packed), char(10)) + 1)) WHERE first = (SELECT min(first) FROM audit_batches WHERE last > first)`),
			nil, "stands in its place", true,
		},
		"insert": {
			store(`UPDATE audit_batches SET packed = pack(unpack(packed) || unpack(packed)) WHERE first = (SELECT min(first) FROM audit_batches WHERE first = last)`),
			nil, "stands in its place", true,
		},
		"reorder": {store(
			`UPDATE audit_batches SET first = -1, last = -1 WHERE first = 1`,
			`UPDATE audit_batches SET first = 1, last = 1 WHERE first = 2`, `UPDATE audit_batches SET first = 2, last = 2 WHERE first = -1`,
		), nil, "at entry 1: entry 2 stands in its place", true},
		"truncate": {store(`DELETE FROM audit_batches WHERE first = (SELECT max(first) FROM audit_batches)`), nil, "hashes where there should be", false},
		"roll the store back to an old copy": {func(t *testing.T) {
			t.Helper()
			replace(t, filepath.Join(old, "postern.db"), g.path("data/postern.db"))
		}, nil, "an old copy of the store was put back", false},
		"roll everything back to an old copy": {func(t *testing.T) {
			t.Helper()
			if err := os.RemoveAll(g.path("data")); err != nil {
				t.Fatal(err)
			}
			copyInto(t, old, g.path("data"))
		}, []string{"--since", g.path("kept.checkpoint")}, "an old copy was put back", true},
		"swap a recording for another": {func(t *testing.T) {
			t.Helper()
			replace(t, recording(second), recording(first))
		}, nil, "the recording of session " + first + " was replaced", true},
		"change a recording": {func(t *testing.T) {
			t.Helper()
			text, err := os.ReadFile(recording(first))
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)/2] ^= 1
			if err := os.WriteFile(recording(first), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}, nil, "the recording of session " + first, true},
		"destroy a recording's key": {key(func(b []byte) { clear(b) }), nil, "the recording of session " + first, true},
		"change a recording's key":  {key(func(b []byte) { b[len(b)/2] ^= 1 }), nil, "the recording of session " + first, true},
		"remove a recording": {func(t *testing.T) {
			t.Helper()
			if err := os.Remove(recording(second)); err != nil {
				t.Fatal(err)
			}
		}, nil, "the recording of session " + second + " is missing", true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(g.path("data")); err != nil {
				t.Fatal(err)
			}
			copyInto(t, whole, g.path("data"))
			c.change(t)
			if c.starts {
				g.start()
				defer g.stop()
				if out, err := verify(c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("verify: %v\n%s", err, out)
				}
				return
			}
			g.launch()
			defer g.kill()
			if err := g.answers("/readyz"); err == nil || !strings.Contains(g.logged(), c.says) {
				t.Errorf("the gateway started: %v\n%s", err, g.logged())
			}
		})
	}
}

// copyFolder copies a folder to a new one.
func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	copyInto(t, from, to)
	return to
}

func copyInto(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	// CopyFS leaves modes to the umask; the vault's key is for its owner alone.
	err := filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if had, err := os.ReadFile(to); err != nil || bytes.Equal(had, text) {
		t.Fatalf("%s: nothing to replace, %v", to, err)
	}
	for _, aside := range []string{to + "-wal", to + "-shm"} {
		_ = os.Remove(aside) // of the store, where there are some
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
