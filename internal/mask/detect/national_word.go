package detect

// wordIDs are the ids with letters. See pass.matchWord for the patterns.
var wordIDs = []wordID{
	{usMBI, "9XX9 XX9 XX99", validMBI, ctxHealth, true},
	{medicalLicense, "AX9999999", validDEA, ctxHealth | ctxLicense, false},
	{usPassport, "A99999999", nil, ctxPassport, false},
	{usDriverLicense, "A9999", nil, ctxLicense, false},
	{usDriverLicense, "A99999", nil, ctxLicense, false},
	{usDriverLicense, "A999999", nil, ctxLicense, false},
	{usDriverLicense, "A9999999", nil, ctxLicense, false},
	{usDriverLicense, "A99999999", nil, ctxLicense, false},
	{usDriverLicense, "A999999999", nil, ctxLicense, false},
	{usDriverLicense, "A999999999999", nil, ctxLicense, false},
	{usDriverLicense, "A9999999999999", nil, ctxLicense, false},
	{usDriverLicense, "A99999999999999", nil, ctxLicense, false},
	{usDriverLicense, "AA999999A", nil, ctxLicense, false},
	{usDriverLicense, "AA999999", nil, ctxLicense, false},
	{usDriverLicense, "AA99999A", nil, ctxLicense, false},
	{usDriverLicense, "99AAA99999", nil, ctxLicense, false},
	{usDriverLicense, "999AA9999", nil, ctxLicense, false},
	{ukNINO, "AA 99 99 99 A", validNINO, ctxIdentity | ctxHealth, true},
	{ukPassport, "AA9999999", nil, ctxPassport, false},
	{ukDrivingLicence, "AXXXX999999XXXXX", validUKLicence, ctxLicense, true},
	{ukPostcode, "A9 9AA", validPostcode, ctxPostcode, false},
	{ukPostcode, "A99 9AA", validPostcode, ctxPostcode, false},
	{ukPostcode, "AA9 9AA", validPostcode, ctxPostcode, false},
	{ukPostcode, "AA99 9AA", validPostcode, ctxPostcode, false},
	{ukPostcode, "A9A 9AA", validPostcode, ctxPostcode, false},
	{ukPostcode, "AA9A 9AA", validPostcode, ctxPostcode, false},
	{ukPostcode, "GIR 0AA", nil, ctxPostcode, false},
	{ukVehicle, "AA99 AAA", validUKPlate, ctxPlate, false},
	{ukVehicle, "A9 AAA", ukPrefixPlate, ctxPlate, false},
	{ukVehicle, "A99 AAA", ukPrefixPlate, ctxPlate, false},
	{ukVehicle, "A999 AAA", ukPrefixPlate, ctxPlate, false},
	{ukVehicle, "AAA 9A", nil, ctxPlate, false},
	{ukVehicle, "AAA 99A", nil, ctxPlate, false},
	{ukVehicle, "AAA 999A", nil, ctxPlate, false},
	{deDriverLicense, "AA99999999X", nil, ctxLicense, false},
	{deDriverLicense, "A99XXXXXX9X", nil, ctxLicense, false},
	{deTradeRegister, "HRA 9", nil, ctxRegister, true},
	{deTradeRegister, "HRA 99", nil, ctxRegister, true},
	{deTradeRegister, "HRA 999", nil, ctxRegister, true},
	{deTradeRegister, "HRA 9999", nil, ctxRegister, true},
	{deTradeRegister, "HRA 99999", nil, ctxRegister, true},
	{deTradeRegister, "HRA 999999", nil, ctxRegister, true},
	{deTradeRegister, "HRB 9", nil, ctxRegister, true},
	{deTradeRegister, "HRB 99", nil, ctxRegister, true},
	{deTradeRegister, "HRB 999", nil, ctxRegister, true},
	{deTradeRegister, "HRB 9999", nil, ctxRegister, true},
	{deTradeRegister, "HRB 99999", nil, ctxRegister, true},
	{deTradeRegister, "HRB 999999", nil, ctxRegister, true},
	{deHealthInsurance, "A999999999", validKVNR, ctxHealth, false},
	{deIDCard, "AXXXXXXX9", validGermanCard, ctxIdentity, false},
	{dePassport, "AXXXXXXX9", validGermanPassport, ctxPassport, false},
	{deSocialSecurity, "99 999999 A 999", validRVNR, ctxIdentity | ctxSSN, true},
	{deVATID, "DE.999.999.999", nil, ctxVAT | ctxTax, true},
	{deVehicle, "A_A 9", nil, ctxPlate, false},
	{deVehicle, "A_A 99", nil, ctxPlate, false},
	{deVehicle, "A_A 999", nil, ctxPlate, false},
	{deVehicle, "A_A 9999", nil, ctxPlate, false},
	{deVehicle, "A_AA 9", nil, ctxPlate, false},
	{deVehicle, "A_AA 99", nil, ctxPlate, false},
	{deVehicle, "A_AA 999", nil, ctxPlate, false},
	{deVehicle, "A_AA 9999", nil, ctxPlate, false},
	{deVehicle, "AA_A 9", nil, ctxPlate, false},
	{deVehicle, "AA_A 99", nil, ctxPlate, false},
	{deVehicle, "AA_A 999", nil, ctxPlate, false},
	{deVehicle, "AA_A 9999", nil, ctxPlate, false},
	{deVehicle, "AA_AA 9", nil, ctxPlate, false},
	{deVehicle, "AA_AA 99", nil, ctxPlate, false},
	{deVehicle, "AA_AA 999", nil, ctxPlate, false},
	{deVehicle, "AA_AA 9999", nil, ctxPlate, false},
	{deVehicle, "AAA_A 9", nil, ctxPlate, false},
	{deVehicle, "AAA_A 99", nil, ctxPlate, false},
	{deVehicle, "AAA_A 999", nil, ctxPlate, false},
	{deVehicle, "AAA_A 9999", nil, ctxPlate, false},
	{deVehicle, "AAA_AA 9", nil, ctxPlate, false},
	{deVehicle, "AAA_AA 99", nil, ctxPlate, false},
	{deVehicle, "AAA_AA 999", nil, ctxPlate, false},
	{esNIF, "99999999 A", validNIF, ctxTax | ctxIdentity, true},
	{esNIF, "9999999 A", validNIF, ctxTax | ctxIdentity, false},
	{esNIE, "A 9999999 A", validNIE, ctxTax | ctxIdentity, true},
	{esPassport, "AAA999999", nil, ctxPassport, false},
	{fiPIC, "999999+999X", validFinnish, ctxIdentity, true},
	{cnResidentID, "99999999999999999X", chineseX, ctxIdentity, true},
	{inGSTIN, "99AAAAA9999AXZX", validGSTIN, ctxTax, true},
	{inPAN, "AAAAA9999A", nil, ctxTax | ctxIdentity, false},
	{inPassport, "A9999999", indianPassport, ctxPassport, false},
	{inVehicle, "AA99AA9999", nil, ctxPlate, false},
	{inVehicle, "AA99A9999", nil, ctxPlate, false},
	{inVehicle, "AA9AA9999", nil, ctxPlate, false},
	{inVehicle, "AA9AAA9999", nil, ctxPlate, false},
	{inVehicle, "AA9999", nil, ctxPlate, false},
	{inVoter, "AAA9999999", nil, ctxVoter | ctxIdentity, false},
	{itDriverLicense, "U1XXXXXXXA", italianLicence, ctxLicense, true},
	{itDriverLicense, "AA9999999A", nil, ctxLicense, false},
	{itFiscalCode, "AAAAAAXXAXXAXXXA", validFiscalCode, ctxTax, true},
	{itIdentityCard, "AA 9999999", nil, ctxIdentity, false},
	{itIdentityCard, "AA99999AA", nil, ctxIdentity, false},
	{itIdentityCard, "9999999AA", nil, ctxIdentity, false},
	{itPassport, "AA9999999", nil, ctxPassport, false},
	{krPassport, "A999A9999", koreanPassport, ctxPassport, false},
	{krPassport, "A99999999", koreanPassport, ctxPassport, false},
	{mxCURP, "AAAA999999AAAAAAX9", validCURP, ctxIdentity, true},
	{ngVehicle, "AAA 999AA", nil, ctxPlate, false},
	{sgNRIC, "A9999999A", validNRIC, ctxIdentity, true},
	{sgNRIC, "A9999999A", nil, ctxIdentity, false},
	{sgUEN, "A99AA9999A", singaporeEntity, ctxCompany, true},
	{sgUEN, "99999999A", singaporeBusiness, ctxCompany, false},
	{sgUEN, "999999999A", singaporeCompany, ctxCompany, false},
	{trPlate, "99 A 99", turkishProvince, ctxPlate, false},
	{trPlate, "99 A 999", turkishProvince, ctxPlate, false},
	{trPlate, "99 A 9999", turkishProvince, ctxPlate, false},
	{trPlate, "99 AA 99", turkishProvince, ctxPlate, false},
	{trPlate, "99 AA 999", turkishProvince, ctxPlate, false},
	{trPlate, "99 AA 9999", turkishProvince, ctxPlate, false},
	{trPlate, "99 AAA 99", turkishProvince, ctxPlate, false},
	{trPlate, "99 AAA 999", turkishProvince, ctxPlate, false},
	{trPlate, "99 AAA 9999", turkishProvince, ctxPlate, false},
}

