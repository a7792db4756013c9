package policy

import (
	"slices"
	"strconv"
	"strings"

	"postern"
)

// Decide decides over the commands of one message: access first (default
// deny), then rules, where deny beats review beats allow. The worst verdict
// over all commands counts for all of them.
func (s *Set) Decide(r Request, cmds []postern.Command) postern.Decision {
	d := s.decide(&r, cmds, nil)
	d.Policy = s.version
	return d
}

// deciding is the state of one decision.
type deciding struct {
	set    *Set
	bound  *bound
	r      *Request
	rights []right
	rules  []*rule // that bind this identity
	masks  []*mask
	whole  string     // the message's text
	vars   *variables // nil until a condition needs them
	trace  *trace     // nil unless somebody asked for an explanation
}

func (s *Set) decide(r *Request, cmds []postern.Command, t *trace) postern.Decision {
	b := s.resources[r.Resource]
	if b == nil {
		rule, reason := refusal{}.words(r.Resource)
		return postern.Decision{Rule: rule, Reason: reason}
	}
	var room [maxActors]*postern.Identity
	who := chain(&r.Identity, room[:0])
	t.accesses(b, r, who)
	rights, no := b.rights(r, who)
	if rights == nil {
		rule, reason := no.words(r.Resource)
		d := postern.Decision{Rule: rule, Reason: reason}
		if no.visible && no.requested != nil {
			d.Request = no.requested.object.Name
		}
		return d
	}
	if len(cmds) == 0 {
		return postern.Decision{Rule: defaultDeny, Reason: "there is no command in this message."}
	}
	c := deciding{set: s, bound: b, r: r, rights: rights, trace: t, whole: whole(cmds)}
	c.bind(who)
	out := outcome{verdict: postern.Allow}
	for i := range cmds {
		out.worse(c.command(i, &cmds[i]))
		if out.verdict == postern.Deny && t == nil {
			break
		}
	}
	d := out.decision()
	for _, m := range c.masks {
		d.Masks = append(d.Masks, m.mask)
	}
	return d
}

// whole is the text of a message: its commands' texts, joined.
func whole(cmds []postern.Command) string {
	if len(cmds) == 1 {
		return cmds[0].Text
	}
	var text strings.Builder
	for i := range cmds {
		text.WriteString(cmds[i].Text)
	}
	return text.String()
}

// bind picks the rules and masks that are about this identity.
func (c *deciding) bind(who []*postern.Identity) {
	c.rules = make([]*rule, 0, len(c.bound.rules))
	for _, rl := range c.bound.rules {
		if binds(rl.spec.To, rl.spec.Except, who) {
			c.rules = append(c.rules, rl)
		} else {
			c.trace.skip(rl.object, "it isn't about this identity")
		}
	}
	for _, m := range c.bound.masks {
		if binds(m.spec.To, m.spec.Except, who) {
			c.masks = append(c.masks, m)
			c.trace.mask(m)
		} else {
			c.trace.skip(m.object, "it isn't about this identity")
		}
	}
}

// outcome is what the commands so far came to.
type outcome struct {
	verdict postern.Verdict
	rule    string
	reason  string
	request string            // the access to be requested that would help
	asked   []*rule           // the review rules that matched, each once
	shadow  []postern.Shadow  // what rules in shadow mode would have done, each once
	limit   *postern.RowLimit // the least that a rule allows
	// transfer is the least that an access lets pass.
	transfer *postern.TransferLimit
}

// worse adds another outcome: the worse verdict counts, and of equally bad ones
// the first. All reviews that are asked for stay asked for.
func (o *outcome) worse(other outcome) {
	for _, rl := range other.asked {
		if !slices.Contains(o.asked, rl) {
			o.asked = append(o.asked, rl)
		}
	}
	for _, hit := range other.shadow {
		if !slices.ContainsFunc(o.shadow, func(s postern.Shadow) bool { return s.Rule == hit.Rule }) {
			o.shadow = append(o.shadow, hit)
		}
	}
	if other.limit != nil && (o.limit == nil || other.limit.Rows < o.limit.Rows) {
		o.limit = other.limit
	}
	o.transfer = tighter(o.transfer, other.transfer)
	if other.verdict < o.verdict || other.verdict == o.verdict && o.rule == "" {
		o.verdict, o.rule, o.reason, o.request = other.verdict, other.rule, other.reason, other.request
	}
}

func (o *outcome) decision() postern.Decision {
	d := postern.Decision{Verdict: o.verdict, Rule: o.rule, Reason: o.reason, Request: o.request, Limit: o.limit, Transfer: o.transfer}
	for _, hit := range o.shadow {
		if hit.Verdict < o.verdict { // what happened anyway isn't the shadow's
			d.Shadow = append(d.Shadow, hit)
		}
	}
	if o.verdict != postern.NeedsReview {
		return d
	}
	terms, problem := combine(o.asked)
	if problem != "" {
		return postern.Decision{Rule: o.rule, Reason: problem}
	}
	d.Review = &terms
	return d
}

