package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/test/pgcluster"
)

const reviewUpdates = `
kind: Rule
name: look-first
when: command.verb == "update"
then: review
message: Somebody should look.
review: {approvers: ["group:dba"], approvals: 1, timeout: 15m}
`

// opened waits for the next review.
func (o *office) opened() postern.Review {
	o.t.Helper()
	select {
	case rv := <-o.Reviews.Opened():
		return rv
	case <-time.After(20 * time.Second):
		o.t.Fatal("no review was opened")
		return postern.Review{}
	}
}

// withdrawn waits until a review is.
func (o *office) withdrawn(id string) {
	o.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for o.Reviews.State(id) != postern.ReviewWithdrawn {
		if time.Now().After(deadline) {
			o.t.Fatalf("the review is %s", o.Reviews.State(id))
		}
	}
}

func newReviewOffice(t *testing.T) *office {
	o := newOffice(t, database(t), pgcluster.Superuser, reviewUpdates)
	o.wire().query("create table t(id int, v text); insert into t values (1, 'old'), (2, 'old')")
	return o
}

func TestReview(t *testing.T) {
	o := newReviewOffice(t)
	w := o.wire()
	w.send(q("update t set v = 'new' where id = 1"))
	rv := o.opened()
	if want := "notice postern: waiting for approval by group:dba: https://gw.test/reviews/" + rv.ID + ", 15m left\n"; w.next() != want {
		t.Errorf("no notice %s", want)
	}
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	if got := w.until(1); got != "done UPDATE 1\nready I\n" {
		t.Errorf("got\n%s", got)
	}
	if state := o.Reviews.State(rv.ID); state != postern.ReviewSpent {
		t.Errorf("the review is %s", state)
	}
	w.send(q("update t set v = 'newer'"))
	rv = o.opened()
	w.next()
	o.Reviews.Settle(rv.ID, postern.ReviewDenied)
	if got := w.until(1); !strings.HasPrefix(got, `error 42501 postern: denied by rule "look-first": review `+rv.ID+" was denied") {
		t.Errorf("got\n%s", got)
	}
	w.want("select v from t order by id", "columns v\nrow new\nrow old\ndone SELECT 2\nready I\n")
}

// TestReviewOfParameters: what is shown is what runs, parameters included, and
// the answers to what came before arrive before the wait.
func TestReviewOfParameters(t *testing.T) {
	o := newReviewOffice(t)
	w := o.wire()
	w.send(join(run("select 1"), run("update t set v = $1 where id = 2", "by bind"), syn())...)
	got := ""
	for range 5 {
		got += w.next()
	}
	if want := "parsecomplete\nbindcomplete\ncolumns ?column?\nrow 1\ndone SELECT 1\n"; got != want {
		t.Errorf("before the review: got\n%s", got)
	}
	rv := o.opened()
	if got := string(rv.Commands[0].Params[0].Value); got != "by bind" {
		t.Errorf("the review shows %q", got)
	}
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	if got := w.until(1); !strings.HasPrefix(got, "parsecomplete\nnotice postern: waiting") || !strings.HasSuffix(got, "bindcomplete\nnodata\ndone UPDATE 1\nready I\n") {
		t.Errorf("got\n%s", got)
	}
	// The approval was for one run.
	w.send(join(bind("", "", "again"), execute(""), syn())...)
	o.Reviews.Settle(o.opened().ID, postern.ReviewTimedOut)
	if got := w.until(1); !strings.Contains(got, "\nerror 42501 postern: denied by rule \"look-first\": review") {
		t.Errorf("got\n%s", got)
	}
}

// TestApprovalOfAPortalExpires: what was approved as it was bound can't be kept for later
// than the approvers could have taken.
func TestApprovalOfAPortalExpires(t *testing.T) {
	o := newReviewOffice(t)
	var later atomic.Int64
	o.door.p.relay.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	w := o.wire()
	w.query("begin")
	kept := func(after time.Duration) {
		t.Helper()
		w.send(join(parse("s", "update t set v = 'kept' where id = 1"), bind("p", "s"), &pgproto3.Flush{})...)
		o.Reviews.Settle(o.opened().ID, postern.ReviewApproved)
		for got := ""; got != "bindcomplete\n"; got = w.next() {
		}
		later.Add(int64(after))
		w.send(join(execute("p"), &pgproto3.Close{ObjectType: 'S', Name: "s"}, &pgproto3.Close{ObjectType: 'P', Name: "p"}, syn())...)
	}
	kept(14 * time.Minute)
	if got := w.until(1); !strings.Contains(got, "done UPDATE 1") {
		t.Errorf("in time: got\n%s", got)
	}
	kept(16 * time.Minute)
	o.Reviews.Settle(o.opened().ID, postern.ReviewDenied)
	if got := w.until(1); !strings.Contains(got, "error 42501 postern: denied by rule \"look-first\"") {
		t.Errorf("too late: got\n%s", got)
	}
}

