package recording

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"postern"
)

// mark is a place in a recording, between two frames, at which a line begins.
// Reading can go on there without what precedes it, because it says where the
// chain stood; of what is in the recording it says nothing.
type mark struct {
	chain  chain
	off    int64
	events int64
}

func (m mark) String() string {
	return fmt.Sprintf("%d.%d.%d.%x", m.off, m.chain.seq, m.events, m.chain.sum)
}

func parseMark(text string) (m mark, err error) {
	var sum string
	if _, err := fmt.Sscanf(text, "%d.%d.%d.%64s", &m.off, &m.chain.seq, &m.events, &sum); err != nil {
		return m, fmt.Errorf("%q is no place in a recording", text)
	}
	if n, err := hex.Decode(m.chain.sum[:], []byte(sum)); err != nil || n != len(m.chain.sum) {
		return m, fmt.Errorf("%q is no place in a recording", text)
	}
	return m, nil
}

// mark is where reading could go on; ok is false while a part of a frame that
// was read is yet to be returned.
func (r *Reader) mark() (_ mark, ok bool) {
	return mark{chain: r.whole.chain, off: r.whole.off, events: r.events}, r.line == len(r.text)
}

// Scan calls fn with each event of a recording from a place on, "" being its
// beginning. after names the place behind the event, or "" where reading can't
// begin. finished says that the recording's end was reached; without it, what
// was written up to now was. A recording that is gone, or whose key is, is
// [postern.ErrNotFound].
func (f *Folder) Scan(id, from string, fn func(e *postern.Event, after func() string) error) (finished bool, err error) {
	return f.scan(id, from, fn, func(r *Reader) (*postern.Event, error) {
		e, err := r.Next()
		return &e, err
	})
}

// ScanTexts is Scan with no more of an event than when a command came, its number,
// text and parameters. Of other events it is nil. It takes a fifth of the time.
func (f *Folder) ScanTexts(id, from string, fn func(e *postern.Event, after func() string) error) (finished bool, err error) {
	return f.scan(id, from, fn, (*Reader).nextText)
}

func (r *Reader) nextText() (*postern.Event, error) {
	line, err := r.next()
	if err != nil || !bytes.Contains(line, []byte(`"kind":"command"`)) {
		return nil, err
	}
	e, err := decodeText(line)
	if err != nil {
		r.err = r.unreadable(err)
		return nil, r.err
	}
	return e, nil
}

func (f *Folder) scan(id, from string, fn func(*postern.Event, func() string) error, next func(*Reader) (*postern.Event, error)) (finished bool, err error) {
	r, err := f.Read(id)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrShredded) {
		return false, errors.Join(postern.ErrNotFound, err)
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = r.Close() }() // only read
	if from != "" {
		m, err := parseMark(from)
		if err != nil {
			return false, err
		}
		if n, err := r.frames.readAt(make([]byte, 1), m.off-1); err != nil || n == 0 {
			return false, fmt.Errorf("%q is no place in this recording", from)
		}
		r.frames.off, r.frames.chain, r.events = m.off, m.chain, m.events
		r.whole.chain, r.whole.off = m.chain, m.off
	}
	after := func() string {
		if m, ok := r.mark(); ok {
			return m.String()
		}
		return ""
	}
	for {
		e, err := next(r)
		var unfinished *UnfinishedError
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case errors.As(err, &unfinished):
			return false, nil
		case err != nil:
			return false, err
		}
		if err := fn(e, after); err != nil {
			return false, err
		}
	}
}
