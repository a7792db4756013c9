package web_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/internal/policy"
	"postern/internal/protocol"
	"postern/internal/protocol/all"
)

// Every kind of object has a form, whose fields the decoder knows, with all that
// an access says about SSH, and something to begin with that the decoder reads.
func TestEveryKindHasAForm(t *testing.T) {
	source := func(file string) string {
		text, err := os.ReadFile("src/pages/" + file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	forms, templates, page := source("object-form.tsx"), source("object-templates.ts"), source("policy.tsx")
	types := protocol.PolicyTypes(all.List(protocol.Options{})...)
	known := map[string][]string{}
	for _, k := range policy.KeyTable(types...) {
		for _, key := range k.Keys {
			path := key
			if k.Path != "" {
				path = k.Path + "." + key
			}
			known[k.Kind] = append(known[k.Kind], path)
		}
	}
	list := regexp.MustCompile(`kinds = \[([^\]]*)\]`).FindStringSubmatch(page)
	if list == nil {
		t.Fatal("the page's list of kinds isn't found")
	}
	field := regexp.MustCompile(`path: "([^"]+)"`)
	shared := map[string][]string{"...on": {"on.names", "on.labels"}, "to,": {"to"}, "except,": {"except"}}
	for _, kind := range policy.Kinds() {
		if !strings.Contains(list[1], `"`+kind+`"`) {
			t.Errorf("the policy page doesn't offer %s", kind)
		}
		form := regexp.MustCompile(`(?s)\n  ` + kind + `: \[\n(.*?)\n  \],`).FindStringSubmatch(forms)
		if form == nil {
			t.Errorf("%s has no form", kind)
			continue
		}
		var paths []string
		for _, f := range field.FindAllStringSubmatch(form[1], -1) {
			paths = append(paths, f[1])
		}
		for name, more := range shared {
			if strings.Contains(form[1], "    "+name) {
				paths = append(paths, more...)
			}
		}
		if len(paths) < 2 {
			t.Errorf("the form of %s has %d fields", kind, len(paths))
		}
		for _, path := range paths {
			if !slices.Contains(known[kind], path) {
				t.Errorf("the form of %s has a field for %s, which its objects don't take", kind, path)
			}
		}
		// A section that a form has fields of, it has all of.
		for _, section := range []string{"ssh."} {
			for _, key := range known[kind] {
				within := slices.ContainsFunc(known[kind], func(other string) bool { return strings.HasPrefix(other, key+".") })
				if strings.HasPrefix(key, section) && !within && !slices.Contains(paths, key) {
					t.Errorf("the form of %s has no field for %s", kind, key)
				}
			}
		}
		begin := regexp.MustCompile("(?s)\n  " + kind + ": `(.*?)`").FindStringSubmatch(templates)
		if begin == nil {
			t.Errorf("a new %s begins as nothing", kind)
			continue
		}
		objects, err := policy.Parse("new", []byte(begin[1]), types...)
		if err != nil || len(objects) != 1 || objects[0].Kind != kind {
			t.Errorf("a new %s begins as %d objects: %v", kind, len(objects), err)
		}
	}
}
