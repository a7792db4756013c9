package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/approval"
	"postern/internal/policy"
)

// Requests is where access is asked for. *approval.Service is one; its
// sentinel errors and the policy's [*policy.AskError] are told apart here. It
// writes the audit log itself, and before.
type Requests interface {
	Request(context.Context, policy.Asking) (postern.Review, error)
	Extend(ctx context.Context, id string, by postern.Identity, longer time.Duration, reason string) (postern.Review, error)
	Cast(ctx context.Context, id string, by postern.Identity, b postern.Ballot) (postern.Review, error)
	Revoke(ctx context.Context, id string, by postern.Identity, reason string) (postern.Review, error)
	LookOver(ctx context.Context, id string, by postern.Identity, fine bool, finding string) (postern.Review, error)
	// Grants are those that an identity has now.
	Grants(postern.Identity) []postern.Grant
}

// NewRequest asks for access.
type NewRequest struct {
	Resource   string   `json:"resource" minLength:"1" maxLength:"253"`
	Access     string   `json:"access,omitempty" maxLength:"63" doc:"Which access. Absent: the one that can be had for what is asked."`
	For        string   `json:"for,omitempty" maxLength:"32" doc:"How long, like 2h. Absent: an hour, or as long as the access can be had for."`
	Verbs      []string `json:"verbs,omitempty" maxItems:"50" doc:"Only these. Absent: all that the access allows."`
	Reason     string   `json:"reason" minLength:"1" maxLength:"2000" doc:"What for: approvers read it, and the audit log keeps it."`
	Ticket     string   `json:"ticket,omitempty" maxLength:"200" doc:"Where the work is planned."`
	BreakGlass bool     `json:"break_glass,omitempty" doc:"An emergency: access that is had at once or with a second person, and looked at afterwards."`
}

// Approval approves a request, perhaps for less than was asked.
type Approval struct {
	Reason string   `json:"reason,omitempty" maxLength:"2000"`
	For    string   `json:"for,omitempty" maxLength:"32" doc:"For no longer than this. Absent: as long as was asked."`
	Verbs  []string `json:"verbs,omitempty" maxItems:"50" doc:"For no more than these. Absent: those that were asked for."`
}

// Longer asks to prolong a grant.
type Longer struct {
	For    string `json:"for" maxLength:"32" doc:"How much longer, like 30m."`
	Reason string `json:"reason" minLength:"1" maxLength:"2000"`
}

// Finding is what somebody found who looked at emergency access afterwards.
type Finding struct {
	InOrder bool   `json:"in_order"`
	Words   string `json:"words" minLength:"1" maxLength:"2000"`
}

// Request is a request for access, and the grant that came of it.
type Request struct {
	ID         string               `json:"id"`
	State      string               `json:"state" enum:"pending,active,ended,revoked,denied,timed_out,withdrawn,void"`
	Identity   string               `json:"identity"`
	Kind       postern.IdentityKind `json:"kind"`
	Actor      string               `json:"actor"`
	Resource   string               `json:"resource"`
	Access     string               `json:"access"`
	For        string               `json:"for" doc:"How long was asked for."`
	Verbs      []string             `json:"verbs" doc:"Which were asked for. Empty: all that the access allows."`
	Reason     string               `json:"reason"`
	Ticket     string               `json:"ticket,omitempty"`
	BreakGlass bool                 `json:"break_glass"`
	Offline    string               `json:"offline,omitempty" doc:"The offline grant by which the glass was broken."`
	Extends    string               `json:"extends,omitempty"`
	Approvers  []postern.Principal  `json:"approvers"`
	Approvals  int                  `json:"approvals"`
	Votes      []postern.Vote       `json:"votes"`
	CreatedAt  time.Time            `json:"created_at"`
	ExpiresAt  time.Time            `json:"expires_at" doc:"Until when it waits."`
	Grant      *Granted             `json:"grant,omitempty"`
	Reviewers  []postern.Principal  `json:"reviewers,omitempty" doc:"Who looks at emergency access afterwards."`
	Unseen     bool                 `json:"unseen" doc:"Emergency access that nobody has looked at yet."`
	Finding    *postern.Vote        `json:"finding,omitempty"`
}

// Granted is what was granted.
type Granted struct {
	Verbs     []string  `json:"verbs" doc:"Empty: all that the access allows."`
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	RevokedBy string    `json:"revoked_by,omitempty"`
}

type requestOutput struct{ Body Request }

