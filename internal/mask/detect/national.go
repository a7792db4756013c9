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
		if !ok {
			return false
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
	digits := d.of(k, last)
	if id.valid != nil && !id.valid(digits) {
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

// wordedNational looks for an id with letters that begins at i.
func (p *pass) wordedNational(i int) (end int, e Entity) {
	if p.gluedBefore(i) {
		return 0, None
	}
	table := &p.byLetter
	if isDigit(p.text[i]) {
		table = &p.byDigit
	}
	var buf [maxWordID]byte
	for n := range *table {
		id := &(*table)[n]
		end, b := p.matchWord(id.pattern, i, buf[:0])
		if end == 0 || id.valid != nil && !id.valid(b) {
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
