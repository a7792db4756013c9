package postgres

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
)

// change reads INSERT, UPDATE, DELETE or MERGE and returns what RETURNING gives.
func (r *reader) change(n *pg_query.Node, parent *scope) (fields []field, known bool) {
	switch x := n.GetNode().(type) {
	case *pg_query.Node_InsertStmt:
		return r.insert(x.InsertStmt, parent)
	case *pg_query.Node_UpdateStmt:
		return r.update(x.UpdateStmt, parent)
	case *pg_query.Node_DeleteStmt:
		return r.delete(x.DeleteStmt, parent)
	case *pg_query.Node_MergeStmt:
		return r.merge(x.MergeStmt, parent)
	case *pg_query.Node_SelectStmt:
		return r.query(x.SelectStmt, parent)
	}
	r.facts.unknown("The statement holds a construct that the analysis doesn't know.")
	return nil, false
}

// Events of triggers, as in pg_trigger.tgtype.
const (
	onInsert   = 1 << 2
	onDelete   = 1 << 3
	onUpdate   = 1 << 4
	onTruncate = 1 << 5
)

// target is the relation that a change is made to.
type target struct {
	found
	item     *item
	events   int16
	assigned []field // what went into its columns
}

// after is the target as RETURNING sees it: with what was assigned.
func (t *target) after() *item {
	if len(t.assigned) == 0 {
		return t.item
	}
	c := *t.item
	c.cols = slices.Clone(c.cols)
	for _, a := range t.assigned {
		if len(a.sources) == 0 && a.proven {
			continue
		}
		for i := range c.cols {
			if c.cols[i].name == a.name || a.name == "*" {
				v := c.cols[i].value
				if !(a.proven && len(a.sources) == 1 && len(v.sources) == 1 && a.sources[0] == v.sources[0]) {
					v.add(a.value)
				}
				c.cols[i].value = v
			}
		}
	}
	return &c
}

// target brings a change's relation into view, and what the change sets off.
func (r *reader) target(v *pg_query.RangeVar, s *scope, events int16) *target {
	t := &target{item: r.table(v, s, true), events: events}
	t.found = r.relation(v)
	if t.rel == nil {
		r.facts.unproven = true
		if r.hooked("") {
			r.facts.unknown(hookedProblem)
		}
		return t
	}
	r.written(t.rel, events, 0)
	if len(t.rel.Rules) > 0 {
		// What RETURNING gives is then the rule's affair.
		c := *t.item
		c.known = false
		c.cols = nil
		c.rest = opaque
		t.item = &c
	}
	return t
}

const hookedProblem = "A trigger or rule that was made just now is set off."

// hooked says whether a relation of that name, or with "" any, was given a
// trigger or rule since the catalog was read.
func (r *reader) hooked(name string) bool {
	return !r.bound && slices.ContainsFunc(r.touches, func(t string) bool {
		hooked, ok := strings.CutPrefix(t, touchesHook)
		return ok && (name == "" || hooked == name)
	})
}

// maxCascade is how far foreign keys and partitions are followed.
const maxCascade = 8

// written adds what writing rows of a relation sets off: triggers, rules,
// defaults and checks; of a view, writing the tables below it; of a table that
// foreign keys point to, changing theirs.
func (r *reader) written(rel *Relation, events int16, depth int) {
	if depth > maxCascade {
		r.run.deep = true
		return
	}
	if r.planning || !r.run.enter(aWrite, rel.OID) {
		return
	}
	r.facts.place(rel.OID)
	defer r.run.leave()
	if r.hooked(rel.Name) {
		r.facts.unknown(hookedProblem)
	}
	r.writesSystem(rel)
	for _, trigger := range rel.Triggers {
		if trigger.Events&events != 0 {
			r.triggered(rel, trigger)
		}
	}
	r.referring(rel, events)
	r.quoted(rel, events)
	r.attached(rel, rel.WriteCalls, true)
	r.defaulted(rel, events)
	r.partitioned(rel, 0)
	for i := range rel.Columns {
		r.stored(rel, &rel.Columns[i], events)
	}
	for _, rule := range rel.Rules {
		r.rule(rel, rule)
	}
	if rel.Kind == 'v' && !system(rel.Schema) {
		for _, base := range r.viewBases(rel) {
			r.facts.object(kindTable, base.Schema+"."+base.Name, true)
			r.written(base, events, depth+1)
		}
	}
	if events&(onDelete|onUpdate) != 0 {
		for _, other := range r.cat.cascades[rel.OID] {
			r.facts.object(kindTable, other.Schema+"."+other.Name, true)
			r.anyones().written(other, onDelete|onUpdate, depth+1)
		}
	}
	r.heirs(rel, events, depth)
}

