package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"postern"
)

// decoder reads one YAML document and gathers its mistakes.
type decoder struct {
	file     string
	offset   int            // lines of the file before the document
	lines    map[string]int // where each key's value stands, by path
	problems problems
	// protocols declare sections of accesses.
	protocols []ProtocolType
	lesson    *lesson // notes what is known; nil: nobody asked
}

func (d *decoder) line(n *yaml.Node) int { return d.offset + n.Line }

func (d *decoder) fail(n *yaml.Node, path, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if path != "" {
		message = path + ": " + message
	}
	d.problems.add(d.file, d.line(n), "%s", message)
}

// note remembers where a value stands. A block of text starts on the next line.
func (d *decoder) note(n *yaml.Node, path string) {
	line := d.line(n)
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		line++
	}
	d.lines[path] = line
}

// mapping is a YAML mapping of which each key is taken by name; done reports
// the keys that nobody took.
type mapping struct {
	d      *decoder
	node   *yaml.Node
	path   string
	values map[string]*yaml.Node
	keys   []*yaml.Node
	known  []string
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// mapping reads a node's keys. It returns nil when the node is no mapping.
func (d *decoder) mapping(n *yaml.Node, path string) *mapping {
	d.note(n, path)
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "expected a mapping (key: value), found %s", describe(n))
		return nil
	}
	m := &mapping{d: d, node: n, path: path, values: make(map[string]*yaml.Node)}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			d.fail(key, path, "expected a word as key, found %s", describe(key))
			continue
		}
		if _, twice := m.values[key.Value]; twice {
			d.fail(key, join(path, shortKey(key.Value)), "this key is there twice")
			continue
		}
		m.values[key.Value] = value
		m.keys = append(m.keys, key)
	}
	return m
}

// shortKey is a key as it may stand in a message.
func shortKey(key string) string {
	if len(key) > 60 || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' }) {
		return shown(key)
	}
	return key
}

// describe says what a node is, without its value: it may be a secret.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	case "!!str":
		return "text"
	}
	return "a value of another type"
}

// take returns a key's value, nil when it is absent.
func (m *mapping) take(key string) *yaml.Node {
	m.known = append(m.known, key)
	n := m.values[key]
	if n != nil {
		m.d.note(n, join(m.path, key))
	}
	return n
}

func (m *mapping) has(key string) bool { return m.values[key] != nil }

func (m *mapping) fail(key, format string, args ...any) {
	n := m.values[key]
	if n == nil {
		n = m.node
	}
	m.d.fail(n, join(m.path, key), format, args...)
}

// done reports the keys that nobody took.
func (m *mapping) done() {
	m.d.lesson.learn(m.path, m.known)
	for _, key := range m.keys {
		if slices.Contains(m.known, key.Value) {
			continue
		}
		if near := nearest(key.Value, m.known); near != "" {
			m.d.fail(key, m.path, "unknown key %s; %s", shown(key.Value), didYouMean(near))
		} else {
			m.d.fail(key, m.path, "unknown key %s; known here: %s", shown(key.Value), strings.Join(m.known, ", "))
		}
	}
}

// scalar checks that a node is text, and says how to write it when it is
// something else that looks like text.
func (d *decoder) scalar(n *yaml.Node, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		d.fail(n, path, "expected text, found %s", describe(n))
		return "", false
	}
	if n.ShortTag() != "!!str" {
		d.fail(n, path, "expected text, found %s; put it in quotes if it is meant as text", describe(n))
		return "", false
	}
	if n.Value == "" {
		d.fail(n, path, "expected text, found nothing between the quotes")
		return "", false
	}
	return n.Value, true
}

func (m *mapping) text(key string) string {
	n := m.take(key)
	if n == nil {
		return ""
	}
	value, _ := m.d.scalar(n, join(m.path, key))
	return value
}

func (m *mapping) need(key, why string) string {
	if !m.has(key) {
		m.known = append(m.known, key)
		m.fail(key, "is missing: %s", why)
		return ""
	}
	return m.text(key)
}

