package ssh

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"postern"
)

// directTCP is RFC 4254 section 7.2.
type directTCP struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// directSocket is OpenSSH's direct-streamlocal.
type directSocket struct {
	Path     string
	Reserved string
	Unused   uint32
}

// listenTCP is a tcpip-forward, RFC 4254 section 7.1.
type listenTCP struct {
	Host string
	Port uint32
}

const notLookedInto = "what goes through it can't be looked at; the resource's option forward says whether that is enough"

// forwardCommand is a connection through the server to somewhere.
func (l *link) forwardCommand(verb, operation, text string, object postern.Object) postern.Command {
	c := command(verb, postern.Admin, text, object)
	if l.set.forward != allow {
		c = unclear(c, notLookedInto)
	}
	return state{login: l.login}.dress([]postern.Command{c}, operation)[0]
}

func address(host string, port uint32) string {
	return net.JoinHostPort(strings.ToLower(host), strconv.FormatUint(uint64(port), 10))
}

// directTCP serves a connection of the client's to an address that the server reaches.
func (l *link) directTCP(nc ssh.NewChannel) {
	var m directTCP
	if ssh.Unmarshal(nc.ExtraData(), &m) != nil || m.Port > 65535 || len(m.Host) > 255 {
		_ = nc.Reject(ssh.ConnectionFailed, "postern: that is no address")
		return
	}
	if l.isJump(m) {
		l.jump(nc)
		return
	}
	to := address(m.Host, m.Port)
	l.forward(nc, l.forwardCommand(verbForward, "direct-tcpip", "forward "+shown(to), postern.Object{Kind: "address", Name: to, Write: true}))
}

// directSocket serves a connection of the client's to a socket on the server.
func (l *link) directSocket(nc ssh.NewChannel) {
	var m directSocket
	if ssh.Unmarshal(nc.ExtraData(), &m) != nil || m.Path == "" || len(m.Path) > 4096 {
		_ = nc.Reject(ssh.ConnectionFailed, "postern: that is no path")
		return
	}
	l.forward(nc, l.forwardCommand(verbForward, "direct-streamlocal", "forward "+shown(m.Path), postern.Object{Kind: "path", Name: m.Path, Write: true}))
}

// forward decides over a channel, opens its far end and copies between them.
func (l *link) forward(nc ssh.NewChannel, cmd postern.Command) {
	d, far, reqs, err := l.openForward(nc, cmd)
	if err != nil {
		reason := ssh.Prohibited
		words := l.worded(err)
		if words.status != statusDenied {
			reason = ssh.ConnectionFailed
		}
		_ = nc.Reject(reason, words.words)
		return
	}
	near, nearReqs, err := nc.Accept()
	if err != nil {
		l.work.Go(func() { ssh.DiscardRequests(reqs) })
		_ = far.Close()
		return
	}
	w := l.stand(d, func() {
		_ = near.Close()
		_ = far.Close()
	}, cmd)
	defer l.keep(w)()
	l.join(w, d.N, near, nearReqs, far, reqs)
}

func (l *link) openForward(nc ssh.NewChannel, cmd postern.Command) (postern.Decision, ssh.Channel, <-chan *ssh.Request, error) {
	if l.set.forward == deny {
		return postern.Decision{}, nil, nil, &refusal{words: "postern: " + l.s.Resource().Name + " forwards nothing", status: statusDenied}
	}
	d, err := l.ask(l.ctx, l.tellAll, cmd)
	if err != nil {
		return d, nil, nil, err
	}
	if d.Verdict != postern.Allow {
		return d, nil, nil, &refusal{words: denial(d), status: statusDenied}
	}
	up, err := l.upstream(l.ctx, nil)
	if err != nil {
		return d, nil, nil, err
	}
	far, reqs, err := up.OpenChannel(nc.ChannelType(), nc.ExtraData())
	if err == nil {
		return d, far, reqs, nil
	}
	words := "postern: " + l.s.Resource().Name + " doesn't connect there"
	var open *ssh.OpenChannelError
	if errors.As(err, &open) {
		if rerr := l.s.Record(postern.Event{Kind: postern.EventError, N: d.N, Code: open.Reason.String(), Text: open.Message}); rerr != nil {
			return d, nil, nil, rerr
		}
		words = open.Message
	}
	return d, nil, nil, &refusal{words: words, status: statusUnreachable}
}

