package mask

import (
	"bytes"
	"slices"

	"postern"
	"postern/internal/mask/detect"
)

// Terminal masks what a program prints, which comes in pieces, for a person or
// a program that reads it meanwhile. What stands on the screen counts, not the
// bytes that put it there: colours, backspaces and repetitions inside of a value
// don't hide it, and stay as they are around it.
//
// A value that is split over pieces is found all the same, because what isn't
// finished is held back. How long is up to the caller: [Terminal.Settle] lets
// go, when nothing has come for a moment, what can't be the beginning of a
// value, and [Terminal.Yield], after a longer while, all else, or a redaction.
// It is not safe for concurrent use.
type Terminal struct {
	content *content
	hasher  hasher
	strict  *Stream // set when a detector is unknown: nothing but line ends passes

	scan  sequence
	raw   []byte // held back, as it came
	plain []byte // what raw shows, after plain[:done], which is out
	at    []int  // where in raw each byte of plain[done:] begins
	done  int

	run    int  // how long the last word is, with what of it is out
	credit int  // bytes that may pass at once: the echo of what a person types
	muted  bool // what goes on a redacted value is dropped, up to a boundary
	spans  []detect.Span
	hits   int
}

// Terminal returns nil when no mask looks at content.
func (p *Plan) Terminal() *Terminal {
	if p.content == nil {
		return nil
	}
	t := &Terminal{content: p.content, hasher: hasher{key: p.key}}
	if p.content.everything != noStyle {
		t.strict = p.Stream()
	}
	return t
}

// NewTerminal returns nil when no mask looks at content.
func NewTerminal(masks []postern.Mask, key []byte) *Terminal { return NewPlan(masks, key).Terminal() }

// Typed tells of keys that a person pressed: their echo is nobody's secret, and
// must not wait. A line's end takes back what is left of that.
func (t *Terminal) Typed(keys []byte) {
	const completion = 64 // what a key such as Tab may bring up
	for _, k := range keys {
		switch {
		case k == '\r' || k == '\n':
			t.credit = 0
		case k < ' ' || k == 0x7f:
			t.credit += completion
		default:
			t.credit++
		}
	}
	t.credit = min(t.credit, 4096)
}

// Write takes the next piece and appends to dst what can be let go, masked.
func (t *Terminal) Write(dst, chunk []byte) []byte {
	if t.strict != nil {
		return t.strict.Write(dst, chunk)
	}
	for len(chunk) > 0 {
		// A piece of any size passes through a buffer that stays small.
		n := min(len(chunk), detect.MaxPEM)
		t.take(chunk[:n])
		chunk = chunk[n:]
		if cut := t.lineEnd(); cut > t.done {
			dst = t.release(dst, cut)
		}
	}
	if held := len(t.plain) - t.done; held > 0 && held <= t.credit {
		t.credit -= held
		dst = t.release(dst, len(t.plain))
	}
	if len(t.plain) == t.done {
		dst = t.bare(dst)
	}
	return dst
}

// Settle appends what was held back and can't be the beginning of a value.
// Call it when nothing has come for a moment.
func (t *Terminal) Settle(dst []byte) []byte {
	if t.strict != nil {
		return dst
	}
	tail := t.tail()
	word := t.word(tail)
	if len(word) < 4 || prompts(word) && !suspicious(word, t.plain[:tail]) {
		tail = len(t.plain)
	}
	if tail > t.done {
		dst = t.release(dst, tail)
	}
	return dst
}

// Yield appends all that was held back, for a reader that may wait for it: but
// a redaction in place of what looks like the beginning of a value. Call it
// when nothing has come for so long that nothing more is to be expected.
func (t *Terminal) Yield(dst []byte) []byte {
	if t.strict != nil {
		return dst
	}
	dst = t.Settle(dst)
	tail := t.tail()
	if tail == len(t.plain) || t.run > detect.MaxValue || !suspicious(t.word(tail), t.plain[:tail]) {
		// No value is as long as that, or it doesn't begin like one.
		return t.release(dst, len(t.plain))
	}
	if t.spans = t.content.scanner.Scan(t.spans[:0], t.plain); len(t.spans) > 0 && t.spans[len(t.spans)-1].End == len(t.plain) {
		return t.release(dst, len(t.plain)) // it is whole, as far as it goes
	}
	dst = append(dst, Redacted...)
	t.hits++
	dst = t.sequences(dst, t.raw[:t.scan.start(len(t.raw))])
	t.drop(len(t.plain))
	t.muted = true
	return dst
}