// referring adds what planning the queries runs by which foreign keys are checked, over
// the other table.
func (r *reader) referring(rel *Relation, events int16) {
	for _, key := range rel.ForeignKeys {
		if other := r.cat.Relations[key.Table]; other != nil {
			r.planned(other, 0)
		}
	}
	if events&(onDelete|onUpdate) == 0 {
		return
	}
	for _, other := range r.cat.referring {
		if slices.ContainsFunc(other.ForeignKeys, func(key ForeignKey) bool { return key.Table == rel.OID }) {
			r.planned(other, 0)
		}
	}
}

// quoted notes what errors may quote of rows that were there before: of a row that is
// changed all of it, of one that is deleted the columns that foreign keys refer to.
func (r *reader) quoted(rel *Relation, events int16) {
	if events&onUpdate != 0 {
		r.facts.use(r.relationRow(rel))
	}
	if events&onDelete == 0 {
		return
	}
	heirs := r.withHeirs(rel)
	for _, other := range r.cat.referring {
		for _, key := range other.ForeignKeys {
			i := slices.IndexFunc(heirs, func(rel *Relation) bool { return rel.OID == key.Table })
			if i < 0 {
				continue
			}
			for _, n := range key.References {
				if c := int(n) - 1; c >= 0 && c < len(heirs[i].Columns) {
					r.facts.use(value{proven: true, sources: r.columnValue(heirs[i], c).sources})
				}
			}
		}
	}
}

// heirs adds what writing rows of partitions, or of what inherits, sets off.
func (r *reader) heirs(rel *Relation, events int16, depth int) {
	for _, child := range r.cat.children[rel.OID] {
		if depth > maxCascade {
			r.run.deep = true
			return
		}
		r.facts.place(child.OID)
		for _, trigger := range child.Triggers {
			if trigger.Events&events != 0 {
				r.triggered(child, trigger)
			}
		}
		r.referring(child, events)
		r.attached(child, child.WriteCalls, true)
		r.defaulted(child, events)
		r.attached(child, child.KeyCalls, true)
		if events&(onDelete|onUpdate) != 0 {
			for _, other := range r.cat.cascades[child.OID] {
				r.facts.object(kindTable, other.Schema+"."+other.Name, true)
				r.anyones().written(other, onDelete|onUpdate, depth+1)
			}
		}
		r.heirs(child, events, depth+1)
	}
}

// partitioned adds what tells whether a row belongs to a relation: what chooses its
// partition, here and in what it is a partition of.
func (r *reader) partitioned(rel *Relation, depth int) {
	r.attached(rel, rel.KeyCalls, true)
	for _, oid := range rel.Parents {
		if parent := r.cat.Relations[oid]; parent != nil && depth < maxDepth {
			r.partitioned(parent, depth+1)
		}
	}
}

// within calls each with a type that users made, and with those that its values
// are made of: a domain's base, an array's elements, the columns of a row.
func (c *Catalog) within(oid uint32, seen map[uint32]bool, each func(*Type)) {
	t := c.typeByOID(oid)
	if t == nil || oid < firstUserOID && len(t.Checks) == 0 || seen[oid] {
		return
	}
	if seen == nil {
		seen = map[uint32]bool{}
	}
	seen[oid] = true
	each(t)
	c.within(t.Base, seen, each)
	c.within(t.Elem, seen, each)
	c.within(t.Subtype, seen, each)
	if rel := c.Relations[t.Relation]; rel != nil {
		for i := range rel.Columns {
			c.within(rel.Columns[i].Type, seen, each)
		}
	}
}

// viewBases are the tables below a view that can be written through.
func (r *reader) viewBases(rel *Relation) []*Relation {
	shape := r.shape(rel)
	if shape == nil || shape.facts == nil {
		return nil
	}
	var all []*Relation
	for _, t := range shape.facts.reads {
		if base := r.cat.Relation(t.Schema, t.Name); base != nil && base != rel {
			all = append(all, base)
		}
	}
	return all
}

// rule adds what a rewrite rule does.
func (r *reader) rule(rel *Relation, rule Rule) {
	inner := r.catalogReader()
	tree, problem := parse(rule.Definition)
	made := (*pg_query.RuleStmt)(nil)
	if problem == "" && len(tree.Stmts) == 1 {
		made = tree.Stmts[0].Stmt.GetRuleStmt()
	}
	if made == nil {
		r.facts.dynamic = true
		return
	}
	inner.ruled(rel, made)
	r.mergeAttached(rel, inner.facts, false)
}

