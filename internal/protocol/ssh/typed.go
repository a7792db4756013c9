package ssh

import (
	"io"
	"sync"

	"postern"
	"postern/internal/gate"
)

// input copies what a client sends to the command that runs for it.
type input struct {
	s   *gate.Session
	n   int64
	out *output
	// whole says that it is commands, line by line: all of it is recorded. What
	// is fed to a program is summed only.
	whole bool

	mu  sync.Mutex
	sum *digester
	err error
}

// pump copies until the client has no more to say. What the command doesn't
// take is read and dropped, so that the client can go on.
func (in *input) pump(from io.Reader, to interface {
	io.Writer
	CloseWrite() error
},
) {
	buf := make([]byte, pieceSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if in.note(buf[:n]) != nil {
				break
			}
			if _, werr := to.Write(buf[:n]); werr != nil {
				break
			}
		}
		if err != nil {
			_ = to.CloseWrite() // the command may have ended
			return
		}
	}
	_ = to.CloseWrite()
	_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{from}, buf)
}

// note records what goes in before it does.
func (in *input) note(p []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.err != nil:
		return in.err
	default:
		if in.err = in.out.standing.pass(len(p)); in.err != nil {
			in.out.abort() // it must not go on with half of what it was to have
			return in.err
		}
	}
	switch {
	case in.out.typed != nil:
		in.out.expect(p)
		in.err = in.out.typed.keys(p)
	case in.whole:
		in.err = in.s.Record(postern.Event{Kind: postern.EventInput, N: in.n, Text: string(p)})
	default:
		if in.sum == nil {
			in.sum = newDigester()
		}
		in.sum.add(p)
	}
	return in.err
}

// done records how much went in.
func (in *input) done() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		return in.err
	}
	if in.out.typed != nil {
		return in.out.typed.done()
	}
	if in.sum == nil {
		return nil
	}
	digest, size := in.sum.sum()
	return in.s.Record(postern.Event{Kind: postern.EventInput, N: in.n, Bytes: size, Digest: digest})
}

// maxPending bounds the keys that wait for their echo.
const maxPending = 4096

// typed records what a person types at a terminal, as far as the terminal
// shows it: a password, which isn't echoed, is counted and not kept.
type typed struct {
	record func(postern.Event) error

	mu      sync.Mutex
	pending []byte // keys that were pressed, and not shown yet
	esc     bool   // the screen is within a control sequence
}

// keys takes keys that were pressed.
func (t *typed) keys(p []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(t.pending, p...)
	if len(t.pending) > maxPending {
		return t.settle(len(t.pending) - maxPending/2)
	}
	return t.controls()
}

// shown takes what the terminal shows next. Keys that it shows were no secret.
func (t *typed) shown(p []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) == 0 {
		return nil
	}
	echoed, at := 0, 0
	for echoed < len(t.pending) && at < len(p) {
		at += t.skip(p[at:])
		if at == len(p) {
			break
		}
		key, b := t.pending[echoed], p[at]
		if key == b || key == '\r' && b == '\n' {
			echoed++
			at++
			continue
		}
		if key < ' ' && key != '\r' {
			echoed++
			continue
		}
		break
	}
	if echoed > 0 {
		text := string(t.pending[:echoed])
		t.pending = t.pending[echoed:]
		if err := t.record(postern.Event{Text: text}); err != nil {
			return err
		}
	}
	// A new line, while the line's end was pressed: what precedes it was not shown.
	for i, key := range t.pending {
		if key == '\r' || key == '\n' {
			if at < len(p) && containsNewline(p[at:]) {
				return t.settle(i + 1)
			}
			break
		}
	}
	return nil
}

// skip is the length of what is at the beginning of p and shows nothing.
func (t *typed) skip(p []byte) int {
	for i, b := range p {
		switch {
		case t.esc:
			t.esc = b < '@' || b > '~' || b == '['
		case b == 0x1b:
			t.esc = true
		case b < ' ' && b != '\r' && b != '\n':
		default:
			return i
		}
	}
	return len(p)
}

func containsNewline(p []byte) bool {
	for _, b := range p {
		if b == '\n' {
			return true
		}
	}
	return false
}

// controls records keys that show nothing, when they come first.
func (t *typed) controls() error {
	n := 0
	for n < len(t.pending) && t.pending[n] < ' ' && t.pending[n] != '\r' && t.pending[n] != '\n' && t.pending[n] != 0x1b {
		n++
	}
	if n == 0 {
		return nil
	}
	text := string(t.pending[:n])
	t.pending = t.pending[n:]
	return t.record(postern.Event{Text: text})
}

// settle records the first n keys without those that were not shown.
func (t *typed) settle(n int) error {
	hidden := 0
	var rest []byte
	for _, key := range t.pending[:n] {
		if key >= ' ' {
			hidden++
		} else {
			rest = append(rest, key)
		}
	}
	t.pending = append(t.pending[:0], t.pending[n:]...)
	return t.record(postern.Event{Text: string(rest), Tag: "not echoed", Bytes: int64(hidden)})
}

// done records what is left.
func (t *typed) done() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) == 0 {
		return nil
	}
	return t.settle(len(t.pending))
}
