package detect

// numericIDs are the ids of digits alone. Checksums and structures are those
// that the issuers publish. The first that fits names the value, so those that
// check the least come last.
var numericIDs = []numericID{
	{usITIN, 9, validITIN, []uint32{0x324, 0x36, 0x54}, "- ", ctxTax | ctxSSN, true},
	{abaRouting, 9, validABA, []uint32{0x441}, "-", ctxRouting | ctxBank, true},
	{usNPI, 10, validNPI, []uint32{0x433}, "- ", ctxNPI | ctxHealth, true},
	{usPassport, 9, nil, nil, "", ctxPassport, false},
	{usDriverLicense, 7, nil, nil, "", ctxLicense, false},
	{usDriverLicense, 8, nil, nil, "", ctxLicense, false},
	{usDriverLicense, 9, nil, []uint32{0x333, 0x324}, "- ", ctxLicense, false},
	{usDriverLicense, 10, nil, []uint32{0x424}, "-", ctxLicense, false},
	{usDriverLicense, 12, nil, nil, "", ctxLicense, false},
	{ukNHS, 10, validNHS, []uint32{0x334}, "- ", ctxHealth, true},
	{auABN, 11, validABN, []uint32{0x2333}, " ", ctxCompany | ctxTax, true},
	{auACN, 9, validACN, []uint32{0x333}, " ", ctxCompany, true},
	{auTFN, 9, validTFN, []uint32{0x333}, " ", ctxTax, true},
	{auMedicare, 10, validMedicare, []uint32{0x451}, " ", ctxHealth, true},
	{brCPF, 11, validCPF, []uint32{0x3332}, ".-/ ", ctxTax | ctxIdentity, true},
	{brCNPJ, 14, validCNPJ, []uint32{0x23342}, ".-/ ", ctxCompany | ctxTax, true},
	{caSIN, 9, validSIN, []uint32{0x333}, "- ", ctxIdentity | ctxSSN, true},
	{chAHV, 13, validAHV, []uint32{0x3442}, ".", ctxIdentity | ctxSSN, true},
	{cnResidentID, 18, validChinese, nil, "", ctxIdentity, true},
	{deTaxID, 11, validGermanTaxID, []uint32{0x2333}, " /", ctxTax, true},
	{deTaxNumber, 13, germanState, nil, "", ctxTax, false},
	{deTaxNumber, 10, nil, []uint32{0x235, 0x244}, "/", ctxTax, true},
	{deTaxNumber, 11, nil, []uint32{0x335, 0x344}, "/", ctxTax, true},
	{deLANR, 9, validLANR, nil, "", ctxHealth, false},
	{deBSNR, 9, germanPractice, nil, "", ctxHealth, false},
	{dePLZ, 5, germanPostcode, nil, "", ctxPostcode, false},
	{frNIR, 15, validNIR, []uint32{0x1222332}, " ", ctxIdentity | ctxSSN, true},
	{inAadhaar, 12, validAadhaar, []uint32{0x444}, "- :", ctxIdentity, true},
	{itVAT, 11, validItalianVAT, nil, "", ctxVAT | ctxTax, false},
	{krRRN, 13, validRRN, []uint32{0x67}, "-", ctxIdentity, true},
	{krFRN, 13, validFRN, []uint32{0x67}, "-", ctxIdentity, true},
	{krBRN, 10, validBRN, []uint32{0x325}, "-", ctxCompany, true},
	{krDriverLicense, 12, koreanLicense, []uint32{0x2262}, "-", ctxLicense, true},
	{nlBSN, 9, validBSN, []uint32{0x432, 0x333}, ". ", ctxIdentity | ctxTax, false},
	{phTIN, 12, validPhilippineTIN, []uint32{0x3333}, "- ", ctxTax, true},
	{phTIN, 9, validPhilippineTIN, []uint32{0x333}, "- ", ctxTax, false},
	{plPESEL, 11, validPESEL, nil, "", ctxIdentity, false},
	{sePersonnummer, 12, validSwedish, []uint32{0x84}, "-", ctxIdentity, true},
	{sePersonnummer, 10, validSwedish, []uint32{0x64}, "-", ctxIdentity, true},
	{seOrganisation, 10, validSwedishOrg, []uint32{0x64}, "-", ctxCompany, true},
	{thTNIN, 13, validThai, []uint32{0x14521}, "- ", ctxIdentity, true},
	{trNationalID, 11, validTurkish, nil, "", ctxIdentity, false},
	{zaID, 13, validSouthAfrican, []uint32{0x6421, 0x643, 0x6412}, " ", ctxIdentity, true},
	{usBankNumber, 8, nil, nil, "", ctxBank, false},
	{usBankNumber, 9, nil, nil, "", ctxBank, false},
	{usBankNumber, 10, nil, nil, "", ctxBank, false},
	{usBankNumber, 11, nil, nil, "", ctxBank, false},
	{usBankNumber, 12, nil, nil, "", ctxBank, false},
	{usBankNumber, 13, nil, nil, "", ctxBank, false},
	{usBankNumber, 14, nil, nil, "", ctxBank, false},
	{usBankNumber, 15, nil, nil, "", ctxBank, false},
	{usBankNumber, 16, nil, nil, "", ctxBank, false},
	{usBankNumber, 17, nil, nil, "", ctxBank, false},
	{auMedicare, 11, validMedicare, []uint32{0x4511, 0x452}, " /", ctxHealth, true},
	{ngNIN, 11, validNIN, nil, "", ctxIdentity, false},
}

