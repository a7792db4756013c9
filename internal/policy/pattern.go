package policy

import (
	"errors"
	"path"
	"slices"
	"strings"

	"postern"
)

// namePart is one part of a dotted name. A part that stood in double quotes is
// taken as it is: its dots and stars are only letters.
type namePart struct {
	text   string
	quoted bool
}

// splitName cuts a dotted name into its parts. A part that holds a dot or a
// quote is in double quotes, in which "" is one quote: public."a.b".
func splitName(name string) ([]namePart, error) {
	var parts []namePart
	for {
		part, rest, err := cutPart(name)
		if err != nil {
			return nil, err
		}
		if part.text == "" {
			return nil, errors.New("a part of the name is empty")
		}
		parts = append(parts, part)
		if rest == "" {
			return parts, nil
		}
		if name = rest[1:]; name == "" {
			return nil, errors.New("a part of the name is empty")
		}
	}
}

// cutPart takes the first part off; rest is "" or starts with a dot.
func cutPart(name string) (part namePart, rest string, err error) {
	if !strings.HasPrefix(name, `"`) {
		end := strings.IndexByte(name, '.')
		if end < 0 {
			end = len(name)
		}
		if strings.Contains(name[:end], `"`) {
			return namePart{}, "", errors.New("a quote stands in the middle of a part")
		}
		return namePart{text: name[:end]}, name[end:], nil
	}
	var text strings.Builder
	for rest = name[1:]; ; {
		end := strings.IndexByte(rest, '"')
		if end < 0 {
			return namePart{}, "", errors.New("a quote is not closed")
		}
		text.WriteString(rest[:end])
		rest = rest[end+1:]
		if !strings.HasPrefix(rest, `"`) {
			break
		}
		text.WriteByte('"')
		rest = rest[1:]
	}
	if rest != "" && rest[0] != '.' {
		return namePart{}, "", errors.New("something follows a closed quote")
	}
	return namePart{text: text.String(), quoted: true}, rest, nil
}

// pattern picks objects by kind and name. The zero pattern picks none.
type pattern struct {
	kind  string     // "": tables, and what is read and written like one
	any   bool       // "*": every name
	parts []namePart // unless any, or whole is set
	whole string     // of kinds whose names aren't dotted
}

// kindBase are tables that a command reads without naming them: through a view,
// or through a function.
const kindBase = "base"

// tableLike are the kinds that a pattern without a kind is about.
func tableLike(kind string) bool {
	switch kind {
	case "table", "view", "column", kindBase:
		return true
	}
	return false
}

// wholeName says whether names of the kind are one text, not dotted parts.
func wholeName(kind string) bool {
	switch kind {
	case "file", "program", "path", "url", "key":
		return true
	}
	return false
}

// parsePattern reads "schema.table", "metrics.*", "*", or any of these behind a
// kind: "function:public.f*", "file:/tmp/*".
func parsePattern(text string) (pattern, error) {
	p := pattern{}
	if kind, rest, ok := cutKind(text); ok {
		p.kind, text = kind, rest
	}
	if text == "*" {
		p.any = true
		return p, nil
	}
	if wholeName(p.kind) {
		if text == "" {
			return pattern{}, errors.New("the name is missing")
		}
		p.whole = text
		return p, nil
	}
	parts, err := splitName(text)
	if err != nil {
		return pattern{}, err
	}
	p.parts = parts
	return p, nil
}

// cutKind takes a leading "kind:" off.
func cutKind(text string) (kind, rest string, ok bool) {
	kind, rest, ok = strings.Cut(text, ":")
	if !ok || kind == "" {
		return "", text, false
	}
	for _, c := range []byte(kind) {
		if (c < 'a' || c > 'z') && c != '_' {
			return "", text, false
		}
	}
	return kind, rest, true
}

// matches says whether the object is one that the pattern picks. What can't be
// read as a name isn't.
func (p pattern) matches(o postern.Object) bool {
	if p.kind == "" && !tableLike(o.Kind) || p.kind != "" && p.kind != o.Kind {
		return false
	}
	if p.any {
		return true
	}
	if p.whole != "" {
		return matchWhole(p.kind, p.whole, o.Name)
	}
	rest := o.Name
	for i, want := range p.parts {
		if i > 0 {
			if rest == "" {
				return false
			}
			rest = rest[1:]
		}
		part, after, err := cutPart(rest)
		if err != nil || part.text == "" || !want.matches(part.text) {
			return false
		}
		rest = after
	}
	if o.Kind == "column" && p.kind == "" && (rest != "" || len(p.parts) > 1) {
		// A column is what its table is: patterns name tables.
		column, after, err := cutPart(strings.TrimPrefix(rest, "."))
		return err == nil && rest != "" && column.text != "" && after == ""
	}
	return rest == ""
}

func (want namePart) matches(text string) bool {
	if want.quoted {
		return want.text == text
	}
	return glob(want.text, text)
}

// lastParts are the schema and the table of a name, "" where it has none; of a
// column's name, those of its table.
func lastParts(o postern.Object) (schema, table string, ok bool) {
	var seen [3]string // the last, the one before, the one before that
	n := 0
	for rest := o.Name; ; rest = rest[1:] {
		part, after, err := cutPart(rest)
		if err != nil || part.text == "" {
			return "", "", false
		}
		seen[2], seen[1], seen[0] = seen[1], seen[0], part.text
		n++
		if rest = after; rest == "" {
			break
		}
	}
	if o.Kind == "column" && n > 1 {
		return seen[2], seen[1], true
	}
	return seen[1], seen[0], true
}

// matchWhole matches names that aren't dotted. In the names of files a star
// stays within one folder, "**" doesn't, and no name that leads elsewhere than
// it seems to ("/tmp/../etc") matches.
func matchWhole(kind, want, name string) bool {
	if kind != "file" && kind != "path" {
		return glob(want, name)
	}
	if path.Clean(name) != name || slices.Contains(strings.Split(name, "/"), "..") {
		return false
	}
	if front, ok := strings.CutSuffix(want, "/**"); ok {
		depth := strings.Count(front, "/")
		parts := strings.SplitAfterN(name, "/", depth+2)
		return len(parts) == depth+2 && matchFolders(front, strings.TrimSuffix(strings.Join(parts[:depth+1], ""), "/"))
	}
	return matchFolders(want, name)
}

func matchFolders(want, name string) bool {
	wants, names := strings.Split(want, "/"), strings.Split(name, "/")
	if len(wants) != len(names) {
		return false
	}
	for i := range wants {
		if !glob(wants[i], names[i]) {
			return false
		}
	}
	return true
}

// glob matches text against a pattern in which a star is any run of bytes.
// Everything else is exactly itself: case counts, and letters that look alike
// are different letters.
func glob(pattern, text string) bool {
	star, retry := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			retry++
			p, t = star+1, retry
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func globAny(patterns []string, text string) bool {
	for _, p := range patterns {
		if glob(p, text) {
			return true
		}
	}
	return false
}
