package postgres

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// unprovenSchema stands for a schema that can't be told. No allow-list names it.
const unprovenSchema = "?"

// found is what a relation's name stands for.
type found struct {
	rel    *Relation // nil: not in the catalog, or not certain
	schema string    // "?" when not certain
	name   string
}

func (f found) qualified() string { return f.schema + "." + f.name }

// relation resolves a name as the server would: temporary tables first, then
// pg_catalog, then the search path.
func (r *reader) relation(v *pg_query.RangeVar) found {
	if v == nil {
		return found{schema: unprovenSchema, name: unprovenSchema}
	}
	if v.Catalogname != "" && v.Catalogname != r.env.Database {
		return found{schema: unprovenSchema, name: v.Relname}
	}
	return r.relationNamed(v.Schemaname, v.Relname)
}

func (r *reader) relationNamed(schema, relation string) found {
	unknown := found{schema: unprovenSchema, name: relation}
	touched := r.touched("relation", relation)
	if schema == "pg_temp" {
		if r.env.TempSchema == "" || r.cat == nil {
			return found{schema: "pg_temp", name: relation}
		}
		schema = r.env.TempSchema
	}
	if schema != "" {
		f := found{schema: schema, name: relation}
		if r.cat != nil && !touched {
			f.rel = r.cat.Relation(schema, relation)
		}
		return f
	}
	if r.cat == nil && r.env.Offline && len(r.env.SearchPath) > 0 {
		if strings.HasPrefix(relation, "pg_") {
			return found{schema: "pg_catalog", name: relation}
		}
		return found{schema: r.env.SearchPath[0], name: relation}
	}
	if r.cat == nil || touched {
		return unknown
	}
	if !r.pathKnown {
		// Where a name is the only one of its kind, no search path leads elsewhere.
		var only *Relation
		for s := range r.cat.schemas {
			if rel := r.cat.Relation(s, relation); rel != nil {
				if only != nil {
					return unknown
				}
				only = rel
			}
		}
		if only == nil || temporary(only.Schema) {
			return unknown
		}
		return found{rel: only, schema: only.Schema, name: relation}
	}
	for _, s := range r.path {
		if s == "pg_temp" {
			switch {
			case r.env.TempSchema != "":
				s = r.env.TempSchema
			case r.cat.tempNames[relation]:
				return unknown
			default:
				continue
			}
		}
		if rel := r.cat.Relation(s, relation); rel != nil {
			if slices.Contains(r.doubted, s) {
				return unknown
			}
			return found{rel: rel, schema: s, name: relation}
		}
	}
	return unknown
}

// creating names the relation that CREATE makes: in the first schema of the
// path that there is.
func (r *reader) creating(v *pg_query.RangeVar) found {
	switch {
	case v == nil:
		return found{schema: unprovenSchema, name: unprovenSchema}
	case v.Relpersistence == "t" || v.Schemaname == "pg_temp":
		return found{schema: "pg_temp", name: v.Relname}
	case v.Schemaname != "":
		return found{schema: v.Schemaname, name: v.Relname}
	}
	return found{schema: r.creationSchema(), name: v.Relname}
}

func (r *reader) creationSchema() string {
	if r.makes != "" {
		return r.makes
	}
	if r.cat == nil && r.env.Offline && len(r.env.SearchPath) > 0 {
		return r.env.SearchPath[0]
	}
	if r.cat == nil || !r.pathKnown || r.touched("schema", "") {
		return unprovenSchema
	}
	if len(r.listed) == 0 || slices.Contains(r.doubted, r.listed[0]) {
		return unprovenSchema
	}
	return r.listed[0]
}

// touched says whether a name may mean something that the catalog doesn't know.
func (r *reader) touched(kind, name string) bool {
	if r.bound {
		return false
	}
	if r.allTouched {
		return true
	}
	for _, t := range r.touches {
		if strings.HasPrefix(t, kind) && (name == "" || len(t) == len(kind)+1+len(name) && strings.HasSuffix(t, name)) {
			return true
		}
	}
	return false
}

// functions finds what a call may mean: every function of that name that the
// search path shows and that takes so many arguments. The server picks one of
// them by type; here all of them count. Unless certain, there may be others.
func (r *reader) functions(schema, function string, args int) (all []*Function, certain bool) {
	if r.cat == nil {
		return nil, schema == "pg_catalog"
	}
	certain = schema == "pg_catalog" || !r.touched("function", function)
	for _, f := range r.cat.functionsNamed[function] {
		if args >= 0 && !f.takes(args) {
			continue
		}
		switch {
		case schema == "pg_temp":
			if temporary(f.Schema) && (r.env.TempSchema == "" || f.Schema == r.env.TempSchema) {
				all = append(all, f)
			}
		case schema != "":
			if f.Schema == schema {
				all = append(all, f)
			}
		case !r.pathKnown || f.Schema == "pg_catalog" || slices.Contains(r.path, f.Schema):
			all = append(all, f)
		}
	}
	return all, certain
}

// takes says whether a function can be called with so many arguments.
func (f *Function) takes(n int) bool {
	if f.Variadic && n >= len(f.Args)-1-f.Defaults {
		return true
	}
	if f.Kind == 'a' && n < len(f.Args) {
		return true // ordered-set aggregates take some within their group
	}
	if f.Kind == 'p' && f.ArgModes != nil {
		return n >= len(f.Args)-f.Defaults && n <= len(f.AllArgs) // CALL names its results, too
	}
	return n <= len(f.Args) && n >= len(f.Args)-f.Defaults
}

// typeNamed resolves a type's name; certain is false when it may be another.
func (r *reader) typeNamed(names []string) (t *Type, certain bool) {
	if r.cat == nil || len(names) == 0 || len(names) > 2 {
		return nil, len(names) == 2 && names[0] == "pg_catalog"
	}
	last := names[len(names)-1]
	if len(names) == 2 {
		schema := names[0]
		if schema == "pg_temp" {
			schema = r.env.TempSchema
		}
		return r.cat.types[name{schema, last}], schema == "pg_catalog" || !r.touched("type", last) && !r.touched("relation", last)
	}
	if !r.pathKnown {
		return nil, false
	}
	certain = !r.touched("type", last) && !r.touched("relation", last)
	for _, s := range r.path {
		if s == "pg_temp" {
			if r.env.TempSchema == "" {
				if r.cat.tempNames[last] {
					return nil, false
				}
				continue
			}
			s = r.env.TempSchema
		}
		if t := r.cat.types[name{s, last}]; t != nil {
			return t, certain && !slices.Contains(r.doubted, s)
		}
	}
	return nil, certain
}

// strings reads a list of names.
func stringsOf(nodes []*pg_query.Node) []string {
	all := make([]string, 0, len(nodes))
	for _, n := range nodes {
		if s, ok := n.GetNode().(*pg_query.Node_String_); ok {
			all = append(all, s.String_.Sval)
		}
	}
	return all
}
