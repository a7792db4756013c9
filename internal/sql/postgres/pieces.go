package postgres

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
	"postern/internal/sql"
)

// Masks by content look at text as it leaves. They see nothing in a part of it,
// in text that was written otherwise, or in the answer to a question about it.
// So the analysis notes the columns of which a statement shows or tells just
// that, its pieces.
//
// A value whose sources' text is in it whole passes without a note, and so does
// one that tells no more than how long it is, or whether it is equal to text
// that the client has written out.

// freeLength is of how many characters from the beginning of a text a statement
// may show without a note.
const freeLength = 4

// text says whether text of stored columns may be in v.
func (v *value) text() bool { return !v.figure && len(v.sources) > 0 }

// piece notes that parts of values, or what is found out about them, can be told.
func (f *facts) piece(values ...value) {
	for i := range values {
		if values[i].text() {
			f.pieces = union(f.pieces[:len(f.pieces):len(f.pieces)], values[i].sources)
		}
	}
}

// take notes what is in a value already: whoever reads a generated column reads
// what its expression makes.
func (f *facts) take(v value) {
	if len(v.pieces) > 0 {
		f.pieces = union(f.pieces[:len(f.pieces):len(f.pieces)], v.pieces)
	}
	for i := range v.fields {
		f.take(v.fields[i].value)
	}
}

// search notes that a client's parameter is looked for in v.
func (f *facts) search(v value, param int) {
	f.searches = append(f.searches, sql.Search{Columns: v.sources, Param: param})
}

// taken reads what a function of the server does with text, and says whether none
// of it is in the result. Functions that aren't known take it apart.
func (r *reader) taken(function string, args []value, c *pg_query.FuncCall) (figure bool) {
	texts := 0
	for i := range args {
		if args[i].text() {
			texts++
		}
	}
	if texts == 0 {
		return true
	}
	switch function {
	case "length", "char_length", "character_length", "octet_length", "bit_length", "pg_column_size", "count", "num_nulls", "num_nonnulls",
		"pg_typeof", "json_typeof", "jsonb_typeof", "json_array_length", "jsonb_array_length", "array_length", "array_ndims", "array_lower",
		"array_upper", "cardinality", "row_number":
		return true
	case "lower", "upper", "initcap", "text", "varchar", "citext", "array_agg", "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg",
		"max", "min", "first_value", "last_value", "nth_value", "lag", "lead", "mode", "any_value",
		"unnest", "array_append", "array_prepend", "array_cat", "array_remove", "to_json", "to_jsonb", "row_to_json", "array_to_json",
		"json_build_array", "json_build_object", "jsonb_build_array", "jsonb_build_object", "json_each", "json_each_text", "jsonb_each",
		"jsonb_each_text", "json_array_elements", "json_array_elements_text", "jsonb_array_elements", "jsonb_array_elements_text",
		"json_extract_path", "json_extract_path_text", "jsonb_extract_path", "jsonb_extract_path_text", "json_object_keys",
		"jsonb_object_keys", "jsonb_pretty", "json_strip_nulls", "jsonb_strip_nulls", "jsonb_set", "jsonb_insert", "json_populate_record",
		"json_populate_recordset", "jsonb_populate_record", "jsonb_populate_recordset", "json_to_record", "json_to_recordset",
		"jsonb_to_record", "jsonb_to_recordset", "quote_literal", "quote_nullable", "xmlagg", "hstore_to_json", "hstore_to_jsonb":
		return false
	case "btrim", "ltrim", "rtrim":
		if chars, ok := r.run.literals.argText(c, 1); ok && strings.Trim(chars, " \t\r\n") == "" || len(args) == 1 {
			return false
		}
	case "concat", "concat_ws", "string_agg", "array_to_string", "format":
		if r.joined(function, args, c) {
			return false
		}
	case "left":
		if n, ok := r.run.literals.argNumber(c, 1); ok && n >= 0 && n <= freeLength {
			return true
		}
	case "substr", "substring":
		from, first := r.run.literals.argNumber(c, 1)
		n, short := r.run.literals.argNumber(c, 2)
		if first && short && from == 1 && n >= 0 && n <= freeLength {
			return true
		}
	case "to_tsvector":
		if r.searching {
			return false
		}
	}
	r.facts.piece(args...)
	return true
}

