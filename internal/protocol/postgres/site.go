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
	turn int64 // whose is first, of those that are held
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
	if held && !d.held {
		at.turns++
		d.held, d.turn = true, at.turns
	}
	d.names = names
	at.doubts[p] = d
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
		if d.held == held && at.concerns(p, of) {
			return true
		}
	}
	return false
}

// concerns says whether p has to heed what another session has in doubt: it needn't if it
// is its turn, and the other one's comes later.
func (at *site) concerns(p, other *pipeline) bool {
	own, d := at.doubts[p], at.doubts[other]
	return p != other && !(own.held && d.held && own.turn < d.turn)
}

// doubted adds the names that are in doubt to some, but for those of p; of those that took
// no turn only with all. Of messages among these that may change any there would be
// nothing left.
func (at *site) doubted(p *pipeline, names []string, all bool) []string {
	at.mu.Lock()
	defer at.mu.Unlock()
	for of, d := range at.doubts {
		if at.concerns(p, of) && (d.held || all && !slices.Contains(d.names, touchesAll)) {
			names = addNames(names, d.names)
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
