package postgres

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// expr reads an expression: what it calls and looks at goes into the facts,
// where its value comes from is returned. A kind of node that it doesn't know
// makes the statement unknown.
func (r *reader) expr(n *pg_query.Node, s *scope) value {
	if n == nil || n.Node == nil {
		return constant
	}
	if !r.step() {
		return opaque
	}
	switch x := n.Node.(type) {
	case *pg_query.Node_ColumnRef:
		return r.columnRef(x.ColumnRef, s)
	case *pg_query.Node_AConst, *pg_query.Node_SetToDefault, *pg_query.Node_String_, *pg_query.Node_Integer, *pg_query.Node_Float:
		return constant
	case *pg_query.Node_ParamRef:
		if r.args != nil {
			return *r.args
		}
		return r.convertingAny(constant) // the client says of which type it is
	case *pg_query.Node_AExpr:
		return r.operation(x.AExpr, s)
	case *pg_query.Node_BoolExpr:
		return r.firstOf(x.BoolExpr.Args, s)
	case *pg_query.Node_FuncCall:
		v, _ := r.call(x.FuncCall, s)
		return v
	case *pg_query.Node_TypeCast:
		v := r.expr(x.TypeCast.Arg, s)
		if noticeable(x.TypeCast.ProtoReflect()) {
			r.computed(v)
		}
		return r.cast(v, x.TypeCast.TypeName)
	case *pg_query.Node_SubLink:
		return r.subLink(x.SubLink, s)
	case *pg_query.Node_CaseExpr:
		return r.caseExpr(x.CaseExpr, s)
	case *pg_query.Node_CoalesceExpr:
		return r.firstOf(x.CoalesceExpr.Args, s)
	case *pg_query.Node_MinMaxExpr:
		return r.extreme(x.MinMaxExpr.Args, s)
	case *pg_query.Node_NullTest:
		// Whether a column is filled is not what it holds.
		if v := r.expr(x.NullTest.Arg, s); !v.plain || !v.proven {
			v.figure = true
			return v.bare()
		}
		return constant
	case *pg_query.Node_BooleanTest:
		return r.expr(x.BooleanTest.Arg, s).bare()
	case *pg_query.Node_CollateClause:
		return r.expr(x.CollateClause.Arg, s)
	case *pg_query.Node_AIndirection:
		v := r.expr(x.AIndirection.Arg, s)
		for _, step := range x.AIndirection.Indirection {
			v = r.indirect(v, step, s)
		}
		return v
	case *pg_query.Node_AArrayExpr:
		v := r.all(x.AArrayExpr.Elements, s)
		v.array = true
		return v
	case *pg_query.Node_RowExpr:
		return r.row(x.RowExpr, s)
	case *pg_query.Node_List:
		return r.all(x.List.Items, s)
	case *pg_query.Node_NamedArgExpr:
		return r.expr(x.NamedArgExpr.Arg, s)
	case *pg_query.Node_SqlvalueFunction:
		return constant
	case *pg_query.Node_GroupingFunc:
		r.all(x.GroupingFunc.Args, s)
		return constant
	case *pg_query.Node_MergeSupportFunc:
		r.since(170000)
		return constant
	case *pg_query.Node_MultiAssignRef:
		return r.expr(x.MultiAssignRef.Source, s)
	case *pg_query.Node_CurrentOfExpr:
		return constant
	case *pg_query.Node_ResTarget:
		return r.expr(x.ResTarget.Val, s)
	case *pg_query.Node_XmlExpr:
		v := r.all(x.XmlExpr.Args, s)
		v.add(r.all(x.XmlExpr.NamedArgs, s))
		r.computed(v)
		return v
	case *pg_query.Node_XmlSerialize:
		v := r.expr(x.XmlSerialize.Expr, s)
		return r.cast(v, x.XmlSerialize.TypeName)
	}
	if v, ok := r.json(n, s); ok {
		return v
	}
	r.facts.unknown("The statement holds a construct that the analysis doesn't know.")
	return opaque
}

// extreme reads GREATEST and LEAST, which tell which of their arguments is.
func (r *reader) extreme(list []*pg_query.Node, s *scope) value {
	v := constant
	plain := true
	for _, n := range list {
		w := r.expr(n, s)
		plain = plain && w.plain && len(w.sources) > 0
		v.add(w)
	}
	if !plain {
		r.facts.piece(v)
	}
	return v
}

