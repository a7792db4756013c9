package mask

import (
	"errors"
	"path"
	"strings"

	"postern"
)

// pattern is a column mask's "schema.table.column", each part a glob, and the
// path of the part of its documents that is meant, if not all.
type pattern struct {
	schema, table, column string
	path                  []jsonStep
}

// parsePattern reads a pattern. One of fewer than three parts matches from the
// right: "email" is "*.*.email".
func parsePattern(s string) (pattern, error) {
	s, within := splitPath(s)
	parts := strings.Split(s, ".")
	if len(parts) > 3 {
		return pattern{}, errors.New("more than three parts")
	}
	p := pattern{schema: "*", table: "*", column: "*"}
	if within != "" {
		var err error
		if p.path, err = parsePath(within); err != nil {
			return pattern{}, err
		}
	}
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
func (p *pattern) matches(c postern.ColumnName) bool {
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
// value comes from, noStyle when none does, and the size of its buckets. within
// are the masks over parts of the column's documents.
func columnStyle(c *postern.Column, masks []columnMask) (strongest style, size postern.Bucket, within []jsonMask) {
	document := c.Proven && c.Plain && c.Type == postern.JSONValue
	for i := range masks {
		m := &masks[i]
		s := m.style
		whole, paths := m.binds(c.Sources)
		switch {
		case !c.Proven:
			// It may be computed from anything: never show a part of it.
			s = max(s, redact)
		case !whole && document:
			for _, path := range paths {
				within = append(within, jsonMask{path: path, style: s, size: m.size})
			}
			continue
		case !whole && len(paths) == 0:
			continue
		case !c.Plain && (s == partial || s == bucket):
			// Part of an expression's value may be more of the source than
			// is meant to be shown.
			s = redact
		}
		if s == bucket && strongest == bucket {
			size = coarser(size, m.size)
		} else if s == bucket {
			size = m.size
		}
		strongest = max(strongest, s)
	}
	return strongest, size, within
}

// columnMask is a mask over columns, with its patterns read.
type columnMask struct {
	style    style
	size     postern.Bucket
	patterns []pattern
	all      bool // a pattern couldn't be read: every column counts
}

// binds says whether the mask is over a value from these columns as a whole, or
// else over which parts of it.
func (m *columnMask) binds(sources []postern.ColumnName) (whole bool, paths [][]jsonStep) {
	if m.all {
		return true, nil
	}
	for _, source := range sources {
		for i := range m.patterns {
			switch p := &m.patterns[i]; {
			case !p.matches(source):
			case p.path == nil:
				return true, nil
			default:
				paths = append(paths, p.path)
			}
		}
	}
	return false, paths
}

func columnMasks(masks []postern.Mask) []columnMask {
	var out []columnMask
	for i := range masks {
		if len(masks[i].Columns) == 0 {
			continue
		}
		m := columnMask{style: styleOf(masks[i].With), size: masks[i].Bucket}
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
