package postgres

import (
	"encoding/binary"
	"errors"
	"regexp"
	"strings"
	"testing"

	"postern"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern/test/pgcluster"
)

const noDrop = `
kind: Rule
name: no-drop
use: no-drop-table
then: deny
message: Leave it.
`

// TestDenialInStep: what a client sees around a denied statement is, message
// for message, what it sees past the gateway around one that can't be parsed
// (simple) or bound (extended).
func TestDenialInStep(t *testing.T) {
	o := newOffice(t, "postgres", pgcluster.Superuser, noDrop)
	o.cluster.Exec(t, "postgres", "drop table if exists kept; create table kept(id int)")
	const denied = `error 42501 postern: denied by rule "no-drop": Leave it.`
	type messages = []pgproto3.FrontendMessage
	for _, c := range []struct {
		name  string
		ready int
		// build makes the messages around a text that fails when it is a
		// simple Query, and an extended one that fails when it is bound.
		build func(bad string, badBind messages) messages
	}{
		{"autocommit", 3, func(bad string, _ messages) messages { return join(q("select 1"), q(bad), q("select 2")) }},
		{"transaction", 5, func(bad string, _ messages) messages {
			return join(q("begin"), q("insert into kept values (1)"), q(bad), q("select 2"), q("rollback"))
		}},
		{"commit of a failed transaction", 4, func(bad string, _ messages) messages {
			return join(q("begin"), q("insert into kept values (1)"), q(bad), q("commit"))
		}},
		{"savepoint", 7, func(bad string, _ messages) messages {
			return join(q("begin"), q("savepoint a"), q(bad), q("rollback to a"), q("select 3"), q("commit"), q("select count(*) from kept"))
		}},
		{"several statements", 2, func(bad string, _ messages) messages {
			return join(q("insert into kept values (1); "+bad+"; select 2"), q("select count(*) from kept"))
		}},
		{"in a failed transaction", 4, func(bad string, _ messages) messages {
			return join(q("begin"), q("select 1/0"), q(bad), q("rollback"))
		}},
		{"extended", 2, func(_ string, bad messages) messages { return join(bad, syn(), run("select 2"), syn()) }},
		{"pipeline", 2, func(_ string, bad messages) messages {
			return join(run("insert into kept values (1)"), run("select 1"), bad, run("select 2"), run("insert into kept values (2)"), syn(),
				run("select count(*) from kept"), syn())
		}},
		{"pipeline of Syncs", 4, func(_ string, bad messages) messages {
			return join(run("select 1"), syn(), bad, syn(), run("select 2"), syn(), run("select count(*) from kept"), syn())
		}},
		{"pipeline in a transaction", 5, func(_ string, bad messages) messages {
			return join(q("begin"), run("insert into kept values (1)"), bad, run("select 2"), syn(), run("select 3"), syn(), q("commit"), q("select count(*) from kept"))
		}},
		{"a Query in a pipeline", 3, func(bad string, _ messages) messages {
			return join(run("insert into kept values (1)"), q(bad), run("select 2"), syn(), q("select count(*) from kept"))
		}},
		{"a Query after an error in a pipeline", 2, func(bad string, _ messages) messages {
			return join(run("select 1/0"), q(bad), run("select 2"), q(bad), syn(), q("select count(*) from kept"))
		}},
		{"after an error in a pipeline", 2, func(_ string, bad messages) messages {
			return join(run("select 1/0"), bad, run("select 2"), syn(), run("select count(*) from kept"), syn())
		}},
		{"the unnamed statement stays", 3, func(bad string, _ messages) messages {
			return join(parse("", "select 7"), syn(), parse("s", "select 8"), syn(), bind("", "s"), execute(""), &pgproto3.Close{ObjectType: 'S', Name: "s"}, syn())
		}},
		{"Flush", 1, func(_ string, bad messages) messages {
			return join(run("select 1"), &pgproto3.Flush{}, bad, &pgproto3.Flush{}, run("select 2"), &pgproto3.Flush{}, syn())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := o.wire().talk(c.ready, c.build("drop table kept", run("drop table kept"))...)
			// A Bind with a parameter too many fails where a denied one does.
			want := o.direct("postgres").talk(c.ready, c.build("no sql", run("drop table kept", "too many"))...)
			lines := strings.SplitAfter(want, "\n")
			for i, l := range lines {
				if strings.HasPrefix(l, "error 42601") || strings.HasPrefix(l, "error 08P01") {
					lines[i] = denied + "\n"
				}
			}
			if want := strings.Join(lines, ""); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			o.cluster.Exec(t, "postgres", "truncate kept")
		})
	}
}

