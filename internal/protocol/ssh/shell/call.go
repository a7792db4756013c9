package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"postern"
)

// invocation is one program that is run, or one of the shell's own commands.
type invocation struct {
	name string
	args []arg
	in   input
	// shell says that the shell itself runs it, which knows functions and
	// builtins; otherwise another program does.
	shell bool
}

// call walks a simple command.
func (a *analyzer) call(c *syntax.CallExpr, in input, st *State) (fail State) {
	if len(c.Args) == 0 {
		for _, as := range c.Assigns {
			a.assign(as, st)
		}
		a.eff.did("assign", postern.Control)
		return st.clone()
	}
	// Assignments in front of a command are its environment, and not yet seen
	// by its own words.
	ways := a.expand(c.Args, st)
	env := st.clone()
	for _, as := range c.Assigns {
		a.assign(as, &env)
		a.exported(as.Name.Value, &env)
	}
	if len(c.Assigns) > 0 {
		// Builtins see them, and special ones keep them.
		*st = join(st, &env)
	}
	var done, failed *State
	for _, way := range ways {
		one := st.clone()
		f := a.command1(way, in, &one)
		if done == nil {
			done, failed = &one, &f
			continue
		}
		d, e := merge(done, &one), merge(failed, &f)
		done, failed = &d, &e
	}
	*st = *done
	return *failed
}

// command1 walks one way in which a simple command's words may come out.
func (a *analyzer) command1(way fields, in input, st *State) (fail State) {
	if len(way) == 0 { // all of it came to nothing
		a.eff.did("nothing", postern.Control)
		return st.clone()
	}
	return a.invoke(way, in, true, st)
}

// invoke says what a list of words runs.
func (a *analyzer) invoke(words []arg, in input, shell bool, st *State) (fail State) {
	a.budget--
	if a.depth >= maxDepth || a.budget < 0 {
		a.eff.problem("it is too deeply nested")
		return st.clone()
	}
	a.depth++
	defer func() { a.depth-- }()
	if st.why != "" {
		a.eff.problem("nothing can be told after " + st.why)
	}
	name, ok := words[0].exact()
	if !ok {
		a.eff.problem("which program it runs isn't written there: " + shown(words[0].String()))
		if shell {
			st.lost("a command whose name could not be told")
		}
		return st.clone()
	}
	inv := invocation{name: name, args: words[1:], in: in, shell: shell}
	if shell && st.aliases[name] {
		a.eff.problem("the alias " + shown(name) + " was defined before; aliases aren't resolved")
		st.lost("a command that an alias stands for")
		return st.clone()
	}
	if body, ok := st.funcs[name]; ok && shell {
		a.eff.did(shown(name), postern.Control)
		a.callFunc(body, st)
		return st.clone()
	}
	if strings.Contains(name, "/") {
		base, ok := systemProgram(name)
		if !ok {
			a.eff.problem("it runs " + shown(name) + ", which isn't one of the system's programs")
			a.eff.did(shown(name), postern.Unknown)
			return st.clone()
		}
		inv.name, inv.shell = base, false
	} else if st.programs != "" {
		a.eff.problem("the name " + shown(name) + " may stand for another program: " + st.programs)
	}
	if inv.shell {
		if b, ok := a.builtins[inv.name]; ok {
			return b(a, &inv, st)
		}
	}
	a.program(&inv, st)
	return st.clone()
}

