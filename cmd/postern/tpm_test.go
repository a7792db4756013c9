package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"postern/test/swtpm"
)

// softTPM is a TPM of another machine each time.
func softTPM(t *testing.T) tpmDevice {
	t.Helper()
	socket, stop, err := swtpm.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return tpmDevice{path: socket}
}

// A key signs, also after it was kept and read again, and leaves nothing behind.
func TestTPMKey(t *testing.T) {
	d := softTPM(t)
	made, err := newTPMKey(d)
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.file()
	if err != nil {
		t.Fatal(err)
	}
	key, err := readTPMKey(d, text)
	if err != nil {
		t.Fatal(err)
	}
	if !made.key.Equal(key.Public()) {
		t.Error("it is another key")
	}
	short, long := sha256.Sum256([]byte("short")), sha512.Sum512([]byte("long"))
	var all sync.WaitGroup
	for range 3 {
		for hash, digest := range map[crypto.Hash][]byte{crypto.SHA256: short[:], crypto.SHA512: long[:]} {
			all.Go(func() {
				signature, err := key.Sign(rand.Reader, digest, hash)
				if err != nil {
					t.Error(err)
				} else if !ecdsa.VerifyASN1(made.key, digest, signature) {
					t.Errorf("%v: the signature is wrong", hash)
				}
			})
		}
	}
	all.Wait()
	if _, err := key.Sign(rand.Reader, short[:20], crypto.SHA1); err == nil {
		t.Error("it signs less than the curve takes")
	}
	// Neither a key nor its parent stays loaded: three that did would fill the TPM.
	err = d.use(func(t2 transport.TPM, parent tpm2.NamedHandle) error {
		loaded, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: 0x80000000, PropertyCount: 10}.Execute(t2)
		if err != nil {
			return err
		}
		handles, err := loaded.CapabilityData.Data.Handles()
		if err != nil {
			return err
		}
		if len(handles.Handle) != 1 || handles.Handle[0] != parent.Handle {
			t.Errorf("loaded are %x", handles.Handle)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A copy of what is kept is worth nothing to another machine's TPM, nor is one
// that was altered.
func TestTPMKeyElsewhere(t *testing.T) {
	here, there := softTPM(t), softTPM(t)
	key, err := newTPMKey(here)
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.file()
	if err != nil {
		t.Fatal(err)
	}
	copied, err := readTPMKey(there, text)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("sign me"))
	if _, err := copied.Sign(rand.Reader, digest[:], crypto.SHA256); err == nil || !strings.Contains(err.Error(), "the key is another TPM's") {
		t.Errorf("the copy signs: %v", err)
	}
	other, err := newTPMKey(here)
	if err != nil {
		t.Fatal(err)
	}
	mixed, err := openTPMKey(here, key.public, other.private)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mixed.Sign(rand.Reader, digest[:], crypto.SHA256); err == nil {
		t.Error("one key's private part signs under another's public part")
	}
}

// OpenSSL's provider for TPMs reads what is kept, and has the TPM sign with it.
func TestTPMKeyInOpenSSL(t *testing.T) {
	if found, _ := filepath.Glob("/usr/lib/*/ossl-modules/tpm2.so"); found == nil {
		t.Fatal("OpenSSL's provider for TPMs isn't installed: `scripts/deps test`, or `apt-get install tpm2-openssl`")
	}
	d := softTPM(t)
	key, err := newTPMKey(d)
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.file()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	digest := sha256.Sum256([]byte("sign me"))
	// The provider's own way to such a socket wants another one beside it.
	const talk = `import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
while command := os.read(0, 4096):
    s.sendall(command)
    os.write(1, s.recv(4096))
`
	for name, content := range map[string][]byte{"key": text, "digest": digest[:], "talk": []byte(talk)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("openssl", "pkeyutl", "-provider", "tpm2", "-provider", "default", "-propquery", "?provider=tpm2", "-sign", "-inkey", "key", "-in", "digest", "-out", "signature")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TPM2OPENSSL_TCTI=cmd:python3 talk "+d.path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	signature, err := os.ReadFile(filepath.Join(dir, "signature"))
	if err != nil {
		t.Fatal(err)
	}
	if !ecdsa.VerifyASN1(key.key, digest[:], signature) {
		t.Error("the signature is wrong")
	}
}

// What isn't a key of ours isn't read as one.
func TestReadTPMKey(t *testing.T) {
	d := softTPM(t)
	key, err := newTPMKey(d)
	if err != nil {
		t.Fatal(err)
	}
	good, err := key.file()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good)
	armour := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	otherParent := bytes.Replace(block.Bytes, []byte{0x02, 0x04, 0x40, 0, 0, 1}, []byte{0x02, 0x04, 0x40, 0, 0, 0xb}, 1)
	if bytes.Equal(otherParent, block.Bytes) {
		t.Fatal("the parent isn't where it was")
	}
	for name, text := range map[string][]byte{
		"nothing": nil, "a file's key": armour("PRIVATE KEY", block.Bytes), "half of it": armour(tpmPEM, block.Bytes[:len(block.Bytes)/2]),
		"more than it": armour(tpmPEM, append(bytes.Clone(block.Bytes), 0)), "another parent's": armour(tpmPEM, otherParent),
	} {
		if _, err := readTPMKey(d, text); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

func FuzzReadTPMKey(f *testing.F) {
	f.Add([]byte("-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := readTPMKey(tpmDevice{}, text)
		if err == nil && key.key == nil {
			t.Error("a key without a public part")
		}
	})
}

// Where there is no TPM, or none that may be opened, the words say so.
func TestNoTPM(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "there is no TPM 2.0 at " + dir, file: "not a device",
	} {
		_, err := newTPMKey(tpmDevice{path: path})
		var none *noTPMError
		if !errors.As(err, &none) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for value, want := range map[string]string{"": defaultTPM, "/dev/other": "/dev/other"} {
		d, err := (&app{getenv: func(string) string { return value }}).tpm()
		if err != nil || d.path != want {
			t.Errorf("%q: %v, %v", value, d, err)
		}
	}
	var none *noTPMError
	if _, err := (&app{getenv: func(string) string { return "off" }}).tpm(); !errors.As(err, &none) {
		t.Errorf("off: %v", err)
	}
}
