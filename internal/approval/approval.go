// Package approval is where people decide: over commands that wait, and over
// requests for access. A review is pending until it is approved, denied, timed
// out or withdrawn; an approved one is spent or void, once. A request is a
// review like any other: approved, it holds a grant; spent, the grant has ended
// by itself; void, it was taken back. Each step and its entry in the audit log are
// one transaction on the store: several gateways on one store never disagree,
// and a step that can't be logged doesn't happen, nor is one logged that doesn't.
package approval

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern"
	"postern/internal/policy"
)

// Store keeps reviews. What isn't there is [postern.ErrNotFound].
type Store interface {
	// PutReview adds a review; one with its id must not exist.
	PutReview(context.Context, postern.Review) error
	Review(ctx context.Context, id string) (postern.Review, error)
	Reviews(context.Context, postern.ReviewFilter) ([]postern.Review, error)
	// UpdateReview reads, changes and writes a review as one step. Nothing is
	// written when change returns an error, which is then returned.
	UpdateReview(ctx context.Context, id string, change func(*postern.Review) error) (postern.Review, error)
	OfflineStore
}

// Audit is the append-only log.
type Audit interface {
	// Append returns when the entry is durable.
	Append(context.Context, postern.AuditEntry) error
	// Act makes what do writes into the store with its context, and the entries,
	// one transaction. entries is called when do has succeeded.
	Act(ctx context.Context, entries func() []postern.AuditEntry, do func(context.Context) error) error
}

// Errors that a caller may want to tell apart, wrapped with words for the
// person who asked.
var (
	// ErrNotApprover says that this identity may not decide over this review.
	ErrNotApprover = errors.New("not an approver")
	// ErrDecided says that the review is no longer where this step begins.
	ErrDecided = errors.New("already decided")
	// ErrInvalid says that an argument isn't acceptable.
	ErrInvalid = errors.New("invalid")
)

// TooManyError says that an identity has as many reviews pending as it may.
type TooManyError struct{ Pending int }

// Error implements error.
func (e *TooManyError) Error() string {
	return fmt.Sprintf("%d reviews are pending already", e.Pending)
}

// ForPerson words the refusal for whoever asked for one more.
func (e *TooManyError) ForPerson() string {
	return fmt.Sprintf("%d of your commands and requests wait for approval already. Let them be decided, or cancel some.", e.Pending)
}

const (
	maxReason    = 2000 // bytes of a vote's reason
	maxApprovals = 20
	maxTimeout   = 7 * 24 * time.Hour
	// stepTime bounds a step that has to be taken though its caller has gone.
	stepTime = 10 * time.Second
)

// Config is what a Service is made of.
type Config struct {
	Store Store
	Audit Audit
	Now   func() time.Time // nil: the system's clock
	// MaxPending is how many reviews of one identity may be pending; 0: 10.
	MaxPending int
	// Poll is how soon a decision made through another gateway is noticed; 0: a
	// second. One made here is noticed at once.
	Poll time.Duration
	// Policy is the set in force; nil: no access can be requested.
	Policy func() *policy.Set
	// Still says why a vote that was cast doesn't count any more: whoever cast
	// it was disabled, or is no approver now. It is asked before an approval is
	// used. nil: votes count for ever.
	Still func(ctx context.Context, approvers []postern.Principal, v postern.Vote) error
	// Told is called after each step, with the review as it stands. It must not
	// wait. nil: nobody is told.
	Told func(step Step, rv postern.Review)
	// Changed is called when the grants in force have changed. nil: nobody
	// needs to know.
	Changed func()
	// Rand makes ids. nil: the system's.
	Rand io.Reader
}

// Step names what happened to a review.
type Step string

// The steps that others are told of.
const (
	Submitted  Step = "submitted"
	Approved   Step = "approved" // by one; the review's state says whether it was enough
	Denied     Step = "denied"
	TimedOut   Step = "timed_out"
	Withdrawn  Step = "withdrawn"
	Spent      Step = "spent"
	Voided     Step = "void"
	Revoked    Step = "revoked"
	Ended      Step = "ended"
	LookedOver Step = "looked_over" // break-glass access, afterwards
)

// Service keeps reviews moving. Its methods may be called from several
// goroutines, and by several processes on one store.
type Service struct {
	cfg Config

	step sync.Mutex // one step at a time

	mu      sync.Mutex // guards waiters
	waiters map[string][]chan struct{}

	grants atomic.Pointer[grants] // in force, as last read
}

