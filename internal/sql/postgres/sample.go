package postgres

import (
	"crypto/md5" //nolint:gosec // what the server's md5 is
	"encoding/hex"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bounds of what is tried out.
const (
	maxSampledNodes = 300
	maxSampledRows  = 512
)

// sampler tries a condition on rows that could be in the target. Its values are
// nil, bool, float64, string, []any and anyPattern.
type sampler struct {
	bounds *bounds
	row    map[string]any
	params any // what every parameter is
	steps  int
}

func (s *sampler) literals() *literals { return s.bounds.literals() }

// anyPattern is a parameter whose value is a pattern that matches all.
type anyPattern struct{}

// tautology says whether a condition is true in each of many invented rows, and
// so most likely in all: NULLs aside, as with always. Its own constants and
// their neighbours are among what is tried. Parameters are tried as NULL, as
// true and as a pattern that matches all: who sends the statement picks them.
func (b *bounds) tautology(n *pg_query.Node) bool {
	if b.relation.rel == nil || columnIsConstant(n) {
		return false
	}
	samples, params, ok := b.samples(n)
	if !ok {
		return false
	}
	tried := []any{nil}
	if params {
		tried = []any{nil, true, anyPattern{}}
	}
	return slices.ContainsFunc(tried, func(p any) bool { return b.holds(n, samples, p) })
}

// columnIsConstant says whether a condition is column = constant: whatever that
// is, there are values that differ from it.
func columnIsConstant(n *pg_query.Node) bool {
	e := n.GetAExpr()
	if e == nil || e.Kind != pg_query.A_Expr_Kind_AEXPR_OP || nameOf(e.Name) != "=" {
		return false
	}
	return e.Lexpr.GetColumnRef() != nil && bare(e.Rexpr).GetAConst() != nil || e.Rexpr.GetColumnRef() != nil && bare(e.Lexpr).GetAConst() != nil
}

// sampled is a column and what it is tried with.
type sampled struct {
	name   string
	values []any
}

func (b *bounds) samples(n *pg_query.Node) (all []sampled, params, ok bool) {
	var columns []string
	numbers := []any{-1000000007.0, -7.0, -1.0, 0.0, 1.0, 2.0, 3.0, 10.0, 1000003.0}
	texts := []any{"", "a", "Zz 9", "x%_y", "-1"}
	nodes := 0
	ok = true
	var look func(m protoreflect.Message)
	look = func(m protoreflect.Message) {
		if nodes++; nodes > maxSampledNodes {
			ok = false
			return
		}
		switch x := m.Interface().(type) {
		case *pg_query.ColumnRef:
			names := stringsOf(x.Fields)
			if len(names) == 0 || len(names) > 2 || len(names) < len(x.Fields) || len(names) == 2 && names[0] != b.targetAlias() {
				ok = false
				return
			}
			columns = addString(columns, names[len(names)-1])
			return
		case *pg_query.ParamRef:
			params = true
		case *pg_query.Node:
			if f, is := b.literals().constNumber(x); is && len(numbers) < 40 {
				numbers = append(numbers, f, f-1, f+1)
			}
		case *pg_query.A_Const:
			if s := b.literals().constant(x).GetSval(); s != nil && len(texts) < 40 {
				texts = append(texts, s.Sval, s.Sval+"x", "x"+s.Sval)
			}
		}
		m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case d.IsList() && d.Message() != nil:
				list := v.List()
				for i := range list.Len() {
					look(list.Get(i).Message())
				}
			case !d.IsList() && d.Message() != nil:
				look(v.Message())
			}
			return ok
		})
	}
	look(n.ProtoReflect())
	if !ok || len(columns) == 0 || len(columns) > 4 {
		return nil, false, false
	}
	for _, column := range columns {
		i := b.relation.rel.columnIndex(column)
		if i < 0 {
			return nil, false, false
		}
		c := b.relation.rel.Columns[i]
		s := sampled{name: column}
		switch c.Type {
		case 16:
			s.values = []any{true, false}
		case 20, 21, 23:
			for _, f := range numbers {
				if f == math.Trunc(f.(float64)) {
					s.values = append(s.values, f)
				}
			}
		case 700, 701, 1700:
			s.values = append([]any{0.25, -3.5}, numbers...)
		case 25, 1042, 1043, 19:
			s.values = texts
		default:
			return nil, false, false
		}
		if !c.NotNull {
			s.values = append(s.values[:len(s.values):len(s.values)], nil)
		}
		all = append(all, s)
	}
	return all, params, true
}

