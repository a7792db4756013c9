package detect

import "crypto/sha256"

const (
	base58  = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	bech32  = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	maxCoin = 90
)

// bitcoin says whether the word text[i:j] is a Bitcoin address, by its
// checksum. It returns the end, or 0.
func (p *pass) bitcoin(i, j int) int {
	b := p.text[i:j]
	if len(b) < 26 || len(b) > maxCoin {
		return 0
	}
	switch {
	case (b[0] == '1' || b[0] == '3') && len(b) <= 35 && validBase58(b):
		return j
	case hasFold(b, 0, "bc1") && validBech32(b[3:]):
		return j
	}
	return 0
}

// validBase58 decodes 25 bytes, of which the last four are the beginning of
// the others' hash.
func validBase58(b []byte) bool {
	var out [25]byte
	for _, c := range b {
		v := -1
		for k := range len(base58) {
			if base58[k] == c {
				v = k
				break
			}
		}
		if v < 0 {
			return false
		}
		for k := len(out) - 1; k >= 0; k-- {
			v += int(out[k]) * 58
			out[k] = byte(v)
			v >>= 8
		}
		if v != 0 {
			return false
		}
	}
	first := sha256.Sum256(out[:21])
	second := sha256.Sum256(first[:])
	return string(out[21:]) == string(second[:4])
}

// validBech32 checks what follows bc1, as BIP 173 and BIP 350 have it.
func validBech32(b []byte) bool {
	sum := uint32(1)
	step := func(v uint32) {
		top := sum >> 25
		sum = sum&0x1ffffff<<5 ^ v
		for k, g := range [...]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>k&1 == 1 {
				sum ^= g
			}
		}
	}
	for _, v := range [...]uint32{'b' >> 5, 'c' >> 5, 0, 'b' & 31, 'c' & 31} {
		step(v)
	}
	for _, c := range b {
		v := -1
		for k := range len(bech32) {
			if bech32[k] == lower(c) {
				v = k
				break
			}
		}
		if v < 0 {
			return false
		}
		step(uint32(v))
	}
	return sum == 1 || sum == 0x2bc830a3
}
