package postgres

import "testing"

func TestImpact(t *testing.T) {
	for text, want := range map[string]string{
		"set work_mem = '1MB'":     "session",
		"select 1":                 "read",
		"select id from customers": "read",
		"update customers set name = 'x' where id = 1": "rows",
		"insert into plain values (1, 'x', 2)":         "rows",
		"update customers set name = 'x'":              "table",
		"delete from customers where 1 = 1":            "table",
		"truncate plain":                               "table",
		"alter table plain add a int":                  "structure",
		"grant select on plain to app":                 "structure",
		"copy plain to '/tmp/x'":                       "server",
		"copy plain from program 'id'":                 "server",
		"select pg_read_file('/etc/passwd')":           "server",
		"selec 1":                                      "unknown",
	} {
		a := analysed(t, text, testEnv(t))
		c := &a.Statements[0].Command
		got := c.Attr("impact").String
		if c.Verb == "unknown" {
			got = "unknown"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if trivial := c.Attr("trivially_true").Bool; trivial != (want == "table" && c.Verb != "truncate") {
			t.Errorf("%s: trivially true %v", text, trivial)
		}
		if rows := c.Attr("changes_rows").Bool; rows != (want == "rows" || want == "table" || text == "copy plain from program 'id'" || text == "copy plain to '/tmp/x'") {
			t.Errorf("%s: changes rows %v", text, rows)
		}
	}
}
