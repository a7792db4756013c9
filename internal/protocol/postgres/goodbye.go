package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern/internal/gate"
)

// SQLSTATEs with which a connection ends (Appendix A: PostgreSQL Error Codes).
const (
	codeProtocol    = "08P01" // protocol_violation
	codeConnection  = "08006" // connection_failure
	codeRejected    = "08004" // sqlserver_rejected_establishment_of_sqlconnection
	codeUnsupported = "0A000" // feature_not_supported
	codeNoUser      = "28000" // invalid_authorization_specification
	codeBadLogin    = "28P01" // invalid_password
	codeDenied      = "42501" // insufficient_privilege
	codeShutdown    = "57P01" // admin_shutdown
	codeNotNow      = "57P03" // cannot_connect_now
	codeInternal    = "XX000" // internal_error
)

// The two ways in which the relay ends early; it wraps them with what it knows.
var (
	// errClientGone: the client broke the connection, or stopped reading.
	errClientGone = errors.New("client is gone")
	// errUpstreamGone: the server broke the connection without a last word of
	// its own to the client.
	errUpstreamGone = errors.New("upstream is gone")
)

// refusal is a last word to the client.
type refusal struct {
	code    string
	message string // worded by [refusal.Error]
	words   string // in place of message: the whole, worded elsewhere
	hint    string
	cause   error // for the operator
}

// Error is the message as the client sees it.
func (r *refusal) Error() string {
	if r.words != "" {
		return r.words
	}
	return "postern: " + r.message
}

// Unwrap returns the cause.
func (r *refusal) Unwrap() error { return r.cause }

// errPlaintext answers clients that don't use TLS.
var errPlaintext = &refusal{
	code:    codeNoUser,
	message: "clear text is refused: connect with sslmode=require, or better sslmode=verify-full and the gateway's CA",
}

// silentError is an error after which nothing can be said to the client.
type silentError struct{ error }

// Unwrap returns the error itself.
func (e *silentError) Unwrap() error { return e.error }

// goodbyeTime bounds the last words to a client, who may not be listening.
const goodbyeTime = 2 * time.Second

// partingTime is the same for a client whose session the gateway ended: it may
// not be one that means well.
const partingTime = 150 * time.Millisecond

// say sends the refusal to the client as a FATAL error, within a time.
func (r *refusal) say(conn net.Conn, within time.Duration) error {
	out, err := (&pgproto3.ErrorResponse{
		Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: r.code, Message: r.Error(), Hint: r.hint,
	}).Encode(nil)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	_, err = conn.Write(out)
	return err
}

// goodbye is the last word of a session that ended with err while ctx was its
// context; nil when there is none to say.
func goodbye(ctx context.Context, s *gate.Session, err error) *refusal {
	hint := "session " + s.ID()
	if cause := context.Cause(ctx); cause != nil {
		r := &refusal{code: codeShutdown, words: (&gate.EndedError{Reason: "the gateway is shutting down; connect again"}).Error(), hint: hint, cause: cause}
		var ended *gate.EndedError
		if errors.As(cause, &ended) {
			r.words = ended.Error()
		}
		return r
	}
	var said *refusal
	switch {
	case err == nil, errors.Is(err, errClientGone):
		return nil
	case errors.As(err, &said):
		return said
	case errors.Is(err, errUpstreamGone):
		return &refusal{code: codeConnection, message: "resource " + s.Resource().Name + " closed the connection; connect again", hint: hint, cause: err}
	default:
		return &refusal{code: codeInternal, message: "the session can't go on; connect again", hint: hint, cause: err}
	}
}

// linger gives a last word the time to arrive: a connection that is closed
// with unread bytes on it is reset, and the reset takes back what the client
// hasn't read yet. A client that isn't sending is in no such danger, and one
// that never stops has its connection for no longer than a time.
func linger(conn net.Conn, within time.Duration) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	buf := make([]byte, 4096)
	for end := time.Now().Add(within); time.Now().Before(end); {
		if conn.SetReadDeadline(time.Now().Add(lingerIdle)) != nil {
			return
		}
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

// lingerIdle is how long a client is silent that isn't sending.
const lingerIdle = 100 * time.Millisecond

// forOperator is what the operator is told of err: what the client wasn't.
func forOperator(s *gate.Session, err error) error {
	var said *refusal
	if errors.As(err, &said) {
		if said.code == codeDenied {
			return nil // a decision, and in the audit log
		}
		if said.cause != nil {
			err = said.cause
		}
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("session %s: %w", s.ID(), err)
}
