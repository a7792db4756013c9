package lines

import (
	"context"
	"io"
	"sync"
)

// maxTyped is how much may be typed ahead.
const maxTyped = 64 << 10

// keyboard holds keystrokes until somebody wants them: the editor, or the
// command that runs.
type keyboard struct {
	mu      sync.Mutex
	changed *sync.Cond
	typed   []byte
	closed  bool
	woken   int // counts calls of wake
}

func newKeyboard() *keyboard {
	k := &keyboard{}
	k.changed = sync.NewCond(&k.mu)
	return k
}

// Write adds keystrokes, and waits while there are too many.
func (k *keyboard) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	written := 0
	for len(p) > 0 {
		for len(k.typed) >= maxTyped && !k.closed {
			k.changed.Wait()
		}
		if k.closed {
			return written, io.ErrClosedPipe
		}
		n := min(len(p), maxTyped-len(k.typed))
		k.typed = append(k.typed, p[:n]...)
		written += n
		p = p[n:]
		k.changed.Broadcast()
	}
	return written, nil
}

func (k *keyboard) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.changed.Broadcast()
}

// Read takes keystrokes, for the editor.
func (k *keyboard) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.typed) == 0 && !k.closed {
		k.changed.Wait()
	}
	return k.take(p)
}

func (k *keyboard) take(p []byte) (int, error) {
	if len(k.typed) == 0 {
		return 0, io.EOF
	}
	n := copy(p, k.typed)
	k.typed = append(k.typed[:0], k.typed[n:]...)
	k.changed.Broadcast()
	return n, nil
}

// wake makes a reader that waits for ctx look again.
func (k *keyboard) wake() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.woken++
	k.changed.Broadcast()
}

// readUntil takes keystrokes until ctx is done, and then none.
func (k *keyboard) readUntil(ctx context.Context, p []byte) (int, error) {
	stop := context.AfterFunc(ctx, k.wake)
	defer stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.typed) == 0 && !k.closed && ctx.Err() == nil {
		k.changed.Wait()
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return k.take(p)
}

// interrupted waits for a Ctrl-C until ctx is done; what was typed before it is
// dropped with it, as a terminal does.
func (k *keyboard) interrupted(ctx context.Context) bool {
	stop := context.AfterFunc(ctx, k.wake)
	defer stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	for ctx.Err() == nil {
		for i, c := range k.typed {
			if c == keyInterrupt {
				k.typed = append(k.typed[:0], k.typed[i+1:]...)
				k.changed.Broadcast()
				return true
			}
		}
		if k.closed {
			return false
		}
		k.changed.Wait()
	}
	return false
}