// all mixes the values of several expressions.
func (r *reader) all(list []*pg_query.Node, s *scope) value {
	v := constant
	for _, n := range list {
		v.add(r.expr(n, s))
	}
	return v
}

// since marks syntax that older servers read as something else, such as a call
// of a user's function.
func (r *reader) since(server int) {
	if r.cat == nil || r.cat.Server < server {
		r.facts.unknown("The statement uses syntax that this server's version may read otherwise.")
	}
}

// columnRef resolves a name in an expression, as transformColumnRef does.
func (r *reader) columnRef(ref *pg_query.ColumnRef, s *scope) value {
	last := len(ref.Fields) - 1
	if last < 0 {
		return opaque
	}
	if ref.Fields[last].GetAStar() != nil {
		// A whole row, as in row(t.*) or count(t.*).
		fields, known := r.starOf(stringsOf(ref.Fields[:last]), s)
		v := rowOf(fields, known)
		r.facts.use(v)
		for i := range fields {
			r.facts.take(fields[i].value)
		}
		return v
	}
	v := r.named(stringsOf(ref.Fields), s)
	r.facts.use(v)
	if !r.searching {
		r.facts.take(v)
	}
	return v
}

func (r *reader) named(names []string, s *scope) value {
	variable, isVariable := r.variable(names)
	switch len(names) {
	case 1:
		v, how := s.column(names[0])
		v.varies = v.varies || len(v.sources) == 0
		switch {
		case how == present && isVariable:
			return mix(v, variable)
		case how == present:
			return v
		case how == perhaps && isVariable:
			v = mix(v, variable)
			v.proven = false
			return v
		case how == perhaps:
			return v
		case isVariable:
			return variable
		}
		if t := s.item("", names[0]); t != nil {
			return t.row()
		}
	case 2:
		if t := s.item("", names[0]); t != nil {
			v := r.member(t, names[1])
			if isVariable {
				v.add(variable)
			}
			return v
		}
		if isVariable {
			return variable
		}
	case 3:
		if t := s.item(names[0], names[1]); t != nil {
			return r.member(t, names[2])
		}
		if isVariable {
			return variable
		}
	case 4:
		if t := s.item(names[1], names[2]); t != nil && names[0] == r.env.Database {
			return r.member(t, names[3])
		}
	}
	return opaque
}

// variable is a variable, or a field of the row in it, be it by the name of the block
// around it.
func (r *reader) variable(names []string) (value, bool) {
	v, ok := r.vars[names[0]]
	if !ok || len(names) == 1 {
		return v, ok
	}
	if len(v.fields) > 0 {
		w, _ := v.fieldNamed(names[1])
		return w, true
	}
	if row, ok := r.vars[names[1]]; ok && len(row.fields) > 0 {
		w := row.bare()
		if len(names) > 2 {
			w, _ = row.fieldNamed(names[2])
		}
		w.add(v)
		w.row = true
		return w, true
	}
	return v, true
}

// member is t.name: a column, or name(t) when there is no such column.
func (r *reader) member(t *item, name string) value {
	v, how := t.column(name)
	v.varies = v.varies || len(v.sources) == 0
	switch how {
	case present:
		return v
	case perhaps:
		return v
	}
	if t.scalar && len(t.cols) == 1 && t.cols[0].row {
		return t.cols[0].value.bare()
	}
	v, _ = r.apply([]string{name}, []value{t.row()}, nil, nil)
	return v
}

// indirect follows one step of (expression).field or (expression)[i].
func (r *reader) indirect(v value, step *pg_query.Node, s *scope) value {
	switch x := step.GetNode().(type) {
	case *pg_query.Node_String_:
		w, found := v.fieldNamed(x.String_.Sval)
		if !found && v.fields != nil {
			w, _ = r.apply([]string{x.String_.Sval}, []value{v}, nil, nil)
		}
		if !found && v.fields == nil && !r.plainField(x.String_.Sval) {
			// The row's columns aren't known: the name may be a function's.
			called, _ := r.apply([]string{x.String_.Sval}, []value{v}, nil, nil)
			w.add(called)
		}
		w.row = true
		return w
	case *pg_query.Node_AIndices:
		w := v.bare()
		w.add(r.optional(x.AIndices.Lidx, s))
		w.add(r.optional(x.AIndices.Uidx, s))
		w.row = v.row
		return w
	case *pg_query.Node_AStar:
		return v
	}
	r.facts.unknown("The statement holds a construct that the analysis doesn't know.")
	return opaque
}

