package mask

import (
	"bytes"

	"postern"
	"postern/internal/mask/detect"
)

const (
	// streamHold is how much of a line without an end is held back at most.
	streamHold = detect.MaxValue
	// streamBehind is how much of what was let go is kept, to explain what
	// comes after it.
	streamBehind = 256
)

// Stream masks text that comes in pieces, such as a terminal's output. A value
// that is split over pieces is found all the same: the line that isn't
// finished yet is held back, up to a bound; a private key, which spans lines,
// up to a larger one. It is not safe for concurrent use.
type Stream struct {
	content *content
	hasher  hasher
	buf     []byte // buf[:done] is out already
	done    int
	spans   []detect.Span
	hits    int
}

// NewStream returns nil when no mask looks at content.
func NewStream(masks []postern.Mask, key []byte) *Stream {
	return NewPlan(masks, key).Stream()
}

// Write takes the next piece and appends to dst what can be let go, masked.
func (s *Stream) Write(dst, chunk []byte) []byte {
	if s.content.everything != noStyle {
		return s.redactAll(dst, chunk)
	}
	for len(chunk) > 0 {
		// A piece of any size passes through a buffer that stays small.
		n := min(len(chunk), 2*detect.MaxPEM)
		s.buf = append(s.buf, chunk[:n]...)
		chunk = chunk[n:]
		if cut := s.lineEnd(); cut > s.done {
			s.spans = s.content.scanner.Scan(s.spans[:0], s.buf)
			dst = s.release(dst, s.uncut(cut))
		}
	}
	return dst
}

// Flush appends what was held back, masked. Call it when the text ends, or when
// it has been quiet for so long that a person waits for what is held.
func (s *Stream) Flush(dst []byte) []byte {
	if len(s.buf) == s.done {
		return dst
	}
	s.spans = s.content.scanner.Scan(s.spans[:0], s.buf)
	return s.release(dst, len(s.buf))
}

// Hits counts the values replaced so far.
func (s *Stream) Hits() int { return s.hits }

// Held says how many bytes are held back.
func (s *Stream) Held() int { return len(s.buf) - s.done }

// redactAll lets nothing go but line ends: a detector is unknown.
func (s *Stream) redactAll(dst, chunk []byte) []byte {
	for line := range bytes.Lines(chunk) {
		if text := bytes.TrimRight(line, "\r\n"); len(text) > 0 {
			dst = append(dst, Redacted...)
			s.hits++
		}
		dst = append(dst, line[len(bytes.TrimRight(line, "\r\n")):]...)
	}
	return dst
}

// lineEnd is the end of what later pieces can't change any more, but for a
// value that lies across it.
func (s *Stream) lineEnd() int {
	held := s.buf[s.done:]
	cut := s.done + bytes.LastIndexByte(held, '\n') + 1
	if begin := unfinishedKey(held); begin >= 0 && len(held)-begin < detect.MaxPEM {
		return min(cut, s.done+begin)
	}
	if len(s.buf)-cut > streamHold {
		// A line without an end: let go what is beyond half the bound, up to
		// a space.
		cut = len(s.buf) - streamHold/2
		if space := bytes.LastIndexAny(s.buf[s.done:cut], " \t"); space >= 0 {
			cut = s.done + space + 1
		}
	}
	return cut
}

// uncut moves cut before a value that lies across it.
func (s *Stream) uncut(cut int) int {
	for _, span := range s.spans {
		if span.Start < cut && span.End > cut {
			if len(s.buf)-span.Start > detect.MaxPEM {
				return span.End
			}
			return max(span.Start, s.done)
		}
	}
	return cut
}

var keyBegin, keyEnd = []byte("-----BEGIN "), []byte("-----END ")

// unfinishedKey is where a key in PEM form begins in text that doesn't end in
// it, or could begin in its last bytes; -1 when none does.
func unfinishedKey(text []byte) int {
	begin := bytes.LastIndex(text, keyBegin)
	if begin < 0 {
		return -1
	}
	if end := bytes.Index(text[begin:], keyEnd); end >= 0 && bytes.IndexByte(text[begin+end:], '\n') >= 0 {
		return -1
	}
	return begin
}

// release appends buf[done:end] masked, and drops what nothing needs any more.
func (s *Stream) release(dst []byte, end int) []byte {
	begin := s.done
	k := 0
	for _, span := range s.spans {
		if span.Start >= begin && span.End <= end {
			span.Start -= begin
			span.End -= begin
			s.spans[k] = span
			k++
		} else if span.End > begin && span.Start < end {
			// Part of it is out, or not due yet: the part here goes whole.
			s.spans[k] = detect.Span{Start: max(span.Start-begin, 0), End: min(span.End, end) - begin, Entity: span.Entity}
			k++
		}
	}
	dst = s.content.replace(dst, s.buf[begin:end], s.spans[:k], &s.hasher)
	s.hits += k
	s.done = end
	if drop := s.done - streamBehind; drop > streamBehind {
		n := copy(s.buf, s.buf[drop:])
		s.buf = s.buf[:n]
		s.done -= drop
	}
	return dst
}
