package postgres

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"postern"
	"postern/internal/sql"
)

// masked are the columns of the tests that must not be seen.
func masked(c postern.ColumnName) bool {
	return c.Table == "customers" && (c.Column == "email" || c.Column == "ssn" || c.Column == "card_number" || c.Column == "phone" || c.Column == "notes") || c.Column == "*"
}

// caught says whether someone who masks would see that a statement can show,
// store or tell a masked value, or might.
func caught(s *sql.Statement) bool {
	if s.Command.Access == postern.Unknown || !s.OutputsKnown || !s.UsesProven {
		return true
	}
	for _, o := range s.Outputs {
		if !o.Proven || slices.ContainsFunc(o.Sources, masked) {
			return true
		}
	}
	for _, f := range s.Flows {
		if !f.Proven || slices.ContainsFunc(f.Sources, masked) {
			return true
		}
	}
	return slices.ContainsFunc(s.Predicates, masked)
}

// guardrails judge as the shipped rules do.
var guardrails = map[string]func(*postern.Command) bool{
	"no-drop-table": func(c *postern.Command) bool { return does(c, "drop") },
	"no-truncate":   func(c *postern.Command) bool { return does(c, "truncate") },
	"no-ddl": func(c *postern.Command) bool {
		return does(c, "create", "alter", "drop", "grant", "revoke", "comment", "truncate", "import")
	},
	"no-delete-without-where": func(c *postern.Command) bool {
		return does(c, "delete", "update", "merge") && !c.Attr(attrHasWhere).Bool
	},
	"read-only":       func(c *postern.Command) bool { return c.Access >= postern.Write },
	"no-copy-program": func(c *postern.Command) bool { return c.Attr(attrProgram).Bool },
	"no-file-read":    func(c *postern.Command) bool { return c.Attr(attrFileAccess).Bool },
}

func does(c *postern.Command, verbs ...string) bool {
	return slices.ContainsFunc(verbs, func(v string) bool { return slices.Contains(c.Verbs, v) })
}

func refused(rule string, c *postern.Command) bool {
	return c.Access == postern.Unknown || guardrails[rule](c)
}

// session analyses messages one after another, as a session would whose
// catalog is never read again.
func session(t *testing.T, messages []string, each func(*sql.Statement)) {
	env := testEnv(t)
	order := &settling{env: env}
	for _, text := range messages {
		result := analysed(t, text, env)
		for i := range result.Statements {
			s := &result.Statements[i]
			each(s)
			order.settle(s)
			env.Touched = append(env.Touched, s.Touches...)
		}
	}
}

