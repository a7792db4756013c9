package mask

import "postern"

// style is a mask style, ordered by strength.
type style uint8

const (
	noStyle style = iota
	partial
	bucket
	hashed
	redact
	null
)

// Redacted stands in place of a redacted value.
const Redacted = "[redacted]"

// styleOf reads a style. One that it doesn't know is the strongest.
func styleOf(s postern.MaskStyle) style {
	switch s {
	case postern.MaskPartial:
		return partial
	case postern.MaskBucket:
		return bucket
	case postern.MaskHash:
		return hashed
	case postern.MaskRedact:
		return redact
	default:
		return null
	}
}

// Styles lists the styles that [postern.Mask.With] may hold, weakest first.
func Styles() []postern.MaskStyle {
	return []postern.MaskStyle{postern.MaskPartial, postern.MaskBucket, postern.MaskHash, postern.MaskRedact, postern.MaskNull}
}
