package postgres

import (
	"slices"
	"strconv"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
)

// Look says how rows that a change of one table is about can be read, on the
// connection on which it runs: names in its own condition mean there what they mean
// in it. What else a query names is written out.
type Look struct {
	Verb   string
	Table  *Relation
	alias  string
	target *pg_query.RangeVar
	others []*pg_query.Node
	where  *pg_query.Node
	tree   *pg_query.ParseResult
	// Assigned are the numbers of the columns that it sets, where it says which.
	Assigned []int
}

// LookAt says how the rows of a command can be read, or why they can't.
func LookAt(cmd *postern.Command, c *Catalog) (l *Look, why string) {
	tree, problem := parse(strings.TrimRight(cmd.Text, "; \t\r\n"))
	if problem != "" || len(tree.GetStmts()) != 1 {
		return nil, "it isn't one statement"
	}
	l = &Look{Verb: cmd.Verb, tree: tree}
	var with *pg_query.WithClause
	switch node := tree.GetStmts()[0].GetStmt().GetNode().(type) {
	case *pg_query.Node_InsertStmt:
		l.target, with = node.InsertStmt.GetRelation(), node.InsertStmt.GetWithClause()
	case *pg_query.Node_UpdateStmt:
		x := node.UpdateStmt
		l.target, l.others, l.where, with = x.GetRelation(), x.GetFromClause(), x.GetWhereClause(), x.GetWithClause()
	case *pg_query.Node_DeleteStmt:
		x := node.DeleteStmt
		l.target, l.others, l.where, with = x.GetRelation(), x.GetUsingClause(), x.GetWhereClause(), x.GetWithClause()
	case *pg_query.Node_MergeStmt:
		l.target, with = node.MergeStmt.GetRelation(), node.MergeStmt.GetWithClause()
	default:
		return nil, "it isn't INSERT, UPDATE, DELETE or MERGE"
	}
	switch {
	case with != nil && l.Verb != "insert":
		return nil, "it has a WITH"
	case l.where.GetCurrentOfExpr() != nil:
		return nil, "it is about a cursor's row"
	}
	if l.Table, why = l.written(cmd, c); l.Table == nil {
		return nil, why
	}
	l.alias = l.target.GetRelname()
	if a := l.target.GetAlias(); a != nil {
		l.alias = a.GetAliasname()
	}
	l.Assigned = l.assigned(cmd)
	return l, ""
}

// written finds the table that is changed.
func (l *Look) written(cmd *postern.Command, c *Catalog) (*Relation, string) {
	schema := l.target.GetSchemaname()
	for i := range cmd.Objects {
		o := &cmd.Objects[i]
		if schema != "" || o.Kind != kindTable || !o.Write {
			continue
		}
		if in, table, ok := strings.Cut(o.Name, "."); ok && table == l.target.GetRelname() {
			schema = in
		}
	}
	if c != nil && l.target.GetCatalogname() == "" {
		if rel := c.Relation(schema, l.target.GetRelname()); rel != nil && (rel.Kind == 'r' || rel.Kind == 'p') {
			return rel, ""
		}
	}
	return nil, "it is about a view, or about no table that can be told"
}

// assigned are the columns of the target that the statement sets.
func (l *Look) assigned(cmd *postern.Command) []int {
	var all []int
	for _, column := range columnNames(cmd.Attr(attrAssigned).Strings) {
		if column.Schema != l.Table.Schema || column.Table != l.Table.Name {
			continue
		}
		for i := range l.Table.Columns {
			if l.Table.Columns[i].Name == column.Column && !slices.Contains(all, i+1) {
				all = append(all, i+1)
			}
		}
	}
	return all
}

// Columns are the numbers of at most so many columns that are worth a look: those of
// a key first, then what is set.
func (l *Look) Columns(key []int, most int) []int {
	all := slices.Clone(key)
	add := func(number int) {
		if len(all) < most && !slices.Contains(all, number) && !l.Table.Columns[number-1].Dropped {
			all = append(all, number)
		}
	}
	for _, number := range l.Assigned {
		add(number)
	}
	for i := range l.Table.Columns {
		add(i + 1)
	}
	return all
}

// Before is a query for columns of rows that the statement is about to change. It
// has the statement's parameters. "": it can't be written.
func (l *Look) Before(columns []int, limit int) string {
	q := &pg_query.SelectStmt{
		FromClause:  append([]*pg_query.Node{{Node: &pg_query.Node_RangeVar{RangeVar: l.target}}}, l.others...),
		WhereClause: l.where, LimitCount: pg_query.MakeAConstIntNode(int64(limit), 0),
		LimitOption: pg_query.LimitOption_LIMIT_OPTION_COUNT, Op: pg_query.SetOperation_SETOP_NONE,
	}
	for _, number := range columns {
		ref := pg_query.MakeColumnRefNode([]*pg_query.Node{
			pg_query.MakeStrNode(l.alias), pg_query.MakeStrNode(l.Table.Columns[number-1].Name),
		}, 0)
		q.TargetList = append(q.TargetList, pg_query.MakeResTargetNodeWithVal(ref, 0))
	}
	text, err := pg_query.Deparse(&pg_query.ParseResult{
		Version: l.tree.GetVersion(),
		Stmts:   []*pg_query.RawStmt{{Stmt: &pg_query.Node{Node: &pg_query.Node_SelectStmt{SelectStmt: q}}}},
	})
	if err != nil {
		return ""
	}
	return text
}

// ByKey is a query for columns of the rows with some keys, which are its parameters,
// of the types of the key's columns: all of the first row's, then the second's. The last
// column is the number of the transaction that wrote the row.
func (l *Look) ByKey(columns, key []int, rows int) string {
	var b strings.Builder
	b.WriteString(l.from(columns, ", t.xmin"))
	for row := range rows {
		if row > 0 {
			b.WriteString(" OR ")
		}
		for i, number := range key {
			if i > 0 {
				b.WriteString(" AND ")
			}
			b.WriteString("t." + l.quoted(number) + " OPERATOR(pg_catalog.=) $" + strconv.Itoa(row*len(key)+i+1))
		}
	}
	return b.String()
}

// Written is a query for columns of rows that the transaction whose number is $1 has
// written.
func (l *Look) Written(columns []int, limit int) string {
	return l.from(columns, "") + "t.xmin OPERATOR(pg_catalog.=) $1 LIMIT " + strconv.Itoa(limit)
}

func (l *Look) from(columns []int, more string) string {
	var b strings.Builder
	for i, number := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("t." + l.quoted(number))
	}
	return "SELECT " + b.String() + more + " FROM " + quoteName(l.Table.Schema) + "." + quoteName(l.Table.Name) + " AS t WHERE "
}

func (l *Look) quoted(number int) string { return quoteName(l.Table.Columns[number-1].Name) }

// Builtin says whether a type is the server's own, so that its operators are.
func Builtin(oid uint32) bool { return oid < firstUserOID }
