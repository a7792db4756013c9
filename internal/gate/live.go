package gate

import (
	"context"
	"errors"
	"time"

	"postern"
)

// EndedError is the cause with which a session's context ends when the gateway
// ends it: words for the person.
type EndedError struct {
	Reason string
	// Since is when the gateway accepted what ends the session. The session's end
	// in the audit log says how long it took from there; zero: not measured.
	Since time.Time
}

// Error implements error.
func (e *EndedError) Error() string { return "postern: session ended: " + e.Reason }

var errDraining = errors.New("the gateway is shutting down")

func (g *Gate) isDraining() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.draining
}

// enter lists a session as live. It fails once the gate is draining.
func (g *Gate) enter(s *Session) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining {
		return errDraining
	}
	g.live[s.info.ID] = s
	g.done.Add(1)
	g.cfg.Metrics.SessionOpened(s.resource.Name)
	return nil
}

func (g *Gate) leave(s *Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.live[s.info.ID]; ok {
		delete(g.live, s.info.ID)
		g.cfg.Metrics.SessionClosed(s.resource.Name)
		g.done.Done()
	}
}

// Live lists the live sessions.
func (g *Gate) Live() []postern.SessionInfo {
	infos := []postern.SessionInfo{}
	for _, s := range g.sessions() {
		infos = append(infos, s.Info())
	}
	return infos
}

func (g *Gate) sessions() []*Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*Session, 0, len(g.live))
	for _, s := range g.live {
		all = append(all, s)
	}
	return all
}

// End ends every live session that match picks, telling its client why, and
// says how many they were. It doesn't wait for them to be gone.
func (g *Gate) End(reason string, match func(postern.SessionInfo) bool) int {
	return g.EndSince(g.cfg.Now(), reason, match)
}

// EndSince is End for what was accepted at an earlier moment, such as an event
// that had to be written down first: latencies count from there.
func (g *Gate) EndSince(since time.Time, reason string, match func(postern.SessionInfo) bool) int {
	ended := 0
	for _, s := range g.sessions() {
		if match(s.Info()) {
			s.end(&EndedError{Reason: reason, Since: since})
			ended++
		}
	}
	return ended
}

// Recheck ends the live sessions that the policy in force would no longer open,
// and those whose resource it has elsewhere now. It is called whenever the
// policy has changed.
func (g *Gate) Recheck() int {
	since := g.cfg.Now()
	ended := 0
	for _, s := range g.sessions() {
		if err := s.recheck(g.cfg.Policy()); err != nil {
			var why *EndedError
			if errors.As(err, &why) {
				why.Since = since
			}
			s.end(err)
			ended++
		}
	}
	return ended
}

// Reclaim tells the sessions of whoever came by a login which claims are theirs
// now, and ends those for which one that has changed may decide something in the
// policy in force: what was decided by the old ones doesn't stay. It says how
// many it ended.
func (g *Gate) Reclaim(login string, claims postern.Claims) int {
	if login == "" {
		return 0
	}
	since := g.cfg.Now()
	ended := 0
	for _, s := range g.sessions() {
		if was, ok := s.reclaim(login, claims); ok && g.cfg.Policy().ClaimsMatter(was, claims) {
			s.end(&EndedError{Reason: "what the identity provider says of them was changed, and the policy depends on it; connect again", Since: since})
			ended++
		}
	}
	return ended
}

// Drain refuses new sessions and waits for the live ones to end by themselves.
// When ctx ends first, they are ended, and Drain waits until they are gone.
func (g *Gate) Drain(ctx context.Context) {
	g.mu.Lock()
	g.draining = true
	g.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		g.done.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return
	case <-ctx.Done():
	}
	g.End("the gateway is shutting down; connect again", func(postern.SessionInfo) bool { return true })
	<-gone
}

// Ready is nil while sessions can open.
func (g *Gate) Ready() error {
	if g.isDraining() {
		return errDraining
	}
	return nil
}
