package test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern"
	"postern/internal/sshserver"
	"postern/test/swtpm"
)

// machine is somebody's environment on a machine with a TPM of its own.
func (g *gateway) machine(home string) []string {
	g.t.Helper()
	dir, err := os.MkdirTemp("", "tpm") // a socket's path is short
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, stop, err := swtpm.Start(dir)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(stop)
	return append(g.environ(""), "POSTERN_CONFIG="+g.path(home), "POSTERN_TPM="+socket)
}

// signInTo signs alice in there, and returns what was said.
func (g *gateway) signInTo(env []string, flags ...string) (string, error) {
	g.write("alice.password", password+"\n")
	return g.as(env, append([]string{"login", "--user", "alice", "--password-file", g.path("alice.password")}, flags...)...)
}

// runProxy runs a proxy until the test ends, and returns its port; "": it ended,
// and said that.
func (g *gateway) runProxy(env []string, resource string) (port, said string) {
	g.t.Helper()
	cmd := exec.Command(g.program, "proxy", resource)
	cmd.Env, cmd.Dir = env, g.dir
	log := &logBuffer{}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait() // it has said why
		return "", log.String()
	}
	g.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			g.t.Errorf("the proxy ended with %v: %s", err, log)
		}
	})
	_, port, err = net.SplitHostPort(strings.TrimSpace(line))
	if err != nil {
		g.t.Fatal(err)
	}
	return port, ""
}

// privateKeys are the files under a folder that hold a private key in clear.
func privateKeys(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if strings.HasSuffix(block.Type, "PRIVATE KEY") && block.Type != "TSS2 PRIVATE KEY" && filepath.Base(path) != "proxy_host_key" {
				found = append(found, path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The key of a login is in the TPM, whatever enters with it, and a copy of
// everything that the login keeps enters from no other machine.
func TestKeyInTPM(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	env := g.machine("home")
	said, err := g.signInTo(env)
	if err != nil || !strings.Contains(said, "key: in this machine's TPM") {
		t.Fatalf("%v: %s", err, said)
	}
	if out, err := g.as(env, "whoami", "-o", "json"); err != nil || !strings.Contains(out, `"key": "tpm"`) || !strings.Contains(out, `"name": "alice"`) {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := g.as(env, "whoami"); err != nil || !strings.Contains(out, "KEY") || !strings.Contains(out, "tpm") {
		t.Errorf("%v: %s", err, out)
	}
	keyFile := g.path("home/tls/client.key")
	if info, err := os.Stat(keyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	if block, _ := pem.Decode([]byte(g.read("home/tls/client.key"))); block == nil || block.Type != "TSS2 PRIVATE KEY" {
		t.Errorf("the key's file holds %v", block)
	}

	if out, err := g.as(env, "connect", "orders-db", "--", "-Atc", "SELECT count(*) > 0 FROM orders"); err != nil || out != "t" {
		t.Errorf("connect: %v: %s", err, out)
	}
	if out, err := g.as(env, "exec", "orders-db", "-c", "DELETE FROM orders"); err == nil || !strings.Contains(out, "postern: denied by") {
		t.Errorf("exec: %v: %s", err, out)
	}
	g.interrupted(env)

	port, said := g.runProxy(env, "orders-db")
	if port == "" {
		t.Fatal(said)
	}
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			psql := exec.Command("psql", "--no-psqlrc", "-Atc", "SELECT count(*) > 0 FROM orders", "host=127.0.0.1 user=anybody password=x dbname=any port="+port)
			psql.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir}
			if out, err := psql.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "t" {
				t.Errorf("through the proxy: %v: %s", err, out)
			}
		})
	}
	clients.Wait()
	if found := privateKeys(t, g.path("home")); found != nil {
		t.Errorf("private keys in clear: %q", found)
	}
	g.copiedKey(env)
	if out, err := g.as(env, "logout"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat(keyFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key's file after logout: %v", err)
	}
}

// interrupted checks that Ctrl-C cancels what psql runs, by way of the socket.
func (g *gateway) interrupted(env []string) {
	t := g.t
	t.Helper()
	cmd := exec.Command(g.program, "connect", "orders-db", "--uses", "0", "--", "-Atc", "SELECT 'begun', pg_sleep(60)")
	cmd.Env, cmd.Dir, cmd.SysProcAttr = env, g.dir, &syscall.SysProcAttr{Setpgid: true}
	log := &logBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // what it said counts
	}()
	sleeping := "SELECT count(*) FROM pg_stat_activity WHERE datname = '" + g.database + "' AND state = 'active' AND query LIKE '%pg_sleep(60)%'"
	for deadline := time.Now().Add(20 * time.Second); g.upstream.Exec(t, "postgres", sleeping)[0][0] != "1"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it doesn't sleep: %s", log)
		}
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
		t.Error("Ctrl-C doesn't end it")
	}
	if !strings.Contains(strings.ToLower(log.String()), "cancel") {
		t.Errorf("Ctrl-C: %s", log)
	}
}

