package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/identity"
	"postern/internal/policy"
)

// TokenRequest asks for a session token.
type TokenRequest struct {
	Resource string         `json:"resource" minLength:"1" maxLength:"253"`
	TTL      string         `json:"ttl,omitempty" maxLength:"32" doc:"How long it opens sessions, like 15m. Absent: the gateway's default."`
	Uses     int            `json:"uses,omitempty" minimum:"0" maximum:"1000000" doc:"How many sessions it opens. 0 or absent: any number."`
	Key      string         `json:"key,omitempty" maxLength:"64" doc:"The fingerprint of a key that clients must show with it, by TLS or SSH. Absent: any client's."`
	Networks []netip.Prefix `json:"networks,omitempty" maxItems:"32" doc:"Where it may be used from, like 192.0.2.0/24. Absent: anywhere."`
	// Delegation is the id of a consent that the caller acts under.
	Delegation string `json:"delegation,omitempty" maxLength:"128" doc:"The delegation under which you act for somebody. Absent: you act for yourself."`
}

// SessionToken is a session token with what a native client needs to enter.
type SessionToken struct {
	ID        string    `json:"id"`
	Token     string    `json:"token" doc:"It isn't shown again."`
	User      string    `json:"user"`
	Host      string    `json:"host"`
	Port      int       `json:"port"`
	Database  string    `json:"database"`
	Protocol  string    `json:"protocol"`
	ExpiresAt time.Time `json:"expires_at"`
	DSN       string    `json:"dsn" doc:"A connection string. It holds the token."`
}

// Token is a token as it is listed: without its secret.
type Token struct {
	ID        string         `json:"id"`
	Kind      string         `json:"kind" enum:"session,login,web,certificate,ssh-key"`
	Identity  string         `json:"identity"`
	Resource  string         `json:"resource,omitempty"`
	Uses      int            `json:"uses"`
	MaxUses   int            `json:"max_uses,omitempty"`
	CreatedAt time.Time      `json:"created_at"`
	ExpiresAt time.Time      `json:"expires_at"`
	Revoked   bool           `json:"revoked"`
	Key       string         `json:"key,omitempty" doc:"The fingerprint of the key that must be shown with it."`
	Networks  []netip.Prefix `json:"networks,omitempty"`
	Comment   string         `json:"comment,omitempty"`

	Refused    int       `json:"refused,omitempty" doc:"How often it was refused to whoever presented it: from elsewhere, with another key, once too often."`
	RefusedAt  time.Time `json:"refused_at,omitzero"`
	RefusedWhy string    `json:"refused_why,omitempty" doc:"From where, and why, the last time."`
}

func (a *api) tokenRoutes(h huma.API) {
	type mintInput struct{ Body TokenRequest }
	type mintOutput struct{ Body SessionToken }
	mint := operation(http.MethodPost, "/tokens", "create-token", "tokens", "Get a session token for a resource")
	mint.DefaultStatus = http.StatusCreated
	handle(a, h, mint, func(ctx context.Context, c caller, in *mintInput) (*mintOutput, error) {
		token, err := a.mint(ctx, c, in.Body)
		return &mintOutput{Body: token}, err
	})

	a.listing(h, operation(http.MethodGet, "/tokens", "list-tokens", "tokens", "Tokens, certificates and keys, without their secrets"), "")
	revoke := operation(http.MethodDelete, "/tokens/{id}", "revoke-token", "tokens", "Revoke a token, and end the sessions it opened")
	a.revoking(h, revoke, "token.revoke", func(postern.TokenKind) bool { return true })
}

func listedToken(t postern.Token) Token {
	return Token{
		ID: t.ID, Kind: string(t.Kind), Identity: ref(t.Identity.Kind, t.Identity.Name), Resource: t.Resource,
		Uses: t.Uses, MaxUses: t.MaxUses, CreatedAt: utc(t.CreatedAt), ExpiresAt: utc(t.ExpiresAt), Revoked: t.Revoked,
		Key: t.Key, Networks: t.Networks, Comment: t.Comment,
		Refused: t.Refused, RefusedAt: utc(t.RefusedAt), RefusedWhy: t.RefusedWhy,
	}
}

