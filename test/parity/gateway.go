package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postern/internal/pgserver"
)

// gateway is a running `postern serve` in front of a server: a resource for
// each database that the suite connects to, named like it, so that clients
// need not know. The resources' credentials are the superuser's, and one
// identity, named like it too, may do everything.
type gateway struct {
	dir      string
	addr     string // of the PostgreSQL listener
	passfile string // libpq's, with a token for each database
	cmd      *exec.Cmd
	log      bytes.Buffer  // complete once exited is closed
	exited   chan struct{} // closed when it has ended
}

const bootstrapKey = "bootstrap-key-of-the-parity-run-0123456789"

// databases are those that the suite connects to.
var databases = []string{"postgres", "regression", isolationDatabase}

const everything = `kind: Access
name: everything
to: ["service:postgres"]
on: {types: [postgres]}
`

func (s settings) startGateway(ctx context.Context, server *pgserver.Server) (g *gateway, err error) {
	g = &gateway{exited: make(chan struct{})}
	// The tests' user has to reach the file of passwords.
	if g.dir, err = os.MkdirTemp("", "postern-parity-gateway-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(g.dir, 0o711); err != nil { //nolint:gosec // nothing is listed, and each file below is private
		return nil, err
	}
	https, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	if g.addr, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	objects := everything
	for _, name := range databases {
		objects += fmt.Sprintf("---\nkind: Resource\nname: %s\ntype: postgres\naddress: %s\ndatabase: %s\ntls: {mode: disable}\n"+
			"credentials: {username: %s, password: {file: %q}}\n", name, server.Addr, name, pgserver.Superuser, filepath.Join(g.dir, "db.password"))
	}
	if s.objects != "" {
		more, err := os.ReadFile(s.objects)
		if err != nil {
			return nil, err
		}
		objects += "---\n" + string(more)
	}
	for name, content := range map[string]string{
		"postern.yaml": fmt.Sprintf("data_dir: data\nlisten: {https: %q, postgres: %q, ssh: off}\nallow_plaintext: true\nobjects: [objects]\n"+
			"drain_timeout: 1s\nrecordings: {min_free: 1MiB}\nsessions: {token_ttl: 2h, max_token_ttl: 2h}\nlog: {level: debug}\n", https, g.addr),
		"db.password":          server.Password + "\n",
		"objects/objects.yaml": objects,
	} {
		path := filepath.Join(g.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			return nil, err
		}
	}
	g.cmd = exec.CommandContext(context.WithoutCancel(ctx), s.binary, "serve", "--config", filepath.Join(g.dir, "postern.yaml"))
	g.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir, "POSTERN_BOOTSTRAP_KEY=" + bootstrapKey}
	g.cmd.Stderr = &g.log
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = g.cmd.Wait() // how it ended is in its log
		close(g.exited)
	}()
	if err := g.prepare(ctx, s.binary, https); err != nil {
		return nil, errors.Join(err, g.stop(""))
	}
	return g, nil
}

// prepare waits for the gateway, and gets the tokens.
func (g *gateway) prepare(ctx context.Context, binary, https string) error {
	for _, addr := range []string{https, g.addr} {
		if err := g.listening(ctx, addr); err != nil {
			return err
		}
	}
	cli := func(token string, args ...string) ([]byte, error) {
		_, port, _ := net.SplitHostPort(https) // it was put together by us
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Env = []string{
			"HOME=" + g.dir, "POSTERN_SERVER=https://localhost:" + port, "POSTERN_TOKEN=" + token,
			"POSTERN_CA_FILE=" + filepath.Join(g.dir, "data", "ca.pem"),
		}
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, fmt.Errorf("postern %s: %w\n%s", args[0], err, exit.Stderr)
		}
		return out, err
	}
	out, err := cli(bootstrapKey, "service-account", "create", pgserver.Superuser, "-o", "json")
	if err != nil {
		return err
	}
	var account struct{ Key string }
	if err := json.Unmarshal(out, &account); err != nil {
		return fmt.Errorf("service account: %w", err)
	}
	var passwords strings.Builder
	for _, name := range databases {
		token, err := cli(account.Key, "token", name, "--ttl", "2h")
		if err != nil {
			return err
		}
		fmt.Fprintf(&passwords, "*:*:%s:*:%s\n", name, strings.TrimSpace(string(token)))
	}
	g.passfile = filepath.Join(g.dir, "passwords")
	return os.WriteFile(g.passfile, []byte(passwords.String()), 0o600)
}

func (g *gateway) listening(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-g.exited:
			return fmt.Errorf("the gateway ended at its start: %s", g.log.String())
		case <-ctx.Done():
			return fmt.Errorf("the gateway isn't listening: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the gateway, and keeps its log if a file is named.
func (g *gateway) stop(keep string) error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := g.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case <-g.exited:
			var err error
			if keep != "" {
				err = os.WriteFile(keep, g.log.Bytes(), 0o600)
			}
			return errors.Join(err, os.RemoveAll(g.dir))
		case <-time.After(15 * time.Second):
		}
	}
	return errors.New("the gateway can't be stopped")
}

// carried counts, in a gateway's log, its sessions and the commands that they
// decided over.
func carried(log []byte) (sessions, commands int) {
	for line := range strings.Lines(string(log)) {
		if !strings.Contains(line, `msg="session closed"`) {
			continue
		}
		sessions++
		if _, rest, ok := strings.Cut(line, " commands="); ok {
			n, _, _ := strings.Cut(rest, " ")
			of, err := strconv.Atoi(n)
			if err == nil {
				commands += of
			}
		}
	}
	return sessions, commands
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
