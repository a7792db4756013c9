package mask

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"

	"postern"
)

// A mask may name a part of a document: "public.events.body$.customer.email".
// What follows the dollar sign is PostgreSQL's path language as far as it names
// places: .name, ."a name", .*, [3], [*] and ..name, at any depth. As in the
// server's lax mode, a name is looked for in each element of an array.

// jsonStep is one step of a path.
type jsonStep struct {
	name    string
	any     bool // any name, or any element
	deep    bool // here, or anywhere below
	element bool // of an array
	index   int
}

// jsonMask masks what one path leads to.
type jsonMask struct {
	path  []jsonStep // what is left of it
	style style
	size  postern.Bucket
}

// splitPath parts a pattern of a column from the path within its documents.
func splitPath(pattern string) (column, path string) {
	at := -1
	for _, begin := range []string{"$.", "$["} {
		if i := strings.Index(pattern, begin); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at < 0 {
		return pattern, ""
	}
	return pattern[:at], pattern[at+1:]
}

const maxJSONSteps = 32

var errPath = errors.New(`behind the $ must come a path like .name, ."a name", .*, [*] or ..name`)

// parsePath reads what stands behind the dollar sign.
func parsePath(text string) ([]jsonStep, error) {
	var steps []jsonStep
	for text != "" {
		if len(steps) == maxJSONSteps {
			return nil, errors.New("the path is too long")
		}
		var step jsonStep
		if text[0] == '[' {
			inside, rest, ok := strings.Cut(text[1:], "]")
			step.element, step.any = true, inside == "*"
			if !step.any {
				n, err := strconv.ParseUint(inside, 10, 31)
				if err != nil {
					return nil, errPath
				}
				step.index = int(n)
			}
			if !ok {
				return nil, errPath
			}
			steps, text = append(steps, step), rest
			continue
		}
		if text[0] != '.' {
			return nil, errPath
		}
		text = text[1:]
		if strings.HasPrefix(text, ".") {
			step.deep, text = true, text[1:]
		}
		if strings.HasPrefix(text, `"`) {
			name, rest, ok := strings.Cut(text[1:], `"`)
			if !ok || strings.Contains(name, `\`) {
				return nil, errPath
			}
			step.name, text = name, rest
		} else {
			end := strings.IndexAny(text, ".[")
			if end < 0 {
				end = len(text)
			}
			step.name, text = text[:end], text[end:]
			if step.name == "" || strings.ContainsAny(step.name, `"'$() `) {
				return nil, errPath
			}
			if step.name == "*" {
				step.any = true
			}
		}
		steps = append(steps, step)
	}
	if len(steps) == 0 {
		return nil, errPath
	}
	return steps, nil
}

// within masks the parts of a document that masks lead to. It is not ok when
// value is no document.
func (r *Row) within(dst, value []byte, masks []jsonMask) (out []byte, ok bool) {
	body := value
	if len(body) > 0 && body[0] == jsonbVersion {
		body = body[1:]
	}
	if !json.Valid(body) {
		return dst, false
	}
	w := jsonWalk{row: r, body: body, dst: append(dst, value[:len(value)-len(body)]...)}
	w.space()
	w.value(masks)
	return append(w.dst, body[w.at:]...), true
}

// jsonWalk copies a valid document, with what masks lead to replaced.
type jsonWalk struct {
	row  *Row
	body []byte
	at   int
	dst  []byte
}

// space copies white space.
func (w *jsonWalk) space() {
	for w.at < len(w.body) && (w.body[w.at] == ' ' || w.body[w.at] == '\t' || w.body[w.at] == '\n' || w.body[w.at] == '\r') {
		w.copy(w.at + 1)
	}
}

// copy copies up to end.
func (w *jsonWalk) copy(end int) {
	w.dst = append(w.dst, w.body[w.at:end]...)
	w.at = end
}

// value copies one value, with masks over it and over what is in it.
func (w *jsonWalk) value(masks []jsonMask) {
	if s, size := reached(masks); s != noStyle {
		end := w.end()
		w.replace(w.body[w.at:end], s, size)
		w.at = end
		return
	}
	open := w.body[w.at]
	if len(masks) == 0 || open != '{' && open != '[' {
		w.copy(w.end())
		return
	}
	w.copy(w.at + 1)
	w.space()
	for index := 0; w.body[w.at] != '}' && w.body[w.at] != ']'; index++ {
		if w.body[w.at] == ',' {
			w.copy(w.at + 1)
			w.space()
		}
		if open == '[' {
			w.value(elements(masks, index))
		} else {
			key := w.body[w.at:jsonToken(w.body, w.at)]
			w.copy(w.at + len(key))
			w.space()
			w.copy(w.at + 1) // the colon
			w.space()
			w.value(members(masks, string(unescape(nil, key[1:len(key)-1]))))
		}
		w.space()
	}
	w.copy(w.at + 1)
}

// end is where the value ends that begins here.
func (w *jsonWalk) end() int {
	depth := 0
	for i := w.at; i < len(w.body); {
		switch w.body[i] {
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case '"':
			i = jsonToken(w.body, i)
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue
		default: // a number, true, false, null
			for i < len(w.body) && !bytes.ContainsRune([]byte(",:]} \t\n\r"), rune(w.body[i])) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
	return len(w.body)
}

// reached is the strongest style among masks whose path ends here.
func reached(masks []jsonMask) (s style, size postern.Bucket) {
	for i := range masks {
		if len(masks[i].path) > 0 {
			continue
		}
		if masks[i].style == bucket && s == bucket {
			size = coarser(size, masks[i].size)
		} else if masks[i].style == bucket {
			size = masks[i].size
		}
		s = max(s, masks[i].style)
	}
	return s, size
}

// members are the masks over the value of a member.
func members(masks []jsonMask, key string) []jsonMask {
	var all []jsonMask
	for _, m := range masks {
		step := m.path[0]
		if step.element {
			continue
		}
		if step.deep {
			all = append(all, m)
		}
		if step.any || step.name == key {
			m.path = m.path[1:]
			all = append(all, m)
		}
	}
	return all
}

// elements are the masks over an element of an array.
func elements(masks []jsonMask, index int) []jsonMask {
	var all []jsonMask
	for _, m := range masks {
		step := m.path[0]
		if step.element && !step.any && step.index != index {
			continue
		}
		if step.element {
			m.path = m.path[1:]
		}
		all = append(all, m)
	}
	return all
}

// replace appends what stands in place of one value.
func (w *jsonWalk) replace(value []byte, s style, size postern.Bucket) {
	first := value[0]
	switch {
	case s == null || first == 'n' || first == 't' || first == 'f':
		w.dst = append(w.dst, "null"...)
	case first == '"':
		text := unescape(nil, value[1:len(value)-1])
		if s == bucket {
			s = redact
		}
		w.dst = append(w.dst, '"')
		w.dst = escape(w.dst, w.row.wholeText(nil, text, s))
		w.dst = append(w.dst, '"')
	case s == hashed:
		w.dst = append(w.row.hasher.appendText(append(w.dst, '"'), value), '"')
	case first == '{' || first == '[':
		w.dst = append(w.dst, `"`+Redacted+`"`...)
	case s == bucket:
		w.dst = append(w.dst, bucketOfJSON(value, size)...)
	default:
		w.dst = append(w.dst, "null"...)
	}
}

func bucketOfJSON(number []byte, size postern.Bucket) string {
	r, ok := new(big.Rat).SetString(string(number))
	if !ok || len(number) > maxNumericDigits || r.Num().BitLen() > 4*maxNumericDigits {
		return "null"
	}
	// Div rounds down, as the denominator is positive.
	return floorTo(new(big.Int).Div(r.Num(), r.Denom()), size.Number).String()
}
