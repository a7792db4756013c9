package postgres

import (
	"slices"
	"strconv"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// bounds is what a condition is judged against: does it choose among the rows
// of the target?
type bounds struct {
	reader   *reader
	target   *pg_query.RangeVar
	relation found
	from     []*pg_query.Node // other tables beside it
	with     *pg_query.WithClause

	others map[string]found // their aliases, once looked up
}

// trivial says whether a condition chooses none of the target's rows: because
// it is absent, true by its form, or about something else altogether.
func (r *reader) trivial(where *pg_query.Node, b *bounds) bool {
	if where == nil {
		return true
	}
	var rest []*pg_query.Node
	var linked []string
	for _, c := range conjuncts(where, nil) {
		if known, truth := b.literals().constBool(c); known {
			if !truth {
				return false // it touches nothing
			}
			continue
		}
		if other := b.link(c); other != "" {
			linked = append(linked, other)
			continue
		}
		if !b.always(c) {
			rest = append(rest, c)
		}
	}
	for _, c := range rest {
		if c.GetCurrentOfExpr() != nil {
			return false
		}
		if b.chooses(c, linked) && !b.tautology(c) {
			return false
		}
	}
	return true
}

func conjuncts(n *pg_query.Node, into []*pg_query.Node) []*pg_query.Node {
	if e := n.GetBoolExpr(); e != nil && e.Boolop == pg_query.BoolExprType_AND_EXPR {
		for _, arg := range e.Args {
			into = conjuncts(arg, into)
		}
		return into
	}
	return append(into, n)
}

func (b *bounds) targetAlias() string {
	if b.target.GetAlias() != nil {
		return b.target.Alias.Aliasname
	}
	return b.target.GetRelname()
}

// other finds a table beside the target by its alias.
func (b *bounds) other(alias string) (found, bool) {
	if b.others == nil {
		b.others = map[string]found{}
		for _, n := range b.from {
			b.note(n)
		}
	}
	f, ok := b.others[alias]
	return f, ok
}

func (b *bounds) note(n *pg_query.Node) {
	if v := n.GetRangeVar(); v != nil {
		alias := v.Relname
		if v.Alias != nil {
			alias = v.Alias.Aliasname
		}
		b.others[alias] = b.reader.relation(v)
	}
	if s := n.GetRangeSubselect(); s != nil && s.Alias != nil {
		b.others[s.Alias.Aliasname] = b.derived(s.Subquery.GetSelectStmt())
	}
	if j := n.GetJoinExpr(); j != nil {
		b.note(j.Larg)
		b.note(j.Rarg)
	}
}

// derived is the relation that a subquery shows whole: SELECT … FROM t.
func (b *bounds) derived(q *pg_query.SelectStmt) found {
	if q != nil && len(q.FromClause) == 1 && q.LimitCount == nil && q.WhereClause == nil {
		if v := q.FromClause[0].GetRangeVar(); v != nil {
			return b.reader.relation(v)
		}
	}
	return found{schema: "\x00"}
}

// link says which other appearance of the target a comparison of a column with
// itself joins it to; "" when it doesn't.
func (b *bounds) link(n *pg_query.Node) string {
	e := n.GetAExpr()
	if e == nil || e.Kind != pg_query.A_Expr_Kind_AEXPR_OP || nameOf(e.Name) != "=" {
		return ""
	}
	l, r := e.Lexpr.GetColumnRef(), e.Rexpr.GetColumnRef()
	if l == nil || r == nil {
		return ""
	}
	a, c := stringsOf(l.Fields), stringsOf(r.Fields)
	if len(a) != 2 || len(c) != 2 || a[1] != c[1] || a[0] == c[0] {
		return ""
	}
	if c[0] == b.targetAlias() {
		a, c = c, a
	}
	if a[0] != b.targetAlias() {
		return ""
	}
	if f, ok := b.other(c[0]); ok && b.reader.sameRelation(f, b.relation) {
		return c[0]
	}
	return ""
}

// chooses says whether a condition looks at the target's columns, or at those
// of tables that are joined to it row by row.
func (b *bounds) chooses(n *pg_query.Node, linked []string) bool {
	yes := false
	visit(n.ProtoReflect(), func(ref *pg_query.ColumnRef, queries []*pg_query.SelectStmt) {
		names := stringsOf(ref.Fields)
		switch {
		case yes || len(names) == 0:
		case len(names) == 1:
			yes = b.ownColumn(names[0]) && !b.shadowed(names[0], queries)
		default:
			alias := names[len(names)-2]
			yes = alias == b.targetAlias() && !aliasWithin(alias, queries) || slices.Contains(linked, alias)
		}
	})
	return yes
}

func (b *bounds) ownColumn(column string) bool {
	if column == "tableoid" || column == "xmin" || column == "cmin" || column == "xmax" || column == "cmax" {
		return false
	}
	if b.relation.rel == nil || column == "ctid" {
		return true
	}
	return b.relation.rel.columnIndex(column) >= 0
}

// shadowed says whether a subquery's own tables have the column.
func (b *bounds) shadowed(column string, queries []*pg_query.SelectStmt) bool {
	for _, q := range queries {
		for _, n := range q.FromClause {
			if v := n.GetRangeVar(); v != nil {
				if f := b.reader.relation(v); f.rel != nil && f.rel.columnIndex(column) >= 0 {
					return true
				}
			}
		}
	}
	return false
}

func aliasWithin(alias string, queries []*pg_query.SelectStmt) bool {
	for _, q := range queries {
		for _, n := range q.FromClause {
			if v := n.GetRangeVar(); v != nil {
				if v.Alias != nil && v.Alias.Aliasname == alias || v.Alias == nil && v.Relname == alias {
					return true
				}
			}
		}
	}
	return false
}

// visit calls f for every column reference below m, with the queries around it.
func visit(m protoreflect.Message, f func(*pg_query.ColumnRef, []*pg_query.SelectStmt)) {
	walk(m, nil, f, 0)
}

func walk(m protoreflect.Message, queries []*pg_query.SelectStmt, f func(*pg_query.ColumnRef, []*pg_query.SelectStmt), depth int) {
	if depth > 20000 {
		return
	}
	switch x := m.Interface().(type) {
	case *pg_query.ColumnRef:
		f(x, queries)
		return
	case *pg_query.SelectStmt:
		queries = append(queries[:len(queries):len(queries)], x)
	case *pg_query.FuncCall:
		if ownName(x.Funcname) == "pg_typeof" {
			return // the same in every row
		}
	}
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case d.IsList() && d.Message() != nil:
			list := v.List()
			for i := range list.Len() {
				walk(list.Get(i).Message(), queries, f, depth+1)
			}
		case !d.IsList() && d.Message() != nil:
			walk(v.Message(), queries, f, depth+1)
		}
		return true
	})
}

