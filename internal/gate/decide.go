package gate

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"reflect"
	"strings"
	"time"

	"postern"
)

// ReviewURL is where a review can be looked at and decided.
func (s *Session) ReviewURL(id string) string { return s.gate.cfg.ReviewURL(id) }

// Preview evaluates commands without recording, counting or waiting. Nothing
// may be forwarded on its word: that takes Decide.
func (s *Session) Preview(cmds ...postern.Command) postern.Decision {
	return s.verdict(s.gate.cfg.Policy(), cmds)
}

// Current says whether the policy that made d is still in force.
func (s *Session) Current(d postern.Decision) bool {
	return d.Policy == s.gate.cfg.Policy().Version()
}

// Decide decides over the commands of one message, together: all of them run
// or none. It waits while people review. When it returns Allow, commands and
// decision are in the recording and would survive the end of this process; the
// protocol then forwards exactly the commands' texts, once. A Deny is a value
// that the protocol words for its client. An error means that the session is
// over.
func (s *Session) Decide(ctx context.Context, cmds ...postern.Command) (postern.Decision, error) {
	return s.DecideTelling(ctx, nil, cmds...)
}

// DecideTelling is Decide for a protocol that can tell its client to wait: tell
// is called on this goroutine before the decision waits for people. A session
// may have several decisions waiting, each with its own part of the client.
func (s *Session) DecideTelling(ctx context.Context, tell func(postern.Review), cmds ...postern.Command) (postern.Decision, error) {
	return s.DecideWaiting(ctx, Waiting{Tell: tell}, cmds...)
}

// DecideWaiting is Decide for a protocol that can do more than wait.
func (s *Session) DecideWaiting(ctx context.Context, w Waiting, cmds ...postern.Command) (postern.Decision, error) {
	began := s.gate.cfg.Now()
	set := s.gate.cfg.Policy()
	if err := s.unmoved(set); err != nil {
		s.end(err)
	}
	if err := s.over(); err != nil {
		return postern.Decision{}, err
	}
	last := s.commands.Add(int64(len(cmds)))
	first := last - int64(len(cmds)) + 1
	for i := range cmds {
		if err := s.Record(postern.Event{Kind: postern.EventCommand, N: first + int64(i), Command: &cmds[i]}); err != nil {
			return postern.Decision{}, err
		}
	}
	d := s.metered(s.verdict(set, cmds))
	if len(cmds) == 0 {
		d = postern.Decision{Reason: "there is no command in this message"}
	}
	d.N = first
	d.Reason += s.gate.whereToAsk(s.resource.Name, d.Request)
	s.gate.cfg.Metrics.Decided(s.resource.Type, d.Verdict.String(), s.gate.cfg.Now().Sub(began))
	var held *postern.Review
	if d.Verdict == postern.NeedsReview {
		var err error
		if d, held, err = s.review(ctx, w, d, cmds); err != nil {
			return postern.Decision{}, err
		}
	}
	s.remember(&d, cmds)
	err := s.settle(d, cmds, held != nil)
	if err == nil {
		err = s.over()
	}
	if err != nil {
		if held != nil && d.Verdict == postern.Allow {
			_ = s.trial(held, postern.TrialRolledBack, 0, "the session ended") // that it ends is what counts
		}
		return postern.Decision{}, err
	}
	return d, nil
}

// settle records and audits the final word; with first, in the audit log before it
// returns.
func (s *Session) settle(d postern.Decision, cmds []postern.Command, first bool) error {
	if d.Verdict != postern.Allow {
		s.denied.Add(int64(max(len(cmds), 1)))
	}
	if err := s.Record(postern.Event{Kind: postern.EventDecision, N: d.N, Decision: &d}); err != nil {
		return err
	}
	if err := s.recording.Flush(); err != nil {
		return s.unrecorded(err)
	}
	entry := DecisionEntry(&s.info, s.gate.cfg.Now(), &d, cmds)
	var err error
	if d.Verdict == postern.Allow && !s.gate.cfg.AuditFirst && !first {
		// The recording already holds it; the log catches up at once, or after a crash.
		err = s.gate.cfg.Audit.Queue(entry)
	} else {
		// A denial is written even when the session has just ended.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), writeTimeout)
		defer cancel()
		err = s.gate.cfg.Audit.Append(ctx, entry)
	}
	if err != nil {
		return s.unrecorded(fmt.Errorf("audit log: %w", err))
	}
	if d.Verdict == postern.Allow && len(d.Shadow) > 0 {
		s.gate.cfg.Shadowed(s.info, cmds, d)
	}
	return nil
}

