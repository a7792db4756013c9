package detect

// callingCode is a country's calling code, and how many digits follow it.
type callingCode struct{ min, max uint8 }

// callingCodes covers codes of one and two digits; those of three digits are
// checked by their first digits alone.
var callingCodes = map[int]callingCode{
	1: {10, 10}, 7: {10, 10},
	20: {8, 10}, 27: {9, 9}, 30: {10, 10}, 31: {9, 9}, 32: {8, 9}, 33: {9, 9}, 34: {9, 9}, 36: {8, 9}, 39: {6, 11},
	40: {9, 9}, 41: {9, 9}, 43: {6, 13}, 44: {9, 10}, 45: {8, 8}, 46: {7, 10}, 47: {8, 8}, 48: {9, 9}, 49: {6, 13},
	51: {8, 9}, 52: {10, 11}, 53: {6, 8}, 54: {10, 11}, 55: {10, 11}, 56: {8, 9}, 57: {8, 10}, 58: {10, 10},
	60: {7, 10}, 61: {9, 9}, 62: {8, 12}, 63: {8, 10}, 64: {8, 10}, 65: {8, 8}, 66: {8, 9},
	81: {9, 10}, 82: {8, 10}, 84: {9, 10}, 86: {9, 11},
	90: {10, 10}, 91: {10, 10}, 92: {9, 10}, 93: {9, 9}, 94: {9, 9}, 95: {7, 10}, 98: {10, 10},
}

// international says whether digits are a calling code and a number that fits it.
func international(d []byte) bool {
	if len(d) < 7 || len(d) > 15 || d[0] == 0 {
		return false
	}
	if c, ok := callingCodes[int(d[0])]; ok {
		n := uint8(len(d) - 1)
		return n >= c.min && n <= c.max
	}
	two := int(d[0])*10 + int(d[1])
	if c, ok := callingCodes[two]; ok {
		n := uint8(len(d) - 2)
		return n >= c.min && n <= c.max
	}
	switch two {
	case 21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 80, 85, 87, 88, 96, 97, 99:
		return len(d) >= 8 && len(d) <= 13
	}
	return false
}

// phone looks at the + or the parenthesis at i, which may begin a number.
func (p *pass) phone(i int) int {
	if next := p.at(i + 1); p.text[i] == '(' && next == '+' {
		// (+44) 20 … begins here, (+44 20 …) behind the parenthesis.
		if _, k := p.shortNumber(i+2, 3); k == i+2 || p.at(k) != ')' {
			return i + 1
		}
	} else if !isDigit(next) && (p.text[i] != '+' || next != '(') {
		return i + 1
	}
	if i > p.floor && (isAlnum(p.text[i-1]) || p.text[i-1] == '/' || p.text[i-1] == '+') {
		return i + 1
	}
	if p.text[i] == '(' && p.text[i+1] != '+' {
		if end := p.areaPhone(i); end > 0 {
			return p.emit(i, end, Phone)
		}
		return i + 1
	}
	if end := p.plusPhone(i); end > 0 {
		return p.emit(i, end, Phone)
	}
	return i + 1
}

// plusPhone parses a number with its country's code behind a +. The longest
// run of groups that fits counts.
func (p *pass) plusPhone(i int) int {
	var d [16]byte
	n, best := 0, 0
	k := i + 1
	if p.text[i] == '(' {
		k++
	}
	for n < len(d) && k < len(p.text) {
		j := k
		trunk := p.at(k) == '0' && p.at(k-1) == '(' && p.at(k+1) == ')' && n > 0
		for j < len(p.text) && isDigit(p.text[j]) {
			if !trunk {
				if n == len(d) {
					break
				}
				d[n] = p.text[j] - '0'
				n++
			}
			j++
		}
		if j < len(p.text) && isDigit(p.text[j]) {
			break
		}
		if c := p.at(j); !isLetter(c) && c != '_' || p.extension(j) > 0 {
			if international(d[:n]) {
				best = j
			}
		}
		// Up to two separators may follow, as in ") " or " (".
		k = j
		for w := 0; w < 2 && k < len(p.text); w++ {
			if c := p.text[k]; c == '(' || c == ')' {
				k++
				continue
			}
			sep, width := separator(p.text, k)
			if sep != ' ' && sep != '-' && sep != '.' && sep != '/' {
				break
			}
			k += width
		}
		if k == j || !isDigit(p.at(k)) {
			if k < len(p.text) && p.text[k] == '(' && isDigit(p.at(k+1)) && k-j == 2 {
				k++
				continue
			}
			break
		}
	}
	if best == 0 {
		return 0
	}
	return p.withExtension(best)
}

