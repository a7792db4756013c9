package ssh

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"postern/internal/protocol"
)

// mayOnly has alice's access narrowed by a section ssh.
func (w *world) mayOnly(section string) {
	w.SetObjects("{kind: Resource, name: web-1, type: ssh, address: '" + w.server.Addr + "', credentials: {username: " + w.server.User +
		", private_key: {env: X}}, options: {forward: allow, shell: record, logins: 'deploy, ops', host_key: '" + w.server.HostKey + "'}}\n---\n" +
		"{kind: Access, name: narrow, to: ['user:alice'], on: {names: [web-1]}, ssh: " + section + "}\n")
}

// An access with paths is for files there, however they are asked for, and for
// nothing that can't be kept to them.
func TestPathsOfAnAccess(t *testing.T) {
	w := newWorld(t, worldOptions{})
	for _, dir := range []string{"jail/sub", "outside"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.write("jail/a", "a\n", 0o600)
	w.write("jail/new\nline", "n\n", 0o600)
	w.write("outside/secret", "secret\n", 0o600)
	for name, to := range map[string]string{"jail/way": "../outside", "jail/file": "../outside/secret", "jail/sub/up": "../../outside/secret"} {
		if err := os.Symlink(to, filepath.Join(w.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.mayOnly("{paths: ['" + w.dir + "/jail']}")
	jail := w.dir + "/jail/"
	for script, ok := range map[string]bool{
		"get " + jail + "a x":                        true,
		"put askpass " + jail + "sub/put":            true,
		"rename " + jail + "sub/put " + jail + "put": true,
		"ls " + jail:                                               true,
		"ln -s " + jail + "a " + jail + "link":                     true,
		"get " + jail + "../outside/secret x":                      false,
		"get " + jail + "sub/../../outside/secret x":               false,
		"get " + jail + "way/secret x":                             false,
		"get " + jail + "file x":                                   false,
		"get " + jail + "sub/up x":                                 false,
		"get " + strings.ToUpper(w.dir) + "/JAIL/A x":              false,
		"get " + w.dir + "/jailx x":                                false,
		"put askpass " + jail + "way/put":                          false,
		"put askpass " + jail + "file":                             false,
		"rename " + w.dir + "/outside/secret " + jail + "got":      false,
		"rename " + jail + "a " + w.dir + "/outside/a":             false,
		"rename " + jail + "a " + jail + "way/a":                   false,
		"ln " + w.dir + "/outside/secret " + jail + "hard":         false,
		"ln " + jail + "file " + jail + "hard":                     false,
		"ln -s ../outside/secret " + jail + "soft":                 false,
		"ln -s ../../../../../../../../../../etc " + jail + "soft": false,
		"chmod 777 " + jail + "file":                               false,
		"rm " + jail + "way/secret":                                false,
		"mkdir " + jail + "way/made":                               false,
		"rmdir " + w.dir + "/outside":                              false,
		"ls " + w.dir:                                              false,
		"cd " + jail + "way":                                       false,
		"df " + w.dir:                                              false,
	} {
		got := w.run(script+"\n", "sftp", "-q", "-F", filepath.Join(w.dir, "config"), "web-1")
		if denied := strings.Contains(got.err, `postern: denied by rule "narrow"`); denied == ok {
			t.Errorf("%s: %+v", script, got)
		}
	}
	for _, script := range []string{
		`ssh -F $CONFIG $VIA "cat $PWD/jail/a"`, `ssh -F $CONFIG $VIA </dev/null`, `ssh -F $CONFIG -W 127.0.0.1:22 $VIA </dev/null`,
		`rsync -a -e "ssh -F $CONFIG" askpass $VIA:$PWD/jail/`, `rsync -a -e "ssh -F $CONFIG" $VIA:$PWD/jail/a x`,
		`scp -O -F $CONFIG $VIA:$PWD/jail/file x`, `scp -O -F $CONFIG "$VIA:$PWD/jail/*" .`, `scp -O -F $CONFIG askpass $VIA:$PWD/jail/way/`,
		`scp -F $CONFIG $VIA:$PWD/jail/way/secret x`, `ssh -F $CONFIG $VIA /usr/lib/openssh/sftp-server </dev/null`,
	} {
		if got := w.sh("web-1", script); got.code == 0 || !strings.Contains(got.err, `postern: denied by rule "narrow"`) {
			t.Errorf("%s: %+v", script, got)
		}
	}
	if got := w.sh("web-1", `scp -O -q -F $CONFIG $VIA:$PWD/jail/a got && cat got; scp -q -F $CONFIG got $VIA:$PWD/jail/b && cat jail/b`); got.out != "a\na\n" {
		t.Errorf("what is allowed: %+v", got)
	}
	if data, err := os.ReadFile(filepath.Join(w.dir, "outside/secret")); err != nil || string(data) != "secret\n" {
		t.Error("the secret was touched: ", err)
	}
	if entries, err := os.ReadDir(filepath.Join(w.dir, "outside")); err != nil || len(entries) != 1 {
		t.Errorf("there is more outside: %v", entries)
	}
}

// Two channels of one client can't swap what a path means between the question
// and the use: a folder with a relative link in it, moved up, would lead out.
func TestSwappedPaths(t *testing.T) {
	w := newWorld(t, worldOptions{})
	for _, dir := range []string{"jail/deep/deeper", "jail/good", "secret"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.write("secret/file", "secret", 0o600)
	w.write("jail/good/file", "good", 0o600)
	// Below deep/deeper it leads to jail/secret, which isn't there; in jail itself it leads out.
	if err := os.Symlink("../secret", filepath.Join(w.dir, "jail/deep/deeper/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(w.dir, "jail/link")); err != nil {
		t.Fatal(err)
	}
	w.mayOnly("{paths: ['" + w.dir + "/jail']}")
	jail := w.dir + "/jail/"
	client := w.client(t)
	swapper, reader := newSFTP(t, client), newSFTP(t, client)
	var work sync.WaitGroup
	work.Go(func() {
		for range 150 {
			for _, move := range [][2]string{{"good", "away"}, {"link", "good"}, {"good", "link"}, {"away", "good"}} {
				_, _ = swapper.ask(fxRename, appendText(appendText(nil, jail+move[0]), jail+move[1]), fxStatus)
			}
		}
	})
	read := 0
	for range 600 {
		handle, err := reader.open(jail + "good/file")
		if err != nil {
			continue
		}
		data, err := reader.piece(handle, 0, 100)
		if string(data) == "secret" {
			t.Fatal("the link was followed")
		}
		if err == nil {
			read++
		}
		_ = reader.close(handle)
	}
	work.Wait()
	if read == 0 {
		t.Error("nothing could be read in between")
	}
}

// newSFTP opens the subsystem.
func newSFTP(t *testing.T, client *contractClient) *fileClient {
	t.Helper()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	to, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		t.Fatal(err)
	}
	fc := &fileClient{to: to, from: from, waiting: make(map[uint32]chan filePacket)}
	if err := fc.greet(); err != nil {
		t.Fatal(err)
	}
	return fc
}

// A forced command runs whatever is asked for, and nothing else does.
func TestCommandOfAnAccess(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.mayOnly("{command: 'echo \"forced $((1+1))\"'}")
	for _, script := range []string{`ssh -F $CONFIG $VIA 'rm -rf /nowhere'`, `ssh -F $CONFIG $VIA`, `ssh -F $CONFIG -tt $VIA bash`, `ssh -F $CONFIG $VIA 'scp -t /tmp'`} {
		if got := w.sh("web-1", script+" </dev/null"); strings.TrimSpace(got.out) != "forced 2" || got.code != 0 {
			t.Errorf("%s: %+v", script, got)
		}
	}
	for _, script := range []string{`echo ls | sftp -F $CONFIG $VIA`, `ssh -F $CONFIG -W 127.0.0.1:22 $VIA </dev/null`, `scp -F $CONFIG $VIA:/etc/hostname x`} {
		if got := w.sh("web-1", script); got.code == 0 || !strings.Contains(got.err, "postern: ") {
			t.Errorf("%s: %+v", script, got)
		}
	}
}

// Who is let in as one user of the server is nobody else there.
func TestLoginsOfAnAccess(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.mayOnly("{logins: [" + w.server.User + "]}")
	if got := w.ssh("web-1", "echo in"); got.out != "in\n" {
		t.Errorf("as the one: %+v", got)
	}
	if got := w.ssh("-o", "User=alice/deploy@web-1", "web-1", "echo in"); got.code != 126 || !strings.Contains(got.err, `being "deploy" there isn't allowed here`) {
		t.Errorf("as another: %+v", got)
	}
	w.mayOnly("{logins: [deploy]}")
	if got := w.ssh("-o", "User=alice/"+w.server.User+"@web-1", "web-1", "echo in"); got.code != 126 || !strings.Contains(got.err, "isn't allowed here") {
		t.Errorf("as the resource's own: %+v", got)
	}
	if got := w.ssh("web-1", "echo in"); !strings.Contains(w.commands(), "allow login login:deploy") {
		t.Errorf("by default: %+v\n%s", got, w.commands())
	}
}

// Limits count over channels, sessions and every way in which bytes go.
func TestTransferLimits(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write("large", strings.Repeat("x", 300_000), 0o600)
	for _, script := range []string{
		`scp -F $CONFIG $VIA:$PWD/large got`, `scp -O -F $CONFIG $VIA:$PWD/large got`, `scp -F $CONFIG large $VIA:$PWD/put`, `scp -O -F $CONFIG large $VIA:$PWD/put`,
		`ssh -F $CONFIG $VIA "cat $PWD/large" >got`, `ssh -F $CONFIG $VIA 'cat >/dev/null' <large`, `rsync -W -e "ssh -F $CONFIG" $VIA:$PWD/large got`,
	} {
		w.mayOnly(fmt.Sprintf("{transfer: {bytes: %d}}", 100_000+len(script))) // each its own meter
		got := w.sh("web-1", script)
		if got.code == 0 || !strings.Contains(got.err, `postern: denied by rule "narrow": it allows 100`) {
			t.Errorf("%s: %+v", script, got)
		}
		// What the old protocol has announced is filled up with zeros.
		data, _ := os.ReadFile(filepath.Join(w.dir, "got"))
		if n := strings.Count(string(data), "x"); n > 101_000 {
			t.Errorf("%s: %d bytes came", script, n)
		}
		_ = os.Remove(filepath.Join(w.dir, "got"))
		// Another session has no other allowance.
		if got := w.sh("web-1", `ssh -F $CONFIG $VIA "head -c 101000 $PWD/large"`); got.code == 0 {
			t.Errorf("%s: again: %d, %s", script, len(got.out), got.err)
		}
	}
	w.mayOnly("{transfer: {files: 2}}")
	got := w.sh("web-1", `mkdir five; for i in 1 2 3 4 5; do echo $i >five/$i; done; scp -r -F $CONFIG $VIA:$PWD/five got`)
	if entries, _ := os.ReadDir(filepath.Join(w.dir, "got")); len(entries) > 2 && !strings.Contains(got.err, "it allows 2 files") {
		t.Errorf("files: %v %+v", entries, got)
	}
}

// What is open when the policy changes is decided over again: an idle forwarded
// port is closed, and an open file can't be read on.
func TestOpenWhenThePolicyChanges(t *testing.T) {
	w := newWorld(t, worldOptions{options: "forward: allow"})
	w.write("file", "contents", 0o600)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client := w.client(t)
	port, err := client.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	files := newSFTP(t, client)
	handle, err := files.open(w.dir + "/file")
	if err != nil {
		t.Fatal(err)
	}
	w.SetObjects("{kind: Resource, name: web-1, type: ssh, address: '" + w.server.Addr + "', credentials: {username: " + w.server.User +
		", private_key: {env: X}}, options: {forward: allow, host_key: '" + w.server.HostKey + "'}}" + aliceMay +
		"---\n{kind: Rule, name: no, on: {names: [web-1]}, when: 'command.verb in [\"read\", \"forward\"]', then: deny}\n")
	if n, err := port.Read(make([]byte, 1)); err == nil {
		t.Errorf("the port gave %d bytes", n)
	}
	if n, err := there.Read(make([]byte, 1)); err == nil {
		t.Errorf("the far end got %d bytes", n)
	}
	if data, err := files.piece(handle, 0, 10); err == nil {
		t.Errorf("the file gave %q", data)
	}
	if err := files.close(handle); err != nil {
		t.Error(err)
	}
}

// A certificate names the groups of the access besides the user.
func TestGroupsInCertificates(t *testing.T) {
	p := New(protocol.Options{Authority: theAuthority})
	signer, err := p.mint("id", principals("deploy", []string{"www", "ops"}), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, ok := signer.PublicKey().(*ssh.Certificate)
	if !ok || strings.Join(cert.ValidPrincipals, " ") != "deploy group:www group:ops" {
		t.Errorf("%+v", cert)
	}
	if _, err := p.mint("id", principals("deploy", []string{"a,root"}), "", nil); err == nil {
		t.Error("a group that isn't one")
	}
}
