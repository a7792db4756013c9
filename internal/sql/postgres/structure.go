package postgres

import (
	"cmp"
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"postern"
)

// structure reads statements that change structure, rights or the server.
func (r *reader) structure(n *pg_query.Node) {
	verb := verbOf(n)
	if verb == postern.VerbUnknown {
		r.facts.unknown("The statement is of a kind that the analysis doesn't know.")
		return
	}
	r.facts.verb(verb, levelAdmin)
	defer r.eventful()()
	defer func() { r.facts.changesCatalog = r.facts.changesCatalog || len(r.facts.touches) > 0 }()
	switch x := n.GetNode().(type) {
	case *pg_query.Node_CreateStmt:
		r.createTable(x.CreateStmt)
	case *pg_query.Node_CreateForeignTableStmt:
		r.createTable(x.CreateForeignTableStmt.BaseStmt)
		r.facts.object("server", x.CreateForeignTableStmt.Servername, false)
		r.validated()
		r.foreignOptions(x.CreateForeignTableStmt.Options)
	case *pg_query.Node_CreateSchemaStmt:
		r.facts.object(kindSchema, x.CreateSchemaStmt.Schemaname, true)
		r.facts.touch(touchesAll)
		inner := *r
		inner.makes = x.CreateSchemaStmt.Schemaname
		if inner.makes == "" {
			inner.makes = unprovenSchema
		}
		for _, element := range x.CreateSchemaStmt.SchemaElts {
			inner.effects(element, nil)
		}
	case *pg_query.Node_AlterTableStmt:
		r.alterTable(x.AlterTableStmt)
	case *pg_query.Node_DropStmt:
		r.drop(x.DropStmt)
	case *pg_query.Node_DropOwnedStmt:
		for _, role := range x.DropOwnedStmt.Roles {
			r.role(role.GetRoleSpec())
		}
		r.facts.object(kindTable, unprovenSchema+".*", true)
		r.facts.touch(touchesAll)
		if r.cat != nil {
			r.orphans(r.cat.ordered...) // whoever's
		}
	case *pg_query.Node_ReassignOwnedStmt:
		r.facts.touch(touchesAll)
		for _, role := range x.ReassignOwnedStmt.Roles {
			r.role(role.GetRoleSpec())
		}
		r.role(x.ReassignOwnedStmt.Newrole)
	case *pg_query.Node_IndexStmt:
		r.index(x.IndexStmt)
	case *pg_query.Node_RenameStmt:
		r.rename(x.RenameStmt)
	case *pg_query.Node_AlterObjectSchemaStmt:
		r.moveSchema(x.AlterObjectSchemaStmt)
	case *pg_query.Node_AlterOwnerStmt:
		switch x.AlterOwnerStmt.ObjectType {
		case pg_query.ObjectType_OBJECT_SCHEMA, pg_query.ObjectType_OBJECT_DATABASE:
			r.facts.touch(touchesUsage)
		}
		r.changesServerObject(x.AlterOwnerStmt.ObjectType, x.AlterOwnerStmt.Relation, x.AlterOwnerStmt.Object)
		r.altered(x.AlterOwnerStmt.ObjectType, x.AlterOwnerStmt.Relation, x.AlterOwnerStmt.Object)
		r.role(x.AlterOwnerStmt.Newowner)
	case *pg_query.Node_CreateFunctionStmt:
		r.createFunction(x.CreateFunctionStmt)
	case *pg_query.Node_AlterFunctionStmt:
		r.changesServerFunction(x.AlterFunctionStmt.Func)
		r.functionObject(x.AlterFunctionStmt.Func)
	case *pg_query.Node_GrantStmt:
		r.grant(x.GrantStmt)
	case *pg_query.Node_GrantRoleStmt:
		r.facts.touch(touchesUsage)
		for _, list := range [][]*pg_query.Node{x.GrantRoleStmt.GrantedRoles, x.GrantRoleStmt.GranteeRoles} {
			for _, role := range list {
				if priv := role.GetAccessPriv(); priv != nil {
					r.facts.object(kindRole, priv.PrivName, true)
				}
				r.role(role.GetRoleSpec())
			}
		}
	case *pg_query.Node_CommentStmt:
		r.altered(x.CommentStmt.Objtype, nil, x.CommentStmt.Object)
	case *pg_query.Node_SecLabelStmt:
		r.altered(x.SecLabelStmt.Objtype, nil, x.SecLabelStmt.Object)
	case *pg_query.Node_CreateTrigStmt:
		r.createTrigger(x.CreateTrigStmt)
	case *pg_query.Node_RuleStmt:
		r.createRule(x.RuleStmt)
	case *pg_query.Node_CreatePolicyStmt:
		r.kept(r.onRelation(x.CreatePolicyStmt.Table), x.CreatePolicyStmt.Qual, x.CreatePolicyStmt.WithCheck)
	case *pg_query.Node_AlterPolicyStmt:
		r.kept(r.onRelation(x.AlterPolicyStmt.Table), x.AlterPolicyStmt.Qual, x.AlterPolicyStmt.WithCheck)
	case *pg_query.Node_CreateStatsStmt:
		for _, rel := range x.CreateStatsStmt.Relations {
			f := r.onRelation(rel.GetRangeVar())
			for _, e := range x.CreateStatsStmt.Exprs {
				r.expressions(e)
				r.hung(e.GetStatsElem().GetExpr(), r.onRow(f), toIndex(r, f))
			}
		}
	case *pg_query.Node_CreateSeqStmt:
		f := r.creating(x.CreateSeqStmt.Sequence)
		r.facts.object("sequence", f.qualified(), true)
		r.facts.touch("relation " + f.name)
	case *pg_query.Node_AlterSeqStmt:
		r.facts.object("sequence", r.relation(x.AlterSeqStmt.Sequence).qualified(), true)
	case *pg_query.Node_CreateExtensionStmt:
		r.facts.object("extension", x.CreateExtensionStmt.Extname, true)
		r.facts.touch(touchesAll)
	case *pg_query.Node_CreateRoleStmt:
		r.facts.touch(touchesUsage)
		r.facts.object(kindRole, x.CreateRoleStmt.Role, true)
	case *pg_query.Node_AlterRoleStmt:
		r.facts.touch(touchesUsage)
		r.role(x.AlterRoleStmt.Role)
	case *pg_query.Node_AlterRoleSetStmt:
		r.role(x.AlterRoleSetStmt.Role)
		r.facts.object(kindSetting, x.AlterRoleSetStmt.Setstmt.GetName(), true)
	case *pg_query.Node_DropRoleStmt:
		r.facts.touch(touchesUsage)
		for _, role := range x.DropRoleStmt.Roles {
			r.role(role.GetRoleSpec())
		}
	case *pg_query.Node_CreatedbStmt:
		r.facts.object(kindDatabase, x.CreatedbStmt.Dbname, true)
	case *pg_query.Node_AlterDatabaseStmt:
		r.facts.object(kindDatabase, x.AlterDatabaseStmt.Dbname, true)
	case *pg_query.Node_AlterDatabaseSetStmt:
		r.facts.object(kindDatabase, x.AlterDatabaseSetStmt.Dbname, true)
		r.facts.object(kindSetting, x.AlterDatabaseSetStmt.Setstmt.GetName(), true)
	case *pg_query.Node_AlterDatabaseRefreshCollStmt:
		r.facts.object(kindDatabase, x.AlterDatabaseRefreshCollStmt.Dbname, true)
	case *pg_query.Node_DropdbStmt:
		r.facts.object(kindDatabase, x.DropdbStmt.Dbname, true)
		r.facts.object(kindTable, unprovenSchema+".*", true)
	case *pg_query.Node_AlterSystemStmt:
		r.facts.object(kindSetting, x.AlterSystemStmt.Setstmt.GetName(), true)
		r.systemSetting(x.AlterSystemStmt.Setstmt)
	case *pg_query.Node_CreateTableSpaceStmt:
		r.facts.object("tablespace", x.CreateTableSpaceStmt.Tablespacename, true)
		r.facts.object(kindFile, x.CreateTableSpaceStmt.Location, true)
	case *pg_query.Node_DropTableSpaceStmt:
		r.facts.object("tablespace", x.DropTableSpaceStmt.Tablespacename, true)
	case *pg_query.Node_CompositeTypeStmt:
		r.typeObject(x.CompositeTypeStmt.Typevar.GetSchemaname(), x.CompositeTypeStmt.Typevar.GetRelname())
	case *pg_query.Node_CreateEnumStmt:
		r.typeNames(x.CreateEnumStmt.TypeName)
	case *pg_query.Node_AlterEnumStmt:
		r.typeNames(x.AlterEnumStmt.TypeName)
	case *pg_query.Node_CreateRangeStmt:
		r.typeNames(x.CreateRangeStmt.TypeName)
	case *pg_query.Node_CreateDomainStmt:
		r.typeNames(x.CreateDomainStmt.Domainname)
		r.expressions(n)
		for _, n := range x.CreateDomainStmt.Constraints {
			k := n.GetConstraint()
			r.hungOnDomain(x.CreateDomainStmt.Domainname, k.GetContype() == pg_query.ConstrType_CONSTR_CHECK, k.GetRawExpr())
		}
	case *pg_query.Node_AlterDomainStmt:
		r.changesServerType(stringsOf(x.AlterDomainStmt.TypeName))
		r.typeNames(x.AlterDomainStmt.TypeName)
		r.facts.touch(touchesAll) // it goes for every table that has a column of it
		if t, _ := r.typeNamed(stringsOf(x.AlterDomainStmt.TypeName)); t != nil {
			r.rebuiltBy(nil, t.Checks, constant)
		}
		r.expressions(n)
		if k := x.AlterDomainStmt.Def.GetConstraint(); k != nil {
			r.hungOnDomain(x.AlterDomainStmt.TypeName, true, k.RawExpr)
		} else {
			r.hungOnDomain(x.AlterDomainStmt.TypeName, false, x.AlterDomainStmt.Def)
		}
	case *pg_query.Node_DefineStmt:
		r.define(x.DefineStmt)
	case *pg_query.Node_AlterDefaultPrivilegesStmt, *pg_query.Node_CreatePublicationStmt, *pg_query.Node_AlterPublicationStmt,
		*pg_query.Node_CreateSubscriptionStmt, *pg_query.Node_AlterSubscriptionStmt, *pg_query.Node_DropSubscriptionStmt,
		*pg_query.Node_DropUserMappingStmt, *pg_query.Node_AlterTableSpaceOptionsStmt, *pg_query.Node_AlterStatsStmt, *pg_query.Node_AlterCollationStmt,
		*pg_query.Node_AlterTsdictionaryStmt, *pg_query.Node_AlterTsconfigurationStmt, *pg_query.Node_CreateConversionStmt:
		r.facts.object(kindOfNode(n), unprovenSchema, true)
	case *pg_query.Node_CreateUserMappingStmt, *pg_query.Node_AlterUserMappingStmt:
		r.facts.object(kindOfNode(n), unprovenSchema, true)
		r.validated()
	case *pg_query.Node_CreateForeignServerStmt, *pg_query.Node_AlterForeignServerStmt, *pg_query.Node_ImportForeignSchemaStmt:
		r.facts.object(kindOfNode(n), unprovenSchema, true)
		r.validated()
		r.facts.touch(touchesAll)
	case *pg_query.Node_CreateEventTrigStmt, *pg_query.Node_AlterEventTrigStmt, *pg_query.Node_CreatePlangStmt:
		r.facts.object(kindOfNode(n), unprovenSchema, true)
		r.facts.touch(touchesAll)
		r.facts.touch(touchesEvents)
	case *pg_query.Node_CreateFdwStmt:
		r.facts.object(kindOfNode(n), unprovenSchema, true)
		r.facts.touch(touchesEvents)
		r.validatedBy(x.CreateFdwStmt.FuncOptions)
		r.facts.touch(touchesAll)
	case *pg_query.Node_AlterFdwStmt:
		r.facts.object(kindOfNode(n), unprovenSchema, true)
		r.facts.touch(touchesEvents)
		r.validated()
		r.validatedBy(x.AlterFdwStmt.FuncOptions)
		r.facts.touch(touchesAll)
	case *pg_query.Node_CreateCastStmt:
		r.facts.object(kindOfNode(n), unprovenSchema, true)
		r.facts.touch(touchesAll)
		r.createCast(x.CreateCastStmt)
	default:
		// Languages, foreign servers, publications and the like.
		r.facts.object(kindOfNode(n), unprovenSchema, true)
		r.facts.touch(touchesAll)
	}
}

