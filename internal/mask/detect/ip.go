package detect

// ipv4 looks for an address in dotted form that begins with group k, and for
// the length of its network behind it.
func (p *pass) ipv4(d *digits, k int) (last, end int, ok bool) {
	if k+3 >= d.n || k > 0 && d.before[k] == '.' {
		return 0, 0, false
	}
	for g := k; g < k+4; g++ {
		if g > k && d.before[g] != '.' || d.len(g) > 3 || number(d.of(g, g)) > 255 {
			return 0, 0, false
		}
	}
	last = k + 3
	end = d.end[last]
	if p.at(end) == '.' && isAlnum(p.at(end+1)) || p.at(end) == '_' || d.start[k] > 0 && (p.text[d.start[k]-1] == '.' || isAlnum(p.text[d.start[k]-1])) {
		return 0, 0, false
	}
	if p.product(d.start[k]) || p.context(d.start[k], end)&ctxVersion != 0 {
		return 0, 0, false
	}
	if last+1 < d.n && d.before[last+1] == '/' && d.len(last+1) <= 2 && number(d.of(last+1, last+1)) <= 32 {
		last++
		end = d.end[last]
	}
	return last, end, true
}

// product says whether a product's name and a slash stand right before
// position i, as in Chrome/120.0.0.0.
func (p *pass) product(i int) bool {
	if i < 2 || p.text[i-1] != '/' || !isAlnum(p.text[i-2]) {
		return false
	}
	k := i - 2
	for k > 0 && isAlnum(p.text[k-1]) {
		k--
	}
	return isUpper(p.text[k]) && (k == 0 || isSpace(p.text[k-1]) || p.text[k-1] == '"' || p.text[k-1] == '(')
}

// number is the value of a few digits.
func number(d []byte) int {
	v := 0
	for _, c := range d {
		v = v*10 + int(c)
	}
	return v
}

// colon looks at the colon at i: inside an address, behind a scheme or a name.
func (p *pass) colon(i int) int {
	next := p.at(i + 1)
	if next == '/' && p.at(i+2) == '/' {
		return p.scheme(i)
	}
	if p.ips && (next == ':' || isHex(next)) {
		start := i
		for start > 0 && i-start < 5 && isHex(p.text[start-1]) {
			start--
		}
		if end := p.ipv6(start); end > i {
			return p.emit(start, end, IP)
		}
	}
	return p.assignment(i)
}

// ipv6 parses an address at start, with the length of its network. It returns
// 0 when there is none.
func (p *pass) ipv6(start int) int {
	if start < p.behind() {
		return 0
	}
	if start > 0 {
		if c := p.text[start-1]; isAlnum(c) || c == ':' || c == '_' || c == '.' || c >= 0x80 {
			return 0
		}
	}
	groups, gap, decimals, k := 0, false, false, start
	if p.at(k) == ':' {
		if p.at(k+1) != ':' {
			return 0
		}
		gap = true
		k += 2
	}
	for groups < 8 {
		j := k
		for j < k+4 && j < len(p.text) && isHex(p.text[j]) {
			decimals = decimals || isDigit(p.text[j])
			j++
		}
		if j == k {
			break
		}
		if p.at(j) == '.' && isDigit(p.at(j+1)) {
			end := p.dotted(k)
			if end == 0 || groups > 6 {
				return 0
			}
			groups += 2
			k = end
			break
		}
		groups++
		k = j
		if p.at(k) != ':' || groups == 8 {
			break
		}
		if p.at(k+1) == ':' {
			if gap {
				return 0
			}
			gap = true
			k += 2
			continue
		}
		if !isHex(p.at(k + 1)) {
			break
		}
		k++
	}
	if groups != 8 && (!gap || groups == 8) {
		return 0
	}
	if c := p.at(k); isAlnum(c) || c == '_' || c >= 0x80 || c == ':' && (isHex(p.at(k+1)) || p.at(k+1) == ':') {
		return 0
	}
	if !decimals && (groups > 0 && groups < 3 || !p.aloneColons(start, k)) {
		return 0
	}
	if p.at(k) == '%' && isAlnum(p.at(k+1)) { // zone
		for k++; k < len(p.text) && isAlnum(p.text[k]); k++ {
		}
	}
	if p.at(k) == '/' {
		j := k + 1
		for j < len(p.text) && j < k+5 && isDigit(p.text[j]) {
			j++
		}
		if j > k+1 && j < k+5 && !isAlnum(p.at(j)) {
			v := 0
			for _, c := range p.text[k+1 : j] {
				v = v*10 + int(c-'0')
			}
			if v <= 128 {
				k = j
			}
		}
	}
	return k
}

// aloneColons says whether :: or an address of letters alone stands free: so
// that std::dec or a cast isn't taken for one.
func (p *pass) aloneColons(start, end int) bool {
	if start > 0 {
		if c := p.text[start-1]; !isSpace(c) && c != '=' && c != '[' {
			return false
		}
	}
	c := p.at(end)
	return (end == len(p.text) || isSpace(c) || c == ',' || c == ']' || c == '/')
}

// dotted parses an IPv4 address at i, and returns its end, or 0.
func (p *pass) dotted(i int) int {
	for part := range 4 {
		v, j := 0, i
		for j < i+4 && j < len(p.text) && isDigit(p.text[j]) {
			v = v*10 + int(p.text[j]-'0')
			j++
		}
		if j == i || j > i+3 || v > 255 {
			return 0
		}
		i = j
		if part < 3 {
			if p.at(i) != '.' {
				return 0
			}
			i++
		}
	}
	if isAlnum(p.at(i)) || p.at(i) == '.' && isDigit(p.at(i+1)) {
		return 0
	}
	return i
}

// mac parses a hardware address at i: 00:1A:2B:3C:4D:5E, with hyphens, or
// 001A.2B3C.4D5E. It returns 0 when there is none.
func (p *pass) mac(i int) int {
	width, groups := 2, 6
	sep := p.at(i + 2)
	if p.at(i+4) == '.' {
		width, groups, sep = 4, 3, '.'
	}
	if sep != ':' && sep != '-' && sep != '.' {
		return 0
	}
	if sep == '.' && width == 2 {
		return 0
	}
	ones, letters := true, false
	k := i
	for g := range groups {
		if g > 0 {
			if p.at(k) != sep {
				return 0
			}
			k++
		}
		for range width {
			c := p.at(k)
			if !isHex(c) {
				return 0
			}
			ones = ones && lower(c) == 'f'
			letters = letters || isLetter(c)
			k++
		}
	}
	if ones || isAlnum(p.at(k)) || p.at(k) == sep && isAlnum(p.at(k+1)) || i > 0 && (p.text[i-1] == sep || isAlnum(p.text[i-1])) {
		return 0
	}
	if width == 4 && !letters {
		return 0 // 1234.5678.9012 is a number
	}
	return k
}