// TestMaskBypass holds ways round a mask. None of them leaves, ever.
func TestMaskBypass(t *testing.T) {
	for _, text := range []string{
		// Names that lie.
		"select email as id from customers", "select x from (select email as x from customers) q", "select id from v_swapped", "select x from v_deep",
		"with plain as (select email as label from customers) select label from plain", "select label from plain union select email from customers",
		"select q.label from customers q(id, name, label)", "select pub from customers c(id, name, pub)", "select c from customers as c(a, b)",
		"select \"Email\" from (select email as \"Email\" from customers) x", "table v_mail", "select * from mv_mail", "select card_number from v_union u(id, card_number)",
		"select customer_email from orders", "select o.customer_email from orders o natural join (select 1 as one) x",
		// Whole rows and structures.
		"select c from customers c", "select c::text from customers c", "select to_json(c) from customers c", "select row(c.*) from customers c", "select array_agg(c) from customers c",
		"select (array_agg(c))[1] from customers c", "select j from v_row", "select (jsonb_each_text(to_jsonb(c))).value from customers c", "select format('%s', c) from customers c",
		"select hstore(c) -> 'x' from customers c", "select q from (select * from customers) q", "select concat(q) from (select email, 1 from customers) q",
		"select xmlforest(c.email as a, c.id) from customers c", "select json_object_agg(id, email) from customers", "select jsonb_path_query(to_jsonb(c), '$.*') from customers c",
		"select max(c::text) from customers c", "select (c).ssn from customers c", "select (q.r).ssn from (select c as r from customers c) q", "select email(c) from customers c",
		"select c.to_jsonb from customers c", "select (one_row()).ssn", "select (rows_of()).email", "select ssn from rows_of()", "select r.ssn from rows_of() r", "select rows_of()",
		// Expressions.
		"select substr(email, 1, 3) from customers", "select email || '' from customers", "select email::bytea from customers", "select md5(ssn) from customers",
		"select ascii(ssn) from customers", "select length(email) from customers", "select email = 'a' from customers", "select coalesce(null, email) from customers",
		"select case when id = 1 then email end from customers", "select case when email = 'a' then 1 end from customers", "select nullif(email, 'a') from customers",
		"select nullif(email, 'a') is null from customers", "select greatest('a', email) from customers", "select (array[email])[1] from customers", "select row(email)::text from customers",
		"select count(nullif(ssn, '1')) from customers", "select sum(length(email)) from customers", "select bool_or(ssn like '5%') from customers", "select max(email) from customers",
		"select string_agg(email, ',') from customers", "select lag(email) over () from customers", "select first_value(c) over () from customers c", "select mode() within group (order by email) from customers",
		"select count(*) filter (where ssn like '5%') from customers", "select overlay('x' placing email from 1) from customers", "select email collate \"C\" from customers",
		"select xmlparse(content email) from customers", "select similarity(email, 'a') from customers", "select email % 'a' from customers", "select email::citext from customers",
		"select unnest(string_to_array(email, null)) from customers", "select regexp_split_to_table(email, '') from customers", "select pure(email) from customers",
		"select generate_series(1, length(ssn)) from customers", "select 1 from customers, generate_series(1, length(ssn))", "select poly(email) from customers",
		// Subqueries and CTEs.
		"select (select email from customers limit 1)", "select array(select email from customers)", "select exists (select 1 from customers where email = 'a')", "select 1 where 'a' in (select email from customers)",
		"select id from plain p, lateral (select email from customers c where c.id = p.id) l(id2)  where l.id2 = 'a'", "values ((select ssn from customers limit 1))",
		"with recursive r(n, v) as (select 1, ''::text union all select n + 1, v || (select substr(ssn, n, 1) from customers limit 1) from r where n < 9) select v from r",
		"with a as (select * from customers), b as (select * from a) select email from b", "select * from (values (1)) v(i) join customers on true",
		"select l.v from plain p cross join lateral (select email v from customers) l", "select x.* from (customers c join plain p on true) x",
		// Oracles.
		"select id from customers where email like 'a%'", "select id from customers order by ssn", "select count(*) from customers group by ssn", "select distinct on (ssn) id from customers",
		"select id from customers c join plain p on p.label = c.email", "select id from customers limit (select length(ssn) from customers limit 1)", "select 1 from plain where label in (select email from customers)",
		"select id from customers group by id having max(ssn) > '5'", "select row_number() over (partition by ssn) from customers", "select id from customers natural join (select email from customers) x",
		"update plain set qty = 1 where label = (select email from customers limit 1)", "delete from plain using customers where email = 'a' and plain.id = 1",
		"select pg_sleep(1) from customers where ssn like '5%'", "select case when ssn like '5%' then pg_sleep(1) end from customers",
		// Into places that aren't masked.
		"create table t as select * from customers", "select * into t from customers", "create temp table t as select email from customers", "create materialized view m as select ssn from customers",
		"insert into plain(label) select email from customers", "insert into plain(label) values ((select email from customers limit 1))", "update plain set label = (select ssn from customers limit 1) where id = 1",
		"update plain set (label, qty) = (select email, 1 from customers limit 1)", "merge into plain p using customers c on p.id = c.id when matched then update set label = c.email",
		"insert into plain(id) values (1) on conflict (id) do update set label = (select email from customers limit 1)", "update customers set name = email", "update v_mail set mail = (select ssn from customers limit 1)",
		"insert into plain(id, label) select id, email from customers returning label", "with x as (insert into plain(label) select email from customers returning *) select 1 from x",
		"alter table customers rename column email to pub", "alter table customers rename to pub", "alter table customers set schema app", "alter schema public rename to pub",
		"alter table customers add column pub text generated always as (email) stored", "alter table customers alter column name type text using email", "alter table plain alter label type text using (select email from customers limit 1)",
		"alter view v_mail rename column mail to label; select label from v_mail", "create view w as select email as x from customers; select x from w", "create table l (like customers); insert into l select * from customers",
		"select set_config('a.b', email, false) from customers", "select pg_notify('a', email) from customers", "select pg_advisory_lock(length(ssn)) from customers", "select setval('plain_seq', length(ssn)) from customers",
		"select lo_from_bytea(0, email::bytea) from customers", "select lo_get(1)", "select pg_logical_emit_message(false, 'a', email) from customers", "select store(email) from customers", "select say(email) from customers",
		"copy customers to '/tmp/x'", "copy (select email from customers) to program 'cat'", "copy customers to stdout", "copy customers(ssn) to stdout (format binary)", "copy (table v_mail) to stdout",
		// Functions.
		"select lookup(1)", "select lookup2(1)", "select standard(1)", "select * from table_of(1)", "select dyn_const()", "select dyn('select email from customers')", "select recursive(2)", "select caught(1)",
		"select hidden_default()", "select defaulted()", "select composite_arg(c) from customers c", "select composite_sql(c) from customers c", "select mutual_a(1)", "select alias_arg(email) from customers",
		"select variadic_f('a', email) from customers", "select * from query_exec('select email from customers') as t(x text)", "select refcur(); fetch all from x", "select path_dependent() from customers where email = 'a'",
		// SQL in strings, and the server's own ways to read.
		"select query_to_xml('select * from customers', true, true, '')", "select table_to_xml('customers', true, true, '')", "select schema_to_xml('public', true, true, '')", "select database_to_xml(true, true, '')",
		"select cursor_to_xml('c', 10, true, true, '')", "select * from ts_stat('select to_tsvector(email) from customers')", "select query_to_xml('sel' || 'ect ssn from customers', true, true, '')",
		"select query_to_xml(label, true, true, '') from plain", "select * from dblink('x', 'select email from customers') as t(x text)", "select * from crosstab('select id, name, email from customers') as t(a text, b text)",
		"select ts_rewrite('a', 'select email::tsquery, email::tsquery from customers')", "select * from ft", "select get_raw_page('customers', 0)", "select * from heap_page_items(get_raw_page('customers', 0))",
		"select most_common_vals from pg_stats", "select histogram_bounds from pg_stats where tablename = 'customers'", "select stavalues1 from pg_statistic", "select * from pg_stats_ext", "select query from pg_stat_activity",
		"select data from pg_largeobject", "select pg_read_file('base/1/1')", "select * from pg_logical_slot_peek_changes('a', null, null)",
		// Blocks, messages and plans.
		"do $$ declare v text; begin select email into v from customers; raise notice '%', v; end $$", "do $$ begin raise notice using message = (select email from customers limit 1); end $$",
		"do $$ begin assert false, (select ssn from customers limit 1); end $$", "do $$ begin execute format('create table %I()', (select ssn from customers limit 1)); end $$",
		"do $$ declare r record; begin for r in select * from customers loop perform pg_notify('a', r.email); end loop; end $$", "do $$ begin insert into plain(label) select ssn from customers; end $$",
		"do $$ declare c cursor for select ssn from customers; v text; begin open c; fetch c into v; raise info '%', v; end $$", "do $$ declare v customers; begin select * into v from customers; update plain set label = v.ssn where id = 1; end $$",
		"do $$ declare v text := (select email from customers limit 1); begin perform set_config('a.b', v, false); end $$", "do $$ begin perform 1 from customers where email = 'a'; if found then raise notice 'x'; end if; end $$",
		"explain select * from customers where email = 'a'", "explain verbose select lookup(1)", "explain analyze select email::int from customers", "prepare p as select email from customers; execute p",
		"declare c cursor for select email from customers; fetch all from c", "begin; declare c cursor with hold for select c from customers c; commit; fetch 1 from c", "prepare p(text) as select $1; execute p((select email from customers limit 1))",
		// Names that can't be told.
		"select email from nosuch", "select * from public.nosuch", "set search_path = nosuch; select secret from plain", "create temp table plain as select email as label from customers; select label from plain",
		"create function lower(text) returns text language sql as 'select ssn from customers'; select lower(label) from plain", "select d from (select u.*, ssn, 1, 2, 3 from unnest(to_tsvector('a b')) u, customers) q(a, b, c, d, e)",
		"select (unnest(array_agg(q))).pg_typeof from (select email as pg_typeof from customers) q",
	} {
		found := false
		session(t, []string{text}, func(s *sql.Statement) { found = found || caught(s) })
		if !found {
			t.Errorf("passes unseen: %s", text)
		}
	}
}

