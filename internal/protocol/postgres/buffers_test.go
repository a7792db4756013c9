package postgres

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern"
	"postern/internal/protocol"
	"postern/test/pgcluster"
)

// connPair is a TCP connection's two ends.
func connPair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if there, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if here, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = here.Close(), there.Close() })
	return here, there
}

// TestIdleReader: who waits with nothing unread holds no buffer, and what was
// read in part, or before the reader was made, is not lost.
func TestIdleReader(t *testing.T) {
	here, there := connPair(t)
	f := newFrameReader(here, &buffers{})
	if f.wait == nil {
		t.Skip("it waits with a buffer on this system")
	}
	want := func(typ byte, text string) {
		t.Helper()
		got, _, err := f.next()
		if err != nil || got != typ {
			t.Fatalf("next: %q, %v", got, err)
		}
		if body, err := f.take(); err != nil || string(body) != text {
			t.Fatalf("take: %q, %v", body, err)
		}
	}
	// waits returns once the reader has waited for a while.
	waits := func() {
		t.Helper()
		_ = here.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, _, err := f.next(); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(broken(errClientGone, err), errInterrupted) {
			t.Fatalf("next: %v", err)
		}
		_ = here.SetReadDeadline(time.Time{})
	}
	send := func(s string) {
		t.Helper()
		if _, err := there.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	f.unread([]byte("A\x00\x00\x00\x07ea"))
	send("rB\x00\x00\x00\x08body")
	want('A', "ear")
	want('B', "body")
	waits()
	if f.buf != nil {
		t.Errorf("it waits with a buffer of %d bytes", len(f.buf))
	}
	send("C\x00\x00")
	waits()
	if f.buf == nil || f.w-f.r != 3 {
		t.Errorf("of a part of a header %d bytes are left", f.w-f.r)
	}
	send("\x00\x05x")
	want('C', "x")
	large := make([]byte, 3*fullBuffer)
	go func() { _, _ = there.Write(append(appendHeader(nil, 'D', len(large)), large...)) }()
	want('D', string(large))
	waits()
	if f.buf != nil {
		t.Errorf("it waits with a buffer of %d bytes after a large message", len(f.buf))
	}
}

// TestBufferSizes: a buffer has room for what it is asked for, is of a size that is
// kept if that isn't more than 16 MiB, and one of another size is never handed out.
func TestBufferSizes(t *testing.T) {
	var b buffers
	for _, odd := range []int{0, 1, restBuffer, fullBuffer - 1, fullBuffer + 1, 3 * fullBuffer, 2*fullBuffer - 1, 512 * fullBuffer} {
		b.put(make([]byte, odd))
	}
	for _, c := range [][2]int{
		{0, fullBuffer},
		{1, fullBuffer},
		{fullBuffer, fullBuffer},
		{fullBuffer + 1, 2 * fullBuffer},
		{2 * fullBuffer, 2 * fullBuffer},
		{2*fullBuffer + 1, 4 * fullBuffer},
		{1<<20 - 1, 1 << 20},
		{1 << 20, 1 << 20},
		{1<<20 + 1, 2 << 20},
		{16 << 20, 16 << 20},
		{16<<20 + 1, 16<<20 + 1},
	} {
		for range 3 { // a new one, and those that came back
			buf := b.sized(c[0])
			if len(buf) != c[1] {
				t.Errorf("%d bytes: a buffer of %d, not %d", c[0], len(buf), c[1])
			}
			b.put(buf)
		}
	}
}

// TestBuffersComeBack: a session that is over keeps none, whoever has ended it.
func TestBuffersComeBack(t *testing.T) {
	for name, end := range map[string]func(*office, *relay, *pgconn.PgConn){
		"the client left": func(_ *office, _ *relay, c *pgconn.PgConn) { _ = c.Close(t.Context()) },
		"the client broke off": func(_ *office, _ *relay, c *pgconn.PgConn) {
			_, _ = c.Conn().Write([]byte{'Q', 0}) // a part of a header is unread
			_ = c.Conn().Close()
		},
		"the server ended it": func(o *office, r *relay, _ *pgconn.PgConn) {
			o.cluster.Exec(t, "postgres", fmt.Sprintf("SELECT pg_terminate_backend(%d)", r.up.pid))
		},
		"the gateway ended it": func(o *office, _ *relay, c *pgconn.PgConn) {
			_, _ = c.Conn().Write(append(appendHeader(nil, 'Q', 19), "SELECT pg_sleep(60)"...))
			o.Gate.End("for a test", func(postern.SessionInfo) bool { return true })
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, database(t), pgcluster.Superuser, "")
			o.door = openDoor(t, o.Gate, protocol.Options{TLS: newIdentity(t).config})
			c := dial(t, "host="+o.door.host+" port="+o.door.port+" user=alice password=token-alice dbname=db sslmode=require")
			if _, err := c.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
				t.Fatal(err)
			}
			r := o.relay(t, c)
			end(o, r, c)
			_ = o.door.served(t) // what it said is other tests' matter
			for side, held := range map[string][]byte{
				"from the client": r.fromHere.buf, "below its TLS": r.fromHere.below.buf, "from the server": r.fromUp.buf, "to the client": r.toClient.buf, "to the server": r.toServer.buf,
			} {
				if held != nil {
					t.Errorf("%s it keeps %d bytes", side, len(held))
				}
			}
		})
	}
}

// TestIdleStack: what a session needs of stacks while it waits is small, whatever
// came before: 4 KiB for each side, and not 8 for one of them.
func TestIdleStack(t *testing.T) {
	if dropsPooled { // the race detector is on
		t.Skip("its frames are larger")
	}
	const sessions, most = 64, 10 << 10
	o := newOffice(t, database(t), pgcluster.Superuser, "")
	o.door = openDoor(t, o.Gate, protocol.Options{AllowPlaintext: true, TLS: newIdentity(t).config})
	stacks := func() uint64 {
		for range 5 { // each halves the stacks that are larger than is needed
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.StackInuse
	}
	for _, c := range [][2]string{{"disable", "SELECT 1"}, {"require", "SELECT 1"}, {"require", ""}} {
		mode, query := c[0], c[1]
		open := func(n int) {
			for range n {
				c := dial(t, "host="+o.door.host+" port="+o.door.port+" user=alice password=token-alice dbname=db sslmode="+mode)
				if query == "" {
					continue
				}
				if _, err := c.Exec(t.Context(), query).ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
		}
		open(1)
		before := stacks()
		open(sessions)
		if each := (stacks() - before) / sessions; each > most {
			t.Errorf("sslmode=%s, %q: %d bytes of stacks a session", mode, query, each)
		}
	}
}
