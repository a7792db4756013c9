package mask

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// hashLen is how much of a hash is shown, in bytes: enough that no two values
// of one database meet.
const hashLen = 16

// hasher hashes values with a key, so that equal values stay equal and nobody
// without the key can find a value by trying. It is not safe for concurrent use.
type hasher struct {
	key []byte
	mac hash.Hash
	sum [sha256.Size]byte
}

// of is the hash of value. Without a key there is none: an unkeyed hash of a
// card number is as good as the number.
func (h *hasher) of(value []byte) (sum []byte, ok bool) {
	if len(h.key) == 0 {
		return nil, false
	}
	if h.mac == nil {
		h.mac = hmac.New(sha256.New, h.key)
	}
	h.mac.Reset()
	_, _ = h.mac.Write(value) // a hash never returns an error
	return h.mac.Sum(h.sum[:0])[:hashLen], true
}

// appendText appends the hash of value as 32 hexadecimal digits, or a
// redaction when there is no key.
func (h *hasher) appendText(dst, value []byte) []byte {
	sum, ok := h.of(value)
	if !ok {
		return append(dst, Redacted...)
	}
	return hex.AppendEncode(dst, sum)
}
