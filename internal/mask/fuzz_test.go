package mask

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"testing"

	"postern"
)

var fuzzStyles = Styles()

// FuzzField checks that whatever is put in the place of a value is valid for
// the value's type.
func FuzzField(f *testing.F) {
	for _, value := range []string{
		"ada.lovelace@example.com", `{"a":["ada.l@example.com",4111111111111111],"b\u0040":null}`, `{a,"b \"c",NULL,{d}}`, "4111111111111111",
		"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", `\x6164612e6c406578616d706c652e636f6d`, binaryArray("ada.l@example.com", "NULL"), "\x01{}", numericBinary(3, 4111, 1111, 1111, 1111),
	} {
		for t := postern.OpaqueValue; t <= postern.ArrayValue; t++ {
			f.Add([]byte(value), byte(t), byte(postern.TextValue), byte(0), false, true)
			f.Add([]byte(value), byte(t), byte(postern.TextValue), byte(2), true, false)
		}
	}
	f.Fuzz(func(t *testing.T, value []byte, kind, elem, with byte, inBinary, byContent bool) {
		c := column(postern.ValueType(kind % byte(postern.ArrayValue+1)))
		c.Elem = postern.ValueType(elem % byte(postern.ArrayValue+1))
		c.Binary = inBinary
		if c.Type == postern.IntValue {
			c.Width = 8
		}
		if inBinary && c.Type == postern.IntValue && len(value) != 8 {
			return // no value of this type
		}
		style := fuzzStyles[int(with)%len(fuzzStyles)]
		masks := withColumns(style, "email")
		if byContent {
			masks = withDetect(style, "email", "credit_card", "iban", "ssn", "phone", "ip", "secret", "national_id")
		}
		r := NewRow([]postern.Column{c}, masks, testKey)
		if r == nil {
			return
		}
		given := bytes.Clone(value)
		out, null, masked := r.Field(0, []byte("before"), value)
		if !bytes.Equal(given, value) {
			t.Fatal("Field changed the value it was given")
		}
		if !bytes.HasPrefix(out, []byte("before")) {
			t.Fatal("Field changed what was in dst")
		}
		out = out[len("before"):]
		switch {
		case null:
			if len(out) > 0 || !masked {
				t.Fatalf("NULL, but %q and masked %v", out, masked)
			}
			return
		case !masked:
			if !bytes.Equal(out, value) {
				t.Fatalf("not masked, but %q becomes %q", value, out)
			}
			return
		}
		if style == postern.MaskBucket && !byContent && (c.Type == postern.FloatValue || c.Type == postern.NumericValue || c.Type == postern.DateValue || c.Type == postern.TimeValue) {
			checkBucket(t, &c, out)
			return
		}
		checkValid(t, &c, out)
	})
}

// checkBucket fails unless value is where a bucket begins: then it is its own.
// A float may lie beside it, as the number that comes nearest.
func checkBucket(t *testing.T, c *postern.Column, value []byte) {
	var all []string
	for _, v := range append([][]byte{value}, neighbours(c, value)...) {
		again, ok := (&Row{}).bucketed(nil, v, postern.Bucket{}, c.Type, c)
		if ok && bytes.Equal(again, value) {
			return
		}
		all = append(all, fmt.Sprintf("%q (%v)", again, ok))
	}
	t.Fatalf("%d becomes %q, whose bucket, and its neighbours', is %q", c.Type, value, all)
}

