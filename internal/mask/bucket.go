package mask

import (
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"time"

	"postern"
)

// A bucket shows a value's neighbourhood in its stead: the number or the day at
// which its bucket begins.

// ValidBucketDate says whether a word is one that dates can be cut down to.
func ValidBucketDate(word string) bool {
	switch word {
	case "", bucketYear, bucketQuarter, bucketMonth, bucketWeek, bucketDay, bucketHour:
		return true
	}
	return false
}

const (
	bucketYear    = "year" // and ""
	bucketQuarter = "quarter"
	bucketMonth   = "month"
	bucketWeek    = "week"
	bucketDay     = "day"
	bucketHour    = "hour" // of timestamps; a date has none, and stays a day
)

// coarser is the bucket that says less of a value than either.
func coarser(a, b postern.Bucket) postern.Bucket {
	out := a
	if a.Number != 0 && (b.Number == 0 || b.Number > a.Number) {
		out.Number = b.Number
	}
	if dateRank(b.Date) > dateRank(a.Date) {
		out.Date = b.Date
	}
	return out
}

func dateRank(word string) int {
	switch word {
	case bucketHour:
		return 0
	case bucketDay:
		return 1
	case bucketWeek:
		return 2
	case bucketMonth:
		return 3
	case bucketQuarter:
		return 4
	}
	return 5
}

// bucketed appends where value's bucket begins. It is not ok when value is of
// a type, or has a form, that has none.
func (r *Row) bucketed(dst, value []byte, b postern.Bucket, t postern.ValueType, c *postern.Column) ([]byte, bool) {
	switch t {
	case postern.IntValue:
		return bucketInt(dst, value, b, c)
	case postern.FloatValue:
		return bucketFloat(dst, value, b, c)
	case postern.NumericValue:
		return bucketNumeric(dst, value, b, c.Binary)
	case postern.DateValue:
		return bucketDate(dst, value, b, c.Binary)
	case postern.TimeValue:
		return bucketTime(dst, value, b, c.Binary)
	}
	return dst, false
}

// floorTo is the largest multiple of a bucket's width that isn't above n. With
// no width, it is n with all digits but the first made zero.
func floorTo(n *big.Int, width int64) *big.Int {
	w := big.NewInt(width)
	if width <= 0 {
		digits := len(new(big.Int).Abs(n).Text(10))
		w.Exp(big.NewInt(10), big.NewInt(int64(digits-1)), nil)
	}
	// Div and Mod are Euclidean: for a positive width, they round down.
	return new(big.Int).Mul(new(big.Int).Div(n, w), w)
}

func bucketInt(dst, value []byte, b postern.Bucket, c *postern.Column) ([]byte, bool) {
	var n int64
	if c.Binary {
		switch len(value) {
		case 2:
			n = int64(int16(binary.BigEndian.Uint16(value)))
		case 4:
			n = int64(int32(binary.BigEndian.Uint32(value)))
		case 8:
			n = int64(binary.BigEndian.Uint64(value))
		default:
			return dst, false
		}
	} else {
		var err error
		if n, err = strconv.ParseInt(string(value), 10, 64); err != nil {
			return dst, false
		}
	}
	floor := floorTo(big.NewInt(n), b.Number)
	size := c.Width
	switch {
	case c.Binary:
		size = len(value)
	case size == 0:
		size = 8 // an element of an array, of a type that isn't told
	}
	if !floor.IsInt64() || size < 2 || size > 8 || floor.Int64() < math.MinInt64>>(64-8*size) {
		return dst, false // the bucket begins below what the type can hold
	}
	n = floor.Int64()
	if !c.Binary {
		return strconv.AppendInt(dst, n, 10), true
	}
	switch size {
	case 2:
		return binary.BigEndian.AppendUint16(dst, uint16(n)), true
	case 4:
		return binary.BigEndian.AppendUint32(dst, uint32(n)), true
	}
	return binary.BigEndian.AppendUint64(dst, uint64(n)), true
}

func bucketFloat(dst, value []byte, b postern.Bucket, c *postern.Column) ([]byte, bool) {
	var f float64
	if c.Binary {
		switch len(value) {
		case 4:
			f = float64(math.Float32frombits(binary.BigEndian.Uint32(value)))
		case 8:
			f = math.Float64frombits(binary.BigEndian.Uint64(value))
		default:
			return dst, false
		}
	} else {
		var err error
		if f, err = strconv.ParseFloat(string(value), 64); err != nil {
			return dst, false
		}
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, false
	}
	whole, _ := big.NewFloat(math.Floor(f)).Int(nil)
	floor, _ := new(big.Float).SetInt(floorTo(whole, b.Number)).Float64()
	if math.IsInf(floor, 0) || len(value) == 4 && c.Binary && math.Abs(floor) > math.MaxFloat32 {
		return dst, false
	}
	switch {
	case !c.Binary:
		return strconv.AppendFloat(dst, floor, 'f', -1, 64), true
	case len(value) == 4:
		return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(floor))), true
	}
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(floor)), true
}

// maxNumericDigits bounds the numbers that are computed with.
const maxNumericDigits = 400

func bucketNumeric(dst, value []byte, b postern.Bucket, inBinary bool) ([]byte, bool) {
	if inBinary {
		n, ok := numericFloor(value)
		if !ok {
			return dst, false
		}
		return appendNumeric(dst, floorTo(n, b.Number))
	}
	if len(value) > maxNumericDigits {
		return dst, false
	}
	digits, fraction := value, false
	for i, c := range value {
		switch {
		case c == '.':
			digits = value[:i]
			for _, d := range value[i+1:] {
				if d < '0' || d > '9' {
					return dst, false
				}
				fraction = fraction || d != '0'
			}
		case c == '-' && i == 0, c >= '0' && c <= '9':
			continue
		default:
			return dst, false // NaN, Infinity
		}
		break
	}
	n, ok := new(big.Int).SetString(string(digits), 10)
	if !ok {
		return dst, false
	}
	if fraction && len(value) > 0 && value[0] == '-' {
		n.Sub(n, big.NewInt(1))
	}
	return floorTo(n, b.Number).Append(dst, 10), true
}

