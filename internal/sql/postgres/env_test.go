package postgres

import "testing"

// TestKeyTellsPathsApart: no two search paths, however long, share an analysis.
func TestKeyTellsPathsApart(t *testing.T) {
	seen := make(map[key][]string)
	for _, path := range [][]string{
		nil,
		{},
		{"a"},
		{"b"},
		{"a", "b"},
		{"b", "a"},
		{"a", "b", "c"},
		{"a", "b", "d"},
		{"a", "b", "c", "d"},
		{"a", "b", "cd"},
		{"a", "b", "c", "d", "e"},
		{"a", "b", "c", "de"},
		{"a", "b", "c\x00d"},
	} {
		k := (&Env{SearchPath: path}).key("select 1")
		if other, ok := seen[k]; ok {
			t.Errorf("%q and %q are one", path, other)
		}
		seen[k] = path
	}
}
