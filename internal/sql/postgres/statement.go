package postgres

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
	"postern/internal/sql"
)

// statement reads one statement of a client's text.
func (r *reader) statement(n *pg_query.Node, out *sql.Statement) {
	out.Command.Verb = verbOf(n)
	out.Late = late(n)
	switch x := n.GetNode().(type) {
	case *pg_query.Node_PrepareStmt:
		out.Prepares = x.PrepareStmt.Name
		out.Inner = r.inner(x.PrepareStmt.Query)
		out.OutputsKnown = true
		r.facts.verb("prepare", levelControl)
		r.whole(out.Inner)
		r.facts.searches = nil
		return
	case *pg_query.Node_DeclareCursorStmt:
		out.Declares = x.DeclareCursorStmt.Portalname
		out.Inner = r.inner(x.DeclareCursorStmt.Query)
		out.OutputsKnown = true
		r.facts.verb("declare", levelControl)
		r.whole(out.Inner)
		const hold = 0x20 // CURSOR_OPT_HOLD: it is run to its end as the transaction ends
		out.Defers = out.Defers || r.run.lively && x.DeclareCursorStmt.Options&hold != 0
		return
	case *pg_query.Node_ExecuteStmt:
		out.Executes = x.ExecuteStmt.Name
		r.execute(x.ExecuteStmt, out)
		return
	case *pg_query.Node_FetchStmt:
		out.Fetches = x.FetchStmt.Portalname
		r.fetch(x.FetchStmt, out)
		return
	case *pg_query.Node_ExplainStmt:
		r.explain(x.ExplainStmt, out)
		return
	case *pg_query.Node_CopyStmt:
		r.copyStatement(x.CopyStmt, out)
		return
	case *pg_query.Node_DeallocateStmt:
		out.Forgets = x.DeallocateStmt.Name
		if x.DeallocateStmt.Isall || out.Forgets == "" {
			out.Forgets = "*"
		}
	case *pg_query.Node_ClosePortalStmt:
		out.Forgets = x.ClosePortalStmt.Portalname
		if out.Forgets == "" {
			out.Forgets = "*"
		}
	case *pg_query.Node_DiscardStmt:
		out.Forgets = "*"
	case *pg_query.Node_TransactionStmt:
		out.Transaction = transaction(x.TransactionStmt)
	}
	fields, known := r.effects(n, nil)
	switch n.GetNode().(type) {
	case *pg_query.Node_SelectStmt, *pg_query.Node_InsertStmt, *pg_query.Node_UpdateStmt, *pg_query.Node_DeleteStmt, *pg_query.Node_MergeStmt,
		*pg_query.Node_VariableShowStmt, *pg_query.Node_CallStmt:
		out.Outputs, out.OutputsKnown = outputs(fields), known
		if q := n.GetSelectStmt(); intoClause(q) {
			out.Outputs, out.OutputsKnown = nil, true // its rows go into the table
		}
	default:
		out.OutputsKnown = true // it returns no rows
	}
	if q := n.GetSelectStmt(); q != nil {
		r.certainSettings(q)
		out.Command.Attrs = append(out.Command.Attrs, postern.BoolAttr(attrHasLimit, q.LimitCount != nil && !q.LimitCount.GetAConst().GetIsnull()))
		if !r.facts.bounded && !r.facts.unbounded {
			r.facts.bounded = r.selective(q)
		}
	}
}

// late says whether a statement's own names are read as it runs, and not as it is
// bound: those of a utility statement are.
func late(n *pg_query.Node) bool {
	switch n.GetNode().(type) {
	case *pg_query.Node_SelectStmt, *pg_query.Node_InsertStmt, *pg_query.Node_UpdateStmt, *pg_query.Node_DeleteStmt, *pg_query.Node_MergeStmt,
		*pg_query.Node_TransactionStmt, *pg_query.Node_VariableSetStmt, *pg_query.Node_VariableShowStmt, *pg_query.Node_DeallocateStmt,
		*pg_query.Node_ClosePortalStmt, *pg_query.Node_DiscardStmt:
		return false
	}
	return true
}