// join copies between two channels until both directions have ended, and
// records how much went each way. Nothing passes that w doesn't let.
func (l *link) join(w *standing, n int64, near ssh.Channel, nearReqs <-chan *ssh.Request, far ssh.Channel, farReqs <-chan *ssh.Request) {
	var work sync.WaitGroup
	var sent, received int64
	one := func(from ssh.Channel, reqs <-chan *ssh.Request, to ssh.Channel, n *int64) {
		var copying sync.WaitGroup
		copying.Go(func() { *n = transfer(w, from, to) })
		ssh.DiscardRequests(reqs)
		// That side has closed the channel: the other one gets what it said before.
		copying.Wait()
		_ = to.Close()
	}
	work.Go(func() { one(near, nearReqs, far, &sent) })
	work.Go(func() { one(far, farReqs, near, &received) })
	work.Wait()
	// An error has ended the session, which is all that there is to do.
	_ = l.s.Record(postern.Event{
		Kind: postern.EventResult, N: n, Tag: "closed", Bytes: sent + received,
		Text: fmt.Sprintf("%d bytes to the server, %d from it", sent, received),
	})
}

// transfer copies one direction, as far as w lets it, and passes its end on.
func transfer(w *standing, from, to ssh.Channel) int64 {
	counted := writerFunc(func(p []byte) (int, error) {
		if err := w.pass(len(p)); err != nil {
			return 0, err
		}
		return to.Write(p)
	})
	n, err := io.CopyBuffer(counted, struct{ io.Reader }{from}, make([]byte, pieceSize))
	_ = to.CloseWrite()
	if err != nil {
		// It can't be written any more: whoever still sends is told.
		_ = from.Close()
	}
	return n
}

// listenRequest decides whether the server may listen for the client.
func (l *link) listenRequest(r *ssh.Request) {
	ok, payload, err := l.listen(r)
	if err != nil && l.ctx.Err() == nil {
		var said *refusal
		if !errors.As(err, &said) {
			l.p.o.Log.Warn("listening failed", "session", l.s.ID(), "resource", l.s.Resource().Name, "error", err)
		}
	}
	if r.WantReply {
		_ = r.Reply(ok, payload) // a client that has gone needs none
	}
}

func (l *link) listen(r *ssh.Request) (ok bool, payload []byte, err error) {
	key, cmd, err := l.listenCommand(r)
	if err != nil {
		return false, nil, err
	}
	cancel := strings.HasPrefix(r.Type, "cancel-")
	l.mu.Lock()
	known := l.listening[key]
	l.mu.Unlock()
	if cancel {
		if known == nil {
			return false, nil, nil
		}
		return l.passGlobal(r)
	}
	if l.set.forward == deny {
		return false, nil, nil
	}
	d, err := l.ask(l.ctx, l.tellAll, cmd)
	if err != nil || d.Verdict != postern.Allow {
		return false, nil, err
	}
	ok, payload, err = l.passGlobal(r)
	if !ok || err != nil {
		return false, nil, err
	}
	if port := (struct{ Port uint32 }{}); strings.HasPrefix(key, "tcp ") && ssh.Unmarshal(payload, &port) == nil && port.Port != 0 {
		// The server has chosen the port.
		host, _, _ := net.SplitHostPort(strings.TrimPrefix(key, "tcp "))
		key = "tcp " + address(host, port.Port)
	}
	l.mu.Lock()
	l.listening[key] = l.stand(d, nil, cmd)
	l.mu.Unlock()
	return true, payload, nil
}

func (l *link) passGlobal(r *ssh.Request) (ok bool, payload []byte, err error) {
	up, err := l.upstream(l.ctx, nil)
	if err != nil {
		return false, nil, err
	}
	return up.SendRequest(r.Type, true, r.Payload)
}

