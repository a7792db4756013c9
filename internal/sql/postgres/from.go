package postgres

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// from reads one entry of a FROM clause and returns what it brings into view.
// Of entries before it, beside are those that LATERAL lets it see.
func (r *reader) from(n *pg_query.Node, s *scope, beside []*item) []*item {
	if !r.step() {
		return nil
	}
	lateral := &scope{parent: s.parent, with: s.with, items: beside}
	apart := &scope{parent: s.parent, with: s.with}
	switch x := n.GetNode().(type) {
	case *pg_query.Node_RangeVar:
		return []*item{r.table(x.RangeVar, s, false)}
	case *pg_query.Node_RangeSubselect:
		level := apart
		if x.RangeSubselect.Lateral {
			level = lateral
		}
		t := &item{rest: opaque, noName: x.RangeSubselect.Alias == nil}
		t.cols, t.known = r.query(x.RangeSubselect.Subquery.GetSelectStmt(), level)
		t.rename(x.RangeSubselect.Alias)
		return []*item{t}
	case *pg_query.Node_JoinExpr:
		return r.join(x.JoinExpr, s, beside)
	case *pg_query.Node_RangeFunction:
		return []*item{r.rangeFunction(x.RangeFunction, lateral)}
	case *pg_query.Node_RangeTableSample:
		items := r.from(x.RangeTableSample.Relation, s, beside)
		for _, arg := range x.RangeTableSample.Args {
			r.condition(arg, lateral)
		}
		r.condition(x.RangeTableSample.Repeatable, lateral)
		if !r.sampled(stringsOf(x.RangeTableSample.Method)) {
			r.facts.unknown("It samples a table by a method that the analysis doesn't know.")
		}
		return items
	case *pg_query.Node_RangeTableFunc:
		return []*item{r.xmlTable(x.RangeTableFunc, lateral)}
	case *pg_query.Node_JsonTable:
		return []*item{r.jsonTable(x.JsonTable, lateral)}
	}
	r.facts.unknown("The statement holds a construct that the analysis doesn't know.")
	return nil
}

func (r *reader) join(j *pg_query.JoinExpr, s *scope, beside []*item) []*item {
	left := r.from(j.Larg, s, beside)
	right := r.from(j.Rarg, s, append(beside[:len(beside):len(beside)], left...))
	both := append(left[:len(left):len(left)], right...)
	using := stringsOf(j.UsingClause)
	if !j.IsNatural && len(using) == 0 && j.Alias == nil {
		r.condition(j.Quals, &scope{parent: s.parent, with: s.with, items: both})
		return both
	}
	joined := &item{noName: j.Alias == nil, known: true, rest: opaque}
	l, r2 := visible(left), visible(right)
	joined.known = l.known && r2.known
	if j.IsNatural {
		if !joined.known {
			// Which columns are shared can't be told: everything may be compared.
			r.facts.unproven = true
			joined.cols = nil
		}
		for _, c := range l.cols {
			if _, how := r2.column(c.name); how == present && joined.known {
				using = append(using, c.name)
			}
		}
	}
	shared := make(map[string]bool, len(using))
	merged := &item{known: true, noColumns: true}
	for _, name := range using {
		a, _ := l.column(name)
		b, _ := r2.column(name)
		r.equate(a, b)
		r.facts.branch(r.operator([]string{"="}, a, b))
		shared[name] = true
		joined.cols = append(joined.cols, field{name, mix(a, b)})
	}
	merged.cols = joined.cols
	if joined.known || !j.IsNatural {
		for _, side := range []*item{l, r2} {
			for _, c := range side.cols {
				if !shared[c.name] {
					joined.cols = append(joined.cols, c)
				}
			}
		}
	}
	hidden := make([]*item, 0, len(both)+2)
	for _, t := range both {
		h := *t
		h.noColumns = true
		hidden = append(hidden, &h)
	}
	seen := append(hidden[:len(hidden):len(hidden)], joined)
	if j.JoinUsingAlias != nil {
		merged.alias = j.JoinUsingAlias.Aliasname
		seen = append(seen, merged)
	}
	if j.Quals != nil {
		r.condition(j.Quals, &scope{parent: s.parent, with: s.with, items: both})
	}
	if j.Alias != nil {
		joined.rename(j.Alias)
		return []*item{joined}
	}
	return seen
}

// visible is one arm of a join as one item: all its columns in order.
func visible(items []*item) *item {
	v := &item{known: true, rest: opaque}
	for _, t := range items {
		if t.noColumns {
			continue
		}
		v.cols = append(v.cols, t.cols...)
		v.known = v.known && t.known
	}
	return v
}

