package shell

import (
	"maps"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"postern"
)

// State is what a shell's earlier lines have left behind, as far as it gives
// later lines their meaning. The zero State is a shell that has just started,
// in the home folder, with the system's environment. A State is a value: it
// shares nothing with the one that it was made from.
type State struct {
	// Terminal says that programs may find a terminal, and so may open a pager
	// or take commands from the keyboard.
	Terminal bool
	// PlainPagers says that the environment turns pagers into cat, and that the
	// shell sees to it that it stays so.
	PlainPagers bool
	// FullScreen are programs that may run on the terminal although nobody
	// controls what is typed into them.
	FullScreen []string
	// Programs are what else is known by name, and the worst that each can do,
	// whatever its arguments.
	Programs map[string]postern.Access

	vars     map[string]value
	frozen   map[string]bool // variables that aren't what was last assigned to them: read-only, or changed by the shell
	funcs    map[string]*syntax.Stmt
	aliases  map[string]bool
	cwd      []string // all that it may be; empty: home. unknownDir among them: anything
	splits   bool     // IFS was changed
	programs string   // why names of programs may mean others than the system's
	why      string   // why nothing can be said any more
	ended    bool     // nothing runs after this
}

// value is what is known of a variable: one of texts. No text at all: nothing
// is known.
type value struct {
	texts  []text
	number bool // whatever it is, it is a number
}

// unknownDir stands for a working folder that isn't known.
const unknownDir = "?"

func (st *State) clone() State {
	c := *st
	c.vars = maps.Clone(st.vars)
	c.frozen = maps.Clone(st.frozen)
	c.funcs = maps.Clone(st.funcs)
	c.aliases = maps.Clone(st.aliases)
	c.cwd = slices.Clone(st.cwd)
	return c
}

// lost says that from here on nothing can be told.
func (st *State) lost(why string) {
	if st.why == "" {
		st.why = why
	}
}

// String is the state that gives a line its meaning, for the record.
func (st *State) String() string {
	return "cwd=" + strings.Join(st.dirs(), "|")
}

// Settle is the state of an interactive shell after a line, of which nobody
// knows how far it came: the person may have interrupted it, and an error ends
// a line in its middle. Variables that it changed are not known any more,
// unless assigning them is all that it did.
func Settle(before, after State, line string) State {
	out := join(&before, &after)
	out.ended = false
	if file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(line), ""); err == nil && onlyAssigns(file.Stmts) {
		out.vars = maps.Clone(after.vars)
		return out
	}
	for name, v := range out.vars {
		b, known := before.vars[name]
		a := after.vars[name]
		if !known || len(v.texts) > 1 || !slices.EqualFunc(b.texts, a.texts, func(s, t text) bool { return slices.Equal(s, t) }) {
			out.forget(name)
		}
	}
	return out
}

// onlyAssigns says whether statements do nothing but give variables values that
// are written there, each once.
func onlyAssigns(stmts []*syntax.Stmt) bool {
	seen := map[string]bool{}
	for _, s := range stmts {
		call, ok := s.Cmd.(*syntax.CallExpr)
		if !ok || len(call.Args) > 0 || len(s.Redirs) > 0 || s.Background || s.Negated {
			return false
		}
		for _, as := range call.Assigns {
			if as.Name == nil || as.Array != nil || as.Index != nil || as.Append || seen[as.Name.Value] {
				return false
			}
			seen[as.Name.Value] = true
			if as.Value == nil {
				continue
			}
			for _, part := range as.Value.Parts {
				switch part := part.(type) {
				case *syntax.Lit, *syntax.SglQuoted:
				case *syntax.DblQuoted:
					for _, inner := range part.Parts {
						if _, ok := inner.(*syntax.Lit); !ok {
							return false
						}
					}
				default:
					return false
				}
			}
		}
	}
	return true
}

// Dir is the working folder where it is known: absolute, or below "~".
func (st *State) Dir() (string, bool) {
	dirs := st.dirs()
	return dirs[0], len(dirs) == 1 && dirs[0] != unknownDir
}

// InDir is the state in a working folder that somebody looked up: the shell
// itself said where it stands.
func (st State) InDir(dir string) State {
	st = st.clone()
	st.cwd = []string{path.Clean(dir)}
	return st
}

func (st *State) dirs() []string {
	if len(st.cwd) == 0 {
		return []string{"~"}
	}
	return st.cwd
}

const maxAlternatives = 32

// set says what a variable may be from now on.
func (st *State) set(name string, v value) {
	if len(v.texts) > maxAlternatives || st.frozen[name] || kept(name) {
		v = value{}
	}
	if st.vars == nil {
		st.vars = map[string]value{}
	}
	st.vars[name] = v
}

