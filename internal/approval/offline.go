package approval

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern"
	"postern/internal/policy"
)

// OfflineStore keeps offline grants.
type OfflineStore interface {
	// AddOfflineGrant adds one; its id and its code are new.
	AddOfflineGrant(context.Context, postern.OfflineGrant) error
	OfflineGrant(ctx context.Context, id string) (postern.OfflineGrant, error)
	OfflineGrantByHash(ctx context.Context, hash string) (postern.OfflineGrant, error)
	// UpdateOfflineGrant changes one as UpdateReview does a review.
	UpdateOfflineGrant(ctx context.Context, id string, change func(*postern.OfflineGrant) error) (postern.OfflineGrant, error)
}

const (
	maxOfflineAccesses = 20
	defaultOfflineTTL  = 90 * 24 * time.Hour
	maxOfflineTTL      = 366 * 24 * time.Hour
)

// Offline is what somebody issues an offline grant for.
type Offline struct {
	Holder postern.Identity
	By     postern.Identity
	Hash   string // of its code
	// Accesses name resources, and accesses where several would do.
	Accesses []postern.OfflineAccess
	For      time.Duration // how long the access lasts; 0: an hour, or as long as it can be had
	TTL      time.Duration // until when it can be used; 0: 90 days
	Reason   string
	Ticket   string
	Source   netip.Addr
}

// IssueOffline stores an offline grant. It is good once as many others have
// approved it as its accesses take approvals in an emergency: each of another
// name than who issued it and whom it is for. It belongs to an act of its caller,
// who logs it.
func (s *Service) IssueOffline(ctx context.Context, in Offline) (postern.OfflineGrant, error) {
	fail := func(err error) (postern.OfflineGrant, error) {
		return postern.OfflineGrant{}, fmt.Errorf("issue an offline grant: %w", err)
	}
	switch {
	case in.Hash == "" || in.Holder.Name == "" || in.Holder.Kind != postern.User || in.Holder.Actor != nil:
		return fail(fmt.Errorf("%w: it is for a person", ErrInvalid))
	case len(in.Accesses) == 0 || len(in.Accesses) > maxOfflineAccesses:
		return fail(fmt.Errorf("%w: it names 1 to %d resources", ErrInvalid, maxOfflineAccesses))
	case in.TTL < 0 || in.TTL > maxOfflineTTL:
		return fail(fmt.Errorf("%w: it can be used for at most %d days", ErrInvalid, maxOfflineTTL/(24*time.Hour)))
	}
	id, err := s.newID("og_")
	if err != nil {
		return fail(err)
	}
	now := s.cfg.Now().UTC()
	ttl := in.TTL
	if ttl == 0 {
		ttl = defaultOfflineTTL
	}
	g := postern.OfflineGrant{
		ID: id, Hash: in.Hash, For: in.Holder.Beings()[0], Reason: in.Reason, IssuedBy: in.By.Beings(), IssuedAt: now, ExpiresAt: now.Add(ttl),
	}
	set := s.cfg.Policy()
	for _, a := range in.Accesses {
		asked := policy.Asking{
			Identity: in.Holder, Resource: a.Resource, Access: a.Access, For: in.For, Reason: in.Reason, Ticket: in.Ticket, BreakGlass: true,
			Source: in.Source, Now: now,
		}
		if err := checkAsking(asked); err != nil {
			return fail(err)
		}
		if slices.ContainsFunc(g.Accesses, func(other postern.OfflineAccess) bool { return other.Resource == a.Resource }) {
			return fail(fmt.Errorf("%w: it names %s twice", ErrInvalid, a.Resource))
		}
		terms, err := set.Ask(asked)
		if err != nil {
			return fail(err)
		}
		g.Accesses = append(g.Accesses, postern.OfflineAccess{
			Resource: a.Resource, Access: terms.Access, Terms: terms.Digest, Max: int64(terms.Max / time.Second),
			Approvers: terms.Approvers, Reviewers: terms.Reviewers,
		})
		g.Approvals = max(g.Approvals, terms.Approvals)
		if seconds := int64(terms.For / time.Second); g.Seconds == 0 || seconds < g.Seconds {
			g.Seconds = seconds
		}
	}
	if err := s.cfg.Store.AddOfflineGrant(ctx, g); err != nil {
		return fail(err)
	}
	return g, nil
}