// holds says whether a condition is true in some rows and false in none.
func (b *bounds) holds(n *pg_query.Node, columns []sampled, params any) bool {
	total := 1
	for _, c := range columns {
		total *= len(c.values)
	}
	stride := max(total/maxSampledRows, 1)
	if stride > 1 {
		stride |= 1
	}
	s := &sampler{bounds: b, row: make(map[string]any, len(columns)), params: params}
	seen := false
	for i := 0; i < total; i += stride {
		at := i
		for _, c := range columns {
			s.row[c.name] = c.values[at%len(c.values)]
			at /= len(c.values)
		}
		v, ok := s.eval(n)
		if !ok {
			return false
		}
		truth, isBool := v.(bool)
		if v != nil && (!isBool || !truth) {
			return false
		}
		seen = seen || truth
	}
	return seen
}

func (s *sampler) eval(n *pg_query.Node) (any, bool) {
	if s.steps++; s.steps > maxSampledNodes*maxSampledRows {
		return nil, false
	}
	switch x := n.GetNode().(type) {
	case *pg_query.Node_AConst:
		c := s.literals().constant(x.AConst)
		switch {
		case c.Isnull:
			return nil, true
		case c.GetBoolval() != nil:
			return c.GetBoolval().Boolval, true
		case c.GetSval() != nil:
			return c.GetSval().Sval, true
		}
		return numberOrNot(numberOf(c))
	case *pg_query.Node_ParamRef:
		return s.params, true
	case *pg_query.Node_ColumnRef:
		names := stringsOf(x.ColumnRef.Fields)
		if len(names) == 0 {
			return nil, false
		}
		v, ok := s.row[names[len(names)-1]]
		return v, ok
	case *pg_query.Node_TypeCast:
		return s.cast(x.TypeCast)
	case *pg_query.Node_BoolExpr:
		return s.boolean(x.BoolExpr)
	case *pg_query.Node_NullTest:
		v, ok := s.eval(x.NullTest.Arg)
		return (v == nil) == (x.NullTest.Nulltesttype == pg_query.NullTestType_IS_NULL), ok
	case *pg_query.Node_BooleanTest:
		return s.booleanTest(x.BooleanTest)
	case *pg_query.Node_CoalesceExpr:
		for _, arg := range x.CoalesceExpr.Args {
			if v, ok := s.eval(arg); !ok || v != nil {
				return v, ok
			}
		}
		return nil, true
	case *pg_query.Node_MinMaxExpr:
		return s.minMax(x.MinMaxExpr)
	case *pg_query.Node_CaseExpr:
		return s.caseOf(x.CaseExpr)
	case *pg_query.Node_AArrayExpr:
		return s.list(x.AArrayExpr.Elements)
	case *pg_query.Node_RowExpr:
		return s.list(x.RowExpr.Args)
	case *pg_query.Node_List:
		return s.list(x.List.Items)
	case *pg_query.Node_FuncCall:
		args, ok := s.list(x.FuncCall.Args)
		if !ok || x.FuncCall.AggStar || x.FuncCall.Over != nil || x.FuncCall.AggFilter != nil {
			return nil, false
		}
		return callSample(ownName(x.FuncCall.Funcname), args.([]any))
	case *pg_query.Node_SubLink:
		return s.sub(x.SubLink)
	case *pg_query.Node_AExpr:
		return s.operator(x.AExpr)
	}
	return nil, false
}

// ownName is a name of the server's own functions, types and operators.
func ownName(nodes []*pg_query.Node) string {
	return strings.TrimPrefix(nameOf(nodes), "pg_catalog.")
}

func numberOrNot(f float64, ok bool) (any, bool) { return f, ok }

