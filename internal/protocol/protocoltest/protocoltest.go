// Package protocoltest is the contract that every protocol keeps, as a test
// suite. A protocol's own test implements [Peer], with a real client and a
// real upstream, and calls [Run].
//
// What the suite holds a protocol to:
//   - who isn't let in costs the upstream nothing: it isn't even dialled;
//   - what can't be recorded doesn't happen: neither a session nor a command;
//   - a command is in the recording, safe from a crash, before the upstream
//     sees the first byte of it;
//   - a denied command never reaches the upstream, and the connection goes on;
//   - a reviewed command waits, runs once if approved, and is withdrawn when
//     its client goes;
//   - when a session ends, both connections end with it, the client is told
//     why, the recording is closed, and no goroutine stays behind.
package protocoltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern"
	"postern/internal/gate/gatetest"
	"postern/internal/protocol"
)

// Resource is the name under which a Peer's upstream is known.
const Resource = "target"

// Peer is the other end of a protocol, on both sides.
type Peer interface {
	// Protocol makes the protocol.
	Protocol(protocol.Options) protocol.Protocol
	// Upstream is the object of kind Resource, as YAML, that leads to a real
	// upstream without TLS, and the credentials for it by user name. Its name
	// is [Resource]. It is asked once for each test.
	Upstream(t testing.TB) (object string, logins map[string]postern.Login)
	// Login logs in over conn, which it owns from then on. A refusal is an
	// error that holds what the client was told.
	Login(ctx context.Context, conn net.Conn, user, resource, token string) (Client, error)
	// Echo is a harmless command whose text holds marker, and whose output too.
	Echo(marker string) string
	// Touch is a command whose text holds marker and that leaves a trace
	// upstream each time it runs.
	Touch(marker string) string
	// Traces counts the traces, looked up past the gateway.
	Traces(t testing.TB, marker string) int
}

// Client is a logged-in client.
type Client interface {
	// Do runs a command and returns its output. The error of a denied command
	// holds what the client was told.
	Do(ctx context.Context, command string) (string, error)
	// Ended waits until the other side ends the connection, and returns its
	// last words.
	Ended(ctx context.Context) (string, error)
	// Close leaves, without a word.
	Close() error
}

// Announcer is a Peer whose protocol is sealed on its way to the upstream, where
// nothing can be read on the wire: its upstream tells of what arrives instead.
type Announcer interface {
	// Announce has seen called, until the test ends, with everything that the
	// upstream is asked to do, before it does it.
	Announce(t testing.TB, seen func(text string))
}

// patience bounds every wait of the suite.
const patience = 20 * time.Second

// policyText lets alice do everything but what the rules take for forbidden
// or for reviewed. Bob may not come in at all.
const policyText = `
---
{kind: Access, name: alice, to: ['user:alice'], on: {names: [target]}}
---
{kind: Rule, name: no-forbidden, on: {names: [target]}, when: 'command.text.contains("forbidden")', then: deny, message: Ask somebody else.}
---
{kind: Rule, name: look-first, on: {names: [target]}, when: 'command.text.contains("reviewed")', then: review, review: {approvers: ['user:carol'], approvals: 1, timeout: 10m, evidence: none}} # nothing of it may go upstream before its time
`

// Run runs the suite.
func Run(t *testing.T, peer Peer) {
	for _, test := range []struct {
		name      string
		run       func(*bench)
		handshake time.Duration // 0: the default
	}{
		{"a refused login reaches no upstream", refusedLogin, 0},
		{"a session that can't be recorded doesn't open", unrecordableSession, 0},
		{"a command is recorded before it is forwarded", recordedFirst, 0},
		{"a denied command reaches nothing and breaks nothing", deniedCommand, 0},
		{"a command that can't be recorded isn't forwarded", unrecordableCommand, 0},
		{"an approved command runs once", approvedCommand, 0},
		{"a review denied is a command denied", refusedReview, 0},
		{"a review is withdrawn when its client goes", withdrawnReview, 0},
		{"a session that is ended tells its client why", endedSession, 0},
		{"a client that goes takes its session along", clientGone, 0},
		{"an upstream that goes ends the session", upstreamGone, 0},
		{"Serve ends with its context", contextDone, 0},
		{"a client that never logs in is turned away", silentClient, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			leftover := goleak.IgnoreCurrent()
			t.Run("contract", func(t *testing.T) { test.run(newBench(t, peer, test.handshake)) })
			goleak.VerifyNone(t, leftover)
		})
	}
}