// copiedKey checks what a copy of the folder, the certificate in it, and a token
// for its key are worth on another machine, and where there is no TPM.
func (g *gateway) copiedKey(env []string) {
	t := g.t
	t.Helper()
	if err := os.CopyFS(g.path("copy"), os.DirFS(g.path("home"))); err != nil {
		t.Fatal(err)
	}
	elsewhere := g.machine("copy")
	without := append(g.environ(""), "POSTERN_CONFIG="+g.path("copy"), "POSTERN_TPM="+g.path("none"))
	for _, c := range []struct {
		env  []string
		args []string
		want string
	}{
		{elsewhere, []string{"connect", "orders-db", "--", "-Atc", "SELECT 1"}, "the key is another TPM's"},
		{elsewhere, []string{"exec", "orders-db", "-c", "SELECT 1"}, "the key is another TPM's"},
		{without, []string{"connect", "orders-db", "--", "-Atc", "SELECT 1"}, "there is no TPM 2.0 at"},
	} {
		if out, err := g.as(c.env, c.args...); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%v with a copy: %v: %s", c.args, err, out)
		}
	}
	if port, said := g.runProxy(elsewhere, "orders-db"); port != "" || !strings.Contains(said, "the key is another TPM's") {
		t.Errorf("a proxy with a copy: %q: %s", port, said)
	}
	block, _ := pem.Decode([]byte(g.read("copy/tls/client.crt")))
	thief, _ := ownKey(t)
	copied := tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: thief.PrivateKey}
	if _, err := g.connect("alice", "", showing(copied)); err == nil {
		t.Error("a copied certificate enters")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := postern.Fingerprint(cert.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	token, err := g.as(env, "token", "orders-db", "--key", mine)
	if err != nil {
		t.Fatalf("%v: %s", err, token)
	}
	for what, change := range map[string]func(*pgconn.Config){"no key": nil, "another key": showing(thief), "a copied certificate": showing(copied)} {
		if _, err := g.connect("alice", token, change); err == nil {
			t.Errorf("a copied token enters with %s", what)
		}
	}
}

// Without a TPM a key is in a file, and says why; who insists on one is refused
// before anybody signs in; and one in a file goes on where there is a TPM by now.
func TestKeyInFile(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	machine := g.machine("home")
	without := append(g.environ(""), "POSTERN_CONFIG="+g.path("home"), "POSTERN_TPM="+g.path("none"))

	out, err := g.signInTo(without, "--key", "tpm")
	if err == nil || !strings.Contains(out, "there is no TPM 2.0 at "+g.path("none")) {
		t.Errorf("--key tpm without one: %v: %s", err, out)
	}
	if _, err := os.Stat(g.path("home/credentials.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it signed in: %v", err)
	}
	var exit *exec.ExitError
	if out, err := g.signInTo(without, "--key", "yubikey"); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("--key yubikey: %v: %s", err, out)
	}
	for _, c := range []struct {
		env   []string
		flags []string
		want  string
	}{
		{machine, []string{"--key", "file"}, "key: in a file\n"},
		{append(machine, "POSTERN_TPM=off"), nil, "key: in a file: POSTERN_TPM is off"},
		{without, nil, "key: in a file: there is no TPM 2.0 at " + g.path("none")},
	} {
		if out, err := g.signInTo(c.env, c.flags...); err != nil || !strings.Contains(out, c.want) {
			t.Fatalf("%v: %v: %s", c.flags, err, out)
		}
		var me struct{ Key string }
		if out, err := g.as(c.env, "whoami", "-o", "json"); err != nil || json.Unmarshal([]byte(out), &me) != nil || me.Key != "file" {
			t.Errorf("%v: %v: %s", c.flags, err, out)
		}
	}
	// The last login's key is in a file; the machine has a TPM now.
	if out, err := g.as(machine, "connect", "orders-db", "--", "-Atc", "SELECT 1"); err != nil || out != "1" {
		t.Errorf("connect: %v: %s", err, out)
	}
	psql := exec.Command("psql", "--no-psqlrc", "--no-password", "-Atc", "SELECT 1")
	psql.Env = append(g.environ(""), "PGUSER=alice", "PGSSLCERT="+g.path("home/tls/client.crt"), "PGSSLKEY="+g.path("home/tls/client.key"))
	if out, err := psql.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "1" {
		t.Errorf("psql: %v: %s", err, out)
	}
	// The next login's is in the TPM, and nothing of the file's is left.
	if out, err := g.signInTo(machine, "--key", "tpm"); err != nil || !strings.Contains(out, "key: in this machine's TPM") {
		t.Errorf("%v: %s", err, out)
	}
	if found := privateKeys(t, g.path("home")); found != nil {
		t.Errorf("private keys in clear: %q", found)
	}
}

