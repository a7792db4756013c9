package mask

import (
	"bytes"
	"unicode/utf8"

	"postern/internal/mask/detect"
)

const stars = "***"

// appendPartial appends what may be shown of a value of a known kind. It never
// shows a short value whole.
func appendPartial(dst, value []byte, e detect.Entity) []byte {
	switch e {
	case detect.Email:
		return appendPartialEmail(dst, value)
	case detect.CreditCard:
		return appendPartialDigits(dst, value, 4, 12)
	case detect.Phone:
		return appendPartialDigits(dst, value, 2, 6)
	case detect.Secret:
		return append(dst, stars...)
	}
	return appendFirst(dst, value, 4)
}

// appendPartialText is appendPartial for a whole value of unknown kind.
func appendPartialText(dst, value []byte) []byte {
	if at := bytes.LastIndexByte(value, '@'); at > 0 && at < len(value)-3 && !bytes.ContainsAny(value, " \t\n") {
		return appendPartialEmail(dst, value)
	}
	digits, others := 0, 0
	for _, c := range value {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == ' ' || c == '-' || c == '.' || c == '(' || c == ')' || c == '+' || c == '/':
		default:
			others++
		}
	}
	switch {
	case others > 0 || digits < 8:
		return appendFirst(dst, value, 4)
	case digits >= 12 && digits <= 19 && bytes.IndexByte(value, '+') < 0:
		return appendPartialDigits(dst, value, 4, 12)
	default:
		return appendPartialDigits(dst, value, 2, 8)
	}
}

// appendPartialEmail shows the first letter of either side, and the last part
// of the domain: a***@e***.com.
func appendPartialEmail(dst, value []byte) []byte {
	at := bytes.LastIndexByte(value, '@')
	if at < 0 {
		return append(dst, stars...)
	}
	local, domain := value[:at], value[at+1:]
	dst = appendFirst(dst, local, 3)
	dst = append(dst, '@')
	point := bytes.LastIndexByte(domain, '.')
	if point < 0 || len(domain) > 0 && domain[0] == '[' {
		return append(dst, stars...)
	}
	dst = appendFirst(dst, domain[:point], 3)
	return append(dst, domain[point:]...)
}

// appendPartialDigits replaces all digits but the last few by stars, and
// leaves what separates them. Fewer than least digits are all replaced.
func appendPartialDigits(dst, value []byte, keep, least int) []byte {
	n := 0
	for _, c := range value {
		if c >= '0' && c <= '9' {
			n++
		}
	}
	if n < least {
		keep = 0
	}
	for i := 0; i < len(value); {
		c := value[i]
		switch {
		case c >= '0' && c <= '9':
			if n > keep {
				c = '*'
			}
			n--
			dst = append(dst, c)
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			_, size := utf8.DecodeRune(value[i:])
			dst = append(dst, value[i:i+size]...)
			i += size
			continue
		}
		i++
	}
	return dst
}

// appendFirst shows the first character of a value of at least so many.
func appendFirst(dst, value []byte, least int) []byte {
	if utf8.RuneCount(value) >= least {
		_, size := utf8.DecodeRune(value)
		dst = append(dst, value[:size]...)
	}
	return append(dst, stars...)
}