// joined says whether a function that puts texts together keeps them apart, so
// that each can still be told from what stands beside it.
func (r *reader) joined(function string, args []value, c *pg_query.FuncCall) bool {
	switch function {
	case "concat":
		for i := 1; c != nil && i < len(args) && len(args) == len(c.Args); i++ {
			if (args[i-1].text() || args[i].text()) && !r.run.literals.apart(c.Args[i-1], c.Args[i]) {
				return false
			}
		}
		return c != nil && len(args) == len(c.Args)
	case "concat_ws":
		separator, ok := r.run.literals.argText(c, 0)
		return ok && separates(separator)
	case "format":
		pattern, ok := r.run.literals.argText(c, 0)
		return ok && formatsApart(pattern)
	default:
		separator, ok := r.run.literals.argText(c, 1)
		return ok && separates(separator)
	}
}

// formatsApart says whether every value in a pattern of format is whole, and has
// something beside it that keeps it apart.
func formatsApart(pattern string) bool {
	parts := strings.Split(pattern, "%s")
	for i, part := range parts {
		if strings.Contains(part, "%") {
			return false
		}
		inner := i > 0 && i < len(parts)-1
		if part == "" && inner || i > 0 && part != "" && !separator(part[0]) || i < len(parts)-1 && part != "" && !separator(part[len(part)-1]) {
			return false
		}
	}
	return true
}

// separates says whether what stands on either side of text is not taken for a
// part of one value.
func separates(text string) bool {
	return text != "" && separator(text[0]) && separator(text[len(text)-1])
}

// separator says whether a character ends every value that is looked for.
func separator(c byte) bool { return strings.IndexByte(" ,;:|#=\n\t\"'<>()[]{}", c) >= 0 }

// apart says whether two expressions that are put together are kept apart by
// what is written out at the end of the one or the beginning of the other.
func (h *literals) apart(left, right *pg_query.Node) bool {
	if text, ok := h.edge(left, true); ok && (text == "" || separator(text[len(text)-1])) {
		return true
	}
	text, ok := h.edge(right, false)
	return ok && (text == "" || separator(text[0]))
}

// edge is the constant text at an end of an expression.
func (h *literals) edge(n *pg_query.Node, last bool) (string, bool) {
	for range maxDepth {
		switch x := n.GetNode().(type) {
		case *pg_query.Node_AConst:
			s := h.constant(x.AConst).GetSval()
			return s.GetSval(), s != nil
		case *pg_query.Node_TypeCast:
			n = x.TypeCast.Arg
		case *pg_query.Node_AExpr:
			if symbol := stringsOf(x.AExpr.Name); len(symbol) == 0 || symbol[len(symbol)-1] != "||" {
				return "", false
			}
			n = x.AExpr.Lexpr
			if last {
				n = x.AExpr.Rexpr
			}
		default:
			return "", false
		}
	}
	return "", false
}

// argNumber is an argument that is an integer written out.
func (h *literals) argNumber(c *pg_query.FuncCall, i int) (int, bool) {
	if c == nil || i >= len(c.Args) {
		return 0, false
	}
	k := h.constant(c.Args[i].GetAConst())
	if k == nil || k.GetIval() == nil {
		return 0, false
	}
	return int(k.GetIval().GetIval()), true
}

// operatedByUsers says whether a symbol may be an operator, whose function is
// written in SQL or PL/pgSQL.
func (r *reader) operatedByUsers(symbol string) bool {
	return r.cat != nil && slices.ContainsFunc(r.cat.operators[symbol], func(op *operator) bool {
		f := r.cat.Functions[op.fn]
		return (f == nil || !computes(f)) && (!r.pathKnown || inPath(r.path, op.schema))
	})
}