// always says whether a condition holds for every row, NULLs aside.
func (b *bounds) always(n *pg_query.Node) bool {
	if known, truth := b.literals().constBool(n); known {
		return truth
	}
	switch x := n.GetNode().(type) {
	case *pg_query.Node_BoolExpr:
		args := x.BoolExpr.Args
		switch x.BoolExpr.Boolop {
		case pg_query.BoolExprType_AND_EXPR:
			return !slices.ContainsFunc(args, func(a *pg_query.Node) bool { return !b.always(a) })
		case pg_query.BoolExprType_OR_EXPR:
			return slices.ContainsFunc(args, func(a *pg_query.Node) bool { return b.always(a) || !b.chooses(a, nil) && !b.literals().constFalse(a) }) || b.complementary(args)
		case pg_query.BoolExprType_NOT_EXPR:
			return len(args) == 1 && b.never(args[0])
		}
	case *pg_query.Node_NullTest:
		return x.NullTest.Nulltesttype == pg_query.NullTestType_IS_NOT_NULL && b.notNull(x.NullTest.Arg)
	case *pg_query.Node_BooleanTest:
		switch x.BooleanTest.Booltesttype {
		case pg_query.BoolTestType_IS_TRUE, pg_query.BoolTestType_IS_NOT_FALSE:
			return b.always(x.BooleanTest.Arg)
		case pg_query.BoolTestType_IS_FALSE, pg_query.BoolTestType_IS_NOT_TRUE:
			return b.never(x.BooleanTest.Arg)
		case pg_query.BoolTestType_IS_NOT_UNKNOWN:
			return true
		}
	case *pg_query.Node_CoalesceExpr:
		args := x.CoalesceExpr.Args
		if known, truth := b.literals().constBool(args[0]); known && truth {
			return true
		}
		return !slices.ContainsFunc(args, func(a *pg_query.Node) bool { return !b.always(a) })
	case *pg_query.Node_CaseExpr:
		for _, w := range x.CaseExpr.Args {
			if !b.always(w.GetCaseWhen().GetResult()) {
				return false
			}
		}
		return x.CaseExpr.Defresult != nil && b.always(x.CaseExpr.Defresult)
	case *pg_query.Node_TypeCast:
		return b.always(x.TypeCast.Arg)
	case *pg_query.Node_SubLink:
		return b.alwaysSub(x.SubLink)
	case *pg_query.Node_AExpr:
		return b.alwaysOp(x.AExpr)
	}
	return false
}

