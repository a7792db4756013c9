package ssh

import (
	"path"
	"strings"

	"postern"
)

// scpCommand reads the command line that an scp client of the old protocol
// runs: "scp -t PATH" writes, "scp -f PATH" reads. A line that isn't exactly
// such a one is none: it is analysed like any other.
func scpCommand(line string) (postern.Command, bool) {
	words := strings.Split(line, " ")
	if len(words) < 3 || words[0] != "scp" {
		return postern.Command{}, false
	}
	to, from := false, false
	i := 1
	for ; i < len(words) && strings.HasPrefix(words[i], "-") && words[i] != "--"; i++ {
		for _, flag := range words[i][1:] {
			switch flag {
			case 't':
				to = true
			case 'f':
				from = true
			case 'r', 'p', 'v', 'd', 'q':
			default:
				return postern.Command{}, false
			}
		}
	}
	if i < len(words) && words[i] == "--" {
		i++
	}
	if to == from || i != len(words)-1 || !plainPath(words[i]) {
		return postern.Command{}, false
	}
	c := command(verbRead, postern.Read, line, postern.Object{Kind: "path", Name: path.Clean(words[i])})
	if to {
		c = command(verbWrite, postern.Write, line, postern.Object{Kind: "path", Name: path.Clean(words[i]), Write: true})
	}
	return unclear(c, "which files it touches is said in scp's old protocol, which follows links unseen; use scp without -O, or sftp"), true
}

// plainPath says whether a shell takes a word for itself: nothing in it is
// expanded, and it is no option.
func plainPath(word string) bool {
	if word == "" || word[0] == '-' || word[0] == '~' {
		return false
	}
	for _, c := range []byte(word) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("_./-+,:@%", c) >= 0:
		default:
			return false
		}
	}
	return true
}
