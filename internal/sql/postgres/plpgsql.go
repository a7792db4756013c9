package postgres

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
)

// plpgsql reads a function in PL/pgSQL and returns what its result comes from:
// whatever any statement of it puts into a variable, returns or is given. Which
// variable holds what is not told apart.
func (r *reader) plpgsql(f *Function) value {
	if !r.env.StandardConformingStrings && strings.IndexByte(f.Source, '\\') >= 0 {
		r.facts.unknown("It runs PL/pgSQL that can't be read while standard_conforming_strings is off.")
		return opaque
	}
	code, defaults, ok := r.declarations(f.Source)
	if !ok {
		r.facts.unknown("It runs PL/pgSQL that can't be read.")
		return opaque
	}
	text := r.definition(f, code)
	tree, err := pg_query.ParsePlPgSqlToJSON(text)
	if err != nil {
		r.facts.unknown("It runs PL/pgSQL that can't be read.")
		return opaque
	}
	first := *r
	first.facts = &facts{}
	p := &procedure{reader: &first, function: f, parsed: map[string]*pg_query.ParseResult{}}
	p.taint = constant
	if r.fires != nil && f.Returns == triggerOID {
		p.fired = r.firing(r.fires)
	} else if r.args != nil {
		p.taint = *r.args
	}
	p.read(tree, defaults)
	for i := 0; p.fired != nil && p.fired.grown; i++ {
		// What was put into a row later may have been read earlier, in a loop.
		if p.fired.grown = false; i == maxFirings {
			p.fired.split = false
		}
		p.read(tree, defaults)
	}
	taint := p.taint
	if strings.Contains(strings.ToLower(f.Source), "sqlerrm") || strings.Contains(strings.ToLower(f.Source), "stacked") {
		taint.add(value{sources: first.facts.uses, proven: !first.facts.unproven})
	}
	taint.row = true
	q := &procedure{reader: r, function: f, taint: taint, parsed: p.parsed, fired: p.fired}
	q.read(tree, defaults)
	return q.taint
}

// procedure is one reading of a body.
type procedure struct {
	reader   *reader
	function *Function
	taint    value // of every variable
	parsed   map[string]*pg_query.ParseResult
	fired    *firing // nil: it isn't a trigger's
}

func (p *procedure) read(tree string, defaults []string) {
	var functions []json.RawMessage
	if json.Unmarshal([]byte(tree), &functions) != nil || len(functions) != 1 {
		p.unreadable()
		return
	}
	vars := map[string]value{}
	for name, v := range p.reader.vars {
		if strings.HasPrefix(name, "table ") {
			vars[name] = v
		}
	}
	p.reader.vars = vars
	p.reader.args = &value{sources: p.taint.sources, proven: p.taint.proven, row: true}
	for _, name := range p.function.ArgNames {
		p.variable(name)
	}
	p.variable(p.function.Name)
	for _, name := range []string{
		"found", "sqlstate", "sqlerrm", "new", "old", "tg_name", "tg_when", "tg_level", "tg_op", "tg_relid", "tg_relname",
		"tg_table_name", "tg_table_schema", "tg_nargs", "tg_argv", "tg_event", "tg_tag",
	} {
		p.variable(name)
	}
	if p.function.Returns == triggerOID && p.reader.cat != nil {
		for name := range p.reader.cat.transitions {
			vars["table "+name] = p.transition()
		}
	}
	p.names(functions[0])
	p.rowVariables(functions[0])
	p.node(functions[0])
	for _, text := range defaults {
		p.expression(text, 2, false)
	}
}

func (p *procedure) unreadable() {
	p.reader.facts.unknown("It runs PL/pgSQL that can't be read.")
	p.taint.proven = false
}

func (p *procedure) variable(name string) {
	if name != "" {
		p.reader.vars[name] = value{sources: p.taint.sources, proven: p.taint.proven, session: p.taint.session, row: true}
	}
}

// names declares every variable and label, wherever it is in view.
func (p *procedure) names(raw json.RawMessage) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return
	}
	switch raw[0] {
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) == nil {
			for _, item := range list {
				p.names(item)
			}
		}
	case '{':
		var fields map[string]json.RawMessage
		if json.Unmarshal(raw, &fields) == nil {
			for key, item := range fields {
				switch key {
				case "refname", "label", "name":
					var name string
					if json.Unmarshal(item, &name) == nil {
						p.variable(name)
					}
				default:
					p.names(item)
				}
			}
		}
	}
}

// expr is an expression, or a statement, as the parser of PL/pgSQL hands it over.
type plExpr struct {
	Query string `json:"query"`
	Mode  int    `json:"parseMode"`
}