// eventful adds what a change of the structure sets off: event triggers. They run behind
// it, too: what it returns is to be called when it is known what was changed.
func (r *reader) eventful() func() {
	if r.cat == nil {
		return func() {}
	}
	r.setsOff(r.cat.eventTriggers, "an event trigger")
	return func() {
		if len(r.cat.eventTriggers) == 0 {
			return
		}
		inner := r.sub()
		inner.attached(nil, r.cat.eventTriggers, true)
		made := slices.DeleteFunc(slices.Clone(r.facts.touches), func(what string) bool { return what == touchesAll })
		if inner.replaced(made) || slices.ContainsFunc(inner.facts.objects, func(o postern.Object) bool {
			return !o.Write && (o.Kind == kindBase || o.Kind == kindTable || o.Kind == kindView) && Touched(made, o.Name)
		}) {
			r.facts.unknown("It changes what the event triggers do that it sets off.")
		}
	}
}

// validated adds what looks at the options of a foreign server, or of what belongs to it.
func (r *reader) validated() {
	if r.cat != nil {
		r.setsOff(r.cat.validators.wrapper, "a validator of options")
	}
}

// setsOff adds what functions do that only a superuser can have had run so.
func (r *reader) setsOff(functions []uint32, what string) {
	if r.madeJustNow(touchesEvents) && r.superuser() {
		r.facts.unknown("It may set off " + what + " that was made just now.")
	}
	r.attached(nil, functions, true)
}