// TestNoReviewForWhatIsDropped: nobody is asked about a message that the
// server would drop.
func TestNoReviewForWhatIsDropped(t *testing.T) {
	o := newReviewOffice(t)
	w := o.wire()
	got := w.talk(1, join(run("select 1/0"), run("update t set v = 'x'"), q("update t set v = 'y'"), syn())...)
	if !strings.HasSuffix(got, "error 22012 division by zero\nready I\n") {
		t.Errorf("got\n%s", got)
	}
	select {
	case rv := <-o.Reviews.Opened():
		t.Errorf("a review was opened: %s", rv.Command)
	default:
	}
}

func TestReviewIsWithdrawn(t *testing.T) {
	o := newReviewOffice(t)
	t.Run("when the client goes", func(t *testing.T) {
		w := o.wire()
		w.send(q("update t set v = 'gone'"))
		rv := o.opened()
		if err := w.conn.Close(); err != nil {
			t.Fatal(err)
		}
		o.withdrawn(rv.ID)
	})
	t.Run("when the client goes, and has sent more than is read meanwhile", func(t *testing.T) {
		for _, reset := range []bool{false, true} {
			w := o.wire()
			w.send(q("update t set v = 'gone'"))
			rv := o.opened()
			w.send(q("select '" + strings.Repeat("z", fullBuffer+fullBuffer/4) + "'"))
			if reset {
				if err := w.conn.(*net.TCPConn).SetLinger(0); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.conn.Close(); err != nil {
				t.Fatal(err)
			}
			o.withdrawn(rv.ID)
		}
	})
	t.Run("when the client cancels", func(t *testing.T) {
		c := o.connect()
		answer := make(chan error, 1)
		go func() {
			_, err := c.Exec(context.Background(), "update t set v = 'cancelled'").ReadAll()
			answer <- err
		}()
		rv := o.opened()
		deadline := time.Now().Add(20 * time.Second)
		for o.Reviews.State(rv.ID) == postern.ReviewPending {
			if err := c.CancelRequest(t.Context()); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(deadline) {
				t.Fatal("the review is still pending")
			}
		}
		o.withdrawn(rv.ID)
		var told *pgconn.PgError
		if err := <-answer; !errors.As(err, &told) || told.Code != "57014" {
			t.Errorf("got %v", err)
		}
		if _, err := c.Exec(t.Context(), "select 1").ReadAll(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
	t.Run("when the session ends", func(t *testing.T) {
		w := o.wire()
		w.send(q("update t set v = 'killed'"))
		rv := o.opened()
		o.End("killed by carol", func(postern.SessionInfo) bool { return true })
		o.withdrawn(rv.ID)
		w.next()
		if got := w.next(); got != "error 57P01 postern: session ended: killed by carol\n" {
			t.Errorf("got %s", got)
		}
	})
	w := o.wire()
	w.want("select distinct v from t", "columns v\nrow old\ndone SELECT 1\nready I\n")
}

// TestWaitingClientGoesOnTalking: what a client sends during a review is
// handled after it.
func TestWaitingClientGoesOnTalking(t *testing.T) {
	o := newReviewOffice(t)
	w := o.wire()
	w.send(q("update t set v = 'later'"), q("select v from t where id = 1"))
	rv := o.opened()
	w.send(q("select '" + strings.Repeat("z", 20000) + "'"))
	o.Reviews.Settle(rv.ID, postern.ReviewApproved)
	got := w.until(3)
	if _, got, _ = strings.Cut(got, "\n"); !strings.HasPrefix(got, "done UPDATE 2\nready I\ncolumns v\nrow later\ndone SELECT 1\nready I\ncolumns ?column?\nrow zzz") {
		t.Errorf("got\n%s", got)
	}
}

// TestPolicyChangesBeforeExecute: what was decided at Bind is decided again
// under another policy.
func TestPolicyChangesBeforeExecute(t *testing.T) {
	o := newReviewOffice(t)
	w := o.wire()
	w.send(join(q("begin"), parse("s", "delete from t"), bind("p", "s"), &pgproto3.Flush{})...)
	w.until(1)
	w.next()
	w.next()
	o.change("kind: Rule\nname: no-delete\nwhen: command.verb == \"delete\"\nthen: deny\nmessage: No more.\n")
	got := w.talk(1, join(execute("p"), syn())...)
	if !strings.HasPrefix(got, `error 42501 postern: denied by rule "no-delete": No more.`) {
		t.Errorf("got\n%s", got)
	}
}
