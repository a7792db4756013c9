// Package postgres is PostgreSQL's frontend/backend protocol, version 3:
// clients log in with a session token, and reach the server over a connection
// that the gateway opened with its own credentials.
package postgres

import (
	"context"
	"net"

	"postern"
	"postern/internal/gate"
	"postern/internal/protocol"
)

// Name is the type of resources that this protocol opens.
const Name = "postgres"

// Protocol implements [protocol.Protocol].
type Protocol struct {
	o protocol.Options
}

// New makes the protocol.
func New(o protocol.Options) *Protocol { return &Protocol{o: o.WithDefaults()} }

// Name implements [protocol.Protocol].
func (*Protocol) Name() string { return Name }

// Attrs implements [protocol.Protocol].
func (*Protocol) Attrs() []postern.AttrType { return nil }

// Serve implements [protocol.Protocol].
func (p *Protocol) Serve(ctx context.Context, conn net.Conn, g *gate.Gate) error {
	return conn.Close()
}
