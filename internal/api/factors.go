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

// Factor is a new second factor, shown this once.
type Factor struct {
	Secret string `json:"secret" doc:"For an authenticator app, to be typed. It isn't shown again."`
	URL    string `json:"url" doc:"The same as otpauth://…, to be scanned."`
}

// Code is a code of a second factor.
type Code struct {
	Code string `json:"code" minLength:"6" maxLength:"16"`
}

// BreakGlass is a login that waits for a second person.
type BreakGlass struct {
	ID        string    `json:"id" doc:"What the second person confirms."`
	Secret    string    `json:"secret" doc:"With it the login is taken up, once it was confirmed. It isn't shown again."`
	ExpiresAt time.Time `json:"expires_at"`
}

// Taken is a break-glass login that is taken up.
type Taken struct {
	Secret string `json:"secret" minLength:"1" maxLength:"128"`
}

// CodeNeeded is what is told to whoever shows the right password of a user that
// has a second factor, and no code of it.
const CodeNeeded = "this user has a second factor: send a code of it along"

var (
	errCodeNeeded = huma.Error401Unauthorized(CodeNeeded)
	// errTwoPeople comes with whom everything was shown for.
	errTwoPeople = huma.Error403Forbidden("this is a break-glass account, and needs a second person: sign in with `postern login --user NAME`")
	errNotYet    = huma.Error409Conflict("no second person has confirmed yet; ask again")
)

func (a *api) factorRoutes(h huma.API) {
	const tag = "identity"
	type nothing struct{}
	type enrolOutput struct{ Body Factor }
	handle(a, h, operation(http.MethodPost, "/factors/totp", "enrol-totp", tag, "Begin a second factor for myself"),
		func(ctx context.Context, c caller, _ *nothing) (*enrolOutput, error) {
			if c.identity.Kind != postern.User || c.identity.Actor != nil {
				return nil, errForbidden
			}
			var out enrolOutput
			err := a.change(ctx, c, postern.AuditEntry{Action: "factor.enrol", Target: c.ref()}, func(ctx context.Context) error {
				e, err := a.Identity.EnrolTOTP(ctx, c.identity.Name, "Postern "+a.host)
				out.Body = Factor{Secret: e.Secret, URL: e.URL}
				return err
			})
			return &out, err
		})
	type codeInput struct{ Body Code }
	confirm := operation(http.MethodPost, "/factors/totp/confirm", "confirm-totp", tag, "Make my second factor count, with a code of it")
	confirm.DefaultStatus = http.StatusNoContent
	handle(a, h, confirm, func(ctx context.Context, c caller, in *codeInput) (*nothing, error) {
		if c.identity.Kind != postern.User || c.identity.Actor != nil {
			return nil, errForbidden
		}
		err := a.change(ctx, c, postern.AuditEntry{Action: "factor.confirm", Target: c.ref()}, func(ctx context.Context) error {
			return a.Identity.ConfirmTOTP(ctx, c.identity.Name, in.Body.Code)
		})
		if errors.Is(err, identity.ErrUnauthenticated) {
			err = huma.Error422UnprocessableEntity("the code is wrong, or was used before")
		}
		return nil, err
	})
	reset := operation(http.MethodDelete, "/users/{name}/factors", "reset-factors", "accounts", "Take a user's second factors away, and end their sessions")
	reset.DefaultStatus = http.StatusNoContent
	handle(a, h, reset, func(ctx context.Context, c caller, in *named) (*nothing, error) {
		if c.owns(postern.User, in.Name) {
			return nil, &RefusedError{Reason: "you can't reset your own second factor; another admin can"}
		}
		return nil, a.change(ctx, c, postern.AuditEntry{Action: "factor.reset", Target: ref(postern.User, in.Name)}, func(ctx context.Context) error {
			return a.Identity.ResetFactors(ctx, in.Name)
		})
	})
	a.breakGlassRoutes(h, tag)
}

