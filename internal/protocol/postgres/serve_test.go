package postgres

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/internal/protocol"
	"postern/test/pgcluster"
)

const shop = `
{kind: Resource, name: orders-db, type: postgres, address: '{{addr}}', database: postgres, tls: {ca_file: '{{ca}}'}, credentials: {username: postgres}}
---
{kind: Resource, name: gone-db, type: postgres, address: '127.0.0.1:1', database: postgres, credentials: {username: postgres}}
---
{kind: Resource, name: locked-db, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: disable}, credentials: {username: nobody}}
---
{kind: Resource, name: other, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: disable}, credentials: {username: postgres}, labels: {strict: 'yes'}}
`

// openShop is a gateway with TLS in front of the cluster.
func openShop(t testing.TB, rules ...string) (*house, *door, identity) {
	t.Helper()
	h := newHouse(t, map[string]postern.Login{"nobody": {Username: "nobody", Password: postern.NewSecret("open sesame")}}, shop, rules...)
	id := newIdentity(t)
	return h, openDoor(t, h.Gate, protocol.Options{TLS: id.config}), id
}

func TestPsql(t *testing.T) {
	h, d, id := openShop(t)
	const in = "user=alice password=token-alice sslmode=require dbname="
	check := func(t *testing.T, conninfo, query, want string) {
		t.Helper()
		out, _ := d.psql(t, conninfo, "-c", query)
		if !strings.Contains(out, want) {
			t.Errorf("%s: got\n%s\nwant %s\n%s", conninfo, out, want, h.Log)
		}
	}
	check(t, in+"orders-db", "select current_database()", "postgres\n")
	check(t, in+"orders-db/template1", "select current_database()", "template1\n")
	check(t, in+"orders-db application_name=tour", "select current_setting('application_name')", "tour\n")
	check(t, in+"orders-db options='-c TimeZone=Asia/Tokyo'", "show timezone", "Asia/Tokyo\n")
	check(t, in+"orders-db client_encoding=latin1", "show client_encoding", "LATIN1\n")
	check(t, in+"orders-db sslmode=verify-full sslrootcert="+id.caFile, "select 'safe'", "safe\n")
	check(t, "user=postern password=token-alice sslmode=require dbname=orders-db", "select 'as postern'", "as postern\n")
	check(t, "user=bob password=token-alice sslmode=require dbname=orders-db", "select 1", "FATAL:  postern: login refused")
	check(t, "user=alice password=wrong sslmode=require dbname=orders-db", "select 1", "FATAL:  postern: login refused")
	check(t, "user=alice password='' sslmode=require dbname=orders-db", "select 1", "fe_sendauth: no password supplied")
	check(t, "user=alice password=token-alice sslmode=require", "select 1", "FATAL:  postern: login refused")
	check(t, in+"no-such-thing", "select 1", "FATAL:  postern: login refused")
	check(t, in+"orders-db/no-such-database", "select 1", `FATAL:  postern: resource orders-db has no database "no-such-database"`)
	check(t, in+"gone-db", "select 1", "FATAL:  postern: can't reach resource gone-db")
	check(t, in+"locked-db", "select 1", "FATAL:  postern: resource locked-db refuses the gateway's own login; tell an administrator")
	check(t, in+"orders-db replication=database", "IDENTIFY_SYSTEM", "FATAL:  postern: replication connections can't pass")
	check(t, in+"orders-db replication=1", "IDENTIFY_SYSTEM", "FATAL:  postern: replication connections can't pass")
	check(t, in+"orders-db replication=off", "select 'no replication'", "no replication\n")
	check(t, in+"orders-db options='-c nonsense=1'", "select 1", `unrecognized configuration parameter "nonsense"`)
	check(t, in+"orders-db sslmode=disable", "select 1", "sslmode=require")
	log := h.Log.String()
	for _, secret := range []string{"token-alice", h.cluster.Password, "open sesame"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// TestStartupSettingsAreDecided: what SET may not do, a startup message may
// not do either.
func TestStartupSettingsAreDecided(t *testing.T) {
	h, d, _ := openShop(t, "---\n{kind: Rule, name: no-set, on: {labels: {strict: 'yes'}}, when: 'command.verb in [\"set\", \"unknown\"]', then: deny, message: Leave it.}\n")
	h.cluster.Exec(t, "postgres", "drop role if exists other_role; create role other_role")
	const in = "user=alice password=token-alice sslmode=require dbname="
	check := func(t *testing.T, conninfo, want string) {
		t.Helper()
		out, _ := d.psql(t, in+conninfo, "-c", "select current_user")
		if !strings.Contains(out, want) {
			t.Errorf("%s: got\n%s\nwant %s", conninfo, out, want)
		}
	}
	const denied = `FATAL:  postern: denied by rule "no-set": Leave it.`
	check(t, "orders-db options='-c role=other_role'", "other_role\n")
	check(t, "other options='-c role=other_role'", denied)
	check(t, "other options='--search-path=x'", denied)
	check(t, "other options='-O'", `FATAL:  postern: denied by rule "no-set"`)
	check(t, "other options='-c DateStyle=German'", "postgres\n")
	check(t, "other", "postgres\n")
	var text string
	for _, s := range h.Sessions.All() {
		for _, e := range h.Recordings.Of(s.ID).Events() {
			if e.Kind == postern.EventCommand {
				text += e.Command.Text + "\n"
			}
		}
	}
	if !strings.Contains(text, "SET role TO 'other_role'\n") || strings.Contains(text, "DateStyle") {
		t.Errorf("recorded:\n%s", text)
	}
}

// TestParametersAreTheServers compares what a client learns through the
// gateway with what it learns past it.
func TestParametersAreTheServers(t *testing.T) {
	h, d, id := openShop(t)
	names := []string{
		"server_version", "server_encoding", "client_encoding", "application_name", "is_superuser", "session_authorization",
		"DateStyle", "IntervalStyle", "TimeZone", "integer_datetimes", "standard_conforming_strings", "in_hot_standby", "default_transaction_read_only",
	}
	told := func(c *pgconn.PgConn) map[string]string {
		all := make(map[string]string)
		for _, n := range names {
			all[n] = c.ParameterStatus(n)
		}
		return all
	}
	direct, through := told(h.cluster.Connect(t, "postgres")), told(enter(t, d, id, "3.0"))
	if !maps.Equal(direct, through) {
		t.Errorf("direct  %q\nthrough %q", direct, through)
	}
}

// enter connects a Go client through the gateway, with direct TLS.
func enter(t testing.TB, d *door, id identity, version string) *pgconn.PgConn {
	t.Helper()
	config, err := pgconn.ParseConfig("sslnegotiation=direct sslmode=require sslrootcert=" + id.caFile + " host=" + d.host + " port=" + d.port)
	if err != nil {
		t.Fatal(err)
	}
	config.User, config.Password, config.Database = "alice", "token-alice", "orders-db"
	config.MaxProtocolVersion = version
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// sleeping waits until the server runs the query with the marker, and returns
// the process id.
func sleeping(t testing.TB, h *house, marker string) string {
	t.Helper()
	watch := h.cluster.Connect(t, "postgres")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		results, err := watch.Exec(ctx, "select pid from pg_stat_activity where query like '%pg_sleep(60)%"+marker+"%' and state = 'active' and pid <> pg_backend_pid()").ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if rows := results[0].Rows; len(rows) == 1 {
			return string(rows[0][0])
		}
	}
}

func TestCancelThroughTheGateway(t *testing.T) {
	h, d, id := openShop(t)
	for _, version := range []string{"3.0", "3.2"} {
		t.Run(version, func(t *testing.T) {
			c := enter(t, d, id, version)
			if want := map[string]int{"3.0": 4, "3.2": 32}[version]; len(c.SecretKey()) != want {
				t.Fatalf("a secret of %d bytes", len(c.SecretKey()))
			}
			answer := make(chan error, 1)
			go func() {
				_, err := c.Exec(t.Context(), "select pg_sleep(60) -- "+version).ReadAll()
				answer <- err
			}()
			pid := sleeping(t, h, "-- "+version)
			if pid == strconv.FormatUint(uint64(c.PID()), 10) {
				t.Error("the server's own key was handed out")
			}
			if err := c.CancelRequest(t.Context()); err != nil {
				t.Fatal(err)
			}
			var told *pgconn.PgError
			if err := <-answer; !errors.As(err, &told) || told.Code != "57014" {
				t.Errorf("got %v", err)
			}
			if _, err := c.Exec(t.Context(), "select 1").ReadAll(); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestCtrlC is what a person does: psql sends its cancel request in clear
// text, on a gateway that refuses clear text otherwise.
func TestCtrlC(t *testing.T) {
	h, d, _ := openShop(t)
	program, err := pgcluster.Binary("psql")
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: ", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-X", "-w", "-A", "-t",
		"host="+d.host+" port="+d.port+" user=alice password=token-alice dbname=orders-db sslmode=require",
		"-c", "select pg_sleep(60) -- ctrl-c")
	cmd.Env = []string{"LC_ALL=C", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sleeping(t, h, "-- ctrl-c")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // psql's exit code is that of its last command
	if got := out.String(); !strings.Contains(got, "canceling statement due to user request") {
		t.Errorf("got %s", got)
	}
	if !slices.ContainsFunc(h.Recordings.Last().Events(), func(e postern.Event) bool {
		return e.Kind == postern.EventNotice && e.Text == "cancel request from 127.0.0.1"
	}) {
		t.Error("the cancel request isn't in the recording")
	}
}

// TestEndedSessionStopsItsQuery: a killed session's query doesn't run on.
func TestEndedSessionStopsItsQuery(t *testing.T) {
	h, d, id := openShop(t)
	c := enter(t, d, id, "3.0")
	answer := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), "select pg_sleep(60) -- killed").ReadAll()
		answer <- err
	}()
	pid := sleeping(t, h, "-- killed")
	h.End("killed by carol", func(postern.SessionInfo) bool { return true })
	var told *pgconn.PgError
	if err := <-answer; !errors.As(err, &told) || told.Code != "57P01" || told.Message != "postern: session ended: killed by carol" || !strings.HasPrefix(told.Hint, "session ss_") {
		t.Errorf("got %v", err)
	}
	if err := d.served(t); err != nil {
		t.Error(err)
	}
	watch := h.cluster.Connect(t, "postgres")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		results, err := watch.Exec(ctx, "select 1 from pg_stat_activity where pid = "+pid).ReadAll()
		if err != nil {
			t.Fatal("the query runs on: ", err)
		}
		if len(results[0].Rows) == 0 {
			break
		}
	}
}

// TestIdleSessionEnds: a session over TLS that waits for its client, before the first
// query and after one, is told that it ends, and notices that its client is gone.
func TestIdleSessionEnds(t *testing.T) {
	for _, query := range []string{"", "select 1"} {
		for name, end := range map[string]func(*house, *pgconn.HijackedConn){
			"killed": func(h *house, c *pgconn.HijackedConn) {
				h.End("killed by carol", func(postern.SessionInfo) bool { return true })
				msg, err := c.Frontend.Receive()
				told, ok := msg.(*pgproto3.ErrorResponse)
				if !ok || told.Code != "57P01" || told.Message != "postern: session ended: killed by carol" {
					t.Errorf("the client is told %+v, %v", msg, err)
				}
				if _, err := c.Frontend.Receive(); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
					t.Errorf("then: %v", err)
				}
			},
			"its client breaks off": func(_ *house, c *pgconn.HijackedConn) {
				_ = c.Conn.(*tls.Conn).NetConn().Close() // without TLS's own goodbye
			},
			"its client breaks off in a record": func(_ *house, c *pgconn.HijackedConn) {
				below := c.Conn.(*tls.Conn).NetConn()
				_, _ = below.Write([]byte{23, 3, 3, 0, 40, 1, 2})
				_ = below.Close()
			},
		} {
			t.Run(name+", "+query, func(t *testing.T) {
				h, d, id := openShop(t)
				conn := enter(t, d, id, "3.0")
				if query != "" {
					if _, err := conn.Exec(t.Context(), query).ReadAll(); err != nil {
						t.Fatal(err)
					}
				}
				c, err := conn.Hijack()
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Conn.Close() }()
				if err := c.Conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
				end(h, c)
				if err := d.served(t); err != nil {
					t.Error(err)
				}
				outcome, reason := "ok", "the client disconnected"
				if name == "killed" {
					outcome, reason = "ended", "postern: session ended: killed by carol"
				}
				if e := closed(t, h.Harness); e.Outcome != outcome || e.Reason != reason {
					t.Errorf("in the audit log: %+v", e)
				}
			})
		}
	}
}

