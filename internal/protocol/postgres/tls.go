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
	client.Conn = &replayConn{Conn: client.Conn, again: []byte{first}}
	if err := p.startTLS(ctx, client); err != nil {
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

func (p *Protocol) startTLS(ctx context.Context, client *clientConn) error {
	client.records = &recordConn{Conn: client.Conn, pool: p.relay.buffers}
	conn := tls.Server(client.records, showingTo(client, p.tls))
	if err := conn.HandshakeContext(ctx); err != nil {
		return &silentError{err}
	}
	state := conn.ConnectionState()
	client.Conn, client.tls = conn, &state
	return nil
}

// showingTo is a configuration that remembers which certificate this client is
// shown: another may take its place at any time.
func showingTo(client *clientConn, config *tls.Config) *tls.Config {
	get := config.GetCertificate
	if get == nil {
		if len(config.Certificates) == 1 {
			client.shown = &config.Certificates[0]
		}
		return config
	}
	config = config.Clone()
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(hello)
		client.shown = cert
		return cert, err
	}
	return config
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

// replayConn is a connection from which bytes were read that are to be read
// once more.
type replayConn struct {
	net.Conn
	again []byte
}

// Read implements [net.Conn].
func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.again) > 0 && len(p) > 0 {
		n := copy(p, c.again)
		c.again = c.again[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
