package policy

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"postern"
)

// typeSSH is the type of resource that the section ssh of an access is about.
const typeSSH = "ssh"

// SSH narrows what an access is for on SSH resources: what it doesn't cover,
// another access has to.
type SSH struct {
	Logins  []string // users of the server; empty: any that the resource offers
	Groups  []string // what the certificates say that the gateway makes for it, besides the user
	Command string   // run in place of whatever is asked for; "": none, and anything may be
	Paths   []string // folders and files, absolute: only file operations, and only there; empty: anything
	// Files and Bytes are how much may be transferred in an hour; 0: any.
	Files int64
	Bytes int64
}

// The facts that the protocol states and the section goes by.
const (
	attrLogin     = "login"
	attrOperation = "operation"
	attrResolved  = "resolved"
)

func (m *mapping) ssh() *SSH {
	in := m.inner("ssh")
	if in == nil {
		return nil
	}
	s := &SSH{Logins: in.texts("logins"), Groups: in.texts("groups"), Command: in.text("command"), Paths: in.texts("paths")}
	for key, names := range map[string][]string{"logins": s.Logins, "groups": s.Groups} {
		for i, name := range names {
			if !validLogin(name) {
				in.fail(key, "[%d] %s is no user's or group's name", i, shown(name))
			}
		}
	}
	if strings.ContainsFunc(s.Command, unicode.IsControl) {
		in.fail("command", "holds control characters; it is one line")
	}
	for i, p := range s.Paths {
		if !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsAny(p, "*?[") || strings.ContainsFunc(p, unicode.IsControl) {
			in.fail("paths", "[%d] %s is no folder's path: expected one like /srv/www, absolute, without dots, patterns or a slash at its end", i, shown(p))
		}
	}
	if s.Command != "" && len(s.Paths) > 0 {
		in.fail("paths", "an access is either for one command or for files; make two of it")
	}
	if t := in.inner("transfer"); t != nil {
		s.Files, s.Bytes = int64(t.number("files", 1, 1<<31-1, 0)), t.size("bytes")
		t.done()
		if len(t.keys) == 0 {
			in.fail("transfer", "bounds nothing; expected files, bytes or both")
		}
	}
	in.done()
	if len(in.keys) == 0 {
		m.fail("ssh", "says nothing; expected logins, groups, command, paths or transfer")
	}
	return s
}

// validLogin says whether a name may be that of a server's user or group.
func validLogin(name string) bool {
	const most = 64
	for i, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		case i > 0 && (c == '-' || c == '.' || c == '$'):
		default:
			return false
		}
	}
	return name != "" && len(name) <= most
}

// size reads "512MiB", "2GB" and plain numbers of bytes; 0 when it is absent.
func (m *mapping) size(key string) int64 {
	if n := m.values[key]; n != nil && n.ShortTag() == "!!int" {
		return int64(m.number(key, 1, maxBucket, 0))
	}
	text := m.text(key)
	if text == "" {
		return 0
	}
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB", "KB", "MB", "GB", "TB"} {
		digits, ok := strings.CutSuffix(text, suffix)
		if !ok {
			continue
		}
		unit := int64(1) << (10 * (i%4 + 1))
		if i >= 4 {
			unit = []int64{1e3, 1e6, 1e9, 1e12}[i%4]
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64); err == nil && n > 0 && n <= (1<<62)/unit {
			return n * unit
		}
	}
	m.fail(key, "%s is no size; expected one like 512MiB", shown(text))
	return 0
}

func renderSSH(t tree, s *SSH) {
	if s == nil {
		return
	}
	in := newFlow()
	in.texts("logins", s.Logins)
	in.texts("groups", s.Groups)
	in.text("command", s.Command)
	in.texts("paths", s.Paths)
	transfer := newFlow()
	transfer.number("files", int(s.Files), 0)
	transfer.number("bytes", int(s.Bytes), 0)
	in.tree("transfer", transfer)
	t.tree("ssh", in)
}

// covers says whether a command is what the section is for. whole is the text of
// the message that the command is in. What isn't is worded in refused.
func (s *SSH) covers(c *postern.Command, whole string) (refused string, ok bool) {
	login, operation := c.Attr(attrLogin).String, c.Attr(attrOperation).String
	switch {
	case s == nil:
		return "", true
	case c.Protocol != typeSSH:
		return "what isn't SSH", false
	case len(s.Logins) > 0 && !slices.Contains(s.Logins, login):
		return "being " + shown(login) + " there", false
	case operation == "login":
		return "", true
	case s.Command != "":
		if operation == "exec" && whole == s.Command {
			return "", true
		}
		return "anything but the command " + shown(s.Command), false
	case len(s.Paths) == 0 || c.Access == postern.Control && c.Verb == "sftp" || c.Access == postern.Control && c.Verb == "scp":
		return "", true
	case !c.Attr(attrResolved).Bool:
		return shown(c.Verb) + ", which can't be kept to paths,", false
	}
	for i := range c.Objects {
		if o := &c.Objects[i]; o.Kind != "path" || !s.holds(o.Name) {
			return shown(c.Verb) + " outside of " + strings.Join(s.Paths, ", ") + " (on " + shown(o.Name) + ")", false
		}
	}
	return "", len(c.Objects) > 0
}

