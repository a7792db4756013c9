package lines

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern"
	"postern/internal/policy"
	"postern/internal/protocol/ssh/shell"
)

// world is what a line is decided by: RULE stands for a rule's condition.
const world = `
kind: Resource
name: web-1
type: ssh
address: 10.0.0.7:22
---
kind: Access
name: everyone-in
to: ["everyone"]
on: {names: [web-1]}
---
kind: Rule
name: guard
RULE
then: deny
message: Not here.
`

// person sits in front of a shell.
type person struct {
	t       *testing.T
	s       *Shell
	home    string
	decided func(cmds []postern.Command)
	ask     func(ctx context.Context, tell func(string), d postern.Decision) (postern.Decision, error)

	mu     sync.Mutex
	screen bytes.Buffer
	read   int
	grown  *sync.Cond

	status int
	err    error
	done   chan struct{}
	leave  context.CancelFunc
}

// Write is the screen.
func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.screen.Write(b)
	p.grown.Broadcast()
	return len(b), nil
}

// sit starts a shell over a real one, under a rule.
func sit(t *testing.T, rule string, change func(*Config)) *person {
	t.Helper()
	base := t.TempDir()
	home := filepath.Join(base, "home")
	for _, dir := range []string{home, base + "/tmp", home + "/data/deep"} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a test's own
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(home+"/data/a.txt", []byte("alpha\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if home, _ = filepath.EvalSymlinks(home); home == "" {
		t.Fatal("no home")
	}
	objects, err := policy.Parse("policy.yaml", []byte(strings.Replace(world, "RULE", rule, 1)))
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.NewSet(objects, policy.Options{Protocols: []policy.ProtocolType{{Name: "ssh", Attrs: shell.Attrs()}}})
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, home: home, done: make(chan struct{})}
	p.grown = sync.NewCond(&p.mu)
	preview := func(cmds []postern.Command) postern.Decision {
		return set.Decide(policy.Request{
			Identity: postern.Identity{Name: "alice", Kind: postern.User}, Resource: "web-1", Now: time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC),
		}, cmds)
	}
	l := &local{t: t, home: home, sh: "/bin/bash"}
	cfg := Config{
		Screen: p, Terminal: Terminal{Name: "xterm", Size: Size{100, 30}}, Prompt: "deploy@web-1", Open: l.open, Preview: preview, Rand: rand.Reader,
		Decide: func(ctx context.Context, tell func(string), cmds []postern.Command) (postern.Decision, error) {
			d := preview(cmds)
			if p.decided != nil {
				p.decided(cmds)
			}
			if p.ask != nil {
				return p.ask(ctx, tell, d)
			}
			return d, nil
		},
		Denial: func(d postern.Decision) string { return "postern: denied by rule \"" + d.Rule + "\": " + d.Reason },
	}
	if change != nil {
		change(&cfg)
	}
	p.s = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	p.leave = cancel
	go func() {
		defer close(p.done)
		p.status, p.err = p.s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-p.done
	})
	p.sees("$ ")
	return p
}

// types presses keys.
func (p *person) types(keys string) {
	p.t.Helper()
	if _, err := p.s.Write([]byte(keys)); err != nil {
		p.t.Fatal(err)
	}
}

// sees waits for text on the screen, behind what was seen before, and returns
// what came before it.
func (p *person) sees(text string) string {
	p.t.Helper()
	seen, ok := p.saw(text, 20*time.Second)
	if !ok {
		p.t.Fatalf("no %q in %q", text, seen)
	}
	return seen
}

// saw waits for text for a while; if it doesn't come, seen is what is there.
func (p *person) saw(text string, within time.Duration) (seen string, ok bool) {
	late := false
	t := time.AfterFunc(within, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		late = true
		p.grown.Broadcast()
	})
	defer t.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		there := p.screen.String()[p.read:]
		if i := strings.Index(there, text); i >= 0 {
			p.read += i + len(text)
			return there[:i], true
		}
		if late {
			return there, false
		}
		p.grown.Wait()
	}
}

// interrupts presses Ctrl-C until there is a prompt: bash loses one that comes
// while it starts a program.
func (p *person) interrupts() {
	p.t.Helper()
	for range 20 {
		p.types("\x03")
		if _, ok := p.saw("\x1b[?2004h", time.Second); ok {
			return
		}
	}
	p.sees("\x1b[?2004h")
}