// MayApproveOffline says why an identity may not approve an offline grant; nil:
// it may. Nobody approves what they issued, nor what is for them; for each of its
// accesses, they are an approver.
func MayApproveOffline(g postern.OfflineGrant, voter postern.Identity) error {
	for being := &voter; being != nil; being = being.Actor {
		switch {
		case being.Name == "":
			return fmt.Errorf("%w: a vote needs a name", ErrNotApprover)
		case being.Name == g.For.Name:
			return fmt.Errorf("%w: nobody approves an offline grant that is for them", ErrNotApprover)
		case slices.ContainsFunc(g.IssuedBy, func(b postern.Being) bool { return b.Name == being.Name }):
			return fmt.Errorf("%w: whoever issued an offline grant doesn't approve it, too; a second person does", ErrNotApprover)
		}
		for _, a := range g.Accesses {
			if !postern.MatchesAny(a.Approvers, *being) {
				return fmt.Errorf("%w: only %s may approve emergency access to %s", ErrNotApprover, principals(a.Approvers), a.Resource)
			}
		}
	}
	return nil
}

// ApproveOffline counts somebody's approval of an offline grant. It belongs to an
// act of its caller, who logs it.
func (s *Service) ApproveOffline(ctx context.Context, id string, voter postern.Identity, reason string) (postern.OfflineGrant, error) {
	if err := checkText("a reason", reason); err != nil {
		return postern.OfflineGrant{}, fmt.Errorf("approve %s: %w", id, err)
	}
	vote := postern.Vote{
		By: voter.Name, Kind: voter.Kind, Subject: voter.Subject, Actor: voter.ActorName(), Approve: true, Reason: reason, At: s.cfg.Now().UTC(),
	}
	g, err := s.cfg.Store.UpdateOfflineGrant(ctx, id, func(g *postern.OfflineGrant) error {
		if err := MayApproveOffline(*g, voter); err != nil {
			return err
		}
		if state := OfflineState(*g, vote.At); state != OfflinePending {
			return fmt.Errorf("%w: it is %s", ErrDecided, state)
		}
		if why := s.offlineChanged(*g); why != "" {
			return fmt.Errorf("%w: %s", ErrDecided, why)
		}
		if slices.ContainsFunc(g.Votes, func(v postern.Vote) bool { return sameVoter(v, vote) }) {
			return fmt.Errorf("%w: you have approved it; someone else must, too", ErrDecided)
		}
		g.Votes = append(g.Votes, vote)
		return nil
	})
	if err != nil {
		return g, fmt.Errorf("approve %s: %w", id, err)
	}
	return g, nil
}

// RevokeOffline takes an offline grant back that wasn't used. It belongs to an
// act of its caller, who logs it.
func (s *Service) RevokeOffline(ctx context.Context, id string, by postern.Identity, reason string) (postern.OfflineGrant, error) {
	if err := checkText("a reason", reason); err != nil {
		return postern.OfflineGrant{}, fmt.Errorf("revoke %s: %w", id, err)
	}
	g, err := s.cfg.Store.UpdateOfflineGrant(ctx, id, func(g *postern.OfflineGrant) error {
		switch {
		case !g.UsedAt.IsZero():
			return fmt.Errorf("%w: it was used; `postern request revoke %s` ends what came of it", ErrDecided, strings.Join(g.Requests, " "))
		case !g.RevokedAt.IsZero():
			return fmt.Errorf("%w: it is revoked", ErrDecided)
		}
		g.RevokedAt, g.RevokedBy = s.cfg.Now().UTC(), by.Name
		return nil
	})
	if err != nil {
		return g, fmt.Errorf("revoke %s: %w", id, err)
	}
	return g, nil
}

