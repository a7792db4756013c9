package detect

const (
	maxGroups = 20
	maxDigits = 40
)

// digits is a run of groups of digits, with one separator between any two.
type digits struct {
	n          int // groups
	start, end [maxGroups]int
	before     [maxGroups + 1]byte // the separator before group k: one of " -./:" ; 0 before the first
	count      [maxGroups + 1]int  // digits before group k
	val        [maxDigits]byte     // the digits' values, all groups together
	after      int                 // where the run ends
	glued      bool                // text goes on behind the last group without a break
}

func (d *digits) len(k int) int { return d.end[k] - d.start[k] }

// of returns the digits of groups from..to.
func (d *digits) of(from, to int) []byte { return d.val[d.count[from]:d.count[to+1]] }

// uniform says whether one separator stands between all of groups from..to,
// and which; 0 when there is only one group.
func (d *digits) uniform(from, to int) (sep byte, ok bool) {
	for k := from + 1; k <= to; k++ {
		if sep == 0 {
			sep = d.before[k]
		}
		if d.before[k] != sep {
			return 0, false
		}
	}
	return sep, true
}

// shape is the lengths of groups from..to as hexadecimal digits: 0x334 for
// 415-555-0132. A group of more than 15 digits, or more than 8 groups, is 0.
func (d *digits) shape(from, to int) uint32 {
	if to-from >= 8 {
		return 0
	}
	var s uint32
	for k := from; k <= to; k++ {
		n := d.len(k)
		if n > 15 {
			return 0
		}
		s = s<<4 | uint32(n)
	}
	return s
}

// separator recognises a separator between groups at i: its normal form and
// its width. Typographic spaces and hyphens count as plain ones.
func separator(text []byte, i int) (sep byte, width int) {
	if i >= len(text) {
		return 0, 0
	}
	switch c := text[i]; c {
	case ' ', '-', '.', '/', ':':
		return c, 1
	case 0xC2:
		if i+1 < len(text) && text[i+1] == 0xA0 {
			return ' ', 2
		}
	case 0xE2:
		if i+2 < len(text) && text[i+1] == 0x80 {
			switch b := text[i+2]; {
			case b >= 0x80 && b <= 0x8A, b == 0xAF:
				return ' ', 3
			case b >= 0x90 && b <= 0x95:
				return '-', 3
			}
		}
	}
	return 0, 0
}

// collect gathers the run of digit groups that begins with the digit at i.
func (p *pass) collect(d *digits, i int) {
	d.n, d.glued = 0, false
	total := 0
	var sep byte
	for d.n < maxGroups {
		j := i
		for j < len(p.text) && isDigit(p.text[j]) {
			if total < maxDigits {
				d.val[total] = p.text[j] - '0'
			}
			total++
			j++
		}
		if total > maxDigits || isLetter(p.at(j)) && (d.n == 0 || p.extension(j) == 0) {
			// Not a number of ours: the run ends before this group.
			if d.n == 0 {
				d.after = j
			}
			d.glued = true
			return
		}
		d.start[d.n], d.end[d.n], d.before[d.n] = i, j, sep
		d.n++
		d.count[d.n] = total
		d.after = j
		var width int
		sep, width = separator(p.text, j)
		if width == 0 || !isDigit(p.at(j+width)) {
			return
		}
		i = j + width
	}
}

// number looks at the digits at i, which begin a word.
func (p *pass) number(i int) int {
	text := p.text
	j := i + 1
	for j < len(text) && isDigit(text[j]) {
		j++
	}
	var next byte
	if j < len(text) {
		next = text[j]
	}
	if isLetter(next) {
		return p.word(i)
	}
	if next == '-' && j-i == 8 && p.uuid(i) {
		return i + 36
	}
	if next == ':' && p.ips && j-i <= 4 {
		if end := p.ipv6(i); end > 0 {
			return p.emit(i, end, IP)
		}
	}
	if p.macs && (next == ':' || next == '-' || next == '.') {
		if end := p.mac(i); end > 0 {
			return p.emit(i, end, MAC)
		}
	}
	if (next == ':' || next == '|') && p.secrets && j-i >= 5 {
		if end := p.botToken(i, j); end > 0 {
			return p.emit(i, end, Secret)
		}
	}
	if p.words[1] && (next == ' ' || next == '-') {
		if end, e := p.wordedNational(i); e != None {
			return p.emit(i, end, e)
		}
	}
	if !p.seqs {
		return j
	}
	if j-i < 8 && len(p.numeric[j-i]) == 0 {
		// Most numbers are short and stand alone: nothing starts with them.
		if j-i == 1 && (next == ' ' || next == '-' || next == '(') && p.phones {
			if end := p.trunkPhone(i); end > 0 {
				return p.emit(i, end, Phone)
			}
		}
		if _, width := separator(text, j); width == 0 || !isDigit(p.at(j+width)) {
			return j
		}
	}
	if next == '-' && j-i == 4 {
		if end := p.date(i); end > 0 {
			if p.dates {
				p.emit(i, end, Date)
			}
			return end
		}
	}
	var d digits
	p.collect(&d, i)
	if d.n == 0 {
		return max(d.after, j)
	}
	for k := 0; k < d.n; {
		if last, start, end, e := p.group(&d, k); e != None {
			if end > 0 {
				p.emit(start, end, e)
				if end > d.end[last] {
					return max(end, d.after)
				}
			}
			k = last + 1
			continue
		}
		k++
	}
	return d.after
}

// group looks for a value that begins with group k. It returns the last group
// that is part of it. With end 0 the groups are nothing sensitive, but not to
// be taken for anything else either.
func (p *pass) group(d *digits, k int) (last, start, end int, e Entity) {
	start = d.start[k]
	if d.n > k+2 {
		if last, end, ok := p.ipv4(d, k); ok {
			if !p.ips {
				end = 0
			}
			return last, start, end, IP
		}
	}
	if last, end, ok := p.numericDate(d, k); ok {
		if !p.dates {
			end = 0
		}
		return last, start, end, Date
	}
	if p.cards {
		if last, ok := p.card(d, k); ok {
			return last, start, d.end[last], CreditCard
		}
	}
	if p.ssns {
		if last, ok := p.ssn(d, k); ok {
			return last, start, d.end[last], SSN
		}
	}
	if last, e := p.numericNational(d, k); e != None {
		return last, start, d.end[last], e
	}
	if p.phones {
		if last, end := p.nationalPhone(d, k); end > 0 {
			return last, start, end, Phone
		}
	}
	return 0, 0, 0, None
}

// joined says whether groups from..to are part of something longer: the same
// separator, or a point, goes on before or behind them.
func (p *pass) joined(d *digits, from, to int, sep byte) bool {
	if from > 0 && (d.before[from] == '.' || d.before[from] == sep && sep != ' ' && sep != 0 || sep == 0 && d.before[from] != ' ') {
		return true
	}
	if to+1 < d.n && (d.before[to+1] == '.' || d.before[to+1] == sep && sep != ' ' && sep != 0 || sep == 0 && d.before[to+1] != ' ') {
		return true
	}
	return false
}

// gluedBefore says whether a letter or digit stands right before position i,
// or one and a hyphen, a point or an underscore: as in AB-2174.
func (p *pass) gluedBefore(i int) bool {
	if i <= p.floor {
		return false
	}
	c := p.text[i-1]
	if isAlnum(c) {
		return true
	}
	return (c == '-' || c == '_' || c == '.' || c == '/') && i-1 > p.floor && isAlnum(p.text[i-2])
}
