package detect

// strength says how much a name says that its value is secret.
type strength uint8

const (
	plainName  strength = iota
	vendorName          // the name of a service that hands out keys
	keyName             // key, auth: often harmless
	tokenName           // token, secret, credential, api key
	passName            // password
)

const maxName = 64

// assignment looks at the operator at i, between a name and a value: name =
// value, "name": "value", <name>value, f("name", "value").
func (p *pass) assignment(i int) int {
	if !p.secrets {
		return i + 1
	}
	text := p.text
	c := text[i]
	if next := p.at(i + 1); next == '=' || next == '>' || next == ':' || next == 0 {
		return i + 1 // the operator goes on
	}
	if c == ':' && i > 0 && isDigit(text[i-1]) && isDigit(p.at(i+1)) {
		return i + 1 // a time of day
	}
	if c == ',' && (i < 4 || text[i-1] != '"' && text[i-1] != '\'') {
		return i + 1
	}
	// Back over the operator, spaces and quotes to the end of the name.
	end := i
	quoted := false
	for end > 0 && i-end < 8 {
		switch text[end-1] {
		case ' ', '\t', ':', '=', '?', '.', '|', ']', ')', '+':
		case '"', '\'', '`', '\\':
			quoted = true
		default:
			goto name
		}
		end--
	}
name:
	if end == 0 || c == ',' && !quoted {
		return i + 1
	}
	start := end
	for start > 0 && end-start < maxName && nameByte(text[start-1]) {
		start--
	}
	if end-start < 2 {
		return i + 1
	}
	if c == ',' && (start < 2 || text[start-2] == ':' || text[start-2] == '=') {
		return i + 1 // the first is a value, too
	}
	if c == '>' && (start == 0 || text[start-1] != '<') && p.at(i-1) != '=' && p.at(i-1) != '-' {
		return i + 1
	}
	s := nameStrength(text[start:end])
	if s == plainName {
		if s = p.otherName(start, end); s == plainName {
			return i + 1
		}
	}
	if from, to := p.secretValue(i+1, s, c); to > from {
		return p.emit(from, to, Secret)
	}
	return i + 1
}

func nameByte(c byte) bool { return features[c]&fName != 0 }

// otherName looks further back when the word before the operator is a type, as
// in Go, or the name of an XML attribute that holds a value.
func (p *pass) otherName(start, end int) strength {
	word := p.text[start:end]
	if len(word) > 6 {
		return plainName
	}
	var k int
	switch {
	case fold(word, "string"), fold(word, "str"), fold(word, "text"):
		k = start
		for k > 0 && (p.text[k-1] == ' ' || p.text[k-1] == ':') {
			k--
		}
	case fold(word, "value"):
		k = start
		for k > 0 && (isSpace(p.text[k-1]) || p.text[k-1] == '"' || p.text[k-1] == '\'' || p.text[k-1] == ',') {
			k--
		}
	}
	if k == 0 || k == start {
		return plainName
	}
	j := k
	for j > 0 && k-j < maxName && nameByte(p.text[j-1]) {
		j--
	}
	if k-j < 2 {
		return plainName
	}
	return nameStrength(p.text[j:k])
}

func fold(b []byte, s string) bool { return len(b) == len(s) && hasFold(b, 0, s) }

