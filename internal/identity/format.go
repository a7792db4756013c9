package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"postern"
)

// The form of a secret that the gateway mints, which secret scanners can find
// and verify without asking: a prefix, 40 random base62 characters (238 bits),
// and 6 base62 characters that are the CRC-32 (IEEE) of all before them.
const (
	servicePrefix = "postern_sk_"
	sessionPrefix = "postern_st_"
	loginPrefix   = "postern_lt_"
	webPrefix     = "postern_wt_"
	refreshPrefix = "postern_rt_"
	devicePrefix  = "postern_dc_"
	codePrefix    = "postern_ac_"

	randomLen   = 40
	checksumLen = 6
	// maxSecret bounds what is hashed.
	maxSecret = 4096

	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// mint makes a new secret.
func mint(random io.Reader, prefix string) (postern.Secret, error) {
	body, err := randomFrom(random, base62, randomLen)
	if err != nil {
		return postern.Secret{}, fmt.Errorf("mint a secret: %w", err)
	}
	text := prefix + body
	return postern.NewSecret(text + checksum(text)), nil
}

// randomFrom is n random characters of an alphabet of up to 128.
func randomFrom(random io.Reader, alphabet string, n int) (string, error) {
	text := make([]byte, 0, n)
	// From the largest multiple of its length in a byte on, some characters
	// would come more often.
	limit := 256 - 256%len(alphabet)
	var b [64]byte
	for len(text) < n {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", err
		}
		for _, c := range b {
			if int(c) < limit && len(text) < n {
				text = append(text, alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return string(text), nil
}

func checksum(text string) string {
	n := crc32.ChecksumIEEE([]byte(text))
	var out [checksumLen]byte
	for i := range out {
		out[checksumLen-1-i] = base62[n%62]
		n /= 62
	}
	return string(out[:])
}

// wellFormed says whether text is a secret with this prefix, as mint makes them.
func wellFormed(text, prefix string) bool {
	body, ok := strings.CutPrefix(text, prefix)
	if !ok || len(body) != randomLen+checksumLen {
		return false
	}
	for i := range len(body) {
		if strings.IndexByte(base62, body[i]) < 0 {
			return false
		}
	}
	return checksum(text[:len(prefix)+randomLen]) == body[randomLen:]
}

// digest is how a secret is kept. It has enough entropy of its own, so that no
// slow hash is needed.
func digest(secret postern.Secret) string {
	sum := sha256.Sum256([]byte(secret.Reveal()))
	return hex.EncodeToString(sum[:])
}

// newID makes an identifier of 120 random bits.
func newID(random io.Reader, prefix string) (string, error) {
	var b [15]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return prefix + hex.EncodeToString(b[:]), nil
}
