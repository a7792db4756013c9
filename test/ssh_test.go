package test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/sshserver"
)

// The built binary, OpenSSH's client and OpenSSH's server.
func TestSSH(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "trusted")
	if err := os.WriteFile(ca, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	server, stop, err := sshserver.Start(sshserver.Options{Dir: dir, Extra: "TrustedUserCAKeys " + ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	g := newGateway(t, "")
	g.write("objects/web.yaml", fmt.Sprintf(`kind: Resource
name: web-1
type: ssh
address: %[1]s
credentials: {username: %[2]s, private_key: {file: %[3]q}}
options: {host_key: %[4]q, shell: record}
---
kind: Resource
name: web-2
type: ssh
address: %[1]s
credentials: {username: %[2]s}
options: {host_key_policy: first-use}
---
kind: Resource
name: web-3
type: ssh
address: %[1]s
credentials: {username: %[2]s}
options: {host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"}
---
{kind: Access, name: web, to: ["group:engineering"], on: {names: ["web-*"]}}
---
{kind: Rule, name: no-recursive-delete, on: {names: ["web-*"]}, use: no-recursive-delete, then: deny}
`, server.Addr, server.User, filepath.Join(dir, "client_key"), server.HostKey))
	g.start()
	alice := g.login("alice")
	serverCA, err := g.run(alice, "ssh", "ca")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, []byte(serverCA+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	t.Run("proxy", func(t *testing.T) { g.throughProxy(t, alice) })
	t.Run("exec", func(t *testing.T) {
		for _, c := range []struct {
			resource, command, out string
			code                   int
		}{
			{"web-1", "echo out; exit 3", "out\n", 3},
			{"web-1", "rm -rf /nowhere/at/all", "", 4},
			{"web-2", "echo by certificate", "by certificate\n", 0},
			{"web-2", "echo again", "again\n", 0}, // the pinned key is still the same
			{"web-3", "echo never", "", 1},        // another key than it shows
		} {
			out, code, said := g.runCode(alice, "exec", c.resource, "-c", c.command)
			if out != c.out || code != c.code {
				t.Errorf("%s on %s: %q, %d, %s", c.command, c.resource, out, code, said)
			}
		}
		if !strings.Contains(g.logged(), "IS NOT THE ONE IN host_key") {
			t.Error("the stranger isn't in the log")
		}
	})
	t.Run("connect", func(t *testing.T) {
		out, code, said := g.runCode(alice, "connect", "web-1", "--", "-T", "echo connected")
		if out != "connected\n" || code != 0 {
			t.Errorf("%q, %d, %s", out, code, said)
		}
	})
	t.Run("ssh web-1 just works", func(t *testing.T) {
		config, err := g.run(alice, "ssh", "config")
		if err != nil {
			t.Fatal(err)
		}
		// The gateway as a jump host, which is what some people's tools expect.
		jump := strings.Replace(config[strings.Index(config, "Host web-1"):strings.Index(config, "Host web-2")], "Host web-1", "Host gw", 1)
		g.write("ssh_config", jump+config)
		for _, args := range [][]string{
			{"web-1", "echo hello"},
			{"-J", "gw", "-o", "HostName=web-1", "-o", "Port=22", "-o", "User=" + server.User, "web-1", "echo hello"},
		} {
			cmd := exec.Command("ssh", append([]string{"-F", g.path("ssh_config"), "-o", "BatchMode=yes"}, args...)...)
			cmd.Env, cmd.Dir = g.environ(alice), g.dir
			if out, err := cmd.CombinedOutput(); string(out) != "hello\n" {
				t.Errorf("ssh %q: %v: %s\n%s\n%s", args, err, out, config, g.logged())
			}
		}
	})
	t.Run("what happened", func(t *testing.T) {
		petra := g.login("petra")
		if out, code, said := g.runCode(alice, "connect", "web-1", "--", "-tt", `printf '\033[32mshown\033]0;ev\151l\007\033[0m\n'`); code != 0 {
			t.Fatalf("%q, %d, %s", out, code, said)
		}
		out, err := g.run(petra, "session", "ls", "--resource", "web-1", "-o", "json")
		if err != nil || !strings.Contains(out, `"identity": "alice"`) {
			t.Errorf("%v: %s", err, out)
		}
		ids, err := g.run(petra, "session", "ls", "--resource", "web-1", "-q", "--limit", "1")
		if err != nil {
			t.Fatal(err)
		}
		if err := g.answersCLI(petra, "session", "show", ids, "ended_at"); err != nil {
			t.Fatal(err)
		}
		out, err = g.run(petra, "session", "replay", ids)
		if err != nil || !strings.Contains(out, "terminal:\n") || !strings.Contains(out, "shown") || strings.Contains(out, "evil") {
			t.Errorf("the transcript: %v\n%s", err, out)
		}
		out, err = g.run(petra, "session", "replay", ids, "--terminal", "--speed", "8")
		if err != nil || !strings.Contains(out, "\x1b[32mshown\x1b[0m") || strings.Contains(out, "evil") {
			t.Errorf("played: %v %q", err, out)
		}
		if _, err := g.run(petra, "session", "export", ids, "--format", "asciicast", "--file", g.path("session.cast")); err != nil {
			t.Fatal(err)
		}
		// It plays in terminals only.
		play := exec.Command("script", "-qefc", "asciinema play -s 100 "+g.path("session.cast"), "/dev/null")
		play.Env = append(g.environ(""), "ASCIINEMA_CONFIG_HOME="+g.dir, "TERM=xterm")
		if out, err := play.CombinedOutput(); err != nil || !strings.Contains(string(out), "shown") {
			t.Errorf("asciinema: %v %q", err, out)
		}
	})
}

// answersCLI waits until the CLI's answer holds a word.
func (g *gateway) answersCLI(token, verb, what, id, word string) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := g.run(token, verb, what, id)
		if err != nil || strings.Contains(out, word) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s isn't in %s", word, out)
		}
	}
}