// plainField says that no function could be meant by (row).name.
func (r *reader) plainField(name string) bool {
	return r.cat != nil && len(r.cat.functionsNamed[name]) == 0 && !r.touched("function", name)
}

func (r *reader) operation(x *pg_query.A_Expr, s *scope) value {
	outer := r.searching
	if names := stringsOf(x.Name); len(names) > 0 && names[len(names)-1] == "@@" {
		r.searching = true
	}
	left, right := r.optional(x.Lexpr, s), r.optional(x.Rexpr, s)
	r.searching = outer
	v := mix(left, right)
	if !operatesOnAll(stringsOf(x.Name), right) {
		r.computed(v)
	}
	figure := r.operated(x, left, right)
	v.row = false
	symbol := stringsOf(x.Name)
	if x.Kind == pg_query.A_Expr_Kind_AEXPR_OP && divides(symbol) && len(right.sources) > 0 {
		r.facts.branch(right)
	}
	switch x.Kind {
	case pg_query.A_Expr_Kind_AEXPR_BETWEEN, pg_query.A_Expr_Kind_AEXPR_BETWEEN_SYM, pg_query.A_Expr_Kind_AEXPR_NOT_BETWEEN, pg_query.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM:
		for _, each := range []string{"<=", ">=", "<", ">"} {
			v.add(r.operator([]string{each}, left, right))
		}
	default:
		v.add(r.operator(symbol, left, right))
	}
	v.figure = figure
	return v
}

// operator adds what a user-defined operator's function does with its operands; those
// of pg_catalog do nothing.
func (r *reader) operator(names []string, operands ...value) value {
	v := constant
	if r.cat == nil || len(names) == 0 {
		return v
	}
	if names[0] != "pg_catalog" && r.madeJustNow(touchesOperators) {
		r.facts.unknown("It uses " + joinNames(names) + ", an operator that may have been made since the catalog was read.")
		return opaque
	}
	for _, op := range r.cat.operators[names[len(names)-1]] {
		if len(names) == 2 && names[0] != op.schema || len(names) == 1 && r.pathKnown && !inPath(r.path, op.schema) {
			continue
		}
		v.add(r.implied(op.fn, operands...))
	}
	return v
}

// implied adds what a function does that the server may call for an operator or
// a cast. Most only compute; those leave no trace.
func (r *reader) implied(oid uint32, args ...value) value {
	f := r.cat.Functions[oid]
	if f != nil && computes(f) {
		return constant
	}
	if slices.Contains(r.run.inside, aBody|uint64(oid)) {
		r.run.cut, r.run.assumed = true, true
		return constant
	}
	inner := r.sub()
	v, _ := inner.applyOID(oid, args)
	if inner.facts.traceless() && v.proven && !v.session {
		r.facts.passOver(inner.facts)
		return constant
	}
	r.facts.merge(inner.facts, false)
	return v
}

func inPath(path []string, schema string) bool {
	for _, s := range path {
		if s == schema {
			return true
		}
	}
	return false
}

func (r *reader) subLink(x *pg_query.SubLink, s *scope) value {
	tested := r.optional(x.Testexpr, s)
	test := tested.bare()
	sel := x.Subselect.GetSelectStmt()
	if sel == nil {
		r.facts.unknown("The statement holds a construct that the analysis doesn't know.")
		return opaque
	}
	fields, known := r.query(sel, s)
	if x.Testexpr != nil {
		symbol := stringsOf(x.OperName)
		if len(symbol) == 0 {
			symbol = []string{"="} // IN
		}
		test.add(r.operator(symbol, tested, rowOf(fields, known)))
	}
	switch x.SubLinkType {
	case pg_query.SubLinkType_EXISTS_SUBLINK:
		return constant
	case pg_query.SubLinkType_EXPR_SUBLINK:
		if known && len(fields) == 1 {
			return fields[0].value
		}
	case pg_query.SubLinkType_ARRAY_SUBLINK:
		if known && len(fields) == 1 {
			v := fields[0].value.bare()
			v.array = true
			return v
		}
	}
	v := test
	for i := range fields {
		if x.Testexpr != nil {
			r.matched(tested, fields[i].value)
		}
		v.add(fields[i].value)
		r.facts.branch(fields[i].value)
	}
	r.facts.branch(test)
	v.figure = v.figure || x.Testexpr != nil
	v.proven = v.proven && known
	if x.SubLinkType == pg_query.SubLinkType_EXPR_SUBLINK || x.SubLinkType == pg_query.SubLinkType_MULTIEXPR_SUBLINK {
		v.row = true
		if known {
			v.fields = fields
		}
	}
	return v
}

