package postgres

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync"
)

const (
	maxRecord    = 16 << 10 // of content in one TLS record: RFC 8446, section 5.1
	recordHeader = 5        // type, version, length: the same section
	// sealedBuffer takes what a full buffer becomes: four records, each with its
	// header, its type and a tag of 16 bytes (TLS 1.2: a nonce, too).
	sealedBuffer = fullBuffer + 4*64
)

// recordConn is a connection below TLS. The layer above writes each record by
// itself; what it makes of one large write leaves together here. What it reads ends
// where a record does, so that between records all that has come is either read or here.
type recordConn struct {
	net.Conn
	pool *buffers

	again  []byte             // to be read once more, before all else
	header [recordHeader]byte // of the record that is being read
	known  int                // bytes of header
	left   int                // bytes of the record, once its header is known
	// ahead has what came beyond the record; nil: nothing is read that isn't asked for.
	// It belongs to who reads from TLS.
	ahead *frameReader
	// dry says that between records there is nothing, without a look.
	dry bool

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

// Read implements [net.Conn].
func (c *recordConn) Read(p []byte) (int, error) {
	if c.left > 0 {
		n, err := c.read(p[:min(len(p), c.left)])
		c.left -= n
		return n, err
	}
	if c.dry && c.known == 0 {
		return 0, os.ErrDeadlineExceeded // after which TLS may be read from again
	}
	n, err := c.read(p[:min(len(p), recordHeader-c.known)])
	copy(c.header[c.known:], p[:n])
	if c.known += n; c.known == recordHeader {
		c.known, c.left = 0, int(binary.BigEndian.Uint16(c.header[3:]))
	}
	return n, err
}

func (c *recordConn) read(p []byte) (int, error) {
	switch {
	case len(c.again) > 0:
		n := copy(p, c.again)
		c.again = c.again[n:]
		return n, nil
	case c.ahead != nil:
		return c.ahead.Read(p)
	}
	return c.Conn.Read(p)
}

// early returns what TLS, above, has of its last record and nobody has read.
func (c *recordConn) early(above io.Reader) []byte {
	buf := c.pool.get()
	defer c.pool.put(buf)
	c.dry = true
	n, _ := above.Read(buf) // what is wrong with the connection, the next read will tell
	c.dry = false
	return bytes.Clone(buf[:n])
}
