package recording

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
)

// The frame's layout; docs/recording-format.md, section "Frames".
const (
	frameHeader = 32
	typeAt      = 4 // in the header
	nonceSize   = 12
	tagSize     = 16
	// chunkSize bounds a frame's text, before compression.
	chunkSize = 256 << 10
	// maxBody bounds what follows a frame's header: text that doesn't shrink
	// is stored as it is.
	maxBody = chunkSize + tagSize
	endSize = 8 + sha256.Size
	// maxFrames keeps the number of nonces under one key far below what
	// AES-GCM allows.
	maxFrames = 1 << 32
)

// frameType says what a frame holds.
type frameType byte

const (
	frameText  frameType = 1 // JSON lines
	frameS2    frameType = 2 // JSON lines, compressed as one S2 block
	frameEnd   frameType = 3 // the terminator
	frameLike  frameType = 4 // JSON lines, compressed as one S2 block by the dictionary
	frameAdded frameType = 5 // likewise, and then a part of the dictionary
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chain is where a file's checksum chain stands: what the next frame follows.
type chain struct {
	sum [sha256.Size]byte
	seq uint64 // the next frame's number, from 0
}

// digest is the recording's, once the terminator is in the chain.
func (c *chain) digest() string { return fmt.Sprintf("sha256:%x", c.sum) }

// follow moves the chain past a frame: sum = SHA-256(sum ‖ frame).
func (c *chain) follow(frame []byte) {
	h := sha256.New()
	_, _ = h.Write(c.sum[:]) // a hash never returns an error
	_, _ = h.Write(frame)
	h.Sum(c.sum[:0])
	c.seq++
}

// newAEAD makes the cipher of one recording.
func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("the recording's key has %d bytes, not %d", len(key), keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sealer makes frames. Nonces are the sealer's random base with the frame's
// number mixed in, so that a file continued after a crash never repeats one.
type sealer struct {
	key   *[keySize]byte // aead's; nil: aead stays
	aead  cipher.AEAD    // nil: to be made of key
	chain chain
	base  [nonceSize]byte
	like  *dictionary // nil: each frame by itself
}

// sealWith has it seal with a key, of which it keeps a copy.
func (s *sealer) sealWith(key []byte) (err error) {
	if s.aead, err = newAEAD(key); err == nil {
		s.key = (*[keySize]byte)(bytes.Clone(key))
	}
	return err
}

// rest lets go of what the next frame can be made without: the cipher's tables take
// several hundred bytes.
func (s *sealer) rest() {
	if s.key != nil {
		s.aead = nil
	}
}

var errFull = errors.New("the recording has reached the number of frames that one key may seal")

// seal appends the frame for text to dst, which should have room for
// frameHeader + s2.MaxEncodedLen(len(text)) + tagSize, and moves the chain.
func (s *sealer) seal(dst []byte, kind frameType, text []byte) ([]byte, error) {
	if s.chain.seq >= maxFrames {
		return dst, errFull
	}
	if s.aead == nil {
		var err error
		if s.aead, err = newAEAD(s.key[:]); err != nil {
			return dst, err
		}
	}
	start := len(dst)
	dst = append(dst, make([]byte, frameHeader)...)
	body := len(dst)
	if kind == frameText {
		kind, text = s.pack(dst[body:body:cap(dst)], text)
	}
	dst = append(dst, text...) // onto itself when it was packed, unless dst was short
	head := dst[start:body]
	binary.BigEndian.PutUint32(head, uint32(len(dst)-body+tagSize))
	head[4] = byte(kind)
	binary.BigEndian.PutUint64(head[8:], s.chain.seq)
	nonce := head[16 : 16+nonceSize]
	copy(nonce, s.base[:])
	for i := range 8 {
		nonce[nonceSize-8+i] ^= head[8+i]
	}
	binary.BigEndian.PutUint32(head[28:], crc32.Checksum(head[:28], castagnoli))

	// The associated data stands behind the frame in the same buffer, so that
	// sealing allocates nothing.
	text = dst[body:]
	need := tagSize + frameHeader + sha256.Size
	if cap(dst)-len(dst) < need {
		dst = append(dst, make([]byte, need)...)[:len(dst)]
		head, text = dst[start:body], dst[body:]
		nonce = head[16 : 16+nonceSize]
	}
	ad := dst[len(dst)+tagSize : len(dst)+tagSize : cap(dst)]
	ad = append(ad, head...)
	ad = append(ad, s.chain.sum[:]...)
	sealed := s.aead.Seal(dst[body:body], nonce, text, ad)
	dst = dst[:body+len(sealed)]
	s.chain.follow(dst[start:])
	return dst, nil
}

// pack compresses lines if that makes them shorter; dst is where it may.
func (s *sealer) pack(dst, text []byte) (frameType, []byte) {
	if s.like != nil {
		if kind, packed := s.like.pack(dst, text); packed != nil {
			return kind, packed
		}
	}
	if len(text) >= minCompress {
		if packed := s2.Encode(dst, text); len(packed) < len(text) {
			return frameS2, packed
		}
	}
	return frameText, text
}

// minCompress is the length under which text isn't worth compressing.
const minCompress = 128

// end is the terminator's content.
func (s *sealer) end(events int64) []byte {
	b := make([]byte, 0, endSize)
	b = binary.BigEndian.AppendUint64(b, uint64(events))
	return append(b, s.chain.sum[:]...)
}

// frame is one frame as read: its header's fields, and the whole frame.
type frame struct {
	kind frameType
	seq  uint64
	raw  []byte
}

// parseFrameHeader checks what can be checked of a frame's header alone.
// It returns the length of the body.
func parseFrameHeader(head []byte, seq uint64) (kind frameType, body int, err error) {
	tampered := func(format string, args ...any) (frameType, int, error) {
		return 0, 0, &TamperedError{Frame: int64(seq), Reason: fmt.Sprintf(format, args...)}
	}
	if crc32.Checksum(head[:28], castagnoli) != binary.BigEndian.Uint32(head[28:]) {
		return tampered("its header is damaged")
	}
	if got := binary.BigEndian.Uint64(head[8:]); got != seq {
		return tampered("frame %d stands in its place", got)
	}
	if head[5] != 0 || head[6] != 0 || head[7] != 0 {
		return tampered("reserved bytes are set")
	}
	kind = frameType(head[4])
	n := binary.BigEndian.Uint32(head)
	switch {
	case kind < frameText || kind > frameAdded:
		return tampered("its type %d is unknown", kind)
	case n < tagSize || n > maxBody:
		return tampered("its length is out of bounds")
	}
	return kind, int(n), nil
}

// open decrypts a frame under a chain that stands before it.
func (f *frame) open(aead cipher.AEAD, before *chain) ([]byte, error) {
	head, body := f.raw[:frameHeader], f.raw[frameHeader:]
	ad := make([]byte, 0, frameHeader+sha256.Size)
	ad = append(append(ad, head...), before.sum[:]...)
	plain, err := aead.Open(nil, head[16:16+nonceSize], body, ad)
	if err != nil {
		return nil, f.tampered(errors.New("it is not what was written here"))
	}
	return plain, nil
}

// text decrypts a frame's lines, and moves the dictionary past it.
func (f *frame) text(aead cipher.AEAD, before *chain, like *dictionary) ([]byte, error) {
	plain, err := f.open(aead, before)
	if err != nil {
		return nil, err
	}
	if f.kind != frameText {
		if n, err := s2.DecodedLen(plain); err != nil || n > chunkSize {
			return nil, f.tampered(errTextLength)
		}
	}
	switch f.kind {
	case frameLike, frameAdded:
		text, err := like.unpack(f.kind, plain)
		if err != nil {
			return nil, f.tampered(err)
		}
		return text, nil
	case frameS2:
		if plain, err = s2.Decode(nil, plain); err != nil {
			return nil, f.tampered(errTextPacked)
		}
	}
	like.begin(plain)
	return plain, nil
}

func (f *frame) tampered(why error) error {
	return &TamperedError{Frame: int64(f.seq), Reason: why.Error()}
}
