package postgres

import (
	"io"
	"sync"
	"syscall"
)

// buffers are those of fullBuffer bytes that no session needs now: one that is
// idle holds none. What they held is left in them, so nobody may look beyond
// what was read into one.
type buffers struct {
	pool   sync.Pool // of *[fullBuffer]byte
	sealed sync.Pool // of *[sealedBuffer]byte: that, encrypted
}

func (b *buffers) getSealed() []byte {
	if sealed, ok := b.sealed.Get().(*[sealedBuffer]byte); ok {
		return sealed[:]
	}
	return make([]byte, sealedBuffer)
}

func (b *buffers) putSealed(buf []byte) { b.sealed.Put((*[sealedBuffer]byte)(buf)) }

func (b *buffers) get() []byte {
	if full, ok := b.pool.Get().(*[fullBuffer]byte); ok {
		return full[:]
	}
	return make([]byte, fullBuffer)
}

// put takes a buffer back; those of other sizes are left to the collector.
func (b *buffers) put(buf []byte) {
	if len(buf) == fullBuffer {
		b.pool.Put((*[fullBuffer]byte)(buf))
	}
}

// plainConn returns src as the kernel's own connection, if it is one: nothing
// above it may hold bytes, or must see them pass.
func plainConn(src io.Reader) syscall.Conn {
	conn, _ := src.(syscall.Conn)
	return conn
}