// The states of an offline grant.
const (
	OfflinePending = "pending" // others have to approve it
	OfflineReady   = "ready"
	OfflineUsed    = "used"
	OfflineRevoked = "revoked"
	OfflineExpired = "expired"
)

// OfflineState is where an offline grant stands at a moment.
func OfflineState(g postern.OfflineGrant, now time.Time) string {
	switch {
	case !g.UsedAt.IsZero():
		return OfflineUsed
	case !g.RevokedAt.IsZero():
		return OfflineRevoked
	case !now.Before(g.ExpiresAt):
		return OfflineExpired
	case len(g.Votes) < g.Approvals:
		return OfflinePending
	}
	return OfflineReady
}

// OfflineProblem says why an offline grant that is ready or pending can't be used
// as things are, and never will be: its accesses were changed, or who issued or
// approved it doesn't stand any more. "" says that nothing is in its way.
func (s *Service) OfflineProblem(ctx context.Context, g postern.OfflineGrant) (string, error) {
	if why := s.offlineChanged(g); why != "" {
		return why, nil
	}
	for _, v := range g.Votes {
		for _, a := range g.Accesses {
			if err := s.cfg.Still(ctx, a.Approvers, v); err != nil {
				return "the approval of " + v.By + " doesn't count any more; issue it anew", ctx.Err()
			}
		}
	}
	for _, by := range g.IssuedBy {
		// Whoever issued it needs no role any more, but an account that stands.
		vote := postern.Vote{By: by.Name, Kind: by.Kind, Subject: by.Subject}
		if err := s.cfg.Still(ctx, []postern.Principal{"everyone"}, vote); err != nil {
			return by.Name + ", who issued it, is disabled or gone; issue it anew", ctx.Err()
		}
	}
	return "", nil
}

// offlineChanged says which of a grant's accesses isn't what it was issued for.
func (s *Service) offlineChanged(g postern.OfflineGrant) string {
	set := s.cfg.Policy()
	for _, a := range g.Accesses {
		if set.Terms(a.Resource, a.Access) != a.Terms {
			return "the access " + a.Access + " to " + a.Resource + " was changed since it was issued; issue it anew"
		}
	}
	return ""
}

// OfflineUse is how an offline grant is used.
type OfflineUse struct {
	Holder postern.Identity // as of today
	Reason string
	Ticket string
	Source netip.Addr
	// Enter opens the login by which its holder enters a resource, until a
	// moment, and names it.
	Enter func(resource string, until time.Time) (login string, err error)
}

// OfflineOutcome is an offline grant that was used, and the emergency access that
// came of it, with the log's entries about that.
type OfflineOutcome struct {
	Grant   postern.OfflineGrant
	Reviews []postern.Review
	Entries []postern.AuditEntry
}

