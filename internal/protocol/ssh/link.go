package ssh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/gate"
)

// maxChannels bounds the channels that one client may have open.
const maxChannels = 128

// link is one client's connection and the one to its server.
type link struct {
	p      *Protocol
	g      *gate.Gate
	s      *gate.Session
	caller *gate.Caller
	client *ssh.ServerConn
	chans  <-chan ssh.NewChannel
	reqs   <-chan *ssh.Request
	set    settings
	wish   wish
	inner  bool   // it came through another link, and nothing comes through it
	login  string // as whom, on the server

	ctx    context.Context // ends with the session, or with either connection
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	connecting sync.Mutex // one at a time makes the upstream
	hearing    hearing
	mu         sync.Mutex // guards what follows
	up         *upstream
	channels   map[*channel]struct{} // that can be told something
	open       int                   // channels, of any kind
	listening  map[string]*standing  // by address on which the server listens for the client
	agent      *standing             // the server may reach the client's agent; nil: it may not
	standing   map[*standing]struct{}
}

// lostError is the end of a link whose server has gone.
type lostError struct{ cause error }

// Error implements error.
func (e *lostError) Error() string {
	return "the connection to the server was lost: " + e.cause.Error()
}

// Unwrap returns the cause.
func (e *lostError) Unwrap() error { return e.cause }

var errClientGone = errors.New("the client disconnected")

func newLink(p *Protocol, g *gate.Gate, in *admitted) *link {
	l := &link{
		p: p, g: g, s: in.grant.session, caller: in.grant.caller, client: in.conn, chans: in.chans, reqs: in.reqs,
		wish: in.grant.wish, inner: in.inner, channels: make(map[*channel]struct{}), listening: make(map[string]*standing), standing: make(map[*standing]struct{}),
	}
	l.login = termsOf(l.s, l.wish.login).login
	l.ctx, l.cancel = context.WithCancelCause(l.s.Context())
	return l
}

// run serves the client until it has gone, the session is over or the server
// is lost. No goroutine that it started is left when it returns.
func (l *link) run() error {
	var err error
	if l.set, err = readSettings(l.s.Resource()); err != nil {
		l.p.o.Log.Error("resource can't be used", "resource", l.s.Resource().Name, "session", l.s.ID(), "error", err)
	}
	broken := err
	l.work.Go(l.clientRequests)
	l.work.Go(l.lookAfter)
	l.work.Go(func() {
		_ = l.client.Wait() // it has gone, whatever became of it
		l.cancel(errClientGone)
	})
	l.work.Go(func() {
		for nc := range l.chans {
			if !l.enter() {
				_ = nc.Reject(ssh.ResourceShortage, "postern: too many channels are open")
				continue
			}
			l.work.Go(func() {
				defer l.leave()
				l.accept(nc, broken)
			})
		}
	})
	<-l.ctx.Done()
	l.hearing.end()
	l.goodbye()
	_ = l.client.Close() // what is said is said
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	if up != nil {
		_ = up.Close() // nothing is expected of it any more
	}
	l.work.Wait()
	if cause := context.Cause(l.ctx); !errors.Is(cause, errClientGone) {
		return cause
	}
	return nil
}

func (l *link) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= maxChannels {
		return false
	}
	l.open++
	return true
}

func (l *link) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
}

// accept serves one channel that the client opens.
func (l *link) accept(nc ssh.NewChannel, broken error) {
	if broken != nil && nc.ChannelType() != "session" {
		_ = nc.Reject(ssh.Prohibited, "postern: the resource's options are wrong; tell an administrator")
		return
	}
	switch nc.ChannelType() {
	case "session":
		l.serveSession(nc, broken)
	case "direct-tcpip":
		l.directTCP(nc)
	case "direct-streamlocal@openssh.com":
		l.directSocket(nc)
	default:
		_ = nc.Reject(ssh.UnknownChannelType, "postern: channels of this type don't pass the gateway")
	}
}