// bench is a protocol behind a listener, between a real client and a tapped
// connection to its upstream.
type bench struct {
	*testing.T
	peer    Peer
	harness *gatetest.Harness
	addr    string
	stop    context.CancelFunc // ends the context of every Serve
	served  chan error         // what Serve returned
	tap     *tap
}

func newBench(t *testing.T, peer Peer, handshake time.Duration) *bench {
	t.Helper()
	p := peer.Protocol(protocol.Options{AllowPlaintext: true, HandshakeTimeout: handshake})
	object, logins := peer.Upstream(t)
	b := &bench{T: t, peer: peer, served: make(chan error, 64), tap: &tap{gone: make(chan struct{}, 64)}}
	b.harness = gatetest.New(t, gatetest.Options{
		Objects: object + policyText, Protocols: protocol.PolicyTypes(p),
		Identities: []postern.Identity{{Name: "alice", Kind: postern.User}, {Name: "bob", Kind: postern.User}},
		Logins:     logins, Dial: b.tap.dial,
	})
	b.tap.recordings = b.harness.Recordings
	announcer, sealed := peer.(Announcer)
	if b.tap.sealed = sealed; sealed {
		announcer.Announce(t, func(text string) { b.tap.arriving([]byte(text)) })
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	b.addr, b.stop = listener.Addr().String(), stop
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { b.served <- p.Serve(ctx, conn, b.harness.Gate) })
		}
	})
	t.Cleanup(func() {
		stop()
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
		b.tap.closeAll()
		if t.Failed() {
			t.Log(b.harness.Log)
		}
		for _, secret := range secrets(logins) {
			if strings.Contains(b.harness.Log.String(), secret) {
				t.Errorf("%q is in the log", secret)
			}
		}
	})
	return b
}

// secrets are what no log may hold.
func secrets(logins map[string]postern.Login) []string {
	all := []string{"token-alice", "token-bob", "token-nobody"}
	for _, l := range logins {
		for _, s := range []postern.Secret{l.Password, l.PrivateKey} {
			if !s.IsZero() {
				all = append(all, s.Reveal())
			}
		}
	}
	return all
}

func (b *bench) wait() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.Context(), patience)
}

