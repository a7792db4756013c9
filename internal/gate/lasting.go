package gate

import (
	"sync"
	"time"

	"postern"
	"postern/internal/policy"
)

// keptDecisions bounds how many decisions a session keeps at hand: clients
// run few kinds of statements, again and again.
const keptDecisions = 8

// lasting is a decision that holds, by the policy that made it, for each command
// that is like one: that differs from it in text and parameters alone.
type lasting struct {
	set      *policy.Set
	until    time.Time // zero: for ever
	like     postern.Command
	decision postern.Decision
}

// decisions are a session's lasting ones.
type decisions struct {
	mu   sync.Mutex
	kept []lasting
	next int // of kept, when it is full: to be replaced
}

// verdict decides by a set, as [policy.Set.Decide] does.
func (s *Session) verdict(set *policy.Set, cmds []postern.Command) postern.Decision {
	r := s.request()
	if len(cmds) != 1 || len(r.Grants) > 0 || s.reclaimed() {
		return set.Decide(r, cmds)
	}
	k := &s.decided
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.kept {
		l := &k.kept[i]
		if l.set == set && (l.until.IsZero() || r.Now.Before(l.until)) && l.like.Like(&cmds[0]) {
			return l.decision
		}
	}
	d, until, ok := set.DecideLasting(r, cmds[0])
	if ok {
		like := cmds[0]
		like.Text, like.Params = "", nil
		l := lasting{set: set, until: until, like: like, decision: d}
		if len(k.kept) < keptDecisions {
			k.kept = append(k.kept, l)
		} else {
			k.kept[k.next] = l
			k.next = (k.next + 1) % keptDecisions
		}
	}
	return d
}
