package postgres

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/goleak"

	"postern"
	"postern/internal/gate"
	"postern/internal/policy"
	"postern/internal/protocol"
)

func TestParseStartup(t *testing.T) {
	check := func(t *testing.T, packet []byte, want string) {
		t.Helper()
		msg, err := parseStartup(packet[4:])
		got := fmt.Sprintf("3.%d", msg.minor)
		for _, name := range slices.Sorted(maps.Keys(msg.params)) {
			got += " " + name + "=" + msg.params[name]
		}
		if len(msg.pq) > 0 {
			got += " " + strings.Join(msg.pq, ",")
		}
		var refused *refusal
		if errors.As(err, &refused) {
			got = refused.code + " " + refused.message
		}
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	check(t, startupPacket(3<<16, "user", "alice"), "3.0 user=alice")
	check(t, startupPacket(3<<16, "user", "alice", "database", "orders-db/x", "options", ""), "3.0 database=orders-db/x options= user=alice")
	check(t, startupPacket(3<<16|2, "_pq_.new", "1", "user", "a", "_pq_.other", ""), "3.2 user=a _pq_.new,_pq_.other")
	check(t, startupPacket(3<<16|9999, "TimeZone", "Europe/Berlin"), "3.9999 TimeZone=Europe/Berlin")
	check(t, startupPacket(3<<16), "3.0")
	check(t, startupPacket(2<<16), "0A000 unsupported frontend protocol 2.0: this gateway speaks 3.0 to 3.2")
	check(t, startupPacket(0x48545450), "0A000 unsupported frontend protocol 18516.21584: this gateway speaks 3.0 to 3.2")
	check(t, startupPacket(3<<16, "user", "a", "user", "b"), "08P01 malformed startup packet: parameter user is given twice")
	check(t, startupPacket(3<<16, "us er", "a"), "08P01 malformed startup packet: a parameter's name")
	check(t, startupPacket(3<<16, "user", "\xff"), "08P01 malformed startup packet: user is not UTF-8")
	check(t, startupPacket(3<<16, "options", "\xff"), "3.0 options=\xff")
	check(t, startupPacket(3<<16, "user", "a", ""), "08P01 malformed startup packet: bytes after the terminator")
	check(t, packet([]byte("\x00\x03\x00\x00user\x00a\x00")), "08P01 malformed startup packet: no terminator")
	check(t, packet([]byte("\x00\x03\x00\x00user\x00a")), "08P01 malformed startup packet: a parameter without a value")
	check(t, packet([]byte("\x00\x03\x00\x00user")), "08P01 malformed startup packet: no terminator")
	check(t, packet([]byte("\x00\x03")), "08P01 malformed startup packet: too short")
}

func TestTarget(t *testing.T) {
	check := func(t *testing.T, user, database, want string) {
		t.Helper()
		r, db := target(map[string]string{"user": user, "database": database})
		if got := r + "|" + db; got != want {
			t.Errorf("%q %q: got %s, want %s", user, database, got, want)
		}
	}
	check(t, "alice", "orders-db", "orders-db|")
	check(t, "alice", "orders-db/reporting", "orders-db|reporting")
	check(t, "alice", "orders-db/a/b", "orders-db|a/b")
	check(t, "alice", "orders-db/", "orders-db|")
	check(t, "alice", "", "alice|")
	check(t, "alice", "/etc", "|etc")
}

func TestSettingsLeaveOutWhoAndWhere(t *testing.T) {
	got := settings(map[string]string{
		"user": "a", "database": "b", "replication": "false", "password": "c", "User": "d",
		"TimeZone": "UTC", "options": "-c geqo=off", "application_name": "x",
	})
	want := map[string]string{"TimeZone": "UTC", "options": "-c geqo=off", "application_name": "x"}
	if !maps.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestReplicates(t *testing.T) {
	for value, want := range map[string]bool{
		"true": true, "on": true, "1": true, "yes": true, "database": true, "": true, "nonsense": true,
		"false": false, "off": false, "0": false, "no": false, "FALSE": false,
	} {
		if got := replicates(map[string]string{"replication": value}); got != want {
			t.Errorf("replication=%q: %v", value, got)
		}
	}
	if replicates(map[string]string{}) {
		t.Error("without the parameter")
	}
}

func TestClientName(t *testing.T) {
	check := func(t *testing.T, name, want string) {
		t.Helper()
		if got := clientName(map[string]string{"application_name": name}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check(t, "psql", "psql")
	check(t, "a\x1b[31m\nb", "a?[31m?b")
	check(t, strings.Repeat("x", 62)+"é", strings.Repeat("x", 62))
}

// FuzzParseStartup holds the decoder to what the server's own would read: what
// was understood is all that the packet says.
func FuzzParseStartup(f *testing.F) {
	f.Add(startupPacket(3<<16, "user", "alice", "database", "orders-db")[4:])
	f.Add(startupPacket(3<<16|2, "user", "alice", "_pq_.x", "y")[4:])
	f.Add([]byte("\x00\x03\x00\x00user\x00a\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		msg, err := parseStartup(body)
		if err != nil {
			var refused *refusal
			if !errors.As(err, &refused) {
				t.Fatalf("an error without words for the client: %v", err)
			}
			return
		}
		size := 4 + 1
		for name, value := range msg.params {
			size += len(name) + 1 + len(value) + 1
			if !bytes.Contains(body, []byte("\x00"+name+"\x00"+value+"\x00")) && !bytes.HasPrefix(body[4:], []byte(name+"\x00"+value+"\x00")) {
				t.Fatalf("%q=%q isn't in the packet", name, value)
			}
		}
		if len(msg.pq) == 0 && size != len(body) {
			t.Fatalf("understood %d of %d bytes", size, len(body))
		}
	})
}

// FuzzAdmit sends anything through the door: it must come out as a startup
// message, a cancel key or an error, and only TLS or the message may be read.
func FuzzAdmit(f *testing.F) {
	f.Add(append(requestPacket(sslRequestCode), startupPacket(3<<16, "user", "a")...))
	f.Add(append(requestPacket(gssencRequestCode), startupPacket(3<<16|3, "user", "a")...))
	f.Add(packet(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, cancelRequestCode), 1<<32|7)))
	f.Add([]byte("\x16\x03\x01\x00\x05"))
	f.Add(append(startupPacket(3<<16, "user", "a"), "p\x00\x00\x00\x07ab\x00"...))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	plain := New(protocol.Options{AllowPlaintext: true})
	f.Fuzz(func(t *testing.T, sent []byte) {
		conn := &byteConn{Reader: bytes.NewReader(sent)}
		client, key, err := plain.admit(t.Context(), conn)
		switch {
		case err != nil:
		case key != nil:
			if len(key.secret) < 4 || len(key.secret) > maxCancelSecret {
				t.Fatalf("a cancel key of %d bytes", len(key.secret))
			}
		case client.params == nil || client.minor != 0 && client.minor != 2:
			t.Fatalf("admitted without a startup message: %+v", client)
		default:
			if token, err := askPassword(client); err == nil && len(token.Reveal()) >= len(sent) {
				t.Fatal("a password longer than what was sent")
			}
		}
	})
}

// shut is a gate that refuses everybody.
func shut(t testing.TB) *gate.Gate {
	t.Helper()
	return newGate(t, gate.Config{
		Admit: func(context.Context, postern.Credential) (postern.Admission, error) {
			return postern.Admission{}, errors.New("nobody may come in")
		},
	})
}

// newGate fills in what the test doesn't care for with parts that refuse.
func newGate(t testing.TB, cfg gate.Config) *gate.Gate {
	t.Helper()
	refuse := errors.New("not in this test")
	cfg.Policy = func() *policy.Set { return &policy.Set{} }
	cfg.Secrets = func(context.Context, postern.CredentialRefs) (postern.Login, error) { return postern.Login{}, refuse }
	cfg.Dial = func(context.Context, postern.Resource, string) (net.Conn, error) {
		t.Error("an upstream was dialled")
		return nil, refuse
	}
	cfg.StartRecording = func(postern.SessionInfo) (gate.Recording, error) { return nil, refuse }
	cfg.Audit, cfg.Reviews = silentAudit{}, noReviews{}
	cfg.MaskKey, cfg.ReviewURL = postern.NewSecret("key"), func(string) string { return "" }
	cfg.Now, cfg.Rand = time.Now, zeros{}
	g, err := gate.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

type silentAudit struct{ gate.Audit }

func (silentAudit) Append(context.Context, postern.AuditEntry) error { return nil }
func (silentAudit) Queue(postern.AuditEntry) error                   { return nil }

type noReviews struct{ gate.Reviews }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// ticketCounter counts what a client is given to resume a session of TLS with.
type ticketCounter struct {
	tls.ClientSessionCache
	n int
}

// Put implements [tls.ClientSessionCache].
func (c *ticketCounter) Put(key string, s *tls.ClientSessionState) {
	if s != nil {
		c.n++
	}
	c.ClientSessionCache.Put(key, s)
}

func TestHandshake(t *testing.T) {
	id := newIdentity(t)
	secured := openDoor(t, shut(t), protocol.Options{TLS: id.config})
	plain := openDoor(t, shut(t), protocol.Options{AllowPlaintext: true})
	hello := startupPacket(3<<16, "user", "alice", "database", "orders-db")
	client := &tls.Config{RootCAs: id.roots, ServerName: "localhost"}

	// refused goes on after the startup message to the refusal of the password.
	refused := func(t *testing.T, conn net.Conn) {
		t.Helper()
		front := pgproto3.NewFrontend(conn, conn)
		if msg, err := front.Receive(); err != nil {
			t.Fatal(err)
		} else if _, ok := msg.(*pgproto3.AuthenticationCleartextPassword); !ok {
			t.Fatalf("got %#v", msg)
		}
		front.Send(&pgproto3.PasswordMessage{Password: "wrong"})
		if err := front.Flush(); err != nil {
			t.Fatal(err)
		}
		expectFatal(t, conn, "28P01", "login refused")
	}

	// asked asks for TLS, and goes on as far.
	asked := func(t *testing.T, conn net.Conn, config *tls.Config) *tls.Conn {
		t.Helper()
		write(t, conn, requestPacket(sslRequestCode))
		expectByte(t, conn, 'S')
		over := tls.Client(conn, config)
		write(t, over, hello)
		refused(t, over)
		return over
	}

	t.Run("TLS asked for", func(t *testing.T) { asked(t, secured.dial(t), client) })
	t.Run("no ticket", func(t *testing.T) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			config := client.Clone()
			tickets := &ticketCounter{ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			config.MaxVersion, config.ClientSessionCache = version, tickets
			over := asked(t, secured.dial(t), config)
			if got := over.ConnectionState().Version; got != version || tickets.n != 0 {
				t.Errorf("%d tickets in version %x of %x", tickets.n, got, version)
			}
		}
	})
	t.Run("TLS after GSSAPI", func(t *testing.T) {
		conn := secured.dial(t)
		write(t, conn, requestPacket(gssencRequestCode))
		expectByte(t, conn, 'N')
		asked(t, conn, client)
	})
	t.Run("direct TLS", func(t *testing.T) {
		config := client.Clone()
		config.NextProtos = []string{"postgresql"}
		over := tls.Client(secured.dial(t), config)
		write(t, over, hello)
		refused(t, over)
	})
	t.Run("direct TLS without ALPN", func(t *testing.T) {
		over := tls.Client(secured.dial(t), client)
		write(t, over, hello)
		expectFatal(t, over, "08P01", "ALPN")
	})
	t.Run("direct TLS with another protocol", func(t *testing.T) {
		config := client.Clone()
		config.NextProtos = []string{"h2"}
		if err := tls.Client(secured.dial(t), config).Handshake(); err == nil {
			t.Error("handshake done")
		}
	})
	t.Run("TLS 1.1", func(t *testing.T) {
		conn := secured.dial(t)
		write(t, conn, requestPacket(sslRequestCode))
		expectByte(t, conn, 'S')
		config := client.Clone()
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		if err := tls.Client(conn, config).Handshake(); err == nil {
			t.Error("handshake done")
		}
	})
	t.Run("TLS asked for twice", func(t *testing.T) {
		conn := secured.dial(t)
		write(t, conn, requestPacket(sslRequestCode))
		expectByte(t, conn, 'S')
		over := tls.Client(conn, client)
		write(t, over, requestPacket(sslRequestCode))
		expectFatal(t, over, "08P01", "twice")
	})
	t.Run("TLS asked for twice, without any", func(t *testing.T) {
		conn := plain.dial(t)
		write(t, conn, requestPacket(sslRequestCode))
		expectByte(t, conn, 'N')
		write(t, conn, requestPacket(sslRequestCode))
		expectFatal(t, conn, "08P01", "twice")
	})
	t.Run("GSSAPI asked for twice", func(t *testing.T) {
		conn := plain.dial(t)
		write(t, conn, requestPacket(gssencRequestCode))
		expectByte(t, conn, 'N')
		write(t, conn, requestPacket(gssencRequestCode))
		expectFatal(t, conn, "08P01", "GSSAPI")
	})
	t.Run("GSSAPI within TLS", func(t *testing.T) {
		conn := secured.dial(t)
		write(t, conn, requestPacket(sslRequestCode))
		expectByte(t, conn, 'S')
		over := tls.Client(conn, client)
		write(t, over, requestPacket(gssencRequestCode))
		expectFatal(t, over, "08P01", "GSSAPI")
	})
	// CVE-2021-23214: a man in the middle sends a startup message in clear
	// text right after the SSLRequest, and lets the client's TLS follow.
	t.Run("clear text stuffed before TLS", func(t *testing.T) {
		conn := secured.dial(t)
		write(t, conn, append(requestPacket(sslRequestCode), startupPacket(3<<16, "user", "mallory", "database", "orders-db")...))
		expectByte(t, conn, 'S')
		over := tls.Client(conn, client)
		if err := over.Handshake(); err == nil {
			t.Error("what was sent in clear text didn't get in the way of the handshake")
		}
	})
	t.Run("clear text refused", func(t *testing.T) {
		conn := secured.dial(t)
		write(t, conn, hello)
		expectFatal(t, conn, "28000", "sslmode=require")
	})
	t.Run("clear text allowed", func(t *testing.T) {
		conn := plain.dial(t)
		write(t, conn, hello)
		refused(t, conn)
	})
	t.Run("newer protocol", func(t *testing.T) {
		conn := plain.dial(t)
		write(t, conn, startupPacket(3<<16|77, "user", "alice", "_pq_.shiny", "1"))
		msg, err := pgproto3.NewFrontend(onlyMessage(t, conn), conn).Receive()
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := msg.(*pgproto3.NegotiateProtocolVersion); !ok || n.NewestMinorProtocol != 3<<16|2 || !slices.Equal(n.UnrecognizedOptions, []string{"_pq_.shiny"}) {
			t.Errorf("got %#v", msg)
		}
		refused(t, conn)
	})
	for name, c := range map[string]struct {
		sent        []byte
		code, words string
	}{
		"protocol 2":         {startupPacket(2<<16, "user", "a"), "0A000", "unsupported frontend protocol 2.0"},
		"too long":           {binary.BigEndian.AppendUint32(nil, maxStartupPacket+1), "08P01", "invalid length"},
		"huge":               {[]byte("\x7f\xff\xff\xff"), "08P01", "invalid length"},
		"negative":           {[]byte("\xff\xff\xff\xff"), "08P01", "invalid length"},
		"too short":          {[]byte("\x00\x00\x00\x07"), "08P01", "invalid length"},
		"HTTP":               {[]byte("GET / HTTP/1.0\r\n\r\n")[:4], "08P01", "invalid length"},
		"no user":            {startupPacket(3<<16, "database", "orders-db"), "28000", "no user name"},
		"parameter twice":    {startupPacket(3<<16, "user", "a", "user", "b"), "08P01", "twice"},
		"query at the door":  {append(slices.Clone(hello), "Q\x00\x00\x00\x0dselect 1\x00"...), "08P01", "expected a password"},
		"password too long":  {append(slices.Clone(hello), "p\x00\x01\x00\x04"...), "08P01", "malformed password"},
		"password too short": {append(slices.Clone(hello), "p\x00\x00\x00\x04"...), "08P01", "malformed password"},
		"password unended":   {append(slices.Clone(hello), "p\x00\x00\x00\x06ab"...), "08P01", "malformed password"},
		"two passwords":      {append(slices.Clone(hello), "p\x00\x00\x00\x08a\x00b\x00"...), "08P01", "malformed password"},
		"empty password":     {append(slices.Clone(hello), "p\x00\x00\x00\x05\x00"...), "28P01", "login refused"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := plain.dial(t)
			write(t, conn, c.sent)
			expectFatal(t, conn, c.code, c.words)
		})
	}
	t.Run("nothing", func(t *testing.T) {
		conn := plain.dial(t)
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
			t.Errorf("got %q, %v", rest, err)
		}
	})
}

