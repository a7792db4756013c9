package postgres

import (
	"slices"
	"sync"
)

// inDoubt is what a session may be giving another meaning.
type inDoubt struct {
	names []string
	// held says that the session takes its turn: it waits for others' commands that they
	// make a difference to, and others wait for it. Otherwise whoever comes looks for
	// itself.
	held bool
	turn int64    // its place among those that wait for their turn; 0: it doesn't wait
	sent []string // those of names that don't wait
}

// A site is a database that sessions share, by whatever resource they came and as
// whatever login. It is safe for concurrent use.
type site struct {
	mu      sync.Mutex // guards what follows
	entries []*catalogEntry
	relays  map[*relay]struct{}
	// doubts are what messages under way may give another meaning, by the sessions that
	// sent them.
	doubts map[*pipeline]inDoubt
	turns  int64 // the last one
	// granted counts the turns that didn't wait any more.
	granted int64
	// settled is closed when fewer names may be in doubt; nil: nobody waits.
	settled chan struct{}
}

type siteKey struct{ addresses, database string }

func (at *site) add(e *catalogEntry) {
	at.mu.Lock()
	defer at.mu.Unlock()
	at.entries = append(at.entries, e)
}

// changed notes that a session has committed changes to what names mean.
func (at *site) changed(names []string) {
	at.mu.Lock()
	entries := at.entries
	at.mu.Unlock()
	for _, e := range entries {
		e.changed(names)
	}
}

// doubt notes names that p may give another meaning before that is answered; none: it has
// been.
func (at *site) doubt(p *pipeline, names []string, held bool) {
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.settled != nil {
		close(at.settled)
		at.settled = nil
	}
	if len(names) == 0 {
		delete(at.doubts, p)
		return
	}
	if at.doubts == nil {
		at.doubts = make(map[*pipeline]inDoubt)
	}
	d := at.doubts[p]
	if held {
		at.turns++
		d.held, d.turn = true, at.turns
	} else {
		d.sent = names
	}
	d.names = names
	at.doubts[p] = d
}

// turnsSoFar counts how often names were put in doubt.
func (at *site) turnsSoFar() int64 {
	at.mu.Lock()
	defer at.mu.Unlock()
	return at.turns
}

// grantedSoFar counts the turns that have come.
func (at *site) grantedSoFar() int64 {
	at.mu.Lock()
	defer at.mu.Unlock()
	return at.granted
}

// grant ends the waiting of p for its turn, unless another's has come since that was
// counted, which p may have to wait for.
func (at *site) grant(p *pipeline, granted int64) bool {
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.granted != granted {
		return false
	}
	at.granted++
	d := at.doubts[p]
	d.turn, d.sent = 0, d.names
	at.doubts[p] = d
	return true
}

// doubtful says whether others than p have names in doubt, of those that took their turn
// or of those that did not.
func (at *site) doubtful(p *pipeline, held bool) bool {
	at.mu.Lock()
	defer at.mu.Unlock()
	return at.othersDoubt(p, held)
}

func (at *site) othersDoubt(p *pipeline, held bool) bool {
	for of, d := range at.doubts {
		if d.held == held && len(at.concern(p, of)) > 0 {
			return true
		}
	}
	return false
}

// concern is what p has to heed of what another session has in doubt: all, unless both
// wait for their turn and that of p comes first.
func (at *site) concern(p, other *pipeline) []string {
	own, d := at.doubts[p], at.doubts[other]
	switch {
	case p == other:
		return nil
	case own.turn > 0 && own.turn < d.turn:
		return d.sent
	}
	return d.names
}

// doubted adds the names that are in doubt to some, but for those of p; of those that took
// no turn only with all. Of messages among these that may change any there would be
// nothing left.
func (at *site) doubted(p *pipeline, names []string, all bool) []string {
	at.mu.Lock()
	defer at.mu.Unlock()
	for of, d := range at.doubts {
		if more := at.concern(p, of); len(more) > 0 && (d.held || all && !slices.Contains(d.names, touchesAll)) {
			names = addNames(names, more)
		}
	}
	return names
}

// resolution is closed when it may be that fewer names are in doubt; nil: nobody but p
// has any that took its turn.
func (at *site) resolution(p *pipeline) <-chan struct{} {
	at.mu.Lock()
	defer at.mu.Unlock()
	if !at.othersDoubt(p, true) {
		return nil
	}
	if at.settled == nil {
		at.settled = make(chan struct{})
	}
	return at.settled
}

// join lists a relay among those whose commands changes wait for.
func (at *site) join(r *relay) {
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.relays == nil {
		at.relays = make(map[*relay]struct{})
	}
	at.relays[r] = struct{}{}
}

func (at *site) quit(r *relay) {
	at.mu.Lock()
	defer at.mu.Unlock()
	delete(at.relays, r)
}

func (at *site) besides(r *relay) []*relay {
	at.mu.Lock()
	defer at.mu.Unlock()
	all := make([]*relay, 0, len(at.relays))
	for one := range at.relays {
		if one != r {
			all = append(all, one)
		}
	}
	return all
}
