package postgres

import (
	"slices"

	"postern"
	"postern/internal/sql"
)

// shape is what a relation looks like to a query: its columns and where their
// values come from. It is worked out once and kept with the catalog.
type shape struct {
	cols   []field
	known  bool
	facts  *facts // what reading it does; nil: nothing
	lively bool   // it depends on the session
}

// Origins says from which stored columns the values of a relation's column are
// computed, through views, generated columns, inheritance and foreign keys.
// Unless complete, there may be others.
func (c *Catalog) Origins(table uint32, attribute uint16) (sources []postern.ColumnName, complete bool) {
	rel := c.Relations[table]
	if rel == nil || attribute == 0 || int(attribute) > len(rel.Columns) || rel.Columns[attribute-1].Dropped {
		return nil, false
	}
	r := newReader(&Env{Catalog: c}, &run{}, nil)
	shape := r.shape(rel)
	if shape == nil {
		return nil, false
	}
	n := 0
	for i := range int(attribute) - 1 {
		if !rel.Columns[i].Dropped {
			n++
		}
	}
	if n >= len(shape.cols) {
		return nil, false
	}
	v := shape.cols[n].value
	return v.sources, v.proven && !v.session
}

// shape returns nil when the relation is being read already. Where functions
// that a view calls depend on the session's search path, so does its shape.
func (r *reader) shape(rel *Relation) *shape {
	c := r.cat
	session := r
	if r.caller != nil {
		session = r.caller
	}
	plain := bodyKey{oid: rel.OID}
	c.mu.Lock()
	s := c.shapes[plain]
	lively := s != nil && s.lively
	if lively {
		s = c.shapes[session.bodyKey(rel.OID)]
	}
	c.mu.Unlock()
	if lively {
		r.run.lively = true
	}
	if s != nil {
		return s
	}
	if !r.run.enter(aShape, rel.OID) {
		return nil
	}
	cut, before := r.run.cut, r.run.lively
	r.run.cut, r.run.lively = false, false
	if rel.Kind == 'v' || rel.Kind == 'm' {
		s = r.viewShape(rel)
	} else {
		s = r.tableShape(rel)
	}
	r.run.leave()
	s.lively = r.run.lively
	if !r.run.cut && r.run.steps <= maxSteps {
		c.mu.Lock()
		if len(c.shapes) >= maxBodies+len(c.Relations) {
			c.shapes = map[bodyKey]*shape{}
		}
		c.shapes[plain] = s
		if s.lively {
			c.shapes[session.bodyKey(rel.OID)] = s
		}
		c.mu.Unlock()
	}
	r.run.cut, r.run.lively = r.run.cut || cut, r.run.lively || before
	return s
}

// catalogReader reads text that the catalog keeps with every name qualified.
func (r *reader) catalogReader() *reader {
	s := r.sub()
	if s.caller == nil {
		caller := *r
		s.caller = &caller
	}
	s.env = &Env{Catalog: r.cat, SearchPath: []string{}, User: r.env.User, StandardConformingStrings: true}
	s.setPath(s.env.SearchPath)
	s.touches, s.allTouched, s.bound = nil, false, true
	return s
}

// viewShape reads a view's query. The server's own views are tables to us, unless
// somebody has replaced one, which others of them may read.
func (r *reader) viewShape(rel *Relation) *shape {
	if system(rel.Schema) && rel.OID < firstUserOID && rel.Definition == "" {
		return r.tableShape(rel)
	}
	inner := r.catalogReader()
	fields, known := inner.viewFields(rel)
	if rel.Kind == 'm' && r.run.lively && slices.ContainsFunc(inner.facts.objects, func(o postern.Object) bool { return o.Kind == kindBase }) {
		known = false // its functions read by name, and it holds what the names meant then
	}
	out := &shape{facts: inner.facts, known: true, cols: rel.shows(fields, known)}
	// What errors and messages may quote is what is read of it, as columns tell.
	inner.facts.uses = inner.facts.told()
	if rel.Kind == 'm' {
		// It is stored: reading it runs nothing of its query.
		out.facts = &facts{reads: []sql.Table{{Schema: rel.Schema, Name: rel.Name}}}
		for _, t := range inner.facts.reads {
			out.facts.read(t)
		}
	}
	return out
}

// shows are a view's columns under their names, with what its query gives.
func (r *Relation) shows(fields []field, known bool) []field {
	var cols []field
	for i := range r.Columns {
		if !r.Columns[i].Dropped {
			cols = append(cols, field{r.Columns[i].Name, opaque})
		}
	}
	if known && len(cols) == len(fields) {
		for i := range cols {
			cols[i].value = fields[i].value
		}
	}
	return cols
}

func (r *reader) viewFields(rel *Relation) ([]field, bool) {
	if rel.Definition == "" || len(rel.Definition) > maxText {
		r.facts.unknown("It reads the view " + rel.Schema + "." + rel.Name + ", whose definition can't be read.")
		return nil, false
	}
	tree, problem := parse(rel.Definition)
	if problem != "" || len(tree.Stmts) != 1 || tree.Stmts[0].Stmt.GetSelectStmt() == nil {
		r.facts.unknown("It reads the view " + rel.Schema + "." + rel.Name + ", whose definition can't be read.")
		return nil, false
	}
	return r.query(tree.Stmts[0].Stmt.GetSelectStmt(), nil)
}

