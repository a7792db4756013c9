package postgres

import (
	"testing"
	"time"

	analysis "postern/internal/sql/postgres"
)

// A session must know of all that was done before it began, whoever did it.
func TestCatalogChangedPastTheGateway(t *testing.T) {
	c := newOffice(t, evasionArena(t), "app", evasionMasks)
	first := evasion{SQL: "SELECT count(*) FROM plain"}
	through := "host=" + c.door.host + " port=" + c.door.port + " " + conninfo
	for _, change := range []struct{ admin, sql string }{
		{"CREATE TABLE par(ssn text); ALTER TABLE par OWNER TO owner; GRANT ALL ON par TO app; ALTER TABLE customers INHERIT par", "SELECT reverse(ssn) FROM par"},
		{"CREATE VIEW fresh AS SELECT reverse(email) AS name FROM customers; GRANT SELECT ON fresh TO app", "SELECT name FROM fresh"},
		{"CREATE OR REPLACE VIEW contact AS SELECT id, name, ssn AS reach FROM customers; CREATE VIEW tame AS SELECT id, name FROM customers; GRANT SELECT ON tame TO app", "SELECT reverse(name) FROM tame"},
		{"CREATE OR REPLACE VIEW tame AS SELECT id, ssn AS name FROM customers", "SELECT reverse(name) FROM tame"},
		{"CREATE FUNCTION calm(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)'", "SELECT calm('x')"},
		{"CREATE OR REPLACE FUNCTION calm(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT reverse(ssn) FROM customers'", "SELECT calm('x')"},
		{"ALTER TABLE plain RENAME TO plain0; CREATE VIEW plain AS SELECT id, ssn AS label FROM customers; GRANT SELECT ON plain TO app", "SELECT reverse(label) FROM plain"},
	} {
		t.Run(change.sql, func(t *testing.T) {
			c.t = t
			_ = first.run(t, c, through)
			c.cluster.Exec(t, c.database(), change.admin)
			e := evasion{SQL: change.sql}
			s := e.run(t, c, through)
			if what := e.leaked(s); what != "" {
				t.Errorf("LEAK %q: %.300s", what, s.shown())
			}
		})
	}
	// A table that was made just now is known at once, too: nothing of it is masked.
	c.t = t
	c.cluster.Exec(t, c.database(), "CREATE TABLE brand_new(id int, word text); INSERT INTO brand_new VALUES (1, 'harmless'); GRANT ALL ON brand_new TO app")
	e := evasion{SQL: "SELECT upper(word) FROM brand_new", Protocol: "extended-text"}
	if s := e.run(t, c, through); s.shown() != "HARMLESS\n\nSELECT 1\n" {
		t.Errorf("%q", s.shown())
	}
}

// What others create masks no view for whoever reads it meanwhile, and a view that is
// replaced is read as it is now, not hidden until that is known.
func TestViewsBesideChanges(t *testing.T) {
	c := newOffice(t, evasionArena(t), "app", evasionMasks)
	through := "host=" + c.door.host + " port=" + c.door.port + " " + conninfo
	reads := func(sql, want string) {
		t.Helper()
		e := evasion{SQL: sql}
		if s := e.run(t, c, through); s.shown() != want {
			t.Errorf("%s: got %q, want %q", sql, s.shown(), want)
		}
	}
	const busy = "SELECT name, orders FROM busy ORDER BY id LIMIT 1"
	reads(busy, "Ines Marlow|2\n\nSELECT 1\n")
	for _, change := range []string{
		"BEGIN\n--;;\nCREATE TABLE n1 AS SELECT id FROM customers\n--;;\nROLLBACK",
		"CREATE TABLE n2 (id int)",
		"CREATE FUNCTION calm(text) RETURNS text LANGUAGE sql AS 'SELECT lower($1)'",
		"CREATE TYPE mood AS ENUM ('good')",
	} {
		e := evasion{SQL: change}
		if s := e.run(t, c, through); len(s.errors) > 0 {
			t.Fatal(s.errors)
		}
		reads(busy, "Ines Marlow|2\n\nSELECT 1\n")
		reads("SELECT pid = pg_backend_pid(), state FROM pg_stat_activity WHERE pid = pg_backend_pid()", "t|active\n\nSELECT 1\n")
	}
	reads("CREATE VIEW mine AS SELECT id, label AS what FROM plain", "\n\nCREATE VIEW\n")
	reads("SELECT what FROM mine ORDER BY id LIMIT 1", "alpha\n\nSELECT 1\n")
	reads("CREATE OR REPLACE VIEW mine AS SELECT id, ssn AS what FROM customers", "\n\nCREATE VIEW\n")
	reads("SELECT what FROM mine ORDER BY id LIMIT 1", "[redacted]\n\nSELECT 1\n")
	reads("CREATE OR REPLACE VIEW mine AS SELECT id, label AS what FROM plain", "\n\nCREATE VIEW\n")
	reads("SELECT what FROM mine ORDER BY id LIMIT 1", "alpha\n\nSELECT 1\n")
}

// A catalog that is read again and is the same stays the one that all sessions hold, with
// what was worked out of it; a session that rests holds none.
func TestOneCatalogIsHeld(t *testing.T) {
	c := newOffice(t, evasionArena(t), "app", evasionMasks)
	c.door.p.relay.park = time.Millisecond
	conn := c.connect()
	r := c.relay(t, conn)
	entry := r.catalog
	again := func() *analysis.Catalog {
		t.Helper()
		for _, text := range []string{"SELECT 1", "SELECT 2"} {
			if _, err := conn.Exec(t.Context(), text).ReadAll(); err != nil {
				t.Fatal(err)
			}
			entry.mu.Lock()
			loading := entry.loading
			entry.mu.Unlock()
			if loading != nil {
				<-loading
			}
		}
		parked(t, r)
		if r.env != nil {
			t.Error("it rests, and holds a catalog")
		}
		entry.mu.Lock()
		defer entry.mu.Unlock()
		if entry.catalog == nil || entry.readAt.IsZero() {
			t.Fatal("the catalog wasn't read")
		}
		entry.readAt = time.Time{} // as after an hour
		return entry.catalog
	}
	first := again()
	if again() != first {
		t.Error("nothing has changed, and there is another catalog")
	}
	c.cluster.Exec(t, c.database(), "CREATE TABLE more(id int)")
	if now := again(); now == first || now.Version == first.Version {
		t.Error("a table was made, and the catalog is the same")
	}
}

// Who waits for the catalog waits for what was changed before, not for all that others
// go on to change.
func TestCatalogThatNeverRests(t *testing.T) {
	c := newOffice(t, evasionArena(t), "app", evasionMasks)
	through := "host=" + c.door.host + " port=" + c.door.port + " " + conninfo
	e := evasion{}
	changes, reads := e.dial(t, through), e.dial(t, through)
	const change = "CREATE OR REPLACE FUNCTION calm() RETURNS int LANGUAGE sql AS 'SELECT 1'"
	var s seen
	s.take(changes.w, q(change))
	s.take(reads.w, q("SELECT calm()"))
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-stop:
				return
			default:
			}
			var s seen
			s.take(changes.w, q(change))
		}
	}()
	read := make(chan struct{})
	go func() {
		defer close(read)
		for range 5 {
			var s seen
			s.take(reads.w, q("SELECT name, orders FROM busy ORDER BY id LIMIT 1"))
		}
	}()
	select {
	case <-read:
	case <-time.After(20 * time.Second):
		t.Error("a view can't be read as long as somebody changes a function")
	}
	close(stop)
	<-over
	<-read
}
