package postgres

import (
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"postern"
	"postern/internal/mask"
)

// serverError is the body of an ErrorResponse or a NoticeResponse: its fields
// in order (Error and Notice Message Fields).
type serverError []errorField

type errorField struct {
	typ   byte
	value string
}

// decodeError decodes the fields.
func decodeError(body []byte) (e serverError, ok bool) {
	for len(body) > 0 && body[0] != 0 {
		value, rest, ok := cutString(body[1:])
		if !ok {
			return nil, false
		}
		e = append(e, errorField{body[0], value})
		body = rest
	}
	return e, len(body) == 1
}

// get returns the field, or "".
func (e serverError) get(typ byte) string {
	for _, f := range e {
		if f.typ == typ {
			return f.value
		}
	}
	return ""
}

// last says whether the server ends the connection with it.
func (e serverError) last() bool {
	severity := e.get('V')
	if severity == "" {
		severity = e.get('S')
	}
	return severity == "FATAL" || severity == "PANIC"
}

// Error implements error, for the operator: it holds no message, which may
// quote values.
func (e serverError) Error() string { return "the server answered with error " + e.get('C') }

func (e serverError) append(dst []byte) []byte {
	for _, f := range e {
		dst = appendString(append(dst, f.typ), f.value)
	}
	return append(dst, 0)
}

// The words that stand where a text may quote values of masked columns.
const (
	withheldDetail  = "The detail is withheld, because values of masked columns may stand in it."
	withheldMessage = "the message is withheld, because values of masked columns may stand in it"
	redacted        = "[redacted]"
)

// codeRaised is what RAISE gives an error that has no code of its own.
const codeRaised = "P0001"

// masking is what binds texts that are no column.
type masking struct {
	policy  string     // the version of the policy that says so
	columns bool       // some columns must not be seen
	text    *mask.Text // nil: nothing is looked for
}

// masking belongs to the server's side. The masks that bind a session differ
// from decision to decision only when the policy does.
func (r *relay) masking(d postern.Decision) masking {
	if r.masked.policy == d.Policy && d.Policy != "" {
		return r.masked
	}
	m := masking{policy: d.Policy, text: r.s.TextMasker(d)}
	for i := range d.Masks {
		m.columns = m.columns || len(d.Masks[i].Columns) > 0
	}
	r.masked = m
	return m
}

func (m masking) none() bool { return !m.columns && m.text == nil }

// apply masks what the fields of an error or a notice may tell.
func (m masking) apply(e serverError) (masked serverError, hits int) {
	if m.none() {
		return e, 0
	}
	// What the parser says, it says of the client's own text, to which its
	// position points; no stored value has been looked at then.
	withheld := m.columns && (e.get('P') == "" || e.get('q') != "" || e.raised())
	raised := e.raised()
	for _, f := range e {
		before := f.value
		switch f.typ {
		case 'C':
			// RAISE lets a value stand in for the code.
			if withheld && raised && f.value != "00000" && f.value != "01000" && f.value != codeRaised {
				f.value = codeRaised
				hits++
			}
			masked = append(masked, f)
			continue
		case 'S', 'V', 'P', 'p', 'F', 'L', 'R':
			masked = append(masked, f)
			continue
		case 'M':
			switch {
			case withheld && raised:
				f.value = withheldMessage
			case e.namesOnly():
			case withheld:
				f.value = redact(f.value, e)
			}
		case 'H':
			switch {
			case withheld && raised:
				hits++
				continue
			case withheld:
				f.value = redact(f.value, e)
			}
		case 'D':
			if withheld {
				f.value = withheldDetail
			}
		case 's', 't', 'c', 'd', 'n':
			if withheld && raised {
				hits++
				continue
			}
		default:
			// Context, an inner query, and what later versions may add.
			if withheld {
				continue
			}
		}
		f.value = m.content(f.value)
		if f.value != before {
			hits++
		}
		masked = append(masked, f)
	}
	return masked, hits
}

// raised says whether the error comes from SQL, not from the server itself:
// who raises one chooses all of its fields but the file and the routine.
func (e serverError) raised() bool {
	file, routine := e.get('F'), e.get('R')
	if strings.HasPrefix(file, "pl") {
		return true
	}
	switch path.Ext(file) {
	case ".c", ".y", ".l", ".h":
		return strings.HasPrefix(routine, "exec_stmt_")
	}
	// Without a file, who knows.
	return true
}

// namesOnly says that the message quotes nothing but names, of the tables and the
// constraint: of a foreign key, values stand in the detail.
func (e serverError) namesOnly() bool { return !e.raised() && e.get('R') == "ri_ReportViolation" }

// content masks what looks sensitive.
func (m masking) content(text string) string {
	if m.text == nil || text == "" {
		return text
	}
	out, hits := m.text.Mask(nil, []byte(text))
	if hits == 0 {
		return text
	}
	return string(out)
}

// quoteMarks are those that the server's messages use in its other languages.
var quoteMarks = [...]struct{ open, close string }{
	{"«", "»"}, {"»", "«"}, {"„", "“"}, {"“", "”"}, {"”", "”"}, {"‘", "’"}, {"『", "』"}, {"「", "」"}, {"'", "'"}, {"`", "'"},
}