func (a *api) requestRoutes(h huma.API) {
	const tag = "requests"
	type newInput struct{ Body NewRequest }
	ask := operation(http.MethodPost, "/requests", "request-access", tag, "Ask for access, just in time")
	ask.DefaultStatus = http.StatusCreated
	handle(a, h, ask, func(ctx context.Context, c caller, in *newInput) (*requestOutput, error) {
		rv, err := a.ask(ctx, c, in.Body)
		return a.requestShown(rv), err
	})

	type listInput struct {
		Paging
		State    string `query:"state" enum:"pending,active,ended,revoked,denied,timed_out,withdrawn,void" doc:"Only those. Absent: all."`
		Identity string `query:"identity" maxLength:"128" doc:"Only those of that name."`
		Unseen   bool   `query:"unseen" doc:"Only emergency access that nobody has looked at yet."`
	}
	type listOutput struct{ Body Page[Request] }
	handle(a, h, operation(http.MethodGet, "/requests", "list-requests", tag, "Requests: mine, those I may decide, and for auditors all; newest first"),
		func(ctx context.Context, c caller, in *listInput) (*listOutput, error) {
			fetch := func(ctx context.Context, cursor string, limit int) ([]postern.Review, error) {
				return a.Store.Reviews(ctx, postern.ReviewFilter{Of: "request", Identity: in.Identity, Before: cursor, Limit: limit})
			}
			page, err := gather(ctx, in.Paging, fetch, func(rv postern.Review) string { return rv.ID }, func(rv postern.Review) bool {
				return c.seesReview(rv) && (in.State == "" || a.requestState(rv) == in.State) && (!in.Unseen || approval.Unseen(rv))
			})
			out := Page[Request]{Items: []Request{}, Next: page.Next}
			for _, rv := range page.Items {
				out.Items = append(out.Items, a.requestShown(rv).Body)
			}
			return &listOutput{Body: out}, err
		})

	type idInput struct {
		ID string `path:"id" maxLength:"128"`
	}
	handle(a, h, operation(http.MethodGet, "/requests/{id}", "get-request", tag, "A request"),
		func(ctx context.Context, c caller, in *idInput) (*requestOutput, error) {
			rv, err := a.request(ctx, c, in.ID)
			return a.requestShown(rv), err
		})
	a.requestSteps(h, tag)
}

// requestSteps are the routes that take a request further.
func (a *api) requestSteps(h huma.API, tag string) {
	type approveInput struct {
		ID   string `path:"id" maxLength:"128"`
		Body Approval
	}
	type reasonInput struct {
		ID   string `path:"id" maxLength:"128"`
		Body Opinion
	}
	type longerInput struct {
		ID   string `path:"id" maxLength:"128"`
		Body Longer
	}
	type findingInput struct {
		ID   string `path:"id" maxLength:"128"`
		Body Finding
	}
	handle(a, h, operation(http.MethodPost, "/requests/{id}/approve", "approve-request", tag, "Approve it, perhaps for less than was asked"),
		func(ctx context.Context, c caller, in *approveInput) (*requestOutput, error) {
			took, err := parseFor(in.Body.For)
			if err != nil {
				return nil, err
			}
			ballot := postern.Ballot{Approve: true, Reason: in.Body.Reason, Seconds: int64(took / time.Second), Verbs: in.Body.Verbs}
			return a.step(ctx, c, in.ID, func() (postern.Review, error) { return a.Requests.Cast(ctx, in.ID, c.identity, ballot) })
		})
	handle(a, h, operation(http.MethodPost, "/requests/{id}/deny", "deny-request", tag, "Refuse it"),
		func(ctx context.Context, c caller, in *reasonInput) (*requestOutput, error) {
			return a.step(ctx, c, in.ID, func() (postern.Review, error) {
				return a.Requests.Cast(ctx, in.ID, c.identity, postern.Ballot{Reason: in.Body.Reason})
			})
		})
	handle(a, h, operation(http.MethodPost, "/requests/{id}/revoke", "revoke-request", tag, "Take it back: sessions that have no other right end"),
		func(ctx context.Context, c caller, in *reasonInput) (*requestOutput, error) {
			return a.revoke(ctx, c, in.ID, in.Body.Reason)
		})
	extend := operation(http.MethodPost, "/requests/{id}/extend", "extend-request", tag, "Ask to prolong a grant")
	extend.DefaultStatus = http.StatusCreated
	handle(a, h, extend, func(ctx context.Context, c caller, in *longerInput) (*requestOutput, error) {
		took, err := parseFor(in.Body.For)
		if err != nil {
			return nil, err
		}
		return a.step(ctx, c, in.ID, func() (postern.Review, error) { return a.Requests.Extend(ctx, in.ID, c.identity, took, in.Body.Reason) })
	})
	handle(a, h, operation(http.MethodPost, "/requests/{id}/look-over", "look-over-request", tag, "Say what was found in emergency access, afterwards"),
		func(ctx context.Context, c caller, in *findingInput) (*requestOutput, error) {
			return a.step(ctx, c, in.ID, func() (postern.Review, error) {
				return a.Requests.LookOver(ctx, in.ID, c.identity, in.Body.InOrder, in.Body.Words)
			})
		})
}

