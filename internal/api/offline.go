package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/approval"
	"postern/internal/identity"
)

// OfflineGrants are issued, approved, used and revoked here. *approval.Service
// has them; each belongs to an act of the API's.
type OfflineGrants interface {
	IssueOffline(context.Context, approval.Offline) (postern.OfflineGrant, error)
	ApproveOffline(ctx context.Context, id string, by postern.Identity, reason string) (postern.OfflineGrant, error)
	RevokeOffline(ctx context.Context, id string, by postern.Identity, reason string) (postern.OfflineGrant, error)
	UseOffline(ctx context.Context, id string, use approval.OfflineUse) (approval.OfflineOutcome, error)
	// TellOffline is called when a use is durable.
	TellOffline(context.Context, approval.OfflineOutcome)
	OfflineByHash(ctx context.Context, hash string) (postern.OfflineGrant, error)
	// OfflineProblem says why one can't be used any more; "": it can.
	OfflineProblem(context.Context, postern.OfflineGrant) (string, error)
}

// NewOfflineGrant issues emergency access for somebody, ahead of time.
type NewOfflineGrant struct {
	User      string           `json:"user" minLength:"1" maxLength:"128" doc:"The person whom it is for."`
	Resources []OfflineReaches `json:"resources" minItems:"1" maxItems:"20"`
	For       string           `json:"for,omitempty" maxLength:"32" doc:"How long the access lasts from its use on, like 1h. Absent: an hour, or as long as it can be had for."`
	TTL       string           `json:"ttl,omitempty" maxLength:"32" doc:"Until when it can be used, like 2160h. Absent: 90 days; at most 366."`
	Reason    string           `json:"reason" minLength:"1" maxLength:"2000" doc:"Why it is issued."`
	Ticket    string           `json:"ticket,omitempty" maxLength:"200"`
}

// OfflineReaches is a resource that an offline grant opens, and by which access.
type OfflineReaches struct {
	Resource string `json:"resource" minLength:"1" maxLength:"253"`
	Access   string `json:"access,omitempty" maxLength:"63" doc:"Which emergency access, where there are several."`
}

// OfflineGrant is an offline grant as it is listed: without its code.
type OfflineGrant struct {
	ID         string           `json:"id"`
	State      string           `json:"state" enum:"pending,ready,used,revoked,expired,void"`
	Problem    string           `json:"problem,omitempty" doc:"Why it is void."`
	Identity   string           `json:"identity" doc:"Whom it is for."`
	Resources  []OfflineReaches `json:"resources"`
	For        string           `json:"for" doc:"How long the access lasts from its use on."`
	Reason     string           `json:"reason" doc:"Why it was issued."`
	Approvals  int              `json:"approvals" doc:"How many others have to approve it."`
	Votes      []postern.Vote   `json:"votes"`
	MayApprove bool             `json:"may_approve" doc:"It waits for an approval, and the caller's counts."`
	IssuedBy   string           `json:"issued_by"`
	IssuedAt   time.Time        `json:"issued_at"`
	ExpiresAt  time.Time        `json:"expires_at" doc:"Until when it can be used."`
	UsedAt     time.Time        `json:"used_at,omitzero"`
	UsedFrom   string           `json:"used_from,omitempty"`
	UsedFor    string           `json:"used_for,omitempty" doc:"What its holder gave as the reason."`
	Requests   []string         `json:"requests,omitempty" doc:"The emergency access that came of it."`
	RevokedAt  time.Time        `json:"revoked_at,omitzero"`
	RevokedBy  string           `json:"revoked_by,omitempty"`
}

// IssuedOfflineGrant is a new offline grant, with its code.
type IssuedOfflineGrant struct {
	OfflineGrant
	Code string `json:"code" doc:"For the safe. It isn't shown again."`
}

