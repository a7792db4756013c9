package recording

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"postern"
)

// What a server printed to harm the terminal of whoever looks at it later is
// left out, in pieces of any size; what it showed isn't.
func TestScreen(t *testing.T) {
	for _, c := range []struct{ printed, shown string }{
		{"plain\r\n", "plain\r\n"},
		{"\x1b[1;31mred\x1b[0m\x1b[2J\x1b[5;3H", "\x1b[1;31mred\x1b[0m\x1b[2J\x1b[5;3H"},
		{"a\x1b]0;title\ab\x1b]52;c;ZXZpbA==\x1b\\c", "abc"},
		{"\x1bP$q\"p\x1b\\\x1b_x\x1b\\done", "done"},
		{"ask\x1b[6n\x1b[c\x1b[21tno", "askno"},
		{"grün 日本\xff!", "grün 日本�!"},
		{"\x1b(Bx\x1b(0q\x1bc", "\x1b(Bx\x1b(0q"},
		{"\x1b[" + strings.Repeat("1;", 100) + "mx", strings.Repeat("1;", 100)[66:] + "mx"},
	} {
		for _, size := range []int{1, 2, len(c.printed)} {
			var s Screen
			shown := ""
			for i := 0; i < len(c.printed); i += size {
				shown += s.Show(c.printed[i:min(i+size, len(c.printed))])
			}
			if strings.Contains(c.printed, strings.Repeat("1;", 100)) {
				if len(shown) > 200 {
					t.Errorf("%q: %q", c.printed, shown)
				}
				continue
			}
			if shown != c.shown {
				t.Errorf("%q in pieces of %d: %q, want %q", c.printed, size, shown, c.shown)
			}
		}
	}
}

func TestCast(t *testing.T) {
	at := time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	events := []postern.Event{
		{Time: at, Kind: postern.EventOpen, Session: &postern.SessionInfo{Identity: "alice", Resource: "web-1"}},
		{Time: at, Kind: postern.EventResize, N: 2, State: "100x30"},
		{Time: at.Add(time.Second), Kind: postern.EventOutput, N: 2, Stream: StreamTerminal, Text: "caf\xc3"},
		{Time: at.Add(1500 * time.Millisecond), Kind: postern.EventOutput, N: 2, Stream: StreamTerminal, Text: "\xa9\r\n"},
		{Time: at.Add(2 * time.Second), Kind: postern.EventOutput, N: 3, Text: "another command's"},
		{Time: at.Add(3 * time.Second), Kind: postern.EventInput, N: 2, Text: "ls\r"},
		{Time: at.Add(4 * time.Second), Kind: postern.EventResult, N: 2, Tag: "exit", Code: "0"},
	}
	for version, want := range map[CastVersion]string{
		CastV2: `{"version":2,"width":100,"height":30,"timestamp":1795512601,"title":"alice on web-1","env":{"TERM":"xterm-256color"}}
[0,"o","caf"]
[0.5,"o","é\r\n"]
[2,"i","ls\r"]
`,
		CastV3: `{"version":3,"term":{"cols":100,"rows":30,"type":"xterm-256color"},"timestamp":1795512601,"title":"alice on web-1"}
[0,"o","caf"]
[0.5,"o","é\r\n"]
[1.5,"i","ls\r"]
[1,"x","0"]
`,
	} {
		var out bytes.Buffer
		cast := NewCast(&out, version, 0)
		for _, e := range events {
			if err := cast.Event(e); err != nil {
				t.Fatal(err)
			}
		}
		if out.String() != want {
			t.Errorf("version %d:\n%s\nwant:\n%s", version, out.String(), want)
		}
	}
}

func FuzzScreen(f *testing.F) {
	f.Add("\x1b[31mx\x1b]0;t\a\xc3\xa9")
	f.Fuzz(func(t *testing.T, printed string) {
		var s Screen
		out := s.Show(printed)
		if strings.Contains(out, "\x1b]") || strings.Contains(out, "\x1bP") || strings.ContainsAny(out, "\x07\x00\x05") {
			t.Errorf("%q shows %q", printed, out)
		}
	})
}
