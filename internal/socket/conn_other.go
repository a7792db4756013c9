//go:build !linux

package socket

import "net"

// Of returns conn as it is: the system's calls go by its library here.
func Of(conn net.Conn) net.Conn { return conn }