// TestMaskBenign holds statements that a mask has no business with.
func TestMaskBenign(t *testing.T) {
	for _, text := range []string{
		"select id, name from customers where id = 3", "select count(*) from customers", "select count(email) from customers", "select email is null from customers", "select label as email from plain",
		"with customers as (select id, label as email from plain) select email from customers", "select o.total from orders o join customers c on c.id = o.customer_id", "select 'email', 1, now(), current_user",
		"select column_name from information_schema.columns where table_name = 'customers'", "select relname, reltuples from pg_class where relkind = 'r'", "insert into plain values (1, 'a', 2) returning id, label",
		"update plain set qty = qty + 1 where id = 3 returning *", "delete from plain where id = 3", "select * from metrics.totals", "select id from v_mail", "select email from v_swapped", "copy plain to stdout", "copy customers (id, name) to stdout",
		"copy plain from stdin", "do $$ begin update plain set qty = 1 where id = 1; raise notice 'done'; end $$", "select pure(label), lower(name) from plain, customers where customers.id = plain.id", "explain select * from plain",
		"prepare p as select * from plain where id = $1; execute p(1)", "declare c cursor for select * from plain; fetch 10 from c", "create table t(id int primary key, label text not null default 'x')", "create index on plain(label)",
		"select json_agg(p) from plain p", "select p from plain p", "select (p).label from plain p", "select x.k from jsonb_each_text('{}'::jsonb) x(k, v)", "select * from generate_series(1, 10) g(i)", "select array_agg(label order by id) from plain",
		"select rank() over (partition by qty order by id) from plain", "select nextval('plain_seq')", "select last_value from plain_seq", "begin; insert into audited values (1, 'x'); commit", "select set_config('search_path', '', false)",
		"update customers set email = 'x' where id = 1", "insert into customers(id, name, email) values (1, 'a', 'b')", "truncate plain", "vacuum analyze plain", "show server_version", "set application_name = 'x'",
		"select pg_size_pretty(pg_total_relation_size('customers'))", "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute a where a.attrelid = 'customers'::regclass", "select pg_get_viewdef('v_mail'::regclass)",
		"select name from customers union all select label from plain order by 1", "select max(id) from customers", "select pg_typeof(email) from customers", "select c.name from customers c left join lateral (select qty from plain where id = c.id) l on true",
	} {
		session(t, []string{text}, func(s *sql.Statement) {
			if caught(s) {
				t.Errorf("held to be about masked columns: %s\n%s\n%s", text, describeOne(s), lineage(s))
			}
		})
	}
}

