package sshserver

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Files come and go where each session begins with a command of the server's own,
// as in the demo: a shell runs what the client asked for.
func TestFilesBehindForceCommand(t *testing.T) {
	s, stop, err := Start(Options{Dir: t.TempDir(), Extra: `ForceCommand /bin/sh -c "$SSH_ORIGINAL_COMMAND"`})
	if errors.Is(err, ErrMissing) && os.Getenv("CI") == "" {
		t.Skip("SKIPPED, NOT TESTED: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sent := filepath.Join(dir, "sent")
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(sent, "a file\n")
	write(filepath.Join(dir, "known_hosts"), "web "+s.HostKey+"\n")
	write(filepath.Join(dir, "batch"), "put "+sent+" "+filepath.Join(dir, "by-sftp")+"\n")
	host := s.User + "@127.0.0.1"
	for _, c := range []struct {
		there string
		args  []string
	}{
		{"by-sftp", []string{"sftp", "-b", filepath.Join(dir, "batch"), host}},
		{"by-scp", []string{"scp", sent, host + ":" + filepath.Join(dir, "by-scp")}},
		{"by-old-scp", []string{"scp", "-O", sent, host + ":" + filepath.Join(dir, "by-old-scp")}},
	} {
		t.Run(c.there, func(t *testing.T) {
			flags := []string{
				"-F", "/dev/null", "-o", "Port=" + port, "-o", "HostKeyAlias=web", "-o", "UserKnownHostsFile=" + filepath.Join(dir, "known_hosts"),
				"-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", filepath.Join(s.Dir, "client_key"),
			}
			said, err := exec.Command(c.args[0], append(flags, c.args[1:]...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s\n%s", err, said, s.log.String())
			}
			if got, err := os.ReadFile(filepath.Join(dir, c.there)); err != nil || string(got) != "a file\n" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