func (a *api) breakGlassRoutes(h huma.API, tag string) {
	type confirmInput struct {
		ID   string `path:"id" maxLength:"64"`
		Body Credentials
	}
	type nothing struct{}
	confirm := operation(http.MethodPost, "/login/break-glass/{id}/confirm", "confirm-break-glass", tag, "Confirm somebody else's break-glass login")
	confirm.DefaultStatus = http.StatusNoContent
	handle(a, h, confirm, func(ctx context.Context, c caller, in *confirmInput) (*nothing, error) {
		return nil, a.confirmBreakGlass(ctx, c, in.ID, in.Body)
	})
	type takeInput struct{ Body Taken }
	type takeOutput struct{ Body Login }
	handle(a, h, operation(http.MethodPost, "/login/break-glass", "take-break-glass", tag, "Take up a break-glass login that was confirmed"),
		func(ctx context.Context, c caller, in *takeInput) (*takeOutput, error) {
			login, err := a.takeBreakGlass(ctx, c, postern.NewSecret(in.Body.Secret))
			return &takeOutput{Body: login}, err
		})
}

// beginBreakGlass lets a break-glass login wait for its second person, loudly.
func (a *api) beginBreakGlass(ctx context.Context, c caller, id postern.Identity) (Login, error) {
	c.identity = id
	var out Login
	entry := postern.AuditEntry{Action: "break-glass.request", Target: c.ref(), Reason: "a break-glass login waits for a second person"}
	err := a.change(ctx, c, entry, func(ctx context.Context) error {
		b, secret, err := a.Identity.BeginBreakGlass(ctx, id, c.source.String())
		out.BreakGlass = &BreakGlass{ID: b.ID, Secret: secret.Reveal(), ExpiresAt: b.ExpiresAt}
		return err
	})
	if err == nil {
		a.loud("requested", "break-glass login requested", "identity", id.Name, "source", c.source, "id", out.BreakGlass.ID)
	}
	return out, err
}

// confirmBreakGlass is the second person's word: theirs by everything that they
// sign in with. Who may is in the configuration: another break-glass account, or
// an admin.
func (a *api) confirmBreakGlass(ctx context.Context, c caller, id string, in Credentials) error {
	by, err := a.password(ctx, c, in)
	second := errors.Is(err, errTwoPeople)
	if err != nil && !second {
		return err
	}
	if !second && !postern.MatchesAny(a.Admins, by) {
		return errForbidden
	}
	c.identity = by
	b, err := a.Identity.BreakGlass(ctx, id)
	if err != nil {
		return err
	}
	entry := postern.AuditEntry{Action: "break-glass.confirm", Target: ref(postern.User, b.Account), Reason: "as the second person of " + id}
	err = a.change(ctx, c, entry, func(ctx context.Context) error {
		_, err := a.Identity.ConfirmBreakGlass(ctx, id, by)
		return err
	})
	if err == nil {
		a.loud("confirmed", "break-glass login confirmed", "identity", b.Account, "by", by.Name, "source", c.source, "id", id)
	}
	return err
}

func (a *api) takeBreakGlass(ctx context.Context, c caller, secret postern.Secret) (Login, error) {
	if !a.limits.signIns.Take(identity.Place(c.source)) {
		return Login{}, identity.ErrTooMany
	}
	var b postern.BreakGlassLogin
	var token postern.Secret
	var t postern.Token
	err := a.changeAs(ctx, func() []postern.AuditEntry {
		c.identity = t.Identity
		return []postern.AuditEntry{a.about(c, postern.AuditEntry{Action: "break-glass.login", Target: c.ref(), Reason: "confirmed by user:" + b.ConfirmedBy})}
	}, func(ctx context.Context) (err error) {
		b, token, t, err = a.Identity.TakeBreakGlass(ctx, secret)
		return err
	})
	if errors.Is(err, identity.ErrNotYet) {
		return Login{}, errNotYet
	}
	if err != nil {
		a.Log.Warn("break-glass login refused", "source", c.source, "cause", err)
		return Login{}, err
	}
	a.loud("used", "break-glass login taken up", "identity", b.Account, "by", b.ConfirmedBy, "source", c.source, "id", b.ID)
	return Login{Token: token.Reveal(), Identity: t.Identity, ExpiresAt: t.ExpiresAt.UTC()}, nil
}

// loud says something that somebody should look at now: an error in the log, and
// in the metrics. The audit log has it already, and takes it to wherever it is
// delivered.
func (a *api) loud(step, message string, attrs ...any) {
	a.Log.Error(message, slices.Concat([]any{"break_glass", step}, attrs)...)
	if a.BreakGlassed != nil {
		a.BreakGlassed(step)
	}
}
