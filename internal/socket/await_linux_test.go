package socket

import (
	"net"
	"sync"
	"testing"
	"time"
)

// heard waits for as many calls.
func heard(t *testing.T, calls <-chan int, n int) map[int]bool {
	t.Helper()
	got := make(map[int]bool)
	for range n {
		select {
		case i := <-calls:
			if got[i] {
				t.Errorf("%d was called twice", i)
			}
			got[i] = true
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d were called", len(got), n)
		}
	}
	return got
}

// TestAwait: each is told once, of what comes, of what was there already, and of the
// connection's end; and again only when it asks again.
func TestAwait(t *testing.T) {
	const many = 200
	calls := make(chan int, 2*many)
	ours, theirs := make([]*net.TCPConn, many), make([]*net.TCPConn, many)
	for i := range many {
		ours[i], theirs[i] = pair(t)
	}
	send := func(i int) {
		if _, err := theirs[i].Write([]byte("x")); err != nil {
			t.Error(err)
		}
	}
	await := func(i int) {
		if err := Await(ours[i], func() { calls <- i }); err != nil {
			t.Fatal(err)
		}
	}
	for i := range many {
		if i%2 == 0 {
			send(i)
		}
		await(i)
	}
	heard(t, calls, many/2)
	var all sync.WaitGroup
	for i := 1; i < many; i += 2 {
		all.Go(func() {
			switch i % 6 {
			case 1:
				send(i)
			case 3:
				_ = theirs[i].Close()
			case 5:
				_, _ = theirs[i].SetLinger(0), theirs[i].Close()
			}
		})
	}
	heard(t, calls, many/2)
	all.Wait()
	for i := 0; i < many; i += 2 { // what there was is unread
		await(i)
	}
	heard(t, calls, many/2)
}

// TestForget: who was told isn't waited for any more, and who is forgotten isn't told.
func TestForget(t *testing.T) {
	ours, theirs := pair(t)
	if Forget(ours) {
		t.Error("it was never waited for")
	}
	calls := make(chan int, 10)
	for range 100 {
		if err := Await(ours, func() { calls <- 0 }); err != nil {
			t.Fatal(err)
		}
		if !Forget(ours) {
			t.Fatal("nothing came, and it wasn't waited for")
		}
	}
	if err := Await(ours, func() { calls <- 1 }); err != nil {
		t.Fatal(err)
	}
	if err := Await(ours, func() {}); err == nil {
		t.Error("two wait for one connection")
	}
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := heard(t, calls, 1); !got[1] {
		t.Error("who was forgotten is told")
	}
	if Forget(ours) {
		t.Error("it was told already")
	}
	_ = ours.Close()
	if err := Await(ours, func() {}); err == nil {
		t.Error("a closed connection is waited for")
	}
}

// TestForgetAndTell: whoever forgets while something comes has it one way or the other.
func TestForgetAndTell(t *testing.T) {
	ours, theirs := pair(t)
	buf := make([]byte, 1)
	for range 500 {
		told := make(chan struct{})
		if err := Await(ours, func() { close(told) }); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = theirs.Write([]byte("x")) }()
		if _, err := ours.Read(buf); err != nil { // so that it comes while we forget
			t.Fatal(err)
		}
		if !Forget(ours) {
			select {
			case <-told:
			case <-time.After(20 * time.Second):
				t.Fatal("neither forgotten nor told")
			}
			continue
		}
		select {
		case <-told:
			t.Fatal("both forgotten and told")
		default:
		}
	}
}

// TestStaleEvent: an event that is yet to be told when its connection is forgotten isn't
// told to the next that has its descriptor.
func TestStaleEvent(t *testing.T) {
	ours, _ := pair(t)
	w, err := together()
	if err != nil {
		t.Fatal(err)
	}
	await := func() (fd int, number int32) {
		if err := Await(ours, func() { t.Error("nothing came") }); err != nil {
			t.Fatal(err)
		}
		if err := control(ours, func(n int) error { fd = n; return nil }); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return fd, w.waiting[fd].number
	}
	fd, stale := await()
	Forget(ours)
	await()
	if w.take(fd, stale) != nil {
		t.Error("it is told")
	}
	if !Forget(ours) {
		t.Error("it isn't waited for any more")
	}
}

// TestAwaitEnd: who waits for the end is told of that, and not of what comes before.
func TestAwaitEnd(t *testing.T) {
	for name, end := range map[string]func(*net.TCPConn){
		"closed":      func(theirs *net.TCPConn) { _ = theirs.Close() },
		"half closed": func(theirs *net.TCPConn) { _ = theirs.CloseWrite() },
		"reset":       func(theirs *net.TCPConn) { _, _ = theirs.SetLinger(0), theirs.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := pair(t)
			other, others := pair(t)
			calls := make(chan int, 2)
			if err := AwaitEnd(ours, func() { calls <- 0 }); err != nil {
				t.Fatal(err)
			}
			if err := Await(other, func() { calls <- 1 }); err != nil {
				t.Fatal(err)
			}
			// What is sent wakes who waits for that, and not who waits for the end.
			for _, conn := range []*net.TCPConn{theirs, others} {
				if _, err := conn.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			if !heard(t, calls, 1)[1] {
				t.Error("something to read counts as the end")
			}
			end(theirs)
			heard(t, calls, 1)
			if Forget(ours) {
				t.Error("it is still waited for")
			}
		})
	}
}
