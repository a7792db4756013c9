package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern"
)

// acceptedKey is the key of the moment in a context.
type acceptedKey struct{}

// Accepted returns a context for what was accepted at a moment: the sessions
// that it ends have their latency counted from there. Without it, it counts
// from where they are ended.
func Accepted(ctx context.Context, at time.Time) context.Context {
	return context.WithValue(ctx, acceptedKey{}, at)
}

// end ends the live sessions that match, once what takes their right away is
// durable, and says how many they were; within an act that isn't known yet.
func (s *Service) end(ctx context.Context, reason string, match func(postern.SessionInfo) bool) (n int) {
	since, ok := ctx.Value(acceptedKey{}).(time.Time)
	if !ok {
		since = s.cfg.Now()
	}
	s.cfg.Store.After(ctx, func() { n = s.cfg.End(since, reason, match) })
	return n
}

// endedSession names a provider's session among what is remembered of it.
func endedSession(provider string) string { return "ended sessions of " + provider }

// EndProviderSession ends the logins that came of one session at a provider,
// with all that came of them, and says whose they were: nobody's, when none did.
// A subject that isn't empty must be theirs. A login that is under way finds
// the session ended: a logout may overtake the browser that brings the code.
func (s *Service) EndProviderSession(ctx context.Context, provider, subject, session, reason string) (name string, err error) {
	err = s.cfg.Store.RememberEvent(ctx, endedSession(provider), session, s.cfg.Now().Add(s.cfg.LoginTTL))
	if err != nil {
		return "", err
	}
	grants, err := s.cfg.Store.GrantsOfSession(ctx, provider, session)
	if err != nil {
		return "", err
	}
	for _, g := range grants {
		if subject != "" && g.Subject != provider+":"+subject {
			return "", fmt.Errorf("%w: the session isn't one of that subject", ErrInvalid)
		}
	}
	var errs []error
	for _, g := range grants {
		name = g.Name
		errs = append(errs, s.endGrant(ctx, g, reason))
	}
	return name, errors.Join(errs...)
}

// stillGranted says whether a provider stands by a login that has just been
// opened. What ended it before that found no login to end.
func (s *Service) stillGranted(ctx context.Context, g postern.LoginGrant) error {
	now, err := s.cfg.Store.Grant(ctx, g.ID)
	if err != nil {
		return err
	}
	provider, _, _ := strings.Cut(g.Subject, ":")
	ended := !now.EndedAt.IsZero()
	if !ended && g.SID != "" {
		if ended, err = s.cfg.Store.SeenEvent(ctx, endedSession(provider), g.SID); err != nil {
			return err
		}
	}
	if ended {
		return fmt.Errorf("%w: provider %s has ended the session that this login comes of", ErrUnauthenticated, provider)
	}
	return nil
}

// People finds the accounts of a provider's people: the one of a subject, or
// all with an email address.
func (s *Service) People(ctx context.Context, provider, subject, email string) ([]postern.Account, error) {
	if subject != "" {
		a, err := s.cfg.Store.AccountBySubject(ctx, provider+":"+subject)
		if errors.Is(err, postern.ErrNotFound) {
			return nil, nil
		}
		return []postern.Account{a}, err
	}
	all, err := s.cfg.Store.Accounts(ctx)
	if err != nil || email == "" {
		return nil, err
	}
	var found []postern.Account
	for _, a := range all {
		if strings.HasPrefix(a.Subject, provider+":") && strings.EqualFold(a.Email, email) {
			found = append(found, a)
		}
	}
	return found, nil
}
