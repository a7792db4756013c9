package postgres

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern/internal/gate"
	"postern/internal/protocol"
	"postern/test/pgcluster"
)

var cluster = pgcluster.Shared{Options: pgcluster.Options{TLS: true, Settings: []string{"wal_level=logical"}}}

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

// door is a listener in front of a Protocol, as the server makes one.
type door struct {
	p    *Protocol
	host string
	port string
	addr string
	errs chan error // what Serve returned, one for each connection
}

// identity is a certificate for localhost and 127.0.0.1, and who signed it.
type identity struct {
	config *tls.Config
	caFile string
	roots  *x509.CertPool
}

func newIdentity(t testing.TB) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	id := identity{
		config: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		caFile: filepath.Join(t.TempDir(), "ca.pem"), roots: x509.NewCertPool(),
	}
	id.roots.AddCert(cert)
	if err := os.WriteFile(id.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return id
}

// openDoor listens on loopback and serves every connection with g until the
// test ends; then it waits for all of them.
func openDoor(t testing.TB, g *gate.Gate, o protocol.Options) *door {
	t.Helper()
	return openDoorOf(t, g, New(o))
}

func openDoorOf(t testing.TB, g *gate.Gate, p *Protocol) *door {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{p: p, addr: listener.Addr().String(), errs: make(chan error, 1024)}
	d.host, d.port, _ = net.SplitHostPort(d.addr)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { d.errs <- d.serve(ctx, conn, g) })
		}
	})
	t.Cleanup(func() {
		cancel()
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return d
}

// serve has more below it on the stack than in a server.
//
//go:noinline
func (d *door) serve(ctx context.Context, conn net.Conn, g *gate.Gate) error {
	var below [128]byte
	err := d.p.Serve(ctx, conn, g)
	runtime.KeepAlive(&below)
	return err
}

// served waits for a connection to be over, and returns what Serve said.
func (d *door) served(t testing.TB) error {
	t.Helper()
	select {
	case err := <-d.errs:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("Serve doesn't return")
		return nil
	}
}

// dial connects without saying anything yet.
func (d *door) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// psql runs psql against the door, and returns all that it printed. conninfo
// is added to the host and port.
func (d *door) psql(t testing.TB, conninfo string, args ...string) (string, error) {
	t.Helper()
	program, err := pgcluster.Binary("psql")
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: ", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	args = append([]string{"-X", "-w", "-A", "-t", "-v", "VERBOSITY=verbose", "host=" + d.host + " port=" + d.port + " " + conninfo}, args...)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"LC_ALL=C", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// startupPacket is a StartupMessage of the given version and parameters.
func startupPacket(version uint32, params ...string) []byte {
	body := binary.BigEndian.AppendUint32(nil, version)
	for _, p := range params {
		body = append(append(body, p...), 0)
	}
	return packet(append(body, 0))
}

// requestPacket is a packet that holds a code alone.
func requestPacket(code uint32) []byte { return packet(binary.BigEndian.AppendUint32(nil, code)) }

func packet(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
}

func write(t testing.TB, conn net.Conn, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

// expectByte reads the answer to an SSLRequest or GSSENCRequest.
func expectByte(t testing.TB, conn net.Conn, want byte) {
	t.Helper()
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil || b[0] != want {
		t.Fatalf("got %q, %v; want %q", b[0], err, want)
	}
}

// expectFatal reads until a FATAL error with the code and the words, and then
// the end of the connection.
func expectFatal(t testing.TB, conn net.Conn, code, words string) {
	t.Helper()
	front := pgproto3.NewFrontend(conn, conn)
	for {
		msg, err := front.Receive()
		if err != nil {
			t.Fatalf("no error %s %q came: %v", code, words, err)
		}
		e, ok := msg.(*pgproto3.ErrorResponse)
		if !ok {
			continue
		}
		if e.Severity != "FATAL" || e.Code != code || !strings.Contains(e.Message, words) || !strings.HasPrefix(e.Message, "postern: ") {
			t.Errorf("got %s %s %q; want FATAL %s %q", e.Severity, e.Code, e.Message, code, words)
		}
		break
	}
	if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("after the error: %q, %v", rest, err)
	}
}

// byteConn is a connection whose client sent all it had to say.
type byteConn struct {
	*bytes.Reader
	out bytes.Buffer
}

func (c *byteConn) Write(p []byte) (int, error) { return c.out.Write(p) }
func (*byteConn) Close() error                  { return nil }
func (*byteConn) LocalAddr() net.Addr           { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (*byteConn) RemoteAddr() net.Addr               { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (*byteConn) SetDeadline(time.Time) error        { return nil }
func (*byteConn) SetReadDeadline(t time.Time) error  { return nil }
func (*byteConn) SetWriteDeadline(t time.Time) error { return nil }

// pipe is a connection on which sent comes in; said waits for its end and
// returns what went out.
func pipe(sent []byte) (said func() []byte, conn net.Conn) {
	ours, theirs := net.Pipe()
	out := make(chan []byte, 1)
	go func() { _, _ = ours.Write(sent) }()
	go func() {
		b, _ := io.ReadAll(ours)
		out <- b
	}()
	return func() []byte { return <-out }, loopback{theirs}
}
