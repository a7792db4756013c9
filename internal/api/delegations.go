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
	"postern/internal/policy"
)

// Consent is what a person agrees to: that an actor acts for them.
type Consent struct {
	To          string   `json:"to" minLength:"1" maxLength:"256" doc:"Who is to act: service:NAME, workload:NAME or user:NAME."`
	Resources   []string `json:"resources" minItems:"1" maxItems:"100" doc:"The resources that they may open, by name."`
	Verbs       []string `json:"verbs,omitempty" maxItems:"100" doc:"What they may do there, like select. Absent: what both of you may."`
	RowsPerHour int64    `json:"rows_per_hour,omitempty" minimum:"0" doc:"How many rows they may be sent within an hour; each KiB of one counts. 0 or absent: any number."`
	TTL         string   `json:"ttl,omitempty" maxLength:"32" doc:"How long it lasts, like 4h. Absent: 8h."`
	Comment     string   `json:"comment,omitempty" maxLength:"128"`
}

// Delegation is a person's consent as it stands.
type Delegation struct {
	ID          string    `json:"id"`
	Identity    string    `json:"identity" doc:"In whose name."`
	Actor       string    `json:"actor" doc:"Who acts."`
	Resources   []string  `json:"resources"`
	Verbs       []string  `json:"verbs"`
	RowsPerHour int64     `json:"rows_per_hour"`
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	Ended       bool      `json:"ended"`
	Sessions    int       `json:"sessions" doc:"How many sessions are open under it."`
	Comment     string    `json:"comment,omitempty"`
}

func (a *api) delegationRoutes(h huma.API) {
	type grantInput struct{ Body Consent }
	type grantOutput struct{ Body Delegation }
	grant := operation(http.MethodPost, "/delegations", "delegate", "delegations", "Let somebody act for me")
	grant.DefaultStatus = http.StatusCreated
	handle(a, h, grant, func(ctx context.Context, c caller, in *grantInput) (*grantOutput, error) {
		out, err := a.delegate(ctx, c, in.Body)
		return &grantOutput{Body: out}, err
	})

	type listInput struct {
		Identity string `query:"identity" maxLength:"256" doc:"KIND:NAME of another identity. Absent: mine."`
	}
	type listOutput struct{ Body Page[Delegation] }
	handle(a, h, operation(http.MethodGet, "/delegations", "list-delegations", "delegations", "Who may act in my name, and how far"),
		func(ctx context.Context, c caller, in *listInput) (*listOutput, error) {
			kind, name := c.identity.Kind, c.identity.Name
			if in.Identity != "" {
				kind, name = splitRef(in.Identity)
			}
			if !c.may(kind, name) {
				return nil, errForbidden
			}
			tokens, err := a.Identity.Tokens(ctx, kind, name)
			page := Page[Delegation]{Items: []Delegation{}}
			for _, t := range tokens {
				if t.Kind == postern.Delegation {
					page.Items = append(page.Items, a.listedDelegation(t, tokens))
				}
			}
			return &listOutput{Body: page}, err
		})
	end := operation(http.MethodDelete, "/delegations/{id}", "end-delegation", "delegations", "End a delegation, and the sessions under it")
	a.revoking(h, end, "delegation.end", func(kind postern.TokenKind) bool { return kind == postern.Delegation })
}

// listedDelegation is a consent as it is listed, with the live sessions of the
// tokens that came of it.
func (a *api) listedDelegation(t postern.Token, all []postern.Token) Delegation {
	var from []string
	for _, other := range all {
		if other.Parent == t.ID {
			from = append(from, other.ID)
		}
	}
	d := Delegation{
		ID: t.ID, Identity: ref(t.Identity.Kind, t.Identity.Name), CreatedAt: utc(t.CreatedAt), ExpiresAt: utc(t.ExpiresAt), Ended: t.Revoked,
		Resources: []string{}, Verbs: []string{}, Comment: t.Comment,
	}
	if actor := t.Identity.Actor; actor != nil {
		d.Actor = ref(actor.Kind, actor.Name)
	}
	if scope := t.Identity.Scope; scope != nil {
		d.Resources, d.Verbs, d.RowsPerHour = scope.Resources, append(d.Verbs, scope.Verbs...), scope.RowsPerHour
	}
	for _, s := range a.Live.Live() {
		if slices.Contains(from, s.Token) {
			d.Sessions++
		}
	}
	return d
}

// delegate records the caller's consent, for resources that they know of.
func (a *api) delegate(ctx context.Context, c caller, in Consent) (Delegation, error) {
	ttl, err := parseTTL(in.TTL)
	if err != nil {
		return Delegation{}, err
	}
	reach := a.Policy().Reach(c.identity, a.Now())
	for _, name := range in.Resources {
		if !slices.ContainsFunc(reach, func(known policy.Reachable) bool { return known.Resource.Name == name }) {
			return Delegation{}, huma.Error404NotFound("there is no resource " + name + " that you can reach; see `postern ls`")
		}
	}
	kind, name := splitRef(in.To)
	var t postern.Token
	err = a.change(ctx, c, postern.AuditEntry{Action: "delegation.grant", Target: ref(kind, name), Objects: in.Resources}, func(ctx context.Context) error {
		var err error
		t, err = a.Identity.Delegate(ctx, c.identity, identity.Consent{
			Actor: postern.Identity{Kind: kind, Name: name}, Resources: in.Resources, Verbs: in.Verbs, RowsPerHour: in.RowsPerHour, TTL: ttl, Comment: in.Comment,
		})
		if errors.Is(err, identity.ErrUnauthenticated) { // the caller is; so it is the other
			return huma.Error422UnprocessableEntity("there is no " + ref(kind, name) + " who could act for you, or they are disabled")
		}
		if err != nil {
			return err
		}
		return a.stillIn(ctx, c, t)
	})
	return a.listedDelegation(t, nil), err
}

// actFor makes of a caller the person of a delegation, for whom they act.
func (a *api) actFor(ctx context.Context, c caller, delegation string) (caller, error) {
	person, err := a.Identity.Delegated(ctx, delegation, c.identity)
	switch {
	case errors.Is(err, identity.ErrUnauthenticated):
		a.Log.Warn("delegation refused", "identity", c.identity.Name, "source", c.source, "cause", err)
		entry := postern.AuditEntry{Action: "delegation.use", Outcome: "refused", Target: "token:" + delegation, Reason: err.Error()}
		if err := a.note(ctx, c, entry); err != nil {
			return c, err
		}
		return c, &DeniedError{Reason: "that delegation isn't yours to use, or has ended; ask whoever granted it for another"}
	case err != nil:
		return c, err
	}
	c.actor, c.delegation, c.identity = c.identity, delegation, person
	return c, nil
}

// mintFor mints a session token for a caller, or for whom they act.
func (a *api) mintFor(ctx context.Context, c caller, terms identity.SessionTerms) (postern.Secret, postern.Token, error) {
	if c.delegation != "" {
		return a.Identity.MintDelegated(ctx, c.delegation, c.actor, terms)
	}
	return a.Identity.MintSession(ctx, c.identity, terms)
}
