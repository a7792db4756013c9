//go:build !linux

package socket

import (
	"errors"
	"net"
	"syscall"
)

// Of returns conn as it is: the system's calls go by its library here.
func Of(conn net.Conn) net.Conn { return conn }

// Await returns an error that wraps [errors.ErrUnsupported]: each connection needs a
// goroutine that waits for it here.
func Await(syscall.Conn, func()) error { return errors.ErrUnsupported }

// AwaitEnd returns an error that wraps [errors.ErrUnsupported].
func AwaitEnd(syscall.Conn, func()) error { return errors.ErrUnsupported }

// Forget returns false: nothing is waited for.
func Forget(syscall.Conn) bool { return false }
