package mask

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"postern"
)

var secretMasks = []postern.Mask{{Name: "m", Detect: []string{"secret", "credit_card", "email"}, With: postern.MaskRedact}}

const awsKey = "AKIAZ7QJ3XN5KD2MPLWT"

func newTestTerminal(t *testing.T) *Terminal {
	t.Helper()
	m := NewTerminal(secretMasks, []byte("key"))
	if m == nil {
		t.Fatal("nothing looks at content")
	}
	return m
}

var anySequence = regexp.MustCompile("\x1b(\\[[0-9;?]*[ -/]*[@-~]|\\][^\a\x1b]*(\a|\x1b\\\\)|[()][A-Z0-9])")

// seen is what a reader of out may see: as it is, and without sequences.
func seen(out []byte) string {
	plain := anySequence.ReplaceAll(out, nil)
	return string(out) + "\n" + string(bytes.ReplaceAll(plain, []byte{0}, nil))
}

// A value that is printed in any pieces, with anything invisible in it, with
// pauses of any length between them, is never seen whole.
func TestTerminalMasksWhatIsShown(t *testing.T) {
	coloured := func(s string) string {
		var b strings.Builder
		for _, r := range s {
			b.WriteString("\x1b[1;31m" + string(r) + "\x1b[0m")
		}
		return b.String()
	}
	for name, printed := range map[string]string{
		"plain":              "key " + awsKey + " done\n",
		"coloured":           "key " + coloured(awsKey) + " done\n",
		"half coloured":      "key \x1b[32m" + awsKey[:10] + "\x1b[0m" + awsKey[10:] + "\x1b[K done\n",
		"overstruck":         "key " + strings.ReplaceAll(awsKey, "Q", "Q\bQ") + "\n",
		"corrected":          "key AKIAXX\b\bZ7QJ3XN5KD2MPLWT\n",
		"with NUL":           "key " + strings.Join(strings.Split(awsKey, ""), "\x00") + "\n",
		"in a title":         "\x1b]0;" + awsKey + "\a$ ",
		"card, repeated":     "card 4\x1b[0m1\x1b[14b\n",
		"without a line end": awsKey,
		"email":              "mail alice.jones@example.com\r\n",
	} {
		for _, size := range []int{1, 2, 3, 7, 19, len(printed)} {
			for _, pause := range []string{"none", "short", "long"} {
				m := newTestTerminal(t)
				var out []byte
				for i := 0; i < len(printed); i += size {
					out = m.Write(out, []byte(printed[i:min(i+size, len(printed))]))
					switch pause {
					case "short":
						out = m.Settle(out)
					case "long":
						out = m.Yield(m.Settle(out))
					}
				}
				out = m.Flush(out)
				for _, secret := range []string{awsKey, awsKey[:12], "4111111111111111", "alice.jones@example.com"} {
					if strings.Contains(seen(out), secret) || name == "card, repeated" && strings.Contains(string(out), "[14b") {
						t.Errorf("%s, in pieces of %d, pauses %s: %q", name, size, pause, out)
					}
				}
				if m.Hits() == 0 {
					t.Errorf("%s, in pieces of %d, pauses %s: nothing counted: %q", name, size, pause, out)
				}
			}
		}
	}
}

// What isn't masked comes out as it went in, whatever it is.
func TestTerminalKeepsEverythingElse(t *testing.T) {
	for _, printed := range []string{
		"hello\r\nworld\n", "\x1b[?25l\x1b[2J\x1b[1;1Hm\x1b[31menu\x1b[0m", "grün, 日本語, \xff\xfe\x00\x01binary\x1b", "a\b \b", "\x1b]0;title\a$ ",
		"\x1b[", strings.Repeat("x", 10000), strings.Repeat("word ", 4000), "\x1bP1$r0m\x1b\\", "100%\r 99%\r",
	} {
		for _, size := range []int{1, 5, len(printed)} {
			m := newTestTerminal(t)
			var out []byte
			for i := 0; i < len(printed); i += size {
				out = m.Settle(m.Write(out, []byte(printed[i:min(i+size, len(printed))])))
			}
			out = m.Flush(out)
			if string(out) != printed {
				t.Errorf("in pieces of %d: %q became %q", size, printed, out)
			}
		}
	}
}

// A person at a terminal isn't kept waiting.
func TestTerminalLetsGo(t *testing.T) {
	m := newTestTerminal(t)
	if out := m.Settle(m.Write(nil, []byte("alice@web-1:~$ "))); string(out) != "alice@web-1:~$ " {
		t.Errorf("the prompt: %q", out)
	}
	for _, key := range "cat /etc/hostname" {
		m.Typed([]byte(string(key)))
		if out := m.Write(nil, []byte(string(key))); string(out) != string(key) {
			t.Errorf("the echo of %q: %q", key, out)
		}
	}
	m.Typed([]byte("\r"))
	if out := m.Write(nil, []byte("\r\nweb-1\r\n")); string(out) != "\r\nweb-1\r\n" {
		t.Errorf("the output: %q", out)
	}
	if out := m.Settle(m.Write(nil, []byte("Password:"))); string(out) != "Password:" {
		t.Errorf("another prompt: %q", out)
	}
}

// A word that is longer than any value isn't taken for the beginning of one,
// however slowly it comes.
func TestTerminalLetsLongWordsGo(t *testing.T) {
	m := newTestTerminal(t)
	printed := strings.Repeat("x", 10000)
	out := m.Yield(m.Settle(m.Write(nil, []byte(printed))))
	out = m.Flush(m.Yield(m.Settle(m.Write(out, []byte(printed)))))
	if string(out) != printed+printed {
		t.Errorf("%d bytes came out", len(out))
	}
}

// What a terminal holds is bounded, whatever comes.
func TestTerminalHoldsLittle(t *testing.T) {
	for name, piece := range map[string]string{
		"a line without an end": strings.Repeat("x", 32<<10), "a sequence without an end": "\x1b[" + strings.Repeat("1;", 16<<10),
		"backspaces": strings.Repeat("a\b", 16<<10), "a title without an end": "\x1b]" + strings.Repeat("y", 32<<10),
		"a key without an end": "-----BEGIN RSA PRIVATE KEY-----\n" + strings.Repeat("Zm9v\n", 6000),
	} {
		m := newTestTerminal(t)
		for range 100 {
			_ = m.Write(nil, []byte(piece))
			if m.Held() > 1<<20 || cap(m.plain) > 1<<20 {
				t.Fatalf("%s: %d bytes are held", name, m.Held())
			}
		}
	}
}

func FuzzTerminal(f *testing.F) {
	f.Add([]byte("key "+awsKey+"\n"), uint8(3))
	f.Add([]byte("\x1b[31mx\x1b[0m\b\x1b]0;t\a\x1b[3b"), uint8(1))
	f.Fuzz(func(t *testing.T, printed []byte, size uint8) {
		m := NewTerminal(secretMasks, []byte("key"))
		var out []byte
		step := int(size%16) + 1
		for i := 0; i < len(printed); i += step {
			out = m.Write(out, printed[i:min(i+step, len(printed))])
			switch (int(size) + i) % 5 {
			case 0:
				out = m.Settle(out)
			case 1:
				out = m.Yield(out)
			}
		}
		out = m.Flush(out)
		if m.Hits() == 0 && !bytes.Equal(out, printed) {
			t.Errorf("%q became %q", printed, out)
		}
	})
}
