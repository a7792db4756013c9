package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern"
)

// BreakGlassStore keeps logins that wait for their second person. Conditional
// changes that come too late are [postern.ErrNotFound].
type BreakGlassStore interface {
	AddBreakGlass(context.Context, postern.BreakGlassLogin) error
	BreakGlass(ctx context.Context, id string) (postern.BreakGlassLogin, error)
	BreakGlassByHash(ctx context.Context, hash string) (postern.BreakGlassLogin, error)
	// ConfirmBreakGlass notes the second person, once, and never the first.
	ConfirmBreakGlass(ctx context.Context, id, by string, now time.Time) error
	UseBreakGlass(ctx context.Context, id string, now time.Time) error
	DeleteExpiredBreakGlass(ctx context.Context, before time.Time) (int, error)
}

var (
	// ErrTwoPeople says that everything is right, and that the account is a
	// break-glass one: a second person has to confirm.
	ErrTwoPeople = errors.New("a break-glass account needs a second person")
	// ErrNotYet says that the second person hasn't confirmed yet.
	ErrNotYet = errors.New("no second person has confirmed yet")
)

const (
	breakGlassPrefix = "postern_bg_"
	// breakGlassWait is how long the second person has.
	breakGlassWait = 15 * time.Minute
	// breakGlassTTL is how long a break-glass login lasts.
	breakGlassTTL = time.Hour
)

// BeginBreakGlass opens a login of a break-glass account for whoever has just
// shown everything for it ([ErrTwoPeople]). It returns what a second person
// confirms, and the secret with which the first takes the login up.
func (s *Service) BeginBreakGlass(ctx context.Context, id postern.Identity, source string) (postern.BreakGlassLogin, postern.Secret, error) {
	fail := func(err error) (postern.BreakGlassLogin, postern.Secret, error) {
		return postern.BreakGlassLogin{}, postern.Secret{}, err
	}
	secret, err := mint(s.cfg.Rand, breakGlassPrefix)
	if err != nil {
		return fail(err)
	}
	now := s.cfg.Now().UTC()
	b := postern.BreakGlassLogin{Account: id.Name, Hash: digest(secret), Source: source, CreatedAt: now, ExpiresAt: now.Add(breakGlassWait)}
	if b.ID, err = newID(s.cfg.Rand, "bg_"); err != nil {
		return fail(err)
	}
	if err := s.cfg.Store.AddBreakGlass(ctx, b); err != nil {
		return fail(err)
	}
	return b, secret, nil
}

// BreakGlass returns a login that waits, or waited.
func (s *Service) BreakGlass(ctx context.Context, id string) (postern.BreakGlassLogin, error) {
	return s.cfg.Store.BreakGlass(ctx, id)
}

// ConfirmBreakGlass confirms a login as its second person: a local user who has
// just shown everything for themselves, whose account is a break-glass one, too,
// or who may by their role. Nobody confirms their own.
func (s *Service) ConfirmBreakGlass(ctx context.Context, id string, by postern.Identity) (postern.BreakGlassLogin, error) {
	b, err := s.cfg.Store.BreakGlass(ctx, id)
	if err != nil {
		return postern.BreakGlassLogin{}, err
	}
	if by.Kind != postern.User || by.Actor != nil {
		return postern.BreakGlassLogin{}, fmt.Errorf("%w: a break-glass login is confirmed by a person", ErrInvalid)
	}
	if by.Name == b.Account {
		return postern.BreakGlassLogin{}, fmt.Errorf("%w: a break-glass login is confirmed by somebody else", ErrInvalid)
	}
	err = s.cfg.Store.ConfirmBreakGlass(ctx, id, by.Name, s.cfg.Now())
	if errors.Is(err, postern.ErrNotFound) {
		return postern.BreakGlassLogin{}, fmt.Errorf("%w: the break-glass login was confirmed already, or has expired", ErrInvalid)
	}
	b.ConfirmedBy = by.Name
	return b, err
}

// TakeBreakGlass takes a confirmed login up, once, for an hour. [ErrNotYet] says
// to ask again.
func (s *Service) TakeBreakGlass(ctx context.Context, secret postern.Secret) (postern.BreakGlassLogin, postern.Secret, postern.Token, error) {
	fail := func(err error) (postern.BreakGlassLogin, postern.Secret, postern.Token, error) {
		return postern.BreakGlassLogin{}, postern.Secret{}, postern.Token{}, err
	}
	if !wellFormed(secret.Reveal(), breakGlassPrefix) {
		return fail(fmt.Errorf("%w: no break-glass login", ErrUnauthenticated))
	}
	b, err := s.cfg.Store.BreakGlassByHash(ctx, digest(secret))
	now := s.cfg.Now()
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return fail(fmt.Errorf("%w: the break-glass login is unknown", ErrUnauthenticated))
	case err != nil:
		return fail(err)
	case !b.UsedAt.IsZero():
		return fail(fmt.Errorf("%w: break-glass login %s was taken up before", ErrUnauthenticated, b.ID))
	case !b.ExpiresAt.After(now):
		return fail(fmt.Errorf("%w: break-glass login %s has expired", ErrUnauthenticated, b.ID))
	case b.ConfirmedBy == "":
		return fail(ErrNotYet)
	}
	a, err := s.cfg.Store.Account(ctx, postern.User, b.Account)
	if err != nil {
		return fail(err)
	}
	if a.Disabled || !a.BreakGlass {
		return fail(fmt.Errorf("%w: account user:%s is disabled, or no break-glass account any more", ErrUnauthenticated, a.Name))
	}
	// The second person must stand, too: whoever was disabled meanwhile confirmed nothing.
	second, err := s.cfg.Store.Account(ctx, postern.User, b.ConfirmedBy)
	if err != nil || second.Disabled {
		return fail(errors.Join(fmt.Errorf("%w: who confirmed it is disabled, or gone", ErrUnauthenticated), err))
	}
	if err := s.cfg.Store.UseBreakGlass(ctx, b.ID, now); err != nil {
		return fail(fmt.Errorf("%w: break-glass login %s was just taken up", ErrUnauthenticated, b.ID))
	}
	id := of(a)
	id.Expires = now.Add(breakGlassTTL)
	token, t, err := s.MintLogin(ctx, id)
	return b, token, t, err
}