// runs types a line and returns what it printed.
func (p *person) runs(line string) string {
	p.t.Helper()
	p.types(line + "\r")
	p.sees("\x1b[?2004l")
	return strings.ReplaceAll(strings.Trim(p.sees("\x1b[?2004h"), "\r\n"), "\r\n", "\n")
}

// wants runs a line and compares what it printed.
func (p *person) wants(line, want string) {
	p.t.Helper()
	if got := p.runs(line); got != want {
		p.t.Errorf("%q printed %q, want %q", line, got, want)
	}
}

const onlyRecursive = "use: no-recursive-delete"

func TestShellKeepsItsState(t *testing.T) {
	p := sit(t, onlyRecursive, nil)
	p.wants("pwd", p.home)
	p.wants("cd data", "")
	p.wants("pwd", p.home+"/data")
	p.wants("X=5", "")
	p.wants("echo $X", "5")
	p.wants("false", "")
	p.wants("echo $?", "1")
	p.wants("(exit 42)", "")
	p.wants("echo $?; echo $?", "42\n0")
	p.wants("f() { echo in-f; }", "")
	p.wants("f", "in-f")
	p.wants("export Y=6", "")
	p.wants("sh -c 'echo $Y'", "6")
	p.wants("echo 'a\nb'", "a\nb")
	p.wants("for i in 1 2\rdo echo $i\rdone", "1\n2")
	p.wants("cat <<E\rx $X\rE", "x 5")
	p.wants("printf partial", "partial")
	p.wants("echo ütf-8 ✓", "ütf-8 ✓")
	p.wants("tty | grep -c pts", "1")
	p.wants("cd /nowhere || echo no", "bash: cd: /nowhere: No such file or directory\nno")
}

func TestDeniedLinesDontRun(t *testing.T) {
	p := sit(t, onlyRecursive, nil)
	for _, line := range []string{"rm -rf data", "$'\\x72m' -rf data", "sh", "bash -i", "exec bash", "vim x", "cat data/a.txt | sh", "eval \"$(cat data/a.txt)\"", "read X; $X", "^rm^ls", ". ./x", "more data/a.txt"} {
		if got := p.runs(line); !strings.Contains(got, "postern: denied by rule \"guard\"") {
			t.Errorf("%q wasn't denied: %q", line, got)
		}
		p.wants("echo $?", "126")
	}
	p.wants("ls data", "a.txt  deep")
}

// What is typed while a line runs goes to it, and never becomes a command.
func TestKeystrokesGoToTheCommand(t *testing.T) {
	p := sit(t, onlyRecursive, nil)
	p.types("read X; echo got-$X\r")
	p.sees("\x1b[?2004l")
	p.types("rm -rf data\r")
	p.sees("got-rm -rf data")
	p.sees("\x1b[?2004h")
	p.types("sleep 1\r")
	p.sees("\x1b[?2004l")
	p.types("rm -rf data\rrm -rf data\r")
	p.sees("\x1b[?2004h")
	p.wants("ls data", "a.txt  deep")
	p.types("cat\r")
	p.sees("\x1b[?2004l")
	p.types("hello\r\x04")
	p.sees("hello\r\nhello")
	p.sees("\x1b[?2004h")
	p.wants("echo done", "done")
	p.wants("ls data", "a.txt  deep")
}

func TestInterrupt(t *testing.T) {
	p := sit(t, onlyRecursive, nil)
	p.types("echo go; sleep 100; echo never\r")
	p.sees("\x1b[?2004lgo")
	p.interrupts()
	p.wants("echo $?", "130")
	p.types("echo go; while true; do sleep 0.1; done\r")
	p.sees("\x1b[?2004lgo")
	p.interrupts()
	p.wants("echo on", "on")
	p.types("echo half\x03")
	p.sees("^C")
	p.sees("\x1b[?2004h")
	p.wants("echo whole", "whole")
	// What an interrupted line did to variables isn't known.
	p.types("X=rm; echo go; sleep 100; X=ls\r")
	p.sees("\x1b[?2004lgo")
	p.interrupts()
	if got := p.runs("$X -rf data"); !strings.Contains(got, "denied") {
		t.Errorf("a variable of an interrupted line was taken for known: %q", got)
	}
	p.wants("ls data", "a.txt  deep")
}