// intoClause says whether a query is SELECT INTO; of a set operation, its first
// SELECT has the INTO.
func intoClause(q *pg_query.SelectStmt) bool {
	for ; q != nil; q = q.Larg {
		if q.IntoClause != nil {
			return true
		}
	}
	return false
}

// selective says whether a query's WHERE says anything at all.
func (r *reader) selective(q *pg_query.SelectStmt) bool {
	if q.WhereClause == nil {
		return false
	}
	known, truth := r.run.literals.constBool(q.WhereClause)
	if known {
		return !truth
	}
	b := &bounds{reader: r, target: &pg_query.RangeVar{}, relation: found{schema: unprovenSchema}, from: q.FromClause}
	return !b.always(q.WhereClause)
}

// inner reads the statement that another one holds, with facts of its own.
func (r *reader) inner(n *pg_query.Node) *sql.Statement {
	sub := *r
	sub.facts = &facts{}
	out := &sql.Statement{}
	sub.statement(n, out)
	sub.current()
	sub.finish(out, "", false)
	return out
}

// whole adds all that an inner statement does.
func (r *reader) whole(s *sql.Statement) {
	r.facts.merge(statementFacts(s), true)
	if s.Command.Access == postern.Unknown && r.facts.problem == "" {
		r.facts.problem = s.Command.Problem
	}
}

// statementFacts turns a description back into facts.
func statementFacts(s *sql.Statement) *facts {
	c := &s.Command
	f := &facts{
		verbs: c.Verbs, access: levelOf(c.Access), objects: c.Objects, functions: c.Attr(attrFunctions).Strings, reads: s.Reads,
		predicates: s.Predicates, uses: s.Uses, unproven: !s.UsesProven, flows: s.Flows,
		files: c.Attr(attrFileAccess).Bool, program: c.Attr(attrProgram).Bool, dynamic: c.Attr(attrDynamic).Bool, locks: c.Attr(attrRowLocks).Bool,
		settings: s.Sets, unsettles: s.Unsettles, changesCatalog: s.ChangesCatalog, touches: s.Touches, problem: c.Problem,
		pieces: s.Pieces, searches: s.Searches, defers: s.Defers,
		assigned: columnNames(c.Attr(attrAssigned).Strings), lasting: s.Lasting, places: s.Places,
	}
	if c.Attr(attrHasWhere).Bool {
		f.bounded = true
	} else {
		for _, verb := range c.Verbs {
			if verb == "update" || verb == "delete" || verb == "merge" {
				f.unbounded = true
			}
		}
	}
	return f
}

// columnNames reads back what names wrote. Names that hold dots themselves come
// apart otherwise, which shows in rules that name such columns alone.
func columnNames(list []string) []postern.ColumnName {
	var all []postern.ColumnName
	for _, s := range list {
		parts := strings.SplitN(s, ".", 3)
		if len(parts) == 3 {
			all = append(all, postern.ColumnName{Schema: parts[0], Table: parts[1], Column: parts[2]})
		}
	}
	return all
}

func levelOf(a postern.Access) level {
	switch a {
	case postern.Control:
		return levelControl
	case postern.Read:
		return levelRead
	case postern.Write:
		return levelWrite
	case postern.Admin:
		return levelAdmin
	}
	return levelUnknown
}

// execute reads EXECUTE of a prepared statement.
func (r *reader) execute(x *pg_query.ExecuteStmt, out *sql.Statement) {
	r.run.fleeting = true
	r.facts.verb("execute", levelControl)
	given := r.all(x.Params, nil)
	r.facts.use(given)
	var s *sql.Statement
	if r.env.Prepared != nil {
		s = r.env.Prepared(x.Name)
	}
	if s == nil {
		r.facts.unknown("It executes a prepared statement that isn't known.")
		return
	}
	r.whole(s)
	for _, search := range r.facts.searches {
		r.facts.pieces = union(r.facts.pieces[:len(r.facts.pieces):len(r.facts.pieces)], search.Columns)
	}
	r.facts.searches = nil // what it is given isn't looked at
	out.Inner = s
	out.OutputsKnown = s.OutputsKnown
	if len(given.sources) == 0 && given.proven {
		out.Outputs = s.Outputs
		return
	}
	for _, o := range s.Outputs {
		o.Proven, o.Plain = false, false
		out.Outputs = append(out.Outputs, o)
	}
	r.facts.flow(postern.ColumnName{}, "parameter", given)
}

