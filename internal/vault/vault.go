// Package vault seals secrets at rest and resolves where a resource's
// credentials are kept.
//
// A master key, which is a file for its owner alone or is given, wraps the
// data keys in the folder keys; data keys seal values. Each value is sealed
// for a purpose and opens for no other. Rotate adds a data key: what was
// sealed before still opens, and new values use the new one.
//
// A sealed value is one byte of version, the data key's id (4 bytes), a random
// salt (24 bytes), and AES-256-GCM's output. Key and nonce are derived by
// HKDF-SHA256 from the data key, salt and purpose, so that no number of values
// exhausts a data key's nonces.
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"postern"
)

const (
	version   = 1
	idSize    = 4
	saltSize  = 24
	keySize   = 32
	nonceSize = 12
	tagSize   = 16
	overhead  = 1 + idSize + saltSize + tagSize

	// maxPlain bounds what is sealed: a certificate chain fits, a file doesn't.
	maxPlain = 1 << 20
	// prefix begins the text form of a sealed value.
	prefix = "pv1."
)

// ErrSealed is why a value doesn't open: it is damaged, was sealed for another
// purpose, or by a key that isn't here. Which of them is not said.
var ErrSealed = errors.New("vault: the value doesn't open: it is damaged, was sealed for another purpose, or with a key that isn't here")

type keyID [idSize]byte

type dataKey struct {
	id  keyID
	seq uint32 // the highest seals
	key []byte
}

// Vault seals and opens values. Its methods may be called from several
// goroutines, and by several processes on one folder.
type Vault struct {
	dir    string
	master []byte

	mu   sync.Mutex
	keys map[keyID]dataKey
	seal dataKey
}

// Open opens the vault in the folder dir, which is made when it is missing.
// The master key is the file master.key there, made at first start; one with a
// mode that lets others read it, or that is a symbolic link, is refused. A
// master key that is given, of at least 32 characters, takes the file's place.
func Open(dir string, master postern.Secret) (*Vault, error) {
	key, err := masterKey(dir, master)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	v := &Vault{dir: dir, master: key}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.load(); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	if len(v.keys) > 0 {
		return v, nil
	}
	if err := v.addKey(); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return v, nil
}

// Rotate makes a new data key, which seals from now on. Earlier values still open.
func (v *Vault) Rotate() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.load(); err != nil {
		return fmt.Errorf("vault: rotate: %w", err)
	}
	if err := v.addKey(); err != nil {
		return fmt.Errorf("vault: rotate: %w", err)
	}
	return nil
}

// Seal seals plaintext for a purpose, as one word of printable text.
func (v *Vault) Seal(purpose string, plaintext []byte) (string, error) {
	sealed, err := v.sealBytes(purpose, nil, plaintext)
	if err != nil {
		return "", err
	}
	return prefix + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// Unseal opens what Seal made for the same purpose.
func (v *Vault) Unseal(purpose, sealed string) ([]byte, error) {
	raw, err := parse(sealed)
	if err != nil {
		return nil, err
	}
	return v.unsealBytes(purpose, nil, raw)
}

// Wrap seals the key of a recording, bound to aad.
func (v *Vault) Wrap(key, aad []byte) ([]byte, error) { return v.sealBytes("recording key", aad, key) }

// Unwrap opens what Wrap made with the same aad.
func (v *Vault) Unwrap(wrapped, aad []byte) ([]byte, error) {
	return v.unsealBytes("recording key", aad, wrapped)
}

// parse reads the text form of a sealed value.
func parse(sealed string) ([]byte, error) {
	body, ok := strings.CutPrefix(sealed, prefix)
	if !ok || len(body) > base64.RawURLEncoding.EncodedLen(maxPlain+overhead) {
		return nil, ErrSealed
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || strings.ContainsAny(body, "\r\n") {
		return nil, ErrSealed
	}
	return raw, nil
}

func (v *Vault) sealBytes(purpose string, aad, plaintext []byte) ([]byte, error) {
	if len(plaintext) > maxPlain {
		return nil, fmt.Errorf("vault: the value is longer than %d bytes", maxPlain)
	}
	v.mu.Lock()
	key := v.seal
	v.mu.Unlock()
	head := make([]byte, 1+idSize+saltSize, overhead+len(plaintext))
	head[0] = version
	copy(head[1:], key.id[:])
	_, _ = rand.Read(head[1+idSize:]) // never returns an error
	aead, nonce, err := derive(key.key, head[1+idSize:], purpose)
	if err != nil {
		return nil, err
	}
	return aead.Seal(head, nonce, plaintext, bind(head, purpose, aad)), nil
}

func (v *Vault) unsealBytes(purpose string, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < overhead || len(sealed) > maxPlain+overhead || sealed[0] != version {
		return nil, ErrSealed
	}
	head, body := sealed[:1+idSize+saltSize], sealed[1+idSize+saltSize:]
	key, err := v.key(keyID(head[1 : 1+idSize]))
	if err != nil {
		return nil, err
	}
	aead, nonce, err := derive(key.key, head[1+idSize:], purpose)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nonce, body, bind(head, purpose, aad))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// key finds a data key. One that isn't known may have been made by another
// process since the folder was read.
func (v *Vault) key(id keyID) (dataKey, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if k, ok := v.keys[id]; ok {
		return k, nil
	}
	if err := v.load(); err != nil {
		return dataKey{}, fmt.Errorf("vault: %w", err)
	}
	if k, ok := v.keys[id]; ok {
		return k, nil
	}
	return dataKey{}, ErrSealed
}

// derive makes the cipher and nonce of one value.
func derive(key, salt []byte, purpose string) (cipher.AEAD, []byte, error) {
	okm, err := hkdf.Key(sha256.New, key, salt, "postern vault v1\x00"+purpose, keySize+nonceSize)
	if err != nil {
		return nil, nil, fmt.Errorf("vault: %w", err)
	}
	block, err := aes.NewCipher(okm[:keySize])
	if err != nil {
		return nil, nil, fmt.Errorf("vault: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, fmt.Errorf("vault: %w", err)
	}
	return aead, okm[keySize:], nil
}

// bind is what a value is authenticated with, each part after its length.
func bind(head []byte, purpose string, aad []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(len(head)))
	b = append(b, head...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(purpose)))
	b = append(b, purpose...)
	return append(b, aad...)
}
