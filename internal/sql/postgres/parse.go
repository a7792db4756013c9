package postgres

import (
	"strings"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

const (
	// shallow is the length up to which a text can't nest deep enough to
	// exhaust the parser's stack: an operator and its operand take two bytes.
	shallow = 8 << 10
	// maxNesting bounds operators within operators in longer texts.
	maxNesting = 4 << 10
)

// parse returns the statements of a text, or says why it can't for the person
// who sent it.
func parse(text string) (*pg_query.ParseResult, string) {
	if len(text) > shallow {
		if tooDeep(text) {
			return nil, "The statement is nested too deeply to be analysed."
		}
	}
	tree, err := pg_query.Parse(text)
	if err != nil {
		return nil, "PostgreSQL's grammar doesn't accept this text."
	}
	return tree, ""
}

// tooDeep says whether the parse tree of text may be too deep for code that
// walks it by recursion. Brackets that nest are bounded by the parser itself;
// what isn't are chains, such as 1+1+1…, whose tree leans to the left.
func tooDeep(text string) bool {
	if deep, ok := scanSimple(text); ok {
		return deep
	}
	scan, err := pg_query.Scan(text)
	if err != nil {
		return false // the parser will say so itself
	}
	var n nesting
	for _, token := range scan.Tokens {
		switch token.Token {
		case pg_query.Token_SQL_COMMENT, pg_query.Token_C_COMMENT:
		case pg_query.Token_ASCII_40, pg_query.Token_ASCII_91: // ( [
			n.open()
		case pg_query.Token_ASCII_41, pg_query.Token_ASCII_93: // ) ]
			n.close()
		case pg_query.Token_ASCII_59: // ;
			n.end()
		case pg_query.Token_ASCII_44: // ,
			n.here.chain = 0
		case pg_query.Token_SCONST, pg_query.Token_IDENT:
			n.here.chain++
		default:
			n.word(text[token.Start:token.End])
		}
		if n.deep() {
			return true
		}
	}
	return false
}

// nesting counts, for every open bracket, the tokens that a chain can be made
// of since the last one that ends chains. Joins and set operations chain
// across those.
type nesting struct {
	outer []chains
	sum   int // of outer
	here  chains
}

type chains struct{ chain, across int }

func (n *nesting) deep() bool { return n.sum+n.here.chain+n.here.across > maxNesting }

func (n *nesting) open() {
	n.outer = append(n.outer, n.here)
	n.sum += n.here.chain + n.here.across + 1
	n.here = chains{}
}

func (n *nesting) close() {
	if last := len(n.outer) - 1; last >= 0 {
		n.here = n.outer[last]
		n.outer = n.outer[:last]
		n.sum -= n.here.chain + n.here.across + 1
		n.here.chain++
	}
}

// end forgets everything: a statement ends, or a bracket too many was closed.
func (n *nesting) end() { n.outer, n.sum, n.here = n.outer[:0], 0, chains{} }

func (n *nesting) word(w string) {
	if len(w) > 9 {
		n.here.chain++
		return
	}
	switch strings.ToLower(w) {
	case "case":
		n.open()
	case "end":
		n.close()
	case "and", "or", "when", "then", "else":
		n.here.chain = 0
	case "join", "union", "intersect", "except":
		n.here.across++
		n.here.chain = 0
	default:
		n.here.chain++
	}
}

// scanSimple answers for texts without comments, backslashes and dollar
// quotes, such as long INSERTs, without the parser's costly scanner.
func scanSimple(text string) (deep, ok bool) {
	var n nesting
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' || c == '$' || c == '-' && i+1 < len(text) && text[i+1] == '-' || c == '/' && i+1 < len(text) && text[i+1] == '*':
			return false, false
		case c == '\'' || c == '"':
			end := strings.IndexByte(text[i+1:], c)
			if end < 0 {
				return false, true // the parser will refuse it
			}
			if strings.IndexByte(text[i+1:i+1+end], '\\') >= 0 {
				return false, false
			}
			i += end + 1
			n.here.chain++
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
		case c == '(' || c == '[':
			n.open()
		case c == ')' || c == ']':
			n.close()
		case c == ',':
			n.here.chain = 0
		case c == ';':
			n.end()
		case wordByte(c):
			from := i
			for i+1 < len(text) && wordByte(text[i+1]) {
				i++
			}
			n.word(text[from : i+1])
		default:
			n.here.chain++
		}
		if n.deep() {
			return true, true
		}
	}
	return false, true
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}

// unreadable says why text can't be parsed as the server would.
func unreadable(text string, env *Env) string {
	switch {
	case len(text) > maxText:
		return "The text is longer than 1 MiB, too long to be analysed."
	case strings.IndexByte(text, 0) >= 0:
		return "The text holds a NUL byte."
	case !utf8.ValidString(text):
		return "The text is not valid UTF-8."
	case !env.StandardConformingStrings && strings.IndexByte(text, '\\') >= 0:
		return "The text holds a backslash while standard_conforming_strings is off, so that its strings can't be told apart. Turn the setting on."
	}
	if !utf8Encoding(env.Encoding) && !ascii(text) {
		return "The text leaves ASCII while client_encoding isn't UTF8. Set client_encoding to UTF8."
	}
	return ""
}

func utf8Encoding(encoding string) bool {
	return encoding == "" || strings.EqualFold(encoding, "UTF8") || strings.EqualFold(encoding, "UTF-8") || strings.EqualFold(encoding, "unicode")
}

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