// never says whether a condition holds for no row.
func (b *bounds) never(n *pg_query.Node) bool {
	if known, truth := b.literals().constBool(n); known {
		return !truth
	}
	switch x := n.GetNode().(type) {
	case *pg_query.Node_NullTest:
		return x.NullTest.Nulltesttype == pg_query.NullTestType_IS_NULL && b.notNull(x.NullTest.Arg)
	case *pg_query.Node_BoolExpr:
		switch x.BoolExpr.Boolop {
		case pg_query.BoolExprType_NOT_EXPR:
			return len(x.BoolExpr.Args) == 1 && b.always(x.BoolExpr.Args[0])
		case pg_query.BoolExprType_AND_EXPR:
			return slices.ContainsFunc(x.BoolExpr.Args, b.never)
		case pg_query.BoolExprType_OR_EXPR:
			return !slices.ContainsFunc(x.BoolExpr.Args, func(a *pg_query.Node) bool { return !b.never(a) })
		}
	case *pg_query.Node_AExpr:
		e := x.AExpr
		switch {
		case e.Kind == pg_query.A_Expr_Kind_AEXPR_OP && (nameOf(e.Name) == "<>" || nameOf(e.Name) == "!=") || e.Kind == pg_query.A_Expr_Kind_AEXPR_DISTINCT:
			return b.same(e.Lexpr, e.Rexpr)
		}
	case *pg_query.Node_SubLink:
		return x.SubLink.SubLinkType == pg_query.SubLinkType_EXISTS_SUBLINK && b.literals().constFalse(x.SubLink.Subselect.GetSelectStmt().GetWhereClause())
	}
	return false
}

// notNull says whether an expression is never NULL, as far as is known: a
// column that the catalog doesn't show counts as such.
func (b *bounds) notNull(n *pg_query.Node) bool {
	switch x := n.GetNode().(type) {
	case *pg_query.Node_AConst:
		return !x.AConst.Isnull
	case *pg_query.Node_RowExpr:
		return true
	case *pg_query.Node_CoalesceExpr:
		return slices.ContainsFunc(x.CoalesceExpr.Args, b.notNull)
	case *pg_query.Node_TypeCast:
		return b.notNull(x.TypeCast.Arg)
	case *pg_query.Node_ColumnRef:
		names := stringsOf(x.ColumnRef.Fields)
		if len(names) == 0 {
			return true
		}
		column := names[len(names)-1]
		if len(names) == 1 && column == b.targetAlias() {
			return true // the whole row
		}
		if b.relation.rel == nil || systemColumn(column) {
			return true
		}
		i := b.relation.rel.columnIndex(column)
		return i >= 0 && b.relation.rel.Columns[i].NotNull
	}
	return false
}

// complementary says whether two arms of an OR leave nothing out: x IS NULL OR
// x IS NOT NULL, x < 5 OR x >= 5, p OR NOT p.
func (b *bounds) complementary(args []*pg_query.Node) bool {
	args = args[:min(len(args), 64)]
	for i, a := range args {
		for _, c := range args[i+1:] {
			if b.opposite(a, c) || b.opposite(c, a) {
				return true
			}
		}
	}
	return false
}

