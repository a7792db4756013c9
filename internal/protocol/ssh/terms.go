package ssh

import (
	"slices"

	"postern/internal/gate"
	"postern/internal/policy"
)

// terms are what an identity's accesses say, together, of its sessions on a
// resource. They decide nothing: each command is decided over as well.
type terms struct {
	login   string   // as whom, on the server; "": nobody whom the accesses name
	groups  []string // for the certificate
	command string   // run in place of whatever is asked for; "": what is asked for runs, if it may
}

// termsOf says on what terms a session is here as one of the server's users:
// login, or when that is "", the resource's own or the first that the accesses
// name.
func termsOf(s *gate.Session, login string) terms {
	return agreed(s.Rights(), login, s.Resource().Credentials.Username)
}

// agreed are the terms that all of the rights agree to; own is the resource's
// own login.
func agreed(rights []policy.Right, login, own string) terms {
	t := terms{login: login}
	if login == "" {
		t.login = defaultLogin(rights, own)
	}
	for i, right := range rights {
		groups, command := said(right, t.login)
		if t.command == "" {
			t.command = command
		}
		switch {
		case i == 0:
			t.groups = groups
		case !right.Delegated: // a delegation says nothing of groups
			t.groups = slices.DeleteFunc(t.groups, func(g string) bool { return !slices.Contains(groups, g) })
		}
	}
	return t
}

// defaultLogin is as whom all of the rights let somebody in that didn't say.
func defaultLogin(rights []policy.Right, own string) string {
	candidates := []string{own}
	for _, right := range rights {
		for _, s := range sections(right) {
			if s != nil {
				candidates = append(candidates, s.logins...)
			}
		}
	}
	for _, login := range candidates {
		if !slices.ContainsFunc(rights, func(r policy.Right) bool {
			return !slices.ContainsFunc(sections(r), func(s *section) bool { return s.takes(login) })
		}) {
			return login
		}
	}
	return own // which is then refused, and told why
}

// sections are those of a right's accesses; nil for an access without one.
func sections(right policy.Right) []*section {
	var all []*section
	for _, one := range right.Sections {
		s, ok := one.(*section)
		if ok || one == nil {
			all = append(all, s)
		}
	}
	return all
}

// takes says whether the section is for one of the server's users.
func (s *section) takes(login string) bool {
	return s == nil || len(s.logins) == 0 || slices.Contains(s.logins, login)
}

// said is what one member's accesses say of a login: all groups, and the command
// if there is nothing but one.
func said(right policy.Right, login string) (groups []string, command string) {
	forced := true
	for _, s := range sections(right) {
		if !s.takes(login) {
			continue
		}
		switch {
		case s == nil || s.command == "":
			forced = false
		case command == "":
			command = s.command
		case command != s.command:
			forced = false
		}
		if s != nil {
			groups = append(groups, s.groups...)
		}
	}
	slices.Sort(groups)
	if groups = slices.Compact(groups); !forced {
		command = ""
	}
	return groups, command
}
