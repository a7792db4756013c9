package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"postern"
)

const (
	// reservedName is what a client may give in place of its identity's name.
	reservedName = "postern"
	maxName      = 128
	maxGroups    = 100

	// sourceAPI marks accounts that were made through the API.
	sourceAPI = "api"
	// appliedSource marks accounts that come of an object applied through the API.
	appliedSource = "an applied object"
	// removedPrefix marks accounts whose declaration is gone from its file.
	removedPrefix = "removed from "
	// disabledPrefix marks accounts that their file declares disabled.
	disabledPrefix = "disabled in "
)

// checkName says what is wrong with an account's name. It must be usable in
// every protocol's way of naming a user, and in a policy.
func checkName(name string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-@+", r)
	}
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("%w: a name has 1 to %d characters", ErrInvalid, maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }):
		return fmt.Errorf("%w: name %q: only letters, digits and . _ - @ + are allowed", ErrInvalid, name)
	case strings.ContainsRune("._-@+", rune(name[0])):
		return fmt.Errorf("%w: name %q must begin with a letter or a digit", ErrInvalid, name)
	case strings.Contains(name, "+tk_"):
		return fmt.Errorf("%w: name %q: +tk_ stands between a user and a token's id", ErrInvalid, name)
	case strings.EqualFold(name, reservedName):
		return fmt.Errorf("%w: the name %s is reserved", ErrInvalid, reservedName)
	}
	return nil
}

// checkGroups says what is wrong with an account's groups.
func checkGroups(groups []string) error {
	if len(groups) > maxGroups {
		return fmt.Errorf("%w: more than %d groups", ErrInvalid, maxGroups)
	}
	for i, g := range groups {
		switch {
		case g == "" || len(g) > maxName || !utf8.ValidString(g) || strings.TrimSpace(g) != g || strings.ContainsFunc(g, unicode.IsControl):
			return fmt.Errorf("%w: group %q", ErrInvalid, g)
		case slices.Contains(groups[:i], g):
			return fmt.Errorf("%w: group %q is named twice", ErrInvalid, g)
		}
	}
	return nil
}

// heldKey is the key of the service whose lock a context's act holds.
type heldKey struct{}

// Exclusive keeps all others from changing accounts and tokens here until
// release is called. An act that is one transaction of the store begins with
// it: whoever held the lock, and waited for the store, would wait for the act,
// and the act for them. release may be called again.
func (s *Service) Exclusive(ctx context.Context) (held context.Context, release func()) {
	unlock := s.lock(ctx)
	return context.WithValue(ctx, heldKey{}, s), sync.OnceFunc(unlock)
}

// lock begins a change, unless ctx's act holds the lock already.
func (s *Service) lock(ctx context.Context) (unlock func()) {
	if ctx.Value(heldKey{}) == s {
		return func() {}
	}
	s.mu.Lock()
	return s.mu.Unlock
}

// Accounts lists all accounts, by kind and name.
func (s *Service) Accounts(ctx context.Context) ([]postern.Account, error) {
	return s.cfg.Store.Accounts(ctx)
}

// Account returns one account.
func (s *Service) Account(ctx context.Context, kind postern.IdentityKind, name string) (postern.Account, error) {
	return s.cfg.Store.Account(ctx, kind, name)
}

// CreateServiceAccount makes a service account and its key, which is shown
// here and never again.
func (s *Service) CreateServiceAccount(ctx context.Context, name string, groups []string) (postern.Account, postern.Secret, error) {
	defer s.lock(ctx)()
	if err := errors.Join(checkName(name), checkGroups(groups)); err != nil {
		return postern.Account{}, postern.Secret{}, err
	}
	if err := s.absent(ctx, postern.Service, name); err != nil {
		return postern.Account{}, postern.Secret{}, err
	}
	key, err := mint(s.cfg.Rand, servicePrefix)
	if err != nil {
		return postern.Account{}, postern.Secret{}, err
	}
	a := postern.Account{
		Name: name, Kind: postern.Service, Groups: sorted(groups), SecretHash: digest(key), Source: sourceAPI, CreatedAt: s.cfg.Now().UTC(),
	}
	if err := s.cfg.Store.PutAccount(ctx, a); err != nil {
		return postern.Account{}, postern.Secret{}, err
	}
	return a, key, nil
}

func (s *Service) absent(ctx context.Context, kind postern.IdentityKind, name string) error {
	_, err := s.cfg.Store.Account(ctx, kind, name)
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%s:%s %w", kind, name, ErrExists)
	}
}

// sorted is a copy of groups, in order and never nil.
func sorted(groups []string) []string {
	return slices.Sorted(slices.Values(append([]string{}, groups...)))
}

// RotateKey gives a service account a new key, shown here and never again. The
// old key, the tokens that it minted and the sessions that they opened end at
// once: a key is rotated when it may be known. An account that is declared in a
// file gets its first key in this way.
func (s *Service) RotateKey(ctx context.Context, name string) (postern.Account, postern.Secret, error) {
	defer s.lock(ctx)()
	a, err := s.cfg.Store.Account(ctx, postern.Service, name)
	if err != nil {
		return postern.Account{}, postern.Secret{}, err
	}
	key, err := mint(s.cfg.Rand, servicePrefix)
	if err != nil {
		return postern.Account{}, postern.Secret{}, err
	}
	a.SecretHash, a.RotatedAt = digest(key), s.cfg.Now().UTC()
	if err := s.cfg.Store.PutAccount(ctx, a); err != nil {
		return postern.Account{}, postern.Secret{}, err
	}
	if _, _, err := s.RevokeAll(ctx, postern.Service, name, "the key of its service account was rotated"); err != nil {
		return postern.Account{}, postern.Secret{}, err
	}
	return a, key, nil
}

