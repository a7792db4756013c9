package postgres

import (
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A gatherer reads from a connection of the kernel's once there is more than the
// next piece, or after a moment what there is.
//
// It sets the socket's low-water mark (SO_RCVLOWAT): below it, the kernel wakes
// nobody. A timer takes the mark away again, and then the kernel says at once
// what is there. Errors, and the connection's end, wake in any case.
type gatherer struct {
	raw     syscall.RawConn
	moment  time.Duration
	attempt func(fd uintptr) bool // one for all reads: it would be allocated for each

	// Of the read under way.
	w     *waiter
	begun bool

	mu     sync.Mutex // guards what follows
	timer  *time.Timer
	marked bool // the socket has a mark
	waits  bool // a read does, which the mark may hold up
	late   bool // the timer was first
}

// newGatherer returns nil where that can't be done.
func newGatherer(src io.Reader, moment time.Duration) *gatherer {
	conn := plainConn(src)
	if conn == nil || !marksWake() {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil // it is closed, and reading from it will tell
	}
	g := &gatherer{raw: raw, moment: moment}
	g.attempt = g.try
	return g
}

// marksWake says whether the kernel is Linux 4.18 or later: one before doesn't
// look at what is there already when a mark is set.
func marksWake() bool {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false
	}
	var major, minor int
	n, _ := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor) // n says it
	return n == 2 && (major > 4 || major == 4 && minor >= 18)
}

// read is [waiter.read] of w. Late is a read that waited in vain for more.
func (g *gatherer) read(w *waiter, f *frameReader) (n int, late bool, err error) {
	w.f, w.n, w.err = f, 0, nil
	g.w, g.begun = w, false
	err = g.raw.Read(g.attempt)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer != nil {
		g.timer.Stop()
	}
	g.waits = false
	if err != nil {
		g.unmark() // who isn't read from is waited for by other means, see park.go
		return 0, g.late, err
	}
	return w.n, g.late, w.err
}

// try reads, but for the first time, when it sets the mark. Now: what is there
// counts, and wakes if it is enough.
func (g *gatherer) try(fd uintptr) bool {
	if g.begun {
		return g.w.try(fd)
	}
	g.begun = true
	g.mu.Lock()
	defer g.mu.Unlock()
	g.late = false
	if err := g.mark(fd, gatherSize); err != nil {
		return g.w.try(fd)
	}
	g.waits = true
	if g.timer == nil {
		g.timer = time.AfterFunc(g.moment, g.enough)
	} else {
		g.timer.Reset(g.moment)
	}
	return false
}

// enough lets the read that waits have what there is.
func (g *gatherer) enough() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waits {
		g.late = true
		g.unmark()
	}
}

// over lets reads of w have what there is, from now on.
func (g *gatherer) over() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unmark()
}

// unmark is called with mu held. Of a connection that is closed nobody reads.
func (g *gatherer) unmark() {
	if g.marked {
		_ = g.raw.Control(func(fd uintptr) { _ = g.mark(fd, 1) })
	}
}

func (g *gatherer) mark(fd uintptr, n int) error {
	err := syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, n)
	if err == nil {
		g.marked = n > 1
	}
	return err
}
