package postgres

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/internal/gate/gatetest"
	"postern/internal/mask"
	"postern/internal/protocol"
	"postern/test/pgcluster"
)

// office is a gateway in front of the test server, with rules, for identities
// who speak to it message by message.
type office struct {
	*gatetest.Harness
	t       testing.TB
	cluster *pgcluster.Cluster
	door    *door

	resource string // the objects, but for the rules
}

const officeResource = `
kind: Resource
name: db
type: postgres
address: %s
database: %s
tls: {mode: disable}
credentials: {username: %s}
recording: {rows: 5}
---
kind: Access
name: everything
to: [everyone]
on: {names: [db]}
---
`

// newOffice opens a gateway for the given database, whose server login is
// role; rules are further objects.
func newOffice(t testing.TB, database, role, rules string) *office {
	t.Helper()
	return newOfficeOf(t, cluster.Get(t), database, role, rules)
}

// newOfficeOf opens one for a server of the test's own.
func newOfficeOf(t testing.TB, c *pgcluster.Cluster, database, role, rules string) *office {
	t.Helper()
	o := &office{t: t, cluster: c, resource: fmt.Sprintf(officeResource, c.Addr, database, role)}
	o.Harness = gatetest.New(t, gatetest.Options{
		Objects:    o.resource + rules,
		Protocols:  protocol.PolicyTypes(New(protocol.Options{})),
		Detectors:  detectorNames(),
		Identities: []postern.Identity{{Name: "alice", Kind: postern.User}, {Name: "bob", Kind: postern.User, Groups: []string{"privacy"}}},
		Logins: map[string]postern.Login{
			pgcluster.Superuser: {Username: pgcluster.Superuser, Password: postern.NewSecret(c.Password)},
			pgcluster.RoleTrust: {Username: pgcluster.RoleTrust},
			"app":               {Username: "app", Password: postern.NewSecret("app")},
			"owner":             {Username: "owner", Password: postern.NewSecret("owner")},
		},
	})
	o.door = openDoor(t, o.Gate, protocol.Options{AllowPlaintext: true})
	return o
}

// conninfo is how alice gets in, but for host and port.
const conninfo = "user=alice password=token-alice dbname=db sslmode=disable"

// connect connects a Go client through the gateway.
func (o *office) connect() *pgconn.PgConn {
	o.t.Helper()
	return dial(o.t, "host="+o.door.host+" port="+o.door.port+" "+conninfo)
}

func dial(t testing.TB, conninfo string) *pgconn.PgConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, conninfo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// relay is the one of a client's session.
func (o *office) relay(t testing.TB, c *pgconn.PgConn) *relay {
	t.Helper()
	return o.door.relay(t, c.PID())
}

// relay is the one of the session that a cancel key is of.
func (d *door) relay(t testing.TB, pid uint32) *relay {
	t.Helper()
	keys := d.p.keys
	keys.mu.Lock()
	defer keys.mu.Unlock()
	r, ok := keys.holders[pid].target.(*relay)
	if !ok {
		t.Fatal("the session has no relay")
	}
	return r
}

// wire speaks the protocol message by message.
type wire struct {
	t    testing.TB
	conn net.Conn
	f    *pgproto3.Frontend

	parameters string // what ParameterStatus said since
}

// wire connects through the gateway.
func (o *office) wire() *wire {
	o.t.Helper()
	return newWire(o.t, o.connect())
}

// direct connects past it.
func (o *office) direct(database string) *wire {
	o.t.Helper()
	return newWire(o.t, o.cluster.Connect(o.t, database))
}

func newWire(t testing.TB, c *pgconn.PgConn) *wire {
	t.Helper()
	h, err := c.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	if tlsConn, ok := h.Conn.(*tls.Conn); ok {
		t.Cleanup(func() { _ = tlsConn.Close() })
	}
	t.Cleanup(func() { _ = h.Conn.Close() })
	if err := h.Conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The driver reads ahead where a write took long: its own reader has what came.
	return &wire{t: t, conn: h.Conn, f: h.Frontend}
}

func (w *wire) send(msgs ...pgproto3.FrontendMessage) {
	w.t.Helper()
	for _, m := range msgs {
		w.f.Send(m)
	}
	if err := w.f.Flush(); err != nil {
		w.t.Fatal(err)
	}
}

// until reads up to n ReadyForQuery, and returns what came as a line each.
func (w *wire) until(n int) string {
	w.t.Helper()
	var b strings.Builder
	for n > 0 {
		msg, err := w.f.Receive()
		if err != nil {
			w.t.Fatalf("after\n%s: %v", b.String(), err)
		}
		if _, ok := msg.(*pgproto3.ReadyForQuery); ok {
			n--
		}
		if s, ok := msg.(*pgproto3.ParameterStatus); ok {
			w.parameters += s.Name + "=" + s.Value + "\n"
		}
		b.WriteString(line(msg))
	}
	return b.String()
}

