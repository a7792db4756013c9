package postgres

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/test/pgcluster"
)

const pii = `
kind: Mask
name: pii
except: ["group:privacy"]
columns: ["public.customers.email", "public.customers.salary", "public.late.e"]
with: redact
`

// newMaskedOffice is a gateway that masks e-mail addresses and salaries.
func newMaskedOffice(t *testing.T, rules string) *office {
	t.Helper()
	o := newOffice(t, database(t), pgcluster.Superuser, rules)
	const seed = "create table customers(id int primary key, name text, email text unique, salary int check (salary > 0));" +
		"insert into customers values (1, 'Ada', 'ada@example.com', 4711), (2, 'Bob', null, 815), (3, 'C\tx', 'c|,\"\\@example.com', 99);" +
		"create table late(e text unique deferrable initially deferred);" +
		"create view v as select id, email as contact from customers;" +
		"create function boom() returns int language plpgsql as $$ begin raise exception 'it is %', (select email from customers where id = 1) using hint = 'ada@example.com', table = 'ada@example.com'; end $$"
	o.cluster.Exec(t, o.database(), seed)
	return o
}

// database is the resource's.
func (o *office) database() string {
	_, after, _ := strings.Cut(o.resource, "database: ")
	name, _, _ := strings.Cut(after, "\n")
	return name
}

// clean fails when a masked value stands in text.
func clean(t *testing.T, what, text string) {
	t.Helper()
	for _, value := range []string{"ada@", "@example", "4711", "815", "ada"} {
		if strings.Contains(strings.ReplaceAll(text, "Ada", ""), value) {
			t.Errorf("%s: %q got through:\n%s", what, value, text)
		}
	}
}

func TestMaskedRows(t *testing.T) {
	o := newMaskedOffice(t, pii)
	w := o.wire()
	w.want("select id, name, email, salary from customers order by id",
		"columns id,name,email,salary\nrow 1|Ada|[redacted]|NULL\nrow 2|Bob|NULL|NULL\nrow 3|C\tx|[redacted]|NULL\ndone SELECT 3\nready I\n")
	for _, text := range []string{
		"select email as id from customers", "select * from customers c", "table customers", "select contact from v",
		"select upper(email) from customers", "select salary + 1 from customers", "select c from customers c",
		"begin; declare c cursor for select email from customers; fetch 1 from c; fetch all from c; commit",
		"begin; declare c binary cursor for select email, salary from customers; fetch all from c; commit",
		"prepare p as select email from customers; execute p; deallocate p",
		"select 1; select email from customers; select salary from customers",
		"update customers set name = name returning email, salary",
		"create temp table x as select email from customers; table x; drop table x",
		"select string_agg(email, ',') from customers",
		"explain select * from customers where email = 'ada' || '@example.com'",
	} {
		clean(t, text, strings.ReplaceAll(w.query(text), text, ""))
	}
	results := o.events(postern.EventResult)
	if r := results[0]; r.Masked != 5 || r.RowCount != 3 || len(r.Rows) != 3 || *r.Rows[0][2] != "[redacted]" || r.Rows[0][3] != nil || strings.Join(r.Columns, ",") != "id,name,email,salary" {
		t.Errorf("recorded %+v", r)
	}
	for _, e := range o.Recordings.Last().Events() {
		for _, row := range e.Rows {
			for _, v := range row {
				if v != nil {
					clean(t, "recording", *v)
				}
			}
		}
	}
	if n := o.Recordings.Last(); n == nil || o.Live()[0].MaskedValues == 0 {
		t.Error("masked values aren't counted")
	}
}

