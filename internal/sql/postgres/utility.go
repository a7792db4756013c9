package postgres

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
	"postern/internal/sql"
)

// effects reads any statement, also within bodies, and returns its result's
// columns when they are known.
func (r *reader) effects(n *pg_query.Node, parent *scope) (fields []field, known bool) {
	if !r.step() {
		return nil, false
	}
	switch x := n.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		r.facts.verb("select", levelRead)
		fields, known = r.query(x.SelectStmt, parent)
		for i := range fields {
			r.facts.use(fields[i].value)
		}
		if !known {
			r.facts.unproven = true
		}
		return fields, known
	case *pg_query.Node_InsertStmt, *pg_query.Node_UpdateStmt, *pg_query.Node_DeleteStmt, *pg_query.Node_MergeStmt:
		fields, known = r.change(n, parent)
		for i := range fields {
			r.facts.use(fields[i].value)
		}
		return fields, known
	case *pg_query.Node_CopyStmt, *pg_query.Node_ExplainStmt, *pg_query.Node_PrepareStmt, *pg_query.Node_DeclareCursorStmt,
		*pg_query.Node_ExecuteStmt, *pg_query.Node_FetchStmt:
		s := &sql.Statement{}
		r.statement(n, s)
		if s.Prepares != "" {
			r.facts.unknown("A function prepares a statement of the session.")
		}
		r.facts.swaps = r.facts.swaps || s.Declares != ""
		for _, o := range s.Outputs {
			fields = append(fields, field{o.Name, value{sources: o.Sources, proven: o.Proven, plain: o.Plain}})
		}
		return fields, s.OutputsKnown
	case *pg_query.Node_CallStmt:
		return r.callStatement(x.CallStmt, parent)
	case *pg_query.Node_CreateTableAsStmt:
		r.createAs(x.CreateTableAsStmt, parent)
	case *pg_query.Node_ViewStmt:
		r.createView(x.ViewStmt)
	case *pg_query.Node_DoStmt:
		r.do(x.DoStmt)
	case *pg_query.Node_TruncateStmt:
		r.truncate(x.TruncateStmt)
	case *pg_query.Node_VariableSetStmt:
		r.setStatement(x.VariableSetStmt)
	case *pg_query.Node_VariableShowStmt:
		return r.show(x.VariableShowStmt)
	case *pg_query.Node_TransactionStmt:
		r.facts.verb(verbOf(n), transactionLevel(x.TransactionStmt))
		if x.TransactionStmt.Kind == pg_query.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED {
			r.facts.changesCatalog = true
			r.facts.touch(touchesAll) // whatever another session has done in it
		}
	case *pg_query.Node_ConstraintsSetStmt:
		r.facts.verb("set", levelControl)
		r.facts.unproven = true // it checks what was put off
	case *pg_query.Node_UnlistenStmt:
		r.facts.verb("unlisten", levelControl)
	case *pg_query.Node_DeallocateStmt, *pg_query.Node_ClosePortalStmt:
		r.facts.verb(verbOf(n), levelControl)
		r.facts.swaps = true // within a function; of the statement itself more is known
	case *pg_query.Node_ListenStmt:
		r.facts.verb("listen", levelRead)
	case *pg_query.Node_NotifyStmt:
		r.facts.verb("notify", levelWrite)
	case *pg_query.Node_DiscardStmt:
		r.discard(x.DiscardStmt)
	case *pg_query.Node_LockStmt:
		// ACCESS SHARE is what any SELECT takes, and pg_dump before it begins.
		share := x.LockStmt.Mode == 1
		if share {
			r.facts.verb("lock", levelRead)
		} else {
			r.facts.verb("lock", levelWrite)
			r.facts.locks = true
		}
		for _, rel := range x.LockStmt.Relations {
			r.facts.object(kindTable, r.relation(rel.GetRangeVar()).qualified(), !share)
		}
	case *pg_query.Node_RefreshMatViewStmt:
		r.refresh(x.RefreshMatViewStmt)
	case *pg_query.Node_VacuumStmt:
		r.maintain(verbOf(n), vacuumed(x.VacuumStmt))
	case *pg_query.Node_ClusterStmt:
		r.maintain("cluster", []*pg_query.RangeVar{x.ClusterStmt.Relation})
	case *pg_query.Node_ReindexStmt:
		r.maintain("reindex", []*pg_query.RangeVar{x.ReindexStmt.Relation})
	case *pg_query.Node_CheckPointStmt:
		r.facts.verb("checkpoint", levelAdmin)
	case *pg_query.Node_LoadStmt:
		r.facts.verb("load", levelAdmin)
		r.facts.files = true
		r.facts.object(kindFile, x.LoadStmt.Filename, false)
		r.facts.unknown("It loads a library into the server.")
	case *pg_query.Node_ReturnStmt:
		v := r.expr(x.ReturnStmt.Returnval, parent)
		return []field{{"", v}}, true
	default:
		r.structure(n)
	}
	return nil, true
}

