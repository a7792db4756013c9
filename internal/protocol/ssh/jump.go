package ssh

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"postern/internal/gate"
)

// passage is how a connection came to the gateway through another one of the
// same client: ssh -J alice@web-1@gateway web-1.
type passage struct {
	caller   *gate.Caller
	identity string
	host     string // what the client takes this end for: a resource's name
	resource string
}

// isJump says whether a forwarded connection asks for the resource itself: its
// name, at SSH's port. A raw pipe to it would pass everything undecided, so the
// gateway answers there itself.
func (l *link) isJump(m directTCP) bool {
	return !l.inner && strings.EqualFold(m.Host, l.s.Resource().Name) && (m.Port == 22 || m.Port == 0)
}

// wish is what the inner client asks for: its user name is the one for the
// server, as always with a jump host, unless it is the identity's own.
func (p *passage) wish(asked wish) wish {
	w := wish{identity: p.identity, resource: p.resource, login: asked.login}
	if asked.resource == "" && asked.login == "" && asked.identity != p.identity && asked.identity != "postern" {
		w.login = asked.identity
	}
	return w
}

// jump serves the inner connection as one of its own, with a session of its
// own. Its client was asked for its token already, in the connection around it.
func (l *link) jump(nc ssh.NewChannel) {
	ch, reqs, err := nc.Accept()
	if err != nil {
		return // it has gone
	}
	l.work.Go(func() { ssh.DiscardRequests(reqs) })
	conn := newChannelConn(ch, l.client.LocalAddr(), l.client.RemoteAddr())
	e := &entry{
		p: l.p, g: l.g, ctx: l.ctx, source: sourceOf(conn),
		through: &passage{caller: l.caller, identity: l.s.Identity().Name, host: l.s.Resource().Name, resource: l.s.Resource().Name},
	}
	in, err := e.admit(conn)
	if err == nil {
		err = l.p.serve(in, l.g)
	}
	if err != nil && !errors.Is(err, errRefused) && l.ctx.Err() == nil {
		l.p.o.Log.Debug("inner connection ended", "session", l.s.ID(), "error", err)
	}
	_ = conn.Close()
}

// throughJump logs an inner client in as who it is outside.
func (e *entry) throughJump(conn ssh.ConnMetadata) (*ssh.Permissions, error) {
	return e.enter(conn, e.through.wish(readUser(conn.User())), e.through.caller)
}

// channelConn is a channel as a network connection. Its deadlines are kept by a
// pipe: a channel has none.
type channelConn struct {
	net.Conn
	ch            ssh.Channel
	local, remote net.Addr
	work          *sync.WaitGroup
}

func newChannelConn(ch ssh.Channel, local, remote net.Addr) *channelConn {
	near, far := net.Pipe()
	c := &channelConn{Conn: near, ch: ch, local: local, remote: remote, work: &sync.WaitGroup{}}
	c.work.Go(func() {
		_, _ = io.Copy(far, ch) // how it ended is told to the connection inside
		_ = far.Close()
	})
	c.work.Go(func() {
		_, _ = io.Copy(ch, far)
		_ = ch.Close()
	})
	return c
}

// LocalAddr implements [net.Conn].
func (c *channelConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements [net.Conn].
func (c *channelConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements [net.Conn].
func (c *channelConn) SetDeadline(t time.Time) error { return c.Conn.SetDeadline(t) }

// Close implements [net.Conn]. It returns when both directions have ended.
func (c *channelConn) Close() error {
	err := errors.Join(c.Conn.Close(), ignoreEOF(c.ch.Close()))
	c.work.Wait()
	return err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
