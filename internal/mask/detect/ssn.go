package detect

// ssn looks for a US social security number that begins with group k.
func (p *pass) ssn(d *digits, k int) (last int, ok bool) {
	try := func(last int, labelled bool) bool {
		if last >= d.n || d.count[last+1]-d.count[k] != 9 {
			return false
		}
		sep, ok := d.uniform(k, last)
		if !ok || sep == '/' || sep == ':' || p.joined(d, k, last, sep) || !validSSN(d.of(k, last)) {
			return false
		}
		if !labelled && sep != '.' {
			return !p.gluedBefore(d.start[k]) && !p.gluedBehind(d, last)
		}
		return p.context(d.start[k], d.end[last])&ctxSSN != 0
	}
	if k+2 < d.n && d.shape(k, k+2) == 0x324 && try(k+2, false) {
		return k + 2, true
	}
	if k+1 < d.n && (d.shape(k, k+1) == 0x36 || d.shape(k, k+1) == 0x54) && try(k+1, !p.named.has(SSN) || d.before[k+1] != '-' || d.shape(k, k+1) == 0x54 && !p.besideSSN(d, k)) {
		return k + 1, true
	}
	if d.len(k) == 9 && try(k, true) {
		return k, true
	}
	return 0, false
}

// besideSSN says whether the group before k ended a number found as one: then
// a form that is weak by itself counts.
func (p *pass) besideSSN(d *digits, k int) bool {
	return k > 0 && len(p.out) > p.base && p.out[len(p.out)-1].Entity == SSN && p.out[len(p.out)-1].End == d.end[k-1]
}

// validSSN knows the numbers that were never issued, and those of taxpayers
// without one, which begin with 9.
func validSSN(d []byte) bool {
	area := int(d[0])*100 + int(d[1])*10 + int(d[2])
	group := int(d[3])*10 + int(d[4])
	serial := int(d[5])*1000 + int(d[6])*100 + int(d[7])*10 + int(d[8])
	return area != 0 && area != 666 && area < 900 && group != 0 && serial != 0
}

// gluedBehind says whether text goes on right behind group last: a letter, or
// a hyphen and one, as in 123-45-6789-A.
func (p *pass) gluedBehind(d *digits, last int) bool {
	end := d.end[last]
	c := p.at(end)
	return isAlnum(c) || c == '_' || c == '-' && last == d.n-1 && isAlnum(p.at(end+1))
}
