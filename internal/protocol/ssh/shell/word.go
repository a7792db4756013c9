package shell

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"postern"
)

// fields are the arguments that a word comes to.
type fields []arg

// expand says what words come to: one list of arguments for each way in which
// their variables may be filled. What is nested in them is walked.
func (a *analyzer) expand(words []*syntax.Word, st *State) []fields {
	ways := []fields{{}}
	for _, w := range words {
		more := a.word(w, st)
		if len(ways)*len(more) > maxAlternatives {
			more = []fields{{{text: text{{anything, ""}}, many: true}}}
		}
		var next []fields
		for _, way := range ways {
			for _, m := range more {
				next = append(next, append(append(fields{}, way...), m...))
			}
		}
		ways = next
	}
	return ways
}

const maxBraces = 64

// word expands one word, braces first.
func (a *analyzer) word(w *syntax.Word, st *State) []fields {
	split := *w
	split.Parts = append([]syntax.WordPart(nil), w.Parts...)
	if !syntax.SplitBraces(&split) {
		if bracesLeft(&split) {
			a.parts(&split, st, false) // for what is nested
			return []fields{{{text: text{{anything, ""}}, many: true}}}
		}
		return a.parts(&split, st, true)
	}
	ways := []fields{{}}
	n := 0
	for one, err := range expand.BracesSeq(nil, &split) {
		if n++; err != nil || n > maxBraces || bracesLeft(one) {
			a.parts(w, st, false)
			return []fields{{{text: text{{anything, ""}}, many: true}}}
		}
		more := a.parts(one, st, true)
		if len(ways)*len(more) > maxAlternatives {
			a.parts(w, st, false) // for what is nested further on
			return []fields{{{text: text{{anything, ""}}, many: true}}}
		}
		var next []fields
		for _, way := range ways {
			for _, m := range more {
				next = append(next, append(append(fields{}, way...), m...))
			}
		}
		ways = next
	}
	return ways
}

// bracesLeft says whether a shell might still see braces to expand.
func bracesLeft(w *syntax.Word) bool {
	open, comma := false, false
	for _, part := range w.Parts {
		l, ok := part.(*syntax.Lit)
		if !ok {
			continue
		}
		for i := 0; i < len(l.Value); i++ {
			switch l.Value[i] {
			case '\\':
				i++
			case '{':
				open = true
			case ',':
				comma = comma || open
			case '.':
				comma = comma || open && i+1 < len(l.Value) && l.Value[i+1] == '.'
			case '}':
				if open && comma {
					return true
				}
			}
		}
	}
	return false
}

// building are the arguments of a word while its parts are read.
type building struct {
	done fields
	cur  text
	some bool // cur is an argument even if it is empty
	many bool
}

func (b *building) end() {
	if b.some || len(b.cur) > 0 {
		b.done = append(b.done, arg{text: b.cur, many: b.many})
	}
	b.cur, b.some, b.many = nil, false, false
}

// parts expands a word without braces. With globs, unquoted patterns stand for
// files' names and values are split; without, as in an assignment, not.
func (a *analyzer) parts(w *syntax.Word, st *State, globs bool) []fields {
	ways := []building{{}}
	for i, part := range w.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			t := unquotedLit(part.Value, i == 0, globs, st)
			if t.has(wildcard) {
				a.eff.glob = true
			}
			for j := range ways {
				ways[j].cur = ways[j].cur.join(t)
			}
		case *syntax.SglQuoted:
			t := lit(part.Value)
			if part.Dollar {
				t = ansiC(part.Value)
			}
			for j := range ways {
				ways[j].cur, ways[j].some = ways[j].cur.join(t), true
			}
		case *syntax.DblQuoted:
			ways = a.quoted(part, st, ways)
		default:
			texts, many := a.part(part, st)
			ways = unquoted(ways, texts, many, globs, st)
			if len(ways) > 0 && globs {
				for j := range ways {
					if ways[j].cur.has(wildcard) {
						a.eff.glob = true
					}
				}
			}
		}
		if len(ways) > maxAlternatives {
			ways = []building{{cur: text{{anything, ""}}, many: true}}
		}
	}
	var out []fields
	for _, b := range ways {
		b.end()
		out = append(out, b.done)
	}
	return out
}

