package policy

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Keys are the keys that a kind of object takes below one path, or the words
// that the key at the path takes.
type Keys struct {
	Kind  string
	Path  string // "": the object itself; lists add nothing to a path
	Keys  []string
	Words []string
}

// KeyTable says which keys and words the decoder knows, with the sections that
// protocols declare, for editors. It asks the decoder itself, so that there is
// no second list to keep.
func KeyTable(protocols ...ProtocolType) []Keys {
	var all []Keys
	for _, kind := range Kinds() {
		l := &lesson{kind: kind, protocols: protocols, keys: map[string][]string{}, words: map[string][]string{}}
		l.teach(nil)
		for _, path := range sortedKeys(l.keys) {
			all = append(all, Keys{Kind: kind, Path: path, Keys: l.keys[path]})
		}
		for _, path := range sortedKeys(l.words) {
			all = append(all, Keys{Kind: kind, Path: path, Words: l.words[path]})
		}
	}
	return all
}

// lesson is what was learned of one kind.
type lesson struct {
	kind        string
	protocols   []ProtocolType
	keys, words map[string][]string
}

const deepest = 4 // levels of keys below an object

// teach decodes an object with an empty mapping at path, and one with a list of
// one, and goes on below every key that this brings to light.
func (l *lesson) teach(path []string) {
	before := len(l.keys)
	empty := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, value := range []*yaml.Node{empty, {Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{empty}}} {
		d := &decoder{lines: map[string]int{}, protocols: l.protocols, lesson: l}
		d.object(l.document(path, value))
	}
	if len(path) > 0 && len(l.keys) == before || len(path) == deepest {
		return
	}
	for _, key := range l.keys[strings.Join(path, ".")] {
		l.teach(append(slices.Clip(path), key))
	}
}

func (l *lesson) document(path []string, value *yaml.Node) *yaml.Node {
	text := func(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }
	for i := len(path) - 1; i >= 0; i-- {
		value = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{text(path[i]), value}}
	}
	if len(path) == 0 {
		value = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	value.Content = append([]*yaml.Node{text("kind"), text(l.kind), text("name"), text("a")}, value.Content...)
	return value
}

var indexes = regexp.MustCompile(`\[\d+\]`)

// learn notes what a mapping takes, when somebody asks.
func (l *lesson) learn(path string, known []string) {
	if l == nil {
		return
	}
	plain := indexes.ReplaceAllString(path, "")
	for _, key := range known {
		if !slices.Contains(l.keys[plain], key) {
			l.keys[plain] = append(l.keys[plain], key)
		}
	}
}

// learnWords notes which words a key takes, when somebody asks.
func (l *lesson) learnWords(path string, words []string) {
	if l != nil {
		l.words[indexes.ReplaceAllString(path, "")] = words
	}
}
