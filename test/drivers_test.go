package test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Each driver has two programs. "parity" uses all that the driver can do, in
// sections that begin with "== name", and prints what it got; run directly and
// through the gateway, it must print the same. "controls" meets masks and
// denials, and must print testdata/drivers/controls.txt, whatever the driver.
//
// Programs in other languages read libpq's environment variables.

// driver is one of them.
type driver struct {
	name    string
	without []string // sections of parity, and lines of controls, that the driver has no way to do
	run     func(t *testing.T, part string, env []string) string
}

// drivers are those that cost `make test` little. `make drivers` sets
// POSTERN_DRIVERS=all, which adds those that bring a platform of their own.
func drivers() []driver {
	some := []driver{
		{name: "pgx", run: withPgx},
		{name: "lib/pq", without: noPipeline("binary", "copy out", "binary copy"), run: withPQ("")},
		{name: "lib/pq, binary parameters", without: noPipeline("binary", "copy out", "binary copy"), run: withPQ("binary_parameters=yes")},
		{name: "psycopg 3", run: python("psycopg", "with_psycopg3.py")},
		{name: "psycopg2", without: noPipeline("binary", "binary copy", "denied prepared"), run: python("psycopg2", "with_psycopg2.py")},
	}
	if os.Getenv("POSTERN_DRIVERS") != "all" {
		return some
	}
	return append(some,
		driver{name: "JDBC", without: []string{"binary copy", "pipeline results"}, run: program("java", "-cp", "/usr/share/java/postgresql.jar", "Drivers.java")},
		driver{name: "node pg", without: []string{"binary copy", "pipeline results"}, run: program("node", "node/main.js")},
	)
}

// noPipeline is what a driver that waits for each answer doesn't do, and what
// else it doesn't.
func noPipeline(others ...string) []string {
	return append(others, "pipeline", "pipeline results", "denied in a pipeline", "alive after a pipeline")
}

// sections are all that parity programs do.
var sections = []string{
	"connect", "text", "binary", "prepared", "pipeline", "copy", "cancel", "notices",
	"large objects", "notify", "transactions", "big", "end",
}

// With no rule in the way, a driver can't tell the gateway from the server.
func TestDriversParity(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	login := g.login("dave")
	for _, d := range drivers() {
		t.Run(d.name, func(t *testing.T) {
			direct := d.run(t, "parity", directEnv(t, g))
			through := d.run(t, "parity", gatewayEnv(t, g, "dave", login))
			var did []string
			for line := range strings.Lines(direct) {
				if name, ok := strings.CutPrefix(strings.TrimSpace(line), "== "); ok {
					did = append(did, name)
				}
			}
			want := slices.DeleteFunc(slices.Clone(sections), func(s string) bool { return slices.Contains(d.without, s) })
			if diff := cmp.Diff(want, did); diff != "" {
				t.Errorf("what the program did (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(strings.Split(direct, "\n"), strings.Split(through, "\n")); diff != "" {
				t.Errorf("directly and through the gateway (-direct +through):\n%s", diff)
			}
		})
	}
}

// Masks and denials reach a program in its driver's own terms, and its
// connection lives on.
func TestDriversControls(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	login := g.login("alice")
	golden, err := os.ReadFile("testdata/drivers/controls.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range drivers() {
		t.Run(d.name, func(t *testing.T) {
			var want []string
			for line := range strings.Lines(string(golden)) {
				what, _, _ := strings.Cut(line, ":")
				if !slices.Contains(d.without, what) {
					want = append(want, strings.TrimSpace(line))
				}
			}
			var got []string
			for line := range strings.Lines(d.run(t, "controls", gatewayEnv(t, g, "alice", login))) {
				got = append(got, strings.TrimSpace(line))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if rows := g.upstream.Exec(t, g.database, "SELECT count(*) FROM orders"); rows[0][0] != "40" {
				t.Errorf("%s orders are left", rows[0][0])
			}
		})
	}
}

// fresh empties the schema that the programs make their tables in.
func fresh(t *testing.T, g *gateway) {
	t.Helper()
	g.upstream.Exec(t, g.database, "SET client_min_messages = error; DROP SCHEMA IF EXISTS drivers CASCADE; CREATE SCHEMA drivers AUTHORIZATION shop")
}

// directEnv is what a program needs to go past the gateway.
func directEnv(t *testing.T, g *gateway) []string {
	t.Helper()
	fresh(t, g)
	host, port, err := net.SplitHostPort(g.upstream.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"HOME=" + g.dir, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8",
		"PGHOST=" + host, "PGPORT=" + port, "PGSSLMODE=disable",
		"PGDATABASE=" + g.database, "PGUSER=shop", "PGPASSWORD=the shop's own password",
	}
}

// gatewayEnv is what it needs to go through it, with a token of its own.
func gatewayEnv(t *testing.T, g *gateway, user, login string) []string {
	t.Helper()
	fresh(t, g)
	return append(g.environ(login), "PGUSER="+user, "PGPASSWORD="+g.sessionToken(login))
}

// variable is one of an environment's.
func variable(env []string, name string) string {
	for _, v := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// python runs a program by a Python that has the driver: PATH's, or the
// distribution's, which `scripts/deps test` gives the drivers to.
func python(module, script string) func(*testing.T, string, []string) string {
	return func(t *testing.T, part string, env []string) string {
		t.Helper()
		for _, interpreter := range []string{"python3", "/usr/bin/python3"} {
			if exec.Command(interpreter, "-c", "import "+module).Run() == nil {
				return program(interpreter, script)(t, part, env)
			}
		}
		if os.Getenv("CI") != "true" {
			t.Skip("SKIPPED, NOT TESTED: no python3 here has the module ", module)
		}
		t.Fatal("no python3 here has the module ", module)
		return ""
	}
}

// program runs a program of testdata/drivers. A program that isn't installed
// fails the test: `scripts/deps` installs what it needs.
func program(args ...string) func(*testing.T, string, []string) string {
	return func(t *testing.T, part string, env []string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, args[0], append(slices.Clone(args[1:]), part)...)
		cmd.Dir, cmd.Env = filepath.Join("testdata", "drivers"), env
		var out, errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errOut
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s\n%s", strings.Join(cmd.Args, " "), err, tail(out.String()), errOut.String())
		}
		return out.String()
	}
}

// tail is the end of what a program printed.
func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