// madeJustNow says whether there may be more of a kind than the catalog shows: the text
// has made one, or who knows what was done before it.
func (r *reader) madeJustNow(kind string) bool {
	return r.allTouched && (slices.Contains(r.env.Touched, touchesAll) || slices.Contains(r.touches, kind))
}

// validatedBy adds what a function does that a foreign-data wrapper is made, or altered,
// to have its options looked at by.
func (r *reader) validatedBy(options []*pg_query.Node) {
	for _, n := range options {
		names := stringsOf(n.GetDefElem().GetArg().GetList().GetItems())
		if n.GetDefElem().GetDefname() != "validator" || len(names) == 0 {
			continue
		}
		schema := ""
		if len(names) > 1 {
			schema = names[len(names)-2]
		}
		all, certain := r.functions(schema, names[len(names)-1], 2)
		for _, f := range all {
			if f.Language != "c" && f.Language != "internal" {
				r.attached(nil, []uint32{f.OID}, true)
			}
		}
		if !certain {
			r.facts.unknown("It has options looked at by a function that was made just now.")
		}
	}
}

// superuser says whether the session's user is one, or may be.
func (r *reader) superuser() bool {
	held, known := r.cat.rights[r.env.User]
	return !known || held.superuser
}

// define reads CREATE AGGREGATE, OPERATOR, TYPE and the like.
func (r *reader) define(x *pg_query.DefineStmt) {
	names := stringsOf(x.Defnames)
	r.makesInServer(r.madeIn(names))
	switch x.Kind {
	case pg_query.ObjectType_OBJECT_AGGREGATE:
		r.functionObject(&pg_query.ObjectWithArgs{Objname: x.Defnames})
	case pg_query.ObjectType_OBJECT_TYPE:
		r.typeNames(x.Defnames)
	case pg_query.ObjectType_OBJECT_COLLATION, pg_query.ObjectType_OBJECT_TSCONFIGURATION, pg_query.ObjectType_OBJECT_TSDICTIONARY,
		pg_query.ObjectType_OBJECT_TSPARSER, pg_query.ObjectType_OBJECT_TSTEMPLATE:
		r.facts.object(objectKind(x.Kind), unqualified(names), true)
	default:
		r.facts.object(objectKind(x.Kind), unqualified(names), true)
		r.facts.touch(touchesAll)
		r.facts.touch(touchesOperators)
	}
}

