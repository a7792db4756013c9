package identity

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"postern"
)

const (
	delegationPrefix  = "dg_"
	delegationLife    = 8 * time.Hour
	maxDelegationLife = 31 * 24 * time.Hour
	maxScope          = 100 // resources, and verbs
	maxRowsPerHour    = 1 << 40
)

var verbWord = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_ -]{0,63}|\*)$`)

// Consent is what a person agrees to: that an actor acts for them, within a scope.
type Consent struct {
	Actor       postern.Identity // by kind and name
	Resources   []string
	Verbs       []string // none: any
	RowsPerHour int64    // 0: any number
	TTL         time.Duration
	Comment     string
}

// Delegate records a person's consent. What the actor may do with it is never
// more than either of them may: the gate asks for both, at every command.
func (s *Service) Delegate(ctx context.Context, person postern.Identity, c Consent) (postern.Token, error) {
	if err := checkConsent(person, c); err != nil {
		return postern.Token{}, err
	}
	if c.TTL == 0 {
		c.TTL = delegationLife
	}
	id, err := newID(s.cfg.Rand, delegationPrefix)
	if err != nil {
		return postern.Token{}, err
	}
	person.Login, person.Expires = "", time.Time{} // it outlives the login in which it is granted, not the account
	person.Actor = &postern.Identity{Name: c.Actor.Name, Kind: c.Actor.Kind}
	person.Scope = &postern.Scope{
		Delegation: id, Resources: slices.Compact(sorted(c.Resources)), Verbs: c.Verbs, RowsPerHour: c.RowsPerHour,
		Until: s.cfg.Now().UTC().Add(c.TTL),
	}
	return s.put(ctx, postern.Token{
		ID: id, Kind: postern.Delegation, Identity: person, Comment: c.Comment,
		Hash: "delegation:" + id, // no secret has this digest
	}, c.TTL)
}

func checkConsent(person postern.Identity, c Consent) error {
	kinds := []postern.IdentityKind{postern.Service, postern.Workload, postern.User}
	switch {
	case person.Actor != nil:
		return fmt.Errorf("%w: who acts for another can't delegate in their name", ErrInvalid)
	case c.Actor.Name == "" || len(c.Actor.Name) > 256 || !slices.Contains(kinds, c.Actor.Kind):
		return fmt.Errorf("%w: name who is to act: service:NAME, workload:NAME or user:NAME", ErrInvalid)
	case c.Actor.Name == person.Name && c.Actor.Kind == person.Kind:
		return fmt.Errorf("%w: nobody acts for themselves", ErrInvalid)
	case len(c.Resources) == 0 || len(c.Resources) > maxScope:
		return fmt.Errorf("%w: a delegation is for 1 to %d resources, by name", ErrInvalid, maxScope)
	case slices.ContainsFunc(c.Resources, func(r string) bool { return r == "" || len(r) > maxResource }):
		return fmt.Errorf("%w: a resource's name has 1 to %d bytes", ErrInvalid, maxResource)
	case len(c.Verbs) > maxScope || slices.ContainsFunc(c.Verbs, func(v string) bool { return !verbWord.MatchString(v) }):
		return fmt.Errorf("%w: verbs are words like select", ErrInvalid)
	case c.RowsPerHour < 0 || c.RowsPerHour > maxRowsPerHour:
		return fmt.Errorf("%w: rows per hour are 1 or more, or 0 for any number", ErrInvalid)
	case c.TTL < 0 || c.TTL > maxDelegationLife:
		return fmt.Errorf("%w: a delegation lasts for at most %d days", ErrInvalid, int(maxDelegationLife.Hours()/24))
	}
	return checkComment(c.Comment)
}

// MintDelegated mints a session token with which an actor acts for the person
// who consented to it. The actor has proved who they are by a token of their own.
func (s *Service) MintDelegated(ctx context.Context, delegation string, actor postern.Identity, terms SessionTerms) (postern.Secret, postern.Token, error) {
	fail := func(err error) (postern.Secret, postern.Token, error) {
		return postern.Secret{}, postern.Token{}, err
	}
	id, err := s.Delegated(ctx, delegation, actor)
	if err != nil {
		return fail(err)
	}
	ttl, err := s.sessionLife(terms)
	if err != nil {
		return fail(err)
	}
	secret, t, err := s.mint(ctx, sessionPrefix, postern.Token{
		Kind: postern.SessionToken, Identity: id, Resource: terms.Resource, MaxUses: terms.Uses,
		Key: terms.Key, Networks: terms.Networks, Parent: delegation,
	}, ttl)
	if err != nil {
		return fail(err)
	}
	// Ended since it was looked at, the delegation took with it what there was of it then.
	if _, err := s.Delegated(ctx, delegation, actor); err != nil {
		return fail(errors.Join(err, s.RevokeToken(context.WithoutCancel(ctx), t.ID)))
	}
	return secret, t, nil
}

// Delegated is the person of a delegation, with the actor to whom it was given
// acting for them. Every refusal is [ErrUnauthenticated], wrapped with its cause.
func (s *Service) Delegated(ctx context.Context, delegation string, actor postern.Identity) (postern.Identity, error) {
	t, err := s.cfg.Store.Token(ctx, delegation)
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return postern.Identity{}, fmt.Errorf("%w: there is no delegation of that id", ErrUnauthenticated)
	case err != nil:
		return postern.Identity{}, err
	case t.Kind != postern.Delegation || t.Identity.Actor == nil || t.Identity.Scope == nil:
		return postern.Identity{}, fmt.Errorf("%w: %s is no delegation", ErrUnauthenticated, t.ID)
	case actor.Actor != nil || actor.Scope != nil:
		return postern.Identity{}, fmt.Errorf("%w: who acts for another can't pass that on", ErrUnauthenticated)
	case t.Identity.Actor.Name != actor.Name || t.Identity.Actor.Kind != actor.Kind:
		return postern.Identity{}, fmt.Errorf("%w: delegation %s is for another actor", ErrUnauthenticated, t.ID)
	}
	if err := s.valid(t); err != nil {
		return postern.Identity{}, err
	}
	id := t.Identity
	id.Actor, id.Expires = &actor, t.ExpiresAt
	if end := actor.Expires; !end.IsZero() && end.Before(id.Expires) {
		id.Expires = end
	}
	return s.fresh(ctx, id)
}
