package recording

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// frameReader walks the frames of a file. It stays where it is when the file
// ends, so that what is written later can be read later.
type frameReader struct {
	src   io.ReaderAt
	off   int64 // of the next frame
	chain chain // before the next frame
	buf   []byte
	ahead struct { // what was read with something before it; it may have been written since
		at   int64
		text []byte
	}
}

// How much of a file is read at once, where a frame is some hundred bytes: little at
// first, since most recordings are short, and more as long as there is more.
const (
	firstAhead = 4 << 10
	readAhead  = 32 << 10
)

// tornError says that the file ends here, after so many bytes that are no
// whole frame.
type tornError struct{ bytes int64 }

func (e *tornError) Error() string {
	return fmt.Sprintf("the file ends %d bytes into a frame", e.bytes)
}

// next reads a frame without passing it. Its bytes hold until the next call.
func (r *frameReader) next() (*frame, error) {
	f, err := r.read()
	var tail *tornError
	if errors.As(err, &tail) && len(r.ahead.text) > 0 {
		r.ahead.text = r.ahead.text[:0]
		return r.read()
	}
	return f, err
}

func (r *frameReader) read() (*frame, error) {
	if cap(r.buf) < frameHeader {
		r.buf = make([]byte, 0, 4<<10)
	}
	head := r.buf[:frameHeader]
	if n, err := r.readAt(head, r.off); err != nil {
		return nil, err
	} else if n < frameHeader {
		return nil, &tornError{int64(n)}
	}
	if err := r.written(head); err != nil {
		return nil, err
	}
	kind, body, err := parseFrameHeader(head, r.chain.seq)
	if err != nil {
		return nil, err
	}
	if cap(r.buf) < frameHeader+body {
		r.buf = append(make([]byte, 0, frameHeader+body), head...)
	}
	raw := r.buf[:frameHeader+body]
	n, err := r.readAt(raw[frameHeader:], r.off+frameHeader)
	if err != nil {
		return nil, err
	}
	if n < body {
		return nil, &tornError{int64(frameHeader + n)}
	}
	return &frame{kind: kind, seq: r.chain.seq, raw: raw}, nil
}

// pass moves past a frame that was found good.
func (r *frameReader) pass(f *frame) {
	r.chain.follow(f.raw)
	r.off += int64(len(f.raw))
}

// atEnd checks that nothing follows the terminator.
func (r *frameReader) atEnd() error {
	var b [1]byte
	n, err := r.readAt(b[:], r.off)
	if err == nil && n > 0 {
		err = &TamperedError{Frame: int64(r.chain.seq), Reason: "something follows the end"}
	}
	return err
}

// written is a tornError when nothing, or only a part of a frame, stands where its
// header was read. What is no frame either is left to whoever parses it.
func (r *frameReader) written(head []byte) error {
	for head[typeAt] == 0 {
		if len(r.ahead.text) > 0 {
			// It was read before something else was, and may be long there.
			r.ahead.text = r.ahead.text[:0]
			if _, err := r.readNow(head, r.off); err != nil {
				return err
			}
			continue
		}
		torn, unwritten, err := r.unwritten(head)
		if err != nil {
			return err
		}
		if unwritten {
			return &tornError{torn}
		}
		// What follows may have come since.
		was := [typeAt + 1]byte(head)
		if _, err := r.readNow(head, r.off); err != nil {
			return err
		}
		if [typeAt + 1]byte(head) == was {
			return nil
		}
	}
	return nil
}

// unwritten says whether nothing stands here, or a frame that was being copied when
// its writer died, and nothing after it; torn is how much of that frame there is.
// Its length was copied first, and its type would have been last.
func (r *frameReader) unwritten(head []byte) (torn int64, ok bool, err error) {
	most := int64(binary.BigEndian.Uint32(head))
	if most > 0 {
		most += frameHeader
	}
	if most > largestPut {
		return 0, false, nil
	}
	frame := make([]byte, most)
	n, err := r.readNow(frame, r.off)
	if err != nil {
		return 0, false, err
	}
	torn = int64(len(bytes.TrimRight(frame[:n], "\x00")))
	_, ok, err = r.zeros(r.off + most)
	return torn, ok, err
}

// zeros says whether nothing but zeros follows, and how many.
func (r *frameReader) zeros(off int64) (n int64, all bool, err error) {
	var b [4096]byte
	for {
		got, err := r.readNow(b[:], off+n)
		if err != nil {
			return n, false, err
		}
		if len(bytes.Trim(b[:got], "\x00")) > 0 {
			return n, false, nil
		}
		if n += int64(got); got < len(b) {
			return n, true, nil
		}
	}
}

// readAt reads as much of b as there is, or was when something before it was read.
func (r *frameReader) readAt(b []byte, off int64) (int, error) {
	a := &r.ahead
	if skip := off - a.at; skip >= 0 && skip+int64(len(b)) <= int64(len(a.text)) {
		return copy(b, a.text[skip:]), nil
	}
	if len(b) > readAhead/2 {
		return r.readNow(b, off)
	}
	full := len(a.text) == cap(a.text)
	if room := cap(a.text); room < 2*len(b) || full && room < readAhead {
		a.text = make([]byte, 0, min(max(firstAhead, 2*room, 2*len(b)), readAhead))
	}
	n, err := r.readNow(a.text[:cap(a.text)], off)
	a.at, a.text = off, a.text[:n]
	return copy(b, a.text), err
}

// readNow reads as much of b as there is; the end of the file is no error.
func (r *frameReader) readNow(b []byte, off int64) (int, error) {
	n, err := r.src.ReadAt(b, off)
	if n == len(b) || errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
