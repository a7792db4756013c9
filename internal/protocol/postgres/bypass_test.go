package postgres

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/test/pgcluster"
)

// What has been tried to get around the gateway goes here, and never leaves.

const guards = noDrop + `---
kind: Rule
name: no-unknown
when: command.verb == "unknown"
then: deny
message: Say it plainly.
`

// TestBypassDecisions: whatever the order of messages, the table stays.
func TestBypassDecisions(t *testing.T) {
	o := newOffice(t, database(t), pgcluster.Superuser, guards)
	direct := func(text string) [][]string { t.Helper(); return o.cluster.Exec(t, o.database(), text) }
	direct("create table kept(id int); create function dropper() returns void language plpgsql as 'begin execute ''drop table kept''; end'")
	describe := &pgproto3.Describe{ObjectType: 'P'}
	const drop = "drop table kept"
	for name, msgs := range map[string][]pgproto3.FrontendMessage{
		"simple":                          join(q(drop)),
		"second statement":                join(q("select 1; " + drop)),
		"after a comment":                 join(q("/* select 1 */ " + drop + " -- ok")),
		"extended":                        join(run(drop), syn()),
		"no Describe":                     join(parse("", drop), bind("", ""), execute(""), syn()),
		"a named statement":               join(parse("s", drop), syn(), parse("", "select 1"), syn(), bind("", "s"), execute(""), syn()),
		"a named portal":                  join(q("begin"), parse("s", drop), bind("p", "s"), execute("p"), syn(), q("commit")),
		"the name is taken":               join(parse("s", drop), syn(), parse("s", "select 1"), syn(), bind("", "s"), execute(""), syn()),
		"the name is taken, at once":      join(parse("s", drop), parse("s", "select 1"), syn(), bind("", "s"), execute(""), syn()),
		"the unnamed is kept by an error": join(parse("", drop), syn(), bind("", "missing"), parse("", "select 1"), syn(), bind("", ""), execute(""), syn()),
		"a Close that is dropped":         join(parse("s", drop), syn(), bind("", "missing"), &pgproto3.Close{ObjectType: 'S', Name: "s"}, parse("s", "select 1"), syn(), bind("", "s"), execute(""), syn()),
		"a Bind that is dropped": join(q("begin"), parse("d", drop), parse("s", "select 1"), bind("p", "s"), syn(), bind("p", "missing"), syn(), execute("p"), syn(), q("rollback"),
			bind("", "d"), execute(""), syn()),
		"PREPARE, EXECUTE":                   join(q("prepare p as select 1"), q("deallocate p"), parse("p", drop), syn(), q("execute p")),
		"EXECUTE through Bind":               join(parse("p", drop), syn(), parse("", "execute p"), bind("", ""), describe, execute(""), syn()),
		"DO":                                 join(q("do $$ begin drop table kept; end $$")),
		"DO, dynamic":                        join(q("do $$ begin execute 'dr' || 'op table kept'; end $$")),
		"a function":                         join(q("select dropper()")),
		"a function in a pipeline":           join(parse("", "select dropper()"), bind("", ""), execute(""), syn()),
		"a function over a FunctionCall":     join(&pgproto3.FunctionCall{Function: oid(direct("select 'dropper'::regproc::oid")[0][0])}),
		"backslashes":                        join(q("set standard_conforming_strings = off"), q(`select 'x\'; drop table kept; --'`)),
		"backslashes in a pipeline":          join(parse("", "set standard_conforming_strings = off"), bind("", ""), execute(""), parse("", `select 'x\', '; drop table kept; --'`), bind("", ""), execute(""), syn(), q(`select 'x\'; drop table kept; --'`)),
		"backslashes in one text":            join(q(`set standard_conforming_strings = off; select 1`), q(`select '\'';drop table kept;--'`)),
		"set_config":                         join(q("select set_config('standard_conforming_strings', 'off', false)"), q(`select '\'';drop table kept;--'`)),
		"settings that come back":            join(q("begin"), q("set local standard_conforming_strings = off"), q("rollback"), q(`select 'a\'; drop table kept; --'`)),
		"settings that come back on error":   join(q("begin; set standard_conforming_strings = off; select 1/0"), q("rollback"), q(`select 'a\'; drop table kept; --'`)),
		"an encoding":                        join(q("set client_encoding = 'SJIS'"), q("select '\x83\\'; drop table kept; --'")),
		"an encoding in a pipeline":          join(run("set client_encoding = 'SJIS'"), parse("", "select '\x83\\'; drop table kept; --'"), bind("", ""), execute(""), syn()),
		"no UTF-8":                           join(q("select '\xff\xfe'; drop table kept")),
		"a cursor of a dropped table":        join(q("begin; declare c cursor for select 1"), q("fetch c; drop table kept"), q("commit")),
		"after an error in a pipeline":       join(bind("", "missing"), q(drop), syn(), q(drop)),
		"Sync in between":                    join(parse("", drop), syn(), bind("", ""), syn(), execute(""), syn()),
		"a denied Bind, then Execute":        join(q("begin"), parse("s", "select 1"), bind("p", "s"), parse("", drop), bind("", ""), execute("p"), execute(""), syn(), q("rollback")),
		"a review of nothing":                join(q(""), q(";"), q("; ;"+drop)),
		"COPY, then a statement":             join(q("copy kept from stdin"), &pgproto3.CopyFail{Message: "no"}, q(drop)),
		"COPY data that looks like messages": join(q("copy kept from stdin"), &pgproto3.CopyData{Data: []byte("Q\x00\x00\x00\x14drop table kept\x00")}, &pgproto3.CopyDone{}, q("select 1")),
		"CALL":                               join(q("create procedure dropping() language plpgsql as 'begin drop table kept; end'"), q("call dropping()")),
		"an event later":                     join(q("create function ev() returns trigger language plpgsql as 'begin execute ''drop table kept''; end'"), q("create trigger ev after insert on kept execute function ev()"), q("insert into kept values (1)")),
		"a savepoint's settings":             join(q("begin"), q("savepoint a"), q("set standard_conforming_strings = off"), q("rollback to a"), q("release a"), q("set standard_conforming_strings = off"), q("commit"), q(`select 'a\'; drop table kept; --'`)),
	} {
		t.Run(name, func(t *testing.T) {
			w := o.wire()
			got := w.all(msgs...)
			if direct("select to_regclass('kept') is not null")[0][0] != "t" {
				t.Errorf("the table is gone:\n%s", got)
				direct("create table kept(id int)")
			}
			if t.Failed() || !strings.Contains(got, "postern: denied by rule") && !strings.Contains(got, "error") {
				t.Errorf("nothing was denied:\n%s", got)
			}
			direct("drop trigger if exists ev on kept; drop function if exists ev(); drop procedure if exists dropping()")
		})
	}
}

