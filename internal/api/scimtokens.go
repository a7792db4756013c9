package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
)

// NewSCIMToken asks for the token of a provider's directory.
type NewSCIMToken struct {
	Name     string `json:"name" minLength:"1" maxLength:"128" pattern:"^[A-Za-z0-9][A-Za-z0-9._@+-]*$"`
	Provider string `json:"provider" minLength:"1" maxLength:"64" doc:"The provider whose people the directory keeps: a name of identity.oidc, where they sign in."`
	Subjects string `json:"subjects,omitempty" enum:"external-id" doc:"external-id: what the directory sends as externalId is what the provider calls them when they sign in (sub). Absent: a person's account waits for the first who signs in there under its name."`
	TTL      string `json:"ttl,omitempty" maxLength:"32" doc:"How long it is good, like 2160h. Absent: a year."`
}

// SCIMKey is a directory's token with its secret, shown this once.
type SCIMKey struct {
	postern.SCIMToken
	Token string `json:"token" doc:"It isn't shown again."`
	URL   string `json:"url" doc:"The base URL to configure at the directory."`
}

// Removals allows a directory to remove many people.
type Removals struct {
	For string `json:"for,omitempty" maxLength:"32" doc:"For how long, like 30m; an hour at most, and if absent."`
}

// Allowed says until when a directory's limits don't count.
type Allowed struct {
	Provider string    `json:"provider"`
	Until    time.Time `json:"until"`
}

// maxAllowed is the longest that a directory's limits can be lifted.
const maxAllowed = time.Hour

func (a *api) scimTokenRoutes(h huma.API) {
	const tag = "directories"
	type nothing struct{}
	type listOutput struct{ Body Page[postern.SCIMToken] }
	handle(a, h, operation(http.MethodGet, "/scim-tokens", "list-scim-tokens", tag, "Tokens of directories, without their secrets"),
		func(ctx context.Context, _ caller, _ *nothing) (*listOutput, error) {
			all, err := a.Identity.SCIMTokens(ctx)
			return &listOutput{Body: Page[postern.SCIMToken]{Items: list(all)}}, err
		})

	type createInput struct{ Body NewSCIMToken }
	type createOutput struct{ Body SCIMKey }
	create := operation(http.MethodPost, "/scim-tokens", "create-scim-token", tag, "Make a directory's token")
	create.DefaultStatus = http.StatusCreated
	handle(a, h, create, func(ctx context.Context, c caller, in *createInput) (*createOutput, error) {
		ttl, err := parseTTL(in.Body.TTL)
		if err != nil {
			return nil, err
		}
		var out createOutput
		entry := postern.AuditEntry{Action: "scim-token.create", Target: "scim-token:" + in.Body.Name, Reason: "for the directory of " + in.Body.Provider}
		err = a.change(ctx, c, entry, func(ctx context.Context) error {
			t, secret, err := a.Identity.CreateSCIMToken(ctx, in.Body.Name, in.Body.Provider, in.Body.Subjects, c.ref(), ttl)
			out.Body = SCIMKey{SCIMToken: t, Token: secret.Reveal(), URL: a.PublicURL + "/scim/v2"}
			return err
		})
		return &out, err
	})

	revoke := operation(http.MethodDelete, "/scim-tokens/{name}", "revoke-scim-token", tag, "Revoke a directory's token")
	revoke.DefaultStatus = http.StatusNoContent
	handle(a, h, revoke, func(ctx context.Context, c caller, in *named) (*nothing, error) {
		return nil, a.change(ctx, c, postern.AuditEntry{Action: "scim-token.revoke", Target: "scim-token:" + in.Name}, func(ctx context.Context) error {
			return a.Identity.RevokeSCIMToken(ctx, in.Name)
		})
	})
	a.removalRoute(h, tag)
}

// removalRoute lifts the limits of a directory for a while.
func (a *api) removalRoute(h huma.API, tag string) {
	type input struct {
		Name string `path:"name" maxLength:"128"`
		Body Removals
	}
	type output struct{ Body Allowed }
	handle(a, h, operation(http.MethodPost, "/scim-tokens/{name}/allow-removals", "allow-removals", tag, "Let a directory remove more people than its limits allow"),
		func(ctx context.Context, c caller, in *input) (*output, error) {
			lasts, err := parseTTL(in.Body.For)
			if err != nil {
				return nil, err
			}
			if lasts == 0 {
				lasts = maxAllowed
			}
			if lasts > maxAllowed {
				return nil, huma.Error422UnprocessableEntity("for: the limits can be lifted for an hour at most")
			}
			all, err := a.Identity.SCIMTokens(ctx)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(all, func(t postern.SCIMToken) bool { return t.Name == in.Name && !t.Revoked })
			if i < 0 || a.Directory == nil {
				return nil, errNotFound
			}
			out := Allowed{Provider: all[i].Provider, Until: a.Now().Add(lasts).UTC()}
			entry := postern.AuditEntry{
				Action: "scim-token.allow-removals", Target: "scim-token:" + in.Name,
				Reason: "of the directory of " + out.Provider + ", until " + out.Until.Format(time.RFC3339),
			}
			err = a.act(ctx, c, entry, func() error {
				a.Directory.AllowRemovals(out.Provider, out.Until)
				return nil
			})
			return &output{Body: out}, err
		})
}
