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

// keeps notes that a column's values stay under its own name alone.
func (r *reader) keeps(rel *Relation, column string) {
	shape := r.shape(rel)
	for i := range rel.Columns {
		c := &rel.Columns[i]
		if c.Dropped || column != "" && c.Name != column {
			continue
		}
		v := opaque
		if shape != nil {
			t := &item{cols: shape.cols, known: shape.known, rest: opaque}
			v, _ = t.column(c.Name)
		}
		r.facts.flow(postern.ColumnName{Schema: rel.Schema, Table: rel.Name, Column: c.Name}, "", v)
	}
}

// stay notes that all of a relation's values, or those of a column, do so, and those of
// whatever inherits from it.
func (r *reader) stay(f found, column string) {
	if f.rel == nil {
		r.facts.flow(postern.ColumnName{Schema: f.schema, Table: f.name, Column: "*"}, "", opaque)
		return
	}
	seen := map[uint32]bool{}
	for todo := []*Relation{f.rel}; len(todo) > 0; todo = todo[1:] {
		rel := todo[0]
		if seen[rel.OID] || !r.step() {
			continue
		}
		seen[rel.OID] = true
		r.keeps(rel, column)
		todo = append(todo, r.cat.children[rel.OID]...)
	}
}

// joins notes that a relation's values are read as those of another one, its parent.
func (r *reader) joins(child, parent found) {
	into := postern.ColumnName{Schema: parent.schema, Table: parent.name, Column: "*"}
	if child.rel == nil {
		r.facts.flow(into, "", opaque)
		return
	}
	shape := r.shape(child.rel)
	if shape == nil {
		r.facts.flow(into, "", opaque)
		return
	}
	for _, c := range shape.cols {
		if parent.rel != nil && parent.rel.columnIndex(c.name) < 0 {
			continue // it isn't read with the parent
		}
		into.Column = c.name
		r.facts.flow(into, "", c.value)
	}
}

// unbinds notes that a relation's foreign keys may end.
func (r *reader) unbinds(f found) {
	if f.rel == nil {
		r.stay(f, "")
		return
	}
	rel := f.rel
	for _, key := range rel.ForeignKeys {
		for _, n := range key.Columns {
			if i := int(n) - 1; i >= 0 && i < len(rel.Columns) {
				r.keeps(rel, rel.Columns[i].Name)
			}
		}
	}
}

// orphans notes that others' foreign keys to a relation end with it, or with what of it
// they refer to.
func (r *reader) orphans(rel *Relation) {
	if rel == nil {
		return
	}
	for _, other := range r.cat.ordered {
		for _, key := range other.ForeignKeys {
			if key.Table == rel.OID {
				r.unbinds(found{rel: other})
				break
			}
		}
	}
}

// restores notes that a materialized view holds what it reads by now, whatever that is
// replaced by afterwards. Tables can't be.
func (r *reader) restores(rel *Relation, fields []field, known bool, read *facts) {
	if !r.replaceable(read) {
		return
	}
	live := 0
	for i := range rel.Columns {
		if rel.Columns[i].Dropped {
			continue
		}
		v := opaque
		if known && live < len(fields) {
			v = fields[live].value
		}
		live++
		r.facts.flow(postern.ColumnName{Schema: rel.Schema, Table: rel.Name, Column: rel.Columns[i].Name}, "", v)
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
	return len(r.cat.operators)+len(r.cat.casts) > 0 || // users' own, of which functions do the work
		slices.ContainsFunc(read.functions, func(f string) bool { return !strings.HasPrefix(f, "pg_catalog.") })
}

// unties notes what a command of ALTER TABLE leaves behind, untied, or ties to another
// relation.
func (r *reader) unties(f found, cmd *pg_query.AlterTableCmd) {
	cascade := cmd.GetBehavior() == pg_query.DropBehavior_DROP_CASCADE
	switch cmd.GetSubtype() {
	case pg_query.AlterTableType_AT_AddInherit:
		r.joins(f, r.relation(cmd.GetDef().GetRangeVar()))
	case pg_query.AlterTableType_AT_AttachPartition:
		if f.rel == nil || f.rel.Kind == 'p' { // or it is an index
			r.joins(r.relation(cmd.GetDef().GetPartitionCmd().GetName()), f)
		}
	case pg_query.AlterTableType_AT_DropInherit:
		r.stay(f, "")
	case pg_query.AlterTableType_AT_DetachPartition, pg_query.AlterTableType_AT_DetachPartitionFinalize:
		r.stay(r.relation(cmd.GetDef().GetPartitionCmd().GetName()), "")
	case pg_query.AlterTableType_AT_DropExpression:
		r.stay(f, cmd.GetName())
	case pg_query.AlterTableType_AT_DropConstraint:
		r.unbinds(f)
		if cascade {
			r.orphans(f.rel)
		}
	case pg_query.AlterTableType_AT_DropColumn:
		if cascade {
			r.orphans(f.rel)
		}
	}
}

// dropsTable notes what a DROP leaves behind, untied.
func (r *reader) dropsTable(t pg_query.ObjectType, n *pg_query.Node, cascade bool) {
	if !cascade || r.cat == nil {
		return
	}
	names := stringsOf(n.GetList().GetItems())
	switch t {
	case pg_query.ObjectType_OBJECT_TABLE, pg_query.ObjectType_OBJECT_FOREIGN_TABLE:
		r.orphans(r.relation(rangeVar(names)).rel)
	case pg_query.ObjectType_OBJECT_SCHEMA:
		for _, rel := range r.cat.ordered {
			if rel.Schema == n.GetString_().GetSval() {
				r.orphans(rel)
			}
		}
	}
}
