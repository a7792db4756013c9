package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"postern"
)

// format goes into every version: a change in what objects mean changes it.
const format = "postern policy 1"

// access is an access, ready to decide.
type access struct {
	object  *Object
	spec    *Access
	clauses []clause
	asking  *condition     // of its request; nil: any
	terms   string         // the object's digest, of one that has to be requested
	grant   *postern.Grant // by which it is had now; nil: it is a standing right, or isn't had
}

// rule is a rule, ready to decide over the commands of one protocol.
type rule struct {
	object *Object
	spec   *Rule
	use    *Shipped   // either
	when   *condition // or
}

// mask is a mask, ready to bind.
type mask struct {
	object *Object
	spec   *Mask
	mask   postern.Mask
	// columns are the mask's patterns, of three parts each.
	columns [][]namePart
	parts   []bool // of each of columns: only a part of its documents is meant
}

// compiler builds a Set and gathers every problem.
type compiler struct {
	opts       Options
	set        *Set
	conditions *conditions
	problems   problems
}

// NewSet checks and compiles objects. It reports every problem at once, each
// as "file:line: …"; a set with a problem isn't made.
func NewSet(objects []Object, opts Options) (*Set, error) {
	conditions, err := newConditions(opts.Protocols)
	if err != nil {
		return nil, err
	}
	c := &compiler{opts: opts, conditions: conditions, set: &Set{
		objects: slices.Clone(objects), resources: make(map[string]*bound), types: conditions.provider,
	}}
	slices.SortStableFunc(c.set.objects, compareObjects)
	c.problems = append(c.problems, duplicates(c.set.objects)...)
	each := func(kind string, compile func(*Object)) {
		for i := range c.set.objects {
			if o := &c.set.objects[i]; o.Kind == kind && o.complete() {
				compile(o)
			} else if o.Kind == kind {
				c.fail(o, "", "the object holds nothing")
			}
		}
	}
	each(KindResource, c.resource)
	c.set.names = sortedKeys(c.set.resources)
	each(KindAccess, c.access)
	each(KindRule, c.rule)
	each(KindClassification, c.classification)
	each(KindMask, c.mask)
	each(KindServiceAccount, func(o *Object) { c.set.accounts = append(c.set.accounts, *o.ServiceAccount) })
	each(KindRecordings, func(o *Object) {
		c.picks(o, o.Recordings.On) // for what it says of mistakes
		c.set.recordings = append(c.set.recordings, o)
	})
	if err := c.problems.join(); err != nil {
		return nil, err
	}
	c.set.version, c.set.claims = digest(c.set.objects), conditions.claims
	return c.set, nil
}

func compareObjects(a, b Object) int {
	return cmp.Or(
		cmp.Compare(slices.Index(Kinds(), a.Kind), slices.Index(Kinds(), b.Kind)),
		cmp.Compare(a.Name, b.Name),
	)
}

// complete says whether the spec that the kind names is there.
func (o *Object) complete() bool {
	switch o.Kind {
	case KindResource:
		return o.Resource != nil
	case KindAccess:
		return o.Access != nil
	case KindRule:
		return o.Rule != nil
	case KindMask:
		return o.Mask != nil
	case KindClassification:
		return o.Classification != nil
	case KindServiceAccount:
		return o.ServiceAccount != nil
	case KindRecordings:
		return o.Recordings != nil
	}
	return false
}

