package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern"
)

// TestFile is a file of expectations for `postern policy test`.
type TestFile struct {
	File  string
	Cases []TestCase
}

// TestCase says what a set should decide over one message.
type TestCase struct {
	Name     string // "": the command itself
	Line     int
	Identity postern.Identity // who asks, with the actor if there is one
	Resource string
	Command  string
	Source   netip.Addr // the zero Addr: of no network
	At       time.Time  // zero: now
	Expect   postern.Verdict
	Rule     string // "": any
}

// Analyse says what commands a text is to a resource. A text that
// can't be understood is a command whose verb is unknown.
type Analyse func(resource postern.Resource, text string) []postern.Command

// TestResult is how one case came out.
type TestResult struct {
	Case     TestCase
	Decision postern.Decision
	Passed   bool
	Problem  string // what differs from what was expected; "" when it passed
}

// ParseTests reads a file of expectations, as strictly as [Parse].
func ParseTests(file string, data []byte) (TestFile, error) {
	var found problems
	tests := TestFile{File: file}
	nodes := 0
	for _, chunk := range documents(file, data, &found) {
		d := &decoder{file: file, offset: chunk.offset, lines: make(map[string]int)}
		if root := d.root(chunk.text, &nodes); root != nil {
			if m := d.mapping(root, ""); m != nil {
				tests.Cases = append(tests.Cases, m.cases()...)
				m.done()
			}
		}
		found = append(found, d.problems...)
	}
	if len(found) == 0 && len(tests.Cases) == 0 {
		found.add(file, 1, "there are no cases in it; expected cases: [{as: alice, resource: …, command: …, expect: deny}]")
	}
	if err := found.join(); err != nil {
		return TestFile{}, err
	}
	return tests, nil
}

func (m *mapping) cases() []TestCase {
	if !m.has("cases") {
		m.fail("cases", "is missing: the list of cases")
	}
	var cases []TestCase
	for i, n := range m.list("cases") {
		if inner := m.d.mapping(n, fmt.Sprintf("cases[%d]", i)); inner != nil {
			cases = append(cases, inner.testCase())
			inner.done()
		}
	}
	return cases
}

func (m *mapping) testCase() TestCase {
	c := TestCase{
		Name: m.text("name"), Line: m.d.line(m.node),
		Resource: m.need("resource", "on what the command runs"), Command: m.need("command", "the text that the client sends"),
		Rule: m.text("rule"),
	}
	c.Identity = m.identity("as")
	c.Identity.Groups = m.groups()
	c.Identity.Claims = m.textMap("claims")
	if m.has("actor") {
		actor := m.identity("actor")
		actor.Groups = m.texts("actor_groups")
		c.Identity.Actor = &actor
	}
	switch expect := m.need("expect", "what should be decided: allow, deny or review"); expect {
	case "allow":
		c.Expect = postern.Allow
	case "review":
		c.Expect = postern.NeedsReview
	case "deny", "":
	default:
		m.fail("expect", "%s", oneOf(expect, []string{"allow", "deny", "review"}))
	}
	if text := m.text("source"); text != "" {
		source, err := netip.ParseAddr(text)
		if err != nil {
			m.fail("source", "%s is no network address", shown(text))
		}
		c.Source = source
	}
	if n := m.take("at"); n != nil {
		at, err := time.Parse(time.RFC3339, n.Value)
		if err != nil {
			m.fail("at", "expected a time like 2026-01-05T09:00:00Z, found %s", describeValue(n))
		}
		c.At = at
	}
	return c
}

// identity reads "alice", or an identity of another kind: "service:nightly-report".
func (m *mapping) identity(key string) postern.Identity {
	text := m.need(key, "who runs the command")
	kind, name, ok := strings.Cut(text, ":")
	switch {
	case !ok:
		return postern.Identity{Name: text, Kind: postern.User}
	case kind == string(postern.User) || kind == string(postern.Service) || kind == string(postern.Workload):
		return postern.Identity{Name: name, Kind: postern.IdentityKind(kind)}
	}
	return postern.Identity{Name: text, Kind: postern.Workload}
}

// Run decides every case. now is the time of cases that name none.
func (t TestFile) Run(s *Set, now time.Time, analyse Analyse) []TestResult {
	results := make([]TestResult, 0, len(t.Cases))
	for _, c := range t.Cases {
		results = append(results, c.run(s, now, analyse))
	}
	return results
}

func (c TestCase) run(s *Set, now time.Time, analyse Analyse) TestResult {
	resource, ok := s.Resource(c.Resource)
	if !ok {
		return TestResult{Case: c, Problem: fmt.Sprintf("there is no resource %q", c.Resource)}
	}
	at := c.At
	if at.IsZero() {
		at = now
	}
	d := s.Decide(Request{Identity: c.Identity, Resource: c.Resource, Source: c.Source, Started: at, Now: at}, analyse(resource, c.Command))
	result := TestResult{Case: c, Decision: d}
	switch {
	case d.Verdict != c.Expect:
		result.Problem = fmt.Sprintf("expected %s, decided %s by %q: %s", c.Expect, d.Verdict, d.Rule, d.Reason)
	case c.Rule != "" && c.Rule != d.Rule:
		result.Problem = fmt.Sprintf("expected %q to decide, it was %q", c.Rule, d.Rule)
	}
	result.Passed = result.Problem == ""
	return result
}
