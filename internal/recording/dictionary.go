package recording

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/s2"
)

const (
	// A dictionary's bounds; docs/recording-format.md, section "Dictionaries".
	minDictionary = s2.MinDictSize
	maxDictionary = 16 << 10
	// largestLike bounds the texts that are compressed by a dictionary: a longer one has
	// enough in itself that is repeated.
	largestLike = 4 << 10
	// busyEnough is how many frames within flushWithin make a dictionary worth its
	// memory, of some ten KiB.
	busyEnough = 16
	// groupFrames is how many frames are compressed by one dictionary: whoever reads
	// on from a place within a recording reads at most as many again.
	groupFrames = 128
)

// dictionary is the text by which the frames that follow it are compressed: that of
// the frame which it began with, and of those that were unlike it. Commands of one
// session are much the same, but one has too little in it to be compressed by itself.
//
// Its writer compresses by own code, into what [s2.Dict] reads: that package's
// encoder finds what is repeated within a text as well, with 64 KiB of the stack and
// 32 KiB of the heap for each session, and takes twice as long.
type dictionary struct {
	text   []byte // behind a zero, as S2 has it: the first repeat is of its beginning
	frames int    // that were compressed by it

	places  *places  // of text, for who writes; nil: not looked for yet
	placed  int      // how much of text they are of
	decoder *s2.Dict // of text, for who reads; nil: not made yet
}

// begin makes a frame's text the dictionary of what follows it, if its size is one
// for that.
func (d *dictionary) begin(text []byte) {
	*d = dictionary{text: d.text[:0], places: d.places}
	if len(text) >= minDictionary && len(text) <= maxDictionary {
		d.text = append(append(d.text, 0), text...)
	}
}

// add adds a frame's text, or says that it doesn't fit.
func (d *dictionary) add(text []byte) bool {
	if len(d.text)-1+len(text) > maxDictionary {
		return false
	}
	d.text = append(slices.Grow(d.text, len(text)+16), text...) // a decoder wants some room
	d.decoder = nil
	return true
}

// pack compresses a frame's text, or returns nil: that frame begins a dictionary.
func (d *dictionary) pack(dst, text []byte) (frameType, []byte) {
	if len(d.text) == 0 || len(text) > largestLike || d.frames == groupFrames {
		d.begin(text)
		return frameText, nil
	}
	d.frames++
	packed := d.encode(dst, text)
	if len(packed) > len(text)/3 && d.add(text) {
		return frameAdded, packed
	}
	return frameLike, packed
}

// unpack is the text of a frame of type frameLike or frameAdded, whose length is
// known to be one that a frame may have.
func (d *dictionary) unpack(kind frameType, packed []byte) ([]byte, error) {
	if len(d.text) == 0 {
		return nil, errNoDictionary
	}
	if d.decoder == nil {
		d.decoder = s2.NewDict(d.text)
	}
	text, err := d.decoder.Decode(nil, packed)
	if err != nil {
		return nil, errTextPacked
	}
	if kind == frameAdded && !d.add(text) {
		return nil, errDictionarySize
	}
	return text, nil
}

// Why a frame's content isn't its text.
var (
	errTextLength     = errors.New("its text has no valid length")
	errTextPacked     = errors.New("its text can't be decompressed")
	errNoDictionary   = errors.New("it is compressed by a text that isn't there")
	errDictionarySize = errors.New("it adds more to a dictionary than that holds")
)

// places are where in a dictionary so many bytes stand, by their hash.
type places [1 << 12]uint16

const placeSize = 8

func (p *places) of(next uint64) *uint16 {
	return &p[next*0x9e3779b97f4a7c15>>(64-12)]
}

// encode appends text as one S2 block. All that it copies is in the dictionary.
func (d *dictionary) encode(dst, text []byte) []byte {
	d.place()
	dict := d.text[1:]
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	done, last := 0, len(dict) // up to where text is encoded, and the offset of the copy before
	for i := 0; i+placeSize <= len(text); {
		next := binary.LittleEndian.Uint64(text[i:])
		at := int(*d.places.of(next))
		if next != binary.LittleEndian.Uint64(dict[at:]) {
			i += 1 + (i-done)>>5
			continue
		}
		for i > done && at > 0 && text[i-1] == dict[at-1] {
			i, at = i-1, at-1
		}
		n := same(text[i:], dict[at:])
		dst = appendLiteral(dst, text[done:i])
		offset := i + len(dict) - at
		dst = appendCopy(dst, offset, n, offset == last)
		i += n
		done, last = i, offset
	}
	return appendLiteral(dst, text[done:])
}

// place looks for what was added since.
func (d *dictionary) place() {
	if d.places == nil {
		d.places = &places{}
	} else if d.placed == 0 {
		clear(d.places[:])
	}
	dict := d.text[1:]
	for ; d.placed+placeSize <= len(dict); d.placed++ {
		*d.places.of(binary.LittleEndian.Uint64(dict[d.placed:])) = uint16(d.placed)
	}
}

// same is how many bytes a and b begin with that are the same.
func same(a, b []byte) int {
	n := 0
	for n+8 <= len(a) && n+8 <= len(b) {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// S2's elements, of https://github.com/klauspost/compress/blob/master/s2/README.md
// and https://github.com/google/snappy/blob/main/format_description.txt.
const (
	s2Literal = 0
	s2Copy1   = 1 // of the offset 0: a repeat
	s2Copy2   = 2
)

// appendLiteral appends text as it is; it has at most 64 KiB.
func appendLiteral(dst, text []byte) []byte {
	switch n := len(text) - 1; {
	case n < 0:
		return dst
	case n < 60:
		dst = append(dst, byte(n)<<2|s2Literal)
	case n < 1<<8:
		dst = append(dst, 60<<2|s2Literal, byte(n))
	default:
		dst = append(dst, 61<<2|s2Literal, byte(n), byte(n>>8))
	}
	return append(dst, text...)
}

// appendCopy appends n bytes, of 8 to 64 KiB, as they are at an offset of at most
// 64 KiB, which is that of the copy before when they go on with it.
func appendCopy(dst []byte, offset, n int, goesOn bool) []byte {
	if !goesOn {
		first := min(n, 64)
		if rest := n - first; rest > 0 && rest < 4 {
			first -= 4 // a repeat is of 4 at least
		}
		dst = append(dst, byte(first-1)<<2|s2Copy2, byte(offset), byte(offset>>8))
		n -= first
	}
	switch n -= 4; {
	case n < 0:
	case n < 5:
		dst = append(dst, byte(n)<<2|s2Copy1, 0)
	case n < 4+1<<8:
		dst = append(dst, 5<<2|s2Copy1, 0, byte(n-4))
	default:
		dst = append(dst, 6<<2|s2Copy1, 0, byte(n-1<<8), byte((n-1<<8)>>8))
	}
	return dst
}
