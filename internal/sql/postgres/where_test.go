package postgres

import "testing"

// TestWhere says which conditions count as one.
func TestWhere(t *testing.T) {
	for _, c := range []struct {
		where string
		want  bool
	}{
		{"id = 1", true}, {"id in (1, 2)", true}, {"label = 'a' and qty > 3", true}, {"id = $1", true}, {"qty is null", true},
		{"qty is not null", true}, {"label like 'a%'", true}, {"id between 1 and 9", true}, {"not (id = 1)", true}, {"id < 100", true},
		{"label is distinct from 'x'", true}, {"id <> 3", true}, {"lower(label) = 'x'", true}, {"id in (select customer_id from orders)", true},
		{"exists (select 1 from orders where customer_id = plain.id)", true}, {"id in (select id from plain where qty = 3)", true},
		{"id in (select id from plain limit 10)", true}, {"ctid in (select ctid from plain limit 10)", true}, {"false", true}, {"1 = 0", true},
		{"id = any ($1)", true}, {"(id, qty) = (1, 2)", true}, {"label ~ '^a'", true}, {"id = 1 or id = 2", true}, {"current of c", true},
		{"coalesce(qty, 0) = 0", true}, {"case when qty > 3 then true else false end", true}, {"qty < 3 or qty > 9", true},
		{"id = (select max(id) from plain)", true}, {"id > (select avg(id) from plain)", true}, {"exists (select 1 from plain q where q.qty = plain.id)", true},
		{"id <> 1 and true", true}, {"id is not null and qty = 1", true}, {"label is not null and length(label) > 3", true},

		{"true", false}, {"1 = 1", false}, {"'a' = 'a'", false}, {"not false", false}, {"id = id", false}, {"plain.id = id", false}, {"id is not null", false},
		{"qty is null or qty is not null", false}, {"id = 1 or true", false}, {"id = 1 or 1 = 1", false}, {"id = id and true", false}, {"2 > 1", false},
		{"id in (select id from plain)", false}, {"id = any (select id from plain)", false}, {"id in (select p.id from plain p)", false},
		{"id = any (array(select id from plain))", false}, {"exists (select 1)", false}, {"exists (select 1 from plain)", false},
		{"exists (select 1 from plain q where q.id = plain.id)", false}, {"random() >= 0", false}, {"now() > '2000-01-01'", false}, {"$1", false},
		{"coalesce(true, id = 1)", false}, {"coalesce(id = id, true)", false}, {"id::text = id::text", false}, {"id >= id", false},
		{"label like '%'", false}, {"label ilike '%%'", false}, {"label similar to '%'", false}, {"label ~ '.*'", false}, {"label ~ ''", false},
		{"id < 2147483647", false}, {"id <= 2147483647", false}, {"2147483647 >= id", false}, {"id > -2147483648", false},
		{"id between -2147483648 and 2147483647", false}, {"id > -9999999999", false}, {"length(label) >= 0", false}, {"abs(qty) > -1", false},
		{"id + 0 = id", false}, {"id * 1 = id", false}, {"label || '' = label", false}, {"(id, qty) = (id, qty)", false}, {"id in (id, 3)", false},
		{"id is not distinct from id", false}, {"id is distinct from null", false}, {"(id = id) is true", false}, {"not (id <> id)", false},
		{"not (id is null)", false}, {"qty < 5 or qty >= 5", false}, {"qty < 9 or qty > 3", false}, {"id = 1 or id <> 1", false}, {"id = 1 or not (id = 1)", false},
		{"(id = id) = true", false}, {"case when id = 1 then true else true end", false}, {"true is true", false}, {"'t'::boolean", false}, {"'yes'", false},
		{"1::boolean", false}, {"exists (select 1 from customers where customers.id = 1)", false}, {"current_user is not null", false}, {"tableoid is not null", false},
		{"not exists (select 1 where false)", false}, {"'a' in ('a', 'b')", false}, {"plain is not null", false}, {"label >= ''", false}, {"ctid is not null", false},
		{"id in (select id from plain union select 3)", false}, {"id in (select id from plain where true)", false}, {"pi() > 3", false},
		{"id = (select q.id from plain q where q.id = plain.id)", false}, {"id - 0 = id", false}, {"(select true)", false}, {"true or id = (select 1)", false},
	} {
		for _, statement := range []string{"delete from plain where ", "update plain set qty = 1 where "} {
			a := NewAnalyzer(0).Analyze(statement+c.where, testEnv(t))
			if got := a.Statements[0].Command.Attr(attrHasWhere).Bool; got != c.want {
				t.Errorf("%s%s: has_where %v, want %v", statement, c.where, got, c.want)
			}
		}
	}
}