func (b *bounds) opposite(a, c *pg_query.Node) bool {
	if e := c.GetBoolExpr(); e != nil && e.Boolop == pg_query.BoolExprType_NOT_EXPR && len(e.Args) == 1 {
		if b.same(a, e.Args[0]) {
			return true
		}
	}
	if s, t := a.GetNullTest(), c.GetNullTest(); s != nil && t != nil {
		return s.Nulltesttype != t.Nulltesttype && b.same(s.Arg, t.Arg)
	}
	s, t := a.GetAExpr(), c.GetAExpr()
	if s == nil || t == nil || s.Kind != pg_query.A_Expr_Kind_AEXPR_OP && s.Kind != pg_query.A_Expr_Kind_AEXPR_LIKE && s.Kind != pg_query.A_Expr_Kind_AEXPR_IN || s.Kind != t.Kind {
		return false
	}
	if !b.same(s.Lexpr, t.Lexpr) {
		return false
	}
	p, q := nameOf(s.Name), nameOf(t.Name)
	switch p + " " + q {
	case "= <>", "< >=", "<= >", "< >", "~~ !~~", "<= >=":
		if b.same(s.Rexpr, t.Rexpr) {
			return true
		}
		// x < 9 OR x > 3 overlap.
		low, ok := b.literals().constNumber(t.Rexpr)
		high, ok2 := b.literals().constNumber(s.Rexpr)
		return ok && ok2 && p != "=" && low <= high
	}
	return false
}

// same says whether two expressions are the same by their form, casts aside.
func (b *bounds) same(a, c *pg_query.Node) bool {
	if constantAndColumn(a, c) {
		return false
	}
	s, ok := b.form(a)
	t, ok2 := b.form(c)
	return ok && ok2 && s == t
}

// constantAndColumn says whether one is a constant and the other a column or a call, casts
// and collations aside.
func constantAndColumn(a, c *pg_query.Node) bool {
	a, c = bare(a), bare(c)
	if c.GetAConst() != nil {
		a, c = c, a
	}
	return a.GetAConst() != nil && !a.GetAConst().Isnull && (c.GetColumnRef() != nil || c.GetFuncCall() != nil)
}

// bare is an expression without its casts and collations.
func bare(n *pg_query.Node) *pg_query.Node {
	for {
		switch x := n.GetNode().(type) {
		case *pg_query.Node_TypeCast:
			n = x.TypeCast.Arg
		case *pg_query.Node_CollateClause:
			n = x.CollateClause.Arg
		default:
			return n
		}
	}
}

// form writes an expression down so that equal ones read alike.
func (b *bounds) form(n *pg_query.Node) (string, bool) {
	switch x := n.GetNode().(type) {
	case *pg_query.Node_ColumnRef:
		names := stringsOf(x.ColumnRef.Fields)
		if len(names) == 0 || len(names) < len(x.ColumnRef.Fields) {
			return "", false
		}
		alias := b.targetAlias()
		if len(names) > 1 {
			alias = names[len(names)-2]
		}
		return "column " + alias + "." + names[len(names)-1], true
	case *pg_query.Node_AConst:
		c := b.literals().constant(x.AConst)
		if s := c.GetSval(); s != nil {
			return "const " + s.Sval, true
		}
		if f, ok := numberOf(c); ok {
			return "const " + strconv.FormatFloat(f, 'g', -1, 64), true
		}
	case *pg_query.Node_TypeCast:
		return b.form(x.TypeCast.Arg)
	case *pg_query.Node_CollateClause:
		return b.form(x.CollateClause.Arg)
	case *pg_query.Node_FuncCall:
		return b.forms("call "+nameOf(x.FuncCall.Funcname), x.FuncCall.Args)
	case *pg_query.Node_RowExpr:
		return b.forms("row", x.RowExpr.Args)
	case *pg_query.Node_CoalesceExpr:
		return b.forms("coalesce", x.CoalesceExpr.Args)
	case *pg_query.Node_NullTest:
		return b.forms("null "+x.NullTest.Nulltesttype.String(), []*pg_query.Node{x.NullTest.Arg})
	case *pg_query.Node_AExpr:
		op := nameOf(x.AExpr.Name)
		if x.AExpr.Rexpr.GetNode() != nil && x.AExpr.Lexpr.GetNode() != nil {
			if f, ok := b.literals().constNumber(x.AExpr.Rexpr); ok && (f == 0 && (op == "+" || op == "-") || f == 1 && (op == "*" || op == "/")) {
				return b.form(x.AExpr.Lexpr)
			}
			if f, ok := b.literals().constNumber(x.AExpr.Lexpr); ok && (f == 0 && op == "+" || f == 1 && op == "*") {
				return b.form(x.AExpr.Rexpr)
			}
			if op == "||" && b.literals().textIs(x.AExpr.Rexpr, func(text string) bool { return text == "" }) {
				return b.form(x.AExpr.Lexpr)
			}
		}
		return b.forms("op "+x.AExpr.Kind.String()+op, []*pg_query.Node{x.AExpr.Lexpr, x.AExpr.Rexpr})
	case *pg_query.Node_List:
		return b.forms("list", x.List.Items)
	case nil:
		return "none", true
	}
	return "", false
}

