package vault

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern"
)

type sealedMap map[string]string

func (m sealedMap) Sealed(_ context.Context, name string) (string, error) {
	if text, ok := m[name]; ok {
		return text, nil
	}
	return "", fmt.Errorf("sealed secret %s: %w", name, postern.ErrNotFound)
}

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestResolve(t *testing.T) {
	v := open(t, t.TempDir())
	inline, err := v.SealSecret("", postern.NewSecret("from inline"))
	if err != nil {
		t.Fatal(err)
	}
	named, err := v.SealSecret("orders", postern.NewSecret("from store"))
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	r := &Resolver{
		Vault:  v,
		Sealed: sealedMap{"orders": named, "swapped": named},
		LookupEnv: func(name string) (string, bool) {
			value, ok := map[string]string{"DB": "from env\n", "EMPTY": ""}[name]
			return value, ok
		},
		Log: slog.New(slog.NewTextHandler(&logged, nil)),
	}
	for _, c := range []struct {
		ref  postern.SecretRef
		want string
	}{
		{postern.SecretRef{}, ""},
		{postern.SecretRef{Env: "DB"}, "from env\n"},
		{postern.SecretRef{File: write(t, "from file\n", 0o600)}, "from file"},
		{postern.SecretRef{File: write(t, "from file\r\n", 0o600)}, "from file"},
		{postern.SecretRef{File: write(t, "two\n\n", 0o600)}, "two\n"},
		{postern.SecretRef{Sealed: inline}, "from inline"},
		{postern.SecretRef{Sealed: "orders"}, "from store"},
	} {
		login, err := r.Resolve(t.Context(), postern.CredentialRefs{Username: "app", Password: c.ref, PrivateKey: c.ref})
		if err != nil {
			t.Errorf("%+v: %v", c.ref, err)
		}
		if login.Username != "app" || login.Password.Reveal() != c.want || login.PrivateKey.Reveal() != c.want || !login.Certificate.IsZero() {
			t.Errorf("%+v: %q, want %q", c.ref, login.Password.Reveal(), c.want)
		}
	}
	if logged.Len() > 0 {
		t.Errorf("warned of nothing: %s", &logged)
	}
	for _, c := range []struct {
		ref  postern.SecretRef
		want string
	}{
		{postern.SecretRef{Env: "NONE"}, "environment variable NONE is not set"},
		{postern.SecretRef{Env: "EMPTY"}, "environment variable EMPTY is empty"},
		{postern.SecretRef{File: "/does/not/exist"}, "/does/not/exist"},
		{postern.SecretRef{File: t.TempDir()}, "is not a plain file"},
		{postern.SecretRef{File: write(t, "\n", 0o600)}, "is empty"},
		{postern.SecretRef{File: write(t, strings.Repeat("hunter2", 10_000), 0o600)}, "is longer than 65536 bytes"},
		{postern.SecretRef{Sealed: "hunter2"}, "sealed: what is given isn't what `postern secret seal` printed"},
		{postern.SecretRef{Sealed: "swapped"}, "doesn't open"},
		{postern.SecretRef{Sealed: named}, "doesn't open"},
		{postern.SecretRef{Sealed: prefix + "hunter2"}, "doesn't open"},
		{postern.SecretRef{Vault: "db/orders#password"}, "this build reads secrets from env, file or sealed"},
		{postern.SecretRef{Env: "DB", File: "x"}, "more than one of"},
	} {
		_, err := r.Resolve(t.Context(), postern.CredentialRefs{Certificate: c.ref})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "certificate: ") {
			t.Errorf("%+v: %v, want %q", c.ref, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
}

func TestWarnsOfReadableFile(t *testing.T) {
	var logged bytes.Buffer
	r := &Resolver{Log: slog.New(slog.NewTextHandler(&logged, nil))}
	path := write(t, "hunter2", 0o600)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s, err := r.Secret(t.Context(), postern.SecretRef{File: path}); s.Reveal() != "hunter2" || err != nil {
			t.Fatal(err)
		}
	}
	if got := logged.String(); strings.Count(got, "can be read by others") != 1 || !strings.Contains(got, path) || strings.Contains(got, "hunter2") {
		t.Errorf("logged %q", got)
	}
}
