package approval

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"postern"
)

// staleAfter is how old the list of grants may be before none is trusted: one
// of them may have been taken back through another gateway.
const staleAfter = 30 * time.Second

// grants are those in force, as last read from the store.
type grants struct {
	at  time.Time
	all map[postern.Being][]postern.Grant // by who asked, without the subject
}

func key(b postern.Being) postern.Being { return postern.Being{Kind: b.Kind, Name: b.Name} }

// Grants are the grants of an identity, to be handed to the policy, which says
// what each of them is worth. It costs a look into memory; there are none
// before the first [Service.Refresh].
func (s *Service) Grants(id postern.Identity) []postern.Grant {
	g := s.grants.Load()
	if g == nil || len(g.all) == 0 {
		return nil
	}
	own := g.all[postern.Being{Kind: id.Kind, Name: id.Name}]
	if len(own) > 0 && s.cfg.Now().Sub(g.at) > staleAfter {
		return nil
	}
	return own
}

// Refresh reads the grants that hold, ends those whose time is up, and says
// whether anything has changed.
func (s *Service) Refresh(ctx context.Context) (changed bool, err error) {
	now := s.cfg.Now()
	fresh := &grants{at: now, all: map[postern.Being][]postern.Grant{}}
	var over []string
	err = s.each(ctx, postern.ReviewFilter{State: postern.ReviewApproved, Of: "request"}, func(rv postern.Review) error {
		if rv.Request == nil || rv.Request.Grant == nil {
			return nil
		}
		g := *rv.Request.Grant
		if !now.Before(g.Until) {
			over = append(over, rv.ID)
			return nil
		}
		if len(g.By) > 0 {
			fresh.all[key(g.By[0])] = append(fresh.all[key(g.By[0])], g)
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("read grants: %w", err)
	}
	before := s.grants.Swap(fresh)
	for _, id := range over {
		_, e := s.end(ctx, id, ending{"grant.end", Ended, postern.ReviewApproved, postern.ReviewSpent}, "its time is up")
		err = errors.Join(err, ignoreDecided(e))
	}
	if err != nil {
		err = fmt.Errorf("end grants: %w", err)
	}
	return before == nil || !maps.EqualFunc(before.all, fresh.all, sameGrants), err
}

func sameGrants(a, b []postern.Grant) bool {
	return slices.EqualFunc(a, b, func(a, b postern.Grant) bool { return a.Request == b.Request && a.Until.Equal(b.Until) })
}

// regrant reads the grants again after a step that may have changed them.
func (s *Service) regrant(ctx context.Context, rv postern.Review, err error) {
	if err != nil || rv.Request == nil || rv.State == postern.ReviewPending || rv.State == postern.ReviewDenied {
		return
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	changed, err := s.Refresh(ctx)
	if changed || err != nil {
		s.cfg.Changed()
	}
}

// Watch keeps the list of grants fresh until ctx ends, so that one that was
// given or taken back through another gateway is noticed within Config.Poll.
// failed is told what went wrong; the next round tries again.
func (s *Service) Watch(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(s.cfg.Poll)
	defer tick.Stop()
	const often = 10 // rounds between looks at requests whose time is up
	for round := 0; ; round++ {
		changed, err := s.Refresh(ctx)
		if round%often == 0 {
			err = errors.Join(err, s.timeOutRequests(ctx))
		}
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
		if changed {
			s.cfg.Changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// timeOutRequests ends requests that nobody decided over in time.
func (s *Service) timeOutRequests(ctx context.Context) error {
	var late []string
	err := s.each(ctx, postern.ReviewFilter{State: postern.ReviewPending, Of: "request"}, func(rv postern.Review) error {
		if !rv.ExpiresAt.After(s.cfg.Now()) {
			late = append(late, rv.ID)
		}
		return nil
	})
	for _, id := range late {
		_, e := s.timeOut(ctx, id)
		err = errors.Join(err, ignoreDecided(e))
	}
	return err
}
