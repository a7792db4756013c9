package postgres

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
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

// securedPair is a TLS connection, with its server's side as a session has it.
func securedPair(tb testing.TB) (server *tls.Conn, below *countingConn, records *recordConn, client *tls.Conn) {
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
	client = tls.Client(dialled, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}}) //nolint:gosec // both ends are here
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
	server, below, records, client := securedPair(t)
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

// BenchmarkRecords is what a full buffer costs over TLS, the client's part included.
func BenchmarkRecords(b *testing.B) {
	for _, mode := range []string{"apart", "together"} {
		b.Run(mode, func(b *testing.B) {
			server, below, records, client := securedPair(b)
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