// node reads one node of the tree: an object whose one key says its kind.
func (p *procedure) node(raw json.RawMessage) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return
	}
	if raw[0] == '[' {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			p.unreadable()
			return
		}
		for _, item := range list {
			p.node(item)
		}
		return
	}
	if raw[0] != '{' {
		return
	}
	var outer map[string]json.RawMessage
	if json.Unmarshal(raw, &outer) != nil {
		p.unreadable()
		return
	}
	for kind, inner := range outer {
		if !strings.HasPrefix(kind, "PLpgSQL_") {
			continue // a row's field
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(inner, &fields) != nil {
			p.unreadable()
			return
		}
		p.known(strings.TrimPrefix(kind, "PLpgSQL_"), inner, fields)
	}
}

func (p *procedure) known(kind string, inner json.RawMessage, fields map[string]json.RawMessage) {
	looping := p.reader.looping
	condition, message := "", ""
	switch kind {
	case "expr":
		p.expr(inner, false)
		return
	case "stmt_block":
		p.block(fields)
		return
	case "function", "exception_block", "exception", "condition", "stmt_assign", "stmt_return", "stmt_return_next",
		"stmt_getdiag", "diag_item", "stmt_fetch", "stmt_close", "stmt_perform", "stmt_call", "stmt_commit", "stmt_rollback",
		"var", "row", "rec", "recfield", "type", "stmt_execsql":
	case "stmt_if", "if_elsif", "stmt_while", "stmt_exit", "stmt_assert":
		condition = "cond"
		if kind == "stmt_assert" {
			message = "message"
		}
	case "stmt_case":
		condition = "t_expr"
	case "case_when":
		condition = "expr"
	case "stmt_loop", "stmt_fori", "stmt_fors", "stmt_forc", "stmt_foreach_a", "stmt_dynfors":
	case "stmt_raise", "raise_option":
	case "stmt_return_query", "stmt_open", "stmt_dynexecute":
	default:
		p.unreadable()
		return
	}
	switch kind {
	case "stmt_loop", "stmt_while", "stmt_fori", "stmt_fors", "stmt_forc", "stmt_foreach_a", "stmt_dynfors":
		p.reader.looping = true
		// How far it came can be told: by a sequence, by what was committed.
		defer p.within()()
	}
	if kind == "stmt_close" {
		p.reader.facts.swaps = true // it may be the session's, by the name in the variable
	}
	if kind == "type" {
		p.taint.add(p.convertingVariable(fields["typname"]))
	}
	columns := p.targets(kind, fields)
	before := p.taint
	if kind == "stmt_assign" && len(columns) > 0 && p.fired.split {
		p.taint = constant // what is assigned goes nowhere else
	}
	keys := make([]string, 0, len(fields))
	for key := range fields {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		raw := fields[key]
		switch {
		case key == condition:
			p.expr(unwrap(raw), true)
		case key == message && message != "", kind == "stmt_raise" && key == "params", kind == "raise_option" && key == "expr":
			before := p.taint
			p.taint = value{proven: true}
			p.node(raw)
			said := p.taint
			p.taint = before
			p.taint.add(said)
			p.reader.facts.flow(postern.ColumnName{}, placeMessage, said.bare())
		case (kind == "stmt_dynexecute" || kind == "stmt_dynfors") && key == "query", key == "dynquery":
			p.dynamic(unwrap(raw))
		default:
			p.node(raw)
		}
	}
	for _, column := range columns {
		p.put(column, p.taint)
	}
	if kind == "stmt_assign" && len(columns) > 0 && p.fired.split {
		p.taint = before
	}
	p.reader.looping = looping
}

// within begins to gather what a part of the body does, apart from the rest. What it returns
// adds it there, and what may fail in it as told.
func (p *procedure) within() func() {
	outer := p.reader.facts
	p.reader.facts = &facts{}
	return func() {
		inner := p.reader.facts
		p.reader.facts = outer
		outer.merge(inner, true)
		outer.branch(inner.failing())
	}
}

// block reads a block's statements. Where it catches their errors, the function goes on by
// whether there was one, and can try as many values as it likes.
func (p *procedure) block(fields map[string]json.RawMessage) {
	handlers, catches := fields["exceptions"]
	if !catches {
		p.node(fields["body"])
		return
	}
	done := p.within()
	p.node(fields["body"])
	done()
	p.node(handlers)
}

// unwrap is the inside of {"PLpgSQL_expr": …}.
func unwrap(raw json.RawMessage) json.RawMessage {
	var outer map[string]json.RawMessage
	if json.Unmarshal(raw, &outer) != nil {
		return nil
	}
	return outer["PLpgSQL_expr"]
}

