package shell

import (
	"slices"

	"postern"
)

// verb is a program, or what the shell itself does, and the worst of it.
type verb struct {
	name   string
	access postern.Access
}

// effects is what one statement does, gathered while it is walked.
type effects struct {
	verbs    []verb
	objects  []postern.Object
	hosts    []string
	problems []string

	recursiveDelete, fileAccess, interpreter, privileged, glob, background, interactive bool
}

// did adds a verb; said twice, the worse access counts.
func (e *effects) did(name string, access postern.Access) {
	for i := range e.verbs {
		if e.verbs[i].name == name {
			e.verbs[i].access = worse(e.verbs[i].access, access)
			return
		}
	}
	e.verbs = append(e.verbs, verb{name, access})
}

func worse(a, b postern.Access) postern.Access {
	if badness(a) >= badness(b) {
		return a
	}
	return b
}

// badness orders accesses; unknown is the worst.
func badness(a postern.Access) int {
	if a == postern.Unknown {
		return int(postern.Admin) + 1
	}
	return int(a)
}

// problem says why the statement isn't understood.
func (e *effects) problem(text string) {
	if len(e.problems) < 8 && !slices.Contains(e.problems, text) {
		e.problems = append(e.problems, text)
	}
}

const maxObjects = 256

func (e *effects) touch(o postern.Object) {
	if slices.Contains(e.objects, o) {
		return
	}
	if len(e.objects) >= maxObjects {
		e.problem("it names too many files")
		return
	}
	e.objects = append(e.objects, o)
}

func (e *effects) host(name string) {
	if !slices.Contains(e.hosts, name) {
		e.hosts = append(e.hosts, name)
		e.touch(postern.Object{Kind: "host", Name: name})
	}
}

// command words the effects as a command.
func (e *effects) command(text string) postern.Command {
	if len(e.verbs) == 0 && len(e.problems) == 0 {
		e.did("nothing", postern.Control)
	}
	slices.SortStableFunc(e.verbs, func(a, b verb) int { return badness(b.access) - badness(a.access) })
	c := postern.Command{Protocol: protocolName, Text: text, Objects: e.objects}
	if len(e.verbs) > 0 {
		c.Access = e.verbs[0].access
	}
	if len(e.problems) > 0 || c.Access == postern.Unknown {
		c.Access = postern.Unknown
		c.Problem = "it can't be told what it does"
		if len(e.problems) > 0 {
			c.Problem = e.problems[0]
		}
		c.Verbs = []string{postern.VerbUnknown}
	} else if c.Access < postern.Write && slices.ContainsFunc(e.objects, func(o postern.Object) bool { return o.Write }) {
		c.Access = postern.Write
	}
	for _, v := range e.verbs {
		c.Verbs = append(c.Verbs, v.name)
	}
	c.Verb = c.Verbs[0]
	c.Attrs = e.attrs()
	return c
}

func (e *effects) attrs() []postern.Attr {
	var attrs []postern.Attr
	for _, fact := range []struct {
		name string
		yes  bool
	}{
		{attrRecursiveDelete, e.recursiveDelete},
		{attrFileAccess, e.fileAccess},
		{attrInterpreter, e.interpreter},
		{attrPrivileged, e.privileged},
		{attrHasGlob, e.glob},
		{attrBackground, e.background},
		{attrInteractive, e.interactive},
	} {
		attrs = append(attrs, postern.BoolAttr(fact.name, fact.yes))
	}
	if len(e.hosts) > 0 {
		attrs = append(attrs, postern.StringsAttr(attrHosts, e.hosts))
	}
	return attrs
}
