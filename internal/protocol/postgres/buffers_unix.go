//go:build unix

package postgres

import (
	"io"
	"syscall"

	"postern/internal/socket"
)

// A waiter reads from a connection of the kernel's for a frameReader, which
// needs no buffer until there is something to read.
type waiter struct {
	raw     syscall.RawConn
	attempt func(fd uintptr) bool // one for all reads: it would be allocated for each
	f       *frameReader          // of the read under way
	n       int
	err     error
}

// newWaiter returns nil where there is no such connection.
func newWaiter(src io.Reader) *waiter {
	conn := plainConn(src)
	if conn == nil {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil // it is closed, and reading from it will tell
	}
	w := &waiter{raw: raw}
	w.attempt = w.try
	return w
}

// read reads into f once. Deadlines hold as for any read.
func (w *waiter) read(f *frameReader) (int, error) {
	w.f, w.n, w.err = f, 0, nil
	if err := w.raw.Read(w.attempt); err != nil {
		return 0, err
	}
	return w.n, w.err
}

// try returns false when there is nothing to read yet.
func (w *waiter) try(fd uintptr) bool {
	f := w.f
	if f.buf == nil {
		f.buf = f.pool.get()
	}
	n, ready, err := socket.Read(fd, f.buf[f.w:])
	if !ready {
		if f.w == 0 {
			f.release()
		}
		return false
	}
	w.n, w.err = n, err
	return true
}