func (p *procedure) expr(raw json.RawMessage, condition bool) {
	var e plExpr
	if json.Unmarshal(raw, &e) != nil {
		p.unreadable()
		return
	}
	p.expression(e.Query, e.Mode, condition)
}

// expression reads embedded SQL. The modes are the parser's: 0 is a statement,
// 2 an expression, 3 to 5 an assignment.
func (p *procedure) expression(text string, mode int, condition bool) {
	r := p.reader
	if !r.step() {
		return
	}
	switch mode {
	case 0:
		tree, problem := p.parse(text)
		if problem != "" {
			p.unreadable()
			return
		}
		for _, raw := range tree.Stmts {
			fields, known := r.effects(raw.Stmt, &scope{})
			for i := range fields {
				r.returned(fields[i].value)
			}
			p.taint.add(rowOf(fields, known))
		}
		return
	case 2:
	case 3, 4, 5:
		target, source, ok := assignment(text)
		if !ok {
			p.unreadable()
			return
		}
		p.selected("SELECT "+target, false)
		text = source
	default:
		p.unreadable()
		return
	}
	p.selected("SELECT "+text, condition)
}

// parse remembers what the first reading has parsed for the second.
func (p *procedure) parse(text string) (*pg_query.ParseResult, string) {
	if tree := p.parsed[text]; tree != nil {
		return tree, ""
	}
	tree, problem := parse(text)
	if problem == "" {
		p.parsed[text] = tree
	}
	return tree, problem
}

// selected reads an expression as the query that it is run as.
func (p *procedure) selected(text string, condition bool) {
	tree, problem := p.parse(text)
	if problem != "" || len(tree.Stmts) != 1 || tree.Stmts[0].Stmt.GetSelectStmt() == nil {
		p.unreadable()
		return
	}
	r := p.reader
	fields, known := r.query(tree.Stmts[0].Stmt.GetSelectStmt(), &scope{})
	v := rowOf(fields, known)
	r.facts.use(v)
	for i := range fields {
		r.returned(fields[i].value)
	}
	if condition {
		r.facts.branch(v)
	}
	p.taint.add(v)
}

// assignment splits "target := expression".
func assignment(text string) (target, source string, ok bool) {
	scan, err := pg_query.Scan(text)
	if err != nil {
		return "", "", false
	}
	depth := 0
	for _, token := range scan.Tokens {
		switch token.Token {
		case pg_query.Token_ASCII_40, pg_query.Token_ASCII_91:
			depth++
		case pg_query.Token_ASCII_41, pg_query.Token_ASCII_93:
			depth--
		case pg_query.Token_COLON_EQUALS, pg_query.Token_ASCII_61:
			if depth == 0 {
				return text[:token.Start], text[token.End:], true
			}
		}
	}
	return "", "", false
}

// dynamic reads EXECUTE: of a text that is written out as that text, of
// anything else as unknown.
func (p *procedure) dynamic(raw json.RawMessage) {
	var e plExpr
	if json.Unmarshal(raw, &e) != nil {
		p.unreadable()
		return
	}
	p.expression(e.Query, e.Mode, false)
	r := p.reader
	r.facts.dynamic = true
	tree, problem := p.parse("SELECT " + e.Query)
	if problem == "" && len(tree.Stmts) == 1 {
		if list := tree.Stmts[0].Stmt.GetSelectStmt().GetTargetList(); len(list) == 1 && len(tree.Stmts[0].Stmt.GetSelectStmt().FromClause) == 0 {
			if text, ok := r.run.literals.constText(list[0].GetResTarget().GetVal()); ok && len(text) <= maxText {
				p.taint.add(r.textual(text))
				return
			}
		}
	}
	r.facts.unknown("It runs SQL that is put together at run time.")
	p.taint.proven = false
}

// definition writes the CREATE FUNCTION that the parser wants around a body.
func (r *reader) definition(f *Function, code string) string {
	var b strings.Builder
	procedure := f.Kind == 'p'
	if procedure {
		b.WriteString("CREATE PROCEDURE f(")
	} else {
		b.WriteString("CREATE FUNCTION f(")
	}
	args := f.AllArgs
	if len(args) == 0 {
		args = f.Args
	}
	outs := 0
	for i, oid := range args {
		if i > 0 {
			b.WriteString(", ")
		}
		mode := byte('i')
		if i < len(f.ArgModes) {
			mode = f.ArgModes[i]
		}
		switch mode {
		case 'o', 't':
			b.WriteString("OUT ")
			outs++
		case 'b':
			b.WriteString("INOUT ")
			outs++
		case 'v':
			b.WriteString("VARIADIC ")
		}
		if i < len(f.ArgNames) && f.ArgNames[i] != "" {
			b.WriteString(quoteName(f.ArgNames[i]))
			b.WriteByte(' ')
		}
		b.WriteString(r.declaredType(oid))
	}
	b.WriteString(")")
	switch {
	case procedure || outs > 0 && !f.ReturnsSet:
	case f.ReturnsSet:
		b.WriteString(" RETURNS SETOF " + r.declaredType(f.Returns))
	case f.Returns == voidOID || f.Returns == 0:
		b.WriteString(" RETURNS void")
	default:
		b.WriteString(" RETURNS " + r.declaredType(f.Returns))
	}
	tag := "$b$"
	for strings.Contains(code, tag) {
		tag = tag[:len(tag)-1] + "b$"
	}
	b.WriteString(" LANGUAGE plpgsql AS " + tag + code + tag)
	return b.String()
}