// next reads one message.
func (w *wire) next() string {
	w.t.Helper()
	msg, err := w.f.Receive()
	if err != nil {
		w.t.Fatal(err)
	}
	return line(msg)
}

// line is a message in one line; those that come at any time are left out, but
// for notices.
func line(msg pgproto3.BackendMessage) string {
	switch m := msg.(type) {
	case *pgproto3.ReadyForQuery:
		return "ready " + string(m.TxStatus) + "\n"
	case *pgproto3.ErrorResponse:
		return "error " + m.Code + " " + m.Message + "\n"
	case *pgproto3.NoticeResponse:
		return "notice " + m.Message + "\n"
	case *pgproto3.RowDescription:
		names := make([]string, len(m.Fields))
		for i, f := range m.Fields {
			names[i] = string(f.Name)
		}
		return "columns " + strings.Join(names, ",") + "\n"
	case *pgproto3.DataRow:
		values := make([]string, len(m.Values))
		for i, v := range m.Values {
			values[i] = string(v)
			if v == nil {
				values[i] = "NULL"
			}
		}
		return "row " + strings.Join(values, "|") + "\n"
	case *pgproto3.CommandComplete:
		return "done " + string(m.CommandTag) + "\n"
	case *pgproto3.CopyData:
		return "data " + strings.TrimSuffix(string(m.Data), "\n") + "\n"
	case *pgproto3.NotificationResponse:
		return "notify " + m.Channel + " " + m.Payload + "\n"
	case *pgproto3.FunctionCallResponse:
		return fmt.Sprintf("result %x\n", m.Result)
	case *pgproto3.ParameterStatus:
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", msg), "*pgproto3.")) + "\n"
}

// talk sends messages and reads up to n ReadyForQuery.
func (w *wire) talk(n int, msgs ...pgproto3.FrontendMessage) string {
	w.t.Helper()
	w.send(msgs...)
	return w.until(n)
}

// all sends messages and reads what they are answered with, however many
// ReadyForQuery that is.
func (w *wire) all(msgs ...pgproto3.FrontendMessage) string {
	w.t.Helper()
	w.send(join(msgs, syn(), q("rollback"), q("listen the_end"))...)
	got := ""
	for !strings.Contains(got, "done LISTEN\n") {
		got += w.next()
	}
	w.until(1)
	return got
}

// query sends a simple Query.
func (w *wire) query(text string) string {
	w.t.Helper()
	return w.talk(1, q(text))
}

// want runs a simple Query and compares.
func (w *wire) want(text, want string) {
	w.t.Helper()
	if got := w.query(text); got != want {
		w.t.Errorf("%s: got\n%swant\n%s", text, got, want)
	}
}

func q(text string) pgproto3.FrontendMessage { return &pgproto3.Query{String: text} }

func syn() pgproto3.FrontendMessage { return &pgproto3.Sync{} }

func parse(name, text string) pgproto3.FrontendMessage {
	return &pgproto3.Parse{Name: name, Query: text}
}

func bind(portal, statement string, params ...string) pgproto3.FrontendMessage {
	b := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: statement}
	for _, p := range params {
		b.Parameters = append(b.Parameters, []byte(p))
	}
	return b
}

func execute(portal string) pgproto3.FrontendMessage { return &pgproto3.Execute{Portal: portal} }

// run is a statement in the extended protocol, without its Sync.
func run(text string, params ...string) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{parse("", text), bind("", "", params...), &pgproto3.Describe{ObjectType: 'P'}, execute("")}
}

func join(all ...any) []pgproto3.FrontendMessage {
	var msgs []pgproto3.FrontendMessage
	for _, one := range all {
		switch m := one.(type) {
		case pgproto3.FrontendMessage:
			msgs = append(msgs, m)
		case []pgproto3.FrontendMessage:
			msgs = append(msgs, m...)
		}
	}
	return msgs
}

// events are the recording's events of a kind, of the last session.
func (o *office) events(kind postern.EventKind) []postern.Event {
	var all []postern.Event
	for _, e := range o.Recordings.Last().Events() {
		if e.Kind == kind {
			all = append(all, e)
		}
	}
	return all
}

func detectorNames() []string {
	var names []string
	for _, d := range mask.Detectors() {
		names = append(names, d.Name)
	}
	return names
}

// change puts other rules in force.
func (o *office) change(rules string) {
	o.t.Helper()
	o.SetObjects(o.resource + rules)
}
