package search

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern"
)

// ErrNoWord is returned for a text that holds nothing to look for.
var ErrNoWord = errors.New("the text to search for holds no word: no letter, digit or underscore")

// ErrManyWords is returned for a text with more words than a search takes.
var ErrManyWords = errors.New("a search takes at most 32 words")

const (
	maxText   = 64 << 10 // bytes of one command in which words are looked for
	maxParams = 4 << 10  // bytes of one parameter
	maxWord   = 64       // bytes of a word: what follows doesn't count
	maxQuery  = 32       // words
)

// Words are what a text can be found by, in order, each once: its runs of
// letters, digits and underscores in lower case, and what underscores divide
// them into. Of a long text only the first 64 KiB count, of a word 64 bytes.
func Words(text string) []string {
	text = text[:min(len(text), maxText)]
	all := make([]string, 0, 16)
	for w := range strings.FieldsFuncSeq(strings.ToLower(text), between) {
		all = append(all, clip(w))
		if strings.Contains(w, "_") {
			for part := range strings.SplitSeq(w, "_") {
				if part != "" {
					all = append(all, clip(part))
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// between says whether a character stands between words.
func between(r rune) bool {
	if r < utf8.RuneSelf {
		return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}
	return !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

func clip(w string) string {
	if len(w) <= maxWord {
		return w
	}
	w = w[:maxWord]
	for len(w) > 0 && !utf8.ValidString(w) {
		w = w[:len(w)-1]
	}
	return w
}

// commandWords are the words of a command's text and of its parameters.
func commandWords(c *postern.Command) []string {
	all := Words(c.Text)
	if len(c.Params) == 0 {
		return all
	}
	for i := range c.Params {
		if p := &c.Params[i]; !p.Null && utf8.Valid(p.Value) {
			all = append(all, Words(string(p.Value[:min(len(p.Value), maxParams)]))...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Query is what somebody looks for: commands that hold each of its words, and
// each phrase that stood in quotation marks, without regard to case and to how
// words are spaced.
type Query struct {
	words   []string
	phrases []string
}

// Parse reads a text to search for.
func Parse(text string) (Query, error) {
	q := Query{words: Words(text)}
	switch {
	case len(q.words) == 0:
		return q, ErrNoWord
	case len(q.words) > maxQuery:
		return q, ErrManyWords
	}
	for i, piece := range strings.Split(text, `"`) {
		if phrase := spaced(piece); i%2 == 1 && phrase != "" {
			q.phrases = append(q.phrases, phrase)
		}
	}
	return q, nil
}

// Size is the number of words.
func (q Query) Size() int { return len(q.words) }

// Match says whether a command, as it is shown, is one that the query is after.
func (q Query) Match(c *postern.Command) bool {
	have := commandWords(c)
	for _, w := range q.words {
		if _, ok := slices.BinarySearch(have, w); !ok {
			return false
		}
	}
	text := ""
	for _, p := range q.phrases {
		if text == "" {
			text = spaced(c.Text)
		}
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// maxExcerpt is how much of a long command is shown, in bytes, and before how
// much of it what was looked for stands.
const (
	maxExcerpt    = 2000
	excerptBefore = 200
)

// Excerpt is a text, or of a long one the piece around the first of the words.
func (q Query) Excerpt(text string) string {
	if len(text) <= maxExcerpt {
		return text
	}
	first, low := len(text), strings.ToLower(text)
	for _, w := range q.words {
		if i := strings.Index(low, w); i >= 0 {
			first = min(first, i)
		}
	}
	from := max(0, min(first, len(text))-excerptBefore)
	piece := text[from:min(len(text), from+maxExcerpt)]
	if from > 0 {
		piece = "…" + piece
	}
	if from+maxExcerpt < len(text) {
		piece += "…"
	}
	return strings.ToValidUTF8(piece, "")
}

// spaced is a text in lower case with one space between words.
func spaced(text string) string { return strings.Join(strings.Fields(strings.ToLower(text)), " ") }
