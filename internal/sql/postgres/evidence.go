package postgres

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"postern"
)

// Inquiry is what may be asked of the server about one statement, so that its
// answer is about that statement, and nothing runs but the server's own code.
// All of it is for a connection whose search_path is pg_catalog alone: names of
// tables are written out, and what else the text names is the server's own or
// isn't found.
type Inquiry struct {
	Explain string // EXPLAIN of the statement
	Count   string // counts the rows that an UPDATE or DELETE would touch; "": it is neither
	// Tables are those that it names, as schema.table; Targets those it writes.
	Tables, Targets []string
	// Functions that it calls, all of which have to be the server's own and
	// not volatile for Count to be asked.
	Functions []string
	Verb      string
}

// Inquire says what may be asked about a statement, or why nothing may.
func Inquire(cmd *postern.Command) (q Inquiry, why string) {
	tree, problem := parse(strings.TrimRight(cmd.Text, "; \t\r\n"))
	switch {
	case cmd.Verb == postern.VerbUnknown || problem != "":
		return Inquiry{}, "it isn't understood"
	case len(tree.GetStmts()) != 1:
		return Inquiry{}, "it isn't one statement"
	}
	v := &inquirer{cmd: cmd}
	stmt := tree.GetStmts()[0].GetStmt()
	switch node := stmt.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		q.Verb = "select"
	case *pg_query.Node_InsertStmt:
		q.Verb = "insert"
		v.target = node.InsertStmt.GetRelation()
	case *pg_query.Node_UpdateStmt:
		q.Verb = "update"
		v.target = node.UpdateStmt.GetRelation()
	case *pg_query.Node_DeleteStmt:
		q.Verb = "delete"
		v.target = node.DeleteStmt.GetRelation()
	default:
		return Inquiry{}, "the server makes plans of SELECT, INSERT, UPDATE and DELETE only"
	}
	if v.walk(stmt.ProtoReflect()); v.why != "" {
		return Inquiry{}, v.why
	}
	q.Tables, q.Targets, q.Functions = v.tables, v.targets, v.functions
	text, err := pg_query.Deparse(tree)
	if err != nil {
		return Inquiry{}, "it can't be written out"
	}
	q.Explain = "EXPLAIN (FORMAT JSON) " + text
	if q.Count, err = count(tree.GetVersion(), stmt); err != nil {
		return Inquiry{}, "it can't be written out"
	}
	return q, ""
}

// inquirer looks at every part of a statement: it writes out the tables' names,
// and finds what must not be asked about.
type inquirer struct {
	cmd       *postern.Command
	target    *pg_query.RangeVar
	tables    []string
	targets   []string
	functions []string
	why       string // something in it forbids to ask
}

func (v *inquirer) walk(m protoreflect.Message) {
	if v.why != "" {
		return
	}
	v.look(m.Interface())
	m.Range(func(f protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			for i := range value.List().Len() {
				v.walk(value.List().Get(i).Message())
			}
		default:
			v.walk(value.Message())
		}
		return v.why == ""
	})
}

func (v *inquirer) look(m proto.Message) {
	switch node := m.(type) {
	case *pg_query.RangeVar:
		v.table(node)
	case *pg_query.FuncCall:
		v.function(node.GetFuncname())
	case *pg_query.TypeName:
		v.own(node.GetNames(), "a type")
	case *pg_query.A_Expr:
		v.own(node.GetName(), "an operator")
	case *pg_query.SortBy:
		v.own(node.GetUseOp(), "an operator")
	case *pg_query.SubLink:
		v.own(node.GetOperName(), "an operator")
	case *pg_query.CollateClause:
		v.own(node.GetCollname(), "a collation")
	case *pg_query.WithClause:
		v.why = "it has a WITH"
	case *pg_query.CurrentOfExpr:
		v.why = "it is about a cursor's row"
	case *pg_query.LockingClause:
		v.why = "it locks rows"
	case *pg_query.IntoClause:
		v.why = "it makes a table"
	case *pg_query.RangeTableSample:
		v.why = "it takes a sample"
	case *pg_query.RangeTableFunc, *pg_query.JsonTable, *pg_query.JsonFuncExpr, *pg_query.XmlExpr, *pg_query.XmlSerialize:
		v.why = "it reads XML or JSON as a table"
	}
}

// own refuses what is named in a schema that isn't the server's.
func (v *inquirer) own(names []*pg_query.Node, what string) {
	if len(names) > 1 && names[0].GetString_().GetSval() != "pg_catalog" {
		v.why = "it uses " + what + " that isn't the server's own"
	}
}

func (v *inquirer) function(names []*pg_query.Node) {
	v.own(names, "a function")
	if len(names) > 0 {
		v.functions = append(v.functions, names[len(names)-1].GetString_().GetSval())
	}
}

