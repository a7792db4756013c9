package postgres

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// argText is the text of an argument, when it is written out.
func (h *literals) argText(c *pg_query.FuncCall, i int) (string, bool) {
	if c == nil || i >= len(c.Args) {
		return "", false
	}
	return h.constText(c.Args[i])
}

// constText is the text that an expression stands for, when it is a constant,
// perhaps cast to a type that keeps text as it is.
func (h *literals) constText(n *pg_query.Node) (string, bool) {
	switch x := n.GetNode().(type) {
	case *pg_query.Node_AConst:
		if k, ok := h.kindOf(x.AConst); ok && k != kindString {
			return "", false
		}
		if s := h.constant(x.AConst).GetSval(); s != nil && !x.AConst.Isnull {
			return s.Sval, true
		}
	case *pg_query.Node_TypeCast:
		names := stringsOf(x.TypeCast.TypeName.GetNames())
		if len(names) == 0 || len(x.TypeCast.TypeName.ArrayBounds) > 0 || len(x.TypeCast.TypeName.Typmods) > 0 {
			return "", false
		}
		switch names[len(names)-1] {
		case "text", "varchar", "cstring", "unknown", "regclass":
			return h.constText(x.TypeCast.Arg)
		}
	case *pg_query.Node_AExpr:
		if nameOf(x.AExpr.Name) == "||" && x.AExpr.Kind == pg_query.A_Expr_Kind_AEXPR_OP {
			if !folds(n) {
				return "", false
			}
			a, ok := h.constText(x.AExpr.Lexpr)
			b, ok2 := h.constText(x.AExpr.Rexpr)
			return a + b, ok && ok2
		}
	case *pg_query.Node_NamedArgExpr:
		return "", false
	}
	return "", false
}

// sequence names the sequence that nextval or setval changes.
func (r *reader) sequence(function string, c *pg_query.FuncCall, _ *scope) {
	if function != "nextval" && function != "setval" {
		return
	}
	text, ok := r.run.literals.argText(c, 0)
	if ok {
		if names, valid := splitName(text); valid {
			v := &pg_query.RangeVar{Relname: names[len(names)-1]}
			if len(names) == 2 {
				v.Schemaname = names[0]
			}
			f := r.relation(v)
			r.facts.object(kindTable, f.qualified(), true)
			return
		}
	}
	r.facts.object(kindTable, unprovenSchema+"."+unprovenSchema, true)
}

// splitName reads a qualified name as regclass does.
func splitName(text string) ([]string, bool) {
	var names []string
	rest := strings.TrimSpace(text)
	for {
		var part string
		if strings.HasPrefix(rest, `"`) {
			end := 1
			var b strings.Builder
			for ; end < len(rest); end++ {
				if rest[end] == '"' {
					if end+1 < len(rest) && rest[end+1] == '"' {
						end++
					} else {
						break
					}
				}
				b.WriteByte(rest[end])
			}
			if end >= len(rest) {
				return nil, false
			}
			part, rest = b.String(), rest[end+1:]
		} else {
			end := strings.IndexAny(rest, ". \t\n\r\f\"")
			if end < 0 {
				end = len(rest)
			}
			part, rest = strings.ToLower(rest[:end]), rest[end:]
			if !ascii(part) {
				return nil, false
			}
		}
		if part == "" || len(part) > 63 || part[0] >= '0' && part[0] <= '9' {
			return nil, false
		}
		names = append(names, part)
		rest = strings.TrimSpace(rest)
		if rest == "" {
			return names, len(names) <= 2
		}
		if rest[0] != '.' {
			return nil, false
		}
		rest = strings.TrimSpace(rest[1:])
	}
}

// queryText reads the SQL that a function is given as text.
func (r *reader) queryText(c *pg_query.FuncCall, arg int) value {
	r.facts.dynamic = true
	text, ok := r.run.literals.argText(c, arg)
	if !ok || len(text) > maxText {
		r.facts.unknown("It runs SQL that is put together at run time.")
		return opaque
	}
	return r.textual(text)
}

// textual reads SQL that is run from a text, and mixes all that it returns.
func (r *reader) textual(text string) value {
	if !r.env.StandardConformingStrings && strings.IndexByte(text, '\\') >= 0 {
		r.facts.unknown("It runs SQL that can't be read while standard_conforming_strings is off.")
		return opaque
	}
	tree, problem := parse(text)
	if problem != "" {
		r.facts.unknown("It runs SQL from a text that can't be read.")
		return opaque
	}
	v := constant
	for _, raw := range tree.Stmts {
		fields, known := r.effects(raw.Stmt, nil)
		v.add(rowOf(fields, known))
	}
	return v.bare()
}

// tableText reads the table that a function is given by name.
func (r *reader) tableText(c *pg_query.FuncCall) value {
	r.facts.verb("select", levelRead)
	if text, ok := r.run.literals.argText(c, 0); ok {
		if names, valid := splitName(text); valid {
			v := &pg_query.RangeVar{Relname: names[len(names)-1]}
			if len(names) == 2 {
				v.Schemaname = names[0]
			}
			out := r.table(v, &scope{}, false).row().bare()
			r.facts.use(out)
			return out
		}
	}
	r.facts.object(kindTable, unprovenSchema+"."+unprovenSchema, false)
	r.facts.unproven = true
	return opaque
}