// UseOffline uses an offline grant, once: for each of its accesses, the glass is
// broken with the approvals that were given beforehand. It belongs to an act of
// its caller, who logs the entries, and calls [Service.TellOffline] when the act
// is durable.
func (s *Service) UseOffline(ctx context.Context, id string, use OfflineUse) (OfflineOutcome, error) {
	fail := func(err error) (OfflineOutcome, error) {
		return OfflineOutcome{}, fmt.Errorf("use %s: %w", id, err)
	}
	g, err := s.cfg.Store.OfflineGrant(ctx, id)
	if err != nil {
		return fail(err)
	}
	now := s.cfg.Now().UTC()
	if err := s.offlineUsable(ctx, g, use.Holder, now); err != nil {
		return fail(err)
	}
	var used OfflineOutcome
	for _, a := range g.Accesses {
		rv, err := s.offlineRequest(g, a, use, now)
		if err != nil {
			return fail(err)
		}
		used.Reviews = append(used.Reviews, rv)
		used.Entries = append(used.Entries, s.entry(rv, "break_glass", "ok", "by offline grant "+id+": "+rv.Message))
	}
	used.Grant, err = s.cfg.Store.UpdateOfflineGrant(ctx, id, func(g *postern.OfflineGrant) error {
		if state := OfflineState(*g, now); state != OfflineReady {
			return notReady(*g, state)
		}
		g.UsedAt, g.UsedFrom, g.UsedFor, g.Requests = now, use.Source.String(), use.Reason, nil
		for _, rv := range used.Reviews {
			g.Requests = append(g.Requests, rv.ID)
		}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	for _, rv := range used.Reviews {
		if err := s.cfg.Store.PutReview(ctx, rv); err != nil {
			return fail(err)
		}
	}
	return used, nil
}

// offlineUsable says why an offline grant can't be used by somebody now.
func (s *Service) offlineUsable(ctx context.Context, g postern.OfflineGrant, holder postern.Identity, now time.Time) error {
	if by := holder.Beings(); len(by) != 1 || by[0] != g.For {
		return fmt.Errorf("%w: it is somebody else's", ErrNotApprover)
	}
	if state := OfflineState(g, now); state != OfflineReady {
		return notReady(g, state)
	}
	why, err := s.OfflineProblem(ctx, g)
	if err == nil && why != "" {
		err = fmt.Errorf("%w: %s", ErrDecided, why)
	}
	return err
}

// notReady words why an offline grant can't be used.
func notReady(g postern.OfflineGrant, state string) error {
	if state == OfflinePending {
		return fmt.Errorf("%w: it waits for approvals: %d of %d were given", ErrDecided, len(g.Votes), g.Approvals)
	}
	return fmt.Errorf("%w: it is %s; ask for another", ErrDecided, state)
}

// offlineRequest is the emergency access that comes of an offline grant, on one
// resource.
func (s *Service) offlineRequest(g postern.OfflineGrant, a postern.OfflineAccess, use OfflineUse, now time.Time) (postern.Review, error) {
	set := s.cfg.Policy()
	asked := policy.Asking{
		Identity: use.Holder, Resource: a.Resource, Access: a.Access, For: time.Duration(g.Seconds) * time.Second, Reason: use.Reason, Ticket: use.Ticket,
		BreakGlass: true, Source: use.Source, Now: now,
	}
	if err := checkAsking(asked); err != nil {
		return postern.Review{}, err
	}
	terms, err := set.Ask(asked)
	if err != nil {
		return postern.Review{}, err
	}
	if terms.Digest != a.Terms {
		return postern.Review{}, errChanged
	}
	id, err := s.newID("rq_")
	if err != nil {
		return postern.Review{}, err
	}
	login, err := use.Enter(a.Resource, now.Add(asked.For))
	if err != nil {
		return postern.Review{}, err
	}
	request := &postern.AccessRequest{
		Access: a.Access, Terms: a.Terms, By: use.Holder.Beings(), Seconds: g.Seconds, Max: a.Max, Reason: use.Reason, Ticket: use.Ticket,
		BreakGlass: true, Reviewers: a.Reviewers, Offline: g.ID, Login: login, IssuedBy: g.IssuedBy,
	}
	rv := postern.Review{
		ID: id, State: postern.ReviewApproved, Identity: g.For.Name, Kind: g.For.Kind, Resource: a.Resource, Rule: a.Access, Message: use.Reason,
		Approvers: a.Approvers, Approvals: g.Approvals, Votes: g.Votes, Policy: set.Version(), CreatedAt: now, ExpiresAt: now.Add(terms.Timeout),
		DecidedAt: now, Request: request, Command: Sentence(a.Resource, request),
	}
	if rv.Digest, err = requestDigest(rv); err != nil {
		return postern.Review{}, err
	}
	return rv, grant(&rv, now)
}

// TellOffline tells everybody of an offline grant that was used, and puts its
// access in force.
func (s *Service) TellOffline(ctx context.Context, used OfflineOutcome) {
	for _, rv := range used.Reviews {
		s.cfg.Told(Submitted, rv)
	}
	if len(used.Reviews) > 0 {
		s.regrant(ctx, used.Reviews[0], nil)
	}
}

// OfflineByHash returns the offline grant whose code has this hash.
func (s *Service) OfflineByHash(ctx context.Context, hash string) (postern.OfflineGrant, error) {
	return s.cfg.Store.OfflineGrantByHash(ctx, hash)
}
