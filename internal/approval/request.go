package approval

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"postern"
	"postern/internal/policy"
)

const maxTicket = 200 // bytes

// errChanged says that the access isn't what was asked for any more.
var errChanged = fmt.Errorf("%w: the access was changed since it was asked for, so the request is void; it has to be asked for again", ErrDecided)

// Request asks for access. The answer is pending, or, where the glass may be
// broken without a second person, approved. An error is a [*policy.AskError]
// when the policy has no way to what is asked for.
func (s *Service) Request(ctx context.Context, a policy.Asking) (postern.Review, error) {
	if err := checkAsking(a); err != nil {
		return postern.Review{}, fmt.Errorf("request access: %w", err)
	}
	a.Now = s.cfg.Now()
	set := s.cfg.Policy()
	terms, err := set.Ask(a)
	if err != nil {
		return postern.Review{}, err
	}
	for _, g := range s.Grants(a.Identity) {
		if a.BreakGlass && g.Terms == terms.Digest && g.Holds(a.Now, a.Resource, a.Identity.Beings()) {
			return postern.Review{}, fmt.Errorf("request access: %w: you have it already, until %s", ErrDecided, g.Until.Format(time.RFC3339))
		}
	}
	return s.submit(ctx, set, a, terms, func(*postern.AccessRequest) {})
}

func checkAsking(a policy.Asking) error {
	switch {
	case strings.TrimSpace(a.Reason) == "":
		return fmt.Errorf("%w: a request says what for: its reason is missing", ErrInvalid)
	case a.For < 0 || a.For > 0 && a.For < time.Second:
		return fmt.Errorf("%w: access is asked for a second at least", ErrInvalid)
	case len(a.Ticket) > maxTicket:
		return fmt.Errorf("%w: a ticket has at most %d bytes", ErrInvalid, maxTicket)
	}
	if err := policy.CheckVerbs(a.Verbs); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return errors.Join(checkText("a reason", a.Reason), checkText("a ticket", a.Ticket))
}

// submit stores a request on its terms.
func (s *Service) submit(ctx context.Context, set *policy.Set, a policy.Asking, terms policy.Terms, shape func(*postern.AccessRequest)) (postern.Review, error) {
	id, err := s.newID("rq_")
	if err != nil {
		return postern.Review{}, err
	}
	now := s.cfg.Now().UTC()
	request := &postern.AccessRequest{
		Access: terms.Access, Terms: terms.Digest, By: a.Identity.Beings(), Seconds: int64(terms.For / time.Second), Max: int64(terms.Max / time.Second),
		Verbs: a.Verbs, Reason: a.Reason, Ticket: a.Ticket, BreakGlass: a.BreakGlass, Reviewers: terms.Reviewers,
	}
	shape(request)
	rv := postern.Review{
		ID: id, State: postern.ReviewPending, Identity: a.Identity.Name, Kind: a.Identity.Kind, Actor: a.Identity.ActorName(), Resource: a.Resource,
		Rule: terms.Access, Message: a.Reason, Approvers: terms.Approvers, Approvals: terms.Approvals, Policy: set.Version(),
		CreatedAt: now, ExpiresAt: now.Add(terms.Timeout), Request: request, Command: Sentence(a.Resource, request),
	}
	if rv.Digest, err = requestDigest(rv); err != nil {
		return postern.Review{}, err
	}
	if request.BreakGlass && rv.Approvals == 0 {
		return rv, s.breakGlass(ctx, &rv)
	}
	return rv, s.Submit(ctx, rv)
}

// breakGlass stores a request that needs nobody's approval, with its grant.
func (s *Service) breakGlass(ctx context.Context, rv *postern.Review) error {
	rv.State, rv.DecidedAt = postern.ReviewApproved, rv.CreatedAt
	if err := grant(rv, rv.CreatedAt); err != nil {
		return err
	}
	if err := s.put(ctx, *rv, "break_glass"); err != nil {
		return fmt.Errorf("break glass: %w", err)
	}
	s.regrant(ctx, *rv, nil)
	return nil
}