// New makes a Service, or says what cfg lacks.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Audit == nil {
		return nil, errors.New("approval: Store and Audit are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxPending == 0 {
		cfg.MaxPending = 10
	}
	if cfg.Poll == 0 {
		cfg.Poll = time.Second
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Still == nil {
		cfg.Still = func(context.Context, []postern.Principal, postern.Vote) error { return nil }
	}
	if cfg.Policy == nil {
		nothing := new(policy.Set)
		cfg.Policy = func() *policy.Set { return nothing }
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.Told == nil {
		cfg.Told = func(Step, postern.Review) {}
	}
	if cfg.MaxPending < 0 || cfg.Poll < 0 {
		return nil, errors.New("approval: MaxPending and Poll can't be negative")
	}
	return &Service{cfg: cfg, waiters: map[string][]chan struct{}{}}, nil
}

// Submit stores a pending review. [*TooManyError] comes when its identity has
// too many pending.
func (s *Service) Submit(ctx context.Context, rv postern.Review) error {
	if err := s.checkNew(rv); err != nil {
		return fmt.Errorf("submit review %s: %w", rv.ID, err)
	}
	s.step.Lock()
	defer s.step.Unlock()
	pending, err := s.pending(ctx, rv.Kind, rv.Identity)
	if err != nil {
		return fmt.Errorf("submit review %s: %w", rv.ID, err)
	}
	if pending >= s.cfg.MaxPending {
		return fmt.Errorf("submit review %s: %w", rv.ID, &TooManyError{Pending: pending})
	}
	if err := s.keep(ctx, rv, s.entry(rv, "review.submit", "review", rv.Message)); err != nil {
		return fmt.Errorf("submit review %s: %w", rv.ID, err)
	}
	s.cfg.Told(Submitted, rv)
	return nil
}

func (s *Service) checkNew(rv postern.Review) error {
	now := s.cfg.Now()
	switch {
	case rv.ID == "" || rv.Identity == "" || rv.Kind == "" || rv.Digest == "":
		return fmt.Errorf("%w: a review names its id, identity, kind and digest", ErrInvalid)
	case rv.State != postern.ReviewPending || len(rv.Votes) > 0 || !rv.DecidedAt.IsZero():
		return fmt.Errorf("%w: a new review is pending", ErrInvalid)
	case (rv.Session == "") != (rv.Request != nil):
		return fmt.Errorf("%w: a review is of a session's command or of a request", ErrInvalid)
	case len(rv.Approvers) == 0 || slices.ContainsFunc(rv.Approvers, func(p postern.Principal) bool { return !p.Valid() }):
		return fmt.Errorf("%w: a review names its approvers", ErrInvalid)
	case rv.Approvals < 1 || rv.Approvals > maxApprovals:
		return fmt.Errorf("%w: a review takes 1 to %d approvals", ErrInvalid, maxApprovals)
	case !rv.ExpiresAt.After(now) || rv.ExpiresAt.Sub(now) > maxTimeout:
		return fmt.Errorf("%w: a review waits for at most %v", ErrInvalid, maxTimeout)
	}
	return nil
}

// pending counts an identity's reviews that still wait.
func (s *Service) pending(ctx context.Context, kind postern.IdentityKind, name string) (int, error) {
	now, n := s.cfg.Now(), 0
	err := s.each(ctx, postern.ReviewFilter{State: postern.ReviewPending, Identity: name}, func(rv postern.Review) error {
		if rv.Kind == kind && rv.ExpiresAt.After(now) {
			n++
		}
		return nil
	})
	return n, err
}

// each calls f for every review that a filter picks.
func (s *Service) each(ctx context.Context, f postern.ReviewFilter, fn func(postern.Review) error) error {
	const page = 100
	f.Limit = page
	for {
		list, err := s.cfg.Store.Reviews(ctx, f)
		if err != nil {
			return err
		}
		for _, rv := range list {
			if err := fn(rv); err != nil {
				return err
			}
		}
		if len(list) < page {
			return nil
		}
		f.Before = list[page-1].ID
	}
}

// Get returns one review.
func (s *Service) Get(ctx context.Context, id string) (postern.Review, error) {
	return s.cfg.Store.Review(ctx, id)
}

// List returns the reviews that a filter picks, newest first. Who may see which
// is for the caller to say.
func (s *Service) List(ctx context.Context, f postern.ReviewFilter) ([]postern.Review, error) {
	return s.cfg.Store.Reviews(ctx, f)
}

// move is one step of a review: who takes it, its entry in the log, and what it
// changes. check looks at the review as it stands, and changes it; an error
// means that the step can't be taken.
type move struct {
	action string
	step   Step // that others are told of
	entry  func(*postern.AuditEntry)
	change func(*postern.Review) error
}

// take takes a step: checked, done and logged as one transaction. The caller
// holds step.
func (s *Service) take(ctx context.Context, id string, m move) (postern.Review, error) {
	var rv postern.Review
	var refused error
	err := s.cfg.Audit.Act(ctx, func() []postern.AuditEntry {
		entry := s.entry(rv, m.action, "ok", "")
		m.entry(&entry)
		return []postern.AuditEntry{entry}
	}, func(ctx context.Context) error {
		rv, refused = s.cfg.Store.UpdateReview(ctx, id, func(rv *postern.Review) error {
			err := m.change(rv)
			if rv.State != postern.ReviewPending && rv.Evidence != nil && rv.Evidence.Trial != nil {
				rv.Evidence.Trial.Sealed = "" // rows are kept for as long as somebody has to decide by them
			}
			return err
		})
		return refused
	})
	switch {
	case err != nil && refused == nil: // what rv says didn't happen
		return postern.Review{ID: id}, err
	case err != nil:
		return rv, err
	}
	s.wake(id)
	s.cfg.Told(m.step, rv)
	return rv, nil
}

// keep stores a new review with its entry.
func (s *Service) keep(ctx context.Context, rv postern.Review, entry postern.AuditEntry) error {
	return s.cfg.Audit.Act(ctx, func() []postern.AuditEntry { return []postern.AuditEntry{entry} },
		func(ctx context.Context) error { return s.cfg.Store.PutReview(ctx, rv) })
}

// detached is a context for a step that must be taken though ctx has ended.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), stepTime)
}

