package postgres

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"postern"
	"postern/internal/gate"
	"postern/internal/protocol"
)

// TestSample looks at columns, and at places in documents, and at no more.
func TestSample(t *testing.T) {
	c := newOffice(t, evasionArena(t), "app", "")
	c.cluster.Exec(t, c.database(), `
CREATE TABLE docs(id int, body jsonb); GRANT SELECT ON docs TO app;
INSERT INTO docs SELECT g, jsonb_build_object('customer', jsonb_build_object('e mail', 'a' || g || '@example.org'), 'tags', jsonb_build_array('x', g)) FROM generate_series(1, 5) g;
CREATE TABLE forbidden(email text); INSERT INTO forbidden VALUES ('never@example.org');
CREATE TABLE halves(id int, email text, ssn text); INSERT INTO halves VALUES (1, 'half@example.org', '219-09-9481'); GRANT SELECT (id, email) ON halves TO app;
CREATE TABLE large(id int, email text); INSERT INTO large SELECT g, 'p' || g || '@example.org' FROM generate_series(1, 30000) g; GRANT SELECT ON large TO app; ANALYZE large`)
	found := map[string]protocol.Sampled{}
	s := openSession(t, c)
	if err := New(protocol.Options{}).Sample(t.Context(), s, func(one protocol.Sampled) {
		found[one.Column.String()+"$"+one.Path] = one
	}); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{
		"public.customers.email$": 3, "public.customers.id$": 4, `public.docs.body$.customer."e mail"`: 5, "public.docs.body$.tags[*]": 10,
		"public.halves.email$": 1, "public.large.email$": sampleRows,
	} {
		if got := len(found[name].Values); got != n {
			t.Errorf("%s: %d values, want %d", name, got, n)
		}
	}
	for name := range found {
		if strings.Contains(name, "forbidden") || strings.Contains(name, "halves.ssn") || strings.Contains(name, "pg_") {
			t.Errorf("%s was looked at", name)
		}
	}
	first := found["public.large.email$"].Values
	if strings.Join(first[:3], " ") == "p1@example.org p2@example.org p3@example.org" {
		t.Error("of a large table the first rows were taken")
	}
	// A table that is locked costs its own columns.
	behind := c.cluster.Connect(t, c.database())
	if _, err := behind.Exec(context.Background(), "BEGIN; LOCK TABLE docs").ReadAll(); err != nil {
		t.Fatal(err)
	}
	unread := ""
	if err := New(protocol.Options{}).Sample(t.Context(), s, func(one protocol.Sampled) {
		if one.Unread {
			unread += one.Column.String()
		}
	}); err != nil || unread != (postern.ColumnName{Schema: "public", Table: "docs"}).String() {
		t.Errorf("unread: %q %v", unread, err)
	}
}

// openSession opens a session as a protocol does.
func openSession(t *testing.T, o *office) *gate.Session {
	t.Helper()
	caller, err := o.Gate.Authenticate(t.Context(), postern.Credential{
		User: "alice", Secret: postern.NewSecret("token-alice"), Resource: "db", Protocol: Name, Source: netip.MustParseAddrPort("127.0.0.1:1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := caller.Open(t.Context(), postern.Target{Resource: "db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close("tested") })
	return s
}

// TestBypassByCasts: what the gateway looks at for itself it has shown by the server, and
// runs no cast for it, which whoever made the type may have made a function of.
func TestBypassByCasts(t *testing.T) {
	o := newOffice(t, evasionArena(t), "app", evasionMasks)
	o.cluster.Exec(t, o.database(), `CREATE TYPE json AS ENUM ('"as it is"'); CREATE TYPE pair AS (a text, b text);
CREATE FUNCTION told(public.json) RETURNS text LANGUAGE plpgsql AS $$ begin perform pg_notify('ran', 'json'); return '"cast"'; end $$;
CREATE FUNCTION told(pair) RETURNS text LANGUAGE plpgsql AS $$ begin perform pg_notify('ran', 'pair'); return 'cast'; end $$;
CREATE CAST (public.json AS text) WITH FUNCTION told(public.json); CREATE CAST (pair AS text) WITH FUNCTION told(pair);
CREATE TABLE odd(id int, doc public.json, what pair); INSERT INTO odd VALUES (1, '"as it is"', ('ines@example.com', 'x')); GRANT SELECT ON odd TO app`)
	listener := o.direct(o.database())
	listener.query("LISTEN ran")
	looked := false
	if err := New(protocol.Options{}).Sample(t.Context(), openSession(t, o), func(one protocol.Sampled) {
		if one.Column.Table == "odd" && one.Column.Column == "doc" {
			looked = strings.Join(one.Values, " ") == "as it is"
		}
	}); err != nil || !looked {
		t.Errorf("the column isn't seen as it is: %v", err)
	}
	w := o.wire()
	if got := w.query("SELECT reverse((what).a) FROM odd"); !strings.Contains(got, "error 42501 postern: public.odd.what holds") {
		t.Errorf("got\n%s", got)
	}
	listener.want("SELECT 1", "columns ?column?\nrow 1\ndone SELECT 1\nready I\n")

	// A value of which a part is missing is looked at, too.
	o.cluster.Exec(t, o.database(), "CREATE TABLE half(id int, what pair); INSERT INTO half VALUES (1, ('ines@example.com', NULL)); GRANT SELECT ON half TO app")
	if got := o.wire().query("SELECT reverse((what).a) FROM half"); !strings.Contains(got, "error 42501 postern: public.half.what holds") {
		t.Errorf("got\n%s", got)
	}
}