// kindOfNode names a kind of statement for the log.
func kindOfNode(n *pg_query.Node) string {
	var kind string
	n.ProtoReflect().Range(func(d protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		kind = strings.TrimSuffix(strings.ReplaceAll(string(d.Name()), "_", " "), " stmt")
		for _, verb := range []string{"create ", "alter ", "drop "} {
			kind = strings.TrimPrefix(kind, verb)
		}
		return false
	})
	return kind
}

func unqualified(names []string) string {
	if len(names) == 1 {
		return unprovenSchema + "." + names[0]
	}
	return strings.Join(names, ".")
}

func (r *reader) role(role *pg_query.RoleSpec) {
	if role == nil {
		return
	}
	switch role.Roletype {
	case pg_query.RoleSpecType_ROLESPEC_CSTRING:
		r.facts.object(kindRole, role.Rolename, true)
	case pg_query.RoleSpecType_ROLESPEC_PUBLIC:
		r.facts.object(kindRole, "public", true)
	default:
		r.facts.object(kindRole, cmp.Or(r.env.User, unprovenSchema), true)
	}
}

// onRelation names a relation that is altered as a whole.
func (r *reader) onRelation(v *pg_query.RangeVar) found {
	f := r.relation(v)
	r.changesServer(f)
	r.facts.object(kindTable, f.qualified(), true)
	r.facts.touch("relation " + f.name)
	return f
}

// hook notes that writing to a relation may from now on do what the catalog
// doesn't show.
func (r *reader) hook(f found) { r.facts.touch(touchesHook + f.name) }

func (r *reader) createTable(x *pg_query.CreateStmt) {
	f := r.creating(x.Relation)
	r.changesServer(f)
	r.facts.object(kindTable, f.qualified(), true)
	r.changes("relation "+f.name, "type "+f.name)
	for _, n := range x.InhRelations {
		parent := r.relation(n.GetRangeVar())
		r.facts.object(kindTable, parent.qualified(), true)
		if parent.rel != nil && x.Partbound != nil {
			r.rebuilt(parent.rel) // rows of the default partition are looked at
		}
		r.facts.touch("relation " + parent.name)
	}
	s := r.defining(f, x.TableElts)
	for _, n := range x.TableElts {
		if like := n.GetTableLikeClause(); like != nil {
			r.reads(r.relation(like.Relation), false)
		}
		if c := n.GetColumnDef(); c != nil {
			r.typeEffects(c.TypeName, constant)
			r.serial(f, c)
			r.hungOnColumn(f, c, s)
		}
		r.hungConstraint(n.GetConstraint(), s)
		r.references(n)
		r.expressions(n)
	}
	for _, n := range x.Constraints {
		r.hungConstraint(n.GetConstraint(), s)
		r.references(n)
		r.expressions(n)
	}
	for _, n := range x.Partspec.GetPartParams() {
		r.hung(n.GetPartitionElem().GetExpr(), s, decides)
		r.expressions(n)
	}
	r.partitionBound(x.Partbound)
}

// serial touches the sequence that a column makes.
func (r *reader) serial(f found, c *pg_query.ColumnDef) {
	r.facts.touch("relation " + f.name + "_" + c.Colname + "_seq")
}

