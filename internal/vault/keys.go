package vault

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"postern"
)

const (
	masterFile   = "master.key"
	keysFolder   = "keys"
	minMaster    = 32   // characters of a master key that is given
	maxKeyFile   = 4096 // bytes
	maxKeys      = 1000
	wrapPurpose  = "data key"
	masterHeader = "postern-master-1 "
)

// masterKey returns the given key, stretched to a key's size, or the file's.
func masterKey(dir string, given postern.Secret) ([]byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if !given.IsZero() {
		if len(given.Reveal()) < minMaster {
			return nil, fmt.Errorf("the master key that is given has fewer than %d characters", minMaster)
		}
		sum := sha256.Sum256([]byte(given.Reveal()))
		return sum[:], nil
	}
	path := filepath.Join(dir, masterFile)
	key, err := readMaster(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if keys, err := os.ReadDir(filepath.Join(dir, keysFolder)); err == nil && len(keys) > 0 {
		if key, err := readMaster(path); err == nil { // another process has just made both
			return key, nil
		}
		return nil, fmt.Errorf("%s is missing, and %s needs it: restore it from the backup", path, filepath.Join(dir, keysFolder))
	}
	key = make([]byte, keySize)
	_, _ = rand.Read(key) // never returns an error
	text := masterHeader + base64.StdEncoding.EncodeToString(key) + "\n"
	if err := writeNew(path, []byte(text)); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return readMaster(path) // ours, or that of a process that was quicker
}

func readMaster(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file; a master key that is a link or a pipe is refused", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	opened, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(info, opened) {
		return nil, fmt.Errorf("%s was replaced while it was opened", path)
	}
	if perm := opened.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): run chmod 600 on it, and consider the secrets that it protects as known", path, perm)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	body, ok := strings.CutPrefix(strings.TrimSpace(string(text)), masterHeader)
	key, err := base64.StdEncoding.DecodeString(body)
	if !ok || err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%s is damaged: restore it from the backup", path)
	}
	return key, nil
}

// keyFile is one data key as it lies on disk.
type keyFile struct {
	Version int    `json:"version"`
	Seq     uint32 `json:"seq"`
	ID      string `json:"id"`
	Wrapped string `json:"wrapped"`
}

// load reads the folder of data keys. The caller holds mu.
func (v *Vault) load() error {
	folder := filepath.Join(v.dir, keysFolder)
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > maxKeys {
		return fmt.Errorf("%s holds more than %d files", folder, maxKeys)
	}
	keys, newest := map[keyID]dataKey{}, dataKey{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		k, err := v.readKey(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		keys[k.id] = k
		if k.seq > newest.seq || (k.seq == newest.seq && bytes.Compare(k.id[:], newest.id[:]) > 0) {
			newest = k
		}
	}
	v.keys, v.seal = keys, newest
	return nil
}

func (v *Vault) readKey(path string) (dataKey, error) {
	text, err := readLimited(path, maxKeyFile)
	if err != nil {
		return dataKey{}, err
	}
	k, wrapped, err := parseKeyFile(text)
	if err != nil {
		return dataKey{}, fmt.Errorf("%s: %w", path, err)
	}
	aead, nonce, err := derive(v.master, wrapped[:saltSize], wrapPurpose)
	if err != nil {
		return dataKey{}, err
	}
	k.key, err = aead.Open(nil, nonce, wrapped[saltSize:], bind(k.id[:], wrapPurpose, seqBytes(k.seq)))
	if err != nil || len(k.key) != keySize {
		return dataKey{}, fmt.Errorf("%s: the master key doesn't open it: it is another gateway's, or damaged", path)
	}
	return k, nil
}

func parseKeyFile(text []byte) (dataKey, []byte, error) {
	damaged := errors.New("this is no data key of this version")
	var f keyFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil || f.Version != version || f.Seq == 0 {
		return dataKey{}, nil, damaged
	}
	id, err := hex.DecodeString(f.ID)
	if err != nil || len(id) != idSize {
		return dataKey{}, nil, damaged
	}
	wrapped, err := base64.StdEncoding.DecodeString(f.Wrapped)
	if err != nil || len(wrapped) != saltSize+keySize+tagSize {
		return dataKey{}, nil, damaged
	}
	return dataKey{id: keyID(id), seq: f.Seq}, wrapped, nil
}

func seqBytes(seq uint32) []byte {
	return []byte{byte(seq >> 24), byte(seq >> 16), byte(seq >> 8), byte(seq)}
}

// addKey makes a data key, writes it, and seals with it. Each key is a file of
// its own, so that two processes that rotate at once don't undo each other. The
// caller holds mu and has loaded.
func (v *Vault) addKey() error {
	k := dataKey{seq: v.seal.seq + 1, key: make([]byte, keySize)}
	_, _ = rand.Read(k.id[:]) // never returns an error
	_, _ = rand.Read(k.key)
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt)
	aead, nonce, err := derive(v.master, salt, wrapPurpose)
	if err != nil {
		return err
	}
	wrapped := aead.Seal(salt, nonce, k.key, bind(k.id[:], wrapPurpose, seqBytes(k.seq)))
	text, err := json.Marshal(keyFile{
		Version: version, Seq: k.seq, ID: hex.EncodeToString(k.id[:]), Wrapped: base64.StdEncoding.EncodeToString(wrapped),
	})
	if err != nil {
		return err
	}
	folder := filepath.Join(v.dir, keysFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := writeNew(filepath.Join(folder, hex.EncodeToString(k.id[:])+".json"), append(text, '\n')); err != nil {
		return err
	}
	return v.load()
}

// writeNew writes a file that doesn't exist yet, whole or not at all, and
// returns when it would survive a crash of the machine.
func writeNew(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Link(f.Name(), path) // unlike a rename it never replaces
	}
	if err := errors.Join(err, os.Remove(f.Name())); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	if runtime.GOOS == "windows" { // where folders can't be synced
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readLimited reads a regular file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return text, nil
}
