package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"postern"
)

// builtin is one of the shell's own commands. Afterwards st is the state when
// it succeeded; what it returns, the one when it failed.
type builtin func(a *analyzer, inv *invocation, st *State) (fail State)

// builtins are the shell's own commands.
func builtins() map[string]builtin {
	plain := func(access postern.Access) builtin {
		return func(a *analyzer, inv *invocation, st *State) State {
			a.eff.did(inv.name, access)
			return st.clone()
		}
	}
	m := map[string]builtin{
		"cd": doCd, "pushd": doCd, "popd": doPopd, "exit": doExit, "eval": doEval, "exec": doExec, "command": doCommand, "builtin": doBuiltin,
		".": doSource, "source": doSource, "alias": doAlias, "trap": doTrap, "set": doSet, "shopt": doShopt, "read": doRead,
		"mapfile": doMapfile, "readarray": doMapfile, "printf": doPrintf, "test": doTest, "[": doTest, "unset": doUnset, "hash": doHash,
		"enable": doEnable, "history": doHistory, "fc": doUnsayable, "bind": doUnsayable, "complete": doUnsayable, "compgen": doUnsayable,
		"compopt": doUnsayable, "getopts": doGetopts, "wait": doWait, "suspend": doUnsayable, "declare": doDeclared, "export": doDeclared,
		"typeset": doDeclared, "local": doDeclared, "readonly": doDeclared, "let": doDeclared, "time": doUnsayable, "coproc": doUnsayable,
		"kill": plain(postern.Write), "type": plain(postern.Read), "pwd": plain(postern.Read), "jobs": plain(postern.Read),
		"dirs": plain(postern.Read), "times": plain(postern.Read), "caller": plain(postern.Read), "help": plain(postern.Read),
		"umask": plain(postern.Control), "ulimit": plain(postern.Control), "unalias": plain(postern.Control), "echo": plain(postern.Read),
		"logout": doExit,
	}
	for _, name := range []string{":", "true", "false", "break", "continue", "return", "shift", "bg", "fg", "disown"} {
		m[name] = plain(postern.Control)
	}
	return m
}

// doUnsayable: what it does can't be told.
func doUnsayable(a *analyzer, inv *invocation, st *State) State {
	a.eff.did(inv.name, postern.Unknown)
	a.eff.problem("what " + inv.name + " does to later commands can't be told")
	st.lost(inv.name)
	return st.clone()
}

// doDeclared: a declaration that isn't written as one (\export, builtin export).
func doDeclared(a *analyzer, inv *invocation, st *State) State {
	a.eff.did(inv.name, postern.Control)
	for _, x := range inv.args {
		s, ok := x.exact()
		name, _, assigns := strings.Cut(s, "=")
		if !ok || !isName(name) || inv.name == "let" {
			a.eff.problem("what " + inv.name + " declares isn't plain")
			st.lost("a declaration that isn't plain")
			return st.clone()
		}
		if assigns {
			a.assigned(name, st)
			st.forget(name)
		}
		a.exported(name, st)
	}
	return st.clone()
}

func doCd(a *analyzer, inv *invocation, st *State) State {
	a.eff.did(inv.name, postern.Control)
	fail := st.clone()
	var ops []arg
	for _, x := range inv.args {
		if s, ok := x.exact(); ok && (s == "-P" || s == "-L" || s == "--" || s == "-e" || s == "-PL") {
			continue
		}
		ops = append(ops, x)
	}
	switch {
	case len(ops) == 0 && inv.name == "cd":
		st.chdir(exactArg("~"), true)
	case len(ops) == 1 && !ops[0].many && !strings.HasPrefix(ops[0].prefix(), "+"):
		if s, ok := ops[0].exact(); ok && s == "" {
			break
		}
		st.chdir(ops[0], true)
	default:
		st.cwd, fail.cwd = []string{unknownDir}, []string{unknownDir}
	}
	return fail
}

func doPopd(a *analyzer, inv *invocation, st *State) State {
	a.eff.did(inv.name, postern.Control)
	st.cwd = []string{unknownDir}
	return st.clone()
}

func doExit(a *analyzer, inv *invocation, st *State) State {
	a.eff.did(inv.name, postern.Control)
	fail := st.clone()
	if len(inv.args) == 0 {
		st.ended, fail.ended = true, true
	} else if len(inv.args) == 1 && !inv.args[0].many && isNumeric(inv.args[0].text) {
		st.ended, fail.ended = true, true
	}
	return fail
}

