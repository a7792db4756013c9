package postgres

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
)

// Of a stored value only the catalog tells where it came from: what its column is tied
// to by inheritance, a partition's bound, a foreign key or an expression, and what a
// materialized view reads by now. A statement that unties them leaves the value where
// it is, and the mask that went by the tie covers it no more. So it counts as copying
// the value to its own column.

// keeps notes that a column's values, or all of a relation's, stay under its own name
// alone.
func (r *reader) keeps(rel *Relation, column string) {
	shape := r.shape(rel)
	if shape == nil {
		r.flowsUnknown(rel.Schema, rel.Name)
		return
	}
	for _, c := range shape.cols {
		if column == "" || c.name == column {
			r.facts.flow(postern.ColumnName{Schema: rel.Schema, Table: rel.Name, Column: c.name}, "", c.value)
		}
	}
}

// flowsUnknown notes that a table may get any values.
func (r *reader) flowsUnknown(schema, table string) {
	r.facts.flow(postern.ColumnName{Schema: schema, Table: table, Column: "*"}, "", opaque)
}

// meant are the relations of the catalog that a name may be of. Behind a statement of
// the same text that touched it, it is known by its last part alone: what holds values
// that a mask would miss by another name can't have been given one.
func (r *reader) meant(f found) []*Relation {
	if f.rel != nil {
		return []*Relation{f.rel}
	}
	if r.cat == nil {
		return nil
	}
	var all []*Relation
	for _, rel := range r.cat.ordered {
		if rel.Name == f.name || !exact(f.name) || !exact(rel.Name) || f.name == unprovenSchema {
			all = append(all, rel)
		}
	}
	return all
}

// withHeirs are relations and whatever inherits from them.
func (r *reader) withHeirs(all ...*Relation) []*Relation {
	all = all[:len(all):len(all)]
	seen := map[uint32]bool{}
	for i := 0; i < len(all); i++ {
		if rel := all[i]; !seen[rel.OID] && r.step() {
			seen[rel.OID] = true
			all = append(all, r.cat.children[rel.OID]...)
		}
	}
	return all
}

// typed are a relation and, of a composite type, the tables of that type.
func (r *reader) typed(rel *Relation) []*Relation {
	all := []*Relation{rel}
	if rel.Kind != 'c' {
		return all
	}
	for _, other := range r.cat.ordered {
		if t := r.cat.typeByOID(other.Of); t != nil && t.Relation == rel.OID {
			all = append(all, other)
		}
	}
	return all
}

// stay notes that all of a relation's values, or those of a column, do so, and those of
// whatever inherits from it.
func (r *reader) stay(f found, column string) {
	if r.cat == nil {
		r.flowsUnknown(f.schema, f.name)
		return
	}
	for _, rel := range r.withHeirs(r.meant(f)...) {
		r.keeps(rel, column)
	}
}

// joins notes that a relation's values are read as those of another one, its parent.
func (r *reader) joins(child, parent found) {
	if r.cat == nil {
		r.flowsUnknown(parent.schema, parent.name)
		return
	}
	for _, rel := range r.meant(child) {
		shape := r.shape(rel)
		if shape == nil {
			r.flowsUnknown(parent.schema, parent.name)
			continue
		}
		for _, c := range shape.cols {
			if parent.rel != nil && parent.rel.columnIndex(c.name) < 0 {
				continue // it isn't read with the parent
			}
			r.facts.flow(postern.ColumnName{Schema: parent.schema, Table: parent.name, Column: c.name}, "", c.value)
		}
	}
}

// unbinds notes that a relation's foreign keys may end: with a column, those that it is
// part of.
func (r *reader) unbinds(f found, column string) {
	if r.cat == nil {
		r.stay(f, "")
		return
	}
	for _, rel := range r.meant(f) {
		for _, key := range rel.ForeignKeys {
			if column != "" && !slices.Contains(key.Columns, int16(rel.columnIndex(column)+1)) {
				continue
			}
			for _, n := range key.Columns {
				if i := int(n) - 1; i >= 0 && i < len(rel.Columns) && (column == "" || rel.Columns[i].Name != column) {
					r.keeps(rel, rel.Columns[i].Name)
				}
			}
		}
	}
}