// validMBI: no letter that looks like a digit, and letters where they must be.
func validMBI(b []byte) bool {
	for _, c := range b {
		if containsByte("SLOIBZ", c) {
			return false
		}
	}
	return b[0] != '0' && isLetter(b[1]) && isLetter(b[4]) && isLetter(b[7]) && isLetter(b[8])
}

func validDEA(b []byte) bool {
	if !containsByte("ABCDEFGHJKLMPRSTUX", b[0]) || isDigit(b[1]) && b[1] != '9' {
		return false
	}
	v := func(k int) int { return int(b[k+1] - '0') }
	return (v(1)+v(3)+v(5)+2*(v(2)+v(4)+v(6)))%10 == v(7)
}

func validNINO(b []byte) bool {
	if containsByte("DFIQUV", b[0]) || containsByte("DFIQUVO", b[1]) || b[8] < 'A' || b[8] > 'D' {
		return false
	}
	switch string(b[:2]) {
	case "BG", "GB", "KN", "NK", "NT", "TN", "ZZ":
		return false
	}
	return true
}

// validUKLicence: five letters of the name, filled up with 9; the year's third
// figure, the month (plus 50 for women), the day, the year's last figure.
func validUKLicence(b []byte) bool {
	filled := false
	for _, c := range b[:5] {
		if isDigit(c) {
			if c != '9' {
				return false
			}
			filled = true
		} else if filled {
			return false
		}
	}
	month, day := decimals(b[6:8]), decimals(b[8:10])
	if month > 50 {
		month -= 50
	}
	return validDate(2000, month, day) && (isLetter(b[11]) && (isLetter(b[12]) || b[12] == '9')) && isDigit(b[13]) && isLetter(b[14]) && isLetter(b[15])
}

