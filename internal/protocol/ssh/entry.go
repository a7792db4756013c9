package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/gate"
)

const (
	// maxOffers bounds the keys that a client may offer before it gives up:
	// agents hold many, and offering costs nothing.
	maxOffers = 20
	// maxSecrets bounds the tokens that it may try.
	maxSecrets = 3
	// loginTime is how long a person may take to find and paste a token, once
	// the client has shown that it speaks the protocol.
	loginTime = 2 * time.Minute
	// signInTime is how long the way through a browser may take.
	signInTime = 10 * time.Minute
)

// entry takes one connection from its first byte to a session.
type entry struct {
	p      *Protocol
	g      *gate.Gate
	ctx    context.Context // the session's parent
	source netip.AddrPort
	// through is the connection that this one came through; nil: none.
	through *passage

	handshake context.Context // ends with the time to log in
	extend    func(time.Duration)

	mu      sync.Mutex
	secrets int           // how many were tried
	refused bool          // the gate said no to somebody who proved who he is, or tried to
	session *gate.Session // opened, and not yet handed over
	proof   postern.Proof // of the key that has signed in this connection, whatever it was worth
}

// grant is what a successful login leaves for the connection. It travels in the
// permissions of the very login that succeeded.
type grant struct {
	session *gate.Session
	caller  *gate.Caller
	wish    wish
}

// admitted is a connection with a session. Its owner closes both.
type admitted struct {
	conn  *ssh.ServerConn
	chans <-chan ssh.NewChannel
	reqs  <-chan *ssh.Request
	grant grant
	inner bool // it came through another connection
}

type grantKey struct{}

