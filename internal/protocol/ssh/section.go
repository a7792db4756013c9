package ssh

import (
	"path"
	"slices"
	"strings"
	"unicode"

	"postern"
	"postern/internal/policy"
)

// section narrows what an access is for on SSH resources, under the key ssh.
type section struct {
	logins  []string // users of the server; empty: any that the resource offers
	groups  []string // what the certificates say that the gateway makes for it, besides the user
	command string   // run in place of whatever is asked for; "": none, and anything may be
	paths   []string // folders and files, absolute: only file operations, and only there; empty: anything
	// files and bytes are how much may be transferred in an hour; 0: any.
	files, bytes int64
}

// Section implements [protocol.Sectioner].
func (*Protocol) Section() policy.SectionType {
	return policy.SectionType{Of: "SSH", Decode: decodeSection}
}

func decodeSection(r *policy.Reader) policy.Section {
	s := &section{logins: r.Texts("logins"), groups: r.Texts("groups"), command: r.Text("command"), paths: r.Texts("paths")}
	checkNames(r, "logins", s.logins)
	checkNames(r, "groups", s.groups)
	if strings.ContainsFunc(s.command, unicode.IsControl) {
		r.Fail("command", "holds control characters; it is one line")
	}
	for i, p := range s.paths {
		if !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsAny(p, "*?[") || strings.ContainsFunc(p, unicode.IsControl) {
			r.Fail("paths", "[%d] %s is no folder's path: expected one like /srv/www, absolute, without dots, patterns or a slash at its end", i, policy.Quote(p))
		}
	}
	if s.command != "" && len(s.paths) > 0 {
		r.Fail("paths", "an access is either for one command or for files; make two of it")
	}
	r.Inner("transfer", func(t *policy.Reader) {
		s.files, s.bytes = int64(t.Number("files", 1, 1<<31-1)), t.Size("bytes")
		if t.Empty() {
			r.Fail("transfer", "bounds nothing; expected files, bytes or both")
		}
	})
	return s
}

func checkNames(r *policy.Reader, key string, names []string) {
	for i, name := range names {
		if !validLogin(name) {
			r.Fail(key, "[%d] %s is no user's or group's name", i, policy.Quote(name))
		}
	}
}

// Render implements [policy.Section].
func (s *section) Render(w *policy.Writer) {
	w.Texts("logins", s.logins)
	w.Texts("groups", s.groups)
	w.Text("command", s.command)
	w.Texts("paths", s.paths)
	w.Inner("transfer", func(t *policy.Writer) {
		t.Number("files", s.files)
		t.Number("bytes", s.bytes)
	})
}

// Transfer implements [policy.Section].
func (s *section) Transfer() (files, bytes int64) { return s.files, s.bytes }

// Covers implements [policy.Section].
func (s *section) Covers(c *postern.Command, whole string) (refused string, ok bool) {
	login, operation := c.Attr(attrLogin).String, c.Attr(attrOperation).String
	switch {
	case c.Protocol != Name:
		return "what isn't SSH", false
	case len(s.logins) > 0 && !slices.Contains(s.logins, login):
		return "being " + policy.Quote(login) + " there", false
	case operation == "login":
		return "", true
	case s.command != "":
		if operation == "exec" && whole == s.command {
			return "", true
		}
		return "anything but the command " + policy.Quote(s.command), false
	case len(s.paths) == 0 || c.Access == postern.Control && c.Verb == "sftp" || c.Access == postern.Control && c.Verb == "scp":
		return "", true
	case !c.Attr(attrResolved).Bool:
		return policy.Quote(c.Verb) + ", which can't be kept to paths,", false
	}
	for i := range c.Objects {
		if o := &c.Objects[i]; o.Kind != "path" || !s.holds(o.Name) {
			return policy.Quote(c.Verb) + " outside of " + strings.Join(s.paths, ", ") + " (on " + policy.Quote(o.Name) + ")", false
		}
	}
	return "", len(c.Objects) > 0
}

// holds says whether a path, without links and dots, is one of the section's or below it.
func (s *section) holds(name string) bool {
	return slices.ContainsFunc(s.paths, func(p string) bool {
		return name == p || strings.HasPrefix(name, strings.TrimSuffix(p, "/")+"/")
	})
}