// orphans notes that others' foreign keys to relations, and to what inherits from them,
// end with those, or with what of them they refer to.
func (r *reader) orphans(all ...*Relation) {
	if r.cat == nil {
		return
	}
	gone := map[uint32]bool{}
	for _, rel := range r.withHeirs(all...) {
		gone[rel.OID] = true
	}
	for _, other := range r.cat.ordered {
		if slices.ContainsFunc(other.ForeignKeys, func(key ForeignKey) bool { return gone[key.Table] }) {
			r.unbinds(found{rel: other}, "")
		}
	}
}

// restores notes that a materialized view holds what it reads by now, whatever that is
// replaced by afterwards. Tables can't be.
func (r *reader) restores(rel *Relation, fields []field, known bool, read *facts) {
	if !r.replaceable(read) {
		return
	}
	for _, c := range rel.shows(fields, known) {
		r.facts.flow(postern.ColumnName{Schema: rel.Schema, Table: rel.Name, Column: c.name}, "", c.value)
	}
}

// replaceable says whether some of what was read is a view or function that isn't the
// server's own.
func (r *reader) replaceable(read *facts) bool {
	for _, o := range read.objects {
		if o.Kind != kindView && o.Kind != kindBase && o.Kind != kindTable {
			continue
		}
		for _, rel := range r.cat.ordered {
			if rel.Schema+"."+rel.Name == o.Name && rel.IsView() {
				return true
			}
		}
	}
	// Of users' own operators and casts, functions do the work.
	theirs := func(oid uint32) bool {
		f := r.cat.Functions[oid]
		return f == nil || f.Language != "c" && f.Language != "internal"
	}
	for _, all := range r.cat.operators {
		if slices.ContainsFunc(all, func(op *operator) bool { return theirs(op.fn) }) {
			return true
		}
	}
	for _, all := range r.cat.casts {
		if slices.ContainsFunc(all, theirs) {
			return true
		}
	}
	return slices.ContainsFunc(read.functions, func(f string) bool { return !strings.HasPrefix(f, "pg_catalog.") })
}

// forgets notes that relations are read with their parents no more, and what inherits
// from them: what materialized views took from them stays there, and in other
// partitions what was moved there.
func (r *reader) forgets(all ...*Relation) {
	if r.cat == nil {
		return
	}
	gone, parted := map[name]bool{}, false
	for _, rel := range r.withHeirs(all...) {
		gone[name{rel.Schema, rel.Name}] = true
	}
	tied := false
	for _, rel := range all {
		for _, oid := range rel.Parents {
			tied = true
			parted = parted || r.cat.Relations[oid] != nil && r.cat.Relations[oid].Kind == 'p'
		}
	}
	if !tied {
		return
	}
	for _, rel := range r.cat.ordered {
		if gone[name{rel.Schema, rel.Name}] || rel.Kind != 'm' && (!parted || rel.Kind != 'r' || len(rel.Parents) == 0) || !r.step() {
			continue
		}
		shape := r.shape(rel)
		if shape == nil {
			r.keeps(rel, "")
			continue
		}
		for _, c := range shape.cols {
			v := value{proven: true}
			for _, from := range c.value.sources {
				if gone[name{from.Schema, from.Table}] {
					v.sources = append(v.sources, from)
				}
			}
			r.facts.flow(postern.ColumnName{Schema: rel.Schema, Table: rel.Name, Column: c.name}, "", v)
		}
	}
}

// replaces notes that what materialized views read by a name may be another from now on:
// they hold what it was.
func (r *reader) replaces(kind, last string) {
	if r.cat == nil {
		return
	}
	for _, rel := range r.cat.ordered {
		if rel.Kind != 'm' || !r.step() {
			continue
		}
		inner := r.catalogReader()
		inner.viewFields(rel)
		read := func(full string) bool { return strings.HasSuffix(full, "."+last) }
		if !exact(last) ||
			kind == kindFunction && slices.ContainsFunc(inner.facts.functions, read) ||
			kind == kindView && slices.ContainsFunc(inner.facts.objects, func(o postern.Object) bool { return read(o.Name) }) {
			r.keeps(rel, "")
		}
	}
}

