package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"postern"
)

// errExpired says that a vote came too late.
var errExpired = errors.New("its time is up")

// MayVote says why an identity may not decide over a review; nil: it may. It
// says nothing about the review's state. Nobody decides over their own command:
// not who asked, not who asked on their behalf, and not either of them through
// another. Names count whatever their kind: alice's service account alice is
// alice, as far as anybody can tell. Who votes through an actor needs that both
// are approvers.
func MayVote(rv postern.Review, voter postern.Identity) error {
	for being := &voter; being != nil; being = being.Actor {
		switch {
		case being.Name == "":
			return fmt.Errorf("%w: a vote needs a name", ErrNotApprover)
		case being.Name == rv.Identity:
			return fmt.Errorf("%w: nobody decides over their own %s; ask someone of %s", ErrNotApprover, what(rv), approvers(rv))
		case rv.Actor != "" && being.Name == rv.Actor, rv.Request != nil && asked(rv.Request, being.Name):
			return fmt.Errorf("%w: who acts for another doesn't decide over what it asked for; ask someone of %s", ErrNotApprover, approvers(rv))
		case !postern.MatchesAny(rv.Approvers, *being):
			return fmt.Errorf("%w: only %s may decide over this", ErrNotApprover, approvers(rv))
		}
	}
	return nil
}

// what names what a review is over.
func what(rv postern.Review) string {
	if rv.Request != nil {
		return "request"
	}
	return "command"
}

// asked says whether someone of that name asked, or acts for who did.
func asked(r *postern.AccessRequest, name string) bool {
	return slices.ContainsFunc(r.By, func(b postern.Being) bool { return b.Name == name })
}

func approvers(rv postern.Review) string { return principals(rv.Approvers) }

func principals(all []postern.Principal) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = string(p)
	}
	return strings.Join(names, ", ")
}

// sameVoter says whether two votes may be the same being's, of whatever kind.
func sameVoter(a, b postern.Vote) bool {
	return a.By == b.By ||
		(a.Actor != "" && (a.Actor == b.Actor || a.Actor == b.By)) || (b.Actor != "" && b.Actor == a.By)
}

// Vote casts one person's answer. The first no denies; the last approval that
// was asked for, of as many different people, approves. [ErrNotApprover] comes
// when the voter may not decide, and is in the log; [ErrDecided] when the review
// has ended or the voter has approved already.
func (s *Service) Vote(ctx context.Context, id string, voter postern.Identity, approve bool, reason string) (postern.Review, error) {
	return s.Cast(ctx, id, voter, postern.Ballot{Approve: approve, Reason: reason})
}

// Cast casts a vote, as Vote does; over a request, an approval may be for less
// than was asked. Of several approvals the narrowest counts.
func (s *Service) Cast(ctx context.Context, id string, voter postern.Identity, b postern.Ballot) (postern.Review, error) {
	if err := checkText("a reason", b.Reason); err != nil {
		return postern.Review{}, fmt.Errorf("vote: %w", err)
	}
	action, step := "review.deny", Denied
	if b.Approve {
		action, step = "review.approve", Approved
	}
	vote := postern.Vote{
		By: voter.Name, Kind: voter.Kind, Subject: voter.Subject, Actor: voter.ActorName(), Approve: b.Approve, Reason: b.Reason,
		Seconds: b.Seconds, Verbs: b.Verbs,
	}
	by := func(e *postern.AuditEntry) {
		e.Identity, e.Kind, e.Actor, e.Reason = voter.Name, voter.Kind, voter.ActorName(), narrowing(vote)
	}
	if err := s.parentHolds(ctx, id, b.Approve); err != nil {
		return postern.Review{}, fmt.Errorf("vote on review %s: %w", id, err)
	}
	s.step.Lock()
	rv, err := s.take(ctx, id, move{action: action, step: step, entry: by, change: func(rv *postern.Review) error {
		if err := MayVote(*rv, voter); err != nil {
			return err
		}
		vote.At = s.cfg.Now().UTC()
		if err := s.fits(rv, vote); err != nil {
			return err
		}
		return cast(rv, vote)
	}})
	s.step.Unlock()
	s.regrant(ctx, rv, err)
	switch {
	case errors.Is(err, errChanged):
		_, voided := s.end(ctx, id, ending{"review.void", Voided, postern.ReviewPending, postern.ReviewVoid}, errChanged.Error())
		err = errors.Join(err, ignoreDecided(voided))
	case errors.Is(err, errExpired):
		rv, err = s.timeOut(ctx, id)
		if err == nil {
			err = fmt.Errorf("%w: review %s is %s", ErrDecided, id, rv.State)
		}
	case errors.Is(err, ErrNotApprover):
		entry := s.entry(rv, action, "refused", err.Error())
		entry.Identity, entry.Kind, entry.Actor = voter.Name, voter.Kind, voter.ActorName()
		err = errors.Join(err, s.cfg.Audit.Append(ctx, entry))
	}
	if err != nil {
		return rv, fmt.Errorf("vote on review %s: %w", id, err)
	}
	return rv, nil
}

// cast counts a vote.
func cast(rv *postern.Review, vote postern.Vote) error {
	if err := from(rv, postern.ReviewPending); err != nil {
		return err
	}
	if !vote.At.Before(rv.ExpiresAt) {
		return errExpired
	}
	if !vote.Approve {
		rv.Votes = append(rv.Votes, vote)
		rv.State, rv.DecidedAt = postern.ReviewDenied, vote.At
		return nil
	}
	approvals := 1
	for _, v := range rv.Votes {
		if sameVoter(v, vote) {
			return fmt.Errorf("%w: you have approved review %s; someone else must, too", ErrDecided, rv.ID)
		}
		if v.Approve {
			approvals++
		}
	}
	rv.Votes = append(rv.Votes, vote)
	if approvals >= max(rv.Approvals, 1) {
		rv.State, rv.DecidedAt = postern.ReviewApproved, vote.At
		return grant(rv, vote.At)
	}
	return nil
}

// checkText says what is wrong with words that somebody wrote.
func checkText(name, text string) error {
	if len(text) > maxReason || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
		return fmt.Errorf("%w: %s is text of at most %d bytes", ErrInvalid, name, maxReason)
	}
	return nil
}
