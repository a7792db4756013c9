package witness_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"postern"
	"postern/internal/audit"
	"postern/internal/audit/sink"
	"postern/internal/audit/witness"
	"postern/internal/store"
	"postern/internal/vault"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gateway is a log over a store and a key in one folder.
type gateway struct {
	dir string
	cfg audit.Config
}

func newGateway(t *testing.T, dir string, witnesses ...audit.Witness) *gateway {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite", dir)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	v, err := vault.Open(dir, postern.Secret{})
	must(t, err)
	key, err := audit.OpenKey(t.Context(), db, v, audit.Origin, rand.Reader)
	must(t, err)
	return &gateway{dir, audit.Config{Store: db, Key: key, Witnesses: witnesses}}
}

func (g *gateway) add(t *testing.T, n int) *audit.Log {
	t.Helper()
	l, err := audit.Open(t.Context(), g.cfg)
	must(t, err)
	for range n {
		must(t, l.Append(t.Context(), postern.AuditEntry{Action: "login", Outcome: "ok"}))
	}
	must(t, l.Close(context.Background()))
	return l
}

// Who sets the whole machine back to an old copy, the key and the anchor
// included, meets the witness.
func TestFileWitness(t *testing.T) {
	elsewhere := witness.File{Path: filepath.Join(t.TempDir(), "checkpoints")}
	dir := t.TempDir()
	g := newGateway(t, dir, elsewhere)
	g.add(t, 3)
	old := filepath.Join(t.TempDir(), "old")
	must(t, os.CopyFS(old, os.DirFS(dir)))
	must(t, os.Chmod(filepath.Join(old, vaultFile(t, old)), 0o600))
	l := g.add(t, 4)
	if _, err := l.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	kept, err := elsewhere.Kept(t.Context())
	must(t, err)
	if size, err := audit.CheckpointSize(kept, l.PublicKey()); err != nil || size != 7 {
		t.Errorf("the witness keeps %d, %v", size, err)
	}

	back := newGateway(t, old, elsewhere)
	_, err = audit.Open(t.Context(), back.cfg)
	var tampered *audit.TamperedError
	if !errors.As(err, &tampered) || tampered.Seq != 4 || !strings.Contains(err.Error(), elsewhere.Path) {
		t.Errorf("an old copy was opened: %v", err)
	}
	// Going on from the old copy with other entries doesn't help.
	back.cfg.Witnesses = nil
	back.add(t, 9)
	back.cfg.Witnesses = []audit.Witness{elsewhere}
	if _, err = audit.Open(t.Context(), back.cfg); !errors.As(err, &tampered) {
		t.Errorf("a fork was opened: %v", err)
	}

	// A witness that can't be asked keeps nobody from starting, and is no proof either.
	g.cfg.Witnesses = []audit.Witness{witness.File{Path: "/nowhere/at/all"}}
	l = g.add(t, 1)
	if _, err := l.Verify(t.Context(), nil); err == nil || errors.As(err, &tampered) && tampered.Seq > 0 || !strings.Contains(err.Error(), "can't be asked") {
		t.Errorf("verify without the witness: %v", err)
	}
}

// vaultFile is the vault's key file, whose mode copying loses.
func vaultFile(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), "postern.db") {
			return e.Name()
		}
	}
	t.Fatal("no vault")
	return ""
}

func TestWebhookWitness(t *testing.T) {
	const key = "the witness's own key, of 32 byte"
	var mu sync.Mutex
	var got []string
	refuse := 1
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if refuse > 0 {
			refuse--
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		body, err := io.ReadAll(r.Body)
		must(t, err)
		wh, err := webhooks.NewWebhookRaw([]byte(key))
		must(t, err)
		must(t, wh.Verify(body, r.Header))
		var message struct{ Checkpoint string }
		must(t, json.Unmarshal(body, &message))
		got = append(got, message.Checkpoint)
	}))
	defer server.Close()
	g := newGateway(t, t.TempDir(), witness.Webhook{Poster: sink.NewPoster(nil), URL: server.URL, Key: postern.NewSecret(key), Now: time.Now})
	failed := 0
	g.cfg.Witnessed = func(_ string, err error) {
		if err != nil {
			failed++
		}
	}
	l := g.add(t, 5) // the first push is refused; closing the log tries again
	mu.Lock()
	defer mu.Unlock()
	if len(got) == 0 || failed != 1 {
		t.Fatalf("%d checkpoints came, %d pushes failed", len(got), failed)
	}
	if size, err := audit.CheckpointSize(got[len(got)-1], l.PublicKey()); err != nil || size != 5 {
		t.Errorf("the last was of %d entries, %v", size, err)
	}
}
