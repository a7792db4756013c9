// Package sshserver runs real OpenSSH servers for tests, on loopback, as the user
// who runs the tests.
package sshserver

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Server is a running OpenSSH server.
type Server struct {
	Dir     string // its configuration, and client_key, which it takes
	Addr    string
	HostKey string // as in known_hosts, without the host
	Key     string // PEM of the private key that it takes for User
	User    string
	log     *bytes.Buffer
}

// Start runs a server with its keys and its configuration in dir; extra are more
// lines of sshd_config. stop ends it.
func Start(dir, extra string) (s *Server, stop func(), err error) {
	program, err := exec.LookPath("sshd")
	if err != nil {
		program = "/usr/sbin/sshd"
	}
	me, err := user.Current()
	if err != nil {
		return nil, nil, err
	}
	// Debian's sshd wants its folder, which its service would make.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil && me.Uid == "0" {
		return nil, nil, err
	}
	hostKey, _, err := writeKey(filepath.Join(dir, "host_key"))
	if err != nil {
		return nil, nil, err
	}
	clientKey, pemText, err := writeKey(filepath.Join(dir, "client_key"))
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "authorized_keys"), []byte(clientKey+"\n"), 0o600); err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	config := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPidFile none\n"+
		"PasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nMaxSessions 300\nMaxStartups 100\nAcceptEnv LANG LC_* FOO\n"+
		"PermitTTY yes\nAllowAgentForwarding yes\nGatewayPorts no\nPrintMotd no\nPrintLastLog no\n"+
		// Whoever runs the tests may have start-up files that take longer than they do.
		"SetEnv HOME=%s\n%s\n",
		port, filepath.Join(dir, "host_key"), filepath.Join(dir, "authorized_keys"), dir, extra)
	if err := os.WriteFile(filepath.Join(dir, "sshd_config"), []byte(config), 0o600); err != nil {
		return nil, nil, err
	}
	s = &Server{Dir: dir, Addr: addr, HostKey: hostKey, Key: pemText, User: me.Username, log: &bytes.Buffer{}}
	cmd := exec.Command(program, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	cmd.Stderr = s.log
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for range 200 {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return s, stop, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	return nil, nil, fmt.Errorf("it doesn't answer: %s", s.log)
}

// writeKey makes a key pair, and returns its public and its private form.
func writeKey(file string) (public, private string, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return "", "", err
	}
	text := pem.EncodeToMemory(block)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", "", err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return "", "", err
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), string(text), nil
}