func oid(s string) uint32 {
	var n uint32
	for _, c := range s {
		n = n*10 + uint32(c-'0')
	}
	return n
}

// TestBypassMasks: whatever the order of messages, the value stays.
func TestBypassMasks(t *testing.T) {
	o := newMaskedOffice(t, pii)
	const secret = "select email from customers"
	fetch := &pgproto3.Execute{Portal: "c"}
	for name, msgs := range map[string][]pgproto3.FrontendMessage{
		"a harmless Describe of another portal": join(q("begin"), parse("a", "select id::text from customers"), parse("b", secret), bind("p", "a"), bind("q", "b"), &pgproto3.Describe{ObjectType: 'P', Name: "p"}, execute("q"), execute("p"), syn(), q("commit")),
		"the name is taken":                     join(parse("s", secret), syn(), parse("s", "select 'x'"), syn(), bind("", "s"), execute(""), syn()),
		"a cursor's portal":                     join(q("begin; declare c cursor for "+secret), fetch, syn(), q("commit")),
		"a cursor of a function":                join(q("create function opener(refcursor) returns refcursor language plpgsql as 'begin open $1 for select email from customers; return $1; end'"), q("begin; declare c cursor for select 'x'; close c; select opener('c'); fetch all from c"), fetch, syn(), q("rollback"), q("drop function opener")),
		"a cursor of a function, described":     join(q("create or replace function opener(refcursor) returns refcursor language plpgsql as 'begin open $1 for select email from customers; return $1; end'"), q("begin; select opener('c')"), &pgproto3.Describe{ObjectType: 'P', Name: "c"}, fetch, syn(), q("rollback")),
		"DO prepares":                           join(q("prepare s as select 'x'"), q("do $$ begin execute 'deallocate s'; execute 'prepare s as select email from customers'; end $$"), q("execute s"), bind("", "s"), execute(""), syn()),
		"DO prepares over a Parse":              join(parse("s", "select 'x'"), syn(), q("do $$ begin execute 'deallocate s'; execute 'prepare s as select email from customers'; end $$"), bind("", "s"), execute(""), syn()),
		"search_path":                           join(q("create schema other"), q("create table other.customers(id int, email text)"), parse("s", "select email from customers"), syn(), q("set search_path = other, public"), bind("", "s"), execute(""), syn(), q("set search_path = public"), bind("", "s"), execute(""), syn(), q(secret), q("drop schema other cascade")),
		"search_path in one text":               join(q("create schema other2; create table other2.customers(id int, email text)"), q("set search_path = other2"), q("set search_path = public; select email from customers"), q("drop schema other2 cascade")),
		"search_path in a pipeline":             join(q("create schema other3; create table other3.customers(id int, email text); set search_path = other3"), run("set search_path = public"), run(secret), syn(), q("drop schema other3 cascade")),
		"search_path moves under a portal": join(q("create schema other4; create table other4.customers(id int, email text); create function reader() returns text language plpgsql as 'begin return (select string_agg(email, '','') from customers); end'"),
			q("set search_path = other4"), q("begin"), parse("s", "select public.reader()"), bind("p", "s"), syn(), q("set search_path = public"), execute("p"), syn(), q("rollback"), q("set search_path = public"), q("drop schema other4 cascade; drop function reader()")),
		"search_path moves under a cursor": join(q("create schema other5; create table other5.customers(id int, email text); create function reader() returns text language plpgsql as 'begin return (select string_agg(email, '','') from customers); end'"),
			q("set search_path = other5"), q("begin"), q("declare c cursor for select public.reader()"), q("set search_path = public"), q("fetch all from c"), fetch, syn(), q("rollback"), q("set search_path = public"), q("drop schema other5 cascade; drop function reader()")),
		"search_path moves under a portal, by its function": join(q("create schema other6; create table other6.customers(id int, email text); create function reader() returns text language plpgsql as 'begin return (select string_agg(email, '','') from customers); end'"),
			q("set search_path = other6"), q("begin"), parse("s", "select set_config('search_path', 'public', false), public.reader()"), bind("p", "s"), syn(), execute("p"), syn(), q("rollback"), q("set search_path = public"), q("drop schema other6 cascade; drop function reader()")),
		"search_path moves under a portal in a pipeline": join(q("create schema other7; create table other7.customers(id int, email text); create function reader() returns text language plpgsql as 'begin return (select string_agg(email, '','') from customers); end'"),
			q("set search_path = other7"), q("begin"), parse("s", "select public.reader()"), bind("p", "s"), parse("m", "set search_path = public"), bind("m", "m"), execute("m"), execute("p"), syn(), q("rollback"), q("set search_path = public"), q("drop schema other7 cascade; drop function reader()")),
		"search_path moves under a portal of COPY": join(q("create schema other20; create table other20.customers(id int, email text); create function reader() returns text language plpgsql as 'begin return (select string_agg(email, '','') from customers); end'; create procedure teller(inout a text) language plpgsql as 'begin a := (select string_agg(email, '','') from customers); end'"),
			q("set search_path = other20"), q("begin"), parse("s", "copy (select email from customers) to stdout"), bind("p", "s"), syn(), q("set search_path = public"), execute("p"), syn(), q("rollback"), q("deallocate all"), q("set search_path = public"), q("drop schema other20 cascade; drop function reader(); drop procedure teller")),
		"search_path moves under a portal of DECLARE": join(q("create schema other21; create table other21.customers(id int, email text); create function reader() returns text language plpgsql as 'begin return (select string_agg(email, '','') from customers); end'; create procedure teller(inout a text) language plpgsql as 'begin a := (select string_agg(email, '','') from customers); end'"),
			q("set search_path = other21"), q("begin"), parse("s", "declare c cursor for select email from customers"), bind("p", "s"), syn(), q("set search_path = public"), execute("p"), syn(), q("fetch all from c"), q("rollback"), q("deallocate all"), q("set search_path = public"), q("drop schema other21 cascade; drop function reader(); drop procedure teller")),
		"search_path moves under a portal of FETCH": join(q("create schema other22; create table other22.customers(id int, email text); create function reader() returns text language plpgsql as 'begin return (select string_agg(email, '','') from customers); end'; create procedure teller(inout a text) language plpgsql as 'begin a := (select string_agg(email, '','') from customers); end'"),
			q("set search_path = other22"), q("begin"), q("declare c cursor for select public.reader()"), parse("s", "fetch all from c"), bind("p", "s"), syn(), q("set search_path = public"), execute("p"), syn(), q("rollback"), q("deallocate all"), q("set search_path = public"), q("drop schema other22 cascade; drop function reader(); drop procedure teller")),
		"search_path moves under a portal of EXECUTE": join(q("create schema other23; create table other23.customers(id int, email text); create function reader() returns text language plpgsql as 'begin return (select string_agg(email, '','') from customers); end'; create procedure teller(inout a text) language plpgsql as 'begin a := (select string_agg(email, '','') from customers); end'"),
			q("set search_path = other23"), q("begin"), q("prepare pr as select email from customers"), parse("s", "execute pr"), bind("p", "s"), syn(), q("set search_path = public"), execute("p"), syn(), q("rollback"), q("deallocate all"), q("set search_path = public"), q("drop schema other23 cascade; drop function reader(); drop procedure teller")),
		"search_path moves under a portal of DO": join(q("create schema other24; create table other24.customers(id int, email text); create function reader() returns text language plpgsql as 'begin return (select string_agg(email, '','') from customers); end'; create procedure teller(inout a text) language plpgsql as 'begin a := (select string_agg(email, '','') from customers); end'"),
			q("set search_path = other24"), q("begin"), parse("s", "do $$ begin raise notice '%', (select string_agg(email, ',') from customers); end $$"), bind("p", "s"), syn(), q("set search_path = public"), execute("p"), syn(), q("rollback"), q("deallocate all"), q("set search_path = public"), q("drop schema other24 cascade; drop function reader(); drop procedure teller")),
		"search_path moves under a portal of CALL": join(q("create schema other25; create table other25.customers(id int, email text); create function reader() returns text language plpgsql as 'begin return (select string_agg(email, '','') from customers); end'; create procedure teller(inout a text) language plpgsql as 'begin a := (select string_agg(email, '','') from customers); end'"),
			q("set search_path = other25"), q("begin"), parse("s", "call public.teller(null)"), bind("p", "s"), syn(), q("set search_path = public"), execute("p"), syn(), q("rollback"), q("deallocate all"), q("set search_path = public"), q("drop schema other25 cascade; drop function reader(); drop procedure teller")),
		"a view changes":     join(q("create view w as select name as x from customers"), q("select x from w"), q("begin; drop view w; create view w as select email as x from customers; select x from w"), q("rollback"), q("create or replace view w as select email::text as x from customers"), q("select x from w"), q("drop view w")),
		"columns swap names": join(q("begin; alter table customers rename email to e; alter table customers rename name to email; alter table customers rename e to name"), q("select name from customers"), q("select email from customers"), q("rollback")),
		"EXECUTE of a Parse": join(parse("s", secret), syn(), q("execute s")),
		"FETCH from a Bind":  join(q("begin"), parse("s", secret), bind("c", "s"), syn(), q("fetch all from c"), q("commit")),
		"RETURNING":          join(run("update customers set name = name returning email"), syn()),
		"a large object":     join(q("begin; select lo_from_bytea(424242, convert_to(email, 'UTF8')) from customers where id = 1; select lo_get(424242)"), &pgproto3.FunctionCall{Function: 952, Arguments: [][]byte{[]byte("424242"), []byte("262144")}}, &pgproto3.FunctionCall{Function: 954, Arguments: [][]byte{[]byte("0"), []byte("100")}}, q("rollback")),
	} {
		t.Run(name, func(t *testing.T) {
			w := o.wire()
			clean(t, name, w.all(msgs...))
		})
	}
	for _, e := range o.Recordings.Last().Events() {
		if e.Kind == postern.EventResult {
			for _, row := range e.Rows {
				for _, v := range row {
					if v != nil {
						clean(t, "recording", *v)
					}
				}
			}
		}
	}
}

