package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern"
	"postern/test/pgcluster"
)

// What PostgreSQL's own regression suite has found goes here; see
// docs/parity.md.

// TestUnrestrictedDoesNotWait: where a command is allowed whatever it means,
// nothing waits for the catalog.
func TestUnrestrictedDoesNotWait(t *testing.T) {
	o := newOffice(t, database(t), pgcluster.Superuser, "")
	c := o.connect()
	ctx, cancel := context.WithTimeout(t.Context(), catalogTime/2)
	defer cancel()
	run := func(text string) {
		t.Helper()
		if _, err := c.Exec(ctx, text).ReadAll(); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	run("select 1") // the catalog has been read then
	locker := o.cluster.Connect(t, o.database())
	if _, err := locker.Exec(ctx, "begin; lock table pg_catalog.pg_foreign_table in access exclusive mode").ReadAll(); err != nil {
		t.Fatal(err)
	}
	run("create table fresh(id int)")
	run("insert into fresh values (1)")
	run("select id from fresh")
}

// TestOwnNotifications: a client tells its own notifications from others' by
// the process id that it was given with its cancel key. What it is told is recorded.
func TestOwnNotifications(t *testing.T) {
	check := func(rules, theirs string) {
		t.Helper()
		ownNotifications(t, newOffice(t, "postgres", pgcluster.Superuser, rules), theirs)
	}
	check("", "theirs")
	check("---\n{kind: Mask, name: elsewhere, on: {names: [db]}, columns: ['public.elsewhere.email'], with: redact}\n", redacted)
}

func ownNotifications(t *testing.T, o *office, theirs string) {
	t.Helper()
	config, err := pgconn.ParseConfig("host=" + o.door.host + " port=" + o.door.port + " " + conninfo)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []*pgconn.Notification
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { got = append(got, n) }
	c, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	if _, err := c.Exec(ctx, "listen parity_channel; notify parity_channel, 'mine'").ReadAll(); err != nil {
		t.Fatal(err)
	}
	other := o.cluster.Connect(t, "postgres")
	if _, err := other.Exec(ctx, "notify parity_channel, 'theirs'").ReadAll(); err != nil {
		t.Fatal(err)
	}
	for len(got) < 2 {
		if err := c.WaitForNotification(ctx); err != nil {
			t.Fatal(err)
		}
	}
	recorded := o.events(postern.EventNotice)
	for i, want := range []pgconn.Notification{
		{PID: c.PID(), Channel: "parity_channel", Payload: "mine"}, {PID: other.PID(), Channel: "parity_channel", Payload: theirs},
	} {
		if *got[i] != want {
			t.Errorf("got %+v, want %+v", *got[i], want)
		}
		if i >= len(recorded) || recorded[i].Text != "notification on parity_channel: "+want.Payload {
			t.Errorf("in the recording: %+v", recorded)
		}
	}
}