// PutUser makes a local user, or changes one's groups and password. The zero
// password leaves the one that is there; a new user without one can't log in.
// A new password ends the tokens and sessions that came of the old one.
func (s *Service) PutUser(ctx context.Context, name string, groups []string, password postern.Secret) (postern.Account, error) {
	defer s.lock(ctx)()
	if err := errors.Join(checkName(name), checkGroups(groups)); err != nil {
		return postern.Account{}, err
	}
	a, err := s.cfg.Store.Account(ctx, postern.User, name)
	if err != nil && !errors.Is(err, postern.ErrNotFound) {
		return postern.Account{}, err
	}
	next := a
	if err != nil {
		next = postern.Account{Name: name, Kind: postern.User, Source: sourceAPI, CreatedAt: s.cfg.Now().UTC()}
	}
	if next.Subject != "" {
		return postern.Account{}, fmt.Errorf("%w: user:%s signs in through a provider and has no password here", ErrTaken, name)
	}
	if err := undeclared(next); err != nil {
		return postern.Account{}, err
	}
	next.Groups = sorted(groups)
	if !password.IsZero() {
		if next.SecretHash, err = HashPassword(password); err != nil {
			return postern.Account{}, err
		}
		next.RotatedAt = s.cfg.Now().UTC()
	}
	return next, s.replace(ctx, a, next)
}

// SetGroups changes an account's groups. They count at once: its live sessions,
// which were opened with the old ones, end.
func (s *Service) SetGroups(ctx context.Context, kind postern.IdentityKind, name string, groups []string) (postern.Account, error) {
	if err := checkGroups(groups); err != nil {
		return postern.Account{}, err
	}
	return s.change(ctx, kind, name, true, func(a *postern.Account) { a.Groups = sorted(groups) })
}

// Disable refuses an account from now on, revokes its tokens and ends its sessions.
func (s *Service) Disable(ctx context.Context, kind postern.IdentityKind, name string) (postern.Account, error) {
	return s.change(ctx, kind, name, false, func(a *postern.Account) { a.Disabled = true })
}

// Enable undoes Disable. Tokens that were revoked stay revoked.
func (s *Service) Enable(ctx context.Context, kind postern.IdentityKind, name string) (postern.Account, error) {
	return s.change(ctx, kind, name, false, func(a *postern.Account) { a.Disabled = false })
}

// change changes one account. One that is declared in a file keeps what the
// file says when ours is set.
func (s *Service) change(ctx context.Context, kind postern.IdentityKind, name string, ours bool, change func(*postern.Account)) (postern.Account, error) {
	defer s.lock(ctx)()
	a, err := s.cfg.Store.Account(ctx, kind, name)
	if err != nil {
		return postern.Account{}, err
	}
	if ours {
		if err := undeclared(a); err != nil {
			return postern.Account{}, err
		}
	}
	next := a
	change(&next)
	return next, s.replace(ctx, a, next)
}

// Delete removes an account, revokes its tokens and ends its sessions. One that
// is declared in a file would come back, and is refused: remove it there.
func (s *Service) Delete(ctx context.Context, kind postern.IdentityKind, name string) error {
	defer s.lock(ctx)()
	a, err := s.cfg.Store.Account(ctx, kind, name)
	if err != nil {
		return err
	}
	if err := undeclared(a); err != nil {
		return err
	}
	if err := s.cfg.Store.DeleteAccount(ctx, kind, name); err != nil {
		return err
	}
	if kind == postern.User {
		if _, err := s.cfg.Store.DeleteFactors(ctx, name); err != nil {
			return err
		}
	}
	_, _, err = s.RevokeAll(ctx, kind, name, "its account was deleted")
	return err
}

// undeclared is nil for an account that no file speaks of.
func undeclared(a postern.Account) error {
	if a.Source == sourceAPI || a.Subject != "" || strings.HasPrefix(a.Source, removedPrefix) {
		return nil
	}
	return fmt.Errorf("%s:%s is %w: change it in %s", a.Kind, a.Name, ErrDeclared, strings.TrimPrefix(a.Source, disabledPrefix))
}

// replace writes an account in place of what it was, and ends what the change
// takes away. The caller holds mu.
func (s *Service) replace(ctx context.Context, was, next postern.Account) error {
	if err := s.cfg.Store.PutAccount(ctx, next); err != nil {
		return err
	}
	switch {
	case was.CreatedAt.IsZero(): // new: it has nothing to end
	case next.Disabled && !was.Disabled:
		_, _, err := s.RevokeAll(ctx, next.Kind, next.Name, "its account was disabled")
		return err
	case next.SecretHash != was.SecretHash && was.SecretHash != "":
		_, _, err := s.RevokeAll(ctx, next.Kind, next.Name, "its password was changed")
		return err
	case !slices.Equal(sorted(next.Groups), sorted(was.Groups)):
		s.endSessions(ctx, next.Kind, next.Name, "its groups were changed; connect again")
	}
	return nil
}