// The stems that make a name a secret's, and those that take it back. Longer
// ones come before the ones that they contain.
var nameStems = []struct {
	stem string
	s    strength
}{
	{"passw", passName},
	{"passwd", passName},
	{"pwd", passName},
	{"passphrase", passName},
	{"passcode", passName},
	{"kennwort", passName},
	{"contrase", passName},
	{"secret", tokenName},
	{"token", tokenName},
	{"credential", tokenName},
	{"creds", tokenName},
	{"apikey", tokenName},
	{"api_key", tokenName},
	{"api-key", tokenName},
	{"api.key", tokenName},
	{"accesskey", tokenName},
	{"access_key", tokenName},
	{"access-key", tokenName},
	{"privatekey", tokenName},
	{"private_key", tokenName},
	{"private-key", tokenName},
	{"jwt", tokenName},
	{"bearer", tokenName},
	{"key", keyName},
	{"auth", keyName},
	{"signature", plainName},
	{"oauth", keyName},
	{"authorization", tokenName},
	{"access_id", vendorName},
	{"accessid", vendorName},
	{"adafruit", vendorName},
	{"adobe", vendorName},
	{"airtable", vendorName},
	{"algolia", vendorName},
	{"alibaba", vendorName},
	{"artifactory", vendorName},
	{"asana", vendorName},
	{"atlassian", vendorName},
	{"beamer", vendorName},
	{"bitbucket", vendorName},
	{"bittrex", vendorName},
	{"bintray", vendorName},
	{"cloudflare", vendorName},
	{"codecov", vendorName},
	{"cohere", vendorName},
	{"coinbase", vendorName},
	{"confluen", vendorName},
	{"contentful", vendorName},
	{"databricks", vendorName},
	{"datadog", vendorName},
	{"discord", vendorName},
	{"droneci", vendorName},
	{"dropbox", vendorName},
	{"etsy", vendorName},
	{"facebook", vendorName},
	{"fastly", vendorName},
	{"finicity", vendorName},
	{"finnhub", vendorName},
	{"flickr", vendorName},
	{"freshbooks", vendorName},
	{"gitter", vendorName},
	{"gocardless", vendorName},
	{"heroku", vendorName},
	{"hubspot", vendorName},
	{"intercom", vendorName},
	{"jfrog", vendorName},
	{"jira", vendorName},
	{"kraken", vendorName},
	{"kucoin", vendorName},
	{"launchdarkly", vendorName},
	{"linkedin", vendorName},
	{"looker", vendorName},
	{"mailchimp", vendorName},
	{"mailgun", vendorName},
	{"mapbox", vendorName},
	{"mattermost", vendorName},
	{"maxmind", vendorName},
	{"meraki", vendorName},
	{"message_bird", vendorName},
	{"messagebird", vendorName},
	{"netlify", vendorName},
	{"newrelic", vendorName},
	{"new-relic", vendorName},
	{"new_relic", vendorName},
	{"nytimes", vendorName},
	{"okta", vendorName},
	{"plaid", vendorName},
	{"privateai", vendorName},
	{"rapidapi", vendorName},
	{"sendbird", vendorName},
	{"sendgrid", vendorName},
	{"sentry", vendorName},
	{"snyk", vendorName},
	{"sonar", vendorName},
	{"squarespace", vendorName},
	{"sumo", vendorName},
	{"telegram", vendorName},
	{"travis", vendorName},
	{"trello", vendorName},
	{"twilio", vendorName},
	{"twitch", vendorName},
	{"twitter", vendorName},
	{"yandex", vendorName},
	{"zendesk", vendorName},
}

// harmlessTails end names whose value isn't the secret itself: token_type, key_id.
var harmlessTails = []string{
	"file", "filename", "path", "dir", "url", "uri", "host", "hostname", "endpoint", "domain", "source", "name", "names", "type", "types", "length", "len", "size", "count", "version", "word", "words", "keyword",
	"keywords", "expiry", "expires", "expiration", "ttl", "at", "date", "time", "timeout", "format", "alg", "algorithm", "ref", "refs", "id", "ids", "class", "chars", "prefix", "suffix", "index", "limit", "hash", "hint",
	"hints", "policy", "store", "required", "enabled", "event", "code", "codes", "status", "mode", "method", "scheme", "board", "stroke", "frame", "pressed", "author", "authority", "authors", "monkey", "turkey", "hockey", "keyboard", "columns", "column", "field", "label", "scope", "scopes", "usage", "tokens", "max", "min",
}

// harmlessParts make a name harmless wherever they stand in it; harmlessKeys
// do so for names that would be secret only because of the word key.
var (
	harmlessParts = []string{"public", "pubkey", "csrf", "xsrf", "checksum", "monkey", "accessib", "timezone", "authentic", "author_", "authored", "authoris", "authorized", "authorizer", "authority", "idempotency"}
	harmlessKeys  = []string{"foreign", "primary", "schema", "bucket", "keying", "keydown", "key_down", "keyframe", "sort_key", "sortkey", "partition", "cache", "revision", "hash_key", "range_key", "row_key", "object"}
)

