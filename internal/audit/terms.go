package audit

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/bits"
	"slices"
	"strings"
	"time"
	"unicode"

	"postern"
)

// The index of the log, for searching. The log is cut into segments of equal
// numbers of entries. For each, the index says which of its entries have which
// term: a field's value, or a word. Terms are known by a hash, and are divided
// over buckets by it, so that a search reads one small row for each segment and
// term. What the index picks is compared with the entry before it is returned.
const (
	segmentSize = 8192
	bucketCount = 64
)

// term is the hash of a field's value.
type term uint64

// field tells equal values of different fields apart.
type field byte

const (
	fieldAction field = iota + 1
	fieldWho          // identity or actor
	fieldActor
	fieldResource
	fieldSession
	fieldOutcome
	fieldVerb
	fieldObject
	fieldRule
	fieldTarget
	fieldWord
)

func (f field) term(value string) term {
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(f)}) // a hash never returns an error
	_, _ = h.Write([]byte(strings.ToLower(value)))
	return term(h.Sum64())
}

func (t term) bucket() int { return int(t % bucketCount) }

// words are a text's runs of letters, digits and underscores.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

// texts are the members of an entry whose words can be searched for.
func texts(e *postern.AuditEntry) []string {
	return append([]string{
		e.Action, e.Identity, e.Actor, e.Resource, e.Verb, e.Outcome, e.Rule, e.Reason, e.Review, e.Target, e.Source,
	}, e.Objects...)
}

// names are what an object can be searched by: its name, and what follows each
// of the name's dots.
func names(object string) []string {
	all := []string{object}
	for {
		_, rest, ok := strings.Cut(object, ".")
		if !ok || rest == "" {
			return all
		}
		all = append(all, rest)
		object = rest
	}
}