// What a session puts elsewhere, another one must not read there in clear.
func TestBypassByCopies(t *testing.T) {
	o := newMaskedOffice(t, pii)
	for name, put := range map[string]string{
		"create table as":      "create table copies as select id, email from customers",
		"select into":          "select id, email into copies from customers",
		"insert select":        "create table copies(id int, email text); insert into copies select id, email from customers",
		"an expression":        "create table copies as select id, reverse(email) as email from customers",
		"a column beside":      "alter table customers add column if not exists nick text; update customers set nick = email",
		"a materialized view":  "create materialized view copies as select id, email from customers",
		"a rename":             "alter table customers rename column email to copies",
		"another table's name": "alter table customers rename to copies",
		"another schema":       "create schema if not exists attic; alter table customers set schema attic",
		"in a function":        "create function put() returns void language sql as 'create table copies as select 1 as id'; create table copies as select id, upper(email) as email from customers",
		"returning":            "create table copies(id int, email text); with gone as (update customers set id = id returning id, email) insert into copies select id, email from gone",
		"merge":                "create table copies(id int, email text); merge into copies using customers c on copies.id = c.id when not matched then insert values (c.id, c.email)",
		"do":                   "create table copies(id int, email text); do $$ begin insert into copies select id, email from customers; end $$",
		"prepared":             "create table copies(id int, email text)\n--;;\nprepare p as insert into copies select id, email from customers\n--;;\nexecute p",
	} {
		t.Run(name, func(t *testing.T) {
			w := o.wire()
			said := ""
			for message := range strings.SplitSeq(put, "\n--;;\n") {
				said += w.query(message)
			}
			clean(t, name, said)
			if !strings.Contains(said, "error 42501 postern: denied") {
				t.Errorf("it was not refused:\n%s", said)
			}
			other := o.wire()
			for _, read := range []string{"select * from copies", "select * from customers", "select copies from customers", "select * from attic.customers", "select nick from customers", "table copies"} {
				got := other.query(read)
				clean(t, read, got)
				if strings.Contains(got, "elpmaxe@") {
					t.Errorf("%s: reversed in %s", read, got)
				}
			}
			for _, undo := range []string{"drop table if exists public.copies", "drop materialized view if exists public.copies"} {
				w.query(undo)
			}
		})
	}
}