// onlyMessage reads one whole message off conn, so that a Frontend can't read
// ahead of it.
func onlyMessage(t *testing.T, conn net.Conn) io.Reader {
	t.Helper()
	head := make([]byte, 5)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(append(head, body...))
}

// TestHandshakeDeadline stops at every point of the way, with time passing in
// a bubble: no client can hold a connection open without logging in.
func TestHandshakeDeadline(t *testing.T) {
	id := newIdentity(t)
	full := startupPacket(3<<16, "user", "alice", "database", "orders-db")
	for name, sent := range map[string][]byte{
		"silent": nil, "one byte": {0}, "half a length": {0, 0}, "half a packet": full[:20],
		"no password": full, "half a password": append(slices.Clone(full), 'p', 0),
		"no handshake": requestPacket(sslRequestCode), "half a hello": {0x16, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
				p := New(protocol.Options{TLS: id.config, AllowPlaintext: true})
				ours, theirs := net.Pipe()
				go func() { _, _ = ours.Write(sent) }()
				go func() { _, _ = io.Copy(io.Discard, ours) }()
				began := time.Now()
				err := p.Serve(t.Context(), loopback{theirs}, nil)
				if took := time.Since(began); took < 10*time.Second || took > 10*time.Second+lingerIdle {
					t.Errorf("Serve returned after %v: %v", took, err)
				}
				if err == nil {
					t.Error("Serve says nothing about it")
				}
				_ = ours.Close()
			})
		})
	}
}

