package postgres

import (
	"slices"
	"strings"

	"postern"
	"postern/internal/sql"
)

// What hangs on tables and types runs without being called: triggers, rules,
// defaults, checks, casts. Whoever may attach it may run it, but a client under
// masks and rules may not do all that it could do then: so what a client may have
// made counts as if the statement itself said it. What others made is theirs to
// answer for, as far as it only moves values and changes single rows.

// altersOwn says whether the session's login may have made what hangs on a
// relation, or some of what that runs. rel is nil for what hangs on a type.
func (r *reader) altersOwn(rel *Relation, makers []string) bool {
	owned, known := r.cat.owners[r.env.User]
	return !known || rel != nil && owned[rel.Owner] || slices.ContainsFunc(makers, func(role string) bool { return owned[role] || role == anybody })
}

// anybody is who may have made what a name means since the catalog was read.
const anybody = ""

// relationRow is a row of a relation, as what hangs on it is given it.
func (r *reader) relationRow(rel *Relation) value {
	row := value{proven: true}
	if rel == nil {
		return row
	}
	if shape := r.shape(rel); shape != nil && shape.known {
		row = rowOf(nil, true)
		for _, col := range shape.cols {
			v := col.value.bare()
			v.row = v.row || rel.Kind == 'v'
			row.sources = union(row.sources, v.sources)
			row.proven = row.proven && v.proven
			row.fields = append(row.fields, field{col.name, v})
		}
		return row
	}
	for i := range rel.Columns {
		if c := &rel.Columns[i]; !c.Dropped {
			v := value{sources: []postern.ColumnName{{Schema: rel.Schema, Table: rel.Name, Column: c.Name}}, proven: true, row: true}
			row.sources = append(row.sources, v.sources...)
			row.fields = append(row.fields, field{c.Name, v})
		}
	}
	return row
}

// elsewhere is what of a value doesn't come from a row.
func elsewhere(v, row value) value {
	w := v.bare()
	w.sources = slices.DeleteFunc(slices.Clone(v.sources), func(c postern.ColumnName) bool { return slices.Contains(row.sources, c) })
	return w
}

// lands are the columns in which a value ends up that is put into a relation's: of
// a view, those below it.
func (r *reader) lands(rel *Relation, column string) []postern.ColumnName {
	if rel.Kind == 'v' {
		if shape := r.shape(rel); shape != nil {
			for _, col := range shape.cols {
				if col.name == column && col.plain && len(col.sources) > 0 {
					return col.sources
				}
			}
		}
	}
	return []postern.ColumnName{{Schema: rel.Schema, Table: rel.Name, Column: column}}
}

// attached adds what functions do that decide over a row of rel, or, without one,
// over a value of a type: checks, indexes, partition keys, policies.
func (r *reader) attached(rel *Relation, oids []uint32, writing bool) {
	if len(oids) == 0 {
		return
	}
	row := r.relationRow(rel)
	for _, oid := range oids {
		r.attach(rel, oid, row, writing, func(inner *reader, v value) { inner.facts.branch(elsewhere(v, row)) })
	}
}

// checked adds what the checks of a domain do that is given a value.
func (r *reader) checked(t *Type, given value) {
	for _, oid := range t.Checks {
		r.attach(nil, oid, given, false, decides)
	}
}

// checkedWithin says whether a type is a domain, or made of one that users' functions
// check.
func (r *reader) checkedWithin(t *Type) bool {
	if t == nil {
		return false
	}
	found := t.Kind == 'd' && !system(t.Schema)
	r.cat.within(t.OID, nil, func(part *Type) { found = found || len(part.Checks) > 0 && part.Subtype == 0 })
	return found
}