// neighbours are the floats next to one.
func neighbours(c *postern.Column, value []byte) [][]byte {
	if c.Type != postern.FloatValue {
		return nil
	}
	switch {
	case c.Binary && len(value) == 4:
		f := math.Float32frombits(binary.BigEndian.Uint32(value))
		return [][]byte{
			binary.BigEndian.AppendUint32(nil, math.Float32bits(math.Nextafter32(f, 0))),
			binary.BigEndian.AppendUint32(nil, math.Float32bits(math.Nextafter32(f, 2*f))),
		}
	case c.Binary && len(value) == 8:
		f := math.Float64frombits(binary.BigEndian.Uint64(value))
		return [][]byte{
			binary.BigEndian.AppendUint64(nil, math.Float64bits(math.Nextafter(f, 0))),
			binary.BigEndian.AppendUint64(nil, math.Float64bits(math.Nextafter(f, 2*f))),
		}
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return nil
	}
	return [][]byte{strconv.AppendFloat(nil, math.Nextafter(f, 0), 'g', -1, 64), strconv.AppendFloat(nil, math.Nextafter(f, 2*f), 'g', -1, 64)}
}

// checkValid fails unless value is one of the column's type.
func checkValid(t *testing.T, c *postern.Column, value []byte) {
	switch c.Type {
	case postern.OpaqueValue, postern.BoolValue, postern.DateValue, postern.TimeValue, postern.FloatValue, postern.NumericValue:
		t.Fatalf("%d becomes %q instead of NULL", c.Type, value)
	case postern.IntValue:
		if c.Binary && len(value) != 8 {
			t.Fatalf("%d bytes", len(value))
		}
		if _, err := strconv.ParseInt(string(value), 10, 64); !c.Binary && err != nil {
			t.Fatal(err)
		}
	case postern.JSONValue:
		if len(value) > 0 && value[0] == jsonbVersion {
			value = value[1:]
		}
		if !json.Valid(value) {
			t.Fatalf("no JSON: %q", value)
		}
	case postern.UUIDValue:
		var id [16]byte
		if c.Binary && len(value) != 16 || !c.Binary && !parseUUID(&id, value) {
			t.Fatalf("no UUID: %q", value)
		}
	case postern.BytesValue:
		if !c.Binary {
			if _, err := hex.DecodeString(string(value[2:])); err != nil || string(value[:2]) != `\x` {
				t.Fatalf("no bytes: %q", value)
			}
		}
	case postern.ArrayValue:
		n := 0
		_, ok := eachElement(nil, value, c.Binary, nil, func(dst, elem []byte) ([]byte, bool) {
			n++
			return append(dst, elem...), true
		})
		if !ok {
			t.Fatalf("no array: %q", value)
		}
	}
}

// FuzzArray checks that an array whose elements are kept stays the array it was.
func FuzzArray(f *testing.F) {
	f.Add([]byte(`{a,"b \"c\\",NULL,{"",d}}`), false)
	f.Add([]byte(`[0:1]={x,y}`), false)
	f.Add([]byte(binaryArray("a", "NULL", "")), true)
	f.Fuzz(func(t *testing.T, value []byte, inBinary bool) {
		read := func(b []byte) (elems []string, ok bool) {
			_, ok = eachElement(nil, b, inBinary, nil, func(dst, elem []byte) ([]byte, bool) {
				elems = append(elems, string(elem))
				return append(dst, elem...), true
			})
			return elems, ok
		}
		out, ok := eachElement(nil, value, inBinary, nil, func(dst, elem []byte) ([]byte, bool) { return append(dst, elem...), true })
		if !ok {
			return
		}
		want, _ := read(value)
		got, ok := read(out)
		if !ok || len(got) != len(want) {
			t.Fatalf("%q becomes %q: %q instead of %q", value, out, got, want)
		}
		for k := range got {
			if got[k] != want[k] {
				t.Fatalf("%q becomes %q: %q instead of %q", value, out, got, want)
			}
		}
		none, ok := eachElement(nil, value, inBinary, nil, func(dst, elem []byte) ([]byte, bool) { return append(dst, "rubbish"...), false })
		if left, valid := read(none); !ok || !valid || len(left) > 0 {
			t.Fatalf("%q becomes %q, which has elements %q", value, none, left)
		}
		if inBinary && len(none) >= 8 && len(want) > 0 && binary.BigEndian.Uint32(none[4:]) != 1 {
			t.Fatalf("%q: the array doesn't say that it has NULLs", none)
		}
	})
}
