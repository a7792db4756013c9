package detect

// Features of bytes, as bits, for loops that gather what a word is made of.
const (
	fLower uint16 = 1 << iota
	fUpper
	fDigit
	fHex
	fUnder
	fHigh   // beyond ASCII
	fSecret // may be inside an unquoted secret: letters, digits and _-.+/=~
	fLocal  // may be in the local part of an e-mail address
	fName   // may be in a name: letters, digits and _-.
)

const fAlnum = fLower | fUpper | fDigit

var features = func() (t [256]uint16) {
	for c := range 256 {
		b := byte(c)
		switch {
		case b >= 'a' && b <= 'z':
			t[c] = fLower | fSecret | fLocal
		case b >= 'A' && b <= 'Z':
			t[c] = fUpper | fSecret | fLocal
		case b >= '0' && b <= '9':
			t[c] = fDigit | fHex | fSecret | fLocal
		case b >= 0x80:
			t[c] = fHigh | fLocal
		}
		if b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F' {
			t[c] |= fHex
		}
	}
	for _, b := range []byte("_-.+/=~") {
		t[b] |= fSecret
	}
	t['_'] |= fUnder
	for c := range 256 {
		if t[c]&fAlnum != 0 || c == '_' || c == '-' || c == '.' {
			t[c] |= fName
		}
	}
	for _, b := range []byte("!#$%&'*+-/=?^_`{|}~.") {
		t[b] |= fLocal
	}
	return t
}()

func isDigit(c byte) bool  { return c-'0' <= 9 }
func isLower(c byte) bool  { return c-'a' <= 'z'-'a' }
func isUpper(c byte) bool  { return c-'A' <= 'Z'-'A' }
func isLetter(c byte) bool { return (c|0x20)-'a' <= 'z'-'a' }
func isAlnum(c byte) bool  { return features[c]&fAlnum != 0 }
func isHex(c byte) bool    { return features[c]&fHex != 0 }
func isSpace(c byte) bool  { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func upper(c byte) byte {
	if isLower(c) {
		return c - 0x20
	}
	return c
}

func lower(c byte) byte {
	if isUpper(c) {
		return c + 0x20
	}
	return c
}

// at is text[i], or 0 beyond either end.
func (p *pass) at(i int) byte {
	if uint(i) < uint(len(p.text)) {
		return p.text[i]
	}
	return 0
}

// hasFold says whether text has s, which is in lower case, at i, in any case.
func hasFold(text []byte, i int, s string) bool {
	if i < 0 || i+len(s) > len(text) {
		return false
	}
	for k := range len(s) {
		if lower(text[i+k]) != s[k] {
			return false
		}
	}
	return true
}
