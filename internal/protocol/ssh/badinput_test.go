package ssh

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func (w *world) client(t *testing.T) *contractClient {
	t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := login(conn, "alice@web-1", "token-alice")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// fine checks that a client is served as ever.
func (c *contractClient) fine(t *testing.T) {
	t.Helper()
	if out, err := c.Do(t.Context(), "echo fine"); err != nil || out != "fine\n" {
		t.Errorf("afterwards: %q, %v", out, err)
	}
}

// Clients that never log in keep nobody out who comes from elsewhere.
func TestUnauthenticatedFlood(t *testing.T) {
	w := newWorld(t, worldOptions{})
	for range maxVisitorsOfOne {
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil { // it is being served
			t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(conn); len(text) > 0 {
		t.Errorf("one too many is answered with %q", text)
	}
	elsewhere := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	if conn, err = elsewhere.Dial("tcp", w.addr); err != nil {
		t.Fatal(err)
	}
	c, err := login(conn, "alice@web-1", "token-alice")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	c.fine(t)
}

// Prefix truncation ("Terrapin") is met by strict key exchange, which the
// server's first packet offers.
func TestStrictKeyExchange(t *testing.T) {
	w := newWorld(t, worldOptions{})
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "SSH-2.0-test\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	var length [4]byte
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, length[:]); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, min(binary.BigEndian.Uint32(length[:]), 64<<10))
	if _, err := io.ReadFull(r, said); err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]bool{
		"kex-strict-s-v00@openssh.com": true, "aes128-gcm@openssh.com": true, "diffie-hellman-group1-sha1": false, "hmac-sha1,": false, "-cbc": false,
	} {
		if bytes.Contains(said, []byte(word)) != want {
			t.Errorf("%s is offered: %v", word, !want)
		}
	}
}

// A client has so many channels and no more, and none of them costs another.
func TestManyChannels(t *testing.T) {
	w := newWorld(t, worldOptions{})
	c := w.client(t)
	c.fine(t)
	opened := 1 // the window that login opens
	for {
		ch, reqs, err := c.OpenChannel("session", nil)
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) && refused.Reason == ssh.ResourceShortage {
			break
		}
		if err != nil || opened > 2*maxChannels {
			t.Fatalf("channel %d: %v", opened, err)
		}
		defer func() { _ = ch.Close() }()
		go ssh.DiscardRequests(reqs)
		opened++
	}
	if opened != maxChannels {
		t.Errorf("%d channels were opened", opened)
	}
	// Requests of one, more than anybody answers at once, don't hold the others up.
	if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Error(err)
	}
}

// Requests that make no sense are refused, one by one.
func TestMalformedRequests(t *testing.T) {
	w := newWorld(t, worldOptions{})
	c := w.client(t)
	for name, payload := range map[string]string{
		"exec": "\x00\x00\x00\x09x", "pty-req": "\xff\xff\xff\xff", "env": "\x00", "subsystem": "", "window-change": "1234", "signal": "\x00\x00\x00\xff",
		"auth-agent-req@openssh.com": "?", "x11-req": "", "eow@openssh.com": "", "nonsense": "\x00", "shell": "unexpected",
	} {
		ch, reqs, err := c.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(reqs)
		if ok, err := ch.SendRequest(name, true, []byte(payload)); ok || err != nil {
			t.Errorf("%s is answered with %v, %v", name, ok, err)
		}
		_ = ch.Close()
	}
	for kind, extra := range map[string]string{"direct-tcpip": "\x00\x00", "direct-streamlocal@openssh.com": "", "x11": "", "forwarded-tcpip": "", "tun@openssh.com": "", "auth-agent@openssh.com": ""} {
		if ch, _, err := c.OpenChannel(kind, []byte(extra)); err == nil {
			t.Errorf("a channel of type %s is opened", kind)
			_ = ch.Close()
		}
	}
	for name, payload := range map[string]string{"tcpip-forward": "\x00", "cancel-tcpip-forward": "", "streamlocal-forward@openssh.com": "\x01", "hostkeys-prove-00@openssh.com": "", "?": ""} {
		if ok, _, err := c.SendRequest(name, true, []byte(payload)); ok || err != nil {
			t.Errorf("%s is answered with %v, %v", name, ok, err)
		}
	}
	c.fine(t)
}