// holds says whether a path, without links and dots, is one of the section's or below it.
func (s *SSH) holds(name string) bool {
	return slices.ContainsFunc(s.Paths, func(p string) bool {
		return name == p || strings.HasPrefix(name, strings.TrimSuffix(p, "/")+"/")
	})
}

// transfer is how much may be transferred by an access; nil: any amount.
func (a *access) transfer() *postern.TransferLimit {
	s := a.spec.SSH
	if s == nil || s.Files == 0 && s.Bytes == 0 {
		return nil
	}
	return &postern.TransferLimit{Access: a.object.Name, Files: s.Files, Bytes: s.Bytes}
}

// looser is the limit of two that lets more pass; nil is none.
func looser(a, b *postern.TransferLimit) *postern.TransferLimit {
	switch {
	case a == nil || b == nil:
		return nil
	case more(a.Bytes, b.Bytes) || a.Bytes == b.Bytes && more(a.Files, b.Files):
		return a
	}
	return b
}

// tighter is the limit of two that lets less pass.
func tighter(a, b *postern.TransferLimit) *postern.TransferLimit {
	switch {
	case a == nil:
		return b
	case b == nil || looser(a, b) == b:
		return a
	}
	return b
}

// more compares bounds of which 0 is none.
func more(a, b int64) bool { return b != 0 && (a == 0 || a > b) }

// SSHTerms are what an identity's accesses say, together, of its sessions on an
// SSH resource.
type SSHTerms struct {
	Login   string   // as whom, on the server; "": nobody whom the accesses name
	Groups  []string // for the certificate
	Command string   // run in place of whatever is asked for; "": what is asked for runs, if it may
}

// SSH says on what terms somebody is on an SSH resource as a user of the server:
// login, or when that is "", the resource's own or the first that the accesses
// name. They decide nothing: each command is decided over as well.
func (s *Set) SSH(r Request, login string) SSHTerms {
	b := s.resources[r.Resource]
	if b == nil {
		return SSHTerms{Login: login}
	}
	var room [maxActors]*postern.Identity
	rights, _ := b.rights(&r, chain(&r.Identity, room[:0]))
	t := SSHTerms{Login: login}
	if login == "" {
		t.Login = defaultLogin(rights, b.resource.Credentials.Username)
	}
	for i := range rights {
		groups, command := rights[i].ssh(t.Login)
		if t.Command == "" {
			t.Command = command
		}
		if i == 0 {
			t.Groups = groups
		} else if rights[i].accesses[0].object.Kind == KindAccess { // a delegation says nothing of groups
			t.Groups = slices.DeleteFunc(t.Groups, func(g string) bool { return !slices.Contains(groups, g) })
		}
	}
	return t
}

// defaultLogin is as whom all of the rights let somebody in that didn't say.
func defaultLogin(rights []right, own string) string {
	candidates := []string{own}
	for i := range rights {
		for _, a := range rights[i].accesses {
			if a.spec.SSH != nil {
				candidates = append(candidates, a.spec.SSH.Logins...)
			}
		}
	}
	for _, login := range candidates {
		if !slices.ContainsFunc(rights, func(r right) bool {
			return !slices.ContainsFunc(r.accesses, func(a *access) bool { return a.spec.SSH.takes(login) })
		}) {
			return login
		}
	}
	return own // which is then refused, and told why
}

func (s *SSH) takes(login string) bool {
	return s == nil || len(s.Logins) == 0 || slices.Contains(s.Logins, login)
}

// ssh is what one member's accesses say of a login: all groups, and the command
// if there is nothing but one.
func (own *right) ssh(login string) (groups []string, command string) {
	forced := true
	for _, a := range own.accesses {
		s := a.spec.SSH
		if !s.takes(login) {
			continue
		}
		switch {
		case s == nil || s.Command == "":
			forced = false
		case command == "":
			command = s.Command
		case command != s.Command:
			forced = false
		}
		if s != nil {
			groups = append(groups, s.Groups...)
		}
	}
	slices.Sort(groups)
	if groups = slices.Compact(groups); !forced {
		command = ""
	}
	return groups, command
}