// Flush appends what was held back, masked: the text has ended.
func (t *Terminal) Flush(dst []byte) []byte {
	if t.strict != nil {
		return t.strict.Flush(dst)
	}
	dst = t.release(dst, len(t.plain))
	dst = append(dst, t.raw...) // a sequence that has no end
	t.raw = t.raw[:0]
	return dst
}

// Hits counts the values replaced so far.
func (t *Terminal) Hits() int {
	if t.strict != nil {
		return t.strict.Hits()
	}
	return t.hits
}

// Held says how many bytes are held back.
func (t *Terminal) Held() int {
	if t.strict != nil {
		return t.strict.Held()
	}
	return len(t.raw)
}

// take adds bytes, and what they show.
func (t *Terminal) take(chunk []byte) {
	for _, b := range chunk {
		i := len(t.raw)
		t.raw = append(t.raw, b)
		show, n := t.scan.next(b, i)
		switch {
		case show == eraseLast:
			t.erase()
		case show == repeatLast:
			if len(t.plain) > 0 {
				t.show(t.plain[len(t.plain)-1], t.scan.from, n)
			}
		case show != nothing:
			t.show(byte(show), t.scan.from, n)
		}
	}
}

func (t *Terminal) show(b byte, from, times int) {
	if t.muted {
		if !boundary(b) {
			// It goes on what was redacted: the bytes go with it.
			t.raw = t.raw[:from]
			return
		}
		t.muted = false
	}
	if t.run += times; boundary(b) {
		t.run = 0
	}
	for range times {
		t.plain = append(t.plain, b)
		t.at = append(t.at, from)
	}
}

// erase takes the last character off the screen, if it is still here.
func (t *Terminal) erase() {
	for len(t.plain) > t.done {
		b := t.plain[len(t.plain)-1]
		if b == '\n' || b == '\r' {
			return
		}
		t.plain, t.at = t.plain[:len(t.plain)-1], t.at[:len(t.at)-1]
		if b < 0x80 || b >= 0xc0 {
			return
		}
	}
}

