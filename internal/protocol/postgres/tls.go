package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
)

// tlsRecordHandshake is the first byte of a TLS connection: a record of type
// handshake. No startup packet begins with it, as it would be far too long.
const tlsRecordHandshake = 0x16

// alpn is PostgreSQL's protocol name within TLS.
const alpn = "postgresql"

// ALPN implements [protocol.Encrypted].
func (*Protocol) ALPN() string { return alpn }

// serverTLS is what clients are shown: the listener's configuration, with
// PostgreSQL's protocol name and no version below 1.2.
func serverTLS(base *tls.Config) *tls.Config {
	if base == nil {
		return nil
	}
	adapt := func(c *tls.Config) *tls.Config {
		c = c.Clone()
		c.NextProtos = []string{alpn}
		c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
		// Results are written whole: records of one packet each, with which a
		// connection otherwise begins after each silence, would be a call each.
		c.DynamicRecordSizingDisabled = true
		// PostgreSQL's own server gives out no tickets either.
		c.SessionTicketsDisabled = true
		noting(c)
		return c
	}
	config := adapt(base)
	if choose := base.GetConfigForClient; choose != nil {
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := choose(hello)
			if c == nil || err != nil {
				return nil, err
			}
			return adapt(c), nil
		}
	}
	return config
}

// answerSSLRequest starts TLS, or says that there is none. Nothing was read
// past the request: what the client has sent with it in clear text is taken
// for its part of the TLS handshake, and fails there.
func (p *Protocol) answerSSLRequest(ctx context.Context, client *clientConn) error {
	if p.tls == nil {
		_, err := client.Write([]byte{'N'})
		return err
	}
	if _, err := client.Write([]byte{'S'}); err != nil {
		return err
	}
	return p.startTLS(ctx, client)
}

// startDirectTLS starts TLS for a client that didn't ask first. Such a client
// must name the protocol, so that no other one's bytes can be passed off as
// PostgreSQL's.
func (p *Protocol) startDirectTLS(ctx context.Context, client *clientConn, first byte) error {
	if p.tls == nil {
		return errors.New("direct TLS, but no certificate is configured")
	}
	if err := p.startTLS(ctx, client, first); err != nil {
		return err
	}
	if client.tls.NegotiatedProtocol != alpn {
		return &refusal{
			code:    codeProtocol,
			message: "received direct SSL connection request without ALPN protocol negotiation extension",
		}
	}
	return nil
}

// startTLS is the handshake, of which some bytes may have been read already.
func (p *Protocol) startTLS(ctx context.Context, client *clientConn, read ...byte) error {
	client.records = &recordConn{Conn: client.Conn, pool: p.relay.buffers, again: read}
	if p.tls.GetCertificate == nil && len(p.tls.Certificates) == 1 {
		client.shown = &p.tls.Certificates[0]
	}
	conn := tls.Server(client.records, p.tls)
	if err := conn.HandshakeContext(context.WithValue(ctx, shownTo{}, client)); err != nil {
		return &silentError{err}
	}
	state := conn.ConnectionState()
	client.Conn, client.tls = conn, &state
	return nil
}

// shownTo is the key of the *[clientConn] in the context of its handshake.
type shownTo struct{}

// noting has config remember which certificate each client is shown: another may take
// its place at any time.
func noting(config *tls.Config) {
	get := config.GetCertificate
	if get == nil {
		return
	}
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(hello)
		if client, ok := hello.Context().Value(shownTo{}).(*clientConn); ok {
			client.shown = cert
		}
		return cert, err
	}
}

// mayBePlain says whether the client may go on in clear text.
func (p *Protocol) mayBePlain(client *clientConn) bool {
	return p.o.AllowPlaintext && source(client).Addr().IsLoopback()
}

// source is the client's address; the zero AddrPort if it has none.
func source(conn net.Conn) netip.AddrPort {
	addr, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := addr.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