// TestDeniedUnknown: a text that neither side can read gets the server's own
// error; one that only the server can read is denied.
func TestDeniedUnknown(t *testing.T) {
	o := newOffice(t, "postgres", pgcluster.Superuser, noDrop)
	w := o.wire()
	w.want("selec 1", "error 42601 syntax error at or near \"selec\"\nready I\n")
	if got := w.talk(1, join(run("selec 1"), syn())...); got != "error 42601 syntax error at or near \"selec\"\nready I\n" {
		t.Errorf("extended: got\n%s", got)
	}
	w.want("select 1; selec 2", "error 42601 syntax error at or near \"selec\"\nready I\n")
	w.want("begin", "done BEGIN\nready T\n")
	w.want("selec 1", "error 42601 syntax error at or near \"selec\"\nready E\n")
	w.want("select 1", "error 25P02 current transaction is aborted, commands ignored until end of transaction block\nready E\n")
	w.want("rollback", "done ROLLBACK\nready I\n")
	if got := w.query("do $$ begin execute 'drop ' || 'table kept'; end $$"); !strings.HasPrefix(got, "error 42501 postern: denied") {
		t.Errorf("got\n%s", got)
	}
	w.want("select count(*) from pg_prepared_statements", "columns count\nrow 0\ndone SELECT 1\nready I\n")
}

// What no rule denies, and is refused because it can't be masked, is denied in the
// audit log, too.
func TestUnmaskableIsAudited(t *testing.T) {
	o := newOffice(t, evasionArena(t), "app", evasionMasks)
	w := o.wire()
	for _, refused := range []string{
		"COPY customers TO STDOUT (ENCODING 'SJIS')",
		"SELECT reverse(notes) FROM customers",
	} {
		before := len(o.Audit.Entries())
		text := w.query(refused)
		var denied []postern.AuditEntry
		for _, e := range o.Audit.Entries()[before:] {
			if e.Outcome == "deny" {
				denied = append(denied, e)
			}
		}
		if len(denied) != 1 || denied[0].Rule != "" || !strings.Contains(text, denied[0].Reason) || denied[0].N == 0 {
			t.Errorf("%s: %+v, and the client is told %s", refused, denied, text)
		}
	}
}

// rawMessage is a message of any content.
type rawMessage struct {
	typ  byte
	body string
}

func (rawMessage) Frontend() {}

func (rawMessage) Decode([]byte) error { return errors.New("it is only sent") }

func (m rawMessage) Encode(dst []byte) ([]byte, error) {
	return append(binary.BigEndian.AppendUint32(append(dst, m.typ), uint32(len(m.body)+4)), m.body...), nil
}

// A message that isn't what its type says is refused as a server refuses it: the
// session goes on behind the next Sync.
func TestMalformedMessages(t *testing.T) {
	o := newOffice(t, evasionArena(t), "app", evasionMasks)
	through := o.wire()
	directly := newWire(t, dial(t, evasion{Role: "app"}.direct(o, o.database())))
	codes := regexp.MustCompile(`(?m)^error \S+`)
	for name, msg := range map[string]rawMessage{
		"more formats than parameters": {'B', "\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00"},
		"a bind that ends early":       {'B', "\x00"},
		"describe of nothing":          {'D', "Xname\x00"},
		"close of nothing":             {'C', "Xname\x00"},
		"an execute without a limit":   {'E', "\x00"},
		"a parse without types":        {'P', "\x00SELECT 1\x00"},
		"a query without an end":       {'Q', "SELECT 1"},
		"a call of nothing":            {'F', ""},
	} {
		got := map[string]string{}
		for side, w := range map[string]*wire{"gateway": through, "server": directly} {
			var text string
			if msg.typ == 'Q' || msg.typ == 'F' {
				text = w.talk(1, msg)
			} else {
				text = w.talk(1, parse("", "SELECT 1"), msg, syn())
			}
			got[side] = strings.Join(codes.FindAllString(text, -1), " ")
			w.want("SELECT 1", "columns ?column?\nrow 1\ndone SELECT 1\nready I\n")
		}
		if got["gateway"] != got["server"] || got["server"] != "error 08P01" {
			t.Errorf("%s: %v", name, got)
		}
	}
}