func (s *sampler) list(nodes []*pg_query.Node) (any, bool) {
	all := make([]any, 0, len(nodes))
	for _, n := range nodes {
		v, ok := s.eval(n)
		if !ok {
			return nil, false
		}
		all = append(all, v)
	}
	return all, true
}

func (s *sampler) cast(c *pg_query.TypeCast) (any, bool) {
	v, ok := s.eval(c.Arg)
	if !ok || v == nil {
		return v, ok
	}
	if _, is := v.(anyPattern); is {
		return v, true
	}
	switch to := ownName(c.TypeName.GetNames()); to {
	case "bool":
		switch v := v.(type) {
		case bool:
			return v, true
		case float64:
			return v != 0, true
		}
		known, truth := s.literals().constBool(c.Arg)
		return truth, known
	case "int2", "int4", "int8", "numeric", "float4", "float8":
		if b, is := v.(bool); is {
			if b {
				return 1.0, true
			}
			return 0.0, true
		}
		f, is := v.(float64)
		if text, isText := v.(string); isText {
			parsed, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			f, is = parsed, err == nil
		}
		if is && strings.HasPrefix(to, "int") {
			f = math.RoundToEven(f)
		}
		return f, is
	case "text", "varchar", "bpchar", "name":
		switch v := v.(type) {
		case string:
			return v, len(c.TypeName.Typmods) == 0
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64), true
		case bool:
			return strconv.FormatBool(v), true
		}
	}
	if v == "{}" && len(c.TypeName.GetArrayBounds()) > 0 {
		return []any{}, true
	}
	return nil, false
}

func (s *sampler) boolean(e *pg_query.BoolExpr) (any, bool) {
	and := e.Boolop == pg_query.BoolExprType_AND_EXPR
	null := false
	for _, arg := range e.Args {
		v, ok := s.eval(arg)
		truth, is := v.(bool)
		switch {
		case !ok || v != nil && !is:
			return nil, false
		case v == nil:
			null = true
		case e.Boolop == pg_query.BoolExprType_NOT_EXPR:
			return !truth, true
		case truth != and:
			return truth, true
		}
	}
	if null {
		return nil, true
	}
	return and, true
}

func (s *sampler) booleanTest(e *pg_query.BooleanTest) (any, bool) {
	v, ok := s.eval(e.Arg)
	truth, is := v.(bool)
	if !ok || v != nil && !is {
		return nil, false
	}
	switch e.Booltesttype {
	case pg_query.BoolTestType_IS_TRUE:
		return truth, true
	case pg_query.BoolTestType_IS_NOT_TRUE:
		return !truth, true
	case pg_query.BoolTestType_IS_FALSE:
		return v != nil && !truth, true
	case pg_query.BoolTestType_IS_NOT_FALSE:
		return v == nil || truth, true
	case pg_query.BoolTestType_IS_UNKNOWN:
		return v == nil, true
	}
	return v != nil, true
}

func (s *sampler) minMax(e *pg_query.MinMaxExpr) (any, bool) {
	var best any
	for _, arg := range e.Args {
		v, ok := s.eval(arg)
		if !ok {
			return nil, false
		}
		if v == nil {
			continue
		}
		if best == nil {
			best = v
			continue
		}
		order, ok := compare(v, best)
		if !ok {
			return nil, false
		}
		if (order > 0) == (e.Op == pg_query.MinMaxOp_IS_GREATEST) {
			best = v
		}
	}
	return best, true
}

func (s *sampler) caseOf(e *pg_query.CaseExpr) (any, bool) {
	var subject any
	if e.Arg.GetNode() != nil {
		var ok bool
		if subject, ok = s.eval(e.Arg); !ok {
			return nil, false
		}
	}
	for _, n := range e.Args {
		when := n.GetCaseWhen()
		v, ok := s.eval(when.Expr)
		if !ok {
			return nil, false
		}
		if e.Arg.GetNode() != nil {
			if v, ok = apply("=", subject, v); !ok {
				return nil, false
			}
		}
		if v == true {
			return s.eval(when.Result)
		}
	}
	if e.Defresult.GetNode() == nil {
		return nil, true
	}
	return s.eval(e.Defresult)
}

