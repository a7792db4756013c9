package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern"
	"postern/internal/api"
	"postern/internal/approval"
	"postern/internal/policy"
)

// openReviews makes the place where people decide: over commands that wait and
// over requests for access.
func (s *Server) openReviews() error {
	var err error
	s.reviews, err = approval.New(approval.Config{
		Store: s.store, Audit: s.audit, Now: s.now, Policy: func() *policy.Set { return s.objects.Set() },
		Still: s.stillApprover, Changed: s.grantsChanged, Told: s.reviewMoved,
	})
	if err != nil {
		return err
	}
	return s.openNotify()
}

// openGrants reads the grants that hold, so that nobody is refused for a list
// that isn't there yet.
func (s *Server) openGrants(ctx context.Context, _ Options) error {
	_, err := s.reviews.Refresh(ctx)
	return err
}

// watchGrants notices what other gateways grant and take back.
func (s *Server) watchGrants(ctx context.Context) error {
	s.reviews.Watch(ctx, func(err error) {
		s.log.Warn("grants not read: none counts when they are half a minute old", "error", err)
	})
	return nil
}

// grantsChanged ends the sessions that only a grant allowed which is over, and
// moves the ends of the others.
func (s *Server) grantsChanged() {
	if ended := s.gate.Recheck(); ended > 0 {
		s.log.Info("sessions ended with their grant", "sessions", ended)
	}
}

// reviewMoved tells people, the log and the counters of a step of a review.
func (s *Server) reviewMoved(step approval.Step, rv postern.Review) {
	s.notices.Tell(step, rv)
	r := rv.Request
	if r == nil {
		return
	}
	s.metrics.requests.WithLabelValues(string(step)).Inc()
	if r.BreakGlass && r.Grant != nil && (step == approval.Submitted || step == approval.Approved) {
		s.metrics.brokenGlass.WithLabelValues(rv.Resource).Inc()
		s.log.Warn("glass broken", "request", rv.ID, "identity", rv.Identity, "actor", rv.Actor, "resource", rv.Resource, "access", r.Access,
			"until", r.Grant.Until)
	}
}

// stillApprover says why somebody's vote doesn't count any more: their account
// is gone, disabled or another's, or they are no approver today.
func (s *Server) stillApprover(ctx context.Context, approvers []postern.Principal, v postern.Vote) error {
	if v.Kind == postern.Workload {
		return nil // it has no account: what it proved when it voted is all there is
	}
	id, err := s.identity.Today(ctx, postern.Identity{Kind: v.Kind, Name: v.By, Subject: v.Subject})
	if err != nil {
		return err
	}
	if !postern.MatchesAny(approvers, id) {
		return fmt.Errorf("%s:%s is no approver any more", v.Kind, v.By)
	}
	return nil
}

// askURL is where an access can be asked for.
func (s *Server) askURL(resource, access string) string {
	return api.AskURL(s.cfg.PublicURL, resource, access)
}

// reviewURL is where a review can be looked at and decided.
func (s *Server) reviewURL(id string) string {
	return strings.TrimSuffix(s.cfg.PublicURL, "/") + "/reviews/" + id
}

// shadowQueue is how many decisions may wait to be counted; what comes on top
// is counted by the metric alone.
const shadowQueue = 4096

// shadows count what rules in shadow mode would have done, beside the sessions
// that they are about.
type shadows struct {
	queue chan postern.ShadowCount
	store interface {
		AddShadows(ctx context.Context, counts []postern.ShadowCount) error
	}
}

// shadowed is called by the gate, which doesn't wait.
func (s *Server) shadowed(info postern.SessionInfo, cmds []postern.Command, d postern.Decision) {
	verb := strings.Join(postern.VerbsOf(cmds), ",")
	now := s.now().UTC()
	for _, hit := range d.Shadow {
		s.metrics.shadows.WithLabelValues(hit.Rule, hit.Verdict.String()).Inc()
		count := postern.ShadowCount{
			Rule: hit.Rule, Verdict: hit.Verdict, Resource: info.Resource, Identity: info.Identity, Kind: info.Kind, Verb: verb, Commands: 1,
			FirstAt: now, LastAt: now, Session: info.ID, N: d.N,
		}
		select {
		case s.shadows.queue <- count:
		default:
			s.metrics.shadowsLost.Inc()
		}
	}
}

// run writes counts in batches until ctx ends, and then what is left.
func (sh *shadows) run(ctx context.Context, failed func(error)) error {
	for {
		select {
		case first := <-sh.queue:
			sh.write(ctx, first, failed)
		case <-ctx.Done():
			select {
			case first := <-sh.queue:
				sh.write(context.WithoutCancel(ctx), first, failed)
			default:
			}
			return nil
		}
	}
}

// write adds up what waits, and writes it as one step.
func (sh *shadows) write(ctx context.Context, first postern.ShadowCount, failed func(error)) {
	batch := []postern.ShadowCount{first}
	for range shadowQueue {
		select {
		case next := <-sh.queue:
			batch = addShadow(batch, next)
			continue
		default:
		}
		break
	}
	if err := sh.store.AddShadows(ctx, batch); err != nil {
		failed(err)
	}
}

func addShadow(batch []postern.ShadowCount, next postern.ShadowCount) []postern.ShadowCount {
	i := slices.IndexFunc(batch, func(c postern.ShadowCount) bool {
		return c.Rule == next.Rule && c.Verdict == next.Verdict && c.Resource == next.Resource && c.Identity == next.Identity &&
			c.Kind == next.Kind && c.Verb == next.Verb
	})
	if i < 0 {
		return append(batch, next)
	}
	batch[i].Commands++
	batch[i].LastAt, batch[i].Session, batch[i].N = next.LastAt, next.Session, next.N
	return batch
}