// references names the tables that foreign keys point to.
func (r *reader) references(n *pg_query.Node) {
	if c := n.GetConstraint(); c != nil && c.Pktable != nil {
		f := r.relation(c.Pktable)
		r.facts.object(kindTable, f.qualified(), false)
		if f.rel != nil {
			r.planned(f.rel, 0) // to check the rows that there are
			r.referred(f.rel, stringsOf(c.PkAttrs))
		}
		if passive := "ar"; !strings.Contains(passive, c.FkDelAction) || !strings.Contains(passive, c.FkUpdAction) {
			r.facts.touch("relation " + f.name) // changing rows there changes some here from now on
		}
	}
	if c := n.GetColumnDef(); c != nil {
		for _, inner := range c.Constraints {
			r.references(inner)
		}
	}
}

// referred notes that rows will be held against those that a foreign key refers to: which of
// them are taken, and which change with these, tells what is there. Without columns, it is
// the primary key.
func (r *reader) referred(rel *Relation, columns []string) {
	for i := range rel.Columns {
		c := &rel.Columns[i]
		if slices.Contains(columns, c.Name) || len(columns) == 0 && c.NotNull && slices.Contains(rel.Unique, int16(i+1)) {
			r.facts.branch(r.columnValue(rel, i))
		}
	}
}

// expressions adds what functions in a definition do: they run now, for rows
// that exist, or later, for rows to come.
func (r *reader) expressions(n *pg_query.Node) {
	if n == nil {
		return
	}
	calls(n.ProtoReflect(), func(c *pg_query.FuncCall) {
		args := make([]value, len(c.Args))
		for i := range args {
			args[i] = opaque
		}
		sub := r.sub()
		sub.apply(stringsOf(c.Funcname), args, c, nil)
		sub.facts.flows, sub.facts.unproven = nil, false
		if sub.facts.access == levelWrite && onlySequences(sub.facts) {
			return // a default from a sequence
		}
		r.facts.merge(sub.facts, false)
	})
}

// onlySequences says whether nothing but nextval made facts a write.
func onlySequences(f *facts) bool {
	return len(f.functions) == 1 && f.functions[0] == "pg_catalog.nextval"
}

func calls(m protoreflect.Message, f func(*pg_query.FuncCall)) {
	if c, ok := m.Interface().(*pg_query.FuncCall); ok {
		f(c)
	}
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case d.IsList() && d.Message() != nil:
			list := v.List()
			for i := range list.Len() {
				calls(list.Get(i).Message(), f)
			}
		case !d.IsList() && d.Message() != nil:
			calls(v.Message(), f)
		}
		return true
	})
}

func (r *reader) alterTable(x *pg_query.AlterTableStmt) {
	f := r.relation(x.Relation)
	r.changesServer(f)
	kind := kindTable
	switch x.Objtype {
	case pg_query.ObjectType_OBJECT_VIEW:
		kind = kindView
	case pg_query.ObjectType_OBJECT_INDEX:
		kind = "index"
	case pg_query.ObjectType_OBJECT_SEQUENCE:
		kind = "sequence"
	case pg_query.ObjectType_OBJECT_TYPE:
		kind = "type"
	}
	r.facts.object(kind, f.qualified(), true)
	r.facts.touch("relation " + f.name)
	r.facts.touch("type " + f.name)
	if f.rel != nil {
		for _, rel := range r.typed(f.rel) {
			r.rebuilt(rel)
		}
	}
	s := r.onRow(f)
	if kind == "index" {
		s = r.onRow(found{name: f.name})
	}
	for _, n := range x.Cmds {
		cmd := n.GetAlterTableCmd()
		r.alterCommand(f, cmd, s)
		r.references(cmd.GetDef())
	}
}

// foreignOptions notes the options by which a foreign table is a file or a
// program of the server.
func (r *reader) foreignOptions(options []*pg_query.Node) {
	for _, n := range options {
		d := n.GetDefElem()
		switch d.GetDefname() {
		case "filename":
			r.facts.files = true
			r.facts.object(kindFile, d.Arg.GetString_().GetSval(), true)
		case "program":
			r.facts.files, r.facts.program = true, true
			r.facts.object(kindProgram, d.Arg.GetString_().GetSval(), true)
		}
	}
}

