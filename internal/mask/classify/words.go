package classify

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// wordsOf splits a column's name: customerEmail_2 is customer, email.
func wordsOf(name string) []string {
	var words []string
	begin := -1
	runes := []rune(name)
	flush := func(end int) {
		if begin >= 0 {
			words = append(words, strings.ToLower(string(runes[begin:end])))
		}
		begin = -1
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r):
			flush(i)
		case begin >= 0 && unicode.IsUpper(r) && unicode.IsLower(runes[i-1]):
			flush(i)
			begin = i
		case begin < 0:
			begin = i
		}
	}
	flush(len(runes))
	return words
}

// describes says whether a name speaks of a property of something, rather than
// of the thing.
func describes(words []string) bool {
	if len(words) == 0 {
		return false
	}
	switch words[0] {
	case "is", "has", "can", "num", "count", "total", "max", "min", "avg", "opt":
		return len(words) > 1
	}
	switch words[len(words)-1] {
	case "count", "hash", "type", "kind", "verified", "valid", "status", "state", "format", "length", "version", "id", "uuid", "at", "flag",
		"enabled", "template", "subject", "sha", "md", "digest", "prefix", "code", "category", "ref", "confirmed", "visible", "index":
		return len(words) > 1
	}
	return false
}

// says whether a name says that its column holds something.
func says(words []string, label Label) bool {
	joined := strings.Join(words, "")
	for _, word := range append(words[:len(words):len(words)], joined) {
		if vocabulary[word] == label {
			return true
		}
	}
	return false
}

// vocabulary holds words of columns' names in a few languages.
var vocabulary = map[string]Label{
	"email": Email, "emails": Email, "mail": Email, "emailaddress": Email, "correo": Email, "courriel": Email, "mailto": Email, "eposta": Email,
	"card": CreditCard, "cc": CreditCard, "ccnum": CreditCard, "creditcard": CreditCard, "cardnumber": CreditCard, "cardno": CreditCard, "pan": CreditCard, "kreditkarte": CreditCard, "tarjeta": CreditCard,
	"iban": IBAN, "konto": IBAN, "kontonummer": IBAN, "bankaccount": IBAN, "bank": IBAN, "acct": IBAN,
	"ssn": SSN, "ss": SSN, "socialsecurity": SSN, "socialsecuritynumber": SSN, "taxpayer": SSN, "tin": SSN,
	"phone": Phone, "phones": Phone, "tel": Phone, "telephone": Phone, "mobile": Phone, "fax": Phone, "cell": Phone, "cellphone": Phone, "telefon": Phone, "telefono": Phone, "handy": Phone, "mobil": Phone, "msisdn": Phone, "phonenumber": Phone, "whatsapp": Phone, "rufnummer": Phone,
	"ip": IP, "ipaddress": IP, "ipaddr": IP, "ips": IP, "clientip": IP, "remoteip": IP, "xforwardedfor": IP, "remoteaddr": IP,
	"address": Address, "addr": Address, "addresses": Address, "street": Address, "streetaddress": Address, "adresse": Address, "anschrift": Address, "strasse": Address, "straße": Address, "direccion": Address, "domicilio": Address, "calle": Address, "rue": Address, "indirizzo": Address, "residence": Address, "endereco": Address, "addressline": Address,
	"name": Person, "firstname": Person, "lastname": Person, "surname": Person, "fullname": Person, "givenname": Person, "familyname": Person, "forename": Person, "middlename": Person, "nachname": Person, "vorname": Person, "apellido": Person, "apellidos": Person, "nombre": Person, "nom": Person, "prenom": Person, "cognome": Person,
	"contact": Person, "contactperson": Person, "person": Person, "cardholder": Person, "holder": Person, "customer": Person, "patient": Person, "employee": Person, "recipient": Person, "beneficiary": Person, "author": Person, "owner": Person, "first": Person, "last": Person, "signatory": Person, "passenger": Person, "guest": Person, "kunde": Person, "cliente": Person,
	"passport": NationalID, "nationalid": NationalID, "national": NationalID, "nid": NationalID, "nino": NationalID, "pesel": NationalID, "dni": NationalID, "nif": NationalID, "nie": NationalID, "cpf": NationalID, "aadhaar": NationalID, "personnummer": NationalID, "bsn": NationalID, "steuerid": NationalID, "nhs": NationalID, "identity": NationalID, "idcard": NationalID, "curp": NationalID, "ahv": NationalID, "nir": NationalID, "sin": NationalID,
	"password": Secret, "passwd": Secret, "pwd": Secret, "secret": Secret, "token": Secret, "apikey": Secret, "privatekey": Secret, "credential": Secret, "credentials": Secret,
}