func (b *bench) dial() net.Conn {
	b.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(b.Context(), "tcp", b.addr)
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

func (b *bench) login(user, resource, token string) (Client, error) {
	b.Helper()
	ctx, cancel := b.wait()
	defer cancel()
	c, err := b.peer.Login(ctx, b.dial(), user, resource, token)
	if err == nil {
		b.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// alice is logged in, and has done something that worked.
func (b *bench) alice() Client {
	b.Helper()
	c, err := b.login("alice", Resource, "token-alice")
	if err != nil {
		b.Fatal(err)
	}
	b.mustDo(c, b.peer.Echo("greeting"), "greeting")
	return c
}

func (b *bench) do(c Client, command string) (string, error) {
	b.Helper()
	ctx, cancel := b.wait()
	defer cancel()
	return c.Do(ctx, command)
}

func (b *bench) mustDo(c Client, command, want string) {
	b.Helper()
	if out, err := b.do(c, command); err != nil || !strings.Contains(out, want) {
		b.Fatalf("%s: %q, %v", command, out, err)
	}
}

// over waits for Serve to return.
func (b *bench) over() error {
	b.Helper()
	select {
	case err := <-b.served:
		return err
	case <-time.After(patience):
		b.Fatal("Serve doesn't return")
		return nil
	}
}

// upstreamOver waits until the connection to the upstream is closed.
func (b *bench) upstreamOver() {
	b.Helper()
	select {
	case <-b.tap.gone:
	case <-time.After(patience):
		b.Fatal("the connection to the upstream stays open")
	}
}

// closed checks that the last session has ended properly.
func (b *bench) closed() postern.SessionInfo {
	b.Helper()
	rec := b.harness.Recordings.Last()
	if rec == nil || !rec.Closed() {
		b.Fatal("the recording isn't closed")
	}
	events := rec.Events()
	last := events[len(events)-1]
	if last.Kind != postern.EventClose || last.Session == nil || last.Session.EndedAt.IsZero() {
		b.Errorf("the recording ends with %+v", last)
	}
	if live := b.harness.Live(); len(live) > 0 {
		b.Errorf("sessions are still live: %+v", live)
	}
	return *last.Session
}

// tap sits on the way to the upstream. It looks at each write for markers of
// commands, and for whether the recording holds them by then.
type tap struct {
	recordings *gatetest.Recordings
	gone       chan struct{} // one for each connection closed by the gateway
	sealed     bool          // the wire can't be read: the upstream says what arrives

	mu         sync.Mutex
	conns      []net.Conn
	sent       bytes.Buffer // all that went to the upstream
	unrecorded []string     // markers that were forwarded too early
	markers    []string
}

func (t *tap) dial(ctx context.Context, _ postern.Resource, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns = append(t.conns, conn)
	return &tapped{Conn: conn, tap: t}, nil
}

// watch has the tap look for marker from now on.
func (t *tap) watch(marker string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.markers = append(t.markers, marker)
}

// saw says whether marker went to the upstream.
func (t *tap) saw(marker string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Contains(t.sent.Bytes(), []byte(marker))
}

func (t *tap) early() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unrecorded
}

// closeAll breaks every connection to the upstream.
func (t *tap) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, conn := range t.conns {
		_ = conn.Close()
	}
}

func (t *tap) writing(p []byte) {
	if !t.sealed {
		t.arriving(p)
	}
}

// arriving takes what reaches the upstream next.
func (t *tap) arriving(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := bytes.Clone(t.sent.Bytes())
	t.sent.Write(p)
	for _, marker := range t.markers {
		if !bytes.Contains(t.sent.Bytes(), []byte(marker)) || bytes.Contains(before, []byte(marker)) {
			continue
		}
		if !t.recorded(marker) {
			t.unrecorded = append(t.unrecorded, marker)
		}
	}
}

// recorded says whether a command with the marker, and the word that allowed
// it, would survive the end of the process.
func (t *tap) recorded(marker string) bool {
	var n int64
	for _, e := range t.recordings.Last().Flushed() {
		switch {
		case e.Kind == postern.EventCommand && strings.Contains(e.Command.Text, marker):
			n = e.N
		case e.Kind == postern.EventDecision && n != 0 && e.N <= n && e.Decision.Verdict == postern.Allow:
			return true
		}
	}
	return false
}

type tapped struct {
	net.Conn
	tap  *tap
	once sync.Once
}

// Write implements [net.Conn].
func (c *tapped) Write(p []byte) (int, error) {
	c.tap.writing(p)
	return c.Conn.Write(p)
}

// CloseWrite passes on that no more will come.
func (c *tapped) CloseWrite() error {
	if half, ok := c.Conn.(*net.TCPConn); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close implements [net.Conn].
func (c *tapped) Close() error {
	c.once.Do(func() { c.tap.gone <- struct{}{} })
	return c.Conn.Close()
}

var errDisk = errors.New("no space left on device")

func contains(err error, words ...string) error {
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			return fmt.Errorf("got %w; want %q", errOrNone(err), w)
		}
	}
	return nil
}

func errOrNone(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}
