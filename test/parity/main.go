// Command parity runs PostgreSQL's own regression suite twice, against a
// server directly and through `postern serve` with nothing in the way, and
// compares what psql printed, test by test. Both runs have a fresh server, the
// same superuser, the same folders and one test at a time. The suite's tests
// of concurrent sessions, and of libpq's pipelines, come after it.
//
// Run it with `make parity`, which gets the suite.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings say what is run.
type settings struct {
	binary  string // postern
	suite   string // src/test/regress of PostgreSQL's source
	libs    string // regress.so, autoinc.so and refint.so
	regress string // pg_regress
	tools   string // isolationtester and libpq_pipeline; "": without them
	objects string // a file of further policies; "": none
	work    string // where results stay
	report  string // where the table goes; "": nowhere
	source  string // the source package's version
	ways    []string
	further bool     // only what is beyond pg_regress
	tests   []string // in this order; none: the schedule
}

// The two ways to the server.
const (
	direct  = "direct"
	through = "gateway"
)

func main() {
	var s settings
	flag.StringVar(&s.binary, "postern", os.Getenv("POSTERN_BIN"), "the program under test")
	flag.StringVar(&s.suite, "suite", "", "folder src/test/regress of PostgreSQL's source")
	flag.StringVar(&s.libs, "libs", "", "folder of regress.so, autoinc.so and refint.so")
	flag.StringVar(&s.regress, "pg_regress", "", "the suite's driver")
	flag.StringVar(&s.tools, "tools", "", "folder of isolationtester and libpq_pipeline; left out, their tests are, too")
	flag.StringVar(&s.objects, "objects", "", "file of further policies: what becomes different with rules and masks in the way")
	flag.StringVar(&s.work, "work", "", "folder that keeps the results of both ways")
	flag.StringVar(&s.report, "report", "", "write the table to this file")
	flag.StringVar(&s.source, "source", "", "version of the source package, for the table")
	ways := flag.String("ways", direct+","+through, "which ways to run; the other's results are those of its last run")
	tests := flag.String("tests", "", "run these tests only, in this order, apart by spaces")
	flag.BoolVar(&s.further, "further", false, "run only what is beyond pg_regress: pipelines, and sessions that run at once")
	flag.Parse()
	s.ways, s.tests = strings.Split(*ways, ","), strings.Fields(*tests)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	for name, value := range map[string]string{"postern": s.binary, "suite": s.suite, "libs": s.libs, "pg_regress": s.regress, "work": s.work} {
		if value == "" {
			return fmt.Errorf("-%s is missing; run scripts/parity", name)
		}
	}
	took := map[string]time.Duration{}
	for _, way := range []string{direct, through} {
		if !slices.Contains(s.ways, way) {
			continue
		}
		began := time.Now()
		if err := s.runSuite(ctx, way); err != nil {
			return fmt.Errorf("%s: %w", way, err)
		}
		took[way] = time.Since(began)
		progress("%s: %s", way, took[way].Round(time.Second))
	}
	for _, way := range []string{direct, through} {
		if _, err := os.Stat(s.folder(way)); errors.Is(err, os.ErrNotExist) {
			progress("nothing to compare with: the suite never ran over the other way, %s", way)
			return nil
		}
	}
	c, err := s.compare(ctx)
	if err != nil {
		return err
	}
	c.took = took
	c.print(os.Stdout)
	if s.report != "" {
		if err := os.WriteFile(s.report, []byte(c.markdown(ctx, s)), 0o644); err != nil { //nolint:gosec // a page of the documentation
			return err
		}
	}
	return c.verdict()
}

// folder keeps what a way's run has left.
func (s settings) folder(way string) string { return filepath.Join(s.work, way) }

// schedule writes the order of the tests: the suite's own, or the chosen ones.
func (s settings) schedule(dir string) (string, error) {
	if len(s.tests) == 0 && !s.further {
		return filepath.Join(s.suite, "parallel_schedule"), nil
	}
	path := filepath.Join(dir, "schedule")
	var b strings.Builder
	for _, name := range s.tests {
		fmt.Fprintf(&b, "test: %s\n", name)
	}
	return path, os.WriteFile(path, []byte(b.String()), 0o644) //nolint:gosec // the server's user reads it
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "parity: "+format+"\n", args...) }

var errDifferent = errors.New("results differ, and nothing explains it")
