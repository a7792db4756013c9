package detect

const (
	maxIDDigits = 18 // the longest id of digits alone
	maxWordID   = 20 // the longest id with letters
)

// numericID is an id of digits alone.
type numericID struct {
	entity Entity
	digits int
	valid  func(d []byte) bool // nil: any digits
	shapes []uint32            // ways to group the digits, beside none at all; see digits.shape
	seps   string              // what may stand between groups
	words  context             // words that belong to it
	sure   bool                // grouped in such a way, the digits alone tell the id
}

// wordID is an id with letters.
type wordID struct {
	entity  Entity
	pattern string              // see pass.matchWord
	valid   func(b []byte) bool // over capitals and digits, without separators; nil: any
	words   context
	sure    bool // the form alone tells the id
}

// numericNational looks for an id of digits that begins with group k. One that
// isn't sure by itself counts when a word beside it belongs to it, or when the
// detector was asked for by its own name.
func (p *pass) numericNational(d *digits, k int) (last int, e Entity) {
	for last := min(d.n-1, k+6); last >= k; last-- {
		total := d.count[last+1] - d.count[k]
		if total > maxIDDigits || total < 5 {
			continue
		}
		for n := range p.numeric[total] {
			id := &p.numeric[total][n]
			if p.fitsNumeric(d, k, last, id) {
				return last, id.entity
			}
		}
	}
	return 0, None
}

func (p *pass) fitsNumeric(d *digits, k, last int, id *numericID) bool {
	var sep byte
	if last > k {
		shape, ok := d.shape(k, last), false
		for _, s := range id.shapes {
			ok = ok || s == shape
		}
		if !ok || shape == 0x333 && number(d.of(last-1, last)) == 0 {
			return false // 250 000 000 is an amount
		}
		for g := k + 1; g <= last; g++ {
			sep = d.before[g]
			if !containsByte(id.seps, sep) || sep != d.before[k+1] && len(id.seps) < 3 {
				return false
			}
		}
	}
	if p.joined(d, k, last, sep) || p.gluedBehind(d, last) || last == d.n-1 && d.glued || p.gluedBefore(d.start[k]) {
		return false
	}
	if id.valid != nil && !p.valid(id.valid, d.of(k, last)) {
		return false
	}
	if id.sure && last > k || p.named.has(id.entity) {
		return true
	}
	return p.context(d.start[k], d.end[last])&id.words != 0
}

func containsByte(s string, c byte) bool {
	for i := range len(s) {
		if s[i] == c {
			return true
		}
	}
	return false
}

// lead says how the text at i begins: with how many letters or digits in a
// row, and what comes next: the other of both, a separator, or neither.
func (p *pass) lead(i int) (digit, n, next int) {
	class := fLower | fUpper
	if isDigit(p.text[i]) {
		digit, class = 1, fDigit
	}
	for n < maxWordID && i+n < len(p.text) && features[p.text[i+n]]&class != 0 {
		n++
	}
	c := p.at(i + n)
	switch {
	case isAlnum(c):
		return digit, n, 0
	case c == ' ' || c == '-' || c == '.' || c >= 0x80:
		return digit, n, 1
	}
	return digit, n, 2
}

// addWord files an id under every way in which text that it matches can begin.
func (s *Scanner) addWord(id wordID) {
	for digit := range 2 {
		for n := 1; n <= maxWordID; n++ {
			for next := range 3 {
				if canLead(id.pattern, digit == 1, n, next) {
					s.worded[digit][n][next] = append(s.worded[digit][n][next], id)
					s.words[digit] = true
				}
			}
		}
	}
}

// canLead says whether a pattern can match text that begins with n letters or
// digits, and has next behind them.
func canLead(pattern string, digits bool, n, next int) bool {
	if pattern == "" {
		return n == 0 && next != 0
	}
	c, rest := pattern[0], pattern[1:]
	switch c {
	case ' ', '.':
		return n == 0 && next == 1 || canLead(rest, digits, n, next)
	case '_':
		return n == 0 && next == 1
	case '+':
		return n == 0 && (next == 1 || next == 2 || next == 0 && digits)
	}
	isDigitHere := c == '9' || c >= '0' && c <= '8'
	if n > 0 {
		return (c == 'X' || isDigitHere == digits) && canLead(rest, digits, n-1, next)
	}
	return next == 0 && (c == 'X' || isDigitHere != digits)
}

// wordedNational looks for an id with letters that begins at i.
func (p *pass) wordedNational(i int) (end int, e Entity) {
	digit, n, next := p.lead(i)
	ids := p.worded[digit][n][next]
	if len(ids) == 0 || p.gluedBefore(i) {
		return 0, None
	}
	var buf [maxWordID]byte
	for n := range ids {
		id := &ids[n]
		end, b := p.matchWord(id.pattern, i, buf[:0])
		if end == 0 || id.valid != nil && !p.valid(id.valid, b) {
			continue
		}
		if id.sure || p.named.has(id.entity) || p.context(i, end)&id.words != 0 {
			return end, id.entity
		}
	}
	return 0, None
}

// matchWord matches a pattern at i: A is a letter, 9 a digit, X either, _ a
// space or a hyphen that must be there, a space one that may, a point any
// separator that may; anything else is itself, in any case. It returns the
// end, or 0, and the letters and digits as capitals.
func (p *pass) matchWord(pattern string, i int, buf []byte) (end int, b []byte) {
	for k := range len(pattern) {
		want := pattern[k]
		c := p.at(i)
		switch want {
		case ' ', '_', '.':
			if sep, width := separator(p.text, i); sep == ' ' || sep == '-' || want == '.' && sep == '.' {
				i += width
			} else if want == '_' {
				return 0, nil
			}
			continue
		case 'A':
			if !isLetter(c) {
				return 0, nil
			}
		case '9':
			if !isDigit(c) {
				return 0, nil
			}
		case 'X':
			if !isAlnum(c) {
				return 0, nil
			}
		case '+':
			if c != '+' && c != '-' && !isLetter(c) {
				return 0, nil
			}
		default:
			if upper(c) != want {
				return 0, nil
			}
		}
		buf = append(buf, upper(c))
		i++
	}
	if c := p.at(i); isAlnum(c) || c == '_' || c == '-' && isAlnum(p.at(i+1)) {
		return 0, nil
	}
	return i, buf
}

// valid calls f with a copy of b: the compiler can't see that f doesn't keep
// it, and would put every number on the heap.
func (p *pass) valid(f func([]byte) bool, b []byte) bool {
	buf := p.buffers.Get().(*[maxWordID]byte)
	n := copy(buf[:], b)
	ok := f(buf[:n])
	p.buffers.Put(buf)
	return ok
}
