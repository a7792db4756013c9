package postgres

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
)

// What a definition hangs on a table or a type is decided over when it is made,
// too: there the client says itself what shall be done, whoever owns the table and
// the functions.

// hung reads an expression that a definition keeps. then says what becomes of its
// value. What else it does is told by [reader.expressions].
func (r *reader) hung(n *pg_query.Node, s *scope, then func(inner *reader, v value)) {
	if n == nil {
		return
	}
	inner := r.sub()
	then(inner, inner.expr(n, s))
	r.adopt(inner.facts)
}

// adopt takes from facts what is moved, decided by and looked at.
func (r *reader) adopt(g *facts) {
	r.facts.merge(&facts{
		flows: g.flows, predicates: g.told(), uses: g.uses, unproven: g.unproven, pieces: g.pieces, searches: g.searches,
	}, false)
}

// into has a value flow into a column.
func into(columns ...postern.ColumnName) func(*reader, value) {
	return func(inner *reader, v value) {
		for _, c := range columns {
			inner.facts.flow(c, "", v)
		}
	}
}

// toPlace has a value flow where it is no column, but is kept.
func toPlace(place string) func(*reader, value) {
	return func(inner *reader, v value) { inner.facts.flow(postern.ColumnName{}, place, v) }
}

func decides(inner *reader, v value) { inner.facts.branch(v) }

// hungOnColumn reads what a column's definition in CREATE TABLE keeps.
func (r *reader) hungOnColumn(f found, c *pg_query.ColumnDef, s *scope) {
	column := postern.ColumnName{Schema: f.schema, Table: f.name, Column: c.Colname}
	r.hung(c.RawDefault, s, into(column))
	for _, n := range c.Constraints {
		switch k := n.GetConstraint(); k.GetContype() {
		case pg_query.ConstrType_CONSTR_DEFAULT, pg_query.ConstrType_CONSTR_GENERATED:
			r.hung(k.RawExpr, s, into(column))
		default:
			r.hungConstraint(k, s)
		}
	}
}

// hungConstraint reads a constraint that holds for whole rows.
func (r *reader) hungConstraint(k *pg_query.Constraint, s *scope) {
	r.hung(k.GetRawExpr(), s, decides)
	r.hung(k.GetWhereClause(), s, decides)
	for _, n := range k.GetExclusions() {
		for _, item := range n.GetList().GetItems() {
			r.hung(item.GetIndexElem().GetExpr(), s, decides)
		}
	}
}

// defining is the scope of expressions over rows of a table that is being made, in
// which there is nothing yet.
func (r *reader) defining(f found, elements []*pg_query.Node) *scope {
	t := &item{alias: f.name, schema: f.schema, rest: constant}
	for _, n := range elements {
		if c := n.GetColumnDef(); c != nil {
			t.cols = append(t.cols, field{c.Colname, constant})
		}
	}
	return &scope{items: []*item{t}}
}

// partitionBound reads FOR VALUES, which is evaluated at once, and then stands in
// the catalog for everybody to read.
func (r *reader) partitionBound(b *pg_query.PartitionBoundSpec) {
	for _, list := range [][]*pg_query.Node{b.GetListdatums(), b.GetLowerdatums(), b.GetUpperdatums()} {
		for _, n := range list {
			if names := stringsOf(n.GetColumnRef().GetFields()); len(names) == 1 && (names[0] == "minvalue" || names[0] == "maxvalue") {
				continue
			}
			v := r.expr(n, &scope{})
			r.facts.flow(postern.ColumnName{}, "catalog", v)
		}
	}
}

