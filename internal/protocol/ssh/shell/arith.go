package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Arithmetic is code: a variable's value is itself read as an expression, and
// the subscript in one is expanded, commands and all. So every variable in an
// expression must be known to hold a number, or nothing.

// arith walks an expression.
func (a *analyzer) arith(x syntax.ArithmExpr, st *State) {
	switch x := x.(type) {
	case nil:
	case *syntax.BinaryArithm:
		if assigns(x.Op) {
			if w, ok := x.X.(*syntax.Word); ok {
				a.arithAssign(w, st)
			}
			a.arith(x.Y, st)
			return
		}
		a.arith(x.X, st)
		a.arith(x.Y, st)
	case *syntax.UnaryArithm:
		a.arith(x.X, st)
		if x.Op == syntax.Inc || x.Op == syntax.Dec {
			if w, ok := x.X.(*syntax.Word); ok {
				a.arithAssign(w, st)
			}
		}
	case *syntax.ParenArithm:
		a.arith(x.X, st)
	case *syntax.Word:
		a.arithWord(x, st)
	default:
		a.eff.problem("an arithmetic expression isn't understood")
	}
}

func assigns(op syntax.BinAritOperator) bool {
	switch op {
	case syntax.Assgn, syntax.AddAssgn, syntax.SubAssgn, syntax.MulAssgn, syntax.QuoAssgn, syntax.RemAssgn,
		syntax.AndAssgn, syntax.OrAssgn, syntax.XorAssgn, syntax.ShlAssgn, syntax.ShrAssgn:
		return true
	}
	return false
}

func (a *analyzer) arithAssign(w *syntax.Word, st *State) {
	name := w.Lit()
	if !isName(name) {
		a.arithWord(w, st)
		return
	}
	a.assigned(name, st)
	st.set(name, value{number: true})
}

// arithWord: a number, a variable's name, or an expansion that comes to one.
func (a *analyzer) arithWord(w *syntax.Word, st *State) {
	for _, part := range w.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			switch {
			case isNumber(part.Value):
			case isName(part.Value) && len(w.Parts) == 1:
				a.arithVar(part.Value, st)
			default:
				a.eff.problem("an arithmetic expression holds something else than numbers and variables")
			}
		case *syntax.ParamExp:
			if part.Index != nil && len(w.Parts) == 1 && part.Exp == nil && part.Param != nil && !part.Excl && !part.Length && part.Dollar == (syntax.Pos{}) {
				a.subscript(part.Index, st) // a[i] as a variable of the expression
				a.arithVar(part.Param.Value, st)
				continue
			}
			a.arithTexts(part, st)
		case *syntax.DblQuoted:
			for _, inner := range part.Parts {
				if l, ok := inner.(*syntax.Lit); ok && isNumber(l.Value) {
					continue
				}
				a.arithTexts(inner, st)
			}
		case *syntax.CmdSubst, *syntax.ArithmExp:
			a.arithTexts(part, st)
		default:
			a.eff.problem("an arithmetic expression holds quotes")
		}
	}
}

func (a *analyzer) arithTexts(part syntax.WordPart, st *State) {
	if l, ok := part.(*syntax.Lit); ok {
		if !isNumber(l.Value) {
			a.eff.problem("an arithmetic expression holds quotes")
		}
		return
	}
	texts, _ := a.part(part, st)
	for _, t := range texts {
		if !isNumeric(t) {
			a.eff.problem("an arithmetic expression holds a value that isn't known to be a number: the shell would run it")
		}
	}
}

func (a *analyzer) arithVar(name string, st *State) {
	v, ok := st.vars[name]
	if !ok {
		switch name {
		case "RANDOM", "SECONDS", "UID", "EUID", "PPID", "LINENO", "BASHPID", "COLUMNS", "LINES":
			return
		}
		if strings.ToLower(name) == name { // not from the environment, as good as surely: unset is 0
			return
		}
	}
	if v.number {
		return
	}
	if len(v.texts) == 0 {
		a.eff.problem("an arithmetic expression uses $" + name + ", which isn't known to be a number: the shell would run its value")
		return
	}
	for _, t := range v.texts {
		if !isNumeric(t) {
			a.eff.problem("an arithmetic expression uses $" + name + ", which isn't a number: the shell would run its value")
		}
	}
}

func isNumeric(t text) bool {
	for _, p := range t {
		if p.kind != number && (p.kind != literal || !isNumber(p.lit)) {
			return false
		}
	}
	return true
}

func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	if digits, ok := strings.CutPrefix(s, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdefABCDEF") == ""
	}
	return strings.Trim(s, "0123456789") == ""
}

// subscript walks an array's subscript: @, *, a plain word of a key, or an
// expression.
func (a *analyzer) subscript(x syntax.ArithmExpr, st *State) {
	w, ok := x.(*syntax.Word)
	if !ok {
		a.arith(x, st)
		return
	}
	switch w.Lit() {
	case "@", "*":
		return
	}
	if len(w.Parts) == 1 {
		if q, ok := w.Parts[0].(*syntax.DblQuoted); ok && len(q.Parts) == 1 && !q.Dollar {
			if l, ok := q.Parts[0].(*syntax.Lit); ok && plainKey(l.Value) {
				return
			}
		}
		if q, ok := w.Parts[0].(*syntax.SglQuoted); ok && plainKey(q.Value) && !q.Dollar {
			return
		}
	}
	a.arithWord(w, st)
}

func plainKey(s string) bool { return !strings.ContainsAny(s, "$`\\[]\"'()") }
