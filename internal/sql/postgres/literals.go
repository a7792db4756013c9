package postgres

import (
	"strconv"
	"strings"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Most texts that a client sends differ from an earlier one in their literals
// only. What was said of the earlier one is said of them, too, provided that it
// didn't depend on what differs. That is not a matter of knowing which places
// are harmless: while a text is analysed, its literals' values are taken out of
// the parse tree, and whoever wants one has to ask for it ([literals.constant],
// [literals.textIs], [literals.numberIs]). An analysis holds for every text that
// is the same but for literals, and whose literals answer what was asked alike.

// maxLiterals bounds how many literals a text may have to be recognised by.
const maxLiterals = 256

// kind is what the grammar takes a literal for.
type kind byte

const (
	kindInteger kind = 'i' // Iconst: digits, of a value below 2^31
	kindNumeric kind = 'n' // FCONST: more than that, or with a decimal point
	kindString  kind = 's' // Sconst: '…' without any prefix
)

// literal is where a literal stands in a text.
type literal struct {
	from, to int
	kind     kind
}

// outline appends to dst the text with a mark in place of each of its literals.
// Texts of the same outline have the same tokens, but for their literals' values.
// It is false for a text about whose tokens there is any doubt: one with
// comments, backslashes, dollar quotes, letters outside ASCII that aren't in a
// string, strings with a prefix, or numbers with letters.
func outline(dst []byte, lits []literal, text string) ([]byte, []literal, bool) {
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\'':
			end, ok := stringEnd(text, i)
			if !ok {
				return dst, lits, false
			}
			dst = append(dst, mark, byte(kindString))
			lits = append(lits, literal{i, end, kindString})
			i = end
		case c >= '0' && c <= '9':
			n, ok := number(text, i)
			if !ok {
				return dst, lits, false
			}
			dst = append(dst, mark, byte(n.kind))
			lits = append(lits, n)
			i = n.to
		case c == '"':
			end := strings.IndexByte(text[i+1:], '"')
			if end < 0 {
				return dst, lits, false
			}
			end += i + 2
			if !plainName(text[i:end]) {
				return dst, lits, false
			}
			dst = append(dst, text[i:end]...)
			i = end
		case c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '$':
			end, ok := word(text, i)
			if !ok {
				return dst, lits, false
			}
			dst = append(dst, text[i:end]...)
			i = end
		case c == '-' && strings.HasPrefix(text[i:], "--"), c == '/' && strings.HasPrefix(text[i:], "/*"):
			return dst, lits, false
		case c == '.' || c == '&':
			// 1., .5, U&'…' and U&"…"
			if i+1 < len(text) && (text[i+1] >= '0' && text[i+1] <= '9' || text[i+1] == '\'' || text[i+1] == '"' && c == '&') {
				return dst, lits, false
			}
			dst = append(dst, c)
			i++
		case c == ' ' || c == '\n' || c == '\t' || c == '\r', c > ' ' && c < 0x7f && c != '\\':
			dst = append(dst, c)
			i++
		default:
			return dst, lits, false
		}
		if len(lits) > maxLiterals {
			return dst, lits, false
		}
	}
	return dst, lits, true
}

// mark stands before a literal's kind in an outline, which holds no other.
const mark = 1

// stringEnd is behind the quote that ends the string which begins at from.
func stringEnd(text string, from int) (int, bool) {
	for i := from + 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' || c < ' ' && c != '\n' && c != '\t' && c != '\r':
			return 0, false
		case c != '\'':
		case i+1 < len(text) && text[i+1] == '\'':
			i++
		default:
			return i + 1, true
		}
	}
	return 0, false
}

