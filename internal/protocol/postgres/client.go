package postgres

import (
	"crypto/tls"
	"net"
)

// clientConn is a client that has sent its startup message.
type clientConn struct {
	// Conn is the connection after TLS. Until the relay has it, nobody reads
	// more from it than the message that is read.
	net.Conn

	params  map[string]string    // as in the startup message
	minor   uint32               // the agreed protocol version: 3.minor
	tls     *tls.ConnectionState // nil: clear text
	records *recordConn          // below TLS; nil: clear text
	shown   *tls.Certificate     // what it was shown in the handshake; nil: not known

	tellMasked bool // it asked which values are masked

	// midMessage says that only a part of the last message reached the client:
	// the relay sets it before run returns, and then no goodbye is sent.
	midMessage bool
}

// abort closes the connection without TLS's own goodbye, which can't be said
// in the middle of a message.
func (c *clientConn) abort() {
	if secured, ok := c.Conn.(*tls.Conn); ok {
		_ = secured.NetConn().Close()
		return
	}
	_ = c.Close()
}