// command decides over one command.
func (c *deciding) command(i int, cmd *postern.Command) outcome {
	if unknown(cmd) {
		if name, what := c.restriction(cmd); name != "" {
			return outcome{rule: name, reason: "the command can't be understood" + problem(cmd) + ", and " + what + " restricts what may be done here. Write it in a simpler way."}
		}
	}
	allowed, transfer, refused, ok := c.allowed(i, cmd)
	if !ok {
		return refused
	}
	out := c.guard(i, cmd, outcome{verdict: postern.Allow, rule: allowed, transfer: transfer})
	out.worse(c.around(cmd))
	return out
}

// problem is why a command wasn't understood, if it says so.
func problem(cmd *postern.Command) string {
	if cmd.Problem == "" {
		return ""
	}
	const most = 200
	text := cmd.Problem
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return " (" + text + ")"
}

// restriction names something that restricts this identity here; "" when
// nothing does. A command that could be read, but calls what couldn't, is no
// matter for masks that mask whatever can't be followed.
func (c *deciding) restriction(cmd *postern.Command) (name, what string) {
	for _, rl := range c.rules {
		if rl.spec.Then != postern.Allow && !rl.spec.Shadow {
			return rl.object.Name, "this rule"
		}
	}
	for _, own := range c.rights {
		if slices.ContainsFunc(own.accesses, func(a *access) bool {
			_, covers := a.inSection(cmd, c.whole)
			return covers && len(a.clauses) == 0
		}) {
			continue
		}
		return own.accesses[0].object.Name, "this access"
	}
	read := !sameWord(cmd.Verb, "") && !sameWord(cmd.Verb, postern.VerbUnknown) && len(cmd.Verbs) > 0
	for _, m := range c.masks {
		if !read || !m.spec.MaskOpaque {
			return m.object.Name, "this mask"
		}
	}
	return "", ""
}

// allowed looks for an access of every member of the chain that allows the
// command as a whole.
func (c *deciding) allowed(i int, cmd *postern.Command) (access string, transfer *postern.TransferLimit, refused outcome, ok bool) {
	for _, own := range c.rights {
		covered := false
		var limit *postern.TransferLimit
		first := ""
		for _, a := range own.accesses {
			missing, covers := a.covers(cmd, c.whole)
			c.trace.covers(i, a, missing, covers)
			if covers {
				if access == "" {
					access = a.object.Name
				}
				own := a.transfer()
				if covered {
					own = looser(limit, own)
				}
				limit, covered = own, true
				if limit == nil {
					break
				}
				continue
			}
			if first == "" {
				first = missing
			}
		}
		if !covered {
			return "", nil, c.uncovered(own.accesses[0], first, cmd), false
		}
		transfer = tighter(transfer, limit)
	}
	return access, transfer, outcome{}, true
}

// uncovered words that no access allows a command, and which one that does could
// be requested.
func (c *deciding) uncovered(a *access, missing string, cmd *postern.Command) outcome {
	out := outcome{rule: a.object.Name, reason: missing + " isn't allowed here. Allowed is: " + a.list() + "."}
	var room [maxActors]*postern.Identity
	who := chain(&c.r.Identity, room[:0])
	var best *access
	for _, other := range c.bound.accesses {
		if other.spec.Request == nil || !other.forAll(c.bound, who) {
			continue
		}
		if _, covers := other.covers(cmd, c.whole); covers {
			best = preferred(best, other)
		}
	}
	if best != nil {
		out.request = best.object.Name
		out.reason += " It can be requested: " + best.how(c.r.Resource) + "."
	}
	return out
}

// inShadow says what a rule in shadow mode would have done.
func (c *deciding) inShadow(i int, rl *rule, cmd *postern.Command) outcome {
	matched, ok := c.matches(rl, cmd)
	hit := postern.Shadow{Rule: rl.object.Name, Verdict: rl.spec.Then, Reason: rl.message()}
	switch {
	case unknown(cmd):
		hit.Verdict, hit.Reason, matched = postern.Deny, "the command can't be understood"+problem(cmd)+".", true
	case !ok:
		hit.Verdict, hit.Reason, matched = postern.Deny, "the rule could not be evaluated for this command.", true
	}
	c.trace.shadow(i, rl, hit.Verdict, matched)
	out := outcome{verdict: postern.Allow}
	if matched {
		out.shadow = []postern.Shadow{hit}
	}
	return out
}