// number reads the number that begins at from.
func number(text string, from int) (literal, bool) {
	digits := func(i int) int {
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			i++
		}
		return i
	}
	n := literal{from: from, to: digits(from), kind: kindInteger}
	switch size := n.to - from; {
	case size > 1 && text[from] == '0':
		return n, false
	case size > 10, size == 10 && text[from:n.to] > "2147483647":
		n.kind = kindNumeric
	}
	if n.to < len(text) && text[n.to] == '.' {
		end := digits(n.to + 1)
		if end == n.to+1 {
			return n, false
		}
		n.to, n.kind = end, kindNumeric
	}
	return n, n.to == len(text) || endsToken(text[n.to])
}

// endsToken says whether a byte can't belong to the number or parameter before it.
func endsToken(c byte) bool {
	return c < utf8.RuneSelf && !wordByte(c) && c != '$' && c != '.' && c != '\'' && c != '"'
}

// word is behind the name, keyword or parameter ($1) that begins at from.
func word(text string, from int) (int, bool) {
	i := from + 1
	if text[from] == '$' {
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			i++
		}
		return i, i > from+1 && (i == len(text) || endsToken(text[i]))
	}
	for i < len(text) && text[i] < utf8.RuneSelf && (wordByte(text[i]) || text[i] == '$') {
		i++
	}
	// What follows directly may be a prefix's string: E'…', X'…', N'…'.
	return i, i == len(text) || text[i] < utf8.RuneSelf && text[i] != '\'' && text[i] != '"'
}

func plainName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

// value is a literal as the parser gives it.
func (l literal) value(text string) *pg_query.A_Const {
	raw := text[l.from:l.to]
	switch l.kind {
	case kindInteger:
		n, err := strconv.ParseInt(raw, 10, 32)
		if err != nil {
			return nil
		}
		return &pg_query.A_Const{Val: &pg_query.A_Const_Ival{Ival: &pg_query.Integer{Ival: int32(n)}}}
	case kindNumeric:
		return &pg_query.A_Const{Val: &pg_query.A_Const_Fval{Fval: &pg_query.Float{Fval: raw}}}
	}
	return &pg_query.A_Const{Val: &pg_query.A_Const_Sval{Sval: &pg_query.String{Sval: strings.ReplaceAll(raw[1:len(raw)-1], "''", "'")}}}
}

// literals keeps the values of a text's literals from whoever reads its parse
// tree, and what was asked of them. nil keeps nothing.
type literals struct {
	text   string
	all    []literal
	free   []bool // the tree holds it as a constant, and as nothing else
	exact  []bool // its value was asked for
	hidden map[*pg_query.A_Const]int
	asked  []question
}

// question is what was asked of a literal's value, and the answer.
type question struct {
	literal int
	test    func(*pg_query.A_Const) bool
	answer  bool
}

// hide takes the values of literals out of a text's parse tree. A literal that
// isn't there as a constant, such as one that the grammar itself looks at, stays.
func hide(tree *pg_query.ParseResult, text string, all []literal) *literals {
	h := &literals{text: text, all: all, free: make([]bool, len(all)), exact: make([]bool, len(all)), hidden: make(map[*pg_query.A_Const]int, len(all))}
	at := make(map[int32]int, len(all))
	for i, l := range all {
		at[int32(l.from)] = i
	}
	differs := make([]bool, len(all))
	eachConstant(tree.Stmts[0].Stmt.ProtoReflect(), func(c *pg_query.A_Const) {
		i, ok := at[c.Location]
		if !ok || c.Isnull {
			return
		}
		if !sameValue(c, all[i].value(text)) {
			differs[i] = true
			return
		}
		h.free[i] = true
		h.hidden[c] = i
	})
	for c, i := range h.hidden {
		if differs[i] {
			h.free[i] = false
			delete(h.hidden, c)
			continue
		}
		c.Val = nothing
	}
	return h
}

// nothing is what a constant holds whose value was taken out: no text, no number.
var nothing = &pg_query.A_Const_Bsval{Bsval: &pg_query.BitString{}}

