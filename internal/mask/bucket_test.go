package mask

import (
	"encoding/hex"
	"math"
	"math/big"
	"testing"

	"postern"
)

func inBuckets(size postern.Bucket) []postern.Mask {
	return []postern.Mask{{Name: "m", Columns: []string{"*"}, With: postern.MaskBucket, Bucket: size}}
}

func TestBuckets(t *testing.T) {
	wide := func(typ postern.ValueType, width int) postern.Column {
		c := column(typ)
		c.Width = width
		return c
	}
	of := func(number int64, date string) postern.Bucket { return postern.Bucket{Number: number, Date: date} }
	for _, test := range []struct {
		c           postern.Column
		size        postern.Bucket
		value, want string
	}{
		{wide(postern.IntValue, 4), of(1000, ""), "73519", "73000"},
		{wide(postern.IntValue, 4), of(1000, ""), "-1", "-1000"},
		{wide(postern.IntValue, 4), of(0, ""), "73519", "70000"},
		{wide(postern.IntValue, 4), of(0, ""), "7", "7"},
		{wide(postern.IntValue, 4), of(0, ""), "0", "0"},
		{wide(postern.IntValue, 2), of(1000, ""), "-32768", "NULL"},
		{wide(postern.IntValue, 8), of(1<<40, ""), "-9223372036854775808", "-9223372036854775808"},
		{wide(postern.IntValue, 4), of(10, ""), "x", "NULL"},
		{column(postern.NumericValue), of(1000, ""), "73519.25", "73000"},
		{column(postern.NumericValue), of(1, ""), "-0.5", "-1"},
		{column(postern.NumericValue), of(10, ""), "123456789012345678901234567890.9", "123456789012345678901234567890"},
		{column(postern.NumericValue), of(10, ""), "NaN", "NULL"},
		{column(postern.NumericValue), of(10, ""), "-Infinity", "NULL"},
		{wide(postern.FloatValue, 8), of(100, ""), "6021.4075", "6000"},
		{wide(postern.FloatValue, 8), of(100, ""), "-1e-7", "-100"},
		{wide(postern.FloatValue, 8), of(100, ""), "Infinity", "NULL"},
		{column(postern.DateValue), of(0, ""), "1987-03-29", "1987-01-01"},
		{column(postern.DateValue), of(0, "quarter"), "1987-06-30", "1987-04-01"},
		{column(postern.DateValue), of(0, "month"), "1987-03-29", "1987-03-01"},
		{column(postern.DateValue), of(0, "week"), "2025-03-02", "2025-02-24"},
		{column(postern.DateValue), of(0, "month"), "29.03.1987", "NULL"},
		{column(postern.DateValue), of(0, "month"), "infinity", "NULL"},
		{column(postern.DateValue), of(0, "month"), "0044-03-15 BC", "NULL"},
		{column(postern.TimeValue), of(0, "month"), "2019-11-23 04:05:06.735+01", "2019-11-01 00:00:00+01"},
		{column(postern.TimeValue), of(0, "hour"), "2019-11-23 04:05:06", "2019-11-23 04:00:00"},
		{column(postern.TimeValue), of(0, "hour"), "2019-11-23 04:05:06 BC", "NULL"},
		{column(postern.TimeValue), of(0, "day"), "Sat 23 Nov 04:05:06 2019 UTC", "NULL"},
		{column(postern.TextValue), of(0, ""), "walnut", Redacted},
		{column(postern.BoolValue), of(0, ""), "t", "NULL"},
		{postern.Column{Name: "v", Type: postern.ArrayValue, Elem: postern.IntValue, Proven: true, Plain: true, Sources: column(postern.IntValue).Sources}, of(100, ""), "{482137,NULL,9}", "{482100,NULL,0}"},
	} {
		if got := field(t, test.c, inBuckets(test.size), test.value); got != test.want {
			t.Errorf("%v of %q is %q, want %q", test.size, test.value, got, test.want)
		}
	}
}

