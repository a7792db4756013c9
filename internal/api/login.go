package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/identity"
)

// Credentials are what a person signs in with.
type Credentials struct {
	User     string `json:"user" minLength:"1" maxLength:"128"`
	Password string `json:"password" minLength:"1" maxLength:"1024"`
	Code     string `json:"code,omitempty" maxLength:"16" doc:"Of the second factor, for who has one."`
}

// Login is a login token, shown this once.
type Login struct {
	Token     string           `json:"token" doc:"Send it as Authorization: Bearer. It isn't shown again."`
	Identity  postern.Identity `json:"identity"`
	ExpiresAt time.Time        `json:"expires_at"`
	// BreakGlass is set in place of all others when a second person has to confirm.
	BreakGlass *BreakGlass `json:"break_glass,omitempty"`
}

// Whoami is who calls.
type Whoami struct {
	postern.Identity
	Roles []string `json:"roles" doc:"admin, auditor, or none."`
	CSRF  string   `json:"csrf,omitempty" doc:"For a browser's cookie: what the header Postern-Csrf must hold in calls that change something."`
	// Refusals tell of copies: somebody had a token of mine, and not what it is bound to.
	Refusals []Refusal `json:"refusals,omitempty" doc:"With which of my tokens, certificates and keys somebody was refused in the last seven days, latest first; ten at most. All of them are in GET /tokens."`
}

// Refusal is a token that was refused to whoever presented it: from elsewhere,
// with another key, once too often, after its end.
type Refusal struct {
	Token    string    `json:"token" doc:"Its id."`
	Kind     string    `json:"kind"`
	Resource string    `json:"resource,omitempty"`
	Actor    string    `json:"actor,omitempty" doc:"Who acts in my name with it."`
	Times    int       `json:"times"`
	At       time.Time `json:"at" doc:"The last time."`
	Why      string    `json:"why" doc:"From where, and why, the last time."`
}

// What whoami shows of refusals.
const (
	refusalsSince = 7 * 24 * time.Hour
	maxRefusals   = 10
)

// refusals are the latest of an identity's tokens.
func (a *api) refusals(ctx context.Context, of postern.Identity) ([]Refusal, error) {
	tokens, err := a.Identity.Tokens(ctx, of.Kind, of.Name)
	if err != nil {
		return nil, err
	}
	since := a.Now().Add(-refusalsSince)
	tokens = slices.DeleteFunc(tokens, func(t postern.Token) bool { return t.Refused == 0 || t.RefusedAt.Before(since) })
	slices.SortStableFunc(tokens, func(x, y postern.Token) int { return y.RefusedAt.Compare(x.RefusedAt) })
	var all []Refusal
	for _, t := range tokens[:min(len(tokens), maxRefusals)] {
		all = append(all, Refusal{
			Token: t.ID, Kind: string(t.Kind), Resource: t.Resource, Actor: t.Identity.ActorName(),
			Times: t.Refused, At: utc(t.RefusedAt), Why: t.RefusedWhy,
		})
	}
	return all, nil
}

func (a *api) loginRoutes(h huma.API) {
	type loginInput struct {
		UserAgent string `header:"User-Agent"`
		Body      Credentials
	}
	type loginOutput struct{ Body Login }
	handle(a, h, operation(http.MethodPost, "/login", "login", "identity", "Sign in with a local user's password"),
		func(ctx context.Context, c caller, in *loginInput) (*loginOutput, error) {
			login, err := a.login(ctx, c, in.Body, in.UserAgent)
			return &loginOutput{Body: login}, err
		})

	type nothing struct{}
	logout := operation(http.MethodPost, "/logout", "logout", "identity", "End the login")
	logout.DefaultStatus = http.StatusNoContent
	handle(a, h, logout, func(ctx context.Context, c caller, _ *nothing) (*nothing, error) {
		return nil, a.change(ctx, c, postern.AuditEntry{Action: "logout", Target: c.ref()}, func(ctx context.Context) error {
			return a.Identity.Logout(ctx, c.bearer)
		})
	})

	type whoamiOutput struct{ Body Whoami }
	handle(a, h, operation(http.MethodGet, "/whoami", "whoami", "identity", "Who I am"),
		func(ctx context.Context, c caller, _ *nothing) (*whoamiOutput, error) {
			refusals, err := a.refusals(ctx, c.identity)
			if err != nil {
				return nil, err
			}
			who := Whoami{Identity: c.identity, Roles: []string{}, Refusals: refusals}
			if c.admin {
				who.Roles = append(who.Roles, "admin")
			}
			if c.auditor {
				who.Roles = append(who.Roles, "auditor")
			}
			if c.cookie {
				who.CSRF = csrfOf(c.bearer)
			}
			return &whoamiOutput{Body: who}, nil
		})
}

// login signs a local user in by password: for programs that have no browser
// and no person at hand. People sign in through the browser.
func (a *api) login(ctx context.Context, c caller, in Credentials, userAgent string) (Login, error) {
	id, err := a.password(ctx, c, in)
	if errors.Is(err, errTwoPeople) {
		return a.beginBreakGlass(ctx, c, id)
	}
	if err != nil {
		return Login{}, err
	}
	c.identity = id
	var out Login
	err = a.change(ctx, c, postern.AuditEntry{Action: "login", Target: c.ref(), Reason: "password"}, func(ctx context.Context) error {
		from := identity.Where{Client: userAgent, Source: c.source.String()}
		t, err := a.Identity.StartLogin(ctx, postern.PasswordLogin, identity.Vouched{Identity: id}, from)
		out = Login{Token: t.Token.Reveal(), Identity: t.Record.Identity, ExpiresAt: t.ExpiresAt.UTC()}
		return err
	})
	return out, err
}

// password verifies a local user's password, and their second factor where they
// have one; for a break-glass account it returns the identity with
// errTwoPeople. Every other refusal has the same words
// and takes the same time, whether the user exists or not.
func (a *api) password(ctx context.Context, c caller, in Credentials) (postern.Identity, error) {
	began := time.Now() // the system's clock: a timer waits by it
	id, err := a.Identity.AuthenticatePerson(ctx, in.User, identity.Proof{Password: postern.NewSecret(in.Password), Code: in.Code}, c.source)
	switch {
	case errors.Is(err, identity.ErrCodeNeeded):
		return postern.Identity{}, errCodeNeeded
	case errors.Is(err, identity.ErrTwoPeople):
		return id, errTwoPeople
	}
	if errors.Is(err, identity.ErrTooMany) {
		// Not in the audit log: whoever guesses must not be able to fill it.
		a.Log.Warn("login refused: too many tries", "source", c.source)
		return postern.Identity{}, err
	}
	if err != nil {
		a.Log.Warn("login refused", "source", c.source, "cause", err)
		entry := postern.AuditEntry{Action: "login", Outcome: "refused", Target: ref(postern.User, in.User), Reason: "wrong user, password or code"}
		err := a.note(ctx, c, entry)
		holdUntil(ctx, began.Add(refusalTime))
		if err != nil {
			return postern.Identity{}, err
		}
		return postern.Identity{}, errWrongPassword
	}
	return id, nil
}

var errWrongPassword = huma.Error401Unauthorized("wrong user or password, or code of the second factor")

func holdUntil(ctx context.Context, t time.Time) {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