// fetch reads FETCH and MOVE.
func (r *reader) fetch(x *pg_query.FetchStmt, out *sql.Statement) {
	r.run.fleeting = true
	var s *sql.Statement
	if r.env.Cursor != nil {
		s = r.env.Cursor(x.Portalname)
	}
	if x.Ismove { // which runs the query all the same
		r.facts.verb("move", levelRead)
		out.OutputsKnown = true
		if s == nil {
			r.facts.flow(postern.ColumnName{}, "cursor", opaque)
			return
		}
		r.whole(s)
		return
	}
	r.facts.verb("fetch", levelRead)
	if s == nil {
		r.facts.unproven = true
		r.facts.object(kindTable, unprovenSchema+"."+unprovenSchema, false)
		return
	}
	r.whole(s)
	out.Inner = s
	out.Outputs, out.OutputsKnown = s.Outputs, s.OutputsKnown
}

// explain reads EXPLAIN. Without ANALYZE nothing runs but what the planner
// evaluates; either way the plan may show any value that the statement looks at.
func (r *reader) explain(x *pg_query.ExplainStmt, out *sql.Statement) {
	analyze := false
	for _, n := range x.Options {
		d := n.GetDefElem()
		if d.GetDefname() == "analyze" && optionTrue(d.Arg) {
			analyze = true
		}
	}
	sub := *r
	sub.facts = &facts{}
	sub.planning = r.planning || !analyze
	inner := &sql.Statement{}
	sub.statement(x.Query, inner)
	sub.current()
	sub.finish(inner, "", false)
	out.Inner = inner
	f := sub.facts
	r.facts.verb("explain", levelRead)
	r.facts.merge(f, true)
	out.Outputs = []sql.Output{{Name: "QUERY PLAN", Sources: f.uses, Proven: !f.unproven}}
	out.OutputsKnown = true
}

func optionTrue(n *pg_query.Node) bool {
	switch x := n.GetNode().(type) {
	case nil:
		return true
	case *pg_query.Node_String_:
		switch strings.ToLower(x.String_.Sval) {
		case "false", "off", "no", "0", "f", "n":
			return false
		}
	case *pg_query.Node_Integer:
		return x.Integer.Ival != 0
	case *pg_query.Node_Boolean:
		return x.Boolean.Boolval
	}
	return true
}

func transaction(x *pg_query.TransactionStmt) string {
	switch x.Kind {
	case pg_query.TransactionStmtKind_TRANS_STMT_BEGIN, pg_query.TransactionStmtKind_TRANS_STMT_START:
		return "begin"
	case pg_query.TransactionStmtKind_TRANS_STMT_COMMIT, pg_query.TransactionStmtKind_TRANS_STMT_PREPARE:
		return "commit"
	case pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK:
		return "rollback"
	case pg_query.TransactionStmtKind_TRANS_STMT_SAVEPOINT:
		return "savepoint"
	case pg_query.TransactionStmtKind_TRANS_STMT_RELEASE:
		return "release"
	case pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:
		return "rollback to"
	}
	return ""
}

// into reads SELECT INTO and what CREATE TABLE AS makes.
func (r *reader) into(x *pg_query.IntoClause, fields []field, known bool) {
	if r.planning {
		return
	}
	r.facts.verb("create", levelAdmin)
	defer r.eventful()()
	f := r.creating(x.Rel)
	r.changesServer(f)
	r.facts.object(kindTable, f.qualified(), true)
	r.facts.changesCatalog = true
	r.facts.touch("relation " + f.name)
	r.facts.touch("type " + f.name)
	names := stringsOf(x.ColNames)
	if !known {
		r.flowsUnknown(f.schema, f.name)
		return
	}
	for i, c := range fields {
		column := c.name
		if i < len(names) {
			column = names[i]
		}
		r.facts.flow(postern.ColumnName{Schema: f.schema, Table: f.name, Column: column}, "", c.value)
	}
}

