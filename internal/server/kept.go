package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"postern"
)

// kept returns a secret of the gateway's own: what fresh makes the first time,
// sealed in the store, and the same ever after, on every gateway of that store.
func (s *Server) kept(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error) {
	purpose := strings.ReplaceAll(name, "-", " ")
	sealed, err := s.store.Meta(ctx, name)
	if errors.Is(err, postern.ErrNotFound) {
		secret, err := fresh()
		if err != nil {
			return nil, fmt.Errorf("make the %s: %w", purpose, err)
		}
		made, err := s.vault.Seal(purpose, secret)
		if err != nil {
			return nil, fmt.Errorf("seal the %s: %w", purpose, err)
		}
		// Another gateway may have been quicker: what is kept counts.
		sealed, err = s.store.AddMeta(ctx, name, made)
		if err != nil {
			return nil, fmt.Errorf("keep the %s: %w", purpose, err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("read the %s: %w", purpose, err)
	}
	secret, err := s.vault.Unseal(purpose, sealed)
	if err != nil {
		return nil, fmt.Errorf("open the %s: %w", purpose, err)
	}
	return secret, nil
}

// keptFor is kept for protocols: their names can't meet the gateway's own.
func (s *Server) keptFor(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error) {
	return s.kept(ctx, "protocol/"+base64.RawURLEncoding.EncodeToString([]byte(name)), fresh)
}

// randomKey makes a key of 256 bits.
func randomKey() ([]byte, error) {
	key := make([]byte, 32)
	_, err := rand.Read(key)
	return key, err
}
