package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"postern"
)

// decoder fills a Config from YAML nodes and gathers every mistake.
type decoder struct {
	file   string
	folder string // that paths are relative to
	errs   Errors
	at     map[string]position // where each key's value stands
}

func (d *decoder) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(d.folder, p)
}

// fail reports a mistake in key's value, or in the nearest part of the file around it.
func (d *decoder) fail(key, message string) {
	at, k := d.at[key], key
	for at == (position{}) && k != "" {
		k = k[:max(strings.LastIndexAny(k, ".["), 0)]
		at = d.at[k]
	}
	d.errs = append(d.errs, Error{File: d.file, position: at, Message: key + ": " + message})
}

// place is where key's value stands, for messages.
func (d *decoder) place(key string) string { return fmt.Sprintf("%s:%d", d.file, d.at[key].Line) }

// note remembers where key's value stands, and follows an alias to it.
func (d *decoder) note(key string, n *yaml.Node) *yaml.Node {
	if d.at == nil {
		d.at = map[string]position{}
	}
	d.at[key] = position{n.Line, n.Column}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (d *decoder) root(n *yaml.Node, c *Config) {
	if n == nil || n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.errs = append(d.errs, Error{File: d.file, position: position{n.Line, n.Column}, Message: "a configuration is a mapping: key: value"})
		return
	}
	d.mapping("", n, reflect.ValueOf(c).Elem())
}

// value decodes a node into v. An explicit null, like an absent key, leaves the default.
func (d *decoder) value(key string, n *yaml.Node, v reflect.Value, field reflect.StructField) {
	n = d.note(key, n)
	if n == nil || n.Tag == "!!null" {
		return
	}
	switch v.Interface().(type) {
	case Listen:
		d.listen(key, n, v)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[postern.Secret]() {
			d.scalar(key, n, v, field)
			return
		}
		if n.Kind != yaml.MappingNode {
			d.fail(key, "it is a mapping: "+strings.Join(keys(v.Type()), ", "))
			return
		}
		d.mapping(key, n, v)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.fail(key, "it is a list")
			return
		}
		list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, item := range n.Content {
			d.value(fmt.Sprintf("%s[%d]", key, i), item, list.Index(i), field)
		}
		v.Set(list)
	default:
		d.scalar(key, n, v, field)
	}
}

// mapping decodes into a struct's fields, by their yaml tags.
func (d *decoder) mapping(key string, n *yaml.Node, v reflect.Value) {
	fields := map[string]reflect.StructField{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if name := f.Tag.Get("yaml"); name != "" && name != "-" {
			fields[name] = f
		}
	}
	for name, value := range d.pairs(key, n) {
		f, ok := fields[name.Value]
		if !ok {
			d.unknown(key, name, keys(v.Type()))
			continue
		}
		d.value(join(key, name.Value), value, v.FieldByIndex(f.Index), f)
	}
}

// pairs are a mapping's keys and values. A key that is there twice is a mistake.
func (d *decoder) pairs(key string, n *yaml.Node) func(yield func(name, value *yaml.Node) bool) {
	return func(yield func(name, value *yaml.Node) bool) {
		seen := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i]
			if line, twice := seen[name.Value]; twice {
				d.errs = append(d.errs, Error{
					File: d.file, position: position{name.Line, name.Column},
					Message: fmt.Sprintf("%s: it is in line %d already", join(key, name.Value), line),
				})
				continue
			}
			seen[name.Value] = name.Line
			if !yield(name, n.Content[i+1]) {
				return
			}
		}
	}
}

func (d *decoder) unknown(key string, name *yaml.Node, known []string) {
	message := fmt.Sprintf("unknown key %q", join(key, name.Value))
	if near := nearest(name.Value, known); near != "" {
		message += fmt.Sprintf("; did you mean %q?", near)
	} else {
		message += "; here are: " + strings.Join(known, ", ")
	}
	d.errs = append(d.errs, Error{File: d.file, position: position{name.Line, name.Column}, Message: message})
}