func TestPasteWaitsForEnter(t *testing.T) {
	p := sit(t, onlyRecursive, nil)
	p.types("\x1b[200~echo one\recho two\r\x1b[201~")
	p.sees("> ")
	p.sees("> ")
	p.types("\r")
	p.sees("one\r\ntwo")
	p.sees("\x1b[?2004h")
	p.types("x\x1b[20")
	p.types("0~y\rtouch pasted\r\x1b[201~\x03")
	p.sees("^C")
	p.sees("\x1b[?2004h")
	p.wants("ls", "data")
}

func TestTypedAheadLinesAreLines(t *testing.T) {
	p := sit(t, onlyRecursive, nil)
	p.types("echo -rf data\r^echo^rm\rls\r")
	p.sees("-rf data")
	p.sees("denied by rule")
	p.sees("data\r\n")
}

func TestHistoryAndCompletion(t *testing.T) {
	p := sit(t, onlyRecursive, nil)
	var listed int
	p.decided = func(cmds []postern.Command) {
		if strings.HasPrefix(cmds[0].Text, "ls -1Ap") {
			listed++
		}
	}
	p.wants("echo once", "once")
	p.types("\x1b[A\r")
	p.sees("\x1b[?2004lonce")
	p.sees("\x1b[?2004h")
	p.types("cat da\ta.\t\r")
	p.sees("alpha")
	p.sees("\x1b[?2004h")
	if listed != 2 {
		t.Errorf("%d lists were decided over, want 2", listed)
	}
	p.types("ls data/\t")
	p.sees("a.txt  deep/")
}

func TestExit(t *testing.T) {
	p := sit(t, onlyRecursive, nil)
	p.types("exit 7\r")
	<-p.done
	if p.status != 7 || p.err != nil {
		t.Errorf("status %d, %v", p.status, p.err)
	}
	p = sit(t, onlyRecursive, nil)
	p.runs("(exit 3)")
	p.types("\x04")
	<-p.done
	if p.status != 3 || p.err != nil {
		t.Errorf("status %d, %v", p.status, p.err)
	}
	p = sit(t, onlyRecursive, nil)
	p.types("cat\r")
	p.sees("\x1b[?2004l")
	_ = p.s.CloseWrite()
	<-p.done // cat has read all there is, and so has the shell
	p = sit(t, onlyRecursive, nil)
	p.types("echo go; sleep 100\r")
	p.sees("\x1b[?2004lgo")
	p.leave()
	<-p.done
	p = sit(t, onlyRecursive, nil)
	p.types("kill -9 $$\r")
	<-p.done
	if p.status == 0 || p.err != nil {
		t.Errorf("status %d, %v", p.status, p.err)
	}
}

func TestReview(t *testing.T) {
	p := sit(t, onlyRecursive, nil)
	asked := make(chan struct{})
	p.ask = func(ctx context.Context, tell func(string), _ postern.Decision) (postern.Decision, error) {
		tell("postern: waiting for approval")
		close(asked)
		<-ctx.Done()
		return postern.Decision{Reason: "withdrawn"}, nil
	}
	p.types("ls data\r")
	p.sees("postern: waiting for approval")
	<-asked
	p.types("\x03")
	p.sees("withdrawn")
	p.ask = nil
	p.wants("echo $?", "130")
}

func TestResize(t *testing.T) {
	p := sit(t, onlyRecursive, nil)
	p.wants("stty size", "30 100")
	if err := p.s.Resize(Size{81, 25}); err != nil {
		t.Fatal(err)
	}
	p.wants("stty size", "25 81")
}

func TestNothingOfTheServersIsBelieved(t *testing.T) {
	p := sit(t, onlyRecursive, nil)
	for _, line := range []string{
		"echo '0' >&8", "echo x >&10", "echo x >&11", "echo x > /proc/$$/fd/0", "cat <&10", "exec 8>&1; echo x >&8", "printf() { rm -rf data; }", "pwd() { ls; }", "eval() { ls; }",
		"command() { ls; }", "alias eval=ls", "exit() { ls; }", "PWD=/; ls", "trap 'rm -rf data' DEBUG", "set -H", "PS1='$(rm -rf data)'", "PROMPT_COMMAND=ls",
	} {
		p.runs(line)
		p.wants("pwd", p.home)
	}
	p.wants("ls data", "a.txt  deep")
	entries, err := os.ReadDir(filepath.Dir(p.home) + "/tmp")
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}