// TestGuardrailBypass holds ways round a guardrail; after "allow", what must pass.
func TestGuardrailBypass(t *testing.T) {
	for rule, cases := range map[string][2][]string{
		"no-drop-table": {{
			"drop table plain", "DROP TABLE IF EXISTS \"plain\" CASCADE", "drop/**/table/*;*/plain", "select 1; drop table plain", "begin; drop table plain; rollback", "do $$ begin drop table plain; end $$",
			"do $$ begin execute 'drop ' || 'table plain'; end $$", "do $$ begin execute format('%s table plain', 'drop'); end $$", "select wipe()", "select * from v_wipe", "select 1 from plain where wipe() = 1", "explain analyze select wipe()",
			"drop schema public cascade", "drop owned by current_user", "drop extension hstore cascade", "drop materialized view mv_mail", "drop foreign table ft", "create function f() returns void language sql as 'drop table plain'; select f()",
			"prepare p as select wipe(); execute p", "declare c cursor for select wipe()", "copy (select wipe()) to stdout", "insert into plain values (wipe())", "with x as (select wipe()) select * from x", "select (select wipe())",
			"select dyn('drop table plain')", "select query_to_xml('select wipe()', true, true, '')", "select dblink_exec('x', 'drop table plain')", "create rule r as on insert to plain do instead select wipe(); insert into plain values (1); drop table plain",
		}, {"select 'drop table plain'", "select * from plain -- drop table plain", "deallocate all", "insert into plain values (1, 'drop table plain', 1)", "create table drop_me(id int)"}},
		"no-truncate": {{
			"truncate plain", "truncate table only plain, orders restart identity cascade", "do $$ begin truncate plain; end $$", "call purge_all()", "update trap2 set id = 1 where id = 2", "select 1; truncate plain",
			"do $$ begin perform 1; exception when others then truncate plain; end $$", "select dyn('truncate plain')",
		}, {"select trunc(1.5), date_trunc('day', now())", "select 'truncate plain'", "delete from plain where id = 1", "insert into plain values (1, 'a', 1)"}},
		"no-delete-without-where": {{
			"delete from plain", "delete from only plain", "delete from plain where true", "update plain set qty = 0", "delete from plain where id = id", "with k as (select 1 where true) delete from plain", "delete from plain returning id as \"where\"",
			"delete from plain as \"where\"", "copy (delete from plain returning 1) to stdout", "with d as (delete from plain returning 1) select * from d where 1 = 2", "delete from v_plain", "do $$ begin delete from plain; end $$", "select wipe_rows()", "select looped()",
			"insert into trap values (1)", "explain analyze delete from plain", "prepare p as delete from plain; execute p", "merge into plain p using plain q on p.id = q.id when matched then delete", "select evil_agg(label) from plain",
			"select for_exec()", "update plain set label = (select name from customers where id = 1)", "select p === p from comp", "insert into plain select * from plain on conflict (id) do update set qty = 0", "select hidden_default()", "select defaulted()",
			"do $$ declare r record; begin for r in select id from plain loop update plain set qty = 0 where id = r.id; end loop; end $$", "select overload('x')", "select query_to_xml('delete from plain', true, true, '')",
		}, {
			"delete from plain where id = 1", "update plain set qty = 0 where label = 'x' and qty > 3", "select * from plain", "insert into plain values (1, 'a', 1) on conflict (id) do update set qty = excluded.qty", "call purge()", "select bump(1)",
			"delete from plain where id in (select customer_id from orders where total > 3)", "insert into audited values (1, 'x')", "explain delete from plain", "merge into plain p using (values (1)) v(i) on p.id = v.i when matched then delete",
		}},
		"no-ddl": {{
			"create table t(a int)", "create temp table t(a int)", "select 1 as a into t", "create view w as select 1", "alter table plain add x int", "drop index customers_email_key", "grant all on plain to public", "comment on table plain is 'x'",
			"create function f() returns int language sql as 'select 1'", "create role r", "update pg_class set relname = 'x' where oid = 1", "delete from pg_constraint where oid = 1", "insert into pg_enum values (1)", "select wipe()", "explain analyze create table t as select 1",
			"do $$ begin create table t(a int); end $$", "alter system set work_mem = 1", "alter role current_user set search_path = app", "create extension hstore", "create schema s create table t(a int)", "reindex table plain; alter table plain rename to q",
			"create statistics s on id, qty from plain", "create policy p on plain", "create trigger t before insert on plain execute function audit()", "create domain d as int", "create cast (text as int) with inout", "import foreign schema s from server lo into public",
		}, {"select * from pg_tables", "insert into plain values (1, 'create table', 1)", "select relname from pg_class", "delete from plain where id = 1"}},
		"read-only": {{
			"insert into plain values (1)", "update plain set qty = 1 where id = 1", "delete from plain where id = 1", "with d as (delete from plain where id = 1 returning 1) table d", "select nextval('plain_seq')", "select setval('plain_seq', 1)", "select lo_create(0)",
			"select pg_notify('a', 'b')", "notify a", "lock table plain", "select * from plain for update", "select * from plain for key share", "select pg_terminate_backend(1)", "select pg_cancel_backend(1)", "select pg_reload_conf()", "vacuum", "analyze plain",
			"refresh materialized view mv_mail", "create temp table t(a int)", "select bump(1)", "select * from guarded", "call purge()", "copy plain from stdin", "copy plain to '/tmp/x'", "truncate plain", "begin read only; set transaction read write; insert into plain values (1); commit",
			"prepare p as insert into plain values (1); explain analyze execute p", "select pg_advisory_lock(1)", "select pg_create_logical_replication_slot('a', 'b')", "select lo_export(1, '/tmp/x')", "select pg_switch_wal()", "select pg_stat_reset()", "select 'x'::mail",
			"select uuid_generate_v4(), wipe_rows()", "set role postgres", "set session_replication_role = replica", "reindex table plain", "cluster plain", "checkpoint", "load 'x'", "select dblink('x', 'y')", "prepare transaction 'x'", "select set_config('role', 'x', false)",
			"select * from generate_series(1, 2) g where bump(g) is null", "do $$ begin perform bump(1); end $$", "select pg_file_write('a', 'b', true)", "explain analyze insert into plain values (1)", "merge into plain p using (values (1)) v(i) on p.id = v.i when matched then do nothing when not matched then insert values (1)",
		}, {
			"select * from plain", "with x as (select 1) select * from x", "copy plain to stdout", "declare c cursor for select 1; fetch all from c; close c", "prepare p as select 1; execute p; deallocate p", "explain select 1", "show all", "set time zone 'UTC'", "begin; commit",
			"select setseed(0.5), random(), gen_random_uuid(), clock_timestamp()", "select lookup(1)", "select last_value from plain_seq", "explain delete from plain", "select pg_sleep(0)", "table plain", "values (1)", "select 'insert into plain values (1)'", "select pg_relation_size('plain')", "discard all", "listen a",
		}},
		"no-copy-program": {{
			"copy plain to program 'x'", "copy plain from program 'x'", "copy (select 1) to\nprogram\tE'\\x61'", "copy (select 1) to program $$x$$", "do $$ begin copy plain to program 'x'; end $$", "create function f() returns void language sql as $f$copy plain to program 'x'$f$; select f()",
			"select 1; copy plain to program U&'\\0061'", "select dyn('copy plain to program ''x''')",
		}, {"copy plain to stdout", "select 'copy plain to program ''x'''", "copy plain from stdin"}},
		"no-file-read": {{
			"select pg_read_file('x')", "select pg_catalog.pg_read_file('x')", "select U&\"pg\\005fread\\005ffile\"('x')", "select pg_read_binary_file('x')", "select * from pg_ls_dir('.')", "select pg_stat_file('x')", "select lo_import('x')", "copy plain from '/etc/passwd'",
			"select * from pg_hba_file_rules", "select * from pg_hba_file_rules()", "select * from pg_file_settings", "select internal_read('x')", "select 1 from plain where label = pg_read_file('x')", "do $$ begin perform pg_read_file('x'); end $$",
			"create function r(text) returns text language internal as 'pg_read_file_all'; select r('x')", "select * from pg_ls_waldir()", "select pg_ls_logdir()", "load 'x'", "select pg_current_logfile()", "select * from file_t",
			"create foreign table ff(l text) server files options (filename '/etc/passwd')", "alter foreign table file_t options (set filename '/etc/passwd')",
		}, {"select 1 as pg_read_file", "select proname from pg_proc where proname = 'pg_read_file'", "copy plain to stdout"}},
	} {
		for _, text := range cases[0] {
			found := false
			session(t, []string{text}, func(s *sql.Statement) { found = found || refused(rule, &s.Command) })
			if !found {
				t.Errorf("%s lets pass: %s", rule, text)
			}
		}
		for _, text := range cases[1] {
			session(t, []string{text}, func(s *sql.Statement) {
				if refused(rule, &s.Command) {
					t.Errorf("%s refuses: %s\n%s", rule, text, describeOne(s))
				}
			})
		}
	}
}

