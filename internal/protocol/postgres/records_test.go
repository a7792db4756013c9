package postgres

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// countingConn counts what is written, and keeps its beginning.
type countingConn struct {
	net.Conn
	writes int
	err    error
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes++
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Write(p)
}

// SyscallConn implements [syscall.Conn].
func (c *countingConn) SyscallConn() (syscall.RawConn, error) {
	return c.Conn.(syscall.Conn).SyscallConn()
}

// pieceConn sends what is written in pieces of at most so many bytes, once it is
// as much as together.
type pieceConn struct {
	net.Conn
	piece, together int
	held            []byte
}

func (c *pieceConn) Write(p []byte) (int, error) {
	c.held = append(c.held, p...)
	if len(c.held) < c.together {
		return len(p), nil
	}
	for len(c.held) > 0 {
		n, err := c.Conn.Write(c.held[:min(len(c.held), c.piece)])
		c.held = c.held[n:]
		if err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// securedPair is a TLS connection, with its server's side as a session has it. The
// client's writes its records to what over makes of its connection; nil: to that.
func securedPair(tb testing.TB, version uint16, over func(net.Conn) net.Conn) (server *tls.Conn, below *countingConn, records *recordConn, client *tls.Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	below = &countingConn{Conn: accepted}
	records = &recordConn{Conn: below, pool: &buffers{}}
	server = tls.Server(records, serverTLS(newIdentity(tb).config))
	upper := dialled
	if over != nil {
		upper = over(dialled)
	}
	client = tls.Client(upper, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}, MaxVersion: version, DynamicRecordSizingDisabled: true}) //nolint:gosec // both ends are here
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-shaken); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = dialled.Close()
		_ = accepted.Close()
	})
	return server, below, records, client
}

// TestRecords: what one flush writes over TLS leaves in one call, whole and in order.
func TestRecords(t *testing.T) {
	server, below, records, client := securedPair(t, tls.VersionTLS13, nil)
	want := bytes.Repeat([]byte("0123456789abcdef"), fullBuffer/16)
	for _, size := range []int{1, 10 << 10, maxRecord, maxRecord + 1, fullBuffer, 3*fullBuffer + 5} {
		data := bytes.Repeat(want, 4)[:size]
		o := &outbox{conn: server, pool: records.pool, records: records, buf: append(records.pool.get()[:0], data...)}
		below.writes = 0
		flushed := make(chan error, 1)
		go func() { flushed <- o.flush() }()
		got := make([]byte, size)
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: other ones came, %v", size, err)
		}
		if err := <-flushed; err != nil {
			t.Fatal(err)
		}
		if most := 1 + size/fullBuffer; below.writes > most {
			t.Errorf("%d bytes took %d writes, want %d at most", size, below.writes, most)
		}
		if records.held != nil {
			t.Error("a buffer is kept while nothing is written")
		}
	}
	below.err = syscall.EPIPE
	o := &outbox{conn: server, pool: records.pool, records: records, buf: append(records.pool.get()[:0], want...)}
	if err := o.flush(); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a write that failed below TLS: %v", err)
	}
}

// TestAwaitOverTLS: however its records are cut and come together, what a client sends
// over TLS is read, and never waited for when it is there already; who waits between
// records holds no buffer.
func TestAwaitOverTLS(t *testing.T) {
	sizes := []int{restBuffer - headerSize, 0, 1, restBuffer - headerSize - 1, restBuffer - headerSize + 1, 4 << 10, maxRecord - headerSize, maxRecord, fullBuffer - headerSize, fullBuffer, 3*fullBuffer + 1, 7}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, piece := range []int{1, recordHeader, recordHeader + 1, 100, 1 << 20} {
			for _, together := range []int{0, 2 * maxRecord} { // in one segment
				for _, apart := range []bool{true, false} { // a message in a record of its own, or with others
					t.Run(fmt.Sprintf("%s, pieces of %d, together %d, apart %t", tls.VersionName(version), piece, together, apart), func(t *testing.T) {
						over := &pieceConn{piece: 1 << 20}
						server, _, records, client := securedPair(t, version, func(c net.Conn) net.Conn { over.Conn = c; return over })
						if err := server.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
							t.Fatal(err)
						}
						over.piece, over.together = piece, together
						sizes := sizes
						if piece < 100 {
							sizes = sizes[:6]
						}
						sent := make(chan error, 1)
						go func() { sent <- sendMessages(client, over, "early", sizes[:3], apart) }()
						// What comes in a record with the last message before the relay's is its.
						if _, err := io.ReadFull(server, make([]byte, len("early"))); err != nil {
							t.Fatal(err)
						}
						f := newFrameReader(server, records.pool)
						f.over(server, records)
						if f.below.wait == nil {
							t.Skip("it waits with a buffer on this system")
						}
						readMessages(t, f, sizes[:3])
						if err := <-sent; err != nil {
							t.Fatal(err)
						}
						over.together = together
						go func() { sent <- sendMessages(client, over, "", sizes, apart) }()
						readMessages(t, f, sizes)
						if err := <-sent; err != nil {
							t.Fatal(err)
						}
						// It waits for the next one as it does for the first.
						_ = server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
						if err := f.await(); !errors.Is(err, os.ErrDeadlineExceeded) {
							t.Fatalf("await: %v", err)
						}
						_ = server.SetReadDeadline(time.Now().Add(20 * time.Second))
						if f.buf != nil || f.below.buf != nil {
							t.Errorf("it waits with buffers of %d and %d bytes", len(f.buf), len(f.below.buf))
						}
						go func() { sent <- sendMessages(client, over, "", sizes[:3], apart) }()
						readMessages(t, f, sizes[:3])
						if err := <-sent; err != nil {
							t.Fatal(err)
						}
						_ = over.Conn.Close()
						if err := f.await(); !errors.Is(err, io.EOF) {
							t.Errorf("await after the end: %v", err)
						}
					})
				}
			}
		}
	}
}

