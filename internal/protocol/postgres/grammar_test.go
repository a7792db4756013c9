package postgres

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// kind is the type of an expression of the grammar.
type kind int

const (
	textKind kind = iota
	intKind
	boolKind
	jsonKind
	textsKind
	dateKind
)

type grammarColumn struct {
	name string
	kind kind
}

// grammarTable is something to select from. With row, an alias of it can
// stand for the whole row.
type grammarTable struct {
	name string
	cols []grammarColumn
	row  bool
}

// grammar makes random statements over testdata/differential.sql. They need
// not run; most do.
type grammar struct {
	*rand.Rand
	names int            // for aliases
	left  int            // nodes until only leaves are made
	with  []grammarTable // CTEs in view
}

var customersColumns = []grammarColumn{
	{"id", intKind}, {"name", textKind}, {"email", textKind}, {"card_number", textKind}, {"ssn", textKind}, {"phone", textKind}, {"joined", dateKind}, {"notes", textKind},
}

var labelled = []grammarColumn{{"id", intKind}, {"label", textKind}, {"qty", intKind}}

var grammarTables = []grammarTable{
	{"customers", customersColumns, true},
	{"customers", customersColumns, true},
	{"orders", []grammarColumn{{"id", intKind}, {"customer_id", intKind}, {"customer_email", textKind}, {"total", intKind}, {"tags", textsKind}, {"doc", jsonKind}}, true},
	{"plain", labelled, true},
	{"v_all", customersColumns, true},
	{"v_mail", labelled, true},
	{"v_swap", []grammarColumn{{"id", intKind}, {"name", textKind}, {"email", textKind}}, true},
	{"v_deep", labelled, true},
	{"v_agg", labelled[1:], true},
	{"v_row", labelled[:2], true},
	{"v_safe", labelled, true},
	{"mv_cards", labelled[:2], true},
	{"f_rows()", customersColumns, true},
	{"f_named()", labelled[:2], true},
}

func (g *grammar) pick(list ...string) string { return list[g.IntN(len(list))] }
func (g *grammar) chance(percent int) bool    { return g.IntN(100) < percent }

func (g *grammar) alias() string {
	g.names++
	if g.chance(5) {
		return g.pick("email", "name", "customers", "id") // names that mislead
	}
	return fmt.Sprintf("a%d", g.names)
}

// texts are constants without a dot, so that none can make a name look like
// the start of an address.
func (g *grammar) literal() string {
	return g.pick("''", "'x'", "'a%'", "' '", "'|'", "'@'", "'-'", "'[0-9]+'", "'UTF8'", "'Ada L'", "U&'\\00e9'", "E'\\n'", "$$q$$", "'1'")
}

func (g *grammar) column(k kind, in []grammarTable) string {
	var fit []string
	for _, t := range in {
		for _, c := range t.cols {
			if c.kind == k {
				name := t.name + "." + c.name
				if g.IntN(5) == 0 && len(in) == 1 {
					name = c.name
				}
				fit = append(fit, name)
			}
		}
	}
	if len(fit) == 0 {
		return ""
	}
	return fit[g.IntN(len(fit))]
}

// whole is an alias that stands for its row.
func (g *grammar) whole(in []grammarTable) string {
	if len(in) == 0 {
		return "(select c from customers c where c.id = 1)"
	}
	t := in[g.IntN(len(in))]
	if !t.row {
		return "row(" + g.expr(textKind, in) + ", " + g.expr(intKind, in) + ")"
	}
	return t.name
}

func (g *grammar) anyKind() kind {
	return []kind{textKind, textKind, textKind, intKind, boolKind, jsonKind, textsKind, dateKind}[g.IntN(8)]
}