// table writes out which table a name means, as the analysis found it.
func (v *inquirer) table(r *pg_query.RangeVar) {
	if r.GetCatalogname() != "" || r.GetRelname() == "" {
		v.why = "it names a table in a way that can't be told"
		return
	}
	schema := r.GetSchemaname()
	if schema == "" {
		for i := range v.cmd.Objects {
			o := &v.cmd.Objects[i]
			found, table, ok := strings.Cut(o.Name, ".")
			if o.Kind != "table" || !ok || table != r.GetRelname() || found == schema {
				continue
			}
			if schema != "" {
				v.why = "two tables are named " + table
				return
			}
			schema = found
		}
	}
	if !simple(schema) || !simple(r.GetRelname()) || strings.HasPrefix(schema, "pg_temp") {
		v.why = "it names a table that can't be told, or none that others see"
		return
	}
	r.Schemaname = schema
	name := schema + "." + r.GetRelname()
	v.tables = append(v.tables, name)
	if v.target != nil && r == v.target {
		v.targets = append(v.targets, name)
	}
}

// simple says whether a name needs no quotes, and holds nothing that could be
// mistaken for another.
func simple(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c == '_', 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '$'):
		default:
			return false
		}
	}
	return name != ""
}

// count is a query for the number of rows that an UPDATE or DELETE would touch:
// each once, however often a join finds it.
func count(version int32, stmt *pg_query.Node) (string, error) {
	var target *pg_query.RangeVar
	var others []*pg_query.Node
	var where *pg_query.Node
	switch node := stmt.GetNode().(type) {
	case *pg_query.Node_UpdateStmt:
		target, others, where = node.UpdateStmt.GetRelation(), node.UpdateStmt.GetFromClause(), node.UpdateStmt.GetWhereClause()
	case *pg_query.Node_DeleteStmt:
		target, others, where = node.DeleteStmt.GetRelation(), node.DeleteStmt.GetUsingClause(), node.DeleteStmt.GetWhereClause()
	default:
		return "", nil
	}
	name := target.GetRelname()
	if a := target.GetAlias(); a != nil {
		name = a.GetAliasname()
	}
	column := func(of string) *pg_query.Node {
		return pg_query.MakeColumnRefNode([]*pg_query.Node{pg_query.MakeStrNode(name), pg_query.MakeStrNode(of)}, 0)
	}
	from := append([]*pg_query.Node{{Node: &pg_query.Node_RangeVar{RangeVar: target}}}, others...)
	inner := &pg_query.SelectStmt{
		TargetList: []*pg_query.Node{pg_query.MakeResTargetNodeWithVal(column("ctid"), 0)}, FromClause: from, WhereClause: where,
		GroupClause: []*pg_query.Node{column("ctid")}, // plain tables alone are counted in: no other has the same
		LimitOption: pg_query.LimitOption_LIMIT_OPTION_DEFAULT, Op: pg_query.SetOperation_SETOP_NONE,
	}
	text, err := pg_query.Deparse(&pg_query.ParseResult{Version: version, Stmts: []*pg_query.RawStmt{{Stmt: &pg_query.Node{Node: &pg_query.Node_SelectStmt{SelectStmt: inner}}}}})
	if err != nil {
		return "", err
	}
	return "SELECT count(*) FROM (" + text + ") AS counted", nil
}

// maxFormatted bounds a text that is laid out.
const maxFormatted = 64 << 10

// Format lays a statement out: a line for each of its main clauses. Every token
// stays as it is; what stands between them becomes a space or a line end. A
// text that can't be read comes back as "".
func Format(text string) string {
	if len(text) > maxFormatted {
		return ""
	}
	scan, err := pg_query.Scan(text)
	if err != nil {
		return ""
	}
	var b strings.Builder
	depth, end := 0, int32(0)
	for i, token := range scan.GetTokens() {
		word := text[token.GetStart():token.GetEnd()]
		switch {
		case i == 0:
		case breaks(scan.GetTokens(), i, text):
			b.WriteString("\n" + strings.Repeat("  ", depth))
			if indented(strings.ToLower(word)) {
				b.WriteString("  ")
			}
		case token.GetStart() > end:
			b.WriteByte(' ')
		}
		b.WriteString(word)
		end = token.GetEnd()
		switch word {
		case "(":
			depth++
		case ")":
			depth = max(depth-1, 0)
		}
		if token.GetToken() == pg_query.Token_SQL_COMMENT { // it goes to the end of its line
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// breaks says whether a token begins a line.
func breaks(tokens []*pg_query.ScanToken, i int, text string) bool {
	word := func(at int) string {
		if at < 0 {
			return ""
		}
		if k := tokens[at].GetKeywordKind(); k == pg_query.KeywordKind_NO_KEYWORD {
			return ""
		}
		return strings.ToLower(text[tokens[at].GetStart():tokens[at].GetEnd()])
	}
	switch now, before := word(i), word(i-1); now {
	case "from":
		return before != "delete" && before != "distinct"
	case "where", "set", "values", "returning", "having", "limit", "union", "except", "intersect", "using", "window":
		return true
	case "group", "order":
		return before != "within"
	case "join":
		return before != "left" && before != "right" && before != "inner" && before != "full" && before != "outer" && before != "cross" && before != "natural"
	case "left", "right", "inner", "full", "cross", "natural":
		return true
	case "and", "or":
		return true
	case "on":
		return before == "" && i > 0
	}
	return false
}

func indented(word string) bool { return word == "and" || word == "or" || word == "on" }