// DecisionEntry is the audit log's entry for a decision over the commands of one
// message. Whoever has a session's recording can make it again.
func DecisionEntry(info *postern.SessionInfo, at time.Time, d *postern.Decision, cmds []postern.Command) postern.AuditEntry {
	entry := sessionEntry(info, at, "command", d.Verdict.String())
	entry.N, entry.Rule, entry.Reason, entry.Policy = d.N, d.Rule, d.Reason, d.Policy
	objects := 0
	for i := range cmds {
		objects += len(cmds[i].Objects)
	}
	if objects > 0 {
		entry.Objects = make([]string, 0, objects)
	}
	entry.Verb = strings.Join(postern.VerbsOf(cmds), ",")
	for i := range cmds {
		for j := range cmds[i].Objects {
			entry.Objects = append(entry.Objects, cmds[i].Objects[j].Name)
		}
	}
	return entry
}

// whereToAsk points to where a refusal can be turned into access.
func (g *Gate) whereToAsk(resource, access string) string {
	if access == "" {
		return ""
	}
	if url := g.cfg.RequestURL(resource, access); url != "" {
		return " Or ask for it at " + url + " ."
	}
	return ""
}

// Overruled records and audits that commands which were allowed have been undone, or
// weren't run: they went beyond what a rule allows, or, with rule "", there is no way
// to mask what they would show, say. text is for the person, code the protocol's.
func (s *Session) Overruled(d postern.Decision, cmds []postern.Command, rule, code, text string) error {
	s.denied.Add(1)
	if err := s.Record(postern.Event{Kind: postern.EventError, N: d.N, Code: code, Text: text}); err != nil {
		return err
	}
	entry := DecisionEntry(&s.info, s.gate.cfg.Now(), &d, cmds)
	entry.Outcome, entry.Rule, entry.Reason = postern.Deny.String(), rule, text
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), writeTimeout)
	defer cancel()
	if err := s.gate.cfg.Audit.Append(ctx, entry); err != nil {
		return s.unrecorded(fmt.Errorf("audit log: %w", err))
	}
	return nil
}

// review holds the commands until people have decided, and checks that what
// they approved is still what would run. held is the review of commands that have
// run, and are to be committed or undone as the decision says.
func (s *Session) review(ctx context.Context, w Waiting, d postern.Decision, cmds []postern.Command) (final postern.Decision, held *postern.Review, err error) {
	id, err := s.gate.newID("rv_")
	if err != nil {
		return postern.Decision{}, nil, s.unrecorded(err)
	}
	now := s.gate.cfg.Now().UTC()
	var text strings.Builder
	for i := range cmds {
		text.WriteString(cmds[i].Text)
	}
	rv := postern.Review{
		ID: id, State: postern.ReviewPending, Session: s.info.ID, N: d.N,
		Identity: s.info.Identity, Kind: s.info.Kind, Actor: s.info.Actor, Resource: s.info.Resource,
		Command: text.String(), Commands: cmds, Rule: d.Rule, Message: d.Reason,
		Approvers: d.Review.Approvers, Approvals: d.Review.Approvals, Policy: d.Policy,
		CreatedAt: now, ExpiresAt: now.Add(d.Review.Timeout),
	}
	rv.Digest = s.digest(rv.ID, d.Policy, cmds)
	rv.Evidence = s.evidence(ctx, d.Review, cmds)
	refuse := func(reason string) postern.Decision {
		return postern.Decision{Verdict: postern.Deny, Rule: d.Rule, Reason: reason, Policy: d.Policy, N: d.N}
	}
	tried, why, err := s.try(ctx, w.Try, d, cmds, &rv)
	switch {
	case err != nil:
		return postern.Decision{}, nil, err
	case why != "":
		return refuse(why), nil, nil
	case tried:
		held = &rv
		now = s.gate.cfg.Now().UTC()
		rv.CreatedAt, rv.ExpiresAt = now, now.Add(d.Review.Commit.Hold)
		plain := refuse
		refuse = func(reason string) postern.Decision { return plain("it was run and undone: " + reason) }
	}
	final, err = s.submitted(ctx, w, d, rv, cmds, refuse)
	if held != nil && (err != nil || final.Verdict != postern.Allow) {
		undone := s.trial(held, postern.TrialRolledBack, 0, final.Reason)
		err = errors.Join(err, undone)
	}
	if err != nil {
		return postern.Decision{}, nil, err
	}
	return final, held, nil
}

// submitted asks people over a review, and waits for their word.
func (s *Session) submitted(ctx context.Context, w Waiting, d postern.Decision, rv postern.Review, cmds []postern.Command,
	refuse func(string) postern.Decision,
) (postern.Decision, error) {
	id := rv.ID
	if err := s.gate.cfg.Reviews.Submit(ctx, rv); err != nil {
		s.gate.cfg.Log.Error("review can't be opened", "session", s.info.ID, "rule", d.Rule, "error", err)
		return refuse("it needs an approval, and none can be asked for now: " + reviewProblem(err)), nil
	}
	if err := s.recordReview(rv, "pending"); err != nil {
		return postern.Decision{}, err
	}
	if w.Tell != nil {
		w.Tell(rv)
	}
	wait, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	done, err := s.gate.cfg.Reviews.Wait(wait, id)
	stop()
	cancel()
	if err != nil {
		done.State = postern.ReviewWithdrawn
	}
	s.gate.cfg.Metrics.Reviewed(string(done.State), s.gate.cfg.Now().Sub(rv.CreatedAt))
	final := s.conclude(ctx, d, rv, done, cmds, refuse)
	if err := s.recordReview(rv, string(done.State)); err != nil {
		return postern.Decision{}, err
	}
	return final, nil
}