// areaPhone parses a number that begins with its area's code in parentheses.
func (p *pass) areaPhone(i int) int {
	_, k := p.shortNumber(i+1, 5)
	n := k - i - 1
	if n < 2 || p.at(k) != ')' {
		return 0
	}
	k++
	best, total, groups := 0, n, 0
	for groups < 5 {
		if sep, width := separator(p.text, k); width > 0 && sep != ':' && (sep != '/' || groups == 0) {
			k += width
		} else if groups > 0 {
			break
		}
		j := k
		for j < len(p.text) && isDigit(p.text[j]) {
			j++
		}
		if j == k {
			break
		}
		total += j - k
		groups++
		if total > 12 {
			break
		}
		if c := p.at(j); (!isAlnum(c) || p.extension(j) > 0) && total >= 8 && (j-k <= 8) {
			best = j
		}
		k = j
	}
	if best == 0 {
		return 0
	}
	return p.withExtension(best)
}

// extension parses x123, ext. 123 or #123 at i, and returns its end, or 0.
func (p *pass) extension(i int) int {
	k := i
	if p.at(k) == ' ' {
		k++
	}
	switch {
	case hasFold(p.text, k, "ext"):
		k += 3
		if hasFold(p.text, k, "ension") {
			k += 6
		}
	case lower(p.at(k)) == 'x':
		k++
	default:
		return 0
	}
	if p.at(k) == '.' || p.at(k) == ':' {
		k++
	}
	if p.at(k) == ' ' {
		k++
	}
	_, end := p.shortNumber(k, 6)
	if end == k || isAlnum(p.at(end)) {
		return 0
	}
	return end
}

func (p *pass) withExtension(end int) int {
	if ext := p.extension(end); ext > 0 {
		return ext
	}
	return end
}

// trunkPhone parses a number such as 0 (532) 123 45 67, whose first digit at i
// stands before the parenthesis.
func (p *pass) trunkPhone(i int) int {
	if i > p.floor && isAlnum(p.at(i-1)) {
		return 0
	}
	switch p.text[i] {
	case '0', '1', '7', '8':
	default:
		return 0
	}
	k := i + 1
	if c := p.at(k); c == ' ' || c == '-' {
		k++
	}
	if p.at(k) != '(' || !isDigit(p.at(k+1)) {
		return 0
	}
	return p.areaPhone(k)
}

// nationalPhone looks for a number in a national form that begins with group k.
// The longest that fits counts.
func (p *pass) nationalPhone(d *digits, k int) (last, end int) {
	first := d.of(k, k)
	if k > 0 && (d.before[k] == '.' || d.before[k] == '-' || d.before[k] == ':' || d.before[k] == '/') {
		return 0, 0
	}
	glued := p.gluedBefore(d.start[k])
	var seen context
	looked := false
	labelled := func(last int) bool {
		if !looked {
			seen, looked = p.context(d.start[k], d.end[last]), true
		}
		return seen&ctxPhone != 0 || last > k && seen&ctxReach != 0
	}
	for last := min(d.n-1, k+6); last >= k; last-- {
		total := d.count[last+1] - d.count[k]
		if total < 6 {
			break
		}
		if total > 17 || last+1 < d.n && (d.before[last+1] == '.' || d.before[last+1] == '-' || d.before[last+1] == ':' || d.before[last+1] == '/') {
			continue
		}
		end := d.end[last]
		behind := last == d.n-1 && (d.glued || p.gluedBehind(d, last))
		if last == d.n-1 && p.extension(end) > 0 {
			behind = false
		}
		form := p.phoneForm(d, k, last, first)
		if (k > 0 || last < d.n-1) && form > namedPhone && (last == k || d.shape(k, last) != 0x334 || d.before[k+1] == ' ') {
			form = namedPhone // part of a longer row of numbers
		}
		switch {
		case form == noPhone:
			continue
		case form == surePhone && !glued && !behind:
		case form == loosePhone && !glued && !behind && p.alone(d.start[k], end) && d.before[k+1] == ' ':
		default:
			looked = false
			if !labelled(last) {
				continue
			}
		}
		if last == d.n-1 {
			end = p.withExtension(end)
		}
		return last, end
	}
	return 0, 0
}