// entry is an audit entry about a review, by whoever asked for it.
func (s *Service) entry(rv postern.Review, action, outcome, reason string) postern.AuditEntry {
	verb := strings.Join(postern.VerbsOf(rv.Commands), ",")
	if rv.Request != nil {
		verb = strings.Join(rv.Request.Verbs, ",")
		if of, ok := strings.CutPrefix(action, "review."); ok {
			action = "request." + of
		}
	}
	return postern.AuditEntry{
		Time: s.cfg.Now().UTC(), Action: action, Outcome: outcome, Identity: rv.Identity, Kind: rv.Kind, Actor: rv.Actor, Resource: rv.Resource,
		Session: rv.Session, N: rv.N, Verb: verb, Rule: rv.Rule, Reason: reason, Review: rv.ID, Digest: rv.Digest, Policy: rv.Policy,
	}
}

// from checks that a review is in a state.
func from(rv *postern.Review, state postern.ReviewState) error {
	if rv.State != state {
		return fmt.Errorf("%w: review %s is %s", ErrDecided, rv.ID, rv.State)
	}
	return nil
}

// Spend moves an approved review to spent, once, for the digest that was
// approved.
func (s *Service) Spend(ctx context.Context, id, digest string) error {
	if err := s.stillApproved(ctx, id); err != nil {
		return fmt.Errorf("spend review %s: %w", id, err)
	}
	s.step.Lock()
	defer s.step.Unlock()
	_, err := s.take(ctx, id, move{
		action: "review.spend", step: Spent,
		entry: func(*postern.AuditEntry) {},
		change: func(rv *postern.Review) error {
			if err := from(rv, postern.ReviewApproved); err != nil {
				return err
			}
			if rv.Request != nil {
				return fmt.Errorf("%w: %s is a request, and no command", ErrInvalid, rv.ID)
			}
			if rv.Digest != digest {
				return fmt.Errorf("%w: review %s approved something else", ErrInvalid, rv.ID)
			}
			rv.State = postern.ReviewSpent
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("spend review %s: %w", id, err)
	}
	return nil
}

// stillApproved voids an approval whose votes don't count any more. Between the
// vote and its use, whoever cast it may have lost the right to.
func (s *Service) stillApproved(ctx context.Context, id string) error {
	rv, err := s.cfg.Store.Review(ctx, id)
	if err != nil || rv.State != postern.ReviewApproved {
		return err // the step itself says what is wrong with the state
	}
	for _, v := range rv.Votes {
		if !v.Approve {
			continue
		}
		if err := s.cfg.Still(ctx, rv.Approvers, v); err != nil {
			why := "the approval of " + v.By + " doesn't count any more: " + err.Error()
			return errors.Join(fmt.Errorf("%w: %s", ErrDecided, why), s.Void(ctx, id, why))
		}
	}
	return nil
}

// Void moves an approved review to void: it never ran, and never will. It is
// done though ctx has ended.
func (s *Service) Void(ctx context.Context, id, reason string) error {
	_, err := s.end(ctx, id, ending{"review.void", Voided, postern.ReviewApproved, postern.ReviewVoid}, reason)
	if err != nil {
		return fmt.Errorf("void review %s: %w", id, err)
	}
	return nil
}

// Withdraw ends a pending review: nobody waits for it any more. It is done
// though ctx has ended.
func (s *Service) Withdraw(ctx context.Context, id, reason string) (postern.Review, error) {
	rv, err := s.end(ctx, id, ending{"review.withdraw", Withdrawn, postern.ReviewPending, postern.ReviewWithdrawn}, reason)
	if err != nil {
		return rv, fmt.Errorf("withdraw review %s: %w", id, err)
	}
	return rv, nil
}

// timeOut ends a pending review whose time is up.
func (s *Service) timeOut(ctx context.Context, id string) (postern.Review, error) {
	return s.end(ctx, id, ending{"review.timeout", TimedOut, postern.ReviewPending, postern.ReviewTimedOut}, "not decided in time")
}

// ending is a step that needs no one's word.
type ending struct {
	action        string
	step          Step
	before, after postern.ReviewState
}

func (s *Service) end(ctx context.Context, id string, to ending, reason string) (postern.Review, error) {
	ctx, cancel := detached(ctx)
	defer cancel()
	s.step.Lock()
	defer s.step.Unlock()
	return s.take(ctx, id, move{
		action: to.action, step: to.step,
		entry: func(e *postern.AuditEntry) { e.Reason = reason },
		change: func(rv *postern.Review) error {
			if err := from(rv, to.before); err != nil {
				return err
			}
			rv.State = to.after
			if rv.DecidedAt.IsZero() {
				rv.DecidedAt = s.cfg.Now().UTC()
			}
			return nil
		},
	})
}

// Abandon ends the reviews of a session that is gone: pending ones are
// withdrawn, approved ones that never ran are void.
func (s *Service) Abandon(ctx context.Context, session, why string) error {
	for _, state := range []postern.ReviewState{postern.ReviewPending, postern.ReviewApproved} {
		var ids []string
		err := s.each(ctx, postern.ReviewFilter{State: state}, func(rv postern.Review) error {
			if rv.Session == session {
				ids = append(ids, rv.ID)
			}
			return nil
		})
		for _, id := range ids {
			if state == postern.ReviewPending {
				_, e := s.Withdraw(ctx, id, why)
				err = errors.Join(err, ignoreDecided(e))
			} else {
				err = errors.Join(err, ignoreDecided(s.Void(ctx, id, why)))
			}
		}
		if err != nil {
			return fmt.Errorf("end the reviews of session %s: %w", session, err)
		}
	}
	return nil
}

func ignoreDecided(err error) error {
	if errors.Is(err, ErrDecided) {
		return nil
	}
	return err
}

// Sweep ends what nobody waits for any more, after a gateway has died: pending
// reviews whose time is up, and approvals that were never used.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	now, ended := s.cfg.Now(), 0
	for _, state := range []postern.ReviewState{postern.ReviewPending, postern.ReviewApproved} {
		err := s.each(ctx, postern.ReviewFilter{State: state}, func(rv postern.Review) error {
			if rv.ExpiresAt.Add(stepTime).After(now) { // whoever waits gets there first
				return nil
			}
			if rv.Request != nil && state == postern.ReviewApproved {
				return nil // its grant ends by itself
			}
			var err error
			if state == postern.ReviewPending {
				_, err = s.timeOut(ctx, rv.ID)
			} else {
				err = s.Void(ctx, rv.ID, "approved, and never run")
			}
			if errors.Is(err, ErrDecided) {
				return nil
			}
			ended++
			return err
		})
		if err != nil {
			return ended, fmt.Errorf("sweep reviews: %w", err)
		}
	}
	return ended, nil
}
