package shell

import (
	"strings"

	"postern"
)

// sed: which of its commands a script uses decides. Its options are few.
func sed(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "efl", maybe: "i", long: []string{
		"expression=", "file=", "line-length=", "in-place?", "quiet", "silent", "regexp-extended", "separate", "unbuffered", "null-data", "zero-terminated", "posix", "follow-symlinks", "sandbox", "debug", "binary", "help", "version",
	}}
	o := s.parse(inv.args)
	access := postern.Read
	if o.unsure {
		a.unsure("sed")
	}
	scripts := o.values("e", "expression")
	ops := o.operands
	if o.has("f", "file") {
		a.eff.problem("the script of sed isn't written there")
	} else if len(scripts) == 0 && len(ops) > 0 {
		scripts, ops = ops[:1], ops[1:]
	}
	var code []string
	for _, x := range scripts {
		text, ok := x.exact()
		if !ok {
			text, ok = sedPlaceholders(x)
		}
		if !ok {
			a.eff.problem("the script of sed isn't written there")
			continue
		}
		code = append(code, text)
	}
	got := sedScript(strings.Join(code, "\n"))
	for _, f := range got.writes {
		access = postern.Write
		a.write(exactArg(f), st)
	}
	for _, f := range got.reads {
		a.read(exactArg(f), st)
	}
	if got.problem != "" && !o.has("sandbox") {
		a.eff.problem("the script of sed " + got.problem)
	}
	if o.has("i", "in-place") {
		access = postern.Write
		for _, x := range ops {
			a.write(x, st)
		}
	}
	for _, x := range ops {
		a.read(x, st)
	}
	a.eff.did("sed", access)
}

// sedPlaceholders puts a digit for numbers that aren't known: 1,$n p.
func sedPlaceholders(x arg) (string, bool) {
	var b strings.Builder
	if x.many {
		return "", false
	}
	for _, p := range x.text {
		switch p.kind {
		case literal:
			b.WriteString(p.lit)
		case number:
			b.WriteByte('1')
		default:
			return "", false
		}
	}
	return b.String(), true
}

// sedEffects is what a script of sed does.
type sedEffects struct {
	reads, writes []string
	problem       string
}

// sedReader reads a script.
type sedReader struct {
	s   string
	pos int
	out sedEffects
}

func sedScript(s string) sedEffects {
	r := &sedReader{s: s}
	for r.pos < len(r.s) && r.out.problem == "" {
		r.command()
	}
	return r.out
}

func (r *sedReader) peek() byte {
	if r.pos < len(r.s) {
		return r.s[r.pos]
	}
	return 0
}

func (r *sedReader) skip(set string) {
	for r.pos < len(r.s) && strings.IndexByte(set, r.s[r.pos]) >= 0 {
		r.pos++
	}
}

// line is the rest of the line: the name of a file, a text.
func (r *sedReader) line() string {
	start := r.pos
	for r.pos < len(r.s) && r.s[r.pos] != '\n' {
		r.pos++
	}
	return strings.TrimSpace(r.s[start:r.pos])
}

func (r *sedReader) fail(why string) { r.out.problem = why }

func (r *sedReader) command() {
	r.skip(" \t\n;")
	if r.pos >= len(r.s) {
		return
	}
	if !r.address() {
		return
	}
	r.skip(" \t")
	if r.peek() == ',' {
		r.pos++
		r.skip(" \t")
		if r.skip("+~"); !r.address() {
			return
		}
		r.skip(" \t")
	}
	r.skip(" \t!")
	c := r.peek()
	r.pos++
	switch c {
	case 0, '{', '}', '=', 'd', 'D', 'g', 'G', 'h', 'H', 'n', 'N', 'p', 'P', 'x', 'z', 'F':
	case 'l', 'L', 'q', 'Q':
		r.skip(" \t0123456789")
	case '#':
		r.line()
	case ':', 'b', 't', 'T', 'v':
		// Versions of sed differ on what ends a label: only plain ones are read.
		r.skip(" \t")
		for r.pos < len(r.s) && (isName(r.s[r.pos:r.pos+1]) || r.s[r.pos] >= '0' && r.s[r.pos] <= '9') {
			r.pos++
		}
		if next := r.peek(); next != 0 && strings.IndexByte(" \t\n;}", next) < 0 {
			r.fail("isn't understood")
		}
	case 'a', 'i', 'c':
		r.text()
	case 'r', 'R':
		r.out.reads = append(r.out.reads, r.line())
	case 'w', 'W':
		r.out.writes = append(r.out.writes, r.line())
	case 's':
		r.substitute()
	case 'y':
		if d := r.delimiter(); d == 0 || !r.until(d) || !r.until(d) {
			r.fail("isn't understood")
		}
	case 'e':
		r.fail("runs a program (e)")
	default:
		r.fail("isn't understood")
	}
}