// TestLastWordArrives: a client that is killed in the middle of sending is
// told so, although it hasn't sent all yet. It has partingTime to read that, and a
// driver that can't write any more closes its connection before it reads: that may
// happen once, but not each time.
func TestLastWordArrives(t *testing.T) {
	for range 5 {
		err := killedWhileSending(t)
		if err == nil {
			return
		}
		t.Log(err)
	}
	t.Error("the client was never told")
}

// killedWhileSending is nil if a client that is killed was told.
func killedWhileSending(t *testing.T) error {
	t.Helper()
	h, d, id := openShop(t)
	h.cluster.Exec(t, "postgres", "drop table if exists heap; create table heap (line text)")
	c := enter(t, d, id, "3.0")
	lines := &endless{line: bytes.Repeat([]byte("x"), 8000), under: make(chan struct{})}
	answer := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		_, err := c.CopyFrom(ctx, lines, "copy heap from stdin")
		answer <- err
	}()
	select {
	case <-lines.under:
	case err := <-answer:
		t.Fatalf("it ended before it was killed: %v", err)
	}
	h.End("killed by carol", func(postern.SessionInfo) bool { return true })
	var told *pgconn.PgError
	err := <-answer
	if errors.As(err, &told) && told.Code == "57P01" {
		err = nil
	}
	if err := d.served(t); err != nil {
		t.Error(err)
	}
	if n := h.cluster.Exec(t, "postgres", "select count(*) from heap")[0][0]; n != "0" {
		t.Errorf("%s lines stayed", n)
	}
	return err
}

