// Package postgres is PostgreSQL's frontend/backend protocol, version 3:
// clients log in with a session token, and reach the server over a connection
// that the gateway opened with its own credentials.
//
// A connection goes through these hands: startup.go and tls.go take it to its
// startup message, auth.go to a session, upstream.go to the server; then the
// relay has both ends until one of them or the session is over, and
// goodbye.go has the last word. cancel.go answers the other kind of
// connection, that asks to cancel a query.
package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/internal/gate"
	"postern/internal/protocol"
	"postern/internal/socket"
	analysis "postern/internal/sql/postgres"
)

// Name is the type of resources that this protocol opens.
const Name = "postgres"

// Protocol implements [protocol.Protocol].
type Protocol struct {
	o    protocol.Options
	tls  *tls.Config // what clients are shown; nil: none
	keys *keyring
	mass mass
	// logins are the keys of the gateway's own logins.
	logins *loginKeys
	blanks blankConfigs
	// relay is what the sessions' relays share.
	relay relayOptions
}

// analyses is how many texts' analyses are kept.
const analyses = 4096

// New makes the protocol.
func New(o protocol.Options) *Protocol {
	o = o.WithDefaults()
	return &Protocol{
		o: o, tls: serverTLS(o.TLS), keys: newKeyring(o.Rand), logins: newLoginKeys(o.Rand, o.Now),
		relay: relayOptions{
			analyzer: analysis.NewAnalyzer(analyses), catalogs: newCatalogs(o.Now, o.Log), fingerprint: analysis.FingerprintQuery(),
			log: o.Log, now: o.Now, rand: o.Rand, buffers: &buffers{}, turn: turnTime, park: parkAfter,
		},
	}
}

// Name implements [protocol.Protocol].
func (*Protocol) Name() string { return Name }

// Attrs implements [protocol.Protocol].
func (*Protocol) Attrs() []postern.AttrType { return analysis.Attrs() }

// CheckResource implements [protocol.ResourceChecker].
func (*Protocol) CheckResource(r postern.Resource) error {
	for name := range r.Options {
		if name != optionTarget {
			return fmt.Errorf("a PostgreSQL resource has no option %s; known is %s", name, optionTarget)
		}
	}
	_, err := targetOf(r)
	return err
}

// Serve implements [protocol.Protocol].
func (p *Protocol) Serve(ctx context.Context, conn net.Conn, g *gate.Gate) error {
	over := make(chan error, 1)
	p.ServeParking(ctx, conn, g, func(err error) { over <- err })
	return <-over
}

// ServeParking implements [protocol.Parker]. Most connections wait for their client for
// most of their life: until then the goroutine has left all that came before, so that
// its stack is small again at the next collection (TestIdleStack), and after a while
// there is none.
func (p *Protocol) ServeParking(ctx context.Context, conn net.Conn, g *gate.Gate, over func(error)) {
	conn = socket.Of(conn)
	v, err := p.open(ctx, conn, g)
	if v == nil {
		_ = conn.Close() // nothing depends on how
		over(err)
		return
	}
	v.over = over
	v.serve()
}

// A visit is a client's, in a session that is open.
type visit struct {
	p      *Protocol
	client *clientConn
	s      *gate.Session
	up     *upstream // nil: it couldn't be connected
	r      *relay
	life   *life  // of r; nil: there is nothing to relay
	forget func() // the cancel key; nil: none was issued
	failed error  // why there is nothing to relay
	over   func(error)
}

// open takes a connection to its session, and that to its resource. Without a
// session the client has been answered, and the error is what Serve returns.
func (p *Protocol) open(ctx context.Context, conn net.Conn, g *gate.Gate) (*visit, error) {
	handshake, cancel := context.WithTimeout(ctx, p.o.HandshakeTimeout)
	defer cancel()
	release := interrupt(handshake, conn)
	client, key, err := p.admit(handshake, conn)
	if err == nil && key == nil {
		var s *gate.Session
		if s, err = p.login(ctx, handshake, client, g); err == nil {
			release()
			v := &visit{p: p, client: client, s: s}
			if v.failed = v.begin(handshake); v.failed == nil {
				v.life, v.failed = v.r.start(s.Context())
			}
			return v, nil
		}
	}
	release()
	if key != nil && err == nil {
		return nil, p.serveCancel(ctx, conn, key)
	}
	return nil, p.turnAway(handshake, client, err)
}

// turnAway has the last word to a client that got no session.
func (p *Protocol) turnAway(handshake context.Context, client *clientConn, err error) error {
	defer func() { _ = client.Close() }() // nothing depends on how
	var silent *silentError
	var said *refusal
	var denied *gate.DeniedError
	switch {
	case errors.As(err, &silent):
		return fmt.Errorf("startup: %w", err)
	case errors.As(err, &denied):
		// The gate has logged it.
		client.tell(loginRefusal(err))
		return nil
	case errors.As(err, &said):
		client.tell(said)
		return fmt.Errorf("startup: %w", err)
	case errors.Is(handshake.Err(), context.DeadlineExceeded):
		client.tell(&refusal{code: codeProtocol, message: "the login took too long"})
		return errors.New("startup: the client took too long")
	case errors.Is(err, io.EOF), handshake.Err() != nil:
		return nil
	case isNetwork(err):
		return fmt.Errorf("startup: %w", err)
	default:
		client.tell(loginRefusal(err))
		return fmt.Errorf("login: %w", err)
	}
}

// tell sends a last word, for a client that is still there.
func (c *clientConn) tell(r *refusal) {
	if r.say(c, goodbyeTime) == nil {
		linger(c.Conn, goodbyeTime)
	}
}

