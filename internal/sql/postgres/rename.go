package postgres

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
)

// rename treats the new name of a column as a place that its values flow to: a
// mask that goes by the old name no longer covers them.
func (r *reader) rename(x *pg_query.RenameStmt) {
	switch x.RenameType {
	case pg_query.ObjectType_OBJECT_COLUMN, pg_query.ObjectType_OBJECT_ATTRIBUTE:
		f := r.onRelation(x.Relation)
		r.facts.touch("type " + f.name)
		if f.rel == nil {
			r.facts.flow(postern.ColumnName{Schema: f.schema, Table: f.name, Column: x.Newname}, "", opaque)
			return
		}
		// Whatever inherits the column, or is a table of the type, has it renamed, too.
		for _, rel := range r.withHeirs(r.typed(f.rel)...) {
			v := opaque
			if shape := r.shape(rel); shape != nil {
				t := &item{cols: shape.cols, known: shape.known, rest: opaque}
				v, _ = t.column(x.Subname)
			}
			r.facts.flow(postern.ColumnName{Schema: rel.Schema, Table: rel.Name, Column: x.Newname}, "", v)
		}
	case pg_query.ObjectType_OBJECT_TABLE, pg_query.ObjectType_OBJECT_MATVIEW, pg_query.ObjectType_OBJECT_FOREIGN_TABLE, pg_query.ObjectType_OBJECT_VIEW:
		f := r.relation(x.Relation)
		r.changesServer(f)
		r.facts.object(objectKind(x.RenameType), f.qualified(), true)
		r.moved(f, f.schema, x.Newname)
	case pg_query.ObjectType_OBJECT_SCHEMA:
		r.makesInServer(x.Subname)
		r.facts.object(kindSchema, x.Subname, true)
		r.moveAll(x.Subname, x.Newname)
	default:
		r.changesServerObject(x.RenameType, x.Relation, x.Object)
		r.altered(x.RenameType, x.Relation, x.Object)
		r.facts.touch(touchesAll)
	}
}

func (r *reader) moveSchema(x *pg_query.AlterObjectSchemaStmt) {
	switch x.ObjectType {
	case pg_query.ObjectType_OBJECT_TABLE, pg_query.ObjectType_OBJECT_MATVIEW, pg_query.ObjectType_OBJECT_FOREIGN_TABLE, pg_query.ObjectType_OBJECT_VIEW, pg_query.ObjectType_OBJECT_SEQUENCE:
		f := r.relation(x.Relation)
		r.changesServer(f)
		r.makesInServer(x.Newschema)
		r.facts.object(objectKind(x.ObjectType), f.qualified(), true)
		r.facts.object(kindSchema, x.Newschema, true)
		r.moved(f, x.Newschema, f.name)
	default:
		r.changesServerObject(x.ObjectType, x.Relation, x.Object)
		r.makesInServer(x.Newschema)
		r.altered(x.ObjectType, x.Relation, x.Object)
		r.facts.touch(touchesAll)
		if x.ObjectType == pg_query.ObjectType_OBJECT_OPERATOR {
			r.facts.touch(touchesOperators)
		}
	}
}

// moved notes that a relation's columns go by other names.
func (r *reader) moved(f found, schema, name string) {
	for _, n := range []string{f.name, name} {
		r.facts.touch("relation " + n)
		r.facts.touch("type " + n)
	}
	if f.rel == nil {
		r.flowsUnknown(schema, name)
		return
	}
	if f.rel.Kind == 'v' || f.rel.Kind == 'S' {
		return
	}
	shape := r.shape(f.rel)
	if shape == nil {
		return
	}
	for _, c := range shape.cols {
		r.facts.flow(postern.ColumnName{Schema: schema, Table: name, Column: c.name}, "", c.value)
	}
}

func (r *reader) moveAll(schema, to string) {
	r.facts.touch(touchesAll)
	if r.cat == nil {
		r.facts.flow(postern.ColumnName{Schema: to, Table: "*", Column: "*"}, "", opaque)
		return
	}
	for _, rel := range r.cat.ordered {
		if rel.Schema == schema && rel.Kind != 'c' {
			r.moved(found{rel: rel, schema: schema, name: rel.Name}, to, rel.Name)
		}
	}
}