// expr is an expression of a kind over the tables in view.
func (g *grammar) expr(k kind, in []grammarTable) string {
	g.left--
	if g.left <= 0 || g.chance(25) {
		if c := g.column(k, in); c != "" && g.chance(85) {
			return c
		}
		switch k {
		case textKind:
			return g.literal()
		case intKind:
			return fmt.Sprint(g.IntN(12))
		case boolKind:
			return g.pick("true", "false", "null::bool")
		case jsonKind:
			return g.pick(`'{"k": "v"}'::jsonb`, `'[1, "x"]'::jsonb`)
		case textsKind:
			return g.pick("'{a,b}'::text[]", "array['x']")
		default:
			return g.pick("date '2024-01-01'", "'2023-05-06'::date")
		}
	}
	t := func() string { return g.expr(textKind, in) }
	i := func() string { return g.expr(intKind, in) }
	b := func() string { return g.expr(boolKind, in) }
	j := func() string { return g.expr(jsonKind, in) }
	a := func() string { return g.expr(textsKind, in) }
	same := func() string { return g.expr(k, in) }
	switch g.IntN(10) {
	case 0:
		return "coalesce(" + same() + ", " + same() + ")"
	case 1:
		if g.chance(50) {
			return "(" + g.scalar(k, in) + ")"
		}
		return "case when " + b() + " then " + same() + " else " + same() + " end"
	}
	switch k {
	case textKind:
		switch g.IntN(36) {
		case 0, 1:
			return g.pick("upper", "lower", "reverse", "initcap", "btrim", "f_up", "quote_literal", "quote_nullable", "md5") + "(" + t() + ")"
		case 2, 3:
			return "(" + t() + " || " + t() + ")"
		case 4:
			return g.pick("substr", "left", "right") + "(" + t() + ", " + i() + ")"
		case 5:
			return "replace(" + t() + ", " + g.literal() + ", " + g.literal() + ")"
		case 6:
			return "encode(convert_to(" + t() + ", 'UTF8'), " + g.pick("'hex'", "'base64'", "'escape'") + ")"
		case 7:
			return "concat_ws(" + g.literal() + ", " + t() + ", " + t() + ", " + i() + ")"
		case 8:
			return "format(" + g.pick("'%s'", "'%L'", "'<%s>'") + ", " + t() + ")"
		case 9:
			return "(" + g.expr(g.anyKind(), in) + ")::" + g.pick("text", "varchar", "varchar(40)", "text")
		case 10:
			return "(" + j() + " ->> " + g.pick("'email'", "'k'", "'em' || 'ail'", "'ssn'") + ")"
		case 11:
			return "array_to_string(" + a() + ", " + g.literal() + ")"
		case 12:
			return "row(" + t() + ", " + i() + ")::text"
		case 13, 14:
			return "(" + g.whole(in) + ")::text"
		case 15:
			return "nullif(" + t() + ", " + t() + ")"
		case 16:
			return g.pick("greatest", "least") + "(" + t() + ", " + t() + ")"
		case 17:
			return "split_part(" + t() + ", '@', 1)"
		case 18:
			return "translate(" + t() + ", '@- ', '___')"
		case 19:
			return "regexp_replace(" + t() + ", '(a|e)', '<\\1>', 'g')"
		case 20:
			return g.pick("lpad", "rpad") + "(" + t() + ", 40, '_')"
		case 21:
			return "overlay(" + t() + " placing 'x' from 2)"
		case 22:
			return g.pick("f_mail", "f_pl", "f_name") + "(" + i() + ")"
		case 23:
			return g.pick("max", "min", "string_agg") + "(" + t() + g.pick(")", ") over ()") // not always well-formed
		case 24:
			return "(" + a() + ")[" + g.pick("1", "2") + "]"
		case 25:
			return "(" + t() + " collate \"C\")"
		case 26:
			return "to_json(" + t() + ")::text"
		case 27:
			return g.pick("first_value", "lag", "max") + "(" + t() + ") over (order by " + i() + ")"
		case 28:
			return "xmlelement(name e, " + t() + ")::text"
		case 29:
			return "convert_from(decode(encode(convert_to(" + t() + ", 'UTF8'), 'hex'), 'hex'), 'UTF8')"
		case 30:
			return "(array[" + t() + ", " + t() + "])[1]"
		case 31:
			return "pg_typeof(" + t() + ")::text"
		case 32:
			return "quote_ident(" + t() + ")"
		case 33:
			return "repeat(" + t() + ", 2)"
		case 34:
			return "current_setting('" + g.pick("search_path", "TimeZone", "application_name") + "')"
		default:
			return "((" + g.whole(in) + ")::text)::" + g.pick("varchar", "text", "name", "bpchar") + "::text"
		}
	case intKind:
		switch g.IntN(12) {
		case 0, 1:
			return "(" + i() + g.pick(" + ", " - ", " * ") + i() + ")"
		case 2:
			return "length(" + t() + ")"
		case 3:
			return "strpos(" + t() + ", " + g.literal() + ")"
		case 4:
			return "cardinality(" + a() + ")"
		case 5:
			return "extract(year from " + g.expr(dateKind, in) + ")::int"
		case 6:
			return "count(*) over ()"
		case 7:
			return "row_number() over (order by " + t() + ")"
		case 8:
			return "sum(" + i() + ") over ()"
		case 9:
			return "abs(" + i() + ")"
		case 10:
			if g.chance(30) {
				return "(" + t() + ")::int" // an error with the value, mostly
			}
			return "ascii(" + t() + ")"
		default:
			return "(" + i() + ")::bigint::int"
		}
	case boolKind:
		switch g.IntN(10) {
		case 0:
			return "(" + t() + g.pick(" = ", " <> ", " < ", " >= ") + t() + ")"
		case 1, 2:
			return "(" + i() + g.pick(" = ", " <> ", " < ", " >= ") + i() + ")"
		case 3:
			return "(" + t() + g.pick(" like ", " ilike ", " ~ ") + g.literal() + ")"
		case 4:
			return "(" + g.expr(g.anyKind(), in) + g.pick(" is null", " is not null") + ")"
		case 5:
			return "(" + b() + g.pick(" and ", " or ") + b() + ")"
		case 6:
			return "(not " + b() + ")"
		case 7:
			return "(" + i() + " in (" + g.scalar(intKind, in) + "))"
		case 8:
			return "exists (" + g.scalar(textKind, in) + ")"
		default:
			return "(" + t() + " = any (" + a() + "))"
		}
	case jsonKind:
		switch g.IntN(8) {
		case 0, 1:
			return "to_jsonb(" + g.whole(in) + ")"
		case 2:
			return "jsonb_build_object('k', " + t() + ", 'email', " + g.expr(g.anyKind(), in) + ")"
		case 3:
			return "jsonb_build_array(" + t() + ", " + i() + ")"
		case 4:
			return "(" + j() + " || " + j() + ")"
		case 5:
			return "(" + j() + g.pick(" - 'name'", " -> 'k'", " #> '{email}'") + ")"
		case 6:
			return "row_to_json(" + g.whole(in) + ")::jsonb"
		default:
			return "(select jsonb_agg(z) from (" + g.query(1, in, false) + ") z)"
		}
	case textsKind:
		switch g.IntN(6) {
		case 0:
			return "array[" + t() + ", " + t() + "]"
		case 1:
			return "string_to_array(" + t() + ", '@')"
		case 2:
			return "array(" + g.scalar(textKind, in) + ")"
		case 3:
			return "(" + a() + " || " + a() + ")"
		case 4:
			return "regexp_match(" + t() + ", '(.*)@(.*)')"
		default:
			return "array_append(" + a() + ", " + t() + ")"
		}
	default:
		if g.chance(50) {
			return "(" + g.expr(dateKind, in) + " + " + i() + ")"
		}
		if g.chance(70) {
			return "(date_trunc('month', " + g.expr(dateKind, in) + "))::date"
		}
		return "(" + t() + ")::date"
	}
}