// tableShape gathers for every column the columns whose values it may hold:
// of parents and children, of the table that a foreign key points to, and of
// the expression that generates it.
func (r *reader) tableShape(rel *Relation) *shape {
	out := &shape{known: true, cols: make([]field, 0, len(rel.Columns))}
	for i := range rel.Columns {
		col := &rel.Columns[i]
		if col.Dropped {
			continue
		}
		out.cols = append(out.cols, field{col.Name, r.columnValue(rel, i)})
	}
	if rel.Kind == 'f' {
		for i := range out.cols {
			out.cols[i].proven = false // another server's, and perhaps this one's again
		}
	}
	return out
}

// place is one column of one relation.
type place struct {
	rel    uint32
	column int
}

func (r *reader) columnValue(rel *Relation, column int) value {
	v := value{proven: true, plain: true, array: r.isArray(rel.Columns[column].Type)}
	todo := []place{{rel.OID, column}}
	seen := map[place]bool{todo[0]: true}
	for len(todo) > 0 {
		p := todo[0]
		todo = todo[1:]
		at := r.cat.Relations[p.rel]
		if at == nil || p.column < 0 || p.column >= len(at.Columns) || at.Columns[p.column].Dropped {
			continue
		}
		if len(seen) > 4096 {
			v.proven = false
			break
		}
		col := &at.Columns[p.column]
		v.sources = append(v.sources, postern.ColumnName{Schema: at.Schema, Table: at.Name, Column: col.Name})
		if at.Kind == 'f' || system(at.Schema) && !systemValue(at.Name, col.Name) || at.Schema == "pg_toast" {
			v.proven = false
		}
		v.row = v.row || r.composite(col.Type)
		if col.Generated != "" {
			g := r.generated(at, col)
			v.sources = union(v.sources, g.sources)
			v.proven = v.proven && g.proven
			v.pieces = g.pieces
		}
		visit := func(q place) {
			if !seen[q] {
				seen[q] = true
				todo = append(todo, q)
			}
		}
		for _, parent := range at.Parents {
			if up := r.cat.Relations[parent]; up != nil {
				visit(place{parent, up.columnIndex(col.Name)})
			}
		}
		for _, child := range r.cat.children[at.OID] {
			visit(place{child.OID, child.columnIndex(col.Name)})
		}
		for _, key := range at.ForeignKeys {
			for i, n := range key.Columns {
				if int(n) == p.column+1 {
					visit(place{key.Table, int(key.References[i]) - 1})
				}
			}
		}
	}
	return v
}

func (r *Relation) columnIndex(name string) int {
	for i := range r.Columns {
		if r.Columns[i].Name == name && !r.Columns[i].Dropped {
			return i
		}
	}
	return -1
}

// generated is the value of a generated column's expression.
func (r *reader) generated(rel *Relation, col *Column) value {
	tree, problem := parse("SELECT " + col.Generated)
	if problem != "" || len(tree.Stmts) != 1 {
		return opaque
	}
	inner := r.catalogReader()
	t := &item{alias: rel.Name, rel: rel, known: true}
	for i := range rel.Columns {
		if c := &rel.Columns[i]; !c.Dropped && c.Generated == "" {
			t.cols = append(t.cols, field{c.Name, value{proven: true, sources: []postern.ColumnName{{Schema: rel.Schema, Table: rel.Name, Column: c.Name}}}})
		}
	}
	fields, known := inner.query(tree.Stmts[0].Stmt.GetSelectStmt(), &scope{items: []*item{t}})
	if !known || len(fields) != 1 {
		return opaque
	}
	v := fields[0].value.bare()
	v.pieces = inner.facts.pieces
	return v
}

// composite says whether a type may hold rows: composite types, domains and
// arrays of them, and what isn't known.
func (r *reader) composite(oid uint32) bool {
	if _, ok := builtinValueType(oid); ok {
		return false
	}
	for range maxDepth {
		t := r.cat.typeByOID(oid)
		switch {
		case t == nil:
			return true
		case t.Kind == 'c' || t.Kind == 'p':
			return true
		case t.Kind == 'd':
			oid = t.Base
		case t.Category == 'A' && t.Elem != 0:
			oid = t.Elem
		default:
			return false
		}
	}
	return true
}

// compositeRelation is the relation whose columns a type's values have, of an
// array its elements'.
func (r *reader) compositeRelation(oid uint32) *Relation {
	for range maxDepth {
		t := r.cat.typeByOID(oid)
		switch {
		case t == nil:
			return nil
		case t.Kind == 'c':
			return r.cat.Relations[t.Relation]
		case t.Kind == 'd':
			oid = t.Base
		case t.Category == 'A' && t.Elem != 0:
			oid = t.Elem
		default:
			return nil
		}
	}
	return nil
}