// OpenSSH's clients enter with the key in the TPM: none of theirs is in a file.
func TestSSHKeyInTPM(t *testing.T) {
	dir := t.TempDir()
	server, stop, err := sshserver.Start(sshserver.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	g := newGateway(t, "")
	g.write("objects/web.yaml", fmt.Sprintf(`kind: Resource
name: web-1
type: ssh
address: %s
credentials: {username: %s, private_key: {file: %q}}
options: {host_key: %q, shell: record, sftp: allow}
---
{kind: Access, name: web, to: ["group:engineering"], on: {names: [web-1]}}
---
{kind: Rule, name: no-recursive-delete, on: {names: [web-1]}, use: no-recursive-delete, then: deny}
`, server.Addr, server.User, filepath.Join(dir, "client_key"), server.HostKey))
	g.start()
	env := g.machine("home")
	if said, err := g.signInTo(env); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	config, err := g.as(env, "ssh", "config")
	if err != nil || strings.Contains(config, "IdentityFile") {
		t.Fatalf("%v: %s", err, config)
	}
	g.write("ssh_config", config+"\n")
	ssh := func(env []string, program string, args ...string) (string, int) {
		cmd := exec.Command(program, append([]string{"-F", g.path("ssh_config"), "-o", "BatchMode=yes"}, args...)...)
		cmd.Env, cmd.Dir = env, g.dir
		var out, said bytes.Buffer // which of them arrives first isn't certain
		cmd.Stdout, cmd.Stderr = &out, &said
		_ = cmd.Run() // its exit code counts
		return out.String() + said.String(), cmd.ProcessState.ExitCode()
	}
	g.write("sent", strings.Repeat("a line of a file\n", 20000))
	for _, c := range []struct {
		program string
		args    []string
		code    int
		want    string
	}{
		{"ssh", []string{"web-1", "echo out; echo err >&2; exit 3"}, 3, "out\nerr\n"},
		{"ssh", []string{"web-1", "rm -rf /nowhere/at/all"}, 126, "no-recursive-delete"},
		{"ssh", []string{"-l", "alice/" + server.User + "@web-1", "web-1", "echo as", server.User}, 0, "as " + server.User},
		{"ssh", []string{"-l", "alice/nobody-else@web-1", "web-1", "echo never"}, 126, "web-1 isn't offered as nobody-else"},
		{"scp", []string{g.path("sent"), "web-1:" + g.path("back")}, 0, ""},
	} {
		if out, code := ssh(env, c.program, c.args...); code != c.code || !strings.Contains(out, c.want) || strings.Contains(out, "never") {
			t.Errorf("%s %q: %d, %s", c.program, c.args, code, out)
		}
	}
	if g.read("back") != g.read("sent") {
		t.Error("the file isn't the one that was sent")
	}
	port, said := g.runProxy(env, "web-1")
	if port == "" {
		t.Fatal(said)
	}
	if out, code := ssh(env, "ssh", "-o", "ProxyCommand=none", "-o", "HostName=127.0.0.1", "-p", port, "web-1", "echo by a port"); code != 0 || !strings.Contains(out, "by a port") {
		t.Errorf("by a port: %d, %s", code, out)
	}

	// A session that is ended on the gateway ends here, too.
	cmd := exec.Command("ssh", "-F", g.path("ssh_config"), "-o", "BatchMode=yes", "web-1", "echo begun; sleep 60")
	cmd.Env, cmd.Dir = env, g.dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "begun\n" {
		t.Errorf("%v: %s", err, line)
	}
	dave := g.login("dave")
	live, err := g.run(dave, "session", "ls", "--live", "-q")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for id := range strings.FieldsSeq(live) {
		if _, err := g.run(dave, "session", "kill", id); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("a session that was killed ended with %v after %v", err, time.Since(began))
	}

	// A copy of everything enters from no other machine.
	if err := os.CopyFS(g.path("copy"), os.DirFS(g.path("home"))); err != nil {
		t.Fatal(err)
	}
	if out, code := ssh(g.machine("copy"), "ssh", "web-1", "echo never"); code != 255 || !strings.Contains(out, "the key is another TPM's") {
		t.Errorf("a copy: %d, %s", code, out)
	}
	if out, err := g.as(env, "ssh", "certify"); err == nil || !strings.Contains(out, "a TPM has this login's key") {
		t.Errorf("certify: %v: %s", err, out)
	}
	if found := privateKeys(t, g.path("home")); found != nil {
		t.Errorf("private keys in clear: %q", found)
	}

	// A block of an earlier login, with its key in a file, goes on, and says so.
	if out, err := g.signInTo(env, "--key", "file"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if config, err = g.as(env, "ssh", "config"); err != nil || !strings.Contains(config, "IdentityFile") {
		t.Fatalf("%v: %s", err, config)
	}
	g.write("ssh_config", config+"\n")
	if out, code := ssh(env, "ssh", "web-1", "echo by a file"); code != 0 || !strings.Contains(out, "by a file") {
		t.Errorf("by a file: %d, %s", code, out)
	}
	if out, err := g.signInTo(env); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Remove(g.path("home/ssh/id_ed25519-cert.pub")); err != nil {
		t.Fatal(err)
	}
	if out, code := ssh(env, "ssh", "web-1", "echo by a file"); code != 0 || !strings.Contains(out, "by a file") || !strings.Contains(out, "not for the login's in the TPM") {
		t.Errorf("by a file: %d, %s", code, out)
	}
}
