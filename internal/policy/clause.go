package policy

import (
	"fmt"
	"slices"
	"strings"

	"postern"
)

// clause is a [Clause], ready to decide.
type clause struct {
	spec     Clause
	anyVerb  bool
	patterns []pattern // empty: any object
}

func newClause(spec Clause) (clause, error) {
	c := clause{spec: spec, anyVerb: slices.Contains(spec.Verbs, "*")}
	for _, text := range spec.Objects {
		p, err := parsePattern(text)
		if err != nil {
			return clause{}, fmt.Errorf("%s: %w", shown(text), err)
		}
		c.patterns = append(c.patterns, p)
	}
	return c, nil
}

func (c *clause) verb(verb string) bool {
	return c.anyVerb || slices.ContainsFunc(c.spec.Verbs, func(v string) bool { return sameWord(v, verb) })
}

func (c *clause) object(o postern.Object) bool {
	return len(c.patterns) == 0 || slices.ContainsFunc(c.patterns, func(p pattern) bool { return p.matches(o) })
}

// readVerb says whether a verb only looks. What it is done to is read, not written.
func readVerb(verb string) bool {
	switch verb {
	case "select", "show", "explain", "describe", "values", "table", "declare", "fetch", "move", "read", "get", "list":
		return true
	}
	return false
}

// covers says whether the access's clauses together allow the command. With no
// clauses, everything is allowed. What isn't allowed is worded in refused: one
// verb or object, for the person. whole is the text of the message that the
// command is in.
func (a *access) covers(c *postern.Command, whole string) (refused string, ok bool) {
	if refused, ok := a.inSection(c, whole); !ok {
		return refused, false
	}
	if len(a.clauses) == 0 || harmless(c) {
		return "", true
	}
	for _, verb := range append([]string{c.Verb}, c.Verbs...) {
		if !slices.ContainsFunc(a.clauses, func(cl clause) bool { return cl.verb(verb) }) {
			return shown(verb), false
		}
	}
	effects := a.effects(c)
	if c.Access >= postern.Write && len(effects) == 0 {
		// It changes something, and no verb says what: a function called by a
		// SELECT. Only who may do anything to anything may do that.
		if !slices.ContainsFunc(a.clauses, func(cl clause) bool { return cl.anyVerb && len(cl.patterns) == 0 }) {
			return "a change that " + shown(c.Verb) + " doesn't name", false
		}
		return "", true
	}
	if len(c.Objects) == 0 && c.Access >= postern.Write {
		for _, verb := range effects {
			if !a.allows(verb, nil) {
				return shown(verb) + " on what it doesn't name", false
			}
		}
	}
	return a.coversObjects(c, effects)
}

// harmless says whether a command steers the session alone, and so needs no clause.
func harmless(c *postern.Command) bool {
	return c.Access == postern.Control &&
		!slices.ContainsFunc(c.Objects, func(o postern.Object) bool { return o.Write || tableLike(o.Kind) })
}

// effects are the command's verbs that change something.
func (a *access) effects(c *postern.Command) []string {
	var effects []string
	for _, verb := range c.Verbs {
		if !readVerb(verb) {
			effects = append(effects, verb)
		}
	}
	return effects
}

// coversObjects: what a command writes must be allowed for each of its verbs
// that change something; what it reads, for one of its verbs that read or,
// when it has none, for one of its verbs or select.
func (a *access) coversObjects(c *postern.Command, effects []string) (refused string, ok bool) {
	named := slices.ContainsFunc(c.Objects, func(o postern.Object) bool { return o.Write })
	for i := range c.Objects {
		o := &c.Objects[i]
		if o.Kind == kindBase && !o.Write {
			continue // whoever may use the view or the function reads through it
		}
		// When nothing is marked as written, everything may be.
		if o.Write || c.Access >= postern.Write && !named {
			verbs := effects
			if len(verbs) == 0 {
				verbs = c.Verbs
			}
			for _, verb := range verbs {
				if !a.allows(verb, o) {
					return shown(verb) + " on " + o.Kind + " " + shown(o.Name), false
				}
			}
			continue
		}
		if !a.allowsRead(c, o) {
			return shown(c.Verb) + " on " + o.Kind + " " + shown(o.Name), false
		}
	}
	return "", true
}

func (a *access) allowsRead(c *postern.Command, o *postern.Object) bool {
	reads := slices.ContainsFunc(c.Verbs, readVerb)
	for _, verb := range c.Verbs {
		if (!reads || readVerb(verb)) && a.allows(verb, o) {
			return true
		}
	}
	return !reads && a.allows("select", o)
}

// allows says whether a clause allows the verb on the object; on nil, whatever
// it may be.
func (a *access) allows(verb string, o *postern.Object) bool {
	return slices.ContainsFunc(a.clauses, func(cl clause) bool {
		if !cl.verb(verb) {
			return false
		}
		if o == nil {
			return len(cl.patterns) == 0
		}
		return cl.object(*o)
	})
}

// list words what the access allows.
func (a *access) list() string {
	var parts []string
	for _, cl := range a.clauses {
		what := strings.Join(cl.spec.Verbs, ", ")
		if cl.anyVerb {
			what = "anything"
		}
		if len(cl.spec.Objects) > 0 {
			what += " on " + strings.Join(cl.spec.Objects, ", ")
		}
		parts = append(parts, what)
	}
	if len(parts) == 0 {
		parts = []string{"what its section " + a.spec.SectionOf + " is for"}
	}
	text := strings.Join(parts, "; ")
	const most = 300
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}