// scalar is a query for one value.
func (g *grammar) scalar(k kind, outer []grammarTable) string {
	from, in := g.from(1, outer)
	e := g.expr(k, in)
	if k == textKind && g.chance(30) {
		e = g.pick("min", "max") + "(" + e + ")"
	}
	return "select " + e + " from " + from + " limit 1"
}

// from is a FROM clause and what it brings into view.
func (g *grammar) from(depth int, outer []grammarTable) (string, []grammarTable) {
	var parts []string
	var in []grammarTable
	for n := 1 + g.IntN(10)/8; n > 0; n-- {
		text, table := g.source(depth, in)
		if len(parts) == 0 {
			parts = append(parts, text)
			in = append(in, table)
			continue
		}
		switch g.IntN(4) {
		case 0:
			parts = append(parts, ", "+text)
			in = append(in, table)
		case 1:
			parts = append(parts, " natural join "+text)
			in = append(in, table)
		default:
			in = append(in, table)
			on := g.expr(boolKind, in)
			if l, r := g.column(intKind, in[:1]), g.column(intKind, in[len(in)-1:]); l != "" && r != "" && g.chance(80) {
				on = l + " = " + r
			}
			parts = append(parts, g.pick(" join ", " left join ", " full join ")+text+" on "+on)
		}
	}
	if len(outer) > 0 && g.chance(30) {
		in = append(in, outer...) // correlated
	}
	return strings.Join(parts, ""), in
}

