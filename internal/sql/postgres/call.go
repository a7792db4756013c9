package postgres

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
)

// result is the form of a function's result, for FROM. Without fields and not
// scalar, it isn't known.
type result struct {
	fields []field
	named  bool   // the one field is a named result of a function with a scalar type
	scalar bool   // one column
	name   string // what the column is called; "": as the function
}

// exprResult reads an expression in FROM.
func (r *reader) exprResult(n *pg_query.Node, s *scope) (value, result) {
	if call := n.GetFuncCall(); call != nil {
		return r.call(call, s)
	}
	v := r.expr(n, s)
	return v, result{scalar: !v.row}
}

// call reads a function call.
func (r *reader) call(c *pg_query.FuncCall, s *scope) (value, result) {
	names := stringsOf(c.Funcname)
	if len(names) == 0 || !r.step() {
		return opaque, result{}
	}
	args := make([]value, 0, len(c.Args)+len(c.AggOrder))
	for _, n := range c.Args {
		if fields, star, known := r.star(n, s); star {
			if c.AggStar || n.GetColumnRef() == nil {
				args = append(args, rowOf(fields, known))
				continue
			}
			// f(t.*) passes the row as one argument.
			args = append(args, rowOf(fields, known))
			continue
		}
		args = append(args, r.expr(n, s))
	}
	extra := constant
	for _, n := range c.AggOrder {
		v := r.expr(n.GetSortBy().GetNode(), s)
		if c.AggWithinGroup {
			args = append(args, v)
		}
		r.facts.branch(v)
		r.ranked(v)
	}
	if c.AggFilter != nil {
		filter := r.expr(c.AggFilter, s)
		r.facts.branch(filter)
		extra.add(filter)
	}
	if c.AggDistinct {
		for _, v := range args {
			r.facts.branch(v)
			r.ranked(v)
		}
	}
	r.window(c.Over, s)
	if names[len(names)-1] == "system_user" && c.Funcformat == pg_query.CoercionForm_COERCE_SQL_SYNTAX {
		r.since(160000)
	}
	if names[len(names)-1] == "normalize" && c.Funcformat == pg_query.CoercionForm_COERCE_SQL_SYNTAX {
		r.since(130000)
	}
	if names[len(names)-1] == "json_object" && len(names) == 2 && (r.cat == nil || r.cat.Server < 160000) {
		names = names[1:] // the grammar of newer servers binds it to pg_catalog
	}
	v, form := r.apply(names, args, c, s)
	v.add(extra)
	v.varies = v.varies || c.Over != nil
	return v, form
}

// apply reads a call of every function that the name may mean.
func (r *reader) apply(names []string, args []value, c *pg_query.FuncCall, s *scope) (value, result) {
	schema, function := "", names[len(names)-1]
	switch len(names) {
	case 1:
	case 3:
		if names[0] != r.env.Database {
			r.facts.unknown("It calls " + joinNames(names) + ", a function that can't be told.")
			return opaque, result{}
		}
		schema = names[1]
	default:
		schema = names[len(names)-2]
	}
	all, certain := r.functions(schema, function, len(args))
	if r.cat == nil && schema == "" && r.env.Offline && (harmlessName(function) || special(function)) {
		schema, certain = "pg_catalog", true
	}
	if r.cat == nil && certain && schema == "pg_catalog" {
		r.facts.function("pg_catalog." + function)
		return r.builtin(&Function{Schema: "pg_catalog", Name: function}, args, c, s), result{}
	}
	if len(all) == 0 {
		return r.notFunction(schema, function, args, certain)
	}
	if function == "unnest" && len(args) == 1 && args[0].array {
		all = slices.DeleteFunc(slices.Clone(all), func(f *Function) bool { return f.Schema == "pg_catalog" && !polymorphic(f.Args[0]) })
	}
	own := slices.ContainsFunc(all, func(f *Function) bool { return system(f.Schema) && f.OID < firstUserOID })
	v, form := constant, result{}
	for i, f := range all {
		w, g := r.candidate(f, args, c, s, own)
		if i == 0 {
			v, form = w, g
			continue
		}
		array := v.array && w.array
		v.add(w)
		v.array = array
		form = form.or(g)
	}
	if !certain {
		r.facts.function(unprovenSchema + "." + function)
		r.facts.object(kindFunction, unprovenSchema+"."+function, true)
		r.facts.unknown("It calls " + function + ", a function that may have changed since the catalog was read.")
		return opaque, result{}
	}
	return v, form
}

// candidate reads a call of one of the functions that a name may mean. Where the
// server's own are among them, a user's that only computes leaves no trace.
func (r *reader) candidate(f *Function, args []value, c *pg_query.FuncCall, s *scope, own bool) (value, result) {
	if !own || system(f.Schema) && f.OID < firstUserOID {
		return r.applyFunction(f, args, c, s)
	}
	inner := r.sub()
	inner.args, inner.vars = r.args, r.vars
	v, form := inner.applyFunction(f, args, c, s)
	if inner.facts.traceless() {
		r.facts.passOver(inner.facts)
	} else {
		r.facts.merge(inner.facts, true)
	}
	return v, form
}

