package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// results writes what a run would have left.
func results(t *testing.T, s settings, way, said string, printed map[string]string) {
	t.Helper()
	log := ""
	for range printed {
		log += `level=INFO msg="session closed" session=ss_1 resource=regression commands=21 denied=0` + "\n"
	}
	files := map[string]string{driverLog: said, gatewayLog: log}
	for name, text := range printed {
		files["results/"+name+".out"] = text
	}
	for name, text := range files {
		path := filepath.Join(s.folder(way), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCompare(t *testing.T) {
	const said = "test boolean                      ... ok          17 ms\ntest numeric                      ... FAILED      20 ms\n"
	check := func(t *testing.T, saidThere string, printedThere map[string]string, same int, want error) {
		t.Helper()
		s := settings{work: t.TempDir(), tests: []string{"boolean", "numeric"}}
		results(t, s, direct, said, map[string]string{"boolean": "t\nf\n", "numeric": "1\n"})
		results(t, s, through, saidThere, printedThere)
		c, err := s.compare(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := c.count(func(o outcome) bool { return o.same() }); got != same || !errors.Is(c.verdict(), want) {
			t.Errorf("%d the same, %v; want %d, %v", got, c.verdict(), same, want)
		}
		if c.sessions != 2 || c.commands != 42 {
			t.Errorf("%d sessions, %d commands", c.sessions, c.commands)
		}
		if page := c.markdown(t.Context(), s); strings.Contains(page, "**numeric**") != (same < 2) {
			t.Error(page)
		}
	}
	check(t, said, map[string]string{"boolean": "t\nf\n", "numeric": "1\n"}, 2, nil)
	check(t, said, map[string]string{"boolean": "t\nf\n", "numeric": "2\n"}, 1, errDifferent)
	check(t, strings.ReplaceAll(said, "... FAILED", "... ok"), map[string]string{"boolean": "t\nf\n", "numeric": "1\n"}, 1, errDifferent)
}

// TestNothingCarried: results that didn't come through the gateway prove nothing.
func TestNothingCarried(t *testing.T) {
	s := settings{work: t.TempDir(), tests: []string{"boolean"}}
	results(t, s, direct, "", map[string]string{"boolean": "t\n"})
	results(t, s, through, "", map[string]string{"boolean": "t\n"})
	if err := os.WriteFile(filepath.Join(s.folder(through), gatewayLog), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.compare(t.Context()); err == nil {
		t.Error("compared")
	}
}

func TestFailures(t *testing.T) {
	for said, want := range map[string][]string{
		"test a   ... ok  1 ms\n     b_2   ... FAILED   17 ms\n     c   ... FAILED (test process exited with exit code 2)  3 ms\n": {"b_2", "c"},
		"ok 1         - a     17 ms\nnot ok 2     - b_2     7 ms\nnot ok 3     + c      7 ms\n":                                    {"b_2", "c"},
		"\n": nil,
	} {
		path := filepath.Join(t.TempDir(), driverLog)
		if err := os.WriteFile(path, []byte(said), 0o600); err != nil {
			t.Fatal(err)
		}
		failed, err := failures(path)
		if got := slices.Sorted(maps.Keys(failed)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", said, got, err)
		}
	}
}
