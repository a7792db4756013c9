package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"postern"
)

// input is what a command reads, where the text itself says it.
type input struct {
	text  string
	known bool
}

// redirects walks a statement's redirections.
func (a *analyzer) redirects(list []*syntax.Redirect, st *State) input {
	var in input
	inputs := 0
	for _, r := range list {
		if r.N != nil && strings.HasPrefix(r.N.Value, "{") {
			name := strings.Trim(r.N.Value, "{}")
			if !isName(name) {
				a.eff.problem("a redirection names an element of an array")
			}
			a.assigned(name, st)
			st.set(name, value{number: true})
		}
		fd := ""
		if r.N != nil {
			fd = r.N.Value
			if len(fd) > 1 && fd[0] != '{' {
				a.eff.problem("descriptors from 10 on are the shell's own")
			}
		}
		switch r.Op {
		case syntax.Hdoc, syntax.DashHdoc:
			inputs++
			in = a.document(r, st)
			in.known = in.known && (fd == "" || fd == "0")
		case syntax.WordHdoc:
			inputs++
			in = input{}
			if ts := a.one(r.Word, st); len(ts) == 1 {
				if s, ok := ts[0].exact(); ok && (fd == "" || fd == "0") {
					in = input{s + "\n", true}
				}
			}
		case syntax.RdrIn:
			inputs++
			in = input{}
			a.readFrom(r.Word, st)
		case syntax.RdrInOut:
			inputs++
			in = input{}
			a.readFrom(r.Word, st)
			a.writeTo(r.Word, st)
		case syntax.RdrOut, syntax.AppOut, syntax.RdrClob, syntax.RdrAll, syntax.AppAll:
			if fd == "" || fd == "1" {
				a.piped = true
			}
			a.writeTo(r.Word, st)
		case syntax.DplOut, syntax.DplIn:
			if r.Op == syntax.DplIn {
				inputs++
				in = input{}
			}
			for _, t := range a.one(r.Word, st) {
				if s, ok := t.exact(); ok && isDescriptor(s) {
					if len(strings.TrimSuffix(s, "-")) > 1 {
						a.eff.problem("descriptors from 10 on are the shell's own")
					}
					continue
				}
				if !t.has(literal) && len(t) > 0 {
					a.eff.problem("which descriptor is meant isn't written there")
					continue
				}
				a.writeText(t, st)
			}
		default:
			a.eff.problem("a redirection of another shell than bash")
		}
	}
	if inputs > 1 {
		in = input{}
	}
	return in
}

func isDescriptor(s string) bool {
	return s == "-" || s != "" && strings.Trim(strings.TrimSuffix(s, "-"), "0123456789") == ""
}

// document is a here-document's text, where it stands there as it is.
func (a *analyzer) document(r *syntax.Redirect, st *State) input {
	if r.Hdoc == nil {
		return input{known: true}
	}
	quoted := false
	for _, part := range r.Word.Parts {
		l, ok := part.(*syntax.Lit)
		if !ok || strings.Contains(l.Value, `\`) {
			quoted = true
		}
	}
	in := input{known: true}
	for _, part := range r.Hdoc.Parts {
		l, ok := part.(*syntax.Lit)
		if !ok {
			a.part(part, st)
			in.known = false
			continue
		}
		if !quoted && strings.Contains(l.Value, `\`) {
			in.known = false
		}
		in.text += l.Value
	}
	if r.Op == syntax.DashHdoc {
		in.known = false // leading tabs: not worth a guess
	}
	return in
}

func (a *analyzer) readFrom(w *syntax.Word, st *State) {
	if len(w.Parts) == 1 {
		if _, ok := w.Parts[0].(*syntax.ProcSubst); ok {
			a.nested(w, st)
			return
		}
	}
	for _, f := range a.word(w, st) {
		for _, x := range f {
			if s, ok := x.exact(); ok && a.device(s, st) {
				continue
			}
			a.read(x, st)
		}
	}
}

func (a *analyzer) writeTo(w *syntax.Word, st *State) {
	if len(w.Parts) == 1 {
		if _, ok := w.Parts[0].(*syntax.ProcSubst); ok {
			a.nested(w, st)
			return
		}
	}
	for _, f := range a.word(w, st) {
		for _, x := range f {
			a.writeText(x.text, st)
		}
	}
}

func (a *analyzer) writeText(t text, st *State) {
	if s, ok := t.exact(); ok && a.device(s, st) {
		return
	}
	a.eff.did("write", postern.Write)
	a.write(arg{text: t}, st)
}

// device says whether a name stands for no file at all.
func (a *analyzer) device(name string, _ *State) bool {
	if rest, ok := strings.CutPrefix(name, "/dev/tcp/"); ok {
		a.network(rest)
		return true
	}
	if rest, ok := strings.CutPrefix(name, "/dev/udp/"); ok {
		a.network(rest)
		return true
	}
	switch name {
	case "/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/random", "/dev/urandom":
		return true
	}
	fd, ok := strings.CutPrefix(name, "/dev/fd/")
	return ok && len(fd) == 1 && fd[0] >= '0' && fd[0] <= '9'
}

// network: the shell itself talks to a host.
func (a *analyzer) network(rest string) {
	host, _, _ := strings.Cut(rest, "/")
	a.eff.did("connect", postern.Write)
	a.eff.host(host)
}
