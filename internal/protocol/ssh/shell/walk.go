package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"postern"
)

const (
	// maxSteps bounds how much is walked for one text: loops within loops and
	// functions that call functions are walked again and again.
	maxSteps = 20000
	// maxDepth bounds how deep things are nested: sh -c in sh -c in sh -c.
	maxDepth = 40
)

// analyzer walks one text.
type analyzer struct {
	eff    *effects
	budget int
	depth  int
	calls  []*syntax.Stmt // bodies of functions that are being walked
	locals []string       // variables that the running function declared
	piped  bool           // what is printed doesn't go to a terminal

	builtins map[string]builtin
	specials map[string]program
}

// stmts walks statements one after another.
func (a *analyzer) stmts(list []*syntax.Stmt, st *State) {
	for _, s := range list {
		a.stmt(s, st)
	}
}

// stmt walks a statement; afterwards st is as it may be, whether it succeeded
// or not.
func (a *analyzer) stmt(s *syntax.Stmt, st *State) {
	fail := a.run(s, st)
	*st = merge(st, &fail)
}

// merge joins two ways, of which one may have ended the shell.
func merge(a, b *State) State {
	switch {
	case a.ended:
		return b.clone()
	case b.ended:
		return a.clone()
	}
	return join(a, b)
}

// run walks a statement. Afterwards st is the state when it succeeded, fail the
// one when it failed.
func (a *analyzer) run(s *syntax.Stmt, st *State) (fail State) {
	a.budget--
	if a.depth >= maxDepth || a.budget < 0 {
		a.eff.problem("it is too deeply nested")
		st.lost("a text that is too deeply nested")
		return st.clone()
	}
	a.depth++
	defer func() { a.depth-- }()
	if s.Coprocess || s.Disown {
		a.eff.problem("a construct of another shell than bash")
	}
	if s.Background {
		a.eff.background = true
		sub := st.clone()
		a.command(s, &sub)
		return st.clone()
	}
	fail = a.command(s, st)
	if s.Negated {
		ok := st.clone()
		*st, fail = fail, ok
	}
	return fail
}

// command walks a statement's redirections and command.
func (a *analyzer) command(s *syntax.Stmt, st *State) (fail State) {
	piped := a.piped
	defer func() { a.piped = piped }()
	in := a.redirects(s.Redirs, st)
	switch cmd := s.Cmd.(type) {
	case nil:
		if len(s.Redirs) > 0 {
			a.eff.did("redirect", postern.Control)
		}
	case *syntax.CallExpr:
		return a.call(cmd, in, st)
	case *syntax.BinaryCmd:
		return a.binary(cmd, st)
	case *syntax.Block:
		a.stmts(cmd.Stmts, st)
	case *syntax.Subshell:
		sub := st.clone()
		a.stmts(cmd.Stmts, &sub)
	case *syntax.IfClause:
		a.ifClause(cmd, st)
	case *syntax.WhileClause:
		a.loop(st, func(st *State) {
			a.stmts(cmd.Cond, st)
			a.stmts(cmd.Do, st)
		})
	case *syntax.ForClause:
		a.forClause(cmd, st)
	case *syntax.CaseClause:
		a.caseClause(cmd, st)
	case *syntax.FuncDecl:
		a.funcDecl(cmd, st)
	case *syntax.ArithmCmd:
		a.eff.did("let", postern.Control)
		a.arith(cmd.X, st)
	case *syntax.LetClause:
		a.eff.did("let", postern.Control)
		for _, x := range cmd.Exprs {
			a.arith(x, st)
		}
	case *syntax.TestClause:
		a.eff.did("test", postern.Read)
		a.testExpr(cmd.X, st)
	case *syntax.DeclClause:
		a.declare(cmd, st)
	case *syntax.TimeClause:
		if cmd.Stmt != nil {
			return a.run(cmd.Stmt, st)
		}
	case *syntax.CoprocClause:
		a.eff.background = true
		name := "COPROC"
		if cmd.Name != nil {
			a.nested(cmd.Name, st)
			if name = cmd.Name.Lit(); !isName(name) {
				a.eff.problem("the name of a coprocess isn't written there")
			}
		}
		sub := st.clone()
		a.stmt(cmd.Stmt, &sub)
		st.freeze(name)
		st.freeze(name + "_PID")
	default:
		a.eff.problem("a construct that isn't known")
		st.lost("a construct that isn't known")
	}
	return st.clone()
}

