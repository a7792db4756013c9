// Package mask replaces values that must not reach a client: by the column
// they come from, and by what they look like. It is pure, and works on one
// field or one piece of text at a time.
package mask

import "postern"

// Row masks the fields of one result's rows. It is not safe for concurrent use.
type Row struct{}

// NewRow plans the masking of columns. It returns nil when no mask touches any
// of them.
func NewRow(columns []postern.Column, masks []postern.Mask, key []byte) *Row { return nil }

// Touches says whether values of column i must go through Field.
func (r *Row) Touches(i int) bool { return false }

// Field appends to dst what the client sees in place of value, the non-NULL
// value of column i. With null, the client sees NULL and nothing was appended.
// masked says whether it differs from value.
func (r *Row) Field(i int, dst, value []byte) (out []byte, null, masked bool) { return dst, false, false }

// Text masks what looks sensitive in text that is no column. It is safe for
// concurrent use.
type Text struct{}

// NewText returns nil when no mask looks at content.
func NewText(masks []postern.Mask, key []byte) *Text { return nil }

// Mask appends the masked text to dst and counts the values replaced.
func (t *Text) Mask(dst, text []byte) (out []byte, hits int) { return dst, 0 }
