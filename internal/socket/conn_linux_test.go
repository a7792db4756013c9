package socket

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// pair is a connection with both of its ends, the kernel's own.
func pair(tb testing.TB) (ours, theirs *net.TCPConn) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = dialled.Close(), accepted.Close() })
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// TestConn is the contract of every net.Conn.
func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		a, b := pair(t)
		return Of(a), Of(b), func() { _, _ = a.Close(), b.Close() }, nil
	})
}

// TestOf: what isn't the kernel's is left alone, and what is, isn't.
func TestOf(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if got := Of(a); got != a {
		t.Errorf("a pipe became %T", got)
	}
	ours, _ := pair(t)
	if _, ok := Of(ours).(*Conn); !ok {
		t.Error("a TCP connection is left as it was")
	}
	if _, ok := Of(ours).(interface{ CloseWrite() error }); !ok {
		t.Error("it can't be half closed any more")
	}
}

// TestErrors: whoever tells errors apart tells ours, as those of package net.
func TestErrors(t *testing.T) {
	same := func(t *testing.T, what string, ours, nets error) {
		t.Helper()
		var a, b net.Error
		if ours == nil || nets == nil || errors.As(ours, &a) != errors.As(nets, &b) || a != nil && a.Timeout() != b.Timeout() {
			t.Fatalf("%s: %v, where package net says %v", what, ours, nets)
		}
		for _, is := range []error{io.EOF, net.ErrClosed, os.ErrDeadlineExceeded, syscall.ECONNRESET, syscall.EPIPE} {
			if errors.Is(ours, is) != errors.Is(nets, is) {
				t.Errorf("%s: %v, where package net says %v", what, ours, nets)
			}
		}
	}
	each := func(t *testing.T, what string, do func(conn net.Conn, theirs *net.TCPConn) error) {
		t.Run(what, func(t *testing.T) {
			a, theirsA := pair(t)
			b, theirsB := pair(t)
			same(t, what, do(Of(a), theirsA), do(b, theirsB))
		})
	}
	read := func(conn net.Conn) error {
		_, err := conn.Read(make([]byte, 10))
		return err
	}
	each(t, "end", func(conn net.Conn, theirs *net.TCPConn) error {
		_ = theirs.Close()
		return read(conn)
	})
	each(t, "reset", func(conn net.Conn, theirs *net.TCPConn) error {
		_, _ = theirs.SetLinger(0), theirs.Close()
		return read(conn)
	})
	each(t, "write after a reset", func(conn net.Conn, theirs *net.TCPConn) error {
		_, _ = theirs.SetLinger(0), theirs.Close()
		_ = read(conn)
		_, err := conn.Write([]byte("x"))
		return err
	})
	each(t, "read when closed", func(conn net.Conn, _ *net.TCPConn) error {
		_ = conn.Close()
		return read(conn)
	})
	each(t, "write when closed", func(conn net.Conn, _ *net.TCPConn) error {
		_ = conn.Close()
		_, err := conn.Write([]byte("x"))
		return err
	})
	each(t, "read too late", func(conn net.Conn, _ *net.TCPConn) error {
		_ = conn.SetDeadline(time.Unix(1, 0))
		return read(conn)
	})
	each(t, "closed while it reads", func(conn net.Conn, theirs *net.TCPConn) error {
		done := make(chan error)
		go func() { done <- read(conn) }()
		_ = conn.Close()
		return <-done
	})
	each(t, "nobody takes what is written", func(conn net.Conn, theirs *net.TCPConn) error {
		// The kernel takes some megabytes for a peer that doesn't read.
		data := make([]byte, 64<<20)
		type result struct {
			n   int
			err error
		}
		done := make(chan result)
		go func() {
			n, err := conn.Write(data)
			done <- result{n, err}
		}()
		if _, err := theirs.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		_ = conn.SetWriteDeadline(time.Unix(1, 0))
		wrote := <-done
		if wrote.n == 0 || wrote.n == len(data) {
			t.Errorf("%d bytes were written", wrote.n)
		}
		return wrote.err
	})
}

// TestTransfer: megabytes arrive as they were, both ways at once, in pieces of
// every size, with readers that come late.
func TestTransfer(t *testing.T) {
	a, b := pair(t)
	ours, theirs := Of(a), Of(b)
	const size = 24 << 20
	var both sync.WaitGroup
	send := func(conn net.Conn, seed uint64) (sum [sha256.Size]byte) {
		random := rand.New(rand.NewPCG(seed, 1))
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		sum = sha256.Sum256(data)
		both.Go(func() {
			for len(data) > 0 {
				n := min(len(data), 1+random.IntN(3*most))
				if wrote, err := conn.Write(data[:n]); err != nil || wrote != n {
					t.Errorf("%d of %d bytes: %v", wrote, n, err)
					return
				}
				data = data[n:]
			}
		})
		return sum
	}
	receive := func(conn net.Conn, seed uint64, sum [sha256.Size]byte) {
		both.Go(func() {
			random := rand.New(rand.NewPCG(seed, 2))
			var got bytes.Buffer
			buf := make([]byte, 2*most)
			for got.Len() < size {
				n, err := conn.Read(buf[:1+random.IntN(len(buf))])
				if err != nil {
					t.Errorf("after %d bytes: %v", got.Len(), err)
					return
				}
				got.Write(buf[:n])
			}
			if sha256.Sum256(got.Bytes()) != sum {
				t.Error("it isn't what was sent")
			}
		})
	}
	toThem, toUs := send(ours, 1), send(theirs, 2)
	receive(theirs, 3, toThem)
	receive(ours, 4, toUs)
	both.Wait()
}
