package postgres

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseOptions(t *testing.T) {
	check := func(t *testing.T, options, want string) {
		t.Helper()
		settings, ok := parseOptions(options)
		var got []string
		for _, s := range settings {
			got = append(got, s[0]+"="+s[1])
		}
		if g := fmt.Sprintf("%v %s", ok, strings.Join(got, "|")); g != want {
			t.Errorf("%q: got %q, want %q", options, g, want)
		}
	}
	check(t, "", "true ")
	check(t, "-c role=dba", "true role=dba")
	check(t, "  -crole=dba\t--search-path=a,b ", "true role=dba|search_path=a,b")
	check(t, `-c search_path=a\ b -c x.y=\\`, `true search_path=a b|x.y=\`)
	check(t, `-c x.y=a\`, "true x.y=a")
	check(t, "-c x.y=a=b", "true x.y=a=b")
	check(t, "-c", "false ")
	check(t, "-c role", "false ")
	check(t, "-O", "false ")
	check(t, "-c role=a -d 5", "false ")
	check(t, "role=dba", "false ")
	check(t, "--=x", "false ")
	check(t, "-c ro'le=x", "false ")
}
