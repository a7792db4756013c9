package policy

import (
	"strings"
	"testing"

	"postern"
)

func object(kind, name string) postern.Object { return postern.Object{Kind: kind, Name: name} }

// shippedCases are commands as an analyser describes them; "block" are those
// that the rule matches.
func shippedCases() map[string]struct{ block, pass []postern.Command } {
	where, noWhere := postern.BoolAttr("has_where", true), postern.BoolAttr("has_where", false)
	file, program := postern.BoolAttr("file_access", true), postern.BoolAttr("program", true)
	read := cmd(postern.Read, "select", table("public.orders"))
	return map[string]struct{ block, pass []postern.Command }{
		"no-drop-table": {
			block: []postern.Command{
				cmd(postern.Admin, "drop", written("public.orders")),
				cmd(postern.Admin, "drop"), // of what isn't named
				cmd(postern.Admin, "DROP", table("public.orders")),
				cmd(postern.Admin, "alter drop", table("public.orders")),
				cmd(postern.Admin, "drop", object("schema", "s9")),
				cmd(postern.Admin, "drop", object("database", "shop")),
				cmd(postern.Admin, "drop", object("extension", "postgis")),
				cmd(postern.Admin, "drop", object("role", "owner")), // DROP OWNED BY
				cmd(postern.Admin, "drop", object("type", "public.row")),
				cmd(postern.Admin, "drop", object("foreign_table", "public.f")),
				cmd(postern.Admin, "drop", object("", "public.f")),
				cmd(postern.Admin, "drop", object("view", "v"), object("table", "t")),
				cmd(postern.Admin, "drop", object("column", "public.t.c")),
				cmd(postern.Unknown, "do"),
				cmd(postern.Read, "select unknown"),
			},
			pass: []postern.Command{
				read,
				cmd(postern.Admin, "alter", written("public.plain")), // DROP COLUMN
				cmd(postern.Admin, "drop", object("index", "public.i")),
				cmd(postern.Admin, "drop", object("view", "public.v")),
				cmd(postern.Admin, "drop", object("function", "public.f")),
				cmd(postern.Admin, "drop", object("materialized view", "public.m")),
				cmd(postern.Control, "deallocate"),
				cmd(postern.Admin, "truncate", written("public.orders")),
			},
		},
		"no-delete-without-where": {
			block: []postern.Command{
				cmd(postern.Write, "delete", written("public.plain"), noWhere),
				cmd(postern.Write, "update", written("public.plain"), noWhere),
				cmd(postern.Write, "delete", written("public.plain")), // nothing is said of a WHERE
				cmd(postern.Write, "delete", postern.StringAttr("has_where", "true")),
				cmd(postern.Write, "select delete", written("public.plain"), noWhere),
				cmd(postern.Write, "insert update", written("public.plain"), noWhere), // ON CONFLICT DO UPDATE
				cmd(postern.Write, "merge", written("public.plain"), noWhere),
				cmd(postern.Write, "Delete", noWhere),
				cmd(postern.Unknown, "delete", where),
			},
			pass: []postern.Command{
				read,
				cmd(postern.Read, "select", noWhere),
				cmd(postern.Write, "delete", written("public.plain"), where),
				cmd(postern.Write, "update", written("public.plain"), where),
				cmd(postern.Write, "insert", written("public.plain"), noWhere),
				cmd(postern.Admin, "truncate", written("public.plain")),
			},
		},
		"no-truncate": {
			block: []postern.Command{
				cmd(postern.Write, "truncate", written("public.plain")),
				cmd(postern.Admin, "select truncate"),
				cmd(postern.Unknown, "call"),
			},
			pass: []postern.Command{read, cmd(postern.Read, "select", postern.StringsAttr("functions", []string{"pg_catalog.trunc"}))},
		},
		"no-ddl": {
			block: []postern.Command{
				cmd(postern.Admin, "create"), cmd(postern.Admin, "alter"), cmd(postern.Admin, "drop"), cmd(postern.Write, "truncate"),
				cmd(postern.Admin, "grant"), cmd(postern.Admin, "revoke"), cmd(postern.Admin, "comment"), cmd(postern.Admin, "reindex"),
				cmd(postern.Admin, "import"), cmd(postern.Admin, "optimize"), cmd(postern.Admin, "install"), cmd(postern.Admin, "rename"),
				cmd(postern.Write, "create select", table("public.plain")), // SELECT INTO
				cmd(postern.Admin, "explain create"),
				cmd(postern.Write, "update", written("pg_catalog.pg_attribute"), where),
				cmd(postern.Write, "delete", written("pg_constraint"), where),
				cmd(postern.Write, "delete", written("?.pg_constraint"), where),
				cmd(postern.Write, "insert", written("mysql.func")),
				cmd(postern.Write, "insert", written(`"pg_catalog"."pg_class"`)),
				cmd(postern.Write, "update", postern.Object{Kind: "column", Name: "pg_catalog.pg_attribute.attname", Write: true}),
				cmd(postern.Unknown, "select"),
			},
			pass: []postern.Command{
				read,
				cmd(postern.Read, "select", table("pg_catalog.pg_tables")),
				cmd(postern.Write, "insert select", written("public.plain"), table("pg_catalog.pg_class")),
				cmd(postern.Write, "delete", written("public.pg_notes"), where),
				cmd(postern.Write, "refresh", written("public.mv")),
				cmd(postern.Control, "set"),
			},
		},
		"read-only": {
			block: []postern.Command{
				cmd(postern.Write, "insert", written("public.t")), cmd(postern.Admin, "analyze", table("public.t")),
				cmd(postern.Write, "select call", object("function", "pg_catalog.setval")),
				cmd(postern.Write, "select", table("public.t")), // FOR UPDATE
				cmd(postern.Read, "select", written("public.t")),
				cmd(postern.Control, "lock", written("public.t")),
				cmd(postern.Unknown, "select"),
				{Verb: "select", Verbs: []string{"select"}, Access: 99},
				{},
			},
			pass: []postern.Command{read, cmd(postern.Control, "begin"), cmd(postern.Read, "copy", table("public.plain")), cmd(postern.Read, "declare select")},
		},
		"no-copy-program": {
			block: []postern.Command{
				cmd(postern.Admin, "copy", written("public.t"), program), cmd(postern.Read, "select copy", program),
				cmd(postern.Read, "copy", object("program", "id")), cmd(postern.Unknown, "do"),
			},
			pass: []postern.Command{read, cmd(postern.Read, "copy", table("public.t")), cmd(postern.Read, "copy", table("public.program"), file)},
		},
		"no-file-read": {
			block: []postern.Command{
				cmd(postern.Read, "select", file), cmd(postern.Admin, "copy", written("public.t"), file),
				cmd(postern.Admin, "copy", program), cmd(postern.Read, "select", object("file", "/etc/passwd")),
				cmd(postern.Read, "select", object("file", "pg_catalog.pg_hba_file_rules")), cmd(postern.Read, "select", table("?.pg_hba_file_rules")), cmd(postern.Unknown, "select"),
			},
			pass: []postern.Command{read, cmd(postern.Read, "copy", table("public.plain"), postern.BoolAttr("file_access", false))},
		},
		"no-secrets-read": {
			block: []postern.Command{
				cmd(postern.Read, "select", table("pg_catalog.pg_authid")), cmd(postern.Read, "select", object("view", "pg_catalog.pg_shadow")),
				cmd(postern.Read, "select", table("pg_authid")), cmd(postern.Read, "select", table("?.pg_shadow")),
				cmd(postern.Read, "select", table(`"pg_catalog"."pg_authid"`)), cmd(postern.Read, "select", table("PG_AUTHID")),
				cmd(postern.Read, "select", object("column", "pg_catalog.pg_authid.rolpassword")),
				cmd(postern.Read, "select", table("mysql.user")), cmd(postern.Read, "select", table("MySQL.User")), cmd(postern.Read, "select", table("mysql.global_priv")),
				cmd(postern.Read, "select", table("information_schema.user_mapping_options")),
				cmd(postern.Read, "select", object("view", "public.v"), object("base", "pg_catalog.pg_authid")), // a view of somebody's
				cmd(postern.Read, "select", object("function", "public.f"), object("view", "pg_catalog.pg_roles"), object("base", "pg_catalog.pg_authid")),
				cmd(postern.Read, "select", table("a..b")), // a name that can't be read
				cmd(postern.Read, "get", object("secrets", "default/db")),
				cmd(postern.Read, "cat", object("file", "/etc/shadow")), cmd(postern.Read, "cat", object("file", "/home/a/.ssh/id_rsa")),
				cmd(postern.Read, "cat", object("file", "../../etc/./shadow")), cmd(postern.Read, "cat", object("file", "/srv/app/.env")),
				cmd(postern.Read, "cat", object("file", "/srv/app/.env.production")), cmd(postern.Read, "cat", object("file", ".aws/credentials")),
				cmd(postern.Read, "cat", object("file", "/proc/1/environ")), cmd(postern.Read, "cat", object("file", `C:\Users\a\.ssh\config`)),
				cmd(postern.Read, "cat", object("file", "/var/run/secrets/kubernetes.io/serviceaccount/token")),
				cmd(postern.Read, "cat", object("file", "server.KEY")), cmd(postern.Unknown, "cat"),
			},
			pass: []postern.Command{
				read,
				cmd(postern.Read, "select", table("public.user")), cmd(postern.Read, "select", table("shop.servers")), cmd(postern.Read, "select", table("pg_catalog.pg_class")),
				cmd(postern.Read, "select", object("view", "pg_catalog.pg_roles"), object("base", "pg_catalog.pg_authid")), // \du
				cmd(postern.Read, "cat", object("file", "/etc/hosts")), cmd(postern.Read, "cat", object("file", "/srv/app/environment.md")),
			},
		},
		"no-recursive-delete": {
			block: []postern.Command{cmd(postern.Write, "rm", postern.BoolAttr("recursive_delete", true)), cmd(postern.Unknown, "sh")},
			pass:  []postern.Command{cmd(postern.Write, "rm", postern.BoolAttr("recursive_delete", false)), cmd(postern.Read, "ls")},
		},
	}
}

