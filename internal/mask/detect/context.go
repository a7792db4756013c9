package detect

// context is a set of words seen beside a value.
type context uint64

const (
	ctxCard context = 1 << iota
	ctxSSN
	ctxPhone
	ctxLicense // driving licence
	ctxPassport
	ctxBank
	ctxRouting
	ctxTax
	ctxHealth
	ctxPlate
	ctxIdentity
	ctxPostcode
	ctxRegister
	ctxVAT
	ctxNPI
	ctxVoter
	ctxCompany
	ctxDate
	ctxVersion
)

const (
	contextBefore = 56 // bytes looked at before a value
	contextAfter  = 28
	maxWord       = 24
)

// contextWords are single words in lower case, as they stand in text or as
// parts of an identifier. One that is given as a stem ends in *.
var contextWords = map[string]context{
	"card": ctxCard, "cards": ctxCard, "cc": ctxCard, "ccn": ctxCard, "credit": ctxCard, "creditcard": ctxCard, "debit": ctxCard, "visa": ctxCard,
	"mastercard": ctxCard, "amex": ctxCard, "maestro": ctxCard, "pan": ctxCard | ctxTax, "carte": ctxCard, "karte": ctxCard, "kreditkarte": ctxCard, "tarjeta": ctxCard, "cardnumber": ctxCard,
	"ssn": ctxSSN, "ssns": ctxSSN, "social": ctxSSN, "socialsecurity": ctxSSN, "ss": ctxSSN, "itin": ctxTax, "tin": ctxTax, "tinnumber": ctxTax,
	"phone": ctxPhone, "phones": ctxPhone, "telephone": ctxPhone, "tel": ctxPhone, "fax": ctxPhone, "mobile": ctxPhone, "cell": ctxPhone, "cellphone": ctxPhone,
	"call": ctxPhone, "sms": ctxPhone, "text": ctxPhone, "office": ctxPhone, "telefon": ctxPhone, "telefono": ctxPhone, "teléfono": ctxPhone, "téléphone": ctxPhone,
	"handy": ctxPhone, "mobil": ctxPhone, "mobiel": ctxPhone, "telefoon": ctxPhone, "portable": ctxPhone, "móvil": ctxPhone, "movil": ctxPhone, "celular": ctxPhone,
	"whatsapp": ctxPhone, "contact": ctxPhone, "dial": ctxPhone, "ring": ctxPhone, "messages": ctxPhone, "phonenumber": ctxPhone, "msisdn": ctxPhone,
	"telefone": ctxPhone, "cellulare": ctxPhone, "gsm": ctxPhone, "puhelin": ctxPhone, "hotline": ctxPhone, "telephones": ctxPhone, "landline": ctxPhone, "pager": ctxPhone,
	"driver": ctxLicense, "drivers": ctxLicense, "driving": ctxLicense, "licence": ctxLicense, "license": ctxLicense, "dl": ctxLicense, "permit": ctxLicense,
	"führerschein": ctxLicense, "fuehrerschein": ctxLicense, "fahrerlaubnis": ctxLicense, "patente": ctxLicense, "dln": ctxLicense, "lic": ctxLicense,
	"passport": ctxPassport, "passports": ctxPassport, "pass": ctxPassport, "pasaporte": ctxPassport, "passaporto": ctxPassport, "passeport": ctxPassport, "reisepass": ctxPassport, "travel": ctxPassport, "passnummer": ctxPassport, "여권": ctxPassport,
	"bank": ctxBank, "account": ctxBank, "acct": ctxBank, "checking": ctxBank, "savings": ctxBank, "konto": ctxBank, "kontonummer": ctxBank,
	"routing": ctxRouting, "aba": ctxRouting, "rtn": ctxRouting, "transit": ctxRouting,
	"tax": ctxTax, "steuer": ctxTax, "steuernummer": ctxTax, "steuerid": ctxTax, "idnr": ctxTax, "taxpayer": ctxTax, "fiscal": ctxTax, "fiscale": ctxTax, "nif": ctxTax, "taxid": ctxTax, "bir": ctxTax, "finanzamt": ctxTax, "stnr": ctxTax, "identifikationsnummer": ctxTax, "cpf": ctxTax, "steueridentifikationsnummer": ctxTax,
	"nhs": ctxHealth, "health": ctxHealth, "medicare": ctxHealth, "mbi": ctxHealth, "krankenkasse": ctxHealth, "kvnr": ctxHealth, "versichertennummer": ctxHealth, "patient": ctxHealth, "bsnr": ctxHealth, "lanr": ctxHealth, "arztnummer": ctxHealth, "praxis": ctxHealth, "betriebsstättennummer": ctxHealth, "dea": ctxHealth, "insurance": ctxHealth, "arztes": ctxHealth, "doctor": ctxHealth,
	"plate": ctxPlate, "plates": ctxPlate, "kennzeichen": ctxPlate, "vehicle": ctxPlate, "registration": ctxPlate | ctxRegister, "plaka": ctxPlate, "car": ctxPlate, "reg": ctxPlate | ctxRegister, "kfz": ctxPlate,
	"identity": ctxIdentity, "national": ctxIdentity, "nationalid": ctxIdentity, "nin": ctxIdentity, "nino": ctxIdentity, "personalausweis": ctxIdentity, "ausweis": ctxIdentity, "ausweisnummer": ctxIdentity, "pesel": ctxIdentity, "personnummer": ctxIdentity, "pnr": ctxIdentity, "hetu": ctxIdentity, "henkilötunnus": ctxIdentity, "henkilotunnus": ctxIdentity, "aadhaar": ctxIdentity, "aadhar": ctxIdentity, "uidai": ctxIdentity, "nric": ctxIdentity, "fin": ctxIdentity, "rrn": ctxIdentity, "frn": ctxIdentity, "kimlik": ctxIdentity, "tckn": ctxIdentity, "tc": ctxIdentity, "tnin": ctxIdentity, "dni": ctxIdentity, "nie": ctxIdentity, "citizen": ctxIdentity, "resident": ctxIdentity, "rsa": ctxIdentity, "sa": ctxIdentity, "sin": ctxIdentity, "nas": ctxIdentity, "bsn": ctxIdentity | ctxTax, "burgerservicenummer": ctxIdentity, "curp": ctxIdentity, "sozialversicherung": ctxIdentity, "sozialversicherungsausweis": ctxIdentity, "rvnr": ctxIdentity, "rentenversicherung": ctxIdentity, "turkish": ctxIdentity, "thai": ctxIdentity, "บัตรประชาชน": ctxIdentity, "เลขบัตรประชาชน": ctxIdentity, "주민등록번호": ctxIdentity, "nir": ctxIdentity, "sécurité": ctxIdentity, "identification": ctxIdentity, "identidad": ctxIdentity, "nationality": ctxIdentity, "身份证": ctxIdentity, "ahv": ctxIdentity,
	"zip": ctxPostcode, "postcode": ctxPostcode, "plz": ctxPostcode, "postleitzahl": ctxPostcode, "postal": ctxPostcode,
	"hrb": ctxRegister, "hra": ctxRegister, "handelsregister": ctxRegister, "abn": ctxCompany, "acn": ctxCompany, "company": ctxCompany, "business": ctxCompany, "brn": ctxCompany, "uen": ctxCompany, "gstin": ctxTax | ctxCompany, "gst": ctxTax | ctxCompany, "organisationsnummer": ctxCompany, "orgnr": ctxCompany, "cnpj": ctxCompany, "org": ctxCompany,
	"vat": ctxVAT, "ust": ctxVAT, "iva": ctxVAT, "partita": ctxVAT, "ustid": ctxVAT, "umsatzsteuer": ctxVAT,
	"version": ctxVersion, "versions": ctxVersion, "ver": ctxVersion, "release": ctxVersion, "firmware": ctxVersion, "build": ctxVersion, "oid": ctxVersion,
	"电话": ctxPhone, "手机": ctxPhone, "電話": ctxPhone, "携帯": ctxPhone, "전화": ctxPhone, "휴대폰": ctxPhone, "телефон": ctxPhone, "тел": ctxPhone, "моб": ctxPhone, "τηλέφωνο": ctxPhone, "puh": ctxPhone, "tlf": ctxPhone, "tfn": ctxPhone | ctxTax, "telf": ctxPhone, "cel": ctxPhone, "mob": ctxPhone, "ph": ctxPhone, "telefonu": ctxPhone, "numara": ctxPhone, "telefonnummer": ctxPhone, "rufnummer": ctxPhone, "mobilnummer": ctxPhone, "handynummer": ctxPhone, "telefoonnummer": ctxPhone,
	"npi": ctxNPI, "provider": ctxNPI, "voter": ctxVoter, "vote": ctxVoter, "epic": ctxVoter, "election": ctxVoter,
}