// loopback makes a pipe look like a connection from this machine.
type loopback struct{ net.Conn }

func (loopback) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// TestServeEndsWithItsContext is what draining relies on.
func TestServeEndsWithItsContext(t *testing.T) {
	p := New(protocol.Options{AllowPlaintext: true})
	for _, sent := range [][]byte{nil, startupPacket(3<<16, "user", "alice")} {
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- p.Serve(ctx, loopback{theirs}, nil) }()
		if sent != nil {
			write(t, ours, sent)
			if _, err := onlyMessage(t, ours).Read(make([]byte, 9)); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// TestCrowdAtTheDoor: 200 clients that never finish don't keep another one
// out, and none of them outlives the deadline.
func TestCrowdAtTheDoor(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("crowd", func(t *testing.T) {
		d := openDoor(t, shut(t), protocol.Options{TLS: newIdentity(t).config, HandshakeTimeout: 2 * time.Second})
		const crowd = 200
		for i := range crowd {
			conn := d.dial(t)
			write(t, conn, [][]byte{{0}, {0x16}, requestPacket(sslRequestCode), {0, 0, 0, 80, 0, 3}}[i%4])
		}
		conn := d.dial(t)
		write(t, conn, startupPacket(3<<16, "user", "alice"))
		expectFatal(t, conn, "28000", "sslmode=require")
		for range crowd + 1 {
			if err := d.served(t); err == nil {
				t.Error("a client that never logged in was served without an error")
			}
		}
	})
}

func TestPsqlAtTheDoor(t *testing.T) {
	id := newIdentity(t)
	secured := openDoor(t, shut(t), protocol.Options{TLS: id.config})
	both := openDoor(t, shut(t), protocol.Options{TLS: id.config, AllowPlaintext: true})
	none := openDoor(t, shut(t), protocol.Options{AllowPlaintext: true})
	check := func(t *testing.T, d *door, conninfo, want string) {
		t.Helper()
		out, err := d.psql(t, "user=alice dbname=orders-db password=x "+conninfo, "-c", "select 1")
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: got %v\n%s\nwant %s", conninfo, err, out, want)
		}
	}
	const refused = "FATAL:  postern: login refused: "
	check(t, secured, "sslmode=disable", "FATAL:  postern: clear text is refused: connect with sslmode=require")
	check(t, secured, "sslmode=prefer", refused)
	check(t, secured, "sslmode=require", refused)
	check(t, secured, "sslmode=verify-ca sslrootcert="+id.caFile, refused)
	check(t, secured, "sslmode=verify-full sslrootcert="+id.caFile, refused)
	check(t, both, "sslmode=disable", refused)
	check(t, both, "sslmode=require", refused)
	check(t, none, "sslmode=disable", refused)
	check(t, none, "sslmode=prefer", refused)
	check(t, none, "sslmode=require", "server does not support SSL, but SSL was required")
	check(t, secured, "sslmode=require replication=database", refused)
}
