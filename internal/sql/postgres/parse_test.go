package postgres

import (
	"slices"
	"strings"
	"testing"

	"postern"
)

// TestPartition: the texts of a text's statements are the text, byte for byte.
func TestPartition(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{" -- nothing\n/* at all */ ;; ", nil},
		{"select 1", []string{"select 1"}},
		{"/* a */ select 1; -- b\nselect 'x;y'; ", []string{"/* a */ select 1;", " -- b\nselect 'x;y'; "}},
		{";;select 1;;;select $a$;$a$;--end", []string{";;select 1;;;", "select $a$;$a$;--end"}},
		{"create rule r as on insert to t do (select 1; select 2); select 3", []string{"create rule r as on insert to t do (select 1; select 2);", " select 3"}},
		{"sélect 1", []string{"sélect 1"}},
		{"select 1 where", []string{"select 1 where"}},
		{"select 'é'; select 'ü'", []string{"select 'é';", " select 'ü'"}},
	} {
		var got []string
		for _, s := range analysed(t, c.text, testEnv(t)).Statements {
			got = append(got, s.Command.Text)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q\n got %q\nwant %q", c.text, got, c.want)
		}
	}
}

// TestUnknown: what can't be read is one unknown statement that says why,
// without the text.
func TestUnknown(t *testing.T) {
	off := testEnv(t)
	off.StandardConformingStrings = false
	sjis := testEnv(t)
	sjis.Encoding = "SJIS"
	for _, c := range []struct {
		name, text string
		env        *Env
	}{
		{"no grammar", "selec secret_word", testEnv(t)},
		{"NUL", "select 1\x00; drop table secret_word", testEnv(t)},
		{"not UTF-8", "select '\xff secret_word'", testEnv(t)},
		{"backslash", `select '\' || '; delete from secret_word; --'`, off},
		{"not ASCII in another encoding", "select '表 secret_word'", sjis},
		{"too long", "select 'secret_word" + strings.Repeat("x", maxText) + "'", testEnv(t)},
		{"brackets", "select " + strings.Repeat("(", 60_000) + "1" + strings.Repeat(")", 60_000), testEnv(t)},
		{"chain", "select 1" + strings.Repeat("+1", 150_000), testEnv(t)},
		{"chain with commas", "select 1,2" + strings.Repeat(" union select 1,2", 60_000), testEnv(t)},
		{"chain with comments", "select 1" + strings.Repeat("+/*,*/1", 60_000), testEnv(t)},
		{"chain of joins", "select 1 from a" + strings.Repeat(" join a on b and c", 50_000), testEnv(t)},
		{"chain of cases", "select 1" + strings.Repeat("+case when a then b end", 30_000), testEnv(t)},
		{"chain of casts", "select 1" + strings.Repeat("::a", 150_000), testEnv(t)},
		{"chain of subscripts", "select a" + strings.Repeat("[1]", 150_000), testEnv(t)},
		{"chain of NOT", "select " + strings.Repeat("not ", 200_000) + "true", testEnv(t)},
		{"subqueries", strings.Repeat("select (", 60_000) + "1" + strings.Repeat(")", 60_000), testEnv(t)},
		{"cases within cases", "select " + strings.Repeat("case when a then ", 30_000) + "1" + strings.Repeat(" end", 30_000), testEnv(t)},
		{"blocks", "do $$" + strings.Repeat("begin ", 80_000) + strings.Repeat("end; ", 80_000) + "$$", testEnv(t)},
		{"chain in a block", "do $$ begin perform 1" + strings.Repeat("+1", 150_000) + "; end $$", testEnv(t)},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := NewAnalyzer(0).Analyze(c.text, c.env)
			if len(a.Statements) != 1 {
				t.Fatalf("%d statements", len(a.Statements))
			}
			s := &a.Statements[0]
			if s.Command.Access != postern.Unknown || s.Command.Verbs[0] != postern.VerbUnknown || s.Command.Problem == "" || strings.Contains(s.Command.Problem, "secret_word") {
				t.Errorf("verbs %v, access %s, problem %q", s.Command.Verbs, s.Command.Access, s.Command.Problem)
			}
			if s.Command.Text != c.text || s.UsesProven || !s.ChangesCatalog || !s.Unsettles {
				t.Errorf("an unknown statement claims to know something: %+v", s.Command)
			}
		})
	}
}

// TestLong: long texts of ordinary shape are read.
func TestLong(t *testing.T) {
	for name, text := range map[string]string{
		"rows":   "insert into plain values (1,'a',1)" + strings.Repeat(",(1,'a',1)", 20_000),
		"ands":   "select 1 from plain where id = 1" + strings.Repeat(" or id = 1 + 1", 5_000),
		"cases":  "select case" + strings.Repeat(" when id = 1 then 'a'", 5_000) + " end from plain",
		"in":     "select 1 from plain where id in (1" + strings.Repeat(",1", 50_000) + ")",
		"many":   strings.Repeat("select 1;", 5_000),
		"string": "select '" + strings.Repeat("((((", 50_000) + "'",
		"escape": `select E'\'; drop table plain; --'`,
	} {
		for _, s := range NewAnalyzer(0).Analyze(text, testEnv(t)).Statements {
			if s.Command.Problem != "" {
				t.Errorf("%s: %s", name, s.Command.Problem)
				break
			}
		}
	}
}