// assign notes that values go into a column of the target. Of a view it is the
// column below.
func (r *reader) assign(t *target, column string, v value) {
	if r.planning {
		r.facts.use(v)
		return
	}
	t.assigned = append(t.assigned, field{column, v})
	r.admitted(t, column, v)
	into := postern.ColumnName{Schema: t.schema, Table: t.name, Column: column}
	if t.rel != nil && t.rel.Kind == 'v' {
		if base, how := t.item.column(column); how == present && base.plain {
			for _, source := range base.sources {
				r.facts.assigned = union(r.facts.assigned, []postern.ColumnName{source})
				if rel := r.cat.Relation(source.Schema, source.Table); rel != nil {
					r.tried(rel, source.Column)
				}
				r.flow(source, v)
			}
			return
		}
	}
	r.facts.assigned = union(r.facts.assigned, []postern.ColumnName{into})
	r.returned(v)
	if t.rel != nil {
		r.tried(t.rel, column)
	}
	r.flow(into, v)
	if t.rel != nil && !(v.proven && len(v.sources) == 1 && v.sources[0] == into) {
		r.sends(t.rel, t.events, v)
	}
}

// admitted adds what the checks of domains do that a value passes on its way into a
// column of the target.
func (r *reader) admitted(t *target, column string, v value) {
	if r.cat == nil || t.rel == nil || len(r.cat.checked) == 0 || !v.matters() {
		return
	}
	for i := range t.rel.Columns {
		if c := &t.rel.Columns[i]; c.Name == column || column == "*" {
			r.cat.within(c.Type, nil, func(part *Type) { r.checked(part, v) })
		}
	}
}

// sends notes a value that goes to another server, or back to this one, by a foreign
// table that the login may point elsewhere: in a column of what name, only that server
// knows.
func (r *reader) sends(rel *Relation, events int16, v value) {
	all := []*Relation{rel}
	if events&onUpdate != 0 || rel.Kind == 'p' {
		all = r.withHeirs(rel)
	}
	for _, rel := range all {
		if rel.Kind == 'f' && r.altersOwn(rel, nil) {
			r.facts.flow(postern.ColumnName{}, "a foreign table", v)
		}
	}
}

// flow notes a value that is stored, unless it comes from where it goes.
func (r *reader) flow(into postern.ColumnName, v value) {
	if v.proven && len(v.sources) == 1 && v.sources[0] == into {
		r.facts.use(v)
		return
	}
	r.facts.flow(into, "", v)
}

func (r *reader) insert(x *pg_query.InsertStmt, parent *scope) ([]field, bool) {
	s := inside(parent)
	r.does("insert", levelWrite)
	r.withClause(x.WithClause, s)
	events := int16(onInsert)
	if x.OnConflictClause.GetAction() == pg_query.OnConflictAction_ONCONFLICT_UPDATE {
		events |= onUpdate
	}
	t := r.target(x.Relation, s, events)
	var columns []string
	for _, n := range x.Cols {
		columns = append(columns, n.GetResTarget().GetName())
		for _, step := range n.GetResTarget().GetIndirection() {
			r.indirect(constant, step, s)
		}
	}
	if x.Cols == nil && t.rel != nil {
		for i := range t.rel.Columns {
			if !t.rel.Columns[i].Dropped {
				columns = append(columns, t.rel.Columns[i].Name)
			}
		}
	}
	source := x.SelectStmt.GetSelectStmt()
	excluded := *t.item
	excluded.alias, excluded.schema, excluded.noColumns = "excluded", "", true
	if source != nil {
		fields, known := r.query(source, &scope{parent: s.parent, with: s.with})
		r.assignRow(t, columns, fields, known)
		excluded.cols = proposed(t.item, columns, fields, known)
	}
	s.items = []*item{t.item}
	if c := x.OnConflictClause; c != nil {
		r.onConflict(c, t, &excluded, s, source)
	}
	s.items = []*item{t.after()}
	return r.targets(x.ReturningList, s)
}

// assignRow notes that a query's columns go into columns of the target.
func (r *reader) assignRow(t *target, columns []string, fields []field, known bool) {
	if known && (t.rel != nil || len(columns) > 0) && len(fields) <= len(columns) {
		for i := range fields {
			r.assign(t, columns[i], fields[i].value)
		}
		return
	}
	r.assign(t, "*", rowOf(fields, known))
}

