package api

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/policy"
)

// Question asks what would be decided.
type Question struct {
	Resource string   `json:"resource" minLength:"1" maxLength:"253"`
	Command  string   `json:"command" maxLength:"262144"`
	As       string   `json:"as,omitempty" maxLength:"256" doc:"KIND:NAME or a user's name. Absent: me. Others are for auditors and admins."`
	Groups   []string `json:"groups,omitempty" maxItems:"100" doc:"The groups of an identity that the gateway doesn't keep itself."`
	Source   string   `json:"source,omitempty" maxLength:"64" doc:"The client's address. Absent: mine."`
	At       string   `json:"at,omitempty" maxLength:"64" doc:"RFC 3339. Absent: now."`
}

// Answer is what would be decided, and why.
type Answer struct {
	Decision postern.Verdict      `json:"decision" enum:"allow,deny,review"`
	Rule     string               `json:"rule"`
	Reason   string               `json:"reason"`
	Commands []postern.Command    `json:"commands"`
	Masks    []postern.Mask       `json:"masks"`
	Review   *postern.ReviewTerms `json:"review,omitempty"`
	Limit    *postern.RowLimit    `json:"limit,omitempty" doc:"How many rows it may change before it is undone."`
	Access   string               `json:"access,omitempty" doc:"The access that opens the resource."`
	Request  string               `json:"request,omitempty" doc:"The access that could be requested, and would help."`
	Shadow   []postern.Shadow     `json:"shadow,omitempty" doc:"What rules in shadow mode would have done."`
	Steps    []Step               `json:"steps" doc:"What was considered: for auditors and admins everything, for others what applies."`
	Policy   string               `json:"policy"`
}

// Step is one access, rule or mask that was considered.
type Step struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Source  string `json:"source,omitempty"`
	Command int    `json:"command" doc:"The command's index; -1: all."`
	Applies bool   `json:"applies"`
	Outcome string `json:"outcome"`
}

// TestResult is how one expectation came out.
type TestResult struct {
	Name     string          `json:"name"`
	Line     int             `json:"line"`
	Passed   bool            `json:"passed"`
	Decision postern.Verdict `json:"decision"`
	Rule     string          `json:"rule"`
	Problem  string          `json:"problem,omitempty"`
}

// TestRun is the outcome of a file of expectations.
type TestRun struct {
	Passed int          `json:"passed"`
	Failed int          `json:"failed"`
	Cases  []TestResult `json:"cases"`
	Policy string       `json:"policy"`
}

func (a *api) policyRoutes(h huma.API) {
	const tag = "policy"
	type explainInput struct{ Body Question }
	type explainOutput struct{ Body Answer }
	handle(a, h, operation(http.MethodPost, "/policy/explain", "explain", tag, "What would be decided over a command, and why"),
		func(ctx context.Context, c caller, in *explainInput) (*explainOutput, error) {
			answer, err := a.explain(ctx, c, in.Body)
			return &explainOutput{Body: answer}, err
		})

	type testInput struct {
		RawBody []byte `contentType:"application/yaml"`
	}
	type testOutput struct{ Body TestRun }
	handle(a, h, operation(http.MethodPost, "/policy/test", "test-policy", tag, "Hold the policy in force against a YAML file of expectations"),
		func(_ context.Context, _ caller, in *testInput) (*testOutput, error) {
			tests, err := policy.ParseTests("tests", in.RawBody)
			if err != nil {
				return nil, mistaken("the expectations can't be read", err)
			}
			set := a.Policy()
			out := &testOutput{Body: TestRun{Cases: []TestResult{}, Policy: set.Version()}}
			for _, r := range tests.Run(set, a.Now(), a.Analyse) {
				out.Body.add(r)
			}
			return out, nil
		})
}

func (t *TestRun) add(r policy.TestResult) {
	t.Cases = append(t.Cases, TestResult{
		Name: r.Case.Name, Line: r.Case.Line, Passed: r.Passed, Decision: r.Decision.Verdict, Rule: r.Decision.Rule, Problem: r.Problem,
	})
	if r.Passed {
		t.Passed++
	} else {
		t.Failed++
	}
}

// explain decides as the gate would, without opening anything.
func (a *api) explain(ctx context.Context, c caller, q Question) (Answer, error) {
	req := policy.Request{Identity: c.identity, Resource: q.Resource, Source: c.source, Now: a.Now()}
	if q.As != "" {
		kind, name := splitRef(q.As)
		if !c.may(kind, name) {
			return Answer{}, huma.Error403Forbidden("only auditors and admins may explain what others can do")
		}
		if !c.owns(kind, name) {
			id, err := a.identityNamed(ctx, kind, name, q.Groups)
			if err != nil {
				return Answer{}, err
			}
			req.Identity = id
		}
	}
	req.Grants = a.Requests.Grants(req.Identity)
	if q.Source != "" {
		source, err := netip.ParseAddr(q.Source)
		if err != nil {
			return Answer{}, huma.Error422UnprocessableEntity("source: it is no address")
		}
		req.Source = source
	}
	if q.At != "" {
		at, err := time.Parse(time.RFC3339, q.At)
		if err != nil {
			return Answer{}, huma.Error422UnprocessableEntity("at: it is no time like 2026-01-31T09:00:00Z")
		}
		req.Now = at
	}
	set := a.Policy()
	resource, known := set.Resource(q.Resource)
	if !known || (!c.auditor && !set.Open(req).Visible && !set.Open(req).Allowed) {
		return Answer{}, huma.Error404NotFound("there is no resource of that name that you can reach; see `postern ls`")
	}
	commands := a.Analyse(resource, q.Command)
	return answer(set.Explain(req, commands), commands, c.auditor), nil
}

// identityNamed is the identity that an account stands for. One that the
// gateway doesn't keep has the groups that the asker says.
func (a *api) identityNamed(ctx context.Context, kind postern.IdentityKind, name string, groups []string) (postern.Identity, error) {
	all, err := a.Identity.Accounts(ctx)
	if err != nil {
		return postern.Identity{}, err
	}
	id := postern.Identity{Name: name, Kind: kind, Groups: groups}
	for _, account := range all {
		if account.Kind == kind && account.Name == name && len(groups) == 0 {
			id.Groups = account.Groups
		}
	}
	return id, nil
}

// answer is an explanation. Only who may read the objects is told of those that
// don't apply, and where each is kept.
func answer(e policy.Explanation, commands []postern.Command, whole bool) Answer {
	out := Answer{
		Decision: e.Decision.Verdict, Rule: e.Decision.Rule, Reason: e.Decision.Reason, Commands: list(commands),
		Masks: list(e.Decision.Masks), Review: e.Decision.Review, Limit: e.Decision.Limit, Access: e.Opening.Access, Steps: []Step{}, Policy: e.Decision.Policy,
		Request: e.Decision.Request,
	}
	if whole {
		out.Shadow = e.Decision.Shadow
	}
	for _, s := range e.Steps {
		if !whole {
			if !s.Applies {
				continue
			}
			s.Source = ""
		}
		out.Steps = append(out.Steps, Step{Kind: s.Kind, Name: s.Name, Source: s.Source, Command: s.Command, Applies: s.Applies, Outcome: s.Outcome})
	}
	return out
}
