package identity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern"
)

const (
	scimPrefix = "postern_sc_"
	// ExternalIDs says that a directory's own ids of people are what its provider
	// calls them when they sign in.
	ExternalIDs = "external-id"

	defaultSCIMTTL = 365 * 24 * time.Hour
	maxSCIMTTL     = 2 * 365 * 24 * time.Hour
)

// CreateSCIMToken makes the secret with which a provider's directory calls
// /scim/v2, for ttl (0: a year). It is shown here and never again, and is good
// for nothing else.
func (s *Service) CreateSCIMToken(ctx context.Context, name, provider, subjects, by string, ttl time.Duration) (postern.SCIMToken, postern.Secret, error) {
	defer s.lock(ctx)()
	fail := func(err error) (postern.SCIMToken, postern.Secret, error) {
		return postern.SCIMToken{}, postern.Secret{}, err
	}
	if err := errors.Join(checkName(name), CheckProvider(provider)); err != nil {
		return fail(err)
	}
	switch {
	case subjects != "" && subjects != ExternalIDs:
		return fail(fmt.Errorf("%w: subjects are %q, or not known", ErrInvalid, ExternalIDs))
	case ttl < 0 || ttl > maxSCIMTTL:
		return fail(fmt.Errorf("%w: a SCIM token lives for at most %v", ErrInvalid, maxSCIMTTL))
	case ttl == 0:
		ttl = defaultSCIMTTL
	}
	all, err := s.cfg.Store.SCIMTokens(ctx)
	if err != nil {
		return fail(err)
	}
	for _, t := range all {
		if t.Name == name {
			return fail(fmt.Errorf("SCIM token %s %w, and names aren't used again: the audit log speaks of them", name, ErrExists))
		}
	}
	secret, err := mint(s.cfg.Rand, scimPrefix)
	if err != nil {
		return fail(err)
	}
	now := s.cfg.Now().UTC()
	t := postern.SCIMToken{
		Name: name, Hash: digest(secret), Provider: provider, Subjects: subjects, CreatedBy: by, CreatedAt: now, ExpiresAt: now.Add(ttl),
	}
	if err := s.cfg.Store.PutSCIMToken(ctx, t); err != nil {
		return fail(err)
	}
	return t, secret, nil
}

// SCIMTokens lists every directory's tokens, by name.
func (s *Service) SCIMTokens(ctx context.Context) ([]postern.SCIMToken, error) {
	return s.cfg.Store.SCIMTokens(ctx)
}

// RevokeSCIMToken makes a directory's token useless.
func (s *Service) RevokeSCIMToken(ctx context.Context, name string) error {
	return s.cfg.Store.RevokeSCIMToken(ctx, name)
}

// AuthenticateSCIM verifies what a directory calls with. Failures from one place
// are limited.
func (s *Service) AuthenticateSCIM(ctx context.Context, secret postern.Secret, source netip.Addr) (postern.SCIMToken, error) {
	from := "scim\x00" + place(source).String()
	if !s.passwords.sources.Take(from) {
		return postern.SCIMToken{}, ErrTooMany
	}
	if secret.IsZero() || len(secret.Reveal()) > maxSecret {
		return postern.SCIMToken{}, fmt.Errorf("%w: no SCIM token", ErrUnauthenticated)
	}
	t, err := s.cfg.Store.SCIMTokenByHash(ctx, digest(secret))
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return postern.SCIMToken{}, fmt.Errorf("%w: the SCIM token is unknown", ErrUnauthenticated)
	case err != nil:
		return postern.SCIMToken{}, err
	case t.Revoked:
		return postern.SCIMToken{}, fmt.Errorf("%w: SCIM token %s is revoked", ErrUnauthenticated, t.Name)
	case !t.ExpiresAt.After(s.cfg.Now()):
		return postern.SCIMToken{}, fmt.Errorf("%w: SCIM token %s has expired", ErrUnauthenticated, t.Name)
	}
	s.passwords.sources.GiveBack(from)
	return t, nil
}
