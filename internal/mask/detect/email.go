package detect

const (
	maxLocal  = 128 // RFC 5321 allows 64; more is masked all the same
	maxDomain = 255
)

// email looks at both sides of the @ at i.
func (p *pass) email(i int) int {
	start := i
	for lo := max(p.floor, i-maxLocal); start > lo && features[p.text[start-1]]&fLocal != 0; {
		start--
	}
	// A local part doesn't begin with these: they belong to the text around it.
	for start < i && features[p.text[start]]&(fLower|fUpper|fDigit|fHigh|fUnder) == 0 {
		start++
	}
	start = p.afterAssignment(start, i)
	if start == i {
		if p.at(i-1) != '"' {
			return i + 1
		}
		// "quoted local part"@example.com
		q := i - 2
		for q >= max(p.floor, i-maxLocal) && p.text[q] != '"' && p.text[q] != '\n' {
			q--
		}
		if q < max(p.floor, i-maxLocal) || p.text[q] != '"' || q == i-2 {
			return i + 1
		}
		start = q
	}
	end, ok := p.hostname(i+1, true)
	if !ok {
		return i + 1
	}
	return p.emit(start, end, Email)
}

// afterAssignment moves start behind the last = or / in the local part, as in
// user=a@example.com: those may belong to an address, but hardly ever do.
func (p *pass) afterAssignment(start, at int) int {
	for k := at - 1; k > start; k-- {
		switch p.text[k] {
		case '\'':
			if isAlnum(p.text[k-1]) {
				continue // o'neil
			}
			fallthrough
		case '=', '/', '|', '`', '{', '}', '?', '&':
			if k+1 < at {
				return k + 1
			}
			return start
		}
	}
	return start
}

// hostname parses a name of at least two labels from i. With mail, an address
// in brackets will do, too.
func (p *pass) hostname(i int, mail bool) (end int, ok bool) {
	if mail && p.at(i) == '[' {
		for k := i + 1; k < len(p.text) && k < i+48; k++ {
			if p.text[k] == ']' {
				return k + 1, k > i+4
			}
			if !isHex(p.text[k]) && p.text[k] != '.' && p.text[k] != ':' {
				break
			}
		}
		return i, false
	}
	limit := min(len(p.text), i+maxDomain)
	label, k := i, i
	good := -1 // the end of the longest name so far that ends in a top-level domain
	for k < limit {
		c := p.text[k]
		if isAlnum(c) || c >= 0x80 || c == '_' {
			k++
			continue
		}
		if c == '-' && k > label {
			k++
			continue
		}
		if c == '.' && k > label && k+1 < limit && (isAlnum(p.text[k+1]) || p.text[k+1] >= 0x80) {
			if label > i && topLevel(p.text[label:k]) {
				good = k
			}
			k++
			label = k
			continue
		}
		break
	}
	for k > label && (p.text[k-1] == '-' || p.text[k-1] == '_') {
		k--
	}
	if label > i && topLevel(p.text[label:k]) {
		return k, true
	}
	return good, good > i
}

// topLevel says whether a label can be a top-level domain: letters alone, two
// at least, or an internationalised one.
func topLevel(label []byte) bool {
	if len(label) < 2 || len(label) > 63 {
		return false
	}
	if len(label) > 4 && lower(label[0]) == 'x' && lower(label[1]) == 'n' && label[2] == '-' && label[3] == '-' {
		return true
	}
	for _, c := range label {
		if !isLetter(c) && c < 0x80 {
			return false
		}
	}
	return true
}
