package postgres

import (
	"strings"
	"testing"

	"postern"
)

func inquiry(text string, tables ...string) (Inquiry, string) {
	cmd := &postern.Command{Verb: "update", Text: text}
	for _, t := range tables {
		cmd.Objects = append(cmd.Objects, postern.Object{Kind: "table", Name: t})
	}
	return Inquire(cmd)
}

func TestInquire(t *testing.T) {
	for _, c := range []struct{ text, explain, count string }{
		{"DELETE FROM jobs WHERE id < 5;", "DELETE FROM public.jobs WHERE id < 5", "SELECT jobs.ctid FROM public.jobs WHERE id < 5 GROUP BY jobs.ctid"},
		{
			"update jobs j set a = 1 from owners o where o.id = j.owner", "UPDATE public.jobs j SET a = 1 FROM public.owners o WHERE o.id = j.owner",
			"SELECT j.ctid FROM public.jobs j, public.owners o WHERE o.id = j.owner GROUP BY j.ctid",
		},
		{"DELETE FROM jobs USING owners WHERE true", "DELETE FROM public.jobs USING public.owners WHERE true", "SELECT jobs.ctid FROM public.jobs, public.owners WHERE true GROUP BY jobs.ctid"},
		{"SELECT * FROM jobs WHERE id IN (SELECT id FROM owners)", "SELECT * FROM public.jobs WHERE id IN (SELECT id FROM public.owners)", ""},
		{"INSERT INTO jobs SELECT * FROM owners", "INSERT INTO public.jobs SELECT * FROM public.owners", ""},
	} {
		q, why := inquiry(c.text, "public.jobs", "public.owners")
		if why != "" || q.Explain != "EXPLAIN (FORMAT JSON) "+c.explain {
			t.Errorf("%s: %q, %q", c.text, q.Explain, why)
		}
		want := ""
		if c.count != "" {
			want = "SELECT count(*) FROM (" + c.count + ") AS counted"
		}
		if q.Count != want {
			t.Errorf("%s: counts by %q, want %q", c.text, q.Count, want)
		}
	}
}

// What could run somebody's code, or be about something else, isn't asked.
func TestInquireRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"DELETE FROM jobs WHERE public.evil(id)":                              "a function that isn't the server's own",
		"DELETE FROM jobs WHERE id OPERATOR(public.=) 1":                      "an operator that isn't",
		"DELETE FROM jobs WHERE id = '1'::public.evil":                        "a type that isn't",
		"DELETE FROM jobs WHERE a COLLATE public.evil = 'x'":                  "a collation that isn't",
		"DELETE FROM jobs WHERE id OPERATOR(public.=) ANY (SELECT 1)":         "an operator that isn't",
		"SELECT * FROM jobs ORDER BY id USING OPERATOR(public.<)":             "an operator that isn't",
		"WITH d AS (DELETE FROM jobs RETURNING id) SELECT * FROM d":           "",
		"DELETE FROM jobs WHERE id IN (WITH x AS (SELECT 1) SELECT * FROM x)": "",
		"DELETE FROM jobs WHERE CURRENT OF c":                                 "a cursor",
		"SELECT * FROM jobs FOR UPDATE":                                       "locks rows",
		"SELECT * INTO x FROM jobs":                                           "makes a table",
		"DELETE FROM jobs; DELETE FROM jobs":                                  "isn't one statement",
		"TRUNCATE jobs":                                                       "plans of SELECT",
		"EXPLAIN ANALYZE DELETE FROM jobs":                                    "plans of SELECT",
		"EXECUTE x":                                                           "plans of SELECT",
		"DO $$BEGIN PERFORM public.evil(); END$$":                             "plans of SELECT",
		"CALL public.evil()":                                                  "plans of SELECT",
		"DELETE FROM unknown WHERE id = 1":                                    "can't be told",
		`DELETE FROM "Jobs" WHERE id = 1`:                                     "can't be told",
		`DELETE FROM "jobs'; DROP TABLE x--" WHERE id = 1`:                    "can't be told",
		"DELETE FROM pg_temp.jobs":                                            "none that others see",
		"DELETE FROM other.public.jobs":                                       "can't be told",
		"DELETE FROM twice":                                                   "two tables",
		"SELECT * FROM jobs TABLESAMPLE public.evil(1)":                       "a sample",
		"DELETE FROM": "isn't understood",
	} {
		if q, why := inquiry(text, "public.jobs", "a.twice", "b.twice"); !strings.Contains(why, says) || q.Explain != "" {
			t.Errorf("%s: %q, %q; want %q", text, q.Explain, why, says)
		}
	}
	if _, why := Inquire(&postern.Command{Verb: postern.VerbUnknown, Text: "SELECT 1"}); why == "" {
		t.Error("what wasn't understood is asked about")
	}
}

func TestFormat(t *testing.T) {
	for text, want := range map[string]string{
		"update t set a=1,b=2 where x=1 and y in (select z from u where v)": "update t\nset a=1,b=2\nwhere x=1\n  and y in (select z\n  from u\n  where v)",
		"DELETE FROM t WHERE a = 'x  where y' -- and\n or b":                "DELETE FROM t\nWHERE a = 'x  where y' -- and\n\n  or b",
		"SELECT a FROM b LEFT JOIN c ON c.d=b.e ORDER BY 1":                 "SELECT a\nFROM b\nLEFT JOIN c\n  ON c.d=b.e\nORDER BY 1",
		"":             "",
		"SELECT 'open": "",
	} {
		if got := Format(text); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", text, got, want)
		}
	}
}
