package lines

import (
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"postern"
	"postern/internal/protocol/ssh/shell"
)

const (
	// listTime is how long a list of names for completion may take.
	listTime = 3 * time.Second
	// maxList bounds that list.
	maxList = 256 << 10
	// maxShown is how many names are shown at once.
	maxShown = 100
)

// complete gives the endings that the last word of a line can have: names of
// files on the server. They are listed with ls, which is decided over and
// recorded as any other command; one that would be denied, or would have to be
// reviewed, isn't run.
func (s *Shell) complete(line string) []string {
	word, ok := lastWord(line)
	s.mu.Lock()
	far := s.far
	s.mu.Unlock()
	if !ok || far == nil {
		return nil
	}
	dir, base := path.Split(word)
	folder := far.dir
	switch {
	case strings.HasPrefix(dir, "/"):
		folder = dir
	case strings.HasPrefix(dir, "~/"):
		folder = far.home + "/" + dir[2:]
	case dir != "":
		folder = far.dir + "/" + dir
	}
	var endings []string
	for _, name := range s.list(folder) {
		if rest, ok := strings.CutPrefix(name, base); ok && (base != "" || !strings.HasPrefix(name, ".")) {
			endings = append(endings, rest)
		}
	}
	slices.Sort(endings)
	return endings
}

// list are the names in a folder, folders with a slash.
func (s *Shell) list(folder string) []string {
	text := "ls -1Ap -- " + quote(path.Clean(folder)+"/")
	cmds := shell.Analyse(text, shell.State{}).Commands
	if s.cfg.Preview(cmds).Verdict != postern.Allow {
		return nil
	}
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(running, listTime)
	defer cancel()
	d, err := s.cfg.Decide(ctx, func(string) {}, cmds)
	if err != nil || d.Verdict != postern.Allow {
		return nil
	}
	p, err := s.cfg.Open(ctx, text, nil)
	if err != nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Close() })
	defer stop()
	defer func() { _ = p.Close() }()
	_ = p.CloseWrite()
	out, err := io.ReadAll(io.LimitReader(p, maxList))
	if err != nil && len(out) == 0 {
		return nil
	}
	var names []string
	for name := range strings.Lines(string(out)) {
		if name = strings.TrimSuffix(name, "\n"); name != "" && printable(name) == name {
			names = append(names, name)
		}
	}
	return names
}

// lastWord is the word at the end of a line, as it stands for a file's name. It
// isn't one if anything in it is quoted or expanded but by single backslashes.
func lastWord(line string) (string, bool) {
	var word strings.Builder
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', ';', '|', '&', '(', ')', '<', '>', '=':
			word.Reset()
		case '\\':
			if i++; i < len(line) {
				word.WriteByte(line[i])
			}
		case '\'', '"', '$', '`', '*', '?', '[', '{':
			return "", false
		default:
			word.WriteByte(c)
		}
	}
	return word.String(), true
}

// escaped writes a part of a name so that a shell reads it as it is.
func escaped(s string) string {
	var b strings.Builder
	for _, c := range s {
		if strings.ContainsRune(" \t\\'\"$`*?[]{}()<>|&;!#~=^", c) {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// completed puts in what all endings have in common, or shows them.
func (e *editor) completed(line string, pos int) (string, int, bool) {
	endings := e.complete(line[:pos])
	if len(endings) == 0 {
		return line, pos, true
	}
	common := endings[0]
	for _, x := range endings[1:] {
		for !strings.HasPrefix(x, common) {
			common = common[:len(common)-1]
		}
	}
	common = strings.ToValidUTF8(common, "")
	add := escaped(common)
	if len(endings) == 1 && !strings.HasSuffix(common, "/") {
		add += " "
	}
	if add != "" {
		return line[:pos] + add + line[pos:], pos + len(add), true
	}
	word, _ := lastWord(line[:pos])
	e.offer(path.Base("/"+word), endings, word)
	return line, pos, true
}

// offer shows what a word can be, above the line that is being edited.
func (e *editor) offer(base string, endings []string, word string) {
	if word == "" || strings.HasSuffix(word, "/") {
		base = ""
	}
	var b strings.Builder
	for i, x := range endings {
		if i == maxShown {
			b.WriteString("…")
			break
		}
		b.WriteString(printable(base+x) + "  ")
	}
	e.mu.Lock()
	t := e.t
	e.mu.Unlock()
	_, _ = t.Write([]byte(strings.TrimRight(b.String(), " ") + "\r\n")) // shown or not
}