// hungOnDomain reads a domain's default, or a condition on its values, those that
// are stored already among them.
func (r *reader) hungOnDomain(names []*pg_query.Node, condition bool, n *pg_query.Node) {
	last := stringsOf(names)
	if len(last) == 0 {
		return
	}
	place := "type " + last[len(last)-1]
	if !condition {
		r.hung(n, &scope{}, toPlace(place))
		return
	}
	stored := value{proven: true}
	if t, _ := r.typeNamed(last); t != nil {
		for _, rel := range r.cat.ordered {
			for i := range rel.Columns {
				c := &rel.Columns[i]
				r.cat.within(c.Type, nil, func(part *Type) {
					if part == t {
						stored.sources = union(stored.sources[:len(stored.sources):len(stored.sources)], []postern.ColumnName{{Schema: rel.Schema, Table: rel.Name, Column: c.Name}})
					}
				})
			}
		}
	}
	r.hung(n, &scope{items: []*item{{cols: []field{{"value", stored}}, known: true}}}, decides)
}

// createTrigger reads what a trigger will do, as far as the catalog knows its
// function. What is made just now is known by the time that it is set off.
func (r *reader) createTrigger(x *pg_query.CreateTrigStmt) {
	f := r.onRelation(x.Relation)
	r.hook(f)
	names := stringsOf(x.Funcname)
	r.facts.object(kindFunction, unqualified(names), false)
	if f.rel == nil || len(names) == 0 {
		return
	}
	r.expressions(x.WhenClause)
	r.hung(x.WhenClause, r.newAndOld(f.rel), decides)
	schema := ""
	if len(names) > 1 {
		schema = names[len(names)-2]
	}
	all, _ := r.functions(schema, names[len(names)-1], 0)
	for _, fn := range all {
		if fn.Returns != triggerOID {
			continue
		}
		inner := r.sub()
		inner.fire(f.rel, Trigger{Function: fn.OID, Events: int16(x.Events)}) //nolint:gosec // bits of pg_trigger.tgtype
		unnamed := slices.ContainsFunc(x.TransitionRels, func(n *pg_query.Node) bool { return !r.cat.transitions[n.GetTriggerTransition().GetName()] })
		if unnamed && r.altersOwn(f.rel, inner.facts.makers) {
			continue // what it reads has no name yet; it is read again when it runs
		}
		r.facts.merge(inner.facts, false)
	}
}

// newAndOld is the scope of rules and of triggers' conditions.
func (r *reader) newAndOld(rel *Relation) *scope {
	s := &scope{}
	shape := r.shape(rel)
	for _, name := range []string{"new", "old"} {
		t := &item{alias: name, rel: rel, noColumns: true, rest: opaque}
		if shape != nil {
			t.cols, t.known = shape.cols, shape.known
		}
		s.items = append(s.items, t)
	}
	return s
}

// ruled reads what a rule does.
func (r *reader) ruled(rel *Relation, x *pg_query.RuleStmt) {
	s := r.newAndOld(rel)
	r.condition(x.WhereClause, s)
	for _, n := range x.Actions {
		for _, action := range flatten(n, nil) {
			r.effects(action, s)
		}
	}
}

// createRule reads what a rule will do.
func (r *reader) createRule(x *pg_query.RuleStmt) {
	f := r.onRelation(x.Relation)
	r.hook(f)
	if x.Event == pg_query.CmdType_CMD_SELECT {
		r.replaces(kindView, f.name)
	}
	if f.rel == nil {
		return
	}
	inner := r.sub()
	inner.ruled(f.rel, x)
	r.facts.merge(inner.facts, false)
}

// createCast reads what a cast's function does, and where it takes values from:
// it may be used without being named.
func (r *reader) createCast(x *pg_query.CreateCastStmt) {
	names := stringsOf(x.Func.GetObjname())
	if len(names) == 0 {
		return
	}
	schema := ""
	if len(names) > 1 {
		schema = names[len(names)-2]
	}
	all, _ := r.functions(schema, names[len(names)-1], -1)
	for _, fn := range all {
		inner := r.sub()
		v, _ := inner.applyFunction(fn, []value{constant}, nil, nil)
		inner.facts.flow(postern.ColumnName{}, "cast", v)
		r.facts.merge(inner.facts, false)
	}
}