// source is one entry of a FROM clause.
func (g *grammar) source(depth int, beside []grammarTable) (string, grammarTable) {
	alias := g.alias()
	switch n := g.IntN(20); {
	case n < 3 && depth > 0 && g.left > 0:
		cols := g.shape()
		return "(" + g.queryOf(depth-1, nil, cols) + ") " + alias, grammarTable{alias, cols, true}
	case n < 5 && depth > 0 && g.left > 0 && len(beside) > 0:
		cols := g.shape()
		return "lateral (" + g.queryOf(depth-1, beside, cols) + ") " + alias, grammarTable{alias, cols, true}
	case n == 5:
		return "unnest(" + g.expr(textsKind, beside) + ") " + alias + "(u)", grammarTable{alias, []grammarColumn{{"u", textKind}}, false}
	case n == 6:
		return "jsonb_each_text(" + g.expr(jsonKind, beside) + ") " + alias + "(key, val)", grammarTable{alias, []grammarColumn{{"key", textKind}, {"val", textKind}}, true}
	case n == 7:
		return "(values (1, " + g.expr(textKind, nil) + "), (2, " + g.expr(textKind, nil) + ")) " + alias + "(id, label)", grammarTable{alias, labelled[:2], true}
	case n == 8:
		return "generate_series(1, 3) " + alias + "(n)", grammarTable{alias, []grammarColumn{{"n", intKind}}, false}
	case n == 9:
		return "regexp_split_to_table(" + g.expr(textKind, beside) + ", '@') " + alias + "(part)", grammarTable{alias, []grammarColumn{{"part", textKind}}, false}
	case n < 12 && len(g.with) > 0:
		t := g.with[g.IntN(len(g.with))]
		return t.name + " " + alias, grammarTable{alias, t.cols, true}
	}
	t := grammarTables[g.IntN(len(grammarTables))]
	if g.chance(5) && len(t.cols) > 2 { // columns by other names
		cols := []grammarColumn{{"c1", t.cols[0].kind}, {"c2", t.cols[1].kind}}
		return t.name + " " + alias + "(c1, c2)", grammarTable{alias, cols, true}
	}
	return t.name + " " + alias, grammarTable{alias, t.cols, true}
}

// shape is a list of columns for a query to have.
func (g *grammar) shape() []grammarColumn {
	var cols []grammarColumn
	for n := range 1 + g.IntN(3) {
		cols = append(cols, grammarColumn{g.pick("id", "x", "y", "label", "email", "name") + fmt.Sprint(n), g.anyKind()})
	}
	return cols
}

// query is a query of any columns.
func (g *grammar) query(depth int, outer []grammarTable, top bool) string {
	if top && g.chance(20) {
		from, in := g.from(depth, outer)
		t := in[0]
		return "select " + g.pick("*", t.name+".*", t.name, "distinct "+t.name+".*") + " from " + from + g.tail(in)
	}
	if top && g.chance(8) {
		return g.grouped(depth)
	}
	return g.queryOf(depth, outer, g.shape())
}

func (g *grammar) grouped(depth int) string {
	from, in := g.from(depth, nil)
	by := g.expr(g.anyKind(), in)
	agg := g.pick("string_agg(%s, ',')", "array_agg(%s)", "max(%s)", "json_agg(%s)", "min(%s)", "count(distinct %s)", "mode() within group (order by %s)", "jsonb_object_agg('k', %s)")
	text := "select " + by + ", " + fmt.Sprintf(agg, g.expr(textKind, in)) + " from " + from + " group by " + g.pick("1", "rollup (1)", "grouping sets ((1), ())")
	if g.chance(20) {
		text += " having count(*) > " + fmt.Sprint(g.IntN(3))
	}
	return text + " order by 1, 2"
}

func (g *grammar) tail(in []grammarTable) string {
	text := ""
	if g.chance(25) {
		if c := g.column(intKind, in); c != "" && g.chance(70) {
			text += fmt.Sprintf(" where %s %s %d", c, g.pick("=", ">", "<>"), g.IntN(5))
		} else {
			text += " where " + g.expr(boolKind, in)
		}
	}
	if g.chance(25) {
		text += " order by " + g.expr([]kind{intKind, textKind}[g.IntN(2)], in)
	}
	if g.chance(15) {
		text += fmt.Sprintf(" limit %d", 1+g.IntN(3))
	}
	return text
}

