package identity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"postern"
)

const (
	// dueAtOnce is how many grants one round of RenewLogins asks about.
	dueAtOnce = 200
	// askTime bounds one question to a provider.
	askTime = 15 * time.Second
)

// purposeRefresh binds a sealed refresh token to its grant.
func purposeRefresh(grant string) string { return "provider's refresh token:" + grant }

func (s *Service) sealRefresh(grant string, token postern.Secret) (string, error) {
	if token.IsZero() || s.cfg.Seal == nil {
		return "", nil
	}
	sealed, err := s.cfg.Seal(purposeRefresh(grant), []byte(token.Reveal()))
	if err != nil {
		return "", fmt.Errorf("seal a refresh token: %w", err)
	}
	return sealed, nil
}

// RenewLogins asks providers about the logins that they weren't asked about for
// RefreshEvery, and ends those that they no longer stand by. What a provider
// says of a person counts at once. Its errors are those of the last question
// that failed.
func (s *Service) RenewLogins(ctx context.Context) error {
	now := s.cfg.Now().UTC()
	due, err := s.cfg.Store.DueGrants(ctx, now.Add(-s.cfg.RefreshEvery), now, dueAtOnce)
	if err != nil {
		return err
	}
	for _, g := range due {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if e := s.renew(ctx, g); e != nil && !errors.Is(e, ErrGrantEnded) {
			err = e
		}
	}
	return err
}

// renew asks a grant's provider whether it stands by it, when it wasn't asked
// for a while, and takes over what it says of the person.
func (s *Service) renew(ctx context.Context, g postern.LoginGrant) error {
	now := s.cfg.Now().UTC()
	switch {
	case !g.EndedAt.IsZero():
		return fmt.Errorf("%w: %w", ErrUnauthenticated, ErrGrantEnded)
	case g.Refresh == "" || now.Sub(g.CheckedAt) < s.cfg.RefreshEvery:
		return nil
	case s.cfg.Renew == nil || s.cfg.Unseal == nil:
		return fmt.Errorf("%w: there is none", ErrProviderDown)
	}
	err := s.cfg.Store.ClaimGrant(ctx, g.ID, g.CheckedAt, now)
	if errors.Is(err, postern.ErrNotFound) { // another asks, or it has ended; the latter is seen at its logins
		return nil
	}
	if err != nil {
		return err
	}
	asked := g
	asked.CheckedAt = now
	// Whoever asked may go away; an answer with the next refresh token must not.
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	v, err := s.ask(ask, g)
	switch {
	case errors.Is(err, ErrGrantEnded):
		s.cfg.Note(ask, postern.AuditEntry{
			Action: "login.ended", Outcome: "ok", Identity: g.Name, Kind: g.Kind, Target: "grant:" + g.ID, Reason: err.Error(),
		})
		return errors.Join(fmt.Errorf("%w: %w", ErrUnauthenticated, err),
			s.endGrant(ask, asked, "the identity provider no longer stands by it; sign in again"))
	case err != nil: // it is due again
		return errors.Join(err, s.cfg.Store.PutGrant(ask, g))
	}
	return s.takeOver(ask, asked, v)
}

// ask asks the provider, with the refresh token that it gave.
func (s *Service) ask(ctx context.Context, g postern.LoginGrant) (Vouched, error) {
	token, err := s.cfg.Unseal(purposeRefresh(g.ID), g.Refresh)
	if err != nil {
		return Vouched{}, fmt.Errorf("open the refresh token of grant %s: %w", g.ID, err)
	}
	v, err := s.cfg.Renew(ctx, g.Subject, postern.NewSecret(string(token)))
	if err == nil && v.Identity.Subject != g.Subject {
		return Vouched{}, fmt.Errorf("%w: it spoke of another subject", ErrGrantEnded)
	}
	return v, err
}

// takeOver keeps the provider's next refresh token, and what it says of the person.
func (s *Service) takeOver(ctx context.Context, g postern.LoginGrant, v Vouched) error {
	if !v.Refresh.IsZero() {
		sealed, err := s.sealRefresh(g.ID, v.Refresh)
		if err != nil {
			return err
		}
		g.Refresh = sealed
	}
	if err := s.cfg.Store.PutGrant(ctx, g); err != nil {
		return err
	}
	if v.Identity.Name == "" { // it stands by the person, and says no more
		return nil
	}
	id, err := s.refreshed(ctx, v.Identity)
	if err != nil {
		return err
	}
	logins, err := s.cfg.Store.LoginsOfGrant(ctx, g.ID)
	for _, r := range logins {
		if !r.EndedAt.IsZero() {
			continue
		}
		err = errors.Join(err, s.cfg.Store.SetLoginIdentity(ctx, r.ID, id))
		if !maps.Equal(r.Identity.Claims, id.Claims) {
			s.cfg.Reclaim(r.ID, id.Claims)
		}
	}
	return err
}
