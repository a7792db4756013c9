package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// peer is another program between client and server, to compare with.
type peer struct {
	*process
	target
}

// startPeers starts pgbouncer and haproxy, where they were asked for.
func (w *world) startPeers(ctx context.Context) error {
	for _, p := range []struct {
		program string
		start   func(ctx context.Context, path, addr string) (*peer, error)
	}{{"pgbouncer", w.startPgbouncer}, {"haproxy", w.startHaproxy}} {
		path, err := find(p.program)
		switch {
		case !w.cfg.peers:
			w.missing = append(w.missing, p.program+" was not measured: BENCH_PEERS=1 asks for it")
			continue
		case err != nil:
			w.missing = append(w.missing, p.program+" was not measured: it isn't installed")
			continue
		}
		addr, err := freeAddress()
		if err != nil {
			return err
		}
		running, err := p.start(ctx, path, addr)
		if err != nil {
			return fmt.Errorf("%s: %w", p.program, err)
		}
		w.peers = append(w.peers, running)
		if err := running.listening(ctx, addr); err != nil {
			return err
		}
	}
	return nil
}

// find looks beyond PATH: Debian keeps daemons in /usr/sbin.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + program)
}

// startPgbouncer runs pgbouncer in session mode: it checks the client's
// password, and logs in to the server with the same.
func (w *world) startPgbouncer(_ context.Context, path, addr string) (*peer, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(w.dir, "pgbouncer")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-q", filepath.Join(dir, "pgbouncer.ini"))
	for name, content := range map[string]string{
		"pgbouncer.ini": fmt.Sprintf("[databases]\n%s = host=%s port=%d dbname=%s\n[pgbouncer]\nlisten_addr = %s\nlisten_port = %s\n"+
			"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = %s\npool_mode = session\nmax_client_conn = 1000\ndefault_pool_size = 700\n"+
			"server_tls_sslmode = disable\nlog_connections = 0\nlog_disconnections = 0\n",
			database, w.server.Host, w.server.Port, database, host, port, filepath.Join(dir, "users")),
		"users": fmt.Sprintf("%q %q\n", role, rolePassword),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	if os.Geteuid() == 0 {
		if cmd.SysProcAttr, err = asPostgres(dir); err != nil {
			return nil, err
		}
	}
	p, err := start("pgbouncer", cmd)
	if err != nil {
		return nil, err
	}
	t := w.direct()
	t.way, t.addr, t.pid = "pgbouncer, plain", addr, p.pid()
	return &peer{p, t}, nil
}

// asPostgres gives a folder to the user postgres, and says how to become it.
func asPostgres(dir string) (*syscall.SysProcAttr, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, gid)
	})
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, err
}

// startHaproxy runs haproxy as a balancer of TCP.
func (w *world) startHaproxy(_ context.Context, path, addr string) (*peer, error) {
	file := filepath.Join(w.dir, "haproxy.cfg")
	err := os.WriteFile(file, fmt.Appendf(nil, "global\n  maxconn 2000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 10m\n"+
		"  timeout server 10m\nlisten postgres\n  bind %s\n  server one %s\n", addr, w.server.Addr), 0o600)
	if err != nil {
		return nil, err
	}
	p, err := start("haproxy", exec.Command(path, "-db", "-q", "-f", file))
	if err != nil {
		return nil, err
	}
	t := w.direct()
	t.way, t.addr, t.pid = "haproxy, plain", addr, p.pid()
	return &peer{p, t}, nil
}