func transactionLevel(x *pg_query.TransactionStmt) level {
	switch x.Kind {
	case pg_query.TransactionStmtKind_TRANS_STMT_PREPARE, pg_query.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED, pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
		return levelWrite // these outlive, or come from, other sessions
	}
	return levelControl
}

func (r *reader) callStatement(x *pg_query.CallStmt, parent *scope) ([]field, bool) {
	r.facts.verb("call", levelRead)
	c := x.Funccall
	names := stringsOf(c.GetFuncname())
	if len(names) > 0 {
		schema := ""
		if len(names) > 1 {
			schema = names[len(names)-2]
		}
		all, _ := r.functions(schema, names[len(names)-1], len(c.Args))
		for _, f := range all {
			r.facts.object(kindFunction, f.Schema+"."+f.Name, true)
		}
	}
	v, form := r.call(c, parent)
	r.facts.use(v)
	if form.fields != nil {
		return form.fields, true
	}
	if form.scalar && form.name != "" {
		return []field{{form.name, v.bare()}}, true
	}
	return nil, false
}

func (r *reader) createAs(x *pg_query.CreateTableAsStmt, parent *scope) {
	r.does("create", levelAdmin)
	fields, known := r.effects(x.Query, parent)
	r.into(x.Into, fields, known)
}

func (r *reader) createView(x *pg_query.ViewStmt) {
	r.facts.verb("create", levelAdmin)
	defer r.eventful()()
	f := r.creating(x.View)
	r.changesServer(f)
	r.facts.object(kindView, f.qualified(), true)
	r.changes("relation "+f.name, "type "+f.name)
	if x.Replace {
		r.replaces(kindView, f.name)
	}
	// The query runs when the view is read; what it would do then is told now, too.
	sub := *r
	sub.planning = true
	sub.effects(x.Query, nil)
}

// changes notes that the catalog changes, and whose names.
func (r *reader) changes(touches ...string) {
	r.facts.changesCatalog = true
	for _, t := range touches {
		r.facts.touch(t)
	}
}

func (r *reader) truncate(x *pg_query.TruncateStmt) {
	r.facts.verb("truncate", levelWrite)
	for _, n := range x.Relations {
		f := r.relation(n.GetRangeVar())
		r.facts.object(kindTable, f.qualified(), true)
		if f.rel == nil {
			continue
		}
		r.written(f.rel, onTruncate, 0)
		if x.Behavior == pg_query.DropBehavior_DROP_CASCADE {
			r.truncateReferencing(f.rel, map[uint32]bool{f.rel.OID: true})
		}
	}
}

// truncateReferencing adds the tables whose foreign keys point to one that is
// truncated with CASCADE.
func (r *reader) truncateReferencing(rel *Relation, seen map[uint32]bool) {
	for _, other := range r.cat.ordered {
		for _, key := range other.ForeignKeys {
			if key.Table == rel.OID && !seen[other.OID] {
				seen[other.OID] = true
				r.facts.object(kindTable, other.Schema+"."+other.Name, true)
				r.written(other, onTruncate, 1)
				r.truncateReferencing(other, seen)
			}
		}
	}
}

func (r *reader) show(x *pg_query.VariableShowStmt) ([]field, bool) {
	r.facts.verb("show", levelRead)
	if x.Name == "all" {
		return []field{{"name", constant}, {"setting", value{proven: true, session: true}}, {"description", constant}}, true
	}
	v := constant
	for i := range len(x.Name) {
		if x.Name[i] == '.' {
			v.session = true
		}
	}
	if x.Name == "application_name" {
		v.session = true
	}
	return []field{{x.Name, v}}, true
}

func (r *reader) discard(x *pg_query.DiscardStmt) {
	r.facts.verb("discard", levelControl)
	r.facts.unsettles = true
	switch x.Target {
	case pg_query.DiscardMode_DISCARD_ALL, pg_query.DiscardMode_DISCARD_TEMP:
		r.changes(touchesAll)
	}
}

func (r *reader) refresh(x *pg_query.RefreshMatViewStmt) {
	r.facts.verb("refresh", levelWrite)
	_ = r.eventful()
	f := r.relation(x.Relation)
	r.facts.object(kindTable, f.qualified(), true)
	if f.rel == nil {
		r.facts.unproven = true
		r.flowsUnknown(f.schema, f.name)
		return
	}
	inner := r.catalogReader()
	fields, known := inner.viewFields(f.rel)
	r.restores(f.rel, fields, known, inner.facts)
	r.rebuilt(f.rel)
	r.facts.merge(inner.facts, false)
}

func vacuumed(x *pg_query.VacuumStmt) []*pg_query.RangeVar {
	var all []*pg_query.RangeVar
	for _, n := range x.Rels {
		all = append(all, n.GetVacuumRelation().GetRelation())
	}
	return all
}