func (r *reader) alterCommand(f found, cmd *pg_query.AlterTableCmd, s *scope) {
	r.unties(f, cmd)
	switch cmd.GetSubtype() {
	case pg_query.AlterTableType_AT_GenericOptions, pg_query.AlterTableType_AT_AlterColumnGenericOptions:
		r.validated()
	case pg_query.AlterTableType_AT_EnableTrig, pg_query.AlterTableType_AT_EnableAlwaysTrig, pg_query.AlterTableType_AT_EnableReplicaTrig,
		pg_query.AlterTableType_AT_EnableTrigAll, pg_query.AlterTableType_AT_EnableTrigUser,
		pg_query.AlterTableType_AT_EnableRule, pg_query.AlterTableType_AT_EnableAlwaysRule, pg_query.AlterTableType_AT_EnableReplicaRule:
		r.hook(f)
	}
	if c := cmd.GetDef().GetColumnDef(); c != nil {
		_, effects := r.typeEffects(c.TypeName, constant)
		column := c.Colname
		if column == "" {
			column = cmd.Name
		}
		into := postern.ColumnName{Schema: f.schema, Table: f.name, Column: column}
		if cmd.GetSubtype() == pg_query.AlterTableType_AT_AlterColumnType {
			was, _ := s.column(column)
			was.add(effects)
			r.typeEffects(c.TypeName, was)
			r.flow(into, was)
		}
		if c.RawDefault != nil {
			r.flow(into, r.expr(c.RawDefault, s)) // ALTER TYPE … USING
		}
		if cmd.GetSubtype() == pg_query.AlterTableType_AT_AddColumn {
			r.missing(into, c)
			if len(c.Fdwoptions) > 0 {
				r.validated()
			}
		}
		for _, k := range c.Constraints {
			if e := k.GetConstraint(); e.GetRawExpr() != nil {
				v := r.expr(e.RawExpr, s)
				if e.Contype == pg_query.ConstrType_CONSTR_GENERATED || e.Contype == pg_query.ConstrType_CONSTR_DEFAULT {
					r.flow(into, v)
				} else {
					r.facts.branch(v)
				}
			}
		}
		return
	}
	if c := cmd.GetDef().GetConstraint(); c != nil {
		if c.RawExpr != nil {
			r.facts.branch(r.expr(c.RawExpr, s)) // an error would name a row
		}
		for _, n := range c.Exclusions {
			r.expressions(n)
		}
		r.hungConstraint(c, s)
		return
	}
	if p := cmd.GetDef().GetPartitionCmd(); p != nil {
		if child := r.onRelation(p.Name); child.rel != nil {
			r.rebuilt(child.rel)
		}
		r.partitionBound(p.Bound)
		return
	}
	if v := cmd.GetDef().GetRangeVar(); v != nil { // INHERIT
		r.onRelation(v)
		return
	}
	if cmd.GetSubtype() == pg_query.AlterTableType_AT_GenericOptions {
		r.foreignOptions(cmd.GetDef().GetList().GetItems())
	}
	r.role(cmd.GetNewowner())
	switch cmd.GetSubtype() {
	case pg_query.AlterTableType_AT_ColumnDefault:
		if cmd.Def != nil {
			r.expressions(cmd.Def)
			columns := []postern.ColumnName{{Schema: f.schema, Table: f.name, Column: cmd.Name}}
			if f.rel != nil {
				columns = r.lands(f.rel, cmd.Name)
			}
			r.hung(cmd.Def, &scope{}, into(columns...))
		}
	case pg_query.AlterTableType_AT_SetExpression:
		r.flow(postern.ColumnName{Schema: f.schema, Table: f.name, Column: cmd.Name}, r.expr(cmd.Def, s))
	case pg_query.AlterTableType_AT_DropColumn:
		r.facts.object(kindColumn, f.qualified()+"."+cmd.Name, true)
	}
}

// missing notes that the rows that there are get a new column's default, or that of its
// domain, from the catalog, which everybody may read.
func (r *reader) missing(into postern.ColumnName, c *pg_query.ColumnDef) {
	r.hung(c.RawDefault, &scope{}, toPlace("catalog"))
	for _, n := range c.Constraints {
		if k := n.GetConstraint(); k.GetContype() == pg_query.ConstrType_CONSTR_DEFAULT {
			r.hung(k.RawExpr, &scope{}, toPlace("catalog"))
		}
	}
	t, _ := r.typeNamed(stringsOf(c.GetTypeName().GetNames()))
	for i := 0; i < maxDepth && t != nil; i++ {
		for _, fn := range t.Defaults {
			inner := r.sub()
			v, _ := inner.applyOID(fn, nil)
			inner.facts.flow(into, "", v)
			inner.facts.flow(postern.ColumnName{}, "catalog", v)
			r.facts.merge(inner.facts, false)
		}
		t = r.cat.typeByOID(t.Base)
	}
}

func (r *reader) index(x *pg_query.IndexStmt) {
	f := r.relation(x.Relation)
	r.changesServer(f)
	r.facts.object(kindTable, f.qualified(), true)
	if x.Idxname != "" {
		r.facts.touch("relation " + x.Idxname)
	}
	if x.WhereClause != nil || slices.ContainsFunc(x.IndexParams, func(n *pg_query.Node) bool {
		return n.GetIndexElem().GetExpr() != nil || len(n.GetIndexElem().GetOpclass()) > 0
	}) {
		r.facts.touch("relation " + f.name) // writing rows there evaluates it from now on
	}
	for _, list := range [][]*pg_query.Node{x.IndexParams, x.IndexIncludingParams, {x.WhereClause}} {
		for _, n := range list {
			r.expressions(n)
		}
	}
	r.kept(f, x.WhereClause)
	if f.rel != nil {
		r.rebuilt(f.rel)
	}
	// Building it compares the values, and runs what its expressions call.
	inner, rows := r.sub(), r.onRow(f)
	for _, n := range x.IndexParams {
		e := n.GetIndexElem()
		v := inner.optional(e.GetExpr(), rows)
		if e.GetName() != "" {
			v, _ = rows.column(e.GetName())
		}
		inner.facts.use(v)
		r.hung(e.GetExpr(), r.onRow(f), toIndex(r, f))
	}
	r.facts.uses = union(r.facts.uses[:len(r.facts.uses):len(r.facts.uses)], without(inner.facts.uses, argument))
}

