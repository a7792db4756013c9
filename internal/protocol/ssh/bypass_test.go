package ssh

import (
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
		`ssh -F $CONFIG -s $VIA internal-sftp </dev/null`, `ssh -F $CONFIG -s $VIA ' sftp' </dev/null`, `scp -O -F $CONFIG $VIA:/etc/hostname x`,
		`ssh -F $CONFIG $VIA "$(printf 'ls\rrm -rf /nowhere')"`,
	} {
		if got := w.sh("web-1", script); got.code == 0 || !strings.Contains(got.err, "postern: denied by rule") {
			t.Errorf("%s: %+v", script, got)
		}
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
