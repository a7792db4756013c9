package postgres

import "testing"

// TestEffects says what statements of every kind do, and to what.
func TestEffects(t *testing.T) {
	for _, c := range [][2]string{
		{
			`select 1`,
			`select read`,
		},
		{
			`SELECT * FROM plain`,
			`select read public.plain`,
		},
		{
			`select * from app.plain`,
			`select read app.plain`,
		},
		{
			`select * from nosuch`,
			`select read ?.nosuch`,
		},
		{
			`select * from public.nosuch`,
			`select read public.nosuch`,
		},
		{
			`(select 1) union (table plain)`,
			`select read public.plain`,
		},
		{
			`values (1)`,
			`select read`,
		},
		{
			`with d as (delete from plain returning *) select * from d`,
			`delete,select write public.plain!`,
		},
		{
			`with u as (update plain set qty=0 where id=1 returning *), d as (delete from audit where id=2) insert into many select id from u`,
			`delete,update,insert,select write where public.plain! public.audit! public.many!`,
		},
		{
			`insert into plain values (1,'a',1) on conflict (id) do update set qty = excluded.qty`,
			`update,insert write where public.plain!`,
		},
		{
			`insert into plain select * from plain on conflict (id) do update set qty = 0`,
			`update,insert,select write public.plain!`,
		},
		{
			`merge into plain p using customers c on c.id = p.id when matched then update set qty = 1 when not matched then insert (id) values (c.id)`,
			`merge,update,insert,select write where public.plain! public.customers`,
		},
		{
			`update v_plain set qty = 1 where id = 3`,
			`update,select write where view:public.v_plain! public.plain!`,
		},
		{
			`delete from v_mail where id = 1`,
			`delete,select write where view:public.v_mail! public.customers!`,
		},
		{
			`truncate parent_t cascade`,
			`truncate write public.parent_t! public.kid_t!`,
		},
		{
			`delete from parent_t where id = 1`,
			`delete write where public.parent_t! public.kid_t!`,
		},
		{
			`copy plain from stdin`,
			`copy write public.plain!`,
		},
		{
			`copy plain (id, label) from stdin with (format csv)`,
			`copy write public.plain!`,
		},
		{
			`copy plain to program 'cat'`,
			`copy admin files program program:cat! public.plain`,
		},
		{
			`copy (delete from plain where id = 1 returning id) to stdout`,
			`delete,copy write where public.plain!`,
		},
		{
			`copy plain from '/etc/passwd'`,
			`copy write files file:/etc/passwd public.plain!`,
		},
		{
			`copy plain to stdout with (format nonsense)`,
			`unknown,copy unknown public.plain`,
		},
		{
			`copy plain to stdout with (delimiter 'ab')`,
			`unknown,copy unknown public.plain`,
		},
		{
			`create table x(id int, m text default pure('a'))`,
			`create,select admin public.x! function:public.pure`,
		},
		{
			`create table x as select * from plain`,
			`create,select admin public.plain public.x!`,
		},
		{
			`create temp table x(id int)`,
			`create admin pg_temp.x!`,
		},
		{
			`create schema s create table t9(a int)`,
			`create admin schema:s! s.t9!`,
		},
		{
			`create view w as select id from customers`,
			`create,select admin view:public.w! public.customers`,
		},
		{
			`create materialized view w as select email from customers`,
			`create,select admin public.customers public.w!`,
		},
		{
			`create function f() returns int language sql as 'select 1'`,
			`create admin function:public.f!`,
		},
		{
			`create function f() returns int language c as 'x'`,
			`create admin dynamic function:public.f!`,
		},
		{
			`create index on plain (pure(label))`,
			`create,select admin public.plain! function:public.pure`,
		},
		{
			`create index on plain (wipe())`,
			`drop,create admin public.plain! function:public.wipe! public.orders!`,
		},
		{
			`create trigger t before insert on plain execute function audit()`,
			`create,insert admin public.plain! function:?.audit function:public.audit! public.audit!`,
		},
		{
			`create rule r as on insert to plain do nothing`,
			`create admin public.plain!`,
		},
		{
			`create policy p on plain using (true)`,
			`create admin public.plain!`,
		},
		{
			`create aggregate a(int) (sfunc = int4pl, stype = int)`,
			`create admin function:?.a!`,
		},
		{
			`create operator @@@ (leftarg = int, function = int4um)`,
			`create admin operator:?.@@@!`,
		},
		{
			`create extension dblink`,
			`create admin extension:dblink!`,
		},
		{
			`create role bob`,
			`create admin role:bob!`,
		},
		{
			`create database d`,
			`create admin database:d!`,
		},
		{
			`create publication p for all tables`,
			`create admin publication:?!`,
		},
		{
			`alter table plain add column x int`,
			`alter admin public.plain!`,
		},
		{
			`alter table plain alter qty type text using wipe()::text`,
			`drop,alter admin public.plain! function:public.wipe! public.orders!`,
		},
		{
			`alter table plain disable trigger all`,
			`alter admin public.plain!`,
		},
		{
			`alter role bob set search_path = app`,
			`alter admin role:bob! setting:search_path!`,
		},
		{
			`alter system set work_mem = '1MB'`,
			`alter admin setting:work_mem!`,
		},
		{
			`alter default privileges grant select on tables to bob`,
			`alter admin default privileges:?!`,
		},
		{
			`drop table plain, orders cascade`,
			`drop admin public.plain! public.orders!`,
		},
		{
			`drop view v_mail`,
			`drop admin view:public.v_mail!`,
		},
		{
			`drop schema app cascade`,
			`drop admin schema:app! app.*! app.plain!`,
		},
		{
			`drop owned by bob`,
			`drop admin role:bob! ?.*!`,
		},
		{
			`drop extension dblink cascade`,
			`drop admin extension:dblink! ?.*!`,
		},
		{
			`drop function wipe()`,
			`drop admin function:public.wipe!`,
		},
		{
			`drop database d`,
			`drop admin database:d! ?.*!`,
		},
		{
			`drop table if exists nosuch`,
			`drop admin ?.nosuch!`,
		},
		{
			`comment on table plain is 'x'`,
			`comment admin public.plain!`,
		},
		{
			`grant select on plain to bob`,
			`grant admin role:bob! public.plain!`,
		},
		{
			`revoke all on all tables in schema public from public`,
			`revoke admin role:public! public.*!`,
		},
		{
			`grant pg_read_server_files to bob`,
			`grant admin role:pg_read_server_files! role:bob!`,
		},
		{
			`reassign owned by bob to app_user`,
			`reassign admin role:bob! role:app_user!`,
		},
		{
			`begin`,
			`begin control`,
		},
		{
			`start transaction read only`,
			`begin control`,
		},
		{
			`end`,
			`commit control`,
		},
		{
			`abort`,
			`rollback control`,
		},
		{
			`savepoint a`,
			`savepoint control`,
		},
		{
			`release a`,
			`release control`,
		},
		{
			`rollback to a`,
			`rollback control`,
		},
		{
			`prepare transaction 'x'`,
			`prepare write`,
		},
		{
			`commit prepared 'x'`,
			`commit write`,
		},
		{
			`set time zone 'UTC'`,
			`set control`,
		},
		{
			`set search_path = app, "$user", "Odd"`,
			`set control`,
		},
		{
			`set local search_path to app`,
			`set control`,
		},
		{
			`set role postgres`,
			`set admin setting:role!`,
		},
		{
			`set session authorization bob`,
			`set admin setting:session_authorization!`,
		},
		{
			`set session_replication_role = replica`,
			`set admin setting:session_replication_role!`,
		},
		{
			`set my.app = 'x'`,
			`set control`,
		},
		{
			`set transaction read write`,
			`set control`,
		},
		{
			`reset all`,
			`reset control`,
		},
		{
			`reset search_path`,
			`reset control`,
		},
		{
			`reset role`,
			`reset control`,
		},
		{
			`show search_path`,
			`show read`,
		},
		{
			`show all`,
			`show read`,
		},
		{
			`discard all`,
			`discard control`,
		},
		{
			`deallocate all`,
			`deallocate control`,
		},
		{
			`deallocate p`,
			`deallocate control`,
		},
		{
			`close c`,
			`close control`,
		},
		{
			`listen ch`,
			`listen read`,
		},
		{
			`unlisten *`,
			`unlisten control`,
		},
		{
			`notify ch, 'x'`,
			`notify write`,
		},
		{
			`lock table plain`,
			`lock write public.plain!`,
		},
		{
			`checkpoint`,
			`checkpoint admin`,
		},
		{
			`load 'x'`,
			`unknown,load unknown files file:x`,
		},
		{
			`vacuum`,
			`vacuum write ?.*!`,
		},
		{
			`vacuum full plain`,
			`vacuum write public.plain!`,
		},
		{
			`analyze`,
			`analyze write ?.*!`,
		},
		{
			`cluster plain`,
			`cluster write public.plain!`,
		},
		{
			`reindex table plain`,
			`reindex write public.plain!`,
		},
		{
			`refresh materialized view mv_mail`,
			`refresh,select write public.mv_mail! (public.customers)`,
		},
		{
			`explain select * from plain`,
			`explain,select read public.plain`,
		},
		{
			`explain delete from plain`,
			`explain read public.plain`,
		},
		{
			`explain analyze delete from plain`,
			`delete,explain write public.plain!`,
		},
		{
			`explain (analyze off) delete from plain`,
			`explain read public.plain`,
		},
		{
			`explain (analyze) create table x as select 1`,
			`create,explain,select admin public.x!`,
		},
		{
			`explain select wipe()`,
			`drop,explain,select admin function:public.wipe! public.orders!`,
		},
		{
			`prepare p as delete from plain`,
			`delete,prepare write public.plain!`,
		},
		{
			`execute nosuch`,
			`unknown,execute unknown`,
		},
		{
			`declare c cursor for select email from customers`,
			`select,declare read public.customers`,
		},
		{
			`fetch all from nosuch`,
			`fetch read ?.?`,
		},
		{
			`move 1 in c`,
			`move read`,
		},
		{
			`select * from plain for update`,
			`lock,select write public.plain`,
		},
		{
			`select * from plain for share`,
			`lock,select write public.plain`,
		},
		{
			`select pg_terminate_backend(1)`,
			`call,select admin function:pg_catalog.pg_terminate_backend!`,
		},
		{
			`select pg_reload_conf()`,
			`call,select admin function:pg_catalog.pg_reload_conf!`,
		},
		{
			`select nextval('plain_seq')`,
			`call,select write function:pg_catalog.nextval! public.plain_seq!`,
		},
		{
			`select setval('app.nosuch', 3)`,
			`call,select write function:pg_catalog.setval! app.nosuch!`,
		},
		{
			`select nextval(label) from plain`,
			`call,select write public.plain function:pg_catalog.nextval! ?.?!`,
		},
		{
			`select pg_notify('a', 'b')`,
			`call,select write function:pg_catalog.pg_notify!`,
		},
		{
			`select pg_advisory_lock(1)`,
			`call,select write function:pg_catalog.pg_advisory_lock!`,
		},
		{
			`select lo_import('/etc/passwd')`,
			`call,select write files function:pg_catalog.lo_import file:/etc/passwd`,
		},
		{
			`select lo_export(1, '/tmp/x')`,
			`call,select write files function:pg_catalog.lo_export! file:/tmp/x!`,
		},
		{
			`select lo_get(1)`,
			`select read function:pg_catalog.lo_get`,
		},
		{
			`select pg_ls_dir('.')`,
			`call,select read files function:pg_catalog.pg_ls_dir file:.`,
		},
		{
			`select pg_read_file(label) from plain`,
			`call,select read files public.plain function:pg_catalog.pg_read_file file:?`,
		},
		{
			`select * from pg_hba_file_rules`,
			`select read files view:pg_catalog.pg_hba_file_rules file:pg_catalog.pg_hba_file_rules`,
		},
		{
			`select set_config('search_path', 'app', false)`,
			`select,set read function:pg_catalog.set_config`,
		},
		{
			`select set_config(name, 'view', false) from pg_settings where name = 'restrict_nonsystem_relation_kind'`,
			`select,set read where view:pg_catalog.pg_settings function:pg_catalog.set_config`,
		},
		{
			`select set_config(name, 'x', false) from pg_settings where name = 'role'`,
			`select,set admin where view:pg_catalog.pg_settings function:pg_catalog.set_config setting:role!`,
		},
		{
			`select set_config(name, 'x', false) from pg_settings where name like 'restrict%'`,
			`select,set admin where view:pg_catalog.pg_settings function:pg_catalog.set_config setting:?!`,
		},
		{
			`lock table plain in access share mode`,
			`lock read public.plain`,
		},
		{
			`select set_config('role', 'postgres', false)`,
			`select,set admin function:pg_catalog.set_config setting:role!`,
		},
		{
			`select set_config(label, 'x', false) from plain`,
			`select,set admin public.plain function:pg_catalog.set_config setting:?!`,
		},
		{
			`select query_to_xml('delete from plain', true, true, '')`,
			`delete,select write dynamic public.plain!`,
		},
		{
			`select query_to_xml(label, true, true, '') from plain`,
			`unknown,select unknown dynamic public.plain`,
		},
		{
			`select table_to_xml('customers', true, true, '')`,
			`select read function:pg_catalog.table_to_xml public.customers`,
		},
		{
			`select schema_to_xml('public', true, true, '')`,
			`select read function:pg_catalog.schema_to_xml ?.*`,
		},
		{
			`select cursor_to_xml('c', 1, true, true, '')`,
			`select,fetch read function:pg_catalog.cursor_to_xml`,
		},
		{
			`select ts_stat('select to_tsvector(email) from customers')`,
			`select read dynamic public.customers`,
		},
		{
			`select dblink('host=x', 'select 1')`,
			`unknown,select unknown dynamic function:public.dblink!`,
		},
		{
			`select * from crosstab('delete from plain returning 1,2,3') as t(a int, b int)`,
			`delete,select write dynamic function:public.crosstab public.plain!`,
		},
		{
			`select pg_file_write('x', 'y', false)`,
			`unknown,select unknown function:pg_catalog.pg_file_write!`,
		},
		{
			`select internal_read('/etc/passwd')`,
			`unknown,select unknown function:public.internal_read!`,
		},
		{
			`select uuid_generate_v4(), gen_random_bytes(8), crypt('a', gen_salt('bf'))`,
			`select read function:public.uuid_generate_v4 function:public.gen_random_bytes function:public.gen_salt function:public.crypt`,
		},
		{
			`select wipe()`,
			`drop,select admin function:public.wipe! public.orders!`,
		},
		{
			`select wipe_rows()`,
			`delete,select write function:public.wipe_rows! public.plain!`,
		},
		{
			`select bump(1)`,
			`update,select write where function:public.bump! public.plain!`,
		},
		{
			`select * from v_wipe`,
			`drop,select admin view:public.v_wipe function:public.wipe! public.orders!`,
		},
		{
			`select 1 from plain where id = wipe()`,
			`drop,select admin where public.plain function:public.wipe! public.orders!`,
		},
		{
			`select dyn('select 1')`,
			`unknown,select unknown dynamic function:public.dyn!`,
		},
		{
			`select dyn_const()`,
			`select read dynamic function:public.dyn_const (public.customers)`,
		},
		{
			`select pure('x'), named('a'), outs(1), app.helper()`,
			`select read function:public.pure function:public.named function:public.outs function:app.helper`,
		},
		{
			`select nosuch(1)`,
			`unknown,select unknown function:?.nosuch!`,
		},
		{
			`select lookup(1), lookup2(2), standard(1), standard_return(1)`,
			`select read function:public.lookup (public.customers) function:public.lookup2 function:public.standard function:public.standard_return`,
		},
		{
			`select overload(1)`,
			`delete,select write function:public.overload! public.plain!`,
		},
		{
			`select evil_agg(label) from plain`,
			`delete,select write public.plain! function:public.evil_step! function:public.evil_agg`,
		},
		{
			`select concat_all(label) from plain`,
			`select read public.plain function:public.concat_all`,
		},
		{
			`select p === p from comp`,
			`delete,select write public.comp function:public.evil_eq! public.plain!`,
		},
		{
			`select 'x'::mail`,
			`insert,select write function:public.check_mail! metrics.daily!`,
		},
		{
			`select '1'::posint`,
			`select read`,
		},
		{
			`select hidden_default()`,
			`delete,select write function:public.hidden_default! (public.customers) function:public.wipe_rows! public.plain!`,
		},
		{
			`select looped()`,
			`delete,select write function:public.looped! public.plain!`,
		},
		{
			`call purge()`,
			`update,call write where function:public.purge! public.plain!`,
		},
		{
			`call purge_all()`,
			`truncate,call write function:public.purge_all! public.plain!`,
		},
		{
			`do $$ begin delete from plain; end $$`,
			`delete,do write public.plain!`,
		},
		{
			`do $$ begin for i in 1..3 loop delete from plain where id = i; end loop; end $$`,
			`delete,do write public.plain!`,
		},
		{
			`do $$ begin execute 'trunc' || 'ate plain'; end $$`,
			`truncate,do write dynamic public.plain!`,
		},
		{
			`do $$ begin execute format('truncate %I', 'plain'); end $$`,
			`unknown,do unknown dynamic`,
		},
		{
			`do $$ begin perform wipe(); end $$`,
			`drop,do,select admin function:public.wipe! public.orders!`,
		},
		{
			`do $$ declare x int := wipe(); begin null; end $$`,
			`drop,do admin function:public.wipe! public.orders!`,
		},
		{
			`do $$ declare x record := wipe(); begin null; end $$`,
			`drop,do admin function:public.wipe! public.orders!`,
		},
		{
			`do $$ declare x customers := wipe(); begin null; end $$`,
			`drop,do admin function:public.wipe! public.orders!`,
		},
		{
			`do $$ begin begin perform 1; exception when others then truncate plain; end; end $$`,
			`truncate,do,select write public.plain!`,
		},
		{
			`do $$ declare a int[]; begin a[wipe()] := 1; end $$`,
			`drop,do admin function:public.wipe! public.orders!`,
		},
		{
			`do $$ declare c cursor for select wipe(); begin open c; end $$`,
			`drop,do,select admin function:public.wipe! public.orders!`,
		},
		{
			`do $$ begin if wipe() = 1 then null; end if; end $$`,
			`drop,do admin function:public.wipe! public.orders!`,
		},
		{
			`do $$ begin return; end $$ language plpgsql`,
			`do read`,
		},
		{
			`do language plpython3u 'import os'`,
			`unknown,do unknown`,
		},
		{
			`do $$ this is no plpgsql $$`,
			`unknown,do unknown`,
		},
		{
			`insert into audited values (1, 'x')`,
			`insert write public.audited!`,
		},
		{
			`insert into many values (1)`,
			`insert write public.many!`,
		},
		{
			`insert into dyn_audited values (1)`,
			`insert write dynamic public.dyn_audited!`,
		},
		{
			`insert into ruled values (1)`,
			`delete,insert write where public.ruled! public.plain!`,
		},
		{
			`select * from ft`,
			`select read public.ft`,
		},
		{
			`select "a.b" from "Odd.Name"`,
			`select read public.Odd.Name`,
		},
		{
			`select * from pg_class`,
			`select read pg_catalog.pg_class`,
		},
		{
			`update pg_class set relname = 'x' where oid = 1`,
			`alter,update admin where pg_catalog.pg_class!`,
		},
		{
			`select 1; drop table plain`,
			`select read
drop admin public.plain!`,
		},
		{
			`;;; select 1 ;; -- end`,
			`select read`,
		},
		{
			`create temp table plain(id int); select * from plain`,
			`create admin pg_temp.plain!
select read ?.plain`,
		},
		{
			`set search_path = app; select * from plain`,
			`set control
select read app.plain`,
		},
		{
			`begin; set local search_path = app; select * from plain; commit; select * from plain`,
			`begin control
set control
select read app.plain
commit control
select read public.plain`,
		},
		{
			`prepare q as select * from plain; execute q`,
			`select,prepare read public.plain
execute,select read public.plain`,
		},
		{
			`select 1 from plain tablesample bernoulli (10)`,
			`select read public.plain`,
		},
		{
			`select pg_catalog.lower('x'), pg_catalog.pg_read_file('x')`,
			`call,select read files function:pg_catalog.pg_read_file file:x`,
		},
		{
			`select lower('x'), count(*), now(), current_date, coalesce(1, 2) from plain`,
			`select read public.plain`,
		},
		{
			`select system_user`,
			`unknown,select unknown function:pg_catalog.system_user!`,
		},
		{
			`select json_object('a': 1)`,
			`unknown,select unknown`,
		},
		{
			`select path_dependent(), path_fixed()`,
			`select read function:public.path_dependent (public.plain) function:public.path_fixed (app.plain)`,
		},
		{
			`select x.y.z.w.v from plain`,
			`select read public.plain`,
		},
		{
			`select (select (select (select wipe())))`,
			`drop,select admin function:public.wipe! public.orders!`,
		},
		{
			`select case when true then wipe() end`,
			`drop,select admin function:public.wipe! public.orders!`,
		},
		{
			`select array[wipe()], row(wipe()), wipe()::text, - wipe(), wipe() between 1 and 2, wipe() in (1,2)`,
			`drop,select admin function:public.wipe! public.orders!`,
		},
		{
			`select * from generate_series(1, wipe())`,
			`drop,select admin function:public.wipe! public.orders!`,
		},
		{
			`select * from plain p join lateral (select wipe()) x on true`,
			`drop,select admin public.plain function:public.wipe! public.orders!`,
		},
		{
			`select * from plain order by wipe()`,
			`drop,select admin public.plain function:public.wipe! public.orders!`,
		},
		{
			`select * from plain limit wipe()`,
			`drop,select admin public.plain function:public.wipe! public.orders!`,
		},
		{
			`select sum(id) filter (where wipe() = 1) over (partition by wipe()) from plain`,
			`drop,select admin public.plain function:public.wipe! public.orders!`,
		},
		{
			`select * from plain group by grouping sets ((id), (wipe()))`,
			`drop,select admin public.plain function:public.wipe! public.orders!`,
		},
		{
			`select 1 where exists (select wipe())`,
			`drop,select admin where function:public.wipe! public.orders!`,
		},
		{
			`insert into plain values (wipe(), 'x', 1) returning wipe()`,
			`drop,insert admin public.plain! function:public.wipe! public.orders!`,
		},
		{
			`update plain set (id, qty) = (select wipe(), 2) where id = 1`,
			`drop,update admin where public.plain! function:public.wipe! public.orders!`,
		},
		{
			`select xmlelement(name a, wipe())`,
			`drop,select admin function:public.wipe! public.orders!`,
		},
		{
			`select * from xmltable('/a' passing '<a/>' columns b int path 'x')`,
			`select read`,
		},
		{
			`select c.wipe_me from customers c`,
			`unknown,select unknown public.customers function:?.wipe_me!`,
		},
		{
			`select plain.pure from plain`,
			`select read public.plain function:public.pure`,
		},
		{
			`table customers`,
			`select read public.customers`,
		},
		{
			`select into x from plain`,
			`create,select admin public.plain public.x!`,
		},
		{
			`select defaulted(), defaulted(1, 'x')`,
			`delete,select write function:public.wipe_rows! public.plain! function:public.lookup (public.customers) function:public.defaulted`,
		},
		{
			`select mutual_a(1)`,
			`insert,select write function:public.mutual_a! function:public.mutual_b! (public.customers) public.plain!`,
		},
		{
			`insert into mailed values (1, 'x')`,
			`insert write public.mailed!`,
		},
		{
			`insert into trap values (1)`,
			`delete,insert write public.trap! function:public.spring! public.plain!`,
		},
		{
			`insert into trap2 values (1)`,
			`insert write public.trap2!`,
		},
		{
			`update trap2 set id = 1 where id = 2`,
			`truncate,update write where public.trap2! function:public.spring2! public.plain!`,
		},
		{
			`select * from guarded`,
			`update,select write where public.guarded function:public.may! public.plain!`,
		},
		{
			`select refcur()`,
			`select read function:public.refcur (public.customers)`,
		},
		{
			`select * from query_exec('select 1') as t(x int)`,
			`unknown,select unknown dynamic function:public.query_exec!`,
		},
		{
			`select for_exec()`,
			`delete,select write dynamic function:public.for_exec! public.plain!`,
		},
		{
			`select ts_rewrite('a'::tsquery, 'delete from plain returning null::tsquery, null::tsquery')`,
			`delete,select write dynamic public.plain!`,
		},
		{
			`select ts_rewrite('a', 'b', 'c')`,
			`select read`,
		},
		{
			`select (x).wipe from (select 1) x`,
			`unknown,select unknown function:?.wipe!`,
		},
		{
			`select * from pg_stat_statements`,
			`select read ?.pg_stat_statements`,
		},
		{
			`select get_raw_page('customers', 0)`,
			`select read function:public.get_raw_page`,
		},
		{
			`create publication p2; select lower('x')`,
			`create admin publication:?!
select read`,
		},
		{
			`create operator @@@ (leftarg = int, function = int4um); select lower('x'), pg_catalog.lower('x')`,
			`create admin operator:?.@@@!
unknown,select unknown function:?.lower!`,
		},
		{
			`create function lower(text) returns text language sql as 'select wipe()::text'; select lower('x')`,
			`create admin function:public.lower!
unknown,select unknown function:?.lower!`,
		},
		{
			`alter table plain rename to p2; select * from plain; select * from orders`,
			`alter admin public.plain!
select read ?.plain
select read public.orders`,
		},
		{
			`begin; create table fresh(id int); insert into fresh values (1); select * from orders; commit`,
			`begin control
create admin public.fresh!
insert write ?.fresh!
select read public.orders
commit control`,
		},
		{
			`set search_path = pg_temp, public; select * from plain`,
			`set control
select read public.plain`,
		},
		{
			`set search_path = app, pg_catalog; select lower('x') from plain`,
			`set control
select read app.plain`,
		},
	} {
		check(t, c[0], c[1])
	}
}
