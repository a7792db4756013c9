// Package policy turns objects (YAML with CEL conditions) into an immutable
// [Set], and a Set into decisions. It is pure: it has no clock, no context and
// no I/O, so the same Set and the same [Request] always give the same answer.
//
// docs/policy.md is its specification.
package policy

import (
	"net/netip"
	"slices"
	"time"

	"postern"
)

// Request is everything about the asking, but for the commands, that a
// decision may look at.
type Request struct {
	Identity postern.Identity
	Resource string
	Source   netip.Addr
	Client   string
	Started  time.Time // of the session; zero before it is open
	Now      time.Time
	Grants   []postern.Grant // that somebody has; those that don't fit give nothing
}

// Opening is the answer to whether a session may open, and on what terms.
type Opening struct {
	Allowed bool      `json:"allowed"`
	Access  string    `json:"access,omitempty"`  // the access that allowed it
	Until   time.Time `json:"until,omitzero"`    // when the session must end; zero: never
	Rule    string    `json:"rule,omitempty"`    // what refused it
	Reason  string    `json:"reason,omitempty"`  // for the person: why, and what to do next
	Visible bool      `json:"visible"`           // the identity may know that the resource exists
	Request string    `json:"request,omitempty"` // refused: the access that could be requested
	Grant   string    `json:"grant,omitempty"`   // allowed by a grant: its request
}

// Options say what the gateway around the set can do.
type Options struct {
	Protocols []ProtocolType
	Detectors []string // what a mask's `detect` may name; empty: none
}

// ProtocolType is a type that a resource may have, with the facts that its
// protocol states about commands.
type ProtocolType struct {
	Name  string
	Attrs []postern.AttrType
	// Section is a section of accesses that the protocol declares; nil: it has none.
	Section *SectionType
	// Check says what is wrong with a resource's options; nil: nothing ever is.
	Check func(postern.Resource) error
}

// check asks a resource's protocol whether it can do with the options.
func (o *Options) check(r postern.Resource) error {
	for _, p := range o.Protocols {
		if p.Name == r.Type && p.Check != nil {
			return p.Check(r)
		}
	}
	return nil
}

// Set is an immutable set of objects, ready to decide. The zero Set holds
// nothing and denies everything. Its methods may be called from several
// goroutines.
type Set struct {
	version    string
	objects    []Object // by kind and name
	resources  map[string]*bound
	names      []string // of the resources, sorted
	accounts   []ServiceAccount
	recordings []*Object
	warnings   []warning
	types      *provider
	claims     claimsRead
}

// bound is a resource with everything that applies to it, each sorted by name.
type bound struct {
	resource postern.Resource
	accesses []*access
	rules    []*rule
	masks    []*mask
	labelled []labelled
}

// Version is a digest over everything in the set that can change a decision.
func (s *Set) Version() string { return s.version }

// Resource finds a resource by name.
func (s *Set) Resource(name string) (postern.Resource, bool) {
	b, ok := s.resources[name]
	if !ok {
		return postern.Resource{}, false
	}
	return b.resource, true
}

// Resources lists every resource, by name.
func (s *Set) Resources() []postern.Resource {
	all := make([]postern.Resource, 0, len(s.names))
	for _, name := range s.names {
		all = append(all, s.resources[name].resource)
	}
	return all
}

// Objects lists every object, by kind and name.
func (s *Set) Objects() []Object { return slices.Clone(s.objects) }

// Accounts lists the declared service accounts, by name.
func (s *Set) Accounts() []ServiceAccount { return slices.Clone(s.accounts) }

// Warnings are things in the set that are valid and yet probably a mistake,
// such as a rule that names a resource which doesn't exist. Each starts with
// the file and line, and names the object.
func (s *Set) Warnings() []string {
	var all []string
	for _, w := range s.warnings {
		all = append(all, w.text)
	}
	return all
}

// warning is one of a set's warnings.
type warning struct{ about, text string }

// ChangesFrom lists how the set differs from the objects of before, and what it
// warns of in those that it creates or changes.
func (s *Set) ChangesFrom(before []Object) []Change {
	changes := Diff(before, s.objects)
	for i := range changes {
		for _, w := range s.warnings {
			if w.about == changes[i].Kind+" "+changes[i].Name {
				changes[i].Warnings = append(changes[i].Warnings, w.text)
			}
		}
	}
	return changes
}