func (a *analyzer) binary(cmd *syntax.BinaryCmd, st *State) (fail State) {
	switch cmd.Op {
	case syntax.AndStmt:
		first := a.run(cmd.X, st)
		second := a.run(cmd.Y, st)
		return merge(&first, &second)
	case syntax.OrStmt:
		first := a.run(cmd.X, st)
		second := a.run(cmd.Y, &first)
		*st = merge(st, &first)
		return second
	default:
		piped := a.piped
		left, right := st.clone(), st.clone()
		a.piped = true
		a.stmt(cmd.X, &left)
		a.piped = piped
		a.stmt(cmd.Y, &right)
		right.ended = false
		*st = join(st, &right) // some shells run the last part themselves
		return st.clone()
	}
}

func (a *analyzer) ifClause(c *syntax.IfClause, st *State) {
	for i, s := range c.Cond {
		if i < len(c.Cond)-1 {
			a.stmt(s, st)
			continue
		}
		fail := a.run(s, st)
		a.stmts(c.Then, st)
		if c.Else != nil {
			a.ifClause(c.Else, &fail)
		}
		*st = merge(st, &fail)
		return
	}
	a.stmts(c.Then, st) // an else
}

// loop walks a body until its state doesn't change any more.
func (a *analyzer) loop(st *State, body func(*State)) {
	for round := 0; ; round++ {
		before := st.clone()
		next := st.clone()
		body(&next)
		next.ended = false
		*st = join(st, &next)
		if same(&before, st) {
			return
		}
		if round >= 3 {
			for name, v := range st.vars {
				if w, ok := before.vars[name]; !ok || len(w.texts) != len(v.texts) || w.number != v.number {
					st.forget(name)
				}
			}
			if len(st.dirs()) != len(before.dirs()) {
				st.cwd = []string{unknownDir}
			}
		}
		if round > 8 {
			a.eff.problem("a loop isn't understood")
			st.lost("a loop that isn't understood")
			return
		}
	}
}

func (a *analyzer) forClause(c *syntax.ForClause, st *State) {
	switch loop := c.Loop.(type) {
	case *syntax.WordIter:
		v := value{}
		if loop.InPos.IsValid() {
			v = a.items(loop.Items, st)
		}
		a.assigned(loop.Name.Value, st)
		if c.Select {
			v = value{}
			a.eff.interactive = true
		}
		a.loop(st, func(st *State) {
			st.set(loop.Name.Value, v)
			a.stmts(c.Do, st)
		})
	case *syntax.CStyleLoop:
		a.arith(loop.Init, st)
		a.loop(st, func(st *State) {
			a.arith(loop.Cond, st)
			a.stmts(c.Do, st)
			a.arith(loop.Post, st)
		})
	default:
		a.eff.problem("a loop isn't understood")
		st.lost("a loop that isn't understood")
	}
}

// items are what a loop's variable may be.
func (a *analyzer) items(words []*syntax.Word, st *State) value {
	var v value
	known := true
	for _, w := range words { // all of them: what is nested in each is run
		for _, way := range a.word(w, st) {
			for _, f := range way {
				known = known && !(f.many && f.text.has(anything))
				v.texts = append(v.texts, f.text)
			}
		}
	}
	if !known {
		return value{}
	}
	if len(v.texts) == 0 { // no rounds at all
		v.texts = []text{nil}
	}
	return v
}

func (a *analyzer) caseClause(c *syntax.CaseClause, st *State) {
	a.nested(c.Word, st)
	out := st.clone()
	for _, item := range c.Items {
		for _, p := range item.Patterns {
			a.nested(p, st)
		}
		way := out.clone() // ;& and ;;& go on to the next
		a.stmts(item.Stmts, &way)
		out = merge(&out, &way)
	}
	*st = out
}

// funcDecl remembers a function. What it does counts when it is called.
func (a *analyzer) funcDecl(c *syntax.FuncDecl, st *State) {
	if c.Name == nil || c.Body == nil {
		a.eff.problem("a function of another shell than bash")
		return
	}
	name := c.Name.Value
	a.eff.did("function", postern.Control)
	switch {
	case reserved(name):
		a.eff.problem("a function takes the name of " + name + ", which is the shell's own")
		st.lost("a function that takes the name of one of the shell's own words")
		return
	case strings.HasSuffix(name, "_handle"): // command_not_found_handle: the shell calls it itself
		a.eff.problem("the shell calls the function " + name + " itself")
		st.lost("a function that the shell calls itself")
		return
	}
	if old, ok := st.funcs[name]; ok && old != c.Body {
		st.alias(name) // which of the two is called isn't told apart
	}
	if !functionBody(c.Body) {
		// The parser takes what follows the body, f() { …; } && rm x, for a part of
		// it. A shell runs it at once.
		a.eff.problem("something follows a function's body: write it on a line of its own")
		st.lost("something that follows a function's body")
		return
	}
	if st.funcs == nil {
		st.funcs = map[string]*syntax.Stmt{}
	}
	st.funcs[name] = c.Body
}

