package test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func one(t *testing.T, conn *pgconn.PgConn, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return string(results[0].Rows[0][0])
}

// Clients that never finish their handshake hold up nobody, and are let go.
func TestSlowHandshakes(t *testing.T) {
	g := newGateway(t, "limits: {handshake_timeout: 3s}\n")
	g.start()
	token := g.sessionToken(g.login("alice"))
	var slow []net.Conn
	for i := range 200 {
		conn, err := net.Dial("tcp", g.postgres)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if i%2 == 0 {
			// Half of them begin: an SSLRequest, and then nothing.
			if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
				t.Fatal(err)
			}
		}
		slow = append(slow, conn)
	}
	if got := one(t, g.mustConnect("alice", token), "SELECT 1"); got != "1" {
		t.Errorf("among 200 slow clients SELECT 1 gives %q", got)
	}
	for _, conn := range slow {
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a client that never finished its handshake is still connected")
		}
	}
}

// Malformed and oversized frames end their own connection, no other.
func TestMalformedFrames(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	token := g.sessionToken(g.login("alice"))
	witness := g.mustConnect("alice", token)
	for name, frame := range map[string][]byte{
		"startup of two gigabytes":   {0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0},
		"startup of no length":       {0, 0, 0, 0, 0, 3, 0, 0},
		"negative length":            {0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0},
		"protocol of the future":     {0, 0, 0, 8, 0, 9, 0, 0},
		"HTTP":                       []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"a parameter without an end": append([]byte{0, 0, 0, 13, 0, 3, 0, 0}, "user\x00"...),
	} {
		conn, err := net.Dial("tcp", g.postgres)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, bufio.NewReader(conn)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open", name)
		}
		_ = conn.Close()
	}
	if got := one(t, witness, "SELECT 'alive'"); got != "alive" {
		t.Errorf("another session gives %q", got)
	}
}

// An upstream that is down, or goes away in mid-row, is told as such.
func TestUpstreamGone(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	token := g.sessionToken(g.login("alice"))
	witness := g.mustConnect("alice", token)

	victim := g.mustConnect("alice", token)
	pid := one(t, victim, "SELECT pg_backend_pid()")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	reader := victim.Exec(ctx, "SELECT repeat('x', 1000) FROM generate_series(1, 5000000)")
	if !reader.NextResult() || !reader.ResultReader().NextRow() {
		t.Fatal("no first row")
	}
	g.upstream.Exec(t, "postgres", "SELECT pg_terminate_backend("+pid+")")
	_, _ = reader.ResultReader().Close()
	if err := reader.Close(); err == nil {
		t.Error("a result cut off in the middle looks whole")
	}
	if got := one(t, witness, "SELECT 'alive'"); got != "alive" {
		t.Errorf("another session gives %q", got)
	}

	g.write("objects/resources.yaml", strings.Replace(g.read("objects/resources.yaml"), g.upstream.Addr, freeAddress(t), 1))
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := g.connect("alice", token, nil)
		if err == nil {
			_ = conn.Close(context.Background())
		}
		var told *pgconn.PgError
		if errors.As(err, &told) && strings.Contains(told.Message, "orders-db") {
			if said := told.Message + told.Detail + told.Hint; strings.Contains(said, "127.0.0.1") {
				t.Errorf("the client is told the upstream's address: %s", said)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("an upstream that is down gives %v", err)
		}
		time.Sleep(50 * time.Millisecond) // the objects are being read again
	}
}

// Without room for recordings no session opens, and live ones stop when theirs
// can't be written.
func TestNoRoomForRecordings(t *testing.T) {
	g := newGateway(t, "")
	g.write("postern.yaml", strings.Replace(g.read("postern.yaml"), "min_free: 1MiB", "min_free: 900000GB", 1))
	g.launch()
	if err := g.answers("/healthz"); err != nil {
		t.Fatal(err)
	}
	token := g.sessionToken(g.login("alice"))
	_, err := g.connect("alice", token, nil)
	if err == nil || !strings.Contains(err.Error(), "can't be recorded") {
		t.Errorf("got %v, want a refusal that names the recording", err)
	}
}

// A recording that can't be written stops the session before the command, not
// after. A limit on the size of files stands in for a full disk.
func TestFullDisk(t *testing.T) {
	g := newGateway(t, "")
	g.wrap = []string{"sh", "-c", `ulimit -f 16384; exec "$0" "$@"`} // 8 MiB, in blocks of 512 bytes
	g.start()
	g.upstream.Exec(t, g.database, "SET ROLE shop; CREATE TABLE reached (id integer, filler text)")
	conn := g.mustConnect("dave", g.sessionToken(g.login("dave")))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	acknowledged := 0
	for i := range 400 {
		// Random text, so that it doesn't compress.
		filler, err := exec.Command("head", "-c", "30000", "/dev/urandom").Output()
		if err != nil {
			t.Fatal(err)
		}
		sql := "INSERT INTO reached VALUES (" + strconv.Itoa(i) + ", encode('\\x" + hex.EncodeToString(filler) + "', 'hex'))"
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			if !strings.Contains(err.Error(), "recorded") {
				t.Errorf("the client is told %v", err)
			}
			break
		}
		acknowledged++
	}
	if acknowledged == 400 {
		t.Fatal("24 MB of commands were recorded in 8 MiB")
	}
	rows := g.upstream.Exec(t, g.database, "SELECT count(*) FROM reached")
	if rows[0][0] != strconv.Itoa(acknowledged) {
		t.Errorf("%s commands reached the server, %d were acknowledged: one ran unrecorded", rows[0][0], acknowledged)
	}
	if err := g.ask("/healthz"); err != nil {
		t.Errorf("the gateway went down with the disk: %v", err)
	}
}

// A startup that can't be: clear words at once.
func TestServeRefusesMistakes(t *testing.T) {
	g := newGateway(t, "")
	for name, c := range map[string]struct {
		change func()
		want   string
	}{
		"unknown key":     {func() { g.write("postern.yaml", g.read("postern.yaml")+"lissten: {}\n") }, "lissten"},
		"mistaken policy": {func() { g.write("objects/policies.yaml", "kind: Rule\nname: r\nwhen: command.nonsense\nthen: deny\n") }, "policies.yaml:3"},
	} {
		t.Run(name, func(t *testing.T) {
			before, policies := g.read("postern.yaml"), g.read("objects/policies.yaml")
			c.change()
			out, err := exec.Command(g.program, "serve", "--config", g.path("postern.yaml")).CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) || !strings.Contains(string(out), "error:") {
				t.Errorf("got %v: %s", err, out)
			}
			g.write("postern.yaml", before)
			g.write("objects/policies.yaml", policies)
		})
	}
}
