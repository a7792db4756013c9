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
	ours, theirs := net.Pipe()
	go func() { // ends with the page's end of the pipe, which the caller closes
		defer func() { <-l.slots }()
		l.serve(context.WithoutCancel(ctx), &inner{Conn: theirs, from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))})
	}()
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