// declaredType is a type that lets the parser see whether a variable has
// fields, which is all that it wants to know.
func (r *reader) declaredType(oid uint32) string {
	t := r.cat.typeByOID(oid)
	switch {
	case t == nil:
		return "text"
	case r.compositeRelation(oid) != nil && t.Category != 'A':
		return "a.row" // to the parser, a type in any schema but pg_catalog has fields
	case t.Schema == "pg_catalog":
		return "pg_catalog." + quoteName(t.Name)
	}
	return "text"
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// declarations finds what the parser's tree leaves out: the defaults of
// variables that hold rows. Types that only the catalog knows to be rows become
// record, so that their fields can be assigned to.
func (r *reader) declarations(source string) (code string, defaults []string, ok bool) {
	scan, err := pg_query.Scan(source)
	if err != nil {
		return "", nil, false
	}
	tokens := slices.DeleteFunc(scan.Tokens, func(t *pg_query.ScanToken) bool {
		return t.Token == pg_query.Token_SQL_COMMENT || t.Token == pg_query.Token_C_COMMENT
	})
	word := func(i int) string {
		if i < 0 || i >= len(tokens) {
			return ""
		}
		return strings.ToLower(source[tokens[i].Start:tokens[i].End])
	}
	var b strings.Builder
	written := int32(0)
	for i := 0; i < len(tokens); i++ {
		if word(i) != "declare" || !startsStatement(word(i-1), i) {
			continue
		}
		for i++; i < len(tokens) && word(i) != "begin"; i++ {
			if word(i) == "declare" || word(i) == ";" {
				continue
			}
			end := i
			for depth := 0; end < len(tokens) && (depth > 0 || word(end) != ";"); end++ {
				switch word(end) {
				case "(", "[":
					depth++
				case ")", "]":
					depth--
				}
			}
			from, to, start := declared(word, i, end)
			if start < end && start > 0 {
				last := int32(len(source))
				if end < len(tokens) {
					last = tokens[end].Start
				}
				defaults = append(defaults, source[tokens[start].Start:last])
			}
			if from < to && r.rowType(source[tokens[from].Start:tokens[to-1].End]) {
				b.WriteString(source[written:tokens[from].Start])
				b.WriteString("record")
				written = tokens[to-1].End
			}
			i = end
		}
	}
	b.WriteString(source[written:])
	return b.String(), defaults, true
}

// startsStatement says whether a word may come right before a statement.
func startsStatement(before string, i int) bool {
	switch before {
	case ";", "begin", "then", "else", "loop", ">>":
		return true
	}
	return i == 0 || before == ""
}

// declared finds the type within one declaration, and where its default
// begins; 0 when it has none.
func declared(word func(int) string, from, end int) (typeFrom, typeTo, value int) {
	i := from + 1
	if word(i) == "constant" {
		i++
	}
	switch word(i) {
	case "alias", "cursor", "no", "scroll":
		return 0, 0, 0
	}
	typeFrom = i
	for depth := 0; i < end; i++ {
		w := word(i)
		switch {
		case w == "(" || w == "[":
			depth++
		case w == ")" || w == "]":
			depth--
		case depth == 0 && (w == "not" || w == "collate"):
			if typeTo == 0 {
				typeTo = i
			}
		case depth == 0 && (w == "default" || w == ":=" || w == "="):
			if typeTo == 0 {
				typeTo = i
			}
			return typeFrom, typeTo, i + 1
		}
	}
	if typeTo == 0 {
		typeTo = end
	}
	return typeFrom, typeTo, 0
}

// rowType says whether a type's name is that of rows.
func (r *reader) rowType(text string) bool {
	if r.cat == nil || strings.ContainsAny(text, "%[(") {
		return false
	}
	names, ok := splitName(text)
	if !ok {
		return false
	}
	t, _ := r.typeNamed(names)
	return t != nil && t.Category != 'A' && r.compositeRelation(t.OID) != nil
}
