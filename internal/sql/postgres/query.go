package postgres

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// query reads a SELECT, VALUES, TABLE or set operation, and returns its result's
// columns when all of them are known.
func (r *reader) query(q *pg_query.SelectStmt, parent *scope) (fields []field, known bool) {
	if q == nil || !r.step() {
		return nil, false
	}
	s := inside(parent)
	r.withClause(q.WithClause, s)
	switch {
	case q.Op != pg_query.SetOperation_SETOP_NONE:
		fields, known = r.setOperation(q, s)
	case len(q.ValuesLists) > 0:
		fields, known = r.values(q.ValuesLists, s)
		r.order(q.SortClause, s, fields)
	default:
		fields, known = r.plain(q, s)
	}
	r.condition(q.LimitCount, s)
	r.condition(q.LimitOffset, s)
	if len(q.LockingClause) > 0 {
		r.lock(s)
	}
	if q.IntoClause != nil {
		r.into(q.IntoClause, fields, known)
	}
	return fields, known
}

// inside is a new level within parent.
func inside(parent *scope) *scope {
	s := &scope{parent: parent}
	if parent != nil {
		s.with = parent.with
	}
	return s
}

func (r *reader) plain(q *pg_query.SelectStmt, s *scope) ([]field, bool) {
	if len(q.FromClause) > 0 {
		r.facts.verb("select", levelRead)
	}
	for _, n := range q.FromClause {
		s.items = append(s.items, r.from(n, s, s.items)...)
	}
	r.condition(q.WhereClause, s)
	outer := r.settingRow
	r.settingRow = r.rowOfSettings(q)
	fields, known := r.targets(q.TargetList, s)
	r.settingRow = outer
	for _, n := range q.GroupClause {
		r.group(n, s, fields)
	}
	r.condition(q.HavingClause, s)
	for _, n := range q.WindowClause {
		r.window(n.GetWindowDef(), s)
	}
	for _, n := range q.DistinctClause {
		if n.GetNode() == nil { // plain DISTINCT
			for i := range fields {
				r.classes(fields[i].value)
			}
			continue
		}
		r.key(n, s, fields, r.classes)
	}
	r.order(q.SortClause, s, fields)
	return fields, known
}

// condition reads an expression that decides which rows there are.
func (r *reader) condition(n *pg_query.Node, s *scope) {
	if n == nil || r.equalities(n, s) {
		return
	}
	r.facts.branch(r.expr(n, s))
}

// equalities reads a condition that is nothing but a = b, or several parts of
// which one is, joined by AND. It returns false, and has read nothing, when the
// order in which the parts are looked at could be told.
func (r *reader) equalities(n *pg_query.Node, s *scope) bool {
	parts := []*pg_query.Node{n}
	if b := n.GetBoolExpr(); b.GetBoolop() == pg_query.BoolExprType_AND_EXPR {
		parts = b.Args
	}
	equal := false
	for _, part := range parts {
		equal = equal || isEquality(part)
		if len(parts) > 1 && seenToRun(part) {
			return false
		}
	}
	if !equal {
		return false
	}
	for _, part := range parts {
		if x := part.GetAExpr(); isEquality(part) {
			left, right := r.expr(x.Lexpr, s), r.expr(x.Rexpr, s)
			if extra := r.operator(stringsOf(x.Name)); len(extra.sources) > 0 || !extra.proven {
				r.facts.piece(left, right)
				r.facts.branch(mix(left, right, extra))
				continue
			}
			r.equate(left, right)
			continue
		}
		r.facts.branch(r.expr(part, s))
	}
	return true
}

// equate notes a comparison of two values for equality, unless the operator may
// be a user's own.
func (r *reader) equate(a, b value) {
	r.matched(a, b)
	if r.cat == nil || r.allTouched || slices.ContainsFunc(r.cat.operators["="], r.equatesBuiltins) {
		r.facts.branch(mix(a, b))
		return
	}
	r.facts.equate(a, b)
}

// equatesBuiltins says whether a user's operator may be taken for types of the
// server's own. What equality is of a type that somebody made is theirs to say.
func (r *reader) equatesBuiltins(op *operator) bool {
	f := r.cat.Functions[op.fn]
	if f == nil {
		return true
	}
	for _, arg := range f.Args {
		if arg >= firstUserOID {
			return false
		}
	}
	return !r.pathKnown || inPath(r.path, op.schema)
}

// isEquality says whether an expression is column = column.
func isEquality(n *pg_query.Node) bool {
	x := n.GetAExpr()
	if x == nil || x.Kind != pg_query.A_Expr_Kind_AEXPR_OP || x.Lexpr.GetColumnRef() == nil || x.Rexpr.GetColumnRef() == nil {
		return false
	}
	names := stringsOf(x.Name)
	return len(names) == 1 && names[0] == "=" || len(names) == 2 && names[0] == "pg_catalog" && names[1] == "="
}

// classes notes that rows are put together by equal values.
func (r *reader) classes(v value) { r.equate(v, v) }