// endless is text without an end; under is closed when it has got going.
type endless struct {
	line  []byte
	n     int
	under chan struct{}
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n++; e.n == 1000 {
		close(e.under)
	}
	n := copy(p, e.line)
	p[n-1] = '\n'
	return n, nil
}

// TestMuteUpstream: a server that takes the connection and says nothing costs
// the client no more than the handshake's time, and it is told.
func TestMuteUpstream(t *testing.T) {
	h := newHouse(t, nil, `{kind: Resource, name: orders-db, type: postgres, address: 'mute:5432', tls: {mode: disable}, credentials: {username: postgres}}`)
	ours, theirs := net.Pipe()
	h.route = func(context.Context) (net.Conn, error) { return ours, nil }
	go func() {
		buf := make([]byte, 1024)
		for {
			if _, err := theirs.Read(buf); err != nil {
				return
			}
		}
	}()
	id := newIdentity(t)
	d := openDoor(t, h.Gate, protocol.Options{TLS: id.config, HandshakeTimeout: time.Second})
	out, err := d.psql(t, "user=alice password=token-alice sslmode=require dbname=orders-db", "-c", "select 1")
	if err == nil || !strings.Contains(out, "FATAL:  postern: can't reach resource orders-db") {
		t.Errorf("got %v\n%s", err, out)
	}
	if err := d.served(t); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("the operator is told %v", err)
	}
}

