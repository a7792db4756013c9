package ssh

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/protocol"
)

// A person without a token is shown where to sign in, and is let in as whoever
// did: if that is who they said.
func TestSignInWithBrowser(t *testing.T) {
	var approved string
	w := newWorld(t, worldOptions{signIn: func(_ context.Context, resource, client string, source netip.Addr) (protocol.SignIn, error) {
		if resource != "web-1" || client != "Go" || !source.IsLoopback() {
			t.Errorf("asked for %s by %s from %s", resource, client, source)
		}
		return protocol.SignIn{Link: "https://gw.test/device?user_code=WDJB-MJHT", Token: func(context.Context) (postern.Secret, error) {
			if approved == "" {
				return postern.Secret{}, errors.New("denied")
			}
			return postern.NewSecret("token-" + approved), nil
		}}, nil
	}})
	for _, who := range []string{"alice", "bob", ""} {
		approved = who
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		shown, banner := "", ""
		sc, _, _, err := ssh.NewClientConn(conn, "gateway", &ssh.ClientConfig{
			User: "alice@web-1", HostKeyCallback: ssh.InsecureIgnoreHostKey(), BannerCallback: func(text string) error { banner += text; return nil },
			Auth: []ssh.AuthMethod{ssh.KeyboardInteractive(func(_, instruction string, questions []string, _ []bool) ([]string, error) {
				shown += instruction
				return make([]string, len(questions)), nil
			})},
		})
		if !strings.Contains(shown, "https://gw.test/device?user_code=WDJB-MJHT") {
			t.Errorf("the person is shown %q", shown)
		}
		if (err == nil) != (who == "alice") || err != nil && !strings.Contains(banner, "postern: ") {
			t.Errorf("approved by %q: %v, %q", who, err, banner)
		}
		if err == nil {
			_ = sc.Close()
		}
		_ = conn.Close()
	}
}

// Each user name means one thing.
func TestUserNames(t *testing.T) {
	for user, want := range map[string]wish{
		"alice@web-1":                    {identity: "alice", resource: "web-1"},
		"alice/deploy@web-1":             {identity: "alice", login: "deploy", resource: "web-1"},
		"alice@example.com@web-1":        {identity: "alice@example.com", resource: "web-1"},
		"alice@example.com/deploy@web-1": {identity: "alice@example.com", login: "deploy", resource: "web-1"},
		"alice":                          {identity: "alice"},
		"@web-1":                         {resource: "web-1"},
	} {
		if got := readUser(user); got != want {
			t.Errorf("%s: %+v, want %+v", user, got, want)
		}
	}
	w := newWorld(t, worldOptions{})
	if got := w.ssh("-o", "User=alice", "web-1", "true"); got.code != 255 || !strings.Contains(got.err, "Put it into the user name") {
		t.Errorf("without a resource: %+v", got)
	}
}
