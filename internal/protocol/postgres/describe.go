package postgres

import (
	"encoding/binary"
	"slices"
	"strings"

	"postern"
	"postern/internal/sql"
	analysis "postern/internal/sql/postgres"
)

// field is one column of a RowDescription.
type field struct {
	name   string
	table  uint32 // 0: it is no column of a table
	column uint16
	typ    uint32
	format uint16
}

// maxFields is the server's own bound (MaxTupleAttributeNumber).
const maxFields = 1664

// decodeFields decodes RowDescription. An empty one is not nil.
func decodeFields(body []byte) ([]field, bool) {
	if len(body) < 2 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	if n > maxFields {
		return nil, false
	}
	fields := make([]field, 0, min(n, len(body)/19))
	for range n {
		name, rest, ok := cutString(body)
		if !ok || len(rest) < 18 {
			return nil, false
		}
		fields = append(fields, field{
			name: name, table: binary.BigEndian.Uint32(rest), column: binary.BigEndian.Uint16(rest[4:]),
			typ: binary.BigEndian.Uint32(rest[6:]), format: binary.BigEndian.Uint16(rest[16:]),
		})
		if fields[len(fields)-1].format > 1 {
			return nil, false
		}
		body = rest[18:]
	}
	return fields, len(body) == 0
}

// columns is what masking has to know of a result: what the server says of it
// (fields) and what the analysis proved (st, which may be nil), where they
// agree. Where they don't, nothing is proven.
func columns(fields []field, st *sql.Statement, env *analysis.Env, by doubts) []postern.Column {
	var catalog *analysis.Catalog
	if env != nil {
		catalog = env.Catalog
	}
	outputs := outputsOf(st, len(fields))
	fetched := st != nil && slices.Contains(st.Command.Verbs, "fetch")
	all := make([]postern.Column, len(fields))
	for i, f := range fields {
		c := &all[i]
		c.Name, c.Binary = f.name, f.format == 1
		c.Type, c.Elem, c.Width = catalog.ValueType(f.typ)
		var proven *sql.Output
		if outputs != nil {
			proven = &outputs[i]
		}
		trace(c, f, proven, catalog, by)
		if fetched && (proven == nil || !proven.Proven) {
			// The relation is named as it is now, its rows are read as it was when the
			// cursor was opened.
			c.Proven, c.Plain = false, false
		}
	}
	return all
}

// outputsOf are the columns that the analysis proved, when they are n.
func outputsOf(st *sql.Statement, n int) []sql.Output {
	if st == nil || !st.OutputsKnown || len(st.Outputs) != n {
		return nil
	}
	return st.Outputs
}

// trace says where a column's values come from.
func trace(c *postern.Column, f field, proven *sql.Output, catalog *analysis.Catalog, by doubts) {
	if proven != nil {
		c.Sources, c.Proven, c.Plain = proven.Sources, proven.Proven, proven.Plain
	}
	if f.table == 0 {
		return
	}
	if catalog == nil {
		c.Proven = false
		return
	}
	relation := catalog.Relations[f.table]
	named, ok := catalog.ColumnByAttr(f.table, f.column)
	if !ok || relation == nil {
		// A system column, or a table that the catalog doesn't know yet.
		c.Proven = false
		return
	}
	stored := relation.Kind == 'r' || relation.Kind == 'p' || relation.Kind == 'f'
	sources, complete := catalog.Origins(f.table, f.column)
	switch {
	case by.views && relation.IsView(), stored && by.table(sources):
		// What it shows may have changed since the catalog was read: a table may have
		// become a view, or be read with another's rows.
		complete = false
	case stored && proven != nil && proven.Proven && !has(proven.Sources, named):
		// The server and the analysis disagree.
		complete = false
	}
	all := append(append(make([]postern.ColumnName, 0, len(sources)+len(c.Sources)+1), sources...), c.Sources...)
	if !has(all, named) {
		all = append(all, named)
	}
	c.Sources, c.Proven = all, complete
	c.Plain = complete && stored && (proven == nil || proven.Plain)
}

func has(all []postern.ColumnName, c postern.ColumnName) bool {
	for _, one := range all {
		if one == c {
			return true
		}
	}
	return false
}

// doubts are what may show something else than by the catalog.
type doubts struct {
	views bool
	names []string // as [sql.Statement.Touches] gives them
}

// doubtsOf are those of a command's text, and of what came before it.
func doubtsOf(cmd *command) doubts {
	var by doubts
	for i := range cmd.statements {
		if st := &cmd.statements[i]; len(st.Touches) > 0 || st.ChangesCatalog {
			by.views, by.names = true, addNames(by.names, st.Touches)
		}
	}
	if cmd.env != nil {
		by.views = by.views || cmd.env.Catalog.MovesViews(cmd.env.Touched)
		by.names = append(by.names[:len(by.names):len(by.names)], cmd.env.Touched...)
	}
	return by
}

// table says whether one of the tables may, which columns' values come from.
func (d doubts) table(sources []postern.ColumnName) bool {
	return slices.ContainsFunc(sources, func(c postern.ColumnName) bool { return analysis.Touched(d.names, c.Table) })
}

// maskNames masks the names of a result's columns that the client didn't
// choose: whoever made the view or the function did, maybe from values. It
// returns nil when nothing has to change.
func (m masking) maskNames(fields []field, body []byte, known string, catalog *analysis.Catalog) []byte {
	if m.none() {
		return nil
	}
	names := make([]string, len(fields))
	changed := false
	for i, f := range fields {
		names[i] = f.name
		if strings.Contains(known, f.name) {
			continue
		}
		if catalog != nil {
			if named, ok := catalog.ColumnByAttr(f.table, f.column); ok && named.Column == f.name {
				continue
			}
		}
		names[i] = m.content(f.name)
		changed = changed || names[i] != f.name
	}
	if !changed {
		return nil
	}
	out := append([]byte(nil), body[:2]...)
	rest := body[2:]
	for i, f := range fields {
		rest = rest[len(f.name)+1:]
		out = append(appendString(out, names[i]), rest[:18]...)
		rest = rest[18:]
	}
	return out
}
