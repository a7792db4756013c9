package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Beyond the schedule of pg_regress: what several sessions see of each other
// (src/test/isolation), and libpq's pipelines, messages and all
// (src/test/modules/libpq_pipeline).
const (
	isolation = "isolation"
	pipelines = "libpq_pipeline"
	rows      = "700"           // that the pipelines' own test inserts
	most      = 5 * time.Minute // for one test

	failedExit = "the tool's exit status is"
)

const isolationDatabase = "isolation_regression"

// isolated lists the specifications of the isolation tests, in order.
func (s settings) isolated() ([]string, error) {
	if s.tools == "" || len(s.tests) > 0 {
		return nil, nil
	}
	return scheduled(filepath.Join(s.suite, "..", isolation, "isolation_schedule"))
}

// runIsolated runs every specification, each with sessions of its own, and
// keeps what the tester printed.
func (s settings) runIsolated(ctx context.Context, out string, env []string) error {
	names, err := s.isolated()
	if err != nil || len(names) == 0 {
		return err
	}
	env = append(env, "PGTZ=PST8PDT", "PGDATESTYLE=Postgres, MDY", "PG_TEST_TIMEOUT_DEFAULT=30")
	create := exec.CommandContext(ctx, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres",
		"-c", "CREATE DATABASE "+isolationDatabase+" TEMPLATE=template0", "-c", "ALTER DATABASE "+isolationDatabase+" SET lc_messages TO 'C'")
	create.Env = env
	if said, err := create.CombinedOutput(); err != nil {
		return fmt.Errorf("create %s: %w\n%s", isolationDatabase, err, said)
	}
	for _, name := range names {
		spec, err := os.ReadFile(filepath.Join(s.suite, "..", isolation, "specs", name+".spec"))
		if err != nil {
			return err
		}
		progress("isolation: %s", name)
		err = s.keep(ctx, filepath.Join(out, "results", isolation+"_"+name+".out"), append(env, "PGAPPNAME=isolation/"+name),
			bytes.NewReader(spec), "isolationtester", "dbname="+isolationDatabase)
		if err != nil {
			return err
		}
	}
	return nil
}

// keep runs a tool and keeps what it printed. That it fails is a result.
func (s settings) keep(ctx context.Context, path string, env []string, in *bytes.Reader, tool string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.tools, tool), args...)
	cmd.Env, cmd.Stdin = env, in
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("%s: %w", tool, err)
	}
	if err != nil {
		out = fmt.Appendf(out, "%s %d\n", failedExit, exit.ExitCode())
	}
	return os.WriteFile(path, out, 0o600)
}

// piped lists the tests of pipelines.
func (s settings) piped(ctx context.Context) ([]string, error) {
	if s.tools == "" || len(s.tests) > 0 {
		return nil, nil
	}
	out, err := exec.CommandContext(ctx, filepath.Join(s.tools, pipelines), "tests").Output()
	return strings.Fields(string(out)), err
}

// traced are the tests whose messages are always the same, as PostgreSQL's own
// run of them has it. What the others print depends on how fast answers come.
var traced = []string{
	"simple_pipeline", "nosync", "multi_pipelines", "prepared", "singlerow", "pipeline_abort", "pipeline_idle", "transaction",
	"disallowed_in_pipeline",
}

// alike leaves of what a test printed only how it ended.
func alike(result string) error {
	said, err := os.ReadFile(result)
	if err != nil {
		return err
	}
	ended := "ok\n"
	if bytes.Contains(said, []byte(failedExit)) {
		ended = string(said)
	}
	return os.WriteFile(result, []byte(ended), 0o600)
}

// runPiped runs every test of pipelines, and keeps the trace of its messages.
func (s settings) runPiped(ctx context.Context, out string, env []string) error {
	names, err := s.piped(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		result := filepath.Join(out, "results", pipelines+"_"+name+".out")
		trace := result + ".trace"
		if err := s.keep(ctx, result, env, bytes.NewReader(nil), pipelines, "-r", rows, "-t", trace, name, "dbname=postgres"); err != nil {
			return err
		}
		if !slices.Contains(traced, name) {
			if err := alike(result); err != nil {
				return err
			}
			continue
		}
		said, err := os.ReadFile(result)
		if err != nil {
			return err
		}
		sent, err := os.ReadFile(trace)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(result, append(said, sent...), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// expected says whether a result is one of those that the suite expects.
func (s settings) expected(name string, got []byte) bool {
	spec, ok := strings.CutPrefix(name, isolation+"_")
	if !ok {
		return !bytes.Contains(got, []byte(failedExit))
	}
	for _, variant := range []string{"", "_1", "_2", "_3"} {
		want, err := os.ReadFile(filepath.Join(s.suite, "..", isolation, "expected", spec+variant+".out"))
		if err == nil && bytes.Equal(want, got) {
			return true
		}
	}
	return false
}

// beyond lists the tests beyond pg_regress's.
func (s settings) beyond(ctx context.Context) ([]string, error) {
	var all []string
	piped, err := s.piped(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range piped {
		all = append(all, pipelines+"_"+name)
	}
	isolated, err := s.isolated()
	for _, name := range isolated {
		all = append(all, isolation+"_"+name)
	}
	return all, err
}
