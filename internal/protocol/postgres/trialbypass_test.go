package postgres

import (
	"strings"
	"testing"

	"postern"
)

// TestTrialHiddenEffects: whatever way an effect that a rollback doesn't undo
// takes into a change, it doesn't happen before the change is approved.
func TestTrialHiddenEffects(t *testing.T) {
	o := newHeldOffice(t)
	setup := `create sequence canary;
create function sing(int) returns int language plpgsql as $$ begin perform setval('canary', 1000); return $1; end $$;
create function sing_sql(int) returns int language sql as $$ select setval('canary', 1000)::int * 0 + $1 $$;
create function sing_lies(int) returns int language plpgsql immutable as $$ begin perform setval('canary', 1000); return $1; end $$;
create function sings(int) returns bool language plpgsql as $$ begin perform setval('canary', 1000); return true; end $$;
create function sings2(int, int) returns bool language plpgsql as $$ begin perform setval('canary', 1000); return true; end $$;
create function sings_lies(int) returns bool language plpgsql immutable as $$ begin perform setval('canary', 1000); return true; end $$;
create operator === (function = sings2, leftarg = int, rightarg = int);
create operator @@@ (function = sing, rightarg = int);
create type wrapped as (a int);
create function to_wrapped(int) returns wrapped language plpgsql as $$ begin perform setval('canary', 1000); return row($1)::wrapped; end $$;
create cast (int as wrapped) with function to_wrapped(int) as assignment;
create function sing_step(int, int) returns int language plpgsql as $$ begin perform setval('canary', 1000); return $2; end $$;
create aggregate agg(int) (sfunc = sing_step, stype = int, initcond = '0');
create function cmp(int, int) returns int language plpgsql immutable as $$ begin perform setval('canary', 1000); return $1 - $2; end $$;
create operator class sung for type int using btree as operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 cmp(int, int);
create table plain(id int primary key, n int);
insert into plain select g, g from generate_series(1, 9) g;
create table defaulted(id int, n int default sing(1));
create table checked(id int check (sings(id)));
create table wraps(w wrapped);
create table generated(id int, g int generated always as (sing_lies(id)) stored);
create table indexed(id int); create index on indexed (sing_lies(id));
create table partial(id int); create index on partial (id) where sings_lies(id);
create table classed(id int); create index on classed (id sung); insert into classed values (1), (2), (3);
create table excluded(id int, exclude using btree (sing_lies(id) with =));
create table parted(id int) partition by range (sing_lies(id)); create table parted1 partition of parted default;
create table hashed(id int) partition by range (id sung); create table hashed1 partition of hashed default;
create table ruled(id int); create rule r as on insert to ruled do also select sing(1);
create table ruled2(id int); create rule r2 as on delete to ruled2 where sings(old.id) do instead nothing; insert into ruled2 values (1);
create view seen as select id, sing(n) as n from plain;
create view chooses as select id from plain where sings(id);
create view check_opt as select id, n from plain where sings(id) with check option;
create view inst as select 1 as id; create function inst_f() returns trigger language plpgsql as $$ begin perform setval('canary', 1000); return new; end $$;
create trigger i instead of insert on inst for each row execute function inst_f();
create table trig_when(id int); create function nothing() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger tw before insert on trig_when for each row when (sings(new.id)) execute function nothing();
create table stmt(id int); create trigger st after insert on stmt for each statement execute function inst_f();
create table cons(id int); create constraint trigger ct after insert on cons deferrable initially deferred for each row execute function inst_f();
create table parent(id int primary key); create table child(id int references parent on delete cascade on update cascade); insert into parent values (1), (2); insert into child values (1);
create trigger ch after delete or update on child for each row execute function inst_f();
create table gparent(id int primary key); create table gchild(id int primary key references gparent on delete cascade); create table ggchild(id int references gchild on delete cascade);
insert into gparent values (1); insert into gchild values (1); insert into ggchild values (1); create trigger gg before delete on ggchild for each row execute function inst_f();
create table setnull(id int references parent on delete set null, x int generated always as (sing_lies(coalesce(id, 0))) stored); insert into setnull values (2); select setval('canary', 1);
create table inh(id int); create table inh1() inherits (inh); insert into inh1 values (1); create trigger ih before delete on inh1 for each row execute function inst_f();
create table rls(id int); insert into rls values (1); alter table rls enable row level security; create policy p on rls using (sings(id)); alter table rls force row level security;
create table trans(id int); create function trans_f() returns trigger language plpgsql as $$ begin perform sing(id) from fresh; return null; end $$;
create trigger tr after insert on trans referencing new table as fresh for each statement execute function trans_f();
create function calls() returns trigger language plpgsql as $$ begin insert into stmt values (1); return new; end $$;
create table chain(id int); create trigger c before insert on chain for each row execute function calls();
create function variadic_sing(variadic int[]) returns int language plpgsql as $$ begin perform setval('canary', 1000); return 1; end $$;
create function out_sing(out a int, out b int) language plpgsql as $$ begin perform setval('canary', 1000); a := 1; b := 2; end $$;
create function defaulted_arg(a int default sing(1)) returns int language sql as $$ select a $$;
create function attr(plain) returns int language plpgsql as $$ begin perform setval('canary', 1000); return 1; end $$;
create function table_sing() returns table(n int) language plpgsql as $$ begin perform setval('canary', 1000); return next; end $$;
create function cursor_sing() returns int language plpgsql as $$ declare c cursor for select sing(1); r record; begin open c; fetch c into r; return 1; end $$;
create function perform_into() returns int language plpgsql as $$ declare x int := sing(1); begin return x; end $$;
create function loops() returns int language plpgsql as $$ begin for i in 1..sing(1) loop null; end loop; return 1; end $$;
create function cases() returns int language plpgsql as $$ begin case when sings(1) then return 1; else return 2; end case; end $$;
create function raises() returns int language plpgsql as $$ begin raise notice '%', sing(1); return 1; end $$;
create function asserts() returns int language plpgsql as $$ begin assert sings(1), 'no'; return 1; end $$;
create function handler() returns int language plpgsql as $$ begin perform 1/0; return 1; exception when others then return sing(1); end $$;
create function record_default() returns int language plpgsql as $$ declare r plain%rowtype; begin select id, sing(n) into r from plain limit 1; return 1; end $$;
create procedure proc_sing() language plpgsql as $$ begin perform setval('canary', 1000); end $$;
create function calls_proc() returns int language plpgsql as $$ begin call proc_sing(); return 1; end $$;
create function return_query() returns setof int language plpgsql as $$ begin return query select sing(1); end $$;
create function foreach_() returns int language plpgsql as $$ declare x int; begin foreach x in array array[sing(1)] loop null; end loop; return 1; end $$;
create function exits() returns int language plpgsql as $$ begin loop exit when sings(1); end loop; return 1; end $$;
create function cursor_arg() returns int language plpgsql as $$ declare c cursor (k int) for select id from plain where id = k; r record; begin open c(sing(1)); fetch c into r; return 1; end $$;
create function atomic_sing() returns int language sql begin atomic; select sing(1); end;
create function if_sing() returns int language plpgsql as $$ begin if sings(1) then return 1; elsif sings(2) then return 2; end if; return 3; end $$;
create function ordered_final(int) returns int language plpgsql as $$ begin perform setval('canary', 1000); return $1; end $$;
create aggregate ordered_agg(order by int) (sfunc = int4pl, stype = int, initcond = '0', finalfunc = ordered_final);
create function own_path() returns int language plpgsql set search_path = public as $$ begin return sing(1); end $$;
select setval('canary', 1);`
	o.cluster.Exec(t, o.database(), setup)
	sung(t, o, map[string]string{
		"a procedure": "insert into plain select 100, calls_proc()", "return query": "insert into plain select 100, r from return_query() r", "foreach": "insert into plain select 100, foreach_()",
		"exit when": "insert into plain select 100, exits()", "a cursor's argument": "insert into plain select 100, cursor_arg()", "a standard body": "insert into plain select 100, atomic_sing()",
		"elsif": "insert into plain select 100, if_sing()", "an ordered-set aggregate": "insert into plain select 100, ordered_agg() within group (order by id) from plain", "a path of its own": "insert into plain select 100, own_path()",
		"a function":               "update plain set n = sing(1) where id = 1",
		"sql":                      "update plain set n = sing_sql(1) where id = 1",
		"said to be immutable":     "update plain set n = sing_lies(1) where id = 1",
		"in where":                 "delete from plain where sings(id) and id = 1",
		"operator":                 "delete from plain where id === 1 and id = 1",
		"prefix operator":          "update plain set n = @@@ n where id = 1",
		"operator any":             "delete from plain where id === any('{1}') and id = 1",
		"operator with schema":     "delete from plain where id operator(public.===) 1 and id = 1",
		"assignment cast":          "insert into wraps values (1)",
		"explicit cast":            "insert into plain select 100, (cast(1 as wrapped)).a",
		"aggregate":                "insert into plain select 100, agg(n) from plain",
		"window":                   "insert into plain select 100 + id, agg(n) over () from plain where id = 1",
		"default":                  "insert into defaulted(id) values (1)",
		"default keyword":          "insert into defaulted values (1, default)",
		"default values":           "insert into defaulted default values",
		"check":                    "insert into checked values (1)",
		"generated":                "insert into generated(id) values (1)",
		"index":                    "insert into indexed values (1)",
		"partial index":            "insert into partial values (1)",
		"operator class":           "insert into classed values (4)",
		"operator class in a scan": "delete from classed where id = 2",
		"order by using":           "delete from plain where id in (select id from plain order by id limit 1)",
		"exclusion":                "insert into excluded values (1)",
		"partition expression":     "insert into parted values (1)",
		"partition operator class": "insert into hashed values (1)",
		"rule":                     "insert into ruled values (1)",
		"rule's condition":         "delete from ruled2",
		"view":                     "insert into plain select 100 + id, n from seen where id = 1",
		"view's condition":         "update chooses set id = 100 where id = 1",
		"check option":             "update check_opt set n = 3 where id = 1",
		"instead of":               "insert into inst values (1)",
		"trigger's when":           "insert into trig_when values (1)",
		"statement trigger":        "insert into stmt values (1)",
		"deferred trigger":         "insert into cons values (1)",
		"cascade":                  "delete from parent where id = 1",
		"update cascade":           "update parent set id = 77 where id = 1",
		"cascade of a cascade":     "delete from gparent",
		"set null":                 "delete from parent where id = 2",
		"inherited":                "delete from inh",
		"row security":             "delete from rls",
		"transition table":         "insert into trans values (1)",
		"trigger of a trigger":     "insert into chain values (1)",
		"variadic":                 "insert into plain select 100, variadic_sing(1, 2)",
		"out parameters":           "insert into plain select * from out_sing()",
		"argument's default":       "insert into plain select 100, defaulted_arg()",
		"attribute":                "insert into plain select 100 + p.id, p.attr from plain p where id = 1",
		"functional attribute":     "insert into plain select 100 + id, attr(p) from plain p where id = 1",
		"table function":           "insert into plain select 100, n from table_sing()",
		"rows from":                "insert into plain select 100, a from rows from (table_sing(), generate_series(1,1)) as r(a, b)",
		"cursor":                   "insert into plain select 100, cursor_sing()",
		"declaration":              "insert into plain select 100, perform_into()",
		"loop":                     "insert into plain select 100, loops()",
		"case":                     "insert into plain select 100, cases()",
		"raise":                    "insert into plain select 100, raises()",
		"assert":                   "insert into plain select 100, asserts()",
		"handler":                  "insert into plain select 100, handler()",
		"select into":              "insert into plain select 100, record_default()",
		"returning":                "delete from plain where id = 1 returning sing(id)",
		"on conflict":              "insert into plain values (1, 1) on conflict (id) do update set n = sing(1)",
		"on conflict where":        "insert into plain values (1, 1) on conflict (id) do update set n = 1 where sings(plain.id)",
		"using":                    "delete from plain using table_sing() where id = 1",
		"limit":                    "insert into plain select 100, 1 limit sing(1)",
		"cte":                      "with x as (select sing(1) as a) insert into plain select 100, a from x",
		"cte unused":               "with x as materialized (select sing(1) as a) delete from plain where id = 1 and exists (select from x)",
		"lateral":                  "insert into plain select 100 + p.id, s from plain p, lateral sing(p.id) s where id = 1",
		"values":                   "insert into plain values (100, sing(1))",
		"multi assignment":         "update plain set (id, n) = (select 100, sing(1)) where id = 1",
		"array subscript":          "update plain set n = (array[1,2])[sing(1)] where id = 1",
		"filter":                   "insert into plain select 100, count(*) filter (where sings(id)) from plain",
		"within coalesce":          "update plain set n = coalesce(null, sing(1)) where id = 1",
		"nullif operator":          "update plain set n = nullif(n, sing(1)) where id = 1",
		"between":                  "delete from plain where id between sing(1) and 1",
		"merge":                    "merge into plain p using (values (1)) v(x) on p.id = v.x when matched and sings(1) then delete",
		"merge action":             "merge into plain p using (values (1)) v(x) on p.id = v.x when matched then update set n = sing(1)",
		"merge insert default":     "merge into defaulted d using (values (1)) v(x) on false when not matched then insert (id) values (x)",
		"xml":                      "insert into plain select 100, x from xmltable('/a' passing '<a>1</a>' columns x int default sing(1))",
		"tablesample":              "delete from plain where id in (select id from plain tablesample bernoulli (sing(100)))",
		"in a string":              "insert into plain select 100, (query_to_xml('select setval(''canary'', 1000)', true, false, '') is null)::int",
		"database_to_xml":          "insert into plain select 100, (table_to_xml('seen', true, false, '') is null)::int",
		"currval text":             "insert into plain values (100, setval('canary'::text::regclass, 1000))",
		"array of calls":           "insert into plain select 100, x from unnest(array[sing(1)]) x",
		"row comparison":           "delete from plain where (id, n) = (1, sing(1))",
		"is distinct":              "delete from plain where id is distinct from sing(1)",
		"ts":                       "insert into plain select 100, (ts_stat('select setval(''canary'', 1000)::text::tsvector')).ndoc",
		"stats":                    "insert into plain select 100, count(*) from pg_catalog.ts_stat('select to_tsvector(setval(''canary'', 1000)::text)')",
	})
	// Domains are followed further, so far that one whose check sings keeps everything
	// from being run before it is approved.
	o.cluster.Exec(t, o.database(), `create domain dom as int check (sings(value));
create type wrapped_dom as (d dom);
create table domained(id dom);
create function casts_() returns int language plpgsql as $$ declare d dom; begin d := 3; return d; end $$;`)
	sung(t, o, map[string]string{
		"domain cast":             "update plain set n = (1::dom)::int where id = 1",
		"domain column":           "insert into domained values (1)",
		"domain by cast function": "update plain set n = cast('1' as dom) where id = 1",
		"domain variable":         "insert into plain select 100, casts_()",
		"json":                    "insert into plain select 100, (jsonb_populate_record(null::wrapped_dom, '{\"d\": 1}')).d",
		"text input of a domain":  "insert into domained select '1'",
		"composite input":         "insert into plain select 100, (row(1)::wrapped_dom).d",
		"record input":            "insert into plain select 100, ('(1)'::wrapped_dom).d",
		"array input":             "insert into plain select 100, ('{1}'::dom[])[1]",
		"any other change":        "delete from plain where id = 2",
	})
}

// sung runs statements that nobody approves, and listens.
func sung(t *testing.T, o *office, statements map[string]string) {
	for name, statement := range statements {
		t.Run(name, func(t *testing.T) {
			o.t = t
			o.cluster.Exec(t, o.database(), "select setval('canary', 1)")
			w := o.wire()
			done := make(chan string, 1)
			go func() { done <- w.all(join(q(statement))...) }()
			asked := false
			for running := true; running; {
				select {
				case rv := <-o.Reviews.Opened():
					asked = true
					if got := o.counted("select last_value from canary"); got != "1" {
						t.Errorf("before anybody has approved, it sang (trial: %t)", rv.Evidence.Trial != nil)
					}
					o.Reviews.Settle(rv.ID, postern.ReviewDenied)
				case text := <-done:
					running = false
					if got := o.counted("select last_value from canary"); got != "1" {
						t.Errorf("it sang, and was denied:\n%s", text)
					}
					if !asked && !strings.Contains(text, "error") {
						t.Errorf("nobody was asked:\n%s", text)
					}
					if !asked {
						t.Logf("not asked: %s", text)
					}
				}
			}
		})
	}
}
