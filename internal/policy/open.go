package policy

import (
	"slices"
	"time"

	"postern"
)

// Open decides whether the identity may open the resource now. The default is
// no. Of several accesses that hold, the one that lasts longest counts; of an
// identity and its actor, the one whose right ends first.
func (s *Set) Open(r Request) Opening {
	b := s.resources[r.Resource]
	if b == nil {
		rule, reason := refusal{}.words(r.Resource)
		return Opening{Rule: rule, Reason: reason}
	}
	var room [maxActors]*postern.Identity
	rights, no := b.rights(&r, chain(&r.Identity, room[:0]))
	if rights == nil {
		rule, reason := no.words(r.Resource)
		o := Opening{Rule: rule, Reason: reason, Visible: no.visible}
		if no.visible && no.requested != nil {
			o.Request = no.requested.object.Name
		}
		return o
	}
	o := Opening{Allowed: true, Visible: true, Access: rights[0].last.object.Name}
	if g := rights[0].last.grant; g != nil {
		o.Grant = g.Request
	}
	for _, own := range rights {
		o.Until = earlier(o.Until, own.until)
	}
	return o
}

// Reachable is one line of `postern ls`.
type Reachable struct {
	Resource    postern.Resource `json:"resource"`
	Access      []string         `json:"access"`           // names of the accesses, sorted
	Open        bool             `json:"open"`             // by standing right, now; networks are not looked at
	Requestable bool             `json:"requestable"`      // can be asked for, just in time
	Verbs       []string         `json:"verbs,omitempty"`  // what may be done there; empty: anything that no rule denies
	Until       time.Time        `json:"until,omitzero"`   // when a session opened now would end; zero: never
	Closed      string           `json:"closed,omitempty"` // why it isn't open now
}

// Reach lists what an identity can open or ask for, by name.
func (s *Set) Reach(identity postern.Identity, now time.Time, grants ...postern.Grant) []Reachable {
	var all []Reachable
	var room [maxActors]*postern.Identity
	who := chain(&identity, room[:0])
	for _, name := range s.names {
		b := s.resources[name]
		anywhere := &bound{resource: b.resource}
		for _, a := range b.accesses {
			anywhere.accesses = append(anywhere.accesses, a.anywhere())
		}
		rights, no := anywhere.rights(&Request{Identity: identity, Resource: name, Now: now, Grants: grants}, who)
		if rights == nil && !no.visible {
			continue
		}
		reach := Reachable{Resource: b.resource, Open: rights != nil, Requestable: true}
		for _, own := range rights {
			reach.Until = earlier(reach.Until, own.until)
		}
		if rights == nil {
			_, reach.Closed = no.words(name)
		}
		for i, id := range who {
			held := anywhere.to(id)
			reach.Requestable = reach.Requestable && slices.ContainsFunc(held, func(a *access) bool { return a.spec.Request != nil })
			if i == 0 {
				reach.Access, reach.Verbs = names(held), verbs(held)
			}
		}
		all = append(all, reach)
	}
	return all
}

// anywhere is the access without its networks.
func (a *access) anywhere() *access {
	if a.spec.Within == nil || len(a.spec.Within.Networks) == 0 {
		return a
	}
	spec := *a.spec
	spec.Within = &Within{Hours: a.spec.Within.Hours}
	return &access{object: a.object, spec: &spec, clauses: a.clauses, asking: a.asking, terms: a.terms}
}

// to are the accesses of one identity, whether or not they hold now.
func (b *bound) to(id *postern.Identity) []*access {
	var held []*access
	for _, a := range b.accesses {
		if postern.MatchesAny(a.spec.To, *id) {
			held = append(held, a)
		}
	}
	return held
}

// verbs are those that the accesses allow; nil for any.
func verbs(accesses []*access) []string {
	var all []string
	for _, a := range accesses {
		if len(a.clauses) == 0 {
			return nil
		}
		for _, cl := range a.clauses {
			all = append(all, cl.spec.Verbs...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
