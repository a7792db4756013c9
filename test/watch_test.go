package test

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/sshserver"
)

// running is a program that runs meanwhile, and what it has printed.
type running struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out logBuffer
}

// begin runs the CLI, or a native client, as somebody.
func (g *gateway) begin(t *testing.T, token string, env []string, args ...string) *running {
	t.Helper()
	p := &running{t: t, cmd: exec.CommandContext(t.Context(), args[0], args[1:]...)}
	p.cmd.Env, p.cmd.Dir = append(g.environ(token), env...), g.dir
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with the client that it runs
	p.cmd.WaitDelay = 5 * time.Second
	in, err := p.cmd.StdinPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.in = in
	return p
}

// prints waits until it has printed a text.
func (p *running) prints(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(p.out.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%q isn't printed: %q", text, p.out.String())
		}
	}
}

func (p *running) types(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// stop ends it, without a word.
func (p *running) stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait() // it was killed
}

// live is the id of the one session that is open with a resource, once there is
// but one.
func (g *gateway) live(token, resource string) string {
	g.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		ids, err := g.run(token, "session", "ls", "--live", "--resource", resource, "-q")
		if err != nil {
			g.t.Fatal(err)
		}
		if all := strings.Fields(ids); len(all) == 1 {
			return all[0]
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("open with %s: %q", resource, ids)
		}
	}
}

// noneLive waits until no session with a resource is open.
func (g *gateway) noneLive(token, resource string) {
	g.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) { // polling another process
		ids, err := g.run(token, "session", "ls", "--live", "--resource", resource, "-q")
		if err != nil {
			g.t.Fatal(err)
		}
		if ids == "" {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("open yet with %s: %q", resource, ids)
		}
	}
}

// newShells prepares a gateway with an SSH resource, web-1, that shows what
// passes in shells, and records it.
func newShells(t *testing.T, extra string) *gateway {
	t.Helper()
	dir := t.TempDir()
	server, stop, err := sshserver.Start(sshserver.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	g := newGateway(t, extra)
	g.write("objects/web.yaml", fmt.Sprintf(shells, server.Addr, server.User, filepath.Join(dir, "client_key"), server.HostKey))
	return g
}

// Who watches is told to OpenSSH's client and to psql, and only who may watches.
func TestWatched(t *testing.T) {
	g := newShells(t, "")
	g.write("objects/watch.yaml", "{kind: Recordings, name: on-call, watch: [\"user:dave\"]}\n")
	g.start()
	alice, dave, petra := g.login("alice"), g.login("dave"), g.login("petra")
	const began, ended = "postern: dave is watching this session", "postern: dave has stopped watching this session"

	t.Run("ssh", func(t *testing.T) {
		shell := g.begin(t, alice, nil, g.program, "connect", "web-1", "--", "-tt", "stty -echo; echo ready; cat")
		shell.prints("ready")
		id := g.live(petra, "web-1")
		for _, args := range [][]string{{"watch", id}, {"export", id}, {"export", "-f", id}, {"replay", id}} {
			if out, code, said := g.runCode(petra, append([]string{"session"}, args...)...); code != 4 || !strings.Contains(said, "names you in watch") || strings.Contains(out, "ready") {
				t.Errorf("an auditor, %q: %q, %d, %s", args, out, code, said)
			}
		}
		watch := g.begin(t, dave, nil, g.program, "session", "watch", id)
		watch.prints("ready")
		shell.prints("\r\n" + began)
		shell.types("what the watched typed")
		watch.prints("what the watched typed")
		watch.stop()
		shell.prints(ended)
		shell.types("and when they were alone")
		shell.prints("and when they were alone")
		if strings.Contains(shell.out.String(), "petra") || strings.Count(shell.out.String(), began) != 1 {
			t.Errorf("alice read %q", shell.out.String())
		}
		shell.stop()
	})
	t.Run("psql", func(t *testing.T) {
		host, port, _ := strings.Cut(g.postgres, ":")
		psql := g.begin(t, alice, []string{"PGPASSWORD=" + g.sessionToken(alice)}, "psql", "-X", "-At",
			fmt.Sprintf("host=%s port=%s user=alice dbname=orders-db sslmode=require", host, port))
		psql.types("SELECT 'ready' || 1;")
		psql.prints("ready1")
		id := g.live(petra, "orders-db")
		watch := g.begin(t, dave, nil, g.program, "session", "export", "-f", id)
		watch.prints("ready1")
		psql.types("SELECT 'seen' || 1;")
		psql.prints("seen1")
		psql.prints("NOTICE:  " + began)
		watch.prints("seen1")
		// In the midst of a result, of COPY and of a transaction the two stay in step.
		psql.types("BEGIN; SELECT count(*) FROM generate_series(1, 200000) g, pg_sleep(0.3);")
		psql.types("COPY (SELECT g, repeat('x', 100) FROM generate_series(1, 100000) g) TO STDOUT \\g /dev/null")
		watch.stop()
		again := g.begin(t, dave, nil, g.program, "session", "export", "-f", id)
		again.prints("seen1")
		again.stop()
		psql.types("COMMIT; SELECT 'in step' || 1;")
		psql.prints("in step1")
		psql.types("SELECT 'later' || 1;")
		psql.prints("later1")
		psql.prints("NOTICE:  " + ended)
		if n := strings.Count(psql.out.String(), began); n != 2 {
			t.Errorf("alice was told %d times: %s", n, psql.out.String())
		}
		psql.stop()
	})
	t.Run("a connection that only forwards", func(t *testing.T) {
		g.noneLive(petra, "web-1")
		forward := g.begin(t, alice, nil, g.program, "connect", "web-1", "--", "-N")
		id := g.live(petra, "web-1")
		if out, code, said := g.runCode(dave, "session", "watch", id); code == 0 || out != "" || !strings.Contains(said, "can't be told that it is watched") {
			t.Errorf("%q, %d, %s", out, code, said)
		}
		forward.stop()
	})
	t.Run("the right is taken away", func(t *testing.T) {
		shell := g.begin(t, alice, nil, g.program, "connect", "web-1", "--", "-tt", "echo ready; cat")
		shell.prints("ready")
		watch := g.begin(t, dave, nil, g.program, "session", "watch", g.live(petra, "web-1"))
		watch.prints("ready")
		g.write("objects/watch.yaml", "{kind: Recordings, name: on-call, watch: [\"user:nobody\"]}\n")
		shell.prints(ended)
		if err := watch.cmd.Wait(); err == nil {
			t.Error("it ended as if the session had")
		}
		shell.stop()
	})
	t.Run("audited", func(t *testing.T) {
		out, err := g.run(petra, "audit", "search", "--action", "session.watch", "-o", "json")
		if err != nil {
			t.Fatal(err)
		}
		for what, want := range map[string]int{`"outcome":"refused"`: 4, `"outcome":"ok"`: 5, `"outcome":"ended"`: 4, `"outcome":"failed"`: 1} {
			if n := strings.Count(strings.ReplaceAll(out, `": "`, `":"`), what); n != want {
				t.Errorf("%d entries with %s, not %d:\n%s", n, what, want, out)
			}
		}
		g.noneLive(petra, "web-1")
		id, err := g.run(petra, "session", "ls", "--resource", "web-1", "--ended", "-q")
		if err != nil {
			t.Fatal(err)
		}
		replay, err := g.run(petra, "session", "replay", strings.Fields(id)[0])
		if err != nil || !bytes.Contains([]byte(replay), []byte("dave began to watch")) {
			t.Errorf("the recording: %v\n%s", err, replay)
		}
	})
}
