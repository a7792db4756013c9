package mask

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"

	"postern"
	"postern/internal/mask/detect"
)

// look appends a value of type t with what is found in it replaced. When
// nothing is found, nothing is appended. It is not ok when only NULL can stand
// for the value.
func (r *Row) look(dst, value []byte, t postern.ValueType, c *columnPlan) (out []byte, found, ok bool) {
	switch t {
	case postern.TextValue:
		return r.lookText(dst, value, c)
	case postern.JSONValue:
		return r.lookJSON(dst, value, c)
	case postern.BytesValue:
		return r.lookBytes(dst, value, c)
	case postern.IntValue, postern.FloatValue, postern.NumericValue:
		return dst, false, !r.lookNumber(value, t, c)
	case postern.ArrayValue:
		return r.lookArray(dst, value, c)
	case postern.BoolValue, postern.DateValue, postern.TimeValue, postern.UUIDValue:
		return dst, false, true
	}
	// Opaque: what is valid in its place nobody knows.
	r.spans = r.content.scanner.ScanCell(r.spans[:0], value, c.label)
	return dst, false, len(r.spans) == 0
}

func (r *Row) lookText(dst, value []byte, c *columnPlan) (out []byte, found, ok bool) {
	r.spans = r.content.scanner.ScanCell(r.spans[:0], value, c.label)
	if r.content.scanner.Wants(detect.Secret) && (len(r.spans) == 0 || len(r.spans) > 1 || r.spans[0].End-r.spans[0].Start < len(value)) && c.named(value) {
		r.spans = append(r.spans[:0], detect.Span{Start: 0, End: len(value), Entity: detect.Secret})
	}
	if len(r.spans) == 0 {
		return r.lookEncoded(dst, value, c)
	}
	if r.content.strongest(r.spans) == null {
		return dst, false, false
	}
	return r.content.replace(dst, value, r.spans, &r.hasher), true, true
}

// lookEncoded looks at what text is an encoding of. If anything is found in
// it, the text goes as a whole: no part of an encoding can be shown.
func (r *Row) lookEncoded(dst, value []byte, c *columnPlan) (out []byte, found, ok bool) {
	plain, encoded := decodeText(r.scratch[:0], value)
	r.scratch = plain
	if !encoded {
		return dst, false, true
	}
	r.spans = r.content.scanner.ScanCell(r.spans[:0], plain, c.label)
	if len(r.spans) == 0 {
		return dst, false, true
	}
	switch r.content.strongest(r.spans) {
	case null:
		return dst, false, false
	case hashed:
		return r.hasher.appendText(dst, value), true, true
	}
	return append(dst, Redacted...), true, true
}

// named says whether the column's name makes the whole value a secret.
func (c *columnPlan) named(value []byte) bool {
	if len(value) == 0 {
		return false
	}
	if detect.SecretNamed(c.kind.Name, value) {
		return true
	}
	for _, s := range c.kind.Sources {
		if detect.SecretNamed(s.Column, value) {
			return true
		}
	}
	return false
}

// lookBytes looks at bytes as if they were text, which they often are.
func (r *Row) lookBytes(dst, value []byte, c *columnPlan) (out []byte, found, ok bool) {
	raw := value
	if !c.kind.Binary {
		decoded, isHex := decodeBytea(r.scratch[:0], value)
		if !isHex {
			r.spans = r.content.scanner.ScanCell(r.spans[:0], value, c.label)
			return dst, false, len(r.spans) == 0
		}
		r.scratch, raw = decoded, decoded
	}
	r.spans = r.content.scanner.ScanCell(r.spans[:0], raw, c.label)
	if len(r.spans) == 0 {
		return dst, false, true
	}
	if r.content.strongest(r.spans) == null {
		return dst, false, false
	}
	if c.kind.Binary {
		return r.content.replace(dst, raw, r.spans, &r.hasher), true, true
	}
	masked := r.content.replace(nil, raw, r.spans, &r.hasher)
	return hex.AppendEncode(append(dst, '\\', 'x'), masked), true, true
}