// stemGroup finds the stems that begin with two given letters, in any case.
var stemGroup, stemGroups = func() (group [1024]uint8, groups [][]int) {
	groups = [][]int{nil}
	for n, s := range nameStems {
		k := letterPair(s.stem[0], s.stem[1])
		if group[k] == 0 {
			group[k] = uint8(len(groups))
			groups = append(groups, nil)
		}
		groups[group[k]] = append(groups[group[k]], n)
	}
	return group, groups
}()

func letterPair(a, b byte) int { return int(a&31)<<5 | int(b&31) }

// nameStrength reads what a name says.
func nameStrength(name []byte) strength {
	best, vendor := plainName, false
	for k := 0; k+1 < len(name); k++ {
		g := stemGroup[letterPair(name[k], name[k+1])]
		if g == 0 {
			continue
		}
		for _, n := range stemGroups[g] {
			if stem := &nameStems[n]; (stem.s > best || stem.s == vendorName) && hasFold(name, k, stem.stem) {
				best = max(best, stem.s)
				vendor = vendor || stem.s == vendorName
			}
		}
	}
	if best == plainName {
		return plainName
	}
	if vendor && best == keyName {
		best = tokenName
	}
	for _, part := range harmlessParts {
		if containsFold(name, part) {
			return plainName
		}
	}
	if best == keyName {
		for _, part := range harmlessKeys {
			if containsFold(name, part) {
				return plainName
			}
		}
	}
	return tailed(name, best)
}

// tailed takes back what a harmless last word says otherwise.
func tailed(name []byte, best strength) strength {
	start := len(name)
	for start > 0 && isLetter(name[start-1]) && !(start < len(name) && isUpper(name[start]) && isLower(name[start-1])) {
		start--
	}
	last := name[start:]
	for _, tail := range harmlessTails {
		if fold(last, tail) {
			if tail == "id" && (best == vendorName || containsFold(name, "sumo") || containsFold(name, "client") && best >= tokenName) {
				return best
			}
			return plainName
		}
	}
	// One word without a break, such as keyword or authsource.
	for _, tail := range [...]string{"keyword", "keyfile", "keystore", "author", "secretsid", "filename"} {
		if len(last) >= len(tail) && hasFold(last, len(last)-len(tail), tail) {
			return plainName
		}
	}
	return best
}

func containsFold(b []byte, s string) bool {
	for k := 0; k+len(s) <= len(b); k++ {
		if hasFold(b, k, s) {
			return true
		}
	}
	return false
}

// secretValue finds the value that begins at i, behind the operator op, and
// says whether it can be a secret.
func (p *pass) secretValue(i int, s strength, op byte) (from, to int) {
	text := p.text
	for n := 0; i < len(text) && n < 16 && (text[i] == ' ' || text[i] == '\t' || op == '>' && isSpace(text[i])); n++ {
		i++
	}
	quote := byte(0)
	if p.at(i) == '\\' && (p.at(i+1) == '"' || p.at(i+1) == '\'') {
		i++
	}
	if c := p.at(i); c == '"' || c == '\'' || c == '`' {
		quote = c
		i++
	} else if op == ',' {
		return 0, 0
	}
	for _, word := range [...]string{"bearer ", "basic ", "token ", "apikey "} {
		if hasFold(text, i, word) {
			i += len(word)
			s = max(s, tokenName)
			break
		}
	}
	for quote == 0 && p.at(i) == ' ' && p.at(i+1) != ' ' {
		i++
	}
	from = i
	limit := min(len(text), from+MaxValue)
	k := from
	if s == passName {
		for k < limit && passByte(text[k], quote) {
			k++
		}
		for quote == 0 && k > from && (text[k-1] == '.' || text[k-1] == ',' || text[k-1] == ')') {
			k--
		}
		if k-from < 4 || placeholder(text[from:k]) || quote == 0 && !passLike(text[from:k]) {
			return 0, 0
		}
		return from, k
	}
	for k < limit && (features[text[k]]&fSecret != 0 || text[k] == ':' || text[k] == '|' || text[k] == '%') {
		if k++; k-from == firstLook && !tokenLike(text[from:k], s) {
			return 0, 0
		}
	}
	if k < len(text) {
		switch c := text[k]; c {
		case '"', '\'', '`', ' ', '\t', '\n', '\r', ';', ',', '\\', '<', '}', ']', ')', '&', '|', '@':
			if quote == 0 && c == '(' || quote != 0 && c == ' ' {
				return 0, 0
			}
		default:
			return 0, 0
		}
	}
	for k > from && (text[k-1] == '.' || text[k-1] == ':') {
		k--
	}
	if !tokenLike(text[from:k], s) {
		return 0, 0
	}
	return from, k
}