// text walks code that is in the arguments, in the same shell.
func (a *analyzer) text(code string, st *State) {
	a.eff.interpreter = true
	if why := unreadable(code); why != "" {
		a.eff.problem("code that it runs: " + why)
		st.lost("code that could not be read")
		return
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(code), "")
	if err != nil {
		a.eff.problem("code that it runs isn't valid for a shell: " + parseProblem(err))
		st.lost("code that could not be parsed")
		return
	}
	a.stmts(file.Stmts, st)
}

func doEval(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("eval", postern.Control)
	args := inv.args
	if len(args) > 0 {
		if s, ok := args[0].exact(); ok && s == "--" {
			args = args[1:]
		}
	}
	code, ok := joined(args)
	if !ok {
		a.eff.interpreter = true
		a.eff.problem("what eval runs isn't written there")
		st.lost("eval of what could not be told")
		return st.clone()
	}
	a.text(code, st)
	return st.clone()
}

// joined are arguments as one text.
func joined(args []arg) (string, bool) {
	var words []string
	for _, x := range args {
		s, ok := x.exact()
		if !ok {
			return "", false
		}
		words = append(words, s)
	}
	return strings.Join(words, " "), true
}

func doExec(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("exec", postern.Control)
	s := spec{short: "a", first: true}
	o := s.parse(inv.args)
	if len(o.operands) == 0 {
		return st.clone()
	}
	if o.unsure {
		a.unsure("exec")
	}
	sub := st.clone()
	a.invoke(o.operands, inv.in, false, &sub)
	fail := st.clone() // when there is no such program, some shells go on
	st.ended = true
	return fail
}

func doCommand(a *analyzer, inv *invocation, st *State) State {
	s := spec{first: true}
	o := s.parse(inv.args)
	if o.has("v", "V") && !o.unsure {
		a.eff.did("command", postern.Read)
		return st.clone()
	}
	a.eff.did("command", postern.Control)
	if len(o.operands) == 0 {
		return st.clone()
	}
	return a.invokeWithoutFunctions(o.operands, inv, st)
}

// invokeWithoutFunctions runs a builtin or a program, whatever function has its
// name.
func (a *analyzer) invokeWithoutFunctions(words []arg, inv *invocation, st *State) State {
	if name, ok := words[0].exact(); ok {
		if b, ok := a.builtins[name]; ok {
			return b(a, &invocation{name: name, args: words[1:], in: inv.in, shell: true}, st)
		}
	}
	return a.invoke(words, inv.in, false, st)
}

func doBuiltin(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("builtin", postern.Control)
	args := inv.args
	if len(args) > 0 {
		if s, ok := args[0].exact(); ok && s == "--" {
			args = args[1:]
		}
	}
	if len(args) == 0 {
		return st.clone()
	}
	return a.invokeWithoutFunctions(args, inv, st)
}

func doSource(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("source", postern.Unknown)
	a.eff.interpreter = true
	for _, x := range inv.args[:min(1, len(inv.args))] {
		a.read(x, st)
	}
	a.eff.problem("it runs a file, of which nobody knows what is in it")
	st.lost("a file that was run in the shell itself")
	return st.clone()
}

func doAlias(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("alias", postern.Control)
	for _, x := range inv.args {
		s, ok := x.exact()
		if !ok {
			// Of an alias, only the name matters.
			s, _, ok = strings.Cut(x.prefix(), "=")
			s += "="
		}
		name, _, defines := strings.Cut(s, "=")
		switch {
		case !ok || x.many || reserved(name) && defines:
			a.eff.problem("an alias whose name can't be told, or is the shell's own")
			st.lost("an alias")
		case defines:
			st.alias(name)
		}
	}
	return st.clone()
}

