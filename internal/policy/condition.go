package policy

import (
	"fmt"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"

	"postern"
)

// The limits of one condition. A condition that would cost more ends with an
// error, and so denies.
const (
	maxCondition = 8 << 10 // characters
	maxDepth     = 100
	maxNesting   = 2 // of exists(), all(), map() … in one another
	maxCost      = 1_000_000
)

// conditions compiles conditions, for each protocol apart.
type conditions struct {
	provider *provider
	base     *cel.Env
	zones    zones
	envs     map[string]*cel.Env // by protocol
	claims   claimsRead          // by those compiled so far
}

func newConditions(protocols []ProtocolType) (*conditions, error) {
	p, err := newProvider(protocols)
	if err != nil {
		return nil, err
	}
	cs := &conditions{provider: p, envs: make(map[string]*cel.Env)}
	options := append([]cel.EnvOption{cel.CustomTypeProvider(p)}, cs.zones.options()...)
	cs.base, err = cel.NewCustomEnv(append(options,
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateComprehensionNestingLimit(maxNesting)),
		cel.ParserExpressionSizeLimit(maxCondition),
		cel.ParserRecursionLimit(maxDepth),
		cel.Variable("identity", p.objects[identityType]),
		cel.Variable("resource", p.objects[resourceType]),
		cel.Variable("session", p.objects[sessionType]),
		cel.Variable("now", cel.TimestampType),
		textFunction("lowerAscii", func(s string) string { return mapASCII(s, 'A', 'Z', 'a'-'A') }),
		textFunction("upperAscii", func(s string) string { return mapASCII(s, 'a', 'z', 'A'-'a') }),
		textFunction("trim", strings.TrimSpace),
		ext.Sets(),
		ext.Network(),
	)...)
	if err != nil {
		return nil, fmt.Errorf("CEL environment: %w", err)
	}
	return cs, nil
}

// textFunction is a method of texts that takes one pass and makes nothing
// larger. (CEL's own extension for texts has replace and join, which can make
// a large text of a small one before a cost limit sees it.)
func textFunction(name string, f func(string) string) cel.EnvOption {
	return cel.Function(name, cel.MemberOverload("string_"+name, []*cel.Type{cel.StringType}, cel.StringType,
		cel.UnaryBinding(func(v ref.Val) ref.Val {
			s, ok := v.(types.String)
			if !ok {
				return types.MaybeNoSuchOverloadErr(v)
			}
			return types.String(f(string(s)))
		})))
}

func mapASCII(s string, from, to rune, by rune) string {
	return strings.Map(func(r rune) rune {
		if from <= r && r <= to {
			return r + by
		}
		return r
	}, s)
}

// condition is a compiled condition. It may be used from several goroutines.
type condition struct {
	program cel.Program
	// fleeting says that it looks at the time, or at what a client wrote.
	fleeting bool
}

// mistake is a mistake in a condition's text.
type mistake struct {
	line    int // of the text, from 1
	message string
}

// compile compiles a condition for one protocol's commands.
func (cs *conditions) compile(text, protocol string) (*condition, []mistake) {
	env, err := cs.env(protocol)
	if err != nil {
		return nil, []mistake{{1, err.Error()}}
	}
	return cs.program(env, text, func(message string) string { return cs.hint(message, commandType+protocol, "command") })
}

// asking compiles a condition over requests for access.
func (cs *conditions) asking(text string) (*condition, []mistake) {
	env, err := cs.base.Extend(cel.Variable("request", cs.provider.objects[askingType]))
	if err != nil {
		return nil, []mistake{{1, err.Error()}}
	}
	return cs.program(env, text, func(message string) string { return cs.hint(message, askingType, "request") })
}

// program compiles a condition in an environment; hint adds to CEL's messages.
func (cs *conditions) program(env *cel.Env, text string, hint func(string) string) (*condition, []mistake) {
	ast, issues := env.Compile(text)
	if issues != nil && len(issues.Errors()) > 0 {
		var all []mistake
		for _, e := range issues.Errors() {
			all = append(all, mistake{max(e.Location.Line(), 1), hint(e.Message)})
		}
		return nil, all
	}
	if ast.OutputType() != cel.BoolType {
		return nil, []mistake{{1, fmt.Sprintf("the condition is of type %s; expected one that is true or false", ast.OutputType())}}
	}
	if wrong := cs.zones.check(ast); len(wrong) > 0 {
		return nil, wrong
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostTracking(textCost{}), cel.CostLimit(maxCost))
	if err != nil {
		return nil, []mistake{{1, err.Error()}}
	}
	cs.claims.read(ast.NativeRep().Expr())
	return &condition{program: program, fleeting: fleeting(ast.NativeRep().Expr())}, nil
}

func (cs *conditions) env(protocol string) (*cel.Env, error) {
	if env, ok := cs.envs[protocol]; ok {
		return env, nil
	}
	env, err := cs.base.Extend(cel.Variable("command", cs.provider.objects[commandType+protocol]))
	if err != nil {
		return nil, fmt.Errorf("CEL environment of %s: %w", protocol, err)
	}
	cs.envs[protocol] = env
	return env, nil
}

// hint adds what was probably meant to CEL's own message. about is the variable
// that the condition is over, and its type.
func (cs *conditions) hint(message, aboutType, about string) string {
	message = strings.ReplaceAll(message, " (in container '')", "")
	m := regexp.MustCompile(`(undefined field|undeclared reference to) '([^']*)'`).FindStringSubmatch(message)
	if m == nil || strings.Contains(message, "did you mean") {
		return message
	}
	known := []string{"identity", "resource", about, "session", "now"}
	if m[1] == "undefined field" {
		known = sortedKeys(cs.provider.structs[aboutType])
		if nearest(m[2], known) == "" {
			known = cs.provider.fieldNames()
		}
	}
	if near := nearest(m[2], known); near != "" && near != m[2] {
		return message + "; " + didYouMean(near)
	}
	return message
}

// eval says whether the condition holds. It isn't ok when it could not be
// evaluated; why is not told, since CEL's errors repeat values.
func (c *condition) eval(vars interpreter.Activation) (holds, ok bool) {
	out, _, err := c.program.Eval(vars)
	return out == types.True, err == nil
}

// variables are what a condition sees of one command.
type variables struct {
	identity, resource, session, command value
	now                                  types.Timestamp
	view                                 commandView
}

func (p *provider) variables(r *Request, resource *postern.Resource) *variables {
	return &variables{
		identity: *p.value(identityType, &r.Identity),
		resource: *p.value(resourceType, resource),
		session:  *p.value(sessionType, r),
		command:  *p.value(commandType+resource.Type, nil),
		now:      types.Timestamp{Time: r.Now},
	}
}

// see sets the command that conditions look at.
func (v *variables) see(c *postern.Command) {
	if v.view.Command != c {
		v.view = commandView{Command: c}
		v.command.it = &v.view
	}
}

// ResolveName implements [interpreter.Activation].
func (v *variables) ResolveName(name string) (any, bool) {
	switch name {
	case "command":
		return &v.command, true
	case "identity":
		return &v.identity, true
	case "resource":
		return &v.resource, true
	case "session":
		return &v.session, true
	case "now":
		return v.now, true
	}
	return nil, false
}

// Parent implements [interpreter.Activation].
func (v *variables) Parent() interpreter.Activation { return nil }
