// Package ssh is the SSH protocol: clients log in to the gateway, which reaches
// the server over a connection of its own, with its own credentials.
//
// A connection goes through these hands: entry.go and login.go take it to a
// session, link.go holds both ends, upstream.go makes the far one when it is
// first needed. channel.go serves shells and commands, sftp.go files, forward.go
// ports, jump.go connections through this one. What passes is decided over in
// decide.go and copied in pump.go.
package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/gate"
	"postern/internal/protocol"
	"postern/internal/protocol/ssh/shell"
)

// Name is the type of resources that this protocol opens.
const Name = "ssh"

// Protocol implements [protocol.Protocol].
type Protocol struct {
	o         protocol.Options
	authority Authority
	visitors  *visitors
	paths     pathLocks
	analyse   func(text string, st state) []postern.Command
}

// New makes the protocol.
func New(o protocol.Options) *Protocol {
	o = o.WithDefaults()
	return &Protocol{o: o, authority: authorityOf(o.Authority), visitors: newVisitors(), analyse: analyse}
}

// Name implements [protocol.Protocol].
func (*Protocol) Name() string { return Name }

// Attrs implements [protocol.Protocol].
func (*Protocol) Attrs() []postern.AttrType {
	return append(shell.Attrs(), []postern.AttrType{
		{Name: attrLogin, Kind: postern.AttrString, Doc: "the remote user as whom it runs"},
		{Name: attrTerminal, Kind: postern.AttrBool, Doc: "whether it has a terminal"},
		{Name: attrOperation, Kind: postern.AttrString, Doc: "the protocol's own word for it: open, mkdir, setstat, direct-tcpip …"},
		{Name: attrResolved, Kind: postern.AttrBool, Doc: "whether its paths are what the server takes them for, links resolved: those of SFTP and scp are"},
	}...)
}

// Analyse implements [protocol.Analyser]: the text is a command to execute.
func (p *Protocol) Analyse(r postern.Resource, text string) []postern.Command {
	set, err := readSettings(r)
	if err != nil {
		return nil // the resource is refused where it is declared
	}
	return p.execCommands(text, state{login: r.Credentials.Username, fullScreen: set.fullScreen, programs: set.programs})
}

// DSN implements [protocol.Addresser].
func (*Protocol) DSN(host string, port int, user string, token postern.Secret, resource string) string {
	return dsn(host, port, user, token, resource)
}

// CheckResource implements [protocol.ResourceChecker].
func (*Protocol) CheckResource(r postern.Resource) error {
	_, err := readSettings(r)
	return err
}

// Check implements [protocol.Checker].
func (p *Protocol) Check(ctx context.Context, s *gate.Session) error {
	set, err := readSettings(s.Resource())
	if err != nil {
		return err
	}
	up, err := p.connect(ctx, s, set, s.Resource().Credentials.Username, nil)
	if err != nil {
		return err
	}
	return up.Close()
}

// Serve implements [protocol.Protocol].
func (p *Protocol) Serve(ctx context.Context, conn net.Conn, g *gate.Gate) error {
	defer func() { _ = conn.Close() }() // already said all there was to say
	leave, ok := p.visitors.enter(conn.RemoteAddr())
	if !ok {
		return errors.New("login: too many clients of this address are not logged in")
	}
	e := &entry{p: p, g: g, ctx: ctx, source: sourceOf(conn)}
	granted, err := e.admit(conn)
	leave()
	if errors.Is(err, errRefused) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.serve(granted, g)
}

// serve takes an admitted connection to its end.
func (p *Protocol) serve(in *admitted, g *gate.Gate) error {
	s := in.grant.session
	l := newLink(p, g, in)
	err := l.run()
	_ = in.conn.Close() // nobody listens any more
	cause := context.Cause(s.Context())
	reason := "the client disconnected"
	var lost *lostError
	if errors.As(err, &lost) {
		reason = "the connection to " + s.Resource().Name + " was lost"
	}
	closing := s.Close(reason)
	if cause != nil {
		err = nil // that is no fault, and the session's end tells why
	}
	if err != nil {
		err = fmt.Errorf("session %s on %s: %w", s.ID(), s.Resource().Name, err)
	}
	return errors.Join(err, closing)
}

// serverConfig is what every client is offered, on a connection to the gateway
// under one of its own names or one of those. Its entry adds the ways to log in.
func (p *Protocol) serverConfig(also ...string) (*ssh.ServerConfig, error) {
	config := &ssh.ServerConfig{
		Config: algorithms(), MaxAuthTries: maxOffers, ServerVersion: "SSH-2.0-Postern",
		PublicKeyAuthAlgorithms: ssh.SupportedAlgorithms().PublicKeyAuths,
	}
	signers, err := p.authority.HostSigners(also...)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	for _, s := range signers {
		config.AddHostKey(s)
	}
	return config, nil
}

// goodbyeTime is how long a client's last words may take.
const goodbyeTime = 2 * time.Second