// scalar decodes a single value. Zero and "" mean the default, which v holds.
func (d *decoder) scalar(key string, n *yaml.Node, v reflect.Value, field reflect.StructField) {
	if n.Kind != yaml.ScalarNode {
		d.fail(key, "it is a single value")
		return
	}
	text := n.Value
	switch v.Interface().(type) {
	case time.Duration:
		took, err := time.ParseDuration(text)
		if text == "0" || text == "" {
			return
		}
		if err != nil || took < 0 {
			d.fail(key, fmt.Sprintf("%q is no duration like 90s, 15m or 8h", text))
			return
		}
		if took > 0 {
			v.SetInt(int64(took))
		}
		return
	case Bytes:
		size, ok := parseBytes(text)
		if !ok {
			d.fail(key, fmt.Sprintf("%q is no size like 512MiB or 2GB", text))
			return
		}
		if size > 0 {
			v.SetInt(size)
		}
		return
	case postern.Secret:
		if text == "" || n.Tag != "!!str" {
			d.fail(key, "it is a text")
			return
		}
		v.Set(reflect.ValueOf(postern.NewSecret(text)))
		return
	case postern.Principal:
		if !postern.Principal(text).Valid() {
			d.fail(key, fmt.Sprintf("%q is none of user:NAME, service:NAME, workload:GLOB, group:NAME, everyone", text))
			return
		}
	}
	switch v.Kind() {
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.fail(key, fmt.Sprintf("%q is neither true nor false", text))
			return
		}
		v.SetBool(strings.EqualFold(text, "true"))
	case reflect.Int:
		number, err := strconv.Atoi(text)
		if err != nil || number < 0 {
			d.fail(key, fmt.Sprintf("%q is no number from 0", text))
			return
		}
		if number > 0 {
			v.SetInt(int64(number))
		}
	default:
		d.text(key, n, v, field)
	}
}

func (d *decoder) text(key string, n *yaml.Node, v reflect.Value, field reflect.StructField) {
	text := n.Value
	if n.Tag != "!!str" {
		d.fail(key, fmt.Sprintf("it is a text; put %s in quotes if it is meant as one", text))
		return
	}
	if text == "" {
		return
	}
	if one := strings.Fields(field.Tag.Get("one")); len(one) > 0 && !slices.Contains(one, text) {
		d.fail(key, fmt.Sprintf("%q is none of %s", text, strings.Join(one, ", ")))
		return
	}
	if field.Tag.Get("path") != "" {
		text = d.path(text)
	}
	v.SetString(text)
}

// listen decodes the listeners: one key for each protocol that has a port.
func (d *decoder) listen(key string, n *yaml.Node, v reflect.Value) {
	listen := v.Addr().Interface().(*Listen)
	if n.Kind != yaml.MappingNode {
		d.fail(key, "it is a mapping: "+strings.Join(listenKeys(), ", "))
		return
	}
	listen.lines = map[string]position{}
	for name, value := range d.pairs(key, n) {
		if !slices.Contains(listenKeys(), name.Value) {
			d.unknown(key, name, listenKeys())
			continue
		}
		at := join(key, name.Value)
		value = d.note(at, value)
		addr := value.Value
		switch {
		case value.Tag == "!!null" || addr == "off" || addr == "":
			addr = ""
		case value.Kind != yaml.ScalarNode || !validAddress(addr):
			d.fail(at, fmt.Sprintf("%q is neither HOST:PORT nor off", addr))
			continue
		}
		if name.Value == "https" {
			listen.HTTPS = addr
			continue
		}
		listen.Native[name.Value] = addr
		listen.lines[name.Value] = d.at[at]
	}
}

func listenKeys() []string {
	return append([]string{"https"}, slices.Sorted(maps.Keys(defaultPorts()))...)
}

// keys are a struct's keys, in the order of its fields.
func keys(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// parseBytes reads "512MiB", "2GB" or a plain number.
func parseBytes(text string) (int64, bool) {
	number := strings.TrimRight(text, "KMGTiB ")
	unit := strings.TrimSpace(text[len(number):])
	factor, ok := map[string]int64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}[unit]
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n < 0 || n > (1<<62)/factor {
		return 0, false
	}
	return n * factor, true
}