// maintain reads VACUUM, ANALYZE, CLUSTER and REINDEX.
func (r *reader) maintain(verb string, relations []*pg_query.RangeVar) {
	r.facts.verb(verb, levelWrite)
	named, told := false, true
	for _, v := range relations {
		if v == nil {
			continue
		}
		named = true
		f := r.relation(v)
		r.facts.object(kindTable, f.qualified(), true)
		if f.rel != nil {
			r.rebuilt(f.rel)
		} else {
			told = false // an index, of whatever table
		}
	}
	if !named {
		r.facts.object(kindTable, unprovenSchema+".*", true)
	}
	if r.cat != nil && !(named && told) {
		for _, rel := range r.cat.ordered {
			if rel.OID >= firstUserOID && len(rel.Parents) == 0 {
				r.rebuilt(rel)
			}
		}
	}
}

// do reads a DO block.
func (r *reader) do(x *pg_query.DoStmt) {
	r.facts.verb("do", levelRead)
	language, source := "plpgsql", ""
	for _, n := range x.Args {
		d := n.GetDefElem()
		switch d.GetDefname() {
		case "language":
			language = d.Arg.GetString_().GetSval()
		case "as":
			source = d.Arg.GetString_().GetSval()
		}
	}
	if language != "plpgsql" {
		r.facts.unknown("It runs a block in the language " + language + ", whose effects can't be read.")
		return
	}
	r.run.lively = true
	inner := r.sub()
	if r.run.moving {
		inner.forgetPath()
	}
	inner.vars = map[string]value{}
	inner.plpgsql(&Function{Schema: unprovenSchema, Name: "inline_code_block", Language: "plpgsql", Source: source, Returns: voidOID, Kind: 'f'})
	r.facts.merge(inner.facts, true)
}

// copyStatement reads COPY.
func (r *reader) copyStatement(x *pg_query.CopyStmt, out *sql.Statement) {
	l := levelRead
	if x.IsFrom {
		l = levelWrite
	}
	r.facts.verb("copy", l)
	options, problem := copyOptions(x)
	if problem != "" {
		r.facts.unknown(problem)
	}
	out.Copy = options
	switch {
	case x.IsProgram:
		r.facts.program, r.facts.files = true, true
		r.facts.verb("copy", levelAdmin)
		r.facts.object(kindProgram, x.Filename, true)
	case x.Filename != "":
		r.facts.files = true
		r.facts.verb("copy", levelWrite)
		r.facts.object(kindFile, x.Filename, !x.IsFrom)
	case x.IsFrom:
		out.Copy.In = true
	default:
		out.Copy.Out = true
	}
	var fields []field
	known := true
	switch {
	case x.Query != nil:
		out.Inner = r.inner(x.Query)
		r.whole(out.Inner)
		for _, o := range out.Inner.Outputs {
			fields = append(fields, field{o.Name, value{sources: o.Sources, proven: o.Proven, plain: o.Plain}})
		}
		known = out.Inner.OutputsKnown
	case x.Relation != nil:
		fields, known = r.copyTable(x)
	}
	if x.IsFrom {
		out.OutputsKnown = true
		return
	}
	if x.Filename != "" {
		out.OutputsKnown = true
		all := rowOf(fields, known)
		r.facts.flow(postern.ColumnName{}, "file", all)
		return
	}
	for i := range fields {
		r.facts.use(fields[i].value)
	}
	if !known {
		r.facts.unproven = true
	}
	out.Outputs, out.OutputsKnown = outputs(fields), known
}

// copyTable are the columns that COPY of a table reads or writes.
func (r *reader) copyTable(x *pg_query.CopyStmt) ([]field, bool) {
	s := &scope{}
	named := stringsOf(x.Attlist)
	if x.IsFrom {
		t := r.target(x.Relation, s, onInsert)
		s.items = []*item{t.item}
		if len(named) == 0 && t.rel != nil {
			for i := range t.rel.Columns {
				if c := &t.rel.Columns[i]; !c.Dropped && c.Generated == "" {
					named = append(named, c.Name)
				}
			}
		}
		for _, column := range named {
			r.assign(t, column, constant)
		}
		if len(named) == 0 {
			r.assign(t, "*", constant)
		}
		r.condition(x.WhereClause, s)
		return nil, true
	}
	t := r.table(x.Relation, s, false)
	if len(named) == 0 {
		if !t.known || t.rel == nil {
			return t.cols, false
		}
		// Generated columns are not copied.
		var fields []field
		n := 0
		for i := range t.rel.Columns {
			c := &t.rel.Columns[i]
			if c.Dropped {
				continue
			}
			if c.Generated == "" && n < len(t.cols) {
				fields = append(fields, t.cols[n])
			}
			n++
		}
		return fields, true
	}
	var fields []field
	for _, column := range named {
		v, how := t.column(column)
		if how == absent {
			v = opaque
		}
		fields = append(fields, field{column, v})
	}
	return fields, true
}
