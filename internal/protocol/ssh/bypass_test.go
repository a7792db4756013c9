package ssh

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern"
)

// Variables that change what a command means, or that name files, don't pass,
// whatever a resource's patterns say.
func TestSmuggledEnvironment(t *testing.T) {
	w := newWorld(t, worldOptions{options: "env: '*'"})
	c := w.client(t)
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []variable{
		{"LD_PRELOAD", "/tmp/x.so"},
		{"BASH_ENV", "/tmp/x"},
		{"ENV", "/tmp/x"},
		{"PATH", "/tmp"},
		{"IFS", "x"},
		{"GIT_SSH_COMMAND", "x"},
		{"PROMPT_COMMAND", "x"},
		{"LC_ALL", "../../tmp/x"},
		{"LANG", "/tmp/x"},
		{"BASH_FUNC_ls%%", "() { x; }"},
	} {
		if err := session.Setenv(v.Name, v.Value); err == nil {
			t.Errorf("%s=%s passes", v.Name, v.Value)
		}
	}
	if err := session.Setenv("LC_TIME", "C.UTF-8"); err != nil {
		t.Error(err)
	}
}

// The server's own SFTP program, run as a command or under another name, isn't
// a way around what is decided over files.
func TestFilesPastTheSubsystem(t *testing.T) {
	w := newWorld(t, worldOptions{objects: aliceMay + secretMask})
	for _, script := range []string{
		`ssh -F $CONFIG $VIA /usr/lib/openssh/sftp-server </dev/null`, `ssh -F $CONFIG $VIA internal-sftp </dev/null`,
		`ssh -F $CONFIG -s $VIA internal-sftp </dev/null`, `ssh -F $CONFIG -s $VIA ' sftp' </dev/null`,
		`ssh -F $CONFIG $VIA "$(printf 'ls\rrm -rf /nowhere')"`,
	} {
		if got := w.sh("web-1", script); got.code == 0 || !strings.Contains(got.err, "postern: denied by rule") {
			t.Errorf("%s: %+v", script, got)
		}
	}
	// scp's old protocol is SFTP to the gateway, and so are its masks.
	if got := w.sh("web-1", `scp -O -F $CONFIG $VIA:/etc/hostname x`); got.code != 1 || !strings.Contains(got.err, "postern: masks apply on web-1") {
		t.Errorf("scp -O: %+v", got)
	}
}

