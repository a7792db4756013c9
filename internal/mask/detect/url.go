package detect

const maxURL = 2048

// scheme looks at the :// at i: at a whole address when URLs are wanted, and
// at a password in it when secrets are.
func (p *pass) scheme(i int) int {
	start := i
	for start > p.behind() && i-start < 20 && (isAlnum(p.text[start-1]) || p.text[start-1] == '+' || p.text[start-1] == '-' || p.text[start-1] == '.') {
		start--
	}
	for start < i && !isLetter(p.text[start]) {
		start++
	}
	if i-start < 2 {
		return i + 3
	}
	if p.urls {
		end := p.urlEnd(i + 3)
		if end > i+3 && (isAlnum(p.text[i+3]) || p.text[i+3] == '[' || p.text[i+3] >= 0x80) {
			return p.emit(start, end, URL)
		}
		return i + 3
	}
	if p.secrets {
		if from, to := p.userinfo(i + 3); to > from {
			return p.emit(from, to, Secret)
		}
		if end := p.webhook(i + 3); end > 0 {
			return p.emit(start, end, Secret)
		}
	}
	return i + 3
}

// urlEnd finds where the address that goes on at i ends. Punctuation at its
// end belongs to the text around it.
func (p *pass) urlEnd(i int) int {
	k := i
	open := 0
	for k < len(p.text) && k < i+maxURL {
		c := p.text[k]
		if c <= ' ' || c == '"' || c == '<' || c == '>' || c == '`' || c == '\\' || c == '{' || c == '}' || c == '|' || c == '^' || c == 0x7f || c == '\'' {
			break
		}
		if c == '(' {
			open++
		}
		if c == ')' {
			if open == 0 {
				break
			}
			open--
		}
		k++
	}
	for k > i {
		switch p.text[k-1] {
		case '.', ',', ';', ':', '!', '?', ']', '*':
			k--
			continue
		}
		break
	}
	return k
}

// domain looks at the point at i for a name such as example.com, which may
// stand for an address without its scheme.
func (p *pass) domain(i int) int {
	if i == 0 || !isAlnum(p.text[i-1]) || !isAlnum(p.at(i+1)) {
		return i + 1
	}
	start := i
	for start > p.behind() && i-start < 63 && (isAlnum(p.text[start-1]) || p.text[start-1] == '-') {
		start--
	}
	if start > 0 {
		switch c := p.text[start-1]; c {
		case '@', '.', '_', '/', '\\', '$', '#', '%':
			return i + 1
		}
	}
	end, ok := p.hostname(start, false)
	if !ok || end <= i || p.at(end) == '@' || p.at(end) == '(' || p.at(end) == '_' {
		return i + 1
	}
	last := end
	for p.text[last-1] != '.' {
		last--
	}
	if !knownTop(p.text[last:end]) {
		return i + 1
	}
	if c := p.at(end); c == '/' || c == '?' || c == ':' && isDigit(p.at(end+1)) {
		end = p.urlEnd(end)
	}
	return p.emit(start, end, URL)
}

// topDomains are the top-level domains that make a bare name an address:
// common ones that aren't the endings of files or of code.
var topDomains = map[string]bool{
	"com": true, "org": true, "net": true, "edu": true, "gov": true, "mil": true, "int": true, "info": true, "biz": true, "io": true, "ai": true, "app": true, "dev": true,
	"site": true, "online": true, "shop": true, "store": true, "tech": true, "xyz": true, "club": true, "cloud": true, "blog": true, "eu": true, "uk": true, "de": true, "fr": true,
	"nl": true, "es": true, "pt": true, "pl": true, "se": true, "dk": true, "fi": true, "ch": true, "at": true, "be": true, "cz": true, "ie": true, "ru": true, "ua": true, "us": true,
	"ca": true, "mx": true, "br": true, "ar": true, "au": true, "nz": true, "jp": true, "cn": true, "kr": true, "hk": true, "tw": true, "sg": true, "za": true, "il": true, "gr": true, "hu": true, "ro": true, "bg": true,
}

func knownTop(label []byte) bool {
	var buf [8]byte
	if len(label) > len(buf) {
		return false
	}
	for k, c := range label {
		buf[k] = lower(c)
	}
	return topDomains[string(buf[:len(label)])]
}
