package shell

import (
	"slices"
	"strings"
)

// option is one option of a call.
type option struct {
	name string // "r", "recursive"
	val  arg
	has  bool // it has a value
}

// options are a call's arguments, taken apart as getopt does.
type options struct {
	list     []option
	operands []arg
	// unsure says that an argument that isn't known may be an option.
	unsure bool
}

// has says whether one of the options was given.
func (o *options) has(names ...string) bool {
	return slices.ContainsFunc(o.list, func(x option) bool { return slices.Contains(names, x.name) })
}

// values are the values of an option, each time that it was given.
func (o *options) values(names ...string) []arg {
	var out []arg
	for _, x := range o.list {
		if x.has && slices.Contains(names, x.name) {
			out = append(out, x.val)
		}
	}
	return out
}

// spec is which options a program has, as far as that matters here.
type spec struct {
	short string   // letters of options with a value: "nk"
	maybe string   // letters of options with a value only when it is attached: "i"
	long  []string // names of options; those with a value end in "=", with a value only when attached in "?"
	first bool     // options end at the first operand
	old   bool     // the first argument may be letters without a dash, as in tar xzf
	dash  bool     // long options begin with one dash, as in find and openssl
}

// longOption finds the option that an abbreviation stands for.
func (s *spec) longOption(name string) (full string, val, attached bool) {
	match := ""
	for _, l := range s.long {
		n := strings.TrimRight(l, "=?")
		if n == name {
			return n, strings.HasSuffix(l, "="), strings.HasSuffix(l, "?")
		}
		if match == "" && strings.HasPrefix(n, name) {
			match = l
		}
	}
	if match == "" || name == "" {
		return name, false, false
	}
	return strings.TrimRight(match, "=?"), strings.HasSuffix(match, "="), strings.HasSuffix(match, "?")
}

// parse takes arguments apart.
func (s *spec) parse(args []arg) options {
	var o options
	for i := 0; i < len(args); i++ {
		x := args[i]
		p := x.prefix()
		text, ok := x.exact()
		switch {
		case ok && text == "--":
			o.operands = append(o.operands, args[i+1:]...)
			return o
		case s.old && i == 0 && ok && text != "" && text[0] != '-':
			i = s.oldLetters(&o, text, args)
		case strings.HasPrefix(p, "--") && len(p) > 2 || s.dash && strings.HasPrefix(p, "-") && len(p) > 1:
			i = s.longArg(&o, x, args, i)
		case strings.HasPrefix(p, "-") && len(p) > 1:
			i = s.cluster(&o, x, args, i)
		default:
			if x.maybeOption() {
				o.unsure = true
			}
			o.operands = append(o.operands, x)
			if s.first {
				o.operands = append(o.operands, args[i+1:]...)
				return o
			}
		}
	}
	return o
}

// next is the argument that is an option's value.
func next(args []arg, i int) (arg, bool) {
	if i+1 < len(args) {
		return args[i+1], true
	}
	return arg{}, false
}

func (s *spec) longArg(o *options, x arg, args []arg, i int) int {
	p := x.prefix()
	name, _, eq := strings.Cut(strings.TrimLeft(p, "-"), "=")
	if !eq {
		if _, ok := x.exact(); !ok {
			o.unsure = true
		}
	}
	full, val, _ := s.longOption(name)
	opt := option{name: full}
	switch {
	case eq:
		opt.val, opt.has = arg{text: x.after(strings.IndexByte(p, '=') + 1), many: x.many}, true
		if x.many {
			o.unsure = true
		}
	case val:
		if v, ok := next(args, i); ok {
			opt.val, opt.has = v, true
			if v.many {
				o.unsure = true
			}
			i++
		}
	}
	o.list = append(o.list, opt)
	return i
}

func (s *spec) cluster(o *options, x arg, args []arg, i int) int {
	p := x.prefix()
	for j := 1; j < len(p); j++ {
		c := p[j]
		opt := option{name: string(c)}
		takes, maybe := strings.IndexByte(s.short, c) >= 0, strings.IndexByte(s.maybe, c) >= 0
		if !takes && !maybe {
			o.list = append(o.list, opt)
			continue
		}
		rest := arg{text: x.after(j + 1), many: x.many}
		if len(rest.text) > 0 {
			opt.val, opt.has = rest, true
		} else if v, ok := next(args, i); ok && takes {
			opt.val, opt.has = v, true
			if v.many {
				o.unsure = true
			}
			i++
		}
		if x.many {
			o.unsure = true
		}
		o.list = append(o.list, opt)
		return i
	}
	if _, ok := x.exact(); !ok {
		o.unsure = true
	}
	return i
}

// oldLetters reads tar's "xzf": letters first, then their values in order.
func (s *spec) oldLetters(o *options, letters string, args []arg) int {
	i := 0
	for _, c := range []byte(letters) {
		opt := option{name: string(c)}
		if strings.IndexByte(s.short, c) >= 0 {
			if v, ok := next(args, i); ok {
				opt.val, opt.has = v, true
				o.unsure = o.unsure || v.many
				i++
			}
		}
		o.list = append(o.list, opt)
	}
	return i
}
