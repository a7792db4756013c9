package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// comparison is what the two ways' results come to.
type comparison struct {
	tests    []outcome
	sessions int // that the gateway carried
	commands int // that it decided over
	took     map[string]time.Duration
}

// outcome is what one test gave.
type outcome struct {
	name      string
	passed    map[string]bool // by way: as the suite expects
	equal     bool            // byte for byte what was printed
	lines     int             // that differ
	explained string
}

// compare looks at both ways' results.
func (s settings) compare(ctx context.Context) (*comparison, error) {
	names := s.tests
	if len(names) == 0 && !s.further {
		var err error
		if names, err = scheduled(filepath.Join(s.suite, "parallel_schedule")); err != nil {
			return nil, err
		}
	}
	regress := len(names)
	more, err := s.beyond(ctx)
	if err != nil {
		return nil, err
	}
	names = append(names, more...)
	failed := map[string]map[string]bool{}
	for _, way := range []string{direct, through} {
		var err error
		if failed[way], err = failures(filepath.Join(s.folder(way), driverLog)); err != nil {
			return nil, err
		}
	}
	log, err := os.ReadFile(filepath.Join(s.folder(through), gatewayLog))
	if err != nil {
		return nil, err
	}
	c := &comparison{}
	if c.sessions, c.commands = carried(log); c.sessions < len(names) {
		return nil, fmt.Errorf("the gateway carried %d sessions for %d tests: they didn't go through it", c.sessions, len(names))
	}
	for i, name := range names {
		o := outcome{name: name, explained: explanations[name], passed: map[string]bool{
			direct: !failed[direct][name], through: !failed[through][name],
		}}
		one, two := s.printed(direct, name), s.printed(through, name)
		want, err := os.ReadFile(one)
		if err != nil {
			return nil, err
		}
		got, err := os.ReadFile(two)
		if err != nil {
			return nil, err
		}
		if i >= regress {
			o.passed = map[string]bool{direct: s.expected(name, want), through: s.expected(name, got)}
		}
		if o.equal = bytes.Equal(want, got); !o.equal {
			if o.lines, err = s.diff(ctx, name, one, two); err != nil {
				return nil, err
			}
		}
		c.tests = append(c.tests, o)
	}
	return c, nil
}

func (s settings) printed(way, name string) string {
	return filepath.Join(s.folder(way), "results", name+".out")
}

// diff keeps the difference of two results in a file, and counts its lines.
func (s settings) diff(ctx context.Context, name, one, two string) (int, error) {
	out, err := exec.CommandContext(ctx, "diff", "-U3", one, two).Output()
	if len(out) == 0 {
		return 0, fmt.Errorf("diff %s: %w", name, err)
	}
	lines := 0
	for _, line := range strings.Split(string(out), "\n")[2:] {
		if strings.HasPrefix(line, "+") || strings.HasPrefix(line, "-") {
			lines++
		}
	}
	dir := filepath.Join(s.work, "diffs")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return 0, err
	}
	return lines, os.WriteFile(filepath.Join(dir, name+".diff"), out, 0o600)
}

// scheduled lists the tests of a schedule, in order.
func scheduled(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "test:"); ok {
			names = append(names, strings.Fields(rest)...)
		}
	}
	return names, nil
}

// failures reads what pg_regress said: which tests didn't give what the suite
// expects.
func failures(path string) (map[string]bool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	failed := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		before, _, ok := strings.Cut(line, "... FAILED") // up to version 15
		fields := strings.Fields(before)
		if !ok && strings.HasPrefix(line, "not ok ") { // not ok 7     + boolean    123 ms
			fields, ok = fields[:min(len(fields), 5)], len(fields) > 4
		}
		if ok && len(fields) > 0 {
			failed[fields[len(fields)-1]] = true
		}
	}
	return failed, nil
}

func (c *comparison) count(of func(outcome) bool) int {
	n := 0
	for _, o := range c.tests {
		if of(o) {
			n++
		}
	}
	return n
}

func (o outcome) same() bool { return o.equal && o.passed[direct] == o.passed[through] }

