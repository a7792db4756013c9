package ssh

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"postern"
)

// echoing answers each connection with what it is sent, in capitals.
func echoing(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			text, _ := io.ReadAll(conn)
			_, _ = io.WriteString(conn, strings.ToUpper(string(text)))
			_ = conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // of a TCP listener
}

// Forwarded ports, both ways, and sockets work like directly, are decided over,
// and their bytes are counted.
func TestForwarding(t *testing.T) {
	port := echoing(t)
	w := newWorld(t, worldOptions{options: "forward: allow", objects: "\n---\n" + fmt.Sprintf(`kind: Access
name: some-ports
to: ['user:alice']
on: {names: [web-1]}
allow:
  - {verbs: [forward], objects: ['address:127.0.0.1:%d', 'path:/**']}
  - {verbs: [listen], objects: ['address:localhost:*', 'address:127.0.0.1:*']}
`, port)})
	if got := w.run("hello", "ssh", "-F", w.dir+"/config", "-W", fmt.Sprintf("127.0.0.1:%d", port), "web-1"); got.out != "HELLO" {
		t.Errorf("-W: %+v", got)
	}
	w.ended()
	results := w.events(postern.EventResult)
	if len(results) != 1 || results[0].Bytes != 10 {
		t.Errorf("recorded %+v", results)
	}
	if got := w.run("hello", "ssh", "-F", w.dir+"/config", "-W", "127.0.0.1:1", "web-1"); got.code == 0 || !strings.Contains(got.err, "isn't allowed here") {
		t.Errorf("another port: %+v", got)
	}
	// The server listens, and passes on to the client's own side.
	script := fmt.Sprintf(`ssh -F $CONFIG -N -R 127.0.0.1:0:127.0.0.1:%d $VIA 2>log & pid=$!
for i in $(seq 100); do grep -q 'Allocated port' log && break; sleep 0.1; done
port=$(sed -n 's/^Allocated port \([0-9]*\).*/\1/p' log)
python3 -c "import socket; s = socket.create_connection(('127.0.0.1', $port)); s.sendall(b'back'); s.shutdown(1); print(s.recv(99).decode())"
kill $pid`, port)
	if got := w.sh("web-1", script); got.out != "BACK\n" {
		t.Errorf("-R: %+v", got)
	}
	w.write("sock.py", `import socket, os
s = socket.socket(socket.AF_UNIX); s.bind("sock"); s.listen(1); print("up", flush=True)
c, _ = s.accept(); c.sendall(c.recv(99).upper())
`, 0o600)
	script = `python3 sock.py & sleep 0.5; ssh -F $CONFIG -N -L $PWD/near:$PWD/sock $VIA & pid=$!
for i in $(seq 100); do [ -S near ] && break; sleep 0.1; done
python3 -c "import socket; s = socket.socket(socket.AF_UNIX); s.connect('near'); s.sendall(b'unix'); print(s.recv(99).decode())"
kill $pid`
	if got := w.sh("web-1", script); !strings.Contains(got.out, "UNIX") {
		t.Errorf("a socket: %+v", got)
	}
}

// Without a word of the resource's, nothing is forwarded where anything is
// restricted, and no display or agent anywhere.
func TestForwardingByDefault(t *testing.T) {
	port := echoing(t)
	w := newWorld(t, worldOptions{objects: aliceMay + "---\n{kind: Rule, name: guard, on: {names: [web-1]}, use: no-recursive-delete, then: deny}\n"})
	if got := w.run("hello", "ssh", "-F", w.dir+"/config", "-W", fmt.Sprintf("127.0.0.1:%d", port), "web-1"); !strings.Contains(got.err, "can't be looked at") || got.out != "" {
		t.Errorf("-W: %+v", got)
	}
	if got := w.ssh("-A", "-X", "web-1", "echo ${SSH_AUTH_SOCK:-none} ${DISPLAY:-none}"); got.out != "none none\n" {
		t.Errorf("agent and display: %+v", got)
	}
	w = newWorld(t, worldOptions{options: "agent: allow"})
	script := `eval "$(ssh-agent)" >/dev/null; ssh-add -q key; ssh -F $CONFIG -A $VIA 'ssh-add -l'; kill $SSH_AGENT_PID`
	if got := w.sh("web-1", script); !strings.Contains(got.out, "ED25519") {
		t.Errorf("an agent that is allowed: %+v", got)
	}
}

// Through a jump host that is the gateway, the resource's own name leads to
// another session, never to a pipe.
func TestJump(t *testing.T) {
	w := newWorld(t, worldOptions{objects: aliceMay + "---\n{kind: Rule, name: guard, on: {names: [web-1]}, use: no-recursive-delete, then: deny}\n"})
	jumped := "ssh -F $CONFIG -J gw -o HostName=web-1 -o Port=22 -o User=" + w.server.User + " -o HostKeyAlias=web-1 web-1 "
	if got := w.sh("web-1", jumped+"'echo jumped'"); got.out != "jumped\n" {
		t.Errorf("got %+v", got)
	}
	if got := w.sh("web-1", jumped+"'rm -rf /nowhere'"); got.code != 126 || !strings.Contains(got.err, `"guard"`) {
		t.Errorf("a denied command: %+v", got)
	}
	// As another user of the server, it is denied like directly.
	if got := w.sh("web-1", strings.Replace(jumped, "User="+w.server.User, "User=nobody", 1)+"id"); got.code != 126 || !strings.Contains(got.err, "isn't offered as nobody") {
		t.Errorf("another user: %+v", got)
	}
}
