package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
)

// preparing opens connections that keep the statements they have prepared.
// SQLite's parser runs in Go here, and took longer than most of the statements:
// every connection of a client comes with a dozen of them.
type preparing struct{ driver.Connector }

func (p preparing) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := c.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("store: the driver's connection isn't what was expected"), c.Close())
	}
	return &preparedConn{sqliteConn: full, kept: make(map[string]*prepared)}, nil
}

// sqliteConn is what the driver's connections can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// Bounds of what a connection keeps: the texts are ours, and few.
const (
	maxPrepared     = 256
	maxPreparedText = 4 << 10
)

// preparedConn is a connection. As every one of database/sql's, it is used by one
// goroutine at a time.
type preparedConn struct {
	sqliteConn
	kept map[string]*prepared
}

// prepared is a statement that is kept.
type prepared struct {
	stmt preparedStmt
	busy bool // rows of it are being read
}

type preparedStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// statement returns the kept statement of a text, or nil when there can be none.
func (c *preparedConn) statement(ctx context.Context, text string) (*prepared, error) {
	if p, ok := c.kept[text]; ok {
		if p.busy {
			return nil, nil
		}
		return p, nil
	}
	if len(text) > maxPreparedText || len(c.kept) >= maxPrepared || strings.Contains(text, ";") {
		return nil, nil
	}
	s, err := c.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	full, ok := s.(preparedStmt)
	if !ok {
		return nil, s.Close()
	}
	p := &prepared{stmt: full}
	c.kept[text] = p
	return p, nil
}

// ExecContext implements [driver.ExecerContext]. A kept statement is short, and
// isn't broken off: to watch its context, the driver would start a goroutine.
func (c *preparedConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := c.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return c.sqliteConn.ExecContext(ctx, text, args)
	}
	return p.stmt.ExecContext(context.WithoutCancel(ctx), args)
}

// QueryContext implements [driver.QueryerContext].
func (c *preparedConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	p, err := c.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return c.sqliteConn.QueryContext(ctx, text, args)
	}
	rows, err := p.stmt.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	p.busy = true
	return &preparedRows{Rows: rows, of: p}, nil
}

// Close closes the statements and the connection.
func (c *preparedConn) Close() error {
	var all error
	for _, p := range c.kept {
		all = errors.Join(all, p.stmt.Close())
	}
	return errors.Join(all, c.sqliteConn.Close())
}

// preparedRows give their statement back when they are closed.
type preparedRows struct {
	driver.Rows
	of *prepared
}

func (r *preparedRows) Close() error {
	r.of.busy = false
	return r.Rows.Close()
}