// rangeFunction reads functions in FROM.
func (r *reader) rangeFunction(f *pg_query.RangeFunction, s *scope) *item {
	t := &item{known: true, rest: opaque}
	scalar := len(f.Functions) == 1 && !f.Ordinality
	for _, n := range f.Functions {
		list := n.GetList().GetItems()
		if len(list) == 0 {
			r.facts.unknown("The statement holds a construct that the analysis doesn't know.")
			return t
		}
		v, result := r.exprResult(list[0], s)
		defined := f.Coldeflist
		if len(list) > 1 && len(list[1].GetList().GetItems()) > 0 {
			defined = list[1].GetList().GetItems()
		}
		name := r.figureName(list[0], s)
		switch {
		case len(defined) > 0:
			scalar = false
			for _, d := range defined {
				c := d.GetColumnDef()
				_, effects := r.typeEffects(c.GetTypeName(), v)
				t.cols = append(t.cols, field{c.GetColname(), mix(v, effects)})
			}
		case result.fields != nil:
			scalar = scalar && result.named
			t.cols = append(t.cols, result.fields...)
		case result.scalar:
			if f.Alias != nil && len(f.Functions) == 1 {
				name = f.Alias.Aliasname
			}
			if result.name != "" {
				name = result.name
			}
			t.cols = append(t.cols, field{name, v.bare()})
		default:
			scalar = false
			t.known = false
			t.rest = value{sources: v.sources, proven: v.proven, session: v.session, row: true}
		}
	}
	if f.Ordinality {
		t.cols = append(t.cols, field{"ordinality", constant})
	}
	t.alias = r.figureName(f.Functions[0].GetList().GetItems()[0], s)
	t.scalar = scalar && len(t.cols) == 1
	t.rename(f.Alias)
	return t
}

func (r *reader) xmlTable(x *pg_query.RangeTableFunc, s *scope) *item {
	v := mix(r.expr(x.Docexpr, s), r.expr(x.Rowexpr, s))
	for _, n := range x.Namespaces {
		v.add(r.expr(n.GetResTarget().GetVal(), s))
	}
	r.facts.piece(v) // what its paths do with text isn't looked at
	t := &item{known: true, alias: "xmltable"}
	for _, n := range x.Columns {
		c := n.GetRangeTableFuncCol()
		w := constant
		if !c.GetForOrdinality() {
			_, effects := r.typeEffects(c.GetTypeName(), v)
			w = mix(v, r.optional(c.GetColexpr(), s), r.optional(c.GetColdefexpr(), s), effects)
		}
		t.cols = append(t.cols, field{c.GetColname(), w})
	}
	t.rename(x.Alias)
	return t
}

func (r *reader) jsonTable(x *pg_query.JsonTable, s *scope) *item {
	r.since(170000)
	v := r.jsonValue(x.ContextItem, s)
	v.add(r.optional(x.Pathspec.GetString_(), s))
	for _, n := range x.Passing {
		v.add(r.expr(n, s))
	}
	v.add(r.jsonBehavior(x.OnError, s))
	t := &item{known: true, alias: "json_table"}
	r.jsonColumns(x.Columns, v, s, t)
	t.rename(x.Alias)
	return t
}

func (r *reader) jsonColumns(columns []*pg_query.Node, v value, s *scope, t *item) {
	for _, n := range columns {
		c := n.GetJsonTableColumn()
		if c.GetColtype() == pg_query.JsonTableColumnType_JTC_NESTED {
			r.jsonColumns(c.Columns, v, s, t)
			continue
		}
		_, effects := r.typeEffects(c.GetTypeName(), v)
		t.cols = append(t.cols, field{c.GetName(), mix(v, effects, r.jsonBehavior(c.GetOnEmpty(), s), r.jsonBehavior(c.GetOnError(), s))})
	}
}

// optional reads an expression that may be absent.
func (r *reader) optional(n *pg_query.Node, s *scope) value {
	if n == nil || n.GetNode() == nil {
		return constant
	}
	return r.expr(n, s)
}

// sampled says whether a method of TABLESAMPLE is a known one, which takes rows whatever is
// in them.
func (r *reader) sampled(method []string) bool {
	switch {
	case len(method) != 1:
		return false
	case method[0] == "bernoulli" || method[0] == "system":
		return true
	case r.cat == nil:
		return false
	}
	all, certain := r.functions("", method[0], 1)
	return certain && samples(all)
}
