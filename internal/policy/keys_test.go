package policy

import (
	"slices"
	"testing"
)

// TestKeyTable looks for keys at every depth: of an object, of a mapping in it,
// of the mappings in a list, of a secret's reference.
func TestKeyTable(t *testing.T) {
	table := KeyTable(testOptions().Protocols...)
	for _, want := range []struct{ kind, path, key string }{
		{KindResource, "", "address"},
		{KindResource, "credentials", "password"},
		{KindResource, "credentials.password", "env"},
		{KindAccess, "allow", "verbs"},
		{KindAccess, "within", "hours"},
		{KindAccess, "", "ssh"},
		{KindAccess, "ssh.transfer", "bytes"},
		{KindRule, "on", "labels"},
		{KindRule, "review", "approvers"},
		{KindMask, "", "columns"},
		{KindServiceAccount, "", "groups"},
	} {
		if !slices.ContainsFunc(table, func(k Keys) bool {
			return k.Kind == want.kind && k.Path == want.path && slices.Contains(k.Keys, want.key)
		}) {
			t.Errorf("%s: no key %q below %q", want.kind, want.key, want.path)
		}
	}
	for _, want := range []struct{ kind, path, word string }{
		{KindRule, "then", "review"}, {KindRule, "use", "read-only"}, {KindMask, "with", "partial"}, {KindResource, "tls.mode", "verify-full"},
	} {
		if !slices.ContainsFunc(table, func(k Keys) bool {
			return k.Kind == want.kind && k.Path == want.path && slices.Contains(k.Words, want.word)
		}) {
			t.Errorf("%s: %q takes no word %q", want.kind, want.path, want.word)
		}
	}
}
