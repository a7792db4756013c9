// Package detect finds sensitive values in text by what they look like: one
// pass over the bytes, a table of trigger bytes, and behind each trigger a
// parser written by hand that checks ranges and checksums. There is no regular
// expression, and nothing is allocated until something is found.
package detect

import (
	"sort"
	"sync"
)

// Span is one value found: text[Start:End].
type Span struct {
	Start, End int
	Entity     Entity
}

// MaxValue is the longest value that a scanner finds, in bytes; a private key
// in PEM form may be longer, up to [MaxPEM]. Text further apart than this
// can't change what is found here.
const (
	MaxValue = 4096
	MaxPEM   = 64 << 10
)

// Scanner finds the values of a set of entities. It is immutable, and safe
// for concurrent use.
type Scanner struct {
	want  entitySet
	named entitySet // asked for by their own name: their weak forms count, too
	class [256]kind
	// The entities with code of their own, read from want once.
	dates, secrets, ibans, ips, macs, phones, cards, ssns, coins, urls bool

	seqs    bool                          // some entity is made of digit groups
	numeric [maxIDDigits + 1][]numericID  // by how many digits they have
	worded  [2][maxWordID + 1][3][]wordID // by what they begin with; see lead
	words   [2]bool                       // some id with letters begins with a letter, with a digit
	buffers sync.Pool                     // of *[maxWordID]byte
}

// kind is what a byte may start.
type kind uint8

const (
	kSkip kind = iota
	kLetter
	kDigit
	kAt
	kColon
	kEquals
	kPlus
	kParen
	kBackslash
	kDash
	kGreater
	kComma
	kDot
	kTilde
)

// New makes a scanner for the named detectors. It returns the names that it
// doesn't know.
func New(names ...string) (s *Scanner, unknown []string) {
	s = &Scanner{}
	s.buffers.New = func() any { return new([maxWordID]byte) }
next:
	for _, name := range names {
		if name == NationalIDs {
			for e := usITIN; e < numEntities; e++ {
				s.want.add(e)
			}
			continue
		}
		for e := Email; e < numEntities; e++ {
			if infos[e].Name == name {
				s.want.add(e)
				s.named.add(e)
				continue next
			}
		}
		unknown = append(unknown, name)
	}
	s.prepare()
	return s, unknown
}

// prepare fills the class table with what the wanted entities need, and no more.
func (s *Scanner) prepare() {
	for c := range 256 {
		if isLetter(byte(c)) {
			s.class[c] = kLetter
		}
	}
	s.class['\\'] = kBackslash
	for _, id := range numericIDs {
		if !s.want.has(id.entity) {
			continue
		}
		s.seqs = true
		s.numeric[id.digits] = append(s.numeric[id.digits], id)
	}
	for _, id := range wordIDs {
		if !s.want.has(id.entity) {
			continue
		}
		s.addWord(id)
	}
	for e, kinds := range map[Entity]string{Email: "@", IP: ":", MAC: ":", Secret: ":=>,-~", URL: ":.", Phone: "+("} {
		if s.want.has(e) {
			for i := range len(kinds) {
				s.class[kinds[i]] = triggerKinds[kinds[i]]
			}
		}
	}
	for _, e := range []Entity{CreditCard, SSN, Phone, IP, Date} {
		s.seqs = s.seqs || s.want.has(e)
	}
	s.dates, s.secrets, s.ibans, s.ips = s.want.has(Date), s.want.has(Secret), s.want.has(IBAN), s.want.has(IP)
	s.macs, s.phones, s.cards, s.ssns = s.want.has(MAC), s.want.has(Phone), s.want.has(CreditCard), s.want.has(SSN)
	s.coins, s.urls = s.want.has(Crypto), s.want.has(URL)
	for c := '0'; c <= '9'; c++ {
		s.class[c] = kDigit
	}
}

var triggerKinds = [256]kind{'@': kAt, ':': kColon, '=': kEquals, '>': kGreater, ',': kComma, '-': kDash, '~': kTilde, '.': kDot, '+': kPlus, '(': kParen}

// Wants says whether the scanner looks for e.
func (s *Scanner) Wants(e Entity) bool { return e < numEntities && s.want.has(e) }

// Scan appends the values found in text to dst: in order, without overlap.
func (s *Scanner) Scan(dst []Span, text []byte) []Span {
	p := pass{Scanner: s, text: text, out: dst, base: len(dst)}
	p.run()
	return p.out
}

// ScanCell is Scan for text that is one value of its own, under a label: what
// the label says counts as if it stood beside every value. See [LabelOf].
func (s *Scanner) ScanCell(dst []Span, text []byte, label Label) []Span {
	p := pass{Scanner: s, text: text, label: context(label), cell: true, out: dst, base: len(dst)}
	p.run()
	return p.out
}

// pass is one scan over one text.
type pass struct {
	*Scanner
	text               []byte
	label              context
	cell               bool // text is one value, nothing goes on before or behind it
	out                []Span
	base               int     // out[base:] is ours
	seenStart, seenEnd int     // where context looked last,
	seen               context // and what it saw
	floor              int     // no value may begin before this: an escape sequence ends here
}

func (p *pass) run() {
	text, n := p.text, len(p.text)
	for i := 0; i < n; {
		switch p.class[text[i]] {
		case kSkip:
			i++
		case kLetter:
			i = p.word(i)
		case kDigit:
			i = p.number(i)
		case kAt:
			i = p.email(i)
		case kColon:
			i = p.colon(i)
		case kEquals, kGreater, kComma:
			i = p.assignment(i)
		case kPlus, kParen:
			i = p.phone(i)
		case kBackslash:
			i = p.escape(i)
		case kDash:
			i = p.dashes(i)
		case kDot:
			i = p.domain(i)
		case kTilde:
			i = p.azure(i)
		default:
			i++
		}
	}
}

// emit adds a value, and returns where to go on. A value that overlaps with
// ones before it is joined with them: more may be covered than either saw,
// never less.
func (p *pass) emit(start, end int, e Entity) int {
	for len(p.out) > p.base {
		last := p.out[len(p.out)-1]
		if last.End <= start {
			break
		}
		start = min(start, last.Start)
		end = max(end, last.End)
		p.out = p.out[:len(p.out)-1]
	}
	p.out = append(p.out, Span{start, end, e})
	return end
}

// behind is the end of the last value found, or of the last escape: a parser
// that looks back stops there.
func (p *pass) behind() int {
	if len(p.out) > p.base {
		return max(p.floor, p.out[len(p.out)-1].End)
	}
	return p.floor
}

// escape steps over an escape sequence, so that its letter isn't taken for
// the beginning of a word: in \n4111… the number starts at the digit.
func (p *pass) escape(i int) int {
	n := len(p.text)
	if i+1 >= n {
		return n
	}
	switch p.text[i+1] {
	case 'n', 'r', 't', 'b', 'f', 'v', '\\', '"', '\'', '/':
		i += 2
	case 'u':
		if i+6 <= n && isHex(p.text[i+2]) && isHex(p.text[i+3]) && isHex(p.text[i+4]) && isHex(p.text[i+5]) {
			i += 6
		} else {
			i++
		}
	default:
		i++
	}
	p.floor = i
	return i
}

// Covered says whether position i lies in one of spans, which are in order.
func Covered(spans []Span, i int) bool {
	k := sort.Search(len(spans), func(k int) bool { return spans[k].End > i })
	return k < len(spans) && spans[k].Start <= i
}
