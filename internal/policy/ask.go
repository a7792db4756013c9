package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"postern"
)

// Asking is a request for access that somebody doesn't have now.
type Asking struct {
	Identity   postern.Identity
	Resource   string
	Access     string        // "": whichever can be had for what is asked
	Verbs      []string      // empty: all that the access allows
	For        time.Duration // 0: as long as the access can be had, or an hour
	Reason     string
	Ticket     string
	BreakGlass bool
	Source     netip.Addr
	Now        time.Time
}

// Terms are what a request takes.
type Terms struct {
	Access    string
	Digest    string // of the access, as a grant has to name it
	For       time.Duration
	Max       time.Duration
	Timeout   time.Duration
	Approvers []postern.Principal
	Approvals int
	Reviewers []postern.Principal
}

// AskError is why something can't be requested, in words for whoever asks.
type AskError struct {
	Reason string
	// Hidden: whoever asks may not know that the resource exists.
	Hidden bool
}

// Error implements error.
func (e *AskError) Error() string { return e.Reason }

// Ask says on what terms something can be requested, or returns an [*AskError].
func (s *Set) Ask(a Asking) (Terms, error) {
	var room [maxActors]*postern.Identity
	who := chain(&a.Identity, room[:0])
	b := s.resources[a.Resource]
	if b == nil || len(who) == 0 || !b.visible(who) {
		return Terms{}, &AskError{Hidden: true, Reason: "there is no resource of that name that you can reach or ask for; see `postern ls`."}
	}
	var fit []*access
	var why string
	for _, candidate := range b.accesses {
		if a.Access != "" && candidate.object.Name != a.Access || candidate.spec.Request == nil ||
			candidate.spec.Request.BreakGlass != a.BreakGlass || !candidate.forAll(b, who) {
			continue
		}
		if reason := s.unfit(candidate, b, &a); reason != "" {
			why = strconv.Quote(candidate.object.Name) + " " + reason
			continue
		}
		fit = append(fit, candidate)
	}
	switch {
	case len(fit) == 1:
		return fit[0].askedFor(&a), nil
	case len(fit) > 1:
		return Terms{}, &AskError{Reason: "it can be requested in several ways; say which with --access: " + strings.Join(names(fit), ", ") + "."}
	case why != "":
		return Terms{}, &AskError{Reason: "the access " + why}
	case a.Access != "":
		return Terms{}, &AskError{Reason: "there is no access " + strconv.Quote(a.Access) + " on it that you could ask for this way; see `postern ls`."}
	case a.BreakGlass:
		return Terms{}, &AskError{Reason: "there is no emergency access to it for you; see `postern ls` for what can be requested."}
	}
	return Terms{}, &AskError{Reason: "there is nothing on it that you could ask for; see `postern ls`."}
}

// Terms returns the digest of an access as it is in force, with which a grant
// or a request for it has to agree; "" when it can't be requested any more.
func (s *Set) Terms(resource, name string) string {
	b := s.resources[resource]
	if b == nil {
		return ""
	}
	for _, a := range b.accesses {
		if a.object.Name == name {
			return a.terms
		}
	}
	return ""
}

// Narrows says whether an access on request allows every one of some verbs, so
// that a grant can be narrowed to them.
func (s *Set) Narrows(resource, name string, verbs []string) bool {
	b := s.resources[resource]
	if b == nil {
		return false
	}
	for _, a := range b.accesses {
		if a.object.Name == name && a.spec.Request != nil {
			_, ok := narrowed(a.clauses, verbs)
			return ok
		}
	}
	return false
}

// visible says whether every member of a chain has an access to the resource,
// by right or on request.
func (b *bound) visible(who []*postern.Identity) bool {
	for _, id := range who {
		if len(b.to(id)) == 0 {
			return false
		}
	}
	return true
}

// forAll says whether a grant of the access would help: it is for the identity,
// and everybody who acts for it has it, too, or a standing right.
func (a *access) forAll(b *bound, who []*postern.Identity) bool {
	for i, id := range who {
		if postern.MatchesAny(a.spec.To, *id) {
			continue
		}
		standing := slices.ContainsFunc(b.to(id), func(other *access) bool { return other.spec.Request == nil })
		if i == 0 || !standing {
			return false
		}
	}
	return true
}

