package recording

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"postern"
)

// mark is a place in a recording: so many events behind one between two frames
// at which a line begins, and a dictionary. Reading can go on there without what
// precedes that, because it says where the chain stood; of what is in the recording
// it says nothing.
type mark struct {
	chain  chain
	off    int64
	events int64
	skip   int64
}

func (m mark) String() string {
	return fmt.Sprintf("%d.%d.%d.%d.%x", m.off, m.chain.seq, m.events, m.skip, m.chain.sum)
}

// parseMark reads a place; those of earlier versions skip nothing, and don't say so.
func parseMark(text string) (m mark, err error) {
	if strings.Count(text, ".") == 3 {
		i := strings.LastIndexByte(text, '.')
		text = text[:i] + ".0" + text[i:]
	}
	var sum string
	if _, err := fmt.Sscanf(text, "%d.%d.%d.%d.%64s", &m.off, &m.chain.seq, &m.events, &m.skip, &sum); err != nil {
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
	m := r.begin
	m.skip = r.events - m.events
	return m, r.line == len(r.text)
}

// from has the reader go on behind a place, before what m skips.
func (r *Reader) from(m mark) {
	m.skip = 0
	r.begin = m
	r.frames.off, r.frames.chain, r.events = m.off, m.chain, m.events
	r.whole.chain, r.whole.off = m.chain, m.off
}

// goTo has the reader go on at a place.
func (r *Reader) goTo(m mark) error {
	if n, err := r.frames.readAt(make([]byte, 1), m.off-1); err != nil || n == 0 {
		return fmt.Errorf("%q is no place in this recording", m)
	}
	r.from(m)
	for range m.skip {
		if _, err := r.next(); err != nil {
			return fmt.Errorf("%q is no place in this recording: %w", m, err)
		}
	}
	return nil
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
		if err := r.goTo(m); err != nil {
			return false, err
		}
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