// toIndex has what a value takes from elsewhere than a relation's rows flow into an
// index, or into statistics: what is in there others can be shown.
func toIndex(r *reader, f found) func(*reader, value) {
	row := value{}
	if f.rel != nil {
		row = r.relationRow(f.rel)
	}
	return func(inner *reader, v value) {
		if w := elsewhere(v, row); len(w.sources) > 0 {
			inner.facts.flow(postern.ColumnName{}, "index", w)
		}
	}
}

// objectKinds names the kinds that DROP, ALTER and COMMENT speak of.
func objectKind(t pg_query.ObjectType) string {
	switch t {
	case pg_query.ObjectType_OBJECT_TABLE, pg_query.ObjectType_OBJECT_FOREIGN_TABLE, pg_query.ObjectType_OBJECT_MATVIEW,
		pg_query.ObjectType_OBJECT_COLUMN, pg_query.ObjectType_OBJECT_TRIGGER, pg_query.ObjectType_OBJECT_RULE,
		pg_query.ObjectType_OBJECT_POLICY, pg_query.ObjectType_OBJECT_TABCONSTRAINT:
		return kindTable
	case pg_query.ObjectType_OBJECT_VIEW:
		return kindView
	case pg_query.ObjectType_OBJECT_FUNCTION, pg_query.ObjectType_OBJECT_PROCEDURE, pg_query.ObjectType_OBJECT_ROUTINE, pg_query.ObjectType_OBJECT_AGGREGATE:
		return kindFunction
	case pg_query.ObjectType_OBJECT_DOMAIN, pg_query.ObjectType_OBJECT_TYPE:
		return "type"
	case pg_query.ObjectType_OBJECT_STATISTIC_EXT:
		return "statistics"
	}
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(t.String(), "OBJECT_"), "_", " "))
}

func (r *reader) drop(x *pg_query.DropStmt) {
	for _, n := range x.Objects {
		r.altered(x.RemoveType, nil, n)
		r.dropsTable(x.RemoveType, n, x.Behavior == pg_query.DropBehavior_DROP_CASCADE)
		if x.RemoveType == pg_query.ObjectType_OBJECT_SCHEMA {
			schema := n.GetString_().GetSval()
			r.facts.object(kindTable, schema+".*", true)
			if r.cat != nil {
				for _, rel := range r.cat.ordered {
					if rel.Schema == schema && (rel.Kind == 'r' || rel.Kind == 'p' || rel.Kind == 'm' || rel.Kind == 'f') {
						r.facts.object(kindTable, rel.Schema+"."+rel.Name, true)
					}
				}
			}
		}
		if x.RemoveType == pg_query.ObjectType_OBJECT_EXTENSION || x.RemoveType == pg_query.ObjectType_OBJECT_FDW ||
			x.RemoveType == pg_query.ObjectType_OBJECT_FOREIGN_SERVER {
			r.facts.object(kindTable, unprovenSchema+".*", true)
		}
	}
	if x.Behavior == pg_query.DropBehavior_DROP_CASCADE {
		r.facts.touch(touchesAll)
	}
}

// altered names an object by its kind and the many forms of its name.
func (r *reader) altered(t pg_query.ObjectType, v *pg_query.RangeVar, n *pg_query.Node) {
	kind := objectKind(t)
	names := stringsOf(n.GetList().GetItems())
	if s := n.GetString_(); s != nil {
		names = []string{s.Sval}
	}
	switch t {
	case pg_query.ObjectType_OBJECT_TABLE, pg_query.ObjectType_OBJECT_VIEW, pg_query.ObjectType_OBJECT_MATVIEW, pg_query.ObjectType_OBJECT_FOREIGN_TABLE,
		pg_query.ObjectType_OBJECT_SEQUENCE, pg_query.ObjectType_OBJECT_INDEX:
		if v == nil {
			v = rangeVar(names)
		}
		f := r.relation(v)
		r.facts.object(kind, f.qualified(), true)
		r.facts.touch("relation " + f.name)
		r.facts.touch("type " + f.name)
	case pg_query.ObjectType_OBJECT_COLUMN, pg_query.ObjectType_OBJECT_TRIGGER, pg_query.ObjectType_OBJECT_RULE, pg_query.ObjectType_OBJECT_POLICY, pg_query.ObjectType_OBJECT_TABCONSTRAINT:
		if v == nil && len(names) > 1 {
			v = rangeVar(names[:len(names)-1])
		}
		r.onRelation(v)
	case pg_query.ObjectType_OBJECT_FUNCTION, pg_query.ObjectType_OBJECT_PROCEDURE, pg_query.ObjectType_OBJECT_ROUTINE, pg_query.ObjectType_OBJECT_AGGREGATE:
		r.functionObject(n.GetObjectWithArgs())
	case pg_query.ObjectType_OBJECT_TYPE, pg_query.ObjectType_OBJECT_DOMAIN:
		if tn := n.GetTypeName(); tn != nil {
			names = stringsOf(tn.Names)
		}
		if len(names) > 0 {
			schema := ""
			if len(names) > 1 {
				schema = names[len(names)-2]
			}
			r.typeObject(schema, names[len(names)-1])
			r.facts.touch("relation " + names[len(names)-1])
		}
	case pg_query.ObjectType_OBJECT_ROLE, pg_query.ObjectType_OBJECT_DATABASE, pg_query.ObjectType_OBJECT_TABLESPACE, pg_query.ObjectType_OBJECT_PUBLICATION,
		pg_query.ObjectType_OBJECT_SUBSCRIPTION, pg_query.ObjectType_OBJECT_STATISTIC_EXT, pg_query.ObjectType_OBJECT_LARGEOBJECT:
		r.facts.object(kind, strings.Join(names, "."), true)
	default:
		r.facts.object(kind, strings.Join(names, "."), true)
		r.facts.touch(touchesAll)
	}
}