// TestAwaitRestOfRecord: a record of which a buffer has taken a part isn't waited for.
func TestAwaitRestOfRecord(t *testing.T) {
	server, _, records, client := securedPair(t, tls.VersionTLS13, nil)
	if err := server.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	f := newFrameReader(server, records.pool)
	f.over(server, records)
	// The body of one fills a buffer, and the other is what its last record has besides.
	const first = 100
	large, small := fullBuffer, first-2*headerSize
	all := append(appendHeader(nil, 'A', large), make([]byte, large)...)
	all = append(appendHeader(all, 'B', small), make([]byte, small)...)
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(all[:first])
		if err == nil {
			_, err = client.Write(all[first:])
		}
		sent <- err
	}()
	for _, want := range []byte("AB") {
		if err := f.await(); err != nil {
			t.Fatal(err)
		}
		typ, _, err := f.next()
		if err != nil || typ != want {
			t.Fatalf("%q, %v; want %q", typ, err, want)
		}
		if _, err := f.take(); err != nil {
			t.Fatal(err)
		}
		if rest := want == 'A'; rest == f.drained {
			t.Errorf("after %q: nothing is left in TLS is %t", want, f.drained)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// sendMessages sends a message of each size, after what comes before them.
func sendMessages(client *tls.Conn, over *pieceConn, before string, sizes []int, apart bool) error {
	all := []byte(before)
	for i, size := range sizes {
		all = append(appendHeader(all, byte('A'+i), size), bytes.Repeat([]byte{byte(i)}, size)...)
		if apart || i == len(sizes)-1 {
			if i == len(sizes)-1 {
				over.together = 0
			}
			if _, err := client.Write(all); err != nil {
				return err
			}
			all = all[:0]
		}
	}
	return nil
}

func readMessages(t *testing.T, f *frameReader, sizes []int) {
	t.Helper()
	for i, size := range sizes {
		if err := f.await(); err != nil {
			t.Fatalf("await message %d: %v", i, err)
		}
		typ, n, err := f.next()
		if err != nil || typ != byte('A'+i) || n != size {
			t.Fatalf("message %d: %q of %d bytes, %v", i, typ, n, err)
		}
		read := 0
		if err := f.stream(func(p []byte) error {
			read += bytes.Count(p, []byte{byte(i)})
			return nil
		}); err != nil || read != size {
			t.Fatalf("message %d: %d bytes of %d are right, %v", i, read, size, err)
		}
	}
}

// BenchmarkRecords is what a full buffer costs over TLS, the client's part included.
func BenchmarkRecords(b *testing.B) {
	for _, mode := range []string{"apart", "together"} {
		b.Run(mode, func(b *testing.B) {
			server, below, records, client := securedPair(b, tls.VersionTLS13, nil)
			o := &outbox{conn: server, pool: records.pool}
			if mode == "together" {
				o.records = records
			}
			go func() { _, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, client, make([]byte, fullBuffer)) }()
			b.SetBytes(fullBuffer)
			below.writes = 0
			b.ResetTimer()
			for range b.N {
				o.buf = o.pool.get()[:fullBuffer]
				if err := o.flush(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(below.writes)/float64(b.N), "writes/op")
		})
	}
}
