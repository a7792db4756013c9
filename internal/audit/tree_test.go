package audit

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// The tree is tlog's, at every size.
func TestTree(t *testing.T) {
	var tr tree
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, at := range indexes {
			out[i] = stored[at]
		}
		return out, nil
	})
	for n := range int64(300) {
		want, err := tlog.TreeHash(n, reader)
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.root(); got != want {
			t.Fatalf("root of %d leaves is %s, want %s", n, got, want)
		}
		data := fmt.Append(nil, "leaf ", n)
		hashes, err := tlog.StoredHashes(n, data, reader)
		if err != nil {
			t.Fatal(err)
		}
		var got []tlog.Hash
		for _, h := range tr.add(nil, tlog.RecordHash(data)) {
			got = append(got, h)
		}
		if !slices.Equal(got, hashes) {
			t.Fatalf("leaf %d stores %v, want %v", n, got, hashes)
		}
		stored = append(stored, hashes...)
	}
}
