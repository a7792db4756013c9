package detect

// context is a set of words seen beside a value.
type context uint64

const (
	ctxCard context = 1 << iota
	ctxSSN
	ctxPhone
	ctxReach   // may be about a telephone, or about anything else
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
	"phone": ctxPhone, "phones": ctxPhone, "telephone": ctxPhone, "tel": ctxPhone, "fax": ctxPhone, "mobile": ctxPhone, "cell": ctxReach, "cellphone": ctxPhone,
	"call": ctxReach, "sms": ctxPhone, "text": ctxReach, "office": ctxReach, "telefon": ctxPhone, "telefono": ctxPhone, "teléfono": ctxPhone, "téléphone": ctxPhone,
	"handy": ctxReach, "mobil": ctxPhone, "mobiel": ctxPhone, "telefoon": ctxPhone, "portable": ctxReach, "móvil": ctxPhone, "movil": ctxPhone, "celular": ctxPhone,
	"whatsapp": ctxPhone, "contact": ctxReach, "dial": ctxReach, "ring": ctxReach, "messages": ctxReach, "phonenumber": ctxPhone, "msisdn": ctxPhone,
	"telefone": ctxPhone, "cellulare": ctxPhone, "gsm": ctxPhone, "puhelin": ctxPhone, "hotline": ctxReach, "telephones": ctxPhone, "landline": ctxPhone, "pager": ctxReach,
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
	"电话": ctxPhone, "手机": ctxPhone, "電話": ctxPhone, "携帯": ctxPhone, "전화": ctxPhone, "휴대폰": ctxPhone, "телефон": ctxPhone, "тел": ctxPhone, "моб": ctxPhone, "τηλέφωνο": ctxPhone, "puh": ctxPhone, "tlf": ctxPhone, "tfn": ctxPhone | ctxTax, "telf": ctxPhone, "cel": ctxReach, "mob": ctxReach, "ph": ctxReach, "telefonu": ctxPhone, "numara": ctxReach, "telefonnummer": ctxPhone, "rufnummer": ctxPhone, "mobilnummer": ctxPhone, "handynummer": ctxPhone, "telefoonnummer": ctxPhone,
	"npi": ctxNPI, "provider": ctxNPI, "voter": ctxVoter, "vote": ctxVoter, "epic": ctxVoter, "election": ctxVoter,
}

// context gathers the words that explain text[start:end]: the name that it is
// the value of, as in "phone": 2813882583 or phone=2813882583; else the words
// before it, and the few behind it that do so in hindsight, as in
// "978-249-9678 fax".
func (p *pass) context(start, end int) context {
	if p.seenEnd == end && p.seenStart == start && end > 0 {
		return p.seen
	}
	c := p.label
	if from, to := p.nameOf(start); to > from {
		c |= p.wordsIn(from, to, false)
	} else {
		c |= p.wordsIn(max(0, start-contextBefore), start, start-contextBefore > 0)
		stop := end
		for limit := min(len(p.text), end+contextAfter); stop < limit && !endsClause(p.text[stop]); {
			stop++
		}
		c |= p.wordsIn(end, stop, false)
	}
	p.seenStart, p.seenEnd, p.seen = start, end, c
	return c
}

func endsClause(c byte) bool {
	return c == '\n' || c == ',' || c == ';' || c == '"' || c == '|' || c == '}' || c == '{' || c == ']'
}

// nameOf finds the name that position i begins the value of, before = or, when
// it is in quotes, before a colon.
func (p *pass) nameOf(i int) (from, to int) {
	k := i
	for k > 0 && i-k < 4 && (p.text[k-1] == ' ' || p.text[k-1] == '"' || p.text[k-1] == '\'' || p.text[k-1] == '[') {
		k--
	}
	if k == 0 || p.text[k-1] != '=' && p.text[k-1] != ':' {
		return 0, 0
	}
	colon := p.text[k-1] == ':'
	for k--; k > 0 && p.text[k-1] == ' '; k-- {
	}
	to = k
	if colon {
		if to == 0 || p.text[to-1] != '"' && p.text[to-1] != '\'' {
			return 0, 0
		}
		to--
	}
	for from = to; from > 0 && to-from < maxName && (nameByte(p.text[from-1]) || p.text[from-1] >= 0x80 || colon && p.text[from-1] == ' '); {
		from--
	}
	return from, to
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

// LabelOf reads a label from a name such as "phone_number" or "cardNo". Words
// that may mean anything don't count in it, and neither do names of what is
// only about such values: phone_count, card_type.
func LabelOf(name string) Label {
	p := pass{text: []byte(name)}
	c := p.wordsIn(0, len(name), false) &^ ctxReach
	start := len(name)
	for start > 0 && isLetter(name[start-1]) && (start == len(name) || !isUpper(name[start]) || !isLower(name[start-1])) {
		start--
	}
	for _, tail := range harmlessTails {
		if fold(p.text[start:], tail) {
			if tail == "id" || tail == "ids" {
				return Label(c & (ctxTax | ctxIdentity | ctxSSN | ctxVAT))
			}
			return 0
		}
	}
	return Label(c)
}
