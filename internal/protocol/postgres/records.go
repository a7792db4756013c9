package postgres

import (
	"net"
	"sync"
)

const (
	maxRecord = 16 << 10 // of content in one TLS record: RFC 8446, section 5.1
	// sealedBuffer takes what a full buffer becomes: four records, each with its
	// header, its type and a tag of 16 bytes (TLS 1.2: a nonce, too).
	sealedBuffer = fullBuffer + 4*64
)

// recordConn is a connection below TLS. The layer above writes each record by
// itself; what it makes of one large write leaves together here.
type recordConn struct {
	net.Conn
	pool *buffers

	mu   sync.Mutex // guards what follows
	held []byte     // nil: nothing is held back
}

// together writes in one what write makes of it.
func (c *recordConn) together(write func() error) error {
	c.mu.Lock()
	c.held = c.pool.getSealed()[:0]
	c.mu.Unlock()
	err := write()
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.held
	c.held = nil
	defer c.pool.putSealed(held[:cap(held)])
	if len(held) > 0 { // also after an error: what is sealed can't be taken back
		if _, writeErr := c.Conn.Write(held); err == nil {
			err = writeErr
		}
	}
	return err
}

// Write implements [net.Conn].
func (c *recordConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return c.Conn.Write(p)
	}
	if len(c.held)+len(p) > cap(c.held) {
		if len(c.held) > 0 {
			if _, err := c.Conn.Write(c.held); err != nil {
				return 0, err
			}
			c.held = c.held[:0]
		}
		if len(p) > cap(c.held) {
			return c.Conn.Write(p)
		}
	}
	c.held = append(c.held, p...)
	return len(p), nil
}
