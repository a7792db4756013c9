package postgres

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern/internal/sql"
)

// scope is what names mean at one level of a query.
type scope struct {
	parent *scope // the query around it
	items  []*item
	with   *with // the nearest WITH's queries
}

// item is one entry of a FROM clause, or the target of a change.
type item struct {
	alias  string    // what it is called; "" for a join without a name
	schema string    // of a table that has no alias: its schema, for schema.table.column
	rel    *Relation // the table, when it is one
	cols   []field
	known  bool  // cols are all columns that it has
	rest   value // any column that isn't among cols, unless known
	scalar bool  // a function's: the item's name stands for its one value

	noColumns bool // columns are reached only through its name: an arm of a join
	noName    bool // only its columns can be reached
}

// row is the item's whole row.
func (t *item) row() value {
	if t.scalar && len(t.cols) == 1 {
		return t.cols[0].value
	}
	v := rowOf(t.cols, t.known)
	if !t.known {
		v.add(t.rest)
	}
	return v
}

// column finds a column by name; found is 0, 1 or, for an item whose columns
// aren't all known, perhaps.
func (t *item) column(name string) (value, lookup) {
	for i := range t.cols {
		if t.cols[i].name == name {
			return t.cols[i].value, present
		}
	}
	if t.rel != nil || !t.known {
		if systemColumn(name) {
			return constant, present
		}
	}
	if !t.known {
		return t.rest, perhaps
	}
	return value{}, absent
}

type lookup uint8

const (
	absent lookup = iota
	perhaps
	present
)

func systemColumn(name string) bool {
	switch name {
	case "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid":
		return true
	}
	return false
}

// column resolves an unqualified column through the query levels, as
// colNameToVar does. Ambiguous names, which the server refuses, are the mix.
func (s *scope) column(name string) (value, lookup) {
	for level := s; level != nil; level = level.parent {
		var all []value
		doubt := false
		for _, t := range level.items {
			if t.noColumns {
				continue
			}
			switch v, how := t.column(name); how {
			case present:
				all = append(all, v)
			case perhaps:
				all = append(all, v)
				doubt = true
			}
		}
		switch {
		case len(all) == 1 && !doubt:
			return all[0], present
		case len(all) > 0 && !doubt:
			return mix(all...), present
		case doubt:
			// It may be a column of an outer level, too.
			if level.parent != nil {
				if v, how := level.parent.column(name); how != absent {
					all = append(all, v)
				}
			}
			v := mix(all...)
			v.proven = false
			return v, perhaps
		}
	}
	return value{}, absent
}

// item finds what a name before a dot stands for.
func (s *scope) item(schema, alias string) *item {
	for level := s; level != nil; level = level.parent {
		for _, t := range level.items {
			if t.noName || t.alias != alias || schema != "" && t.schema != schema {
				continue
			}
			return t
		}
	}
	return nil
}

// with is a WITH clause, or the part of one that is in view.
type with struct {
	outer *with
	name  string
	query *common
}

// common is one query of a WITH clause.
type common struct {
	cte    *pg_query.CommonTableExpr
	level  *scope // what its definition sees
	fields []field
	known  bool
	state  progress
	self   bool // it was asked for while it was being read
}

type progress uint8

const (
	unread progress = iota
	reading
	read
)

func (w *with) find(name string) *common {
	for ; w != nil; w = w.outer {
		if w.name == name {
			return w.query
		}
	}
	return nil
}

// table is the item of a relation that a query names.
func (r *reader) table(v *pg_query.RangeVar, s *scope, write bool) *item {
	t := &item{alias: v.Relname}
	if v.Schemaname == "" && v.Catalogname == "" && !write {
		if c := s.with.find(v.Relname); c != nil {
			r.common(c)
			t.cols, t.known, t.rest = c.fields, c.known, opaque
			t.rename(v.Alias)
			return t
		}
		if pseudo, ok := r.vars["table "+v.Relname]; ok { // a trigger's transition table
			t.cols, t.known, t.rest = pseudo.fields, len(pseudo.fields) > 0, pseudo
			t.rename(v.Alias)
			return t
		}
	}
	f := r.relation(v)
	r.reads(f, write)
	t.schema, t.rel = f.schema, f.rel
	t.cols, t.known, t.rest = r.columns(f)
	t.rename(v.Alias)
	return t
}

// reads notes a relation that a query looks at.
func (r *reader) reads(f found, write bool) {
	kind := kindTable
	if f.rel != nil && f.rel.Kind == 'v' {
		kind = kindView
	}
	r.facts.object(kind, f.qualified(), write && !r.planning)
	if kind == kindTable || system(f.schema) {
		r.facts.read(sql.Table{Schema: f.schema, Name: f.name})
	}
	if f.rel == nil {
		return
	}
	if system(f.rel.Schema) && systemFile(f.rel.Name) {
		r.facts.files = true
		r.facts.object(kindFile, f.qualified(), false)
	}
	r.foreign(f.rel, 0)
}

// foreign notes files and programs behind a relation, its partitions and what
// inherits from it.
func (r *reader) foreign(rel *Relation, depth int) {
	r.facts.place(rel.OID)
	if rel.Kind == 'f' {
		r.facts.lasts("it is about " + rel.Schema + "." + rel.Name + ", a foreign table")
	}
	if kind, program := strings.CutSuffix(rel.Wrapper, " program"); kind == "file_fdw" {
		r.facts.files = true
		r.facts.object(kindFile, rel.Schema+"."+rel.Name, false)
		if program {
			r.facts.program = true
			r.facts.object(kindProgram, rel.Schema+"."+rel.Name, false)
		}
	}
	if depth < 16 && r.cat != nil {
		for _, child := range r.cat.children[rel.OID] {
			r.foreign(child, depth+1)
		}
	}
}

// columns are those of a relation. What reading it entails, such as functions
// that a view calls, is merged into the reader's facts.
func (r *reader) columns(f found) (cols []field, known bool, rest value) {
	if f.rel == nil {
		if r.touched("relation", f.name) {
			r.facts.maker(anybody)
		}
		return nil, false, opaque
	}
	shape := r.shape(f.rel)
	if shape == nil {
		return nil, false, opaque
	}
	if shape.facts != nil {
		r.facts.merge(shape.facts, false)
	}
	cols = r.convertedColumns(f.rel, shape.cols)
	if f.rel.Kind == 'v' && !system(f.rel.Schema) {
		r.facts.maker(f.rel.Owner)
	}
	if len(f.rel.ReadCalls) > 0 {
		r.attached(f.rel, f.rel.ReadCalls, false)
	}
	r.planned(f.rel, 0)
	return cols, shape.known, opaque
}

// rename applies an alias and its column names.
func (t *item) rename(a *pg_query.Alias) {
	if a == nil {
		return
	}
	t.alias, t.schema = a.Aliasname, ""
	t.renameColumns(stringsOf(a.Colnames))
}

func (t *item) renameColumns(names []string) {
	if len(names) == 0 {
		return
	}
	cols := slices.Clone(t.cols)
	for i, name := range names {
		if i < len(cols) {
			cols[i].name = name
		} else if !t.known {
			cols = append(cols, field{name, t.rest})
		}
	}
	t.cols = cols
}
