package ssh

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"postern/internal/gate"
)

// A connection that only forwards can't be told who watches it, so nobody begins
// to. Once it has a shell whoever watches is told there, at once.
func TestForwardOnlyIsNotWatched(t *testing.T) {
	port := echoing(t)
	w := newWorld(t, worldOptions{options: "forward: allow, shell: record"})
	near, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	sc, chans, globals, err := ssh.NewClientConn(near, "gateway", &ssh.ClientConfig{
		User: "alice@web-1", Auth: []ssh.AuthMethod{ssh.Password("token-alice")}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := &contractClient{Client: ssh.NewClient(sc, chans, globals)}
	t.Cleanup(func() { _ = client.Client.Close() })
	conn, err := client.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	id := w.Sessions.All()[0].ID
	refused := func(when string) {
		t.Helper()
		var denied *gate.DeniedError
		if _, err := w.Watch(id, "carol"); !errors.As(err, &denied) || !strings.Contains(denied.Reason, "only forwards ports") {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("before any shell")
	// A channel of a session that has begun nothing shows nothing, either.
	idle, reqs, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(reqs)
	refused("with a channel in which nothing was begun")

	p := sitAt(t, client, "echo ready; cat")
	p.sees("ready")
	stop, err := w.Watch(id, "carol")
	if err != nil {
		t.Fatal(err)
	}
	p.sees("postern: carol is watching this session")
	another := sitAt(t, client, "echo second; cat")
	another.sees("postern: carol is watching this session")
	another.sees("second")
	_ = another.session.Close()
	p.typing("still there\r")
	p.sees("still there")
	stop()
	p.sees("postern: carol has stopped watching this session")
	_ = p.session.Close()
	_ = p.session.Wait() // it was closed
	_ = another.session.Wait()
	_ = idle.Close()
	// The gateway learns a moment later that the client has closed them.
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		stop, err := w.Watch(id, "carol")
		if err != nil {
			break
		}
		stop()
	}
	refused("after its shells")
	if _, err := conn.Write([]byte("on")); err != nil {
		t.Error("the port is closed")
	}
}
