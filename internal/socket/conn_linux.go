package socket

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// Of returns conn, if it is the kernel's, read and written as the package says;
// anything else it returns as it is.
func Of(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn // whoever uses it is told
	}
	c := &Conn{TCPConn: tcp, raw: raw}
	c.in.try, c.out.try = c.in.receive, c.out.send
	return c
}

// Conn is a TCP connection. Its methods may be called from several goroutines;
// deadlines and Close interrupt them as they do those of [net.TCPConn].
type Conn struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out transfer
}

// transfer is a Read or a Write: the one that is under way.
type transfer struct {
	mu  sync.Mutex            // guards what follows
	try func(fd uintptr) bool // a method of this transfer's: made for each, it would be allocated for each
	p   []byte
	n   int
	err error
}

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return c.run(&c.in, "read", c.raw.Read, p)
}

// Write implements [net.Conn].
func (c *Conn) Write(p []byte) (int, error) {
	return c.run(&c.out, "write", c.raw.Write, p)
}

func (c *Conn) run(t *transfer, op string, when func(func(uintptr) bool) error, p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p, t.n, t.err = p, 0, nil
	err := when(t.try)
	t.p = nil
	if err == nil && t.err != nil {
		if t.err == io.EOF { //nolint:errorlint // as it comes from this package
			return t.n, io.EOF
		}
		err = &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: t.err}
	}
	return t.n, err
}

// receive returns false when there is nothing to read yet.
func (t *transfer) receive(fd uintptr) bool {
	var ready bool
	t.n, ready, t.err = Read(fd, t.p)
	return ready
}

// send returns false when no more can be written yet.
func (t *transfer) send(fd uintptr) bool {
	for t.n < len(t.p) {
		n, errno := write(fd, t.p[t.n:min(len(t.p), t.n+most)])
		switch errno {
		case 0:
			t.n += n
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.err = os.NewSyscallError("write", errno)
			return true
		}
	}
	return true
}

// read and write take pieces that aren't empty.

func read(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // as package syscall does
	return int(n), errno
}

func write(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // as package syscall does
	return int(n), errno
}
