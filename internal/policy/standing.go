package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"postern"
)

// defaultDeny is named as the rule where nothing allows, and so nothing else
// can be named.
const defaultDeny = "default-deny"

// holds says whether the access, if it is a standing right, holds now, and when it ends (zero: never). why words a refusal for the person.
func (a *access) holds(r *Request) (until time.Time, why string, ok bool) {
	if !a.spec.Within.from(r.Source) {
		return time.Time{}, "isn't given from this network address; connect from one of its networks", false
	}
	until, ok = a.spec.Within.at(r.Now)
	if !ok {
		return time.Time{}, "holds only " + a.spec.Within.Hours.String(), false
	}
	if a.spec.MaxSession > 0 {
		started := r.Started
		if started.IsZero() {
			started = r.Now
		}
		end := started.Add(a.spec.MaxSession)
		if !end.After(r.Now) {
			return time.Time{}, "lets a session last no longer than " + duration(a.spec.MaxSession) + "; connect again", false
		}
		until = earlier(until, end)
	}
	return until, "", true
}

// earlier is the earlier of two ends, of which a zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later is the later of two ends, of which a zero one is never.
func later(a, b time.Time) time.Time {
	if a.IsZero() || b.IsZero() {
		return time.Time{}
	}
	if b.After(a) {
		return b
	}
	return a
}

// duration is a duration as policies spell it: "8h", "1h30m", "2d".
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// right is what one member of a chain of identities may do on a resource now.
type right struct {
	accesses []*access // that hold
	until    time.Time // when the last of them ends
	last     *access   // the one that does
}

// add adds an access that holds until a moment.
func (own *right) add(a *access, until time.Time) {
	if own.last == nil || !later(own.until, until).Equal(own.until) {
		own.last, own.until = a, until
	}
	own.accesses = append(own.accesses, a)
}

// refusal is why a member of a chain has no right.
type refusal struct {
	visible   bool    // every member has an access, if not now
	closed    *access // that doesn't hold now
	why       string  // closed doesn't hold
	requested *access // that has to be requested
	scope     string  // the delegation that it is outside of
	outside   string  // why
}

// rights are those of every member of the chain; their intersection counts.
// They are nil when one of the members has none.
func (b *bound) rights(r *Request, who []*postern.Identity) ([]right, refusal) {
	no := refusal{visible: len(who) > 0}
	rights := make([]right, 0, len(who))
	by := beings(r)
	for _, id := range who {
		own, seen := right{}, false
		for _, a := range b.accesses {
			if !postern.MatchesAny(a.spec.To, *id) {
				continue
			}
			seen = true
			granted := a.granted(r, by)
			if a.spec.Request != nil && len(granted) == 0 {
				no.requested = preferred(no.requested, a)
				continue
			}
			until, why, ok := a.holds(r)
			if !ok {
				if no.closed == nil {
					no.closed, no.why = a, why
				}
				continue
			}
			if a.spec.Request == nil {
				own.add(a, until)
			}
			for _, g := range granted {
				own.add(g, earlier(until, g.grant.Until))
			}
		}
		no.visible = no.visible && seen
		if own.last != nil {
			rights = append(rights, own)
		}
	}
	if len(rights) < len(who) || len(who) == 0 {
		return nil, no
	}
	for _, id := range who {
		if id.Scope == nil {
			continue
		}
		narrow, why := scoped(id.Scope, r)
		if why != "" {
			return nil, refusal{visible: true, scope: id.Scope.Delegation, outside: why}
		}
		rights = append(rights, narrow)
	}
	return rights, refusal{visible: true}
}

// scoped is what a delegation leaves, as one more right that all must have.
func scoped(scope *postern.Scope, r *Request) (own right, why string) {
	switch {
	case !slices.Contains(scope.Resources, r.Resource):
		return right{}, "isn't for this resource, but for " + strings.Join(scope.Resources, ", ")
	case !r.Now.Before(scope.Until):
		return right{}, "has ended"
	}
	a := &access{object: &Object{Kind: kindDelegation, Name: scope.Delegation}, spec: &Access{}}
	if len(scope.Verbs) > 0 {
		spec := Clause{Verbs: scope.Verbs}
		a.clauses = []clause{{spec: spec, anyVerb: slices.Contains(scope.Verbs, "*")}}
	}
	return right{accesses: []*access{a}, until: scope.Until, last: a}, ""
}

// kindDelegation is what explanations call a delegation. There is no object of
// this kind.
const kindDelegation = "Delegation"

// words are the rule and the reason of a refusal. Whoever has no access at all
// isn't told about the accesses of others.
func (no refusal) words(resource string) (rule, reason string) {
	ask := no.requested.how(resource)
	switch {
	case no.outside != "":
		return no.scope, "the delegation " + no.outside + ". Whoever granted it can grant another: `postern delegate`."
	case !no.visible || no.closed == nil && no.requested == nil:
		return defaultDeny, "no access allows it. See `postern ls` for what you can reach and what you can request."
	case no.closed == nil:
		return no.requested.object.Name, "it has to be requested first: " + ask + "."
	case no.requested != nil:
		return no.closed.object.Name, "it " + no.why + ". It can be requested: " + ask + "."
	}
	return no.closed.object.Name, "it " + no.why + "."
}

// names are those of the accesses.
func names(accesses []*access) []string {
	var all []string
	for _, a := range accesses {
		all = append(all, a.object.Name)
	}
	slices.Sort(all)
	return all
}