// unquoted adds what an expansion outside of quotes comes to: split at blanks,
// and patterns in it are patterns.
func unquoted(ways []building, texts []text, many, globs bool, st *State) []building {
	var next []building
	for _, b := range ways {
		for _, t := range texts {
			n := building{done: append(fields{}, b.done...), cur: b.cur, some: b.some, many: b.many || many && globs}
			if !globs {
				n.cur = n.cur.join(t)
				next = append(next, n)
				continue
			}
			for _, p := range t {
				if st.splits && p.kind != number {
					p = piece{anything, ""}
				}
				switch p.kind {
				case literal:
					n.split(p.lit)
				case number:
					n.cur = n.cur.add(p)
				default:
					n.cur, n.many = n.cur.add(p), true
				}
			}
			next = append(next, n)
		}
	}
	return next
}

// split adds text that is split at blanks.
func (b *building) split(s string) {
	for s != "" {
		i := strings.IndexAny(s, " \t\n")
		if i < 0 {
			b.cur = b.cur.join(patterns(s))
			return
		}
		b.cur = b.cur.join(patterns(s[:i]))
		b.end()
		s = strings.TrimLeft(s[i:], " \t\n")
	}
}

// patterns reads a value's text as a pattern.
func patterns(s string) text {
	var t text
	for i := 0; i < len(s); {
		j := strings.IndexAny(s[i:], `*?[\`)
		if j < 0 {
			return t.add(piece{literal, s[i:]})
		}
		t = t.add(piece{literal, s[i : i+j]}).add(piece{wildcard, ""})
		i += j + 1
		if s[i-1] == '[' {
			if end := strings.IndexByte(s[i:], ']'); end >= 0 {
				i += end + 1
			}
		}
	}
	return t
}

// unquotedLit reads a literal that stands outside of quotes.
func unquotedLit(s string, first, globs bool, st *State) text {
	var t text
	if first && strings.HasPrefix(s, "~") {
		user, _, _ := strings.Cut(s, "/")
		switch {
		case strings.Contains(user, `\`), user == "~-", st.vars["HOME"].texts != nil && user == "~":
			t = t.add(piece{anything, ""})
			s = s[len(user):]
		case user == "~+":
			if dir, ok := st.Dir(); ok {
				t = t.add(piece{literal, dir})
			} else {
				t = t.add(piece{anything, ""})
			}
			s = s[len(user):]
		case user == "~root":
			t = t.add(piece{literal, "/root"})
			s = s[len(user):]
		case user != "~":
			t = t.add(piece{literal, "/home/" + user[1:]})
			s = s[len(user):]
		}
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] != '\n' {
				b.WriteByte(s[i])
			}
		case globs && (c == '*' || c == '?' || c == '['):
			if c == '[' {
				end := closing(s[i:])
				if end < 0 {
					b.WriteByte(c)
					continue
				}
				i += end
			}
			t = t.add(piece{literal, b.String()}).add(piece{wildcard, ""})
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	return t.add(piece{literal, b.String()})
}

// closing finds the end of a bracket expression; -1: it is none.
func closing(s string) int {
	i := 1
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		i++
	}
	if i < len(s) && s[i] == ']' {
		i++
	}
	for ; i < len(s); i++ {
		switch s[i] {
		case ']':
			return i
		case '/':
			return -1
		}
	}
	return -1
}

// quoted adds what stands in double quotes.
func (a *analyzer) quoted(q *syntax.DblQuoted, st *State, ways []building) []building {
	for j := range ways {
		ways[j].some = true
		if q.Dollar { // a translation, from a catalog that anybody may have named
			ways[j].cur = ways[j].cur.add(piece{anything, ""})
		}
	}
	for _, part := range q.Parts {
		var texts []text
		many := false
		switch part := part.(type) {
		case *syntax.Lit:
			texts = []text{lit(doubleQuotedLit(part.Value))}
		default:
			var spread bool
			texts, spread = a.part(part, st)
			many = spread && isList(part)
		}
		var next []building
		for _, b := range ways {
			for _, t := range texts {
				next = append(next, building{done: b.done, cur: b.cur.join(t), some: true, many: b.many || many})
			}
		}
		if ways = next; len(ways) > maxAlternatives {
			ways = []building{{cur: text{{anything, ""}}, some: true, many: true}} // and on: what is nested is run
		}
	}
	return ways
}

// isList says whether a part is several arguments even in quotes: "$@".
func isList(part syntax.WordPart) bool {
	p, ok := part.(*syntax.ParamExp)
	if !ok {
		return false
	}
	if p.Param != nil && p.Param.Value == "@" || p.Names == syntax.NamesPrefixWords {
		return true
	}
	w, ok := p.Index.(*syntax.Word)
	return ok && w.Lit() == "@"
}

func doubleQuotedLit(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			switch s[i+1] {
			case '$', '`', '"', '\\':
				i++
			case '\n':
				i++
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ansiC reads the inside of $'…'.
func ansiC(s string) text {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		digits, base := 0, 16
		switch c := s[i]; c {
		case 'a':
			b.WriteByte('\a')
		case 'b':
			b.WriteByte('\b')
		case 'e', 'E':
			b.WriteByte(0x1b)
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'v':
			b.WriteByte('\v')
		case '\\', '\'', '"', '?':
			b.WriteByte(c)
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		case '0', '1', '2', '3', '4', '5', '6', '7':
			digits, base = 3, 8
			i--
		default:
			return text{{anything, ""}}
		}
		if digits == 0 {
			continue
		}
		j := i + 1
		for j < len(s) && j-i-1 < digits && strings.IndexByte("0123456789abcdef"[:base], s[j]|0x20*letter(s[j])) >= 0 {
			j++
		}
		n, err := strconv.ParseUint(s[i+1:j], base, 32)
		if err != nil || n == 0 || n > 0x7f { // a NUL ends the text; bytes and encodings: not worth a guess
			return text{{anything, ""}}
		}
		b.WriteByte(byte(n))
		i = j - 1
	}
	if out := b.String(); utf8.ValidString(out) {
		return lit(out)
	}
	return text{{anything, ""}}
}

func letter(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return 1
	}
	return 0
}

// part says what an expansion comes to, and whether that may be several
// arguments, or none, where it stands outside of quotes.
func (a *analyzer) part(part syntax.WordPart, st *State) (texts []text, many bool) {
	unknown := []text{{{anything, ""}}}
	switch part := part.(type) {
	case *syntax.ParamExp:
		return a.param(part, st)
	case *syntax.CmdSubst:
		if part.TempFile || part.ReplyVar {
			a.eff.problem("${ …; } runs commands in the shell itself")
			st.lost("a substitution that runs in the shell itself")
		}
		sub := st.clone()
		a.stmts(part.Stmts, &sub)
		a.shortRead(part.Stmts)
		if printsNumber(part.Stmts) {
			return []text{{{number, ""}}}, false
		}
		return unknown, true
	case *syntax.ArithmExp:
		a.arith(part.X, st)
		return []text{{{number, ""}}}, false
	case *syntax.ProcSubst:
		sub := st.clone()
		a.stmts(part.Stmts, &sub)
		return []text{lit("/dev/fd/").add(piece{number, ""})}, false
	case *syntax.ExtGlob:
		a.eff.glob = true
		if strings.ContainsAny(part.Pattern.Value, "$`<>") {
			a.eff.problem("something is expanded inside a pattern")
		}
		return unknown, true
	case *syntax.DblQuoted: // inside of another word of an expansion
		for _, b := range a.quoted(part, st, []building{{}}) {
			texts = append(texts, b.cur)
		}
		return texts, false
	}
	a.eff.problem("a part of a word isn't known")
	return unknown, true
}

// shortRead: $(< file) is the file's content.
func (a *analyzer) shortRead(stmts []*syntax.Stmt) {
	if len(stmts) == 1 && stmts[0].Cmd == nil && len(stmts[0].Redirs) > 0 {
		a.eff.did("cat", postern.Read)
	}
}

// printsNumber says whether all that a substitution prints is a number.
func printsNumber(stmts []*syntax.Stmt) bool {
	if len(stmts) != 1 {
		return false
	}
	stmt := stmts[0]
	for {
		pipe, ok := stmt.Cmd.(*syntax.BinaryCmd)
		if !ok || pipe.Op != syntax.Pipe {
			break
		}
		stmt = pipe.Y
	}
	call, ok := stmt.Cmd.(*syntax.CallExpr)
	if !ok || len(call.Assigns) > 0 {
		return false
	}
	var line []string
	for _, w := range call.Args {
		line = append(line, w.Lit())
	}
	switch strings.Join(line, " ") {
	case "wc -l", "wc -c", "wc -w", "wc -m", "nproc", "date +%s", "id -u", "id -g", "date +%Y", "date +%u", "date +%Y%m%d":
		return true
	}
	return false
}

// param says what a parameter's expansion comes to.
func (a *analyzer) param(p *syntax.ParamExp, st *State) (texts []text, many bool) {
	unknown := []text{{{anything, ""}}}
	if p.Index != nil {
		a.subscript(p.Index, st)
	}
	if p.Slice != nil {
		a.arith(p.Slice.Offset, st)
		a.arith(p.Slice.Length, st)
	}
	if p.Repl != nil {
		a.nested(p.Repl.Orig, st)
		a.nested(p.Repl.With, st)
	}
	if p.Flags != nil || p.NestedParam != nil || len(p.Modifiers) > 0 || p.Param == nil {
		a.eff.problem("an expansion of another shell than bash")
		return unknown, true
	}
	name := p.Param.Value
	if p.Exp != nil {
		a.nested(p.Exp.Word, st)
		switch p.Exp.Op {
		case syntax.AssignUnset, syntax.AssignUnsetOrNull:
			a.assigned(name, st)
			st.forget(name)
		case syntax.OtherParamOps:
			if p.Exp.Word == nil || p.Exp.Word.Lit() == "P" || p.Exp.Word.Lit() == "" {
				a.eff.problem("${…@P} runs what the variable's value says")
			}
		}
	}
	if p.Excl && p.Names == 0 && !isIndices(p) {
		// The value names another variable, or an element whose subscript is run.
		for _, t := range st.vars[name].texts {
			if s, ok := t.exact(); !ok || !isName(s) {
				a.eff.problem("${!…} takes a variable's name from another one")
			}
		}
		if len(st.vars[name].texts) == 0 {
			a.eff.problem("${!…} takes a variable's name from another one")
		}
		return unknown, true
	}
	if p.Length {
		return []text{{{number, ""}}}, false
	}
	if _, own := st.vars[name]; !own && secretVariable(name) {
		a.secret("environment")
	}
	plain := p.Index == nil && p.Slice == nil && p.Repl == nil && p.Exp == nil && !p.Excl
	if !plain {
		return unknown, true
	}
	switch name {
	case "?", "$", "#", "!", "RANDOM", "SECONDS", "UID", "EUID", "PPID", "LINENO", "BASHPID", "SRANDOM", "EPOCHSECONDS":
		if _, ok := st.vars[name]; !ok {
			return []text{{{number, ""}}}, false
		}
	case "HOME":
		if _, ok := st.vars[name]; !ok {
			return []text{lit("~")}, false
		}
	case "PWD":
		if dir, ok := st.Dir(); ok && st.vars["PWD"].texts == nil && !assignedTo(st, "PWD") {
			return []text{lit(dir)}, false
		}
	}
	v := st.vars[name]
	if len(v.texts) > 0 {
		return v.texts, false
	}
	if v.number {
		return []text{{{number, ""}}}, false
	}
	return unknown, true
}

func assignedTo(st *State, name string) bool {
	_, ok := st.vars[name]
	return ok
}

// isIndices says whether the expansion is ${!a[@]}: the keys of an array.
func isIndices(p *syntax.ParamExp) bool {
	w, ok := p.Index.(*syntax.Word)
	return ok && (w.Lit() == "@" || w.Lit() == "*")
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// nested walks a word for what it runs, whatever it comes to.
func (a *analyzer) nested(w *syntax.Word, st *State) {
	if w == nil {
		return
	}
	for _, part := range w.Parts {
		switch part := part.(type) {
		case *syntax.Lit, *syntax.SglQuoted:
		default:
			a.part(part, st)
		}
	}
}

// one is what a word comes to where it isn't split: assignments, targets of
// redirections, case.
func (a *analyzer) one(w *syntax.Word, st *State) []text {
	if w == nil {
		return []text{nil}
	}
	var out []text
	for _, f := range a.parts(w, st, false) {
		var t text
		for _, x := range f {
			t = t.join(x.text)
		}
		out = append(out, t)
	}
	return out
}
