package recording

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// The header's layout; docs/recording-format.md, section "Header".
const (
	magic         = "PREC\r\n\x1a\n"
	version       = 2 // what is written
	oldest        = 1 // of what is read; it has no dictionaries
	saltSize      = 16
	keySize       = 32
	fixedHeader   = len(magic) + 2 + saltSize + 8 + 1 // up to the session id
	maxID         = 64
	maxWrappedKey = 4096
)

// header is what a file begins with. The wrapped key is no part of what the
// chain starts from, so that it can be wrapped anew, or destroyed, without
// changing the recording's digest.
type header struct {
	version uint16
	salt    [saltSize]byte
	created time.Time
	id      string
	wrapped []byte // all zero: destroyed
}

// bound is the part of the header that the chain starts from, and that the
// wrapped key is bound to.
func (h *header) bound() []byte {
	b := make([]byte, 0, fixedHeader+len(h.id)+2+len(h.wrapped))
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, h.version)
	b = append(b, h.salt[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.created.UnixNano()))
	b = append(b, byte(len(h.id)))
	return append(b, h.id...)
}

// bytes is the whole header.
func (h *header) bytes() []byte {
	b := h.bound()
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.wrapped)))
	return append(b, h.wrapped...)
}

// size is the length of the whole header.
func (h *header) size() int64 {
	return int64(fixedHeader + len(h.id) + 2 + len(h.wrapped))
}

// chain is what the first frame follows.
func (h *header) chain() [sha256.Size]byte { return sha256.Sum256(h.bound()) }

// shredded says whether the key was destroyed.
func (h *header) shredded() bool {
	return len(bytes.Trim(h.wrapped, "\x00")) == 0
}

// errShortHeader says that a file ends within its header.
var errShortHeader = errors.New("the file ends within its header")

func readHeader(src io.ReaderAt) (*header, error) {
	var fixed [fixedHeader]byte
	if err := readHeaderAt(src, fixed[:], 0); err != nil {
		return nil, err
	}
	rest := fixed[:]
	if !bytes.HasPrefix(rest, []byte(magic)) {
		return nil, &TamperedError{Reason: "the file doesn't begin as a recording does"}
	}
	rest = rest[len(magic):]
	v := binary.BigEndian.Uint16(rest)
	if v < oldest || v > version {
		return nil, fmt.Errorf("the recording has format version %d; this program reads %d to %d", v, oldest, version)
	}
	rest = rest[2:]
	h := &header{version: v, salt: [saltSize]byte(rest)}
	rest = rest[saltSize:]
	h.created = time.Unix(0, int64(binary.BigEndian.Uint64(rest))).UTC()
	id := make([]byte, int(rest[8])+2)
	if err := readHeaderAt(src, id, int64(fixedHeader)); err != nil {
		return nil, err
	}
	h.id = string(id[:len(id)-2])
	if !validID(h.id) {
		return nil, &TamperedError{Reason: "the header names no session"}
	}
	size := int(binary.BigEndian.Uint16(id[len(id)-2:]))
	if size == 0 || size > maxWrappedKey {
		return nil, &TamperedError{Reason: "the header holds no key"}
	}
	h.wrapped = make([]byte, size)
	if err := readHeaderAt(src, h.wrapped, int64(fixedHeader+len(id))); err != nil {
		return nil, err
	}
	return h, nil
}

func readHeaderAt(src io.ReaderAt, b []byte, off int64) error {
	n, err := src.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return errShortHeader
	default:
		return err
	}
}

// validID says whether id is a session's, and so is safe as a file's name.
func validID(id string) bool {
	if !strings.HasPrefix(id, "ss_") || len(id) < 4 || len(id) > maxID {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
