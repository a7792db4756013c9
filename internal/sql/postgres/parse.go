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
// what isn't are chains, such as 1+1+1…, whose tree leans to the left. So it
// counts the tokens that a chain can be made of, for every open bracket since
// the last token that ends chains. Joins and set operations chain across those.
func tooDeep(text string) bool {
	scan, err := pg_query.Scan(text)
	if err != nil {
		return false // the parser will say so itself
	}
	type level struct{ chain, across int }
	outer := make([]level, 0, 16)
	sum := 0
	var here level
	for _, token := range scan.Tokens {
		switch token.Token {
		case pg_query.Token_SQL_COMMENT, pg_query.Token_C_COMMENT:
		case pg_query.Token_ASCII_40, pg_query.Token_ASCII_91, pg_query.Token_CASE: // ( [
			outer = append(outer, here)
			sum += here.chain + here.across + 1
			here = level{}
		case pg_query.Token_ASCII_41, pg_query.Token_ASCII_93, pg_query.Token_END_P: // ) ]
			if n := len(outer); n > 0 {
				here = outer[n-1]
				outer = outer[:n-1]
				sum -= here.chain + here.across + 1
				here.chain++
			}
		case pg_query.Token_ASCII_59: // ;
			here = level{}
		case pg_query.Token_ASCII_44, pg_query.Token_AND, pg_query.Token_OR, pg_query.Token_WHEN, pg_query.Token_THEN, pg_query.Token_ELSE: // ,
			here.chain = 0
		case pg_query.Token_JOIN, pg_query.Token_UNION, pg_query.Token_INTERSECT, pg_query.Token_EXCEPT:
			here.across++
			here.chain = 0
		default:
			here.chain++
		}
		if sum+here.chain+here.across > maxNesting {
			return true
		}
	}
	return false
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
