package policy

import (
	"postern"
)

// maxActors bounds how many identities may act for one another in a row.
const maxActors = 8

// chain is the identity, whoever acts for it, whoever acts for them, and so on.
// It returns nil for a chain that is too long: such an identity may do nothing.
func chain(id *postern.Identity, into []*postern.Identity) []*postern.Identity {
	for ; id != nil; id = id.Actor {
		if len(into) == maxActors {
			return nil
		}
		into = append(into, id)
	}
	return into
}

// binds says whether something that restricts the identities in to, but not
// those in except, restricts this chain: one restricted member is enough, and
// only a chain that is exempt as a whole is exempt.
func binds(to, except []postern.Principal, who []*postern.Identity) bool {
	bound := len(to) == 0
	exempt := len(except) > 0
	for _, id := range who {
		bound = bound || postern.MatchesAny(to, *id)
		exempt = exempt && postern.MatchesAny(except, *id)
	}
	return bound && !exempt
}
