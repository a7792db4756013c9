package detect

// luhn says whether the digits pass the checksum of ISO/IEC 7812-1.
func luhn(d []byte) bool {
	sum, double := 0, false
	for k := len(d) - 1; k >= 0; k-- {
		v := int(d[k])
		if double {
			v *= 2
			if v > 9 {
				v -= 9
			}
		}
		sum += v
		double = !double
	}
	return sum%10 == 0
}

// issuer says how well a number's first digits and length fit a card issuer.
type issuer uint8

const (
	noIssuer   issuer = iota
	rareIssuer        // only beside a word that says card
	anyIssuer
)

// cardIssuer knows the ranges of ISO/IEC 7812 issuers as networks publish them.
func cardIssuer(d []byte) issuer {
	n := len(d)
	two := int(d[0])*10 + int(d[1])
	three := two*10 + int(d[2])
	four := three*10 + int(d[3])
	fits := func(ok bool) issuer {
		if ok {
			return anyIssuer
		}
		return noIssuer
	}
	switch {
	case d[0] == 4: // Visa
		return fits(n == 13 || n == 16 || n == 18 || n == 19)
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		return fits(n == 16)
	case two == 34 || two == 37: // American Express
		return fits(n == 15)
	case four == 2131 || four == 1800: // JCB, the old series
		return fits(n == 15)
	case two == 35: // JCB, which uses 3528 to 3589
		return fits(n >= 16)
	case three >= 300 && three <= 305, four == 3095, two == 36, two == 38, two == 39: // Diners Club
		return fits(n >= 14 && n != 15 && n != 18)
	case four == 6011, two == 65, three >= 644 && three <= 649, two == 62: // Discover, UnionPay, RuPay
		return fits(n >= 16)
	case four >= 2200 && four <= 2204: // Mir
		return fits(n >= 16)
	case four == 5018, four == 5020, four == 5038, four == 5893, four == 6304, four == 6390, four == 604,
		four == 6759, four >= 6761 && four <= 6763, two >= 56 && two <= 58, four == 5019: // Maestro, Dankort
		return fits(n >= 12)
	case two == 50, two == 60, two == 81, two == 82, d[0] == 6:
		if n >= 16 {
			return anyIssuer
		}
		return rareIssuer
	case two == 22, two == 23, two == 26, two == 27:
		return rareIssuer
	}
	return noIssuer
}

// card looks for the longest card number that begins with group k.
func (p *pass) card(d *digits, k int) (last int, ok bool) {
	if k > 0 && (d.before[k] == '.' || d.before[k] == '/' || d.before[k] == ':') {
		return 0, false
	}
	for last := d.n - 1; last >= k; last-- {
		n := d.count[last+1] - d.count[k]
		if n > 19 {
			continue
		}
		if n < 12 {
			return 0, false
		}
		sep, ok := d.uniform(k, last)
		if !ok || sep == ':' || sep == '/' || !cardGroups(d, k, last, sep) {
			continue
		}
		if k > 0 && sep != 0 && d.before[k] == sep && sep != ' ' || last+1 < d.n && (d.before[last+1] == '.' || d.before[last+1] == sep && sep != ' ') {
			continue
		}
		digits := d.of(k, last)
		fit := cardIssuer(digits)
		if fit == noIssuer || !luhn(digits) || same(digits) {
			continue
		}
		if n <= 14 && gtin(digits) {
			fit = rareIssuer // as likely the number of an article
		}
		if fit == rareIssuer && p.context(d.start[k], d.end[last])&ctxCard == 0 {
			continue
		}
		return last, true
	}
	return 0, false
}

// cardGroups says whether digits are grouped as on a card: in one group, in
// fours with a rest, as American Express and Diners Club do it, or one by one.
func cardGroups(d *digits, from, to int, sep byte) bool {
	groups := to - from + 1
	if groups == 1 {
		return true
	}
	switch d.shape(from, to) {
	case 0x465, 0x464, 0x66, 0x88, 0x445, 0x556, 0x655, 0x4435, 0x68, 0x86, 0x412, 0x6613, 0x613, 0x454, 0x5555, 0x43333, 0x3333, 0x33333:
		return true
	}
	four := true
	for k := from; k <= to; k++ {
		if d.len(k) != 4 && (k < to || d.len(k) > 4) {
			four = false
		}
	}
	if four {
		return true
	}
	for k := from; k <= to; k++ {
		if d.len(k) != d.len(from) || d.len(k) > 2 {
			return false
		}
	}
	return sep != '.'
}

// same says whether all digits are one.
func same(d []byte) bool {
	for _, v := range d {
		if v != d[0] {
			return false
		}
	}
	return true
}

// gtin says whether the digits pass the checksum of a trade item number, which
// articles carry as a bar code.
func gtin(d []byte) bool {
	sum := 0
	for k := range d {
		v := int(d[len(d)-1-k])
		if k%2 == 1 {
			v *= 3
		}
		sum += v
	}
	return sum%10 == 0
}
