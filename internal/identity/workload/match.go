package workload

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// The limits of one condition. One that would cost more doesn't hold.
const (
	maxCondition = 4 << 10
	maxNesting   = 2
	maxCost      = 100_000
	maxPaths     = 64
)

// condition is a compiled match.
type condition struct{ program cel.Program }

// newCondition compiles a rule's match, and refuses one that trusts whatever the
// issuer signs.
func newCondition(r Rule) (*condition, error) {
	env, err := cel.NewEnv(
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateComprehensionNestingLimit(maxNesting)),
		cel.ParserExpressionSizeLimit(maxCondition), cel.ParserRecursionLimit(100),
	)
	if err != nil {
		return nil, fmt.Errorf("CEL environment: %w", err)
	}
	compiled, issues := env.Compile(r.Match)
	if issues != nil && issues.Err() != nil {
		return nil, errors.New(strings.ReplaceAll(issues.Errors()[0].Message, " (in container '')", ""))
	}
	if compiled.OutputType() != cel.BoolType && compiled.OutputType() != cel.DynType {
		return nil, fmt.Errorf("it is of type %s; expected one that is true or false", compiled.OutputType())
	}
	program, err := env.Program(compiled, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, err
	}
	c := &condition{program: program}
	return c, c.choosy(r, paths(compiled.NativeRep().Expr()))
}

// holds says whether claims meet the condition. One that can't be evaluated,
// because a claim isn't there, doesn't hold.
func (c *condition) holds(claims map[string]any) bool {
	out, _, err := c.program.Eval(map[string]any{"claims": claims})
	return err == nil && out == types.True
}

// choosy is an error when the condition holds for a stranger: claims of which
// each that it looks at says something that nobody would have thought of. It is
// tried with strangers of several kinds, so that it doesn't matter how the
// condition comes to trust everybody.
func (c *condition) choosy(r Rule, looked [][]string) error {
	own := func(p []string) bool {
		return slices.Contains([]string{"iss", "aud", "exp", "nbf", "iat", "jti"}, p[0])
	}
	if !slices.ContainsFunc(looked, func(p []string) bool { return !own(p) }) {
		return errors.New(`it looks at no claim, and so trusts whatever the issuer signs; name yours, like claims.repository_id == "123456"`)
	}
	for _, value := range []any{
		"b1946ac9-stranger", "B1946AC9/Stranger:x@y.example", "", "0", "true", "false", 7.0, 0.0, true, false, []any{}, []any{"stranger"}, map[string]any{}, nil,
	} {
		claims := stranger(looked, value, r)
		if c.holds(claims) {
			return fmt.Errorf("it holds for strangers, too (claims that are all %q), and so trusts whatever the issuer signs: "+
				`name what is yours, like claims.repository_id == "123456"`, fmt.Sprint(value))
		}
	}
	if c.holds(map[string]any{"iss": r.Issuer, "aud": r.Audience, "sub": "stranger"}) {
		return errors.New("it holds for tokens without the claims that it speaks of, and so trusts whatever the issuer signs")
	}
	return nil
}

// stranger are claims in which every path ends in one value; those of the
// token's frame are as of any token of the issuer.
func stranger(looked [][]string, value any, r Rule) map[string]any {
	claims := map[string]any{"sub": value}
	for _, path := range looked {
		at := claims
		for i, name := range path {
			if i == len(path)-1 {
				if _, nested := at[name].(map[string]any); !nested {
					at[name] = value
				}
				break
			}
			next, ok := at[name].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[name] = next
			}
			at = next
		}
	}
	claims["iss"], claims["aud"] = r.Issuer, r.Audience
	claims["exp"], claims["iat"], claims["nbf"], claims["jti"] = 4e9, 1e9, 1e9, "stranger"
	return claims
}

// paths are the claims that an expression looks at: claims.a.b and
// claims["a"].b are both ["a", "b"].
func paths(e ast.Expr) [][]string {
	var all [][]string
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if p := path(e); len(p) > 0 && len(all) < maxPaths {
			all = append(all, p)
		}
	}))
	return all
}

// path is where an expression looks in claims; nil when it doesn't.
func path(e ast.Expr) []string {
	switch e.Kind() {
	case ast.SelectKind:
		operand := e.AsSelect().Operand()
		if isClaims(operand) {
			return []string{e.AsSelect().FieldName()}
		}
		if p := path(operand); p != nil {
			return append(slices.Clone(p), e.AsSelect().FieldName())
		}
	case ast.CallKind:
		call := e.AsCall()
		switch {
		case call.FunctionName() == operators.Index && len(call.Args()) == 2:
			name, ok := text(call.Args()[1])
			if !ok {
				return nil
			}
			if isClaims(call.Args()[0]) {
				return []string{name}
			}
			if p := path(call.Args()[0]); p != nil {
				return append(slices.Clone(p), name)
			}
		case call.FunctionName() == operators.In && len(call.Args()) == 2 && isClaims(call.Args()[1]):
			if name, ok := text(call.Args()[0]); ok {
				return []string{name}
			}
		}
	}
	return nil
}

func isClaims(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == "claims" }

func text(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().Value().(string)
	return s, ok
}
