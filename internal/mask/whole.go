package mask

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"postern"
)

// whole appends what stands for a whole value of type t. It is not ok when
// only NULL can.
func (r *Row) whole(dst, value []byte, s style, t postern.ValueType, plan *columnPlan) (out []byte, ok bool) {
	c := &plan.kind
	if s == null {
		return dst, false
	}
	if s == bucket {
		if t == postern.IntValue || t == postern.FloatValue || t == postern.NumericValue || t == postern.DateValue || t == postern.TimeValue {
			return r.bucketed(dst, value, plan.size, t, c)
		}
		if t != postern.ArrayValue {
			s = redact
		}
	}
	switch t {
	case postern.TextValue:
		if c.Width == 1 {
			return dst, false // PostgreSQL's "char" has room for one byte
		}
		return r.wholeText(dst, value, s), true
	case postern.JSONValue:
		return r.wholeJSON(dst, value, s), true
	case postern.BytesValue:
		return r.wholeBytes(dst, value, s, c.Binary)
	case postern.IntValue:
		return r.wholeInt(dst, value, s, c)
	case postern.UUIDValue:
		return r.wholeUUID(dst, value, s, c.Binary)
	case postern.ArrayValue:
		if c.Elem == postern.ArrayValue {
			return dst, false
		}
		return eachElement(dst, value, c.Binary, r.element(), func(dst, elem []byte) ([]byte, bool) {
			return r.whole(dst, elem, s, c.Elem, plan)
		})
	}
	// Bool, date, time, float, numeric: every value of the type is somebody's
	// value. Opaque: nobody knows what is valid.
	return dst, false
}

func (r *Row) wholeText(dst, value []byte, s style) []byte {
	switch s {
	case partial:
		return appendPartialText(dst, value)
	case hashed:
		return r.hasher.appendText(dst, value)
	}
	return append(dst, Redacted...)
}

// wholeJSON leaves nothing of a document but a string: its keys and its shape
// tell as much as its values.
func (r *Row) wholeJSON(dst, value []byte, s style) []byte {
	if len(value) > 0 && value[0] == jsonbVersion {
		dst = append(dst, jsonbVersion)
		value = value[1:]
	}
	dst = append(dst, '"')
	if s == hashed {
		dst = r.hasher.appendText(dst, value)
	} else {
		dst = append(dst, Redacted...)
	}
	return append(dst, '"')
}

// wholeBytes writes bytes in their text form, \x and hexadecimal digits, or as
// they are.
func (r *Row) wholeBytes(dst, value []byte, s style, inBinary bool) ([]byte, bool) {
	stands := []byte(Redacted)
	if s == hashed {
		raw := value
		if !inBinary {
			decoded, ok := decodeBytea(r.scratch[:0], value)
			if ok {
				r.scratch, raw = decoded, decoded
			}
		}
		if sum, ok := r.hasher.of(raw); ok {
			stands = sum
		}
	}
	if inBinary {
		return append(dst, stands...), true
	}
	dst = append(dst, '\\', 'x')
	return hex.AppendEncode(dst, stands), true
}

// wholeInt hashes integers of eight bytes: the hash is never negative. There
// is no room in fewer: different values would become equal.
func (r *Row) wholeInt(dst, value []byte, s style, c *postern.Column) ([]byte, bool) {
	if s != hashed || c.Width != 8 {
		return dst, false
	}
	text := value
	if c.Binary {
		if len(value) != 8 {
			return dst, false
		}
		r.scratch = strconv.AppendInt(r.scratch[:0], int64(binary.BigEndian.Uint64(value)), 10)
		text = r.scratch
	}
	sum, ok := r.hasher.of(text)
	if !ok {
		return dst, false
	}
	v := binary.BigEndian.Uint64(sum) >> 1
	if c.Binary {
		return binary.BigEndian.AppendUint64(dst, v), true
	}
	return strconv.AppendUint(dst, v, 10), true
}

// wholeUUID hashes to a UUID of version 8, which RFC 9562 leaves to whoever
// makes it.
func (r *Row) wholeUUID(dst, value []byte, s style, inBinary bool) ([]byte, bool) {
	if s != hashed {
		return dst, false
	}
	var id [16]byte
	if inBinary {
		if len(value) != 16 {
			return dst, false
		}
		copy(id[:], value)
	} else if !parseUUID(&id, value) {
		return dst, false
	}
	sum, ok := r.hasher.of(id[:])
	if !ok {
		return dst, false
	}
	copy(id[:], sum)
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	if inBinary {
		return append(dst, id[:]...), true
	}
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, []byte{b})
	}
	return dst, true
}

// parseUUID reads 32 hexadecimal digits, with hyphens or braces anywhere.
func parseUUID(id *[16]byte, text []byte) bool {
	n := 0
	for _, c := range text {
		var v byte
		switch {
		case c >= '0' && c <= '9':
			v = c - '0'
		case c >= 'a' && c <= 'f':
			v = c - 'a' + 10
		case c >= 'A' && c <= 'F':
			v = c - 'A' + 10
		case c == '-' || c == '{' || c == '}':
			continue
		default:
			return false
		}
		if n == 32 {
			return false
		}
		id[n/2] = id[n/2]<<4 | v
		n++
	}
	return n == 32
}

// decodeBytea reads bytes in the text form \x and hexadecimal digits.
func decodeBytea(dst, value []byte) ([]byte, bool) {
	if len(value) < 2 || value[0] != '\\' || value[1] != 'x' {
		return dst, false
	}
	out, err := hex.AppendDecode(dst, value[2:])
	if err != nil {
		return dst, false
	}
	return out, true
}
