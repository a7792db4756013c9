package identity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern"
)

// Admit verifies what a native client presents at a listener, in this order: a
// session token, as a secret or by the proof that the client knows it; a
// certificate of this gateway; a registered SSH key. Exactly one of them
// counts: who sends a token that doesn't hold isn't let in by a certificate.
//
// All of them are for the user that they were made for, for their resource if
// they name one, and for the key and the networks that they are bound to. It
// counts as a use only when all of that holds. The groups are those of today.
//
// A refusal of something that is known is a *[RefusedError].
func (s *Service) Admit(ctx context.Context, cred postern.Credential) (postern.Admission, error) {
	t, id, err := s.presented(ctx, cred)
	if err == nil {
		err = s.use(ctx, t, id, cred)
	}
	if err != nil {
		if t.ID != "" && errors.Is(err, ErrUnauthenticated) {
			// For its owner to see; the refusal doesn't hang on it.
			why := fmt.Sprintf("from %s: %s", cred.Source.Addr(), strings.TrimPrefix(err.Error(), ErrUnauthenticated.Error()+": "))
			err = &RefusedError{Token: t, Err: errors.Join(err, s.cfg.Store.NoteRefusal(ctx, t.ID, s.cfg.Now(), why))}
		}
		return postern.Admission{}, err
	}
	adm := postern.Admission{Identity: id, Token: t.ID, Resource: t.Resource, Until: t.ExpiresAt}
	if adm.Resource == "" {
		adm.Resource = cred.Resource // it opens any; the gate asks whether this identity may
	}
	return adm, nil
}

// RefusedError is a refusal of a token, certificate or key that is known. It is
// for the operator, and for whoever it belongs to.
type RefusedError struct {
	Token postern.Token
	Err   error
}

// Error is the cause.
func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap is the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// Presented says what was refused, as it would have been admitted.
func (e *RefusedError) Presented() postern.Admission {
	return postern.Admission{Identity: e.Token.Identity, Token: e.Token.ID, Resource: e.Token.Resource, Until: e.Token.ExpiresAt}
}

// use counts a use of a token that the client may use here and now. Where any
// number of them is allowed, the session that it opens counts as one when it is
// written down, and [Service.Still] asks after that whether the token was revoked
// meanwhile.
func (s *Service) use(ctx context.Context, t postern.Token, id postern.Identity, cred postern.Credential) error {
	if err := bound(t, cred); err != nil {
		return err
	}
	if cred.User != id.Name && cred.User != reservedName {
		return fmt.Errorf("%w: %s %s is for another user", ErrUnauthenticated, words(t.Kind), t.ID)
	}
	if err := s.valid(t); err != nil {
		return err
	}
	if t.MaxUses == 0 {
		return nil
	}
	err := s.cfg.Store.UseToken(ctx, t.ID, s.cfg.Now())
	if errors.Is(err, postern.ErrNotFound) { // between look and use another took the last use, or it was revoked
		return fmt.Errorf("%w: token %s has just been used up or revoked", ErrUnauthenticated, t.ID)
	}
	return err
}

// presented finds what the client presents, and whose it is today.
func (s *Service) presented(ctx context.Context, cred postern.Credential) (postern.Token, postern.Identity, error) {
	fail := func(err error) (postern.Token, postern.Identity, error) {
		return postern.Token{}, postern.Identity{}, err
	}
	if len(cred.Secret.Reveal()) > maxSecret {
		return fail(fmt.Errorf("%w: no session token", ErrUnauthenticated))
	}
	kind := postern.SessionToken
	var t postern.Token
	var found error
	switch {
	case !cred.Secret.IsZero():
		t, found = s.cfg.Store.TokenByHash(ctx, digest(cred.Secret))
	case cred.Proof.Token != "":
		t, found = s.cfg.Store.Token(ctx, cred.Proof.Token)
	case cred.Proof.Certificate != "":
		kind = postern.Certificate
		t, found = s.cfg.Store.Token(ctx, cred.Proof.Certificate)
	case cred.Proof.Key != "" && cred.Proof.Alone:
		kind = postern.SSHKey
		t, found = s.sshKey(ctx, cred)
	default: // nothing at all: as many lookups as for an unknown token
		t, found = s.cfg.Store.TokenByHash(ctx, digest(cred.Secret))
	}
	if found != nil && !errors.Is(found, postern.ErrNotFound) {
		return fail(found)
	}
	id, err := s.today(ctx, t) // for an unknown token, a lookup of nobody
	switch {
	case found != nil:
		return fail(fmt.Errorf("%w: the %s is unknown", ErrUnauthenticated, words(kind)))
	case t.Kind != kind:
		return t, id, fmt.Errorf("%w: token %s is no %s", ErrUnauthenticated, t.ID, words(kind))
	}
	return t, id, err
}