// sub tries subqueries that read no table, or none of its rows.
func (s *sampler) sub(x *pg_query.SubLink) (any, bool) {
	q := x.Subselect.GetSelectStmt()
	if q == nil || q.Op != pg_query.SetOperation_SETOP_NONE || q.GroupClause != nil || q.HavingClause != nil || q.WithClause != nil || len(q.ValuesLists) > 0 {
		return nil, false
	}
	where := any(true)
	if q.WhereClause.GetNode() != nil {
		known, truth := s.literals().constBool(q.WhereClause)
		where = truth
		if !known {
			var ok bool
			if len(q.FromClause) > 0 {
				return nil, false
			}
			if where, ok = s.eval(q.WhereClause); !ok {
				return nil, false
			}
		}
	}
	if where != true {
		switch x.SubLinkType {
		case pg_query.SubLinkType_EXISTS_SUBLINK, pg_query.SubLinkType_ANY_SUBLINK:
			return false, true
		case pg_query.SubLinkType_ALL_SUBLINK:
			return true, true
		case pg_query.SubLinkType_EXPR_SUBLINK:
			return nil, len(q.FromClause) == 0
		}
		return nil, false
	}
	if len(q.FromClause) > 0 || q.LimitCount != nil || q.LimitOffset != nil {
		return nil, false
	}
	if x.SubLinkType == pg_query.SubLinkType_EXISTS_SUBLINK {
		return true, true
	}
	if len(q.TargetList) != 1 {
		return nil, false
	}
	v, ok := s.eval(q.TargetList[0].GetResTarget().GetVal())
	if !ok || x.SubLinkType == pg_query.SubLinkType_EXPR_SUBLINK {
		return v, ok
	}
	l, ok := s.eval(x.Testexpr)
	if !ok || x.SubLinkType != pg_query.SubLinkType_ANY_SUBLINK && x.SubLinkType != pg_query.SubLinkType_ALL_SUBLINK {
		return nil, false
	}
	op := "="
	if len(x.OperName) > 0 {
		op = ownName(x.OperName)
	}
	return apply(op, l, v)
}

func (s *sampler) operator(e *pg_query.A_Expr) (any, bool) {
	op := ownName(e.Name)
	r, ok := s.eval(e.Rexpr)
	if !ok {
		return nil, false
	}
	if e.Lexpr.GetNode() == nil {
		f, is := r.(float64)
		switch {
		case r == nil:
			return nil, true
		case is && op == "-":
			return -f, true
		case is && op == "+":
			return f, true
		case is && op == "@":
			return math.Abs(f), true
		}
		return nil, false
	}
	l, ok := s.eval(e.Lexpr)
	if !ok {
		return nil, false
	}
	switch e.Kind {
	case pg_query.A_Expr_Kind_AEXPR_OP, pg_query.A_Expr_Kind_AEXPR_LIKE, pg_query.A_Expr_Kind_AEXPR_ILIKE:
		return apply(op, l, r)
	case pg_query.A_Expr_Kind_AEXPR_DISTINCT, pg_query.A_Expr_Kind_AEXPR_NOT_DISTINCT:
		same := l == nil && r == nil
		if l != nil && r != nil {
			order, ok := compare(l, r)
			if !ok {
				return nil, false
			}
			same = order == 0
		}
		return same == (e.Kind == pg_query.A_Expr_Kind_AEXPR_NOT_DISTINCT), true
	case pg_query.A_Expr_Kind_AEXPR_NULLIF:
		same, ok := apply("=", l, r)
		if same == true {
			return nil, ok
		}
		return l, ok
	case pg_query.A_Expr_Kind_AEXPR_IN:
		return among(op, l, r, op == "=")
	case pg_query.A_Expr_Kind_AEXPR_OP_ANY, pg_query.A_Expr_Kind_AEXPR_OP_ALL:
		if r == "{}" {
			r = []any{}
		}
		if r == nil {
			return nil, true
		}
		return among(op, l, r, e.Kind == pg_query.A_Expr_Kind_AEXPR_OP_ANY)
	case pg_query.A_Expr_Kind_AEXPR_BETWEEN, pg_query.A_Expr_Kind_AEXPR_NOT_BETWEEN:
		limits, is := r.([]any)
		if !is || len(limits) != 2 {
			return nil, false
		}
		low, ok := apply(">=", l, limits[0])
		high, ok2 := apply("<=", l, limits[1])
		if !ok || !ok2 {
			return nil, false
		}
		within := low == true && high == true
		if !within && low != false && high != false {
			return nil, true
		}
		return within == (e.Kind == pg_query.A_Expr_Kind_AEXPR_BETWEEN), true
	}
	return nil, false
}

