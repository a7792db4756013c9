package ssh

import (
	"strings"
	"testing"

	"postern"
	"postern/internal/policy"
	"postern/internal/protocol"
)

// types are those that policies of these tests may speak of.
func types() []policy.ProtocolType {
	return append(protocol.PolicyTypes(New(protocol.Options{})), policy.ProtocolType{Name: "postgres"})
}

// sshSet is a set over one SSH resource, with alice's accesses.
func sshSet(t *testing.T, accesses string) *policy.Set {
	t.Helper()
	objects, err := policy.Parse("test.yaml",
		[]byte("{kind: Resource, name: web-1, type: ssh, address: 'h:22', credentials: {username: app, private_key: {env: X}}}\n---\n"+accesses), types()...)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.NewSet(objects, policy.Options{Protocols: types()})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func onWeb() policy.Request {
	return policy.Request{Identity: postern.Identity{Name: "alice", Kind: postern.User}, Resource: "web-1"}
}

func termsIn(set *policy.Set, login string) terms { return agreed(set.Rights(onWeb()), login, "app") }

// sshCommand makes a command of an SSH session as a user of the server.
func sshCommand(login, operation, verb, text string, access postern.Access, paths ...string) postern.Command {
	c := postern.Command{Protocol: "ssh", Verb: verb, Verbs: []string{verb}, Access: access, Text: text, Attrs: []postern.Attr{
		postern.StringAttr(attrLogin, login), postern.StringAttr(attrOperation, operation), postern.BoolAttr(attrResolved, len(paths) > 0 && operation != "exec"),
	}}
	for _, p := range paths {
		c.Objects = append(c.Objects, postern.Object{Kind: "path", Name: p, Write: access >= postern.Write})
	}
	return c
}

func TestSSHPaths(t *testing.T) {
	set := sshSet(t, "{kind: Access, name: files, to: ['user:alice'], on: {names: [web-1]}, ssh: {paths: [/srv/www, /tmp/drop]}}")
	read := func(paths ...string) postern.Command {
		return sshCommand("app", "open", "read", "read", postern.Read, paths...)
	}
	for want, cmds := range map[string][]postern.Command{
		"allow files": {
			read("/srv/www"), read("/srv/www/a/b"), read("/tmp/drop/x\ny"), sshCommand("app", "rename", "rename", "", postern.Write, "/srv/www/a", "/tmp/drop/b"),
			sshCommand("app", "subsystem", "sftp", "subsystem sftp", postern.Control), sshCommand("app", "login", "login", "", postern.Control),
		},
		"deny files": {
			read("/srv/www2"), read("/srv"), read("/"), read("/SRV/www/a"), read("/srv/www/a", "/etc/passwd"),
			sshCommand("app", "rename", "rename", "", postern.Write, "/srv/www/a", "/etc/b"),
			sshCommand("app", "exec", "cat", "cat /srv/www/a", postern.Read, "/srv/www/a"), sshCommand("app", "exec", "rsync", "rsync --server . /srv/www", postern.Unknown),
			sshCommand("app", "shell", "shell", "shell", postern.Admin), sshCommand("app", "line", "shell", "shell", postern.Control),
			sshCommand("app", "subsystem", "unknown", "subsystem x", postern.Unknown), sshCommand("app", "direct-tcpip", "forward", "forward h:1", postern.Admin),
			sshCommand("app", "open", "read", "", postern.Read),
		},
	} {
		for _, c := range cmds {
			d := set.Decide(onWeb(), []postern.Command{c})
			if got := d.Verdict.String() + " " + d.Rule; got != want {
				t.Errorf("%s %+v: %s (%s), want %s", c.Verb, c.Objects, got, d.Reason, want)
			}
		}
	}
}

func TestSSHCommandAndLogins(t *testing.T) {
	set := sshSet(t, `
kind: Access
name: deploys
to: ["user:alice"]
on: {names: [web-1]}
ssh: {logins: [deploy], groups: [www, ops], command: "/opt/deploy; true"}
`)
	run := func(login, operation, text string) string {
		return set.Decide(onWeb(), []postern.Command{
			sshCommand(login, operation, "deploy", text[:len(text)/2], postern.Unknown), sshCommand(login, operation, "true", text[len(text)/2:], postern.Read),
		}).Verdict.String()
	}
	for _, c := range []struct{ login, operation, text, want string }{
		{"deploy", "exec", "/opt/deploy; true", "allow"},
		{"app", "exec", "/opt/deploy; true", "deny"},
		{"deploy", "exec", "/opt/deploy; true ", "deny"},
		{"deploy", "shell", "/opt/deploy; true", "deny"},
		{"deploy", "exec", "/opt/deploy; false", "deny"},
	} {
		if got := run(c.login, c.operation, c.text); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	got := termsIn(set, "")
	if got.login != "deploy" || got.command != "/opt/deploy; true" || strings.Join(got.groups, ",") != "ops,www" {
		t.Errorf("%+v", got)
	}
	if got := termsIn(set, "app"); got.command != "" || got.groups != nil {
		t.Errorf("as another: %+v", got)
	}
	// Another access has no command, so that anything may be asked for, and be denied.
	set = sshSet(t, `
{kind: Access, name: one, to: ["user:alice"], on: {names: [web-1]}, ssh: {command: uptime}}
---
{kind: Access, name: two, to: ["user:alice"], on: {names: [web-1]}, allow: [{verbs: [df]}]}
`)
	if got := termsIn(set, ""); got.login != "app" || got.command != "" {
		t.Errorf("of two: %+v", got)
	}
}

func TestSSHTransfer(t *testing.T) {
	set := sshSet(t, `
{kind: Access, name: little, to: ["user:alice"], on: {names: [web-1]}, ssh: {transfer: {files: 3, bytes: 1MiB}}}
---
{kind: Access, name: more, to: ["user:alice"], on: {names: [web-1]}, allow: [{verbs: [read]}], ssh: {transfer: {bytes: 1GiB}}}
---
{kind: Access, name: much, to: ["user:alice"], on: {names: [web-1]}, allow: [{verbs: [list]}]}
`)
	for verb, want := range map[string]*postern.TransferLimit{
		"write": {Access: "little", Files: 3, Bytes: 1 << 20}, "read": {Access: "more", Bytes: 1 << 30}, "list": nil,
	} {
		d := set.Decide(onWeb(), []postern.Command{sshCommand("app", "open", verb, verb, postern.Read, "/x")})
		if d.Verdict != postern.Allow || (d.Transfer == nil) != (want == nil) || want != nil && *d.Transfer != *want {
			t.Errorf("%s: %+v", verb, d.Transfer)
		}
	}
}

// The section is for SSH alone, and what in it can't be meant is an error.
func TestSSHMistakes(t *testing.T) {
	for section, want := range map[string]string{
		"{}":                                 "says nothing",
		"{paths: [srv]}":                     "is no folder's path",
		"{paths: [/srv/]}":                   "is no folder's path",
		"{paths: ['/srv/*']}":                "is no folder's path",
		"{paths: [/srv/../etc]}":             "is no folder's path",
		"{logins: ['a b']}":                  "is no user's or group's name",
		"{groups: ['group:x']}":              "is no user's or group's name",
		`{command: "a\nb"}`:                  "holds control characters",
		"{command: a, paths: [/srv]}":        "either for one command or for files",
		"{transfer: {}}":                     "bounds nothing",
		"{transfer: {bytes: many}}":          "is no size",
		"{transfer: {files: 0}}":             "expected a number from 1",
		"{transfer: {bytes: 99999999999TB}}": "is no size",
		"{path: [/srv]}":                     `unknown key "path"`,
	} {
		_, err := policy.Parse("f.yaml", []byte("kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\nssh: "+section), types()...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", section, err, want)
		}
	}
	objects, err := policy.Parse("f.yaml", []byte("{kind: Resource, name: orders-db, type: postgres, address: 'h:5432'}\n---\n"+
		"{kind: Access, name: a, to: [everyone], on: {names: ['*']}, ssh: {paths: [/srv]}}"), types()...)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.NewSet(objects, policy.Options{Protocols: types()})
	if err != nil || !strings.Contains(strings.Join(set.Warnings(), "\n"), "it is for SSH resources alone") {
		t.Errorf("%v, %v", err, set.Warnings())
	}
	if o := set.Open(policy.Request{Identity: onWeb().Identity, Resource: "orders-db"}); o.Allowed {
		t.Error("it opens a database")
	}
}

// The canonical form of a section reads as the same section.
func TestSectionRendered(t *testing.T) {
	for _, text := range []string{
		`ssh: {logins: [deploy], groups: [www], paths: [/srv/www, /srv/two words], transfer: {files: 3, bytes: 1048576}}`,
		`ssh: {command: /opt/deploy}`,
		`ssh: {transfer: {bytes: 2147483648}}`,
	} {
		object := "kind: Access\nname: a\nto: [everyone]\non: {names: [web-1]}\n" + text + "\n"
		for range 2 {
			objects, err := policy.Parse("f.yaml", []byte(object), types()...)
			if err != nil {
				t.Fatal(err)
			}
			if object = string(objects[0].Render()); !strings.HasSuffix(object, "\n"+text+"\n") {
				t.Errorf("%s is rendered as:\n%s", text, object)
			}
		}
	}
}

// A section that is none of ours gives nothing: nobody can say what it is for.
func TestForeignSections(t *testing.T) {
	foreign := policy.Right{Sections: []policy.Section{foreignSection{}}}
	got := agreed([]policy.Right{foreign, {Sections: []policy.Section{&section{logins: []string{"deploy"}, groups: []string{"www"}}}}}, "", "app")
	if got.login != "app" || got.groups != nil {
		t.Errorf("%+v", got)
	}
	if got := agreed(nil, "", "app"); got.login != "app" || got.command != "" || got.groups != nil {
		t.Errorf("without any right: %+v", got)
	}
}

type foreignSection struct{ policy.Section }
