// Package shell says what a text would do if a POSIX shell or bash ran it. It
// is pure: text in, commands out; it runs nothing and looks at nothing.
//
// The text is parsed as bash parses it and walked as bash would run it, with
// what is known of variables, the working directory and functions. Programs
// that run others (sudo, xargs, find -exec, sh -c …) are looked through where
// what they run stands in the text. What can't be told from the text (a
// command's name in a variable that something else fills, code handed to an
// interpreter, a script, a program that isn't known here) makes the command
// [postern.Unknown]: under any restriction that is refused. There is no third
// way: the analyser never guesses in the client's favour.
//
// What it can't see, because it isn't in the text: symbolic links, programs
// that were replaced on the server, what a login shell's start-up files define,
// and login shells other than those of the Bourne family.
package shell

import (
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"

	"postern"
)

// The facts that this package states about commands.
const (
	attrRecursiveDelete = "recursive_delete"
	attrFileAccess      = "file_access"
	attrInterpreter     = "interpreter"
	attrPrivileged      = "privileged"
	attrHasGlob         = "has_glob"
	attrBackground      = "background"
	attrInteractive     = "interactive"
	attrMulti           = "multi"
	attrHosts           = "hosts"
)

// Attrs declares the facts.
func Attrs() []postern.AttrType {
	return []postern.AttrType{
		{Name: attrRecursiveDelete, Kind: postern.AttrBool, Doc: "It deletes a folder with what is in it: rm -r, find -delete, rsync --delete …"},
		{Name: attrFileAccess, Kind: postern.AttrBool, Doc: "It reads a file that may keep credentials: by its name, or because the name isn't known."},
		{Name: attrInterpreter, Kind: postern.AttrBool, Doc: "It hands code to an interpreter: sh -c, eval, python -c …"},
		{Name: attrPrivileged, Kind: postern.AttrBool, Doc: "It runs something as another user or in another root: sudo, su, chroot …"},
		{Name: attrHasGlob, Kind: postern.AttrBool, Doc: "It names files by a pattern: *, ?, [a-z]."},
		{Name: attrBackground, Kind: postern.AttrBool, Doc: "It leaves something running in the background."},
		{Name: attrInteractive, Kind: postern.AttrBool, Doc: "It runs a program that takes commands from the keyboard: an editor, a pager on a terminal."},
		{Name: attrMulti, Kind: postern.AttrBool, Doc: "The text holds several statements."},
		{Name: attrHosts, Kind: postern.AttrStrings, Doc: "The hosts that it names as a peer: curl, ssh, rsync …"},
	}
}

// maxText is how long a text may be.
const maxText = 64 << 10

// Incomplete says whether text ends in the middle of a statement, so that a
// shell would wait for more: an open quote, a here-document, a loop without its
// done, a backslash at the end.
func Incomplete(text string) bool {
	if unreadable(text) != "" {
		return false
	}
	if n := len(text) - len(strings.TrimRight(text, `\`)); n%2 == 1 {
		return true
	}
	_, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	return syntax.IsIncomplete(err) || err != nil && strings.Contains(err.Error(), "unclosed here-document")
}

// Result is what was found out about a text.
type Result struct {
	// Commands are the statements of the text, one each; their texts, joined,
	// are the text.
	Commands []postern.Command
	// After is the shell's state when the text has run. It is meaningful only
	// when the text did run.
	After State
}

// Analyse says what text does in a shell that stands in state st.
func Analyse(text string, st State) Result {
	st = st.clone()
	if problem := unreadable(text); problem != "" {
		st.lost(problem)
		return Result{Commands: []postern.Command{unknown(text, problem)}, After: st}
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	if err != nil {
		st.lost("a line that could not be parsed")
		return Result{
			Commands: []postern.Command{unknown(text, "it isn't valid for a shell: "+parseProblem(err))},
			After:    st,
		}
	}
	a := &analyzer{budget: maxSteps, builtins: builtins(), specials: specials()}
	return Result{Commands: a.file(file, text, &st), After: st}
}

// unreadable says why a text isn't even parsed: where shells disagree about
// what the bytes are, nobody can say what they do.
func unreadable(text string) string {
	if len(text) > maxText {
		return "it is too long"
	}
	if !utf8.ValidString(text) {
		return "it isn't valid UTF-8"
	}
	for _, r := range text {
		switch {
		case r == '\t', r == '\n':
		case r < ' ', r == 0x7f, 0x80 <= r && r < 0xa0:
			return "it holds control characters"
		case r == 0x200e, r == 0x200f, 0x202a <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069:
			return "it holds characters that turn the direction of writing, so that it doesn't read as it runs"
		}
	}
	return ""
}

func parseProblem(err error) string {
	text := err.Error()
	if _, rest, ok := strings.Cut(text, ": "); ok {
		text = rest
	}
	return text
}

func unknown(text, problem string) postern.Command {
	return postern.Command{
		Protocol: protocolName, Verb: postern.VerbUnknown, Verbs: []string{postern.VerbUnknown},
		Text: text, Problem: problem,
	}
}

// protocolName is the protocol whose commands these are.
const protocolName = "ssh"

// file analyses a text's statements one after another. The text between two
// statements belongs to the one before it.
func (a *analyzer) file(file *syntax.File, text string, st *State) []postern.Command {
	if len(file.Stmts) == 0 {
		return []postern.Command{{
			Protocol: protocolName, Verb: "nothing", Verbs: []string{"nothing"}, Access: postern.Control, Text: text, State: st.String(),
		}}
	}
	var cmds []postern.Command
	start := 0
	for i, stmt := range file.Stmts {
		end := len(text)
		if i+1 < len(file.Stmts) {
			end = int(file.Stmts[i+1].Pos().Offset()) //nolint:gosec // bounded by maxText
			if redirs := file.Stmts[i+1].Redirs; len(redirs) > 0 {
				end = min(end, int(redirs[0].Pos().Offset())) //nolint:gosec // as above
			}
			end = max(end, start)
		}
		before := st.String()
		a.eff = &effects{}
		a.stmt(stmt, st)
		cmd := a.eff.command(text[start:end])
		cmd.State = before
		if len(file.Stmts) > 1 {
			cmd.Attrs = append(cmd.Attrs, postern.BoolAttr(attrMulti, true))
		}
		cmds = append(cmds, cmd)
		start = end
	}
	return cmds
}