// TestMaskedFormats asks in every way of the extended protocol.
func TestMaskedFormats(t *testing.T) {
	o := newMaskedOffice(t, pii)
	const text = "select id, email, salary from customers order by id"
	binary := &pgproto3.Bind{ResultFormatCodes: []int16{1}}
	describe := func(what byte) pgproto3.FrontendMessage { return &pgproto3.Describe{ObjectType: what} }
	for name, msgs := range map[string][]pgproto3.FrontendMessage{
		"text":                    run(text),
		"binary":                  {parse("", text), binary, describe('P'), execute("")},
		"no Describe":             {parse("", text), bind("", ""), execute("")},
		"binary, no Describe":     {parse("", text), binary, execute("")},
		"Describe of a statement": {parse("", text), describe('S'), binary, execute("")},
		"row by row": {
			parse("", text), binary, &pgproto3.Execute{MaxRows: 1}, &pgproto3.Execute{MaxRows: 1}, &pgproto3.Flush{}, execute(""),
		},
	} {
		got := o.wire().talk(1, join(msgs, syn())...)
		clean(t, name, got)
		if n := strings.Count(got, "\nrow "); n != 3 || strings.Count(got, "[redacted]") != 2 || strings.Count(got, "NULL") != 4 {
			t.Errorf("%s: got\n%s", name, got)
		}
		if strings.Count(got, "columns") != strings.Count(fmt.Sprintf("%T", msgs[2]), "Describe") && !strings.Contains(name, "Describe of") {
			t.Errorf("%s: an answer nobody asked for:\n%s", name, got)
		}
	}
	// A portal that outlives its Sync.
	w := o.wire()
	got := w.talk(4, join(q("begin"), parse("", text), bind("p", ""), &pgproto3.Execute{Portal: "p", MaxRows: 1}, syn(),
		&pgproto3.Execute{Portal: "p", MaxRows: 1}, syn(), execute("p"), syn())...)
	clean(t, "portal", got)
	if strings.Count(got, "\nrow ") != 3 {
		t.Errorf("got\n%s", got)
	}
}

func TestMaskedCopy(t *testing.T) {
	o := newMaskedOffice(t, pii)
	c := o.connect()
	for text, want := range map[string]string{
		"copy customers to stdout":                                            "1\tAda\t[redacted]\t\\N\n2\tBob\t\\N\t\\N\n3\tC\\tx\t[redacted]\t\\N\n",
		"copy customers(id, salary) to stdout":                                "1\t\\N\n2\t\\N\n3\t\\N\n",
		"copy (select id, email from customers order by 1) to stdout csv":     "1,\"[redacted]\"\n2,\n3,\"[redacted]\"\n",
		"copy customers(email) to stdout csv header":                          "email\n\"[redacted]\"\n\n\"[redacted]\"\n",
		"copy customers(id, name) to stdout":                                  "1\tAda\n2\tBob\n3\tC\\tx\n",
		"copy customers(email,id) to stdout (delimiter '|', null 'e')":        "[redacted]|1\ne|2\n[redacted]|3\n",
		"copy customers(email) to stdout (format csv, quote 'a', escape '@')": "a[red@acted]a\n\na[red@acted]a\n",
		"copy customers(id, email) to stdout (format csv, force_quote *)":     "\"1\",\"[redacted]\"\n\"2\",\n\"3\",\"[redacted]\"\n",
	} {
		var out bytes.Buffer
		if _, err := c.CopyTo(t.Context(), &out, text); err != nil || out.String() != want {
			t.Errorf("%s: %v\ngot  %q\nwant %q", text, err, out.String(), want)
		}
	}
	var out bytes.Buffer
	if _, err := c.CopyTo(t.Context(), &out, "copy customers(id, email, salary, name) to stdout (format binary)"); err != nil {
		t.Fatal(err)
	}
	clean(t, "binary", out.String())
	if !strings.HasPrefix(out.String(), copySignature) || !strings.Contains(out.String(), "Ada") || strings.Count(out.String(), "[redacted]") != 2 {
		t.Errorf("got %q", out.String())
	}
	out.Reset()
	if _, err := c.CopyTo(t.Context(), &out, "copy (select email, 'x' from customers) to stdout (encoding 'SJIS')"); err == nil {
		t.Error("an encoding whose fields can't be told apart is let through")
	}
}