func boundary(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' }

// lineEnd is the end of what later pieces can't change any more.
func (t *Terminal) lineEnd() int {
	held := t.plain[t.done:]
	cut := t.done + bytes.LastIndexAny(held, "\n\r") + 1
	if begin := unfinishedKey(held); begin >= 0 && len(held)-begin < detect.MaxPEM {
		return min(cut, t.done+begin)
	}
	if len(t.plain)-cut > streamHold || len(t.raw) > 4*streamHold {
		cut = len(t.plain) - min(streamHold/2, len(held)/2)
		if space := bytes.LastIndexAny(t.plain[t.done:cut], " \t"); space >= 0 {
			cut = t.done + space + 1
		}
	}
	return cut
}

// tail is where the last word begins, which may go on. Groups of digits belong
// together: a card's number is one word.
func (t *Terminal) tail() int {
	i := len(t.plain)
	for i > t.done && !boundary(t.plain[i-1]) {
		i--
	}
	for i-1 > t.done && (t.plain[i-1] == ' ' || t.plain[i-1] == '-') && digit(t.plain[i-2]) {
		for i--; i > t.done && (digit(t.plain[i-1]) || t.plain[i-1] == '-'); {
			i--
		}
	}
	if begin := unfinishedKey(t.plain[t.done:]); begin >= 0 {
		i = min(i, t.done+begin)
	}
	return i
}

// word is the last word with its beginning, which may be out already.
func (t *Terminal) word(tail int) []byte {
	i := tail
	for tail == t.done && i > 0 && !boundary(t.plain[i-1]) {
		i--
	}
	return t.plain[i:]
}

func digit(b byte) bool { return '0' <= b && b <= '9' }

// prompts says whether a word is what a program prints before it waits for somebody.
func prompts(word []byte) bool {
	return len(word) > 0 && bytes.IndexByte([]byte(":>$#?%])"), word[len(word)-1]) >= 0
}

// suspicious says whether a word may be the beginning of a value. It errs on
// that side.
func suspicious(word, before []byte) bool {
	if len(word) == 0 {
		return false
	}
	digits, letters := 0, 0
	for _, b := range word {
		switch {
		case b < ' ' || b > '~':
			return false // no text
		case digit(b):
			digits++
		case b|0x20 >= 'a' && b|0x20 <= 'z':
			letters++
		}
	}
	switch {
	case digits >= 8, len(word) >= 24, letters > 0 && digits > 1 && len(word) >= 8, bytes.IndexByte(word, '@') > 0:
		return true
	}
	for _, prefix := range []string{"AKIA", "ASIA", "ghp_", "gho_", "ghs_", "github_pat", "glpat-", "xox", "sk-", "sk_", "eyJ", "AIza", "hvs.", "npm_", "-----BEGIN", "://"} {
		if bytes.Contains(word, []byte(prefix)) {
			return true
		}
	}
	label := bytes.ToLower(before[max(0, len(before)-40):])
	if line := bytes.LastIndexAny(label, "\n\r"); line >= 0 {
		label = label[line+1:]
	}
	label = append(label, bytes.ToLower(word)...)
	for _, name := range []string{"passw", "secret", "token", "api", "key", "pwd", "auth", "bearer", "credential"} {
		i := bytes.LastIndex(label, []byte(name))
		if i < 0 {
			continue
		}
		rest := label[i+len(name):]
		if sep := bytes.IndexAny(rest, "=: "); sep >= 0 && len(bytes.TrimLeft(rest[sep:], "=: \"'")) > 0 {
			return true // a value has begun
		}
	}
	return false
}

// release appends what plain shows up to end, masked, and drops what nothing
// needs any more.
func (t *Terminal) release(dst []byte, end int) []byte {
	if end <= t.done {
		return dst
	}
	t.spans = t.content.scanner.Scan(t.spans[:0], t.plain)
	end = t.uncut(end)
	if end <= t.done {
		return dst
	}
	at := 0 // in raw
	for _, span := range t.spans {
		if span.End <= t.done || span.Start >= end {
			continue
		}
		start, stop := max(span.Start, t.done), min(span.End, end)
		from, to := t.rawIndex(start), t.rawIndex(stop)
		if from > at {
			dst = append(dst, t.raw[at:from]...)
		}
		value := t.plain[start:stop]
		dst = t.content.replace(dst, value, []detect.Span{{Start: 0, End: len(value), Entity: span.Entity}}, &t.hasher)
		dst = t.sequences(dst, t.raw[from:max(to, from)])
		t.hits++
		at = max(at, to)
	}
	if to := t.rawIndex(end); to > at {
		dst = append(dst, t.raw[at:to]...)
	}
	t.drop(end)
	return dst
}

// uncut moves end before a value that lies across it.
func (t *Terminal) uncut(end int) int {
	if end == len(t.plain) {
		return end
	}
	for _, span := range t.spans {
		if span.Start < end && span.End > end {
			if len(t.plain)-span.Start > detect.MaxPEM {
				return span.End
			}
			return max(span.Start, t.done)
		}
	}
	return end
}

// rawIndex is where in raw the byte of plain begins; at its end, where an
// unfinished sequence does.
func (t *Terminal) rawIndex(plain int) int {
	if plain < len(t.plain) {
		return t.at[plain-t.done]
	}
	return t.scan.start(len(t.raw))
}

// drop forgets what is out, but for what explains what comes next.
func (t *Terminal) drop(end int) {
	to := t.rawIndex(end)
	n := copy(t.raw, t.raw[to:])
	t.raw = t.raw[:n]
	t.scan.move(to)
	n = copy(t.at, t.at[end-t.done:])
	t.at = t.at[:n]
	for i := range t.at {
		t.at[i] -= to
	}
	t.done = end
	if drop := t.done - streamBehind; drop > streamBehind {
		t.plain = slices.Delete(t.plain, 0, drop)
		t.done -= drop
	}
}

// bare appends sequences that nothing visible follows yet: a colour, a
// cleared screen.
func (t *Terminal) bare(dst []byte) []byte {
	to := t.scan.start(len(t.raw))
	dst = append(dst, t.raw[:to]...)
	n := copy(t.raw, t.raw[to:])
	t.raw = t.raw[:n]
	t.scan.move(to)
	return dst
}

// sequences appends the control sequences of raw alone.
func (t *Terminal) sequences(dst, raw []byte) []byte {
	var s sequence
	begin := -1
	for i, b := range raw {
		show, _ := s.next(b, i)
		inside := s.state != inText
		switch {
		case inside && begin < 0:
			begin = i
		case !inside && begin >= 0:
			if show == nothing && b == 'm' {
				dst = append(dst, raw[begin:i+1]...)
			}
			begin = -1
		}
	}
	return dst
}