// upstream is the connection to the server, made when it is first needed. tell
// is told to wait when people decide over the login.
func (l *link) upstream(ctx context.Context, tell func(string)) (*upstream, error) {
	l.connecting.Lock()
	defer l.connecting.Unlock()
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	if up != nil {
		return up, nil
	}
	if err := l.mayLogin(ctx, tell); err != nil {
		return nil, err
	}
	up, err := l.p.connect(ctx, l.s, l.set, l.login, termsOf(l.s, l.login).groups)
	if err != nil {
		if l.ctx.Err() == nil {
			l.p.o.Log.Error("server can't be reached", "resource", l.s.Resource().Name, "session", l.s.ID(), "error", err)
		}
		return nil, &refusal{words: unreachable(l.s, err), status: statusUnreachable, cause: err}
	}
	l.mu.Lock()
	over := l.ctx.Err() != nil
	if !over {
		l.up = up
	}
	l.mu.Unlock()
	if over {
		return nil, errors.Join(context.Cause(l.ctx), up.Close())
	}
	l.work.Go(func() { l.serverRequests(up) })
	l.work.Go(func() { l.serverChannels(up) })
	l.work.Go(func() {
		err := up.Wait()
		l.cancel(&lostError{cause: err})
	})
	l.work.Go(func() { l.keepAlive(up) })
	return up, nil
}

// keepAliveEvery is how often a server is asked whether it is still there, and
// how long it may take to say so.
const keepAliveEvery = time.Minute

// keepAlive notices a server that has gone without a word.
func (l *link) keepAlive(up *upstream) {
	ticker := time.NewTicker(keepAliveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-ticker.C:
		}
		late := time.AfterFunc(keepAliveEvery, func() {
			l.cancel(&lostError{cause: errors.New("it doesn't answer")})
		})
		_, _, err := up.SendRequest("keepalive@openssh.com", true, nil)
		late.Stop()
		if err != nil {
			return // whoever waits for its end tells
		}
	}
}

// mayLogin decides whether this client may become that user of the server.
func (l *link) mayLogin(ctx context.Context, tell func(string)) error {
	own := l.login == l.s.Resource().Credentials.Username
	if l.login == "" || !validLogin(l.login) {
		return &refusal{words: "postern: the resource doesn't say as whom to log in there; tell an administrator", status: statusDenied}
	}
	d, err := l.ask(ctx, tell, loginCommand(state{login: l.login}, own))
	if err != nil {
		return err
	}
	if d.Verdict != postern.Allow {
		return &refusal{words: denial(d), status: statusDenied}
	}
	if !own && !l.set.takes(l.login) {
		words := "postern: " + l.s.Resource().Name + " isn't offered as " + shown(l.login)
		if len(l.set.logins) > 0 {
			words += "; it is as " + strings.Join(l.set.logins, ", ")
		}
		return &refusal{words: words, status: statusDenied}
	}
	return nil
}

// refusal is a last word to the client over one channel.
type refusal struct {
	words  string
	status uint32
	cause  error
}

// Error implements error.
func (r *refusal) Error() string { return r.words }

// Unwrap returns the cause.
func (r *refusal) Unwrap() error { return r.cause }

// The exit statuses of commands that didn't run.
const (
	statusDenied      = 126 // found, but may not be executed
	statusInterrupted = 130 // by Ctrl-C, as shells say
	statusUnreachable = 255 // as ssh's own
)

// worded is an error as the client is told it.
func (l *link) worded(err error) *refusal {
	var said *refusal
	if errors.As(err, &said) {
		return said
	}
	var ended *gate.EndedError
	if errors.As(err, &ended) {
		return &refusal{words: ended.Error(), status: statusUnreachable, cause: err}
	}
	return &refusal{words: fmt.Sprintf("postern: that can't be done on %s now; try again (session %s)", l.s.Resource().Name, l.s.ID()), status: statusUnreachable, cause: err}
}