// sshKey finds a registered key of the user whom the client names. Two may have
// registered one key, so the name is a part of the question.
func (s *Service) sshKey(ctx context.Context, cred postern.Credential) (postern.Token, error) {
	for _, kind := range []postern.IdentityKind{postern.User, postern.Service, postern.Workload} {
		t, err := s.cfg.Store.TokenByHash(ctx, sshKeyHash(kind, cred.User, cred.Proof.Key))
		if !errors.Is(err, postern.ErrNotFound) {
			return t, err
		}
	}
	return postern.Token{}, fmt.Errorf("SSH key: %w", postern.ErrNotFound)
}

// words name a kind of token for the operator.
func words(kind postern.TokenKind) string {
	switch kind {
	case postern.SessionToken:
		return "session token"
	case postern.SSHKey:
		return "SSH key"
	default:
		return string(kind)
	}
}

// bound says why a token can't be used in this place, or by this client.
func bound(t postern.Token, cred postern.Credential) error {
	switch {
	case t.Resource != "" && cred.Resource != t.Resource, t.Resource == "" && t.Kind == postern.SessionToken:
		return fmt.Errorf("%w: %s %s is for another resource", ErrUnauthenticated, words(t.Kind), t.ID)
	case t.Key != "" && cred.Proof.Key == "":
		return fmt.Errorf("%w: %s %s is bound to a key, and the client has shown none", ErrUnauthenticated, words(t.Kind), t.ID)
	case t.Key != "" && cred.Proof.Key != t.Key:
		return fmt.Errorf("%w: %s %s is bound to another key than the client's (%s)", ErrUnauthenticated, words(t.Kind), t.ID, cred.Proof.Key)
	case len(t.Networks) > 0 && !within(t.Networks, cred.Source.Addr()):
		return fmt.Errorf("%w: %s %s is bound to other networks than %s", ErrUnauthenticated, words(t.Kind), t.ID, cred.Source.Addr())
	}
	return nil
}

func within(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap()
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// today is whose token it is, as that identity stands now. A key that doesn't
// end by itself for weeks is worth only what its owner's login is: of somebody
// whose leaving only their identity provider may know of, it opens nothing
// while they aren't signed in.
func (s *Service) today(ctx context.Context, t postern.Token) (postern.Identity, error) {
	if t.Kind != postern.SSHKey || t.Identity.Kind == postern.Service || t.Identity.Subject == localSubject(t.Identity.Name) {
		return s.fresh(ctx, t.Identity)
	}
	if t.Identity.Kind == postern.User {
		return s.loggedIn(ctx, t)
	}
	all, err := s.cfg.Store.TokensOf(ctx, t.Identity.Kind, t.Identity.Name)
	if err != nil {
		return postern.Identity{}, err
	}
	for _, login := range all { // newest first
		if login.Kind == postern.LoginToken && login.Identity.Subject == t.Identity.Subject && login.Identity.Actor == nil && s.valid(login) == nil {
			return s.fresh(ctx, login.Identity)
		}
	}
	return postern.Identity{}, fmt.Errorf("%w: SSH key %s: its owner isn't signed in", ErrUnauthenticated, t.ID)
}

// loggedIn is the person whose key it is, as of a login of theirs that goes on.
func (s *Service) loggedIn(ctx context.Context, t postern.Token) (postern.Identity, error) {
	logins, err := s.cfg.Store.LoginsOf(ctx, t.Identity.Kind, t.Identity.Name)
	if err != nil {
		return postern.Identity{}, err
	}
	for _, r := range logins { // newest first
		if r.Identity.Subject != t.Identity.Subject {
			continue
		}
		if _, err := s.living(ctx, r.ID); err == nil {
			r.Identity.Login = r.ID
			return s.fresh(ctx, r.Identity)
		}
	}
	return postern.Identity{}, fmt.Errorf("%w: SSH key %s: its owner isn't signed in", ErrUnauthenticated, t.ID)
}