func (b *bounds) forms(head string, list []*pg_query.Node) (string, bool) {
	var out strings.Builder
	out.WriteString(head)
	for _, n := range list {
		s, ok := b.form(n)
		if !ok {
			return "", false
		}
		out.WriteString("(")
		out.WriteString(s)
		out.WriteString(")")
	}
	return out.String(), true
}

// alwaysOp judges comparisons.
func (b *bounds) alwaysOp(e *pg_query.A_Expr) bool {
	op := nameOf(e.Name)
	switch e.Kind {
	case pg_query.A_Expr_Kind_AEXPR_OP:
		switch op {
		case "=", ">=", "<=", "~~", "~~*", "@>", "<@", "&&":
			if b.same(e.Lexpr, e.Rexpr) {
				return true
			}
		}
		if op == "=" && (b.covers(e.Rexpr, e.Lexpr) || b.covers(e.Lexpr, e.Rexpr)) {
			return true
		}
		if (op == "=" || op == "IS") && b.truthTest(e) {
			return true
		}
		return b.extreme(e.Lexpr, op, e.Rexpr) || b.extreme(e.Rexpr, mirror(op), e.Lexpr) || b.literals().pattern(op, e.Rexpr)
	case pg_query.A_Expr_Kind_AEXPR_LIKE, pg_query.A_Expr_Kind_AEXPR_ILIKE:
		return op[0] == '~' && (b.literals().pattern(op, e.Rexpr) || b.same(e.Lexpr, e.Rexpr))
	case pg_query.A_Expr_Kind_AEXPR_SIMILAR:
		if call := e.Rexpr.GetFuncCall(); call != nil && len(call.Args) > 0 && op == "~" {
			return b.literals().textIs(call.Args[0], func(text string) bool { return strings.Trim(text, "%") == "" && text != "" })
		}
	case pg_query.A_Expr_Kind_AEXPR_NOT_DISTINCT:
		return b.same(e.Lexpr, e.Rexpr)
	case pg_query.A_Expr_Kind_AEXPR_DISTINCT:
		return e.Rexpr.GetAConst().GetIsnull() && b.notNull(e.Lexpr) || e.Lexpr.GetAConst().GetIsnull() && b.notNull(e.Rexpr)
	case pg_query.A_Expr_Kind_AEXPR_IN:
		if op != "=" {
			return false
		}
		return slices.ContainsFunc(e.Rexpr.GetList().GetItems(), func(n *pg_query.Node) bool { return b.same(e.Lexpr, n) })
	case pg_query.A_Expr_Kind_AEXPR_OP_ANY:
		if op != "=" {
			return false
		}
		if array := e.Rexpr.GetAArrayExpr(); array != nil {
			return slices.ContainsFunc(array.Elements, func(n *pg_query.Node) bool { return b.same(e.Lexpr, n) })
		}
		return b.covers(e.Rexpr, e.Lexpr)
	case pg_query.A_Expr_Kind_AEXPR_BETWEEN, pg_query.A_Expr_Kind_AEXPR_BETWEEN_SYM:
		limits := e.Rexpr.GetList().GetItems()
		if len(limits) != 2 {
			return false
		}
		low := b.extreme(e.Lexpr, ">=", limits[0]) || b.same(e.Lexpr, limits[0])
		high := b.extreme(e.Lexpr, "<=", limits[1]) || b.same(e.Lexpr, limits[1])
		return low && high
	}
	return false
}

