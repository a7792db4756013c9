package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/test/pgcluster"
)

const holdChanges = `
kind: Rule
name: look-first
when: command.verb in ["update", "delete", "insert", "merge", "do", "call", "execute", "copy", "truncate", "create"] || "delete" in command.verbs
then: review
message: Somebody should look.
review: {approvers: ["group:dba"], before: commit, hold: 30s, rows: 20, sample: 2}
`

const heldSeed = `create table t(id int primary key, v text, mail text); insert into t select g, 'old', 'm' || g || '@example.com' from generate_series(1, 50) g;
create table line(id int primary key, t int references t on delete cascade); insert into line values (1, 1), (2, 1), (3, 2);
insert into line select g, 3 from generate_series(50, 69) g;
create table late(id int primary key, t int references t deferrable initially deferred);
create sequence seq; create table noted(n int);
create function note() returns trigger language plpgsql as $$ begin insert into noted values (1); raise notice 'noted %', new.id; return new; end $$;
create table watched(id int primary key default nextval('seq'), v text); create trigger w after insert or update on watched for each row execute function note();`

// held is a row of tests: the review of a command that has run.
func newHeldOffice(t *testing.T, more ...string) *office {
	t.Helper()
	o := newOffice(t, database(t), pgcluster.Superuser, holdChanges+strings.Join(more, ""))
	o.cluster.Exec(t, o.database(), heldSeed)
	return o
}

// counted is one value as others see it.
func (o *office) counted(query string) string {
	o.t.Helper()
	return o.cluster.Exec(o.t, o.database(), query)[0][0]
}

