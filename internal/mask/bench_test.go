package mask

import (
	"encoding/binary"
	"testing"

	"postern"
)

var benchDetect = []string{"email", "credit_card", "iban", "ssn", "phone", "ip", "secret"}

func benchField(b *testing.B, c postern.Column, masks []postern.Mask, values ...string) {
	r := NewRow([]postern.Column{c}, masks, testKey)
	if r == nil {
		b.Fatal("nothing to mask")
	}
	cells := make([][]byte, len(values))
	size := 0
	for i, v := range values {
		cells[i] = []byte(v)
		size += len(v)
	}
	var dst []byte
	n := 0
	b.SetBytes(int64(size / len(values)))
	b.ReportAllocs()
	for b.Loop() {
		dst, _, _ = r.Field(0, dst[:0], cells[n])
		if n++; n == len(cells) {
			n = 0
		}
	}
}

// BenchmarkField is the cost of one value, by what its column is and what is
// asked of it.
func BenchmarkField(b *testing.B) {
	text := column(postern.TextValue)
	wide := column(postern.IntValue)
	wide.Width, wide.Binary = 8, true
	numeric := column(postern.NumericValue)
	numeric.Binary = true
	found := withDetect(postern.MaskPartial, benchDetect...)
	b.Run("column/partial-email", func(b *testing.B) {
		benchField(b, text, withColumns(postern.MaskPartial, "email"), "ada.lovelace@example.com")
	})
	b.Run("column/partial-card", func(b *testing.B) {
		benchField(b, text, withColumns(postern.MaskPartial, "email"), "4111 1111 1111 1111")
	})
	b.Run("column/redact", func(b *testing.B) {
		benchField(b, text, withColumns(postern.MaskRedact, "email"), "ada.lovelace@example.com")
	})
	b.Run("column/hash", func(b *testing.B) {
		benchField(b, text, withColumns(postern.MaskHash, "email"), "ada.lovelace@example.com")
	})
	b.Run("content/int8", func(b *testing.B) {
		benchField(b, wide, found, string(binary.BigEndian.AppendUint64(nil, 100042)))
	})
	b.Run("content/numeric", func(b *testing.B) { benchField(b, numeric, found, numericBinary(1, 12, 3450)) })
	b.Run("content/name", func(b *testing.B) { benchField(b, text, found, "Ada Lovelace", "Grace Hopper", "Alan Turing") })
	b.Run("content/text-20-60", func(b *testing.B) {
		benchField(b, text, found, "refund retail debug blue failed", "large warehouse checkout debug hammer small", "the parcel arrived late, customer asked again")
	})
	b.Run("content/uuid-as-text", func(b *testing.B) { benchField(b, text, found, "0bb01ded-2e3c-4dc7-8357-18e7a945bb9e") })
	b.Run("content/timestamp-as-text", func(b *testing.B) { benchField(b, text, found, "2024-01-02 03:04:05.678901") })
	b.Run("content/email-found", func(b *testing.B) { benchField(b, text, found, "mail ada.lovelace@example.com please") })
	b.Run("content/json", func(b *testing.B) {
		benchField(b, column(postern.JSONValue), found, `{"status": "shipped", "items": [1, 2, 3], "note": "leave at the door", "total": 1234.5}`)
	})
	b.Run("content/json-found", func(b *testing.B) {
		benchField(b, column(postern.JSONValue), found, `{"status": "shipped", "mail": "ada.lovelace@example.com", "note": "leave at\nthe door", "total": 1234.5}`)
	})
	b.Run("content/array", func(b *testing.B) { benchField(b, array(postern.TextValue), found, `{alpha,"beta gamma",NULL,delta}`) })
}

// BenchmarkPlan is what a result costs before its first row: with the masks
// ready, and without.
func BenchmarkPlan(b *testing.B) {
	columns := make([]postern.Column, 10)
	for i := range columns {
		columns[i] = column(postern.TextValue)
	}
	masks := append(withDetect(postern.MaskPartial, benchDetect...), withColumns(postern.MaskRedact, "public.customers.*", "*.*.card_number")...)
	ready := NewPlan(masks, testKey)
	for name, plan := range map[string]func() *Row{
		"ready": func() *Row { return ready.Row(columns) },
		"anew":  func() *Row { return NewRow(columns, masks, testKey) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if plan() == nil {
					b.Fatal("nothing to mask")
				}
			}
		})
	}
}