// A mask that is made while a shell runs binds that shell: it ends before it
// shows anything more.
func TestMaskedMeanwhile(t *testing.T) {
	w := newWorld(t, worldOptions{options: "shell: record"})
	w.write("plain", "id "+theSecret+"\n", 0o600)
	p := w.sit(t, "")
	p.typing("echo re\"\"ady\r")
	p.sees("ready")
	resource := "{kind: Resource, name: web-1, type: ssh, address: '" + w.server.Addr + "', credentials: {username: " + w.server.User +
		", private_key: {env: X}}, options: {shell: record, host_key: '" + w.server.HostKey + "'}}"
	w.SetObjects(resource + aliceMay + secretMask)
	p.typing("cat " + w.dir + "/plain\r")
	p.sees("postern: the policy has changed for what runs here")
	_ = p.session.Wait()
	for _, e := range w.events(postern.EventOutput) {
		if strings.Contains(e.Text, theSecret) {
			t.Error("the recording has it")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Contains(p.screen.String(), theSecret) {
		t.Error("it is on the screen")
	}
}

// A client of scp's old protocol may say what it likes: names that lead
// elsewhere aren't taken, and links on the server are decided over as what they
// lead to.
func TestOldScpNames(t *testing.T) {
	w := newWorld(t, worldOptions{})
	for _, dir := range []string{"open/sub", "closed"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.write("closed/secret", "secret\n", 0o600)
	w.write("open/plain", "plain\n", 0o600)
	for name, to := range map[string]string{"open/way": "../closed", "open/file": "../closed/secret", "open/dangling": "../closed/made", "open/sub/up": "../.."} {
		if err := os.Symlink(to, filepath.Join(w.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.SetObjects("{kind: Resource, name: web-1, type: ssh, address: '" + w.server.Addr + "', credentials: {username: " + w.server.User +
		", private_key: {env: X}}, options: {host_key: '" + w.server.HostKey + "'}}" + `
---
{kind: Access, name: files, to: ['user:alice'], on: {names: [web-1]}, allow: [{verbs: [list, read, write], objects: ['path:` + w.dir + `/open', 'path:` + w.dir + `/open/**']}]}
`)
	for name, script := range map[string]string{
		"a name with a slash":  `printf 'C0644 1 ../closed/made\nx\0' | ssh -F $CONFIG $VIA "scp -t $PWD/open"`,
		"dots":                 `printf 'D0755 0 ..\nD0755 0 closed\nC0644 1 made\nx\0E\nE\n' | ssh -F $CONFIG $VIA "scp -r -t $PWD/open"`,
		"no name":              `printf 'C0644 1 \nx\0' | ssh -F $CONFIG $VIA "scp -t $PWD/open"`,
		"through a link":       `printf 'C0644 1 made\nx\0' | ssh -F $CONFIG $VIA "scp -t $PWD/open/way"`,
		"onto a link":          `printf 'C0644 1 dangling\nx\0' | ssh -F $CONFIG $VIA "scp -t $PWD/open"`,
		"into a linked folder": `printf 'D0755 0 way\nC0644 1 made\nx\0E\n' | ssh -F $CONFIG $VIA "scp -r -t $PWD/open"`,
		"dots in the target":   `printf 'C0644 1 made\nx\0' | ssh -F $CONFIG $VIA "scp -t $PWD/open/../closed"`,
		"quoted":               `printf 'C0644 1 made\nx\0' | ssh -F $CONFIG $VIA "scp -t '$PWD/open/'\"../closed\""`,
		"a huge record":        `{ printf 'C0644 1 '; head -c 100000 /dev/zero | tr '\0' a; } | ssh -F $CONFIG $VIA "scp -t $PWD/open"`,
		"a negative size":      `printf 'C0644 -1 made\nx\0' | ssh -F $CONFIG $VIA "scp -t $PWD/open"`,
		"no end":               `yes 'D0755 0 d' | head -1000 | ssh -F $CONFIG $VIA "scp -r -t $PWD/open/sub"`,
		"a linked file":        `scp -O -F $CONFIG $VIA:$PWD/open/file got`,
		"all, with links":      `scp -O -r -F $CONFIG $VIA:$PWD/open got; test -e got/plain || echo "the others are missing"; ! grep -r secret got; rm -r got; exit 1`,
	} {
		t.Run(name, func(t *testing.T) {
			got := w.sh("web-1", script)
			if got.code == 0 || strings.Contains(got.out, "missing") || strings.Contains(got.out, "secret\n") {
				t.Errorf("got %+v", got)
			}
			for _, trace := range []string{"got", "closed/made"} {
				if _, err := os.Lstat(filepath.Join(w.dir, trace)); err == nil {
					t.Errorf("%s is there", trace)
				}
			}
		})
	}
}

// Each file that the old protocol moves is in the recording like one of SFTP.
func TestOldScpRecorded(t *testing.T) {
	w := newWorld(t, worldOptions{})
	if err := os.Mkdir(filepath.Join(w.dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("a line\n", 100_000)
	w.write("d/one\ntwo", content, 0o600)
	want := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content)))
	for _, script := range []string{`scp -O -r -q -F $CONFIG $VIA:$PWD/d got`, `scp -O -q -F $CONFIG "d/one
two" $VIA:$PWD/up`} {
		if got := w.sh("web-1", script); got.code != 0 {
			t.Fatalf("%s: %+v", script, got)
		}
		w.ended()
		found := false
		for _, e := range w.events(postern.EventResult) {
			found = found || e.Tag == "closed" && e.Digest == want && e.Bytes == int64(len(content))
		}
		if !found || !strings.Contains(w.commands(), "path:"+w.dir) {
			t.Errorf("%s: it isn't there: %+v\n%s", script, w.events(postern.EventResult), w.commands())
		}
	}
}
