package ssh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/protocol/ssh/lines"
)

// channel is one session channel: a shell, a command or a subsystem.
type channel struct {
	l  *link
	ch ssh.Channel

	ctx    context.Context // ends with the channel
	cancel context.CancelCauseFunc

	mu       sync.Mutex // guards what follows
	started  bool       // something was asked to run
	terminal *terminal  // nil: none was asked for
	env      []variable
	agent    bool // the client's agent may be reached from the server
	up       ssh.Channel
	n        int64 // the number of the command that runs
	closed   bool
	last     sync.Once    // guards the end of what the client is told
	keys     *eager       // what a person types at a terminal, read ahead; nil: nothing is
	lines    *lines.Shell // the shell that is decided over line by line; nil: there is none
}

type variable struct{ Name, Value string }

// terminal is a pty-req, RFC 4254 section 6.2.
type terminal struct {
	Term                         string
	Columns, Rows, Width, Height uint32
	Modes                        string
}

// windowChange is RFC 4254 section 6.7.
type windowChange struct{ Columns, Rows, Width, Height uint32 }

const (
	maxEnv      = 64
	maxEnvValue = 4 << 10
)

// serveSession serves a session channel until both sides are done with it.
func (l *link) serveSession(nc ssh.NewChannel, broken error) {
	ch, reqs, err := nc.Accept()
	if err != nil {
		return // it has gone
	}
	c := &channel{l: l, ch: ch}
	c.ctx, c.cancel = context.WithCancelCause(l.ctx)
	defer c.cancel(nil)
	l.mu.Lock()
	l.channels[c] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.channels, c)
		l.mu.Unlock()
	}()
	var running sync.WaitGroup
	for r := range reqs {
		ok := c.request(r, &running, broken)
		if r.WantReply {
			_ = r.Reply(ok, nil) // a client that has gone needs none
		}
	}
	c.cancel(errClientGone)
	c.hangUp()
	running.Wait()
}

// hangUp closes the far end: the client has closed the channel.
func (c *channel) hangUp() {
	c.mu.Lock()
	up := c.up
	c.closed = true
	c.mu.Unlock()
	if up != nil {
		_ = up.Close() // it may be closed already
	}
}

// request answers one request of the client. It never waits.
func (c *channel) request(r *ssh.Request, running *sync.WaitGroup, broken error) bool {
	switch r.Type {
	case "pty-req":
		return c.setTerminal(r.Payload)
	case "env":
		return c.setEnv(r.Payload)
	case "auth-agent-req@openssh.com":
		return c.wantAgent()
	case "window-change":
		return c.resize(r.Payload)
	case "signal":
		return c.signal(r.Payload)
	case "break":
		return c.pass(r)
	case "shell", "exec", "subsystem":
		text, ok := requestText(r)
		if !ok || !c.start() {
			return false
		}
		if r.WantReply {
			// Before it runs: what ends at once would close the channel before the
			// answer, and the client would know of neither.
			_ = r.Reply(true, nil) // a client that has gone needs none
			r.WantReply = false
		}
		running.Go(func() { c.run(r.Type, text, broken) })
		return true
	case "x11-req":
		return false // displays don't pass
	default:
		return false
	}
}

// requestText is what is to run.
func requestText(r *ssh.Request) (string, bool) {
	if r.Type == "shell" {
		return "", len(r.Payload) == 0
	}
	var m struct{ Text string }
	if ssh.Unmarshal(r.Payload, &m) != nil {
		return "", false
	}
	return m.Text, true
}

// start says whether nothing was started yet: a channel runs one thing.
func (c *channel) start() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.started
	c.started = true
	return first
}

func (c *channel) setTerminal(payload []byte) bool {
	var t terminal
	if ssh.Unmarshal(payload, &t) != nil || len(t.Modes) > 4096 {
		return false
	}
	if !plainPath(t.Term) || strings.Contains(t.Term, "/") || len(t.Term) > 64 {
		t.Term = "dumb" // programs look for a file of that name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || c.terminal != nil {
		return false
	}
	c.terminal = &t
	return true
}

func (c *channel) setEnv(payload []byte) bool {
	var v variable
	if ssh.Unmarshal(payload, &v) != nil || len(v.Value) > maxEnvValue || strings.ContainsRune(v.Value, 0) || !c.l.set.passes(v.Name, v.Value) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || len(c.env) >= maxEnv {
		return false
	}
	c.env = append(c.env, v)
	return true
}

func (c *channel) wantAgent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || c.l.set.agent != allow {
		return false
	}
	c.agent = true
	return true
}

