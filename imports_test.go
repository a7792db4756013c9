package postern_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// layers is the house: a package may import what stands lower. Siblings don't
// meet. A longer prefix wins over a shorter one, and a folder's own subfolders
// are its own business.
var layers = []struct {
	prefix string
	layer  int
	column string // in layer 3: who may meet whom
}{
	{"postern/cmd/", 6, ""},
	{"postern/test", 6, ""},
	{"postern/internal/server", 5, ""},
	{"postern/internal/pgserver", 5, ""}, // equipment of the demo and of tests
	{"postern/internal/sshserver", 5, ""},
	{"postern/internal/api", 4, ""},
	{"postern/internal/protocol/all", 4, ""},
	{"postern/web", 4, ""},
	{"postern/internal/protocol", 3, "protocol"},
	{"postern/internal/identity", 3, "adapter"},
	{"postern/internal/approval", 3, "adapter"},
	{"postern/internal/recording", 3, "adapter"},
	{"postern/internal/audit", 3, "adapter"},
	{"postern/internal/vault", 3, "adapter"},
	{"postern/internal/upstream", 3, "adapter"},
	{"postern/internal/store", 3, "adapter"},
	{"postern/internal/search", 3, "adapter"},
	{"postern/internal/config", 3, "adapter"},
	{"postern/internal/gate", 2, ""},
	{"postern/internal/policy", 1, ""},
	{"postern/internal/sql", 1, ""},
	{"postern/internal/mask", 1, ""},
	{"postern/internal/socket", 1, ""},
}

type place struct {
	prefix string
	layer  int
	column string
}

// placeOf finds where a package stands; ok is false for one that the house has
// no room for.
func placeOf(pkg string) (place, bool) {
	if pkg == "postern" {
		return place{"postern", 0, ""}, true
	}
	var best place
	found := false
	for _, l := range layers {
		under := pkg == strings.TrimSuffix(l.prefix, "/") || strings.HasPrefix(pkg, strings.TrimSuffix(l.prefix, "/")+"/")
		if under && len(l.prefix) > len(best.prefix) {
			best, found = place{l.prefix, l.layer, l.column}, true
		}
	}
	return best, found
}

// protocolOf is the folder of one protocol, or "" for what they share.
func protocolOf(pkg string) string {
	rest, ok := strings.CutPrefix(pkg, "postern/internal/protocol/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	if name == "internal" || name == "protocoltest" {
		return ""
	}
	return name
}

// mayImport is the rule itself; why is empty when the import is allowed.
func mayImport(from, to string) (why string) {
	a, okA := placeOf(from)
	b, okB := placeOf(to)
	switch {
	case !okA:
		return "has no layer: give it a place in the table"
	case !okB:
		return "imports " + to + ", which has no layer"
	case a.prefix == b.prefix && protocolOf(from) == protocolOf(to):
		return ""
	case b.layer < a.layer:
		if a.column == "adapter" && b.layer > 1 {
			return "is an adapter and may import layers 0 and 1 only, not " + to
		}
		return ""
	case a.column == "protocol" && b.column == "protocol" && protocolOf(to) == "":
		return ""
	case b.layer == a.layer:
		return "imports its sibling " + to
	default:
		return "imports upward: " + to
	}
}

type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImports(t *testing.T) {
	packages := listPackages(t)
	if len(packages) < 5 {
		t.Fatalf("only %d packages listed: the test looks at nothing", len(packages))
	}
	for _, p := range packages {
		for _, to := range p.Imports {
			if to == "postern" || strings.HasPrefix(to, "postern/") {
				if why := mayImport(p.ImportPath, to); why != "" {
					t.Errorf("%s %s", p.ImportPath, why)
				}
			}
		}
		if _, ok := placeOf(p.ImportPath); !ok {
			t.Errorf("%s has no layer: give it a place in the table", p.ImportPath)
		}
	}
}

// The root package is vocabulary: the standard library, and no I/O of its own.
func TestRootImportsStandardLibraryOnly(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.ImportPath != "postern" {
			continue
		}
		for _, to := range p.Imports {
			if strings.Contains(strings.Split(to, "/")[0], ".") {
				t.Errorf("the root package imports %s", to)
			}
		}
	}
}

func TestMayImport(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"postern/internal/gate", "postern/internal/policy", true},
		{"postern/internal/policy", "postern/internal/sql", false},
		{"postern/internal/sql/postgres", "postern/internal/sql", true},
		{"postern/internal/identity", "postern/internal/store", false},
		{"postern/internal/identity", "postern/internal/gate", false},
		{"postern/internal/identity", "postern/internal/policy", true},
		{"postern/internal/protocol/postgres", "postern/internal/gate", true},
		{"postern/internal/protocol/postgres", "postern/internal/protocol", true},
		{"postern/internal/protocol/postgres", "postern/internal/protocol/ssh", false},
		{"postern/internal/protocol/postgres", "postern/internal/protocol/internal/pump", true},
		{"postern/internal/protocol/postgres", "postern/internal/store", false},
		{"postern/internal/protocol/all", "postern/internal/protocol/postgres", true},
		{"postern/internal/protocol", "postern/internal/protocol/all", false},
		{"postern/internal/server", "postern/internal/protocol/all", true},
		{"postern/internal/server", "postern/cmd/postern", false},
		{"postern/internal/util", "postern", false},
	} {
		if why := mayImport(c.from, c.to); (why == "") != c.ok {
			t.Errorf("%s -> %s: allowed=%v (%s), want %v", c.from, c.to, why == "", why, c.ok)
		}
	}
}