// revoking is a route that revokes what its path names, if it is of a fitting
// kind and the caller's to revoke.
func (a *api) revoking(h huma.API, op huma.Operation, action string, fits func(postern.TokenKind) bool) {
	type idInput struct {
		ID string `path:"id" maxLength:"128"`
	}
	type nothing struct{}
	op.DefaultStatus = http.StatusNoContent
	handle(a, h, op, func(ctx context.Context, c caller, in *idInput) (*nothing, error) {
		token, err := a.Store.Token(ctx, in.ID)
		if err == nil && (!fits(token.Kind) || !c.may(token.Identity.Kind, token.Identity.Name)) {
			err = errNotFound
		}
		if err != nil {
			return nil, err
		}
		entry := postern.AuditEntry{
			Action: action, Target: "token:" + token.ID, Resource: token.Resource,
			Reason: "of " + ref(token.Identity.Kind, token.Identity.Name),
		}
		return nil, a.change(ctx, c, entry, func(ctx context.Context) error { return a.Identity.RevokeToken(ctx, token.ID) })
	})
}

// mint makes a session token where the policy would let the caller open the
// resource now. A resource that the caller may not know of is told like one
// that doesn't exist.
func (a *api) mint(ctx context.Context, c caller, in TokenRequest) (SessionToken, error) {
	ttl, err := parseTTL(in.TTL)
	if err != nil {
		return SessionToken{}, err
	}
	if in.Delegation != "" {
		if c, err = a.actFor(ctx, c, in.Delegation); err != nil {
			return SessionToken{}, err
		}
	}
	set := a.Policy()
	opening := set.Open(policy.Request{Identity: c.identity, Resource: in.Resource, Source: c.source, Now: a.Now(), Grants: a.Requests.Grants(c.identity)})
	resource, known := set.Resource(in.Resource)
	if !known || (!opening.Allowed && !opening.Visible) {
		return SessionToken{}, huma.Error404NotFound("there is no resource of that name that you can reach; see `postern ls`")
	}
	if !opening.Allowed {
		if opening.Request != "" {
			opening.Reason += " Or ask for it at " + AskURL(a.PublicURL, in.Resource, opening.Request) + " ."
		}
		return SessionToken{}, huma.Error403Forbidden(opening.Reason)
	}
	endpoint, ok := a.Endpoint(resource.Type)
	if !ok {
		return SessionToken{}, &RefusedError{Reason: "the gateway doesn't listen for " + resource.Type + "; an administrator can switch it on"}
	}
	out := SessionToken{User: c.identity.Name, Host: endpoint.Host, Port: endpoint.Port, Database: resource.Name, Protocol: resource.Type}
	entry := postern.AuditEntry{Action: "token.create", Resource: resource.Name, Target: c.ref(), Policy: set.Version()}
	err = a.change(ctx, c, entry, func(ctx context.Context) error {
		secret, token, err := a.mintFor(ctx, c, identity.SessionTerms{
			Resource: resource.Name, TTL: ttl, Uses: in.Uses, Key: in.Key, Networks: in.Networks, Under: c.bearer,
		})
		if err == nil {
			err = a.stillIn(ctx, c, token)
		}
		if err != nil {
			return err
		}
		out.ID, out.Token, out.ExpiresAt = token.ID, secret.Reveal(), token.ExpiresAt.UTC()
		if endpoint.DSN != nil {
			out.DSN = endpoint.DSN(out.User, secret, resource.Name)
		}
		return nil
	})
	return out, err
}

// stillIn revokes what was just made for a caller whose key or login was taken
// back since it let them in, with all the tokens that there were then: not with
// this one.
func (a *api) stillIn(ctx context.Context, c caller, made postern.Token) error {
	if c.bearer.IsZero() { // who came with a token of another issuer's, which isn't asked twice
		return nil
	}
	if _, err := a.again(ctx, c); err != nil {
		return errors.Join(err, a.Identity.RevokeToken(context.WithoutCancel(ctx), made.ID))
	}
	return nil
}

// parseTTL is how long a session token shall live; 0: the gateway's default.
func parseTTL(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	ttl, err := time.ParseDuration(text)
	if err != nil || ttl < time.Second {
		return 0, huma.Error422UnprocessableEntity("ttl: " + strconv.Quote(text) + " is no duration like 90s, 15m or 8h")
	}
	return ttl, nil
}