// misnamed says whether a name says that its column names other things than
// people.
func misnamed(words []string) bool {
	for _, w := range words {
		switch w {
		case "city", "town", "country", "state", "region", "county", "province", "continent", "place", "city_name", "stadt", "land", "ort", "ville", "pays", "ciudad", "pais",
			"product", "item", "brand", "company", "organization", "organisation", "org", "vendor", "manufacturer", "model", "make", "team", "department", "project",
			"title", "subject", "category", "genre", "color", "colour", "currency", "language", "lang", "locale", "timezone", "month", "weekday", "day", "industry", "sector",
			"file", "filename", "table", "column", "schema", "database", "host", "hostname", "domain", "server", "service", "app", "application", "device", "os", "browser", "plan", "tier", "event", "role", "group", "tag", "tags",
			"species", "album", "song", "track", "artist", "movie", "book", "course", "school", "university", "hospital", "hotel", "airport", "station", "job", "position", "occupation", "profession":
			return true
		}
	}
	return false
}

// person says whether a value may be somebody's name, one to four words of
// letters, whether one of them begins with a capital, and how many they are.
func person(value string) (looks, capital bool, words int) {
	fields := strings.Fields(value)
	if len(value) > 60 || utf8.RuneCountInString(value) < 2 || len(fields) == 0 || len(fields) > 4 {
		return false, false, 0
	}
	for _, word := range fields {
		letters := 0
		for i, r := range word {
			switch {
			case unicode.IsLetter(r) || unicode.Is(unicode.M, r):
				if letters == 0 && unicode.IsUpper(r) || !unicode.IsUpper(r) && !unicode.IsLower(r) {
					capital = true // scripts without case count as such
				}
				letters++
			case r == '\'' || r == '’' || r == '-' || r == '.' || r == ',' && i == len(word)-1:
			default:
				return false, false, 0
			}
		}
		if letters == 0 {
			return false, false, 0
		}
	}
	// A word in capitals alone is a code more often than a name.
	if len(fields) == 1 && strings.ToUpper(value) == value && strings.ToLower(value) != value {
		return false, false, 0
	}
	return true, capital, len(fields)
}

// place says whether a value looks like the place where somebody lives: words
// and numbers, with a word that streets have.
func place(value string) bool {
	if len(value) > 250 || len(value) < 4 {
		return false
	}
	digits, letters := false, 0
	for _, r := range value {
		switch {
		case unicode.IsDigit(r):
			digits = true
		case unicode.IsLetter(r):
			letters++
		case r == '{' || r == '}' || r == '=' || r == '@' || r == '<' || r == '_' || r == ':' && strings.Contains(value, "://"):
			return false
		}
	}
	if letters < 3 {
		return false
	}
	words := strings.FieldsFunc(strings.ToLower(value), func(r rune) bool { return !unicode.IsLetter(r) && r != '.' })
	street := strings.Contains(strings.ToLower(value), "corner of ")
	for _, w := range words {
		w = strings.Trim(w, ".")
		street = street || streetWord(w)
	}
	if street {
		return digits || len(words) > 1
	}
	return digits && numbered(value)
}

