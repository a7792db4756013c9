package detect

// word looks at the word at i: letters, or letters and digits.
func (p *pass) word(i int) int {
	text := p.text
	if p.secrets {
		if i+1 < len(text) && tokenIndex[text[i]&127][text[i+1]&127] != 0 {
			if end := p.knownToken(i); end > 0 {
				return p.emit(i, end, Secret)
			}
		}
	}
	if p.uuid(i) {
		return i + 36
	}
	f := features[text[i]]
	j := i + 1
	for j < len(text) {
		c := features[text[j]]
		if c&fAlnum == 0 {
			break
		}
		f |= c
		j++
	}
	if f&fDigit == 0 {
		return p.letters(i, j)
	}
	if p.ibans {
		if end := p.iban(i); end > 0 {
			return p.emit(i, end, IBAN)
		}
	}
	if p.macs {
		if end := p.mac(i); end > 0 {
			return p.emit(i, end, MAC)
		}
	}
	if p.coins {
		if end := p.bitcoin(i, j); end > 0 {
			return p.emit(i, end, Crypto)
		}
	}
	if p.words[0] || p.words[1] {
		if end, e := p.wordedNational(i); e != None {
			return p.emit(i, end, e)
		}
	}
	return j
}

// letters looks at the word of letters text[i:j], and at what follows it.
func (p *pass) letters(i, j int) int {
	if p.ibans && j-i == 2 {
		if sep, width := separator(p.text, j); (sep == ' ' || sep == '-') && isDigit(p.at(j+width)) && isDigit(p.at(j+width+1)) {
			if end := p.iban(i); end > 0 {
				return p.emit(i, end, IBAN)
			}
		}
	}
	if p.dates {
		if end := p.monthName(i, j); end > 0 {
			return end
		}
	}
	if p.macs && j-i <= 4 {
		if end := p.mac(i); end > 0 {
			return p.emit(i, end, MAC)
		}
	}
	if p.words[0] && j-i <= 5 {
		if end, e := p.wordedNational(i); e != None {
			return p.emit(i, end, e)
		}
	}
	if p.secrets && p.text[i] == 'h' && j-i == 5 && hasPrefix(p.text[i:], "hooks.slack") {
		if end := p.webhook(i); end > 0 {
			return p.emit(i, end, Secret)
		}
	}
	return j
}

// uuid says whether a UUID stands at i: its parts are nothing by themselves.
func (p *pass) uuid(i int) bool {
	return i+36 <= len(p.text) && p.text[i+8] == '-' && p.text[i+13] == '-' && isUUID(p.text[i:i+36]) && !isAlnum(p.at(i+36)) && (i == 0 || p.text[i-1] != '-')
}
