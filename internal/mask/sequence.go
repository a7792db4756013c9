package mask

// sequence reads a terminal's control sequences (ECMA-48), and says what each
// byte shows.
type sequence struct {
	state  sequenceState
	from   int // where in the held bytes the sequence begins, or the byte
	number int // the last parameter
}

type sequenceState uint8

const (
	inText    sequenceState = iota
	inEscape                // after ESC
	inControl               // after ESC [
	inString                // a title, or a device's own
	inStringEscape
)

// What a byte may show, besides a character.
const (
	nothing = -1 - iota
	eraseLast
	repeatLast
)

const (
	maxRepeat   = 512
	maxSequence = 256
)

// next takes the byte at index i. It returns the character that is shown, and
// how often.
func (s *sequence) next(b byte, i int) (show, times int) {
	if (s.state == inEscape || s.state == inControl) && i-s.from > maxSequence {
		s.state = inText // it has no end: what follows is looked at as text
	}
	switch s.state {
	case inText:
		s.from = i
		return s.plain(b)
	case inEscape:
		return s.afterEscape(b)
	case inControl:
		return s.parameter(b)
	case inString:
		switch b {
		case 0x07:
			s.state = inText
			return '\n', 1
		case 0x1b:
			s.state, s.from = inStringEscape, i
			return nothing, 0
		case 0x18, 0x1a: // cancelled
			s.state = inText
			return nothing, 0
		}
		s.from = i
		if b < ' ' {
			return nothing, 0
		}
		return int(b), 1
	default: // inStringEscape
		s.state = inText
		if b == '\\' {
			return '\n', 1
		}
		s.state = inEscape
		return s.afterEscape(b)
	}
}

func (s *sequence) plain(b byte) (show, times int) {
	switch {
	case b == 0x1b:
		s.state = inEscape
		return nothing, 0
	case b == '\b':
		return eraseLast, 1
	case b == '\v' || b == '\f':
		return '\n', 1
	case b == '\t' || b == '\n' || b == '\r':
		return int(b), 1
	case b < ' ' || b == 0x7f:
		return nothing, 0 // a terminal passes over it
	}
	return int(b), 1
}

func (s *sequence) afterEscape(b byte) (show, times int) {
	switch {
	case b == '[':
		s.state, s.number = inControl, 0
		return nothing, 0
	case b == ']' || b == 'P' || b == 'X' || b == '^' || b == '_':
		s.state = inString
		return '\n', 1 // what is in it doesn't go on what came before
	case b >= ' ' && b <= '/': // an intermediate byte: more comes
		return nothing, 0
	case b == 0x1b:
		return nothing, 0
	}
	s.state = inText
	if b == 'D' || b == 'E' || b == 'M' || b == 'c' { // moves to another line
		return '\n', 1
	}
	return nothing, 0
}

func (s *sequence) parameter(b byte) (show, times int) {
	switch {
	case b >= '0' && b <= '9':
		s.number = min(s.number*10+int(b-'0'), maxRepeat)
		return nothing, 0
	case b >= ' ' && b <= '?':
		s.number = 0
		return nothing, 0
	case b == 0x18 || b == 0x1a:
		s.state = inText
		return nothing, 0
	case b == 0x1b:
		s.state = inEscape
		return nothing, 0
	case b < ' ':
		return nothing, 0
	}
	s.state = inText
	times = max(s.number, 1)
	switch b {
	case 'b': // REP: the last character again
		return repeatLast, times
	case 'C', 'a': // the cursor moves over what is blank
		return ' ', 1
	case 'D': // … or back over what is to be written again
		return eraseLast, 1
	case 'A', 'B', 'E', 'F', 'G', 'H', 'd', 'e', 'f', '`', 'r', 's', 'u':
		return '\n', 1 // it goes on elsewhere
	}
	return nothing, 0
}

// start is where an unfinished sequence begins, or end.
func (s *sequence) start(end int) int {
	if s.state == inText || s.state == inString {
		return end
	}
	return min(s.from, end)
}

// move tells that n bytes before this one are gone.
func (s *sequence) move(n int) { s.from = max(s.from-n, 0) }
