// Package sshserver runs a private OpenSSH server: with its own keys and
// configuration, on a port of its own on the loopback interface, gone when its
// owner is. The demo and the tests use it; nothing that serves clients does.
package sshserver

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Options say what the server is like.
type Options struct {
	// Dir is the folder for its keys and its configuration; "": one that is made,
	// and removed when the server is stopped.
	Dir string
	// Extra are more lines of sshd_config.
	Extra string
}

// Server is a running OpenSSH server. Its fields are not to be changed.
type Server struct {
	Dir     string // its configuration, and client_key, which it takes
	Addr    string
	HostKey string // as in known_hosts, without the host
	Key     string // PEM of the private key that it takes for User
	User    string // whoever runs this: it runs as, and takes, nobody else

	made   bool // Dir is ours
	log    logTail
	cmd    *exec.Cmd
	exited chan struct{} // closed when the server is gone
}

// ErrMissing says that this machine has no OpenSSH server.
var ErrMissing = errors.New("no OpenSSH server found: install it (Debian: apt-get install openssh-server)")

// Start starts a server, and returns when it takes connections. stop ends it.
func Start(o Options) (s *Server, stop func(), err error) {
	program, err := exec.LookPath("sshd")
	if err != nil {
		program = "/usr/sbin/sshd" // which no user has in PATH
	}
	if _, err := os.Stat(program); err != nil {
		return nil, nil, ErrMissing
	}
	me, err := user.Current()
	if err != nil {
		return nil, nil, err
	}
	// Debian's sshd wants its folder, which its service would make.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil && me.Uid == "0" { //nolint:gosec // as the service's own
		return nil, nil, err
	}
	s = &Server{Dir: o.Dir, User: me.Username, exited: make(chan struct{})}
	if s.made = o.Dir == ""; s.made {
		if s.Dir, err = os.MkdirTemp("", "sshserver-"); err != nil {
			return nil, nil, err
		}
	}
	if err := s.start(program, o.Extra); err != nil {
		return nil, nil, errors.Join(err, s.stop())
	}
	return s, func() { _ = s.stop() }, nil // its files are in a folder for such
}

func (s *Server) start(program, extra string) error {
	if err := s.configure(extra); err != nil {
		return err
	}
	return s.launch(program)
}

// configure writes the keys and the configuration.
func (s *Server) configure(extra string) error {
	var err error
	if s.HostKey, _, err = s.writeKey("host_key"); err != nil {
		return err
	}
	clientKey, private, err := s.writeKey("client_key")
	if err != nil {
		return err
	}
	s.Key = private
	if s.Addr, err = freeAddress(); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(s.Addr)
	return errors.Join(
		s.write("authorized_keys", clientKey+"\n"),
		s.write("sshd_config", fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPidFile none\n"+
			"PasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp %s\nMaxSessions 300\nMaxStartups 100\nAcceptEnv LANG LC_* FOO\n"+
			"PermitTTY yes\nAllowAgentForwarding yes\nGatewayPorts no\nPrintMotd no\nPrintLastLog no\n"+
			// Whoever runs it may have start-up files that take longer than a test does.
			"SetEnv HOME=%s\n%s\n", port, filepath.Join(s.Dir, "host_key"), filepath.Join(s.Dir, "authorized_keys"), fileServer(), s.Dir, extra)),
	)
}

// fileServer is what serves files: the program, where this machine has it. A
// ForceCommand can run that as any other; "internal-sftp" is one only within sshd,
// and means nothing to a shell.
func fileServer() string {
	for _, dir := range []string{"/usr/lib/openssh", "/usr/libexec/openssh", "/usr/lib/ssh", "/usr/libexec"} {
		program := filepath.Join(dir, "sftp-server")
		if _, err := os.Stat(program); err == nil {
			return program
		}
	}
	return "internal-sftp"
}

func (s *Server) write(name, content string) error {
	return os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o600)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// launch starts the server, and returns when it takes connections.
func (s *Server) launch(program string) error {
	s.cmd = exec.Command(program, "-D", "-e", "-f", filepath.Join(s.Dir, "sshd_config"))
	s.cmd.Dir, s.cmd.Stderr, s.cmd.SysProcAttr = s.Dir, &s.log, childAttr()
	started := make(chan error, 1)
	go func() {
		// The kernel ties the child's life to this thread, see childAttr.
		runtime.LockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // how it ended is in its log
		}
		close(s.exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start sshd: %w", err)
	}
	for range 200 {
		conn, err := net.Dial("tcp", s.Addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.exited:
			return fmt.Errorf("sshd ended at once: %s", s.log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("sshd doesn't answer: %s", s.log.String())
}

// stop ends the server. What its clients run in sessions ends as they go.
func (s *Server) stop() error {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill() // it may have ended
		<-s.exited
	}
	if !s.made {
		return nil
	}
	return os.RemoveAll(s.Dir)
}

// writeKey makes a key pair, and returns its public and its private form.
func (s *Server) writeKey(file string) (public, private string, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return "", "", err
	}
	text := pem.EncodeToMemory(block)
	if err := s.write(file, string(text)); err != nil {
		return "", "", err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return "", "", err
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), string(text), nil
}

// logTail keeps the first of what the server logged.
type logTail struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const maxLog = 64 << 10

// Write implements [io.Writer].
func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p[:min(len(p), maxLog-min(l.text.Len(), maxLog))])
	return len(p), nil
}

// String is what was logged.
func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
