package vault

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern"
)

func open(t *testing.T, dir string) *Vault {
	t.Helper()
	v, err := Open(dir, postern.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func seal(t *testing.T, v *Vault, purpose, plain string) string {
	t.Helper()
	sealed, err := v.Seal(purpose, []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func opens(t *testing.T, v *Vault, purpose, sealed, want string) {
	t.Helper()
	got, err := v.Unseal(purpose, sealed)
	if err != nil || string(got) != want {
		t.Fatalf("got %q, %v", got, err)
	}
}

func stays(t *testing.T, v *Vault, purpose, sealed string) {
	t.Helper()
	if got, err := v.Unseal(purpose, sealed); !errors.Is(err, ErrSealed) {
		t.Fatalf("got %q, %v, want ErrSealed", got, err)
	}
}

func TestSeal(t *testing.T) {
	v := open(t, t.TempDir())
	for _, plain := range []string{"", "hunter2", strings.Repeat("x", maxPlain)} {
		sealed := seal(t, v, "p", plain)
		opens(t, v, "p", sealed, plain)
		stays(t, v, "q", sealed)
		if again := seal(t, v, "p", plain); again == sealed {
			t.Error("the same value sealed twice looks the same")
		}
	}
	if _, err := v.Seal("p", make([]byte, maxPlain+1)); err == nil {
		t.Error("sealed more than the limit")
	}
}

// Whatever bit of a sealed value is turned, it doesn't open.
func TestSealedIsWhole(t *testing.T) {
	v := open(t, t.TempDir())
	raw, err := parse(seal(t, v, "p", "hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		stays(t, v, "p", prefix+base64.RawURLEncoding.EncodeToString(bad))
	}
	for n := range raw {
		stays(t, v, "p", prefix+base64.RawURLEncoding.EncodeToString(raw[:n]))
	}
	stays(t, v, "p", "")
	stays(t, v, "p", "hunter2")
	stays(t, v, "p", prefix+"\n"+base64.RawURLEncoding.EncodeToString(raw))
}

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	v, other := open(t, dir), open(t, dir)
	before := seal(t, v, "p", "old")
	if err := v.Rotate(); err != nil {
		t.Fatal(err)
	}
	after := seal(t, v, "p", "new")
	if before[:len(prefix)+6] == after[:len(prefix)+6] {
		t.Error("the new value carries the old key's id")
	}
	opens(t, v, "p", before, "old")
	opens(t, other, "p", after, "new") // a process that was up before the rotation
	again := open(t, dir)
	opens(t, again, "p", before, "old")
	opens(t, again, "p", after, "new")
	if got := seal(t, again, "p", "x"); got[:len(prefix)+6] != after[:len(prefix)+6] {
		t.Error("after a restart another key than the newest seals")
	}
}

func TestRotateTogether(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	sealed := map[string]string{}
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			v, err := Open(dir, postern.Secret{}) // the first start races, too
			if err == nil {
				err = v.Rotate()
			}
			if err != nil {
				t.Error(err)
				return
			}
			text, err := v.Seal("p", []byte(name))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			sealed[name] = text
		})
	}
	wg.Wait()
	v := open(t, dir)
	for name, text := range sealed {
		opens(t, v, "p", text, name)
	}
}

func TestWrap(t *testing.T) {
	v := open(t, t.TempDir())
	wrapped, err := v.Wrap([]byte("key"), []byte("header"))
	if err != nil {
		t.Fatal(err)
	}
	if key, err := v.Unwrap(wrapped, []byte("header")); string(key) != "key" || err != nil {
		t.Errorf("%q, %v", key, err)
	}
	if _, err := v.Unwrap(wrapped, []byte("another")); !errors.Is(err, ErrSealed) {
		t.Errorf("opened for another header: %v", err)
	}
	if _, err := v.Unseal("recording key", prefix+base64.RawURLEncoding.EncodeToString(wrapped)); !errors.Is(err, ErrSealed) {
		t.Errorf("a bound key opened unbound: %v", err)
	}
}

func TestMasterKeyFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	sealed := seal(t, open(t, dir), "p", "v")
	path := filepath.Join(dir, "master.key")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	opens(t, open(t, dir), "p", sealed, "v")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(want string) {
		t.Helper()
		_, err := Open(dir, postern.Secret{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %q", err, want)
		}
		if strings.Contains(err.Error(), string(text[20:40])) {
			t.Fatalf("the error holds the key: %v", err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(path, 0o640))
	refused("can be read by others")
	must(os.Chmod(path, 0o600))
	must(os.Rename(path, path+".real"))
	refused("is missing")
	must(os.Symlink(path+".real", path))
	refused("not a plain file")
	must(os.Remove(path))
	must(os.WriteFile(path, []byte("short\n"), 0o600))
	refused("is damaged")
	must(os.WriteFile(path, append([]byte(masterHeader), base64.StdEncoding.EncodeToString(make([]byte, keySize))...), 0o600))
	refused("the master key doesn't open it")
	must(os.WriteFile(path, text, 0o600))
	opens(t, open(t, dir), "p", sealed, "v")
}

func TestMasterKeyGiven(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, postern.NewSecret("too short")); err == nil || strings.Contains(err.Error(), "too short") {
		t.Fatalf("%v", err)
	}
	given := postern.NewSecret(strings.Repeat("k", 32))
	v, err := Open(dir, given)
	if err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, v, "p", "v")
	if _, err := os.Stat(filepath.Join(dir, "master.key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made beside the key that was given: %v", err)
	}
	again, err := Open(dir, given)
	if err != nil {
		t.Fatal(err)
	}
	opens(t, again, "p", sealed, "v")
	if _, err := Open(dir, postern.NewSecret(strings.Repeat("j", 32))); err == nil {
		t.Error("another master key opened the vault")
	}
	if _, err := Open(dir, postern.Secret{}); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("without the key that was given: %v", err)
	}
}

// Nothing on disk shows what was sealed, nor a data key.
func TestNothingInClear(t *testing.T) {
	dir := t.TempDir()
	v := open(t, dir)
	err := filepath.WalkDir(filepath.Join(dir, "keys"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, v.seal.key) || bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString(v.seal.key))) {
			t.Errorf("%s shows a data key", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzUnseal(f *testing.F) {
	v, err := Open(f.TempDir(), postern.Secret{})
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := v.Seal("p", []byte("hunter2"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(prefix)
	f.Add("pv1.AQAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		plain, err := v.Unseal("p", text)
		if err == nil && (text != sealed || string(plain) != "hunter2") {
			t.Fatalf("%q opened to %q", text, plain)
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"seq":1,"id":"00112233","wrapped":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, wrapped, err := parseKeyFile(text)
		if err == nil && (k.seq == 0 || len(wrapped) != saltSize+keySize+tagSize) {
			t.Fatalf("accepted %q", text)
		}
	})
}

func BenchmarkUnseal(b *testing.B) {
	v, err := Open(b.TempDir(), postern.Secret{})
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := v.Seal("p", []byte("hunter2"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Unseal("p", sealed); err != nil {
			b.Fatal(err)
		}
	}
}
