package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"postern/internal/api/apitest"
)

var update = flag.Bool("update", false, "write web/openapi.json anew")

// TestDescription holds web/openapi.json, from which the console's types are
// made, against what the API says of itself. After a change of the API:
//
//	go test ./internal/api -run TestDescription -update && npm --prefix web run types
func TestDescription(t *testing.T) {
	const file = "../../web/openapi.json"
	_, body := do(t, apitest.New(t), request{path: "/api/openapi.json"})
	var got bytes.Buffer
	if err := json.Indent(&got, []byte(body), "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s isn't what the API says of itself; write it anew as the comment of this test says", file)
	}
}
