package postgres

import (
	"bytes"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// markOf is the low-water mark of a connection's socket.
func markOf(t *testing.T, conn net.Conn) (n int) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err == nil {
		if e := raw.Control(func(fd uintptr) {
			n, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT)
		}); e != nil {
			err = e
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGather: a side that has sent much is waited for until it has sent more than a
// piece; what it sends less than that passes after a moment, and at once after a rest.
func TestGather(t *testing.T) {
	here, there := connPair(t)
	f := newFrameReader(here, &buffers{})
	f.gathers = true
	if f.gather = newGatherer(here, time.Hour); f.gather == nil {
		t.Skip("the kernel doesn't gather")
	}
	send := func(p []byte) {
		t.Helper()
		if _, err := there.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	row := append(appendHeader(nil, 'D', 1<<10), bytes.Repeat([]byte("r"), 1<<10)...)
	take := func(rows int) {
		t.Helper()
		for range rows {
			if typ, _, err := f.next(); err != nil || typ != 'D' {
				t.Fatalf("next: %q, %v", typ, err)
			}
			if body, err := f.take(); err != nil || !bytes.Equal(body, row[headerSize:]) {
				t.Fatalf("take: %d bytes, %v", len(body), err)
			}
		}
	}
	// flows brings the reader to where it has read much, and all of it.
	flows := func() {
		t.Helper()
		f.flow = gatherAfter
		send(row)
		f.drained = false
		take(1)
		if !f.drained {
			t.Fatal("there was more to read")
		}
	}

	flows()
	many := gatherSize/len(row) + 1
	sent := make(chan error, 1)
	go func() {
		for range many {
			if _, err := there.Write(row); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	if typ, _, err := f.next(); err != nil || typ != 'D' {
		t.Fatalf("next: %q, %v", typ, err)
	}
	if f.w != len(f.buf) {
		t.Errorf("it waited for more than fits, and read %d bytes of %d", f.w, len(f.buf))
	}
	if got := markOf(t, here); got != gatherSize {
		t.Errorf("the mark is %d", got)
	}
	if _, err := f.take(); err != nil {
		t.Fatal(err)
	}
	take(many - 1)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}

	f.rests()
	send(row)
	take(1)
	if got := markOf(t, here); got != 1 {
		t.Errorf("after a rest the mark is %d", got)
	}

	f.gather = newGatherer(here, time.Millisecond)
	flows()
	send(row)
	take(1)
	if got := markOf(t, here); got != 1 {
		t.Errorf("after less than it waited for the mark is %d", got)
	}
	if f.flow >= gatherAfter {
		t.Errorf("in vain, and it would wait again: %d", f.flow)
	}

	f.gather.moment = time.Hour
	flows()
	send(row[:1])
	if err := here.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("next: %v", err)
	}
	if got := markOf(t, here); got != 1 {
		t.Errorf("nobody reads, and whoever waits for something to read has a mark of %d", got)
	}
	if err := here.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	send(row[1:])
	f.rests()
	take(1)

	flows()
	if err := there.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.next(); err == nil {
		t.Error("the end of the connection has not come")
	}
}
