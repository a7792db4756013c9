package postern_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// sideDoors are ways to reach a network past the gate.
var sideDoors = map[string][]string{
	"net":        {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialUnix", "DialIP", "Dialer"},
	"crypto/tls": {"Dial", "DialWithDialer", "Dialer"},
	"net/http":   {"DefaultTransport", "DefaultClient", "Get", "Head", "Post", "PostForm"},
}

// Protocols reach upstreams only through a Session. Whatever dials by itself
// below internal/protocol is a side door. The contract suite plays the client
// and the network, and dials; no protocol may import it.
func TestProtocolsDontDial(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("internal/protocol", func(path string, d fs.DirEntry, err error) error {
		if err == nil && path == filepath.Join("internal", "protocol", "protocoltest") {
			return filepath.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		seen++
		for _, found := range sideDoorsIn(t, path, nil) {
			t.Errorf("%s: %s goes past the gate; use Session.Dial", path, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("no file was looked at")
	}
}

func TestSideDoorsAreFound(t *testing.T) {
	src := "package p\nimport (\n\tn \"net\"\n\t\"crypto/tls\"\n\t_ \"postern/internal/protocol/protocoltest\"\n)\nvar _ n.Dialer\nfunc f() { _, _ = tls.Dial(\"\", \"\", nil) }\n"
	if found := sideDoorsIn(t, "p.go", src); len(found) != 3 {
		t.Fatalf("found %v, want three side doors", found)
	}
}

func sideDoorsIn(t *testing.T, path string, src any) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{} // local name -> import path
	for _, imp := range file.Imports {
		full := strings.Trim(imp.Path.Value, `"`)
		local := full[strings.LastIndex(full, "/")+1:]
		if imp.Name != nil {
			local = imp.Name.Name
		}
		names[local] = full
	}
	var found []string
	for _, full := range names {
		if strings.HasSuffix(full, "/protocoltest") {
			found = append(found, full)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		for _, door := range sideDoors[names[pkg.Name]] {
			if sel.Sel.Name == door {
				found = append(found, names[pkg.Name]+"."+door)
			}
		}
		return true
	})
	return found
}