// word is text that must be one of a few; "" when it is absent or wrong.
func (m *mapping) word(key string, known ...string) string {
	m.d.lesson.learnWords(join(m.path, key), known)
	value := m.text(key)
	if value != "" && !slices.Contains(known, value) {
		m.fail(key, "%s", oneOf(value, known))
		return ""
	}
	return value
}

func (m *mapping) list(key string) []*yaml.Node {
	n := m.take(key)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		m.fail(key, "expected a list like [a, b], found %s", describe(n))
		return nil
	}
	if len(n.Content) == 0 {
		m.fail(key, "the list is empty; leave the key out, or say what is in it")
	}
	return n.Content
}

func (m *mapping) texts(key string) []string {
	var all []string
	for i, n := range m.list(key) {
		path := fmt.Sprintf("%s[%d]", join(m.path, key), i)
		m.d.note(n, path)
		if value, ok := m.d.scalar(n, path); ok {
			all = append(all, value)
		}
	}
	return all
}

func (m *mapping) principals(key string) []postern.Principal {
	var all []postern.Principal
	for i, text := range m.texts(key) {
		p := postern.Principal(text)
		if !p.Valid() {
			m.fail(key, "[%d] %s names nobody; expected user:NAME, service:NAME, workload:GLOB, group:NAME or everyone", i, shown(text))
			continue
		}
		all = append(all, p)
	}
	return all
}

func (m *mapping) textMap(key string) map[string]string {
	n := m.take(key)
	if n == nil {
		return nil
	}
	inner := m.d.mapping(n, join(m.path, key))
	if inner == nil {
		return nil
	}
	all := make(map[string]string, len(inner.keys))
	for _, k := range inner.keys {
		all[k.Value] = inner.text(k.Value)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

func (m *mapping) inner(key string) *mapping {
	n := m.take(key)
	if n == nil {
		return nil
	}
	return m.d.mapping(n, join(m.path, key))
}

func (m *mapping) number(key string, least, most, absent int) int {
	n := m.take(key)
	if n == nil {
		return absent
	}
	value, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil || value < least || value > most {
		m.fail(key, "expected a number from %d to %d, found %s", least, most, describeValue(n))
		return absent
	}
	return value
}

// size reads "512MiB", "2GB" and plain numbers of bytes; 0 when it is absent.
func (m *mapping) size(key string) int64 {
	if n := m.values[key]; n != nil && n.ShortTag() == "!!int" {
		return int64(m.number(key, 1, maxBucket, 0))
	}
	text := m.text(key)
	if text == "" {
		return 0
	}
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB", "KB", "MB", "GB", "TB"} {
		digits, ok := strings.CutSuffix(text, suffix)
		if !ok {
			continue
		}
		unit := int64(1) << (10 * (i%4 + 1))
		if i >= 4 {
			unit = []int64{1e3, 1e6, 1e9, 1e12}[i%4]
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64); err == nil && n > 0 && n <= (1<<62)/unit {
			return n * unit
		}
	}
	m.fail(key, "%s is no size; expected one like 512MiB", shown(text))
	return 0
}

func (m *mapping) flag(key string) bool {
	n := m.take(key)
	if n == nil {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		m.fail(key, "expected true or false, found %s", describeValue(n))
		return false
	}
	return strings.EqualFold(n.Value, "true")
}

func describeValue(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		return shown(n.Value)
	}
	return describe(n)
}

// longest bounds durations: ten years.
const longest = 10 * 366 * 24 * time.Hour

func (m *mapping) duration(key string, absent time.Duration) time.Duration {
	if !m.has(key) {
		m.known = append(m.known, key)
		return absent
	}
	text := m.text(key)
	if text == "" {
		return absent
	}
	took, ok := parseDuration(text)
	if !ok {
		m.fail(key, "%s is no duration; expected one like 15m, 8h or 2d", shown(text))
		return absent
	}
	return took
}

// parseDuration reads Go's durations, and whole days ("2d").
func parseDuration(text string) (time.Duration, bool) {
	var took time.Duration
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n > 3660 {
			return 0, false
		}
		took = time.Duration(n) * 24 * time.Hour
	} else {
		var err error
		if took, err = time.ParseDuration(text); err != nil {
			return 0, false
		}
	}
	return took, took >= time.Second && took <= longest
}