// or is what is known when either form may be.
func (a result) or(b result) result {
	if a.scalar && b.scalar && a.name == b.name {
		return a
	}
	if a.fields != nil && len(a.fields) == len(b.fields) && a.named == b.named {
		fields := slices.Clone(a.fields)
		for i := range fields {
			if fields[i].name != b.fields[i].name {
				return result{}
			}
			fields[i].value = mix(fields[i].value, b.fields[i].value)
		}
		return result{fields: fields, named: a.named}
	}
	return result{}
}

// notFunction is a call of what isn't a function: a type's name or a row's
// column, both of which the server lets be called.
func (r *reader) notFunction(schema, function string, args []value, certain bool) (value, result) {
	if r.cat != nil && certain && len(args) == 1 {
		names := []string{function}
		if schema != "" {
			names = []string{schema, function}
		}
		if typ, known := r.typeNamed(names); typ != nil && known {
			nodes := make([]*pg_query.Node, len(names))
			for i, n := range names {
				nodes[i] = pg_query.MakeStrNode(n)
			}
			return r.cast(args[0], &pg_query.TypeName{Names: nodes}), result{scalar: true}
		}
		if schema == "" && args[0].row {
			if v, found := args[0].fieldNamed(function); found {
				return v, result{scalar: !v.row}
			}
		}
	}
	if schema == "" {
		schema = unprovenSchema
	}
	r.facts.function(schema + "." + function)
	r.facts.object(kindFunction, schema+"."+function, true)
	r.facts.unknown("It calls " + function + ", a function that the catalog doesn't show.")
	v := mix(args...)
	v.proven, v.row = false, true
	return v, result{}
}

// applyOID reads a call that the server makes by itself: an operator's, a
// cast's or an aggregate's function.
func (r *reader) applyOID(oid uint32, args []value) (value, result) {
	f := r.cat.Functions[oid]
	if f == nil {
		r.facts.unknown("It calls a function that the catalog doesn't show.")
		return opaque, result{}
	}
	return r.applyFunction(f, args, nil, nil)
}

func (r *reader) applyFunction(f *Function, args []value, c *pg_query.FuncCall, s *scope) (value, result) {
	full := f.Schema + "." + f.Name
	r.facts.function(full)
	if f.ReturnsSet {
		r.facts.branch(mix(args...)) // how many rows there are depends on them
	}
	var v value
	var fields []field
	if system(f.Schema) && f.OID < firstUserOID {
		v = r.builtin(f, args, c, s)
		if v.matters() && strings.Contains(f.Name, "_populate_record") {
			for _, t := range r.cat.checked { // of what its first argument is made of
				r.checked(t, v)
			}
		}
	} else {
		v, fields = r.userFunction(f, args, c)
	}
	v.varies = v.varies || f.ReturnsSet || f.Volatility == 'v' && f.OID < firstUserOID
	if c := r.convertingCall(f, args); c.matters() {
		v.add(c)
		fields = slices.Clone(fields)
		for i := range fields {
			fields[i].value.add(c)
		}
	}
	return v, r.resultForm(f, v, fields, args)
}

// resultForm says what columns a function's result has.
func (r *reader) resultForm(f *Function, v value, fields []field, args []value) result {
	item := value{sources: v.sources, proven: v.proven, session: v.session}
	var outs []field
	for i, mode := range f.ArgModes {
		if mode != 'o' && mode != 'b' && mode != 't' {
			continue
		}
		name := ""
		if i < len(f.ArgNames) {
			name = f.ArgNames[i]
		}
		w := item
		if len(outs) < len(fields) {
			w = fields[len(outs)].value
		}
		if i < len(f.AllArgs) {
			w.row = w.row || r.composite(f.AllArgs[i])
		}
		if name == "" {
			name = "column" + itoa(len(outs)+1)
		}
		outs = append(outs, field{name, w})
	}
	if len(outs) == 1 && f.Returns != recordOID {
		return result{scalar: !outs[0].row, name: outs[0].name}
	}
	if len(outs) > 0 {
		return result{fields: outs}
	}
	if rel := r.compositeRelation(f.Returns); rel != nil {
		for i := range rel.Columns {
			if rel.Columns[i].Dropped {
				continue
			}
			w := item
			if len(outs) < len(fields) {
				w = fields[len(outs)].value
			}
			w.row = r.composite(rel.Columns[i].Type)
			outs = append(outs, field{rel.Columns[i].Name, w})
		}
		return result{fields: outs}
	}
	if f.Returns == recordOID {
		return result{}
	}
	if polymorphic(f.Returns) {
		for _, a := range args {
			if a.row {
				return result{}
			}
		}
		return result{scalar: true}
	}
	return result{scalar: !r.composite(f.Returns)}
}

