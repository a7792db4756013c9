package mask

import (
	"postern"
	"postern/internal/mask/detect"
)

// content is what masks look for in text, and what they put in its place. It
// is immutable.
type content struct {
	scanner *detect.Scanner
	styles  [256]style // by entity
	// everything says that a detector is unknown: whatever could be looked at
	// is masked whole.
	everything style
}

// newContent returns nil when no mask looks at content.
func newContent(masks []postern.Mask) *content {
	var names []string
	for i := range masks {
		names = append(names, masks[i].Detect...)
	}
	if len(names) == 0 {
		return nil
	}
	c := &content{}
	var unknown []string
	c.scanner, unknown = detect.New(names...)
	if len(unknown) > 0 {
		c.everything = null
	}
	for i := range masks {
		if len(masks[i].Detect) == 0 {
			continue
		}
		one, _ := detect.New(masks[i].Detect...)
		s := styleOf(masks[i].With)
		for e := range c.styles {
			if one.Wants(detect.Entity(e)) {
				c.styles[e] = max(c.styles[e], s)
			}
		}
	}
	return c
}

// strongest is the strongest style among what was found.
func (c *content) strongest(spans []detect.Span) style {
	s := noStyle
	for _, span := range spans {
		s = max(s, c.styles[span.Entity])
	}
	return s
}

// replace appends text to dst with every span replaced in its style. Null, of
// which a part of a text is incapable, is a redaction here.
func (c *content) replace(dst, text []byte, spans []detect.Span, h *hasher) []byte {
	at := 0
	for _, span := range spans {
		dst = append(dst, text[at:span.Start]...)
		value := text[span.Start:span.End]
		switch c.styles[span.Entity] {
		case partial:
			dst = appendPartial(dst, value, span.Entity)
		case hashed:
			dst = h.appendText(dst, value)
		default:
			dst = append(dst, Redacted...)
		}
		at = span.End
	}
	return append(dst, text[at:]...)
}
