package postgres

import (
	"strings"
	"unicode/utf8"

	"postern"
	"postern/internal/sql"
)

// maxDepth bounds how deep views, functions and types are followed.
const maxDepth = 16

type shape struct{}
type body struct{}
type value struct {
	sources []postern.ColumnName
	proven  bool
}

func (c *Catalog) columnValue(r *Relation, column, depth int) value { return value{} }

// analyze says what text would do, and whether the same text under the same
// key always would.
func analyze(text string, env *Env) (*sql.Analysis, bool) {
	if problem := unreadable(text, env); problem != "" {
		return &sql.Analysis{Statements: []sql.Statement{unknown(text, problem)}}, true
	}
	return &sql.Analysis{Statements: []sql.Statement{unknown(text, "The analysis can't read this statement.")}}, true
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
