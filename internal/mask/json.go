package mask

import (
	"bytes"
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"

	"postern/internal/mask/detect"
)

// jsonbVersion is the byte before the text of a jsonb value in binary form. No
// JSON text begins with it.
const jsonbVersion = 1

// lookJSON looks at a document as a whole, where a key explains its value, and
// at each string by itself, with its escapes resolved. What is found is
// replaced in its string; a number becomes null. The document stays valid.
func (r *Row) lookJSON(dst, value []byte, c *columnPlan) (out []byte, found, ok bool) {
	body := value
	if len(body) > 0 && body[0] == jsonbVersion {
		body = body[1:]
	}
	r.spans = r.content.scanner.ScanCell(r.spans[:0], body, c.label)
	if len(r.spans) == 0 && bytes.IndexByte(body, '\\') < 0 {
		return dst, false, true
	}
	begun := len(dst)
	dst = append(dst, value[:len(value)-len(body)]...)
	if !json.Valid(body) {
		switch {
		case len(r.spans) == 0:
			return dst[:begun], false, true
		case r.content.strongest(r.spans) == null:
			return dst[:begun], false, false
		}
		return append(dst, `"`+Redacted+`"`...), true, true
	}
	k := 0 // spans[:k] end before i
	for i := 0; i < len(body); {
		end := jsonToken(body, i)
		for k < len(r.spans) && r.spans[k].End <= i {
			k++
		}
		over := r.spans[k:]
		n := 0
		for n < len(over) && over[n].Start < end {
			n++
		}
		over = over[:n]
		token := body[i:end]
		if token[0] == '"' {
			next, hit := r.jsonString(dst, token, i, over, isKey(body, end), c)
			found = found || hit
			dst = next
		} else if len(over) > 0 && (token[0] == '-' || token[0] >= '0' && token[0] <= '9') {
			found = true
			dst = append(dst, "null"...)
		} else {
			dst = append(dst, token...)
		}
		i = end
	}
	if !found {
		return dst[:begun], false, true
	}
	return dst, true, true
}

// jsonToken is the end of the token of a valid document at i: a string, a
// number, or anything between those.
func jsonToken(body []byte, i int) int {
	c := body[i]
	if c == '"' {
		for i++; body[i] != '"'; i++ {
			if body[i] == '\\' {
				i++
			}
		}
		return i + 1
	}
	if c == '-' || c >= '0' && c <= '9' {
		for i++; i < len(body) && (body[i] >= '0' && body[i] <= '9' || body[i] == '.' || body[i]|0x20 == 'e' || body[i] == '+' || body[i] == '-'); i++ {
		}
		return i
	}
	for i++; i < len(body) && body[i] != '"' && body[i] != '-' && !(body[i] >= '0' && body[i] <= '9'); i++ {
	}
	return i
}

func isKey(body []byte, i int) bool {
	for i < len(body) && (body[i] == ' ' || body[i] == '\t' || body[i] == '\n' || body[i] == '\r') {
		i++
	}
	return i < len(body) && body[i] == ':'
}

// jsonString appends the string token, which stands at offset at of its
// document, where over was found in it or across its borders.
func (r *Row) jsonString(dst, token []byte, at int, over []detect.Span, key bool, c *columnPlan) (out []byte, hit bool) {
	inner := token[1 : len(token)-1]
	text := inner
	r.leaf = r.leaf[:0]
	if bytes.IndexByte(inner, '\\') >= 0 {
		r.scratch = unescape(r.scratch[:0], inner)
		text = r.scratch
		r.leaf = r.content.scanner.ScanCell(r.leaf, text, c.label)
		if len(r.leaf) == 0 && len(over) > 0 {
			r.leaf = append(r.leaf, detect.Span{Start: 0, End: len(text), Entity: over[0].Entity})
		}
	} else {
		for _, s := range over {
			s.Start = max(s.Start-at-1, 0)
			s.End = min(s.End-at-1, len(inner))
			if s.Start < s.End {
				r.leaf = append(r.leaf, s)
			}
		}
	}
	if len(r.leaf) == 0 {
		return append(dst, token...), false
	}
	if r.content.strongest(r.leaf) == null && !key {
		return append(dst, "null"...), true
	}
	dst = append(dst, '"')
	begun := len(dst)
	dst = r.content.replace(dst, text, r.leaf, &r.hasher)
	r.escaped = escape(r.escaped[:0], dst[begun:])
	dst = append(dst[:begun], r.escaped...)
	return append(dst, '"'), true
}

// unescape appends the text that the inside of a JSON string stands for.
func unescape(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' || i+1 >= len(s) {
			dst = append(dst, c)
			continue
		}
		i++
		switch s[i] {
		case 'n':
			dst = append(dst, '\n')
		case 't':
			dst = append(dst, '\t')
		case 'r':
			dst = append(dst, '\r')
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'u':
			r := hex4(s, i+1)
			i += 4
			if utf16.IsSurrogate(r) && i+2 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
				if pair := utf16.DecodeRune(r, hex4(s, i+3)); pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, s[i])
		}
	}
	return dst
}

// hex4 reads four hexadecimal digits.
func hex4(s []byte, i int) rune {
	if i+4 > len(s) {
		return utf8.RuneError
	}
	var r rune
	for _, c := range s[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return utf8.RuneError
		}
	}
	return r
}

// escape appends s as the inside of a JSON string.
func escape(dst, s []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