// among compares a value with a list's, of which one must fit, or all.
func among(op string, l, list any, one bool) (any, bool) {
	items, is := list.([]any)
	if !is {
		return nil, false
	}
	null := false
	for _, item := range items {
		v, ok := apply(op, l, item)
		switch {
		case !ok:
			return nil, false
		case v == nil:
			null = true
		case v == one:
			return one, true
		}
	}
	if null {
		return nil, true
	}
	return !one, true
}

// apply is a binary operator of the server's own.
func apply(op string, l, r any) (any, bool) {
	if l == nil || r == nil {
		return nil, true
	}
	if _, is := r.(anyPattern); is {
		switch op {
		case "~~", "~~*", "~", "~*":
			return true, true
		}
		return nil, false
	}
	a, isNumber := l.(float64)
	b, isNumber2 := r.(float64)
	if isNumber && isNumber2 {
		switch op {
		case "+":
			return a + b, true
		case "-":
			return a - b, true
		case "*":
			return a * b, true
		case "/":
			if b == 0 {
				return nil, false
			}
			if a == math.Trunc(a) && b == math.Trunc(b) {
				return math.Trunc(a / b), true
			}
			return a / b, true
		case "%":
			return math.Mod(a, b), b != 0
		}
	}
	text, isText := l.(string)
	other, isText2 := r.(string)
	if isText && isText2 {
		switch op {
		case "||":
			return text + other, true
		case "~~", "!~~":
			return like(text, other) == (op == "~~"), true
		case "~~*", "!~~*":
			return like(strings.ToLower(text), strings.ToLower(other)) == (op == "~~*"), true
		case "~", "!~", "~*", "!~*":
			if len(other) > 100 {
				return nil, false
			}
			prefix := "(?s)"
			if strings.HasSuffix(op, "*") {
				prefix = "(?is)"
			}
			re, err := regexp.Compile(prefix + other)
			if err != nil {
				return nil, false
			}
			return re.MatchString(text) == (op[0] == '~'), true
		case "^@":
			return strings.HasPrefix(text, other), true
		}
	}
	order, ok := compare(l, r)
	if !ok {
		return nil, false
	}
	switch op {
	case "=":
		return order == 0, true
	case "<>", "!=":
		return order != 0, true
	}
	if isText && order != 0 {
		return nil, false // the order is the collation's
	}
	switch op {
	case "<":
		return order < 0, true
	case "<=":
		return order <= 0, true
	case ">":
		return order > 0, true
	case ">=":
		return order >= 0, true
	}
	return nil, false
}

// compare orders two values of one kind. A constant text that is compared with
// a number is one.
func compare(l, r any) (int, bool) {
	switch a := l.(type) {
	case bool:
		b, ok := r.(bool)
		switch {
		case a == b:
			return 0, ok
		case a:
			return 1, ok
		}
		return -1, ok
	case float64:
		b, ok := r.(float64)
		if text, is := r.(string); is {
			f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			b, ok = f, err == nil
		}
		switch {
		case a < b:
			return -1, ok
		case a > b:
			return 1, ok
		}
		return 0, ok
	case string:
		switch b := r.(type) {
		case string:
			return strings.Compare(a, b), true
		case float64:
			order, ok := compare(b, a)
			return -order, ok
		}
	case []any:
		b, ok := r.([]any)
		if !ok || len(a) != len(b) {
			return 0, false
		}
		for i := range a {
			if a[i] == nil || b[i] == nil {
				return 0, false
			}
			if order, ok := compare(a[i], b[i]); order != 0 || !ok {
				return order, ok
			}
		}
		return 0, true
	}
	return 0, false
}

