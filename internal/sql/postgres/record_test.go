//go:build record

package postgres

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestRecordCatalog reads the catalog of the database that POSTERN_TEST_CATALOG
// (a connection string for psql) holds after testdata/schema.sql, and keeps it
// for the other tests: go test -tags record -run TestRecordCatalog.
func TestRecordCatalog(t *testing.T) {
	conn := os.Getenv("POSTERN_TEST_CATALOG")
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
