package policy

import (
	"time"

	"postern"
)

// Open decides whether the identity may open the resource now. The default is no.
func (s *Set) Open(r Request) Opening { return Opening{} }

// Reachable is one line of `postern ls`.
type Reachable struct {
	Resource    postern.Resource
	Access      []string  // names of the accesses, by name
	Open        bool      // by standing right, now; networks are not looked at
	Requestable bool      // can be asked for, just in time
	Verbs       []string  // what may be done there; empty: anything that no rule denies
	Until       time.Time // when a session opened now would end; zero: never
}

// Reach lists what an identity can open or ask for, by name.
func (s *Set) Reach(identity postern.Identity, now time.Time) []Reachable { return nil }