// planned adds what functions do that the server may evaluate as it plans to read a
// relation: what it takes for constant in checks, partition keys and the expressions of
// indexes and statistics, and whatever estimates rows by.
func (r *reader) planned(rel *Relation, depth int) {
	r.plannedBy(rel, rel.WriteCalls)
	r.plannedBy(rel, rel.KeyCalls)
	for i := range rel.Columns {
		r.cat.within(rel.Columns[i].Type, nil, func(t *Type) {
			if t.Subtype != 0 {
				r.plannedBy(rel, t.Checks)
			}
		})
	}
	if depth > maxDepth {
		r.run.deep = true
		return
	}
	for _, child := range r.cat.children[rel.OID] {
		r.facts.place(child.OID)
		r.planned(child, depth+1)
	}
}

func (r *reader) plannedBy(rel *Relation, oids []uint32) {
	for _, oid := range oids {
		inner := r.sub()
		inner.args = &value{proven: true}
		v, _ := inner.applyOID(oid, []value{constant})
		inner.facts.branch(v)
		switch {
		case inner.facts.traceless():
			r.facts.passOver(inner.facts)
		case r.altersOwn(rel, inner.facts.makers):
			r.facts.merge(inner.facts, false)
		default:
			r.facts.merge(&facts{uses: inner.facts.uses, unproven: inner.facts.unproven, flows: messages(inner.facts.flows), functions: inner.facts.functions}, false)
		}
	}
}

// messages are those of flows that go to the session as errors and notices.
func messages(flows []sql.Flow) []sql.Flow {
	return slices.DeleteFunc(slices.Clone(flows), func(f sql.Flow) bool { return f.Place != placeMessage })
}

// rebuilt adds what functions do that are run on the rows that a relation, and whatever
// inherits from it, has already: to check them, to index them, to rewrite them, to
// gather statistics of them.
func (r *reader) rebuilt(rel *Relation) {
	r.partitioned(rel, 0)
	for _, rel := range r.withHeirs(rel) {
		if Touched(r.touches, rel.Schema+"."+rel.Name) {
			r.facts.unknown(changedProblem)
		}
		row := r.relationRow(rel)
		r.rebuiltBy(rel, rel.WriteCalls, row)
		r.rebuiltBy(rel, rel.KeyCalls, row)
		for _, d := range rel.Defaults {
			r.rebuiltBy(rel, []uint32{d.Function}, row)
		}
		for i := range rel.Columns {
			r.cat.within(rel.Columns[i].Type, nil, func(t *Type) { r.rebuiltBy(nil, t.Checks, row) })
		}
	}
}

// rebuiltBy leaves out what only computes with the rows: it told of them when they were
// written.
func (r *reader) rebuiltBy(rel *Relation, oids []uint32, row value) {
	for _, oid := range oids {
		inner := r.sub()
		inner.args = &row
		v, _ := inner.applyOID(oid, []value{row})
		inner.facts.branch(elsewhere(v, row))
		if inner.facts.traceless() {
			r.facts.passOver(inner.facts)
		} else {
			r.mergeAttached(rel, inner.facts, true)
		}
	}
}

// attach adds what one function does that is given a value. then takes what it
// returns.
func (r *reader) attach(rel *Relation, oid uint32, given value, writing bool, then func(inner *reader, v value)) {
	inner := r.sub()
	inner.args = &given
	v, _ := inner.applyOID(oid, []value{given})
	if then != nil {
		then(inner, v)
	}
	r.mergeAttached(rel, inner.facts, writing)
}

// triggered adds what a trigger's function, or one that its condition calls, does.
func (r *reader) triggered(rel *Relation, t Trigger) {
	inner := r.sub()
	inner.fire(rel, t)
	if t.Deferrable && r.altersOwn(rel, inner.facts.makers) {
		inner.facts.defers = true
	}
	r.mergeAttached(rel, inner.facts, true)
}

func (r *reader) fire(rel *Relation, t Trigger) {
	row := r.relationRow(rel)
	r.args, r.fires = &row, rel
	v, _ := r.applyOID(t.Function, []value{row})
	f := r.cat.Functions[t.Function]
	switch {
	case t.Condition:
		r.facts.branch(elsewhere(v, row))
	case f != nil && f.Schema == "pg_catalog" && strings.HasPrefix(f.Name, "tsvector_update_trigger"):
		r.facts.flow(postern.ColumnName{Schema: rel.Schema, Table: rel.Name, Column: "*"}, "", row.bare())
	case f != nil && f.Schema == "pg_catalog" && f.Name == "suppress_redundant_updates_trigger":
		r.facts.branch(row) // how many rows are changed tells which had the values already
	}
}