func isNetwork(err error) bool {
	var network net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

// end has the last word to a client whose session ended with err, and closes
// the session.
func (v *visit) end(err error) error {
	if v.up != nil {
		defer v.up.close()
	}
	client, s, ctx := v.client, v.s, v.s.Context()
	reason := "the client disconnected"
	last := goodbye(ctx, s, err)
	if last != nil {
		reason = last.Error()
	}
	if context.Cause(ctx) != nil {
		v.p.cutOff(client, v.up, s, last)
		// That is no fault, and the session's end tells why.
		return s.Close(reason)
	}
	said := last != nil && !client.midMessage && last.say(client, goodbyeTime) == nil
	closing := s.Close(reason)
	switch {
	case said:
		linger(client.Conn, goodbyeTime)
	case last != nil:
		client.abort()
	}
	if errors.Is(err, errClientGone) {
		err = nil
	}
	_ = client.Close() // nothing depends on how
	return errors.Join(forOperator(s, err), closing)
}

// cutOff takes a session that the gateway ended from both of its sides at once:
// the client gets its last word, and what runs upstream is cancelled, so that
// it doesn't run on for nobody. Neither side holds up the other, and no client
// can put it off by not reading, or by sending without an end.
func (p *Protocol) cutOff(client *clientConn, up *upstream, s *gate.Session, last *refusal) {
	var both sync.WaitGroup
	if up != nil {
		both.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context()), goodbyeTime)
			defer cancel()
			if err := up.stop(ctx, &p.mass); err != nil {
				p.o.Log.Warn("query of an ended session can't be cancelled", "session", s.ID(), "resource", s.Resource().Name, "error", err)
			}
		})
	}
	if client.midMessage || last.say(client, partingTime) != nil {
		client.abort()
	} else {
		linger(client.Conn, partingTime)
	}
	_ = client.Close() // nothing depends on how
	both.Wait()
}

// begin connects the session to its resource, and lets the client in.
func (v *visit) begin(handshake context.Context) (err error) {
	if v.up, err = v.p.connect(handshake, v.s, settingsOf(v.s, v.client.params)); err != nil {
		return err
	}
	v.r = newRelay(v.client, v.up, v.s, v.p.relay)
	v.r.hereParking.wake = func() { go v.serve() }
	key, forget, err := v.p.keys.issue(v.client.minor, v.s, v.r)
	if err != nil {
		return err
	}
	v.forget = forget
	v.r.pid = key.pid
	if err := v.client.greet(v.up, key); err != nil {
		return fmt.Errorf("%w: %w", errClientGone, err)
	}
	v.up.params, v.up.notices = nil, nil
	return nil
}

// serve serves the client until the session is over, or it is parked.
func (v *visit) serve() {
	defer v.rescue()
	err := v.failed
	if v.life != nil {
		err = v.r.serveClient(v.life.ctx)
		for errors.Is(err, errParked) {
			v.r.restHere()
			if v.r.hereParking.park() {
				return
			}
			err = v.r.serveClient(v.life.ctx)
		}
		err = v.r.conclude(v.life, err)
		v.up.owed, v.up.unread = v.r.p.owed(), v.r.fromUp
	}
	if v.forget != nil {
		v.forget()
	}
	err = v.end(err)
	if v.life != nil {
		v.r.part()
	}
	v.over(err)
}

// rescue is deferred. Nobody may be above to whom a bug could be left, and it mustn't
// leave behind a session that looks as if it lived.
func (v *visit) rescue() {
	p := recover()
	if p == nil {
		return
	}
	v.p.o.Log.Error("session broke on a bug", "session", v.s.ID(), "panic", p, "stack", string(debug.Stack()))
	if v.life != nil {
		v.life.over()
		defer v.r.part()
	}
	_ = v.client.Close() // already lost
	if v.up != nil {
		v.up.close()
	}
	if v.forget != nil {
		v.forget()
	}
	v.over(errors.Join(errBug, v.s.Close("the gateway met a bug")))
}

var errBug = errors.New("the gateway met a bug")

// connect reaches the upstream before the handshake's deadline, as long as the
// session lives, with settings that were decided over.
func (p *Protocol) connect(handshake context.Context, s *gate.Session, settings map[string]string) (*upstream, error) {
	ctx := s.Context()
	if deadline, ok := handshake.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	if err := p.decideSettings(ctx, s, settings); err != nil {
		return nil, err
	}
	up, err := connectUpstream(ctx, s, settings, p.logins, &p.blanks)
	if err != nil {
		if s.Context().Err() == nil {
			p.o.Log.Error("server can't be reached", "resource", s.Resource().Name, "session", s.ID(), "error", err)
		}
		return nil, upstreamRefusal(s, err)
	}
	return up, nil
}

// greet tells the client that it is in: all that the server said of itself,
// and a cancel key of the gateway's own.
func (c *clientConn) greet(up *upstream, key cancelKey) error {
	messages := []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}
	for _, name := range slices.Sorted(maps.Keys(up.params)) {
		messages = append(messages, &pgproto3.ParameterStatus{Name: name, Value: up.params[name]})
	}
	messages = append(messages, key.backendKeyData())
	for _, n := range up.notices {
		messages = append(messages, noticeResponse(n))
	}
	messages = append(messages, &pgproto3.ReadyForQuery{TxStatus: up.txStatus})
	var out []byte
	var err error
	for _, m := range messages {
		if out, err = m.Encode(out); err != nil {
			return err
		}
	}
	if err := c.SetDeadline(time.Now().Add(goodbyeTime)); err != nil {
		return err
	}
	if _, err := c.Write(out); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}