// redact replaces what stands between quotation marks, and numbers, unless the
// error names an object so. A value may hold quotation
// marks itself: only when nothing but the server's own words stand between
// several quotations are they taken one by one.
func redact(message string, e serverError) string {
	first, last := strings.IndexByte(message, '"'), strings.LastIndexByte(message, '"')
	if first == last {
		return redactPlain(message, e)
	}
	quoted := strings.Split(message[first+1:last], `"`)
	apart := len(quoted)%2 == 1
	for i := 1; i < len(quoted); i += 2 {
		apart = apart && ownWords(quoted[i])
	}
	if !apart {
		quoted = []string{message[first+1 : last]}
	}
	for i := 0; i < len(quoted); i += 2 {
		if !e.names(quoted[i]) {
			quoted[i] = redacted
		}
	}
	return redactPlain(message[:first], e) + `"` + strings.Join(quoted, `"`) + `"` + redactPlain(message[last+1:], e)
}

// ownWords says whether text consists of words that the server puts between
// the names of objects.
func ownWords(text string) bool {
	for word := range strings.FieldsSeq(text) {
		switch strings.Trim(word, ",;:()") {
		case "of", "relation", "table", "column", "on", "in", "for", "from", "to", "and", "or", "violates", "unique", "foreign",
			"key", "check", "constraint", "not-null", "null", "value", "update", "delete", "insert", "schema", "type", "does",
			"not", "exist", "is", "function", "view", "partition", "new", "row", "index", "role", "database", "but", "expression",
			"referenced", "by", "domain", "trigger", "sequence", "policy", "attribute", "":
		default:
			return false
		}
	}
	return true
}

// redactPlain is redact for text without double quotes.
func redactPlain(text string, e serverError) string {
	for _, q := range quoteMarks {
		first := strings.Index(text, q.open)
		if first < 0 {
			continue
		}
		first += len(q.open)
		last := strings.LastIndex(text, q.close)
		if last < first {
			continue
		}
		if !e.names(text[first:last]) {
			text = text[:first] + redacted + text[last:]
		}
		break
	}
	var out strings.Builder
	for rest := text; rest != ""; {
		n := numberLen(rest)
		switch {
		case n >= 3:
			out.WriteString(redacted)
		case n == 0:
			_, n = utf8.DecodeRuneInString(rest)
			fallthrough
		default:
			out.WriteString(rest[:n])
		}
		rest = rest[n:]
	}
	return out.String()
}

// numberLen is the length of the run of digits, or of a hexadecimal number,
// that s begins with.
func numberLen(s string) int {
	if strings.HasPrefix(s, "0x") {
		n := 2
		for n < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[n]) >= 0 {
			n++
		}
		return n
	}
	n := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || n > 0 && s[n] == '.' && n+1 < len(s) && s[n+1] >= '0' && s[n+1] <= '9') {
		n++
	}
	return n
}

// names says whether the error names an object so: a table, a column, a type
// or a constraint.
func (e serverError) names(name string) bool {
	for _, f := range e {
		switch f.typ {
		case 't', 'c', 'd', 'n', 's':
			if f.value == name {
				return true
			}
		}
	}
	return false
}

// exposes says whether messages about a command, as it is decided over, may
// quote values of masked columns.
func (r *relay) exposes(cmd *command) bool {
	if len(cmd.decision.Masks) == 0 || len(cmd.statements) != 1 {
		return r.uses(cmd)
	}
	st := &cmd.statements[0]
	last := &r.lastExposed
	if last.known && st.UsesProven == last.proven && postern.Same(st.Uses, last.uses) && postern.Same(cmd.decision.Masks, last.masks) && postern.Same(st.Command.Verbs, last.verbs) {
		return last.exposes
	}
	*last = exposure{masks: cmd.decision.Masks, uses: st.Uses, verbs: st.Command.Verbs, proven: st.UsesProven, known: true, exposes: r.uses(cmd)}
	return last.exposes
}

// exposure is whether a statement exposes anything, and all that this was made of.
type exposure struct {
	masks   []postern.Mask
	uses    []postern.ColumnName
	verbs   []string
	proven  bool
	known   bool
	exposes bool
}

// uses says whether a command's statements use values of masked columns, or may.
func (r *relay) uses(cmd *command) bool {
	byColumn := cmd.decision
	byColumn.Masks = nil
	for _, m := range cmd.decision.Masks {
		if len(m.Columns) > 0 {
			m.Detect = nil
			byColumn.Masks = append(byColumn.Masks, m)
		}
	}
	if len(byColumn.Masks) == 0 {
		return false
	}
	for i := range cmd.statements {
		st := &cmd.statements[i]
		if !st.UsesProven || slices.Contains(st.Command.Verbs, postern.VerbUnknown) {
			return true
		}
		if len(st.Uses) > 0 && r.s.Masker(byColumn, []postern.Column{{Type: postern.TextValue, Sources: st.Uses, Proven: true}}) != nil {
			return true
		}
	}
	return false
}
