package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"postern/internal/gate"
	"postern/internal/protocol"
)

// listener accepts the connections of one protocol. A connection's own work,
// its handshake included, never holds up the accept loop.
type listener struct {
	net.Listener
	protocol protocol.Protocol
	gate     *gate.Gate
	slots    chan struct{} // one for each connection that may be open
	log      *slog.Logger
}

const (
	acceptBackoffMin = 5 * time.Millisecond
	acceptBackoffMax = time.Second
)

// run accepts until the listener is closed, and returns when every connection
// is done.
func (l *listener) run(ctx context.Context) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	backoff := acceptBackoffMin
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// Out of descriptors, most likely: those who are in must not suffer.
			l.log.Error("connection not accepted", "protocol", l.protocol.Name(), "error", err)
			if !pause(ctx, backoff) {
				return nil
			}
			backoff = min(backoff*2, acceptBackoffMax)
			continue
		}
		backoff = acceptBackoffMin
		select {
		case l.slots <- struct{}{}:
		default:
			l.log.Warn("connection refused: too many are open", "protocol", l.protocol.Name(), "source", conn.RemoteAddr())
			_ = conn.Close() // nothing was promised on it
			continue
		}
		conns.Add(1)
		go l.serve(ctx, conn, conns.Done)
	}
}

// serve runs one connection, until it is over or, with some protocols, as long as it
// isn't parked; over is called once it is over. A bug in a protocol ends its connection,
// not the gateway. It has little on its stack for as long as that lasts.
func (l *listener) serve(ctx context.Context, conn net.Conn, over func()) {
	defer l.rescue(conn, over)
	if p, ok := l.protocol.(protocol.Parker); ok {
		p.ServeParking(ctx, conn, l.gate, func(err error) { l.served(conn, err, over) })
		return
	}
	l.served(conn, l.protocol.Serve(ctx, conn, l.gate), over)
}

// served gives a connection's slot back.
func (l *listener) served(conn net.Conn, err error, over func()) {
	if err != nil {
		l.log.Debug("connection ended", "protocol", l.protocol.Name(), "source", conn.RemoteAddr(), "error", err)
	}
	<-l.slots
	over()
}

// rescue is deferred.
func (l *listener) rescue(conn net.Conn, over func()) {
	if p := recover(); p != nil {
		l.log.Error("connection broke on a bug", "protocol", l.protocol.Name(), "source", conn.RemoteAddr(), "panic", p, "stack", stack())
		_ = conn.Close() // already lost
		l.served(conn, nil, over)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// bounded is a listener with a limit of its own: connections beyond it are
// closed at once, so that they can't use up the descriptors that sessions and
// recordings need.
type bounded struct {
	net.Listener
	slots chan struct{}
	log   *slog.Logger
}

// Accept implements [net.Listener].
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case b.slots <- struct{}{}:
			return &slotted{Conn: conn, free: sync.OnceFunc(func() { <-b.slots })}, nil
		default:
			b.log.Warn("connection refused: too many are open", "protocol", "https", "source", conn.RemoteAddr())
			_ = conn.Close() // nothing was promised on it
		}
	}
}

// slotted frees its place when it is closed.
type slotted struct {
	net.Conn
	free func()
}

// Close implements [net.Conn].
func (c *slotted) Close() error {
	defer c.free()
	return c.Conn.Close()
}