func (r *reader) order(clause []*pg_query.Node, s *scope, fields []field) {
	for _, n := range clause {
		r.sortKey(n.GetSortBy().GetNode(), s, fields)
		if by := n.GetSortBy(); by != nil && len(by.UseOp) > 0 {
			r.facts.branch(r.operator(stringsOf(by.UseOp)))
		}
	}
}

// sortKey reads a key of ORDER BY.
func (r *reader) sortKey(n *pg_query.Node, s *scope, fields []field) {
	r.key(n, s, fields, func(v value) {
		r.ranked(v)
		r.facts.branch(v)
	})
}

// key reads a key of ORDER BY, DISTINCT ON or GROUP BY: an output's number, an
// output's name or an expression. Where a name may be both, both count. note
// takes what the key is.
func (r *reader) key(n *pg_query.Node, s *scope, fields []field, note func(value)) {
	if n == nil {
		return
	}
	if c := n.GetAConst(); c != nil {
		if k, ok := r.run.literals.kindOf(c); ok && k != kindInteger {
			return
		}
		if i := r.run.literals.constant(c).GetIval(); i != nil && int(i.Ival) >= 1 && int(i.Ival) <= len(fields) {
			note(fields[i.Ival-1].value)
		}
		return
	}
	if ref := n.GetColumnRef(); ref != nil && len(ref.Fields) == 1 {
		column := ref.Fields[0].GetString_().GetSval()
		named := false
		for i := range fields {
			if fields[i].name == column {
				note(fields[i].value)
				named = true
			}
		}
		if v, how := s.column(column); how != absent {
			note(v)
			named = true
		}
		if named {
			return
		}
	}
	note(r.expr(n, s))
}

func (r *reader) group(n *pg_query.Node, s *scope, fields []field) {
	if set := n.GetGroupingSet(); set != nil {
		for _, part := range set.Content {
			r.group(part, s, fields)
		}
		return
	}
	if row := n.GetRowExpr(); row != nil {
		for _, part := range row.Args {
			r.group(part, s, fields)
		}
		return
	}
	r.key(n, s, fields, r.classes)
}

func (r *reader) window(w *pg_query.WindowDef, s *scope) {
	if w == nil {
		return
	}
	for _, n := range w.PartitionClause {
		r.ranks(n, s)
	}
	for _, n := range w.OrderClause {
		r.ranks(n.GetSortBy().GetNode(), s)
	}
	r.condition(w.StartOffset, s)
	r.condition(w.EndOffset, s)
}

// ranks reads an expression by which rows are put into an order, or groups.
func (r *reader) ranks(n *pg_query.Node, s *scope) {
	v := r.optional(n, s)
	r.ranked(v)
	r.facts.branch(v)
}

func (r *reader) lock(s *scope) {
	if r.planning {
		return
	}
	r.facts.locks = true
	r.facts.verb("lock", levelWrite)
	for _, t := range s.items {
		if t.rel != nil {
			r.facts.object(kindTable, t.rel.Schema+"."+t.rel.Name, false)
		}
	}
}

func (r *reader) values(lists []*pg_query.Node, s *scope) ([]field, bool) {
	var fields []field
	for i, n := range lists {
		row := n.GetList().GetItems()
		for j, cell := range row {
			v := r.expr(cell, s)
			switch {
			case i == 0:
				fields = append(fields, field{"column" + itoa(j+1), v})
			case j < len(fields):
				fields[j].value = mix(fields[j].value, v)
			}
		}
	}
	return fields, true
}

func (r *reader) setOperation(q *pg_query.SelectStmt, s *scope) ([]field, bool) {
	left, leftKnown := r.query(q.Larg, s)
	right, rightKnown := r.query(q.Rarg, s)
	if !leftKnown || !rightKnown || len(left) != len(right) {
		return left, false
	}
	fields := slices.Clone(left)
	for i := range fields {
		switch {
		case q.Op == pg_query.SetOperation_SETOP_EXCEPT:
			r.facts.branch(right[i].value)
		case samePlain(left[i].value, right[i].value):
		default:
			fields[i].value = mix(left[i].value, right[i].value)
		}
		if !q.All || q.Op != pg_query.SetOperation_SETOP_UNION {
			r.matched(left[i].value, right[i].value)
			r.facts.branch(left[i].value)
			r.facts.branch(right[i].value)
		}
	}
	r.order(q.SortClause, s, fields)
	return fields, true
}

func samePlain(a, b value) bool {
	return a.plain && b.plain && a.proven && b.proven && slices.Equal(a.sources, b.sources)
}

// targets reads a target list or RETURNING.
func (r *reader) targets(list []*pg_query.Node, s *scope) (fields []field, known bool) {
	known = true
	for _, n := range list {
		t := n.GetResTarget()
		if t == nil {
			r.facts.unknown("The statement holds a construct that the analysis doesn't know.")
			return fields, false
		}
		if expanded, star, all := r.star(t.Val, s); star {
			fields = append(fields, expanded...)
			known = known && all
			continue
		}
		v := r.expr(t.Val, s)
		name := t.Name
		if name == "" {
			name = r.figureName(t.Val, s)
		}
		fields = append(fields, field{name, v})
	}
	return fields, known
}