func (g *grammar) queryOf(depth int, outer []grammarTable, cols []grammarColumn) string {
	with, kept := "", g.with
	if depth > 0 && g.chance(15) {
		name := fmt.Sprintf("w%d", g.names)
		g.names++
		inner := g.shape()
		with = "with " + name + " as " + g.pick("", "materialized ") + "(" + g.queryOf(depth-1, nil, inner) + ") "
		g.with = append(g.with[:len(g.with):len(g.with)], grammarTable{name, inner, true})
	}
	one := func() string {
		from, in := g.from(depth, outer)
		var list []string
		for _, c := range cols {
			list = append(list, g.expr(c.kind, in)+" as "+c.name)
		}
		return "select " + g.pick("", "", "", "distinct ") + strings.Join(list, ", ") + " from " + from + g.tail(in)
	}
	text := with + one()
	if depth > 0 && g.chance(12) {
		text = with + "(" + one() + ") " + g.pick("union", "union all", "except", "intersect") + " (" + one() + ")"
	}
	g.with = kept
	return text
}

// statement is what a client sends, as one or more texts.
func (g *grammar) statement() []string {
	g.names, g.left, g.with = 0, 6+g.IntN(40), nil
	q := g.query(2, nil, true)
	switch g.IntN(40) {
	case 0:
		return []string{"explain (costs off, verbose) " + q}
	case 1:
		return []string{"explain (analyze, costs off, timing off, summary off, format json) " + q}
	case 2:
		return []string{"copy (" + q + ") to stdout"}
	case 3:
		return []string{"copy (" + q + ") to stdout (format csv, header, quote '" + g.pick("\"", "~") + "', delimiter '" + g.pick(",", ";") + "')"}
	case 4:
		return []string{"copy (" + q + ") to stdout (format binary)"}
	case 5:
		return []string{"copy " + g.pick("customers", "orders(customer_email)", "customers(name, ssn)", "plain") + " to stdout"}
	case 6:
		return []string{"declare c " + g.pick("", "binary ", "scroll ") + "cursor for " + q, "fetch 1 from c", "fetch all from c"}
	case 7:
		return []string{"prepare p as " + q, "execute p", "execute p", "deallocate p"}
	case 8:
		return []string{"create temp table tt as " + q, "select * from tt", "select t::text from tt t", "drop table tt"}
	case 9:
		return []string{"create view vv as " + q, "table vv", "select v::text from vv v"}
	case 10:
		return []string{"do $$ begin raise notice '%', (select x::text from (" + q + ") x limit 1); end $$"}
	case 11:
		return []string{"do $$ declare r record; begin for r in " + q + " loop raise info '%', r; end loop; end $$"}
	case 12:
		in := []grammarTable{{"customers", customersColumns, true}}
		return []string{"update customers set " + g.pick("name = ", "notes = ") + g.expr(textKind, in) + " where id < 3 returning " + g.expr(g.anyKind(), in) + ", *", "select name, notes from customers order by id"}
	case 13:
		return []string{"insert into plain select id + 100, " + g.expr(textKind, []grammarTable{{"customers", customersColumns, true}}) + ", 1 from customers returning " + g.pick("*", "label", "plain", "upper(label)"), "table plain"}
	case 14:
		return []string{"delete from orders where id > " + fmt.Sprint(g.IntN(4)) + " returning " + g.expr(g.anyKind(), []grammarTable{{"orders", grammarTables[2].cols, true}})}
	case 15:
		return []string{"insert into customers select * from customers where id = " + fmt.Sprint(g.IntN(6))} // an error with a value
	case 16:
		return []string{"create function ff() returns setof text language " + g.pick("sql as $$ ", "plpgsql as $$ begin return query ") +
			"select x::text from (" + q + ") x" + g.pick(" $$", "; end $$"), "select * from ff()"}
	case 17:
		return []string{"select query_to_xml($$" + strings.ReplaceAll(q, "$$", "''") + "$$, true, true, '')"}
	case 18:
		return []string{"with d as (update plain set qty = qty + 1 where id = 1 returning *) select * from d, (" + q + ") z"}
	case 19:
		return []string{"select set_config('application_name', (select x::text from (" + q + ") x limit 1), true)", "show application_name", "select current_setting('application_name')"}
	case 20:
		return []string{"merge into plain p using (select id, " + g.expr(textKind, []grammarTable{{"customers", customersColumns, true}}) + " as l from customers) c on p.id = c.id when matched then update set label = c.l when not matched then insert values (c.id, c.l, 0)", "table plain"}
	case 21:
		return []string{"savepoint s", q, "rollback to s", q}
	case 22:
		return []string{"create table tt (like customers including all)", "insert into tt select * from customers", "table tt", "alter table tt rename email to label", "select label from tt"}
	case 23:
		return []string{"values (1, (" + g.scalar(textKind, nil) + ")), (2, " + g.expr(textKind, nil) + ")"}
	}
	return []string{q}
}