// digest is over the canonical form of everything, in canonical order.
func digest(sorted []Object) string {
	h := sha256.New()
	part := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		_, _ = h.Write(n[:]) // a hash never returns an error
		_, _ = h.Write(b)
	}
	part([]byte(format))
	for _, o := range sorted {
		part(o.Render())
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (c *compiler) fail(o *Object, path, message string, args ...any) {
	if path != "" {
		message = path + ": " + message
	}
	c.problems.add(o.Source, o.lineOf(path), message, args...)
}

func (c *compiler) warn(o *Object, path, message string, args ...any) {
	p := Problem{File: o.Source, Line: max(o.lineOf(path), 1), Message: o.Ref() + ": " + path + ": " + fmt.Sprintf(message, args...)}
	c.set.warnings = append(c.set.warnings, warning{about: o.Ref(), text: p.Error()})
}

func (c *compiler) typeNames() []string {
	var names []string
	for _, p := range c.opts.Protocols {
		names = append(names, p.Name)
	}
	return names
}

func (c *compiler) resource(o *Object) {
	if names := c.typeNames(); o.Resource.Type != "" && !slices.Contains(names, o.Resource.Type) {
		c.fail(o, "type", "%s is no protocol of this gateway; %s", shown(o.Resource.Type), oneOf(o.Resource.Type, names))
	}
	if err := c.opts.check(*o.Resource); err != nil {
		c.fail(o, "options", "%v", err)
	}
	if o.Resource.Via != "" {
		c.warn(o, "via", "there is no relay in this version, so that the resource can't be reached")
	}
	if !isName(o.Name) {
		return
	}
	c.set.resources[o.Name] = &bound{resource: *o.Resource}
}

// isName guards the maps against objects that weren't parsed.
func isName(name string) bool { return ValidName(name) }

// picks lists the resources that a selector picks, and reports what in it can't be meant.
func (c *compiler) picks(o *Object, on Selector) []*bound {
	types, warned := c.typeNames(), len(c.set.warnings)
	for i, t := range on.Types {
		if !slices.Contains(types, t) {
			c.fail(o, fmt.Sprintf("on.types[%d]", i), "%s is no protocol of this gateway; %s", shown(t), oneOf(t, types))
		}
	}
	for i, name := range on.Names {
		path := fmt.Sprintf("on.names[%d]", i)
		if !ValidName(strings.ReplaceAll(name, "*", "x")) && name != "*" {
			c.fail(o, path, "%s can't be a resource's name; %s, and * for any run of them", shown(name), nameRule)
			continue
		}
		if !strings.Contains(name, "*") && c.set.resources[name] == nil {
			hint := ""
			if near := nearest(name, c.set.names); near != "" {
				hint = "; " + didYouMean(near)
			}
			c.warn(o, path, "there is no resource %q%s", name, hint)
		}
	}
	var picked []*bound
	for _, name := range c.set.names {
		if b := c.set.resources[name]; on.picks(&b.resource) {
			picked = append(picked, b)
		}
	}
	if len(picked) == 0 && len(c.set.names) > 0 && len(c.set.warnings) == warned {
		c.warn(o, "on", "it picks none of the resources that there are")
	}
	return picked
}

// picks says whether the selector picks the resource.
func (on *Selector) picks(r *postern.Resource) bool {
	if len(on.Names) > 0 && !globAny(on.Names, r.Name) || len(on.Types) > 0 && !slices.Contains(on.Types, r.Type) {
		return false
	}
	for label, want := range on.Labels {
		if got, ok := r.Labels[label]; !ok || !glob(want, got) {
			return false
		}
	}
	return true
}

func (c *compiler) access(o *Object) {
	a := &access{object: o, spec: o.Access}
	for i, spec := range o.Access.Allow {
		compiled, err := newClause(spec)
		if err != nil {
			c.fail(o, fmt.Sprintf("allow[%d].objects", i), "%v", err)
		}
		a.clauses = append(a.clauses, compiled)
	}
	if o.Access.Request != nil {
		a.terms = digest([]Object{*o})
		c.asking(o, a)
	}
	for _, b := range c.picks(o, o.Access.On) {
		if of, ok := c.elsewhere(a, &b.resource); ok {
			c.warn(o, a.spec.SectionOf, "it is for %s resources alone, and so doesn't open %q, which is of type %s; make two accesses of it", of, b.resource.Name, b.resource.Type)
			continue
		}
		b.accesses = append(b.accesses, a)
	}
}

// asking compiles what a request for an access has to fulfil.
func (c *compiler) asking(o *Object, a *access) {
	if o.Access.Request.When == "" {
		return
	}
	key := "request.when"
	if o.Access.Request.BreakGlass {
		key = "break_glass.when"
	}
	when, mistakes := c.conditions.asking(o.Access.Request.When)
	for _, m := range mistakes {
		c.problems.add(o.Source, o.lineOf(key)+m.line-1, "%s: %s", key, m.message)
	}
	a.asking = when
}

func (c *compiler) mask(o *Object) {
	for i, detector := range o.Mask.Detect {
		if !slices.Contains(c.opts.Detectors, detector) {
			c.fail(o, fmt.Sprintf("detect[%d]", i), "%s is no detector; %s", shown(detector), oneOf(detector, c.opts.Detectors))
		}
	}
	bites := len(o.Mask.Labels) == 0 || len(o.Mask.Columns)+len(o.Mask.Detect) > 0
	picked := c.picks(o, o.Mask.On)
	for _, b := range picked {
		m := newMask(o, b)
		bites = bites || len(m.columns) > 0
		b.masks = append(b.masks, m)
	}
	if len(picked) > 0 && !bites {
		c.warn(o, "labels", "no classification gives a column of these resources such a label, so the mask hides nothing")
	}
}

// newMask is a mask over a resource: its labels stand for the resource's columns.
func newMask(o *Object, b *bound) *mask {
	columns := o.Mask.Columns
	for _, label := range o.Mask.Labels {
		for _, known := range b.labelled {
			if labelMatches(label, known.label) && !slices.Contains(columns, known.column) {
				columns = append(columns[:len(columns):len(columns)], known.column)
			}
		}
	}
	m := &mask{object: o, spec: o.Mask, mask: postern.Mask{
		Name: o.Name, Columns: columns, Detect: o.Mask.Detect, With: o.Mask.With, Bucket: o.Mask.Bucket,
	}}
	for _, column := range columns {
		name, path := splitPath(column)
		if parts, err := splitName(name); err == nil {
			m.columns = append(m.columns, parts)
			m.parts = append(m.parts, path != "")
		}
	}
	return m
}

// labelled is a column, or a pattern of columns, that a classification labels.
type labelled struct{ column, label string }

func (c *compiler) classification(o *Object) {
	for _, b := range c.picks(o, o.Classification.On) {
		for _, column := range sortedKeys(o.Classification.Columns) {
			for _, label := range o.Classification.Columns[column] {
				b.labelled = append(b.labelled, labelled{column, label})
			}
		}
	}
}

// labelMatches matches a label with one of a mask, in which * stands for any
// text within a part.
func labelMatches(want, label string) bool {
	ok, err := path.Match(strings.ReplaceAll(want, ".", "/"), strings.ReplaceAll(label, ".", "/"))
	return err == nil && ok
}

// splitPath parts a column from the path within its documents, which begins
// behind the $ of "$." or "$[".
func splitPath(column string) (name, path string) {
	at := -1
	for _, begin := range []string{"$.", "$["} {
		if i := strings.Index(column, begin); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at < 0 {
		return column, ""
	}
	return column[:at], column[at+1:]
}

// validPath says whether a path within documents is spelled as one.
func validPath(path string) bool {
	ok, _ := regexp.MatchString(`^(\.\.?([^."'$()\[\] \\]+|"[^"\\]+")|\[(\*|[0-9]{1,9})\])+$`, path)
	return ok
}

func (c *compiler) rule(o *Object) {
	picked := c.picks(o, o.Rule.On)
	if o.Rule.Review == nil && o.Rule.Then == postern.NeedsReview {
		c.fail(o, "then", "a review needs to say who may approve")
		return
	}
	if o.Rule.Review != nil && o.Rule.Then != postern.NeedsReview {
		c.warn(o, "review", "it has no effect without `then: review`")
	}
	protocols, pinned := c.protocols(&o.Rule.On, picked)
	compiled := c.compile(o, protocols, pinned)
	bites := false
	for _, b := range picked {
		if r := compiled[b.resource.Type]; r != nil {
			b.rules = append(b.rules, r)
			bites = true
		}
	}
	if len(picked) > 0 && !bites && len(compiled) > 0 {
		c.warn(o, "on", "the rule applies to none of the resources that it picks: their protocols don't state what it looks at")
	}
}

// protocols are those whose commands a rule may meet. It is pinned to them when
// it names each of them itself, by types or by names of resources.
func (c *compiler) protocols(on *Selector, picked []*bound) (protocols []ProtocolType, pinned bool) {
	byName := len(on.Names) > 0 && len(picked) > 0
	glob := slices.ContainsFunc(on.Names, func(name string) bool { return strings.Contains(name, "*") })
	for _, p := range c.opts.Protocols {
		if len(on.Types) > 0 && !slices.Contains(on.Types, p.Name) {
			continue
		}
		if byName && !slices.Contains(on.Names, "*") &&
			!slices.ContainsFunc(picked, func(b *bound) bool { return b.resource.Type == p.Name }) {
			continue
		}
		protocols = append(protocols, p)
	}
	return protocols, len(on.Types) > 0 || byName && !glob
}

// compile compiles a rule for each protocol. It must be right for one of them
// and, when it is pinned to them, for all.
func (c *compiler) compile(o *Object, protocols []ProtocolType, pinned bool) map[string]*rule {
	compiled := make(map[string]*rule)
	if o.Rule.Use != "" {
		c.compileUse(o, protocols, pinned, compiled)
		return compiled
	}
	var best []mistake
	of := ""
	for _, p := range protocols {
		when, mistakes := c.conditions.compile(o.Rule.condition(), p.Name)
		if len(mistakes) == 0 {
			compiled[p.Name] = &rule{object: o, spec: o.Rule, when: when}
		} else if best == nil || len(mistakes) < len(best) {
			best, of = mistakes, p.Name
		}
	}
	if best != nil && (pinned || len(compiled) == 0) {
		for _, m := range best {
			where := ""
			if len(protocols) > 1 {
				where = " (for " + of + ")"
			}
			c.problems.add(o.Source, o.lineOf("when")+m.line-1, "when: %s%s", m.message, where)
		}
	}
	return compiled
}

// condition is a rule's, with what max_affected adds to it: only commands that
// change rows, as the protocol states it, are of interest then.
func (r *Rule) condition() string {
	switch {
	case r.MaxAffected == 0:
		return r.When
	case r.When == "":
		return "command.changes_rows"
	}
	return "(" + r.When + "\n) && command.changes_rows"
}

func (c *compiler) compileUse(o *Object, protocols []ProtocolType, pinned bool, compiled map[string]*rule) {
	use, ok := shipped(o.Rule.Use)
	if !ok {
		names := shippedNames()
		c.fail(o, "use", "%s is no shipped rule; %s", shown(o.Rule.Use), oneOf(o.Rule.Use, names))
		return
	}
	var without []string
	for _, p := range protocols {
		if use.appliesTo(p) {
			compiled[p.Name] = &rule{object: o, spec: o.Rule, use: &use}
		} else {
			without = append(without, p.Name)
		}
	}
	if len(without) > 0 && (pinned || len(compiled) == 0) {
		c.fail(o, "use", "%s makes no sense for %s: the protocol doesn't state %s", use.Name, strings.Join(without, ", "), use.needs)
	}
}
