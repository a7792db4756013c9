package postgres

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/internal/gate"
)

// upstream is a connection to the server, logged in and idle: its first
// ReadyForQuery was consumed.
type upstream struct {
	// conn is for writing and for deadlines. Reading goes through r alone,
	// which may hold bytes that conn has given away already.
	conn net.Conn
	r    *bufio.Reader
	// params are the server's ParameterStatus values so far.
	params map[string]string
	// txStatus is that of the ReadyForQuery that was consumed.
	txStatus byte
	// notices are the NoticeResponses that came on the way, in order.
	notices []*pgconn.Notice

	// The server's own cancel key. It is never handed to the client.
	pid    uint32
	secret []byte

	session *gate.Session
	address string      // the one of the resource's addresses that answered
	tls     *tls.Config // nil: the connection is in clear text
}

// connectUpstream logs in at the session's resource with the gateway's own
// credentials, and with the settings of the client's startup message. The
// error may name addresses: it is for the operator, and startupError words it
// for the client.
func connectUpstream(ctx context.Context, s *gate.Session, settings map[string]string) (*upstream, error) {
	return nil, errors.ErrUnsupported
}

// dialUpstream opens a connection of the gateway's own to a database of the
// session's resource, for looking at its catalog. The caller closes it.
func dialUpstream(ctx context.Context, s *gate.Session, database string, settings map[string]string) (*pgconn.PgConn, error) {
	return nil, errors.ErrUnsupported
}
