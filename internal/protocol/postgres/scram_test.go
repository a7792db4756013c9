package postgres

import (
	"strings"
	"testing"
)

func TestCutToken(t *testing.T) {
	id := strings.Repeat("0a", 15)
	for user, want := range map[string][2]string{
		"alice+tk_" + id:                  {"alice", "tk_" + id},
		"a+tk_b+tk_" + id:                 {"a+tk_b", "tk_" + id},
		"ci:acme/shop+tk_" + id:           {"ci:acme/shop", "tk_" + id},
		"alice":                           {"alice", ""},
		"+tk_" + id:                       {"+tk_" + id, ""},
		"alice+tk_" + id + "0":            {"alice+tk_" + id + "0", ""},
		"alice+tk_" + id[1:]:              {"alice+tk_" + id[1:], ""},
		"alice+tk_" + id[1:] + "G":        {"alice+tk_" + id[1:] + "G", ""},
		"alice+tk_" + strings.ToUpper(id): {"alice+tk_" + strings.ToUpper(id), ""},
	} {
		name, token, ok := cutToken(user)
		if name != want[0] || token != want[1] || ok != (want[1] != "") {
			t.Errorf("%s: %s %s %v", user, name, token, ok)
		}
	}
}
