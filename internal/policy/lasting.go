package policy

import (
	"slices"
	"time"

	celast "cel.dev/cel-go/common/ast"

	"postern"
)

// DecideLasting is Decide. It also says whether this set allows, until a moment
// (zero: for ever), every command that differs from cmd in its text and its
// parameters alone, for a request that differs from r in its Now alone, and with
// the same decision. It says so only when nothing that was looked at can depend
// on what may differ.
func (s *Set) DecideLasting(r Request, cmd postern.Command) (d postern.Decision, until time.Time, lasting bool) {
	d = s.Decide(r, []postern.Command{cmd})
	if d.Verdict != postern.Allow || len(d.Shadow) > 0 {
		return d, until, false
	}
	b := s.resources[r.Resource]
	if b == nil || len(r.Grants) > 0 {
		return d, until, false
	}
	var room [maxActors]*postern.Identity
	who := chain(&r.Identity, room[:0])
	if slices.ContainsFunc(b.rules, func(rl *rule) bool {
		return rl.when != nil && rl.when.fleeting && binds(rl.spec.To, rl.spec.Except, who)
	}) {
		return d, until, false
	}
	until, lasting = b.unmoved(&r, who)
	return d, until, lasting
}

// unmoved says whether the accesses of these identities stay the ones that they
// are, and until when.
func (b *bound) unmoved(r *Request, who []*postern.Identity) (until time.Time, ok bool) {
	for _, id := range who {
		if id.Scope != nil {
			return time.Time{}, false
		}
		for _, a := range b.accesses {
			switch {
			case a.spec.Request != nil || !postern.MatchesAny(a.spec.To, *id): // without a grant it gives nothing
				continue
			case a.spec.Section != nil || a.spec.Within != nil && len(a.spec.Within.Hours) > 0:
				return time.Time{}, false
			case a.spec.MaxSession == 0:
				continue
			case r.Started.IsZero():
				return time.Time{}, false
			}
			if end := r.Started.Add(a.spec.MaxSession); end.After(r.Now) {
				until = earlier(until, end)
			}
		}
	}
	return until, true
}

// fleeting says whether an expression looks at the time, or at what a client
// wrote: the text or the parameters of its command.
func fleeting(e celast.Expr) bool {
	switch e.Kind() {
	case celast.LiteralKind:
		return false
	case celast.IdentKind:
		return e.AsIdent() == "now" || e.AsIdent() == "command" // as a whole
	case celast.SelectKind:
		operand, field := e.AsSelect().Operand(), e.AsSelect().FieldName()
		if operand.Kind() == celast.IdentKind && operand.AsIdent() == "command" {
			return field == "text" || field == "params"
		}
		return fleeting(operand)
	case celast.CallKind:
		call := e.AsCall()
		return call.IsMemberFunction() && fleeting(call.Target()) || slices.ContainsFunc(call.Args(), fleeting)
	case celast.ListKind:
		return slices.ContainsFunc(e.AsList().Elements(), fleeting)
	case celast.ComprehensionKind:
		f := e.AsComprehension()
		return slices.ContainsFunc([]celast.Expr{f.IterRange(), f.AccuInit(), f.LoopCondition(), f.LoopStep(), f.Result()}, fleeting)
	}
	return true // nobody writes these in a condition
}
