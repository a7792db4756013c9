package policy

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The limits of one file.
const (
	maxFile  = 1 << 20 // bytes
	maxNodes = 50_000  // keys, values and lists together
)

// Parse reads the objects in a file of YAML documents, of which accesses may
// have the sections that protocols declare. It reports all of the file's
// problems at once, joined, each a [*Problem]; with a problem it returns no
// objects.
func Parse(file string, data []byte, protocols ...ProtocolType) ([]Object, error) {
	var found problems
	var objects []Object
	nodes := 0
	for _, chunk := range documents(file, data, &found) {
		d := &decoder{file: file, offset: chunk.offset, lines: make(map[string]int), protocols: protocols}
		if root := d.root(chunk.text, &nodes); root != nil {
			if o, ok := d.object(root); ok {
				o.YAML = chunk.text
				objects = append(objects, o)
			}
		}
		found = append(found, d.problems...)
	}
	if err := found.join(); err != nil {
		return nil, err
	}
	if err := duplicates(objects).join(); err != nil {
		return nil, err
	}
	return objects, nil
}

// document is one YAML document of a file.
type document struct {
	text   []byte
	offset int // lines before it
}

// documents cuts a file before every line that starts with "---", so that a
// mistake in one document doesn't hide those in the next. YAML has no other
// place for such a line.
func documents(file string, data []byte, found *problems) []document {
	if len(data) > maxFile {
		found.add(file, 1, "the file has %d bytes; the most is %d", len(data), maxFile)
		return nil
	}
	if !utf8.Valid(data) {
		found.add(file, 1+bytes.Count(data[:firstInvalid(data)], []byte("\n")), "the file is not UTF-8 text")
		return nil
	}
	var docs []document
	start, offset, line := 0, 0, 0
	for at := 0; at < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if at > start && marker(data[at:end]) {
			docs = append(docs, document{data[start:at:at], offset})
			start, offset = at, line
		}
		at = end
	}
	return append(docs, document{data[start:len(data):len(data)], offset})
}

func marker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

func firstInvalid(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return len(data)
}

// root reads the document's outermost node; nil when there is none, or a mistake.
func (d *decoder) root(text []byte, nodes *int) *yaml.Node {
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		d.syntax(err)
		return nil
	}
	switch err := dec.Decode(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntax(err)
		return nil
	default:
		d.fail(&more, "", "a document starts here without a line of three dashes before it")
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil // only comments
	}
	if !d.plain(root, nodes) {
		return nil
	}
	return root
}

// plain refuses what makes a small file mean a large one, or makes a reader
// look elsewhere: anchors and aliases; and it bounds the number of nodes.
func (d *decoder) plain(n *yaml.Node, nodes *int) bool {
	if *nodes++; *nodes > maxNodes {
		d.fail(n, "", "the file has too many values; the most is %d", maxNodes)
		return false
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fail(n, "", "anchors (&) and aliases (*) aren't supported; write the value out, or put text that starts so in quotes")
		return false
	}
	for _, inner := range n.Content {
		if !d.plain(inner, nodes) {
			return false
		}
	}
	return true
}

// syntax turns the YAML reader's error into a problem at its place.
func (d *decoder) syntax(err error) {
	line, message := 1, err.Error()
	if m := regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`).FindStringSubmatch(message); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		message = m[2]
	}
	d.problems.add(d.file, d.offset+line, "this is not YAML: %s", message)
}

// duplicates reports objects that are there twice, at both places.
func duplicates(objects []Object) problems {
	var found problems
	first := make(map[string]Object, len(objects))
	for _, o := range objects {
		if other, twice := first[o.Ref()]; twice {
			found.add(o.Source, o.Line, "%s is there twice: it is at %s too", o.Ref(), other.place())
			continue
		}
		first[o.Ref()] = o
	}
	return found
}
