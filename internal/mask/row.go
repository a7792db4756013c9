package mask

import (
	"bytes"

	"postern"
	"postern/internal/mask/detect"
)

// Row masks the fields of one result's rows. It is not safe for concurrent use.
type Row struct {
	columns []columnPlan
	content *content
	hasher  hasher
	// Reused from value to value.
	spans, leaf      []detect.Span
	scratch, escaped []byte
	elements         []byte
	document         []byte
}

// columnPlan is what happens to the values of one column.
type columnPlan struct {
	kind  postern.Column
	style style // by where it comes from; noStyle: not masked so
	size  postern.Bucket
	// within are masks over parts of a document that isn't masked as a whole.
	within []jsonMask
	scan   bool // looked at
	label  detect.Label
}

// NewRow plans the masking of columns, for one result. It returns nil when no
// mask touches any of them.
func NewRow(columns []postern.Column, masks []postern.Mask, key []byte) *Row {
	return NewPlan(masks, key).Row(columns)
}

// labelOf is what a column's own name and the names of its sources say.
func labelOf(c *postern.Column) detect.Label {
	label := detect.LabelOf(c.Name)
	for _, s := range c.Sources {
		label |= detect.LabelOf(s.Column)
	}
	return label
}

// looksAt says whether values of a column can hold anything that is looked for.
func (c *content) looksAt(column *postern.Column, label detect.Label) bool {
	t := column.Type
	if t == postern.ArrayValue {
		t = column.Elem
	}
	switch t {
	case postern.BoolValue, postern.DateValue, postern.TimeValue, postern.UUIDValue:
		return false
	case postern.TextValue:
		return column.Width != 1 // one byte holds nothing
	case postern.IntValue, postern.NumericValue, postern.FloatValue:
		// A number is looked at when its label says what it is, or when it is
		// wide enough to hold a card.
		narrow := t == postern.IntValue && column.Type != postern.ArrayValue && (column.Width == 2 || column.Width == 4)
		return label != 0 || c.scanner.Wants(detect.CreditCard) && !narrow
	}
	return true
}

// element is room to unquote an array's elements in.
func (r *Row) element() []byte {
	if r.elements == nil {
		r.elements = make([]byte, 0, 512)
	}
	return r.elements
}

// Touches says whether values of column i must go through Field.
func (r *Row) Touches(i int) bool {
	return i >= 0 && i < len(r.columns) && (r.columns[i].style != noStyle || r.columns[i].scan || len(r.columns[i].within) > 0)
}

// Field appends to dst what the client sees in place of value, the non-NULL
// value of column i. With null, the client sees NULL and nothing was appended.
// masked says whether it differs from value.
//
// A column that was not planned is masked whole.
func (r *Row) Field(i int, dst, value []byte) (out []byte, null, masked bool) {
	if i < 0 || i >= len(r.columns) {
		return dst, true, true
	}
	c := &r.columns[i]
	before := len(dst)
	switch {
	case c.style != noStyle:
		out, ok := r.whole(dst, value, c.style, c.kind.Type, c)
		if !ok {
			return dst, true, true
		}
		return out, false, !bytes.Equal(out[before:], value)
	case len(c.within) > 0:
		parts, ok := r.within(r.document[:0], value, c.within)
		if !ok {
			return dst, true, true
		}
		r.document = parts
		if c.scan {
			out, found, ok := r.look(dst, parts, c.kind.Type, c)
			if !ok || found {
				return out, !ok, true
			}
		}
		return append(dst, parts...), false, !bytes.Equal(parts, value)
	case c.scan:
		out, found, ok := r.look(dst, value, c.kind.Type, c)
		if !ok {
			return dst, true, true
		}
		if found {
			return out, false, !bytes.Equal(out[before:], value)
		}
	}
	return append(dst, value...), false, false
}
