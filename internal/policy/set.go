// Package policy turns objects (YAML with CEL conditions) into an immutable
// [Set], and a Set into decisions. It is pure: it has no clock, no context and
// no I/O, so the same Set and the same [Request] always give the same answer.
package policy

import (
	"net/netip"
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
}

// Opening is the answer to whether a session may open, and on what terms.
type Opening struct {
	Allowed bool
	Access  string    // the access that allowed it
	Until   time.Time // when the session must end; zero: never
	Rule    string    // what refused it
	Reason  string    // for the person: why, and what to do next
	Visible bool      // the identity may know that the resource exists
}

// Set is an immutable set of objects, ready to decide.
type Set struct{}

// Version is a digest over everything in the set that can change a decision.
func (s *Set) Version() string { return "" }

// Resource finds a resource by name.
func (s *Set) Resource(name string) (postern.Resource, bool) { return postern.Resource{}, false }

// Resources lists every resource, by name.
func (s *Set) Resources() []postern.Resource { return nil }

// Open decides whether the identity may open the resource now. The default is no.
func (s *Set) Open(r Request) Opening { return Opening{} }

// Decide decides over the commands of one message: access first (default
// deny), then rules, where deny beats review beats allow. The worst verdict
// over all commands counts for all of them.
func (s *Set) Decide(r Request, cmds []postern.Command) postern.Decision { return postern.Decision{} }
