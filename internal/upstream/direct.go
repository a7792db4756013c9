// Package upstream reaches resources: directly, or through a relay that stands
// near them.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"postern"
)

// Direct dials resources from this machine. The zero Direct works.
type Direct struct {
	Timeout   time.Duration // until connected; 0: 10 seconds
	KeepAlive time.Duration // between probes of an idle connection; 0: 15 seconds
}

const (
	defaultTimeout   = 10 * time.Second
	defaultKeepAlive = 15 * time.Second
	keepAliveProbes  = 4
)

// Dial connects to an address of r, a host:port. Small messages are sent at
// once, and a peer that is gone is noticed by keepalive. A resource behind a
// relay is refused: it isn't reachable from here, and must not be tried from
// here. The caller owns the connection.
func (d Direct) Dial(ctx context.Context, r postern.Resource, address string) (net.Conn, error) {
	if r.Via != "" {
		return nil, fmt.Errorf("no relay named %q is connected", r.Via)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	dialer := net.Dialer{
		Timeout: or(d.Timeout, defaultTimeout),
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: or(d.KeepAlive, defaultKeepAlive), Interval: or(d.KeepAlive, defaultKeepAlive), Count: keepAliveProbes,
		},
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetNoDelay(true); err != nil {
			return nil, errors.Join(fmt.Errorf("set no delay: %w", err), conn.Close())
		}
	}
	return conn, nil
}

func or(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}
