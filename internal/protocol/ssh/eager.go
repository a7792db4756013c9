package ssh

import (
	"bytes"
	"io"
	"sync"
)

// maxEager bounds what is typed ahead of a command that waits for people.
const maxEager = 64 << 10

// eager reads what a person types before anybody wants it, so that Ctrl-C takes
// a command back that people still decide over.
type eager struct {
	mu        sync.Mutex
	room      *sync.Cond
	buf       []byte
	err       error
	interrupt func() // called for Ctrl-C; nil: it is a key like any other
}

// newEager reads from r until it ends; done is closed when it has.
func newEager(r io.Reader) (e *eager, done <-chan struct{}) {
	e = &eager{}
	e.room = sync.NewCond(&e.mu)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			e.take(buf[:n], err)
			if err != nil {
				return
			}
		}
	}()
	return e, ended
}

func (e *eager) take(p []byte, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.buf) > maxEager && err == nil {
		e.room.Wait()
	}
	if e.interrupt != nil && bytes.IndexByte(p, 0x03) >= 0 {
		e.interrupt()
	}
	e.buf = append(e.buf, p...)
	e.err = err
	e.room.Broadcast()
}

// onInterrupt sets what Ctrl-C does; nil gives it back to whoever reads.
func (e *eager) onInterrupt(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.interrupt = f
}

// Read implements [io.Reader].
func (e *eager) Read(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.buf) == 0 && e.err == nil {
		e.room.Wait()
	}
	if len(e.buf) == 0 {
		return 0, e.err
	}
	n := copy(p, e.buf)
	e.buf = append(e.buf[:0], e.buf[n:]...)
	e.room.Broadcast()
	return n, nil
}
