package policy

import (
	"os"
	"strings"
	"testing"
)

// fences are the blocks of a language in the page, each with its line.
func fences(t *testing.T, page, language string) map[int]string {
	t.Helper()
	found := make(map[int]string)
	var block []string
	start := 0
	for i, line := range strings.Split(page, "\n") {
		switch {
		case start == 0 && line == "```"+language:
			start, block = i+2, nil
		case start > 0 && line == "```":
			found[start] = strings.Join(block, "\n") + "\n"
			start = 0
		case start > 0:
			block = append(block, line)
		}
	}
	if len(found) == 0 {
		t.Fatalf("the page has no %s", language)
	}
	return found
}

// TestTheDocumentation: every example is read, and every table is complete.
func TestTheDocumentation(t *testing.T) {
	const file = "../../docs/policy.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	var all []Object
	for line, text := range fences(t, page, "yaml") {
		text = strings.Repeat("\n", line-1) + text
		if strings.HasPrefix(strings.TrimSpace(text), "cases:") {
			if _, err := ParseTests(file, []byte(text)); err != nil {
				t.Error(err)
			}
			continue
		}
		objects, err := Parse(file, []byte(text))
		if err != nil {
			t.Error(err)
		}
		all = append(all, objects...)
	}
	set, err := NewSet(all, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if w := set.Warnings(); len(w) != 0 {
		t.Errorf("the examples warn: %v", w)
	}
	for _, kind := range Kinds() {
		if !strings.Contains(page, "\n### "+kind+"\n") {
			t.Errorf("%s has no section", kind)
		}
	}

	conditions, err := newConditions(testOptions().Protocols)
	if err != nil {
		t.Fatal(err)
	}
	for line, text := range fences(t, page, "cel") {
		if _, mistakes := conditions.compile(text, "postgres"); len(mistakes) > 0 {
			t.Errorf("%s:%d: %s", file, line, mistakes[0].message)
		}
	}
	for _, rule := range ShippedRules() {
		needs := "`" + rule.needs + "`"
		if rule.needs == "" {
			needs = "anything"
		}
		if row := "| `" + rule.Name + "` | " + rule.Doc + " | " + needs + " |\n"; !strings.Contains(page, row) {
			t.Errorf("the page lacks: %s", row)
		}
	}
	for name, fields := range conditions.provider.structs {
		for field := range fields {
			if strings.HasPrefix(name, commandType) && name != commandType+"postgres" {
				continue
			}
			if !strings.Contains(page, "`"+field+"`") {
				t.Errorf("the page doesn't mention the field %s of %s", field, name)
			}
		}
	}
}
