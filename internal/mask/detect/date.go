package detect

// date parses a calendar date at i, with a time of day behind it. It returns 0
// when there is none.
func (p *pass) date(i int) int {
	a, j := p.shortNumber(i, 4)
	na := j - i
	sep := p.at(j)
	if na == 0 || na == 3 || sep != '-' && sep != '/' && sep != '.' {
		return 0
	}
	b, k := p.shortNumber(j+1, 2)
	nb := k - j - 1
	if nb == 0 {
		return 0
	}
	if p.at(k) != sep {
		// 05/2021 stands for a month; 05/21 hardly ever does.
		return 0
	}
	c, end := p.shortNumber(k+1, 4)
	nc := end - k - 1
	if isAlnum(p.at(end)) && lower(p.at(end)) != 't' || p.at(end) == sep && isDigit(p.at(end+1)) {
		return 0
	}
	month := func(v int) bool { return v >= 1 && v <= 12 }
	day := func(v int) bool { return v >= 1 && v <= 31 }
	switch {
	case na == 4 && (nc == 2 || nc == 1):
		if a < 1800 || a > 2199 || !month(b) || !day(c) {
			return 0
		}
	case na <= 2 && (nc == 4 || nc == 2):
		if nc == 4 && (c < 1800 || c > 2199) || !(month(a) && day(b) || day(a) && month(b)) || nc == 2 && sep == '-' && na == 2 && nb == 2 && !p.dates {
			return 0
		}
	default:
		return 0
	}
	return p.timeOfDay(end)
}

// shortNumber reads up to limit digits at i. More digits than that are none.
func (p *pass) shortNumber(i, limit int) (v, end int) {
	end = i
	for end < len(p.text) && isDigit(p.text[end]) {
		if end-i == limit {
			return 0, i
		}
		v = v*10 + int(p.text[end]-'0')
		end++
	}
	return v, end
}

// timeOfDay extends a date that ends at i by a time such as T14:30:00.123-05:00.
func (p *pass) timeOfDay(i int) int {
	k := i
	if c := p.at(k); c != 'T' && c != 't' && c != ' ' {
		return i
	}
	_, j := p.shortNumber(k+1, 2)
	if j == k+1 || p.at(j) != ':' {
		if p.at(k) == ' ' {
			return i
		}
		return 0
	}
	_, k = p.shortNumber(j+1, 2)
	if k == j+1 {
		return i
	}
	if p.at(k) == ':' {
		if _, j = p.shortNumber(k+1, 2); j > k+1 {
			k = j
		}
	}
	if c := p.at(k); (c == '.' || c == ',') && isDigit(p.at(k+1)) {
		_, k = p.shortNumber(k+1, 9)
	}
	switch p.at(k) {
	case 'Z', 'z':
		k++
	case '+', '-':
		if _, j = p.shortNumber(k+1, 4); j > k+2 {
			k = j
			if p.at(k) == ':' {
				if _, j = p.shortNumber(k+1, 2); j > k+1 {
					k = j
				}
			}
		}
	}
	if isAlnum(p.at(k)) {
		return i
	}
	return k
}

// numericDate looks for a date that begins with group k.
func (p *pass) numericDate(d *digits, k int) (last, end int, ok bool) {
	if k+1 >= d.n || d.before[k+1] == ' ' || d.before[k+1] == ':' || k > 0 && d.before[k] == d.before[k+1] {
		return 0, 0, false
	}
	if end = p.date(d.start[k]); end == 0 {
		if end = p.monthYear(d, k); end == 0 {
			return 0, 0, false
		}
	}
	last = k
	for last+1 < d.n && d.end[last+1] <= end {
		last++
	}
	return last, end, true
}

// monthYear looks for 05/2021 or 05/21: dates only where dates are wanted.
func (p *pass) monthYear(d *digits, k int) int {
	if !p.dates || d.before[k+1] != '/' || k+2 < d.n && d.before[k+2] == '/' || d.len(k) > 2 || d.len(k+1) != 4 && d.len(k+1) != 2 || p.gluedBefore(d.start[k]) {
		return 0
	}
	a, b := number(d.of(k, k)), number(d.of(k+1, k+1))
	if a < 1 || a > 12 || d.len(k+1) == 4 && (b < 1800 || b > 2199) || d.len(k+1) == 2 && (d.len(k) != 2 || b > 31 || b < 1) {
		return 0
	}
	return d.end[k+1]
}

var months = map[string]bool{
	"jan": true, "january": true, "feb": true, "february": true, "mar": true, "march": true, "apr": true, "april": true, "may": true, "jun": true, "june": true, "jul": true, "july": true,
	"aug": true, "august": true, "sep": true, "sept": true, "september": true, "oct": true, "october": true, "nov": true, "november": true, "dec": true, "december": true,
}

// monthName looks at the word text[i:j] for a month with a day or a year on
// either side.
func (p *pass) monthName(i, j int) int {
	if j-i < 3 || j-i > 9 || !isUpper(p.text[i]) {
		return 0
	}
	var buf [9]byte
	for k := i; k < j; k++ {
		buf[k-i] = lower(p.text[k])
	}
	if !months[string(buf[:j-i])] {
		return 0
	}
	start, end := i, j
	if k := i - 1; k > p.behind() && (p.text[k] == ' ' || p.text[k] == '-' || p.text[k] == '.') && isDigit(p.text[k-1]) {
		k--
		for k > p.behind() && isDigit(p.text[k-1]) {
			k--
		}
		if i-1-k <= 2 && !p.gluedBefore(k) {
			start = k
		}
	}
	for range 2 {
		k := end
		if c := p.at(k); c == ',' || c == '.' {
			k++
		}
		if c := p.at(k); c != ' ' && c != '-' {
			break
		}
		_, e := p.shortNumber(k+1, 4)
		if e == k+1 {
			break
		}
		if hasFold(p.text, e, "st") || hasFold(p.text, e, "nd") || hasFold(p.text, e, "rd") || hasFold(p.text, e, "th") {
			e += 2
		}
		if isAlnum(p.at(e)) || p.at(e) == ':' {
			break
		}
		end = e
	}
	if start == i && end == j {
		return 0
	}
	p.emit(start, end, Date)
	return end
}