// reviewProblem words an error of the review queue for the person who waits.
func reviewProblem(err error) string {
	var worded interface {
		error
		ForPerson() string
	}
	if errors.As(err, &worded) {
		return worded.ForPerson()
	}
	return "tell an administrator."
}

// conclude turns an ended review into the final decision. An approval counts
// only while the policy that asked for it is in force, for the digest that was
// shown, once.
func (s *Session) conclude(ctx context.Context, d postern.Decision, rv, done postern.Review, cmds []postern.Command, refuse func(string) postern.Decision) postern.Decision {
	switch done.State {
	case postern.ReviewApproved:
	case postern.ReviewDenied:
		return refuse("review " + rv.ID + " was denied" + voteReasons(done.Votes))
	case postern.ReviewTimedOut:
		return refuse("review " + rv.ID + " was not approved in time. Run the command again to ask again.")
	default:
		return refuse("review " + rv.ID + " ended without an approval (" + string(done.State) + ")")
	}
	void := func(why string) {
		if err := s.gate.cfg.Reviews.Void(ctx, rv.ID, why); err != nil {
			s.gate.cfg.Log.Error("review can't be voided", "session", s.info.ID, "error", err)
		}
	}
	if err := s.over(); err != nil {
		void("the session had ended before it ran")
		return refuse("the session had ended when review " + rv.ID + " was approved")
	}
	again := s.gate.cfg.Policy().Decide(s.request(), cmds)
	if again.Policy != rv.Policy || again.Verdict != postern.NeedsReview || s.digest(rv.ID, again.Policy, cmds) != rv.Digest {
		void("the policy changed before it ran")
		return refuse("the policy changed while review " + rv.ID + " was open, so its approval is void. Run the command again.")
	}
	if !sameTerms(&again, &d) {
		void("the policy asked for something else before it ran")
		return refuse("the policy asks for something else now than when review " + rv.ID + " was opened, so its approval is void. Run the command again.")
	}
	if err := s.gate.cfg.Reviews.Spend(ctx, rv.ID, rv.Digest); err != nil {
		s.gate.cfg.Log.Warn("approval can't be used", "session", s.info.ID, "error", err)
		return refuse("the approval of review " + rv.ID + " can't be used. Run the command again.")
	}
	d.Verdict = postern.Allow
	d.Reason = "approved in review " + rv.ID
	return d
}

// sameTerms says whether two decisions of one policy want the same. A rule may look at the
// time, or at claims that were renewed since.
func sameTerms(a, b *postern.Decision) bool {
	return a.Rule == b.Rule && reflect.DeepEqual(a.Review, b.Review) && reflect.DeepEqual(a.Masks, b.Masks) &&
		reflect.DeepEqual(a.Limit, b.Limit) && reflect.DeepEqual(a.Transfer, b.Transfer)
}

func voteReasons(votes []postern.Vote) string {
	for _, v := range votes {
		if !v.Approve && v.Reason != "" {
			return " by " + v.By + ": " + v.Reason
		}
	}
	return "."
}

func (s *Session) recordReview(rv postern.Review, state string) error {
	if err := s.Record(postern.Event{Kind: postern.EventReview, N: rv.N, Review: rv.ID, State: state}); err != nil {
		return err
	}
	if err := s.recording.Flush(); err != nil {
		return s.unrecorded(err)
	}
	return nil
}

// digest binds an approval to exactly what was shown. Every part is preceded
// by its length, so that no two lists of parts read the same.
func (s *Session) digest(review, policyVersion string, cmds []postern.Command) string {
	h := sha256.New()
	part(h, "postern review v1", review, policyVersion, s.info.ID, s.info.Identity, string(s.info.Kind), s.info.Actor,
		s.info.Resource, s.info.Database)
	for i := range cmds {
		c := &cmds[i]
		part(h, "command", c.Protocol, c.Text, c.State)
		for _, p := range c.Params {
			var kind [6]byte
			binary.BigEndian.PutUint32(kind[:4], p.Type)
			if p.Null {
				kind[4] = 1
			}
			if p.Binary {
				kind[5] = 1
			}
			part(h, "param", string(kind[:]), string(p.Value))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func part(h hash.Hash, parts ...string) {
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		_, _ = h.Write(n[:]) // a hash never returns an error
		_, _ = h.Write([]byte(p))
	}
}

// Left is how long a review still waits, for the notice to the client.
func Left(rv postern.Review, now time.Time) time.Duration {
	return max(rv.ExpiresAt.Sub(now), 0).Round(time.Second)
}