// context gathers the words before text[start:end], and the few behind it
// that explain it in hindsight, as in "978-249-9678 fax".
func (p *pass) context(start, end int) context {
	if p.seenEnd == end && p.seenStart == start && end > 0 {
		return p.seen
	}
	c := p.label | p.wordsIn(max(0, start-contextBefore), start, start-contextBefore > 0)
	stop := end
	for limit := min(len(p.text), end+contextAfter); stop < limit && p.text[stop] != '\n'; {
		stop++
	}
	c |= p.wordsIn(end, stop, false)
	p.seenStart, p.seenEnd, p.seen = start, end, c
	return c
}

// wordsIn looks up the words in text[i:end]. With cut, i may be inside a word,
// which is then left out.
func (p *pass) wordsIn(i, end int, cut bool) context {
	if cut {
		for i < end && wordByte(p.text[i]) {
			i++
		}
	}
	var c context
	var buf [maxWord * 2]byte
	for i < end {
		if !wordByte(p.text[i]) {
			i++
			continue
		}
		n := 0
		for i < end && wordByte(p.text[i]) && n < len(buf) {
			b := p.text[i]
			if n > 0 && isUpper(b) && isLower(p.text[i-1]) {
				// phoneNumber is two words, and one.
				c |= contextWords[string(buf[:n])]
				n = 0
			}
			buf[n] = lower(b)
			n++
			i++
		}
		if n >= 2 {
			c |= contextWords[string(buf[:n])]
		}
	}
	return c
}

func wordByte(c byte) bool { return isLetter(c) || c >= 0x80 }

// Label is what the name of a column or field says about its values.
type Label uint64

// LabelOf reads a label from a name such as "phone_number" or "cardNo".
func LabelOf(name string) Label {
	p := pass{text: []byte(name)}
	return Label(p.wordsIn(0, len(name), false))
}
