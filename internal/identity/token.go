package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern"
)

const (
	maxUses     = 1_000_000
	maxResource = 253 // bytes of a resource's name
)

// MintLogin mints the token with which an identity calls the API. It ends with
// the identity itself, if that ends earlier.
func (s *Service) MintLogin(ctx context.Context, id postern.Identity) (postern.Secret, postern.Token, error) {
	return s.mint(ctx, loginPrefix, postern.Token{Kind: postern.LoginToken, Identity: id}, s.cfg.LoginTTL)
}

// MintSession mints a session token: with it, a native client enters as id, for
// one resource, for ttl (0: the default), uses times (0: any number). Whether
// id may open the resource is not asked here; the gate asks at every entry.
func (s *Service) MintSession(ctx context.Context, id postern.Identity, resource string, ttl time.Duration, uses int) (postern.Secret, postern.Token, error) {
	switch {
	case resource == "" || len(resource) > maxResource:
		return postern.Secret{}, postern.Token{}, fmt.Errorf("%w: a session token is for one resource, and none is named", ErrInvalid)
	case ttl < 0 || ttl > s.cfg.MaxSessionTTL:
		return postern.Secret{}, postern.Token{}, fmt.Errorf("%w: a session token lives for at most %v", ErrInvalid, s.cfg.MaxSessionTTL)
	case uses < 0 || uses > maxUses:
		return postern.Secret{}, postern.Token{}, fmt.Errorf("%w: a session token has 1 to %d uses, or 0 for any number", ErrInvalid, maxUses)
	case ttl == 0:
		ttl = s.cfg.SessionTTL
	}
	return s.mint(ctx, sessionPrefix, postern.Token{Kind: postern.SessionToken, Identity: id, Resource: resource, MaxUses: uses}, ttl)
}

func (s *Service) mint(ctx context.Context, prefix string, t postern.Token, ttl time.Duration) (postern.Secret, postern.Token, error) {
	fail := func(err error) (postern.Secret, postern.Token, error) {
		return postern.Secret{}, postern.Token{}, err
	}
	if t.Identity.Name == "" || t.Identity.Kind == "" {
		return fail(fmt.Errorf("%w: a token is for an identity, and none is named", ErrInvalid))
	}
	now := s.cfg.Now().UTC()
	t.CreatedAt, t.ExpiresAt = now, now.Add(ttl)
	if end := t.Identity.Expires; !end.IsZero() && end.Before(t.ExpiresAt) {
		t.ExpiresAt = end
	}
	if !t.ExpiresAt.After(now) {
		return fail(fmt.Errorf("%w: the identity has expired", ErrUnauthenticated))
	}
	// A revocation comes before or after, never between look and write.
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if t.Identity, err = s.fresh(ctx, t.Identity); err != nil {
		return fail(err)
	}
	secret, err := mint(s.cfg.Rand, prefix)
	if err != nil {
		return fail(err)
	}
	if t.ID, err = newID(s.cfg.Rand, "tk_"); err != nil {
		return fail(err)
	}
	t.Hash = digest(secret)
	if err := s.cfg.Store.PutToken(ctx, t); err != nil {
		return fail(err)
	}
	return secret, t, nil
}

// AuthenticateBearer verifies what calls the API: a service account's key or a
// login token. A session token is good for its listener alone. Every refusal
// costs the same lookups.
func (s *Service) AuthenticateBearer(ctx context.Context, secret postern.Secret) (postern.Identity, error) {
	if secret.IsZero() || len(secret.Reveal()) > maxSecret {
		return postern.Identity{}, fmt.Errorf("%w: no key and no token", ErrUnauthenticated)
	}
	hash := digest(secret)
	t, tokenErr := s.cfg.Store.TokenByHash(ctx, hash)
	a, keyErr := s.cfg.Store.AccountByKey(ctx, hash)
	for _, err := range []error{tokenErr, keyErr} {
		if err != nil && !errors.Is(err, postern.ErrNotFound) {
			return postern.Identity{}, err
		}
	}
	if keyErr == nil {
		return s.fresh(ctx, of(a))
	}
	id, err := s.fresh(ctx, t.Identity)
	switch {
	case tokenErr != nil:
		return postern.Identity{}, fmt.Errorf("%w: the key or token is unknown", ErrUnauthenticated)
	case err != nil:
		return postern.Identity{}, err
	case t.Kind != postern.LoginToken:
		return postern.Identity{}, fmt.Errorf("%w: a session token doesn't call the API", ErrUnauthenticated)
	}
	if err := s.valid(t); err != nil {
		return postern.Identity{}, err
	}
	id.Expires = t.ExpiresAt
	return id, nil
}

// valid says why a token is no longer good.
func (s *Service) valid(t postern.Token) error {
	switch {
	case t.Revoked:
		return fmt.Errorf("%w: token %s is revoked", ErrUnauthenticated, t.ID)
	case !t.ExpiresAt.After(s.cfg.Now()):
		return fmt.Errorf("%w: token %s has expired", ErrUnauthenticated, t.ID)
	case t.MaxUses > 0 && t.Uses >= t.MaxUses:
		return fmt.Errorf("%w: token %s is used up", ErrUnauthenticated, t.ID)
	}
	return nil
}