// TestBypassByAttached: what hangs on a table of the client's own does nothing that
// the client may not do, and what an administrator hung on one of his does.
func TestBypassByAttached(t *testing.T) {
	const (
		function = "create function tf() returns trigger language plpgsql as 'begin delete from kept where id = 1; return null; end'"
		harmless = "create function df() returns int language sql as 'select 1'"
		harmful  = "create or replace function df() returns int language sql as 'delete from kept where id = 1; select 1'"
	)
	for name, texts := range map[string][]string{
		"trigger":               {"create table own(i int)", function, "create trigger t after insert on own for each row execute function tf()", "insert into own values (1)"},
		"trigger, later":        {"create table own(i int)", strings.Replace(function, "delete from kept where id = 1;", "", 1), "create trigger t after insert on own for each row execute function tf()", strings.Replace(function, "create", "create or replace", 1), "insert into own values (1)"},
		"trigger of a view":     {"create view own as select 1 as i", function, "create trigger t instead of insert on own for each row execute function tf()", "insert into own values (1)"},
		"trigger, another's":    {"create trigger t after insert on plain for each row execute function given()", "insert into plain values (77)"},
		"trigger's condition":   {"create table own(i int)", harmful, "create function nothing() returns trigger language plpgsql as 'begin return new; end'", "create trigger t after insert on own for each row when (df() = 1) execute function nothing()", "insert into own values (1)"},
		"default":               {harmful, "create table own(i int, j int default df())", "insert into own values (1)"},
		"default, later":        {harmless, "create table own(i int, j int default df())", harmful, "insert into own values (1)"},
		"domain default":        {harmful, "create domain dd as int default df()", "create table own(i int, j dd)", "insert into own values (1)"},
		"domain default, later": {harmless, "create domain dd as int default df()", "create table own(i int, j dd)", harmful, "insert into own values (1)"},
		"rule":                  {"create table own(i int)", "create rule r as on insert to own do also delete from kept where id = 1", "insert into own values (1)"},
		"check":                 {harmful, "create table own(i int check (df() = i))", "insert into own values (1)"},
		"check, later":          {harmless, "create table own(i int check (df() = i))", harmful, "insert into own values (1)"},
		"cast, later":           {"create type ct as (a int)", "create function cf(ct) returns int language sql as 'select 1'", "create cast (ct as int) with function cf(ct) as assignment", "create table own(i int)", "create or replace function cf(ct) returns int language sql as 'delete from kept where id = 1; select 1'", "insert into own values (row(1)::ct)"},
		"foreign key, later":    {"create table pk(i int primary key)", "insert into pk values (1), (2)", harmless, "create table own(i int default df() references pk on delete set default)", "insert into own values (2)", harmful, "delete from pk where i = 2"},
		"partition bound":       {harmful, "create table own(i int) partition by list (i)", "create table own1 partition of own for values in (df())"},
	} {
		t.Run(name, func(t *testing.T) {
			arena := evasionArena(t)
			o := newOffice(t, arena, "app", `
kind: Rule
name: kept
when: command.objects.exists(o, o.write && o.name == "public.kept")
then: deny
message: Not this one.
`)
			o.cluster.Exec(t, arena, `create table kept(id int, v text); insert into kept values (1, 'old'), (2, 'other'); grant all on kept to app;
create function given() returns trigger language plpgsql as 'begin delete from kept where id = 1; return null; end';
create table theirs(id int); grant all on theirs to app;
create function theirs() returns trigger language plpgsql security definer as 'begin insert into kept values (new.id, ''written''); return null; end';
create trigger t after insert on theirs for each row execute function theirs()`)
			w := o.wire()
			said := ""
			for _, text := range texts {
				said += w.query(text)
			}
			if n := o.counted("select count(*) from kept"); n != "2" {
				t.Errorf("%s rows are left:\n%s", n, said)
			}
			if !strings.Contains(said, `postern: denied by rule "kept"`) {
				t.Errorf("it was not refused:\n%s", said)
			}
			w.query("drop type if exists ct cascade") // its cast would be there for every table
			if said := w.query("insert into theirs values (3)"); o.counted("select count(*) from kept") != "3" {
				t.Errorf("an administrator's trigger is refused: %s", said)
			}
		})
	}
}

