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

// movedValues is the attribute in which a protocol states the stored values
// that a command puts elsewhere, as "source > destination".
const movedValues = "moved_values"

// leak says whether a command would put values of masked columns, or values
// that aren't known to be none, where this mask doesn't cover them.
func (m *mask) leak(cmd *postern.Command) (source, into string, ok bool) {
	if len(m.columns) == 0 {
		return "", "", false
	}
	for _, text := range cmd.Attr(movedValues).Strings {
		source, into, ok := strings.Cut(text, " > ")
		if !ok || (source == "?" || m.covers(source)) && !m.covers(into) {
			return source, into, true
		}
	}
	return "", "", false
}

func (m *mask) covers(column string) bool {
	if strings.Count(column, ".") < 2 {
		return false
	}
	for _, want := range m.columns {
		if columnMatches(want, column) {
			return true
		}
	}
	return false
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

// around refuses the ways around a mask that no masking of results can close:
// conditions on masked columns, and copies of them that the mask doesn't cover.
func (c *deciding) around(cmd *postern.Command) outcome {
	for _, m := range c.masks {
		if source, into, ok := m.leak(cmd); ok {
			what := "values of " + source + ", which is masked for you,"
			if source == "?" {
				what = "values whose origin can't be told"
			}
			return outcome{rule: m.object.Name, reason: "it would put " + what + " into " + into + ", where the mask doesn't cover them. " +
				"Leave masked columns out of what is copied, and write out the columns that you do copy."}
		}
		if column, ok := m.oracle(cmd); ok {
			return outcome{rule: m.object.Name, reason: "the column " + column + " is masked for you, and a condition on it would tell its values. " +
				"Leave it out of WHERE, JOIN, GROUP BY, ORDER BY, DISTINCT and CASE."}
		}
	}
	return outcome{verdict: postern.Allow}
}