// proposed are the columns of the row that an INSERT proposes.
func proposed(t *item, columns []string, fields []field, known bool) []field {
	cols := make([]field, len(t.cols))
	all := rowOf(fields, known).bare()
	for i, col := range t.cols {
		cols[i] = field{col.name, constant}
		switch j := slices.Index(columns, col.name); {
		case !known:
			cols[i].value = all
		case j >= 0 && j < len(fields):
			cols[i].value = fields[j].value
		}
	}
	return cols
}

// arbitrated notes the columns whose values ON CONFLICT holds against those that
// are proposed: what happens to a row tells whether its value was there. Where no
// columns are named, they are those of every unique index.
func (r *reader) arbitrated(infer *pg_query.InferClause, t *target) {
	var columns []string
	for _, n := range infer.GetIndexElems() {
		if name := n.GetIndexElem().GetName(); name != "" {
			columns = append(columns, name)
		}
	}
	if len(infer.GetIndexElems()) == 0 && t.rel != nil {
		for i := range t.rel.Columns {
			if slices.Contains(t.rel.Unique, int16(i+1)) || slices.Contains(t.rel.Unique, 0) {
				columns = append(columns, t.rel.Columns[i].Name)
			}
		}
	}
	for _, column := range columns {
		v, _ := t.item.column(column)
		r.facts.branch(v)
	}
}

func (r *reader) onConflict(c *pg_query.OnConflictClause, t *target, excluded *item, s *scope, source *pg_query.SelectStmt) {
	for _, n := range c.Infer.GetIndexElems() {
		r.condition(n.GetIndexElem().GetExpr(), s)
	}
	r.condition(c.Infer.GetWhereClause(), s)
	r.arbitrated(c.Infer, t)
	if c.Action != pg_query.OnConflictAction_ONCONFLICT_UPDATE {
		return
	}
	r.does("update", levelWrite)
	level := &scope{parent: s.parent, with: s.with, items: []*item{t.item, excluded}}
	r.set(t, c.TargetList, level)
	r.condition(c.WhereClause, level)
	// It changes no more rows than are inserted. A table inserted into itself is
	// the whole of it.
	if c.WhereClause == nil && r.wholeTable(source, t) {
		r.facts.unbounded = true
	} else {
		r.facts.bounded = true
	}
}

// wholeTable says whether a query reads the target without a WHERE that counts.
func (r *reader) wholeTable(q *pg_query.SelectStmt, t *target) bool {
	if q == nil {
		return false
	}
	if q.Op != pg_query.SetOperation_SETOP_NONE {
		return r.wholeTable(q.Larg, t) || r.wholeTable(q.Rarg, t)
	}
	for _, n := range q.FromClause {
		if v := n.GetRangeVar(); v != nil && r.sameRelation(r.relation(v), t.found) && q.LimitCount == nil {
			return r.trivial(q.WhereClause, &bounds{reader: r, target: v, relation: t.found})
		}
	}
	return false
}

func (r *reader) sameRelation(a, b found) bool {
	if a.rel != nil && b.rel != nil {
		return a.rel == b.rel
	}
	return a.name == b.name && (a.schema == b.schema || a.schema == unprovenSchema || b.schema == unprovenSchema)
}

// set reads the assignments of an UPDATE.
func (r *reader) set(t *target, list []*pg_query.Node, s *scope) {
	for _, n := range list {
		a := n.GetResTarget()
		for _, step := range a.GetIndirection() {
			r.indirect(constant, step, s)
		}
		if multi := a.GetVal().GetMultiAssignRef(); multi != nil && multi.Colno > 1 {
			// Each column of (a, b) = (…) refers to the same source, read once.
			r.assign(t, a.GetName(), r.multi(multi, s))
			continue
		} else if multi != nil {
			r.assign(t, a.GetName(), r.multi(multi, s))
			continue
		}
		r.assign(t, a.GetName(), r.expr(a.GetVal(), s))
	}
}

func (r *reader) multi(m *pg_query.MultiAssignRef, s *scope) value {
	if row := m.Source.GetRowExpr(); row != nil && int(m.Colno) <= len(row.Args) && m.Colno > 0 {
		return r.expr(row.Args[m.Colno-1], s)
	}
	v := r.expr(m.Source, s)
	if int(m.Colno) <= len(v.fields) && m.Colno > 0 {
		return v.fields[m.Colno-1].value
	}
	return v.bare()
}