// TestBypassTrial: what is run before it is approved stays undone by whatever ends it
// but an approval, and no name of the client's stands for one of the gateway's.
func TestBypassTrial(t *testing.T) {
	o := newHeldOffice(t)
	o.cluster.Exec(t, o.database(), `create table trace(what text); create table kept(id int primary key, v text); insert into kept values (1, 'old'), (2, 'old');
create function spy(text) returns text language plpgsql as $$ begin insert into trace values ($1); return 'off'; end $$;
create function current_setting(text) returns text language sql as $$ select spy('current_setting') $$;
create function set_config(text, text, bool) returns text language sql as $$ select spy('set_config') $$;
create function cat(name, text) returns text language sql as $$ select spy('||') $$;
create operator || (function = cat, leftarg = name, rightarg = text);
create function eq(int, int) returns bool language sql as $$ select spy('=') is null $$; create operator = (function = eq, leftarg = int, rightarg = int);
create function eq(oid, oid) returns bool language sql as $$ select spy('=') is null $$; create operator = (function = eq, leftarg = oid, rightarg = oid);
create view pg_locks as select spy('pg_locks') as transactionid; create view pg_index as select spy('pg_index') as indrelid;`)
	const path = "set search_path = public, pg_temp, pg_catalog"
	state := func() string {
		return o.counted("select (select string_agg(k::text, ' ' order by id) from public.kept k) || coalesce((select string_agg(what, ' ') from public.trace), '')")
	}
	before := state()
	const change = "insert into kept values (3, 'new')"
	settle := func(state postern.ReviewState) func(*wire, postern.Review) {
		return func(_ *wire, rv postern.Review) { o.Reviews.Settle(rv.ID, state) }
	}
	for name, test := range map[string]struct {
		msgs []pgproto3.FrontendMessage
		then func(*wire, postern.Review)
	}{
		"denied":                       {join(q(change)), settle(postern.ReviewDenied)},
		"denied, under other names":    {join(q(path), q(change)), settle(postern.ReviewDenied)},
		"denied, extended":             {join(q(path), run(change), syn()), settle(postern.ReviewDenied)},
		"denied, then a COMMIT":        {join(q("begin"), q(change), q("commit")), settle(postern.ReviewDenied)},
		"denied, then one's savepoint": {join(q("begin"), q("savepoint a"), q(change), q("release a"), q("commit")), settle(postern.ReviewDenied)},
		"a COMMIT in the pipeline":     {join(q("begin"), run(change), syn(), parse("", "commit"), bind("", ""), execute(""), syn()), settle(postern.ReviewDenied)},
		"the policy changes": {join(q(change)), func(_ *wire, rv postern.Review) {
			o.change(holdChanges + "---\nkind: Rule\nname: more\nwhen: command.verb == \"do\"\nthen: deny\n")
			o.Reviews.Settle(rv.ID, postern.ReviewApproved)
		}},
		"the session ends": {join(q(change)), func(_ *wire, rv postern.Review) {
			o.End("killed by carol", func(postern.SessionInfo) bool { return true })
			o.withdrawn(rv.ID)
		}},
		"the client goes": {join(q(change)), func(w *wire, rv postern.Review) {
			_ = w.conn.Close()
			o.withdrawn(rv.ID)
		}},
		"the client goes, within its own": {join(q("begin"), q(change), q("commit")), func(w *wire, rv postern.Review) {
			_ = w.conn.Close()
			o.withdrawn(rv.ID)
		}},
		"the recording breaks": {join(q(change)), func(_ *wire, rv postern.Review) {
			o.Recordings.Break(errors.New("the disk is full"))
			o.Reviews.Settle(rv.ID, postern.ReviewApproved)
		}},
		"the audit log breaks": {join(q(change)), func(_ *wire, rv postern.Review) {
			o.Audit.Break(errors.New("the disk is full"))
			o.Reviews.Settle(rv.ID, postern.ReviewApproved)
		}},
		"the server ends it": {join(q(change)), func(_ *wire, rv postern.Review) {
			o.cluster.Exec(t, o.database(), "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction' and datname = current_database()")
			o.withdrawn(rv.ID)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o.t = t
			w := o.wire()
			w.send(test.msgs...)
			rv := o.opened()
			if rv.Evidence.Trial == nil {
				t.Errorf("it wasn't run: %s", trialOf(t, rv))
			}
			test.then(w, rv)
			got := ""
			for {
				msg, err := w.f.Receive()
				if err != nil {
					break
				}
				got += line(msg)
				if strings.HasPrefix(got[strings.LastIndexByte(strings.TrimSuffix(got, "\n"), '\n')+1:], "ready") && !strings.Contains(got, "done INSERT") && strings.Count(got, "ready") == readies(test.msgs) {
					break
				}
			}
			o.Recordings.Break(nil)
			o.Audit.Break(nil)
			o.change(holdChanges)
			if strings.Contains(got, "done INSERT") {
				t.Errorf("the client was told that it is done:\n%s", got)
			}
			for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); { // a cut is undone when the server notices
				if o.counted("select count(*) from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid() and datname = current_database()") == "0" {
					break
				}
			}
			if after := state(); after != before {
				t.Errorf("it changed\n%s\nto\n%s", before, after)
			}
		})
	}
}

// TestBypassSample: no row is shown as changed that isn't, whatever the command's own
// condition says when it is looked at.
func TestBypassSample(t *testing.T) {
	o := newHeldOffice(t)
	o.cluster.Exec(t, o.database(), `create table bare(id int, v text); insert into bare values (1, 'old'), (2, 'old');
create function fickle(int) returns bool language plpgsql stable as $$ begin return $1 = case current_setting('transaction_read_only') when 'on' then 40 else 41 end; end $$`)
	const looked = "case when current_setting('transaction_read_only') = 'on' then 40 else 41 end"
	for text, want := range map[string]string{
		"delete from t where id = " + looked:                                   "DELETE 1, 1 rows\npublic.t +0 ~0 -1\nnot more rows, because its condition found others before it ran",
		"update t set v = 'new' where id = " + looked:                          "UPDATE 1, 1 rows\npublic.t +0 ~1 -0\nnot more rows, because its condition found others before it ran",
		"update t set v = 'new' where fickle(id)":                              "UPDATE 1, 1 rows\npublic.t +0 ~1 -0\nnot more rows, because its condition found others before it ran",
		"update t set v = 'new' where id = 42 or id = " + looked:               "UPDATE 2, 2 rows\npublic.t +0 ~2 -0\npublic.t id,v,mail\n42|old|m42@example.com -> 42|new|m42@example.com [1]\nnot more rows, because its condition found others before it ran",
		"update t set id = id + 100 where id = " + looked:                      "UPDATE 1, 1 rows\npublic.t +0 ~1 -0\npublic.t id,v,mail\nnone -> 141|old|m41@example.com []\nno rows before it, because they can't be told from others: it changes the primary key, or there is none of the server's own types",
		"update bare set v = 'new' where id = 1":                               "UPDATE 1, 1 rows\npublic.bare +0 ~1 -0\npublic.bare v,id\nnone -> new|1 []\nno rows before it, because they can't be told from others: it changes the primary key, or there is none of the server's own types",
		"delete from bare where id = 1":                                        "DELETE 1, 1 rows\npublic.bare +0 ~0 -1\nno rows, because the table has no primary key of the server's own types, by which they could be told to be gone",
		"set client_encoding = 'LATIN1'; update t set v = 'x' where id = 1":    "",
		"insert into bare select id, 'x' from bare where v = 'old' and id = 2": "INSERT 0 1, 1 rows\npublic.bare +1 ~0 -0\npublic.bare id,v\nnone -> 2|x []",
	} {
		t.Run(text, func(t *testing.T) {
			o.t = t
			w := o.wire()
			if set, rest, ok := strings.Cut(text, "; "); ok {
				w.query(set)
				text, want = rest, "UPDATE 1, 1 rows\npublic.t +0 ~1 -0\nno rows, because its client's encoding isn't UTF8"
			}
			w.send(q(text))
			rv := o.opened()
			o.wantTrial(rv, want)
			o.Reviews.Settle(rv.ID, postern.ReviewDenied)
			w.until(1)
		})
	}
}

