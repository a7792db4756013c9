package policy

import (
	"strings"

	"postern"
)

// predicateColumns is the attribute in which a protocol states the stored
// columns that decide what a command does or returns: those in WHERE, JOIN,
// GROUP BY, ORDER BY, HAVING, DISTINCT, CASE and the like.
const predicateColumns = "predicate_columns"

// comparedColumns and equalColumns part them, for protocols that can: those of
// which more may be told than which rows have equal values, and those that are
// only held against each other, as "a = b", or grouped by, as "a".
const (
	comparedColumns = "compared_columns"
	equalColumns    = "equal_columns"
)

// oracle says whether a command would tell values of masked columns through a
// condition: who may ask "is it this one?" often enough has read the column.
//
// Which values are equal a hash tells anyway. So columns that are hashed for
// this identity may be joined with each other, and grouped by.
func (c *deciding) oracle(m *mask, cmd *postern.Command) (column string, ok bool) {
	if m.spec.AllowPredicates || len(m.columns) == 0 {
		return "", false
	}
	compared := cmd.Attr(comparedColumns)
	if compared.Kind == 0 {
		compared = cmd.Attr(predicateColumns)
	}
	for _, name := range compared.Strings {
		if m.over(name) {
			return name, true
		}
	}
	for _, text := range cmd.Attr(equalColumns).Strings {
		names := strings.Split(text, " = ")
		for _, name := range names {
			if m.over(name) && !(m.spec.With == postern.MaskHash && c.hashed(names)) {
				return name, true
			}
		}
	}
	return "", false
}

// over says whether the mask is over a column, or a part of it.
func (m *mask) over(column string) bool {
	for _, want := range m.columns {
		if columnMatches(want, column) {
			return true
		}
	}
	return false
}

// hashed says whether this identity sees hashes of all these columns.
func (c *deciding) hashed(columns []string) bool {
	for _, column := range columns {
		covered := false
		for _, m := range c.masks {
			covered = covered || m.spec.With == postern.MaskHash && m.covers(column)
		}
		if !covered {
			return false
		}
	}
	return true
}

// opaqueResult is the attribute in which a protocol states that it can't tell
// where some of a command's result comes from.
const opaqueResult = "opaque_result"

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
	for i, want := range m.columns {
		if columnMatches(want, column) && !m.parts[i] {
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
		if len(m.columns) > 0 && !m.spec.MaskOpaque && stated(cmd, opaqueResult) {
			return outcome{rule: m.object.Name, reason: "it can't be told where some of its result comes from, and columns here are masked for you. " +
				"Write out the columns that you need, with the tables' names, and leave out functions that aren't written in SQL or PL/pgSQL."}
		}
		if column, ok := c.oracle(m, cmd); ok {
			return outcome{rule: m.object.Name, reason: "the column " + column + " is masked for you, and a condition on it, or whether something computed with it fails, would tell its values. " +
				"Leave it out of WHERE, JOIN, GROUP BY, ORDER BY, DISTINCT and CASE, and out of expressions with another table's or a series' values."}
		}
	}
	return outcome{verdict: postern.Allow}
}

// Tells says whether a command has a condition on a column that is masked for
// anybody: how many rows it is about would then tell that column's values.
func (s *Set) Tells(resource string, cmd *postern.Command) (column string, ok bool) {
	b := s.resources[resource]
	if b == nil {
		return "", true
	}
	for _, m := range b.masks {
		for _, name := range cmd.Attr(predicateColumns).Strings {
			if len(m.columns) > 0 && m.covers(name) || strings.Count(name, ".") != 2 {
				return name, true
			}
		}
	}
	return "", false
}
