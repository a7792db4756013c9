package postgres

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"postern"
)

// A value that nobody may see can still be told by what is done because of it.

// firstOf reads expressions of which the server evaluates only as many as it
// takes: those of AND, OR and COALESCE. Where a later one does something that
// can be seen, such as failing, whether it does tells the earlier ones' values.
func (r *reader) firstOf(list []*pg_query.Node, s *scope) value {
	v := constant
	for _, n := range list {
		if len(v.sources) > 0 && seenToRun(n) {
			r.facts.branch(v)
		}
		v.add(r.expr(n, s))
	}
	return v
}

// seenToRun says whether evaluating an expression may be noticed.
func seenToRun(n *pg_query.Node) bool { return n != nil && anyMessage(n.ProtoReflect(), noticeable) }

func noticeable(m protoreflect.Message) bool {
	switch x := m.Interface().(type) {
	case *pg_query.SubLink:
		return true
	case *pg_query.A_Expr:
		return divides(stringsOf(x.Name))
	case *pg_query.TypeCast:
		switch names := stringsOf(x.TypeName.GetNames()); {
		case x.Arg.GetAConst() != nil:
			return false
		case len(names) > 0:
			last := names[len(names)-1]
			return last != "text" && last != "varchar"
		}
		return true
	case *pg_query.FuncCall:
		names := stringsOf(x.Funcname)
		if len(names) == 0 {
			return true
		}
		switch names[len(names)-1] {
		case "lower", "upper", "initcap", "btrim", "ltrim", "rtrim", "concat", "concat_ws", "replace", "left", "right", "length", "md5",
			"reverse", "now", "count", "min", "max", "bool_and", "bool_or", "strpos", "position", "starts_with":
			return false
		}
		return true
	}
	return false
}

// anyMessage says whether holds holds of m or of a message in it.
func anyMessage(m protoreflect.Message, holds func(protoreflect.Message) bool) bool {
	if holds(m) {
		return true
	}
	found := false
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case d.Message() == nil:
		case d.IsList():
			for i, list := 0, v.List(); i < list.Len() && !found; i++ {
				found = anyMessage(list.Get(i).Message(), holds)
			}
		default:
			found = anyMessage(v.Message(), holds)
		}
		return !found
	})
	return found
}

// divides says whether an operator fails when what stands to its right is zero.
func divides(symbol []string) bool {
	if len(symbol) == 0 {
		return false
	}
	last := symbol[len(symbol)-1]
	return last == "/" || last == "%"
}

// told notes arguments that can be told from what calling a harmless function
// does: it fails, it waits, it sets what is drawn at random from then on.
func (r *reader) told(function string, args []value) {
	switch function {
	case "pg_sleep", "pg_sleep_for", "pg_sleep_until", "setseed":
		r.facts.branch(mix(args...))
	case "mod", "div":
		if len(args) == 2 {
			r.facts.branch(args[1])
		}
	}
}

// computed notes that something is computed with a value that fails for some. Where guesses
// are brought together with it, row by row until it fails for one, that is as good as a
// condition; in a function's body, where it is called for many.
func (r *reader) computed(v value) {
	r.facts.fails = union(r.facts.fails, v.sources)
	switch {
	case v.steered:
		r.facts.branch(v)
	case slices.Contains(v.sources, argument):
		r.facts.tries = union(r.facts.tries, v.sources)
	}
}

// operatesOnAll says whether an operator takes whatever it is given.
func operatesOnAll(symbol []string, right value) bool {
	if len(symbol) == 0 {
		return false
	}
	switch symbol[len(symbol)-1] {
	case "=", "<>", "!=", "<", "<=", ">", ">=", "||", "->", "->>", "#>", "#>>", "@>", "<@", "&&", "@@", "?", "?|", "?&":
		return true
	case "~~", "!~~", "~~*", "!~~*", "~", "!~", "~*", "!~*":
		return len(right.sources) == 0 // a pattern may be none
	}
	return false
}

// takesAll says the same of a function of pg_catalog.
func takesAll(function string, args []value) bool {
	told := func(i int) bool { return i < len(args) && len(args[i].sources) > 0 }
	switch function {
	case "lower", "upper", "initcap", "btrim", "ltrim", "rtrim", "concat", "concat_ws", "replace", "left", "right", "length", "char_length",
		"octet_length", "md5", "reverse", "strpos", "starts_with", "count", "min", "max", "avg", "bool_and", "bool_or", "every", "string_agg",
		"json_agg", "jsonb_agg", "json_build_array", "jsonb_build_array", "to_json", "to_jsonb", "row_to_json", "array_to_json",
		"quote_literal", "quote_ident", "quote_nullable", "pg_typeof", "num_nulls", "num_nonnulls", "age", "lag", "lead", "first_value", "last_value",
		"rank", "dense_rank", "row_number", "unnest", "array_length", "cardinality", "hashtext", "to_tsvector", "plainto_tsquery":
		return true
	case "format", "date_part", "extract", "date_trunc", "json_object_agg", "jsonb_object_agg":
		return !told(0) // by which the rest is read, or a key
	case "to_char":
		return !told(1)
	case "json_build_object", "jsonb_build_object":
		for i := 0; i < len(args); i += 2 {
			if told(i) {
				return false
			}
		}
		return true
	}
	return false
}

// returned notes the same of a value that a query returns: whoever takes it converts it.
func (r *reader) returned(v value) {
	if !v.plain {
		r.facts.fails = union(r.facts.fails, v.sources)
	}
}

// tried notes that putting a value into a column fails if it is there already, or, where
// a foreign key refers to another one, if it isn't there.
func (r *reader) tried(rel *Relation, column string) {
	for _, rel := range r.withHeirs(rel) {
		for i := range rel.Columns {
			if column != "*" && rel.Columns[i].Name != column {
				continue
			}
			n := int16(i + 1)
			if slices.Contains(rel.Unique, n) || slices.Contains(rel.Unique, 0) {
				r.facts.tries = union(r.facts.tries, r.columnValue(rel, i).sources)
			}
			for _, key := range rel.ForeignKeys {
				if slices.Contains(key.Columns, n) {
					r.facts.tries = union(r.facts.tries, r.columnValue(rel, i).sources) // which is that of what it refers to
				}
			}
		}
	}
}

// onRow is the scope of expressions over a relation's rows, as in constraints.
func (r *reader) onRow(f found) *scope {
	if f.rel == nil {
		return &scope{items: []*item{{alias: f.name, rest: opaque}}}
	}
	t := &item{alias: f.name, schema: f.schema, rel: f.rel, rest: opaque}
	if shape := r.shape(f.rel); shape != nil {
		t.cols, t.known = shape.cols, shape.known
	}
	return &scope{items: []*item{t}}
}

// kept reads conditions that the server will hold against a relation's rows
// from now on: a policy's, an index's. Whatever they look at, others can tell
// by the rows that are left, and a function among them may pass it on.
func (r *reader) kept(f found, conditions ...*pg_query.Node) {
	for _, n := range conditions {
		if n == nil {
			continue
		}
		inner := r.sub()
		inner.facts.branch(inner.expr(n, r.onRow(f)))
		r.facts.predicates = union(r.facts.predicates[:len(r.facts.predicates):len(r.facts.predicates)], without(inner.facts.uses, argument))
		r.facts.merge(inner.facts, false)
	}
}

// without is list but for one.
func without(list []postern.ColumnName, one postern.ColumnName) []postern.ColumnName {
	var out []postern.ColumnName
	for _, c := range list {
		if c != one {
			out = append(out, c)
		}
	}
	return out
}