// TestWhereJoined says the same of statements that join other tables.
func TestWhereJoined(t *testing.T) {
	for _, c := range []struct {
		text string
		want bool
	}{
		{"delete from plain using orders where orders.id = plain.id", true},
		{"delete from plain p using orders o where o.id = p.id and o.total > 5", true},
		{"update plain set qty = 1 from customers c where c.id = plain.id", true},
		{"update plain set qty = q.qty from plain q where q.id = plain.id and q.qty > 5", true},
		{"delete from plain using (values (1), (2)) v(i) where v.i = id", true},
		{"with x as (select 3 as i) delete from plain using x where x.i = plain.id", true},
		{"merge into plain p using (values (1)) v(i) on p.id = v.i when matched then delete", true},
		{"merge into plain p using customers c on p.id = c.id when matched then update set qty = 1", true},
		{"merge into plain p using customers c on true when matched and p.id = 3 then delete", true},
		{"merge into plain p using customers c on p.id = c.id when not matched then insert values (1, 'a', 1)", false},
		{"insert into plain values (1, 'a', 2) on conflict (id) do update set qty = 3", true},
		{"insert into plain select id, 'a', 2 from customers on conflict (id) do update set qty = 3", true},
		{"insert into plain select * from plain where id = 3 on conflict (id) do update set qty = 3", true},
		{"insert into plain select * from plain on conflict (id) do update set qty = 3 where plain.id = 5", true},
		{"select * from plain where id = 3", true},
		{"with d as (delete from plain where id = 1 returning *), e as (delete from audit where id = 2) select * from d", true},

		{"delete from plain using orders", false},
		{"delete from plain using orders where orders.id > 5", false},
		{"delete from plain p using plain q where p.id = q.id", false},
		{"update plain p set qty = 0 from plain q where q.id = p.id and true", false},
		{"update plain set qty = 0 from (select 1) x", false},
		{"update plain set qty = 0 from customers c where c.id = 1", false},
		{"merge into plain p using plain q on p.id = q.id when matched then delete", false},
		{"merge into plain p using (select * from plain) q on p.id = q.id when matched then delete", false},
		{"merge into plain p using (select 1) q on true when matched then update set qty = 0", false},
		{"merge into plain p using customers c on 1 = 1 when matched then delete", false},
		{"insert into plain select * from plain on conflict (id) do update set qty = 0", false},
		{"select * from plain", false},
		{"select * from plain where true", false},
		{"with d as (delete from plain returning *) select * from d where id = 1", false},
		{"with d as (delete from plain where id = 1 returning *), e as (delete from audit) select * from d", false},
		{"do $$ begin delete from plain where id = 1; end $$", true},
		{"do $$ declare r record; begin for r in select id from plain loop delete from plain where id = r.id; end loop; end $$", false},
		{"do $$ begin while true loop delete from plain where id = 1; end loop; end $$", false},
		{"select bump(1)", true},
		{"select wipe_rows()", false},
		{"explain analyze delete from plain", false},
		{"prepare p as delete from plain", false},
		{"copy (delete from plain returning id) to stdout", false},
	} {
		a := NewAnalyzer(0).Analyze(c.text, testEnv(t))
		if got := a.Statements[0].Command.Attr(attrHasWhere).Bool; got != c.want {
			t.Errorf("%s: has_where %v, want %v", c.text, got, c.want)
		}
	}
}
