package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/policy"
)

// TokenRequest asks for a session token.
type TokenRequest struct {
	Resource string `json:"resource" minLength:"1" maxLength:"253"`
	TTL      string `json:"ttl,omitempty" maxLength:"32" doc:"How long it opens sessions, like 15m. Absent: the gateway's default."`
	Uses     int    `json:"uses,omitempty" minimum:"0" maximum:"1000000" doc:"How many sessions it opens. 0 or absent: any number."`
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
	ID        string    `json:"id"`
	Kind      string    `json:"kind" enum:"session,login"`
	Identity  string    `json:"identity"`
	Resource  string    `json:"resource,omitempty"`
	Uses      int       `json:"uses"`
	MaxUses   int       `json:"max_uses,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Revoked   bool      `json:"revoked"`
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

	type listInput struct {
		Identity string `query:"identity" maxLength:"256" doc:"KIND:NAME of another identity. Absent: mine."`
	}
	type listOutput struct{ Body Page[Token] }
	handle(a, h, operation(http.MethodGet, "/tokens", "list-tokens", "tokens", "Tokens, without their secrets"),
		func(ctx context.Context, c caller, in *listInput) (*listOutput, error) {
			kind, name := c.identity.Kind, c.identity.Name
			if in.Identity != "" {
				kind, name = splitRef(in.Identity)
			}
			if !c.may(kind, name) {
				return nil, errForbidden
			}
			tokens, err := a.Identity.Tokens(ctx, kind, name)
			page := Page[Token]{Items: []Token{}}
			for _, t := range tokens {
				page.Items = append(page.Items, Token{
					ID: t.ID, Kind: string(t.Kind), Identity: ref(t.Identity.Kind, t.Identity.Name), Resource: t.Resource,
					Uses: t.Uses, MaxUses: t.MaxUses, CreatedAt: utc(t.CreatedAt), ExpiresAt: utc(t.ExpiresAt), Revoked: t.Revoked,
				})
			}
			return &listOutput{Body: page}, err
		})

	type idInput struct {
		ID string `path:"id" maxLength:"128"`
	}
	type nothing struct{}
	revoke := operation(http.MethodDelete, "/tokens/{id}", "revoke-token", "tokens", "Revoke a token, and end the sessions it opened")
	revoke.DefaultStatus = http.StatusNoContent
	handle(a, h, revoke, func(ctx context.Context, c caller, in *idInput) (*nothing, error) {
		token, err := a.Store.Token(ctx, in.ID)
		if err == nil && !c.may(token.Identity.Kind, token.Identity.Name) {
			err = errNotFound
		}
		if err != nil {
			return nil, err
		}
		entry := postern.AuditEntry{
			Action: "token.revoke", Target: "token:" + token.ID, Resource: token.Resource,
			Reason: "of " + ref(token.Identity.Kind, token.Identity.Name),
		}
		return nil, a.act(ctx, c, entry, func() error { return a.Identity.RevokeToken(ctx, token.ID) })
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
	set := a.Policy()
	opening := set.Open(policy.Request{Identity: c.identity, Resource: in.Resource, Source: c.source, Now: a.Now()})
	resource, known := set.Resource(in.Resource)
	if !known || (!opening.Allowed && !opening.Visible) {
		return SessionToken{}, huma.Error404NotFound("there is no resource of that name that you can reach; see `postern ls`")
	}
	if !opening.Allowed {
		return SessionToken{}, huma.Error403Forbidden(opening.Reason)
	}
	endpoint, ok := a.Endpoint(resource.Type)
	if !ok {
		return SessionToken{}, &RefusedError{Reason: "the gateway doesn't listen for " + resource.Type + "; an administrator can switch it on"}
	}
	out := SessionToken{User: c.identity.Name, Host: endpoint.Host, Port: endpoint.Port, Database: resource.Name, Protocol: resource.Type}
	entry := postern.AuditEntry{Action: "token.create", Resource: resource.Name, Target: c.ref(), Policy: set.Version()}
	err = a.act(ctx, c, entry, func() error {
		secret, token, err := a.Identity.MintSession(ctx, c.identity, resource.Name, ttl, in.Uses)
		if err != nil {
			return err
		}
		// The key or the login may have been taken back since it let the caller
		// in, with all the tokens that there were then: not with this one.
		if _, err := a.Identity.AuthenticateBearer(ctx, c.bearer); err != nil {
			return errors.Join(err, a.Identity.RevokeToken(context.WithoutCancel(ctx), token.ID))
		}
		out.ID, out.Token, out.ExpiresAt = token.ID, secret.Reveal(), token.ExpiresAt.UTC()
		if endpoint.DSN != nil {
			out.DSN = endpoint.DSN(out.User, secret, resource.Name)
		}
		return nil
	})
	return out, err
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