// castByUsers says the same of casts to a type.
func (r *reader) castByUsers(typ uint32) bool {
	return r.cat != nil && slices.ContainsFunc(r.cat.casts[typ], func(fn uint32) bool {
		f := r.cat.Functions[fn]
		return f == nil || !computes(f)
	})
}

// operated reads what an operator does with text, and says whether none of it is
// in the result.
func (r *reader) operated(x *pg_query.A_Expr, left, right value) (figure bool) {
	if !left.text() && !right.text() {
		return true
	}
	symbol := ""
	if names := stringsOf(x.Name); len(names) > 0 {
		symbol = names[len(names)-1]
	}
	switch x.Kind {
	case pg_query.A_Expr_Kind_AEXPR_BETWEEN, pg_query.A_Expr_Kind_AEXPR_BETWEEN_SYM, pg_query.A_Expr_Kind_AEXPR_NOT_BETWEEN, pg_query.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM:
		symbol = "<"
	}
	if r.operatedByUsers(symbol) {
		r.facts.piece(left, right)
		return true
	}
	switch symbol {
	case "||":
		if !left.array && !right.array && !r.run.literals.apart(x.Lexpr, x.Rexpr) {
			r.facts.piece(left, right)
		}
		return false
	case "->", "->>", "#>", "#>>":
		return left.figure
	case "=", "<>", "!=", "@>", "<@", "?", "?|", "?&":
		if !r.answered(x.Lexpr, left, right) && !r.answered(x.Rexpr, right, left) {
			r.facts.piece(left, right)
		}
		if x.Kind == pg_query.A_Expr_Kind_AEXPR_NULLIF {
			return left.figure
		}
		return true
	case "~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*", "^@", "@@", "@?":
		if left.text() && right.text() || right.text() && symbol != "@@" || !r.searched(x, left, right) {
			r.facts.piece(left, right)
		}
		return true
	}
	r.facts.piece(left, right)
	return true
}

// answered says whether n, whose value is one side of an equation, is such that
// only what is known already can be found out about the other.
func (r *reader) answered(n *pg_query.Node, side, other value) bool {
	return r.given(n) || side.plain && len(side.sources) > 0 && other.plain
}

// given says whether an expression is a text, or some, that the client wrote out.
func (r *reader) given(n *pg_query.Node) bool {
	switch x := n.GetNode().(type) {
	case *pg_query.Node_AConst:
		return true
	case *pg_query.Node_ParamRef:
		return r.args == nil
	case *pg_query.Node_TypeCast:
		return r.given(x.TypeCast.Arg)
	case *pg_query.Node_AArrayExpr:
		return r.allGiven(x.AArrayExpr.Elements)
	case *pg_query.Node_List:
		return r.allGiven(x.List.Items)
	case *pg_query.Node_RowExpr:
		return r.allGiven(x.RowExpr.Args)
	case *pg_query.Node_AExpr:
		return r.given(x.AExpr.Lexpr) && r.given(x.AExpr.Rexpr)
	case *pg_query.Node_FuncCall:
		switch names := stringsOf(x.FuncCall.Funcname); names[len(names)-1] {
		case "lower", "upper", "initcap", "btrim", "ltrim", "rtrim", "jsonb_build_object", "json_build_object", "to_jsonb", "concat":
			return r.allGiven(x.FuncCall.Args)
		}
	case *pg_query.Node_SqlvalueFunction:
		return true
	}
	return false
}

func (r *reader) allGiven(list []*pg_query.Node) bool {
	for _, n := range list {
		if !r.given(n) {
			return false
		}
	}
	return true
}