func sameValue(a, b *pg_query.A_Const) bool {
	if b == nil || a.GetBoolval() != nil || a.GetBsval() != nil {
		return false
	}
	return a.GetIval().GetIval() == b.GetIval().GetIval() && a.GetFval().GetFval() == b.GetFval().GetFval() && a.GetSval().GetSval() == b.GetSval().GetSval() &&
		(a.GetSval() == nil) == (b.GetSval() == nil) && (a.GetFval() == nil) == (b.GetFval() == nil)
}

func eachConstant(m protoreflect.Message, f func(*pg_query.A_Const)) {
	if c, ok := m.Interface().(*pg_query.A_Const); ok {
		f(c)
		return
	}
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case d.Message() == nil:
		case d.IsList():
			for i, list := 0, v.List(); i < list.Len(); i++ {
				eachConstant(list.Get(i).Message(), f)
			}
		default:
			eachConstant(v.Message(), f)
		}
		return true
	})
}

// constant is a constant with its value: what is said of the text then holds for
// this value only.
func (h *literals) constant(c *pg_query.A_Const) *pg_query.A_Const {
	i, ok := h.index(c)
	if !ok {
		return c
	}
	h.exact[i] = true
	return h.all[i].value(h.text)
}

// kindOf is the kind of a constant whose value was taken out: of all literals in
// its place alike, so that it may be looked at without asking.
func (h *literals) kindOf(c *pg_query.A_Const) (kind, bool) {
	i, ok := h.index(c)
	if !ok {
		return 0, false
	}
	return h.all[i].kind, true
}

func (h *literals) index(c *pg_query.A_Const) (int, bool) {
	if h == nil || c == nil {
		return 0, false
	}
	i, ok := h.hidden[c]
	return i, ok
}

func (h *literals) ask(i int, test func(*pg_query.A_Const) bool) bool {
	answer := test(h.all[i].value(h.text))
	h.asked = append(h.asked, question{i, test, answer})
	return answer
}

// textIs asks of a constant text whether test holds. test is a pure function.
func (h *literals) textIs(n *pg_query.Node, test func(string) bool) bool {
	if i, ok := h.index(n.GetAConst()); ok {
		return h.all[i].kind == kindString && h.ask(i, func(c *pg_query.A_Const) bool { return test(c.GetSval().GetSval()) })
	}
	text, ok := h.constText(n)
	return ok && test(text)
}

// numberIs asks of a constant number whether test holds. test is a pure function.
func (h *literals) numberIs(n *pg_query.Node, test func(float64) bool) bool {
	if i, ok := h.index(stripCast(n).GetAConst()); ok {
		return h.all[i].kind != kindString && h.ask(i, func(c *pg_query.A_Const) bool {
			f, ok := numberOf(c)
			return ok && test(f)
		})
	}
	f, ok := h.constNumber(n)
	return ok && test(f)
}

// terms say of which texts of the same outline an analysis holds.
type terms struct {
	exact []string // by literal: what it is, quotes included; "": that doesn't matter
	asked []question
}

// terms are those of the analysis that was made; ok says that they leave
// anything open.
func (h *literals) terms() (t terms, ok bool) {
	t.exact = make([]string, len(h.all))
	for i, l := range h.all {
		if h.free[i] && !h.exact[i] {
			ok = true
			continue
		}
		t.exact[i] = strings.Clone(h.text[l.from:l.to])
	}
	for _, q := range h.asked {
		if t.exact[q.literal] == "" {
			t.asked = append(t.asked, q)
		}
	}
	return t, ok
}

// hold says whether the analysis is that of a text, too.
func (t *terms) hold(text string, all []literal) bool {
	for i, l := range all {
		if t.exact[i] != "" && t.exact[i] != text[l.from:l.to] {
			return false
		}
	}
	for _, q := range t.asked {
		if c := all[q.literal].value(text); c == nil || q.test(c) != q.answer {
			return false
		}
	}
	return true
}