// functionBody says whether a statement is one compound command.
func functionBody(s *syntax.Stmt) bool {
	if s.Negated || s.Background || s.Coprocess {
		return false
	}
	switch s.Cmd.(type) {
	case *syntax.Block, *syntax.Subshell, *syntax.IfClause, *syntax.WhileClause, *syntax.ForClause, *syntax.CaseClause, *syntax.ArithmCmd, *syntax.TestClause:
		return true
	}
	return false
}

// reserved are names by which this analyser knows what the shell itself does.
func reserved(name string) bool {
	switch name {
	case "declare", "local", "export", "readonly", "typeset", "nameref", "let", "time", "coproc", "eval", "exec", "source", ".",
		"set", "unset", "trap", "shift", "return", "exit", "break", "continue", ":", "builtin", "command", "select", "function", "cd",
		"alias", "unalias", "shopt", "enable", "hash", "times", "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done",
		"case", "esac", "in", "{", "}", "!", "[[", "]]", "read", "printf", "pwd", "test", "[", "true", "false", "kill", "wait", "mapfile", "getopts":
		return true
	}
	return strings.ContainsAny(name, "/*?[$`\\\"'=") || strings.HasPrefix(name, "-")
}

// callFunc walks a function's body as if it stood here, without knowing its
// arguments. A function may change what its caller sees, so the state goes in
// and comes out.
func (a *analyzer) callFunc(body *syntax.Stmt, st *State) {
	for _, running := range a.calls {
		if running == body {
			// Once more can do nothing else than what is being walked, but with
			// other variables.
			for name := range st.vars {
				st.forget(name)
			}
			st.cwd = []string{unknownDir}
			return
		}
	}
	a.calls = append(a.calls, body)
	defer func() { a.calls = a.calls[:len(a.calls)-1] }()
	if recursive(body, st) {
		for name := range st.vars {
			st.forget(name)
		}
		st.cwd = []string{unknownDir}
	}
	outer := a.locals
	a.locals = nil
	a.stmt(body, st)
	for _, name := range a.locals { // what they hide comes back
		st.forget(name)
	}
	a.locals = outer
}

// recursive says whether a body may call functions that call it again.
func recursive(body *syntax.Stmt, st *State) bool {
	seen := map[*syntax.Stmt]bool{}
	var reach func(s *syntax.Stmt) bool
	reach = func(s *syntax.Stmt) bool {
		again := false
		syntax.Walk(s, func(n syntax.Node) bool {
			call, ok := n.(*syntax.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			for _, w := range call.Args {
				for name, next := range st.funcs {
					if w.Lit() != name {
						continue
					}
					if next == body {
						again = true
					} else if !seen[next] {
						seen[next] = true
						again = again || reach(next)
					}
				}
			}
			return true
		})
		return again
	}
	return reach(body)
}

// testExpr walks what stands between [[ and ]].
func (a *analyzer) testExpr(x syntax.TestExpr, st *State) {
	switch x := x.(type) {
	case *syntax.BinaryTest:
		switch x.Op {
		case syntax.TsEql, syntax.TsNeq, syntax.TsLeq, syntax.TsGeq, syntax.TsLss, syntax.TsGtr:
			for _, side := range []syntax.TestExpr{x.X, x.Y} {
				w, ok := side.(*syntax.Word)
				if !ok {
					a.eff.problem("a comparison isn't understood")
					continue
				}
				a.arithWord(w, st)
			}
			return
		}
		a.testExpr(x.X, st)
		a.testExpr(x.Y, st)
	case *syntax.UnaryTest:
		if w, ok := x.X.(*syntax.Word); ok && (x.Op == syntax.TsVarSet || x.Op == syntax.TsRefVar) && !isName(w.Lit()) {
			a.eff.problem("-v looks at an element whose subscript it runs")
		}
		a.testExpr(x.X, st)
	case *syntax.ParenTest:
		a.testExpr(x.X, st)
	case *syntax.Word:
		a.nested(x, st)
	default:
		a.eff.problem("a test isn't understood")
	}
}
