package detect

// ibanLengths are the lengths that the SWIFT registry gives for each country,
// and those of countries that use the format without being in it.
var ibanLengths = func() (t [26 * 26]uint8) {
	const all = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27" +
		"GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30" +
		"NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30" +
		"DZ26AO25BJ28BF28CV25CM27CF27TD27KM27CG27CI28GA27GW25IR26MG27ML28MA28MZ25NE28SN28TG28"
	for i := 0; i < len(all); i += 4 {
		t[int(all[i]-'A')*26+int(all[i+1]-'A')] = (all[i+2]-'0')*10 + all[i+3] - '0'
	}
	return t
}()

// iban parses an account number at i, in one piece or in groups. It returns 0
// when there is none.
func (p *pass) iban(i int) int {
	a, b := upper(p.at(i)), upper(p.at(i+1))
	if !isUpper(a) || !isUpper(b) {
		return 0
	}
	want := int(ibanLengths[int(a-'A')*26+int(b-'A')])
	if want == 0 {
		return 0
	}
	var f uint16
	var first, rest, n int // the checksum is over the rest, then the first four characters
	k := i
	for n < want {
		c := p.at(k)
		if !isAlnum(c) {
			sep, width := separator(p.text, k)
			if n < 2 || (sep != ' ' && sep != '-') || !isAlnum(p.at(k+width)) {
				return 0
			}
			k += width
			continue
		}
		f |= features[c]
		if n == 2 || n == 3 {
			if !isDigit(c) {
				return 0
			}
		}
		v := int(c - '0')
		m := 10
		if !isDigit(c) {
			v = int(upper(c)-'A') + 10
			m = 100
		}
		if n < 4 {
			first = first*m + v
		} else {
			rest = (rest*m + v) % 97
		}
		n++
		k++
	}
	if isAlnum(p.at(k)) || f&fUpper != 0 && f&fLower != 0 {
		return 0
	}
	if (rest*1000000+first)%97 != 1 {
		return 0
	}
	return k
}
