package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every line of the README's table of what works names a test that exists.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(readme), "| what | how it is shown |")
	if !ok {
		t.Fatal("the README has no table of what works")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	shown := regexp.MustCompile("`(test/testdata/[a-z]+\\.txtar|[a-z/]+ (?:Test|Fuzz)[A-Za-z]+)`")
	lines := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		lines++
		found := shown.FindAllStringSubmatch(line, -1)
		if len(found) == 0 {
			t.Errorf("no test is named in %s", line)
		}
		for _, f := range found {
			checkExists(t, f[1])
		}
	}
	if lines < 10 {
		t.Errorf("only %d lines were checked", lines)
	}
}

func checkExists(t *testing.T, name string) {
	t.Helper()
	folder, function, ok := strings.Cut(name, " ")
	if !ok {
		if _, err := os.Stat("../" + name); err != nil {
			t.Error(err)
		}
		return
	}
	files, err := filepath.Glob("../" + folder + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+function+"(") {
			return
		}
	}
	t.Errorf("%s has no %s", folder, function)
}
