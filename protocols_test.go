package postern_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postern/internal/protocol"
	"postern/internal/protocol/all"
)

// mayKnow are the folders, and the files, that may know a protocol by its name
// or speak it, and why that is theirs. Everything else gets by with what a
// protocol declares.
var mayKnow = map[string]string{
	"internal/api/apitest":        "equipment of tests",
	"internal/store/storetest":    "equipment of tests",
	"test":                        "tests",
	"internal/sshserver":          "equipment: a server to test and to try with",
	"internal/pgserver":           "equipment: a server to test and to try with",
	"cmd/postern":                 "it runs native clients, and is one",
	"internal/api/sql.go":         "a page that is a native client",
	"internal/api/terminal.go":    "a page that is a native client",
	"internal/sql/postgres":       "the language of one protocol, which it analyses",
	"internal/config/config.go":   "the ports that are promised, also of protocols that this version doesn't speak",
	"internal/config/load.go":     "the store may be PostgreSQL",
	"internal/identity/scram.go":  "it keeps what SCRAM proves tokens by, which is of no one protocol",
	"internal/identity/authority": "it signs certificates for clients and servers, of SSH as of TLS",
}

// A protocol is one folder and one line in the list: no other file names it, or
// imports what it speaks the wire with. What a file that isn't in the table needs
// to know of protocols is an optional interface in internal/protocol.
func TestProtocolsAreKnownToNobody(t *testing.T) {
	var names []string
	for _, p := range all.List(protocol.Options{}) {
		names = append(names, p.Name())
	}
	wires := wireLibraries(t, names)
	for _, name := range names {
		if len(wires[name]) == 0 {
			t.Errorf("nothing is found with which %s speaks: the test looks at nothing", name)
		}
	}
	used := map[string]bool{}
	looked := 0
	for file := range goFiles(t, ".") {
		looked++
		for _, found := range protocolsIn(t, file, nil, names, wires) {
			if entry := known(file); entry == "" {
				t.Errorf("%s %s; let the protocol declare what is needed (internal/protocol), or give a reason in mayKnow", file, found)
			} else {
				used[entry] = true
			}
		}
	}
	if looked < 300 {
		t.Fatalf("only %d files were looked at", looked)
	}
	for entry := range mayKnow {
		if !used[entry] {
			t.Errorf("%s may know a protocol, and knows none: take it out of mayKnow", entry)
		}
	}
}

func TestNamesOfProtocolsAreFound(t *testing.T) {
	src := "package p\nimport (\n\tx \"example.org/wire/v5/frames\"\n\t_ \"example.org/wired\"\n)\n" +
		"const a, b, c = \"ssh\", `ssh`, \"an ssh of words\"\nvar d = x.Y{Type: \"\\x73sh\"}\n"
	found := protocolsIn(t, "p.go", src, []string{"ssh"}, map[string][]string{"ssh": {"example.org/wire/v5"}})
	if len(found) != 4 || !strings.Contains(found[0], "example.org/wire/v5/frames") {
		t.Fatalf("found %q, want the import and three names", found)
	}
	if known("internal/api/sql.go") == "" || known("internal/api/sqlite.go") != "" || known("internal/storetest/x.go") != "" || known("test/x/y.go") == "" {
		t.Error("an entry of the table is for itself and what is below it")
	}
}

// known is the entry of the table for a file; "" for none.
func known(file string) string {
	for at := file; at != "."; at = path.Dir(at) {
		if _, ok := mayKnow[at]; ok {
			return at
		}
	}
	return ""
}

// goFiles are the files below a folder that are no tests, with those of the
// protocols' own folders left out.
func goFiles(t *testing.T, root string) map[string]bool {
	t.Helper()
	files := map[string]bool{}
	err := filepath.WalkDir(root, func(at string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() != "." && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		own := protocolOf("postern/" + path.Dir(filepath.ToSlash(at)))
		if strings.HasSuffix(at, ".go") && !strings.HasSuffix(at, "_test.go") && (own == "" || own == "all") {
			files[filepath.ToSlash(at)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// wireLibraries are the modules' packages that a protocol's own folder imports:
// what it speaks the wire with, and what it reads its commands with.
func wireLibraries(t *testing.T, names []string) map[string][]string {
	t.Helper()
	wires := map[string][]string{}
	for _, name := range names {
		files, err := filepath.Glob(filepath.Join("internal", "protocol", name, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, imp := range parsed.Imports {
				of, _ := strconv.Unquote(imp.Path.Value)
				if host, _, _ := strings.Cut(of, "/"); strings.Contains(host, ".") && !strings.HasPrefix(of, "golang.org/x/sys/") {
					seen[of] = true
				}
			}
		}
		wires[name] = slices.Sorted(maps.Keys(seen))
	}
	return wires
}

// protocolsIn says where a file names a protocol or imports what one speaks with.
func protocolsIn(t *testing.T, file string, src any, names []string, wires map[string][]string) (found []string) {
	t.Helper()
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, imp := range parsed.Imports {
		of, _ := strconv.Unquote(imp.Path.Value)
		for _, name := range names {
			if slices.ContainsFunc(wires[name], func(wire string) bool { return of == wire || strings.HasPrefix(of, wire+"/") }) {
				found = append(found, "imports "+of+", with which "+name+" is spoken")
			}
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil && slices.Contains(names, text) {
				found = append(found, "names "+text+" in line "+strconv.Itoa(files.Position(lit.Pos()).Line))
			}
		}
		return true
	})
	return found
}