// like matches as LIKE does.
func like(text, pattern string) bool {
	if len(pattern) > 200 || len(text) > 400 {
		return false
	}
	for pattern != "" {
		switch pattern[0] {
		case '%':
			for i := 0; i <= len(text); i++ {
				if like(text[i:], strings.TrimLeft(pattern, "%")) {
					return true
				}
			}
			return false
		case '_':
			_, n := utf8.DecodeRuneInString(text)
			if text == "" {
				return false
			}
			text, pattern = text[n:], pattern[1:]
			continue
		case '\\':
			if len(pattern) > 1 {
				pattern = pattern[1:]
			}
		}
		if text == "" || text[0] != pattern[0] {
			return false
		}
		text, pattern = text[1:], pattern[1:]
	}
	return text == ""
}

// comparing is the operator of a function behind one: eq of int4eq.
func comparing(name string) string {
	switch name {
	case "eq":
		return "="
	case "ne":
		return "<>"
	case "lt":
		return "<"
	case "le":
		return "<="
	case "gt":
		return ">"
	case "ge":
		return ">="
	case "like":
		return "~~"
	case "nlike":
		return "!~~"
	case "pl":
		return "+"
	case "mi":
		return "-"
	case "mul":
		return "*"
	}
	return ""
}

// callSample is a function of the server's own.
func callSample(name string, args []any) (any, bool) {
	switch name {
	case "num_nulls", "num_nonnulls":
		nulls := 0
		for _, a := range args {
			if a == nil {
				nulls++
			}
		}
		if name == "num_nulls" {
			return float64(nulls), true
		}
		return float64(len(args) - nulls), true
	case "concat":
		text := ""
		for _, a := range args {
			switch a := a.(type) {
			case nil:
			case string:
				text += a
			case float64:
				text += strconv.FormatFloat(a, 'f', -1, 64)
			default:
				return nil, false
			}
		}
		return text, true
	}
	if slices.Contains(args, nil) {
		return nil, true
	}
	if len(args) == 1 {
		switch v := args[0].(type) {
		case float64:
			switch name {
			case "abs":
				return math.Abs(v), true
			case "floor":
				return math.Floor(v), true
			case "ceil", "ceiling":
				return math.Ceil(v), true
			case "sign":
				if v == 0 {
					return 0.0, true
				}
				return math.Copysign(1, v), true
			}
		case string:
			switch name {
			case "length", "char_length", "character_length":
				return float64(utf8.RuneCountInString(v)), true
			case "octet_length":
				return float64(len(v)), true
			case "upper":
				return strings.ToUpper(v), true
			case "lower":
				return strings.ToLower(v), true
			case "btrim":
				return strings.Trim(v, " "), true
			case "md5":
				sum := md5.Sum([]byte(v)) //nolint:gosec // as above
				return hex.EncodeToString(sum[:]), true
			}
		}
		return nil, false
	}
	if len(args) != 2 {
		return nil, false
	}
	for _, kind := range []string{"int2", "int4", "int8", "text", "bool", "float8", "float4", "numeric_", "bpchar", "name"} {
		if rest, ok := strings.CutPrefix(name, kind); ok {
			if op := comparing(rest); op != "" {
				return apply(op, args[0], args[1])
			}
		}
	}
	text, ok := args[0].(string)
	part, ok2 := args[1].(string)
	if ok && ok2 {
		switch name {
		case "starts_with":
			return strings.HasPrefix(text, part), true
		case "position", "strpos":
			before, _, found := strings.Cut(text, part)
			if !found {
				return 0.0, true
			}
			return float64(utf8.RuneCountInString(before) + 1), true
		case "like":
			return like(text, part), true
		}
	}
	if name == "mod" {
		return apply("%", args[0], args[1])
	}
	return nil, false
}
