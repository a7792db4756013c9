package ssh

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// strictChannel is a channel to a client that breaks off at what comes after the end.
type strictChannel struct {
	ssh.Channel

	mu   sync.Mutex
	said bytes.Buffer
	over bool
}

func (c *strictChannel) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		c.said.WriteString("AFTER THE END: ")
	}
	return c.said.Write(p)
}

func (c *strictChannel) Stderr() io.ReadWriter {
	return struct {
		io.Reader
		io.Writer
	}{nil, c}
}

func (c *strictChannel) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	return nil
}

func (c *strictChannel) SendRequest(kind string, _ bool, _ []byte) (bool, error) {
	_, err := io.WriteString(&c.said, "["+kind+"]")
	return true, err
}

func (c *strictChannel) Close() error { return nil }

// A channel that fails while its connection is lost has two who would tell the
// client why: one of them does.
func TestOneLastWord(t *testing.T) {
	for range 200 {
		strict := &strictChannel{}
		c := &channel{ch: strict}
		var both sync.WaitGroup
		both.Go(func() { c.farewell("it failed\r\n", statusUnreachable) })
		both.Go(func() { c.lastWord("it was lost") })
		both.Wait()
		c.exit(0)
		said := strict.said.String()
		if words, ok := strings.CutSuffix(said, "\r\n[exit-status]"); !ok || words != "it failed" && words != "it was lost" {
			t.Fatalf("the client was told %q", said)
		}
	}
}