// passByte says whether c can be inside a password: anything up to its quote,
// or what a shell or a connection string leaves in one word.
func passByte(c, quote byte) bool {
	if quote != 0 {
		return c != quote && c >= ' ' && c != '\\'
	}
	return c > ' ' && c != '"' && c != '\'' && c != ';' && c != ',' && c != '&' && c != '`' && c != '<' && c != '>' && c != '(' && c != '}' && c != ']' && c != '\\' && c != 0x7f
}

// passLike says whether an unquoted word may be a password, and not a name, a
// type or a call: it holds a digit or a sign, or both cases.
func passLike(b []byte) bool {
	var f uint16
	signs := 0
	for _, c := range b {
		f |= features[c]
		if !isAlnum(c) && c != '.' && c != '_' && c != '-' {
			signs++
		}
	}
	return f&fDigit != 0 || signs > 0 || len(b) >= 8 && distinct(b, 5)
}

// placeholder says whether a value stands for a secret that isn't there.
func placeholder(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	for k, c := range b {
		if c == '$' && k+1 < len(b) && (b[k+1] == '{' || b[k+1] == '(' || isUpper(b[k+1]) || b[k+1] == '_') || c == '{' && k+1 < len(b) && b[k+1] == '{' {
			return true
		}
	}
	if b[0] == '<' || b[0] == '[' || b[0] == '{' || b[0] == '%' && b[len(b)-1] == '%' || b[0] == '$' && len(b) > 1 && isLetter(b[1]) && len(b) < 16 {
		return true
	}
	if !distinct(b, 2) || !distinct(b, 3) && len(b) > 6 {
		return true
	}
	for _, w := range [...]string{"null", "none", "true", "false", "nil", "undefined", "string", "required", "optional", "redacted", "[redacted]", "password", "passwd", "changeme_", "secret", "hidden", "[secret]", "your_password", "yourpassword", "user", "pass", "empty", "default", "varchar", "text"} {
		if fold(b, w) {
			return true
		}
	}
	return false
}

// tokenLike says whether b looks like something made by a machine.
func tokenLike(b []byte, s strength) bool {
	n := len(b)
	if n < 10 || n > MaxValue {
		return false
	}
	var letters, digits, uppers, points, others, vowels int
	for _, c := range b {
		switch {
		case isDigit(c):
			digits++
		case isLetter(c):
			letters++
			if isUpper(c) {
				uppers++
			}
			switch lower(c) {
			case 'a', 'e', 'i', 'o', 'u':
				vowels++
			}
		case c == '.':
			points++
		default:
			others++
		}
	}
	if wordy(b) > int(s)-int(keyName) || dated(b) {
		return false
	}
	if letters == 0 && others+points == 0 && n >= 16 && n <= 40 && s == tokenName {
		return distinct(b, 6) // some services hand out numbers
	}
	if letters == 0 || digits == 0 && (n < 20 || uppers == 0 || uppers == letters || others+points > 0) {
		return false
	}
	if repeated(b) || points > 0 && points*6 > n && s < tokenName {
		return false
	}
	need := 6
	switch {
	case n >= 24:
		need = 9
	case n >= 16:
		need = 8
	case n >= 12:
		need = 7
	}
	if !distinct(b, need) {
		return false
	}
	if s <= keyName {
		// Names that say little need values that say much.
		if s == keyName && isUUID(b) {
			return false
		}
		if n < 14 && s == keyName || digits < 2 || digits*12 < n {
			return false
		}
		return n >= 12
	}
	return digits > 0
}