// numbered says whether a value is a name and a house number, in either order:
// "Gammelhavn 36", "96 Hausergasse".
func numbered(value string) bool {
	line, _, _ := strings.Cut(value, "\n")
	line, _, _ = strings.Cut(line, ",")
	fields := strings.Fields(line)
	if len(fields) < 2 || len(fields) > 6 {
		return false
	}
	number, capital := 0, false
	for i, f := range fields {
		first, _ := utf8.DecodeRuneInString(f)
		switch {
		case unicode.IsDigit(first):
			if len(f) > 5 || i != 0 && i != len(fields)-1 || strings.Trim(f, "0123456789abcdABCD/-") != "" {
				return false
			}
			number++
		case len(f) == 3 && strings.ToUpper(f) == f:
			return false // a currency, a unit
		case unicode.IsUpper(first) || !unicode.IsLower(first) && unicode.IsLetter(first):
			capital = true
		case !unicode.IsLetter(first):
			return false
		}
	}
	return number > 0 && capital
}

// streetWord knows words that stand in addresses, and endings of such.
func streetWord(w string) bool {
	switch w {
	case "street", "st", "road", "rd", "avenue", "ave", "lane", "ln", "drive", "dr", "boulevard", "blvd", "way", "court", "ct", "crescent", "cres", "square", "sq", "place", "pl", "terrace",
		"highway", "hwy", "parkway", "pkwy", "close", "suite", "ste", "apt", "apartment", "unit", "flat", "floor", "box", "psc", "apo", "fpo", "dpo", "p.o", "po",
		"rue", "chemin", "impasse", "allée", "quai", "rua", "avenida", "av", "travessa", "calle", "carrer", "paseo", "plaza", "camino", "via", "viale", "piazza", "corso", "vicolo", "strada",
		"strasse", "straße", "str", "weg", "gasse", "platz", "allee", "ufer", "ring", "damm", "chaussee", "straat", "laan", "plein", "singel", "gracht", "kade",
		"gata", "gatan", "vägen", "väg", "vej", "gade", "gate", "veien", "vei", "katu", "tie", "ulica", "ul", "aleja", "osiedle", "utca", "u", "út", "tér", "náměstí", "třída", "nám", "улица", "ул", "проспект", "пер", "οδός", "cadde", "sokak", "mah", "sk", "cd":
		return true
	}
	for _, end := range []string{
		"strasse", "straße", "gasse", "weg", "platz", "allee", "straat", "laan", "plein", "singel", "gracht", "gatan", "vägen", "gata", "vej", "gade", "veien", "vegen", "katu",
		"utca", "street", "havnevej", "stieg", "ufer", "damm", "kade", "dijk", "stræde", "tie",
	} {
		if len(w) > len(end)+2 && strings.HasSuffix(w, end) {
			return true
		}
	}
	return false
}

// dialled says whether a value is written as telephone numbers are, and hardly
// anything else: digits in groups, with a plus, brackets, dots or blanks.
func dialled(value string) bool {
	digits, groups, signs, inside := 0, 0, 0, false
	dots, short, run := 0, false, 0
	for i, r := range value {
		switch {
		case r >= '0' && r <= '9':
			if !inside {
				groups++
			}
			inside = true
			digits++
			run++
			continue
		case r == '.':
			dots++
			signs++
		case r == '+' && i == 0, r == '(', r == ')', r == ' ', r == '-', r == '/':
			signs++
		case strings.HasSuffix(value[:i], "x") || r == 'x' || r == 'e' || r == 't': // an extension
		default:
			return false
		}
		short = short || inside && run < 2
		inside, run = false, 0
	}
	if dots == signs && (groups < 3 || short || digits < 9) {
		return false // a price, a version
	}
	return digits >= 7 && digits <= 17 && groups >= 2 && groups <= 6 && signs > 0 && !strings.ContainsAny(value[:1], ".-/")
}
