package postgres

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/test/pgcluster"
)

// BenchmarkSession compares the gateway with the bare server.
func BenchmarkSession(b *testing.B) {
	for _, side := range []struct {
		name, rules string
		direct      bool
	}{{"direct", "", true}, {"gateway", "", false}, {"masked", pii, false}} {
		b.Run(side.name, func(b *testing.B) {
			database := database(b)
			cluster.Get(b).Exec(b, database, "create table customers(id int, name text, email text, salary int); "+
				"insert into customers select g, 'name ' || g, 'someone' || g || '@example.com', g from generate_series(1, 100000) g")
			o := newOffice(b, database, pgcluster.Superuser, side.rules)
			connect := o.connect
			if side.direct {
				connect = func() *pgconn.PgConn { return o.cluster.Connect(b, database) }
			}
			ctx := context.Background()
			c := connect()
			if _, err := c.Prepare(ctx, "one", "select 1", nil); err != nil {
				b.Fatal(err)
			}
			do := func(name string, f func() error) {
				b.Run(name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if err := f(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			do("simple", func() error {
				_, err := c.Exec(ctx, "select 1").ReadAll()
				return err
			})
			do("prepared", func() error { return c.ExecPrepared(ctx, "one", nil, nil, nil).Read().Err })
			do("100k rows", func() error {
				r := c.ExecParams(ctx, "select id, name, email, salary from customers", nil, nil, nil, nil)
				for r.NextRow() {
				}
				_, err := r.Close()
				return err
			})
		})
	}
}