// kept are variables that the shell itself changes, whatever is assigned to
// them: $_ is the last word of the last command.
func kept(name string) bool {
	switch name {
	case "_", "RANDOM", "SRANDOM", "SECONDS", "LINENO", "GROUPS", "FUNCNAME", "DIRSTACK", "PIPESTATUS", "PWD", "OLDPWD", "REPLY", "OPTARG", "OPTIND", "OPTERR",
		"UID", "EUID", "PPID", "MAPFILE", "COPROC", "HISTCMD", "SHLVL", "HOSTNAME", "HOSTTYPE", "MACHTYPE", "OSTYPE", "COLUMNS", "LINES", "READLINE_LINE", "READLINE_POINT", "status":
		return true
	}
	return strings.HasPrefix(name, "BASH") || strings.HasPrefix(name, "COMP_") || strings.HasPrefix(name, "EPOCH")
}

// freeze says that what is assigned to a variable from now on isn't what it
// will be.
func (st *State) freeze(name string) {
	if st.frozen == nil {
		st.frozen = map[string]bool{}
	}
	st.frozen[name] = true
	st.forget(name)
}

// forget says that nothing is known of a variable.
func (st *State) forget(name string) { st.set(name, value{}) }

// join is the state when either of two ways was taken.
func join(a, b *State) State {
	out := a.clone()
	for name, v := range b.vars {
		out.set(name, joinValues(a.vars[name], v))
	}
	for name := range a.vars {
		if _, ok := b.vars[name]; !ok {
			out.forget(name)
		}
	}
	for name, body := range b.funcs {
		if other, ok := a.funcs[name]; ok && other != body {
			out.lost("the function " + name + " may be one of two")
		}
		if out.funcs == nil {
			out.funcs = map[string]*syntax.Stmt{}
		}
		out.funcs[name] = body
	}
	for name := range b.aliases {
		out.alias(name)
	}
	for name := range b.frozen {
		out.freeze(name)
	}
	out.cwd = nil
	for _, dir := range append(slices.Clone(a.dirs()), b.dirs()...) {
		if !slices.Contains(out.cwd, dir) {
			out.cwd = append(out.cwd, dir)
		}
	}
	if len(out.cwd) > 8 || slices.Contains(out.cwd, unknownDir) {
		out.cwd = []string{unknownDir}
	}
	out.splits = a.splits || b.splits
	if out.programs == "" {
		out.programs = b.programs
	}
	out.lost(b.why)
	return out
}

func (st *State) alias(name string) {
	if st.aliases == nil {
		st.aliases = map[string]bool{}
	}
	st.aliases[name] = true
}

func joinValues(a, b value) value {
	if len(a.texts) == 0 || len(b.texts) == 0 {
		return value{number: a.number && b.number}
	}
	out := value{texts: slices.Clone(a.texts)}
	for _, t := range b.texts {
		if !slices.ContainsFunc(out.texts, func(o text) bool { return slices.Equal(o, t) }) {
			out.texts = append(out.texts, t)
		}
	}
	if len(out.texts) > maxAlternatives {
		return value{}
	}
	return out
}

// same says whether two states tell the same, for loops to know their end.
func same(a, b *State) bool {
	return maps.EqualFunc(a.vars, b.vars, func(x, y value) bool {
		return x.number == y.number && slices.EqualFunc(x.texts, y.texts, func(s, t text) bool { return slices.Equal(s, t) })
	}) && maps.Equal(a.funcs, b.funcs) && maps.Equal(a.aliases, b.aliases) && maps.Equal(a.frozen, b.frozen) && slices.Equal(a.dirs(), b.dirs()) &&
		a.splits == b.splits && a.programs == b.programs && a.why == b.why
}

// chdir goes to a folder; it may not be there, and then the shell stays where
// it is. sure says that what follows runs only when it was there.
func (st *State) chdir(to arg, sure bool) {
	var dirs []string
	if name, ok := to.exact(); ok && name != "-" {
		for _, dir := range st.dirs() {
			dirs = append(dirs, resolvePath(dir, name))
		}
	} else {
		dirs = []string{unknownDir}
	}
	if !sure {
		dirs = append(dirs, st.dirs()...)
	}
	slices.Sort(dirs)
	st.cwd = slices.Compact(dirs)
	if slices.Contains(st.cwd, unknownDir) || len(st.cwd) > 8 {
		st.cwd = []string{unknownDir}
	}
}

// resolvePath is where name leads from dir.
func resolvePath(dir, name string) string {
	switch {
	case name == "":
		return dir
	case strings.HasPrefix(name, "/"), name == "~", strings.HasPrefix(name, "~/"):
		return cleanPath(name)
	case dir == unknownDir:
		return unknownDir
	}
	return cleanPath(dir + "/" + name)
}

// cleanPath resolves . and .. in a path; above "~" nothing is known.
func cleanPath(name string) string {
	if strings.HasPrefix(name, "/") {
		return path.Clean(name)
	}
	clean := path.Clean(name)
	if clean == "~" || strings.HasPrefix(clean, "~/") {
		return clean
	}
	return unknownDir
}