func (r *reader) caseExpr(x *pg_query.CaseExpr, s *scope) value {
	v := constant
	test := r.optional(x.Arg, s)
	if x.Arg != nil {
		test.add(r.operator([]string{"="}))
	}
	for _, n := range x.Args {
		when := n.GetCaseWhen()
		choice := r.expr(when.GetExpr(), s)
		if x.Arg != nil && !r.given(when.GetExpr()) {
			r.matched(test, choice)
		}
		test.add(choice)
		v.add(r.expr(when.GetResult(), s))
	}
	r.facts.branch(test)
	test.figure = true // what it tells is noted
	v.add(test)
	v.add(r.optional(x.Defresult, s))
	return v
}

func (r *reader) row(x *pg_query.RowExpr, s *scope) value {
	var fields []field
	known := true
	for _, n := range x.Args {
		if expanded, star, all := r.star(n, s); star {
			fields = append(fields, expanded...)
			known = known && all
			continue
		}
		fields = append(fields, field{value: r.expr(n, s)})
	}
	for i := range fields {
		fields[i].name = "f" + itoa(i+1)
	}
	return rowOf(fields, known)
}

// cast reads a cast to a type.
func (r *reader) cast(v value, t *pg_query.TypeName) value {
	w := v.bare()
	oid, effects := r.typeEffects(t, v)
	w.add(effects)
	if r.cat != nil && v.matters() {
		w.add(r.converting(v, oid))
		for _, fn := range r.cat.casts[oid] {
			w.add(r.implied(fn, v))
		}
	}
	w.figure = r.cut(v, t)
	if typ, _ := r.typeNamed(stringsOf(t.GetNames())); r.checkedWithin(typ) {
		// What a domain's check says of a value shows in whether the cast fails.
		r.facts.branch(v)
		r.facts.piece(v)
	}
	if r.castByUsers(oid) {
		r.facts.piece(v)
	}
	w.row = v.row
	w.array = len(t.GetArrayBounds()) > 0
	if oid != 0 && r.cat != nil {
		w.row = r.composite(oid)
		if rel := r.compositeRelation(oid); rel != nil && w.row {
			fields := make([]field, 0, len(rel.Columns))
			for i := range rel.Columns {
				if !rel.Columns[i].Dropped {
					fields = append(fields, field{rel.Columns[i].Name, value{sources: w.sources, proven: w.proven, session: w.session, row: true, figure: w.figure}})
				}
			}
			w.fields = fields
		}
	}
	return w
}

// typeEffects adds what converting to a type runs: a user's casts and the
// checks of a domain.
func (r *reader) typeEffects(t *pg_query.TypeName, given value) (oid uint32, v value) {
	v = constant
	if t == nil {
		return 0, v
	}
	names := stringsOf(t.Names)
	for _, n := range t.Typmods {
		r.expr(n, &scope{})
	}
	typ, certain := r.typeNamed(names)
	if typ == nil {
		if !certain && r.cat != nil {
			r.facts.unknown("It uses the type " + joinNames(names) + ", which can't be told.")
		}
		return 0, v
	}
	if typ.Kind != 'd' || len(t.ArrayBounds) > 0 {
		// A text that is read as a row or an array is read as what they hold.
		r.cat.within(typ.OID, nil, func(part *Type) {
			if part != typ {
				r.checked(part, given)
			}
		})
	}
	v.add(r.converting(constant, typ.OID))
	for i := 0; i < maxDepth && typ != nil; i++ {
		if len(typ.Checks) > 0 {
			r.checked(typ, given)
		}
		for _, fn := range r.cat.casts[typ.OID] {
			v.add(r.implied(fn))
		}
		oid = typ.OID
		if typ.Kind != 'd' {
			break
		}
		typ = r.cat.Types[typ.Base]
	}
	if len(t.ArrayBounds) > 0 && r.composite(oid) {
		return oid, v
	}
	return oid, v
}

