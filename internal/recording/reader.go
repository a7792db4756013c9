package recording

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"postern"
)

// Reader reads one recording from its beginning. It belongs to one goroutine.
type Reader struct {
	frames frameReader
	file   io.Closer
	aead   cipher.AEAD
	like   dictionary

	text   []byte // read, and not yet returned
	line   int    // where in text the next line begins
	events int64
	// whole is where the chain and the file stood after the last frame that
	// ended with a whole line: what a continuation follows.
	whole struct {
		chain chain
		off   int64
	}
	// begin is the last place from which reading can go on by itself: a line begins
	// there, and a dictionary.
	begin mark
	ended bool
	err   error // sticky: tampering
}

// Read opens the recording of a session: a finished one, one that is being
// written, or one whose writer died. The caller closes the reader.
func (f *Folder) Read(id string) (*Reader, error) {
	file, err := f.open(id)
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	r, err := f.newReader(file, id)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read recording of session %s: %w", id, err), file.Close())
	}
	r.file = file
	return r, nil
}

// newReader reads from src, which must be the recording of session id.
func (f *Folder) newReader(src io.ReaderAt, id string) (*Reader, error) {
	h, err := readHeader(src)
	if err != nil {
		return nil, err
	}
	if h.id != id {
		return nil, &TamperedError{Reason: "the file holds the recording of session " + h.id}
	}
	s, err := f.unwrap(h)
	if err != nil {
		return nil, err
	}
	r := &Reader{aead: s.aead, frames: frameReader{src: src, off: h.size(), chain: s.chain}}
	r.from(mark{chain: s.chain, off: h.size()})
	return r, nil
}

// Close closes the file.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// Next returns the next event. After the last one it returns io.EOF when the
// recording is finished and whole, and an [*UnfinishedError] when it has no end:
// Next may then be called again, and finds what was written in between. A
// [*TamperedError] ends the reading; the events before it are as written.
func (r *Reader) Next() (postern.Event, error) {
	line, err := r.next()
	if err != nil {
		return postern.Event{}, err
	}
	e, err := decodeEvent(line)
	if err != nil {
		r.err = r.unreadable(err)
		return postern.Event{}, r.err
	}
	return e, nil
}

func (r *Reader) unreadable(err error) error {
	return &TamperedError{Frame: int64(r.frames.chain.seq) - 1, Reason: "an event can't be read: " + err.Error()}
}

// next returns the next event's JSON, without its line end. It holds until the
// next call.
func (r *Reader) next() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	searched := r.line
	for {
		if i := bytes.IndexByte(r.text[searched:], '\n'); i >= 0 {
			line := r.text[r.line : searched+i]
			r.line = searched + i + 1
			r.events++
			return line, nil
		}
		if r.ended {
			return nil, io.EOF
		}
		if r.line > 0 {
			r.text = append(r.text[:0], r.text[r.line:]...)
			r.line = 0
		}
		searched = len(r.text)
		if searched > maxEvent {
			return nil, r.tampered("an event is longer than any that is written")
		}
		if err := r.frame(); err != nil {
			return nil, err
		}
	}
}

// frame reads one more frame.
func (r *Reader) frame() error {
	f, err := r.frames.next()
	var tail *tornError
	if errors.As(err, &tail) {
		torn := tail.bytes + r.frames.off - r.whole.off
		return &UnfinishedError{Events: r.events, Frames: int64(r.frames.chain.seq), Torn: torn}
	}
	if err != nil {
		r.err = err
		return err
	}
	before := r.frames.chain
	if f.kind == frameEnd {
		return r.end(f, &before)
	}
	text, err := f.text(r.aead, &before, &r.like)
	if err != nil {
		return r.refuse(f, err)
	}
	if len(r.text) == 0 && (f.kind == frameText || f.kind == frameS2) {
		r.begin = mark{chain: before, off: r.frames.off, events: r.events}
	}
	r.text = append(r.text, text...)
	r.frames.pass(f)
	if bytes.HasSuffix(text, []byte{'\n'}) {
		r.whole.chain, r.whole.off = r.frames.chain, r.frames.off
	}
	return nil
}

