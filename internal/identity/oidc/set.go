package oidc

import (
	"context"
	"fmt"
	"strings"

	"postern"
	"postern/internal/identity"
)

// Set is the providers at which people can sign in, in the order in which they
// are offered.
type Set []*Provider

// Provider finds one by its name.
func (s Set) Provider(name string) (*Provider, bool) {
	for _, p := range s {
		if p.Name() == name {
			return p, true
		}
	}
	return nil, false
}

// Renew asks the provider of a subject whether it still stands by them. A
// provider that isn't configured any more doesn't.
func (s Set) Renew(ctx context.Context, subject string, refresh postern.Secret) (identity.Vouched, error) {
	name, _, _ := strings.Cut(subject, ":")
	p, ok := s.Provider(name)
	if !ok {
		return identity.Vouched{}, fmt.Errorf("%w: provider %s isn't configured any more", identity.ErrGrantEnded, name)
	}
	return p.Renew(ctx, subject, refresh)
}