func (c *channel) resize(payload []byte) bool {
	var w windowChange
	if ssh.Unmarshal(payload, &w) != nil {
		return false
	}
	c.mu.Lock()
	up, n, shell := c.up, c.n, c.lines
	if c.terminal == nil {
		c.mu.Unlock()
		return false
	}
	c.terminal.Columns, c.terminal.Rows, c.terminal.Width, c.terminal.Height = w.Columns, w.Rows, w.Width, w.Height
	c.mu.Unlock()
	if shell != nil {
		return shell.Resize(sizeOf(w.Columns, w.Rows)) == nil
	}
	if up == nil {
		return true
	}
	if c.l.s.Record(postern.Event{Kind: postern.EventResize, N: n, State: fmt.Sprintf("%dx%d", w.Columns, w.Rows)}) != nil {
		return false // that has ended the session
	}
	_, err := up.SendRequest("window-change", false, payload)
	return err == nil
}

// signal passes a signal on. While people still decide over a command, one that
// asks it to end withdraws it.
func (c *channel) signal(payload []byte) bool {
	var m struct{ Name string }
	if ssh.Unmarshal(payload, &m) != nil {
		return false
	}
	c.mu.Lock()
	up, shell := c.up, c.lines
	c.mu.Unlock()
	if shell != nil {
		return true // it has a keyboard for that
	}
	if up == nil {
		if m.Name == "INT" || m.Name == "TERM" || m.Name == "HUP" || m.Name == "KILL" {
			c.cancel(errClientGone)
		}
		return true
	}
	_, err := up.SendRequest("signal", false, payload)
	return err == nil
}

// pass hands a request on as it is.
func (c *channel) pass(r *ssh.Request) bool {
	c.mu.Lock()
	up := c.up
	c.mu.Unlock()
	if up == nil {
		return false
	}
	_, err := up.SendRequest(r.Type, false, r.Payload)
	return err == nil
}

// state is what gives this channel's commands their meaning.
func (c *channel) state() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := state{login: c.l.login, terminal: c.terminal != nil, fullScreen: c.l.set.fullScreen, programs: c.l.set.programs}
	for _, v := range c.env {
		st.env = append(st.env, v.Name+"="+v.Value)
	}
	return st
}

// run runs what the client asked for, if it may, and closes the channel.
func (c *channel) run(kind, text string, broken error) {
	for _, line := range c.l.s.Watched() {
		c.say(line)
	}
	defer c.l.hears()()
	err := broken
	if err == nil {
		err = c.dispatch(kind, text)
	} else {
		err = &refusal{words: "postern: the options of " + c.l.s.Resource().Name + " are wrong; tell an administrator", status: statusUnreachable}
	}
	if errors.Is(err, errClientGone) && c.l.ctx.Err() == nil {
		c.exit(statusInterrupted) // nobody sees it, unless it was taken back with Ctrl-C
	} else if err != nil && c.ctx.Err() == nil {
		r := c.l.worded(err)
		if r.cause != nil {
			c.l.p.o.Log.Warn("channel ended", "session", c.l.s.ID(), "resource", c.l.s.Resource().Name, "error", r.cause)
		}
		c.farewell(r.words+"\r\n", r.status)
	}
	if c.l.ctx.Err() == nil {
		_ = c.ch.Close() // the client may have closed it
	}
}

func (c *channel) dispatch(kind, text string) error {
	st := c.state()
	forced := c.l.set.command
	if forced == "" {
		forced = termsOf(c.l.s, c.l.login).command
	}
	if forced != "" {
		if kind == "subsystem" {
			return &refusal{words: "postern: " + c.l.s.Resource().Name + " runs one command only, and offers no " + shown(text), status: statusDenied}
		}
		return c.exec("exec", forced, c.l.p.execCommands(forced, st))
	}
	if st.terminal && (kind != "shell" || c.l.set.shell != lineByLine) {
		keys, done := newEager(c.ch)
		c.mu.Lock()
		c.keys = keys
		c.mu.Unlock()
		c.l.work.Go(func() { <-done })
	}
	switch {
	case kind == "shell":
		return c.shell(st)
	case kind == "exec":
		if job, ok := readScp(text); ok && !st.terminal {
			return c.scp(text, job, st)
		}
		return c.exec(kind, text, c.l.p.execCommands(text, st))
	case text == "sftp":
		return c.sftp(st)
	default:
		cmd := unclear(command("subsystem", postern.Unknown, "subsystem "+shown(text)), "the gateway can't look into this subsystem")
		return c.exec(kind, text, st.dress([]postern.Command{cmd}, "subsystem"))
	}
}