// The binary form of numeric: how many digits to the base 10000, the weight of
// the first, the sign, how many decimals are shown, the digits.
const (
	numericNegative = 0x4000
	numericPositive = 0x0000
)

// numericFloor is the whole number at or below a numeric in binary form.
func numericFloor(value []byte) (*big.Int, bool) {
	if len(value) < 8 {
		return nil, false
	}
	count, weight := int(binary.BigEndian.Uint16(value)), int(int16(binary.BigEndian.Uint16(value[2:])))
	sign := binary.BigEndian.Uint16(value[4:])
	if sign != numericPositive && sign != numericNegative || len(value) != 8+2*count || weight > maxNumericDigits/4 {
		return nil, false
	}
	n, base := new(big.Int), big.NewInt(10000)
	fraction := false
	for i := range max(count, weight+1) {
		digit := uint16(0)
		if i < count {
			digit = binary.BigEndian.Uint16(value[8+2*i:])
		}
		if digit > 9999 {
			return nil, false
		}
		if i > weight {
			fraction = fraction || digit != 0
			continue
		}
		n.Mul(n, base).Add(n, big.NewInt(int64(digit)))
	}
	if sign == numericNegative {
		n.Neg(n)
		if fraction {
			n.Sub(n, big.NewInt(1))
		}
	}
	return n, true
}

func appendNumeric(dst []byte, n *big.Int) ([]byte, bool) {
	var digits []uint16
	rest, base, digit := new(big.Int).Abs(n), big.NewInt(10000), new(big.Int)
	for rest.Sign() > 0 {
		rest.DivMod(rest, base, digit)
		digits = append(digits, uint16(digit.Uint64()))
	}
	sign := uint16(numericPositive)
	if n.Sign() < 0 {
		sign = numericNegative
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(digits)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(max(len(digits)-1, 0)))
	dst = binary.BigEndian.AppendUint16(dst, sign)
	dst = binary.BigEndian.AppendUint16(dst, 0)
	for i := len(digits) - 1; i >= 0; i-- {
		dst = binary.BigEndian.AppendUint16(dst, digits[i])
	}
	return dst, true
}

// cut is where the bucket of a time begins.
func cut(t time.Time, word string) time.Time {
	y, m, d := t.Date()
	switch word {
	case bucketHour:
		return time.Date(y, m, d, t.Hour(), 0, 0, 0, time.UTC)
	case bucketDay:
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	case bucketWeek:
		return time.Date(y, m, d-(int(t.Weekday())+6)%7, 0, 0, 0, 0, time.UTC)
	case bucketMonth:
		return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	case bucketQuarter:
		return time.Date(y, m-(m-1)%3, 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(y, time.January, 1, 0, 0, 0, 0, time.UTC)
}

// epoch is where the binary forms of dates and timestamps count from.
func epoch() time.Time { return time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC) }

// maxDays bounds the days that are computed with: the years 1 to 9999.
const maxDays = 2_921_939

const secondsOfDay = 24 * 60 * 60

func bucketDate(dst, value []byte, b postern.Bucket, inBinary bool) ([]byte, bool) {
	if !inBinary {
		t, err := time.Parse(time.DateOnly, string(value))
		if err != nil {
			return dst, false // another DateStyle, BC, infinity
		}
		return cut(t, b.Date).AppendFormat(dst, time.DateOnly), true
	}
	if len(value) != 4 {
		return dst, false
	}
	days := int(int32(binary.BigEndian.Uint32(value)))
	if days > maxDays || days < -730_000 {
		return dst, false
	}
	// In seconds: a Duration ends after 292 years.
	begins := (cut(epoch().AddDate(0, 0, days), b.Date).Unix() - epoch().Unix()) / secondsOfDay
	return binary.BigEndian.AppendUint32(dst, uint32(int32(begins))), true
}

// bucketTime cuts timestamps down, in text by the zone that they are shown in,
// which stays, in binary by UTC.
func bucketTime(dst, value []byte, b postern.Bucket, inBinary bool) ([]byte, bool) {
	if inBinary {
		if len(value) != 8 {
			return dst, false
		}
		micros := int64(binary.BigEndian.Uint64(value))
		if micros > maxDays*86_400_000_000 || micros < -730_000*86_400_000_000 {
			return dst, false
		}
		t := cut(time.UnixMicro(epoch().UnixMicro()+micros).UTC(), b.Date)
		return binary.BigEndian.AppendUint64(dst, uint64(t.UnixMicro()-epoch().UnixMicro())), true
	}
	const shape = len(time.DateTime)
	if len(value) < shape {
		return dst, false
	}
	t, err := time.Parse(time.DateTime, string(value[:shape]))
	if err != nil {
		return dst, false
	}
	rest := value[shape:]
	if len(rest) > 0 && rest[0] == '.' {
		i := 1
		for i < len(rest) && rest[i] >= '0' && rest[i] <= '9' {
			i++
		}
		rest = rest[i:]
	}
	for i, c := range rest {
		if (i == 0) != (c == '+' || c == '-') || i > 0 && c != ':' && (c < '0' || c > '9') {
			return dst, false // BC, or a zone by its name
		}
	}
	return append(cut(t, b.Date).AppendFormat(dst, time.DateTime), rest...), true
}
