package postgres

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"testing"
)

const recorded = "testdata/catalog.json.gz"

var answers = sync.OnceValues(func() ([][][]*string, error) {
	file, err := os.Open(recorded)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unpack, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	var all [][][]*string
	return all, json.NewDecoder(unpack).Decode(&all)
})

var recordedCatalog = sync.OnceValues(func() (*Catalog, error) {
	all, err := answers()
	if err != nil {
		return nil, err
	}
	n := 0
	return LoadCatalog(func(string) ([][]*string, error) {
		n++
		if n > len(all) {
			return nil, errors.New("more queries than were recorded: record anew")
		}
		return all[n-1], nil
	})
})

// testCatalog is the catalog of testdata/schema.sql.
func testCatalog(t testing.TB) *Catalog {
	t.Helper()
	c, err := recordedCatalog()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testEnv(t testing.TB) *Env {
	return &Env{Catalog: testCatalog(t), SearchPath: []string{"app_user", "public"}, User: "app_user", Database: "t", StandardConformingStrings: true}
}
