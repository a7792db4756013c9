package ssh

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern"
	"postern/internal/gate"
	"postern/internal/protocol/ssh/shell"
)

// The facts that this protocol states of its commands.
const (
	attrLogin     = "login"
	attrTerminal  = "terminal"
	attrOperation = "operation"
	attrResolved  = "resolved"
)

// The verbs of what is no command line.
const (
	verbLogin   = "login"
	verbShell   = "shell"
	verbRead    = "read"
	verbList    = "list"
	verbWrite   = "write"
	verbRemove  = "remove"
	verbRename  = "rename"
	verbForward = "forward"
	verbListen  = "listen"
	verbAgent   = "forward-agent"
)

// state is what gives a command its meaning besides its text.
type state struct {
	login    string
	terminal bool
	env      []string // NAME=value, of what was let through

	fullScreen []string
	programs   map[string]postern.Access
}

func (st state) String() string {
	text := "login " + st.login
	if st.terminal {
		text += ", terminal"
	}
	for _, v := range st.env {
		text += ", " + shown(v)
	}
	return text
}

// dress adds what every command of a channel says of itself.
func (st state) dress(cmds []postern.Command, operation string) []postern.Command {
	for i := range cmds {
		c := &cmds[i]
		c.Protocol = Name
		if c.State != "" {
			c.State = ", " + c.State
		}
		c.State = st.String() + c.State
		c.Attrs = append(c.Attrs,
			postern.StringAttr(attrLogin, st.login), postern.BoolAttr(attrTerminal, st.terminal), postern.StringAttr(attrOperation, operation))
	}
	return cmds
}

// command makes a command of one verb.
func command(verb string, access postern.Access, text string, objects ...postern.Object) postern.Command {
	return postern.Command{Protocol: Name, Verb: verb, Verbs: []string{verb}, Access: access, Objects: objects, Text: text}
}

// unclear makes a command that can do more than can be said: where anything
// restricts what may be done it is denied.
func unclear(c postern.Command, problem string) postern.Command {
	c.Access, c.Problem = postern.Unknown, problem
	return c
}

// analyse says what a command line does in a shell of that state.
func analyse(text string, st state) []postern.Command {
	return shell.Analyse(text, shell.State{Terminal: st.terminal, FullScreen: st.fullScreen, Programs: st.programs}).Commands
}

// execCommands are the commands of a command line. Their texts, joined, are the line.
func (p *Protocol) execCommands(text string, st state) []postern.Command {
	if job, ok := readScp(text); ok && !st.terminal {
		return st.dress([]postern.Command{job.command(text)}, "scp")
	}
	return st.dress(p.analyse(text, st), "exec")
}

// shellCommand is a shell without a command line.
func shellCommand(set *settings, st state) postern.Command {
	c := command(verbShell, postern.Admin, "shell")
	switch set.shell {
	case record:
	case lineByLine:
		c.Access = postern.Control // each of its lines is decided over
	default:
		c = unclear(c, "what is typed into a shell can be recorded, but not controlled; the resource's option shell says whether that is enough")
	}
	return st.dress([]postern.Command{c}, "shell")[0]
}

// loginCommand is becoming a user of the server. The resource's own user needs
// no allowance.
func loginCommand(st state, own bool) postern.Command {
	access := postern.Write
	if own {
		access = postern.Control
	}
	c := command(verbLogin, access, "login "+st.login, postern.Object{Kind: "login", Name: st.login, Write: !own})
	return st.dress([]postern.Command{c}, "login")[0]
}

// ask asks the gate. tell is told to wait when people decide.
func (l *link) ask(ctx context.Context, tell func(string), cmds ...postern.Command) (postern.Decision, error) {
	notify := func(rv postern.Review) {
		if tell != nil {
			tell(waiting(rv, l.s.ReviewURL(rv.ID), l.p.o.Now()))
		}
	}
	return l.s.DecideTelling(ctx, notify, cmds...)
}

// denial is how a denied decision is worded.
func denial(d postern.Decision) string {
	return (&gate.DeniedError{Rule: d.Rule, Reason: d.Reason}).Error()
}

// waiting is what a client sees while people review its command.
func waiting(rv postern.Review, url string, now time.Time) string {
	approvers := make([]string, len(rv.Approvers))
	for i, who := range rv.Approvers {
		approvers[i] = string(who)
	}
	left := gate.Left(rv, now).String()
	if strings.HasSuffix(left, "m0s") {
		left = strings.TrimSuffix(left, "0s")
	}
	return fmt.Sprintf("postern: waiting for approval by %s: %s, %s left", strings.Join(approvers, ", "), url, left)
}
