package ssh

import (
	"bytes"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"postern"
)

var anySequence = regexp.MustCompile("\x1b(\\[[0-9;?]*[ -/]*[@-~]|\\][^\a\x1b]*(\a|\x1b\\\\)|[()=>][A-Z0-9]?)")

// person sits at a terminal, in a shell.
type person struct {
	t       *testing.T
	client  *contractClient
	session *ssh.Session
	keys    interface{ Write([]byte) (int, error) }

	mu     sync.Mutex
	screen bytes.Buffer
	seen   int
}

// Write is the screen.
func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.Write(b)
}

// sit logs alice in at a terminal. With a command, it runs there.
func (w *world) sit(t *testing.T, command string) *person {
	t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	client, err := login(conn, "alice@web-1", "token-alice")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return sitAt(t, client, command)
}

// sitAt is sit in another channel of a client.
func sitAt(t *testing.T, client *contractClient, command string) *person {
	t.Helper()
	p := &person{t: t, client: client}
	var err error
	if p.session, err = client.NewSession(); err != nil {
		t.Fatal(err)
	}
	if err := p.session.RequestPty("xterm", 24, 80, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	p.session.Stdout, p.session.Stderr = p, p
	if p.keys, err = p.session.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if command == "" {
		err = p.session.Shell()
	} else {
		err = p.session.Start(command)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *person) typing(keys string) {
	p.t.Helper()
	if _, err := p.keys.Write([]byte(keys)); err != nil {
		p.t.Fatal(err)
	}
}

// sees waits until text is on the screen, after what was seen before.
func (p *person) sees(text string) {
	p.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		p.mu.Lock()
		shown := anySequence.ReplaceAllString(p.screen.String(), "")
		if i := strings.Index(shown[min(p.seen, len(shown)):], text); i >= 0 {
			p.seen += i + len(text)
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		if time.Now().After(deadline) {
			p.t.Fatalf("%q isn't on the screen:\n%s", text, shown)
		}
		time.Sleep(10 * time.Millisecond) // the screen belongs to another process
	}
}

// A shell of lines runs what is allowed, keeps its state, and refuses the rest.
func TestLineShell(t *testing.T) {
	w := newWorld(t, worldOptions{options: "shell: lines", objects: aliceMay + secretMask + `---
{kind: Rule, name: no-rm, on: {names: [web-1]}, use: no-recursive-delete, then: deny, message: Name the files.}
---
{kind: Rule, name: look, on: {names: [web-1]}, when: 'command.text.contains("reviewed")', then: review, review: {approvers: ['user:carol'], approvals: 1, timeout: 10m}}
`})
	w.write("plain", "id "+theSecret+"\n", 0o600)
	p := w.sit(t, "")
	p.sees("@web-1:")
	p.typing("cd " + w.dir + "\r")
	p.sees(w.dir + "$ ")
	p.typing("cat plain\r")
	p.sees("id [redacted]")
	p.sees("$ ") // until then, what is typed is for what runs
	p.typing("rm -rf " + w.dir + "\r")
	p.sees(`postern: denied by rule "no-rm": Name the files.`)
	p.typing("echo $?\r")
	p.sees("126\r\n")
	p.sees("$ ")
	p.typing("echo reviewed\r")
	p.sees("postern: waiting for approval by user:carol")
	w.Harness.Reviews.Settle((<-w.Harness.Reviews.Opened()).ID, postern.ReviewApproved)
	p.sees("reviewed\r\n")
	p.sees("$ ")
	p.typing("exit 3\r")
	err := p.session.Wait()
	if exit, ok := err.(*ssh.ExitError); !ok || exit.ExitStatus() != 3 { //nolint:errorlint // it isn't wrapped
		t.Errorf("it ended with %v", err)
	}
	for _, want := range []string{"allow cd", "allow cat path:", "deny rm path:"} {
		if !strings.Contains(w.commands(), want) {
			t.Errorf("%q is not among the commands:\n%s", want, w.commands())
		}
	}
	if got := w.sh("web-1", `echo "rm -rf /" | ssh -F $CONFIG $VIA`); got.code != 126 || !strings.Contains(got.err, "needs a terminal") {
		t.Errorf("without a terminal: %+v", got)
	}
}

// What a person types is recorded where it is echoed, and counted where not.
func TestTypedInput(t *testing.T) {
	w := newWorld(t, worldOptions{options: "shell: record"})
	p := w.sit(t, `/bin/sh -c 'printf "name: "; read name; stty -echo; printf "password: "; read p; stty echo; echo; echo "hello $name, ${#p}"'`)
	p.sees("name: ")
	p.typing("alice\r")
	p.sees("password: ")
	p.typing("hunter22\r")
	p.sees("hello alice, 8")
	if err := p.session.Wait(); err != nil {
		t.Error(err)
	}
	typed, hidden := "", int64(0)
	for _, e := range w.events(postern.EventInput) {
		typed += e.Text
		hidden += e.Bytes
	}
	if typed != "alice\r\r" || hidden != 8 {
		t.Errorf("recorded %q, and %d hidden", typed, hidden)
	}
}