// defaulted adds what gives a relation's columns their values unless a statement
// does: defaults, and the expressions of generated columns.
func (r *reader) defaulted(rel *Relation, events int16) {
	for _, d := range rel.Defaults {
		if d.Column < 1 || int(d.Column) > len(rel.Columns) {
			continue
		}
		c, given := &rel.Columns[d.Column-1], constant
		if c.Generated != "" {
			given = r.relationRow(rel)
		}
		r.attach(rel, d.Function, given, true, func(inner *reader, v value) { inner.fills(rel, c.Name, elsewhere(v, given), events) })
	}
}

// fills notes that a value is put into a column by what hangs on its table.
func (r *reader) fills(rel *Relation, column string, v value, events int16) {
	if events&(onInsert|onUpdate) == 0 {
		return
	}
	for _, into := range r.lands(rel, column) {
		r.facts.flow(into, "", v.bare())
	}
}

// stored adds what putting a value into a column runs by the column's type: casts,
// a domain's checks and its default.
func (r *reader) stored(rel *Relation, column *Column, events int16) {
	var casts []uint32
	implied := func(oid uint32) {
		if t := r.cat.typeByOID(oid); t != nil {
			casts = append(casts, r.cat.assigning[oid]...)
			casts = append(casts, r.cat.assigning[t.Elem]...)
			casts = append(casts, r.cat.assigning[t.Base]...)
		}
	}
	implied(column.Type)
	r.cat.within(column.Type, nil, func(t *Type) {
		r.attached(nil, t.Checks, true)
		for _, oid := range r.cat.casts[t.OID] {
			r.attach(nil, oid, constant, true, nil)
		}
		for _, oid := range t.Defaults {
			r.attach(rel, oid, constant, true, func(inner *reader, v value) { inner.fills(rel, column.Name, v, events) })
		}
		if t.OID != column.Type {
			implied(t.OID)
		}
	})
	for _, oid := range casts {
		r.attach(rel, oid, constant, true, func(inner *reader, v value) { inner.fills(rel, column.Name, v, events) })
	}
}

// mergeAttached adds what hangs on a relation does. Where no client can have made
// it, what can't be told of it isn't held against the statement, nor what it moves
// and decides by, nor, of a statement that writes, that it writes single rows, too.
// But what errors quote, and what it says itself, is told to the session in any case.
func (r *reader) mergeAttached(rel *Relation, g *facts, writing bool) {
	h := *g
	own := r.altersOwn(rel, g.makers)
	unknown := h.problem != "" || slices.Contains(h.verbs, postern.VerbUnknown)
	if unknown && !r.altersOwn(nil, g.makers) {
		h.dynamic = true
		h.problem = ""
		h.access = min(h.access, levelWrite)
		h.unsettles, h.changesCatalog, h.touches = false, false, nil
		h.verbs = slices.DeleteFunc(slices.Clone(h.verbs), func(v string) bool { return v == postern.VerbUnknown })
	}
	if own {
		r.facts.merge(&h, false)
		return
	}
	h.equalities = nil
	h.pieces, h.searches = nil, nil
	h.predicates, h.settings, h.assigned = nil, nil, nil
	h.flows = messages(g.flows)
	h.verbs = slices.DeleteFunc(slices.Clone(h.verbs), func(v string) bool {
		switch v {
		case postern.VerbUnknown, "select":
			return true
		case "insert", "update", "delete", "merge", "call", "notify", "lock":
			return writing && !g.unbounded
		}
		return false
	})
	if writing && len(h.verbs) == 0 {
		h.access, h.objects, h.reads = min(h.access, levelWrite), nil, nil
		h.bounded, h.unbounded = false, false
	}
	r.facts.merge(&h, false)
}