// trialOf is what the review's approvers are shown, in a line each.
func trialOf(t testing.TB, rv postern.Review) string {
	t.Helper()
	tr := rv.Evidence.Trial
	if tr == nil {
		return strings.Join(rv.Evidence.Missing, "\n")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d rows", tr.Tag, tr.Rows)
	if tr.Within {
		b.WriteString(", within")
	}
	for _, c := range tr.Changes {
		fmt.Fprintf(&b, "\n%s +%d ~%d -%d", c.Table, c.Inserted, c.Updated, c.Deleted)
	}
	if tr.Sample != nil {
		t.Error("rows are not sealed")
	}
	if sealed, ok := strings.CutPrefix(tr.Sealed, "sealed for review sample: "); ok {
		var s postern.Sample
		if err := json.Unmarshal([]byte(sealed), &s); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n" + s.Table + " " + strings.Join(s.Columns, ","))
		for _, row := range s.Rows {
			b.WriteString("\n" + rowText(row.Before) + " -> " + rowText(row.After) + fmt.Sprint(" ", row.Changed))
		}
	}
	for _, missing := range rv.Evidence.Missing {
		b.WriteString("\n" + missing)
	}
	return b.String()
}

func rowText(row []*string) string {
	if row == nil {
		return "none"
	}
	var all []string
	for _, v := range row {
		if v == nil {
			all = append(all, "NULL")
		} else {
			all = append(all, *v)
		}
	}
	return strings.Join(all, "|")
}

func (o *office) wantTrial(rv postern.Review, want string) {
	o.t.Helper()
	if got := trialOf(o.t, rv); got != want {
		o.t.Errorf("approvers are shown\n%s\nwant\n%s", got, want)
	}
}

// states are what the recording says of the last session's reviews.
func (o *office) states() string {
	var all []string
	for _, e := range o.events(postern.EventReview) {
		all = append(all, e.State)
	}
	return strings.Join(all, " ")
}

func TestTrialApproved(t *testing.T) {
	o := newHeldOffice(t)
	w := o.wire()
	w.send(q("update t set v = 'new' where id <= 3 returning id, v"))
	rv := o.opened()
	if got := w.next(); !strings.HasSuffix(got, "30s left; it has run, and is committed or undone then\n") {
		t.Errorf("the notice: %s", got)
	}
	o.wantTrial(rv, "UPDATE 3, 3 rows\npublic.t +0 ~3 -0\npublic.t id,v,mail\n1|old|m1@example.com -> 1|new|m1@example.com [1]\n2|old|m2@example.com -> 2|new|m2@example.com [1]")
	if got := o.counted("select count(*) from t where v = 'new'"); got != "0" {
		t.Errorf("%s rows are committed before anybody approved", got)
	}
	if got := o.states(); got != "trial held pending" {
		t.Errorf("recorded while it is held: %s", got)
	}
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	if got := w.until(1); got != "columns id,v\nrow 1|new\nrow 2|new\nrow 3|new\ndone UPDATE 3\nready I\n" {
		t.Errorf("got\n%s", got)
	}
	if got := o.counted("select count(*) from t where v = 'new'"); got != "3" {
		t.Errorf("%s rows are committed", got)
	}
	if got := o.states(); got != "trial held pending approved committed" {
		t.Errorf("recorded: %s", got)
	}
	if r := o.events(postern.EventResult); len(r) != 1 || r[0].Tag != "UPDATE 3" || len(r[0].Rows) != 3 {
		t.Errorf("the result is recorded as %+v", r)
	}
	w.want("select current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'), current_setting('transaction_read_only')",
		"columns current_setting,current_setting,current_setting\nrow 0|0|off\ndone SELECT 1\nready I\n")
}

func TestTrialDenied(t *testing.T) {
	o := newHeldOffice(t)
	w := o.wire()
	for _, state := range []postern.ReviewState{postern.ReviewDenied, postern.ReviewTimedOut, postern.ReviewWithdrawn} {
		w.send(q("delete from t where id = 1"))
		rv := o.opened()
		w.next()
		o.wantTrial(rv, "DELETE 1, 1 rows\npublic.line +0 ~0 -2\npublic.t +0 ~0 -1\npublic.t id,v,mail\n1|old|m1@example.com -> none []")
		o.Reviews.Settle(rv.ID, state)
		if got := w.until(1); !strings.HasPrefix(got, `error 42501 postern: denied by rule "look-first": it was run and undone: review `+rv.ID) || !strings.HasSuffix(got, "\nready I\n") {
			t.Errorf("got\n%s", got)
		}
	}
	if got := o.counted("select count(*) from t, line where line.t = 1"); got != "100" {
		t.Errorf("rows are gone: %s", got)
	}
	if got := o.states(); !strings.HasPrefix(got, "trial held pending denied rolled_back trial held pending timed_out rolled_back") {
		t.Errorf("recorded: %s", got)
	}
	w.want("select 1", "columns ?column?\nrow 1\ndone SELECT 1\nready I\n")
}

// TestTrialExtended: parameters, a prepared statement, and RETURNING in binary.
func TestTrialExtended(t *testing.T) {
	o := newHeldOffice(t)
	w := o.wire()
	w.send(join(run("update t set v = $1 where id = $2::int returning id", "by bind", "7"), syn())...)
	rv := o.opened()
	o.wantTrial(rv, "UPDATE 1, 1 rows\npublic.t +0 ~1 -0\npublic.t id,v,mail\n7|old|m7@example.com -> 7|by bind|m7@example.com [1]")
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	if got := w.until(1); !strings.HasPrefix(got, "parsecomplete\nnotice") || !strings.HasSuffix(got, "then\nbindcomplete\ncolumns id\nrow 7\ndone UPDATE 1\nready I\n") {
		t.Errorf("got\n%s", got)
	}
	w.talk(1, parse("s", "delete from t where id = $1"), syn())
	for i, want := range []string{"bindcomplete\ndone DELETE 1\nready I\n", "error 42501"} {
		w.send(join(bind("", "s", "9"), execute(""), syn())...)
		rv = o.opened()
		w.next()
		o.Reviews.Settle(rv.ID, []postern.ReviewState{postern.ReviewApproved, postern.ReviewDenied}[i])
		if got := w.until(1); !strings.HasPrefix(got, want) {
			t.Errorf("got\n%s", got)
		}
	}
	w.want("select count(*) from t", "columns count\nrow 49\ndone SELECT 1\nready I\n")
}

// TestTrialWithin: in the client's own transaction, an approval leaves it to the
// client, and a denial fails it as any error does.
func TestTrialWithin(t *testing.T) {
	o := newHeldOffice(t)
	w := o.wire()
	w.query("set statement_timeout = '45s'")
	w.want("begin", "done BEGIN\nready T\n")
	w.query("select 1")
	w.send(q("insert into t values (60, 'one', 'x'), (61, 'two', 'y')"))
	rv := o.opened()
	w.next()
	o.wantTrial(rv, "INSERT 0 2, 2 rows, within\npublic.t +2 ~0 -0\npublic.t id,v,mail\nnone -> 60|one|x []\nnone -> 61|two|y []")
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	if got := w.until(1); got != "done INSERT 0 2\nready T\n" {
		t.Errorf("got\n%s", got)
	}
	w.want("select current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')",
		"columns current_setting,current_setting\nrow 45s|0\ndone SELECT 1\nready T\n")
	w.want("savepoint mine", "done SAVEPOINT\nready T\n")
	w.send(q("delete from t where id = 60"))
	rv = o.opened()
	w.next()
	o.Reviews.Settle(rv.ID, postern.ReviewDenied)
	if got := w.until(1); !strings.HasPrefix(got, "error 42501 ") || !strings.HasSuffix(got, "\nready E\n") {
		t.Errorf("got\n%s", got)
	}
	w.want("rollback to mine", "done ROLLBACK\nready T\n")
	w.want("commit", "done COMMIT\nready I\n")
	if got := o.counted("select count(*) from t"); got != "52" {
		t.Errorf("%s rows", got)
	}
	w.want("show statement_timeout", "columns statement_timeout\nrow 45s\ndone SHOW\nready I\n")
}

// TestTrialInDriversTransaction: BEGIN in the same pipeline.
func TestTrialInDriversTransaction(t *testing.T) {
	o := newHeldOffice(t)
	w := o.wire()
	w.send(join(parse("", "begin"), bind("", ""), execute(""), run("update t set v = 'x' where id = 5"), syn())...)
	rv := o.opened()
	o.wantTrial(rv, "UPDATE 1, 1 rows, within\npublic.t +0 ~1 -0\npublic.t id,v,mail\n5|old|m5@example.com -> 5|x|m5@example.com [1]")
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	if got := w.until(1); !strings.HasSuffix(got, "then\nbindcomplete\nnodata\ndone UPDATE 1\nready T\n") {
		t.Errorf("got\n%s", got)
	}
	w.want("rollback", "done ROLLBACK\nready I\n")
	if got := o.counted("select count(*) from t where v = 'x'"); got != "0" {
		t.Errorf("%s rows", got)
	}
}

// TestTrialBounds: what changes too much, or says too much, is undone at once, and
// nobody is asked.
func TestTrialBounds(t *testing.T) {
	o := newHeldOffice(t)
	w := o.wire()
	for text, want := range map[string]string{
		"update t set v = 'x'": "it changed 50 rows, and a command that is approved before it is committed may change 20. Change fewer at a time",
		"insert into line select g, 1 from generate_series(10, 40) g":                                  "it changed 31 rows",
		"update t set v = repeat('x', 2000000) where id = 1 returning v":                               "its answer has more than 1048576 bytes",
		"insert into line select g, 3 from generate_series(100, 119) g":                                "",
		"delete from t where id = 3 /* 1, and 20 that cascade */":                                      "it changed 21 rows (1 by itself, the others by triggers and foreign keys)",
		"insert into watched(v) select 'x' from generate_series(1, 11)":                                "it changed 22 rows (11 by itself",
		"update t set v = 'x' where id = 1 and pg_sleep(0.001) is not null":                            "",
		"insert into t values (1, 'dup', 'x')":                                                         "error 23505",
		"insert into late values (1, 999)":                                                             "error 23503",
		"update t set v = 1/(id-1) where id = 1":                                                       "error 22012",
		"merge into t using line on line.id = t.id and line.id < 4 when matched then update set v='m'": "",
	} {
		t.Run(text, func(t *testing.T) {
			o.t, w.t = t, t
			before := o.counted("select (select string_agg(t::text, ' ' order by id) from t) || (select count(*) from line) || (select count(*) from noted)")
			w.send(q(text))
			if want == "" {
				o.Reviews.Settle(o.opened().ID, postern.ReviewDenied)
				want = "it was run and undone"
			}
			got := w.until(1)
			if !strings.Contains(got, want) || !strings.HasSuffix(got, "ready I\n") {
				t.Errorf("got\n%s", got)
			}
			if after := o.counted("select (select string_agg(t::text, ' ' order by id) from t) || (select count(*) from line) || (select count(*) from noted)"); after != before {
				t.Errorf("it changed something:\n%s\n%s", before, after)
			}
			if state := o.states(); !strings.HasSuffix(state, "rolled_back") {
				t.Errorf("recorded: %s", state)
			}
		})
	}
}

// TestTrialCounts: the sequence, the notice of a trigger, and its rows.
func TestTrialCounts(t *testing.T) {
	o := newHeldOffice(t)
	w := o.wire()
	w.send(q("insert into watched(v) values ('a') returning id"))
	rv := o.opened()
	w.next()
	o.wantTrial(rv, "INSERT 0 1, 1 rows\npublic.noted +1 ~0 -0\npublic.watched +1 ~0 -0\npublic.watched id,v\nnone -> 1|a []")
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	if got := w.until(1); got != "notice noted 1\ncolumns id\nrow 1\ndone INSERT 0 1\nready I\n" {
		t.Errorf("got\n%s", got)
	}
	w.send(q("update t set mail = 'gone' from line where line.t = t.id and t.id < 3"))
	rv = o.opened()
	w.next()
	o.wantTrial(rv, "UPDATE 2, 2 rows\npublic.t +0 ~2 -0\npublic.t id,mail,v\n1|m1@example.com|old -> 1|gone|old [1]\n2|m2@example.com|old -> 2|gone|old [1]")
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	w.until(1)
}

// TestTrialIsSilent: what functions and deferred triggers say meanwhile is the client's
// when it is approved, once.
func TestTrialIsSilent(t *testing.T) {
	o := newHeldOffice(t)
	o.cluster.Exec(t, o.database(), `create function says(int) returns bool language plpgsql as $$ begin raise notice 'said %', $1; return true; end $$;
create function later() returns trigger language plpgsql as $$ begin raise notice 'later %', new.id; insert into noted values (new.id); return null; end $$;
create table put_off(id int primary key); insert into put_off values (1);
create constraint trigger p after insert or update on put_off deferrable initially deferred for each row execute function later();`)
	w := o.wire()
	for _, state := range []postern.ReviewState{postern.ReviewDenied, postern.ReviewApproved} {
		w.send(q("update put_off set id = 1 where says(id)"))
		rv := o.opened()
		o.wantTrial(rv, "UPDATE 1, 1 rows\npublic.noted +1 ~0 -0\npublic.put_off +0 ~1 -0\npublic.put_off id\nnone -> 1 []\nno rows before it, because they can't be told from others: it changes the primary key, or there is none of the server's own types")
		if got := w.next(); !strings.HasPrefix(got, "notice postern: waiting") {
			t.Errorf("before it is decided: %s", got)
		}
		o.Reviews.Settle(rv.ID, state)
		want := "notice said 1\ndone UPDATE 1\nnotice later 1\nready I\n"
		if got := w.until(1); state == postern.ReviewApproved && got != want || state != postern.ReviewApproved && strings.Contains(got, "notice") {
			t.Errorf("%s: got\n%s", state, got)
		}
	}
}

// TestTrialWithRowLimit: the row limit of another rule counts, and is counted once.
func TestTrialWithRowLimit(t *testing.T) {
	o := newHeldOffice(t, "---\n"+rowRule)
	w := o.wire()
	if got := w.query("delete from t where id in (40, 41, 42)"); !strings.Contains(got, `it changed 3 rows, and rule "small-steps" allows 2. Go in small steps.`) {
		t.Errorf("got\n%s", got)
	}
	for _, msgs := range [][]pgproto3.FrontendMessage{{q("delete from t where id in (40, 41)")}, join(run("delete from t where id in (42, 43)"), syn())} {
		w.send(msgs...)
		o.Reviews.Settle(o.opened().ID, postern.ReviewApproved)
		if got := w.until(1); !strings.HasSuffix(got, "done DELETE 2\nready I\n") {
			t.Errorf("got\n%s", got)
		}
	}
}

// TestTrialLooksAhead: what follows a Bind may come piece by piece, or not at all.
func TestTrialLooksAhead(t *testing.T) {
	o := newHeldOffice(t)
	encode := func(msgs ...pgproto3.FrontendMessage) (all []byte) {
		for _, m := range msgs {
			var err error
			if all, err = m.Encode(all); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	w := o.wire()
	for _, b := range encode(join(run("update t set v = 'slow' where id = 40"), syn())...) {
		if _, err := w.conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	rv := o.opened()
	o.wantTrial(rv, "UPDATE 1, 1 rows\npublic.t +0 ~1 -0\npublic.t id,v,mail\n40|old|m40@example.com -> 40|slow|m40@example.com [1]")
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	if got := w.until(1); !strings.HasSuffix(got, "bindcomplete\nnodata\ndone UPDATE 1\nready I\n") {
		t.Errorf("got\n%s", got)
	}
	for name, rest := range map[string][]byte{
		"nothing": nil, "half a message": encode(execute(""))[:3], "no Sync": encode(execute("")), "no message": {'D', 0, 0, 0, 1}, "a long one": {'D', 0x3f, 0xff, 0xff, 0xff},
	} {
		w := o.wire()
		if _, err := w.conn.Write(append(encode(parse("", "delete from t where id = 40"), bind("", "")), rest...)); err != nil {
			t.Fatal(err)
		}
		half, ok := w.conn.(interface{ CloseWrite() error })
		if !ok {
			t.Fatal("the connection can't be closed by half")
		}
		if err := half.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if name == "no message" || name == "a long one" {
			o.Reviews.Settle(o.opened().ID, postern.ReviewDenied)
		}
		for {
			if _, err := w.f.Receive(); err != nil {
				break
			}
		}
		if got := o.counted("select v from t where id = 40"); got != "slow" {
			t.Errorf("%s: it is %s", name, got)
		}
	}
}

// TestTrialIsMasked: rows are shown as they are to somebody whom every mask binds,
// also where it doesn't bind whoever asks.
func TestTrialIsMasked(t *testing.T) {
	o := newHeldOffice(t, "---\nkind: Mask\nname: mails\nto: [\"group:nobody\"]\ncolumns: [public.t.mail]\nwith: partial\n")
	w := o.wire()
	w.send(q("update t set mail = 'new' || mail where id = 1 returning mail"))
	rv := o.opened()
	w.next()
	o.wantTrial(rv, "UPDATE 1, 1 rows\npublic.t +0 ~1 -0\npublic.t id,mail,v\n1|***@e***.com|old -> 1|n***@e***.com|old [1]")
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	if got := w.until(1); !strings.Contains(got, "row newm1@example.com\n") {
		t.Errorf("got\n%s", got)
	}
	w.send(q("delete from t where mail = 'x'"))
	rv = o.opened()
	w.next()
	if got := trialOf(t, rv); !strings.Contains(got, "it has not run yet, and would be committed as it runs: a condition looks at public.t.mail, which is masked for some") {
		t.Errorf("approvers are shown\n%s", got)
	}
	o.Reviews.Settle(rv.ID, postern.ReviewDenied)
	if got := w.until(1); strings.Contains(got, "undone") {
		t.Errorf("got\n%s", got)
	}
}

// TestTrialReturnsMasked: the answer that is kept is the client's, masked, also where
// the client doesn't ask what its columns are, and so is what an error says.
func TestTrialReturnsMasked(t *testing.T) {
	o := newHeldOffice(t, "---\nkind: Mask\nname: mails\ncolumns: [public.t.mail]\nwith: redact\n")
	w := o.wire()
	for name, msgs := range map[string][]pgproto3.FrontendMessage{
		"simple":      {q("update t set v = 'x' where id = 40 returning mail, v")},
		"extended":    join(run("update t set v = 'x' where id = 40 returning mail, v"), syn()),
		"no Describe": join(parse("", "update t set v = 'x' where id = 40 returning mail, v"), bind("", ""), execute(""), syn()),
	} {
		w.send(msgs...)
		rv := o.opened()
		if got := trialOf(t, rv); !strings.HasSuffix(got, "40|old|[redacted] -> 40|x|[redacted] [1]") {
			t.Errorf("%s: approvers are shown\n%s", name, got)
		}
		o.Reviews.Settle(rv.ID, postern.ReviewApproved)
		if got := w.until(1); !strings.Contains(got, "row [redacted]|x\ndone UPDATE 1\nready I\n") {
			t.Errorf("%s: got\n%s", name, got)
		}
		if r := o.events(postern.EventResult); r[len(r)-1].Masked != 1 || *r[len(r)-1].Rows[0][0] != "[redacted]" {
			t.Errorf("%s: recorded is %+v", name, r[len(r)-1])
		}
		o.cluster.Exec(t, o.database(), "update t set v = 'old' where id = 40")
	}
	w.send(q("insert into t select id, v, mail from t where id = 40"))
	if got := w.until(1); !strings.HasPrefix(got, "error 23505 duplicate key value violates unique constraint \"t_pkey\"\n") {
		t.Errorf("got\n%s", got)
	}
}

// TestTrialInstead: what can't be undone, or not in step with its client, isn't run
// before it is approved, and approvers are told why.
func TestTrialInstead(t *testing.T) {
	o := newHeldOffice(t)
	o.cluster.Exec(t, o.database(), `create function put(n int) returns int language plpgsql as $$ begin insert into noted values (n); return n; end $$;
create function dynamic() returns trigger language plpgsql as $$ begin execute 'insert into noted values (7)'; return new; end $$;
create table dyn(id int); create trigger d before insert on dyn for each row execute function dynamic();
create function locking() returns trigger language plpgsql as $$ begin perform pg_advisory_lock(7); return new; end $$;
create table locks(id int primary key); create trigger l before insert on locks for each row execute function locking();
create table below(id int references locks on delete cascade);
create function trying() returns trigger language plpgsql as $$ begin begin insert into noted values (1/new.id); exception when others then null; end; return new; end $$;
create table tries(id int); create trigger x before insert on tries for each row execute function trying();
create table notify(id int); create rule n as on insert to notify do also notify heard;
create function telling() returns trigger language plpgsql as $$ begin perform pg_notify('heard', 'x'); return new; end $$;
create table tell(id int); create trigger t before insert on tell for each row execute function telling();
create procedure committing() language plpgsql as $$ begin delete from noted; commit; end $$;
create extension file_fdw; create server files foreign data wrapper file_fdw; create foreign table outside(x text) server files options (filename '/etc/hostname');
create table def(id int default setval('seq', 5)); create table checked(id int check (pg_try_advisory_lock(id) or true));
create domain dom as int check (value > 0 or pg_notify('a', 'b') is null); create table domed(id dom);
create function quiet(int) returns bool language plpgsql as $$ begin return $1 > 0; end $$;
create table cond(id int); create trigger c before insert on cond for each row when (quiet(new.id)) execute function note();
create table conds(id int); create trigger c before insert on conds for each row when (pg_try_advisory_lock(new.id)) execute function note();
create table secure(id int); alter table secure enable row level security; create policy p on secure using (pg_try_advisory_lock(id));
create table deep(id int) partition by list(id); create table deep_a partition of deep default partition by list (id); create table deep_b partition of deep_a default;
create trigger l before insert on deep_b for each row execute function locking();
create table parts(id int) partition by list(id); create table parts_d partition of parts default;`)
	describe := &pgproto3.Describe{ObjectType: 'P'}
	const undone = "it was run and undone"
	for name, test := range map[string]struct {
		msgs []pgproto3.FrontendMessage
		want string
	}{
		"DO":                       {join(q("do $$ begin delete from noted; end $$")), "only INSERT, UPDATE, DELETE and MERGE are held"},
		"CALL":                     {join(q("call committing()")), "only INSERT"},
		"COPY":                     {join(q("copy noted from stdin")), "only INSERT"},
		"TRUNCATE":                 {join(q("truncate noted")), "only INSERT"},
		"PREPARE, EXECUTE":         {join(q("prepare p as delete from noted"), q("execute p")), "only INSERT"},
		"a SELECT that deletes":    {join(q("with d as (delete from noted returning *) select * from d")), "only INSERT"},
		"two statements":           {join(q("delete from noted; delete from noted")), "it holds several statements"},
		"a COMMIT behind":          {join(q("delete from noted; commit")), "it holds several statements"},
		"a COMMIT before":          {join(q("commit; delete from noted")), "it holds several statements"},
		"setval":                   {join(q("insert into noted values (setval('seq', 9))")), "pg_catalog.setval, whose effect a rollback doesn't undo"},
		"an advisory lock":         {join(q("delete from noted where pg_try_advisory_lock(n)")), "pg_catalog.pg_try_advisory_lock, whose effect"},
		"a lock by a trigger":      {join(q("insert into locks values (1)")), "pg_catalog.pg_advisory_lock, whose effect"},
		"a large object's file":    {join(q("insert into noted values (lo_export(1, '/tmp/x'))")), "reads or writes files"},
		"a message of replication": {join(q("insert into noted select 1 from pg_logical_emit_message(false, 'a', 'b')")), "pg_logical_emit_message, whose effect"},
		"another session's end":    {join(q("insert into noted select 1 from pg_cancel_backend(1)")), "pg_cancel_backend, whose effect"},
		"dynamic SQL of a trigger": {join(q("insert into dyn values (1)")), "it runs SQL that is put together at run time, or a trigger does"},
		"a foreign table":          {join(q("insert into noted select 1 from outside")), "public.outside, a foreign table"},
		"a default":                {join(q("insert into def default values")), "calls pg_catalog.setval, whose effect"},
		"a check":                  {join(q("insert into checked values (1)")), "calls pg_catalog.pg_try_advisory_lock, whose effect"},
		"a condition of a trigger": {join(q("insert into conds values (1)")), "calls pg_catalog.pg_try_advisory_lock, whose effect"},
		"a user's condition":       {join(q("insert into cond values (1)")), "a trigger's condition calls public.quiet, a function that isn't the server's own"},
		"a policy":                 {join(q("insert into noted select id from secure")), "calls pg_catalog.pg_try_advisory_lock, whose effect"},
		"a partition's partition":  {join(q("insert into deep values (1)")), "pg_catalog.pg_advisory_lock, whose effect"},
		"settings":                 {join(q("insert into noted select 1 where set_config('role', 'none', false) = ''")), "settings"},
		"a system table":           {join(q("update pg_settings set setting = '1' where name = 'work_mem'")), ""},
		"a pipeline before":        {join(run("select 1"), run("delete from noted"), syn()), "other commands came before it in its pipeline"},
		"a pipeline behind":        {join(run("delete from noted"), run("select 1"), syn()), "more than its Bind, Describe, Execute and Sync"},
		"a Flush behind":           {join(parse("", "delete from noted"), bind("", ""), describe, execute(""), &pgproto3.Flush{}, syn()), "more than its Bind"},
		"a Bind alone":             {join(parse("", "delete from noted"), bind("", ""), &pgproto3.Flush{}, execute(""), syn()), "more than its Bind"},
		"another portal":           {join(parse("", "delete from noted"), q("begin"), parse("s", "select 1"), bind("p", "s"), bind("", "s"), parse("d", "delete from noted"), bind("x", "d"), execute("p"), syn(), q("rollback")), "more than its Bind"},
		"a few rows at a time":     {join(parse("", "delete from noted returning n"), bind("", ""), &pgproto3.Execute{MaxRows: 1}, syn()), "some rows at a time"},
		"after an error":           {join(q("begin"), q("select 1/0"), q("delete from noted"), q("rollback")), "its transaction has failed already"},
		"an older snapshot":        {join(q("begin isolation level repeatable read"), q("delete from t where id = 40"), q("rollback")), "its transaction sees the database as it was when it began"},
		"a Query in a pipeline":    {join(parse("", "select 1"), q("delete from noted"), syn()), "it comes within a pipeline"},
		// What a rollback undoes.
		"a function":            {join(q("insert into noted values (put(3))")), undone},
		"nextval":               {join(q("insert into noted values (nextval('seq'))")), undone},
		"pg_notify":             {join(q("insert into tell values (1)")), undone},
		"a cursor's row":        {join(q("begin"), q("declare c cursor for select * from t where id = 40 for update"), q("fetch c"), q("delete from t where current of c"), q("rollback")), undone},
		"a domain":              {join(q("insert into domed values (1)")), undone},
		"NOTIFY in a rule":      {join(q("insert into notify values (1)")), undone},
		"exceptions":            {join(q("insert into tries values (0), (1)")), undone},
		"a partition":           {join(q("insert into parts values (1)")), undone},
		"a WITH that deletes":   {join(q("with d as (delete from line where id = 50 returning *) insert into noted select id from d")), undone},
		"ON CONFLICT":           {join(q("insert into t values (1, 'c', 'd') on conflict (id) do update set v = 'c'")), undone},
		"a prepared statement":  {join(parse("n", "delete from t where id = 40"), syn(), bind("", "n"), execute(""), syn()), undone},
		"a named portal":        {join(parse("n", "delete from t where id = 40"), bind("p", "n"), &pgproto3.Describe{ObjectType: 'P', Name: "p"}, execute("p"), syn()), undone},
		"an upper isolation":    {join(q("set default_transaction_isolation = serializable"), q("delete from t where id = 40")), undone},
		"other strings":         {join(q("set standard_conforming_strings = off"), q(`update t set v = 'it''s' where id = 3`)), undone},
		"a temporary table":     {join(q("create temp table tmp(id int primary key)"), q("insert into tmp values (1)")), undone},
		"a session's own names": {join(q("create temp table pg_locks(x int)"), q("set search_path = pg_temp, public, pg_catalog"), q("insert into noted values (3)")), undone},
	} {
		t.Run(name, func(t *testing.T) {
			o.t = t
			state := func() string {
				return o.counted("select (select string_agg(t::text, ' ' order by id) from t) || (select count(*) from line) || (select count(*) from noted) || (select count(*) from dyn) || (select last_value from seq) || (select count(*) from pg_locks where locktype = 'advisory')")
			}
			o.cluster.Exec(t, o.database(), "delete from noted")
			w := o.wire()
			done := make(chan string, 1)
			seen := ""
			go func() { done <- w.all(test.msgs...) }()
			for got := (*string)(nil); got == nil; {
				select {
				case rv := <-o.Reviews.Opened():
					before := state()
					if strings.Contains(rv.Command, "create") || strings.HasPrefix(rv.Command, "prepare") {
						o.Reviews.Settle(rv.ID, postern.ReviewApproved)
						continue
					}
					seen = trialOf(t, rv)
					if rv.Evidence.Trial == nil && !strings.Contains(seen, "it has not run yet, and would be committed as it runs: ") {
						t.Errorf("approvers are told %s", seen)
					}
					if !strings.Contains(seen, test.want) && test.want != undone || (rv.Evidence.Trial == nil) == (test.want == undone) {
						t.Errorf("approvers are told\n%s\nwant %s", seen, test.want)
					}
					o.Reviews.Settle(rv.ID, postern.ReviewDenied)
					if after := state(); name != "nextval" && after != before {
						t.Errorf("before it was approved, it changed\n%s\nto\n%s", before, after)
					}
				case text := <-done:
					got = &text
					if seen == "" || strings.Contains(text, undone) != (test.want == undone) {
						t.Errorf("got\n%s", text)
					}
				}
			}
		})
	}
}

// TestTrialEndsByTime: the hold bounds how long it is held, and how long it may run.
func TestTrialEndsByTime(t *testing.T) {
	o := newHeldOffice(t)
	o.change(strings.Replace(holdChanges, "hold: 30s", "hold: 1s", 1))
	w := o.wire()
	w.send(q("delete from t where id = 40"))
	rv := o.opened()
	if left := rv.ExpiresAt.Sub(rv.CreatedAt); left != time.Second {
		t.Errorf("it waits for %v", left)
	}
	w.next()
	if got := w.until(1); !strings.Contains(got, "it was run and undone: review "+rv.ID+" was not approved in time") {
		t.Errorf("got\n%s", got)
	}
	holder := o.direct(o.database())
	holder.query("begin; delete from t where id = 40")
	if got := w.query("delete from t where id = 40"); !strings.Contains(got, "it took longer than the 1s for which it may be held") {
		t.Errorf("got\n%s", got)
	}
	holder.query("rollback")
	w.query("set statement_timeout = 100")
	holder.query("begin; delete from t where id = 40")
	if got := w.query("delete from t where id = 40"); !strings.HasPrefix(got, "error 57014 canceling statement due to statement timeout\n") {
		t.Errorf("got\n%s", got)
	}
	holder.query("rollback")
	w.want("show statement_timeout", "columns statement_timeout\nrow 100ms\ndone SHOW\nready I\n")
}

// TestTrialsRace: one that waits for a row that another one holds is run when that is
// over, by what is there then.
func TestTrialsRace(t *testing.T) {
	o := newHeldOffice(t)
	first, second := o.wire(), o.wire()
	first.send(q("update t set v = 'first' where id = 40"))
	rv := o.opened()
	second.send(q("update t set v = v || ' second' where id = 40"))
	for deadline := time.Now().Add(20 * time.Second); o.counted("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()") == "0"; {
		if time.Now().After(deadline) {
			t.Fatal("the second one doesn't wait")
		}
	}
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	first.until(1)
	rv = o.opened()
	if got := trialOf(t, rv); !strings.HasSuffix(got, "40|old|m40@example.com -> 40|first second|m40@example.com [1]") {
		t.Errorf("approvers are shown\n%s", got)
	}
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	second.until(1)
	if got := o.counted("select v from t where id = 40"); got != "first second" {
		t.Errorf("got %s", got)
	}
}

// TestTrialCancelled: while it runs and while it is held.
func TestTrialCancelled(t *testing.T) {
	o := newHeldOffice(t)
	holder := o.direct(o.database())
	for _, held := range []bool{false, true} {
		if !held {
			holder.query("begin; delete from t where id = 40")
		}
		c := o.connect()
		answer := make(chan error, 1)
		go func() {
			_, err := c.Exec(context.Background(), "delete from t where id = 40").ReadAll()
			answer <- err
		}()
		if held {
			o.opened()
		}
		var err error
		for done := false; !done; {
			if err := c.CancelRequest(t.Context()); err != nil {
				t.Fatal(err)
			}
			select {
			case err = <-answer:
				done = true
			default:
			}
		}
		var told *pgconn.PgError
		if !errors.As(err, &told) || told.Code != "57014" {
			t.Errorf("got %v", err)
		}
		if _, err := c.Exec(t.Context(), "select 1").ReadAll(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		holder.query("rollback")
	}
	if got := o.counted("select count(*) from t where id = 40"); got != "1" {
		t.Error("it was deleted")
	}
	select {
	case rv := <-o.Reviews.Opened():
		t.Errorf("somebody was asked about what was cancelled as it ran: %s", o.Reviews.State(rv.ID))
	default:
	}
}

// TestTrialFailsToCommit: the client gets the server's error, and nothing is done.
func TestTrialFailsToCommit(t *testing.T) {
	for _, extended := range []bool{false, true} {
		o := newHeldOffice(t)
		w, other := o.wire(), o.direct(o.database())
		w.query("set default_transaction_isolation = serializable")
		other.query("set default_transaction_isolation = serializable")
		change := join(q("insert into noted select count(*) from line"))
		if extended {
			change = join(run("insert into noted select count(*) from line"), syn())
		}
		other.query("begin; select count(*) from noted; insert into line values (90, 4)")
		w.send(change...)
		rv := o.opened()
		other.query("commit")
		o.Reviews.Settle(rv.ID, postern.ReviewApproved)
		if got := w.until(1); !strings.Contains(got, "\nerror 40001 could not serialize access") || strings.Contains(got, "\ndone") || !strings.HasSuffix(got, "ready I\n") {
			t.Errorf("got\n%s", got)
		}
		if got := o.counted("select count(*) from noted"); got != "0" {
			t.Error("it was inserted")
		}
		if got := o.states(); got != "trial held pending approved rolled_back" {
			t.Errorf("recorded: %s", got)
		}
		w.want("select 1", "columns ?column?\nrow 1\ndone SELECT 1\nready I\n")
	}
}
