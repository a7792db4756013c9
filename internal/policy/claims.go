package policy

import (
	"maps"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"postern"
)

// claimsRead are the claims of an identity that conditions read, by name.
type claimsRead struct {
	names map[string]bool
	all   bool // one is read whose name isn't written there, or all of them are
}

// ClaimsMatter says whether anything in the set could decide otherwise for an
// identity when its claims are those and no longer these: some condition reads
// one of the claims that differ.
func (s *Set) ClaimsMatter(was, now postern.Claims) bool {
	if s.claims.all {
		return !maps.Equal(was, now)
	}
	for name := range s.claims.names {
		before, had := was[name]
		after, has := now[name]
		if before != after || had != has {
			return true
		}
	}
	return false
}

// read notes the claims that an expression reads.
func (c *claimsRead) read(e celast.Expr) {
	switch e.Kind() {
	case celast.IdentKind:
		c.all = c.all || e.AsIdent() == "identity"
	case celast.SelectKind:
		operand, field := e.AsSelect().Operand(), e.AsSelect().FieldName()
		switch {
		case isClaims(operand):
			c.name(field)
		case isClaims(e):
			c.all = true
		case !isIdentity(operand):
			c.read(operand)
		}
	case celast.CallKind:
		c.call(e.AsCall())
	case celast.ListKind:
		c.each(e.AsList().Elements())
	case celast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			c.each([]celast.Expr{entry.AsMapEntry().Key(), entry.AsMapEntry().Value()})
		}
	case celast.ComprehensionKind:
		f := e.AsComprehension()
		c.each([]celast.Expr{f.IterRange(), f.AccuInit(), f.LoopCondition(), f.LoopStep(), f.Result()})
	case celast.StructKind:
		for _, field := range e.AsStruct().Fields() {
			c.read(field.AsStructField().Value())
		}
	}
}

// call notes identity.claims["x"] and "x" in identity.claims, and what else is
// in a call.
func (c *claimsRead) call(call celast.CallExpr) {
	args := call.Args()
	var of, key celast.Expr
	switch {
	case call.FunctionName() == operators.Index && len(args) == 2:
		of, key = args[0], args[1]
	case call.FunctionName() == operators.In && len(args) == 2:
		of, key = args[1], args[0]
	}
	if of != nil && isClaims(of) && key.Kind() == celast.LiteralKind {
		if name, ok := key.AsLiteral().(types.String); ok {
			c.name(string(name))
			return
		}
	}
	if call.IsMemberFunction() {
		c.read(call.Target())
	}
	c.each(args)
}

func (c *claimsRead) each(all []celast.Expr) {
	for _, e := range all {
		c.read(e)
	}
}

func (c *claimsRead) name(name string) {
	if c.names == nil {
		c.names = map[string]bool{}
	}
	c.names[name] = true
}

func isIdentity(e celast.Expr) bool {
	return e.Kind() == celast.IdentKind && e.AsIdent() == "identity"
}

func isClaims(e celast.Expr) bool {
	return e.Kind() == celast.SelectKind && e.AsSelect().FieldName() == "claims" && isIdentity(e.AsSelect().Operand())
}
