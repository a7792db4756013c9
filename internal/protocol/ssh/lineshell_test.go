package ssh

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern"
)

// lineRules is a world in which nothing may be deleted recursively, and a file
// may not be touched unseen.
const lineRules = aliceMay + `---
{kind: Rule, name: no-rm, on: {names: [web-1]}, use: no-recursive-delete, then: deny, message: Name the files.}
`

// types lets OpenSSH's client type keys into a shell of lines.
func (w *world) types(keys string) ran {
	got := w.run(keys, "ssh", "-F", filepath.Join(w.dir, "config"), "-tt", "web-1")
	got.out = strings.NewReplacer("\x1b[?2004h", "", "\x1b[?2004l", "").Replace(got.out) // pastes are marked
	return got
}

// A shell of lines keeps its state, runs what may run, and nothing else: seen by
// OpenSSH's client, against OpenSSH's server.
func TestLineShellOfOpenSSH(t *testing.T) {
	w := newWorld(t, worldOptions{options: "shell: lines", objects: lineRules})
	victim := filepath.Join(w.dir, "victim")
	if err := os.MkdirAll(victim+"/deep", 0o700); err != nil {
		t.Fatal(err)
	}
	got := w.types("cd " + w.dir + "\rX=5\rpwd; echo $X\rrm -rf victim\rrm -r \\\rvictim\recho $?\rls victim\rexit 7\r")
	for _, want := range []string{
		"\r\n" + w.dir + "\r\n5\r\n", `postern: denied by rule "no-rm": Name the files.`, "\r\n126\r\n", "\r\ndeep\r\n", "@web-1:" + w.dir + "$ ",
	} {
		if !strings.Contains(got.out, want) {
			t.Errorf("no %q in %q", want, got.out)
		}
	}
	if got.code != 7 {
		t.Errorf("exit status %d, want 7", got.code)
	}
	if _, err := os.Stat(victim); err != nil {
		t.Error("it ran")
	}
	if c := w.commands(); !strings.Contains(c, "allow shell\n") || !strings.Contains(c, "deny rm path:"+victim+"\n") || !strings.Contains(c, "allow pwd\n") {
		t.Errorf("recorded: %s", c)
	}
	denied := 0
	for _, e := range w.Audit.Entries() {
		if e.Outcome == "deny" && e.Rule == "no-rm" {
			denied++
		}
	}
	if denied != 2 {
		t.Errorf("%d denials in the audit log, want 2", denied)
	}
	var screen strings.Builder
	for _, e := range w.events(postern.EventOutput) {
		screen.WriteString(e.Text)
	}
	if !strings.Contains(screen.String(), w.dir+"$ ") || !strings.Contains(screen.String(), "\r\n5\r\n") {
		t.Errorf("recorded screen: %q", screen.String())
	}
}

// What is typed while a line runs goes to the line, and is recorded.
func TestLineShellInput(t *testing.T) {
	w := newWorld(t, worldOptions{options: "shell: lines", objects: lineRules})
	got := w.types("cat /etc/hostname\rexit\r")
	host, err := os.ReadFile("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got.out, strings.TrimSpace(string(host))) || got.code != 0 {
		t.Errorf("%+v", got)
	}
	if got := w.ssh("-T", "web-1"); got.code != 126 || !strings.Contains(got.err, "needs a terminal") {
		t.Errorf("without a terminal: %+v", got)
	}
	if got := w.types("\x04"); got.code != 0 || !strings.Contains(got.out, "exit") {
		t.Errorf("Ctrl-D: %+v", got)
	}
}

// A secret doesn't reach the screen, nor the recording.
func TestLineShellMasks(t *testing.T) {
	w := newWorld(t, worldOptions{options: "shell: lines", objects: aliceMay + "---\n{kind: Mask, name: pii, on: {names: [web-1]}, detect: [email], with: redact}\n"})
	w.write("mail", "mail to carol.jones@example.org today\n", 0o600)
	got := w.types("cat " + w.dir + "/mail\rexit\r")
	if strings.Contains(got.out, "carol.jones") || !strings.Contains(got.out, "mail to") {
		t.Errorf("%q", got.out)
	}
	for _, e := range w.events(postern.EventOutput) {
		if strings.Contains(e.Text, "carol.jones") {
			t.Errorf("recorded: %q", e.Text)
		}
	}
}
