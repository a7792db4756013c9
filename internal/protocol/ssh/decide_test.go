package ssh

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern"
)

// What an access or a rule denies doesn't run, is said on standard error with
// exit status 126, and leaves the connection as it was.
func TestDeniedCommands(t *testing.T) {
	w := newWorld(t, worldOptions{
		options: "forward: allow, shell: record",
		objects: aliceMay + `---
{kind: Rule, name: no-rm, on: {names: [web-1]}, use: no-recursive-delete, then: deny, message: Name the files.}
---
{kind: Rule, name: no-shell, on: {names: [web-1]}, when: 'command.verb == "shell"', then: deny, message: Commands only.}
---
{kind: Rule, name: no-forward, on: {names: [web-1]}, when: 'command.verb in ["forward", "listen"]', then: deny, message: Nothing is forwarded.}
---
{kind: Rule, name: no-etc, on: {names: [web-1]}, when: 'command.objects.exists(o, o.kind == "path" && o.name.startsWith("/etc"))', then: deny, message: Not there.}
`,
	})
	victim := filepath.Join(w.dir, "victim")
	if err := os.Mkdir(victim, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(w.dir, "link")
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		script, says string
		code         int
	}{
		"a recursive delete":         {`ssh -F $CONFIG $VIA "rm -rf ` + victim + `"`, `postern: denied by rule "no-rm": Name the files.`, 126},
		"one behind sudo and sh":     {`ssh -F $CONFIG $VIA "sudo sh -c 'rm -r ` + victim + `'"`, `"no-rm"`, 126},
		"one that isn't understood":  {`ssh -F $CONFIG $VIA 'echo cm0gLXJmIC8= | base64 -d | sh'`, "can't be understood", 126},
		"a shell":                    {`ssh -F $CONFIG -tt $VIA </dev/null`, "Commands only.", 126},
		"a shell without a terminal": {`echo "rm -rf /" | ssh -F $CONFIG $VIA`, "Commands only.", 126},
		"a file":                     {`echo "get /etc/hostname" | sftp -F $CONFIG $VIA`, "Not there.", 1},
		"a file behind a link":       {`echo "get ` + link + `/hostname" | sftp -F $CONFIG $VIA`, "Not there.", 1},
		"a link to there":            {`echo "symlink /etc/hostname ` + w.dir + `/sneaky" | sftp -F $CONFIG $VIA`, "Not there.", 1},
		"a forwarded connection":     {`ssh -F $CONFIG -W 127.0.0.1:22 $VIA`, "Nothing is forwarded.", 255},
		"the old scp":                {`scp -O -F $CONFIG $VIA:/etc/hostname .`, "Not there.", 1},
		"the old scp, behind a link": {`scp -O -r -F $CONFIG $VIA:` + w.dir + ` got`, "Not there.", 1},
		"the old scp, in a pipe":     {`ssh -F $CONFIG $VIA 'scp -f /etc/hostname | cat'`, "Not there.", 126},
		"another subsystem":          {`ssh -F $CONFIG -s $VIA netconf`, "can't be understood", 126},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.Audit.Entries())
			got := w.sh("web-1", c.script)
			if got.code != c.code && c.code != 1 || !strings.Contains(got.err+got.out, c.says) {
				t.Errorf("got %+v; want %d and %q", got, c.code, c.says)
			}
			denied := 0
			for _, e := range w.Audit.Entries()[before:] {
				if e.Outcome == "deny" {
					denied++
				}
			}
			if denied == 0 {
				t.Error("nothing is in the audit log")
			}
		})
	}
	if _, err := os.Stat(victim); err != nil {
		t.Error("it ran")
	}
	if _, err := os.Lstat(filepath.Join(w.dir, "sneaky")); err == nil {
		t.Error("the link was made")
	}
	if got := w.ssh("web-1", "echo fine"); got.out != "fine\n" || got.code != 0 {
		t.Errorf("what isn't denied: %+v", got)
	}
}

// An access that names paths opens those, by whatever name they are asked for.
func TestAllowedPaths(t *testing.T) {
	w := newWorld(t, worldOptions{objects: "\n---\n{kind: Access, name: none, to: ['user:nobody'], on: {names: [web-1]}}\n"})
	for _, dir := range []string{"open/sub", "closed"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.write("open/a", "a\n", 0o600)
	w.write("open/sub/b", "b\n", 0o600)
	w.write("closed/secret", "secret\n", 0o600)
	if err := os.Symlink("../closed", filepath.Join(w.dir, "open/way")); err != nil {
		t.Fatal(err)
	}
	resource := "{kind: Resource, name: web-1, type: ssh, address: '" + w.server.Addr + "', credentials: {username: " + w.server.User + ", private_key: {env: X}}, options: {host_key: '" + w.server.HostKey + "'}}"
	w.SetObjects(resource + `
---
kind: Access
name: some-files
to: ['user:alice']
on: {names: [web-1]}
allow:
  - {verbs: [read, list], objects: ['path:` + w.dir + `/open', 'path:` + w.dir + `/open/**']}
  - {verbs: [write], objects: ['path:` + w.dir + `/open/sub/*']}
`)
	at := w.dir + "/open/"
	for script, ok := range map[string]bool{
		"get " + at + "a x":                   true,
		"get " + at + "sub/../sub/b x":        true,
		"get " + at + "../closed/secret x":    false,
		"get " + at + "way/secret x":          false,
		"get " + w.dir + "/closed/secret x":   false,
		"ls " + w.dir + "/closed":             false,
		"put askpass " + at + "sub/new":       true,
		"put askpass " + at + "new":           false,
		"put askpass " + at + "way/new":       false,
		"rm " + at + "a":                      false,
		"rename " + at + "a " + at + "sub/a":  false,
		"symlink /etc/passwd " + at + "sub/s": false,
		"chmod 777 " + at + "sub/b":           true,
		"chmod 777 " + at + "a":               false,
	} {
		got := w.run(script+"\n", "sftp", "-F", filepath.Join(w.dir, "config"), "web-1")
		denied := strings.Contains(got.err, "postern: denied by rule")
		if denied == ok {
			t.Errorf("%s: %+v", script, got)
		}
	}
	if got := w.ssh("web-1", "cat "+at+"a"); got.code != 126 {
		t.Errorf("a command: %+v", got)
	}
	for _, e := range w.Recordings.Last().Events() {
		if e.Kind == postern.EventCommand && e.Command.Verb == "" {
			t.Errorf("a command without a verb: %+v", e.Command)
		}
	}
}
