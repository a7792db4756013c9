package detect

// weighted is the sum of digits times weights.
func weighted(d []byte, weights ...int) int {
	sum := 0
	for k, w := range weights {
		sum += int(d[k]) * w
	}
	return sum
}

// mod1110 is the check digit of ISO 7064 MOD 11,10 over d.
func mod1110(d []byte) int {
	p := 10
	for _, v := range d {
		s := (int(v) + p) % 10
		if s == 0 {
			s = 10
		}
		p = s * 2 % 11
	}
	return (11 - p) % 10
}

// verhoeff says whether d passes Verhoeff's checksum.
func verhoeff(d []byte) bool {
	const (
		multiply = "0123456789123406789523401789563401289567401239567859876043216598710432765982104387659321049876543210"
		permute  = "01234567891576283094580379614289160435279453126870428657390127938064157046913258"
	)
	c := 0
	for k := range d {
		v := int(d[len(d)-1-k])
		c = int(multiply[c*10+int(permute[k%8*10+v]-'0')] - '0')
	}
	return c == 0
}

// validDate says whether there is such a day. Years of two digits are of the
// century that puts them before 2030.
func validDate(y, m, d int) bool {
	if y < 100 {
		if y < 30 {
			y += 2000
		} else {
			y += 1900
		}
	}
	if m < 1 || m > 12 || d < 1 {
		return false
	}
	days := [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[m-1]
	if m == 2 && y%4 == 0 && (y%100 != 0 || y%400 == 0) {
		days = 29
	}
	return d <= days
}

// icao is the check digit of ICAO 9303 over capitals and digits.
func icao(b []byte) byte {
	sum := 0
	for k, c := range b {
		sum += alnumValue(c) * [...]int{7, 3, 1}[k%3]
	}
	return byte('0' + sum%10)
}

// alnumValue counts letters on from the digits: A is 10.
func alnumValue(c byte) int {
	if isDigit(c) {
		return int(c - '0')
	}
	return int(c-'A') + 10
}

// crossSum is the sum of a number's decimal digits.
func crossSum(v int) int {
	sum := 0
	for ; v > 0; v /= 10 {
		sum += v % 10
	}
	return sum
}

// decimals is the number that a few digits in text stand for.
func decimals(b []byte) int {
	v := 0
	for _, c := range b {
		v = v*10 + int(c-'0')
	}
	return v
}
