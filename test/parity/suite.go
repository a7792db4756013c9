package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"postern/internal/pgserver"
)

// serverSettings are those that the suite's own makefile, and a new cluster,
// have; the rest is what pgserver gives every server.
var serverSettings = []string{
	"autovacuum=on", "max_prepared_transactions=2", "max_connections=100", "shared_buffers=128MB",
	"synchronous_commit=on", "full_page_writes=on",
}

// runSuite runs every test over one way to a server of its own. That tests
// fail is no error: the other way's may fail, too.
func (s settings) runSuite(ctx context.Context, way string) (err error) {
	server, err := pgserver.Start(pgserver.Options{Password: "a password of the superuser", Settings: serverSettings})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	info, err := os.Stat(server.Dir)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	// Paths are in the results, so both ways have the same.
	out := filepath.Join(s.work, "run")
	if err := errors.Join(os.RemoveAll(out), os.RemoveAll(s.folder(way)), os.MkdirAll(out, 0o750)); err != nil {
		return err
	}
	schedule, err := s.schedule(out)
	if err != nil {
		return err
	}
	env := []string{"PGPASSWORD=" + server.Password, "PGSSLMODE=disable"}
	addr := server.Addr
	if way == through {
		g, err := s.startGateway(ctx, server)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, g.stop(filepath.Join(s.folder(way), gatewayLog))) }()
		addr, env = g.addr, []string{"PGPASSFILE=" + g.passfile, "PGSSLMODE=disable"}
		if err := os.Chown(g.passfile, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	if err := os.Chown(out, int(owner.Uid), int(owner.Gid)); err != nil {
		return err
	}
	psql, err := pgserver.Binary("psql")
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	progress("%s: running the suite", way)
	cmd := exec.CommandContext(ctx, s.regress,
		"--inputdir="+s.suite, "--outputdir="+out, "--dlpath="+s.libs, "--bindir="+filepath.Dir(psql),
		"--schedule="+schedule, "--max-connections=1", "--host="+host, "--port="+port, "--user="+pgserver.Superuser)
	cmd.Dir = out
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"), "HOME="+out, "LC_ALL=C", "PGGSSENCMODE=disable", "PSQLRC=/dev/null", "PSQL_HISTORY=/dev/null")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stderr, &said), os.Stderr
	if os.Geteuid() == 0 {
		// The server writes into files of the tests', and the tests into the server's.
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil // some tests failed
	}
	if err != nil {
		return fmt.Errorf("pg_regress: %w", err)
	}
	env = append(cmd.Env, "PGHOST="+host, "PGPORT="+port, "PGUSER="+pgserver.Superuser)
	if err := errors.Join(s.runPiped(ctx, out, env), s.runIsolated(ctx, out, env)); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(out, driverLog), said.Bytes(), 0o600),
		os.WriteFile(filepath.Join(out, "server.log"), []byte(server.Log()), 0o600),
		os.Rename(out, s.folder(way)),
	)
}

// gatewayLog is what the gateway said, in the folder of its way.
const gatewayLog = "gateway.log"

// driverLog is what pg_regress said, in the folder of a way.
const driverLog = "pg_regress.log"