// goodbye tells the client, in every channel that can show it, why it ends. A
// client that doesn't read is not waited for.
func (l *link) goodbye() {
	words := l.lastWords()
	if words == "" {
		return
	}
	l.mu.Lock()
	var tell []*channel
	for c := range l.channels {
		tell = append(tell, c)
	}
	l.mu.Unlock()
	done := make(chan struct{})
	l.work.Go(func() {
		defer close(done)
		var each sync.WaitGroup
		for _, c := range tell {
			each.Go(func() { c.lastWord(words) })
		}
		each.Wait()
	})
	timer := time.NewTimer(goodbyeTime)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// hearing is whether the client can be told something that is no answer: while it
// has a shell or a command open, which has a place for it. A connection that
// forwards ports alone has none (OpenSSH's client shows SSH_MSG_DEBUG to those
// who debug it, and refuses channels that a server opens), so nobody may begin to
// watch it.
type hearing struct {
	mu   sync.Mutex // guards what follows, and orders those who begin and end
	open int        // channels that can show it
	hush func()     // nil: the session isn't told that its client can be told
	over bool
}

// hears says that another channel of the client's can show something, until
// release is called. It may wait for a client that doesn't read, as tellAll does.
func (l *link) hears() (release func()) {
	h := &l.hearing
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open++; h.open == 1 && !h.over {
		h.hush = l.s.Tell(l.tellAll)
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.open--; h.open == 0 {
			h.stop()
		}
	}
}

// end has nothing more told: the client is about to be told the last.
func (h *hearing) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.stop()
}

func (h *hearing) stop() {
	if h.hush != nil {
		h.hush()
		h.hush = nil
	}
}

// tellAll tells the client something that is about none of its channels, in every
// one that can show it. A client that doesn't read is not waited for.
func (l *link) tellAll(words string) {
	l.mu.Lock()
	var each sync.WaitGroup
	for c := range l.channels {
		each.Add(1)
		l.work.Go(func() {
			defer each.Done()
			c.aside(words)
		})
	}
	l.mu.Unlock()
	told := make(chan struct{})
	l.work.Go(func() {
		each.Wait()
		close(told)
	})
	timer := time.NewTimer(goodbyeTime)
	defer timer.Stop()
	select {
	case <-told:
	case <-timer.C:
	case <-l.ctx.Done():
	}
}

// lastWords are what the client is told at the end; "" when it has gone.
func (l *link) lastWords() string {
	cause := context.Cause(l.ctx)
	var ended *gate.EndedError
	var lost *lostError
	switch {
	case errors.Is(cause, errClientGone):
		return ""
	case errors.As(cause, &ended):
		return ended.Error()
	case errors.As(cause, &lost):
		return "postern: the connection to " + l.s.Resource().Name + " was lost (session " + l.s.ID() + ")"
	default:
		return "postern: session ended: the gateway is shutting down; connect again"
	}
}

// serverRequests answers what the server asks of its client.
func (l *link) serverRequests(up *upstream) {
	for r := range up.reqs {
		// It asks whether we are there (keepalive), and tells of host keys, which
		// clients of the gateway have no use for.
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
}

// maxRequests bounds the requests of a client that wait for their answers:
// those of its connection, and of each channel.
const maxRequests = 512

// clientRequests answers what the client asks of its connection, in order.
// Reading never waits for an answer: the whole connection would.
func (l *link) clientRequests() {
	waiting := make(chan *ssh.Request, maxRequests)
	l.work.Go(func() {
		for r := range waiting {
			l.clientRequest(r)
		}
	})
	defer close(waiting)
	for r := range l.reqs {
		select {
		case waiting <- r:
		default:
			l.cancel(errors.New("the client asks faster than it can be answered"))
			return
		}
	}
}

func (l *link) clientRequest(r *ssh.Request) {
	switch r.Type {
	case "tcpip-forward", "cancel-tcpip-forward", "streamlocal-forward@openssh.com", "cancel-streamlocal-forward@openssh.com":
		l.listenRequest(r)
	default:
		if r.WantReply {
			_ = r.Reply(r.Type == "keepalive@openssh.com", nil) // a client that has gone needs none
		}
	}
}

func containsAny(text string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}