func validNIN(d []byte) bool { return !same(d) && verhoeff(d) }

func validITIN(d []byte) bool {
	g := number(d[3:5])
	return d[0] == 9 && (g >= 50 && g <= 65 || g >= 70 && g <= 88 || g >= 90 && g <= 92 || g >= 94)
}

func validABA(d []byte) bool {
	two := number(d[:2])
	return (two <= 12 || two >= 21 && two <= 32 || two >= 61 && two <= 72 || two == 80) && !same(d) &&
		weighted(d, 3, 7, 1, 3, 7, 1, 3, 7, 1)%10 == 0
}

// validNPI: Luhn over the digits behind 80840, which add 24.
func validNPI(d []byte) bool {
	if d[0] != 1 && d[0] != 2 {
		return false
	}
	sum := 24
	for k, v := range d {
		w := int(v)
		if k%2 == 0 {
			if w *= 2; w > 9 {
				w -= 9
			}
		}
		sum += w
	}
	return sum%10 == 0
}

func validNHS(d []byte) bool {
	return !same(d) && (11-weighted(d, 10, 9, 8, 7, 6, 5, 4, 3, 2)%11)%11 == int(d[9])
}

func validABN(d []byte) bool {
	return !same(d) && (weighted(d, 10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)-10)%89 == 0
}

func validACN(d []byte) bool {
	return !same(d) && (10-weighted(d, 8, 7, 6, 5, 4, 3, 2, 1)%10)%10 == int(d[8])
}

func validTFN(d []byte) bool {
	return !same(d) && weighted(d, 1, 4, 3, 7, 5, 8, 6, 9, 10)%11 == 0
}

func validMedicare(d []byte) bool {
	return d[0] >= 2 && d[0] <= 6 && weighted(d, 1, 3, 7, 9, 1, 3, 7, 9)%10 == int(d[8])
}

func validCPF(d []byte) bool {
	check := func(v int) byte {
		if v = v * 10 % 11; v == 10 {
			return 0
		}
		return byte(v)
	}
	return !same(d) && check(weighted(d, 10, 9, 8, 7, 6, 5, 4, 3, 2)) == d[9] && check(weighted(d, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2)) == d[10]
}

func validCNPJ(d []byte) bool {
	check := func(v int) byte {
		if v %= 11; v < 2 {
			return 0
		}
		return byte(11 - v)
	}
	return !same(d) && check(weighted(d, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)) == d[12] && check(weighted(d, 6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)) == d[13]
}

func validSIN(d []byte) bool { return d[0] != 0 && d[0] != 8 && !same(d) && luhn(d) }

func validAHV(d []byte) bool {
	return number(d[:3]) == 756 && (10-weighted(d, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3)%10)%10 == int(d[12])
}

func validChinese(d []byte) bool {
	return chineseDate(d) && chineseCheck(d) == d[17]
}

func chineseDate(d []byte) bool {
	y := number(d[6:10])
	return d[0] != 0 && y >= 1900 && y <= 2099 && validDate(y, number(d[10:12]), number(d[12:14]))
}

// chineseCheck is the last place of a resident's number; 10 is written X.
func chineseCheck(d []byte) byte {
	return byte((12 - weighted(d, 7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)%11) % 11)
}

