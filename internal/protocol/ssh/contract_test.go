package ssh

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/protocol"
	"postern/internal/protocol/protocoltest"
	"postern/internal/sshserver"
)

func TestContract(t *testing.T) {
	// What reaches the server is sealed, so that the server tells of it: each
	// command is announced in one pipe, and runs once the other one answers.
	dir := t.TempDir()
	for _, name := range []string{"asked", "heard"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	announce := filepath.Join(dir, "announce")
	script := "#!/bin/sh\ncd " + dir + "\nprintf '%s\\n' \"$SSH_ORIGINAL_COMMAND\" >asked\nread -r _ <heard\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"\n"
	if err := os.WriteFile(announce, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s, stop, err := sshserver.Start(sshserver.Options{Dir: dir, Extra: "ForceCommand " + announce})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	peer := &contractPeer{server: s}
	for name, file := range map[string]**os.File{"asked": &peer.asked, "heard": &peer.heard} {
		// Opened for both, nobody waits for the other side to be there.
		if *file, err = os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0); err != nil {
			t.Fatal(err)
		}
	}
	var listening sync.WaitGroup
	listening.Go(peer.listen)
	t.Cleanup(func() {
		_ = peer.asked.Close()
		listening.Wait()
		_ = peer.heard.Close()
	})
	protocoltest.Run(t, peer)
}

type contractPeer struct {
	server       *sshserver.Server
	asked, heard *os.File

	mu   sync.Mutex
	seen func(string)
}

// listen passes on what the server announces.
func (p *contractPeer) listen() {
	for lines := bufio.NewScanner(p.asked); lines.Scan(); {
		p.mu.Lock()
		seen := p.seen
		p.mu.Unlock()
		if seen != nil {
			seen(lines.Text())
		}
		if _, err := p.heard.WriteString("go on\n"); err != nil {
			return
		}
	}
}

// Announce implements [protocoltest.Announcer].
func (p *contractPeer) Announce(t testing.TB, seen func(string)) {
	set := func(f func(string)) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seen = f
	}
	set(seen)
	t.Cleanup(func() { set(nil) })
}

func (*contractPeer) Protocol(o protocol.Options) protocol.Protocol {
	o.Authority = theAuthority
	p := New(o)
	return p
}

func (p *contractPeer) Upstream(testing.TB) (string, map[string]postern.Login) {
	return "{kind: Resource, name: " + protocoltest.Resource + ", type: ssh, address: '" + p.server.Addr + "', credentials: {username: " + p.server.User +
			", private_key: {env: X}}, options: {host_key: '" + p.server.HostKey + "'}}",
		map[string]postern.Login{p.server.User: {Username: p.server.User, PrivateKey: postern.NewSecret(p.server.Key)}}
}

func (*contractPeer) Echo(marker string) string { return "echo '" + marker + "'" }
func (p *contractPeer) Touch(marker string) string {
	return "echo " + marker + " >> " + filepath.Join(p.server.Dir, "traces")
}

func (p *contractPeer) Traces(t testing.TB, marker string) int {
	data, err := os.ReadFile(filepath.Join(p.server.Dir, "traces"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(data), marker+"\n")
}

func (p *contractPeer) Login(ctx context.Context, conn net.Conn, user, resource, token string) (protocoltest.Client, error) {
	if err := os.Remove(filepath.Join(p.server.Dir, "traces")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return login(conn, user+"@"+resource, token)
}

func login(conn net.Conn, user, token string) (*contractClient, error) {
	var banner strings.Builder
	sc, chans, reqs, err := ssh.NewClientConn(conn, "gateway", &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.Password(token)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		BannerCallback: func(text string) error { banner.WriteString(text); return nil },
	})
	if err != nil {
		_ = conn.Close()
		if banner.Len() > 0 {
			return nil, errors.New(banner.String()) // the same for everybody
		}
		return nil, err
	}
	c := &contractClient{Client: ssh.NewClient(sc, chans, reqs)}
	// Most people have a shell open, and see there what the gateway has to say.
	ch, chReqs, err := c.OpenChannel("session", nil)
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(chReqs)
	c.window = ch
	return c, nil
}

type contractClient struct {
	*ssh.Client
	window ssh.Channel
}

func (c *contractClient) Do(_ context.Context, command string) (string, error) {
	session, err := c.NewSession()
	if err != nil {
		return "", err
	}
	defer func() { _ = session.Close() }()
	var out, told bytes.Buffer
	session.Stdout, session.Stderr = &out, &told
	if err := session.Run(command); err != nil {
		return out.String(), errors.New(err.Error() + ": " + told.String())
	}
	return out.String(), nil
}

func (c *contractClient) Ended(context.Context) (string, error) {
	words, err := io.ReadAll(c.window.Stderr())
	_ = c.Wait()
	return string(words), err
}