func (l *link) listenCommand(r *ssh.Request) (key string, cmd postern.Command, err error) {
	if strings.HasSuffix(r.Type, "tcpip-forward") {
		var m listenTCP
		if err := ssh.Unmarshal(r.Payload, &m); err != nil {
			return "", cmd, err
		}
		at := address(m.Host, m.Port)
		return "tcp " + at, l.forwardCommand(verbListen, "tcpip-forward", "listen "+shown(at), postern.Object{Kind: "address", Name: at, Write: true}), nil
	}
	var m struct{ Path string }
	if err := ssh.Unmarshal(r.Payload, &m); err != nil {
		return "", cmd, err
	}
	return "unix " + m.Path, l.forwardCommand(verbListen, "streamlocal-forward", "listen "+shown(m.Path), postern.Object{Kind: "path", Name: m.Path, Write: true}), nil
}

// serverChannels are those that the server opens: connections to where it
// listens for the client, and to the client's agent.
func (l *link) serverChannels(up *upstream) {
	for nc := range up.chans {
		if !l.enter() {
			_ = nc.Reject(ssh.ResourceShortage, "postern: too many channels are open")
			continue
		}
		l.work.Go(func() {
			defer l.leave()
			l.fromServer(nc)
		})
	}
}

func (l *link) fromServer(nc ssh.NewChannel) {
	from, w := l.expected(nc)
	if w == nil {
		_ = nc.Reject(ssh.Prohibited, "postern: nobody asked for this")
		return
	}
	if err := w.holds(); err != nil {
		_ = nc.Reject(ssh.Prohibited, l.worded(err).words)
		return
	}
	near, nearReqs, err := l.client.OpenChannel(nc.ChannelType(), nc.ExtraData())
	if err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, "the client refuses it")
		return
	}
	far, farReqs, err := nc.Accept()
	if err != nil {
		l.work.Go(func() { ssh.DiscardRequests(nearReqs) })
		_ = near.Close()
		return
	}
	if l.s.Record(postern.Event{Kind: postern.EventNotice, Text: from}) != nil {
		_ = near.Close()
		_ = far.Close()
	}
	own := l.stand(w.decision(), func() {
		_ = near.Close()
		_ = far.Close()
	}, w.cmds...)
	defer l.keep(own)()
	l.join(own, 0, near, nearReqs, far, farReqs)
}

// expected says by what the client has asked for such a channel, nil if it
// hasn't, and words it.
func (l *link) expected(nc ssh.NewChannel) (from string, by *standing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch nc.ChannelType() {
	case "forwarded-tcpip":
		var m directTCP
		if ssh.Unmarshal(nc.ExtraData(), &m) != nil {
			return "", nil
		}
		at := address(m.Host, m.Port)
		return "a connection from " + shown(address(m.OriginHost, m.OriginPort)) + " to " + shown(at), l.listening["tcp "+at]
	case "forwarded-streamlocal@openssh.com":
		var m struct{ Path, Reserved string }
		if ssh.Unmarshal(nc.ExtraData(), &m) != nil {
			return "", nil
		}
		return "a connection to " + shown(m.Path), l.listening["unix "+m.Path]
	case "auth-agent@openssh.com":
		return "the server uses the client's agent", l.agent
	}
	return "", nil
}

// forwardAgent asks the server to offer the client's agent to what runs there.
// It is decided over like a forwarded socket.
func (c *channel) forwardAgent(up ssh.Channel) error {
	cmd := state{login: c.l.login}.dress([]postern.Command{command(verbAgent, postern.Admin, "forward-agent")}, "auth-agent-req")[0]
	d, err := c.l.ask(c.ctx, c.say, cmd)
	if err != nil {
		return err
	}
	if d.Verdict != postern.Allow {
		c.say("postern: your agent isn't forwarded: " + strings.TrimPrefix(denial(d), "postern: "))
		return nil
	}
	ok, err := up.SendRequest("auth-agent-req@openssh.com", true, nil)
	if err != nil {
		return err
	}
	if ok {
		c.l.mu.Lock()
		c.l.agent = c.l.stand(d, nil, cmd)
		c.l.mu.Unlock()
	}
	return nil
}