func TestCertificatesAreReloaded(t *testing.T) {
	first, second := newIdentity(t), newIdentity(t)
	var current atomic.Pointer[tls.Config]
	current.Store(first.config)
	base := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.Load(), nil }}
	d := openDoor(t, shut(t), protocol.Options{TLS: base})
	shake := func(id identity) error {
		return tls.Client(d.dial(t), &tls.Config{RootCAs: id.roots, ServerName: "localhost", NextProtos: []string{"postgresql"}}).Handshake()
	}
	if err := shake(first); err != nil {
		t.Error(err)
	}
	current.Store(second.config)
	if err := shake(second); err != nil {
		t.Error(err)
	}
	if shake(first) == nil {
		t.Error("the old certificate is still shown")
	}
}

// TestCheck is what `postern doctor` asks of a resource.
func TestCheck(t *testing.T) {
	h := newHouse(t, map[string]postern.Login{"nobody": {Username: "nobody", Password: postern.NewSecret("open sesame")}}, shop)
	p := New(protocol.Options{})
	if err := p.Check(t.Context(), h.open(t, "orders-db", "")); err != nil {
		t.Error(err)
	}
	for resource, want := range map[string]string{"gone-db": "connection refused", "locked-db": "28P01"} {
		if err := p.Check(t.Context(), h.open(t, resource, "")); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "open sesame") {
			t.Errorf("%s: %v", resource, err)
		}
	}
}

// TestAbandonedResult: a client that leaves in the midst of a result that is larger than
// anybody would read ends its query, however it leaves: the server isn't kept at it.
func TestAbandonedResult(t *testing.T) {
	for name, leave := range map[string]func(net.Conn){
		"it says goodbye":    func(conn net.Conn) { _, _ = conn.Write([]byte{'X', 0, 0, 0, 4}) },
		"it only breaks off": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			_, d, id := openShop(t)
			conn := enter(t, d, id, "3.0")
			c, err := conn.Hijack()
			if err != nil {
				t.Fatal(err)
			}
			c.Frontend.SendQuery(&pgproto3.Query{String: "select repeat('x', 1000), generate_series(1, 300000000)"})
			if err := c.Frontend.Flush(); err != nil {
				t.Fatal(err)
			}
			for range 1000 {
				if _, err := c.Frontend.Receive(); err != nil {
					t.Fatal(err)
				}
			}
			leave(c.Conn)
			_ = c.Conn.Close()
			if err := d.served(t); err != nil { // it would take minutes
				t.Error(err)
			}
		})
	}
}
