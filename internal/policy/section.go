package policy

import (
	"slices"
	"strings"

	"postern"
)

// SectionType is a section of accesses in the words of one protocol, which
// declares it. Its key in an access is the protocol's name.
type SectionType struct {
	// Of is what the protocol's resources are called in messages: "SSH".
	Of string
	// Decode reads the section, and tells r of every mistake in it; what it
	// returns beside a mistake is never used.
	Decode func(r *Reader) Section
}

// Section narrows what an access is for: what it doesn't cover, another access
// has to. It isn't changed once it was decoded, and its methods are pure.
type Section interface {
	// Covers says whether a command is what the section is for. whole is the text
	// of the message that the command is in. What isn't is worded in refused, for
	// the person, so that " isn't allowed here" can follow.
	Covers(c *postern.Command, whole string) (refused string, ok bool)
	// Transfer is how much may be transferred under the access in an hour; 0: any
	// amount.
	Transfer() (files, bytes int64)
	// Render writes the section so that Decode reads the same again.
	Render(w *Writer)
}

// Right is what one member of a chain of identities may do on a resource now:
// what any of its accesses allows.
type Right struct {
	// Sections has one for each access; nil for an access without one.
	Sections []Section
	// Delegated: it is no right of anybody's, but the bounds of a delegation.
	Delegated bool
}

// Rights are those of every member of the chain that asks, for a protocol whose
// sections say more than what they cover. All of them must agree to whatever it
// takes from them. They decide nothing: each command is decided over as well.
// There are none when one of the members has none.
func (s *Set) Rights(r Request) []Right {
	b := s.resources[r.Resource]
	if b == nil {
		return nil
	}
	var room [maxActors]*postern.Identity
	rights, _ := b.rights(&r, chain(&r.Identity, room[:0]))
	var all []Right
	for i := range rights {
		one := Right{Delegated: rights[i].accesses[0].object.Kind == kindDelegation}
		for _, a := range rights[i].accesses {
			one.Sections = append(one.Sections, a.spec.Section)
		}
		all = append(all, one)
	}
	return all
}

// section reads the sections that protocols declare.
func (m *mapping) section() (of string, section Section) {
	for _, p := range m.d.protocols {
		if p.Section == nil {
			continue
		}
		in := m.inner(p.Name)
		if in == nil {
			continue
		}
		if of != "" {
			m.fail(p.Name, "the access is narrowed by %s already; make two of it", of)
		}
		of, section = p.Name, p.Section.Decode(&Reader{in})
		in.done()
		if len(in.keys) == 0 {
			m.fail(p.Name, "says nothing; expected %s", either(in.known))
		}
	}
	return of, section
}

// either words a choice: "a, b or c".
func either(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// inSection says whether a command is what the access's section is for.
func (a *access) inSection(c *postern.Command, whole string) (refused string, ok bool) {
	if a.spec.Section == nil {
		return "", true
	}
	return a.spec.Section.Covers(c, whole)
}

// elsewhere says that an access is for resources of another type alone, and of
// which, as messages call them.
func (c *compiler) elsewhere(a *access, r *postern.Resource) (of string, ok bool) {
	if a.spec.Section == nil || r.Type == a.spec.SectionOf {
		return "", false
	}
	i := slices.IndexFunc(c.opts.Protocols, func(p ProtocolType) bool { return p.Name == a.spec.SectionOf && p.Section != nil })
	if i < 0 {
		return a.spec.SectionOf, true
	}
	return c.opts.Protocols[i].Section.Of, true
}

// transfer is how much may be transferred by an access; nil: any amount.
func (a *access) transfer() *postern.TransferLimit {
	if a.spec.Section == nil {
		return nil
	}
	files, bytes := a.spec.Section.Transfer()
	if files == 0 && bytes == 0 {
		return nil
	}
	return &postern.TransferLimit{Access: a.object.Name, Files: files, Bytes: bytes}
}

// looser is the limit of two that lets more pass; nil is none.
func looser(a, b *postern.TransferLimit) *postern.TransferLimit {
	switch {
	case a == nil || b == nil:
		return nil
	case more(a.Bytes, b.Bytes) || a.Bytes == b.Bytes && more(a.Files, b.Files):
		return a
	}
	return b
}

// tighter is the limit of two that lets less pass.
func tighter(a, b *postern.TransferLimit) *postern.TransferLimit {
	switch {
	case a == nil:
		return b
	case b == nil || looser(a, b) == b:
		return a
	}
	return b
}

// more compares bounds of which 0 is none.
func more(a, b int64) bool { return b != 0 && (a == 0 || a > b) }

// Reader is a YAML mapping of which a protocol takes each key by its name. A key
// that nobody takes is a mistake, and so is a value of another shape: the reader
// tells it, and returns what stands for absent.
type Reader struct{ m *mapping }

// Text is a key's text; "" when it is absent.
func (r *Reader) Text(key string) string { return r.m.text(key) }

// Texts is a key's list of texts; nil when it is absent.
func (r *Reader) Texts(key string) []string { return r.m.texts(key) }

// Number is a key's number, from least to most; 0 when it is absent.
func (r *Reader) Number(key string, least, most int) int { return r.m.number(key, least, most, 0) }

// Size is a key's number of bytes, such as "512MiB"; 0 when it is absent.
func (r *Reader) Size(key string) int64 { return r.m.size(key) }

// Inner reads the mapping under a key, if there is one.
func (r *Reader) Inner(key string, read func(*Reader)) {
	if in := r.m.inner(key); in != nil {
		read(&Reader{in})
		in.done()
	}
}

// Empty says whether nothing stands in the mapping.
func (r *Reader) Empty() bool { return len(r.m.keys) == 0 }

// Fail tells a mistake in what stands under a key. What it quotes of the value,
// [Quote] makes fit for a message.
func (r *Reader) Fail(key, format string, args ...any) { r.m.fail(key, format, args...) }

// Writer is the YAML mapping that a [Reader] reads. What is empty is left out.
type Writer struct{ t tree }

// Text writes a text.
func (w *Writer) Text(key, value string) { w.t.text(key, value) }

// Texts writes a list of texts.
func (w *Writer) Texts(key string, values []string) { w.t.texts(key, values) }

// Number writes a number; 0 is nothing.
func (w *Writer) Number(key string, value int64) { w.t.number(key, int(value), 0) }

// Inner writes a mapping, unless it is empty.
func (w *Writer) Inner(key string, write func(*Writer)) {
	in := newFlow()
	write(&Writer{in})
	w.t.tree(key, in)
}

// Quote is a value as it may stand in a message: quoted and of bounded length.
func Quote(value string) string { return shown(value) }
