package ssh

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// inSandbox is set where the attacks may really run.
const inSandbox = "POSTERN_SHELL_SANDBOX"

// acceptanceRows are attacks that others wrote, and saw to work.
const acceptanceRows = "../../../../shared/acceptance/guardrail-evasion-shell.jsonl"

// shellRow is an attack on a rule, or something harmless that looks like one.
type shellRow struct {
	ID, Policy, Attack, Expect, TTY string
	Hard                            bool
}

func shellRows(t *testing.T, file string) []shellRow {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: the acceptance data is not on this machine: ", err)
	}
	defer func() { _ = f.Close() }()
	var all []shellRow
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r shellRow
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil || len(all) == 0 {
		t.Fatal(err, len(all))
	}
	return all
}

// TestAcceptanceForReal sends the attacks through the gateway to a real server,
// as commands and as lines of a shell. It runs itself again in a mount
// namespace in which nothing but /srv, /tmp and /root can be written, and those
// are empty: an attack that got through would do no harm elsewhere.
func TestAcceptanceForReal(t *testing.T) {
	if os.Getenv(inSandbox) != "" {
		attackForReal(t)
		return
	}
	if _, err := os.Stat(acceptanceRows); err != nil {
		t.Skip("SKIPPED, NOT TESTED: the acceptance data is not on this machine: ", err)
	}
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, NOT TESTED: attacks run for real only in a mount namespace, which takes root")
	}
	data, err := os.ReadFile(acceptanceRows)
	if err != nil {
		t.Fatal(err)
	}
	rows := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(rows, data, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const prepare = `mount --make-rprivate / && mount -t tmpfs none /srv && mount -t tmpfs none /root && mount -t tmpfs none /run && mount -t tmpfs none /mnt || exit 97
cp "$1" /mnt/test && cp "$2" /mnt/rows || exit 97
for m in $(awk '{print $5}' /proc/self/mountinfo | grep -vE '^/(srv|root|run|mnt|proc|dev)(/|$)' | sort -u); do mount -o remount,bind,ro "$m" 2>/dev/null; done
mount -t tmpfs none /tmp || exit 97
if touch /usr/postern-sandbox 2>/dev/null; then rm -f /usr/postern-sandbox; exit 98; fi
mkdir -p /run/sshd && cd /mnt && exec /mnt/test -test.run '^TestAcceptanceForReal$' -test.v`
	cmd := exec.Command("unshare", "-m", "-p", "-f", "--mount-proc", "/bin/sh", "-c", prepare, "sh", self, rows)
	cmd.Env = append(os.Environ(), inSandbox+"=/mnt/rows", "TMPDIR=/tmp", "HOME=/root")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	switch cmd.ProcessState.ExitCode() {
	case 97, 98:
		t.Skipf("SKIPPED, NOT TESTED: no mount namespace to run attacks in: %s", out)
	case 0:
		t.Log(lastLines(string(out), 4))
	default:
		t.Errorf("%v\n%s", err, out)
	}
}

func lastLines(s string, n int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

const keyText = "SECRET-KEY-7f3a"

// layOut makes the files that the attacks are after.
func layOut(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"/srv/data", "/srv/secret", "/srv/empty"} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"/srv/data/sub/deep", "/srv/secret", "/srv/empty"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{"/srv/data/a.txt": "alpha\n", "/srv/secret/key.pem": keyText + "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// looks is what /srv/data looks like.
func looks() string {
	out, _ := exec.Command("/bin/sh", "-c", "cd /srv && find data -printf '%p %y %m %U %s %T@\\n' | sort; cat data/a.txt").CombinedOutput()
	return string(out)
}

func attackForReal(t *testing.T) {
	byPolicy := map[string][]shellRow{}
	for _, r := range shellRows(t, os.Getenv(inSandbox)) {
		byPolicy[r.Policy] = append(byPolicy[r.Policy], r)
	}
	tried := 0
	for policy, rows := range byPolicy {
		w := newWorld(t, worldOptions{options: "shell: lines", objects: aliceMay + "---\n{kind: Rule, name: guard, on: {names: [web-1]}, use: " + policy + ", then: deny, message: Not here.}\n"})
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		client, err := login(conn, "alice@web-1", "token-alice")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			for _, way := range []struct {
				name string
				run  func(*testing.T, *world, *contractClient, shellRow) (string, bool)
			}{{"exec", runExec}, {"lines", runLines}} {
				if way.name == "exec" && r.TTY != "" {
					continue
				}
				layOut(t)
				before := looks()
				out, denied := way.run(t, w, client, r)
				tried++
				if after := looks(); r.Expect == "block" && after != before {
					t.Errorf("%s as %s changed the server: %q", r.ID, way.name, r.Attack)
				}
				if r.Expect == "block" && strings.Contains(out, keyText) {
					t.Errorf("%s as %s showed the secret: %q", r.ID, way.name, r.Attack)
				}
				if denied != (r.Expect == "block") {
					t.Errorf("%s as %s: denied is %v: %q\n%s", r.ID, way.name, denied, r.Attack, out)
				}
			}
		}
		_ = client.Close()
	}
	t.Logf("%d attacks and look-alikes ran", tried)
}

const denialWords = `postern: denied by rule "guard"`

// runExec runs a row as a command. What is allowed comes out as it does directly.
func runExec(t *testing.T, _ *world, client *contractClient, r shellRow) (string, bool) {
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var out, errOut bytes.Buffer
	s.Stdout, s.Stderr = &out, &errOut
	err = s.Run(r.Attack)
	denied := strings.Contains(errOut.String(), denialWords)
	if r.Expect == "allow" {
		direct := exec.Command("/bin/bash", "-c", r.Attack)
		direct.Dir = "/root"
		layOut(t)
		want, werr := direct.Output()
		if string(want) != out.String() && !strings.Contains(r.Attack, "ps aux") && !strings.HasPrefix(r.Attack, "env ") && !strings.HasPrefix(r.Attack, "stat ") {
			t.Errorf("%s: directly %q, through the gateway %q", r.ID, want, out.String())
		}
		if (werr == nil) != (err == nil) {
			t.Errorf("%s: directly %v, through the gateway %v", r.ID, werr, err)
		}
	} else if code := exitStatus(err); code != 126 {
		t.Errorf("%s: exit status %d, want 126 (%v)", r.ID, code, err)
	}
	return out.String() + errOut.String(), denied
}

func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(*ssh.ExitError); ok { //nolint:errorlint // as the library returns it
		return e.ExitStatus()
	}
	return -1
}

// runLines types a row into a shell of its own.
func runLines(t *testing.T, _ *world, client *contractClient, r shellRow) (string, bool) {
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.RequestPty("xterm", 50, 300, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	out := &person{} // keeps what is shown
	s.Stdout, s.Stderr = out, out
	keys := r.TTY
	if keys == "" {
		keys = strings.NewReplacer("\t", " ", "\n", "\r").Replace(r.Attack) + "\r"
	}
	s.Stdin = strings.NewReader(keys + "exit\r")
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()
	select {
	case err := <-ended:
		if err != nil && exitStatus(err) < 0 {
			t.Errorf("%s: %v", r.ID, err)
		}
	case <-time.After(30 * time.Second):
		_ = s.Close()
		t.Errorf("%s hangs (%v): %q\n%s", r.ID, <-ended, keys, out.screen.String())
	}
	return out.screen.String(), strings.Contains(out.screen.String(), denialWords)
}
