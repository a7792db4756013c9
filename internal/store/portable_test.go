package store_test

import (
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"

	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/test/pgcluster"
)

var server pgcluster.Shared

func TestMain(m *testing.M) { os.Exit(server.Run(m)) }

// Every SQL text and migration means the same to PostgreSQL, so that it can
// follow as a second engine.
func TestPostgreSQLIsNext(t *testing.T) {
	cluster := server.Get(t)
	var mu sync.Mutex
	dsns := map[*store.DB]string{}
	connect := func(t *testing.T, dsn string) *store.DB {
		t.Helper()
		db, err := store.OpenPostgreSQL(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	storetest.Run(t, storetest.Engine{
		Open: func(t *testing.T) *store.DB {
			name := "store_" + strings.ToLower(rand.Text())
			cluster.Exec(t, "postgres", "CREATE DATABASE "+name)
			dsn := cluster.DSN(pgcluster.Superuser, cluster.Password, name)
			db := connect(t, dsn)
			mu.Lock()
			defer mu.Unlock()
			dsns[db] = dsn
			return db
		},
		Down: store.Down(goose.DialectPostgres), Raw: store.Raw,
		Again: func(t *testing.T, db *store.DB) *store.DB {
			mu.Lock()
			defer mu.Unlock()
			return connect(t, dsns[db])
		},
	})
}