// Admit verifies what a native client presents at a listener: a session token,
// for the resource and the user that it was minted for. It counts as a use only
// when all of that holds. The groups are those of today.
func (s *Service) Admit(ctx context.Context, cred postern.Credential) (postern.Admission, error) {
	if len(cred.Secret.Reveal()) > maxSecret {
		return postern.Admission{}, fmt.Errorf("%w: no session token", ErrUnauthenticated)
	}
	t, tokenErr := s.cfg.Store.TokenByHash(ctx, digest(cred.Secret))
	if tokenErr != nil && !errors.Is(tokenErr, postern.ErrNotFound) {
		return postern.Admission{}, tokenErr
	}
	id, err := s.fresh(ctx, t.Identity) // for an unknown token, a lookup of nobody
	switch {
	case tokenErr != nil:
		return postern.Admission{}, fmt.Errorf("%w: the session token is unknown", ErrUnauthenticated)
	case t.Kind != postern.SessionToken:
		return postern.Admission{}, fmt.Errorf("%w: token %s is no session token", ErrUnauthenticated, t.ID)
	case err != nil:
		return postern.Admission{}, err
	case cred.Resource != t.Resource:
		return postern.Admission{}, fmt.Errorf("%w: token %s is for another resource", ErrUnauthenticated, t.ID)
	case cred.User != id.Name && cred.User != reservedName:
		return postern.Admission{}, fmt.Errorf("%w: token %s is for another user", ErrUnauthenticated, t.ID)
	}
	if err := s.valid(t); err != nil {
		return postern.Admission{}, err
	}
	err = s.cfg.Store.UseToken(ctx, t.ID, s.cfg.Now())
	if errors.Is(err, postern.ErrNotFound) { // between look and use another took the last use, or it was revoked
		return postern.Admission{}, fmt.Errorf("%w: token %s has just been used up or revoked", ErrUnauthenticated, t.ID)
	}
	if err != nil {
		return postern.Admission{}, err
	}
	return postern.Admission{Identity: id, Token: t.ID, Resource: t.Resource, Until: t.ExpiresAt}, nil
}

// Still says whether an admission would be given now. Asked after a session is
// listed as live, it closes the gap in which a revocation finds neither a valid
// token nor a session to end.
func (s *Service) Still(ctx context.Context, adm postern.Admission) error {
	t, err := s.cfg.Store.Token(ctx, adm.Token)
	if err != nil {
		return err
	}
	if t.Revoked {
		return fmt.Errorf("%w: token %s is revoked", ErrUnauthenticated, t.ID)
	}
	id, err := s.fresh(ctx, adm.Identity)
	if err != nil {
		return err
	}
	if !slices.Equal(id.Groups, adm.Identity.Groups) {
		return fmt.Errorf("%w: the groups of %s:%s have changed", ErrUnauthenticated, id.Kind, id.Name)
	}
	return nil
}

// Tokens lists an identity's tokens, newest first.
func (s *Service) Tokens(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.Token, error) {
	return s.cfg.Store.TokensOf(ctx, kind, name)
}

// RevokeToken revokes one token and ends the sessions that it opened.
func (s *Service) RevokeToken(ctx context.Context, id string) error {
	if err := s.cfg.Store.RevokeToken(ctx, id); err != nil {
		return err
	}
	s.cfg.End("its token was revoked", func(i postern.SessionInfo) bool { return i.Token == id })
	return nil
}

// Logout revokes the login token that is presented. One that is unknown or
// revoked already is no error: the caller is logged out.
func (s *Service) Logout(ctx context.Context, secret postern.Secret) error {
	if !strings.HasPrefix(secret.Reveal(), loginPrefix) {
		return nil
	}
	t, err := s.cfg.Store.TokenByHash(ctx, digest(secret))
	if errors.Is(err, postern.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.RevokeToken(ctx, t.ID)
}

// RevokeAll revokes every token of an identity, and those with which it acts
// for others, and ends its live sessions. The account stays as it is.
func (s *Service) RevokeAll(ctx context.Context, kind postern.IdentityKind, name, reason string) (tokens, sessions int, err error) {
	tokens, err = s.cfg.Store.RevokeTokensOf(ctx, kind, name)
	if err != nil {
		return 0, 0, err
	}
	return tokens, s.endSessions(kind, name, reason), nil
}

// endSessions ends an identity's live sessions, and those in which it acts for
// another. An actor's kind isn't in the list of sessions: one of that name and
// another kind is ended, too, and can come back.
func (s *Service) endSessions(kind postern.IdentityKind, name, reason string) int {
	return s.cfg.End(reason, func(i postern.SessionInfo) bool {
		return (i.Kind == kind && i.Identity == name) || i.Actor == name
	})
}

// Sweep forgets tokens that have expired, and says how many.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	return s.cfg.Store.DeleteExpiredTokens(ctx, s.cfg.Now())
}