// terms are all that an entry can be found by.
func terms(e *postern.AuditEntry) []term {
	var all []term
	add := func(f field, value string) {
		if value != "" {
			all = append(all, f.term(value))
		}
	}
	add(fieldAction, e.Action)
	add(fieldWho, e.Identity)
	add(fieldWho, e.Actor)
	add(fieldActor, e.Actor)
	add(fieldResource, e.Resource)
	add(fieldSession, e.Session)
	add(fieldOutcome, e.Outcome)
	add(fieldRule, e.Rule)
	add(fieldTarget, e.Target)
	for v := range strings.SplitSeq(e.Verb, ",") {
		add(fieldVerb, v)
	}
	for _, o := range e.Objects {
		for _, name := range names(o) {
			add(fieldObject, name)
		}
	}
	for _, text := range texts(e) {
		for _, w := range words(text) {
			add(fieldWord, w)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// filterTerms are the terms that whatever a filter picks has.
func filterTerms(f *postern.AuditFilter) []term {
	var all []term
	for _, c := range []struct {
		field field
		value string
	}{
		{fieldAction, f.Action},
		{fieldWho, f.Identity},
		{fieldActor, f.Actor},
		{fieldResource, f.Resource},
		{fieldSession, f.Session},
		{fieldOutcome, f.Outcome},
		{fieldVerb, f.Verb},
		{fieldObject, f.Object},
		{fieldRule, f.Rule},
		{fieldTarget, f.Target},
	} {
		if c.value != "" {
			all = append(all, c.field.term(c.value))
		}
	}
	for _, w := range words(f.Text) {
		all = append(all, fieldWord.term(w))
	}
	return all
}

// picks says whether a filter picks a record.
func picks(f *postern.AuditFilter, r *postern.AuditRecord) bool {
	if r.Seq <= f.After || f.Before > 0 && r.Seq >= f.Before ||
		!f.From.IsZero() && r.Time.Before(f.From) || !f.To.IsZero() && !r.Time.Before(f.To) {
		return false
	}
	have := terms(&r.AuditEntry)
	for _, t := range filterTerms(f) {
		if _, ok := slices.BinarySearch(have, t); !ok {
			return false
		}
	}
	return true
}

// segment is one that is being filled.
type segment struct {
	number   int64
	n        int // entries in it
	from, to time.Time
	postings map[term]*posting
	// shapes are the postings of entries that differ in time and number only:
	// most commands of a session.
	shapes map[string][]*posting
	key    []byte
}

// posting is where a term is: places in the segment, in order.
type posting struct{ places []uint16 }

func newSegment(number int64) *segment {
	return &segment{number: number, postings: map[term]*posting{}, shapes: map[string][]*posting{}}
}

// next is the entry that comes next.
func (s *segment) next() int64 { return s.number*segmentSize + int64(s.n) + 1 }

func (s *segment) full() bool { return s.n == segmentSize }

// add adds the next entry; nil is one that can't be read, and has no terms.
func (s *segment) add(e *postern.AuditEntry) {
	place := uint16(s.n)
	s.n++
	if e == nil {
		return
	}
	if s.from.IsZero() || e.Time.Before(s.from) {
		s.from = e.Time
	}
	if e.Time.After(s.to) {
		s.to = e.Time
	}
	s.key = s.key[:0]
	for _, text := range []string{
		e.Session, e.Action, e.Identity, e.Actor, e.Resource, e.Verb, e.Outcome, e.Rule, e.Reason, e.Review, e.Target, e.Source,
	} {
		s.key = append(append(s.key, text...), 0)
	}
	for _, o := range e.Objects {
		s.key = append(append(s.key, o...), 0)
	}
	shape, ok := s.shapes[string(s.key)]
	if !ok {
		for _, t := range terms(e) {
			p := s.postings[t]
			if p == nil {
				p = &posting{}
				s.postings[t] = p
			}
			shape = append(shape, p)
		}
		s.shapes[string(s.key)] = shape
	}
	for _, p := range shape {
		p.places = append(p.places, place)
	}
}

// stored is the segment as the store keeps it.
func (s *segment) stored() postern.AuditSegment {
	out := postern.AuditSegment{Number: s.number, From: s.from, To: s.to, Buckets: make([][]byte, bucketCount)}
	all := make([]term, 0, len(s.postings))
	for t := range s.postings {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b term) int { return cmp.Compare(a, b) })
	for _, t := range all {
		b := &out.Buckets[t.bucket()]
		*b = binary.BigEndian.AppendUint64(*b, uint64(t))
		body := s.postings[t].encode()
		*b = binary.AppendUvarint(*b, uint64(len(body)))
		*b = append(*b, body...)
	}
	return out
}

// The two spellings of a posting.
const (
	asDeltas = 0 // the distance of each place to the one before
	asBitmap = 1
)

func (p *posting) encode() []byte {
	b := []byte{asDeltas}
	last := 0
	for _, place := range p.places {
		b = binary.AppendUvarint(b, uint64(int(place)-last))
		last = int(place)
	}
	if len(b) <= segmentSize/8 {
		return b
	}
	var set places
	for _, place := range p.places {
		set.add(int(place))
	}
	b = append(b[:0], asBitmap)
	for _, w := range set {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// places is a set of places in a segment.
type places [segmentSize / 64]uint64

func (p *places) add(place int) { p[place/64] |= 1 << (place % 64) }

func (p *places) keep(other *places) {
	for i := range p {
		p[i] &= other[i]
	}
}

func everyPlace(n int) places {
	var p places
	for i := range n {
		p.add(i)
	}
	return p
}

// backward calls fn with each place, the greatest first, until it returns false.
func (p *places) backward(fn func(place int) bool) bool {
	for i := len(p) - 1; i >= 0; i-- {
		for w := p[i]; w != 0; {
			top := 63 - bits.LeadingZeros64(w)
			if !fn(i*64 + top) {
				return false
			}
			w &^= 1 << top
		}
	}
	return true
}

var errIndex = errors.New("the index of the audit log can't be read; it is made anew when `postern audit verify` has found that")

// find reads a term's places from its bucket.
func find(bucket []byte, t term) (places, error) {
	var set places
	for len(bucket) > 0 {
		if len(bucket) < 8 {
			return set, errIndex
		}
		here := term(binary.BigEndian.Uint64(bucket))
		size, n := binary.Uvarint(bucket[8:])
		if n <= 0 || size == 0 || size > uint64(len(bucket)-8-n) {
			return set, errIndex
		}
		body := bucket[8+n : 8+n+int(size)]
		bucket = bucket[8+n+int(size):]
		if here == t {
			return set, set.decode(body)
		}
		if here > t {
			break
		}
	}
	return set, nil
}

func (p *places) decode(body []byte) error {
	if body[0] == asBitmap && len(body) == 1+8*len(p) {
		for i := range p {
			p[i] = binary.LittleEndian.Uint64(body[1+8*i:])
		}
		return nil
	}
	if body[0] != asDeltas {
		return errIndex
	}
	place := uint64(0)
	for body = body[1:]; len(body) > 0; {
		delta, n := binary.Uvarint(body)
		if place += delta; n <= 0 || delta >= segmentSize || place >= segmentSize {
			return errIndex
		}
		p.add(int(place))
		body = body[n:]
	}
	return nil
}