// lookNumber says whether a number is one that is looked for. It then becomes
// NULL: any other number would be a lie.
func (r *Row) lookNumber(value []byte, t postern.ValueType, c *columnPlan) bool {
	text := value
	if c.kind.Binary {
		digits, ok := decimal(r.scratch[:0], value, t)
		r.scratch = digits
		if !ok {
			return false
		}
		text = digits
	}
	if c.label == 0 && len(text) < 12 {
		return false
	}
	// The sign is no part of it, and neither is the fraction.
	if len(text) > 0 && text[0] == '-' {
		text = text[1:]
	}
	if bytes.IndexByte(text, 'e') >= 0 {
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return false
		}
		r.scratch = strconv.AppendFloat(r.scratch[:0], f, 'f', 0, 64)
		text = r.scratch
	}
	if point := bytes.IndexByte(text, '.'); point >= 0 {
		text = text[:point]
	}
	r.spans = r.content.scanner.ScanCell(r.spans[:0], text, c.label)
	return len(r.spans) > 0
}

// decimal writes a number in binary form as decimal digits. It is not ok for a
// form that it doesn't know, and for numbers with too many digits to matter.
func decimal(dst, value []byte, t postern.ValueType) ([]byte, bool) {
	switch {
	case t == postern.IntValue && len(value) == 8:
		v := int64(binary.BigEndian.Uint64(value))
		return strconv.AppendInt(dst, v, 10), true
	case t == postern.IntValue && len(value) == 4:
		return strconv.AppendInt(dst, int64(int32(binary.BigEndian.Uint32(value))), 10), true
	case t == postern.IntValue && len(value) == 2:
		return strconv.AppendInt(dst, int64(int16(binary.BigEndian.Uint16(value))), 10), true
	case t == postern.FloatValue && len(value) == 8:
		f := math.Abs(math.Float64frombits(binary.BigEndian.Uint64(value)))
		if !(f < 1e20) || f != math.Trunc(f) {
			return dst, false
		}
		return strconv.AppendFloat(dst, f, 'f', 0, 64), true
	case t == postern.NumericValue:
		return decimalNumeric(dst, value)
	}
	return dst, false
}

// decimalNumeric writes the whole part of PostgreSQL's numeric: groups of four
// decimal digits, the first of weight 10000^weight.
func decimalNumeric(dst, value []byte) ([]byte, bool) {
	if len(value) < 8 {
		return dst, false
	}
	n := int(binary.BigEndian.Uint16(value))
	weight := int(int16(binary.BigEndian.Uint16(value[2:])))
	if sign := binary.BigEndian.Uint16(value[4:]); sign != 0 && sign != 0x4000 || weight < 0 || weight > 5 || len(value) < 8+2*n {
		return dst, false
	}
	begun := len(dst)
	for k := 0; k <= weight; k++ {
		group := uint64(0)
		if k < n {
			group = uint64(binary.BigEndian.Uint16(value[8+2*k:]))
		}
		if group > 9999 {
			return dst, false
		}
		if len(dst) == begun {
			dst = strconv.AppendUint(dst, group, 10)
			continue
		}
		dst = append(dst, byte('0'+group/1000), byte('0'+group/100%10), byte('0'+group/10%10), byte('0'+group%10))
	}
	return dst, true
}

// lookArray looks at each element. An element for which only NULL can stand
// becomes NULL.
func (r *Row) lookArray(dst, value []byte, c *columnPlan) (out []byte, found, ok bool) {
	if c.kind.Elem == postern.ArrayValue {
		r.spans = r.content.scanner.ScanCell(r.spans[:0], value, c.label)
		return dst, false, len(r.spans) == 0
	}
	out, parsed := eachElement(dst, value, c.kind.Binary, r.element(), func(dst, elem []byte) ([]byte, bool) {
		next, hit, ok := r.look(dst, elem, c.kind.Elem, c)
		switch {
		case !ok:
			found = true
			return dst, false
		case hit:
			found = true
			return next, true
		}
		return append(dst, elem...), true
	})
	if !parsed {
		return dst, false, false
	}
	if !found {
		return dst, false, true
	}
	return out, true, true
}