// OfflineCode is what an offline grant is used with.
type OfflineCode struct {
	User   string `json:"user" minLength:"1" maxLength:"128" doc:"The person whom it is for."`
	Secret string `json:"secret" minLength:"1" maxLength:"128" doc:"Its code."`
	Code   string `json:"code,omitempty" maxLength:"16" doc:"Of the second factor, for who has one here."`
	Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"What the emergency is."`
	Ticket string `json:"ticket,omitempty" maxLength:"200"`
}

// OfflineEntry is what an offline grant gave: a session token for each of its
// resources.
type OfflineEntry struct {
	ID       string           `json:"id"`
	Identity postern.Identity `json:"identity"`
	Until    time.Time        `json:"until" doc:"When the access ends."`
	Requests []string         `json:"requests" doc:"What is looked at afterwards."`
	Tokens   []SessionToken   `json:"tokens"`
}

func (a *api) offlineRoutes(h huma.API) {
	const tag = "offline grants"
	type issueInput struct{ Body NewOfflineGrant }
	type issueOutput struct{ Body IssuedOfflineGrant }
	issue := operation(http.MethodPost, "/offline-grants", "issue-offline-grant", tag, "Issue emergency access ahead of time, and get its code")
	issue.DefaultStatus = http.StatusCreated
	handle(a, h, issue, func(ctx context.Context, c caller, in *issueInput) (*issueOutput, error) {
		issued, err := a.issueOffline(ctx, c, in.Body)
		return &issueOutput{Body: issued}, err
	})

	type listInput struct{ Paging }
	type listOutput struct{ Body Page[OfflineGrant] }
	handle(a, h, operation(http.MethodGet, "/offline-grants", "list-offline-grants", tag, "Offline grants, without their codes: mine, those I may approve, and for auditors all; newest first"),
		func(ctx context.Context, c caller, in *listInput) (*listOutput, error) {
			page, err := gather(ctx, in.Paging, a.Store.OfflineGrants, func(g postern.OfflineGrant) string { return g.ID }, c.seesOffline)
			out := Page[OfflineGrant]{Items: []OfflineGrant{}, Next: page.Next}
			for _, g := range page.Items {
				shown, e := a.offlineShown(ctx, c, g)
				out.Items, err = append(out.Items, shown), errors.Join(err, e)
			}
			return &listOutput{Body: out}, err
		})

	type stepInput struct {
		ID   string `path:"id" maxLength:"128"`
		Body Opinion
	}
	type stepOutput struct{ Body OfflineGrant }
	step := func(path, id, summary, action string, may func(caller, postern.OfflineGrant) bool, do func(context.Context, caller, *stepInput) (postern.OfflineGrant, error)) {
		handle(a, h, operation(http.MethodPost, path, id, tag, summary), func(ctx context.Context, c caller, in *stepInput) (*stepOutput, error) {
			g, err := a.Store.OfflineGrant(ctx, in.ID)
			if err == nil && !may(c, g) {
				err = errNotFound
			}
			if err != nil {
				return nil, err
			}
			entry := offlineEntry(g, action, in.Body.Reason)
			err = a.change(ctx, c, entry, func(ctx context.Context) (err error) {
				g, err = do(ctx, c, in)
				return err
			})
			if err != nil {
				return nil, err
			}
			shown, err := a.offlineShown(ctx, c, g)
			return &stepOutput{Body: shown}, err
		})
	}
	step("/offline-grants/{id}/approve", "approve-offline-grant", "Approve it, as a second person", "offline-grant.approve", caller.seesOffline,
		func(ctx context.Context, c caller, in *stepInput) (postern.OfflineGrant, error) {
			return a.Offline.ApproveOffline(ctx, in.ID, c.identity, in.Body.Reason)
		})
	step("/offline-grants/{id}/revoke", "revoke-offline-grant", "Take it back before it is used", "offline-grant.revoke",
		func(c caller, g postern.OfflineGrant) bool { return c.may(g.For.Kind, g.For.Name) },
		func(ctx context.Context, c caller, in *stepInput) (postern.OfflineGrant, error) {
			return a.Offline.RevokeOffline(ctx, in.ID, c.identity, in.Body.Reason)
		})

	type useInput struct {
		UserAgent string `header:"User-Agent"`
		Body      OfflineCode
	}
	type useOutput struct{ Body OfflineEntry }
	handle(a, h, operation(http.MethodPost, "/login/offline", "use-offline-grant", tag, "Use an offline grant, when nobody can sign in"),
		func(ctx context.Context, c caller, in *useInput) (*useOutput, error) {
			entry, err := a.useOffline(ctx, c, in.Body, in.UserAgent)
			return &useOutput{Body: entry}, err
		})
}

// seesOffline says whether the caller may see an offline grant: whose it is, who
// may approve it, and who sees everything.
func (c caller) seesOffline(g postern.OfflineGrant) bool {
	return c.auditor || c.owns(g.For.Kind, g.For.Name) || approval.MayApproveOffline(g, c.identity) == nil
}

// offlineEntry is an entry about an offline grant.
func offlineEntry(g postern.OfflineGrant, action, reason string) postern.AuditEntry {
	reaches := make([]string, len(g.Accesses))
	for i, a := range g.Accesses {
		reaches[i] = a.Access + " to " + a.Resource
	}
	about := fmt.Sprintf("for %s: %s", ref(g.For.Kind, g.For.Name), strings.Join(reaches, ", "))
	if reason != "" {
		about += ": " + reason
	}
	return postern.AuditEntry{Action: action, Target: "offline-grant:" + g.ID, Reason: about}
}

// issueOffline issues an offline grant. That it was asked for and refused is in
// the audit log, too.
func (a *api) issueOffline(ctx context.Context, c caller, in NewOfflineGrant) (IssuedOfflineGrant, error) {
	issued, err := a.newOffline(ctx, c, in)
	if err != nil && !errors.Is(err, errUnaudited) {
		resources := make([]string, len(in.Resources))
		for i, r := range in.Resources {
			resources[i] = r.Resource
		}
		entry := postern.AuditEntry{Action: "offline-grant.issue", Target: ref(postern.User, in.User)}
		a.noteFailed(ctx, c, entry, clipped(strings.Join(resources, ", ")+": "+err.Error()))
	}
	return issued, err
}

// clipped is a reason of bounded length, for what its reader can't bound.
func clipped(reason string) string {
	const most = 500
	if len(reason) > most {
		reason = strings.ToValidUTF8(reason[:most], "") + " …"
	}
	return reason
}

func (a *api) newOffline(ctx context.Context, c caller, in NewOfflineGrant) (IssuedOfflineGrant, error) {
	lasts, err := parseFor(in.For)
	if err != nil {
		return IssuedOfflineGrant{}, err
	}
	ttl, err := parseTTL(in.TTL)
	if err != nil {
		return IssuedOfflineGrant{}, err
	}
	code, hash, err := a.Identity.NewOfflineCode()
	if err != nil {
		return IssuedOfflineGrant{}, err
	}
	issue := approval.Offline{By: c.identity, Hash: hash, For: lasts, TTL: ttl, Reason: in.Reason, Ticket: in.Ticket, Source: c.source}
	for _, r := range in.Resources {
		issue.Accesses = append(issue.Accesses, postern.OfflineAccess{Resource: r.Resource, Access: r.Access})
	}
	var g postern.OfflineGrant
	err = a.changeAs(ctx, func() []postern.AuditEntry {
		return []postern.AuditEntry{a.about(c, offlineEntry(g, "offline-grant.issue", in.Reason))}
	}, func(ctx context.Context) (err error) {
		if issue.Holder, err = a.Identity.OfflineHolderNamed(ctx, in.User); err != nil {
			return err
		}
		g, err = a.Offline.IssueOffline(ctx, issue)
		return err
	})
	if err != nil {
		return IssuedOfflineGrant{}, err
	}
	a.Log.Warn("offline grant issued", "id", g.ID, "identity", g.For.Name, "by", c.identity.Name, "approvals", g.Approvals, "until", g.ExpiresAt)
	shown, err := a.offlineShown(ctx, c, g)
	return IssuedOfflineGrant{OfflineGrant: shown, Code: code.Reveal()}, err
}

var errNoOfflineGrant = huma.Error401Unauthorized("this code opens nothing for this user. Check both; if they are right, it was replaced: ask an administrator for another")

// useOffline lets in whoever shows an offline grant's code, as the person whom it
// is for, without a word of any provider. It is loud, whether it succeeds or not.
func (a *api) useOffline(ctx context.Context, c caller, in OfflineCode, userAgent string) (OfflineEntry, error) {
	began := time.Now() // the system's clock: a timer waits by it
	g, err := a.shownOffline(ctx, c, in)
	if err != nil {
		holdUntil(ctx, began.Add(refusalTime))
		return OfflineEntry{}, err
	}
	out := OfflineEntry{ID: g.ID}
	var used approval.OfflineOutcome
	err = a.changeAs(ctx, func() []postern.AuditEntry {
		by := c
		by.identity = out.Identity
		entries := []postern.AuditEntry{a.about(by, offlineEntry(g, "offline-grant.use", in.Reason))}
		for _, e := range used.Entries {
			e.Time, e.Source = entries[0].Time, c.source.String()
			entries = append(entries, e)
		}
		return entries
	}, func(ctx context.Context) (err error) {
		if out.Identity, err = a.Identity.OfflineHolder(ctx, g, in.Code); err != nil {
			return err
		}
		used, err = a.Offline.UseOffline(ctx, g.ID, approval.OfflineUse{
			Holder: out.Identity, Reason: in.Reason, Ticket: in.Ticket, Source: c.source,
			Enter: func(resource string, until time.Time) (string, error) {
				token, login, err := a.enterOffline(ctx, out.Identity, resource, until, identity.Where{Client: userAgent, Source: c.source.String()})
				out.Tokens, out.Until = append(out.Tokens, token), until
				return login, err
			},
		})
		return err
	})
	if err != nil {
		return OfflineEntry{}, a.refusedOffline(ctx, c, g, err)
	}
	a.Identity.OfflineTaken(c.source)
	a.loud("offline_used", "offline grant used", "id", g.ID, "identity", g.For.Name, "source", c.source, "until", out.Until)
	a.Offline.TellOffline(ctx, used)
	out.Requests = used.Grant.Requests
	return out, nil
}

// shownOffline is the offline grant whose code somebody shows, for the person
// that they say they are. A wrong code and a wrong person have the same answer.
func (a *api) shownOffline(ctx context.Context, c caller, in OfflineCode) (postern.OfflineGrant, error) {
	hash, err := a.Identity.OfflineHash(postern.NewSecret(in.Secret), c.source)
	if errors.Is(err, identity.ErrTooMany) {
		a.Log.Warn("offline grant refused: too many tries", "source", c.source)
		return postern.OfflineGrant{}, err
	}
	var g postern.OfflineGrant
	if err == nil {
		g, err = a.Offline.OfflineByHash(ctx, hash)
	}
	switch {
	case errors.Is(err, identity.ErrUnauthenticated), errors.Is(err, postern.ErrNotFound):
		// Not in the audit log: whoever guesses must not be able to fill it.
		a.Log.Warn("offline grant refused: no such code", "source", c.source)
		return g, errNoOfflineGrant
	case err != nil:
		return g, err
	case g.For.Name != in.User:
		return g, errors.Join(errNoOfflineGrant, a.noteOffline(ctx, c, g, "its code was shown for another user"))
	}
	return g, nil
}

// enterOffline makes the session token with which an offline grant's holder
// enters one of its resources.
func (a *api) enterOffline(ctx context.Context, id postern.Identity, resource string, until time.Time, from identity.Where) (SessionToken, string, error) {
	secret, token, err := a.Identity.EnterOffline(ctx, id, resource, until, from)
	if err != nil {
		return SessionToken{}, "", err
	}
	out := SessionToken{ID: token.ID, Token: secret.Reveal(), User: id.Name, Database: resource, ExpiresAt: token.ExpiresAt.UTC()}
	if r, known := a.Policy().Resource(resource); known {
		out.Protocol = r.Type
		if endpoint, ok := a.Endpoint(r.Type); ok {
			out.Host, out.Port = endpoint.Host, endpoint.Port
			if endpoint.DSN != nil {
				out.DSN = endpoint.DSN(out.User, secret, resource)
			}
		}
	}
	return out, token.Identity.Login, nil
}

// refusedOffline notes that a code was shown which is known, and opened nothing,
// and says why to whoever has it.
func (a *api) refusedOffline(ctx context.Context, c caller, g postern.OfflineGrant, err error) error {
	if errors.Is(err, errUnaudited) {
		return err
	}
	if noted := a.noteOffline(ctx, c, g, err.Error()); noted != nil {
		return noted
	}
	switch {
	case errors.Is(err, identity.ErrCodeNeeded):
		return errCodeNeeded
	case errors.Is(err, identity.ErrUnauthenticated):
		return &DeniedError{Reason: "offline grant " + g.ID + " can't be used: " + err.Error() + ". Ask an administrator."}
	}
	return err
}

// noteOffline writes, loudly, that a known code was refused.
func (a *api) noteOffline(ctx context.Context, c caller, g postern.OfflineGrant, why string) error {
	a.loud("offline_refused", "offline grant refused", "id", g.ID, "identity", g.For.Name, "source", c.source, "cause", why)
	entry := offlineEntry(g, "offline-grant.use", why)
	entry.Outcome = "refused"
	return a.note(context.WithoutCancel(ctx), c, entry)
}

func (a *api) offlineShown(ctx context.Context, c caller, g postern.OfflineGrant) (OfflineGrant, error) {
	out := OfflineGrant{
		ID: g.ID, State: approval.OfflineState(g, a.Now()), Identity: ref(g.For.Kind, g.For.Name), Resources: []OfflineReaches{},
		For: (time.Duration(g.Seconds) * time.Second).String(), Reason: g.Reason, Approvals: g.Approvals, Votes: list(g.Votes),
		IssuedAt: utc(g.IssuedAt), ExpiresAt: utc(g.ExpiresAt), UsedAt: utc(g.UsedAt), UsedFrom: g.UsedFrom, UsedFor: g.UsedFor,
		Requests: g.Requests, RevokedAt: utc(g.RevokedAt), RevokedBy: g.RevokedBy,
	}
	for _, a := range g.Accesses {
		out.Resources = append(out.Resources, OfflineReaches{Resource: a.Resource, Access: a.Access})
	}
	for i, by := range g.IssuedBy {
		if i > 0 {
			out.IssuedBy += ", through "
		}
		out.IssuedBy += ref(by.Kind, by.Name)
	}
	if out.State != approval.OfflineReady && out.State != approval.OfflinePending {
		return out, nil
	}
	why, err := a.Offline.OfflineProblem(ctx, g)
	if why != "" {
		out.State, out.Problem = "void", why
	}
	out.MayApprove = out.State == approval.OfflinePending && approval.MayApproveOffline(g, c.identity) == nil &&
		!slices.ContainsFunc(g.Votes, func(v postern.Vote) bool { return v.By == c.identity.Name })
	return out, err
}
