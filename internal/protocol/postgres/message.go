package postgres

import (
	"encoding/binary"

	"postern"
)

// bindMessage is a decoded Bind.
type bindMessage struct {
	portal, statement string
	params            []postern.Param
	results           []uint16 // format codes of the result's columns
}

// decodeBind decodes Bind. The parameters are slices of body.
func decodeBind(body []byte) (b bindMessage, ok bool) {
	if b.portal, body, ok = cutString(body); !ok {
		return b, false
	}
	if b.statement, body, ok = cutString(body); !ok {
		return b, false
	}
	var formats []uint16
	if formats, body, ok = cutFormats(body); !ok {
		return b, false
	}
	if b.params, body, ok = cutParams(body, formats); !ok {
		return b, false
	}
	b.results, body, ok = cutFormats(body)
	return b, ok && len(body) == 0
}

// cutFormats takes a list of format codes off body.
func cutFormats(body []byte) (formats []uint16, rest []byte, ok bool) {
	if len(body) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	if len(body) < 2*n {
		return nil, nil, false
	}
	for i := range n {
		code := binary.BigEndian.Uint16(body[2*i:])
		if code > 1 {
			return nil, nil, false
		}
		formats = append(formats, code)
	}
	return formats, body[2*n:], true
}

// formatOf is the format of column i, by the rules of Bind: none is text, one
// is for all.
func formatOf(formats []uint16, i int) uint16 {
	switch {
	case len(formats) == 0:
		return 0
	case len(formats) == 1:
		return formats[0]
	case i < len(formats):
		return formats[i]
	}
	return 0
}

// cutParams takes a list of values off body.
func cutParams(body []byte, formats []uint16) (params []postern.Param, rest []byte, ok bool) {
	if len(body) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	if len(formats) > 1 && len(formats) != n || len(body) < 4*n {
		return nil, nil, false
	}
	if n > 0 {
		params = make([]postern.Param, n)
	}
	for i := range params {
		value, null, rest, ok := cutValue(body)
		if !ok {
			return nil, nil, false
		}
		params[i] = postern.Param{Value: value, Null: null, Binary: formatOf(formats, i) == 1}
		body = rest
	}
	return params, body, true
}

// cutValue takes a value with its length off body; a length of -1 is NULL.
func cutValue(body []byte) (value []byte, null bool, rest []byte, ok bool) {
	if len(body) < 4 {
		return nil, false, nil, false
	}
	n := int32(binary.BigEndian.Uint32(body))
	body = body[4:]
	switch {
	case n == -1:
		return nil, true, body, true
	case n < 0 || int(n) > len(body):
		return nil, false, nil, false
	}
	return body[:n:n], false, body[n:], true
}

// callMessage is a decoded FunctionCall.
type callMessage struct {
	function uint32
	params   []postern.Param
}

func decodeCall(body []byte) (c callMessage, ok bool) {
	if len(body) < 4 {
		return c, false
	}
	c.function = binary.BigEndian.Uint32(body)
	formats, body, ok := cutFormats(body[4:])
	if !ok {
		return c, false
	}
	if c.params, body, ok = cutParams(body, formats); !ok {
		return c, false
	}
	return c, len(body) == 2
}
