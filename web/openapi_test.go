package web_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// faults are what a validator says of a description of an API: a line for each
// fault, none of a valid one.
func faults(t *testing.T, description []byte) string {
	t.Helper()
	if _, err := os.Stat("node_modules/@redocly/openapi-core/package.json"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the validator is missing: run `make build`")
		}
		t.Skip("SKIPPED, NOT TESTED: the validator is missing: run `make build`")
	}
	cmd := exec.CommandContext(t.Context(), "node", "e2e/openapi.mjs")
	cmd.Stdin = bytes.NewReader(description)
	said, err := cmd.CombinedOutput()
	if (err != nil) != (len(said) > 0) {
		t.Fatalf("the validator ended with %v, and said %q", err, said)
	}
	return string(said)
}

// The API's description is a valid OpenAPI document, and a document that isn't
// one, by what is done to it here, doesn't pass for one.
func TestDescriptionIsValid(t *testing.T) {
	description, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if found := faults(t, description); found != "" {
		t.Errorf("openapi.json:\n%s", found)
	}
	for _, c := range []struct {
		name, rule string
		at         []string // what is changed
		to         any      // nil: it is left out
	}{
		{"no title", "struct", []string{"info", "title"}, nil},
		{"a type that there isn't", "struct", []string{"components", "schemas", "Status", "properties", "version", "type"}, "text"},
		{"a key of nobody's", "struct", []string{"paths", "/status", "get", "answers"}, map[string]any{}},
		{"a schema that is gone", "no-unresolved-refs", []string{"components", "schemas", "Being"}, nil},
		{"a parameter that isn't described", "path-parameters-defined", []string{"paths", "/sessions/{id}", "get", "parameters"}, nil},
		{"two operations of one name", "operation-operationId-unique", []string{"paths", "/status", "get", "operationId"}, "whoami"},
		{"nobody says how to sign in", "security-defined", []string{"paths", "/status", "get", "security"}, nil},
		{"no such way to sign in", "security-defined", []string{"paths", "/status", "get", "security"}, []any{map[string]any{"magic": []any{}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var document map[string]any
			if err := json.Unmarshal(description, &document); err != nil {
				t.Fatal(err)
			}
			part := document
			for _, key := range c.at[:len(c.at)-1] {
				inner, ok := part[key].(map[string]any)
				if !ok {
					t.Fatalf("there is no %s in %v", key, c.at)
				}
				part = inner
			}
			last := c.at[len(c.at)-1]
			if part[last] = c.to; c.to == nil {
				delete(part, last)
			}
			broken, err := json.Marshal(document)
			if err != nil {
				t.Fatal(err)
			}
			if found := faults(t, broken); !strings.Contains(found, ": "+c.rule+": ") {
				t.Errorf("found %q, want what breaks %s", found, c.rule)
			}
		})
	}
}
