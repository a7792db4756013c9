package lines

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// readAll reads lines until the keys end.
func readAll(keys string, step int) (lines []string) {
	e := newEditor(&chunks{[]byte(keys), step}, &screen{to: io.Discard}, Size{80, 24}, func(string) []string { return []string{"x"} })
	for {
		line, err := e.read("$ ")
		switch {
		case errors.Is(err, errInterrupted):
			lines = append(lines, "^C")
		case err != nil:
			return lines
		default:
			lines = append(lines, line)
		}
	}
}

// chunks hands out keys a few at a time.
type chunks struct {
	keys []byte
	step int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.keys) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.keys[:min(c.step, len(c.keys))])
	c.keys = c.keys[n:]
	return n, nil
}

// However keys arrive, the same lines are read.
func TestEditorReadsLines(t *testing.T) {
	for keys, want := range map[string][]string{
		"ls\rpwd\r":                         {"ls", "pwd"},
		"ls\r\npwd\n":                       {"ls", "pwd"},
		"lx\x7fs\r":                         {"ls"},
		"s\x01l\r":                          {"ls"},
		"rm -rf x\x15ls\r":                  {"ls"},
		"one\r\x1b[A\r":                     {"one", "one"},
		"echo 'a\rb'\r":                     {"echo 'a\nb'"},
		"half\x03ls\r":                      {"^C"},
		"\x1b[200~a\rb\x1b[201~\r":          {"a\nb"},
		"\x1b[200~a\r\x1b[201~\x7f":         {"^C"},
		"x\x1b[200~a\rb\r\x1b[201~\x15\r":   {"xa\nb\n"},
		"\x1b[200~a\rb\r\x1b[201~c\rd\r":    {"a\nb\nc", "d"},
		"\x1b[200~a\x00\x1b[201~\rb\r":      {"^C", "b"},
		"\x1b[200~l\x1b[2Js\x1b[201~\rb\r":  {"^C", "b"},
		"\x1b[200~a\tb\x1b[201~\r":          {"a\tb"},
		strings.Repeat("a", 5000) + "\rb\r": {"^C", "b"},
		"ä✓日本\r":                            {"ä✓日本"},
		"a\x1b[D\x1b[Db\r":                  {"ba"},
	} {
		for _, step := range []int{1, 2, 3, 7, 1000} {
			got := readAll(keys, step)
			if strings.Contains(keys, "\x03") { // what is typed behind it goes with it, if it is there already
				got = got[:1]
			}
			if strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("%.40q by %d: %q, want %q", keys, step, got, want)
			}
		}
	}
}

func TestWhatIsSaidDoesNotSteerTheTerminal(t *testing.T) {
	var out bytes.Buffer
	e := newEditor(strings.NewReader(""), &screen{to: &out}, Size{80, 24}, nil)
	e.say("denied: \x1b]0;evil\a\x1b[2J\r\nnext\u202e")
	if got := out.String(); strings.ContainsAny(got, "\x1b\a\u202e") || strings.Count(got, "\r\n") != 2 {
		t.Errorf("%q", got)
	}
}

func TestWordsToComplete(t *testing.T) {
	for line, want := range map[string]string{
		"cat da": "da", "cat a\\ b": "a b", "cat <x": "x", "cat 'a": "-", "ls $X/a": "-", "a=/et": "/et", "cat ": "",
	} {
		got, ok := lastWord(line)
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func FuzzEditor(f *testing.F) {
	for _, keys := range []string{"ls\r", "\x1b[200~a\r\x1b[201~\r", "\x1b[A\x1b[B\x1b[C\x1b[D\r", "\t\t\r", "\x03\x04", "a\x01\x05\x0b\x15\x17\x0c\r", "ä\xff\r", "'\r\r'\r"} {
		f.Add(keys, 3)
	}
	f.Fuzz(func(t *testing.T, keys string, step int) {
		for _, line := range readAll(keys, 1+max(step%64, 0)) {
			if strings.ContainsAny(line, "\x00\x03\r\x1b") {
				t.Fatalf("%q gave the line %q", keys, line)
			}
		}
	})
}
