package policy

import (
	"slices"

	"postern"
)

// Explanation is a decision with everything that was considered for it.
type Explanation struct {
	Decision postern.Decision `json:"decision"`
	Opening  Opening          `json:"opening"`
	Steps    []Step           `json:"steps"`
}

// Step is one access, rule or mask that was considered.
type Step struct {
	Kind    string `json:"kind"` // [KindAccess], [KindRule] or [KindMask]
	Name    string `json:"name"`
	Source  string `json:"source"`  // file:line
	Command int    `json:"command"` // the command's index; -1: for all of them
	Applies bool   `json:"applies"` // it counted towards the decision
	Outcome string `json:"outcome"` // for the person: why it did or didn't
}

// Explain decides as [Set.Decide] does, and says how it came to that. Unlike
// Decide it looks at every rule, also after one has denied.
func (s *Set) Explain(r Request, cmds []postern.Command) Explanation {
	t := &trace{}
	d := s.decide(&r, cmds, t)
	d.Policy = s.version
	return Explanation{Decision: d, Opening: s.Open(r), Steps: t.steps}
}

// trace gathers the steps of a decision. The nil trace gathers none.
type trace struct{ steps []Step }

func (t *trace) add(o *Object, command int, applies bool, text string) {
	t.steps = append(t.steps, Step{Kind: o.Kind, Name: o.Name, Source: o.place(), Command: command, Applies: applies, Outcome: text})
}

// accesses tells which accesses there are, and which of them hold.
func (t *trace) accesses(b *bound, r *Request, who []*postern.Identity) {
	if t == nil {
		return
	}
	by := beings(r)
	for _, a := range b.accesses {
		var whom []string
		for _, id := range who {
			if postern.MatchesAny(a.spec.To, *id) {
				whom = append(whom, id.Name)
			}
		}
		_, why, ok := a.holds(r)
		switch {
		case len(whom) == 0:
			t.add(a.object, -1, false, "it isn't for this identity")
		case a.spec.Request != nil && len(a.granted(r, by)) == 0:
			t.add(a.object, -1, false, "it has to be requested first")
		case !ok:
			t.add(a.object, -1, false, "it "+why)
		case len(whom) < len(who):
			t.add(a.object, -1, true, "it opens the resource for "+whom[0]+", and not for everyone who acts")
		default:
			t.add(a.object, -1, true, "it opens the resource")
		}
	}
}

func (t *trace) skip(o *Object, why string) {
	if t != nil {
		t.add(o, -1, false, why)
	}
}

func (t *trace) mask(m *mask) {
	if t != nil {
		t.add(m.object, -1, true, "it binds: "+string(m.mask.With))
	}
}

func (t *trace) covers(command int, a *access, missing string, ok bool) {
	switch {
	case t == nil:
	case slices.ContainsFunc(t.steps, func(s Step) bool { return s.Command == command && s.Name == a.object.Name && s.Kind == KindAccess }):
	case ok:
		t.add(a.object, command, true, "it allows the command")
	default:
		t.add(a.object, command, false, missing+" isn't in it; allowed is: "+a.list())
	}
}

func (t *trace) rule(command int, rl *rule, matched, ok bool) {
	switch {
	case t == nil:
	case !ok:
		t.add(rl.object, command, true, "it could not be evaluated, and so denies")
	case matched:
		t.add(rl.object, command, true, "it matches: "+rl.spec.Then.String())
	default:
		t.add(rl.object, command, false, "it doesn't match")
	}
}

// shadow tells what a rule in shadow mode would have done; it never applies.
func (t *trace) shadow(command int, rl *rule, verdict postern.Verdict, matched bool) {
	switch {
	case t == nil:
	case matched:
		t.add(rl.object, command, false, "it is in shadow mode, and would have matched: "+verdict.String())
	default:
		t.add(rl.object, command, false, "it doesn't match, and is in shadow mode")
	}
}
