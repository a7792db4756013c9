package ssh

import (
	"errors"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"postern"
)

// scpJob is what an scp client of the old protocol has the far side do: "scp -t
// PATH" takes files, "scp -f PATH" gives them.
type scpJob struct {
	takes     bool
	path      string
	recursive bool // -r
	times     bool // -p: modes and times as well
	folder    bool // -d: the path must be a folder
}

// readScp reads the command line that such a client runs. A line that isn't
// exactly such a one is none: it is analysed like any other.
func readScp(line string) (job scpJob, ok bool) {
	words, ok := literalWords(line)
	if !ok || len(words) < 3 || words[0] != "scp" {
		return job, false
	}
	gives := false
	i := 1
	for ; i < len(words) && strings.HasPrefix(words[i], "-") && words[i] != "--"; i++ {
		for _, flag := range words[i][1:] {
			switch flag {
			case 't':
				job.takes = true
			case 'f':
				gives = true
			case 'r':
				job.recursive = true
			case 'p':
				job.times = true
			case 'd':
				job.folder = true
			case 'v', 'q':
			default:
				return job, false
			}
		}
	}
	if i < len(words) && words[i] == "--" {
		i++
	}
	if job.takes == gives || i != len(words)-1 || words[i] == "" || len(words[i]) > maxPath {
		return job, false
	}
	job.path = words[i]
	return job, true
}

// command is the job as one command, where it is told of as a whole.
func (job scpJob) command(line string) postern.Command {
	if job.takes {
		return command(verbWrite, postern.Write, line, postern.Object{Kind: "path", Name: job.path, Write: true})
	}
	return command(verbRead, postern.Read, line, postern.Object{Kind: "path", Name: job.path})
}

// literalWords are the words of a command line in which a shell expands nothing
// but a home folder, which is where relative paths begin.
func literalWords(line string) ([]string, bool) {
	file, err := syntax.NewParser().Parse(strings.NewReader(line), "")
	if err != nil || len(file.Stmts) != 1 || len(file.Last) > 0 {
		return nil, false
	}
	stmt := file.Stmts[0]
	call, ok := stmt.Cmd.(*syntax.CallExpr)
	if !ok || stmt.Background || stmt.Coprocess || stmt.Negated || stmt.Semicolon.IsValid() || len(stmt.Redirs)+len(call.Assigns)+len(stmt.Comments) > 0 {
		return nil, false
	}
	var words []string
	for _, w := range call.Args {
		word, ok := literalWord(w)
		if !ok {
			return nil, false
		}
		words = append(words, word)
	}
	return words, true
}

func literalWord(w *syntax.Word) (string, bool) {
	var out strings.Builder
	for i, part := range w.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			text := part.Value
			if i == 0 && strings.HasPrefix(text, "~") {
				if len(w.Parts) == 1 && text == "~" {
					return ".", true
				}
				rest, ok := strings.CutPrefix(text, "~/")
				if !ok {
					return "", false
				}
				text = "./" + rest
			}
			if !unescape(&out, text, func(c byte) bool { return c >= 0x80 || plainByte(c) || c == '=' || c == '~' }, nil) {
				return "", false
			}
		case *syntax.SglQuoted:
			if part.Dollar {
				return "", false
			}
			out.WriteString(part.Value)
		case *syntax.DblQuoted:
			for _, inner := range part.Parts {
				text, ok := inner.(*syntax.Lit)
				if part.Dollar || !ok || !unescape(&out, text.Value, func(c byte) bool { return c != '!' }, []byte("$`\"\\")) {
					return "", false
				}
			}
		default:
			return "", false
		}
	}
	return out.String(), true
}

// unescape adds a text in which a backslash takes the next byte's meaning away:
// any byte's, or that of the special ones. Others must be plain.
func unescape(out *strings.Builder, text string, plain func(byte) bool, special []byte) bool {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c != '\\' && !plain(c):
			return false
		case c != '\\':
			out.WriteByte(c)
		case i+1 == len(text) || text[i+1] == '\n':
			return false
		case special != nil && !strings.Contains(string(special), text[i+1:i+2]):
			out.WriteByte(c)
		default:
			i++
			out.WriteByte(text[i])
		}
	}
	return true
}

// plainPath says whether a shell takes a word for itself: nothing in it is
// expanded, and it is no option.
func plainPath(word string) bool {
	if word == "" || word[0] == '-' || word[0] == '~' {
		return false
	}
	for _, c := range []byte(word) {
		if !plainByte(c) {
			return false
		}
	}
	return true
}

func plainByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("_./-+,:@%", c) >= 0
}

// scp serves a client of scp's old protocol. The gateway itself is its peer, and
// asks the server by SFTP: each file is decided over, masked and recorded as
// there. A server without SFTP gets the command as it is, where nothing restricts.
func (c *channel) scp(line string, job scpJob, st state) error {
	d, err := c.decide(st.dress([]postern.Command{command("scp", postern.Control, line)}, "scp")...)
	if err != nil {
		return err
	}
	f, reqs, err := c.openFiles(d.N, st)
	if errors.Is(err, errNoSFTP) {
		whole := unclear(job.command(line), "the server has no SFTP, and which files scp's old protocol touches can't be told without")
		return c.exec("exec", line, st.dress([]postern.Command{whole}, "exec"))
	}
	if err != nil {
		return err
	}
	here, there := newConversation()
	f.near, f.passes = there, false
	served := make(chan error, 1)
	go func() {
		err := f.serve(reqs, d.N)
		there.close()
		served <- err
	}()
	talk := newScpTalk(c.ch, here, job)
	status := talk.run()
	here.close()
	talk.files.reading.Wait()
	if err := <-served; err != nil {
		return err
	}
	c.exit(status)
	return nil
}
