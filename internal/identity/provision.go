package identity

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"postern"
)

const (
	// providerPrefix marks accounts of people who came by signing in.
	providerPrefix = "provider "
	// directoryPrefix marks accounts that a provider's directory keeps.
	directoryPrefix = "directory "

	maxProvider       = 64
	maxSubject        = 255 // bytes; OpenID Connect Core 1.0, section 2
	maxEmail          = 254
	maxProvidedGroups = 1000
)

// CheckProvider says what is wrong with a provider's name.
func CheckProvider(name string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
	}
	switch {
	case name == "" || len(name) > maxProvider || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }):
		return fmt.Errorf("%w: provider name %q: it has 1 to %d lower-case letters, digits, dots, hyphens and underscores", ErrInvalid, name, maxProvider)
	case name == LocalProvider:
		return fmt.Errorf("%w: the provider name %s is reserved", ErrInvalid, LocalProvider)
	}
	return nil
}

// SignIn gives a person whom their provider has just vouched for an account, or
// brings the one that they have up to date, and returns them as the account
// says. id.Subject is "PROVIDER:SUB". A person keeps the name of their first
// sign-in: what they call themselves at the provider later can't make them
// somebody of whom a policy speaks. A name that belongs to another subject is
// [ErrTaken]; an account that is disabled is [ErrUnauthenticated]. The groups of
// an account that a directory keeps are the directory's.
func (s *Service) SignIn(ctx context.Context, id postern.Identity) (postern.Identity, error) {
	return s.signIn(ctx, id, s.cfg.Now().UTC())
}

// refreshed is SignIn for a person whom the provider vouches for again, without
// their doing.
func (s *Service) refreshed(ctx context.Context, id postern.Identity) (postern.Identity, error) {
	return s.signIn(ctx, id, time.Time{})
}

func (s *Service) signIn(ctx context.Context, id postern.Identity, at time.Time) (postern.Identity, error) {
	provider, sub, _ := strings.Cut(id.Subject, ":")
	if sub == "" {
		return postern.Identity{}, fmt.Errorf("%w: the provider names no subject", ErrInvalid)
	}
	a, err := s.provision(ctx, id, func(next *postern.Account, groups []string) {
		if next.Source == "" {
			next.Source = providerPrefix + provider
		}
		if !strings.HasPrefix(next.Source, directoryPrefix) {
			next.Groups = groups
		}
		if !at.IsZero() {
			next.LoginAt = at
		}
	})
	if err != nil {
		return postern.Identity{}, err
	}
	fresh := of(a)
	fresh.Claims, fresh.Expires = id.Claims, id.Expires
	return s.fresh(ctx, fresh)
}

// Provision gives a person of whom a provider's directory tells an account, or
// brings the one that they have up to date; from then on the directory has the
// last word over its groups. id.Subject is "PROVIDER:SUB", or "PROVIDER:" where
// the directory doesn't know what the provider will call them: the account then
// takes the subject of the first who signs in there under its name. It neither
// disables nor enables: [Service.Disable] and [Service.Enable] do.
func (s *Service) Provision(ctx context.Context, id postern.Identity) (postern.Account, error) {
	provider, _, _ := strings.Cut(id.Subject, ":")
	return s.provision(ctx, id, func(next *postern.Account, groups []string) {
		next.Source, next.Groups = directoryPrefix+provider, groups
	})
}

// AccountBySubject returns the account of a provider's subject, "PROVIDER:SUB".
func (s *Service) AccountBySubject(ctx context.Context, subject string) (postern.Account, error) {
	return s.cfg.Store.AccountBySubject(ctx, subject)
}

// provision finds or makes a person's account, lets change change it, and ends
// what the change takes away.
func (s *Service) provision(ctx context.Context, id postern.Identity, change func(next *postern.Account, groups []string)) (postern.Account, error) {
	provider, sub, _ := strings.Cut(id.Subject, ":")
	id.Groups = slices.Compact(sorted(id.Groups)) // named twice by a provider, one is no mistake
	if err := checkProvisioned(id, provider, sub); err != nil {
		return postern.Account{}, err
	}
	defer s.lock(ctx)()
	was, err := s.person(ctx, id, provider, sub)
	if err != nil {
		return postern.Account{}, err
	}
	next, made := was, was.CreatedAt.IsZero()
	if made {
		next = postern.Account{Name: id.Name, Kind: postern.User, CreatedAt: s.cfg.Now().UTC()}
	}
	if sub != "" || made {
		next.Subject = id.Subject
	}
	next.Email = id.Email
	change(&next, id.Groups)
	return next, s.replace(ctx, was, next)
}

func checkProvisioned(id postern.Identity, provider, sub string) error {
	if err := CheckProvider(provider); err != nil {
		return err
	}
	switch {
	case id.Kind != postern.User || id.Actor != nil:
		return fmt.Errorf("%w: a provider vouches for people only", ErrInvalid)
	case len(sub) > maxSubject || strings.ContainsFunc(sub, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%w: the provider's subject is too long, or no text", ErrInvalid)
	case id.Email != "" && (len(id.Email) > maxEmail || !isAddress(id.Email)):
		return fmt.Errorf("%w: email %q is no address", ErrInvalid, id.Email)
	case len(id.Groups) > maxProvidedGroups:
		return fmt.Errorf("%w: more than %d groups", ErrInvalid, maxProvidedGroups)
	}
	for group := range slices.Chunk(id.Groups, maxGroups) {
		if err := checkGroups(group); err != nil {
			// Left out, it could be the one that a rule denies something to.
			return err
		}
	}
	return checkName(id.Name)
}

func isAddress(text string) bool {
	address, err := mail.ParseAddress(text)
	return err == nil && address.Address == text
}

// person finds the account of a subject, or the one that waits for it under its
// name. The zero account says that there is none, and that the name is free.
func (s *Service) person(ctx context.Context, id postern.Identity, provider, sub string) (postern.Account, error) {
	if sub != "" {
		a, err := s.cfg.Store.AccountBySubject(ctx, id.Subject)
		if !errors.Is(err, postern.ErrNotFound) {
			return a, err
		}
	}
	all, err := s.cfg.Store.Accounts(ctx)
	if err != nil {
		return postern.Account{}, err
	}
	for _, a := range all {
		waits := a.Subject == provider+":" || (sub == "" && strings.HasPrefix(a.Subject, provider+":"))
		switch {
		case a.Kind != postern.User || !strings.EqualFold(a.Name, id.Name): // Alice is too near to alice for whoever approves
			continue
		case a.Name == id.Name && waits:
			return a, nil
		case a.Subject == "":
			return postern.Account{}, fmt.Errorf("%w: user:%s is a local user", ErrTaken, a.Name)
		default:
			holder, _, _ := strings.Cut(a.Subject, ":")
			return postern.Account{}, fmt.Errorf("%w: user:%s is another person of provider %s", ErrTaken, a.Name, holder)
		}
	}
	return postern.Account{}, nil
}
