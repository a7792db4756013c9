package identity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
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

// SessionTerms say what a session token opens, and what it is bound to. All
// but Resource may be left at its zero value.
type SessionTerms struct {
	Resource string
	TTL      time.Duration // 0: the default
	Uses     int           // 0: any number
	// Key is the fingerprint of the key that must be shown with the token.
	Key string
	// Networks are where it may be used from.
	Networks []netip.Prefix
	// Under is the login token or key that asks for it: it ends with that login.
	Under postern.Secret
}

// maxNetworks bounds the networks that a token is bound to.
const maxNetworks = 32

// MintSession mints a session token: with it, a native client enters as id, for
// one resource. Whether id may open the resource is not asked here; the gate
// asks at every entry.
func (s *Service) MintSession(ctx context.Context, id postern.Identity, terms SessionTerms) (postern.Secret, postern.Token, error) {
	ttl, err := s.sessionLife(terms)
	if err != nil {
		return postern.Secret{}, postern.Token{}, err
	}
	parent, err := s.parent(ctx, terms.Under)
	if err != nil {
		return postern.Secret{}, postern.Token{}, err
	}
	return s.mint(ctx, sessionPrefix, postern.Token{
		Kind: postern.SessionToken, Identity: id, Resource: terms.Resource, MaxUses: terms.Uses,
		Key: terms.Key, Networks: terms.Networks, Parent: parent,
	}, ttl)
}

// sessionLife checks the terms of a session token, and says how long it lives.
func (s *Service) sessionLife(terms SessionTerms) (time.Duration, error) {
	switch {
	case terms.Resource == "" || len(terms.Resource) > maxResource:
		return 0, fmt.Errorf("%w: a session token is for one resource, and none is named", ErrInvalid)
	case terms.TTL < 0 || terms.TTL > s.cfg.MaxSessionTTL:
		return 0, fmt.Errorf("%w: a session token lives for at most %v", ErrInvalid, s.cfg.MaxSessionTTL)
	case terms.Uses < 0 || terms.Uses > maxUses:
		return 0, fmt.Errorf("%w: a session token has 1 to %d uses, or 0 for any number", ErrInvalid, maxUses)
	case len(terms.Networks) > maxNetworks:
		return 0, fmt.Errorf("%w: a session token is bound to at most %d networks", ErrInvalid, maxNetworks)
	}
	if err := checkKey(terms.Key); err != nil {
		return 0, err
	}
	for _, n := range terms.Networks {
		if !n.IsValid() || n.Masked() != n {
			return 0, fmt.Errorf("%w: network %s: write it like 192.0.2.0/24, without bits after the prefix", ErrInvalid, n)
		}
	}
	if terms.TTL == 0 {
		return s.cfg.SessionTTL, nil
	}
	return terms.TTL, nil
}

// parent is the id of the login that a bearer is; "" for a service account's
// key, whose tokens end with its account.
func (s *Service) parent(ctx context.Context, bearer postern.Secret) (string, error) {
	if bearer.IsZero() {
		return "", nil
	}
	t, err := s.cfg.Store.TokenByHash(ctx, digest(bearer))
	if errors.Is(err, postern.ErrNotFound) {
		return "", nil
	}
	return t.ID, err
}

func (s *Service) mint(ctx context.Context, prefix string, t postern.Token, ttl time.Duration) (postern.Secret, postern.Token, error) {
	secret, err := mint(s.cfg.Rand, prefix)
	if err != nil {
		return postern.Secret{}, postern.Token{}, err
	}
	if t.ID, err = newID(s.cfg.Rand, "tk_"); err != nil {
		return postern.Secret{}, postern.Token{}, err
	}
	t.Hash = digest(secret)
	if t.Kind == postern.SessionToken {
		if t.Verifier, err = verifier(s.cfg.Rand, secret); err != nil {
			return postern.Secret{}, postern.Token{}, err
		}
	}
	if t, err = s.put(ctx, t, ttl); err != nil {
		return postern.Secret{}, postern.Token{}, err
	}
	return secret, t, nil
}