// readies is how many ReadyForQuery messages are answered with.
func readies(msgs []pgproto3.FrontendMessage) int {
	n := 0
	for _, m := range msgs {
		switch m.(type) {
		case *pgproto3.Query, *pgproto3.Sync:
			n++
		}
	}
	return n
}

// TestBypassPlans: a plan that the server keeps stands for the tables that it was made
// for, and the gateway decides over those that names stand for now. They are the same.
func TestBypassPlans(t *testing.T) {
	const rules = `
kind: Rule
name: kept
when: command.objects.exists(o, o.write && o.name == "public.kept")
then: deny
message: Not this one.
---
kind: Rule
name: reviewed
when: command.verb == "delete" && command.objects.exists(o, o.write && o.name.endsWith(".looked"))
then: review
message: Look.
review: {approvers: ["group:dba"], approvals: 1, timeout: 15m}
`
	o := newOffice(t, database(t), pgcluster.Superuser, rules)
	o.cluster.Exec(t, o.database(), "create table kept(id int); create table looked(id int)")
	const statement, shadow = "delete from kept", "create temp table kept(id int)"
	function := q("create function pg_temp.f() returns void language plpgsql as 'begin delete from kept; end'")
	for name, msgs := range map[string][]pgproto3.FrontendMessage{
		"prepared":                join(parse("s", statement), syn(), q(shadow), bind("", "s"), execute(""), syn()),
		"prepared, in a pipeline": join(parse("s", statement), syn(), parse("c", shadow), bind("", "c"), execute(""), bind("", "s"), execute(""), syn()),
		"all in a pipeline":       join(parse("s", statement), parse("c", shadow), bind("", "c"), execute(""), bind("", "s"), execute(""), syn()),
		"in a transaction":        join(parse("s", statement), syn(), q("begin"), q(shadow), bind("", "s"), execute(""), syn(), q("commit")),
		"PREPARE":                 join(q("prepare s as "+statement), q(shadow), q("execute s")),
		"PREPARE, in a pipeline":  join(q("prepare s as "+statement), run(shadow), run("execute s"), syn()),
		"PREPARE, in one text":    join(q("prepare s as "+statement), q(shadow+"; execute s")),
		"PREPARE, rolled back":    join(q("prepare s as "+statement), q("begin"), q(shadow), q("rollback; execute s")),
		"a function":              join(function, q("select pg_temp.f()"), q("insert into kept values (2)"), q(shadow), q("select pg_temp.f()")),
		"DO makes it":             join(parse("s", statement), syn(), q("do $$ begin create temp table kept(id int); end $$"), bind("", "s"), execute(""), syn()),
		"SELECT INTO makes it":    join(parse("s", statement), syn(), q("select 1 as id into temp kept"), bind("", "s"), execute(""), syn()),
		"a rename":                join(q("create temp table other(id int)"), parse("s", statement), syn(), q("alter table other rename to kept"), bind("", "s"), execute(""), syn()),
		"after an error":          join(parse("s", statement), syn(), q("begin"), q(shadow), q("select 1/0"), bind("", "s"), q("rollback"), q(shadow), bind("", "s"), execute(""), syn()),
		"once it is gone again":   join(parse("s", statement), syn(), q(shadow), bind("", "s"), execute(""), syn(), q("begin"), q("drop table pg_temp.kept"), bind("", "s"), execute(""), syn(), q("rollback"), bind("", "s"), execute(""), syn()),
	} {
		t.Run(name, func(t *testing.T) {
			o.t = t
			o.cluster.Exec(t, o.database(), "truncate kept; insert into kept values (1)")
			w := o.wire()
			w.query("create temp table dummy(x int)")
			got := w.all(msgs...)
			if n := o.counted("select count(*) from kept where id = 1"); n != "1" {
				t.Errorf("the row is gone:\n%s", got)
			}
		})
	}
	t.Run("approved", func(t *testing.T) {
		o.t = t
		o.cluster.Exec(t, o.database(), "insert into looked values (1)")
		w := o.wire()
		w.query("create temp table dummy(x int)")
		w.talk(1, join(parse("s", "delete from looked"), syn())...)
		w.query("create temp table looked(id int)")
		w.send(join(bind("", "s"), execute(""), syn())...)
		rv := o.opened()
		if shown := rv.Commands[0].Objects[0].Name; !strings.HasPrefix(shown, "pg_temp") {
			t.Errorf("approvers are shown %s", shown)
		}
		o.Reviews.Settle(rv.ID, postern.ReviewApproved)
		got := w.until(1)
		if n := o.counted("select count(*) from public.looked"); n != "1" || !strings.Contains(got, "done DELETE 0") {
			t.Errorf("%s rows are left:\n%s", n, got)
		}
	})
}