// print says in short how it went.
func (c *comparison) print(to io.Writer) {
	n := len(c.tests)
	k := c.count(outcome.same)
	fmt.Fprintf(to, "%d tests, %d the same (%.1f %%), %d different; the gateway carried %d sessions and %d commands\n",
		n, k, 100*float64(k)/float64(n), n-k, c.sessions, c.commands)
	for _, o := range c.tests {
		if o.same() {
			continue
		}
		why := o.explained
		if why == "" {
			why = "UNEXPLAINED"
		}
		fmt.Fprintf(to, "  %-24s %4d lines  direct %s, gateway %s  %s\n", o.name, o.lines, result(o.passed[direct]), result(o.passed[through]), why)
	}
}

func result(passed bool) string {
	if passed {
		return "ok"
	}
	return "failed"
}

// verdict is an error when a difference has no explanation, or an explanation
// no difference.
func (c *comparison) verdict() error {
	for _, o := range c.tests {
		if !o.same() && o.explained == "" {
			return errDifferent
		}
	}
	return nil
}

// markdown is docs/parity.md.
func (c *comparison) markdown(ctx context.Context, s settings) string {
	var b strings.Builder
	n, k := len(c.tests), c.count(outcome.same)
	fmt.Fprintf(&b, `# Parity with PostgreSQL

PostgreSQL's own regression suite, and its tests of pipelines and of concurrent sessions, run against a
server directly and through the gateway with an access that allows everything, and no rule and no mask: what was printed
is compared byte for byte, test by test. Write this page anew with `+"`make parity`"+`.

| | |
|---|---|
| date | %s |
| PostgreSQL | %s |
| suite | source package postgresql-15 %s, %s |
| Go | %s |
| tests | %d, one at a time, each way over a fresh server |
| as the suite expects | direct %d, gateway %d |
| through the gateway | %d sessions, %d commands |
| **the same result** | **%d of %d (%.1f %%)** |
`, time.Now().UTC().Format("2006-01-02"), serverVersion(ctx), s.source, "`parallel_schedule`", strings.TrimPrefix(runtime.Version(), "go"), n,
		c.count(func(o outcome) bool { return o.passed[direct] }), c.count(func(o outcome) bool { return o.passed[through] }), c.sessions, c.commands, k, n, 100*float64(k)/float64(n))
	if len(c.took) == 2 {
		fmt.Fprintf(&b, "| time | direct %s, gateway %s |\n", c.took[direct].Round(time.Second), c.took[through].Round(time.Second))
	}
	b.WriteString("\n## Differences\n\n")
	if k == n {
		b.WriteString("None.\n")
	} else {
		b.WriteString("| test | lines | why |\n|---|---:|---|\n")
		for _, o := range c.tests {
			if o.same() {
				continue
			}
			why := o.explained
			if why == "" {
				why = "**not explained yet**"
			}
			fmt.Fprintf(&b, "| %s | %d | %s |\n", o.name, o.lines, why)
		}
	}
	b.WriteString("\n## How it runs\n\n" + howItRuns)
	b.WriteString("\n## Tests\n\nAll that ran, in their order; those in bold differ.\n\n")
	line := 0
	for i, o := range c.tests {
		name := o.name
		if !o.same() {
			name = "**" + name + "**"
		}
		if i < n-1 {
			name += ","
		}
		if line+len(name)+1 > 118 {
			b.WriteString("\n")
			line = 0
		} else if line > 0 {
			b.WriteString(" ")
		}
		b.WriteString(name)
		line += len(name) + 1
	}
	b.WriteString("\n")
	return b.String()
}

const howItRuns = "" +
	"- A resource is named like the database that it leads to (`regression`, `postgres`), and the identity like the\n" +
	"  superuser: the tests, psql and `pg_regress` need not know of the gateway. Tokens are in libpq's password file.\n" +
	"- The resources' credentials are the superuser's, so rights are what the server says they are.\n" +
	"- Every statement is parsed, resolved over the catalog, decided over and recorded, as in any session.\n" +
	"- Tests run one at a time: what concurrent tests do to each other's output would look like a difference. Nothing of the\n" +
	"  schedule is left out.\n" +
	"- `libpq_pipeline_…` are the tests of src/test/modules/libpq_pipeline. What is compared is libpq's trace of all messages,\n" +
	"  except for pipelined_insert and uniqviol, where it depends on time, directly too: there it is whether they succeed.\n" +
	"- `isolation_…` are the specifications of src/test/isolation, each with several sessions at once that wait for each other.\n" +
	"  The tester asks the server for its process id, in both ways (`test/parity/pid.h`): it looks up who blocks whom by\n" +
	"  it, and a client of the gateway knows the id in [the gateway's cancel key](protocols/postgres.md#cancelling-a-query).\n"
