package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/internal/gate"
	"postern/internal/gate/gatetest"
	"postern/internal/protocol"
	"postern/test/pgcluster"
)

// TestBlankConfig fills the environment and the home directory with all that
// pgconn looks at; nothing of it may show.
func TestBlankConfig(t *testing.T) {
	home := t.TempDir()
	for name, content := range map[string]string{
		".pgpass": "*:*:*:*:stolen\n", ".pg_service.conf": "[evil]\nhost=evil\n",
		".postgresql/root.crt": "no certificate", ".postgresql/postgresql.crt": "none", ".postgresql/postgresql.key": "none",
	} {
		path := filepath.Join(home, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"HOME": home, "PGHOST": "evil", "PGPORT": "1", "PGDATABASE": "evil", "PGUSER": "evil", "PGPASSWORD": "evil",
		"PGPASSFILE": home + "/.pgpass", "PGAPPNAME": "evil", "PGCONNECT_TIMEOUT": "1", "PGSSLMODE": "prefer",
		"PGSSLKEY": "evil", "PGSSLCERT": "evil", "PGSSLCERTMODE": "require", "PGSSLSNI": "0", "PGSSLROOTCERT": "evil",
		"PGSSLPASSWORD": "evil", "PGSSLNEGOTIATION": "direct", "PGTARGETSESSIONATTRS": "standby", "PGSERVICE": "evil",
		"PGSERVICEFILE": home + "/.pg_service.conf", "PGTZ": "evil", "PGOPTIONS": "-c evil=1",
		"PGMINPROTOCOLVERSION": "3.2", "PGMAXPROTOCOLVERSION": "3.2", "PGCHANNELBINDING": "require", "PGREQUIREAUTH": "none",
	} {
		t.Setenv(name, value)
	}
	config, err := blankConfig("")
	if err != nil {
		t.Fatal(err)
	}
	got := []any{
		config.Host, config.Port, config.Database, config.User, config.Password, config.TLSConfig, config.ConnectTimeout,
		config.KerberosSrvName, config.KerberosSpn, len(config.Fallbacks), config.SSLNegotiation, config.SSLCertMode,
		config.ValidateConnect == nil, config.MinProtocolVersion, config.MaxProtocolVersion, config.ChannelBinding, config.RequireAuth,
	}
	want := []any{
		"blank", uint16(5432), "blank", "blank", "blank", nil, time.Duration(0),
		"", "", 0, "", "allow", true, "3.0", "3.0", "prefer", "",
	}
	for i := range got {
		if i == 5 { // a nil *tls.Config
			if config.TLSConfig != nil {
				t.Error("TLS from nowhere")
			}
			continue
		}
		if got[i] != want[i] {
			t.Errorf("value %d is %v, want %v", i, got[i], want[i])
		}
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "postern-service-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := blankConfig("any host=evil"); err == nil {
		t.Error("target_session_attrs takes anything")
	}
}

func TestStepReader(t *testing.T) {
	message := func(kind byte, body string) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...)
	}
	stream := bytes.Join([][]byte{message('R', "\x00\x00\x00\x00"), message('S', "a\x00b\x00"), message('Z', "I")}, nil)
	rest := "bytes of what follows"
	for name, r := range map[string]io.Reader{
		"whole":      bytes.NewReader(append(bytes.Clone(stream), rest...)),
		"bytewise":   iotest.OneByteReader(bytes.NewReader(append(bytes.Clone(stream), rest...))),
		"with error": iotest.DataErrReader(bytes.NewReader(append(bytes.Clone(stream), rest...))),
	} {
		front := pgproto3.NewFrontend(&stepReader{r: r, budget: 1000}, io.Discard)
		for {
			msg, err := front.Receive()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, ok := msg.(*pgproto3.ReadyForQuery); ok {
				break
			}
		}
		if left, err := io.ReadAll(r); string(left) != rest || err != nil {
			t.Errorf("%s: left %q, %v", name, left, err)
		}
	}
	for name, hostile := range map[string][]byte{
		"huge":     []byte("S\x7f\xff\xff\xff"),
		"negative": []byte("S\x00\x00\x00\x03"),
		"endless":  bytes.Repeat(message('S', "a\x00b\x00"), 200),
	} {
		if _, err := io.ReadAll(&stepReader{r: bytes.NewReader(hostile), budget: 1000}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzStepReader(f *testing.F) {
	f.Add([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I"), 3)
	f.Fuzz(func(t *testing.T, stream []byte, chunk int) {
		if chunk < 1 || chunk > 1000 {
			return
		}
		in := bytes.NewReader(stream)
		s := &stepReader{r: in, budget: 500}
		p := make([]byte, chunk)
		for {
			n, err := s.Read(p)
			if n > chunk || s.left < 0 && err == nil {
				t.Fatalf("read %d of %d, %d left", n, chunk, s.left)
			}
			if err != nil {
				return
			}
		}
	})
}

// house is a gate around resources at the shared cluster.
type house struct {
	*gatetest.Harness
	cluster *pgcluster.Cluster
	logins  *loginKeys
	// route, when set before a session is open, is where every address leads.
	route func(context.Context) (net.Conn, error)
}

func (h *house) dial(ctx context.Context, _ postern.Resource, address string) (net.Conn, error) {
	if h.route != nil {
		return h.route(ctx)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// newHouse takes resources as YAML, in which {{addr}} is the cluster's address
// and {{ca}} the file with its authority. Everybody may open all of them.
func newHouse(t testing.TB, logins map[string]postern.Login, resources string, rules ...string) *house {
	t.Helper()
	c := cluster.Get(t)
	fill := strings.NewReplacer("{{addr}}", c.Addr, "{{ca}}", c.CAFile, "{{port}}", strings.TrimPrefix(c.Addr, "127.0.0.1:"))
	objects := fill.Replace(resources) + "\n---\n{kind: Access, name: everything, to: [everyone], on: {names: ['*']}}\n" + strings.Join(rules, "")
	if logins == nil {
		logins = map[string]postern.Login{}
	}
	logins[pgcluster.Superuser] = postern.Login{Username: pgcluster.Superuser, Password: postern.NewSecret(c.Password)}
	h := &house{cluster: c, logins: newLoginKeys(rand.Reader, time.Now)}
	h.Harness = gatetest.New(t, gatetest.Options{
		Objects: objects, Protocols: protocol.PolicyTypes(New(protocol.Options{})),
		Identities: []postern.Identity{{Name: "alice", Kind: postern.User}},
		Logins:     logins, Dial: h.dial,
	})
	return h
}

// open opens a session as alice.
func (h *house) open(t testing.TB, resource, database string) *gate.Session {
	t.Helper()
	caller, err := h.Authenticate(t.Context(), postern.Credential{
		User: "alice", Secret: postern.NewSecret("token-alice"), Resource: resource, Protocol: Name,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, h.Log)
	}
	s, err := caller.Open(t.Context(), postern.Target{Resource: resource, Database: database})
	if err != nil {
		t.Fatalf("%v\n%s", err, h.Log)
	}
	t.Cleanup(func() {
		if err := s.Close("the test is over"); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask runs a query over a hijacked connection, the simple way, and returns the
// first column of the rows.
func ask(t testing.TB, u *upstream, query string) []string {
	t.Helper()
	front := pgproto3.NewFrontend(u.conn, u.conn)
	front.SendQuery(&pgproto3.Query{String: query})
	if err := front.Flush(); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for {
		msg, err := front.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch msg := msg.(type) {
		case *pgproto3.DataRow:
			rows = append(rows, string(msg.Values[0]))
		case *pgproto3.ErrorResponse:
			rows = append(rows, msg.Code)
		case *pgproto3.ReadyForQuery:
			return rows
		}
	}
}

func connect(t testing.TB, h *house, resource string) (*upstream, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s := h.open(t, resource, "")
	u, err := connectUpstream(ctx, s, map[string]string{"application_name": "the client's", "TimeZone": "Europe/Berlin"}, h.logins, &blankConfigs{})
	if err == nil {
		t.Cleanup(func() { _ = u.conn.Close() })
	}
	return u, err
}

func TestConnectUpstream(t *testing.T) {
	c := cluster.Get(t)
	c.Exec(t, "postgres", `
		drop role if exists login_md5, login_password, login_trust, login_tls, login_cert;
		set password_encryption = 'md5'; create role login_md5 login password 'md5 secret';
		set password_encryption = 'scram-sha-256'; create role login_password login password 'plain secret';
		create role login_trust login; create role login_tls login password 'tls secret'; create role login_cert login`)
	cert, key := c.ClientCertificate(t, pgcluster.RoleCert)
	login := func(name, password string) postern.Login {
		return postern.Login{Username: name, Password: postern.NewSecret(password)}
	}
	logins := map[string]postern.Login{
		"login_md5": login("login_md5", "md5 secret"), "login_password": login("login_password", "plain secret"),
		"login_trust": login("login_trust", ""), "login_tls": login("login_tls", "tls secret"),
		"login_cert": {Username: "login_cert", Certificate: postern.NewSecret(string(cert)), PrivateKey: postern.NewSecret(string(key))},
		"wrong":      login("postgres", "wrong"),
	}
	h := newHouse(t, logins, `
{kind: Resource, name: full, type: postgres, address: '{{addr}}', database: postgres, tls: {ca_file: '{{ca}}'}, credentials: {username: postgres}}
---
{kind: Resource, name: named, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: verify-full, ca_file: '{{ca}}', server_name: localhost}, credentials: {username: login_tls}}
---
{kind: Resource, name: misnamed, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: verify-full, ca_file: '{{ca}}', server_name: elsewhere}, credentials: {username: login_tls}}
---
{kind: Resource, name: untrusted, type: postgres, address: '{{addr}}', database: postgres, credentials: {username: login_tls}}
---
{kind: Resource, name: required, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: require}, credentials: {username: login_tls}}
---
{kind: Resource, name: required-ca, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: require, ca_file: '{{ca}}', server_name: elsewhere}, credentials: {username: login_tls}}
---
{kind: Resource, name: clear, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: disable}, credentials: {username: postgres}}
---
{kind: Resource, name: clear-tls, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: disable}, credentials: {username: login_tls}}
---
{kind: Resource, name: certificate, type: postgres, address: '{{addr}}', database: postgres, tls: {ca_file: '{{ca}}'}, credentials: {username: login_cert}}
---
{kind: Resource, name: md5, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: disable}, credentials: {username: login_md5}}
---
{kind: Resource, name: password, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: disable}, credentials: {username: login_password}}
---
{kind: Resource, name: trust, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: disable}, credentials: {username: login_trust}}
---
{kind: Resource, name: wrong, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: disable}, credentials: {username: wrong}}
`)
	for name, want := range map[string]string{
		"full": "true", "named": "true", "required": "true", "required-ca": "true", "certificate": "true",
		"clear": "false", "md5": "false", "password": "false", "trust": "false",
	} {
		t.Run(name, func(t *testing.T) {
			u, err := connect(t, h, name)
			if err != nil {
				t.Fatal(err)
			}
			got := ask(t, u, "select ssl::text from pg_stat_ssl where pid = pg_backend_pid() union all select current_setting('application_name') || current_setting('TimeZone')")
			if strings.Join(got, "|") != want+"|the client'sEurope/Berlin" {
				t.Errorf("got %q", got)
			}
			if u.params["TimeZone"] != "Europe/Berlin" || u.params["server_version"] == "" || u.txStatus != 'I' || u.pid == 0 || len(u.secret) != 4 {
				t.Errorf("got %+v", u.params)
			}
		})
	}
	for name, want := range map[string]string{
		"misnamed": "elsewhere", "untrusted": "unknown authority", "clear-tls": "pg_hba.conf", "wrong": "authentication failed",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := connect(t, h, name)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v", err)
			}
			s := h.open(t, name, "")
			told := upstreamRefusal(s, err)
			for _, secret := range []string{"127.0.0.1", "localhost", "postgres\"", "login_tls", "wrong secret", "tls secret", "pg_hba"} {
				if strings.Contains(told.Error()+told.hint, secret) {
					t.Errorf("the client is told %q", told)
				}
			}
		})
	}
}

// TestPasswordInTheClear: a server elsewhere that asks for the password in
// clear text, without TLS, doesn't get it. Dialling is done by name, so the
// name is what counts.
// What a server says right behind its greeting, in the same breath, isn't lost.
func TestSaidBehindTheGreeting(t *testing.T) {
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	behind, err := (&pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000", Message: strings.Repeat("behind ", 1000)}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			served <- err
			return
		}
		defer func() { _ = conn.Close() }()
		if _, err := readPacket(conn); err != nil {
			served <- err
			return
		}
		var out []byte
		for _, m := range []pgproto3.BackendMessage{
			&pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "server_version", Value: "15"},
			&pgproto3.BackendKeyData{ProcessID: 7, SecretKey: []byte{1, 2, 3, 4}}, &pgproto3.ReadyForQuery{TxStatus: 'I'},
		} {
			if out, err = m.Encode(out); err != nil {
				served <- err
				return
			}
		}
		_, err = conn.Write(append(out, behind...))
		served <- err
		_, _ = io.Copy(io.Discard, conn)
	}()
	h := newHouse(t, map[string]postern.Login{"any": {Username: "any"}}, "{kind: Resource, name: r, type: postgres, address: '"+listener.Addr().String()+
		"', tls: {mode: disable}, credentials: {username: any}}")
	u, err := connect(t, h, "r")
	if err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	got := u.early
	if err := u.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, len(behind)-min(len(got), len(behind)))
	if _, err := io.ReadFull(u.conn, rest); err != nil {
		t.Fatal(err)
	}
	if got = append(got, rest...); !bytes.Equal(got, behind) {
		t.Errorf("%d bytes came of %d", len(got), len(behind))
	}
	if u.params["server_version"] != "15" || u.pid != 7 {
		t.Errorf("%+v", u)
	}
}

func TestPasswordInTheClear(t *testing.T) {
	c := cluster.Get(t)
	h := newHouse(t, map[string]postern.Login{"elsewhere": {Username: "login_password", Password: postern.NewSecret("x")}}, `
{kind: Resource, name: far, type: postgres, address: 'db.example:5432', database: postgres, tls: {mode: disable}, credentials: {username: elsewhere}}`)
	h.route = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", c.Addr)
	}
	_, err := connect(t, h, "far")
	if err == nil || !strings.Contains(err.Error(), "require_auth") {
		t.Errorf("got %v", err)
	}
}

func TestSeveralAddresses(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := dead.Addr().String()
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, nil, `
{kind: Resource, name: spread, type: postgres, addresses: ['`+nobody+`', 'localhost:{{port}}', '{{addr}}'], database: postgres, tls: {ca_file: '{{ca}}'}, credentials: {username: postgres}}
---
{kind: Resource, name: standby, type: postgres, addresses: ['`+nobody+`', '{{addr}}'], database: postgres, tls: {ca_file: '{{ca}}'}, credentials: {username: postgres}, options: {target_session_attrs: standby}}
---
{kind: Resource, name: prefer, type: postgres, addresses: ['`+nobody+`', '{{addr}}'], database: postgres, tls: {ca_file: '{{ca}}'}, credentials: {username: postgres}, options: {target_session_attrs: prefer-standby}}
---
{kind: Resource, name: down, type: postgres, addresses: ['`+nobody+`'], database: postgres, credentials: {username: postgres}}
`)
	u, err := connect(t, h, "spread")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(u.address, "localhost:") || strings.Join(ask(t, u, "select 1"), "") != "1" {
		t.Errorf("connected to %s", u.address)
	}
	if u, err = connect(t, h, "prefer"); err != nil || strings.Join(ask(t, u, "select 1"), "") != "1" {
		t.Errorf("prefer-standby: %v", err)
	}
	if _, err := connect(t, h, "standby"); err == nil {
		t.Error("a primary passes for a standby")
	}
	_, err = connect(t, h, "down")
	if told := upstreamRefusal(h.open(t, "down", ""), err); err == nil || told.code != "08006" || !strings.Contains(told.Error(), "can't reach resource down") {
		t.Errorf("got %v, %v", err, told)
	}
}

func TestUpstreamCancel(t *testing.T) {
	h := newHouse(t, nil, `
{kind: Resource, name: secured, type: postgres, address: '{{addr}}', database: postgres, tls: {ca_file: '{{ca}}'}, credentials: {username: postgres}}
---
{kind: Resource, name: clear, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: disable}, credentials: {username: postgres}}
`)
	for _, name := range []string{"secured", "clear"} {
		t.Run(name, func(t *testing.T) {
			u, err := connect(t, h, name)
			if err != nil {
				t.Fatal(err)
			}
			running := h.cluster.Connect(t, "postgres")
			answer := make(chan []string)
			go func() { answer <- ask(t, u, "select pg_sleep(60)") }()
			for {
				rows, err := running.Exec(t.Context(), "select 1 from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'").ReadAll()
				if err != nil {
					t.Fatal(err)
				}
				if len(rows[0].Rows) > 0 {
					break
				}
			}
			if err := u.cancel(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(<-answer, ""); got != "57014" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestUpstreamCancelIsBounded: a server that takes the connection and says
// nothing holds nobody up for longer than the context allows.
func TestUpstreamCancelIsBounded(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	h := newHouse(t, nil, `
{kind: Resource, name: mute, type: postgres, address: 'mute:5432', tls: {mode: disable}, credentials: {username: postgres}}`)
	h.route = func(context.Context) (net.Conn, error) { return ours, nil }
	u := &upstream{session: h.open(t, "mute", ""), address: "mute:5432", secret: []byte{1, 2, 3, 4}}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := u.cancel(ctx); err != nil {
		t.Error(err)
	}
	if ctx.Err() == nil {
		t.Error("it returned before the server had answered")
	}
}

func TestUpstreamRefusal(t *testing.T) {
	h := newHouse(t, nil, `
{kind: Resource, name: orders-db, type: postgres, address: '10.1.2.3:5432', database: orders, credentials: {username: postgres}}`)
	s := h.open(t, "orders-db", "")
	check := func(t *testing.T, code, message, want string) {
		t.Helper()
		r := upstreamRefusal(s, connectError(s, &pgconn.PgError{Severity: "FATAL", Code: code, Message: message}))
		if got := r.code + " " + r.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	check(t, "3D000", `database "orders" does not exist`, `3D000 postern: resource orders-db has no database "orders"`)
	check(t, "28P01", `password authentication failed for user "postgres"`, `08004 postern: resource orders-db refuses the gateway's own login; tell an administrator`)
	check(t, "28000", `no pg_hba.conf entry for host "10.0.0.7"`, `08004 postern: resource orders-db refuses the gateway's own login; tell an administrator`)
	check(t, "53300", `sorry, too many clients already`, `53300 postern: resource orders-db has no connection to spare; try again later`)
	check(t, "57P03", `the database system is starting up`, `57P03 postern: resource orders-db takes no connections now: it is starting up, recovering or shutting down; try again soon`)
	check(t, "42704", `unrecognized configuration parameter "x"`, `42704 postern: resource orders-db refuses the connection: unrecognized configuration parameter "x"`)
	check(t, "22023", `invalid value for parameter "TimeZone": "Moon"`, `22023 postern: resource orders-db refuses the connection: invalid value for parameter "TimeZone": "Moon"`)
	check(t, "42501", `permission denied for role "postgres"`, `08004 postern: resource orders-db refuses the connection; tell an administrator`)
	check(t, "22023", `invalid value for parameter "postgres_fdw.x"`, `22023 postern: resource orders-db refuses the connection: invalid value for parameter "postgres_fdw.x"`)
	check(t, "22023", `not from 10.1.2.3`, `08004 postern: resource orders-db refuses the connection; tell an administrator`)
	check(t, "", `no SQLSTATE at all`, `08004 postern: resource orders-db refuses the connection; tell an administrator`)
	check(t, "XX000", strings.Repeat("x", 9999), `08004 postern: resource orders-db refuses the connection; tell an administrator`)
}
