package postgres

import (
	"strconv"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

func (h *literals) constFalse(n *pg_query.Node) bool {
	known, truth := h.constBool(n)
	return known && !truth
}

func mirror(op string) string {
	switch op {
	case "<":
		return ">"
	case ">":
		return "<"
	case "<=":
		return ">="
	case ">=":
		return "<="
	}
	return op
}

// pattern says whether a pattern matches any text.
func (h *literals) pattern(op string, n *pg_query.Node) bool {
	switch op {
	case "~~", "~~*":
		return h.textIs(n, func(text string) bool { return text != "" && strings.Trim(text, "%") == "" })
	case "~", "~*":
		return h.textIs(n, func(text string) bool {
			return text == "" || text == ".*" || text == "^" || text == "$" || text == "^.*$" || text == "^.*" || text == ".*$" || text == "()"
		})
	case "^@", ">=":
		return h.textIs(n, func(text string) bool { return text == "" })
	}
	return false
}

func stripCast(n *pg_query.Node) *pg_query.Node {
	for n.GetTypeCast() != nil {
		n = n.GetTypeCast().Arg
	}
	return n
}

// numberOf is a constant as a number.
func numberOf(c *pg_query.A_Const) (float64, bool) {
	switch {
	case c.Isnull:
		return 0, false
	case c.GetIval() != nil:
		return float64(c.GetIval().Ival), true
	case c.GetFval() != nil:
		f, err := strconv.ParseFloat(strings.ReplaceAll(c.GetFval().Fval, "_", ""), 64)
		return f, err == nil
	}
	return 0, c.GetSval() == nil && c.GetBoolval() == nil && c.GetBsval() == nil
}

// constNumber is the number that an expression is.
func (h *literals) constNumber(n *pg_query.Node) (float64, bool) {
	n = stripCast(n)
	if c := n.GetAConst(); c != nil {
		if k, ok := h.kindOf(c); ok && k == kindString {
			return 0, false
		}
		return numberOf(h.constant(c))
	}
	if !folds(n) {
		return 0, false
	}
	if e := n.GetAExpr(); e != nil && e.Kind == pg_query.A_Expr_Kind_AEXPR_OP {
		r, ok := h.constNumber(e.Rexpr)
		if !ok {
			return 0, false
		}
		if e.Lexpr.GetNode() == nil {
			if nameOf(e.Name) == "-" {
				return -r, true
			}
			return 0, false
		}
		l, ok := h.constNumber(e.Lexpr)
		if !ok {
			return 0, false
		}
		switch nameOf(e.Name) {
		case "+":
			return l + r, true
		case "-":
			return l - r, true
		case "*":
			return l * r, true
		}
	}
	return 0, false
}

// folds says whether an expression could be over nothing but constants.
func folds(n *pg_query.Node) bool {
	switch x := n.GetNode().(type) {
	case nil, *pg_query.Node_AConst:
		return true
	case *pg_query.Node_TypeCast:
		return folds(x.TypeCast.Arg)
	case *pg_query.Node_AExpr:
		return folds(x.AExpr.Lexpr) && folds(x.AExpr.Rexpr)
	}
	return false
}

// constBool folds an expression over constants.
func (h *literals) constBool(n *pg_query.Node) (known, truth bool) {
	switch x := n.GetNode().(type) {
	case *pg_query.Node_AConst:
		if v := x.AConst.GetBoolval(); v != nil {
			return true, v.Boolval
		}
		if x.AConst.Isnull {
			return true, false
		}
		if k, ok := h.kindOf(x.AConst); ok && k != kindString {
			return false, false
		}
		if s := h.constant(x.AConst).GetSval(); s != nil {
			switch strings.ToLower(strings.TrimSpace(s.Sval)) {
			case "t", "tr", "tru", "true", "y", "ye", "yes", "on", "1":
				return true, true
			case "f", "fa", "fal", "fals", "false", "n", "no", "off", "of", "0":
				return true, false
			}
		}
	case *pg_query.Node_TypeCast:
		names := stringsOf(x.TypeCast.TypeName.GetNames())
		if len(names) > 0 && (names[len(names)-1] == "bool" || names[len(names)-1] == "boolean") {
			if f, ok := h.constNumber(x.TypeCast.Arg); ok {
				return true, f != 0
			}
			return h.constBool(x.TypeCast.Arg)
		}
	case *pg_query.Node_BoolExpr:
		return h.foldBool(x.BoolExpr)
	case *pg_query.Node_AExpr:
		if x.AExpr.Kind != pg_query.A_Expr_Kind_AEXPR_OP {
			return false, false
		}
		return h.foldComparison(x.AExpr)
	}
	return false, false
}

func (h *literals) foldBool(e *pg_query.BoolExpr) (known, truth bool) {
	all := true
	for _, a := range e.Args {
		k, t := h.constBool(a)
		switch {
		case !k:
			all = false
		case e.Boolop == pg_query.BoolExprType_NOT_EXPR:
			return true, !t
		case e.Boolop == pg_query.BoolExprType_OR_EXPR && t:
			return true, true
		case e.Boolop == pg_query.BoolExprType_AND_EXPR && !t:
			return true, false
		}
	}
	return all, e.Boolop == pg_query.BoolExprType_AND_EXPR
}

func (h *literals) foldComparison(e *pg_query.A_Expr) (known, truth bool) {
	if !folds(e.Lexpr) || !folds(e.Rexpr) {
		return false, false
	}
	var order int
	l, ok := h.constNumber(e.Lexpr)
	r, ok2 := h.constNumber(e.Rexpr)
	if ok && ok2 && e.Lexpr.GetNode() != nil {
		switch {
		case l < r:
			order = -1
		case l > r:
			order = 1
		}
	} else {
		a, ok := h.constText(e.Lexpr)
		b, ok2 := h.constText(e.Rexpr)
		if !ok || !ok2 {
			return false, false
		}
		order = strings.Compare(a, b)
		if order != 0 && nameOf(e.Name) != "=" && nameOf(e.Name) != "<>" {
			return false, false // the order is the collation's
		}
	}
	switch nameOf(e.Name) {
	case "=":
		return true, order == 0
	case "<>", "!=":
		return true, order != 0
	case "<":
		return true, order < 0
	case "<=":
		return true, order <= 0
	case ">":
		return true, order > 0
	case ">=":
		return true, order >= 0
	}
	return false, false
}