// admit lets a client in, or returns why not: errRefused when there is nothing
// left to say.
func (e *entry) admit(conn net.Conn) (*admitted, error) {
	handshake, cancel := context.WithCancelCause(e.ctx)
	defer cancel(nil)
	timer := time.AfterFunc(e.p.o.HandshakeTimeout, func() { cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	e.handshake, e.extend = handshake, func(d time.Duration) { timer.Reset(d) }
	release := interrupt(handshake, conn)
	var also []string
	if e.through != nil {
		also = append(also, e.through.host)
	}
	config, err := e.p.serverConfig(also...)
	if err != nil {
		return nil, err
	}
	e.methods(config)
	sc, chans, reqs, err := ssh.NewServerConn(conn, config)
	if released := release(); err == nil && !released {
		err = context.Cause(handshake)
	}
	if err != nil {
		return nil, e.turnedAway(err)
	}
	granted, ok := sc.Permissions.ExtraData[grantKey{}].(grant)
	if !ok || granted.session != e.session {
		_ = sc.Close()
		return nil, e.turnedAway(errors.New("the login left no session"))
	}
	return &admitted{conn: sc, chans: chans, reqs: reqs, grant: granted, inner: e.through != nil}, nil
}

// errRefused is the end of a connection whose client was told why, and of
// which the gate has told the operator.
var errRefused = errors.New("refused")

// turnedAway cleans up after a client that wasn't let in, and words the error
// for the operator.
func (e *entry) turnedAway(err error) error {
	e.mu.Lock()
	s := e.session
	refused := e.refused
	e.mu.Unlock()
	if s != nil {
		// It was let in, and left before it knew.
		return errors.Join(fmt.Errorf("login: %w", err), s.Close("the client disconnected"))
	}
	switch {
	case refused:
		return errRefused // the gate has logged it
	case errors.Is(context.Cause(e.handshake), context.DeadlineExceeded):
		return errors.New("login: the client took too long")
	case e.handshake.Err() != nil:
		return errRefused // the gateway is shutting down
	default:
		return fmt.Errorf("login: %w", err)
	}
}

// methods are the ways to log in.
func (e *entry) methods(config *ssh.ServerConfig) {
	config.BannerCallback = func(ssh.ConnMetadata) string {
		e.extend(loginTime)
		return ""
	}
	if e.through != nil {
		config.NoClientAuth, config.NoClientAuthCallback = true, e.throughJump
		return
	}
	config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		return nil, nil // a key that is merely offered says nothing: let it sign
	}
	config.VerifiedPublicKeyCallback = func(conn ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (*ssh.Permissions, error) {
		return e.key(conn, key)
	}
	config.PasswordCallback = func(conn ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		return e.token(conn, string(password))
	}
	config.KeyboardInteractiveCallback = func(conn ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		return e.askToken(conn, ask)
	}
}

// askToken asks a person for a token.
func (e *entry) askToken(conn ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	w, problem := e.wish(conn)
	if problem != "" {
		return nil, &ssh.BannerError{Err: errors.New("no resource in the user name"), Message: problem + "\n"}
	}
	// No instruction: clients print it to scripts, too.
	question := "Session token for " + shown(w.resource) + " (postern token " + shown(w.resource) + "): "
	if e.p.o.SignIn != nil {
		question = "Session token for " + shown(w.resource) + ", or nothing to sign in with a browser: "
	}
	answers, err := ask("", "", []string{question}, []bool{false})
	if err != nil {
		return nil, err
	}
	if len(answers) != 1 {
		return nil, errors.New("the client didn't answer the question")
	}
	if strings.TrimSpace(answers[0]) == "" && e.p.o.SignIn != nil {
		return e.browser(conn, w, ask)
	}
	return e.token(conn, answers[0])
}

// browser shows a link, and waits until its person has signed in there.
func (e *entry) browser(conn ssh.ConnMetadata, w wish, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	in, err := e.p.o.SignIn(e.handshake, w.resource, clientName(conn.ClientVersion()), e.source.Addr())
	if err != nil {
		e.p.o.Log.Warn("sign-in can't begin", "source", e.source.Addr(), "error", err)
		return nil, &ssh.BannerError{Err: err, Message: "postern: nobody can sign in with a browser now; try again later, or get a token with `postern token`\n"}
	}
	e.extend(signInTime)
	if _, err := ask("", "To go on, sign in here and approve: "+in.Link, nil, nil); err != nil {
		return nil, err
	}
	token, err := in.Token(e.handshake)
	if err != nil {
		e.p.o.Log.Info("sign-in failed", "source", e.source.Addr(), "error", err)
		return nil, &ssh.BannerError{Err: err, Message: "postern: that wasn't approved\n"}
	}
	return e.token(conn, token.Reveal())
}

// wish is what the client asks for. problem is for the person who forgot to.
func (e *entry) wish(conn ssh.ConnMetadata) (w wish, problem string) {
	w = readUser(conn.User())
	if w.resource == "" {
		return w, "postern: which resource? Put it into the user name: ssh " + shown(w.identity) + "@RESOURCE@gateway. `postern ls` lists yours."
	}
	return w, ""
}

// token logs in with a session token.
func (e *entry) token(conn ssh.ConnMetadata, secret string) (*ssh.Permissions, error) {
	w, problem := e.wish(conn)
	if problem != "" {
		return nil, &ssh.BannerError{Err: errors.New("no resource in the user name"), Message: problem + "\n"}
	}
	e.mu.Lock()
	e.secrets++
	tooMany, proof := e.secrets > maxSecrets, e.proof
	e.mu.Unlock()
	if tooMany {
		return nil, errors.New("too many tokens were tried")
	}
	return e.open(conn, w, postern.Credential{
		User: w.identity, Secret: postern.NewSecret(strings.TrimSpace(secret)), Proof: proof, Resource: w.resource, Protocol: Name, Source: e.source,
	})
}

// key logs in with a key that has signed, plain or certified.
func (e *entry) key(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	w, problem := e.wish(conn)
	if problem != "" {
		return nil, errors.New("no resource in the user name")
	}
	proof := e.p.authority.SSHProof(key)
	e.mu.Lock()
	e.proof = proof
	e.mu.Unlock()
	if proof == (postern.Proof{}) {
		return nil, errors.New("the key proves nothing")
	}
	perms, err := e.open(conn, w, postern.Credential{User: w.identity, Proof: proof, Resource: w.resource, Protocol: Name, Source: e.source})
	if errors.Is(err, gate.ErrRefused) && proof.Certificate == "" {
		// One of the many keys that its agent holds. There may be a better one, or
		// a token, and until then there is nothing to tell.
		return nil, gate.ErrRefused
	}
	return perms, err
}

// open takes a credential to a session.
func (e *entry) open(conn ssh.ConnMetadata, w wish, cred postern.Credential) (*ssh.Permissions, error) {
	caller, err := e.g.Authenticate(e.handshake, cred)
	if err != nil {
		return nil, e.tell(err)
	}
	return e.enter(conn, w, caller)
}

// enter opens the session of somebody who has shown who he is.
func (e *entry) enter(conn ssh.ConnMetadata, w wish, caller *gate.Caller) (*ssh.Permissions, error) {
	e.mu.Lock()
	again := e.session != nil
	e.mu.Unlock()
	if again {
		return nil, errors.New("a session is open already")
	}
	s, err := caller.Open(e.ctx, postern.Target{Resource: w.resource, Client: clientName(conn.ClientVersion())})
	if err != nil {
		return nil, e.tell(err)
	}
	e.mu.Lock()
	e.session = s
	e.mu.Unlock()
	return &ssh.Permissions{ExtraData: map[any]any{grantKey{}: grant{session: s, caller: caller, wish: w}}}, nil
}

// tell words a refusal for the client.
func (e *entry) tell(err error) error {
	e.mu.Lock()
	e.refused = true
	e.mu.Unlock()
	words := "postern: the session can't be opened; tell an administrator"
	var denied *gate.DeniedError
	if errors.As(err, &denied) {
		words = denied.Error()
		if denied.Session != "" {
			words += " (session " + denied.Session + ")"
		}
	}
	return &ssh.BannerError{Err: err, Message: words + "\n"}
}

// clientName is the client's name for itself, without the protocol's part.
func clientName(version []byte) string {
	name := strings.TrimPrefix(string(version), "SSH-2.0-")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, name[:min(len(name), 100)])
}

// interrupt makes reads and writes of conn fail when ctx ends. release undoes
// it, and says whether it came in time.
func interrupt(ctx context.Context, conn net.Conn) (release func() bool) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = conn.SetDeadline(time.Unix(1, 0)) // a connection that can't take it is broken already
	})
	return func() bool {
		if stop() {
			return true
		}
		<-done
		return false
	}
}
