package postgres

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
)

// What the server itself brings along is known by its name, and by nothing that the
// catalog says of it. Only a superuser can change it. A statement that does may put any
// value anywhere, as far as masks are concerned, and so may one that makes something in
// its schemas.

func (r *reader) changesOwn() {
	r.facts.flow(postern.ColumnName{}, "what belongs to the server itself", opaque)
}

// changesServer notes that a relation is changed, or made.
func (r *reader) changesServer(f found) {
	is := func(schema string) bool {
		rel := r.cat.Relation(schema, f.name)
		return rel != nil && rel.OID < firstUserOID
	}
	switch {
	case f.rel != nil && f.rel.OID >= firstUserOID:
	case system(f.schema) && f.schema != "pg_toast":
		r.changesOwn()
	case f.schema == unprovenSchema && r.cat != nil && (is("pg_catalog") || !r.pathKnown && is("information_schema")):
		r.changesOwn()
	}
}

// changesServerFunction notes the same of functions that a name may mean, by what they
// take unless that isn't said.
func (r *reader) changesServerFunction(x *pg_query.ObjectWithArgs) {
	names := stringsOf(x.GetObjname())
	if len(names) == 0 || r.cat == nil {
		return
	}
	schema := ""
	if len(names) > 1 {
		schema = names[len(names)-2]
	}
	all, _ := r.functions(schema, names[len(names)-1], -1)
	if slices.ContainsFunc(all, func(f *Function) bool { return f.OID < firstUserOID && r.mayTake(f, x) }) {
		r.changesOwn()
	}
}

// mayTake says whether a function may be the one that a name and types mean.
func (r *reader) mayTake(f *Function, x *pg_query.ObjectWithArgs) bool {
	if x.ArgsUnspecified {
		return true
	}
	if len(x.Objargs) != len(f.Args) {
		return f.Kind == 'p' // its results may be named, too
	}
	for i, n := range x.Objargs {
		t, certain := r.typeNamed(stringsOf(n.GetTypeName().GetNames()))
		if len(n.GetTypeName().GetArrayBounds()) > 0 {
			if elem := r.cat.typeByOID(f.Args[i]); certain && t != nil && elem != nil && elem.Elem != t.OID {
				return false
			}
			continue
		}
		if certain && t != nil && t.OID != f.Args[i] {
			return false
		}
	}
	return true
}

// changesServerType notes the same of a type.
func (r *reader) changesServerType(names []string) {
	if t, _ := r.typeNamed(names); t != nil && t.OID < firstUserOID {
		r.changesOwn()
	}
}

// madeIn is the schema that something is made in under a name.
func (r *reader) madeIn(names []string) string {
	if len(names) > 1 {
		return names[len(names)-2]
	}
	return r.creationSchema()
}

// makesInServer notes that something is made in a schema of the server's own.
func (r *reader) makesInServer(schema string) {
	if system(schema) {
		r.changesOwn()
	}
}

// changesServerObject notes the same of what ALTER names by its kind.
func (r *reader) changesServerObject(t pg_query.ObjectType, v *pg_query.RangeVar, n *pg_query.Node) {
	switch t {
	case pg_query.ObjectType_OBJECT_FUNCTION, pg_query.ObjectType_OBJECT_PROCEDURE, pg_query.ObjectType_OBJECT_ROUTINE, pg_query.ObjectType_OBJECT_AGGREGATE:
		r.changesServerFunction(n.GetObjectWithArgs())
	case pg_query.ObjectType_OBJECT_TYPE, pg_query.ObjectType_OBJECT_DOMAIN:
		names := stringsOf(n.GetList().GetItems())
		if tn := n.GetTypeName(); tn != nil {
			names = stringsOf(tn.Names)
		}
		r.changesServerType(names)
	case pg_query.ObjectType_OBJECT_SCHEMA:
		r.makesInServer(n.GetString_().GetSval())
	default:
		if v != nil {
			r.changesServer(r.relation(v))
		}
	}
}

// writesSystem notes that rows of a relation in the server's own schemas are written:
// of a catalog, which holds names that masks go by and the texts of functions, or of
// pg_settings, which sets what it is told.
func (r *reader) writesSystem(rel *Relation) {
	if !system(rel.Schema) || temporary(rel.Schema) || rel.OID >= firstUserOID && rel.Schema != "pg_toast" {
		return
	}
	r.facts.verb("alter", levelAdmin)
	r.facts.changesCatalog = true
	r.facts.touch(touchesAll)
	switch {
	case rel.Schema == "pg_catalog" && rel.Name == "pg_settings":
		r.facts.unsettles = true
	case rel.Kind == 'r' && !harmlessCatalog(rel.Name):
		r.changesOwn()
	}
}

// systemSetting notes a setting of the whole server that gives texts of sessions that are
// open already another meaning, of which they don't hear.
func (r *reader) systemSetting(x *pg_query.VariableSetStmt) {
	switch strings.ToLower(x.GetName()) {
	case "", "search_path", "standard_conforming_strings", "client_encoding", "plpgsql.variable_conflict":
		r.facts.flow(postern.ColumnName{}, "settings of sessions that are open", opaque)
	}
}

// harmlessCatalog names catalogs that nothing is read by.
func harmlessCatalog(name string) bool {
	switch name {
	case "pg_description", "pg_shdescription", "pg_seclabel", "pg_shseclabel", "pg_tablespace", "pg_statistic", "pg_statistic_ext_data":
		return true
	}
	return false
}
