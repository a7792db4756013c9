package identity

import (
	"context"
	"errors"
	"fmt"

	"postern"
)

// Named is whom an account stands for now, with today's groups. An account that
// isn't there or is disabled is [ErrUnauthenticated].
func (s *Service) Named(ctx context.Context, kind postern.IdentityKind, name string) (postern.Identity, error) {
	a, err := s.cfg.Store.Account(ctx, kind, name)
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return postern.Identity{}, fmt.Errorf("%w: there is no account %s:%s", ErrUnauthenticated, kind, name)
	case err != nil:
		return postern.Identity{}, err
	}
	return s.fresh(ctx, of(a))
}

// Today is an identity that was verified earlier as it is now, or
// [ErrUnauthenticated] when it would not be verified any more. A workload, which
// has no account, is as it was.
func (s *Service) Today(ctx context.Context, id postern.Identity) (postern.Identity, error) {
	return s.fresh(ctx, id)
}
