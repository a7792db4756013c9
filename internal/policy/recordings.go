package policy

import (
	"slices"
	"strings"
	"time"

	"postern"
)

// Recordings says who may see recordings of sessions, who may watch sessions
// that are open, and for how long recordings are kept.
type Recordings struct {
	On    Selector
	Of    []postern.Principal // sessions of these identities; empty: everybody's
	View  []postern.Principal // who may see them; empty: it doesn't say
	Watch []postern.Principal // who may see them while the session is open; empty: it lets nobody
	Keep  time.Duration       // afterwards they are deleted; 0: it doesn't say
	Hold  string              // why none of them may be deleted; "": it doesn't say
}

func (m *mapping) recordings() *Recordings {
	r := &Recordings{
		On: m.selector(false), Of: m.principals("of"), View: m.principals("view"), Watch: m.principals("watch"),
		Keep: m.duration("keep", 0), Hold: m.text("hold"),
	}
	for i, p := range r.Of {
		if strings.HasPrefix(string(p), "group:") {
			// A recording says whose it is, and not which groups that identity had.
			m.fail("of", "[%d] %s is a group; name its users, services or workloads", i, shown(string(p)))
		}
	}
	if len(r.View) == 0 && len(r.Watch) == 0 && r.Keep == 0 && r.Hold == "" {
		m.fail("keep", "is missing, and so are view, watch and hold: the object says nothing")
	}
	return r
}

func renderRecordings(t tree, r *Recordings) {
	t.tree("on", selectorTree(r.On))
	t.principals("of", r.Of)
	t.principals("view", r.View)
	t.principals("watch", r.Watch)
	if r.Keep > 0 {
		t.text("keep", duration(r.Keep))
	}
	t.text("hold", r.Hold)
}

// Keeping is what the objects say, together, of one session's recording.
type Keeping struct {
	// Viewers are the objects that say who may see it; none: nobody but those who
	// see every session.
	Viewers []string
	View    bool          // the viewer is one whom an object names
	Watch   bool          // an object names the viewer among those who may watch
	Keep    time.Duration // from its session's end on, the longest of all; 0: for ever
	Hold    string        // the object that forbids to delete it, and why; "": none
}

// Keeping says who may see the recording of a session that an identity had with
// a resource, and how long it is kept. A resource that is gone is still subject
// to what its name is picked by; what went by its labels or type then limits who may
// see it and holds it, but neither lets anybody see it nor has it deleted.
func (s *Set) Keeping(resource string, of postern.Identity, viewer postern.Identity) Keeping {
	var k Keeping
	var room [maxActors]*postern.Identity
	who := chain(&viewer, room[:0])
	b := s.resources[resource]
	for _, o := range s.recordings {
		r := o.Recordings
		sure := true
		if b != nil {
			if !r.On.picks(&b.resource) {
				continue
			}
		} else {
			if len(r.On.Names) > 0 && !globAny(r.On.Names, resource) {
				continue
			}
			sure = len(r.On.Labels) == 0 && len(r.On.Types) == 0
		}
		if len(r.Of) > 0 && !postern.MatchesAny(r.Of, of) {
			continue
		}
		if len(r.View) > 0 {
			k.Viewers = append(k.Viewers, o.Name)
			k.View = k.View || sure && allMatch(r.View, who)
		}
		k.Watch = k.Watch || sure && allMatch(r.Watch, who)
		if sure {
			k.Keep = max(k.Keep, r.Keep)
		}
		if r.Hold != "" && k.Hold == "" {
			k.Hold = o.Name + ": " + r.Hold
		}
	}
	return k
}

// allMatch says whether principals name each of a chain of identities.
func allMatch(principals []postern.Principal, who []*postern.Identity) bool {
	return len(who) > 0 && !slices.ContainsFunc(who, func(id *postern.Identity) bool { return !postern.MatchesAny(principals, *id) })
}

// ShortestKeep is the shortest time for which anything is kept; 0: nothing is
// ever deleted.
func (s *Set) ShortestKeep() time.Duration {
	var shortest time.Duration
	for _, o := range s.recordings {
		if keep := o.Recordings.Keep; keep > 0 && (shortest == 0 || keep < shortest) {
			shortest = keep
		}
	}
	return shortest
}

// EveryMask are the masks on a resource, whomever they bind: what they leave may be
// seen by anybody. ok is false when there is no such resource.
func (s *Set) EveryMask(resource string) (masks []postern.Mask, ok bool) {
	b := s.resources[resource]
	if b == nil {
		return nil, false
	}
	for _, m := range b.masks {
		masks = append(masks, m.mask)
	}
	return masks, true
}

// MasksFor are the masks that bind an identity on a resource. ok is false when
// there is no such resource: what must be masked is then not known.
func (s *Set) MasksFor(identity postern.Identity, resource string) (masks []postern.Mask, ok bool) {
	b := s.resources[resource]
	if b == nil {
		return nil, false
	}
	var room [maxActors]*postern.Identity
	who := chain(&identity, room[:0])
	if len(who) == 0 {
		return nil, false
	}
	for _, m := range b.masks {
		if binds(m.spec.To, m.spec.Except, who) {
			masks = append(masks, m.mask)
		}
	}
	return masks, true
}
