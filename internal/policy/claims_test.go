package policy

import (
	"strings"
	"testing"

	"postern"
)

// TestClaimsMatter: a change of claims matters when a condition reads one of
// those that changed, however it is spelled.
func TestClaimsMatter(t *testing.T) {
	was := postern.Claims{"dept": "sales", "iat.like": "1", "level": "3"}
	for _, c := range []struct {
		when    string
		matters string // which of dept, level, new, iat.like
	}{
		{`command.verb == "select"`, ""},
		{`identity.name == "x" && identity.groups.exists(g, g == "y")`, ""},
		{`identity.claims.dept == "sales"`, "dept"},
		{`identity.claims["dept"] == "sales"`, "dept"},
		{`has(identity.claims.dept)`, "dept"},
		{`"new" in identity.claims`, "new"},
		{`!(("level" in identity.claims) && identity.claims["level"] == "3")`, "level"},
		{`["a", identity.claims.dept].exists(x, x == "sales")`, "dept"},
		{`resource.labels.exists(k, identity.claims["level"] == k)`, "level"},
		{`{"a": identity.claims.dept}["a"] == "b"`, "dept"},
		{`identity.claims["iat.like"].startsWith("1")`, "iat.like"},
		{`identity.claims.exists(k, k == "x")`, "dept level new iat.like"},
		{`identity.claims[resource.name] == "x"`, "dept level new iat.like"},
		{`size(identity.claims) > 2`, "dept level new iat.like"},
		{`[identity].exists(i, i.claims.dept == "sales")`, "dept level new iat.like"},
	} {
		set := mustSet(t, "kind: Rule\nname: r\nwhen: '"+c.when+"'\nthen: deny\n")
		for _, name := range []string{"dept", "level", "new", "iat.like"} {
			now := postern.Claims{"dept": "sales", "iat.like": "1", "level": "3"}
			now[name] = "changed"
			want := strings.Contains(" "+c.matters+" ", " "+name+" ")
			if got := set.ClaimsMatter(was, now); got != want {
				t.Errorf("%s: a change of %s matters: %v", c.when, name, got)
			}
			if set.ClaimsMatter(now, now) {
				t.Errorf("%s: no change matters", c.when)
			}
		}
	}
}