func (a *api) ask(ctx context.Context, c caller, in NewRequest) (postern.Review, error) {
	took, err := parseFor(in.For)
	if err != nil {
		return postern.Review{}, err
	}
	return a.Requests.Request(ctx, policy.Asking{
		Identity: c.identity, Resource: in.Resource, Access: in.Access, Verbs: in.Verbs, For: took, Reason: in.Reason, Ticket: in.Ticket,
		BreakGlass: in.BreakGlass, Source: c.source,
	})
}

// request is a request that the caller may see.
func (a *api) request(ctx context.Context, c caller, id string) (postern.Review, error) {
	rv, err := a.review(ctx, c, id)
	if err == nil && rv.Request == nil {
		err = errNotFound
	}
	return rv, err
}

// step does something with a request that the caller may see. Whether they may
// do it is checked, and written to the audit log, in the step itself.
func (a *api) step(ctx context.Context, c caller, id string, do func() (postern.Review, error)) (*requestOutput, error) {
	if _, err := a.request(ctx, c, id); err != nil {
		return nil, err
	}
	rv, err := do()
	return a.requestShown(rv), err
}

func (a *api) revoke(ctx context.Context, c caller, id, reason string) (*requestOutput, error) {
	rv, err := a.request(ctx, c, id)
	if err != nil {
		return nil, err
	}
	if err := approval.MayRevoke(rv, c.identity); err != nil && !c.admin {
		return nil, err
	}
	rv, err = a.Requests.Revoke(ctx, id, c.identity, reason)
	if err == nil && rv.Request.Login != "" { // what an offline grant let in leaves with it
		entry := postern.AuditEntry{Action: "login.end", Target: "login:" + rv.Request.Login, Reason: "of " + ref(rv.Kind, rv.Identity) + ", with request " + rv.ID}
		err = a.change(ctx, c, entry, func(ctx context.Context) error {
			return a.Identity.EndLogin(ctx, rv.Request.Login, "its emergency access was taken back")
		})
	}
	return a.requestShown(rv), err
}

// requestState is where a request stands, in one word.
func (a *api) requestState(rv postern.Review) string {
	g := (*postern.Grant)(nil)
	if rv.Request != nil {
		g = rv.Request.Grant
	}
	switch {
	case rv.State == postern.ReviewApproved && g != nil && a.Now().Before(g.Until):
		return "active"
	case rv.State == postern.ReviewApproved, rv.State == postern.ReviewSpent:
		return "ended"
	case rv.State == postern.ReviewVoid && g != nil:
		return "revoked"
	}
	return string(rv.State)
}

func (a *api) requestShown(rv postern.Review) *requestOutput {
	r := rv.Request
	if r == nil {
		return &requestOutput{}
	}
	rv = reviewShown(rv)
	out := Request{
		ID: rv.ID, State: a.requestState(rv), Identity: rv.Identity, Kind: rv.Kind, Actor: rv.Actor, Resource: rv.Resource, Access: r.Access,
		For: (time.Duration(r.Seconds) * time.Second).String(), Verbs: list(r.Verbs), Reason: r.Reason, Ticket: r.Ticket,
		BreakGlass: r.BreakGlass, Offline: r.Offline, Extends: r.Extends, Approvers: rv.Approvers, Approvals: rv.Approvals, Votes: list(rv.Votes),
		CreatedAt: rv.CreatedAt, ExpiresAt: rv.ExpiresAt, Reviewers: r.Reviewers, Unseen: approval.Unseen(rv), Finding: r.Findings,
	}
	if g := r.Grant; g != nil {
		out.Grant = &Granted{Verbs: list(g.Verbs), From: utc(g.From), Until: utc(g.Until), RevokedAt: utc(g.RevokedAt), RevokedBy: g.RevokedBy}
	}
	return &requestOutput{Body: out}
}