// text is what a, i and c print: to the end of the line, and on where that ends
// in a backslash.
func (r *sedReader) text() {
	for {
		start := r.pos
		r.line()
		if !strings.HasSuffix(strings.TrimRight(r.s[start:r.pos], " "), `\`) || r.pos >= len(r.s) {
			return
		}
		r.pos++
	}
}

// address reads one address, if there is one.
func (r *sedReader) address() bool {
	switch c := r.peek(); {
	case c >= '0' && c <= '9' || c == '$':
		r.skip("0123456789$~")
	case c == '/':
		r.pos++
		if !r.until('/') {
			r.fail("isn't understood")
			return false
		}
		r.skip("IM")
	case c == '\\':
		r.pos++
		d := r.delimiter()
		if d == 0 || !r.until(d) {
			r.fail("isn't understood")
			return false
		}
		r.skip("IM")
	}
	return true
}

func (r *sedReader) delimiter() byte {
	d := r.peek()
	r.pos++
	if d == '\n' || d == '\\' || d >= 0x80 {
		return 0
	}
	return d
}

// until reads to the delimiter. In brackets it is no delimiter for some
// versions and one for others: then nobody knows.
func (r *sedReader) until(d byte) bool {
	bracket := false
	for ; r.pos < len(r.s); r.pos++ {
		switch c := r.s[r.pos]; {
		case c == '\\':
			r.pos++
		case c == '[':
			bracket = true
		case c == ']':
			bracket = false
		case c == d:
			if bracket && strings.Contains(r.s[r.pos+1:], "]") {
				return false
			}
			r.pos++
			return true
		case c == '\n' && d != '\n':
			return false
		}
	}
	return false
}

// substitute reads s/…/…/ and its flags: e runs the result, w writes it.
func (r *sedReader) substitute() {
	d := r.delimiter()
	if d == 0 || !r.until(d) || !r.replacement(d) {
		r.fail("isn't understood")
		return
	}
	for r.pos < len(r.s) {
		c := r.s[r.pos]
		r.pos++
		switch {
		case c == 'w':
			r.out.writes = append(r.out.writes, r.line())
			return
		case c == 'e':
			r.fail("runs a program (s///e)")
			return
		case c == ';' || c == '\n' || c == '}' || c == ' ' || c == '\t' || c == '#':
			r.pos--
			return
		case strings.IndexByte("gpiImM0123456789", c) >= 0:
		default:
			r.fail("isn't understood")
			return
		}
	}
}

func (r *sedReader) replacement(d byte) bool {
	for ; r.pos < len(r.s); r.pos++ {
		switch r.s[r.pos] {
		case '\\':
			r.pos++
		case d:
			r.pos++
			return true
		}
	}
	return false
}

// awk: a script that prints and counts is one thing, one that opens pipes and
// files another.
func awk(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "fFvieElLW", maybe: "dopDO", first: true, long: []string{
		"file=", "field-separator=", "assign=", "include=", "source=", "exec=", "load=", "lint?", "dump-variables?", "debug?", "pretty-print?", "profile?", "re-interval", "posix", "traditional", "sandbox", "csv", "bignum", "non-decimal-data", "characters-as-bytes", "optimize", "version", "help",
	}}
	o := s.parse(inv.args)
	if onlyVersion(inv) {
		a.eff.did(inv.name, postern.Read)
		return
	}
	access := postern.Read
	if o.unsure {
		a.unsure(inv.name)
	}
	if o.has("f", "i", "e", "E", "l", "L", "W", "d", "o", "p", "D", "file", "include", "source", "exec", "load", "dump-variables", "debug", "pretty-print", "profile") {
		a.eff.problem("an option of " + inv.name + " takes code, or writes a file")
	}
	ops := o.operands
	if len(ops) > 0 {
		code, ok := ops[0].exact()
		if !ok {
			code, ok = sedPlaceholders(ops[0])
		}
		if !ok {
			a.eff.problem("the script of " + inv.name + " isn't written there")
		} else if got := awkScript(code); got.problem != "" {
			a.eff.problem("the script of " + inv.name + " " + got.problem)
		} else if got.writes {
			access = postern.Write
			for _, f := range got.files {
				a.write(exactArg(f), st)
			}
		}
		ops = ops[1:]
	}
	for _, x := range ops {
		name, _, assigns := strings.Cut(x.prefix(), "=")
		if assigns && isName(name) {
			continue
		}
		a.read(x, st)
	}
	a.eff.did(inv.name, access)
}

// awkEffects is what a script of awk does besides printing.
type awkEffects struct {
	problem string
	writes  bool
	files   []string
}

// awkScript reads a script's tokens: a program is run by system and by pipes,
// a file is read by getline and written by print with >.
func awkScript(s string) awkEffects {
	var out awkEffects
	operand := false // the last token was one: a slash divides
	printing, depth, outer := false, 0, 0
	control, keyword := []bool{}, false // whether a parenthesis is that of an if, while or for
	last := byte(0)
	for i := 0; i < len(s) && out.problem == ""; {
		c := s[i]
		if c == '\n' && strings.IndexByte(",&|", last) >= 0 && last != 0 { // goes on
			i++
			continue
		}
		if c != ' ' && c != '\t' && c != '\\' {
			last = c
		}
		wasKeyword := keyword
		if c != ' ' && c != '\t' && c != '\n' {
			keyword = false
		}
		switch {
		case c == ' ' || c == '\t':
			i++
		case c == '\n' || c == ';' || c == '{' || c == '}':
			printing, operand = false, false
			if c == '{' || c == '}' {
				depth, outer = 0, 0
			}
			i++
		case c == '#':
			for i < len(s) && s[i] != '\n' {
				i++
			}
		case c == '\\' && i+1 < len(s) && s[i+1] == '\n':
			i += 2
		case c == '"':
			end := awkString(s, i)
			if end < 0 {
				out.problem = "isn't understood"
			}
			i, operand = end, true
		case c == '/' && !operand:
			end := awkRegexp(s, i)
			if end < 0 {
				out.problem = "isn't understood"
			}
			i, operand = end, true
		case isName(string(c)):
			j := i
			for j < len(s) && (isName(string(s[j])) || s[j] >= '0' && s[j] <= '9') {
				j++
			}
			switch word := s[i:j]; word {
			case "system", "getline", "close", "fflush":
				if word == "system" || word == "getline" {
					out.problem = "runs programs or reads files (" + word + ")"
				}
			case "print", "printf":
				printing, outer, operand = true, depth, false
			case "in", "return", "delete", "if", "else", "while", "do", "for", "case", "exit":
				operand = false
				keyword = word == "if" || word == "while" || word == "for"
			case "ENVIRON", "PROCINFO", "SYMTAB", "FUNCTAB":
				out.problem = "looks at the environment (" + word + ")"
			default:
				operand = true
			}
			i = j
		case c >= '0' && c <= '9' || c == '.':
			for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '.' || s[i]|0x20 == 'e' || s[i]|0x20 == 'x') {
				i++
			}
			operand = true
		case c == '|':
			if i+1 < len(s) && s[i+1] == '|' {
				i, operand = i+2, false
				continue
			}
			out.problem = "runs a program through a pipe"
		case c == '@':
			out.problem = "loads or calls what isn't written there (@)"
		case c == '(':
			depth++
			control = append(control, wasKeyword)
			i, operand = i+1, false
		case c == '[':
			depth++
			control = append(control, false)
			i, operand = i+1, false
		case c == ')' || c == ']':
			depth--
			i, operand = i+1, true
			if n := len(control); n > 0 {
				operand, control = !control[n-1], control[:n-1]
			}
		case c == '>':
			if printing && depth <= outer {
				out.writes = true
				j := i + 1
				if j < len(s) && s[j] == '>' {
					j++
				}
				for j < len(s) && s[j] == ' ' {
					j++
				}
				end := -1
				if j < len(s) && s[j] == '"' {
					end = awkString(s, j)
				}
				if end < 0 || !awkEnds(s[end:]) || strings.Contains(s[j:end], `\`) || strings.HasPrefix(s[j+1:], "/inet") {
					out.problem = "writes to a file whose name isn't written there"
					continue
				}
				if name := s[j+1 : end-1]; name != "/dev/stderr" && name != "/dev/stdout" {
					out.files = append(out.files, name)
				}
				i, operand = end, true
				continue
			}
			i, operand = i+1, false
		case c == '$' || c == '!' || c == '~' || c == '+' || c == '-' || c == '*' || c == '%' || c == '^' || c == '=' || c == '<' || c == '&' || c == '?' || c == ':' || c == ',' || c == '/':
			if (c == '+' || c == '-') && i+1 < len(s) && s[i+1] == c {
				i += 2 // x++ / 2 divides, ++x doesn't end an operand
				continue
			}
			i, operand = i+1, false
		default:
			out.problem = "isn't understood"
		}
	}
	if strings.Contains(s, "/inet/") {
		out.problem = "opens connections"
	}
	return out
}

// awkEnds says whether a file's name ends the statement: no concatenation
// follows.
func awkEnds(rest string) bool {
	rest = strings.TrimLeft(rest, " \t")
	return rest == "" || strings.IndexByte(";}\n#", rest[0]) >= 0
}

func awkString(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		case '\n':
			return -1
		}
	}
	return -1
}

func awkRegexp(s string, i int) int {
	bracket := false
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '[':
			bracket = true
		case ']':
			bracket = false
		case '/':
			if bracket {
				return -1 // versions of awk differ on it
			}
			return i + 1
		case '\n':
			return -1
		}
	}
	return -1
}