// unties notes what a command of ALTER TABLE leaves behind, untied, or ties to another
// relation.
func (r *reader) unties(f found, cmd *pg_query.AlterTableCmd) {
	cascade := cmd.GetBehavior() == pg_query.DropBehavior_DROP_CASCADE
	switch cmd.GetSubtype() {
	case pg_query.AlterTableType_AT_AddInherit:
		r.joins(f, r.relation(cmd.GetDef().GetRangeVar()))
	case pg_query.AlterTableType_AT_AttachPartition:
		if cmd.GetDef().GetPartitionCmd().GetBound() != nil { // or it is an index
			r.joins(r.relation(cmd.GetDef().GetPartitionCmd().GetName()), f)
		}
	case pg_query.AlterTableType_AT_DropInherit:
		r.stay(f, "")
		r.forgets(r.meant(f)...)
	case pg_query.AlterTableType_AT_DetachPartition, pg_query.AlterTableType_AT_DetachPartitionFinalize:
		child := r.relation(cmd.GetDef().GetPartitionCmd().GetName())
		r.stay(child, "")
		r.forgets(r.meant(child)...)
	case pg_query.AlterTableType_AT_DropExpression:
		r.stay(f, cmd.GetName())
	case pg_query.AlterTableType_AT_DropConstraint:
		r.unbinds(f, "")
		if cascade {
			r.orphans(r.meant(f)...)
		}
	case pg_query.AlterTableType_AT_DropColumn:
		for _, rel := range r.meant(f) {
			for _, rel := range r.typed(rel) {
				r.unbinds(found{rel: rel}, cmd.GetName())
			}
		}
		if r.cat == nil {
			r.unbinds(f, cmd.GetName())
		}
		if cascade {
			for _, rel := range r.meant(f) {
				r.orphans(r.typed(rel)...)
			}
		}
	}
}

// dropsTable notes what a DROP leaves behind, untied.
func (r *reader) dropsTable(t pg_query.ObjectType, n *pg_query.Node, cascade bool) {
	if r.cat == nil {
		return
	}
	names := stringsOf(n.GetList().GetItems())
	if t == pg_query.ObjectType_OBJECT_TABLE || t == pg_query.ObjectType_OBJECT_FOREIGN_TABLE {
		r.forgets(r.meant(r.relation(rangeVar(names)))...)
	}
	if !cascade {
		return
	}
	switch t {
	case pg_query.ObjectType_OBJECT_TABLE, pg_query.ObjectType_OBJECT_FOREIGN_TABLE:
		r.orphans(r.meant(r.relation(rangeVar(names)))...)
	case pg_query.ObjectType_OBJECT_SCHEMA:
		for _, rel := range r.cat.ordered {
			if rel.Schema == n.GetString_().GetSval() {
				r.forgets(rel)
				r.orphans(rel)
			}
		}
	case pg_query.ObjectType_OBJECT_INDEX:
		r.orphans(r.cat.ordered...) // of what, isn't known
		return
	case pg_query.ObjectType_OBJECT_VIEW, pg_query.ObjectType_OBJECT_MATVIEW, pg_query.ObjectType_OBJECT_SEQUENCE, pg_query.ObjectType_OBJECT_TRIGGER,
		pg_query.ObjectType_OBJECT_RULE, pg_query.ObjectType_OBJECT_POLICY, pg_query.ObjectType_OBJECT_STATISTIC_EXT:
		return
	}
	// With types and functions go columns of them, and with those, keys.
	for _, rel := range r.cat.ordered {
		if rel.Of != 0 || slices.ContainsFunc(rel.Columns, func(c Column) bool { return c.Type >= firstUserOID || c.Generated != "" }) {
			if rel.Of != 0 {
				r.forgets(rel)
			}
			r.unbinds(found{rel: rel}, "")
			r.orphans(rel)
		}
	}
}
