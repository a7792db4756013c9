package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"postern"
)

// Origin is the name under which a gateway signs, unless another is given.
const Origin = "postern-audit"

// keyName names the key in the store, and binds its seal to its purpose.
const keyName = "audit-key"

// Key signs checkpoints (Ed25519).
type Key struct {
	signer   note.Signer
	verifier note.Verifier
	public   string
}

// Public is the key that verifies: "origin+hash+key", as package note writes it.
func (k *Key) Public() string { return k.public }

// KeyStore keeps small values under names.
type KeyStore interface {
	// Meta is ErrNotFound when there is none.
	Meta(ctx context.Context, name string) (string, error)
	// AddMeta keeps a value unless there is one, and returns the one that is kept.
	AddMeta(ctx context.Context, name, value string) (string, error)
}

// Sealer encrypts at rest.
type Sealer interface {
	Seal(purpose string, plaintext []byte) (string, error)
	Unseal(purpose, sealed string) ([]byte, error)
}

// OpenKey returns the log's key. At the first start it makes one and keeps it,
// sealed, in the store.
func OpenKey(ctx context.Context, store KeyStore, sealer Sealer, origin string, rand io.Reader) (*Key, error) {
	sealed, err := store.Meta(ctx, keyName)
	if errors.Is(err, postern.ErrNotFound) {
		sealed, err = makeKey(ctx, store, sealer, origin, rand)
	}
	if err != nil {
		return nil, fmt.Errorf("key of the audit log: %w", err)
	}
	pair, err := sealer.Unseal(keyName, sealed)
	if err != nil {
		return nil, fmt.Errorf("key of the audit log: %w", err)
	}
	private, public, ok := strings.Cut(string(pair), "\n")
	if !ok {
		return nil, errors.New("key of the audit log: what is kept is no key")
	}
	return newKey(private, public)
}

func makeKey(ctx context.Context, store KeyStore, sealer Sealer, origin string, rand io.Reader) (string, error) {
	private, public, err := note.GenerateKey(rand, origin)
	if err != nil {
		return "", err
	}
	sealed, err := sealer.Seal(keyName, []byte(private+"\n"+public))
	if err != nil {
		return "", err
	}
	return store.AddMeta(ctx, keyName, sealed)
}

func newKey(private, public string) (*Key, error) {
	signer, err := note.NewSigner(private)
	if err != nil {
		return nil, errors.New("key of the audit log: the private key is no key")
	}
	verifier, err := note.NewVerifier(public)
	if err != nil || verifier.KeyHash() != signer.KeyHash() || verifier.Name() != signer.Name() {
		return nil, errors.New("key of the audit log: the public key doesn't belong to the private key")
	}
	return &Key{signer, verifier, public}, nil
}