// put logs and stores a review that begins with its grant.
func (s *Service) put(ctx context.Context, rv postern.Review, action string) error {
	s.step.Lock()
	defer s.step.Unlock()
	if err := s.keep(ctx, rv, s.entry(rv, action, "ok", rv.Message)); err != nil {
		return err
	}
	s.cfg.Told(Submitted, rv)
	return nil
}

// Sentence says what is asked for, for lists and messages.
func Sentence(resource string, r *postern.AccessRequest) string {
	text := "access " + r.Access + " to " + resource + " for " + (time.Duration(r.Seconds) * time.Second).String()
	if len(r.Verbs) > 0 {
		text += ", to " + strings.Join(r.Verbs, ", ") + " only"
	}
	if r.Ticket != "" {
		text += ", for " + r.Ticket
	}
	if r.Extends != "" {
		text += ", to prolong " + r.Extends
	}
	if r.Offline != "" {
		text += ", by offline grant " + r.Offline
	}
	if r.BreakGlass {
		text = "EMERGENCY " + text
	}
	return text + ": " + r.Reason
}

// requestDigest binds approvals to exactly what was asked.
func requestDigest(rv postern.Review) (string, error) {
	body, err := json.Marshal(rv.Request)
	if err != nil {
		return "", fmt.Errorf("digest of a request: %w", err)
	}
	h := sha256.New()
	for _, part := range []string{"postern request v1", rv.ID, rv.Identity, string(rv.Kind), rv.Actor, rv.Resource, string(body)} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		_, _ = h.Write(n[:]) // a hash never returns an error
		_, _ = h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// newID makes an identifier of 120 random bits.
func (s *Service) newID(prefix string) (string, error) {
	var b [15]byte
	if _, err := io.ReadFull(s.cfg.Rand, b[:]); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return prefix + hex.EncodeToString(b[:]), nil
}

// fits says why an approval of less isn't one, or why nothing can be approved
// any more.
func (s *Service) fits(rv *postern.Review, vote postern.Vote) error {
	r := rv.Request
	switch {
	case r == nil && (vote.Seconds != 0 || len(vote.Verbs) > 0):
		return fmt.Errorf("%w: a command is approved as it is, or not", ErrInvalid)
	case r == nil || !vote.Approve:
		return nil
	case vote.Seconds < 0 || vote.Seconds > r.Seconds:
		return fmt.Errorf("%w: approve for as long as was asked (%v), or less", ErrInvalid, time.Duration(r.Seconds)*time.Second)
	}
	if err := policy.CheckVerbs(vote.Verbs); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	set := s.cfg.Policy()
	if set.Terms(rv.Resource, r.Access) != r.Terms {
		return errChanged
	}
	for _, verb := range vote.Verbs {
		if len(r.Verbs) > 0 && !slices.Contains(r.Verbs, verb) {
			return fmt.Errorf("%w: %s wasn't asked for", ErrInvalid, verb)
		}
	}
	if len(vote.Verbs) > 0 && !set.Narrows(rv.Resource, r.Access, vote.Verbs) {
		return fmt.Errorf("%w: the access doesn't allow all of %s", ErrInvalid, strings.Join(vote.Verbs, ", "))
	}
	return nil
}

// narrowing words a vote for the log: to what it narrows, and its reason.
func narrowing(v postern.Vote) string {
	var parts []string
	if v.Seconds > 0 {
		parts = append(parts, "for "+(time.Duration(v.Seconds)*time.Second).String())
	}
	if len(v.Verbs) > 0 {
		parts = append(parts, "to "+strings.Join(v.Verbs, ", "))
	}
	if v.Reason != "" {
		parts = append(parts, v.Reason)
	}
	return strings.Join(parts, "; ")
}

// grant gives an approved request its grant: what was asked for, narrowed to
// what everybody who approved agreed to.
func grant(rv *postern.Review, now time.Time) error {
	r := rv.Request
	if r == nil {
		return nil
	}
	seconds, verbs := r.Seconds, r.Verbs
	for _, v := range rv.Votes {
		if !v.Approve {
			continue
		}
		if v.Seconds > 0 {
			seconds = min(seconds, v.Seconds)
		}
		if len(v.Verbs) == 0 {
			continue
		}
		if len(verbs) == 0 {
			verbs = v.Verbs
			continue
		}
		verbs = slices.DeleteFunc(slices.Clone(verbs), func(verb string) bool { return !slices.Contains(v.Verbs, verb) })
		if len(verbs) == 0 {
			return fmt.Errorf("%w: together with the approvals before, this leaves no verb; agree on one", ErrInvalid)
		}
	}
	from := now
	if r.After.After(from) {
		from = r.After
	}
	until := from.Add(time.Duration(seconds) * time.Second)
	if !r.Latest.IsZero() && until.After(r.Latest) {
		until = r.Latest
	}
	if !until.After(now) {
		return fmt.Errorf("%w: the last moment of what it prolongs has passed; it has to be asked for anew", ErrDecided)
	}
	r.Grant = &postern.Grant{
		Request: rv.ID, Access: r.Access, Terms: r.Terms, Resource: rv.Resource, By: r.By, Verbs: verbs, From: now, Until: until,
	}
	return nil
}

// Extend asks to prolong a grant that holds. It takes the same approvals again,
// and never goes beyond the longest that the access can be had for, counted
// from the grant's beginning.
func (s *Service) Extend(ctx context.Context, id string, by postern.Identity, longer time.Duration, reason string) (postern.Review, error) {
	rv, err := s.Own(ctx, id, by)
	if err != nil {
		return postern.Review{}, err
	}
	fail := func(format string, args ...any) (postern.Review, error) {
		return postern.Review{}, fmt.Errorf("extend %s: "+format, append([]any{id}, args...)...)
	}
	now, r := s.cfg.Now(), rv.Request
	if rv.State != postern.ReviewApproved || !r.Grant.Holds(now, rv.Resource, by.Beings()) {
		return fail("%w: only a grant that holds can be prolonged; ask anew", ErrDecided)
	}
	if r.BreakGlass {
		return fail("%w: emergency access isn't prolonged; break the glass anew", ErrInvalid)
	}
	latest := r.Latest
	if latest.IsZero() {
		latest = r.Grant.From.Add(time.Duration(r.Max) * time.Second)
	}
	if !latest.After(r.Grant.Until) {
		return fail("%w: it lasts as long as it can be had for, until %s; ask anew then", ErrDecided, latest.UTC().Format(time.RFC3339))
	}
	a := policy.Asking{Identity: by, Resource: rv.Resource, Access: r.Access, Verbs: r.Grant.Verbs, For: longer, Reason: reason, Ticket: r.Ticket, Now: now}
	if err := checkAsking(a); err != nil {
		return fail("%w", err)
	}
	set := s.cfg.Policy()
	terms, err := set.Ask(a)
	if err != nil {
		return postern.Review{}, err
	}
	if terms.Digest != r.Terms {
		return fail("%w", errChanged)
	}
	return s.submit(ctx, set, a, terms, func(r *postern.AccessRequest) {
		r.Extends, r.After, r.Latest = id, rv.Request.Grant.Until, latest
	})
}

// Own returns a request of an identity's own.
func (s *Service) Own(ctx context.Context, id string, by postern.Identity) (postern.Review, error) {
	rv, err := s.cfg.Store.Review(ctx, id)
	if err == nil && (rv.Request == nil || !slices.Equal(rv.Request.By, by.Beings())) {
		err = fmt.Errorf("request %s: %w", id, postern.ErrNotFound)
	}
	return rv, err
}

// parentHolds says why a request that prolongs another can't be approved any
// more: what it prolongs was taken back.
func (s *Service) parentHolds(ctx context.Context, id string, approve bool) error {
	rv, err := s.cfg.Store.Review(ctx, id)
	if err != nil || !approve || rv.Request == nil || rv.Request.Extends == "" {
		return err
	}
	parent, err := s.cfg.Store.Review(ctx, rv.Request.Extends)
	if err == nil && parent.State == postern.ReviewVoid {
		err = fmt.Errorf("%w: %s, which it prolongs, was taken back", ErrDecided, parent.ID)
	}
	return err
}

// MayRevoke says why an identity may not take a request or a grant back; nil:
// it may. Whoever asked may, and those who could have approved it.
func MayRevoke(rv postern.Review, by postern.Identity) error {
	if rv.Request == nil {
		return fmt.Errorf("%w: %s is no request", ErrInvalid, rv.ID)
	}
	if slices.Equal(rv.Request.By, by.Beings()) {
		return nil
	}
	allowed := append(slices.Clone(rv.Approvers), rv.Request.Reviewers...)
	for being := &by; being != nil; being = being.Actor {
		if !postern.MatchesAny(allowed, *being) {
			return fmt.Errorf("%w: only who asked, %s and admins take it back", ErrNotApprover, approvers(rv))
		}
	}
	return nil
}

// Revoke takes back a request that is pending or a grant that holds, and all
// that prolongs it. Sessions that have no other right end. Whether by may is
// for the caller to ask, with [MayRevoke].
func (s *Service) Revoke(ctx context.Context, id string, by postern.Identity, reason string) (postern.Review, error) {
	if err := checkText("a reason", reason); err != nil {
		return postern.Review{}, fmt.Errorf("revoke: %w", err)
	}
	rv, err := s.revoke(ctx, id, by, reason)
	if err != nil {
		return rv, fmt.Errorf("revoke %s: %w", id, err)
	}
	err = s.revokeChildren(ctx, id, by, reason)
	s.regrant(ctx, rv, nil)
	if err != nil {
		return rv, fmt.Errorf("revoke what prolongs %s: %w", id, err)
	}
	return rv, nil
}

func (s *Service) revoke(ctx context.Context, id string, by postern.Identity, reason string) (postern.Review, error) {
	s.step.Lock()
	defer s.step.Unlock()
	return s.take(ctx, id, move{
		action: "grant.revoke", step: Revoked,
		entry: func(e *postern.AuditEntry) {
			e.Target, e.Reason = string(e.Kind)+":"+e.Identity, reason
			e.Identity, e.Kind, e.Actor = by.Name, by.Kind, by.ActorName()
		},
		change: func(rv *postern.Review) error {
			now := s.cfg.Now().UTC()
			switch {
			case rv.Request == nil:
				return fmt.Errorf("%w: %s is no request", ErrInvalid, rv.ID)
			case rv.State == postern.ReviewPending:
				rv.State, rv.DecidedAt = postern.ReviewWithdrawn, now
			case rv.State == postern.ReviewApproved:
				rv.State = postern.ReviewVoid
				rv.Request.Grant.RevokedAt, rv.Request.Grant.RevokedBy = now, by.Name
			default:
				return from(rv, postern.ReviewApproved)
			}
			return nil
		},
	})
}

// revokeChildren takes back what prolongs a grant.
func (s *Service) revokeChildren(ctx context.Context, id string, by postern.Identity, reason string) error {
	var children []string
	for _, state := range []postern.ReviewState{postern.ReviewPending, postern.ReviewApproved} {
		err := s.each(ctx, postern.ReviewFilter{State: state, Of: "request"}, func(rv postern.Review) error {
			if rv.Request != nil && rv.Request.Extends == id {
				children = append(children, rv.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, child := range children {
		// Approved in this moment, it is no longer pending, and taken back all the same.
		if _, err := s.revoke(ctx, child, by, reason); ignoreDecided(err) != nil {
			return err
		}
		if err := s.revokeChildren(ctx, child, by, reason); err != nil {
			return err
		}
	}
	return nil
}