// TestMaskedMessages: values don't leave in errors, notices, notifications and
// reported settings.
func TestMaskedMessages(t *testing.T) {
	o := newMaskedOffice(t, pii)
	w := o.wire()
	for _, text := range []string{
		"select email::int from customers where id = 1",
		"select ('x\" ' || email || ' \"')::int from customers where id = 1",
		"select email::regclass from customers where id = 1",
		"insert into customers(id, email) select 9, email from customers where id = 1",
		"update customers set salary = -salary",
		"insert into customers values (1)",
		"select boom()",
		"do $$ begin raise notice 'it is %', (select email from customers where id = 1); end $$",
		"do $$ begin raise exception 'it is %', (select email from customers where id = 1); end $$",
		"do $$ begin execute format('select %I', (select email from customers where id = 1)); end $$",
		"do $$ begin execute format('create temp view names as select 1 as %I', (select email from customers where id = 1)); end $$",
		"table names",
		"select set_config('application_name', email, false) from customers where id = 1",
		"listen ch; select pg_notify('ch', email) from customers where id = 1",
		"select setval('s', salary) from customers, (select 1) x, lateral (select 1) y",
		"create sequence s maxvalue 5; select setval('s', salary) from customers",
		"select 1/(salary - 4711) from customers",
		"select xmlparse(document '<' || email) from customers where id = 1",
		"select email::json from customers where id = 1",
		"select ('{' || email)::text[] from customers where id = 1",
		"select lo_import(email) from customers where id = 1",
		"begin; insert into late select email from customers; insert into late select email from customers; commit",
		"rollback",
		"insert into late select email from customers; insert into late select email from customers",
	} {
		got := w.query(text)
		clean(t, text, got)
		if err := w.parameters; strings.Contains(err, "@example") {
			t.Errorf("%s: %s", text, err)
		}
	}
	for name, msgs := range map[string][]pgproto3.FrontendMessage{
		"checked at Sync":   join(run("insert into late select email from customers"), run("insert into late select email from customers"), syn()),
		"checked at COMMIT": join(q("begin"), q("insert into late select email from customers"), run("insert into late select email from customers"), run("commit"), syn()),
	} {
		got := o.wire().all(msgs...)
		clean(t, name, got)
		if !strings.Contains(got, "error 23505 duplicate key value violates unique constraint") {
			t.Errorf("%s: got\n%s", name, got)
		}
	}
	// What the client wrote itself it may read, and names stay.
	for text, want := range map[string]string{
		"select nothing from customers":    `error 42703 column "nothing" does not exist`,
		"select 'abc'::int":                `error 22P02 invalid input syntax for type integer: "abc"`,
		"insert into customers values (1)": `error 23505 duplicate key value violates unique constraint "customers_pkey"`,
		"select * from missing":            `error 42P01 relation "missing" does not exist`,
		"selec 1":                          `error 42601 syntax error at or near "selec"`,
		"drop table missing":               `error 42P01 table "missing" does not exist`,
		"do $$ begin raise exception 'order % is closed', 42; end $$": `error P0001 order 42 is closed`,
		"select 12345678 / 0":                            `error 22012 division by zero`,
		"insert into customers values (9, 'x', 'y', -5)": `error 23514 new row for relation "customers" violates check constraint "customers_salary_check"`,
	} {
		if got := w.query(text); !strings.HasPrefix(got, want+"\n") {
			t.Errorf("%s: got %s", text, got)
		}
	}
}

// TestPrivacyOfficeSeesAll: masks don't bind who is excepted.
func TestPrivacyOfficeSeesAll(t *testing.T) {
	o := newMaskedOffice(t, pii)
	w := newWire(t, dial(t, "host="+o.door.host+" port="+o.door.port+" user=bob password=token-bob dbname=db sslmode=disable"))
	w.want("select email, salary from customers where id = 1", "columns email,salary\nrow ada@example.com|4711\ndone SELECT 1\nready I\n")
}

func TestDetection(t *testing.T) {
	o := newMaskedOffice(t, "kind: Mask\nname: found\ndetect: [email]\nwith: redact\n")
	w := o.wire()
	for _, text := range []string{
		"select email from customers where id = 1", "select 'write to ' || email || '!' from customers where id = 1",
		"select email::int from customers where id = 1", "select boom()",
		"do $$ begin raise notice 'it is %', (select email from customers where id = 1); end $$",
		"listen ch; select pg_notify('ch', email) from customers where id = 1",
	} {
		if got := w.query(text); strings.Contains(got, "ada@") {
			t.Errorf("%s: got\n%s", text, got)
		}
	}
	w.want("select 'no address'", "columns ?column?\nrow no address\ndone SELECT 1\nready I\n")
	if got := w.query("copy customers(email) to stdout"); strings.Contains(got, "ada@") {
		t.Errorf("copy: got\n%s", got)
	}
}
