package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

const (
	docsFile    = "../../docs/configuration.md"
	exampleFile = "../../postern.example.yaml"
)

// TestDocumentation keeps docs/configuration.md true: its table is made of the
// struct's tags and the defaults.
func TestDocumentation(t *testing.T) {
	want := docsHead + table() + docsTail
	if *update {
		if err := os.WriteFile(docsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/configuration.md is out of date; go test ./internal/config -run Documentation -update\n%s", diff)
	}
}

// TestExample reads the annotated example twice: as it stands it is the
// default, and with its commented keys switched on every key is there and
// understood.
func TestExample(t *testing.T) {
	text, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse("postern.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	if c.DataDir != want.DataDir || !reflect.DeepEqual(c.Sessions, want.Sessions) || !reflect.DeepEqual(c.Limits, want.Limits) ||
		c.Listen.HTTPS != want.Listen.HTTPS || c.DrainTimeout != want.DrainTimeout || c.Recordings != want.Recordings {
		t.Errorf("the example's values aren't the defaults: %+v", c)
	}
	all := regexp.MustCompile(`(?m)^( *)#: `).ReplaceAllString(string(text), "$1")
	if _, err := parse("postern.yaml", []byte(all)); err != nil {
		t.Errorf("with every commented key: %v", err)
	}
	for _, row := range rows() {
		key := row.key[strings.LastIndex(row.key, ".")+1:]
		if !strings.Contains(all, strings.TrimSuffix(key, "[]")+":") {
			t.Errorf("the example lacks %s", row.key)
		}
	}
}

type row struct {
	key, kind, value, doc string
}

func rows() []row {
	var out []row
	d := defaults()
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name := f.Tag.Get("yaml")
			if name == "" || name == "-" {
				continue
			}
			key, doc := prefix+name, f.Tag.Get("doc")
			if doc == "" {
				panic(key + " has no doc tag")
			}
			switch value := v.Field(i).Interface().(type) {
			case Listen:
				out = append(out, row{key: key + ".https", kind: "address", value: value.HTTPS, doc: doc})
				for p, addr := range defaultPorts() {
					out = append(out, row{key: key + "." + p, kind: "address", value: addr, doc: "Where a version that speaks " + p + " listens for it."})
				}
				slices.SortFunc(out[len(out)-len(defaultPorts()):], func(a, b row) int { return strings.Compare(a.key, b.key) })
			case []User:
				walk(key+"[].", reflect.ValueOf(User{}))
			case []Sink:
				walk(key+"[].", reflect.ValueOf(Sink{}))
			case []Witness:
				walk(key+"[].", reflect.ValueOf(Witness{}))
			case []Workload:
				walk(key+"[].", reflect.ValueOf(Workload{}))
			case []Notify:
				walk(key+"[].", reflect.ValueOf(Notify{}))
			case []SlackPerson:
				walk(key+"[].", reflect.ValueOf(SlackPerson{}))
			case []Signal:
				walk(key+"[].", reflect.ValueOf(Signal{}))
			case []OIDC:
				walk(key+"[].", reflect.ValueOf(OIDC{}))
			case time.Duration:
				text := ""
				if value > 0 {
					text = short(value)
				}
				out = append(out, row{key: key, kind: "duration", value: text, doc: doc})
			case Bytes:
				text := ""
				if value > 0 {
					text = fmt.Sprintf("%dMiB", value>>20)
				}
				out = append(out, row{key: key, kind: "size", value: text, doc: doc})
			case postern.Secret:
				out = append(out, row{key: key, kind: "text", doc: doc})
			default:
				if v.Field(i).Kind() == reflect.Struct {
					walk(key+".", v.Field(i))
					continue
				}
				out = append(out, row{key: key, kind: kindName(v.Field(i).Kind()), value: defaultText(v.Field(i)), doc: doc})
			}
		}
	}
	walk("", reflect.ValueOf(d))
	return out
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Slice:
		return "list"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "number"
	default:
		return "text"
	}
}

func defaultText(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		return strings.Trim(fmt.Sprint(v.Interface()), "[]")
	}
	return fmt.Sprint(v.Interface())
}

func short(d time.Duration) string {
	text := strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
	if strings.HasSuffix(d.String(), "m0s") {
		return text
	}
	return d.String()
}

func table() string {
	var b strings.Builder
	b.WriteString("| key | value | default | |\n|---|---|---|---|\n")
	for _, r := range rows() {
		value := ""
		if r.value != "" {
			value = "`" + r.value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.key, r.kind, value, r.doc)
	}
	return b.String()
}

const docsHead = `# Configuration: postern.yaml

` + "`postern serve --config postern.yaml`" + ` reads one YAML document. Every key has a default: an empty file is a
working gateway on loopback. ` + "`postern.example.yaml`" + ` has every key, with remarks.

A key that isn't known, a value of the wrong kind or an impossible combination is an error at start that names file,
line and column; all of them are told at once. An empty value, or zero, stands for the default. Durations are written
like ` + "`90s`, `15m` or `8h`" + `, sizes like ` + "`512MiB`" + ` or ` + "`2GB`" + `. Relative paths are relative to the file's own folder. There are no
templates and no variables: secrets come from files or the environment where an object says so.

`

const docsTail = `
A listener for a protocol that this version doesn't speak is an error; one that isn't mentioned is simply not there.
What may be reached, by whom and how is not here but in objects: see docs/policy.md.
`