func validPostcode(b []byte) bool {
	n := len(b)
	if containsByte("QVX", b[0]) || isLetter(b[1]) && containsByte("IJZ", b[1]) {
		return false
	}
	return !containsByte("CIKMOV", b[n-1]) && !containsByte("CIKMOV", b[n-2])
}

func validUKPlate(b []byte) bool {
	age := decimals(b[2:4])
	return !containsByte("IQZ", b[0]) && !containsByte("IQ", b[1]) && (age >= 2 && age <= 29 || age >= 51 && age <= 79)
}

func ukPrefixPlate(b []byte) bool { return !containsByte("IOQUZ", b[0]) }

// validKVNR: the letter's place as two digits, then digits weighted 1 and 2.
func validKVNR(b []byte) bool {
	place := int(b[0]-'A') + 1
	sum := place/10 + crossSum(place%10*2)
	for k, c := range b[1:9] {
		sum += crossSum(int(c-'0') * (k%2 + 1))
	}
	return sum%10 == int(b[9]-'0')
}

// germanLetters are those that German documents use: none that makes words.
const germanLetters = "CFGHJKLMNPRTVWXYZ"

func germanSerial(b []byte) bool {
	for _, c := range b {
		if isLetter(c) && !containsByte(germanLetters, c) {
			return false
		}
	}
	return true
}

// validGermanCard: new cards carry a check digit, old ones are T and eight digits.
func validGermanCard(b []byte) bool {
	if !germanSerial(b) {
		return false
	}
	if icao(b[:8]) == b[8] {
		return true
	}
	for _, c := range b[1:] {
		if !isDigit(c) {
			return false
		}
	}
	return b[0] == 'T'
}

func validGermanPassport(b []byte) bool { return germanSerial(b) && icao(b[:8]) == b[8] }

// validRVNR: area, birthday, first letter of the name, serial number, check digit.
func validRVNR(b []byte) bool {
	day, month := decimals(b[2:4]), decimals(b[4:6])
	if day > 50 { // the serial numbers of the day had run out
		day -= 50
	}
	if day < 1 || day > 31 || month > 12 {
		return false
	}
	var d [12]int
	n := 0
	for k, c := range b[:11] {
		if k == 8 {
			place := int(c-'A') + 1
			d[n], d[n+1] = place/10, place%10
			n += 2
			continue
		}
		d[n] = int(c - '0')
		n++
	}
	sum := 0
	for k, w := range [...]int{2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1} {
		sum += crossSum(d[k] * w)
	}
	return sum%10 == int(b[11]-'0')
}