// verbOf is a statement's own first word. A WITH is what it is for.
func verbOf(n *pg_query.Node) string {
	switch x := n.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		return "select"
	case *pg_query.Node_InsertStmt:
		return "insert"
	case *pg_query.Node_UpdateStmt:
		return "update"
	case *pg_query.Node_DeleteStmt:
		return "delete"
	case *pg_query.Node_MergeStmt:
		return "merge"
	case *pg_query.Node_TruncateStmt:
		return "truncate"
	case *pg_query.Node_CopyStmt:
		return "copy"
	case *pg_query.Node_CallStmt:
		return "call"
	case *pg_query.Node_DoStmt:
		return "do"
	case *pg_query.Node_ExplainStmt:
		return "explain"
	case *pg_query.Node_PrepareStmt:
		return "prepare"
	case *pg_query.Node_ExecuteStmt:
		return "execute"
	case *pg_query.Node_DeallocateStmt:
		return "deallocate"
	case *pg_query.Node_DeclareCursorStmt:
		return "declare"
	case *pg_query.Node_FetchStmt:
		if x.FetchStmt.Ismove {
			return "move"
		}
		return "fetch"
	case *pg_query.Node_ClosePortalStmt:
		return "close"
	case *pg_query.Node_VariableSetStmt:
		if x.VariableSetStmt.Kind == pg_query.VariableSetKind_VAR_RESET || x.VariableSetStmt.Kind == pg_query.VariableSetKind_VAR_RESET_ALL {
			return "reset"
		}
		return "set"
	case *pg_query.Node_ConstraintsSetStmt:
		return "set"
	case *pg_query.Node_VariableShowStmt:
		return "show"
	case *pg_query.Node_TransactionStmt:
		switch x.TransactionStmt.Kind {
		case pg_query.TransactionStmtKind_TRANS_STMT_PREPARE:
			return "prepare"
		case pg_query.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:
			return "commit"
		case pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED, pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:
			return "rollback"
		}
		return transaction(x.TransactionStmt)
	case *pg_query.Node_NotifyStmt:
		return "notify"
	case *pg_query.Node_ListenStmt:
		return "listen"
	case *pg_query.Node_UnlistenStmt:
		return "unlisten"
	case *pg_query.Node_LockStmt:
		return "lock"
	case *pg_query.Node_DiscardStmt:
		return "discard"
	case *pg_query.Node_CheckPointStmt:
		return "checkpoint"
	case *pg_query.Node_LoadStmt:
		return "load"
	case *pg_query.Node_VacuumStmt:
		if x.VacuumStmt.IsVacuumcmd {
			return "vacuum"
		}
		return "analyze"
	case *pg_query.Node_ClusterStmt:
		return "cluster"
	case *pg_query.Node_ReindexStmt:
		return "reindex"
	case *pg_query.Node_RefreshMatViewStmt:
		return "refresh"
	case *pg_query.Node_CreateTableAsStmt:
		if x.CreateTableAsStmt.IsSelectInto {
			return "select"
		}
		return "create"
	case *pg_query.Node_GrantStmt:
		if x.GrantStmt.IsGrant {
			return "grant"
		}
		return "revoke"
	case *pg_query.Node_GrantRoleStmt:
		if x.GrantRoleStmt.IsGrant {
			return "grant"
		}
		return "revoke"
	case *pg_query.Node_CommentStmt:
		return "comment"
	case *pg_query.Node_SecLabelStmt:
		return "security"
	case *pg_query.Node_ReassignOwnedStmt:
		return "reassign"
	case *pg_query.Node_ImportForeignSchemaStmt:
		return "import"
	case *pg_query.Node_DropStmt, *pg_query.Node_DropOwnedStmt, *pg_query.Node_DropRoleStmt, *pg_query.Node_DropdbStmt, *pg_query.Node_DropTableSpaceStmt,
		*pg_query.Node_DropSubscriptionStmt, *pg_query.Node_DropUserMappingStmt:
		return "drop"
	}
	return structureVerb(n)
}