func (r *reader) update(x *pg_query.UpdateStmt, parent *scope) ([]field, bool) {
	s := inside(parent)
	r.does("update", levelWrite)
	r.withClause(x.WithClause, s)
	t := r.target(x.Relation, s, onUpdate)
	r.changed(t, x.Relation, x.FromClause, x.WhereClause, x.WithClause, s)
	r.set(t, x.TargetList, s)
	s.items[0] = t.after()
	return r.targets(x.ReturningList, s)
}

func (r *reader) delete(x *pg_query.DeleteStmt, parent *scope) ([]field, bool) {
	s := inside(parent)
	r.does("delete", levelWrite)
	r.withClause(x.WithClause, s)
	t := r.target(x.Relation, s, onDelete)
	r.changed(t, x.Relation, x.UsingClause, x.WhereClause, x.WithClause, s)
	return r.targets(x.ReturningList, s)
}

// changed reads what UPDATE and DELETE share: other tables, and the condition.
func (r *reader) changed(t *target, v *pg_query.RangeVar, from []*pg_query.Node, where *pg_query.Node, with *pg_query.WithClause, s *scope) {
	var others []*item
	for _, n := range from {
		others = append(others, r.from(n, s, others)...)
	}
	if len(from) > 0 {
		r.facts.verb("select", levelRead)
	}
	s.items = append([]*item{t.item}, others...)
	r.condition(where, s)
	if r.looping || r.trivial(where, &bounds{reader: r, target: v, relation: t.found, from: from, with: with}) {
		r.facts.unbounded = true
	} else {
		r.facts.bounded = true
	}
}

func (r *reader) merge(x *pg_query.MergeStmt, parent *scope) ([]field, bool) {
	s := inside(parent)
	r.does("merge", levelWrite)
	r.withClause(x.WithClause, s)
	var events int16
	for _, n := range x.MergeWhenClauses {
		switch n.GetMergeWhenClause().GetCommandType() {
		case pg_query.CmdType_CMD_INSERT:
			events |= onInsert
			r.does("insert", levelWrite)
		case pg_query.CmdType_CMD_UPDATE:
			events |= onUpdate
			r.does("update", levelWrite)
		case pg_query.CmdType_CMD_DELETE:
			events |= onDelete
			r.does("delete", levelWrite)
		}
	}
	t := r.target(x.Relation, s, events)
	source := r.from(x.SourceRelation, s, nil)
	r.facts.verb("select", levelRead)
	both := append([]*item{t.item}, source...)
	joined := &scope{parent: s.parent, with: s.with, items: both}
	r.condition(x.JoinCondition, joined)
	limits := &bounds{reader: r, target: x.Relation, relation: t.found, from: []*pg_query.Node{x.SourceRelation}}
	open := r.trivial(x.JoinCondition, limits)
	for _, n := range x.MergeWhenClauses {
		w := n.GetMergeWhenClause()
		r.condition(w.Condition, joined)
		switch w.CommandType {
		case pg_query.CmdType_CMD_INSERT:
			only := &scope{parent: s.parent, with: s.with, items: source}
			r.mergeInsert(t, w, only)
			continue
		case pg_query.CmdType_CMD_UPDATE:
			r.set(t, w.TargetList, joined)
		case pg_query.CmdType_CMD_DELETE:
		default:
			continue
		}
		apart := w.MatchKind == pg_query.MergeMatchKind_MERGE_WHEN_NOT_MATCHED_BY_SOURCE
		if (open || apart || r.looping) && r.trivial(w.Condition, limits) || r.looping {
			r.facts.unbounded = true
		} else {
			r.facts.bounded = true
		}
	}
	s.items = append([]*item{t.after()}, source...)
	fields, known := r.targets(x.ReturningList, s)
	for _, n := range x.ReturningList {
		if ref := n.GetResTarget().GetVal().GetColumnRef(); ref != nil && len(ref.Fields) == 1 && ref.Fields[0].GetAStar() != nil {
			known = false // the order of its columns differs between versions
		}
	}
	return fields, known
}

func (r *reader) mergeInsert(t *target, w *pg_query.MergeWhenClause, s *scope) {
	var columns []string
	for _, n := range w.TargetList {
		columns = append(columns, n.GetResTarget().GetName())
	}
	if w.TargetList == nil && t.rel != nil {
		for i := range t.rel.Columns {
			if !t.rel.Columns[i].Dropped {
				columns = append(columns, t.rel.Columns[i].Name)
			}
		}
	}
	for i, n := range w.Values {
		v := r.expr(n, s)
		if i < len(columns) {
			r.assign(t, columns[i], v)
		} else {
			r.assign(t, "*", v)
		}
	}
}
