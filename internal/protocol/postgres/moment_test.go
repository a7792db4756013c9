package postgres

import (
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/internal/protocol"
	analysis "postern/internal/sql/postgres"
)

// A session that finds nothing ended on the server since its database was last
// looked at doesn't have the catalogs gone through, whatever its settings are. One
// that finds something does, and so does one that isn't told.
func TestMoment(t *testing.T) {
	o := newOffice(t, evasionArena(t), "app", evasionMasks)
	p := New(protocol.Options{AllowPlaintext: true})
	p.relay.fingerprint = "SELECT 'another one'" // that is what who asks for it finds
	catalogs := p.relay.catalogs
	o.door = openDoorOf(t, o.Gate, p)
	through := "host=" + o.door.host + " port=" + o.door.port + " " + conninfo
	run := func(settings string) {
		t.Helper()
		conn := dial(t, through+settings)
		results, err := conn.Exec(t.Context(), "SELECT upper(label) FROM plain ORDER BY id LIMIT 1").ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		// It isn't masked, so that it was read with the search path that is in force.
		direct, err := o.cluster.Connect(t, o.database()).Exec(t.Context(), "SELECT upper(label) FROM public.plain ORDER BY id LIMIT 1").ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := cell(results), cell(direct); got != want || got == "" {
			t.Errorf("%q, want %q", got, want)
		}
	}
	changes := func() (n int64) {
		catalogs.mu.Lock()
		defer catalogs.mu.Unlock()
		if len(catalogs.entries) != 1 {
			t.Fatalf("%d databases", len(catalogs.entries))
		}
		for _, e := range catalogs.entries {
			n = e.changesSoFar()
		}
		return n
	}
	run("")
	known := changes()
	for _, settings := range []string{"", " TimeZone=Asia/Tokyo DateStyle=SQL", " search_path=public", " extra_float_digits=0"} {
		run(settings)
		if n := changes(); n != known {
			t.Errorf("with%s the catalogs were gone through, and nothing has changed", settings)
		}
	}
	o.cluster.Exec(t, o.database(), "CREATE TABLE another_one()")
	run("")
	if n := changes(); n == known {
		t.Error("a table was made, and nobody looked")
	}
	// A server that doesn't tell is asked as it was before, also for the settings.
	o.cluster.Exec(t, o.database(), "REVOKE EXECUTE ON FUNCTION pg_catalog.txid_current_snapshot() FROM public")
	run("")
	run(" search_path=public")
}

func cell(results []*pgconn.Result) string {
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return ""
	}
	return string(results[0].Rows[0][0])
}

// A moment stands for the catalog that was read, and for no other.
func TestStands(t *testing.T) {
	e := &catalogEntry{catalogs: newCatalogs(time.Now, slog.New(slog.DiscardHandler))}
	now := time.Now()
	if !e.unread() {
		t.Error("it was read, and nobody has")
	}
	if e.stands("m1", now) || e.saw("f", "m1", now) || e.stands("m1", now) {
		t.Error("there is no catalog yet")
	}
	e.catalog, e.fingerprint = &analysis.Catalog{}, "f"
	if e.stands("", now) || e.stands("m1", now) {
		t.Error("nothing was seen yet")
	}
	if e.saw("f", "m1", now) || !e.stands("m1", now) || e.stands("m2", now) {
		t.Error("it was seen at m1")
	}
	if e.saw("f", "", now) || !e.stands("m1", now) {
		t.Error("nobody knows when it was seen again")
	}
	if !e.saw("g", "m2", now) || e.stands("m2", now) {
		t.Error("it was another one at m2")
	}
}