func validGermanTaxID(d []byte) bool {
	var times [10]int
	for _, v := range d[:10] {
		if times[v]++; times[v] > 3 {
			return false
		}
	}
	return d[0] != 0 && mod1110(d[:10]) == int(d[10])
}

// germanState: the federal format begins with the state's number, 01 to 16.
func germanState(d []byte) bool {
	state := number(d[:2])
	return state >= 1 && state <= 16
}

func validLANR(d []byte) bool {
	return !same(d) && (10-weighted(d, 4, 9, 4, 9, 4, 9)%10)%10 == int(d[6])
}

func germanPractice(d []byte) bool { return number(d[:2]) != 0 && !same(d) }

func germanPostcode(d []byte) bool {
	v := number(d)
	return v > 1000 && v < 99999
}

func validNIR(d []byte) bool {
	month := number(d[3:5])
	return (d[0] == 1 || d[0] == 2) && (month >= 1 && month <= 12 || month >= 20) && 97-number(d[:13])%97 == number(d[13:])
}

func validAadhaar(d []byte) bool {
	palindrome := true
	for k := range 6 {
		palindrome = palindrome && d[k] == d[11-k]
	}
	return d[0] >= 2 && !palindrome && verhoeff(d)
}

func validItalianVAT(d []byte) bool { return !same(d) && luhn(d) }

// koreanBirth checks the birthday and the place of registration of a resident's number.
func koreanBirth(d []byte) bool {
	return validDate(number(d[:2]), number(d[2:4]), number(d[4:6])) && number(d[7:9]) <= 96
}

func validRRN(d []byte) bool { return d[6] >= 1 && d[6] <= 4 && koreanBirth(d) }

func validFRN(d []byte) bool {
	return d[6] >= 5 && d[6] <= 8 && validDate(number(d[:2]), number(d[2:4]), number(d[4:6]))
}

func validBRN(d []byte) bool {
	return (10-(weighted(d, 1, 3, 7, 1, 3, 7, 1, 3, 5)+int(d[8])*5/10)%10)%10 == int(d[9])
}

func koreanLicense(d []byte) bool {
	region := number(d[:2])
	return region >= 11 && region <= 28
}

func validBSN(d []byte) bool {
	return !same(d) && weighted(d, 9, 8, 7, 6, 5, 4, 3, 2, -1)%11 == 0
}

func validPhilippineTIN(d []byte) bool {
	return !same(d) && weighted(d, 9, 8, 7, 6, 5, 4, 3, 2)%11 == int(d[8])
}

func validPESEL(d []byte) bool {
	// The month carries the century: 21 is January 2001.
	return validDate(number(d[:2]), number(d[2:4])%20, number(d[4:6])) && (10-weighted(d, 1, 3, 7, 9, 1, 3, 7, 9, 1, 3)%10)%10 == int(d[10])
}

func validSwedish(d []byte) bool {
	y := number(d[:2])
	if len(d) == 12 {
		if y = number(d[:4]); y < 1850 || y > 2099 {
			return false
		}
		d = d[2:]
	}
	day := number(d[4:6])
	if day > 60 { // a coordination number
		day -= 60
	}
	return validDate(y, number(d[2:4]), day) && luhn(d)
}

func validSwedishOrg(d []byte) bool { return d[2] >= 2 && d[0] != 0 && luhn(d) }

func validThai(d []byte) bool {
	province := number(d[1:3])
	ok := province >= 10 && province <= 27 || province >= 30 && province <= 58 || province >= 60 && province <= 67 ||
		province >= 70 && province <= 77 || province >= 80 && province <= 86 || province >= 90 && province <= 96
	return ok && d[0] >= 1 && d[0] <= 8 && !same(d) && (11-weighted(d, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2)%11)%10 == int(d[12])
}

func validTurkish(d []byte) bool {
	odd := int(d[0] + d[2] + d[4] + d[6] + d[8])
	even := int(d[1] + d[3] + d[5] + d[7])
	return d[0] != 0 && ((odd*7-even)%10+10)%10 == int(d[9]) && (odd+even+int(d[9]))%10 == int(d[10])
}

func validSouthAfrican(d []byte) bool {
	return validDate(number(d[:2]), number(d[2:4]), number(d[4:6])) && d[10] <= 2 && luhn(d)
}