// TestBypassReview: what was approved is what people saw, though somebody gives names
// in it another meaning while they look.
func TestBypassReview(t *testing.T) {
	const rules = `
kind: Rule
name: reviewed
when: command.verb in ["delete", "execute"] || command.verb == "select" && command.objects.exists(o, o.write)
then: review
message: Look.
review: {approvers: ["group:dba"], approvals: 1, timeout: 15m}
`
	const setup = `create table public.looked(id int); insert into public.looked values (1); create schema o4; create table o4.looked(id int);
create function f() returns void language plpgsql as 'begin delete from looked; end'`
	const text, function = "delete from looked", "select f()"
	for name, test := range map[string]struct {
		before, msgs []pgproto3.FrontendMessage
		change       string
		past         bool // the gateway
	}{
		"a query":                         {nil, join(q(text)), "drop table o4.looked", false},
		"a Bind of what was prepared":     {join(parse("s", text), syn()), join(bind("", "s"), execute(""), syn()), "drop table o4.looked", false},
		"EXECUTE":                         {join(q("prepare s as " + text)), join(q("execute s")), "drop table o4.looked", false},
		"in a transaction":                {join(q("begin")), join(q(text)), "drop table o4.looked", false},
		"a rename":                        {nil, join(q(text)), "alter table o4.looked rename to x", false},
		"past the gateway":                {nil, join(q(text)), "drop table o4.looked", true},
		"the same name, of another table": {nil, join(q(text)), "drop table o4.looked; create view o4.looked as select * from public.looked", false},
		"a function":                      {nil, join(q(function)), "drop table o4.looked", false},
		"a function, in a portal":         {nil, join(run(function), syn()), "drop table o4.looked", false},
		"a function that becomes another": {nil, join(q(function)), "create or replace function f() returns void language plpgsql as 'begin delete from public.looked; end'", false},
		"a trigger":                       {nil, join(q(text)), "create function tf() returns trigger language plpgsql as 'begin delete from public.looked; return null; end'; create trigger t after delete on o4.looked for each statement execute function tf()", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, database(t), pgcluster.Superuser, rules)
			o.cluster.Exec(t, o.database(), setup)
			a, b := o.wire(), o.wire()
			b.query("select 1")
			a.query("set search_path = o4, public")
			a.talk(readies(test.before), test.before...)
			a.send(test.msgs...)
			rv := o.opened()
			if test.past {
				o.cluster.Exec(t, o.database(), test.change)
			} else if got := b.query(test.change); strings.Contains(got, "error") {
				t.Fatal(got)
			}
			o.Reviews.Settle(rv.ID, postern.ReviewApproved)
			got := a.until(1)
			if !strings.Contains(got, "its approval is void") {
				t.Errorf("it isn't void:\n%s", got)
			}
			if n := o.counted("select count(*) from public.looked"); n != "1" {
				t.Errorf("%s rows are left:\n%s", n, got)
			}
			denied := 0
			for _, e := range o.Audit.Entries() {
				if e.Outcome == "deny" && strings.Contains(e.Reason, "its approval is void") {
					denied++
				}
			}
			if denied != 1 {
				t.Errorf("the audit log tells %d times that it is void", denied)
			}
		})
	}
	t.Run("something else changes", func(t *testing.T) {
		o := newOffice(t, database(t), pgcluster.Superuser, rules)
		o.cluster.Exec(t, o.database(), setup)
		a, b := o.wire(), o.wire()
		b.query("select 1")
		for _, msgs := range [][]pgproto3.FrontendMessage{join(q(text)), join(run(text), syn()), join(q(function)), join(run(function), syn())} {
			o.counted("insert into looked values (1) returning 1")
			a.send(msgs...)
			rv := o.opened()
			b.query("create table other(id int); drop table other")
			o.Reviews.Settle(rv.ID, postern.ReviewApproved)
			if got := a.until(1); strings.Contains(got, "error") || !strings.Contains(got, "done") {
				t.Errorf("got\n%s", got)
			}
			if n := o.counted("select count(*) from looked"); n != "0" {
				t.Errorf("%s rows are left", n)
			}
		}
	})
}

// TestBypassCommittedMeanwhile: what a session's message has committed counts for all
// others, though the message isn't answered yet.
func TestBypassCommittedMeanwhile(t *testing.T) {
	const steal, secret = "SELECT reverse(ssn) FROM customers WHERE id = 1", "1849-90-912"
	for name, msgs := range map[string][]pgproto3.FrontendMessage{
		"a text":                       join(q("BEGIN; DROP TABLE o4.customers; COMMIT; SELECT pg_sleep(60)")),
		"a text, of a transaction":     join(q("BEGIN"), q("DROP TABLE o4.customers"), q("COMMIT; SELECT pg_sleep(60)")),
		"a pipeline":                   join(run("BEGIN"), run("DROP TABLE o4.customers"), run("COMMIT"), run("SELECT pg_sleep(60)"), syn()),
		"a pipeline, of a transaction": join(q("BEGIN"), q("DROP TABLE o4.customers"), run("COMMIT"), run("SELECT pg_sleep(60)"), syn()),
		"DO":                           join(q("DO $$ begin drop table o4.customers; commit; perform pg_sleep(60); end $$")),
		"two queries":                  join(q("DROP TABLE o4.customers"), q("SELECT pg_sleep(60)")),
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, evasionArena(t), "app", evasionMasks)
			o.cluster.Exec(t, o.database(), "CREATE SCHEMA o4; GRANT ALL ON SCHEMA o4 TO app; CREATE TABLE o4.customers(id int, ssn text); ALTER TABLE o4.customers OWNER TO app; INSERT INTO o4.customers VALUES (1, 'none')")
			o.door.p.relay.turn = 100 * time.Millisecond
			a, b, c := o.wire(), o.wire(), o.wire()
			a.query("SET search_path = o4, public")
			b.query("SELECT 1")
			c.query("SET search_path = o4, public")
			c.query("BEGIN")
			if got := a.query(steal); !strings.Contains(got, "row enon") {
				t.Errorf("got\n%s", got)
			}
			b.send(msgs...)
			for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
				if o.counted("SELECT to_regclass('o4.customers') IS NULL AND EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())") == "t" {
					break
				}
			}
			for _, w := range []*wire{a, c} {
				if got := w.query(steal); strings.Contains(got, secret) {
					t.Errorf("it shows\n%s", got)
				}
			}
			o.counted("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
			// In the end nothing is in doubt any more.
			if got := o.wire().query("SELECT upper(label) FROM plain WHERE id = 1"); !strings.Contains(got, "done SELECT 1") {
				t.Errorf("got\n%s", got)
			}
		})
	}
}