// Numbers of pg_type that never change.
const (
	textOID    = 25
	recordOID  = 2249
	triggerOID = 2279
	voidOID    = 2278
)

// isArray says whether a type is certainly an array's.
func (r *reader) isArray(oid uint32) bool {
	t := r.cat.typeByOID(oid)
	return t != nil && t.Category == 'A' && t.Elem != 0 && t.Length == -1
}

func polymorphic(oid uint32) bool {
	switch oid {
	case 2276, 2277, 2283, 2776, 3500, 3831, 5077, 5078, 5079, 5080, 4537, 4538:
		return true
	}
	return false
}

// builtin reads a call of one of the server's own functions.
func (r *reader) builtin(f *Function, args []value, c *pg_query.FuncCall, s *scope) value {
	v := mix(args...)
	v.array = f.Returns == 2277 || f.Returns == 5078 || r.isArray(f.Returns)
	v.row = polymorphic(f.Returns) && v.row || f.Returns == recordOID || f.Returns == 0 || r.cat != nil && !polymorphic(f.Returns) && r.composite(f.Returns)
	e := builtinEffect(f.Name, f)
	if f.Schema == "information_schema" && f.OID < firstUserOID {
		e = effectNone
	}
	full := f.Schema + "." + f.Name
	if e == effectRewrite {
		e = effectNone
		if len(args) == 2 {
			r.facts.branch(v)
			w := r.queryText(c, 1)
			v.add(w)
			return v
		}
	}
	if e != effectNone && e != effectOutside && e != effectQuery {
		r.facts.object(kindFunction, full, e == effectWrite || e == effectAdmin || e == effectUnknown || f.Name == "lo_export")
	}
	switch e {
	case effectNone:
		if !takesAll(f.Name, args) {
			r.computed(v)
		}
		return r.harmlessValue(f.Name, args, v, c)
	case effectOutside:
		r.facts.object(kindFunction, full, false)
		v.proven = false
	case effectWrite:
		if !transactional(f.Name) {
			r.facts.lasts("it calls " + full + ", whose effect a rollback doesn't undo")
		}
		r.facts.verb("call", levelWrite)
		r.facts.flow(postern.ColumnName{}, "function "+full, mix(args...))
		r.sequence(f.Name, c, s)
		if f.Name == "lo_get" || strings.HasPrefix(f.Name, "pg_logical_slot") {
			v.proven = false
		}
	case effectAdmin:
		r.facts.lasts("it calls " + full + ", whose effect a rollback doesn't undo")
		r.facts.verb("call", levelAdmin)
		r.facts.flow(postern.ColumnName{}, "function "+full, mix(args...))
	case effectFile:
		r.facts.lasts("it calls " + full + ", which reads or writes files")
		r.facts.files = true
		level := levelRead
		if f.Name == "lo_import" || f.Name == "lo_export" {
			level = levelWrite
		}
		r.facts.verb("call", level)
		path := unprovenSchema
		if text, ok := r.run.literals.argText(c, 0); ok && f.Name != "lo_export" {
			path = text
		} else if text, ok := r.run.literals.argText(c, 1); ok && f.Name == "lo_export" {
			path = text
		}
		r.facts.object(kindFile, path, f.Name == "lo_export")
		r.facts.flow(postern.ColumnName{}, "file", mix(args...))
		v.proven = false
	case effectSetting:
		r.setConfig(args, c)
	case effectQuery:
		v = r.queryText(c, 0)
	case effectTable:
		v = r.tableText(c)
	case effectSchema, effectDatabase:
		r.facts.verb("select", levelRead)
		r.facts.object(kindTable, unprovenSchema+".*", false)
		r.facts.unproven = true
		v = opaque
	case effectCursor:
		r.facts.verb("fetch", levelRead)
		r.facts.unproven = true
		v = opaque
	default:
		r.facts.unknown("It calls " + full + ", whose effects aren't known.")
		v.proven = false
	}
	return v
}

// harmlessValue is where the value of a function without effects comes from:
// its arguments, but for those that only count or look elsewhere.
func (r *reader) harmlessValue(function string, args []value, v value, c *pg_query.FuncCall) value {
	r.told(function, args)
	v.figure = r.taken(function, args, c)
	switch function {
	case "count":
		if len(args) == 0 || args[0].proven && !args[0].session && args[0].stored() {
			return constant
		}
	case "pg_typeof", "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "num_nulls", "num_nonnulls":
		if len(args) == 0 || function[0] == 'p' && function != "percent_rank" {
			return constant
		}
	case "current_setting":
		if text, ok := r.run.literals.argText(c, 0); !ok || strings.Contains(text, ".") || strings.EqualFold(text, "application_name") {
			v.session = true
		}
	}
	return v
}