// wordy counts the words in b, beyond one: parts of lower-case letters, or of
// one capital and lower-case letters, that have a vowel.
func wordy(b []byte) int {
	words, start := 0, 0
	for k := 0; k <= len(b); k++ {
		if k < len(b) && isLetter(b[k]) && (k == start || isLower(b[k])) {
			continue
		}
		if k-start >= 4 && (k == len(b) || !isAlnum(b[k])) && (start == 0 || !isAlnum(b[start-1])) {
			vowels := 0
			for _, c := range b[start:k] {
				if containsByte("aeiouyAEIOUY", c) {
					vowels++
				}
			}
			if vowels > 0 {
				words++
			}
		}
		start = k
		if k < len(b) && !isLetter(b[k]) {
			start = k + 1
		}
	}
	return words - 1
}

// dated says whether b begins with a date, as timestamps do.
func dated(b []byte) bool {
	return len(b) >= 10 && isDigit(b[0]) && isDigit(b[1]) && isDigit(b[2]) && isDigit(b[3]) && b[4] == '-' && isDigit(b[5]) && isDigit(b[6]) && b[7] == '-' && isDigit(b[8]) && isDigit(b[9])
}

func isUUID(b []byte) bool {
	if len(b) != 36 {
		return false
	}
	for k, c := range b {
		if k == 8 || k == 13 || k == 18 || k == 23 {
			if c != '-' {
				return false
			}
		} else if !isHex(c) {
			return false
		}
	}
	return true
}

// option parses an option of a command line that carries a secret: --token
// VALUE, or curl's -u user:password. The option's name begins at i.
func (p *pass) option(i, hyphens int) (from, to int) {
	k := i
	for k < len(p.text) && nameByte(p.text[k]) {
		k++
	}
	if p.at(k) != ' ' && p.at(k) != '=' {
		return 0, 0
	}
	name := p.text[i:k]
	if hyphens == 1 && string(name) == "u" || hyphens == 2 && fold(name, "user") {
		return p.curlUser(k + 1)
	}
	if p.at(k) == ' ' {
		if s := nameStrength(name); s >= tokenName {
			if c := p.at(k + 1); c != '-' {
				return p.secretValue(k+1, s, ' ')
			}
		}
	}
	return 0, 0
}

// curlUser parses user:password at i on a command line of curl.
func (p *pass) curlUser(i int) (from, to int) {
	curl := false
	for k := max(0, i-400); k+5 < i; k++ {
		curl = curl || p.text[k] == 'c' && hasPrefix(p.text[k:], "curl ")
	}
	if !curl {
		return 0, 0
	}
	for p.at(i) == ' ' {
		i++
	}
	from = i
	quote := byte(0)
	if c := p.at(i); c == '"' || c == '\'' {
		quote = c
		i++
	}
	k, colon := i, -1
	for k < len(p.text) && k < i+256 && (quote != 0 && p.text[k] != quote && p.text[k] != '\n' || quote == 0 && p.text[k] > ' ') {
		if p.text[k] == ':' && colon < 0 {
			colon = k
		}
		k++
	}
	if colon < 0 || k-colon-1 < 4 || placeholder(p.text[colon+1:k]) || placeholder(p.text[i:k]) {
		return 0, 0
	}
	if quote != 0 && p.at(k) == quote {
		k++
	}
	return from, k
}

// SecretNamed says whether text can be a secret, given that it stands under
// name: in a column called password or api_token.
func SecretNamed(name string, text []byte) bool {
	s := nameStrength([]byte(name))
	if s < tokenName || len(text) > MaxValue {
		return false
	}
	if s == passName {
		return len(text) >= 4 && !placeholder(text)
	}
	for _, c := range text {
		if features[c]&fSecret == 0 && c != ':' && c != '|' && c != '%' {
			return false
		}
	}
	return tokenLike(text, s)
}