func rangeVar(names []string) *pg_query.RangeVar {
	v := &pg_query.RangeVar{}
	switch n := len(names); {
	case n >= 3:
		v.Catalogname = names[n-3]
		fallthrough
	case n == 2:
		v.Schemaname = names[n-2]
		fallthrough
	case n == 1:
		v.Relname = names[n-1]
	}
	return v
}

func (r *reader) typeObject(schema, name string) {
	if schema == "" {
		schema = r.creationSchema()
	}
	r.facts.object("type", schema+"."+name, true)
	r.changes("type " + name)
}

func (r *reader) typeNames(nodes []*pg_query.Node) {
	names := stringsOf(nodes)
	if len(names) == 0 {
		return
	}
	schema := ""
	if len(names) > 1 {
		schema = names[len(names)-2]
	}
	r.typeObject(schema, names[len(names)-1])
}

// functionObject names the functions that an ALTER or DROP may mean.
func (r *reader) functionObject(x *pg_query.ObjectWithArgs) {
	names := stringsOf(x.GetObjname())
	if len(names) == 0 {
		return
	}
	last := names[len(names)-1]
	r.changes("function " + last)
	schema := ""
	if len(names) > 1 {
		schema = names[len(names)-2]
	}
	all, _ := r.functions(schema, last, -1)
	for _, f := range all {
		r.facts.object(kindFunction, f.Schema+"."+f.Name, true)
	}
	if len(all) == 0 {
		if schema == "" {
			schema = unprovenSchema
		}
		r.facts.object(kindFunction, schema+"."+last, true)
	}
}

func (r *reader) createFunction(x *pg_query.CreateFunctionStmt) {
	names := stringsOf(x.Funcname)
	if len(names) == 0 {
		return
	}
	last := names[len(names)-1]
	schema := r.creationSchema()
	if len(names) > 1 {
		schema = names[len(names)-2]
	}
	r.facts.object(kindFunction, schema+"."+last, true)
	r.makesInServer(schema)
	r.changes("function " + last)
	if x.Replace {
		r.replaces(kindFunction, last)
	}
	for _, n := range x.Options {
		d := n.GetDefElem()
		if d.GetDefname() != "language" {
			continue
		}
		switch strings.ToLower(d.Arg.GetString_().GetSval()) {
		case "sql", "plpgsql":
		default:
			// Code that runs in the server, out of this analysis's sight.
			r.facts.dynamic = true
			if r.cat != nil {
				r.setsOff(r.cat.validators.language, "a validator of a language")
			}
		}
	}
}

func (r *reader) grant(x *pg_query.GrantStmt) {
	if x.Objtype == pg_query.ObjectType_OBJECT_SCHEMA {
		r.facts.touch(touchesUsage)
	}
	for _, n := range x.Grantees {
		r.role(n.GetRoleSpec())
	}
	for _, n := range x.Objects {
		switch {
		case n.GetRangeVar() != nil:
			r.facts.object(kindTable, r.relation(n.GetRangeVar()).qualified(), true)
		case n.GetObjectWithArgs() != nil:
			names := stringsOf(n.GetObjectWithArgs().Objname)
			r.facts.object(kindFunction, unqualified(names), true)
		case x.Targtype == pg_query.GrantTargetType_ACL_TARGET_ALL_IN_SCHEMA:
			r.facts.object(objectKind(x.Objtype), n.GetString_().GetSval()+".*", true)
		default:
			names := stringsOf(n.GetList().GetItems())
			if s := n.GetString_(); s != nil {
				names = []string{s.Sval}
			}
			r.facts.object(objectKind(x.Objtype), strings.Join(names, "."), true)
		}
	}
}
