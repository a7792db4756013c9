package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/internal/gate"
)

// maxPassword is the server's own bound on what a client sends to log in.
const maxPassword = 65535

// login asks for the session token and opens the session. ctx is the session's
// parent, handshake ends with the handshake.
func (p *Protocol) login(ctx, handshake context.Context, client *clientConn, g *gate.Gate) (*gate.Session, error) {
	user := client.params["user"]
	if user == "" {
		return nil, &refusal{code: codeNoUser, message: "no user name in the startup packet; connect with user=NAME, or user=postern"}
	}
	resource, database := target(client.params)
	caller, err := p.authenticate(handshake, client, g, user, resource)
	if err != nil {
		return nil, err
	}
	if replicates(client.params) {
		return nil, &refusal{
			code:    codeUnsupported,
			message: "replication connections can't pass this gateway, as their contents can be neither decided nor masked; connect without replication=…",
		}
	}
	s, err := caller.Open(ctx, postern.Target{Resource: resource, Database: database, Client: clientName(client.params), CountsRows: true})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// authenticate finds out who the client is: by the certificate with which it
// came, when that is this user's, or by the session token, which is asked for.
func (p *Protocol) authenticate(ctx context.Context, client *clientConn, g *gate.Gate, user, resource string) (*gate.Caller, error) {
	cred := postern.Credential{
		User: user, Proof: p.o.Authority.Proof(client.tls), Resource: resource, Protocol: Name, Source: source(client),
	}
	if name, token, ok := cutToken(user); ok {
		cred.User = name
		if err := p.scram(ctx, client, g, &cred, token); err != nil {
			return nil, err
		}
		caller, err := g.Authenticate(ctx, cred)
		return caller, err
	}
	// A certificate of somebody else's may lie where the client's library looks
	// for one; the token says then who enters.
	if cred.Proof.Certificate == "" || user != cred.Proof.User {
		var err error
		if cred.Secret, err = askPassword(client); err != nil {
			return nil, err
		}
	}
	return g.Authenticate(ctx, cred)
}

// askPassword asks for a password in clear text and reads the answer.
func askPassword(client *clientConn) (postern.Secret, error) {
	out, err := (&pgproto3.AuthenticationCleartextPassword{}).Encode(nil)
	if err != nil {
		return postern.Secret{}, err
	}
	if _, err := client.Write(out); err != nil {
		return postern.Secret{}, err
	}
	body, err := readPassword(client)
	if err != nil {
		return postern.Secret{}, err
	}
	password, rest, ok := cutString(body)
	clear(body)
	if !ok || len(rest) > 0 {
		return postern.Secret{}, errPasswordMessage
	}
	return postern.NewSecret(password), nil
}

var errPasswordMessage = &refusal{code: codeProtocol, message: "malformed password message"}

// readPassword reads the body of a message of type p: a PasswordMessage or one
// of SASL's.
func readPassword(client *clientConn) ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(client, head[:1]); err != nil {
		// psql leaves here to ask its user, and comes back with the answer.
		return nil, err
	}
	if _, err := io.ReadFull(client, head[1:]); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	length := binary.BigEndian.Uint32(head[1:])
	switch {
	case head[0] == 'X':
		return nil, io.EOF
	case head[0] != 'p':
		return nil, &refusal{code: codeProtocol, message: fmt.Sprintf("expected a password, got message type %q", head[0])}
	case length < 5 || length > 4+maxPassword:
		return nil, errPasswordMessage
	}
	body := make([]byte, length-4)
	if _, err := io.ReadFull(client, body); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return body, nil
}

// loginRefusal words an error of the gate for the client.
func loginRefusal(err error) *refusal {
	var denied *gate.DeniedError
	if !errors.As(err, &denied) {
		return &refusal{code: codeInternal, message: "the session can't be opened; tell an administrator"}
	}
	r := &refusal{code: codeDenied, words: denied.Error()}
	if errors.Is(err, gate.ErrRefused) {
		r.code = codeBadLogin
	}
	if denied.Session != "" {
		r.hint = "session " + denied.Session
	}
	return r
}
