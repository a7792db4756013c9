package mask

import "postern"

// Text masks what looks sensitive in text that is no column. It is safe for
// concurrent use.
type Text struct {
	content *content
	key     []byte
}

// NewText returns nil when no mask looks at content.
func NewText(masks []postern.Mask, key []byte) *Text { return NewPlan(masks, key).Text() }

// Mask appends the masked text to dst and counts the values replaced.
func (t *Text) Mask(dst, text []byte) (out []byte, hits int) {
	if t.content.everything != noStyle {
		if len(text) == 0 {
			return dst, 0
		}
		return append(dst, Redacted...), 1
	}
	spans := t.content.scanner.Scan(nil, text)
	if len(spans) == 0 {
		return append(dst, text...), 0
	}
	return t.content.replace(dst, text, spans, &hasher{key: t.key}), len(spans)
}
