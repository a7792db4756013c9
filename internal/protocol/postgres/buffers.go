package postgres

import (
	"io"
	"math/bits"
	"sync"
	"syscall"
)

// largeBuffers is of how many sizes there are buffers larger than a full one: each
// is twice the one before, the last 16 MiB.
const largeBuffers = 8

// buffers are those of fullBuffer bytes that no session needs now, and larger ones
// for messages that are held whole: a session that is idle holds none. What they
// held is left in them, so nobody may look beyond what was read into one.
type buffers struct {
	pool   sync.Pool               // of *[fullBuffer]byte
	large  [largeBuffers]sync.Pool // of *[]byte
	sealed sync.Pool               // of *[sealedBuffer]byte: that, encrypted
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

// sized returns a buffer of n bytes at least.
func (b *buffers) sized(n int) []byte {
	i := largeOf(n)
	switch {
	case i < 0:
		return b.get()
	case i >= largeBuffers:
		return make([]byte, n)
	}
	if buf, ok := b.large[i].Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, fullBuffer<<(i+1))
}

// put takes a buffer back; those of other sizes are left to the collector.
func (b *buffers) put(buf []byte) {
	if len(buf) == fullBuffer {
		b.pool.Put((*[fullBuffer]byte)(buf))
		return
	}
	if i := largeOf(len(buf)); i >= 0 && i < largeBuffers && len(buf) == fullBuffer<<(i+1) {
		large := buf // of its own: the address of a parameter would be memory for each call
		b.large[i].Put(&large)
	}
}

// largeOf is which of the larger sizes n bytes need; -1: a full buffer is enough.
func largeOf(n int) int {
	return bits.Len(uint(max(n-1, 0)/fullBuffer)) - 1
}

// plainConn returns src as the kernel's own connection, if it is one: nothing
// above it may hold bytes, or must see them pass.
func plainConn(src io.Reader) syscall.Conn {
	conn, _ := src.(syscall.Conn)
	return conn
}
