package postgres

import "testing"

// TestLineage says where results, conditions and stored values come from.
func TestLineage(t *testing.T) {
	for _, c := range [][2]string{
		{
			`select id, email from customers`,
			`id=@customers.id email=@customers.email |  |`,
		},
		{
			`select * from v_mail`,
			`id=@customers.id mail=@customers.email |  |`,
		},
		{
			`select email, id from v_swapped`,
			`email=customers.id id=@customers.email |  |`,
		},
		{
			`select x, id from v_deep`,
			`x=@customers.email id=@customers.email | customers.id |`,
		},
		{
			`select * from v_deep2`,
			`m=customers.email |  |`,
		},
		{
			`select * from v_union`,
			`id=plain.id+customers.id label=plain.label+customers.card_number |  |`,
		},
		{
			`select j, j->>'email' from v_row`,
			`j=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes ?column?=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select * from mv_mail`,
			`id=@customers.id email=@customers.email |  |`,
		},
		{
			`select * from metrics.totals`,
			`d=metrics.daily.day n=metrics.daily.n | metrics.daily.day |`,
		},
		{
			`select email from people`,
			`email=@people.email+people_1.email |  |`,
		},
		{
			`select email from people_1`,
			`email=@people_1.email+people.email |  |`,
		},
		{
			`select email from base_t`,
			`email=@base_t.email+child_t.email |  |`,
		},
		{
			`select email, extra from child_t`,
			`email=@child_t.email+base_t.email extra=@child_t.extra |  |`,
		},
		{
			`select low, email from gen`,
			`low=@gen.low+gen.email email=@gen.email |  |`,
		},
		{
			`select p, (p).a, (ps[1]).b, m from comp`,
			`p=@comp.p a=comp.p b=comp.ps m=@comp.m |  |`,
		},
		{
			`select (c).email, (c).* from (select c from customers c) q`,
			`email=@customers.email id=@customers.id name=@customers.name email=@customers.email card_number=@customers.card_number ssn=@customers.ssn phone=@customers.phone notes=@customers.notes |  |`,
		},
		{
			`select c.*, o.total from customers c join orders o on o.customer_id = c.id`,
			`id=@customers.id name=@customers.name email=@customers.email card_number=@customers.card_number ssn=@customers.ssn phone=@customers.phone notes=@customers.notes total=@orders.total | orders.customer_id+customers.id |`,
		},
		{
			`select * from customers natural join v_mail`,
			`id=customers.id name=@customers.name email=@customers.email card_number=@customers.card_number ssn=@customers.ssn phone=@customers.phone notes=@customers.notes mail=@customers.email | customers.id |`,
		},
		{
			`select * from plain join app.plain q using (id, label)`,
			`id=plain.id+app.plain.id label=plain.label+app.plain.label qty=@plain.qty secret=@app.plain.secret | plain.id+app.plain.id+plain.label+app.plain.label |`,
		},
		{
			`select q.secret, x.id from plain join app.plain q using (id) as x`,
			`secret=@app.plain.secret id=plain.id+app.plain.id | plain.id+app.plain.id |`,
		},
		{
			`select a.mail from v_mail a(k, mail)`,
			`mail=@customers.email |  |`,
		},
		{
			`select (select email from customers where id = p.id) from plain p`,
			`email=@customers.email | customers.id+plain.id |`,
		},
		{
			`select id, (select max(c.email) from customers c where c.id = p.id) as m from plain p where exists (select 1 from customers where ssn = p.label)`,
			`id=@plain.id m=customers.email | customers.ssn+plain.label+customers.id+plain.id |`,
		},
		{
			`with recursive t(n, path) as (select id, email from customers union all select n + 1, path || 'x' from t where n < 5) select * from t`,
			`n=customers.id path=customers.email | customers.id |`,
		},
		{
			`with a as (select email as x from customers), b as (select x as y from a) select y from b`,
			`y=@customers.email |  |`,
		},
		{
			`with customers as (select 1 as id, label as email from plain) select email from customers`,
			`email=@plain.label |  |`,
		},
		{
			`with t as (select email as label from customers) select label from t union select label from plain`,
			`label=customers.email+plain.label | customers.email+plain.label |`,
		},
		{
			`with recursive a as (select * from b), b as (select email from customers) select * from a`,
			`email=@customers.email |  |`,
		},
		{
			`with x as (with y as (select ssn from customers) select * from y) select * from x`,
			`ssn=@customers.ssn |  |`,
		},
		{
			`with recursive r(id, mail) as (select id, label from plain union select c.id, c.email from customers c join r on r.id = c.id) select mail from r`,
			`mail=plain.label+customers.email | plain.id+customers.id+plain.label+customers.email |`,
		},
		{
			`with recursive s as (select id, email from customers union all select id, email from s) search depth first by email set o cycle id set c using p select * from s`,
			`id=@customers.id email=@customers.email o=customers.id+customers.email c=customers.id+customers.email p=customers.id+customers.email | customers.id+customers.email |`,
		},
		{
			`select row_to_json(c) from customers c`,
			`row_to_json=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select json_build_object('a', email), jsonb_agg(c) from customers c`,
			`json_build_object=customers.email jsonb_agg=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select e.key, e.value from customers c, jsonb_each(to_jsonb(c)) e`,
			`key=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes value=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes | customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |`,
		},
		{
			`select * from customers c, jsonb_each_text(to_jsonb(c)) as e(k, v)`,
			`id=@customers.id name=@customers.name email=@customers.email card_number=@customers.card_number ssn=@customers.ssn phone=@customers.phone notes=@customers.notes k=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes v=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes | customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |`,
		},
		{
			`select x from customers c, jsonb_array_elements(jsonb_build_array(c.email)) x`,
			`x=customers.email | customers.email |`,
		},
		{
			`select value from customers c, json_array_elements(json_build_array(c.email)) x`,
			`value=customers.email | customers.email |`,
		},
		{
			`select * from unnest(array(select email from customers)) with ordinality as u(a, n)`,
			`a=customers.email n= | customers.email |`,
		},
		{
			`select u from unnest((select array_agg(c) from customers c)) u`,
			`u=~customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes | customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  | unproven`,
		},
		{
			`select * from json_to_recordset((select json_agg(c) from customers c)) as t(id int, email text)`,
			`id=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes email=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes | customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |`,
		},
		{
			`select * from json_populate_record(null::customers, (select row_to_json(c) from customers c limit 1))`,
			`? |  |  | unproven`,
		},
		{
			`select * from generate_series(1, 3) g`,
			`g= |  |`,
		},
		{
			`select g, x from generate_series(1, 3) g, lateral (select g + 1 as x) q`,
			`g= x= |  |`,
		},
		{
			`select count(*), count(email), count(distinct email), sum(length(email)) from customers`,
			`count= count= count= sum=customers.email | customers.email |`,
		},
		{
			`select rank() over (order by ssn), lag(email) over (order by id) from customers`,
			`rank= lag=customers.email | customers.ssn+customers.id |`,
		},
		{
			`select distinct left(ssn, 3) from customers`,
			`left=customers.ssn | customers.ssn |`,
		},
		{
			`select case when ssn like '5%' then 1 else 0 end from customers`,
			`case=customers.ssn | customers.ssn |`,
		},
		{
			`select coalesce(email, 'x'), nullif(ssn, '1'), greatest(email, ssn) from customers`,
			`coalesce=customers.email nullif=customers.ssn greatest=customers.email+customers.ssn |  |`,
		},
		{
			`select email is null, email is not null, (email = 'x') is true from customers`,
			`?column?= ?column?= ?column?=customers.email |  |`,
		},
		{
			`select email = 'x', email || 'x', email::int, - id from customers`,
			`?column?=customers.email ?column?=customers.email email=customers.email ?column?=customers.id |  |`,
		},
		{
			`select id from customers where email = 'x' order by phone limit 1`,
			`id=@customers.id | customers.email+customers.phone |`,
		},
		{
			`select id from customers group by id having max(ssn) > '1'`,
			`id=@customers.id | customers.ssn+customers.id |`,
		},
		{
			`values ((select email from customers limit 1), 1)`,
			`column1=@customers.email column2= |  |`,
		},
		{
			`select email from customers except select label from plain`,
			`email=@customers.email | plain.label+customers.email |`,
		},
		{
			`select label from plain except select email from customers`,
			`label=@plain.label | customers.email+plain.label |`,
		},
		{
			`select 1, id from plain union all select 2, id from customers`,
			`?column?= id=plain.id+customers.id |  |`,
		},
		{
			`insert into plain(id, label) select id, email from customers returning *`,
			`id=plain.id+customers.id label=plain.label+customers.email qty=@plain.qty |  | plain.id<-customers.id plain.label<-customers.email`,
		},
		{
			`insert into plain(id, label) values (1, (select ssn from customers where id = 1))`,
			`| customers.id | plain.label<-customers.ssn`,
		},
		{
			`insert into customers(id, name) values (1, 'x') on conflict (id) do update set email = excluded.name returning ssn`,
			`ssn=@customers.ssn | customers.id |`,
		},
		{
			`insert into plain(id, label) select id, name from customers on conflict (id) do update set label = excluded.label`,
			`| plain.id | plain.id<-customers.id plain.label<-customers.name`,
		},
		{
			`select email::mail from customers`,
			`email=customers.email | customers.email |`,
		},
		{
			`insert into customers(id, name, ssn) values (1, 'x', 'y') on conflict (ssn) do nothing`,
			`| customers.ssn |`,
		},
		{
			`insert into customers(id, name, ssn) values (1, 'x', 'y') on conflict do nothing`,
			`| customers.id+customers.email+customers.ssn |`,
		},
		{
			`update plain set label = c.email from customers c where c.id = plain.id returning plain.*, c.ssn`,
			`id=@plain.id label=plain.label+customers.email qty=@plain.qty ssn=@customers.ssn | customers.id+plain.id | plain.label<-customers.email`,
		},
		{
			`update plain set (label, qty) = (select email, id from customers where id = 1) where id = 1`,
			`| plain.id+customers.id+customers.email | plain.label<-customers.email plain.qty<-customers.id`,
		},
		{
			`update customers set email = email where id = 1`,
			`| customers.id |`,
		},
		{
			`update v_mail set mail = (select ssn from customers where id = 2) where id = 1`,
			`| customers.id | customers.email<-customers.ssn`,
		},
		{
			`delete from orders using customers c where c.id = orders.customer_id returning c.email, orders.*`,
			`email=@customers.email id=@orders.id customer_id=@orders.customer_id+customers.id customer_email=@orders.customer_email+customers.email total=@orders.total | customers.id+orders.customer_id |`,
		},
		{
			`merge into plain p using customers c on p.id = c.id when matched then update set label = c.email when not matched then insert values (c.id, c.phone, 1)`,
			`| plain.id+customers.id | plain.label<-customers.email+customers.phone plain.id<-customers.id`,
		},
		{
			`create table t as select id, email from customers`,
			`|  | t.id<-customers.id t.email<-customers.email`,
		},
		{
			`create table t(a, b) as select id, email from customers`,
			`|  | t.a<-customers.id t.b<-customers.email`,
		},
		{
			`select email into temp t from customers`,
			`|  | pg_temp.t.email<-customers.email`,
		},
		{
			`create materialized view m2 as select email as x from customers`,
			`|  | m2.x<-customers.email`,
		},
		{
			`alter table customers rename column email to x`,
			`|  | customers.x<-customers.email`,
		},
		{
			`alter table mv_mail rename to y`,
			`|  | y.id<-customers.id y.email<-customers.email`,
		},
		{
			`alter table customers set schema app`,
			`|  | app.customers.id<-customers.id app.customers.name<-customers.name app.customers.email<-customers.email app.customers.card_number<-customers.card_number app.customers.ssn<-customers.ssn app.customers.phone<-customers.phone app.customers.notes<-customers.notes`,
		},
		{
			`alter table plain alter label type text using (select email from customers limit 1)`,
			`|  | plain.label<-customers.email`,
		},
		{
			`alter table customers add column x text generated always as (lower(email)) stored`,
			`|  | customers.x<-customers.email`,
		},
		{
			`copy customers (email) to stdout`,
			`email=@customers.email |  |`,
		},
		{
			`copy customers to stdout`,
			`id=@customers.id name=@customers.name email=@customers.email card_number=@customers.card_number ssn=@customers.ssn phone=@customers.phone notes=@customers.notes |  |`,
		},
		{
			`copy customers to '/tmp/x'`,
			`|  | to file<-customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes`,
		},
		{
			`copy gen to stdout`,
			`id=@gen.id email=@gen.email |  |`,
		},
		{
			`copy (select upper(ssn) from customers) to stdout`,
			`upper=customers.ssn |  |`,
		},
		{
			`select lookup(1), lookup2(1), standard(1), standard_return(id) from customers`,
			`lookup=customers.ssn lookup2=customers.email standard=customers.phone standard_return=customers.id | customers.id+customers.email |`,
		},
		{
			`select pure(email), named(email), recursive(3), caught(1) from customers`,
			`pure=customers.email named=customers.email recursive=customers.ssn caught=customers.email+customers.id | customers.ssn+customers.id+customers.email |`,
		},
		{
			`select * from rows_of()`,
			`id=customers.id name=customers.name email=customers.email card_number=customers.card_number ssn=customers.ssn phone=customers.phone notes=customers.notes |  |`,
		},
		{
			`select (rows_of()).ssn`,
			`ssn=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select email from rows_of() r`,
			`email=customers.email |  |`,
		},
		{
			`select * from table_of(1)`,
			`x=customers.id y=customers.email | customers.id |`,
		},
		{
			`select y from table_of(1) t`,
			`y=customers.email | customers.id |`,
		},
		{
			`select * from outs(1)`,
			`a= b= |  |`,
		},
		{
			`select outs(id) from customers`,
			`outs=customers.id |  |`,
		},
		{
			`select say(email), store(ssn) from customers`,
			`say=customers.email store= | plain.id | to message<-customers.email plain.label<-customers.ssn`,
		},
		{
			`select dyn(email) from customers`,
			`dyn=~customers.email |  |  | unproven`,
		},
		{
			`select dyn_const()`,
			`dyn_const=customers.email |  |`,
		},
		{
			`select hidden_default()`,
			`hidden_default=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select path_dependent(), path_fixed()`,
			`path_dependent=plain.label path_fixed=app.plain.secret |  |`,
		},
		{
			`select overload(email) from customers`,
			`overload=customers.email |  |`,
		},
		{
			`select concat_all(email) from customers`,
			`concat_all=customers.email |  |`,
		},
		{
			`select query_to_xml('select email from customers', true, true, '')`,
			`query_to_xml=customers.email |  |`,
		},
		{
			`select ts_stat('select to_tsvector(email) from customers')`,
			`ts_stat=customers.email |  |`,
		},
		{
			`select table_to_xml('customers', true, true, '')`,
			`table_to_xml=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select set_config('my.x', email, false) from customers`,
			`set_config=customers.email |  | to setting<-customers.email`,
		},
		{
			`select current_setting('my.x'), current_setting('server_version'), current_user, now()`,
			`current_setting=~ current_setting= current_user= now= |  |`,
		},
		{
			`select pg_notify('a', email) from customers`,
			`pg_notify=customers.email |  | to function pg_catalog.pg_notify<-customers.email`,
		},
		{
			`do $$ declare v text; begin select email into v from customers; raise notice '%', v; end $$`,
			`|  | to message<-customers.email`,
		},
		{
			`do $$ declare v text; begin select email into v from customers; update plain set label = v where id = 1; end $$`,
			`| plain.id | plain.label<-customers.email`,
		},
		{
			`do $$ declare r record; begin for r in select * from customers loop insert into plain(label) values (r.ssn); end loop; end $$`,
			`| customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes | plain.label<-customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes`,
		},
		{
			`do $$ begin raise notice 'x'; end $$`,
			`|  |`,
		},
		{
			`do $$ begin assert false, (select email from customers limit 1); end $$`,
			`|  | to message<-customers.email`,
		},
		{
			`explain select id from customers where email = 'x'`,
			`QUERY PLAN=customers.email+customers.id | customers.email |`,
		},
		{
			`explain select * from v_mail`,
			`QUERY PLAN=customers.id+customers.email |  |`,
		},
		{
			`prepare p as select email from customers`,
			`|  |`,
		},
		{
			`declare c cursor for select email from customers`,
			`|  |`,
		},
		{
			`prepare q(text) as select $1; execute q((select email from customers limit 1))`,
			`|  |
?column?=~ |  | to parameter<-customers.email`,
		},
		{
			`select * from nosuch`,
			`? |  |  | unproven`,
		},
		{
			`select email from nosuch, customers`,
			`email=~customers.email |  |  | unproven`,
		},
		{
			`select nosuch.email from nosuch, customers`,
			`email=~ |  |  | unproven`,
		},
		{
			`select customers.email, public.customers.ssn from customers`,
			`email=@customers.email ssn=@customers.ssn |  |`,
		},
		{
			`select c.email from customers`,
			`email=~ |  |  | unproven`,
		},
		{
			`select xmin, ctid, tableoid from customers`,
			`xmin= ctid= tableoid= |  |`,
		},
		{
			`select customers from customers`,
			`customers=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select count(customers) from customers`,
			`count= |  |`,
		},
		{
			`select customers::text, customers is null from customers`,
			`customers=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes ?column?=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select array_agg(customers.email order by phone) from customers`,
			`array_agg=customers.email | customers.phone |`,
		},
		{
			`select c.email.x from customers c`,
			`x=~ |  |  | unproven`,
		},
		{
			`select email(c) from customers c`,
			`email=customers.email |  |`,
		},
		{
			`select c.row_to_json from customers c`,
			`row_to_json=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select to_jsonb(row(c.email, 1)) from customers c`,
			`to_jsonb=customers.email |  |`,
		},
		{
			`select row(c.*), row(1, c.email) from customers c`,
			`row=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes row=customers.email |  |`,
		},
		{
			`select (row(c.email, 1)).f1 from customers c`,
			`f1=@customers.email |  |`,
		},
		{
			`select x.f2 from (select (row(email, id)).* from customers) x`,
			`f2=@customers.id |  |`,
		},
		{
			`select string_agg(x, '') from (select unnest(string_to_array(email, null)) as x from customers) s`,
			`string_agg=customers.email | customers.email |`,
		},
		{
			`select regexp_matches(email, 'x'), regexp_split_to_table(ssn, '') from customers`,
			`regexp_matches=customers.email regexp_split_to_table=customers.ssn | customers.email+customers.ssn |`,
		},
		{
			`select * from regexp_matches((select email from customers limit 1), '(.)', 'g') m`,
			`m=customers.email | customers.email |`,
		},
		{
			`select a.attname, pg_get_expr(d.adbin, d.adrelid) from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid`,
			`attname=@pg_catalog.pg_attribute.attname pg_get_expr=pg_catalog.pg_attrdef.adbin+pg_catalog.pg_attrdef.adrelid | pg_catalog.pg_attrdef.adrelid+pg_catalog.pg_attribute.attrelid |`,
		},
		{
			`select table_name, column_name from information_schema.columns`,
			`table_name=@information_schema.columns.table_name column_name=@information_schema.columns.column_name |  |`,
		},
		{
			`select most_common_vals, tablename from pg_stats`,
			`most_common_vals=~@pg_catalog.pg_stats.most_common_vals tablename=@pg_catalog.pg_stats.tablename |  |  | unproven`,
		},
		{
			`select query, pid from pg_stat_activity`,
			`query=~@pg_catalog.pg_stat_activity.query pid=@pg_catalog.pg_stat_activity.pid |  |  | unproven`,
		},
		{
			`select svals(hstore(c)), hstore(c) -> 'email' from customers c`,
			`svals=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes ?column?=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes | customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |`,
		},
		{
			`select similarity(email, 'x'), email % 'x' from customers`,
			`similarity=customers.email ?column?=customers.email |  |`,
		},
		{
			`select x from ft`,
			`x=~@ft.x |  |  | unproven`,
		},
		{
			`select data from bt_page_items('x', 1)`,
			`data=~ |  |  | unproven`,
		},
		{
			`select lo_get(1)`,
			`lo_get=~ |  |  | unproven`,
		},
		{
			`select (array[email, ssn])[1], email[1] from customers`,
			`array=customers.email+customers.ssn email=customers.email |  |`,
		},
		{
			`select xmlelement(name a, email), xmlforest(ssn as x), xmlparse(document notes) from customers`,
			`xmlelement=customers.email xmlforest=customers.ssn xmlparse=customers.notes |  |`,
		},
		{
			`select b from customers, xmltable('/a' passing xmlelement(name a, email) columns b text path '.') x`,
			`b=customers.email |  |`,
		},
		{
			`select extract(year from now()), overlay(email placing 'x' from 1), position('a' in email), trim(email) from customers`,
			`extract= overlay=customers.email position=customers.email btrim=customers.email |  |`,
		},
		{
			`select email collate "C" as e, email as "select" from customers`,
			`e=@customers.email select=@customers.email |  |`,
		},
		{
			`select email from only customers`,
			`email=@customers.email |  |`,
		},
		{
			`select * from (customers c join orders o on c.id = o.customer_id) j`,
			`id=@customers.id name=@customers.name email=@customers.email card_number=@customers.card_number ssn=@customers.ssn phone=@customers.phone notes=@customers.notes id=@orders.id customer_id=@orders.customer_id+customers.id customer_email=@orders.customer_email+customers.email total=@orders.total | customers.id+orders.customer_id |`,
		},
		{
			`select j.email from (customers c join orders o on c.id = o.customer_id) j`,
			`email=@customers.email | customers.id+orders.customer_id |`,
		},
		{
			`select c.email from (customers c join orders o on c.id = o.customer_id)`,
			`email=@customers.email | customers.id+orders.customer_id |`,
		},
		{
			`select * from customers, plain where customers.id = plain.id and plain.label = 'x'`,
			`id=@customers.id name=@customers.name email=@customers.email card_number=@customers.card_number ssn=@customers.ssn phone=@customers.phone notes=@customers.notes id=@plain.id label=@plain.label qty=@plain.qty | plain.label+customers.id+plain.id |`,
		},
		{
			`select id from plain where label in (select email from customers)`,
			`id=@plain.id | customers.email+plain.label |`,
		},
		{
			`select id from plain where (id, label) = any (select id, email from customers)`,
			`id=@plain.id | customers.id+customers.email+plain.id+plain.label |`,
		},
		{
			`select exists (select 1 from customers where ssn like '5%')`,
			`exists= | customers.ssn |`,
		},
		{
			`select sum(case when email like 'a%' then 1 end) from customers`,
			`sum=customers.email | customers.email |`,
		},
		{
			`select id from customers order by 1, length(ssn)`,
			`id=@customers.id | customers.id+customers.ssn |`,
		},
		{
			`select id as email from customers order by email`,
			`email=@customers.id | customers.id+customers.email |`,
		},
		{
			`select max(id) filter (where ssn like '5%') from customers`,
			`max=customers.id+customers.ssn | customers.ssn |`,
		},
		{
			`select grouping(email), email from customers group by rollup (email)`,
			`grouping= email=@customers.email | customers.email |`,
		},
		{
			`select id, first_value(email) over w from customers window w as (partition by ssn order by phone)`,
			`id=@customers.id first_value=customers.email | customers.ssn+customers.phone |`,
		},
		{
			`select mode() within group (order by email), percentile_cont(0.5) within group (order by id) from customers`,
			`mode=customers.email percentile_cont=customers.id | customers.email+customers.id |`,
		},
		{
			`select $1, $2::text, email from customers where id = $1`,
			`?column?= text= email=@customers.email | customers.id |`,
		},
		{
			`table customers`,
			`id=@customers.id name=@customers.name email=@customers.email card_number=@customers.card_number ssn=@customers.ssn phone=@customers.phone notes=@customers.notes |  |`,
		},
		{
			`select from customers`,
			`|  |`,
		},
		{
			`select q.* from (values (1, 2), (3, 4)) q(a, b)`,
			`a= b= |  |`,
		},
		{
			`select last_value from plain_seq`,
			`last_value=@plain_seq.last_value |  |`,
		},
		{
			`select ("Odd.Name".*)::text, "a.b" from "Odd.Name"`,
			`Odd.Name=Odd.Name.a.b+Odd.Name.select a.b=@Odd.Name.a.b |  |`,
		},
		{
			`select c1, c3 from wide`,
			`c1=@wide.c1 c3=@wide.c3 |  |`,
		},
		{
			`select * from wide`,
			`id=@wide.id c1=@wide.c1 c3=@wide.c3 big=@wide.big at=@wide.at |  |`,
		},
		{
			`select defaulted(), defaulted(1, 'x')`,
			`defaulted=customers.ssn defaulted=customers.ssn | customers.id |`,
		},
		{
			`select mutual_a(1)`,
			`mutual_a=customers.ssn | customers.ssn | plain.label<-~customers.ssn | unproven`,
		},
		{
			`insert into mailed values (1, 'x')`,
			`|  |`,
		},
		{
			`create table xx(id int)`,
			`|  |`,
		},
		{
			`select refcur()`,
			`refcur=customers.ssn |  |`,
		},
		{
			`select * from query_exec('select ssn from customers') as t(x text)`,
			`x=~ |  |  | unproven`,
		},
		{
			`select alias_arg(email) from customers`,
			`alias_arg=~customers.email |  |  | unproven`,
		},
		{
			`select for_exec()`,
			`for_exec=plain.id | plain.id |`,
		},
		{
			`select variadic_f(email, ssn), variadic_f(variadic array[phone]) from customers`,
			`variadic_f=customers.email+customers.ssn variadic_f=customers.phone |  |`,
		},
		{
			`select composite_arg(c), composite_sql(c) from customers c`,
			`composite_arg=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes composite_sql=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select (one_row()).ssn, (one_row()).*`,
			`ssn=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes id=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes name=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes email=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes card_number=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes ssn=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes phone=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes notes=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select ssn from one_row()`,
			`ssn=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select * from one_row()`,
			`id=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes name=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes email=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes card_number=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes ssn=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes phone=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes notes=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select poly(email), poly(c), (poly(c)).ssn, (poly(c)).count from customers c`,
			`poly=customers.email poly=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes ssn=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes count=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |  |`,
		},
		{
			`select (unnest(array_agg(q))).pg_typeof from (select email as pg_typeof from customers) q`,
			`pg_typeof=customers.email | customers.email |`,
		},
		{
			`select ts_rewrite('a'::tsquery, 'select to_tsquery(ssn), to_tsquery(ssn) from customers')`,
			`ts_rewrite=customers.ssn |  |`,
		},
		{
			`select ts_rewrite('a', 'b', 'c')`,
			`ts_rewrite= |  |`,
		},
		{
			`select d from (select u.*, ssn, 1, 2, 3 from unnest(to_tsvector('a b')) u, customers) q(a,b,c,d,e)`,
			`d= |  |  | unproven`,
		},
		{
			`insert into plain select 1000 + g, 'x', 0 from customers c, generate_series(1, split_part(c.ssn, '-', 1)::int) g where c.id = 1`,
			`| customers.ssn+customers.id | plain.id<-customers.ssn`,
		},
		{
			`select 1 from customers c, generate_series(1, length(email))`,
			`?column?= | customers.email |`,
		},
		{
			`select generate_series(1, length(email)) from customers`,
			`generate_series=customers.email | customers.email |`,
		},
		{
			`select * from unnest(array[1,2,3]) x(a)`,
			`a= |  |`,
		},
		{
			`select a from unnest('{1,2}'::int[]) a`,
			`a= |  |`,
		},
		{
			`select sum(x) from unnest($1::int[]) x`,
			`sum= |  |`,
		},
		{
			`select * from string_to_table('a,b', ',') s`,
			`s= |  |`,
		},
		{
			`select * from pg_stat_statements`,
			`? |  |  | unproven`,
		},
		{
			`select c.relname, pg_size_pretty(pg_total_relation_size(c.oid)), obj_description(c.oid) from pg_class c`,
			`relname=@pg_catalog.pg_class.relname pg_size_pretty=pg_catalog.pg_class.oid obj_description=pg_catalog.pg_class.oid |  |`,
		},
		{
			`select (pg_identify_object(classid, objid, 0)).* from pg_depend`,
			`type=pg_catalog.pg_depend.classid+pg_catalog.pg_depend.objid schema=pg_catalog.pg_depend.classid+pg_catalog.pg_depend.objid name=pg_catalog.pg_depend.classid+pg_catalog.pg_depend.objid identity=pg_catalog.pg_depend.classid+pg_catalog.pg_depend.objid |  |`,
		},
		{
			`select (jsonb_each(to_jsonb(c))).* from customers c`,
			`key=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes value=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes | customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |`,
		},
		{
			`select (jsonb_each_text(to_jsonb(c))).value from customers c`,
			`value=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes | customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |`,
		},
		{
			`select * from jsonb_to_record('{"a":1}') as x(a int, b customers)`,
			`a= b= |  |`,
		},
		{
			`select * from jsonb_populate_record(null::plain, '{}') q`,
			`? |  |  | unproven`,
		},
		{
			`select array(select row(id, email) from customers)`,
			`array=customers.id+customers.email |  |`,
		},
		{
			`select (select array_agg(email) from customers)[1]`,
			`array_agg=customers.email |  |`,
		},
		{
			`select * from (values ((select ssn from customers limit 1))) v(x)`,
			`x=@customers.ssn |  |`,
		},
		{
			`select lateral_x.* from customers c left join lateral (select c.email as e, p.* from plain p limit 1) lateral_x on true`,
			`e=@customers.email id=@plain.id label=@plain.label qty=@plain.qty |  |`,
		},
		{
			`select * from (select * from customers offset 0) a join (select id as k from plain) b on a.id = b.k`,
			`id=@customers.id name=@customers.name email=@customers.email card_number=@customers.card_number ssn=@customers.ssn phone=@customers.phone notes=@customers.notes k=@plain.id | customers.id+plain.id |`,
		},
		{
			`select x from (select email from customers) as t(x) group by x order by count(*) desc`,
			`x=@customers.email | customers.email |`,
		},
		{
			`select email from customers c where c.id in (select id from plain p where p.label = c.name)`,
			`email=@customers.email | plain.id+customers.id+plain.label+customers.name |`,
		},
		{
			`select (select string_agg(k || v, '') from jsonb_each_text(to_jsonb(c)) j(k, v)) from customers c`,
			`string_agg=customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes | customers.id+customers.name+customers.email+customers.card_number+customers.ssn+customers.phone+customers.notes |`,
		},
		{
			`select max(email) over (), ntile(4) over (order by email), cume_dist() over (order by ssn) from customers`,
			`max=customers.email ntile= cume_dist= | customers.email+customers.ssn |`,
		},
		{
			`select case id when 1 then email end, case when true then 1 end from customers`,
			`case=customers.email+customers.id case= | customers.id |`,
		},
		{
			`select least(id, 1), id is distinct from 2, email similar to 'a', email ~ 'x', email like 'x' from customers`,
			`least=customers.id ?column?=customers.id ?column?=customers.email ?column?=customers.email ?column?=customers.email |  |`,
		},
		{
			`select id from customers where notes like '%VIP%' limit (select qty from plain limit 1)`,
			`id=@customers.id | customers.notes+plain.qty |`,
		},
		{
			`with x as (insert into plain(id, label) select id, email from customers returning label) select * from x`,
			`label=plain.label+customers.email |  | plain.id<-customers.id plain.label<-customers.email`,
		},
		{
			`with x as (update plain set label = 'x' where id = 1 returning *) select * from x`,
			`id=@plain.id label=@plain.label qty=@plain.qty | plain.id |`,
		},
		{
			`select json_agg(json_build_object('id', c.id, 'mails', (select json_agg(o.customer_email) from orders o where o.customer_id = c.id))) from customers c`,
			`json_agg=customers.id+orders.customer_email+customers.email | orders.customer_id+customers.id |`,
		},
	} {
		checkLineage(t, c[0], c[1])
	}
}
