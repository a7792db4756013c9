package shell

import (
	"strings"
)

// kind is what is known of a piece of text.
type kind uint8

const (
	literal  kind = iota
	wildcard      // part of a file's name, picked by a pattern: no slash in it
	number        // a number that isn't known
	anything
)

// piece is one stretch of a text.
type piece struct {
	kind kind
	lit  string
}

// text is what a word or a variable comes to, as far as it is known.
type text []piece

func lit(s string) text { return text{{literal, s}} }

func (t text) add(p piece) text {
	if p.kind == literal {
		if p.lit == "" {
			return t
		}
		if n := len(t); n > 0 && t[n-1].kind == literal {
			out := append(text{}, t...)
			out[n-1].lit += p.lit
			return out
		}
	} else if n := len(t); n > 0 && t[n-1].kind == p.kind {
		return t
	}
	return append(append(text{}, t...), p)
}

func (t text) join(o text) text {
	for _, p := range o {
		t = t.add(p)
	}
	return t
}

func (t text) exact() (string, bool) {
	switch {
	case len(t) == 0:
		return "", true
	case len(t) == 1 && t[0].kind == literal:
		return t[0].lit, true
	}
	return "", false
}

// String shows the text to people: ? stands for what isn't known.
func (t text) String() string {
	var b strings.Builder
	for _, p := range t {
		switch p.kind {
		case literal:
			b.WriteString(p.lit)
		case wildcard:
			b.WriteByte('*')
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

func (t text) has(k kind) bool {
	for _, p := range t {
		if p.kind == k {
			return true
		}
	}
	return false
}

// arg is one argument of a command, or, with many, any number of them that
// begin with what the text is.
type arg struct {
	text
	many bool
}

func exactArg(s string) arg { return arg{text: lit(s)} }

// exact is the argument's text if it is known to be one argument.
func (a arg) exact() (string, bool) {
	if a.many {
		return "", false
	}
	return a.text.exact()
}

// prefix is how the argument surely begins.
func (a arg) prefix() string {
	if len(a.text) > 0 && a.text[0].kind == literal {
		return a.text[0].lit
	}
	return ""
}

// maybeOption says whether the argument, which isn't known, may turn out to be
// an option.
func (a arg) maybeOption() bool {
	if _, ok := a.exact(); ok {
		return false
	}
	if a.many && (a.text.has(anything) || len(a.text) == 0) {
		return true
	}
	if len(a.text) > 0 && a.text[0].kind == number {
		return false // -1, at worst
	}
	p := a.prefix()
	return p == "" || p[0] == '-'
}

// after is the text behind the first n bytes, which are literal.
func (t text) after(n int) text {
	if n == 0 || len(t) == 0 {
		return t
	}
	out := append(text{}, t...)
	if out[0].lit = out[0].lit[n:]; out[0].lit == "" {
		return out[1:]
	}
	return out
}