func TestBucketsInBinary(t *testing.T) {
	for _, test := range []struct {
		typ         postern.ValueType
		size        postern.Bucket
		value, want string // hexadecimal
	}{
		{postern.IntValue, postern.Bucket{Number: 1000}, "00011f2f", "00011d28"},
		{postern.IntValue, postern.Bucket{Number: 1000}, "ffff", "fc18"},
		{postern.IntValue, postern.Bucket{}, "000006a425a9f293", "0000065dd0837000"},
		{postern.NumericValue, postern.Bucket{Number: 1000}, "0003000100000002" + "00070dbf09c4", "0002000100000000" + "00070bb8"},
		{postern.NumericValue, postern.Bucket{Number: 10}, "0000000000000000", "0000000000000000"},
		{postern.NumericValue, postern.Bucket{Number: 10}, "00000000c0000000", "NULL"},
		{postern.FloatValue, postern.Bucket{Number: 100}, "40b78568521ff2e5", "40b7700000000000"},
		{postern.DateValue, postern.Bucket{Date: "year"}, "ffffedd1", "ffffed74"},
		{postern.DateValue, postern.Bucket{Date: "year"}, "002c95d3", "002c9467"}, // 9999-12-31
		{postern.DateValue, postern.Bucket{Date: "year"}, "fffdc5f5", "fffdc54f"}, // 1600-06-15
		{postern.DateValue, postern.Bucket{Date: "year"}, "0001a101", "0001a09b"}, // 2292-04-12
		{postern.TimeValue, postern.Bucket{Date: "year"}, "0002a3acc93eb480", "0002942748d56000"},
		{postern.DateValue, postern.Bucket{}, "7fffffff", "NULL"},
		{postern.TimeValue, postern.Bucket{}, "8000000000000000", "NULL"},
		{postern.DateValue, postern.Bucket{}, "00", "NULL"},
	} {
		c := column(test.typ)
		c.Binary = true
		value, err := hex.DecodeString(test.value)
		if err != nil {
			t.Fatal(err)
		}
		got := field(t, c, inBuckets(test.size), string(value))
		if got != "NULL" {
			got = hex.EncodeToString([]byte(got))
		}
		if got != test.want {
			t.Errorf("%v of %s is %s, want %s", test.size, test.value, got, test.want)
		}
	}
}

func TestBucketsOfSeveralMasks(t *testing.T) {
	c := column(postern.IntValue)
	c.Width = 4
	masks := append(inBuckets(postern.Bucket{Number: 10}), inBuckets(postern.Bucket{Number: 1000})...)
	if got := field(t, c, masks, "73519"); got != "73000" {
		t.Errorf("the coarser bucket counts: %s", got)
	}
	if got := field(t, c, append(masks, withColumns(postern.MaskHash, "*")...), "73519"); got != "NULL" {
		t.Errorf("a stronger mask counts: %s", got)
	}
	c.Plain = false
	if got := field(t, c, masks, "73519"); got != "NULL" {
		t.Errorf("an expression has no bucket: %s", got)
	}
}

func FuzzBucketNumeric(f *testing.F) {
	f.Add("73519.25", int64(1000))
	f.Add("-0.5", int64(1))
	f.Fuzz(func(t *testing.T, value string, width int64) {
		out, ok := bucketNumeric(nil, []byte(value), postern.Bucket{Number: width}, false)
		if !ok {
			return
		}
		floor, valid := new(big.Int).SetString(string(out), 10)
		exact, parsed := new(big.Rat).SetString(value)
		if !valid || !parsed {
			t.Fatalf("%q gives %q", value, out)
		}
		if new(big.Rat).SetInt(floor).Cmp(exact) > 0 && width > 0 {
			t.Errorf("%q is below its bucket %q", value, out)
		}
	})
}

func FuzzBucketNumericBinary(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 7}, int64(5))
	f.Fuzz(func(t *testing.T, value []byte, width int64) {
		out, ok := bucketNumeric(nil, value, postern.Bucket{Number: width}, true)
		if !ok {
			return
		}
		if _, again := numericFloor(out); !again || len(out) > math.MaxUint16 {
			t.Errorf("%x gives %x", value, out)
		}
	})
}
