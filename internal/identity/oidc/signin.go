package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"postern"
	"postern/internal/identity"
)

// Attempt is one sign-in that has begun. It is the browser's that began it,
// and nobody else may see it.
type Attempt struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
}

// Begin begins a sign-in: it returns where to send the browser.
func (p *Provider) Begin(ctx context.Context) (string, Attempt, error) {
	found, err := p.discover(ctx, rediscover)
	if err != nil {
		return "", Attempt{}, err
	}
	c, err := p.oauth(ctx, found)
	if err != nil {
		return "", Attempt{}, err
	}
	a := Attempt{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
	options := []oauth2.AuthCodeOption{gooidc.Nonce(a.Nonce)}
	if found.pkce {
		options = append(options, oauth2.S256ChallengeOption(a.Verifier))
	}
	return c.AuthCodeURL(a.State, options...), a, nil
}

// Answer is what the provider sent the browser back with.
type Answer struct {
	State  string
	Code   string
	Issuer string // RFC 9207; "": the provider doesn't say
}

// Finish ends a sign-in. Its errors are for the operator: they say which check
// failed, and hold no token.
func (p *Provider) Finish(ctx context.Context, a Attempt, answer Answer) (identity.Vouched, error) {
	if a.State == "" || subtle.ConstantTimeCompare([]byte(a.State), []byte(answer.State)) != 1 {
		return identity.Vouched{}, refused("the state is not that of the attempt")
	}
	if answer.Issuer != "" && answer.Issuer != p.cfg.Issuer {
		return identity.Vouched{}, refused("the answer is of issuer %q, not of %s", short(answer.Issuer), p.cfg.Issuer)
	}
	found, err := p.discover(ctx, rediscover)
	if err != nil {
		return identity.Vouched{}, err
	}
	c, err := p.oauth(ctx, found)
	if err != nil {
		return identity.Vouched{}, err
	}
	ctx, cancel := context.WithTimeout(p.context(ctx), callTime)
	defer cancel()
	token, err := c.Exchange(ctx, answer.Code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return identity.Vouched{}, exchangeError("exchange the code", err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return identity.Vouched{}, refused("the provider sent no ID token")
	}
	claims, err := p.verify(ctx, found, raw, token.AccessToken)
	if err != nil {
		return identity.Vouched{}, err
	}
	if nonce, _ := claims["nonce"].(string); a.Nonce == "" || subtle.ConstantTimeCompare([]byte(a.Nonce), []byte(nonce)) != 1 {
		return identity.Vouched{}, refused("the ID token's nonce is not that of the attempt")
	}
	return p.vouch(ctx, found, token, claims)
}

// Renew asks the provider whether it still stands by a subject ("PROVIDER:SUB"),
// with the refresh token that it gave. A provider that refuses the refresh token
// has ended the login ([identity.ErrGrantEnded]); any other failure says nothing
// of the person ([identity.ErrProviderDown]).
func (p *Provider) Renew(ctx context.Context, subject string, refresh postern.Secret) (identity.Vouched, error) {
	found, err := p.discover(ctx, rediscover)
	if err != nil {
		return identity.Vouched{}, err
	}
	c, err := p.oauth(ctx, found)
	if err != nil {
		return identity.Vouched{}, err
	}
	ctx, cancel := context.WithTimeout(p.context(ctx), callTime)
	defer cancel()
	token, err := c.TokenSource(ctx, &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	if err != nil {
		return identity.Vouched{}, exchangeError("refresh", err)
	}
	sub := strings.TrimPrefix(subject, p.cfg.Name+":")
	v, err := p.renewed(ctx, found, token, sub)
	if err != nil {
		return identity.Vouched{}, err
	}
	if token.RefreshToken == refresh.Reveal() {
		v.Refresh = postern.Secret{} // it stays as it is
	}
	return v, nil
}

// renewed is what the provider says of the person now: in an ID token, or else
// at its userinfo endpoint.
func (p *Provider) renewed(ctx context.Context, found *discovered, token *oauth2.Token, sub string) (identity.Vouched, error) {
	v := identity.Vouched{Identity: postern.Identity{Subject: p.cfg.Name + ":" + sub}, Refresh: postern.NewSecret(token.RefreshToken)}
	claims := map[string]any{"sub": sub}
	if raw, _ := token.Extra("id_token").(string); raw != "" {
		var err error
		if claims, err = p.verify(ctx, found, raw, token.AccessToken); err != nil {
			return v, err
		}
		if claims["sub"] != sub { // OpenID Connect Core 1.0, section 12.2
			return v, fmt.Errorf("%w: it speaks of another subject now", identity.ErrGrantEnded)
		}
	} else if found.provider.UserInfoEndpoint() == "" {
		return v, nil
	}
	return p.vouch(ctx, found, token, claims)
}

// verify checks an ID token and returns its claims.
func (p *Provider) verify(ctx context.Context, found *discovered, raw, access string) (map[string]any, error) {
	if len(raw) > maxIDToken {
		return nil, refused("the ID token has %d bytes, more than %d", len(raw), maxIDToken)
	}
	id, err := found.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: ID token: %w", identity.ErrUnauthenticated, err)
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(access); err != nil {
			return nil, refused("the ID token is of another access token")
		}
	}
	claims, err := decodeClaims(id)
	if err != nil {
		return nil, err
	}
	late := p.cfg.Now().Add(Skew)
	azp, _ := claims["azp"].(string)
	switch {
	case id.Subject == "":
		return nil, refused("the ID token has no subject")
	case id.IssuedAt.After(late):
		return nil, refused("the ID token is of the future (iat %v): compare the clocks", id.IssuedAt.UTC())
	case notBefore(claims).After(late):
		return nil, refused("the ID token isn't good yet (nbf %v): compare the clocks", notBefore(claims))
	case len(id.Audience) > 1 && azp == "", azp != "" && azp != p.cfg.ClientID:
		return nil, refused("the ID token was given to another client (azp %q)", short(azp))
	}
	return claims, nil
}

// refused is a sign-in that failed a check.
func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{identity.ErrUnauthenticated}, args...)...)
}

// short is a foreign text, fit for a log.
func short(text string) string { return text[:min(len(text), 200)] }

// exchangeError words a token endpoint's error without what it answered: that
// may hold a token.
func exchangeError(what string, err error) error {
	var retrieve *oauth2.RetrieveError
	if !errors.As(err, &retrieve) {
		return fmt.Errorf("%w: %s: %w", identity.ErrProviderDown, what, err)
	}
	status := 0
	if retrieve.Response != nil {
		status = retrieve.Response.StatusCode
	}
	says := fmt.Sprintf("%s: the provider answered %d %s %s", what, status, short(retrieve.ErrorCode), short(retrieve.ErrorDescription))
	switch {
	case retrieve.ErrorCode == "invalid_grant" && status != http.StatusInternalServerError:
		return fmt.Errorf("%w: %s", identity.ErrGrantEnded, says)
	default: // invalid_client and the like: a mistake of the operator's, no word about the person
		return fmt.Errorf("%w: %s", identity.ErrProviderDown, says)
	}
}