// guard puts the rules over a command that an access allows.
func (c *deciding) guard(i int, cmd *postern.Command, out outcome) outcome {
	for _, rl := range c.rules {
		if rl.spec.Shadow {
			out.worse(c.inShadow(i, rl, cmd))
			continue
		}
		matched, ok := c.matches(rl, cmd)
		c.trace.rule(i, rl, matched, ok)
		switch {
		case !ok:
			out.worse(outcome{rule: rl.object.Name, reason: "the rule could not be evaluated for this command, so it denies. Tell an administrator."})
		case !matched:
			continue
		case rl.spec.Then == postern.Allow:
			if out.verdict == postern.Allow {
				out.rule = rl.object.Name
			}
		case rl.spec.Then == postern.NeedsReview:
			out.worse(outcome{verdict: postern.NeedsReview, rule: rl.object.Name, reason: rl.message(), asked: []*rule{rl}})
		case rl.spec.MaxAffected > 0:
			out.worse(rl.bound(cmd))
		default:
			out.worse(outcome{rule: rl.object.Name, reason: rl.message()})
		}
		if out.verdict == postern.Deny && c.trace == nil {
			break
		}
	}
	return out
}

// bound lets a command run, and says how many rows it may change. What changes
// rows that nobody counts it denies.
func (rl *rule) bound(cmd *postern.Command) outcome {
	switch {
	case hasVerb(cmd, "truncate"):
		return outcome{rule: rl.object.Name, reason: "it empties a table, and of the rows that are gone then nobody can tell how many they were. Use DELETE."}
	case hasVerb(cmd, "declare"):
		return outcome{rule: rl.object.Name, reason: "it declares a cursor that changes rows, at a time when nobody counts them. Run the query itself."}
	}
	return outcome{verdict: postern.Allow, limit: &postern.RowLimit{Rows: rl.spec.MaxAffected, Rule: rl.object.Name, Reason: rl.spec.Message}}
}

// matches says whether the rule is about the command. It isn't ok when that
// can't be said.
func (c *deciding) matches(rl *rule, cmd *postern.Command) (matched, ok bool) {
	if rl.use != nil {
		return rl.use.match(cmd), true
	}
	if c.vars == nil {
		c.vars = c.set.types.variables(c.r, &c.bound.resource)
	}
	c.vars.see(cmd)
	return rl.when.eval(c.vars)
}

// message is what the person is told.
func (rl *rule) message() string {
	switch {
	case rl.spec.Message != "":
		return rl.spec.Message
	case rl.spec.Then == postern.NeedsReview:
		return "it has to be approved by " + approvers(rl.spec.Review.Approvers) + "."
	case rl.use != nil:
		return rl.use.Message
	}
	return "this rule doesn't allow it on this resource. Ask whoever wrote the rule what to do instead."
}

func approvers(ps []postern.Principal) string {
	var all []string
	for _, p := range ps {
		all = append(all, string(p))
	}
	return strings.Join(all, " or ")
}

// combine makes one review of all that are asked for, at least as strict as
// each: its approvers are those whom every rule names, it needs the most
// approvals of any and waits the shortest time. Rules that name nobody in
// common can't be satisfied by one review, and so deny.
func combine(asked []*rule) (terms postern.ReviewTerms, problem string) {
	for i, rl := range asked {
		t := rl.spec.Review
		if i == 0 {
			terms = postern.ReviewTerms{Approvers: slices.Clone(t.Approvers), Approvals: t.Approvals, Timeout: t.Timeout, Evidence: t.Evidence, Commit: t.Commit}
			continue
		}
		terms.Commit = tightest(terms.Commit, t.Commit)
		terms.Approvers = common(terms.Approvers, t.Approvers)
		terms.Approvals = max(terms.Approvals, t.Approvals)
		terms.Timeout = min(terms.Timeout, t.Timeout)
		terms.Evidence = least(terms.Evidence, t.Evidence)
		if len(terms.Approvers) == 0 {
			var names []string
			for _, rl := range asked {
				names = append(names, strconv.Quote(rl.object.Name))
			}
			return terms, "the rules " + strings.Join(names, " and ") + " ask for approvals, and name nobody who may give all of them. " +
				"Split the message into commands that need one approval each, or tell an administrator."
		}
	}
	if terms.Approvals < 1 || len(terms.Approvers) == 0 || terms.Timeout <= 0 {
		return terms, "the rule doesn't say who may approve. Tell an administrator."
	}
	return terms, ""
}

// tightest holds a command only where both do, within the bounds of both.
func tightest(a, b *postern.CommitTerms) *postern.CommitTerms {
	if a == nil || b == nil {
		return nil
	}
	return &postern.CommitTerms{Hold: min(a.Hold, b.Hold), Rows: min(a.Rows, b.Rows), Sample: min(a.Sample, b.Sample)}
}

// least is what shows less.
func least(a, b string) string {
	order := []string{postern.EvidenceNone, postern.EvidencePlan, postern.EvidenceCount}
	return order[max(min(slices.Index(order, a), slices.Index(order, b)), 0)]
}

// common are the principals that both lists name.
func common(a, b []postern.Principal) []postern.Principal {
	switch {
	case slices.Contains(a, "everyone"):
		return slices.Clone(b)
	case slices.Contains(b, "everyone"):
		return a
	}
	return slices.DeleteFunc(a, func(p postern.Principal) bool { return !slices.Contains(b, p) })
}
