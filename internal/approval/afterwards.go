package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"postern"
)

// LookOver records what somebody found who looked at emergency access
// afterwards: in order, or not. It is for the reviewers whom the access names,
// and for none who asked for it or approved it.
func (s *Service) LookOver(ctx context.Context, id string, by postern.Identity, fine bool, words string) (postern.Review, error) {
	if err := checkText("the finding", words); err != nil {
		return postern.Review{}, fmt.Errorf("look over %s: %w", id, err)
	}
	if words == "" {
		return postern.Review{}, fmt.Errorf("look over %s: %w: say what you found", id, ErrInvalid)
	}
	vote := postern.Vote{By: by.Name, Kind: by.Kind, Subject: by.Subject, Actor: by.ActorName(), Approve: fine, Reason: words}
	s.step.Lock()
	rv, err := s.take(ctx, id, move{
		action: "break_glass.review", step: LookedOver,
		entry: func(e *postern.AuditEntry) {
			e.Target = string(e.Kind) + ":" + e.Identity
			e.Identity, e.Kind, e.Actor, e.Reason = by.Name, by.Kind, by.ActorName(), words
			if !fine {
				e.Outcome = "refused"
			}
		},
		change: func(rv *postern.Review) error {
			if err := mayLookOver(*rv, by); err != nil {
				return err
			}
			vote.At = s.cfg.Now().UTC()
			rv.Request.Findings = &vote
			return nil
		},
	})
	s.step.Unlock()
	if errors.Is(err, ErrNotApprover) {
		entry := s.entry(rv, "break_glass.review", "refused", err.Error())
		entry.Identity, entry.Kind, entry.Actor = by.Name, by.Kind, by.ActorName()
		err = errors.Join(err, s.cfg.Audit.Append(ctx, entry))
	}
	if err != nil {
		return rv, fmt.Errorf("look over %s: %w", id, err)
	}
	return rv, nil
}

func mayLookOver(rv postern.Review, by postern.Identity) error {
	r := rv.Request
	if r == nil || !r.BreakGlass {
		return fmt.Errorf("%w: %s is no emergency access", ErrInvalid, rv.ID)
	}
	for being := &by; being != nil; being = being.Actor {
		if asked(r, being.Name) || !postern.MatchesAny(r.Reviewers, *being) {
			return fmt.Errorf("%w: emergency access is looked at by others than who had it: by %s", ErrNotApprover, principals(r.Reviewers))
		}
		if slices.ContainsFunc(r.IssuedBy, func(b postern.Being) bool { return b.Name == being.Name }) {
			return fmt.Errorf("%w: whoever issued the offline grant doesn't look at its use afterwards", ErrNotApprover)
		}
		for _, v := range rv.Votes {
			if v.Approve && (v.By == being.Name || v.Actor == being.Name) {
				return fmt.Errorf("%w: whoever approved it doesn't look at it afterwards", ErrNotApprover)
			}
		}
	}
	switch {
	case r.Grant == nil || rv.State == postern.ReviewApproved:
		return fmt.Errorf("%w: it is looked at once it has ended; `postern request revoke` ends it now", ErrDecided)
	case r.Findings != nil:
		return fmt.Errorf("%w: %s has looked at it already", ErrDecided, r.Findings.By)
	}
	return nil
}

// Unseen says whether emergency access has ended and nobody has looked at it.
func Unseen(rv postern.Review) bool {
	r := rv.Request
	return r != nil && r.BreakGlass && r.Grant != nil && r.Findings == nil
}