// TestBypassMoves: what a relation showed when the catalog was read proves nothing of
// what it shows once it was changed, where nobody can look in between: in a pipeline.
func TestBypassMoves(t *testing.T) {
	const secret = " AS SELECT id, reverse(ssn) AS what FROM customers"
	const becomes, back = "CREATE OR REPLACE VIEW mine" + secret, "CREATE OR REPLACE VIEW mine AS SELECT id, label AS what FROM plain"
	long := `"` + strings.Repeat("é", 40) + `"` // LATIN1 takes 40 bytes for it, UTF8 cuts it
	for name, test := range map[string]struct {
		role, encoding string
		before         []string // what is done one by one
		msgs           []pgproto3.FrontendMessage
	}{
		"a view": {
			"app", "UTF8",
			[]string{"CREATE VIEW mine AS SELECT id, label AS what FROM plain", "SELECT what FROM mine"},
			join(run("CREATE OR REPLACE VIEW mine"+secret), run("SELECT what FROM mine"), syn()),
		},
		"a view whose name is cut elsewhere": {
			"app", "LATIN1",
			[]string{"CREATE VIEW " + long + " AS SELECT id, label AS what FROM plain", "SELECT what FROM " + long},
			join(run("CREATE OR REPLACE VIEW "+long+secret), run("SELECT what FROM "+long), syn()),
		},
		"a view in information_schema": {
			pgcluster.Superuser, "UTF8",
			[]string{"CREATE VIEW information_schema.mine AS SELECT id, label AS what FROM plain", "SELECT what FROM information_schema.mine"},
			join(run("CREATE OR REPLACE VIEW information_schema.mine"+secret), run("SELECT what FROM information_schema.mine"), syn()),
		},
		"a cursor of a view that is changed back": {
			"app", "UTF8",
			[]string{back, "SELECT what FROM mine", "BEGIN"},
			join(run(becomes), run("DECLARE c CURSOR FOR SELECT what FROM mine"), run(back), syn(), q("FETCH ALL FROM c")),
		},
		"a cursor of all columns of it": {
			"app", "UTF8",
			[]string{back, "SELECT what FROM mine", "BEGIN"},
			join(run(becomes), run("DECLARE c CURSOR FOR SELECT * FROM mine"), run(back), syn(), q("FETCH ALL FROM c")),
		},
		"a cursor that outlasts it": {
			"app", "UTF8",
			[]string{back, "SELECT what FROM mine", "BEGIN; " + becomes + "; DECLARE c CURSOR WITH HOLD FOR SELECT what FROM mine; " + back + "; COMMIT", "SELECT what FROM mine"},
			join(q("FETCH ALL FROM c")),
		},
		"a portal that is fetched from": {
			"app", "UTF8",
			[]string{back, "SELECT what FROM mine", "BEGIN"},
			join(run(becomes), parse("s", "SELECT what FROM mine"), bind("p", "s"), run(back), syn(), q("FETCH ALL FROM p")),
		},
		"a table that becomes a view": {
			"app", "UTF8",
			[]string{"CREATE TABLE mine (id int, what text)", "SELECT what FROM mine"},
			join(run(`CREATE RULE "_RETURN" AS ON SELECT TO mine DO INSTEAD SELECT id, reverse(ssn) AS what FROM customers`), run("SELECT what FROM mine"), syn()),
		},
		"a table that becomes a view, in one text": {
			"app", "UTF8",
			[]string{"CREATE TABLE mine (id int, what text)", "SELECT what FROM mine"},
			join(q(`CREATE RULE "_RETURN" AS ON SELECT TO mine DO INSTEAD SELECT id, reverse(ssn) AS what FROM customers; SELECT what FROM mine`)),
		},
		"a table that becomes a view, renamed": {
			"app", "UTF8",
			[]string{"CREATE TABLE mine (id int, what text)", "SELECT what FROM mine"},
			join(run("ALTER TABLE mine RENAME TO other"), run(`CREATE RULE "_RETURN" AS ON SELECT TO other DO INSTEAD SELECT id, reverse(ssn) AS what FROM customers`), run("SELECT what FROM other"), syn()),
		},
		"a table that another inherits from": {
			"owner", "UTF8",
			[]string{"CREATE TABLE mine (s_uuid uuid)", "SELECT s_uuid FROM mine"},
			join(run("ALTER TABLE staff INHERIT mine"), run("SELECT s_uuid FROM mine"), syn()),
		},
		"a table that another inherits from, over a third": {
			"owner", "UTF8",
			[]string{"CREATE TABLE mine (s_uuid uuid)", "CREATE TABLE kin () INHERITS (mine)", "SELECT s_uuid FROM mine"},
			join(run("ALTER TABLE staff INHERIT kin"), run("SELECT s_uuid FROM mine"), syn()),
		},
	} {
		t.Run(name, func(t *testing.T) {
			arena := evasionArena(t)
			if test.encoding != "UTF8" {
				seed, err := os.ReadFile("testdata/evasion-seed.sql")
				if err != nil {
					t.Fatal(err)
				}
				c := cluster.Get(t)
				arena += "_" + strings.ToLower(test.encoding)
				c.Exec(t, "postgres", "create database "+arena+" template template0 locale 'C' encoding '"+test.encoding+"'")
				t.Cleanup(func() { c.Drop(t, arena) })
				c.Exec(t, arena, string(seed))
			}
			o := newOffice(t, arena, test.role, evasionMasks)
			e := evasion{}
			v := e.dial(t, "host="+o.door.host+" port="+o.door.port+" "+conninfo+" client_encoding=UTF8")
			for _, text := range test.before {
				v.w.query(text)
			}
			var s seen
			v.w.send(test.msgs...)
			for range readies(test.msgs) {
				s.take(v.w)
			}
			s.raw = v.tap.raw.Bytes()
			// It is denied at the first step, or its rows are hidden.
			denied := strings.Contains(strings.Join(s.errors, ""), "denied by rule")
			if what := e.leaked(s); what != "" || !denied && (len(s.errors) > 0 || len(s.rows) == 0) {
				t.Errorf("leaked %q: %s", what, s.shown())
			}
		})
	}
}