func doTrap(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("trap", postern.Control)
	s := spec{first: true}
	o := s.parse(inv.args)
	if o.unsure {
		a.unsure("trap")
	}
	if len(o.operands) < 2 || o.has("l", "p") {
		return st.clone()
	}
	code, ok := o.operands[0].exact()
	if !ok {
		a.eff.problem("what trap runs isn't written there")
		st.lost("a trap")
		return st.clone()
	}
	if code == "-" || code == "" {
		return st.clone()
	}
	for _, signal := range o.operands[1:] {
		if s, ok := signal.exact(); !ok || strings.EqualFold(s, "DEBUG") || strings.EqualFold(s, "RETURN") || strings.EqualFold(s, "ERR") {
			a.eff.problem("a trap that runs with every command")
			st.lost("a trap that runs with every command")
			return st.clone()
		}
	}
	// It runs at any time, with whatever variables there are then.
	later := st.clone()
	for name := range later.vars {
		later.forget(name)
	}
	later.cwd = []string{unknownDir}
	before := later.clone()
	a.text(code, &later)
	if later.ended = before.ended; !same(&before, &later) {
		a.eff.problem("a trap that changes what later commands mean")
		st.lost("a trap that changes what later commands mean")
	}
	return st.clone()
}

func doSet(a *analyzer, inv *invocation, st *State) State {
	if len(inv.args) == 0 {
		a.eff.did("set", postern.Read)
		a.secret("environment")
		return st.clone()
	}
	a.eff.did("set", postern.Control)
	for i := 0; i < len(inv.args); i++ {
		s, ok := inv.args[i].exact()
		switch {
		case ok && (s == "--" || s == "-"), ok && s != "" && s[0] != '-' && s[0] != '+':
			return st.clone() // positional parameters, of which nothing is known anyway
		case !ok:
			if inv.args[i].maybeOption() {
				a.eff.problem("what set sets isn't written there")
				st.lost("set of what could not be told")
			}
			return st.clone()
		case s == "-o" || s == "+o" || strings.HasSuffix(s, "o") && len(s) > 2:
			i++
			name := ""
			if i < len(inv.args) {
				name, ok = inv.args[i].exact()
			}
			switch name {
			case "errexit", "nounset", "pipefail", "noglob", "noclobber", "xtrace", "verbose", "errtrace", "functrace", "noexec", "hashall", "braceexpand", "physical", "":
			default:
				ok = false
			}
			s = strings.TrimSuffix(s, "o")
			fallthrough
		default:
			if !ok || strings.Trim(s[min(1, len(s)):], "euxfvCETnhBPb") != "" {
				a.eff.problem("set " + shown(s) + " changes what later commands mean")
				st.lost("a change of the shell's options")
			}
		}
	}
	return st.clone()
}

func doShopt(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("shopt", postern.Control)
	for _, x := range inv.args {
		s, ok := x.exact()
		switch s {
		case "-s", "-u", "-q", "-p", "-o", "extglob", "nullglob", "dotglob", "globstar", "failglob", "nocaseglob", "nocasematch", "expand_aliases",
			"checkwinsize", "histappend", "cmdhist", "lithist", "inherit_errexit", "huponexit", "checkjobs", "pipefail", "errexit", "nounset", "globasciiranges":
		default:
			ok = false
		}
		if !ok {
			a.eff.problem("shopt " + shown(x.String()) + " changes what later commands mean")
			st.lost("a change of the shell's options")
		}
	}
	return st.clone()
}

// fills says that variables are filled with what isn't known.
func (a *analyzer) fills(names []arg, st *State) {
	for _, x := range names {
		name, ok := x.exact()
		if !ok || !isName(name) {
			a.eff.problem("the variable that is filled isn't written there")
			st.lost("a variable whose name could not be told")
			continue
		}
		a.assigned(name, st)
		st.forget(name)
	}
}

func doRead(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("read", postern.Control)
	s := spec{short: "adinNptu", first: false}
	o := s.parse(inv.args)
	if o.unsure {
		a.unsure("read")
		st.lost("read into what could not be told")
	}
	a.fills(append(o.values("a"), o.operands...), st)
	st.forget("REPLY")
	return st.clone()
}

func doMapfile(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("mapfile", postern.Control)
	s := spec{short: "dnOsuCc"}
	o := s.parse(inv.args)
	if o.unsure || o.has("C") {
		a.eff.problem("mapfile -C runs what its option says")
		st.lost("mapfile")
	}
	a.fills(o.operands, st)
	st.forget("MAPFILE")
	return st.clone()
}

func doGetopts(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("getopts", postern.Control)
	if len(inv.args) >= 2 {
		a.fills(inv.args[1:2], st)
	}
	st.forget("OPTARG")
	st.set("OPTIND", value{number: true})
	return st.clone()
}

