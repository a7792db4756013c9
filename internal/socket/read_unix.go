//go:build unix

package socket

import (
	"io"
	"os"
	"syscall"
)

// Read reads once from a connection that doesn't block, as [Conn] does, for
// whoever waits for it by a [syscall.RawConn]: not ready says that there is
// nothing to read yet. p must not be empty. At the end the error is [io.EOF].
func Read(fd uintptr, p []byte) (n int, ready bool, err error) {
	for {
		n, errno := read(fd, p[:min(len(p), most)])
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return 0, false, nil
		case errno != 0:
			return 0, true, os.NewSyscallError("read", errno)
		case n == 0:
			return 0, true, io.EOF
		default:
			return n, true, nil
		}
	}
}