// runCode runs the CLI as somebody, and returns its exit code.
func (g *gateway) runCode(token string, args ...string) (out string, code int, said string) {
	g.t.Helper()
	cmd := exec.Command(g.program, args...)
	cmd.Env, cmd.Dir = g.environ(token), g.dir
	var errOut strings.Builder
	cmd.Stderr = &errOut
	text, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		g.t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode(), errOut.String()
}

// throughProxy has OpenSSH's own clients enter by the proxy's local port, which
// knows nobody's name and asks for nothing.
func (g *gateway) throughProxy(t *testing.T, login string) {
	hosts := filepath.Join(t.TempDir(), "known_hosts")
	run := func(policy, program string, args ...string) (string, error) {
		cmd := exec.Command(g.program, "proxy", "web-1")
		cmd.Env, cmd.Dir = g.environ(login), g.dir
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Signal(os.Interrupt)
			if err := cmd.Wait(); err != nil {
				t.Errorf("the proxy ended with %v", err)
			}
		}()
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		flags := []string{"-F", "/dev/null", "-o", "Port=" + port, "-o", "HostKeyAlias=proxy", "-o", "UserKnownHostsFile=" + hosts, "-o", "StrictHostKeyChecking=" + policy, "-o", "BatchMode=yes"}
		native := exec.Command(program, append(flags, args...)...)
		native.Env, native.Dir = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir}, g.dir
		said, err := native.CombinedOutput()
		return string(said), err
	}
	var exit *exec.ExitError
	if said, err := run("accept-new", "ssh", "anybody@127.0.0.1", "echo out; echo err >&2; exit 3"); !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(said, "out\n") || !strings.Contains(said, "err\n") {
		t.Errorf("%v: %s", err, said)
	}
	// Another run has the same host key, and the gateway decides.
	if said, err := run("yes", "ssh", "127.0.0.1", "rm -rf /nowhere/at/all"); !errors.As(err, &exit) || exit.ExitCode() != 126 || !strings.Contains(said, "no-recursive-delete") {
		t.Errorf("%v: %s", err, said)
	}
	g.write("sent", strings.Repeat("a line of a file\n", 20000))
	g.write("batch", "put "+g.path("sent")+" "+g.path("there")+"\nget "+g.path("there")+" "+g.path("back")+"\n")
	if said, err := run("yes", "sftp", "-b", g.path("batch"), "127.0.0.1"); err != nil || g.read("back") != g.read("sent") {
		t.Errorf("%v: %s", err, said)
	}
	list, err := g.run(login, "session", "ls", "--identity", "alice", "-o", "json")
	if err != nil || strings.Count(list, `"resource": "web-1"`)+strings.Count(list, `"resource":"web-1"`) != 3 {
		t.Errorf("%v: %s", err, list)
	}
}
