package mask

import (
	"encoding/binary"
	"math"
)

// Limits on arrays, so that what a server sends can't make this package do
// more than its size is worth. PostgreSQL itself allows six dimensions.
const maxDimensions = 6

// eachElement appends a PostgreSQL array to dst with every element that isn't
// NULL replaced by what f appends for it; an element for which f isn't ok
// becomes NULL. It is not ok when value is no array. Elements are unquoted in
// buf, if it is large enough.
func eachElement(dst, value []byte, inBinary bool, buf []byte, f func(dst, elem []byte) ([]byte, bool)) (out []byte, ok bool) {
	if inBinary {
		return eachBinary(dst, value, f)
	}
	return eachText(dst, value, buf, f)
}

// eachBinary walks the array's binary form: the number of dimensions, whether
// there are NULLs, the element's type, a length and lower bound for each
// dimension, then each element behind its length.
func eachBinary(dst, value []byte, f func(dst, elem []byte) ([]byte, bool)) ([]byte, bool) {
	if len(value) < 12 {
		return dst, false
	}
	dims := int(binary.BigEndian.Uint32(value))
	head := 12 + 8*dims
	if dims > maxDimensions || len(value) < head {
		return dst, false
	}
	elems := uint64(1)
	if dims == 0 {
		elems = 0
	}
	for d := range dims {
		elems *= uint64(binary.BigEndian.Uint32(value[12+8*d:]))
		if elems > uint64(len(value))/4 {
			return dst, false
		}
	}
	begun := len(dst)
	dst = append(dst, value[:head]...)
	rest := value[head:]
	nulls := false
	for range elems {
		if len(rest) < 4 {
			return dst[:begun], false
		}
		n := int32(binary.BigEndian.Uint32(rest))
		rest = rest[4:]
		if n == -1 {
			nulls = true
			dst = binary.BigEndian.AppendUint32(dst, math.MaxUint32)
			continue
		}
		if n < 0 || int(n) > len(rest) {
			return dst[:begun], false
		}
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		next, ok := f(dst, rest[:n])
		rest = rest[n:]
		if !ok {
			nulls = true
			dst = binary.BigEndian.AppendUint32(dst[:at], math.MaxUint32)
			continue
		}
		dst = next
		size := len(dst) - at - 4
		if size > math.MaxInt32 {
			return dst[:begun], false
		}
		binary.BigEndian.PutUint32(dst[at:], uint32(size))
	}
	if len(rest) > 0 {
		return dst[:begun], false
	}
	if nulls {
		binary.BigEndian.PutUint32(dst[begun+4:], 1)
	}
	return dst, true
}

// eachText walks the array's text form: {a,"b c",NULL,{d}}, with bounds such
// as [0:1]= before it.
func eachText(dst, value, elem []byte, f func(dst, elem []byte) ([]byte, bool)) ([]byte, bool) {
	begun := len(dst)
	i := 0
	if i < len(value) && value[i] == '[' {
		for i < len(value) && value[i] != '=' {
			if c := value[i]; (c < '0' || c > '9') && c != '[' && c != ']' && c != ':' && c != '-' && c != '+' {
				return dst, false
			}
			i++
		}
		if i == len(value) {
			return dst, false
		}
		i++
	}
	dst = append(dst, value[:i]...)
	depth := 0
	expect := true // an element or a brace must come here
	opened := false
	for i < len(value) {
		c := value[i]
		switch {
		case c == '{' && expect:
			depth++
			if depth > maxDimensions {
				return dst[:begun], false
			}
			dst = append(dst, c)
			i++
			opened = true
			continue
		case c == '}' && depth > 0 && (opened || !expect):
			depth--
			dst = append(dst, c)
			i++
			expect, opened = false, false
			if depth == 0 {
				if i < len(value) {
					return dst[:begun], false
				}
				return dst, true
			}
			continue
		case c == ',' && depth > 0 && !expect:
			dst = append(dst, c)
			i++
			expect, opened = true, false
			continue
		case depth == 0 || !expect:
			return dst[:begun], false
		}
		quoted := c == '"'
		var ok bool
		if elem, i, ok = arrayElement(elem[:0], value, i); !ok {
			return dst[:begun], false
		}
		expect, opened = false, false
		if !quoted && isNull(elem) {
			dst = append(dst, "NULL"...)
			continue
		}
		at := len(dst)
		next, ok := f(dst, elem)
		if !ok {
			dst = append(next[:at], "NULL"...)
			continue
		}
		dst = quoteElement(next, at)
	}
	return dst[:begun], false
}

// arrayElement reads one element at i, in quotes or without.
func arrayElement(buf, value []byte, i int) (elem []byte, next int, ok bool) {
	if value[i] == '"' {
		for i++; i < len(value); i++ {
			switch value[i] {
			case '\\':
				i++
				if i == len(value) {
					return buf, i, false
				}
				buf = append(buf, value[i])
			case '"':
				return buf, i + 1, true
			default:
				buf = append(buf, value[i])
			}
		}
		return buf, i, false
	}
	start := len(buf)
	for i < len(value) && value[i] != ',' && value[i] != '}' {
		switch value[i] {
		case '"', '{':
			return buf, i, false
		case '\\':
			i++
			if i == len(value) {
				return buf, i, false
			}
		}
		buf = append(buf, value[i])
		i++
	}
	return buf, i, len(buf) > start
}

func isNull(b []byte) bool {
	return len(b) == 4 && b[0]|0x20 == 'n' && b[1]|0x20 == 'u' && b[2]|0x20 == 'l' && b[3]|0x20 == 'l'
}

// quoteElement puts dst[at:] in quotes where an array needs them.
func quoteElement(dst []byte, at int) []byte {
	elem := dst[at:]
	need := len(elem) == 0 || isNull(elem)
	escapes := 0
	for _, c := range elem {
		switch c {
		case '"', '\\':
			escapes++
			need = true
		case '{', '}', ',', ' ', '\t', '\n', '\r', '\v', '\f', ';':
			need = true
		}
	}
	if !need {
		return dst
	}
	n := len(elem)
	for range escapes + 2 {
		dst = append(dst, 0)
	}
	w := len(dst) - 1
	dst[w] = '"'
	for k := at + n - 1; k >= at; k-- {
		w--
		dst[w] = dst[k]
		if c := dst[w]; c == '"' || c == '\\' {
			w--
			dst[w] = '\\'
		}
	}
	dst[at] = '"'
	return dst
}
