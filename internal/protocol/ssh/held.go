package ssh

import (
	"io"
	"sync"
	"time"

	"postern/internal/mask"
)

// pumpMasked copies a stream through a mask. What isn't finished is held back
// until it is, or until nothing has come for a while.
func (o *output) pumpMasked(from io.Reader, k *keeper, m *mask.Terminal) error {
	h := &held{k: k, m: m}
	defer h.stop()
	if k.stream == "terminal" {
		o.setEcho(h)
	}
	buf := make([]byte, pieceSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if werr := h.write(buf[:n]); werr != nil {
				return o.stop(from, werr)
			}
		}
		if err != nil {
			return h.flush()
		}
	}
}

// screen is where a shell of the gateway's own writes for its person: masked,
// recorded, and then sent. What can't be is the shell's end. finish sends what
// is held back.
func (o *output) screen(to io.Writer, end func(error)) (w io.Writer, finish func() error) {
	k := &keeper{o: o, stream: o.stream, to: to, left: o.keep}
	write, finish := k.write, func() error { return nil }
	if m := o.s.TerminalMasker(o.d); m != nil {
		h := &held{k: k, m: m}
		o.setEcho(h)
		write, finish = h.write, func() error {
			defer h.stop()
			return h.flush()
		}
	}
	return writerFunc(func(p []byte) (int, error) {
		if err := write(p); err != nil {
			end(err)
			return 0, err
		}
		return len(p), nil
	}), finish
}

// yieldAfter is how long output may be held back from a reader that waits for it.
const yieldAfter = 500 * time.Millisecond

// held is output on its way through a mask.
type held struct {
	k *keeper

	mu      sync.Mutex // guards what follows, and writing
	m       *mask.Terminal
	out     []byte
	timer   *time.Timer
	settled bool
	closed  bool
	err     error
	hits    int
}

func (h *held) write(p []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.send(h.m.Write(h.out[:0], p))
	h.settled = false
	h.arm(idle)
	return h.err
}

// arm sets the timer for what nothing follows.
func (h *held) arm(after time.Duration) {
	switch {
	case h.m.Held() == 0 || h.closed || h.err != nil:
		if h.timer != nil {
			h.timer.Stop()
		}
	case h.timer == nil:
		h.timer = time.AfterFunc(after, h.quiet)
	default:
		h.timer.Reset(after)
	}
}

// quiet is called when nothing has come for a while.
func (h *held) quiet() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.err != nil {
		return
	}
	if !h.settled {
		h.settled = true
		h.send(h.m.Settle(h.out[:0]))
		h.arm(yieldAfter - idle)
		return
	}
	h.send(h.m.Yield(h.out[:0]))
}

func (h *held) send(out []byte) {
	h.out = out[:0]
	if hits := h.m.Hits(); hits > h.hits {
		h.k.o.hits.Add(int64(hits - h.hits))
		h.hits = hits
	}
	if len(out) > 0 && h.err == nil {
		h.err = h.k.write(out)
	}
}

func (h *held) flush() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.send(h.m.Flush(h.out[:0]))
	return h.err
}

func (h *held) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.timer != nil {
		h.timer.Stop()
	}
}

// typed tells the mask what is typed, whose echo needn't wait.
func (h *held) typed(keys []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.m.Typed(keys)
}
