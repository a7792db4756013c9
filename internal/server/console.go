package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"

	"postern/internal/protocol"
)

// enter connects to a protocol from within, encrypted: what a page of the
// console does takes the way that every client takes.
func (s *Server) enter(ctx context.Context, name string, from netip.Addr) (net.Conn, bool, error) {
	var l *listener
	for _, each := range s.listeners {
		if each.protocol.Name() == name {
			l = each
		}
	}
	if l == nil {
		return nil, false, nil
	}
	select {
	case l.slots <- struct{}{}:
	default:
		return nil, true, errors.New("too many connections are open")
	}
	ours, theirs, err := pair(ctx)
	if err != nil {
		<-l.slots
		return nil, true, err
	}
	// It ends with the page's end, which the caller closes, and gives the slot back.
	go l.serve(context.WithoutCancel(ctx), &inner{Conn: theirs, from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}, func() {})
	e, ok := l.protocol.(protocol.Encrypted)
	if !ok {
		return ours, true, nil
	}
	conn := tls.Client(ours, s.ownTLS(e.ALPN()))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, true, errors.Join(err, ours.Close())
	}
	return conn, true, nil
}

// pair makes the two ends of a connection over loopback. What else connects to
// its port meanwhile is turned away.
func pair(ctx context.Context) (ours, theirs net.Conn, err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "localhost:0")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = l.Close() }() // both ends are there, or neither
	var d net.Dialer
	if ours, err = d.DialContext(ctx, "tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	for {
		if theirs, err = l.Accept(); err != nil {
			return nil, nil, errors.Join(err, ours.Close())
		}
		if theirs.RemoteAddr().String() == ours.LocalAddr().String() {
			return ours, theirs, nil
		}
		_ = theirs.Close() // a stranger's
	}
}

// ownTLS trusts the gateway's own certificate, and no other.
func (s *Server) ownTLS(alpn string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpn},
		InsecureSkipVerify: true, //nolint:gosec // the certificate is compared with our own, below
		VerifyConnection: func(state tls.ConnectionState) error {
			cert, err := s.certs.get()
			if err != nil {
				return err
			}
			if len(cert.Certificate) == 0 || len(state.PeerCertificates) == 0 || string(cert.Certificate[0]) != string(state.PeerCertificates[0].Raw) {
				return errors.New("the certificate isn't the gateway's own")
			}
			return nil
		},
	}
}

// inner is the gateway's end of a connection from within, with the address of
// whoever it is for.
type inner struct {
	net.Conn
	from net.Addr
}

// RemoteAddr implements [net.Conn].
func (c *inner) RemoteAddr() net.Addr { return c.from }
