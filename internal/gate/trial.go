package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"postern"
)

// Waiting is what a protocol can do while people decide over a command. Both parts
// are optional.
type Waiting struct {
	// Tell is called on the deciding goroutine before the decision waits.
	Tell func(postern.Review)
	// Try runs commands that are to be approved before they are committed.
	Try Try
}

// Try runs commands in a transaction that it leaves open, and says what they did. d
// is what they are decided by but for its verdict, which isn't Allow yet: its masks
// bind all that is read. Right before anything runs it calls begin, and runs nothing
// when that fails.
//
// What it left open the protocol commits when the decision that follows is Allow, and
// reports with [Session.Concluded]. Any other ending undoes it: another verdict, an
// error, the end of the session or of this process.
type Try func(ctx context.Context, d postern.Decision, begin func() error) (Tried, error)

// Tried is what came of it. One of its fields is set.
type Tried struct {
	Instead string         // why nothing was run: it is reviewed before it runs
	Refused string         // why it was undone, for the person: nobody is asked
	Did     *postern.Trial // what it did: it is held
}

// try runs what is to be approved before it is committed. refused says why it was
// undone at once.
func (s *Session) try(ctx context.Context, try Try, d postern.Decision, cmds []postern.Command, rv *postern.Review) (held bool, refused string, err error) {
	if d.Review.Commit == nil {
		return false, "", nil
	}
	instead := ""
	if try == nil {
		instead = "this protocol can't undo what was run"
	}
	set := s.gate.cfg.Policy()
	for i := range cmds {
		if column, ok := set.Tells(s.resource.Name, &cmds[i]); ok && instead == "" {
			instead = "a condition looks at " + column + ", which is masked for some: the number of rows would tell its values"
		}
	}
	begun := false
	if instead == "" {
		tried, err := try(ctx, d, func() error {
			if err := s.over(); err != nil {
				return err
			}
			begun = true
			return s.trial(rv, postern.TrialBegun, 0, "")
		})
		if err == nil {
			err = s.over()
		}
		switch {
		case err != nil:
			if begun {
				_ = s.trial(rv, postern.TrialRolledBack, 0, "the session ended") // that it ends is what counts
			}
			return false, "", err
		case tried.Refused != "":
			if begun {
				err = s.trial(rv, postern.TrialRolledBack, 0, tried.Refused)
			}
			return false, tried.Refused, err
		case tried.Did != nil && begun:
			return true, "", s.hold(rv, tried.Did)
		}
		instead = tried.Instead
	}
	if rv.Evidence == nil {
		rv.Evidence = &postern.Evidence{}
	}
	rv.Evidence.Missing = append([]string{"it has not run yet, and would be committed as it runs: " + instead}, rv.Evidence.Missing...)
	return false, "", nil
}

// hold makes what a command did part of what approvers see.
func (s *Session) hold(rv *postern.Review, did *postern.Trial) error {
	if did.Sample != nil {
		sealed, err := s.sealed(did.Sample)
		if err != nil {
			s.gate.cfg.Log.Error("rows of a review can't be sealed", "session", s.info.ID, "review", rv.ID, "error", err)
			did.Missing = append(did.Missing, "no rows, because they can't be kept safely")
		}
		did.Sample, did.Sealed = nil, sealed
	}
	if rv.Evidence == nil {
		rv.Evidence = &postern.Evidence{}
	}
	// What it did is better than what was said it would.
	rv.Evidence.Trial, rv.Evidence.Missing, rv.Evidence.Rows = did, did.Missing, nil
	did.Missing = nil
	return s.trial(rv, postern.TrialHeld, did.Rows, did.Tag)
}

func (s *Session) sealed(sample *postern.Sample) (string, error) {
	if s.gate.cfg.Seal == nil {
		return "", errors.New("there is nothing to seal with")
	}
	plain, err := json.Marshal(sample)
	if err != nil {
		return "", err
	}
	return s.gate.cfg.Seal(postern.SealSample, plain)
}

// Concluded reports what became of commands that were held and then allowed:
// [postern.TrialCommitted], [postern.TrialReleased], [postern.TrialRolledBack] after all,
// or [postern.TrialLost], and why.
func (s *Session) Concluded(d postern.Decision, review, state, why string) error {
	rv := postern.Review{ID: review, N: d.N, Rule: d.Rule, Policy: d.Policy}
	return s.trial(&rv, state, 0, why)
}

// trial records and audits a step of a trial. It returns when both are durable.
func (s *Session) trial(rv *postern.Review, state string, rows int64, why string) error {
	if err := s.Record(postern.Event{Kind: postern.EventReview, N: rv.N, Review: rv.ID, State: state, RowCount: rows}); err != nil {
		return err
	}
	if err := s.recording.Flush(); err != nil {
		return s.unrecorded(err)
	}
	entry := s.entry("review."+state, "ok")
	entry.N, entry.Rule, entry.Reason, entry.Review, entry.Policy, entry.Digest = rv.N, rv.Rule, why, rv.ID, rv.Policy, rv.Digest
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), writeTimeout)
	defer cancel()
	if err := s.gate.cfg.Audit.Append(ctx, entry); err != nil {
		return s.unrecorded(fmt.Errorf("audit log: %w", err))
	}
	return nil
}

// EveryMask is d with all masks of the resource, whomever they bind.
func (s *Session) EveryMask(d postern.Decision) (postern.Decision, bool) {
	masks, ok := s.gate.cfg.Policy().EveryMask(s.resource.Name)
	d.Masks = masks
	return d, ok
}
