package mask

import (
	"errors"
	"path"
	"strings"

	"postern"
)

// pattern is a column mask's "schema.table.column", each part a glob.
type pattern struct{ schema, table, column string }

// parsePattern reads a pattern. One of fewer than three parts matches from the
// right: "email" is "*.*.email".
func parsePattern(s string) (pattern, error) {
	parts := strings.Split(s, ".")
	if len(parts) > 3 {
		return pattern{}, errors.New("more than three parts")
	}
	p := pattern{"*", "*", "*"}
	for i, dst := range []*string{&p.column, &p.table, &p.schema} {
		if i >= len(parts) {
			break
		}
		part := strings.ToLower(parts[len(parts)-1-i])
		if _, err := path.Match(part, ""); err != nil || part == "" {
			return pattern{}, errors.New("each part must be a name or a glob")
		}
		*dst = part
	}
	return p, nil
}

// matches ignores case: servers differ in it, and a name in another spelling
// must not slip through.
func (p pattern) matches(c postern.ColumnName) bool {
	return matchPart(p.column, c.Column) && matchPart(p.table, c.Table) && matchPart(p.schema, c.Schema)
}

func matchPart(glob, name string) bool {
	if glob == "*" {
		return true
	}
	ok, err := path.Match(glob, strings.ToLower(name))
	return err == nil && ok
}

// ValidColumn says what is wrong with a column pattern of a mask, if anything.
func ValidColumn(s string) error {
	_, err := parsePattern(s)
	return err
}

// columnStyle is the strongest style that masks bind to a column by where its
// value comes from; noStyle when none does.
func columnStyle(c *postern.Column, masks []columnMask) style {
	strongest := noStyle
	for i := range masks {
		m := &masks[i]
		s := m.style
		switch {
		case !c.Proven:
			// It may be computed from anything: never show a part of it.
			s = max(s, redact)
		case !m.binds(c.Sources):
			continue
		case !c.Plain && s == partial:
			// Part of an expression's value may be more of the source than
			// partial means to show.
			s = redact
		}
		strongest = max(strongest, s)
	}
	return strongest
}

// columnMask is a mask over columns, with its patterns read.
type columnMask struct {
	style    style
	patterns []pattern
	all      bool // a pattern couldn't be read: every column counts
}

func (m *columnMask) binds(sources []postern.ColumnName) bool {
	if m.all {
		return true
	}
	for _, source := range sources {
		for _, p := range m.patterns {
			if p.matches(source) {
				return true
			}
		}
	}
	return false
}

func columnMasks(masks []postern.Mask) []columnMask {
	var out []columnMask
	for i := range masks {
		if len(masks[i].Columns) == 0 {
			continue
		}
		m := columnMask{style: styleOf(masks[i].With)}
		for _, text := range masks[i].Columns {
			p, err := parsePattern(text)
			if err != nil {
				m.all = true
				continue
			}
			m.patterns = append(m.patterns, p)
		}
		out = append(out, m)
	}
	return out
}