// searched says whether text is looked through for words only, which tell no
// number and no address. What a parameter holds shows when it is bound.
func (r *reader) searched(x *pg_query.A_Expr, left, right value) bool {
	pattern, over := x.Rexpr, left
	if right.text() {
		pattern, over = x.Lexpr, right
	}
	return r.wordly(pattern, over)
}

func (r *reader) wordly(n *pg_query.Node, over value) bool {
	switch x := n.GetNode().(type) {
	case *pg_query.Node_AConst:
		return x.AConst.Isnull || r.run.literals.textIs(n, sql.Wordly)
	case *pg_query.Node_ParamRef:
		if r.args == nil && x.ParamRef.Number > 0 {
			r.facts.search(over, int(x.ParamRef.Number))
			return true
		}
	case *pg_query.Node_TypeCast:
		return r.wordly(x.TypeCast.Arg, over)
	case *pg_query.Node_AArrayExpr:
		return r.allWordly(x.AArrayExpr.Elements, over)
	case *pg_query.Node_AExpr:
		if names := stringsOf(x.AExpr.Name); len(names) > 0 && names[len(names)-1] == "||" {
			return r.wordly(x.AExpr.Lexpr, over) && r.wordly(x.AExpr.Rexpr, over)
		}
	case *pg_query.Node_FuncCall:
		switch names := stringsOf(x.FuncCall.Funcname); names[len(names)-1] {
		case "lower", "upper", "concat", "to_tsquery", "plainto_tsquery", "phraseto_tsquery", "websearch_to_tsquery", "like_escape", "similar_to_escape":
			return r.allWordly(x.FuncCall.Args, over)
		}
	}
	return false
}

func (r *reader) allWordly(list []*pg_query.Node, over value) bool {
	for _, n := range list {
		if !r.wordly(n, over) {
			return false
		}
	}
	return true
}

// cut reads a cast of text, and says whether none of it is in the result.
func (r *reader) cut(v value, t *pg_query.TypeName) bool {
	if !v.text() {
		return true
	}
	names := stringsOf(t.GetNames())
	last := ""
	if len(names) > 0 {
		last = names[len(names)-1]
	}
	switch last {
	case "char", "bool":
		return true // one character
	case "bpchar", "varchar":
		if n, ok := r.run.literals.typmod(t); ok && n <= freeLength {
			return true
		} else if !ok && len(t.GetTypmods()) == 0 {
			return false
		}
	case "text", "citext", "json", "jsonb", "xml", "bytea", "int2", "int4", "int8", "numeric", "float4", "float8", "uuid", "date", "timestamp", "timestamptz", "inet", "regclass":
		if len(t.GetTypmods()) == 0 {
			return false
		}
	case "bit", "varbit", "name", "tsvector", "tsquery":
	default:
		return false // a type that somebody made
	}
	r.facts.piece(v)
	return true
}

func (h *literals) typmod(t *pg_query.TypeName) (int, bool) {
	if len(t.GetTypmods()) != 1 {
		return 0, false
	}
	k := h.constant(t.Typmods[0].GetAConst())
	if k == nil || k.GetIval() == nil {
		return 0, false
	}
	return int(k.GetIval().GetIval()), true
}

// ranked notes what an order or a grouping tells: of stored columns as such, no
// more than how their rows stand to each other.
func (r *reader) ranked(v value) {
	if !v.plain {
		r.facts.piece(v)
	}
}

// matched notes what holding two values against each other tells.
func (r *reader) matched(a, b value) {
	if !(a.plain && len(a.sources) > 0 && b.plain && len(b.sources) > 0) {
		r.facts.piece(a, b)
	}
}

// swapPieces puts what a call's arguments come from where a body takes them apart.
func swapPieces(f *facts, g *facts, given value) {
	take := func(list []postern.ColumnName) []postern.ColumnName {
		if !slices.Contains(list, argument) {
			return list
		}
		if given.figure {
			return without(list, argument)
		}
		return substitute(value{sources: list, proven: true}, given).sources
	}
	g.pieces = take(f.pieces)
	g.searches = nil
}
