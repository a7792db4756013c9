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

// computed notes that something is computed with a value, which may fail, and returns it.
func (r *reader) computed(v value) value {
	r.facts.fails = union(r.facts.fails, v.sources)
	return v
}

// returned notes the same of a value that a query returns: whoever takes it converts it.
func (r *reader) returned(v value) {
	if !v.plain {
		r.computed(v)
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
				r.computed(r.columnValue(rel, i))
			}
			for _, key := range rel.ForeignKeys {
				if slices.Contains(key.Columns, n) {
					r.computed(r.columnValue(rel, i)) // which is that of what it refers to
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
