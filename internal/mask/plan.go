package mask

import (
	"bytes"

	"postern"
)

// Plan is a list of masks made ready, once for any number of results. It is
// immutable, and safe for concurrent use.
type Plan struct {
	content *content
	columns []columnMask
	key     []byte
}

// NewPlan makes masks ready. The key is that of the hash mask.
func NewPlan(masks []postern.Mask, key []byte) *Plan {
	return &Plan{content: newContent(masks), columns: columnMasks(masks), key: bytes.Clone(key)}
}

// Row plans the masking of columns. It returns nil when no mask touches any of
// them.
func (p *Plan) Row(columns []postern.Column) *Row {
	if p.content == nil && len(p.columns) == 0 {
		return nil
	}
	plans := make([]columnPlan, len(columns))
	touched := false
	for i := range columns {
		c := &plans[i]
		c.kind = columns[i]
		c.style, c.size, c.within = columnStyle(&columns[i], p.columns)
		if p.content != nil && c.style < null {
			c.label = labelOf(&columns[i])
			c.scan = p.content.looksAt(&columns[i], c.label)
			if c.scan && p.content.everything != noStyle {
				c.style, c.scan = null, false
			}
		}
		if c.style != noStyle {
			c.scan, c.within = false, nil
		}
		touched = touched || c.style != noStyle || c.scan || len(c.within) > 0
	}
	if !touched {
		return nil
	}
	return &Row{columns: plans, content: p.content, hasher: hasher{key: p.key}}
}

// Text returns nil when no mask looks at content.
func (p *Plan) Text() *Text {
	if p.content == nil {
		return nil
	}
	return &Text{content: p.content, key: p.key}
}

// Stream returns nil when no mask looks at content.
func (p *Plan) Stream() *Stream {
	if p.content == nil {
		return nil
	}
	return &Stream{content: p.content, hasher: hasher{key: p.key}}
}