// parseFor is how long something shall last; 0: it isn't said.
func parseFor(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	took, err := time.ParseDuration(text)
	if err != nil || took <= 0 {
		return 0, huma.Error422UnprocessableEntity("for: it is no duration like 30m or 2h")
	}
	return took, nil
}

// AskURL is where a person can ask for an access. It leads to a page that wants
// to know who they are.
func AskURL(public, resource, access string) string {
	q := url.Values{"resource": {resource}}
	if access != "" {
		q.Set("access", access)
	}
	return strings.TrimSuffix(public, "/") + "/requests/new?" + q.Encode()
}

// UnusedAccess is a standing right that nobody needed.
type UnusedAccess struct {
	Access   string              `json:"access"`
	Resource string              `json:"resource"`
	To       []postern.Principal `json:"to"`
	Verbs    []string            `json:"verbs" doc:"What it allows. Empty: anything that no rule denies."`
	LastUsed time.Time           `json:"last_used,omitzero" doc:"Absent: never."`
	Sessions int64               `json:"sessions" doc:"That it has ever opened."`
	Source   string              `json:"source" doc:"Where it is declared."`
}

func (a *api) usageRoutes(h huma.API) {
	type unusedInput struct {
		Days int `query:"days" minimum:"0" maximum:"3650" default:"90" doc:"Not used for so many days; 0: never used."`
	}
	type unusedOutput struct{ Body Page[UnusedAccess] }
	handle(a, h, operation(http.MethodGet, "/access/unused", "list-unused-access", "policy", "Standing rights that weren't used"),
		func(ctx context.Context, _ caller, in *unusedInput) (*unusedOutput, error) {
			items, err := a.unused(ctx, in.Days)
			return &unusedOutput{Body: Page[UnusedAccess]{Items: items}}, err
		})
	type shadowInput struct {
		Rule  string `query:"rule" maxLength:"63" doc:"Only of this rule."`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
	}
	type shadowOutput struct{ Body Page[postern.ShadowCount] }
	handle(a, h, operation(http.MethodGet, "/policy/shadow", "list-shadows", "policy", "What rules in shadow mode would have done, latest first"),
		func(ctx context.Context, _ caller, in *shadowInput) (*shadowOutput, error) {
			items, err := a.Store.Shadows(ctx, in.Rule, in.Limit)
			return &shadowOutput{Body: Page[postern.ShadowCount]{Items: list(items)}}, err
		})
}

// unused lists the standing rights in force that opened no session and allowed
// no command since some days ago; 0: ever.
func (a *api) unused(ctx context.Context, days int) ([]UnusedAccess, error) {
	opened, err := a.Store.AccessUse(ctx)
	if err != nil {
		return nil, err
	}
	type right struct{ access, resource string }
	used := map[right]postern.AccessUse{}
	for _, u := range opened {
		used[right{u.Access, u.Resource}] = u
	}
	since := a.Now().AddDate(0, 0, -days)
	recent := func(at time.Time) bool { return !at.IsZero() && (days == 0 || at.After(since)) }
	items := []UnusedAccess{}
	for _, s := range a.Policy().Standing() {
		u := used[right{s.Access, s.Resource}]
		if recent(u.LastAt) {
			continue
		}
		// Where several accesses hold, a session is opened by one, and the
		// others may allow its commands.
		allowed, err := a.Audit.Search(ctx, postern.AuditFilter{Rule: s.Access, Resource: s.Resource, Action: "command", Outcome: "allow", Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(allowed) > 0 && allowed[0].Time.After(u.LastAt) {
			u.LastAt = allowed[0].Time
		}
		if recent(u.LastAt) {
			continue
		}
		items = append(items, UnusedAccess{
			Access: s.Access, Resource: s.Resource, To: list(s.To), Verbs: list(s.Verbs), LastUsed: utc(u.LastAt), Sessions: u.Sessions, Source: s.Source,
		})
	}
	slices.SortStableFunc(items, func(x, y UnusedAccess) int { return x.LastUsed.Compare(y.LastUsed) })
	return items, nil
}

// asking turns an error of asking into one that the client may see; nil: it is none.
func asking(err error) error {
	var refused *policy.AskError
	var many *approval.TooManyError
	switch {
	case errors.As(err, &refused) && refused.Hidden:
		return huma.Error404NotFound(refused.Reason)
	case errors.As(err, &refused):
		return huma.Error403Forbidden(refused.Reason)
	case errors.As(err, &many):
		return huma.Error429TooManyRequests(many.ForPerson())
	}
	return nil
}