// truthTest is (condition) = true.
func (b *bounds) truthTest(e *pg_query.A_Expr) bool {
	if known, truth := b.truth(e.Rexpr, e.Lexpr); known {
		return truth && b.always(e.Lexpr) || !truth && b.never(e.Lexpr)
	}
	if known, truth := b.truth(e.Lexpr, e.Rexpr); known {
		return truth && b.always(e.Rexpr) || !truth && b.never(e.Rexpr)
	}
	return false
}

// truth folds what a condition is compared with, unless that is a column: it
// holds neither always nor never.
func (b *bounds) truth(n, condition *pg_query.Node) (known, truth bool) {
	if stripCast(condition).GetColumnRef() != nil {
		return false, false
	}
	return b.literals().constBool(n)
}

func (b *bounds) literals() *literals { return b.reader.run.literals }

// extreme says whether a value is compared with a limit that its type can't
// pass, or a length with less than nothing.
func (b *bounds) extreme(l *pg_query.Node, op string, r *pg_query.Node) bool {
	is := func(infinite string) bool {
		return b.literals().textIs(stripCast(r), func(text string) bool { return strings.EqualFold(text, infinite) })
	}
	number := func(test func(float64) bool) bool { return b.literals().numberIs(r, test) }
	if call := l.GetFuncCall(); call != nil {
		switch nameOf(call.Funcname) {
		case "length", "char_length", "character_length", "octet_length", "bit_length", "abs", "cardinality", "pg_column_size":
			return op == ">=" && number(func(f float64) bool { return f <= 0 }) || (op == ">" || op == "<>") && number(func(f float64) bool { return f < 0 }) ||
				(op == "<" || op == "<=") && is("infinity") || (op == ">" || op == ">=") && is("-infinity")
		}
	}
	limit := b.limit(l)
	switch op {
	case "<", "<=":
		return is("infinity") || number(func(f float64) bool { return f >= limit })
	case ">", ">=":
		return is("-infinity") || number(func(f float64) bool { return f <= -limit })
	case "<>":
		return number(func(f float64) bool { return f >= limit+1 || f < -limit-1 })
	}
	return false
}

// limit is the largest number of a column's type.
func (b *bounds) limit(n *pg_query.Node) float64 {
	ref := stripCast(n).GetColumnRef()
	if ref != nil && b.relation.rel != nil {
		names := stringsOf(ref.Fields)
		if len(names) > 0 {
			if i := b.relation.rel.columnIndex(names[len(names)-1]); i >= 0 {
				switch b.relation.rel.Columns[i].Type {
				case 21:
					return 1<<15 - 1
				case 23:
					return 1<<31 - 1
				default:
					return 1<<63 - 1
				}
			}
		}
	}
	return 1<<31 - 1
}

// alwaysSub judges subqueries over the target itself.
func (b *bounds) alwaysSub(x *pg_query.SubLink) bool {
	q := x.Subselect.GetSelectStmt()
	switch x.SubLinkType {
	case pg_query.SubLinkType_EXISTS_SUBLINK:
		return b.ownRows(q) || len(q.GetValuesLists()) > 0 && unlimited(q)
	case pg_query.SubLinkType_ANY_SUBLINK:
		return (len(x.OperName) == 0 || nameOf(x.OperName) == "=") && b.selects(q, x.Testexpr)
	}
	return false
}

// covers says whether a subquery gives, among others, an expression's value in
// the target's own row.
func (b *bounds) covers(n, e *pg_query.Node) bool {
	x := n.GetSubLink()
	return x != nil && (x.SubLinkType == pg_query.SubLinkType_EXPR_SUBLINK || x.SubLinkType == pg_query.SubLinkType_ARRAY_SUBLINK) &&
		b.selects(x.Subselect.GetSelectStmt(), e)
}