// end checks the terminator.
func (r *Reader) end(f *frame, before *chain) error {
	end, err := f.open(r.aead, before)
	switch {
	case err != nil:
		return r.refuse(f, err)
	case len(end) != endSize || [sha256.Size]byte(end[8:]) != before.sum:
		return r.tampered("the end doesn't belong to what precedes it")
	case len(r.text) > 0:
		return r.tampered("it ends within an event")
	case binary.BigEndian.Uint64(end) != uint64(r.events):
		return r.tampered("it doesn't hold as many events as were written")
	}
	r.frames.pass(f)
	if err := r.frames.atEnd(); err != nil {
		r.err = err
		return err
	}
	r.ended = true
	return nil
}

// refuse tells a frame that the disk lost when the machine stopped from one
// that was changed: what was never written reads as zeros, to the file's end.
func (r *Reader) refuse(f *frame, err error) error {
	if len(bytes.Trim(f.raw[len(f.raw)-tagSize:], "\x00")) == 0 {
		rest, zeros, readErr := r.frames.zeros(r.frames.off + int64(len(f.raw)))
		if readErr != nil {
			return readErr
		}
		if zeros {
			torn := rest + int64(len(f.raw)) + r.frames.off - r.whole.off
			return &UnfinishedError{Events: r.events, Frames: int64(r.frames.chain.seq), Torn: torn}
		}
	}
	r.err = err
	return err
}

func (r *Reader) tampered(reason string) error {
	r.err = &TamperedError{Frame: int64(r.frames.chain.seq), Reason: reason}
	return r.err
}

// Digest is the recording's, once Next has returned io.EOF.
func (r *Reader) Digest() string { return r.digest() }

func (r *Reader) digest() string { return r.frames.chain.digest() }

// Verify reads a whole recording and returns its digest and the number of its
// events. The digest is to be compared with the one in the audit log. For a
// recording whose key was destroyed it returns [ErrShredded] with the digest.
func (f *Folder) Verify(id string) (digest string, events int64, err error) {
	r, err := f.Read(id)
	if errors.Is(err, ErrShredded) {
		digest, err := f.verifyChain(id)
		return digest, 0, err
	}
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = r.Close() }() // only read
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			return r.digest(), r.events, nil
		} else if err != nil {
			return "", r.events, fmt.Errorf("verify recording of session %s: %w", id, err)
		}
	}
}

// Digest follows the chain of a finished recording in a folder, which needs no
// key, and returns its digest. What isn't there is fs.ErrNotExist. With the digest of
// a recording whose key was destroyed it returns [ErrShredded]; a key that was changed
// into another is no part of the chain, and isn't noticed.
func Digest(dir, id string) (string, error) {
	f := &Folder{cfg: Config{Dir: dir, Now: time.Now}}
	return f.verifyChain(id)
}

// Digest does so in this folder, and notices that, too: the key must be one that the
// keyring unwraps.
func (f *Folder) Digest(id string) (string, error) { return f.verifyChain(id) }

// verifyChain follows the chain without reading what is in it.
func (f *Folder) verifyChain(id string) (digest string, err error) {
	file, err := f.open(id)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // only read
	h, err := readHeader(file)
	if err != nil {
		return "", err
	}
	digest, err = h.follow(file)
	switch {
	case err != nil:
		return "", err
	case h.shredded():
		return digest, ErrShredded
	case f.cfg.Keys != nil:
		if _, err := f.unwrap(h); err != nil {
			return digest, fmt.Errorf("nobody can read it: %w", err)
		}
	}
	return digest, nil
}

// follow returns the digest of the file that the header is of.
func (h *header) follow(file io.ReaderAt) (digest string, err error) {
	frames := frameReader{src: file, off: h.size(), chain: chain{sum: h.chain()}}
	for {
		fr, err := frames.next()
		if err != nil {
			return "", err
		}
		frames.pass(fr)
		if fr.kind == frameEnd {
			return frames.chain.digest(), frames.atEnd()
		}
	}
}

// Export writes a recording as JSON lines, one [postern.Event] each. What can
// be read before an error is written.
func Export(w io.Writer, r *Reader) error {
	for {
		line, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		// The line end is still there, behind the line.
		if _, err := w.Write(line[:len(line)+1]); err != nil {
			return err
		}
	}
}
