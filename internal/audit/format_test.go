package audit_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"postern"
	"postern/internal/audit"
)

// example returns a fenced block of the specification by its label.
func example(t *testing.T, label string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/audit-log.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(page), "```"+label+"\n")
	block, _, ended := strings.Cut(rest, "```")
	if !ok || !ended {
		t.Fatalf("the specification has no block %q", label)
	}
	return block
}

// The specification's example verifies, and its parts are what it says.
func TestSpecificationsExample(t *testing.T) {
	export, key := example(t, "jsonl"), strings.TrimSpace(example(t, "key"))
	report, err := audit.VerifyExport(t.Context(), strings.NewReader(export), key, audit.Against{})
	if err != nil || report.Entries != 2 || report.Root != strings.TrimSpace(example(t, "root")) {
		t.Fatalf("%+v, %v", report, err)
	}
	if want := example(t, "checkpoint"); report.Checkpoint != want {
		t.Errorf("the checkpoint is\n%s\nand not\n%s", report.Checkpoint, want)
	}
	_, err = audit.VerifyExport(t.Context(), strings.NewReader(strings.Replace(export, "allow", "deny", 1)), key, audit.Against{})
	if seq := tampered(t, err); seq != 2 {
		t.Errorf("the changed example: %v", err)
	}
}

// The schema names each member of an entry, and nothing else.
func TestSchemaIsComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/audit-entry.schema.json")
	must(t, err)
	var schema struct {
		Properties map[string]struct {
			Type        string `json:"type"`
			Description string `json:"description"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
	must(t, json.Unmarshal(text, &schema))
	types := map[reflect.Kind]string{reflect.String: "string", reflect.Int64: "integer", reflect.Slice: "array", reflect.Struct: "string"}
	required := []string{"seq"}
	entry := reflect.TypeFor[postern.AuditEntry]()
	for i := range entry.NumField() {
		name, options, _ := strings.Cut(entry.Field(i).Tag.Get("json"), ",")
		p, ok := schema.Properties[name]
		if want := types[entry.Field(i).Type.Kind()]; !ok || p.Type != want || p.Description == "" {
			t.Errorf("member %s is described as %+v", name, p)
		}
		if options == "" {
			required = append(required, name)
		}
	}
	if want := entry.NumField() + 1; len(schema.Properties) != want {
		t.Errorf("the schema has %d members, an entry %d", len(schema.Properties), want)
	}
	if strings.Join(schema.Required, " ") != strings.Join(required, " ") {
		t.Errorf("required are %v, want %v", schema.Required, required)
	}
}
