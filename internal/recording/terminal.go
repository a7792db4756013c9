package recording

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"postern"
)

// StreamTerminal is the stream of output that a terminal showed.
const StreamTerminal = "terminal"

// Screen makes what a terminal showed fit for another one: text, colours and
// the cursor's movements pass; what would set its title or its clipboard, ask it
// something, or reprogram it doesn't. It carries over what a piece ends in.
type Screen struct {
	state screenState
	held  []byte // of a sequence, or of a character, that isn't whole yet
}

type screenState uint8

const (
	showing screenState = iota
	escaping
	controlling
	inString // until BEL or ST: dropped
	stringEscape
	designating // one more byte: a character set
)

// maxSequence bounds a control sequence that is kept.
const maxSequence = 64

// Show returns what may be shown of the next piece.
func (s *Screen) Show(piece string) string {
	var out strings.Builder
	for _, b := range []byte(piece) {
		s.next(&out, b)
	}
	return out.String()
}

// Rest returns what never became whole, as it can be shown, and what sets a
// terminal right again.
func (s *Screen) Rest() string {
	rest := ""
	if s.state == showing && len(s.held) > 0 {
		rest = string(utf8.RuneError)
	}
	s.held, s.state = nil, showing
	return rest + "\x1b[0m\x1b[?25h\x1b[?1049l\x1b[?2004l\x1b[?1000l\x1b[?1l\x1b>"
}

func (s *Screen) next(out *strings.Builder, b byte) {
	switch s.state {
	case showing:
		s.text(out, b)
	case escaping:
		s.escape(out, b)
	case controlling:
		s.control(out, b)
	case designating:
		s.state = showing
		if b == 'B' || b == '0' || b == 'A' {
			out.Write(append(s.held, b))
		}
		s.held = s.held[:0]
	case inString:
		switch b {
		case 0x07, 0x18, 0x1a:
			s.state = showing
		case 0x1b:
			s.state = stringEscape
		}
	case stringEscape:
		s.state = inString
		if b == '\\' {
			s.state = showing
		}
	}
}

// text shows characters that are whole.
func (s *Screen) text(out *strings.Builder, b byte) {
	if len(s.held) > 0 {
		if b&0xc0 == 0x80 {
			s.held = append(s.held, b)
			if utf8.FullRune(s.held) {
				out.WriteString(strings.ToValidUTF8(string(s.held), string(utf8.RuneError)))
				s.held = s.held[:0]
			}
			return
		}
		out.WriteRune(utf8.RuneError)
		s.held = s.held[:0]
	}
	switch {
	case b == 0x1b:
		s.state, s.held = escaping, append(s.held[:0], b)
	case b >= 0xc2 && b <= 0xf4:
		s.held = append(s.held, b)
	case b >= 0x80:
		out.WriteRune(utf8.RuneError)
	case b >= ' ' && b != 0x7f, b == '\n', b == '\r', b == '\t', b == '\b':
		out.WriteByte(b)
	}
}

func (s *Screen) escape(out *strings.Builder, b byte) {
	s.held = append(s.held, b)
	switch b {
	case '[':
		s.state = controlling
		return
	case ']', 'P', 'X', '^', '_':
		s.state = inString
	case '(', ')':
		s.state = designating
		return
	case 0x1b:
		s.held = s.held[:1]
		return
	case '7', '8', 'D', 'E', 'M', '=', '>':
		out.Write(s.held)
		s.state = showing
	default:
		s.state = showing
	}
	s.held = s.held[:0]
}

// control passes what writes, moves and colours.
func (s *Screen) control(out *strings.Builder, b byte) {
	switch {
	case b == 0x18 || b == 0x1a || len(s.held) > maxSequence:
		s.state, s.held = showing, s.held[:0]
		return
	case b == 0x1b:
		s.state, s.held = escaping, append(s.held[:0], b)
		return
	case b < ' ':
		return
	}
	s.held = append(s.held, b)
	if b < '@' || b > '~' {
		return
	}
	if strings.IndexByte("@ABCDEFGHIJKLMPSTXZ`abdefghlmrsu", b) >= 0 {
		out.Write(s.held)
	}
	s.state, s.held = showing, s.held[:0]
}