// unfit says why an access can't be had for what is asked; "" when it can.
func (s *Set) unfit(a *access, b *bound, ask *Asking) string {
	terms := a.spec.Request
	if ask.For > terms.Max {
		return "can be had for at most " + duration(terms.Max) + "."
	}
	if len(ask.Verbs) > 0 {
		if _, ok := narrowed(a.clauses, ask.Verbs); !ok {
			return "doesn't allow all of " + strings.Join(ask.Verbs, ", ") + "; it allows " + orAnything(a.list()) + "."
		}
	}
	if a.asking == nil {
		return ""
	}
	view := *ask
	view.Access, view.For = a.object.Name, cmp.Or(ask.For, min(terms.Max, defaultGrant))
	vars := &askedVariables{
		asking: *s.types.value(askingType, &view), resource: *s.types.value(resourceType, &b.resource),
		identity: *s.types.value(identityType, &view.Identity),
		session:  *s.types.value(sessionType, &Request{Source: ask.Source, Now: ask.Now}), now: types.Timestamp{Time: ask.Now},
	}
	if holds, ok := a.asking.eval(vars); ok && holds {
		return ""
	}
	if terms.Message != "" {
		return "can't be had for this request: " + terms.Message
	}
	return "can't be had for this request: it asks for " + terms.When + "."
}

func orAnything(list string) string {
	if list == "" {
		return "anything"
	}
	return list
}

func (a *access) askedFor(ask *Asking) Terms {
	terms := a.spec.Request
	return Terms{
		Access: a.object.Name, Digest: a.terms, For: cmp.Or(ask.For, min(terms.Max, defaultGrant)), Max: terms.Max, Timeout: terms.Timeout,
		Approvers: slices.Clone(terms.Approvers), Approvals: terms.Approvals, Reviewers: slices.Clone(terms.Reviewers),
	}
}

// how says how an access is asked for.
func (a *access) how(resource string) string {
	if a != nil && a.spec.Request.BreakGlass {
		return "`postern request " + resource + " --break-glass`"
	}
	return "`postern request " + resource + "`"
}

// preferred is which of two accesses a refusal points to: not the one that is
// meant for emergencies.
func preferred(a, b *access) *access {
	if a == nil || a.spec.Request.BreakGlass && !b.spec.Request.BreakGlass {
		return b
	}
	return a
}

// granted are the ways in which an access is had by grant: each is the access
// narrowed to what was granted. A grant counts only for exactly the beings who
// asked, and for the access as it was when they did.
func (a *access) granted(r *Request, by []postern.Being) []*access {
	if a.spec.Request == nil {
		return nil
	}
	var all []*access
	for i := range r.Grants {
		g := &r.Grants[i]
		if g.Access != a.object.Name || g.Terms != a.terms || !g.Holds(r.Now, r.Resource, by) {
			continue
		}
		clauses, ok := a.clauses, true
		if len(g.Verbs) > 0 {
			clauses, ok = narrowed(a.clauses, g.Verbs)
		}
		if ok {
			all = append(all, &access{object: a.object, spec: a.spec, clauses: clauses, terms: a.terms, grant: g})
		}
	}
	return all
}

// beings are who asks, where a grant could count.
func beings(r *Request) []postern.Being {
	if len(r.Grants) == 0 {
		return nil
	}
	return r.Identity.Beings()
}

// narrowed are the clauses that allow no verb but these. It isn't ok when the
// clauses don't allow all of them.
func narrowed(clauses []clause, verbs []string) ([]clause, bool) {
	if len(clauses) == 0 {
		only, err := newClause(Clause{Verbs: verbs})
		return []clause{only}, err == nil && !only.anyVerb
	}
	var all []clause
	for _, cl := range clauses {
		var kept []string
		for _, verb := range verbs {
			if verb != "*" && cl.verb(verb) {
				kept = append(kept, verb)
			}
		}
		if len(kept) > 0 {
			all = append(all, clause{spec: Clause{Verbs: kept, Objects: cl.spec.Objects}, patterns: cl.patterns})
		}
	}
	for _, verb := range verbs {
		if !slices.ContainsFunc(all, func(cl clause) bool { return cl.verb(verb) }) {
			return nil, false
		}
	}
	return all, true
}

// CheckVerbs says what is wrong with verbs that somebody wrote.
func CheckVerbs(verbs []string) error {
	const most, longestVerb = 50, 64
	if len(verbs) > most {
		return fmt.Errorf("%d verbs are too many; name at most %d", len(verbs), most)
	}
	for _, verb := range verbs {
		if verb == "" || verb == "*" || len(verb) > longestVerb || strings.ContainsFunc(verb, func(r rune) bool { return r <= ' ' || r == 0x7f || r == ',' }) {
			return fmt.Errorf("%s is no verb; leave verbs out to ask for all that the access allows", shown(verb))
		}
	}
	return nil
}

// askedVariables are what the condition of a request sees.
type askedVariables struct {
	identity, resource, session, asking value
	now                                 types.Timestamp
}

// ResolveName implements [interpreter.Activation].
func (v *askedVariables) ResolveName(name string) (any, bool) {
	switch name {
	case "request":
		return &v.asking, true
	case "identity":
		return &v.identity, true
	case "resource":
		return &v.resource, true
	case "session":
		return &v.session, true
	case "now":
		return v.now, true
	}
	return nil, false
}

// Parent implements [interpreter.Activation].
func (v *askedVariables) Parent() interpreter.Activation { return nil }