// shell offers a shell, in the way that the resource says.
func (c *channel) shell(st state) error {
	if c.l.set.shell == deny {
		return &refusal{words: "postern: " + c.l.s.Resource().Name + " offers no shells; give the command: ssh " + c.l.s.Resource().Name + " COMMAND", status: statusDenied}
	}
	if c.l.set.shell == lineByLine {
		return c.lineShell(st)
	}
	return c.exec("shell", "", []postern.Command{shellCommand(&c.l.set, st)})
}

// decide has the commands decided over, and returns a refusal when they are denied.
func (c *channel) decide(cmds ...postern.Command) (postern.Decision, error) {
	return c.decideTelling(c.say, cmds...)
}

// decideTelling is decide for who does more than tell the client to wait.
func (c *channel) decideTelling(tell func(string), cmds ...postern.Command) (postern.Decision, error) {
	stop := c.watchInterrupt()
	d, err := c.l.ask(c.ctx, tell, cmds...)
	stop()
	if err != nil {
		return d, err
	}
	if c.ctx.Err() != nil {
		return d, context.Cause(c.ctx)
	}
	if d.Verdict != postern.Allow {
		return d, &refusal{words: denial(d), status: statusDenied}
	}
	return d, nil
}

// watchInterrupt has Ctrl-C take back a command of a person at a terminal,
// for as long as it waits.
func (c *channel) watchInterrupt() (stop func()) {
	c.mu.Lock()
	keys := c.keys
	c.mu.Unlock()
	if keys == nil {
		return func() {}
	}
	keys.onInterrupt(func() { c.cancel(errClientGone) })
	return func() { keys.onInterrupt(nil) }
}

// exec decides over commands, starts them on the server and copies until they end.
func (c *channel) exec(kind, text string, cmds []postern.Command) error {
	d, err := c.decide(cmds...)
	if err != nil {
		return err
	}
	up, reqs, err := c.openUpstream(d.N)
	if err != nil {
		return err
	}
	var payload []byte
	if kind != "shell" {
		payload = ssh.Marshal(struct{ Text string }{text})
	}
	ok, err := up.SendRequest(kind, true, payload)
	if err != nil || !ok {
		c.l.work.Go(func() { ssh.DiscardRequests(reqs) })
		_ = up.Close()
		if err == nil || c.l.ctx.Err() == nil {
			return &refusal{words: "postern: " + c.l.s.Resource().Name + " doesn't do that", status: statusUnreachable}
		}
		return err
	}
	return c.relay(up, reqs, d, kind, cmds)
}