// put stores a new token that lives for ttl, or as long as its identity.
func (s *Service) put(ctx context.Context, t postern.Token, ttl time.Duration) (postern.Token, error) {
	if t.Identity.Name == "" || t.Identity.Kind == "" {
		return postern.Token{}, fmt.Errorf("%w: a token is for an identity, and none is named", ErrInvalid)
	}
	now := s.cfg.Now().UTC()
	t.CreatedAt, t.ExpiresAt = now, now.Add(ttl)
	if end := t.Identity.Expires; !end.IsZero() && end.Before(t.ExpiresAt) {
		t.ExpiresAt = end
	}
	if !t.ExpiresAt.After(now) {
		return postern.Token{}, fmt.Errorf("%w: the identity has expired", ErrUnauthenticated)
	}
	// A revocation comes before or after, never between look and write.
	defer s.lock(ctx)()
	var err error
	if t.Identity, err = s.fresh(ctx, t.Identity); err != nil {
		return postern.Token{}, err
	}
	return t, s.cfg.Store.PutToken(ctx, t)
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
		return postern.Identity{}, fmt.Errorf("%w: a %s token doesn't call the API like this", ErrUnauthenticated, t.Kind)
	}
	if err := s.valid(t); err != nil {
		return postern.Identity{}, err
	}
	if id.Login == "" {
		id.Expires = t.ExpiresAt
		return id, nil
	}
	if t.Uses == 0 { // that its answer arrived is what RefreshLogin needs to know
		err = s.cfg.Store.UseToken(ctx, t.ID, s.cfg.Now())
	}
	return id, err
}

// AuthenticateCookie verifies the token in a browser's cookie. It is good for
// nothing else, and nothing else for it.
func (s *Service) AuthenticateCookie(ctx context.Context, secret postern.Secret) (postern.Identity, error) {
	if !wellFormed(secret.Reveal(), webPrefix) {
		return postern.Identity{}, fmt.Errorf("%w: no browser's token", ErrUnauthenticated)
	}
	t, err := s.cfg.Store.TokenByHash(ctx, digest(secret))
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return postern.Identity{}, fmt.Errorf("%w: the browser's token is unknown", ErrUnauthenticated)
	case err != nil:
		return postern.Identity{}, err
	case t.Kind != postern.WebToken:
		return postern.Identity{}, fmt.Errorf("%w: a %s token is no browser's", ErrUnauthenticated, t.Kind)
	}
	if err := s.valid(t); err != nil {
		return postern.Identity{}, err
	}
	return s.fresh(ctx, t.Identity)
}

