package postgres

import (
	"context"
	"testing"

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