// ownRows says whether a query reads the target again, bound to no other rows.
func (b *bounds) ownRows(q *pg_query.SelectStmt) bool {
	if q == nil || q.Op != pg_query.SetOperation_SETOP_NONE || len(q.FromClause) != 1 || q.LimitOffset != nil && !q.LimitOffset.GetAConst().GetIsnull() || q.HavingClause != nil {
		return false
	}
	if q.WithClause != nil {
		within := *b
		within.with = q.WithClause
		b = &within
	}
	v := q.FromClause[0].GetRangeVar()
	if whole := b.whole(q.FromClause[0]); whole != nil {
		return whole != q && q.WhereClause == nil && unlimited(whole) && b.ownRows(whole)
	}
	if v == nil || !b.reader.sameRelation(b.reader.relation(v), b.relation) {
		return false
	}
	if q.WhereClause == nil {
		return true
	}
	inner := &bounds{reader: b.reader, target: v, relation: b.relation, from: []*pg_query.Node{{Node: &pg_query.Node_RangeVar{RangeVar: b.target}}}}
	for _, c := range conjuncts(q.WhereClause, nil) {
		if inner.link(c) == "" && !inner.always(c) {
			return false
		}
	}
	return true
}

// whole is the query behind a subquery in FROM, or behind a name of WITH.
func (b *bounds) whole(n *pg_query.Node) *pg_query.SelectStmt {
	if s := n.GetRangeSubselect(); s != nil {
		return s.Subquery.GetSelectStmt()
	}
	v := n.GetRangeVar()
	if v == nil || v.Schemaname != "" || b.with == nil || b.with.Recursive {
		return nil
	}
	for _, c := range b.with.Ctes {
		if e := c.GetCommonTableExpr(); e.GetCtename() == v.Relname {
			return e.Ctequery.GetSelectStmt()
		}
	}
	return nil
}

// unlimited says whether a query gives all of its rows.
func unlimited(q *pg_query.SelectStmt) bool {
	none := func(n *pg_query.Node) bool { return n == nil || n.GetAConst().GetIsnull() }
	return none(q.GetLimitCount()) && none(q.GetLimitOffset())
}

// selects says whether a query gives, among others, an expression's value in the
// target's own row.
func (b *bounds) selects(q *pg_query.SelectStmt, e *pg_query.Node) bool {
	if q == nil || !unlimited(q) {
		return false
	}
	switch q.Op {
	case pg_query.SetOperation_SETOP_UNION:
		return b.selects(q.Larg, e) || b.selects(q.Rarg, e)
	case pg_query.SetOperation_SETOP_INTERSECT:
		return b.selects(q.Larg, e) && b.selects(q.Rarg, e)
	}
	wanted := []*pg_query.Node{e}
	if row := e.GetRowExpr(); row != nil {
		wanted = row.Args
	}
	for _, list := range q.ValuesLists {
		if b.sameRow(b, list.GetList().GetItems(), wanted) {
			return true
		}
	}
	if !b.ownRows(q) {
		return false
	}
	// Names in the subquery mean its own copy of the table.
	v := q.FromClause[0].GetRangeVar()
	if v == nil {
		v = &pg_query.RangeVar{Alias: q.FromClause[0].GetRangeSubselect().GetAlias()}
	}
	values := make([]*pg_query.Node, len(q.TargetList))
	for i, t := range q.TargetList {
		values[i] = t.GetResTarget().GetVal()
	}
	return b.sameRow(&bounds{reader: b.reader, target: v, relation: b.relation}, values, wanted)
}

// sameRow says whether values, as they read within a query, are those wanted of the
// target's own row.
func (b *bounds) sameRow(within *bounds, values, wanted []*pg_query.Node) bool {
	return slices.EqualFunc(values, wanted, func(value, want *pg_query.Node) bool {
		s, ok := within.form(value)
		t, ok2 := b.form(want)
		return ok && ok2 && column(s) == column(t)
	})
}

// column strips the alias of a column's form.
func column(form string) string {
	if rest, ok := strings.CutPrefix(form, "column "); ok {
		if _, name, ok := strings.Cut(rest, "."); ok {
			return "column " + name
		}
	}
	return form
}