// Continues says whether who was let in with a secret a while ago, as id, still
// would be. What came of a login goes on as long as the login, whether or not
// the token of that moment is over.
func (s *Service) Continues(ctx context.Context, secret postern.Secret, id postern.Identity) (postern.Identity, error) {
	if id.Login == "" {
		return s.AuthenticateBearer(ctx, secret)
	}
	t, err := s.cfg.Store.TokenByHash(ctx, digest(secret))
	switch {
	case err != nil && !errors.Is(err, postern.ErrNotFound): // forgotten, it was over
		return postern.Identity{}, err
	case err == nil && t.Revoked:
		return postern.Identity{}, fmt.Errorf("%w: token %s is revoked", ErrUnauthenticated, t.ID)
	}
	return s.fresh(ctx, id)
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

// Still says whether an admission would be given now. Asked after a session is
// listed as live, it closes the gap in which a revocation finds neither a valid
// token nor a session to end.
func (s *Service) Still(ctx context.Context, adm postern.Admission) error {
	revoked, err := s.cfg.Store.TokenRevoked(ctx, adm.Token)
	if err != nil {
		return err
	}
	if revoked {
		return fmt.Errorf("%w: token %s is revoked", ErrUnauthenticated, adm.Token)
	}
	id, err := s.fresh(ctx, adm.Identity)
	if err != nil {
		return err
	}
	if !slices.Equal(id.Groups, adm.Identity.Groups) {
		return fmt.Errorf("%w: the groups of %s:%s have changed", ErrUnauthenticated, id.Kind, id.Name)
	}
	for now, then := &id, &adm.Identity; now != nil && then != nil; now, then = now.Actor, then.Actor {
		if !maps.Equal(now.Claims, then.Claims) {
			return fmt.Errorf("%w: the claims of %s:%s have changed", ErrUnauthenticated, now.Kind, now.Name)
		}
	}
	return nil
}

// Tokens lists an identity's tokens, newest first.
func (s *Service) Tokens(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.Token, error) {
	return s.cfg.Store.TokensOf(ctx, kind, name)
}

// RevokeToken revokes one token, a login's with all that came of it, and ends
// the sessions that they opened.
func (s *Service) RevokeToken(ctx context.Context, id string) error {
	if err := s.cfg.Store.RevokeToken(ctx, id); err != nil {
		return err
	}
	// What came of a login ends with it.
	from, err := s.cfg.Store.TokensFrom(ctx, id)
	s.end(ctx, "its token was revoked", func(i postern.SessionInfo) bool {
		return i.Token == id || i.Token != "" && slices.ContainsFunc(from, func(t postern.Token) bool { return t.ID == i.Token })
	})
	return err
}

// Logout ends the login of the token that is presented: a login, browser's or
// refresh token. One that is unknown or revoked already is no error: the caller
// is logged out.
func (s *Service) Logout(ctx context.Context, secret postern.Secret) error {
	text := secret.Reveal()
	if wellFormed(text, refreshPrefix) {
		login, _, err := s.cfg.Store.RefreshToken(ctx, digest(secret))
		if errors.Is(err, postern.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return s.EndLogin(ctx, login, signedOut)
	}
	if !wellFormed(text, loginPrefix) && !wellFormed(text, webPrefix) {
		return nil
	}
	t, err := s.cfg.Store.TokenByHash(ctx, digest(secret))
	if errors.Is(err, postern.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if t.Identity.Login != "" {
		return s.EndLogin(ctx, t.Identity.Login, signedOut)
	}
	return s.RevokeToken(ctx, t.ID)
}

const signedOut = "its person signed out"

// RevokeAll revokes every token of an identity, and those with which it acts
// for others, and ends its logins and its live sessions. The account stays as
// it is.
func (s *Service) RevokeAll(ctx context.Context, kind postern.IdentityKind, name, reason string) (tokens, sessions int, err error) {
	tokens, err = s.cfg.Store.RevokeTokensOf(ctx, kind, name)
	if err != nil {
		return 0, 0, err
	}
	sessions = s.endSessions(ctx, kind, name, reason)
	return tokens, sessions, s.endLogins(ctx, kind, name, reason)
}

// endSessions ends an identity's live sessions, and those in which it acts for
// another. An actor's kind isn't in the list of sessions: one of that name and
// another kind is ended, too, and can come back.
func (s *Service) endSessions(ctx context.Context, kind postern.IdentityKind, name, reason string) int {
	return s.end(ctx, reason, func(i postern.SessionInfo) bool {
		return (i.Kind == kind && i.Identity == name) || i.Actor == name
	})
}

// keepLogins is how long a login that is over is remembered: a copied refresh
// token of it is still told from a made-up one.
const keepLogins = 24 * time.Hour

// Sweep forgets tokens that have expired, and says how many; and logins, codes,
// devices, and what providers said.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	now := s.cfg.Now()
	n, err := s.cfg.Store.DeleteExpiredTokens(ctx, now)
	_, used := s.cfg.Store.DeleteUsed(ctx, now)
	_, eventsErr := s.cfg.Store.DeleteExpiredEvents(ctx, now)
	_, glassErr := s.cfg.Store.DeleteExpiredBreakGlass(ctx, now.Add(-keepLogins))
	return n, errors.Join(err, used, eventsErr, glassErr, s.cfg.Store.DeleteExpiredLogins(ctx, now.Add(-keepLogins), now))
}
