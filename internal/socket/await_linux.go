package socket

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Await has ready called, once, when there is something to read from conn, or it has
// ended. Until then no goroutine waits: many connections wait together, in an epoll
// (epoll(7)) of the process. What is called mustn't block. conn may be closed after
// ready was called, or [Forget], and not before; nobody reads from it meanwhile.
func Await(conn syscall.Conn, ready func()) error {
	w, err := together()
	if err != nil {
		return err
	}
	return control(conn, func(fd int) error { return w.add(fd, unix.EPOLLIN|unix.EPOLLRDHUP, ready) })
}

// AwaitEnd is Await for the end alone: the other side has closed, or the connection is
// broken. What it has sent before may be left unread.
func AwaitEnd(conn syscall.Conn, ended func()) error {
	w, err := together()
	if err != nil {
		return err
	}
	return control(conn, func(fd int) error { return w.add(fd, unix.EPOLLRDHUP, ended) })
}

// Forget ends what [Await] or [AwaitEnd] began. It returns false if ready has been called, or is about
// to be.
func Forget(conn syscall.Conn) bool {
	w, err := together()
	if err != nil {
		return false
	}
	return control(conn, w.remove) == nil
}

func control(conn syscall.Conn, do func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	if err := raw.Control(func(fd uintptr) { done = do(int(fd)) }); err != nil {
		return err
	}
	return done
}

// together is the one watchman of the process, as the runtime has one poller.
var together = sync.OnceValues(newWatchman)

// A watchman waits for connections.
type watchman struct {
	epoll  int
	events [64]unix.EpollEvent

	mu      sync.Mutex // guards what follows
	waiting map[int]await
	last    int32 // the number of the last one
}

// await is what is waited for on a descriptor. It has a number, which its events bear: one
// that was fetched and not yet told may be of a connection that is closed by now, whose
// descriptor is another's.
type await struct {
	number int32
	ready  func()
}

var errNotAwaited = errors.New("the connection isn't waited for")

func newWatchman() (*watchman, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// An epoll can be waited for as what is in it can: by the runtime's poller, which
	// takes it for a file that doesn't block.
	err = unix.SetNonblock(epoll, true)
	file := os.NewFile(uintptr(epoll), "epoll")
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl", err), file.Close())
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	w := &watchman{epoll: epoll, waiting: make(map[int]await)}
	go func() {
		defer func() { _ = file.Close() }() // it was read from alone
		for raw.Read(w.look) == nil {
		}
	}()
	return w, nil
}

// add waits for events, of which the connection's end by an error is always one.
func (w *watchman) add(fd int, events uint32, ready func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	event := unix.EpollEvent{Events: events | unix.EPOLLONESHOT, Fd: int32(fd), Pad: w.last} //nolint:gosec // descriptors are small
	if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	w.waiting[fd] = await{w.last, ready}
	return nil
}

func (w *watchman) remove(fd int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.waiting[fd]; !ok {
		return errNotAwaited
	}
	w.drop(fd)
	return nil
}

// drop is called with mu held.
func (w *watchman) drop(fd int) {
	delete(w.waiting, fd)
	_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, nil) // the connection is open, and was added
}

// look tells those for whom there is something. It returns false when there is nothing
// for anybody.
func (w *watchman) look(uintptr) bool {
	for {
		n, err := unix.EpollWait(w.epoll, w.events[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			panic(os.NewSyscallError("epoll_wait", err)) // it is ours, and open: nobody would be woken any more
		}
		if n == 0 {
			return false
		}
		for _, event := range w.events[:n] {
			if ready := w.take(int(event.Fd), event.Pad); ready != nil {
				ready()
			}
		}
	}
}

// take ends the wait that an event is of, and returns what is to be called, or nil where
// that isn't waited for any more.
func (w *watchman) take(fd int, number int32) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.waiting[fd]
	if !ok || a.number != number {
		return nil
	}
	w.drop(fd)
	return a.ready
}