func doWait(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("wait", postern.Control)
	for i, x := range inv.args {
		if s, ok := x.exact(); ok && s == "-p" && i+1 < len(inv.args) {
			a.fills(inv.args[i+1:i+2], st)
		} else if x.maybeOption() {
			a.unsure("wait")
		}
	}
	return st.clone()
}

func doPrintf(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("printf", postern.Read)
	if len(inv.args) == 0 {
		return st.clone()
	}
	switch s, ok := inv.args[0].exact(); {
	case ok && s == "-v":
		if len(inv.args) > 1 {
			a.fills(inv.args[1:2], st)
		}
	case strings.HasPrefix(s, "-v"), !ok && inv.args[0].maybeOption():
		a.eff.problem("the variable that printf -v fills isn't written there")
		st.lost("printf into what could not be told")
	}
	return st.clone()
}

func doUnset(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("unset", postern.Control)
	for _, x := range inv.args {
		s, ok := x.exact()
		switch {
		case ok && strings.HasPrefix(s, "-"):
			if s != "-f" && s != "-v" {
				a.eff.problem("what unset takes away can't be told")
			}
		case ok && isName(s):
			a.assigned(s, st)
			st.forget(s)
			// A function may be gone, or not: it stays known, and what has its
			// name, too, is then not told apart.
			if _, is := st.funcs[s]; is {
				st.alias(s)
			}
		case ok && strings.HasPrefix(s, "_") || ok && !strings.ContainsAny(s, "[$`"):
			if _, is := st.funcs[s]; is {
				st.alias(s)
			}
		default:
			a.eff.problem("what unset takes away can't be told: a subscript is run")
			st.lost("unset of what could not be told")
		}
	}
	return st.clone()
}

func doHash(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("hash", postern.Control)
	for _, x := range inv.args {
		if s, ok := x.exact(); !ok || strings.HasPrefix(s, "-") && s != "-r" {
			a.eff.problem("hash gives a program another name")
			st.lost("hash")
		}
	}
	return st.clone()
}

func doEnable(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("enable", postern.Control)
	for i, x := range inv.args {
		s, ok := x.exact()
		if ok && (s == "-n" || s == "-a" || s == "-p" || s == "-s") || ok && i > 0 && isName(s) {
			continue
		}
		a.eff.problem("enable can load code into the shell")
		st.lost("enable")
	}
	return st.clone()
}

func doHistory(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("history", postern.Read)
	for _, x := range inv.args {
		if s, ok := x.exact(); !ok || strings.Trim(s, "0123456789") != "" && s != "-c" {
			a.eff.problem("history reads and writes files, or expands what was typed before")
		}
	}
	return st.clone()
}

// doTest: -v looks at an element whose subscript it runs, so no word that isn't
// known may stand where an operator does.
func doTest(a *analyzer, inv *invocation, st *State) State {
	a.eff.did("test", postern.Read)
	args := inv.args
	if inv.name == "[" && len(args) > 0 {
		args = args[:len(args)-1]
	}
	for i, x := range args {
		s, ok := x.exact()
		if ok {
			if (s == "-v" || s == "-R") && i+1 < len(args) {
				if name, ok := args[i+1].exact(); !ok || !isName(name) && strings.ContainsAny(name, "[$`") {
					a.eff.problem("-v looks at an element whose subscript it runs")
				}
			}
			continue
		}
		if len(x.text) > 0 && x.text[0].kind == number && !x.many {
			continue
		}
		if p := x.prefix(); !x.many && p != "" && p[0] != '-' {
			continue
		}
		before := i > 0 && isTestOperator(args[i-1])
		after := i+1 < len(args) && isBinaryOperator(args[i+1])
		if x.many && x.text.has(anything) && !(len(args) == 1) || !before && !after {
			if len(args) == 1 && !x.many {
				continue // one word: is it empty?
			}
			a.eff.problem("a word of a test that isn't known may be an operator: write it in double quotes, with the operator behind it")
		}
	}
	return st.clone()
}

func isTestOperator(x arg) bool {
	s, ok := x.exact()
	return ok && s != "-v" && s != "-R" && (isBinaryOperator(x) || len(s) == 2 && s[0] == '-')
}

func isBinaryOperator(x arg) bool {
	s, ok := x.exact()
	if !ok {
		return false
	}
	switch s {
	case "=", "==", "!=", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef":
		return true
	}
	return false
}