func joinNames(names []string) string {
	out := ""
	for i, n := range names {
		if i > 0 {
			out += "."
		}
		out += n
	}
	return out
}

// json reads the SQL/JSON constructs. Those that older servers read as calls
// are bound to the versions that have them.
func (r *reader) json(n *pg_query.Node, s *scope) (value, bool) {
	switch x := n.Node.(type) {
	case *pg_query.Node_JsonObjectConstructor:
		r.since(160000)
		return r.all(x.JsonObjectConstructor.Exprs, s), true
	case *pg_query.Node_JsonArrayConstructor:
		r.since(160000)
		return r.all(x.JsonArrayConstructor.Exprs, s), true
	case *pg_query.Node_JsonArrayQueryConstructor:
		r.since(160000)
		fields, known := r.query(x.JsonArrayQueryConstructor.Query.GetSelectStmt(), s)
		return rowOf(fields, known).bare(), true
	case *pg_query.Node_JsonObjectAgg:
		r.since(160000)
		v := r.jsonAggregate(x.JsonObjectAgg.Constructor, s)
		v.add(r.optional(x.JsonObjectAgg.Arg.GetKey(), s))
		v.add(r.jsonValue(x.JsonObjectAgg.Arg.GetValue(), s))
		return v, true
	case *pg_query.Node_JsonArrayAgg:
		r.since(160000)
		v := r.jsonAggregate(x.JsonArrayAgg.Constructor, s)
		v.add(r.jsonValue(x.JsonArrayAgg.Arg, s))
		return v, true
	case *pg_query.Node_JsonIsPredicate:
		return r.expr(x.JsonIsPredicate.Expr, s).bare(), true
	case *pg_query.Node_JsonParseExpr:
		r.since(170000)
		return r.jsonValue(x.JsonParseExpr.Expr, s), true
	case *pg_query.Node_JsonScalarExpr:
		r.since(170000)
		return r.expr(x.JsonScalarExpr.Expr, s).bare(), true
	case *pg_query.Node_JsonSerializeExpr:
		r.since(170000)
		return r.jsonValue(x.JsonSerializeExpr.Expr, s), true
	case *pg_query.Node_JsonFuncExpr:
		r.since(170000)
		f := x.JsonFuncExpr
		v := r.jsonValue(f.ContextItem, s)
		v.add(r.optional(f.Pathspec, s))
		v.add(r.all(f.Passing, s))
		v.add(r.jsonBehavior(f.OnEmpty, s))
		v.add(r.jsonBehavior(f.OnError, s))
		if t := f.Output.GetTypeName(); t != nil {
			_, w := r.typeEffects(t, v)
			v.add(w)
		}
		return v, true
	case *pg_query.Node_JsonValueExpr:
		return r.jsonValue(x.JsonValueExpr, s), true
	case *pg_query.Node_JsonArgument:
		return r.jsonValue(x.JsonArgument.Val, s), true
	case *pg_query.Node_JsonKeyValue:
		v := r.optional(x.JsonKeyValue.Key, s).bare()
		v.add(r.jsonValue(x.JsonKeyValue.Value, s))
		return v, true
	}
	return value{}, false
}

func (r *reader) jsonValue(v *pg_query.JsonValueExpr, s *scope) value {
	if v == nil {
		return constant
	}
	return r.optional(v.RawExpr, s).bare()
}

func (r *reader) jsonBehavior(b *pg_query.JsonBehavior, s *scope) value {
	if b == nil {
		return constant
	}
	return r.optional(b.Expr, s).bare()
}

func (r *reader) jsonAggregate(c *pg_query.JsonAggConstructor, s *scope) value {
	v := constant
	if c == nil {
		return v
	}
	if c.AggFilter != nil {
		filter := r.expr(c.AggFilter, s)
		r.facts.branch(filter)
		v.add(filter)
	}
	for _, n := range c.AggOrder {
		r.condition(n.GetSortBy().GetNode(), s)
	}
	r.window(c.Over, s)
	return v
}
