package lines

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"postern/internal/protocol/ssh/shell"
)

const keyInterrupt = 0x03 // Ctrl-C

// errInterrupted says that the person pressed Ctrl-C.
var errInterrupted = errors.New("interrupted")

const (
	// maxLine is how long a command may be, its continuations included.
	maxLine = 32 << 10
	// maxTerm is where golang.org/x/term silently stops taking keys.
	maxTerm = 4096
)

// editor reads lines from a keyboard: golang.org/x/term's, with Ctrl-C, and
// with pastes that wait for Enter.
type editor struct {
	keys     *keys
	out      *screen
	complete func(line string) []string

	mu   sync.Mutex // guards what follows
	t    *term.Terminal
	size Size
}

// newEditor makes an editor. complete gives the endings that a line can have.
func newEditor(k io.Reader, out *screen, size Size, complete func(line string) []string) *editor {
	e := &editor{keys: &keys{from: k}, out: out, complete: complete, size: size}
	e.renew(nil)
	return e
}

// renew starts with an empty line.
func (e *editor) renew(history term.History) *term.Terminal {
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{e.keys, e.out}, "")
	if history != nil {
		t.History = history
	}
	t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		return e.completed(line, pos)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.t = t
	setSize(t, e.size)
	return t
}

func setSize(t *term.Terminal, size Size) {
	if size.Columns > 0 && size.Columns < 10000 && size.Rows >= 0 && size.Rows < 10000 {
		_ = t.SetSize(size.Columns, size.Rows) // it redraws what is being edited, if anything
	}
}

// resize tells the editor how wide its terminal is.
func (e *editor) resize(size Size) {
	e.mu.Lock()
	e.size = size
	t := e.t
	e.mu.Unlock()
	setSize(t, size)
}

// read reads a line, and further ones while it isn't whole. A line that was
// pasted isn't taken before Enter is pressed: what is in the clipboard may hold
// more than the person saw.
func (e *editor) read(prompt string) (string, error) {
	e.out.freshLine()
	e.mu.Lock()
	t := e.t
	e.mu.Unlock()
	t.SetBracketedPasteMode(true)
	defer t.SetBracketedPasteMode(false)
	var text strings.Builder
	for {
		t.SetPrompt(prompt)
		line, err := t.ReadLine()
		if failed := e.out.failed(); failed != nil {
			return "", failed
		}
		switch {
		case errors.Is(err, errInterrupted):
			_, _ = e.out.Write([]byte("^C\r\n")) // it is shown or it isn't
			e.renew(t.History)
			return "", errInterrupted
		case errors.Is(err, io.EOF) && text.Len() > 0: // Ctrl-D in the middle
			e.renew(t.History)
			e.say("the command isn't complete")
			return "", errInterrupted
		case err != nil && !errors.Is(err, term.ErrPasteIndicator):
			return "", err
		case utf8.RuneCountInString(line) >= maxTerm, text.Len()+len(line) > maxLine:
			e.say("the line is too long, and was not run")
			return "", errInterrupted
		case strings.ContainsFunc(line, unseen):
			e.say("the line holds control characters, and was not run; paste it without them, or type it")
			return "", errInterrupted
		}
		text.WriteString(line)
		if !e.keys.pasted && !shell.Incomplete(text.String()) {
			return text.String(), nil
		}
		text.WriteByte('\n')
		prompt = "> "
	}
}

// unseen says whether r steers a terminal, or stands for what wasn't text. Keys
// do something before they are part of a line; a paste is taken as it is.
func unseen(r rune) bool { return r != '\t' && unicode.IsControl(r) || r == utf8.RuneError }

// say prints text on lines of its own. Nothing in it steers the terminal.
func (e *editor) say(text string) {
	e.out.freshLine()
	for line := range strings.Lines(text) {
		_, _ = e.out.Write([]byte(printable(strings.TrimSuffix(line, "\n")) + "\r\n")) // shown or not
	}
}

// printable replaces what a terminal would take for more than text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// keys is what the line editor reads. It hands out no more than one line at a
// time, and knows whether that was ended by a key or in a paste.
type keys struct {
	from    io.Reader
	pending []byte
	pasting bool // between the marks of a paste
	pasted  bool // the last line's end was pasted
	tail    []byte
	cr      bool // the last byte was a carriage return
}

// The marks of a bracketed paste.
const (
	pasteStart = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// Read implements [io.Reader].
func (k *keys) Read(p []byte) (int, error) {
	for {
		if len(k.pending) == 0 {
			buf := make([]byte, 256)
			n, err := k.from.Read(buf)
			if n == 0 {
				return 0, err
			}
			k.pending = buf[:n]
		}
		if k.cr = k.cr && k.pending[0] == '\n'; !k.cr {
			break
		}
		k.cr = false // the other half of a line's end
		if k.pending = k.pending[1:]; len(k.pending) > 0 {
			break
		}
	}
	if k.pending[0] == keyInterrupt {
		k.pending, k.pasting = nil, false // what was typed behind it goes, too, as a terminal does
		return 0, errInterrupted
	}
	n := min(len(p), len(k.pending))
	if i := bytes.IndexAny(k.pending[:n], "\r\n\x03"); i >= 0 {
		n = i
		if k.pending[i] != keyInterrupt {
			n++
		}
	}
	chunk := k.pending[:n]
	k.pending = k.pending[n:]
	k.paste(chunk)
	last := chunk[len(chunk)-1]
	if k.cr = last == '\r'; k.cr || last == '\n' {
		k.pasted = k.pasting
	}
	return copy(p, chunk), nil
}

// paste looks for the marks of a paste, also where one came in two parts.
func (k *keys) paste(chunk []byte) {
	k.tail = append(k.tail, chunk...)
	start, end := bytes.LastIndex(k.tail, []byte(pasteStart)), bytes.LastIndex(k.tail, []byte(pasteEnd))
	if start >= 0 || end >= 0 {
		k.pasting = start > end
		k.tail = k.tail[max(start, end)+len(pasteEnd):]
	}
	k.tail = append([]byte(nil), k.tail[max(0, len(k.tail)-len(pasteEnd)+1):]...)
}

// screen knows where the cursor is, as far as lines go.
type screen struct {
	mu  sync.Mutex
	to  io.Writer
	mid bool // the cursor isn't at a line's start
	err error
}

// Write implements [io.Writer].
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(p)
}

func (s *screen) write(p []byte) (int, error) {
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	if !bytes.HasPrefix(p, []byte("\x1b[?2004")) { // the switch for pastes moves nothing
		last := p[len(p)-1]
		s.mid = last != '\n' && last != '\r'
	}
	n, err := s.to.Write(p)
	s.err = err
	return n, err
}

// failed is why nothing can be shown any more.
func (s *screen) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// freshLine goes to the start of a line.
func (s *screen) freshLine() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mid {
		_, _ = s.write([]byte("\r\n")) // it is shown or it isn't
	}
}
