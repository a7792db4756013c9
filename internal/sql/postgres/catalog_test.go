package postgres

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const recorded = "testdata/catalog.json.gz"

// TestRecordCatalog reads the catalog of the database that POSTERN_TEST_CATALOG
// (a connection string for psql) holds after testdata/schema.sql, and keeps it
// for the other tests.
func TestRecordCatalog(t *testing.T) {
	conn := os.Getenv("POSTERN_TEST_CATALOG")
	if conn == "" {
		t.Skip("POSTERN_TEST_CATALOG isn't set: the recorded catalog stays as it is")
	}
	var answers [][][]*string
	_, err := LoadCatalog(func(query string) ([][]*string, error) {
		rows, err := psql(conn, query)
		answers = append(answers, rows)
		return rows, err
	})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(recorded)
	if err != nil {
		t.Fatal(err)
	}
	pack := gzip.NewWriter(file)
	if err := errors.Join(json.NewEncoder(pack).Encode(answers), pack.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

func psql(conn, query string) ([][]*string, error) {
	cmd := exec.Command("psql", conn, "-X", "-q", "--csv", "-t", "-P", "null=\x01", "-c", "SET search_path = pg_catalog", "-c", query)
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	records, err := csv.NewReader(strings.NewReader(string(out))).ReadAll()
	if err != nil {
		return nil, err
	}
	rows := make([][]*string, len(records))
	for i, record := range records {
		for _, cell := range record {
			if cell == "\x01" {
				rows[i] = append(rows[i], nil)
			} else {
				rows[i] = append(rows[i], &cell)
			}
		}
	}
	return rows, nil
}

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