// alone says whether text[start:end] is all there is in a cell.
func (p *pass) alone(start, end int) bool {
	if !p.cell {
		return false
	}
	for start > 0 && isSpace(p.text[start-1]) {
		start--
	}
	for end < len(p.text) && isSpace(p.text[end]) {
		end++
	}
	return start == 0 && end == len(p.text)
}

// phoneForm says how much a run of groups looks like a telephone number.
type phoneForm uint8

const (
	noPhone    phoneForm = iota
	namedPhone           // only beside a word that says so
	loosePhone           // also when nothing stands beside it
	surePhone
)

func (p *pass) phoneForm(d *digits, k, last int, first []byte) phoneForm {
	total := d.count[last+1] - d.count[k]
	all := d.of(k, last)
	groups := last - k + 1
	if same(all) {
		return noPhone
	}
	// Which separators there are.
	var spaces, hyphens, points, others int
	for g := k + 1; g <= last; g++ {
		switch d.before[g] {
		case ' ':
			spaces++
		case '-':
			hyphens++
		case '.':
			points++
		case '/':
			if g > k+1 {
				return noPhone
			}
			others++
		default:
			return noPhone
		}
	}
	if points > 0 && (spaces+hyphens > 0 || others > 0 && first[0] != 0) {
		return noPhone
	}
	shape := d.shape(k, last)
	// 0044 20 7946 0958, 001-748-088-2851
	if first[0] == 0 && len(first) >= 2 && first[1] == 0 {
		if k == 0 && len(all) >= 10 && international(all[2:]) && (groups > 1 || len(all) >= 11) && points == 0 {
			return surePhone
		}
		return noPhone
	}
	if groups == 1 {
		switch {
		case first[0] == 0 && (total == 10 || total == 11) && first[1] != 0:
			return surePhone
		case total >= 7 && total <= 12:
			return namedPhone
		}
		return noPhone
	}
	switch shape {
	case 0x334:
		return surePhone
	case 0x1334:
		if first[0] == 1 {
			return surePhone
		}
	case 0x13322:
		if first[0] == 8 {
			return surePhone
		}
	}
	if points > 0 && others == 0 {
		if shape == 0x22222 && first[0] == 0 {
			return surePhone
		}
		if total >= 8 && total <= 11 && groups >= 3 && len(first) >= 2 {
			return namedPhone
		}
		return noPhone
	}
	if first[0] == 0 && len(first) >= 2 && len(first) <= 6 && total >= 9 && total <= 12 && others <= 1 {
		for g := k + 1; g <= last; g++ {
			if d.len(g) == 1 || d.len(g) > 8 {
				return namedPhone
			}
		}
		return surePhone
	}
	if others > 0 {
		return noPhone
	}
	if spaces > 0 && hyphens > 0 && groups > 4 {
		return noPhone
	}
	switch shape {
	case 0x2222, 0x22222:
		if k > 0 || last+1 < d.n || (groups == 5) != (first[0] == 0) || first[0] == 1 {
			return namedPhone
		}
		return surePhone
	case 0x333:
		// 100 000 000 is an amount.
		if spaces == 2 && number(d.of(k+1, k+1)) != 0 && number(d.of(last, last)) != 0 {
			return loosePhone
		}
		return namedPhone
	case 0x2322, 0x2334, 0x12222, 0x3322, 0x3222:
		if spaces == groups-1 {
			return surePhone
		}
		return namedPhone
	case 0x323:
		if spaces == 2 && (first[0] == 4 || first[0] == 9) {
			return surePhone
		}
		return loosePhone
	case 0x44:
		if spaces == 1 && first[0] >= 3 && !p.year(d, k) {
			return loosePhone
		}
		return namedPhone
	case 0x34, 0x26, 0x233, 0x244, 0x55, 0x46, 0x344, 0x254:
		return loosePhone
	}
	for g := k; g <= last; g++ {
		if d.len(g) < 2 && g > k {
			return noPhone
		}
	}
	if total >= 6 && total <= 13 && groups <= 5 && (total >= 7 || shape == 0x222 || shape == 0x33) {
		return namedPhone
	}
	return noPhone
}

// year says whether group k can be a year.
func (p *pass) year(d *digits, k int) bool {
	v := number(d.of(k, k))
	return d.len(k) == 4 && v >= 1900 && v <= 2100
}
