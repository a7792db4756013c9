package policy

import (
	"strings"

	"postern"
)

// predicateColumns is the attribute in which a protocol states the stored
// columns that decide what a command does or returns: those in WHERE, JOIN,
// GROUP BY, ORDER BY, HAVING, DISTINCT, CASE and the like.
const predicateColumns = "predicate_columns"

// oracle says whether a command would tell values of masked columns through a
// condition: who may ask "is it this one?" often enough has read the column.
func (m *mask) oracle(cmd *postern.Command) (column string, ok bool) {
	if m.spec.AllowPredicates || len(m.columns) == 0 {
		return "", false
	}
	for _, name := range cmd.Attr(predicateColumns).Strings {
		for _, want := range m.columns {
			if columnMatches(want, name) {
				return name, true
			}
		}
	}
	return "", false
}

// columnMatches matches a column's name, which is plain: a name with more dots
// than two can't be told apart, and matches.
func columnMatches(want []namePart, name string) bool {
	parts := strings.Split(name, ".")
	if len(parts) != len(want) {
		return true
	}
	for i, part := range parts {
		if !want[i].matches(part) {
			return false
		}
	}
	return true
}

// predicates refuses conditions on columns that are masked for this identity.
func (c *deciding) predicates(cmd *postern.Command) outcome {
	for _, m := range c.masks {
		if column, ok := m.oracle(cmd); ok {
			return outcome{rule: m.object.Name, reason: "the column " + column + " is masked for you, and a condition on it would tell its values. " +
				"Leave it out of WHERE, JOIN, GROUP BY, ORDER BY, DISTINCT and CASE."}
		}
	}
	return outcome{verdict: postern.Allow}
}