// TestAcceptance runs the acceptance rows that lie beside the repository, when
// they do. Those it calls hard can't be decided from the text alone.
func TestAcceptance(t *testing.T) {
	const folder = "../../../../shared/acceptance/"
	type row struct {
		Policy, Attack, Expect, SQL string
		AttackSQL                   string `json:"attack_sql"`
		SetupSQL                    string `json:"setup_sql"`
		Hard                        bool
	}
	read := func(name string, each func(row)) {
		file, err := os.Open(folder + name)
		if err != nil {
			t.Skipf("the acceptance rows aren't here: %v", err)
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			var r row
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			each(r)
		}
	}
	split := func(text string) []string { return strings.Split(text, "\n--;;\n") }
	read("masking-evasion-pg.jsonl", func(r row) {
		found := false
		session(t, split(r.AttackSQL), func(s *sql.Statement) { found = found || caught(s) })
		if !found {
			t.Errorf("passes unseen: %s", r.AttackSQL)
		}
	})
	read("masking-control-pg.jsonl", func(r row) {
		session(t, split(r.SQL), func(s *sql.Statement) {
			// Free text is masked by content, not by column.
			if caught(s) && !strings.Contains(r.SQL, "notes") {
				t.Errorf("held to be about masked columns: %s\n%s", r.SQL, lineage(s))
			}
		})
	})
	read("guardrail-evasion-pg.jsonl", func(r row) {
		if r.SetupSQL != "" {
			return // it needs a catalog of its own
		}
		found := false
		session(t, split(r.Attack), func(s *sql.Statement) { found = found || refused(r.Policy, &s.Command) })
		if found != (r.Expect == "block") {
			level := t.Errorf
			if r.Hard {
				level = t.Logf
			}
			level("%s, %s expected: %.200s", r.Policy, r.Expect, r.Attack)
		}
	})
}