// Bytes that are no SFTP end the conversation, and nothing else.
func TestMalformedSFTP(t *testing.T) {
	w := newWorld(t, worldOptions{})
	c := w.client(t)
	hello := "\x00\x00\x00\x05\x01\x00\x00\x00\x03"
	packet := func(kind byte, body string) string {
		p := filePacket{kind: kind, body: []byte(body)}
		return string(p.append(nil))
	}
	for name, said := range map[string]string{
		"nothing":                "",
		"no hello":               packet(fxOpen, "\x00\x00\x00\x01\x00\x00\x00\x01x"),
		"a huge packet":          hello + "\xff\xff\xff\xff\x03",
		"an empty packet":        hello + "\x00\x00\x00\x00",
		"half a packet":          hello + "\x00\x00\x00\x20\x03\x00",
		"a path beyond the end":  hello + packet(fxOpen, "\x00\x00\x00\x01\x00\x00\xff\xffx"),
		"a NUL in a path":        hello + packet(fxRemove, "\x00\x00\x00\x01\x00\x00\x00\x02/\x00"),
		"no id":                  hello + packet(fxStat, "\x00"),
		"a write without a data": hello + packet(fxWrite, "\x00\x00\x00\x01\x00\x00\x00\x01h"),
	} {
		ch, reqs, err := c.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(reqs)
		if ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); !ok || err != nil {
			t.Fatal(ok, err)
		}
		go func() { _, _ = io.Copy(io.Discard, ch.Stderr()) }()
		_, _ = io.WriteString(ch, said)
		_ = ch.CloseWrite()
		ended := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, ch)
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Errorf("%s: it goes on", name)
		}
		_ = ch.Close()
	}
	// Handles that nobody gave out, kinds that nobody knows.
	ch, reqs, err := c.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(reqs)
	if ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); !ok || err != nil {
		t.Fatal(ok, err)
	}
	_, _ = io.WriteString(ch, hello)
	if p, _, err := readFilePacket(ch, nil); err != nil || p.kind != fxVersion {
		t.Fatalf("hello is answered with %v, %v", p, err)
	}
	for _, p := range []filePacket{
		{kind: fxRead, body: []byte("\x00\x00\x00\x07\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00")},
		{kind: fxClose, body: []byte("\x00\x00\x00\x07\x00\x00\x00\x04\x00\x00\x00\x00")},
		{kind: 99, body: []byte("\x00\x00\x00\x07")},
		{kind: fxExtended, body: []byte("\x00\x00\x00\x07\x00\x00\x00\x0bevil@server")},
		{kind: fxStatus, body: []byte("\x00\x00\x00\x07\x00\x00\x00\x00")},
	} {
		_, _ = ch.Write(p.append(nil))
		answer, _, err := readFilePacket(ch, nil)
		if id, _ := answer.id(); err != nil || answer.kind != fxStatus || id != 7 || binary.BigEndian.Uint32(answer.body[4:]) == fxOK {
			t.Errorf("%v is answered with %v, %v", p, answer, err)
		}
	}
	_ = ch.Close()
	c.fine(t)
}

// A client that doesn't read holds up its own command and nothing else, and a
// line without an end takes no more memory than one with, masked or not.
func TestEndlessOutput(t *testing.T) {
	w := newWorld(t, worldOptions{objects: aliceMay + secretMask})
	c := w.client(t)
	stuck, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stuck.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := stuck.Start("yes"); err != nil {
		t.Fatal(err)
	}
	c.fine(t)
	long, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := long.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	if err := long.Start("head -c 67108864 /dev/zero | tr '\\000' x"); err != nil {
		t.Fatal(err)
	}
	var most uint64
	buf := make([]byte, 1<<20)
	total := 0
	for i := 0; ; i++ {
		n, err := out.Read(buf)
		total += n
		if i%256 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
		}
		if err != nil {
			break
		}
	}
	if total != size {
		t.Errorf("%d bytes came", total)
	}
	if most > 128<<20 {
		t.Errorf("%d MiB are in use", most>>20)
	}
}

// A server that can't be reached is told of without its address.
func TestUnreachableServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 400 no\r\n\r\n")
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	dead := *server(t)
	dead.Addr = l.Addr().String()
	w := newWorld(t, worldOptions{server: &dead})
	got := w.ssh("web-1", "true")
	if got.code != 255 || !strings.Contains(got.err, "postern: can't reach resource web-1") || strings.Contains(got.err, dead.Addr) {
		t.Errorf("got %+v", got)
	}
}
