package identity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern"
)

const offlinePrefix = "postern_og_"

// NewOfflineCode makes the code of an offline grant, and the hash by which it is
// kept.
func (s *Service) NewOfflineCode() (code postern.Secret, hash string, err error) {
	if code, err = mint(s.cfg.Rand, offlinePrefix); err != nil {
		return postern.Secret{}, "", err
	}
	return code, digest(code), nil
}

// OfflineHash is the hash of a code that somebody shows, from a place. Every code
// that is shown counts against that place until [Service.OfflineTaken].
func (s *Service) OfflineHash(code postern.Secret, source netip.Addr) (string, error) {
	if !s.limits.offline.Take(Place(source)) {
		return "", ErrTooMany
	}
	if !wellFormed(code.Reveal(), offlinePrefix) {
		return "", fmt.Errorf("%w: no code of an offline grant", ErrUnauthenticated)
	}
	return digest(code), nil
}

// OfflineTaken says that the code which came from a place was good.
func (s *Service) OfflineTaken(source netip.Addr) { s.limits.offline.GiveBack(Place(source)) }

// OfflineHolder is whom an offline grant is for as they are today, without a word
// of any provider; who has a second factor shows a code of it. An account with
// which nobody enters alone has no offline grants, nor has one that was made after
// the grant, under a name that was free again.
func (s *Service) OfflineHolder(ctx context.Context, g postern.OfflineGrant, code string) (postern.Identity, error) {
	a, err := s.standing(ctx, postern.Identity{Kind: g.For.Kind, Name: g.For.Name, Subject: g.For.Subject})
	switch {
	case err != nil:
		return postern.Identity{}, err
	case a.BreakGlass:
		return postern.Identity{}, fmt.Errorf("%w: account user:%s is a break-glass account now", ErrUnauthenticated, a.Name)
	case a.CreatedAt.After(g.IssuedAt):
		return postern.Identity{}, fmt.Errorf("%w: account user:%s is another one than it was issued for", ErrUnauthenticated, a.Name)
	}
	return of(a), s.verifyCode(ctx, a, code)
}

// OfflineHolderNamed is the person of that name, to whom an offline grant may be
// issued.
func (s *Service) OfflineHolderNamed(ctx context.Context, name string) (postern.Identity, error) {
	a, err := s.cfg.Store.Account(ctx, postern.User, name)
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return postern.Identity{}, fmt.Errorf("%w: there is no user %s here: an offline grant is for somebody who has signed in before", ErrInvalid, name)
	case err != nil:
		return postern.Identity{}, err
	case a.BreakGlass:
		return postern.Identity{}, fmt.Errorf("%w: user:%s is a break-glass account, which nobody enters alone; issue it for a person", ErrInvalid, name)
	case a.Disabled:
		return postern.Identity{}, fmt.Errorf("%w: user:%s is disabled", ErrInvalid, name)
	}
	return of(a), nil
}

// EnterOffline opens the login with which an offline grant is used, and its one
// session token, for a resource, until a moment. The login has no token of its
// own: nothing else is reached by it.
func (s *Service) EnterOffline(ctx context.Context, id postern.Identity, resource string, until time.Time, from Where) (postern.Secret, postern.Token, error) {
	defer s.lock(ctx)()
	fail := func(err error) (postern.Secret, postern.Token, error) { return postern.Secret{}, postern.Token{}, err }
	now := s.cfg.Now().UTC()
	g := postern.LoginGrant{Kind: id.Kind, Name: id.Name, Subject: id.Subject, CreatedAt: now, CheckedAt: now}
	login, err := newID(s.cfg.Rand, loginIDPrefix)
	if err == nil {
		g.ID, err = newID(s.cfg.Rand, "gr_")
	}
	if err != nil {
		return fail(err)
	}
	if err := s.cfg.Store.PutGrant(ctx, g); err != nil {
		return fail(err)
	}
	from = from.clean()
	r := postern.LoginRecord{
		ID: login, Kind: postern.OfflineLogin, Identity: id, Grant: g.ID, Client: from.Client, Source: from.Source, CreatedAt: now, ExpiresAt: until,
	}
	if err := s.cfg.Store.AddLogin(ctx, r); err != nil {
		return fail(err)
	}
	id.Login, id.Expires = login, until
	return s.mint(ctx, sessionPrefix, postern.Token{Kind: postern.SessionToken, Identity: id, Resource: resource}, until.Sub(now))
}