func TestShippedRules(t *testing.T) {
	cases := shippedCases()
	for _, rule := range ShippedRules() {
		t.Run(rule.Name, func(t *testing.T) {
			c, ok := cases[rule.Name]
			if !ok {
				t.Fatal("it has no cases")
			}
			typ := "postgres"
			if rule.Name == "no-recursive-delete" {
				typ = "ssh"
			}
			set := mustSet(t, strings.Replace(restricted, "type: postgres", "type: "+typ, 1)+"kind: Rule\nname: r\non: {types: ["+typ+"]}\nuse: "+rule.Name+"\nthen: deny\n")
			for _, blocked := range c.block {
				d := check(t, set, asking(alice()), "deny r", blocked)
				if !unknown(&blocked) && d.Reason != rule.Message {
					t.Errorf("reason %q", d.Reason)
				}
				if !rule.match(&blocked) {
					t.Errorf("the rule by itself doesn't match %+v", blocked)
				}
			}
			for _, passed := range c.pass {
				check(t, set, asking(alice()), "allow engineers", passed)
			}
			if rule.Doc == "" || rule.Message == "" {
				t.Error("it lacks words")
			}
		})
	}
	if len(cases) != len(ShippedRules()) {
		t.Error("there are cases for rules that aren't shipped")
	}
}
