package postgres

import (
	"slices"
	"strings"
	"testing"
)

func TestParseSearchPath(t *testing.T) {
	check := func(value string, want ...string) {
		t.Helper()
		path := ParseSearchPath(value)
		if !slices.Equal(path, want) || (path == nil) != (want == nil) {
			t.Errorf("%q: got %q", value, path)
		}
	}
	long := strings.Repeat("a", maxName)
	check(`"$user", public`, "$user", "public")
	check("public", "public")
	check("\t Public ,\n\"Odd\"", "public", "Odd")
	check("", []string{}...)
	check(`""`, []string{}...)
	check(`"Odd, ""name""", b`, `Odd, "name"`, "b")
	check(`"É"`, "É")
	check(long+"x, b", long, "b")
	check(`"`+long+`x"`, long)
	for _, bad := range []string{`"broken`, "a,", ",a", "a b", `a"b"`, `"a"b`, "É", "\u00a0a", "a\u00a0", "a\vb", "\"\xe9\"", `"` + long + `é"`} {
		check(bad)
	}
}

// TestUsage: schemas that a role may not use aren't searched for it.
func TestUsage(t *testing.T) {
	env := func(change func(*Env)) *Env {
		e := testEnv(t)
		e.SearchPath = []string{"app", "public"}
		change(e)
		return e
	}
	for _, x := range []struct {
		name string
		env  *Env
		text string
		want string
	}{
		{"may", env(func(*Env) {}), "select * from plain", "select read app.plain"},
		{"a superuser", env(func(e *Env) { e.User = "postgres" }), "select * from plain", "select read app.plain"},
		{"may not", env(func(e *Env) { e.User, e.SearchPath = "app", []string{"metrics", "public"} }), "select * from daily, customers", "select read ?.daily public.customers"},
		{"nobody knows", env(func(e *Env) { e.User = "bob" }), "select * from plain, customers", "select read ?.plain public.customers"},
		{"unknown user", env(func(e *Env) { e.User, e.SearchPath = "", []string{"public", "app"} }), "select * from plain", "select read public.plain"},
		{"unknown user's", env(func(e *Env) { e.User, e.SearchPath = "", []string{"$user", "public"} }), "select * from plain", "select read ?.plain"},
		{"granted meanwhile", env(func(e *Env) { e.Touched = []string{touchesUsage} }), "select * from plain, public.customers", "select read ?.plain public.customers"},
		{"granted before", env(func(*Env) {}), "revoke usage on schema app from app_user; select * from plain", "revoke admin role:app_user! schema:app!\nselect read ?.plain"},
		{"another's temporary schema", env(func(e *Env) { e.SearchPath = []string{"public", "pg_temp_9"} }), "select * from plain", "select read ?.plain"},
	} {
		t.Run(x.name, func(t *testing.T) { checkIn(t, x.env, x.text, x.want) })
	}
}