// plainText is what a terminal showed, as lines of text.
func plainText(s string) string {
	var screen Screen
	shown := screen.Show(s)
	var out strings.Builder
	inside := false
	for i := 0; i < len(shown); i++ {
		switch b := shown[i]; {
		case b == 0x1b:
			inside = true
		case inside:
			inside = b == '[' || b == '(' || b == ')' || b >= '0' && b <= '?'
		case b == '\b':
			text := out.String()
			_, n := utf8.DecodeLastRuneInString(text)
			out.Reset()
			out.WriteString(text[:len(text)-n])
		default:
			out.WriteByte(b)
		}
	}
	return out.String()
}

// CastVersion is a version of asciinema's format.
type CastVersion int

// The versions that a Cast can be written in.
const (
	CastV2 CastVersion = 2
	CastV3 CastVersion = 3
)

// Cast writes one terminal of a session as asciinema plays it: of the command
// with that number, or, when it is 0, the first that showed anything.
type Cast struct {
	w       io.Writer
	version CastVersion
	n       int64
	title   string
	screen  Screen
	begun   time.Time
	last    time.Time
	size    string
	any     bool
}

// NewCast makes a Cast. It writes nothing until there is something to show.
func NewCast(w io.Writer, version CastVersion, n int64) *Cast {
	return &Cast{w: w, version: version, n: n, size: "80x24"}
}

// Shown says whether anything was written.
func (c *Cast) Shown() bool { return c.any }

// Event takes the next event of the session.
func (c *Cast) Event(e postern.Event) error {
	if e.Kind == postern.EventOpen && e.Session != nil {
		c.title = e.Session.Identity + " on " + e.Session.Resource
	}
	if c.n != 0 && e.N != c.n {
		return nil
	}
	switch e.Kind {
	case postern.EventOutput:
		if !c.any && c.n == 0 {
			c.n = e.N
		}
		return c.event(e.Time, "o", c.screen.Show(e.Text))
	case postern.EventInput:
		if c.any && e.Text != "" {
			return c.event(e.Time, "i", strings.ToValidUTF8(e.Text, string(utf8.RuneError)))
		}
	case postern.EventResize:
		c.size = e.State
		if c.any {
			return c.event(e.Time, "r", e.State)
		}
	case postern.EventResult:
		if c.any && c.version == CastV3 && e.Code != "" {
			return c.event(e.Time, "x", e.Code)
		}
	}
	return nil
}

func (c *Cast) event(at time.Time, code, data string) error {
	if data == "" {
		return nil
	}
	if !c.any {
		if err := c.header(at); err != nil {
			return err
		}
	}
	since := at.Sub(c.begun)
	if c.version == CastV3 {
		since = at.Sub(c.last)
	}
	c.last = at
	return c.line([]any{math.Round(max(since.Seconds(), 0)*1e6) / 1e6, code, data})
}

func (c *Cast) header(at time.Time) error {
	c.any, c.begun, c.last = true, at, at
	var width, height int
	if _, err := fmt.Sscanf(c.size, "%dx%d", &width, &height); err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24
	}
	if c.version == CastV3 {
		return c.line(struct {
			Version int `json:"version"`
			Term    struct {
				Cols int    `json:"cols"`
				Rows int    `json:"rows"`
				Type string `json:"type"`
			} `json:"term"`
			Timestamp int64  `json:"timestamp"`
			Title     string `json:"title,omitempty"`
		}{Version: 3, Term: struct {
			Cols int    `json:"cols"`
			Rows int    `json:"rows"`
			Type string `json:"type"`
		}{width, height, "xterm-256color"}, Timestamp: at.Unix(), Title: c.title})
	}
	return c.line(struct {
		Version   int               `json:"version"`
		Width     int               `json:"width"`
		Height    int               `json:"height"`
		Timestamp int64             `json:"timestamp"`
		Title     string            `json:"title,omitempty"`
		Env       map[string]string `json:"env"`
	}{2, width, height, at.Unix(), c.title, map[string]string{"TERM": "xterm-256color"}})
}

func (c *Cast) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = c.w.Write(append(text, '\n'))
	return err
}
