package ssh

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/protocol/ssh/lines"
)

// lineShell serves a shell of which every line is decided over before it runs.
func (c *channel) lineShell(st state) error {
	c.mu.Lock()
	var term terminal
	if c.terminal != nil {
		term = *c.terminal
	}
	c.mu.Unlock()
	if !st.terminal {
		return &refusal{words: "postern: a shell on " + c.l.s.Resource().Name + " needs a terminal, as its lines are decided over one by one; give the command, or use ssh -t", status: statusDenied}
	}
	cmd := shellCommand(&c.l.set, st)
	d, err := c.decide(cmd)
	if err != nil {
		return err
	}
	running, end := context.WithCancelCause(c.ctx)
	defer end(nil)
	var out *output
	out = c.newOutput(d, true, func() { end(out.standing.ended()) }, cmd)
	defer c.l.keep(out.standing)()
	screen, finish := out.screen(c.ch, end)
	set := &c.l.set
	shell := lines.New(lines.Config{
		Screen: screen, Terminal: lines.Terminal{Name: term.Term, Size: sizeOf(term.Columns, term.Rows)},
		Prompt: c.l.login + "@" + c.l.s.Resource().Name, Rand: rand.Reader, Log: c.l.p.o.Log,
		FullScreen: set.fullScreen, Programs: set.programs,
		Open: func(ctx context.Context, command string, t *lines.Terminal) (lines.Process, error) {
			return c.process(ctx, command, t, term.Modes)
		},
		Decide: func(ctx context.Context, tell func(string), cmds []postern.Command) (postern.Decision, error) {
			return c.l.ask(ctx, tell, st.dressLine(cmds)...)
		},
		Preview: func(cmds []postern.Command) postern.Decision { return c.l.s.Preview(st.dressLine(cmds)...) },
		Denial:  denial, Typed: out.typed.keys,
	})
	c.mu.Lock()
	c.lines = shell
	c.mu.Unlock()
	feeding := make(chan struct{})
	go func() { // ends with the client's channel
		defer close(feeding)
		_, _ = io.Copy(writerFunc(func(p []byte) (int, error) {
			out.expect(p)
			return shell.Write(p)
		}), struct{ io.Reader }{c.ch})
		_ = shell.CloseWrite()
	}()
	status, err := shell.Run(running)
	err = errors.Join(err, finish(), out.typed.done())
	event := postern.Event{Kind: postern.EventResult, N: d.N, Tag: "exit", Code: fmt.Sprint(status), Bytes: out.total(), Masked: out.masked()}
	c.l.s.Masked(event.Masked)
	if rerr := c.l.s.Record(event); rerr != nil {
		return rerr
	}
	var said *refusal
	switch {
	case errors.As(context.Cause(running), &said):
		err = said
	case c.ctx.Err() != nil: // the client has gone, or the session
		err = nil
	case err == nil:
		c.exit(uint32(status & 0xff)) //nolint:gosec // a byte
	}
	if err == nil && c.l.ctx.Err() == nil {
		_ = c.ch.Close()
		<-feeding
	}
	return err
}

// dressLine is dress for a line: the folder that it runs in is part of its
// meaning, and so of what a review is bound to.
func (st state) dressLine(cmds []postern.Command) []postern.Command {
	where := make([]string, len(cmds))
	for i := range cmds {
		where[i] = cmds[i].State
	}
	st.dress(cmds, "line")
	for i := range cmds {
		cmds[i].State += ", " + where[i]
	}
	return cmds
}

type writerFunc func([]byte) (int, error)

// Write implements [io.Writer].
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func sizeOf(columns, rows uint32) lines.Size {
	const most = 1000
	return lines.Size{Columns: int(min(columns, most)), Rows: int(min(rows, most))}
}

// process is a command that the gateway runs on the server for a shell of lines.
type process struct {
	ssh.Channel
	done   sync.WaitGroup
	status int
}

// process opens a command on the server, with a terminal like the client's.
func (c *channel) process(ctx context.Context, command string, t *lines.Terminal, modes string) (lines.Process, error) {
	conn, err := c.l.upstream(ctx, c.say)
	if err != nil {
		return nil, err
	}
	up, reqs, err := conn.OpenChannel("session", nil)
	if err != nil {
		return nil, err
	}
	p := &process{Channel: up, status: 255}
	p.done.Go(func() {
		for r := range reqs {
			if r.Type == "exit-status" && len(r.Payload) == 4 {
				p.status = int(binary.BigEndian.Uint32(r.Payload) & 0xff)
			}
			if r.WantReply {
				_ = r.Reply(false, nil)
			}
		}
	})
	ok := true
	if t != nil {
		request := terminal{Term: t.Name, Columns: uint32(t.Size.Columns), Rows: uint32(t.Size.Rows), Modes: modes} //nolint:gosec // bounded
		ok, err = up.SendRequest("pty-req", true, ssh.Marshal(request))
	}
	if ok && err == nil {
		ok, err = up.SendRequest("exec", true, ssh.Marshal(struct{ Text string }{command}))
	}
	if err != nil || !ok {
		_ = p.Close()
		return nil, errors.Join(err, errors.New("the server doesn't run it"))
	}
	c.l.work.Go(func() { _, _ = io.Copy(io.Discard, up.Stderr()) })
	return p, nil
}

// Resize implements [lines.Process].
func (p *process) Resize(s lines.Size) error {
	_, err := p.SendRequest("window-change", false, ssh.Marshal(windowChange{Columns: uint32(s.Columns), Rows: uint32(s.Rows)})) //nolint:gosec // bounded
	return err
}

// Wait implements [lines.Process].
func (p *process) Wait() (int, error) {
	p.done.Wait()
	return p.status, nil
}

// Close implements [lines.Process].
func (p *process) Close() error { return ignoreEOF(p.Channel.Close()) }