// openUpstream opens the far end of the channel, with the environment and the
// terminal that the client asked for. From then on the client's requests are
// passed on to it.
func (c *channel) openUpstream(n int64) (ssh.Channel, <-chan *ssh.Request, error) {
	conn, err := c.l.upstream(c.ctx, c.say)
	if err != nil {
		return nil, nil, err
	}
	up, reqs, err := conn.OpenChannel("session", nil)
	if err != nil {
		return nil, nil, &refusal{words: "postern: " + c.l.s.Resource().Name + " opens no more channels", status: statusUnreachable, cause: err}
	}
	fail := func(err error) (ssh.Channel, <-chan *ssh.Request, error) {
		c.l.work.Go(func() { ssh.DiscardRequests(reqs) })
		_ = up.Close()
		return nil, nil, err
	}
	c.mu.Lock()
	env, term, agent := c.env, c.terminal, c.agent
	var request terminal
	if term != nil {
		request = *term
	}
	c.mu.Unlock()
	for _, v := range env {
		if _, err := up.SendRequest("env", false, ssh.Marshal(v)); err != nil {
			return fail(err)
		}
	}
	if agent {
		if err := c.forwardAgent(up); err != nil {
			return fail(err)
		}
	}
	if term != nil {
		ok, err := up.SendRequest("pty-req", true, ssh.Marshal(request))
		if err != nil {
			return fail(err)
		}
		if !ok {
			return fail(&refusal{words: "postern: " + c.l.s.Resource().Name + " gives no terminal", status: statusUnreachable})
		}
		if err := c.l.s.Record(postern.Event{Kind: postern.EventResize, N: n, State: fmt.Sprintf("%dx%d", request.Columns, request.Rows)}); err != nil {
			return fail(err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fail(errClientGone)
	}
	c.up, c.n = up, n
	return up, reqs, nil
}

// relay copies between a command and its client until it has ended, and
// records how.
func (c *channel) relay(up ssh.Channel, reqs <-chan *ssh.Request, d postern.Decision, kind string, cmds []postern.Command) error {
	c.mu.Lock()
	term := c.terminal != nil
	c.mu.Unlock()
	out := c.newOutput(d, term, func() { _ = up.Close() }, cmds...)
	defer c.l.keep(out.standing)()
	var copying sync.WaitGroup
	var stdout, stderr error
	copying.Go(func() { stdout = out.pump(up, c.ch, out.stream) })
	if term {
		copying.Go(func() { _, _ = io.Copy(io.Discard, up.Stderr()) }) // a terminal has one stream
	} else {
		copying.Go(func() { stderr = out.pump(up.Stderr(), c.ch.Stderr(), "stderr") })
	}
	in := &input{s: c.l.s, n: d.N, out: out, whole: kind == "shell" && !term}
	c.mu.Lock()
	from := io.Reader(c.ch)
	if c.keys != nil {
		from = c.keys
	}
	c.mu.Unlock()
	feeding := make(chan struct{})
	go func() { // ends when the client's channel ends, or has no more to say
		defer close(feeding)
		in.pump(from, up)
	}()
	end := c.watch(reqs, true)
	copying.Wait()
	_ = up.Close() // both sides are done with it
	err := errors.Join(stdout, stderr, out.standing.ended())
	event := postern.Event{Kind: postern.EventResult, N: d.N, Tag: "exit", Code: end.code, Text: end.message, Bytes: out.total()}
	event.Masked = out.masked()
	if rerr := in.done(); rerr != nil {
		var said *refusal
		if !errors.As(rerr, &said) {
			return rerr
		}
		err = errors.Join(err, rerr)
	}
	c.l.s.Masked(event.Masked)
	if rerr := c.l.s.Record(event); rerr != nil {
		return rerr
	}
	var said *refusal
	if errors.As(err, &said) && c.ctx.Err() == nil {
		c.farewell(said.words+"\r\n", said.status)
	}
	if c.l.ctx.Err() == nil {
		_ = c.ch.Close()
	}
	<-feeding
	if said != nil || c.ctx.Err() != nil {
		err = nil // it was told; or the client has gone, and its channel with it
	}
	return err
}

// ending is how a command ended.
type ending struct{ code, message string }

// watch reads what the server says about a command, until it has said all, and
// passes it on if the client is to know.
func (c *channel) watch(reqs <-chan *ssh.Request, passes bool) ending {
	var end ending
	pass := func(r *ssh.Request) {
		if passes {
			_, _ = c.ch.SendRequest(r.Type, false, r.Payload)
		}
	}
	for r := range reqs {
		switch r.Type {
		case "exit-status":
			if len(r.Payload) == 4 {
				end.code = fmt.Sprint(binary.BigEndian.Uint32(r.Payload))
				pass(r)
			}
		case "exit-signal":
			var m struct {
				Signal   string
				Core     bool
				Message  string
				Language string
			}
			if ssh.Unmarshal(r.Payload, &m) == nil {
				end.code, end.message = "signal "+m.Signal, m.Message
				pass(r)
			}
		case "xon-xoff", "eow@openssh.com":
			pass(r)
		}
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
	return end
}

// say tells the person at the client something: on its standard error, in lines.
func (c *channel) say(words string) {
	_, _ = io.WriteString(c.ch.Stderr(), words+"\r\n") // a client that has gone needs no telling
}

// aside is say for what comes in the midst of something else: on a terminal, on a
// line of its own. A channel in which nothing was started yet is told when it is.
func (c *channel) aside(words string) {
	c.mu.Lock()
	started, term := c.started, c.terminal != nil
	c.mu.Unlock()
	switch {
	case started && term:
		c.say("\r\n" + words)
	case started:
		c.say(words)
	}
}

// exit ends the channel with a status.
func (c *channel) exit(status uint32) { c.farewell("", status) }

// farewell tells the client why the channel ends, and ends it with a status. The
// first that is said is the last: clients break off at a word that comes after
// the end. Whoever comes second waits until the first has been said.
func (c *channel) farewell(words string, status uint32) {
	c.last.Do(func() {
		if words != "" {
			_, _ = io.WriteString(c.ch.Stderr(), words) // a client that has gone needs no telling
		}
		_ = c.ch.CloseWrite()
		_, _ = c.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
	})
}

// lastWord tells the client why its connection ends.
func (c *channel) lastWord(words string) {
	c.mu.Lock()
	term := c.terminal != nil && c.up != nil
	c.mu.Unlock()
	if term {
		words = "\r\n" + words
	}
	c.farewell(words+"\r\n", statusUnreachable)
	_ = c.ch.Close()
}

// idle is how long output that is held back waits for more.
const idle = 20 * time.Millisecond
