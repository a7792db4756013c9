package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The demo runs from an empty folder, and its tour shows what it says.
func TestDemo(t *testing.T) {
	cluster.Get(t) // fails or skips when there is no server to run
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "demo data") // a path with a space, as people have
	demo, printed, ended := startDemo(t, program, dir, nil)
	if strings.Contains(printed.String(), "the demo goes without") {
		t.Error("there is no server to log in to, and the tests have OpenSSH")
	}
	// Another in the same folder doesn't start, and leaves the first one's alone.
	out, err := exec.Command(program, "demo", "--dir", dir, "--https", freeAddress(t), "--postgres", freeAddress(t), "--ssh", freeAddress(t)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "a demo runs in") {
		t.Errorf("a second demo in the folder: %v: %s", err, out)
	}
	script := exec.Command(program, "demo", "--script", "--dir", dir)
	var tour bytes.Buffer
	script.Stdout, script.Stderr = &tour, &tour
	if err := script.Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "postern.log"))
		t.Fatalf("the tour: %v\n%s\n%s", err, tour.String(), log)
	}
	if !strings.Contains(tour.String(), `denied by rule "no-recursive-delete"`) {
		t.Errorf("the tour shows no shell:\n%s", tour.String())
	}
	// Its server with a shell takes files, too, from OpenSSH's own clients.
	files := exec.Command("sh", "-ec", `. "$1/as/alice"
postern ssh config >"$HOME/config"
scp -F "$HOME/config" "$1/postern.yaml" web-1:sent.txt
echo "ls -l sent.txt" | sftp -b - -F "$HOME/config" web-1`, "sh", dir)
	files.Env = append(os.Environ(), "HOME="+t.TempDir())
	if out, err := files.CombinedOutput(); err != nil || !strings.Contains(string(out), "-rw-") {
		t.Errorf("files: %v: %s", err, out)
	}
	stopDemo(t, demo, printed, ended)
}

// Where there is no OpenSSH the demo says so, and goes on without: its tour has
// no step that would need it.
func TestDemoWithoutSSH(t *testing.T) {
	cluster.Get(t)
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "demo")
	demo, printed, ended := startDemo(t, program, dir, []string{"PATH=" + t.TempDir()})
	if text := printed.String(); !strings.Contains(text, "the demo goes without a server to log in to: there is no OpenSSH client") || strings.Contains(text, "web-1") {
		t.Errorf("it printed:\n%s", text)
	}
	stopDemo(t, demo, printed, ended)
}

// startDemo runs the demo with more of an environment, until it has printed its tour.
func startDemo(t *testing.T, program, dir string, environ []string) (demo *exec.Cmd, printed *logBuffer, ended chan error) {
	t.Helper()
	printed, ended = &logBuffer{}, make(chan error, 1)
	demo = exec.Command(program, "demo", "--dir", dir, "--https", freeAddress(t), "--postgres", freeAddress(t), "--ssh", freeAddress(t))
	demo.Env = append(os.Environ(), environ...)
	demo.Stdout, demo.Stderr = printed, printed
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- demo.Wait() }()
	t.Cleanup(func() { _ = demo.Process.Kill() })
	for deadline := time.Now().Add(40 * time.Second); !strings.Contains(printed.String(), "Ctrl-C ends the demo."); {
		select {
		case err := <-ended:
			t.Fatalf("the demo ended: %v\n%s", err, printed.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("the demo isn't ready:\n%s", printed.String())
		}
	}
	return demo, printed, ended
}

// stopDemo ends the demo as Ctrl-C does.
func stopDemo(t *testing.T, demo *exec.Cmd, printed *logBuffer, ended chan error) {
	t.Helper()
	if err := demo.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the demo ended with %v\n%s", err, printed.String())
		}
	case <-time.After(30 * time.Second):
		t.Error("the demo doesn't end on Ctrl-C")
	}
}

// The script without a demo says what to do.
func TestDemoScriptWithoutDemo(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "demo", "--script", "--dir", filepath.Join(t.TempDir(), "none")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no demo runs in") || !strings.Contains(string(out), "hint:") {
		t.Errorf("got %v: %s", err, out)
	}
}