// shown shortens a word for a message.
func shown(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// systemProgram says which program an absolute path names, when it lies where
// only administrators put programs.
func systemProgram(name string) (base string, ok bool) {
	for _, dir := range []string{"/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/usr/local/bin/", "/usr/local/sbin/", "/snap/bin/"} {
		if base, ok := strings.CutPrefix(name, dir); ok && base != "" && !strings.Contains(base, "/") && base != "." && base != ".." {
			return base, true
		}
	}
	return "", false
}

// assign walks one assignment.
func (a *analyzer) assign(as *syntax.Assign, st *State) {
	if as.Name == nil {
		a.nested(as.Value, st)
		return
	}
	name := as.Name.Value
	a.assigned(name, st)
	switch {
	case as.Array != nil:
		for _, e := range as.Array.Elems {
			if e.Index != nil {
				a.subscript(e.Index, st)
			}
			if e.Value != nil {
				a.word(e.Value, st)
			}
		}
		st.forget(name)
	case as.Index != nil:
		a.subscript(as.Index, st)
		a.one(as.Value, st)
		st.forget(name)
	case as.Append:
		v := st.vars[name]
		var out value
		for _, add := range a.one(as.Value, st) {
			for _, t := range v.texts {
				out.texts = append(out.texts, t.join(add))
			}
		}
		st.set(name, out)
	case as.Value == nil:
		st.set(name, value{texts: []text{nil}})
	default:
		if !isLiteralTilde(as.Value) {
			st.set(name, value{texts: a.known(a.one(as.Value, st))})
			return
		}
		a.one(as.Value, st)
		st.forget(name)
	}
}

// isLiteralTilde says whether an assigned value has a tilde behind a colon,
// which the shell expands there, too.
func isLiteralTilde(w *syntax.Word) bool {
	for _, part := range w.Parts {
		if l, ok := part.(*syntax.Lit); ok && strings.Contains(l.Value, ":~") {
			return true
		}
	}
	return false
}

// known keeps texts of which something is known.
func (a *analyzer) known(ts []text) []text {
	for _, t := range ts {
		if len(t) == 1 && t[0].kind == anything {
			return nil
		}
	}
	return ts
}

// assigned says what it means that a variable of the shell is set.
func (a *analyzer) assigned(name string, st *State) {
	switch {
	case name == "IFS":
		st.splits = true
	case name == "PATH":
		st.programs = "PATH was changed"
	case shellVariable(name):
		a.eff.problem("it sets " + name + ", which changes what later commands do")
		st.lost("a change of " + name)
	}
}

// shellVariable are variables that steer the shell itself, or that programs
// find in their environment anyway.
func shellVariable(name string) bool {
	switch name {
	case "BASH_ENV", "ENV", "PROMPT_COMMAND", "PS0", "PS1", "PS2", "PS4", "CDPATH", "SHELLOPTS", "BASHOPTS", "EXECIGNORE", "BASH_CMDS",
		"BASH_ALIASES", "BASH_LOADABLES_PATH", "POSIXLY_CORRECT", "HOME", "SHELL", "HISTFILE", "INPUTRC", "FCEDIT", "TERMINFO", "USER", "LOGNAME",
		"GLOBIGNORE", "BASH_COMPAT", "ZDOTDIR", "FPATH", "READNULLCMD", "NULLCMD", "auto_resume", "histchars", "MAILPATH", "MAIL":
		return true
	}
	for _, prefix := range []string{"LD_", "BASH_FUNC", "DYLD_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return pager(name)
}

func pager(name string) bool {
	return strings.HasSuffix(name, "PAGER") || strings.HasSuffix(name, "EDITOR") || name == "VISUAL" || name == "BROWSER" ||
		strings.HasPrefix(name, "LESS") || name == "MORE" || name == "MANOPT" || name == "SYSTEMD_LESS"
}

// exported says what it means that programs find a variable in their
// environment.
func (a *analyzer) exported(name string, st *State) {
	if steersPrograms(name) {
		a.eff.problem("it puts " + name + " into the environment, which changes what programs do")
		st.lost("a change of " + name + " in the environment")
	}
}

// secretVariable says whether a variable, by its name, keeps a credential.
func secretVariable(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"secret", "token", "passw", "passphrase", "credential", "apikey", "api_key", "private", "access_key", "database_url"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return strings.HasSuffix(name, "_key") || strings.HasSuffix(name, "_pw") || strings.HasSuffix(name, "_pwd") || strings.HasSuffix(name, "_pass")
}

func steersPrograms(name string) bool {
	if name == "PATH" || name == "IFS" || shellVariable(name) {
		return true
	}
	if strings.ToUpper(name) != name {
		return name == "_JAVA_OPTIONS"
	}
	for _, prefix := range []string{
		"GIT_", "PYTHON", "PERL", "RUBY", "NODE_", "NPM_", "JAVA_", "JDK_", "MAVEN_", "GRADLE_", "SYSTEMD_", "DOCKER_", "KUBE", "RSYNC_",
		"TAR_", "GREP_", "SSH_", "SUDO_", "MAKE", "GCC_", "AWS_CONFIG", "AWS_SHARED", "CLOUDSDK_", "ANSIBLE_", "TF_", "HELM_", "PG", "MYSQL", "XDG_",
		"LIB", "MALLOC_", "GCONV", "LOCPATH", "NLSPATH", "OPENSSL_", "PAM_", "GNUPG", "GPG_", "CVS_", "SVN_", "HG", "LUA_", "R_", "PHP", "COMPOSER_", "CARGO_", "RUST",
		"GO", "TEXINPUTS", "TEXMF", "EMACS", "VIM", "NVIM", "EX", "MC_", "SCREEN", "TMUX", "APT_", "DPKG_", "DEB", "CURL_HOME", "WGETRC", "NETRC",
	} {
		if strings.HasPrefix(name, prefix) && name != "DEBIAN_FRONTEND" && name != "DEBUG" && name != "GIT_TERMINAL_PROMPT" &&
			name != "PGPASSWORD" && name != "PGHOST" && name != "PGUSER" && name != "PGDATABASE" && name != "PGPORT" {
			return true
		}
	}
	for _, suffix := range []string{"_COMMAND", "_CMD", "_OPTS", "_OPTIONS", "FLAGS", "PATH", "_RC", "_HOME", "_CONFIG", "_CONF", "_ASKPASS", "PRELOAD", "_RSH", "_SHELL", "_PROGRAM", "_WRAPPER", "_HOOK"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// declare walks export, declare, local, readonly and typeset.
func (a *analyzer) declare(c *syntax.DeclClause, st *State) {
	variant := c.Variant.Value
	a.eff.did(variant, postern.Control)
	export := variant == "export"
	prints := true
	frozen := variant == "readonly"
	for _, as := range c.Args {
		if as.Naked && as.Name == nil {
			// Options, or names that are put together at run time.
			for _, way := range a.word(as.Value, st) {
				for _, f := range way {
					s, ok := f.exact()
					switch {
					case !ok:
						a.eff.problem(variant + " of names that aren't written there")
						st.lost("a declaration of names that aren't written there")
					case strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+"):
						if strings.Trim(s[1:], "xaAfFpr") != "" && (variant != "export" || s != "-n") {
							// -n and -i make the shell run what values say; -l and -u change
							// them; -g is about another variable than the one that is seen.
							a.eff.problem(variant + " " + s + " makes a variable something else than what is assigned to it")
							st.lost("a variable that isn't what is assigned to it")
						}
						frozen = frozen || strings.Contains(s, "r")
						export = export || strings.Contains(s, "x")
						prints = prints && !strings.Contains(s, "f") && !strings.Contains(s, "F")
					default:
						prints = false
						name, _, assigns := strings.Cut(s, "=")
						if !isName(name) {
							a.eff.problem(variant + " of a name that isn't one")
							continue
						}
						if assigns {
							a.assigned(name, st)
							st.forget(name)
						}
						a.declared(name, variant, frozen, export, st)
					}
				}
			}
			continue
		}
		prints = false
		if as.Naked {
			if as.Index != nil {
				a.subscript(as.Index, st)
			}
			if variant == "local" || len(a.calls) > 0 && variant != "export" && variant != "readonly" {
				st.forget(as.Name.Value)
			}
			a.declared(as.Name.Value, variant, frozen, export, st)
			continue
		}
		a.assign(as, st)
		a.declared(as.Name.Value, variant, frozen, export, st)
	}
	if prints && variant != "local" {
		a.secret("environment")
	}
}

// declared says what it means that a name was declared.
func (a *analyzer) declared(name, variant string, frozen, export bool, st *State) {
	if export {
		a.exported(name, st)
	}
	if frozen {
		st.freeze(name)
	}
	if len(a.calls) > 0 && variant != "export" && variant != "readonly" {
		a.locals = append(a.locals, name)
	}
}

// secret says that something that keeps credentials is shown.
func (a *analyzer) secret(name string) {
	a.eff.touch(postern.Object{Kind: "secret", Name: name})
}