const spanishLetters = "TRWAGMYFPDXBNJZSQVHLCKE"

func validNIF(b []byte) bool {
	n := len(b) - 1
	return spanishLetters[decimals(b[:n])%23] == b[n]
}

func validNIE(b []byte) bool {
	if b[0] < 'X' || b[0] > 'Z' {
		return false
	}
	return spanishLetters[(int(b[0]-'X')*10000000+decimals(b[1:8]))%23] == b[8]
}

func validFinnish(b []byte) bool {
	y := decimals(b[4:6])
	switch b[6] {
	case '+':
		y += 1800
	case '-', 'U', 'V', 'W', 'X', 'Y':
		y += 1900
	case 'A', 'B', 'C', 'D', 'E', 'F':
		y += 2000
	default:
		return false
	}
	serial := decimals(b[7:10])
	return validDate(y, decimals(b[2:4]), decimals(b[:2])) && serial >= 2 && "0123456789ABCDEFHJKLMNPRSTUVWXY"[(decimals(b[:6])*1000+serial)%31] == b[10]
}

func chineseX(b []byte) bool {
	if b[17] != 'X' {
		return false
	}
	var d [17]byte
	for k := range d {
		d[k] = b[k] - '0'
	}
	return chineseDate(d[:]) && chineseCheck(d[:]) == 10
}

func validGSTIN(b []byte) bool {
	state := decimals(b[:2])
	return state >= 1 && state <= 37 && b[12] != '0'
}

func indianPassport(b []byte) bool { return !containsByte("QXZ", b[0]) && b[1] != '0' && b[7] != '0' }

func italianLicence(b []byte) bool {
	for _, c := range b[2:9] {
		if containsByte("AEIOQV", c) {
			return false
		}
	}
	return true
}

// validFiscalCode: digits may stand as letters where two people would have the
// same code; the month is one of twelve letters.
func validFiscalCode(b []byte) bool {
	for _, k := range [...]int{6, 7, 9, 10, 12, 13, 14} {
		if isLetter(b[k]) && !containsByte("LMNPQRSTUV", b[k]) {
			return false
		}
	}
	return containsByte("ABCDEHLMPRST", b[8])
}

func koreanPassport(b []byte) bool { return containsByte("MSRODG", b[0]) }

func validCURP(b []byte) bool {
	if !validDate(decimals(b[4:6]), decimals(b[6:8]), decimals(b[8:10])) || b[10] != 'H' && b[10] != 'M' && b[10] != 'X' {
		return false
	}
	sum := 0
	for k, c := range b[:17] {
		v := alnumValue(c)
		if v > 23 { // Ñ comes before O
			v++
		}
		sum += v * (18 - k)
	}
	return (10-sum%10)%10 == int(b[17]-'0')
}

// checkLetter picks a letter by the weighted sum of digits in text.
func checkLetter(b []byte, add int, letters string, weights ...int) byte {
	for k, w := range weights {
		add += int(b[k]-'0') * w
	}
	return letters[add%len(letters)]
}

func validNRIC(b []byte) bool {
	switch b[0] {
	case 'S':
		return b[8] == checkLetter(b[1:], 0, "JZIHGFEDCBA", 2, 7, 6, 5, 4, 3, 2)
	case 'T':
		return b[8] == checkLetter(b[1:], 4, "JZIHGFEDCBA", 2, 7, 6, 5, 4, 3, 2)
	case 'F':
		return b[8] == checkLetter(b[1:], 0, "XWUTRQPNMLK", 2, 7, 6, 5, 4, 3, 2)
	case 'G':
		return b[8] == checkLetter(b[1:], 4, "XWUTRQPNMLK", 2, 7, 6, 5, 4, 3, 2)
	}
	return false
}

func singaporeBusiness(b []byte) bool {
	return b[8] == checkLetter(b, 0, "XMKECAWLJDB", 10, 4, 9, 3, 8, 2, 7, 1)
}

func singaporeCompany(b []byte) bool {
	return b[9] == checkLetter(b, 0, "ZKCMDNERGWH", 10, 8, 6, 4, 9, 7, 5, 3, 1)
}

func singaporeEntity(b []byte) bool { return containsByte("TSR", b[0]) }

func turkishProvince(b []byte) bool {
	v := decimals(b[:2])
	return v >= 1 && v <= 81
}
