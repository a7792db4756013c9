package policy_test

import (
	"strings"
	"testing"

	"postern/internal/policy"
)

// A guardrail that guards nothing for a slip in a label says so, as does a
// resource that can't be reached; one that is for nobody for a space isn't taken.
func TestGuardsNothing(t *testing.T) {
	const resource = "kind: Resource\nname: a-db\ntype: postgres\nlabels: {env: prod}\naddress: 127.0.0.1:1\n---\n"
	for document, want := range map[string]string{
		"kind: Resource\nname: b-db\ntype: postgres\nvia: dc1\naddress: 127.0.0.1:1\n":      "f.yaml:10: Resource b-db: via: there is no relay",
		"kind: Rule\nname: r\non: {labels: {enviroment: prod}}\nwhen: 'true'\nthen: deny\n": "f.yaml:9: Rule r: on: it picks none",
		"kind: Mask\nname: m\non: {labels: {env: Prod}}\ncolumns: [\"a.b.c\"]\n":            "f.yaml:9: Mask m: on: it picks none",
		"kind: Rule\nname: r\non: {names: [\"b-*\"]}\nwhen: 'true'\nthen: deny\n":           "f.yaml:9: Rule r: on: it picks none",
	} {
		objects, err := policy.Parse("f.yaml", []byte(resource+document))
		if err != nil {
			t.Fatal(err)
		}
		set, err := policy.NewSet(objects, policy.Options{Protocols: []policy.ProtocolType{{Name: "postgres"}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(set.Warnings(), "\n"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: warnings %q, want %q", document, got, want)
		}
	}
	_, err := policy.Parse("f.yaml", []byte("kind: Rule\nname: r\nto: [\"group: eng\"]\nwhen: 'true'\nthen: deny\n"))
	if err == nil || !strings.Contains(err.Error(), "names nobody") {
		t.Errorf("a space after the kind: %v", err)
	}
}
