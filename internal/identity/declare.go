package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern"
)

// Declare makes the accounts that files declare what the files say: all of
// them, at start and whenever a file has changed. Source names the file, or is
// "api" for an object that was applied. A service account has no key until
// [Service.RotateKey] makes one, and keeps it over changes; a user's SecretHash
// is the file's. An account that is no longer declared, or is declared
// disabled, is disabled, and enabled again when the file says so; one that an
// administrator disabled stays so. Nothing is changed when one of them is
// invalid.
func (s *Service) Declare(ctx context.Context, declared []postern.Account) error {
	defer s.lock(ctx)()
	if err := CheckDeclared(declared); err != nil {
		return err
	}
	names := map[string]bool{}
	declared = slices.Clone(declared)
	for i := range declared {
		if declared[i].Source == sourceAPI { // a ServiceAccount object that was applied, not an account made by hand
			declared[i].Source = appliedSource
		}
		names[key(declared[i])] = true
	}
	all, err := s.cfg.Store.Accounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.Subject != "" && names[key(a)] {
			return fmt.Errorf("%s:%s: %w: they sign in through a provider; declare the local user under another name", a.Kind, a.Name, ErrTaken)
		}
	}
	for _, d := range declared {
		was := postern.Account{Name: d.Name, Kind: d.Kind}
		if i := slices.IndexFunc(all, func(a postern.Account) bool { return key(a) == key(d) }); i >= 0 {
			was = all[i]
		}
		if err := s.replaceChanged(ctx, was, s.merge(was, d)); err != nil {
			return err
		}
	}
	for _, a := range all {
		file, byFile := strings.CutPrefix(a.Source, disabledPrefix)
		if names[key(a)] || undeclared(a) == nil || (a.Disabled && !byFile) {
			continue
		}
		gone := a
		gone.Disabled, gone.Source = true, removedPrefix+file
		if err := s.replace(ctx, a, gone); err != nil {
			return err
		}
	}
	return nil
}

// CheckDeclared says why Declare would refuse accounts, without a look at those
// that there are.
func CheckDeclared(declared []postern.Account) error {
	names := map[string]bool{}
	for _, d := range declared {
		if err := checkDeclared(d); err != nil {
			return fmt.Errorf("%s:%s in %s: %w", d.Kind, d.Name, d.Source, err)
		}
		if names[key(d)] {
			return fmt.Errorf("%s:%s in %s: %w: it is declared twice", d.Kind, d.Name, d.Source, ErrInvalid)
		}
		names[key(d)] = true
	}
	return nil
}

func key(a postern.Account) string { return string(a.Kind) + ":" + a.Name }

func checkDeclared(d postern.Account) error {
	if err := errors.Join(checkName(d.Name), checkGroups(d.Groups)); err != nil {
		return err
	}
	switch {
	case d.Source == "" || strings.HasPrefix(d.Source, removedPrefix) || strings.HasPrefix(d.Source, disabledPrefix):
		return fmt.Errorf("%w: its source must name where it is declared", ErrInvalid)
	case d.Kind == postern.Service && d.SecretHash != "":
		return fmt.Errorf("%w: a declared service account has no key; run postern service-account rotate", ErrInvalid)
	case d.Kind == postern.User && d.SecretHash != "":
		return CheckPasswordHash(d.SecretHash)
	case d.Kind != postern.Service && d.Kind != postern.User:
		return fmt.Errorf("%w: only services and users are declared", ErrInvalid)
	}
	return nil
}

// merge is the account was with what its declaration says.
func (s *Service) merge(was, declared postern.Account) postern.Account {
	next := was
	next.Groups, next.Email, next.Source = sorted(declared.Groups), declared.Email, declared.Source
	next.BreakGlass = declared.BreakGlass
	if strings.HasPrefix(was.Source, removedPrefix) || strings.HasPrefix(was.Source, disabledPrefix) {
		next.Disabled = false // it was the file that disabled it, not an administrator
	}
	if declared.Disabled && !next.Disabled {
		next.Disabled, next.Source = true, disabledPrefix+declared.Source
	}
	if next.Kind == postern.User {
		next.SecretHash = declared.SecretHash
	}
	if was.CreatedAt.IsZero() {
		next.CreatedAt = s.cfg.Now().UTC()
	} else if next.SecretHash != was.SecretHash {
		next.RotatedAt = s.cfg.Now().UTC()
	}
	return next
}

func (s *Service) replaceChanged(ctx context.Context, was, next postern.Account) error {
	same := slices.Equal(sorted(was.Groups), next.Groups) && was.SecretHash == next.SecretHash && was.Disabled == next.Disabled &&
		was.Email == next.Email && was.BreakGlass == next.BreakGlass && was.Source == next.Source && was.CreatedAt.Equal(next.CreatedAt)
	if same {
		return nil
	}
	return s.replace(ctx, was, next)
}

const (
	minBootstrapKey = 24
	bootstrapGroup  = "admins"
	bootstrapMeta   = "bootstrapped"
)

// BootstrapName is the service account that [Service.Bootstrap] makes.
const BootstrapName = "bootstrap"

// Bootstrap makes the service account bootstrap, in group admins, with the key
// that the operator chose, if nobody has made an account yet and it was never
// made before; accounts that files declare don't count. It says whether it did.
// A key of fewer than 24 characters is refused.
func (s *Service) Bootstrap(ctx context.Context, key postern.Secret) (bool, error) {
	defer s.lock(ctx)()
	_, err := s.cfg.Store.Meta(ctx, bootstrapMeta)
	if err == nil || !errors.Is(err, postern.ErrNotFound) {
		return false, err
	}
	all, err := s.cfg.Store.Accounts(ctx)
	if err != nil || slices.ContainsFunc(all, func(a postern.Account) bool { return a.Source == sourceAPI }) {
		return false, err
	}
	text := key.Reveal()
	switch {
	case len(text) < minBootstrapKey || len(text) > maxSecret:
		return false, fmt.Errorf("%w: POSTERN_BOOTSTRAP_KEY needs at least %d characters, because it opens everything: "+
			"make one with openssl rand -hex 32", ErrInvalid, minBootstrapKey)
	case strings.TrimSpace(text) != text:
		return false, fmt.Errorf("%w: POSTERN_BOOTSTRAP_KEY begins or ends with a space or a newline", ErrInvalid)
	case strings.HasPrefix(text, "postern_") && !wellFormed(text, servicePrefix):
		return false, fmt.Errorf("%w: POSTERN_BOOTSTRAP_KEY looks like a key of postern's and is none: it is cut off or mistyped", ErrInvalid)
	}
	a := postern.Account{
		Name: BootstrapName, Kind: postern.Service, Groups: []string{bootstrapGroup}, SecretHash: digest(key),
		Source: sourceAPI, CreatedAt: s.cfg.Now().UTC(),
	}
	if err := s.cfg.Store.PutAccount(ctx, a); err != nil {
		return false, err
	}
	// Deleted later, it doesn't come back with the next start.
	return true, s.cfg.Store.PutMeta(ctx, bootstrapMeta, a.CreatedAt.Format("2006-01-02T15:04:05Z"))
}