// structureVerb is "create" or "alter", by the node's kind; everything else is
// unknown.
func structureVerb(n *pg_query.Node) string {
	switch n.GetNode().(type) {
	case *pg_query.Node_CreateStmt, *pg_query.Node_CreateSchemaStmt, *pg_query.Node_CreateTableSpaceStmt, *pg_query.Node_CreateExtensionStmt,
		*pg_query.Node_CreateFdwStmt, *pg_query.Node_CreateForeignServerStmt, *pg_query.Node_CreateForeignTableStmt,
		*pg_query.Node_CreateUserMappingStmt, *pg_query.Node_CreatePolicyStmt, *pg_query.Node_CreateAmStmt, *pg_query.Node_CreateTrigStmt,
		*pg_query.Node_CreateEventTrigStmt, *pg_query.Node_CreatePlangStmt, *pg_query.Node_CreateRoleStmt, *pg_query.Node_CreateSeqStmt,
		*pg_query.Node_DefineStmt, *pg_query.Node_CreateDomainStmt, *pg_query.Node_CreateOpClassStmt, *pg_query.Node_CreateOpFamilyStmt,
		*pg_query.Node_IndexStmt, *pg_query.Node_CreateStatsStmt, *pg_query.Node_CreateFunctionStmt, *pg_query.Node_RuleStmt,
		*pg_query.Node_CompositeTypeStmt, *pg_query.Node_CreateEnumStmt, *pg_query.Node_CreateRangeStmt, *pg_query.Node_ViewStmt,
		*pg_query.Node_CreatedbStmt, *pg_query.Node_CreateConversionStmt, *pg_query.Node_CreateCastStmt, *pg_query.Node_CreateTransformStmt,
		*pg_query.Node_CreatePublicationStmt, *pg_query.Node_CreateSubscriptionStmt:
		return "create"
	case *pg_query.Node_AlterTableStmt, *pg_query.Node_AlterCollationStmt, *pg_query.Node_AlterDomainStmt, *pg_query.Node_AlterDefaultPrivilegesStmt,
		*pg_query.Node_AlterTableSpaceOptionsStmt, *pg_query.Node_AlterTableMoveAllStmt, *pg_query.Node_AlterExtensionStmt,
		*pg_query.Node_AlterExtensionContentsStmt, *pg_query.Node_AlterFdwStmt, *pg_query.Node_AlterForeignServerStmt,
		*pg_query.Node_AlterUserMappingStmt, *pg_query.Node_AlterPolicyStmt, *pg_query.Node_AlterEventTrigStmt, *pg_query.Node_AlterRoleStmt,
		*pg_query.Node_AlterRoleSetStmt, *pg_query.Node_AlterSeqStmt, *pg_query.Node_AlterOpFamilyStmt, *pg_query.Node_AlterStatsStmt,
		*pg_query.Node_AlterFunctionStmt, *pg_query.Node_RenameStmt, *pg_query.Node_AlterObjectDependsStmt, *pg_query.Node_AlterObjectSchemaStmt,
		*pg_query.Node_AlterOwnerStmt, *pg_query.Node_AlterOperatorStmt, *pg_query.Node_AlterTypeStmt, *pg_query.Node_AlterEnumStmt,
		*pg_query.Node_AlterDatabaseStmt, *pg_query.Node_AlterDatabaseRefreshCollStmt, *pg_query.Node_AlterDatabaseSetStmt,
		*pg_query.Node_AlterSystemStmt, *pg_query.Node_AlterTsdictionaryStmt, *pg_query.Node_AlterTsconfigurationStmt,
		*pg_query.Node_AlterPublicationStmt, *pg_query.Node_AlterSubscriptionStmt:
		return "alter"
	}
	return postern.VerbUnknown
}