// star expands *, t.* and (expression).*.
func (r *reader) star(n *pg_query.Node, s *scope) (fields []field, star, known bool) {
	if ref := n.GetColumnRef(); ref != nil && len(ref.Fields) > 0 && ref.Fields[len(ref.Fields)-1].GetAStar() != nil {
		fields, known = r.starOf(stringsOf(ref.Fields[:len(ref.Fields)-1]), s)
		for i := range fields {
			r.facts.use(fields[i].value)
			r.facts.take(fields[i].value)
		}
		if !known {
			r.facts.unproven = true
		}
		return fields, true, known
	}
	if in := n.GetAIndirection(); in != nil && len(in.Indirection) > 0 && in.Indirection[len(in.Indirection)-1].GetAStar() != nil {
		v, form := r.exprResult(in.Arg, s)
		if len(in.Indirection) == 1 && form.fields != nil {
			return form.fields, true, true
		}
		for _, step := range in.Indirection[:len(in.Indirection)-1] {
			v = r.indirect(v, step, s)
		}
		return v.fields, true, v.fields != nil
	}
	return nil, false, false
}

func (r *reader) starOf(names []string, s *scope) ([]field, bool) {
	switch len(names) {
	case 0:
		var fields []field
		known := true
		for _, t := range s.items {
			if t.noColumns {
				continue
			}
			fields = append(fields, t.cols...)
			known = known && t.known
		}
		return fields, known
	case 1, 2, 3:
		if v, ok := r.vars[names[0]]; ok && len(names) == 1 && len(v.fields) > 0 && s.item("", names[0]) == nil {
			return v.fields, true
		}
		schema := ""
		if len(names) > 1 {
			schema = names[len(names)-2]
		}
		if t := s.item(schema, names[len(names)-1]); t != nil {
			return t.cols, t.known
		}
	}
	return nil, false
}

// withClause brings a WITH clause's queries into view.
func (r *reader) withClause(w *pg_query.WithClause, s *scope) {
	if w == nil {
		return
	}
	if w.Recursive {
		all := make([]*common, len(w.Ctes))
		for i, n := range w.Ctes {
			cte := n.GetCommonTableExpr()
			all[i] = &common{cte: cte}
			s.with = &with{outer: s.with, name: cte.GetCtename(), query: all[i]}
		}
		for _, c := range all {
			c.level = &scope{parent: s.parent, with: s.with}
		}
		for _, c := range all {
			r.common(c)
		}
		return
	}
	for _, n := range w.Ctes {
		c := &common{cte: n.GetCommonTableExpr(), level: &scope{parent: s.parent, with: s.with}}
		r.common(c)
		s.with = &with{outer: s.with, name: c.cte.GetCtename(), query: c}
	}
}

// common reads one query of a WITH clause, once. A recursive one is read until
// what flows around no longer grows.
func (r *reader) common(c *common) {
	if c.state != unread {
		c.self = c.self || c.state == reading
		return
	}
	c.state = reading
	defer func() { c.state = read }()
	sel := c.cte.GetCtequery().GetSelectStmt()
	if sel == nil {
		fields, known := r.change(c.cte.GetCtequery(), c.level)
		c.set(fields, known)
		return
	}
	if sel.Op != pg_query.SetOperation_SETOP_UNION {
		fields, known := r.query(sel, c.level)
		c.set(fields, known)
		r.cycle(c)
		return
	}
	level := &scope{parent: c.level.parent, with: c.level.with}
	r.withClause(sel.WithClause, level)
	fields, known := r.query(sel.Larg, level)
	c.set(fields, known)
	for range 12 {
		before := c.fields
		c.self = false
		fields, known = r.query(sel, c.level)
		c.set(fields, known)
		if !c.self || !known || sameSources(before, c.fields) {
			r.cycle(c)
			return
		}
	}
	for i := range c.fields {
		c.fields[i].proven = false
	}
	r.cycle(c)
}

func (c *common) set(fields []field, known bool) {
	fields = slices.Clone(fields)
	for i, name := range stringsOf(c.cte.GetAliascolnames()) {
		if i < len(fields) {
			fields[i].name = name
		} else if !known {
			fields = append(fields, field{name, opaque})
		}
	}
	c.fields, c.known = fields, known
}

// cycle adds the columns of SEARCH and CYCLE clauses.
func (r *reader) cycle(c *common) {
	var all value
	all.proven = true
	for i := range c.fields {
		all.add(c.fields[i].value)
	}
	all = all.bare()
	if search := c.cte.GetSearchClause(); search != nil {
		c.fields = append(c.fields, field{search.SearchSeqColumn, all})
		r.facts.branch(all)
	}
	if cycle := c.cte.GetCycleClause(); cycle != nil {
		c.fields = append(c.fields, field{cycle.CycleMarkColumn, all}, field{cycle.CyclePathColumn, all})
		r.facts.branch(all)
	}
}

func sameSources(a, b []field) bool {
	return slices.EqualFunc(a, b, func(x, y field) bool {
		return x.proven == y.proven && len(x.sources) == len(y.sources)
	})
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}
