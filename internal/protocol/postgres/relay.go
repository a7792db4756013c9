package postgres

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"postern/internal/gate"
	analysis "postern/internal/sql/postgres"
)

// relayOptions are what relays need besides their two ends and their session.
// All of them are required. They are shared between the sessions of a Protocol.
type relayOptions struct {
	analyzer *analysis.Analyzer
	catalogs *catalogs
	log      *slog.Logger
	now      func() time.Time
	rand     io.Reader
}

// A relay carries one session's messages between a client and its server, from
// the server's first ReadyForQuery on. It implements [canceler].
type relay struct {
	client *clientConn
	up     *upstream
	s      *gate.Session
	o      relayOptions
}

// newRelay makes a relay. It owns client and up from the moment that run is
// called until run has returned; it closes neither of them.
func newRelay(client *clientConn, up *upstream, s *gate.Session, o relayOptions) *relay {
	return &relay{client: client, up: up, s: s, o: o}
}

// run relays until one side has ended the session, ctx is done, or something
// broke. The error wraps [errClientGone] or [errUpstreamGone], or is a
// *[refusal] with a last word for the client. It is nil when the client left
// in an orderly manner.
func (r *relay) run(ctx context.Context) error { return errors.ErrUnsupported }

// cancel implements [canceler].
func (r *relay) cancel(ctx context.Context) error { return r.up.cancel(ctx) }
