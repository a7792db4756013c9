package mask

// leastEncoded is the shortest encoding that is looked into, in bytes.
const leastEncoded = 16

// decodeText appends the text that value encodes as a whole, in hexadecimal
// digits or in base64. It is not ok when value is no encoding, or not one of
// text: hashes and keys aren't.
func decodeText(dst, value []byte) (plain []byte, ok bool) {
	if len(value) < leastEncoded {
		return dst, false
	}
	digits := value
	if value[0] == '\\' && value[1] == 'x' || value[0] == '0' && value[1]|0x20 == 'x' {
		digits = value[2:]
	}
	if plain, ok = decodeHex(dst, digits); ok {
		return plain, true
	}
	return decodeBase64(dst, value)
}

// decodeHex stops at the first byte that text doesn't have.
func decodeHex(dst, digits []byte) ([]byte, bool) {
	if len(digits)%2 != 0 {
		return dst, false
	}
	for k := 0; k < len(digits); k += 2 {
		hi, lo := hexValue(digits[k]), hexValue(digits[k+1])
		if hi < 0 || lo < 0 || !textByte(byte(hi<<4|lo)) {
			return dst, false
		}
		dst = append(dst, byte(hi<<4|lo))
	}
	return dst, true
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

func textByte(c byte) bool { return c >= ' ' && c != 0x7f || c == '\n' || c == '\t' || c == '\r' }

// decodeBase64 reads either alphabet, with padding or without, in lines or in
// one piece. Text in ASCII encodes to a telling pattern, so that what isn't
// text is left after a few bytes.
func decodeBase64(dst, value []byte) ([]byte, bool) {
	var bits, n, high uint32
	begun := len(dst)
	for k, c := range value {
		v := base64Value[c]
		switch {
		case v < 64:
		case c == '=' && k+2 >= len(value):
			continue
		case c == '\n' || c == '\r':
			continue
		default:
			return dst, false
		}
		bits = bits<<6 | uint32(v)
		if n += 6; n >= 8 {
			n -= 8
			b := byte(bits >> n)
			if !textByte(b) {
				return dst, false
			}
			if b >= 0x80 {
				high++
			}
			dst = append(dst, b)
		}
	}
	// Random bytes that pass for text have many beyond ASCII.
	return dst, len(dst)-begun >= leastEncoded/2 && int(high)*4 < len(dst)-begun
}

var base64Value = func() (t [256]uint8) {
	for c := range t {
		t[c] = 64
	}
	const standard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for k := range len(standard) {
		t[standard[k]] = uint8(k)
	}
	t['-'], t['_'] = t['+'], t['/']
	return t
}()
