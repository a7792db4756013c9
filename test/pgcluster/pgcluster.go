// Package pgcluster starts a private PostgreSQL server for tests: with its own
// data folder, on a port of its own on the loopback interface, gone when the
// tests are.
//
// It takes about two seconds, so a test package shares one:
//
//	var cluster pgcluster.Shared
//
//	func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }
//
//	func TestSomething(t *testing.T) { c := cluster.Get(t); … }
package pgcluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Roles that pg_hba.conf treats in their own way. A test that wants one
// creates it. All others log in with SCRAM-SHA-256.
const (
	Superuser    = "postgres"
	RolePassword = "login_password" // AuthenticationCleartextPassword
	RoleMD5      = "login_md5"      // AuthenticationMD5Password
	RoleCert     = "login_cert"     // a client certificate, over TLS only
	RoleTrust    = "login_trust"    // nothing
	RoleTLS      = "login_tls"      // SCRAM-SHA-256, over TLS only
)

// Options say what the server is like.
type Options struct {
	// TLS gives it a certificate for localhost and 127.0.0.1; without it, the
	// server speaks clear text only.
	TLS bool
	// Settings are further settings: "log_statement=all".
	Settings []string
}

// Cluster is a running server. Its fields are not to be changed.
type Cluster struct {
	Host     string // 127.0.0.1
	Port     int
	Addr     string // host:port
	Password string // of Superuser
	Dir      string // everything of it is below
	CAFile   string // with TLS: who signed its certificate

	ca     *authority
	log    *logTail
	cmd    *exec.Cmd
	exited chan struct{} // closed when the server is gone
}

// errMissing says that this machine has no PostgreSQL server.
var errMissing = errors.New("no PostgreSQL server found: install it (Debian: apt-get install postgresql), or set POSTERN_PG_BIN to the folder of initdb and postgres")

// Start starts a server for one test. Without PostgreSQL on this machine the
// test is skipped, or fails where CI=true.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c, err := start(o)
	give(t, err)
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func give(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, errMissing) && os.Getenv("CI") != "true":
		t.Skip("SKIPPED, NOT TESTED: ", err)
	default:
		t.Fatal(err)
	}
}

// Shared is a server that the tests of a package share, started by the first
// that needs it.
type Shared struct {
	Options Options

	once    sync.Once
	cluster *Cluster
	err     error
}

// Get returns the server. It may be called from several tests at once.
func (s *Shared) Get(t testing.TB) *Cluster {
	t.Helper()
	s.once.Do(func() { s.cluster, s.err = start(s.Options) })
	give(t, s.err)
	return s.cluster
}

// Run runs the package's tests, stops the server if there is one, and returns
// the exit code.
func (s *Shared) Run(m *testing.M) int {
	code := m.Run()
	if err := s.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Stop stops the server, if there is one.
func (s *Shared) Stop() error {
	s.once.Do(func() { s.err = errors.New("the shared server was stopped") })
	if s.cluster == nil {
		return nil
	}
	return s.cluster.Stop()
}

// Binary finds one of PostgreSQL's programs: in POSTERN_PG_BIN, in the
// distribution's folders (newest version first), or in PATH.
func Binary(name string) (string, error) {
	var dirs []string
	if dir := os.Getenv("POSTERN_PG_BIN"); dir != "" {
		dirs = append(dirs, dir)
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w (%s)", errMissing, name)
	}
	return path, nil
}

// version is the number in a folder's name.
func version(dir string) int {
	digits := strings.Trim(filepath.Base(filepath.Dir(dir)), "abcdefghijklmnopqrstuvwxyz-@")
	n, _ := strconv.Atoi(strings.Split(digits, ".")[0])
	return n
}

func start(o Options) (c *Cluster, err error) {
	initdb, err := Binary("initdb")
	if err != nil {
		return nil, err
	}
	postgres, err := Binary("postgres")
	if err != nil {
		return nil, err
	}
	owner, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgcluster-")
	if err != nil {
		return nil, err
	}
	c = &Cluster{Host: "127.0.0.1", Password: "pgcluster superuser", Dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := c.prepare(initdb, owner, o); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		// The port may be taken between here and there.
		if err = c.launch(postgres, owner, o); err == nil || attempt == 3 {
			return c, err
		}
	}
}

// unprivileged is who the server runs as: PostgreSQL refuses to be root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("running as root, and there is no user postgres or nobody to run the server as")
}

func (c *Cluster) data() string { return filepath.Join(c.Dir, "data") }

func (c *Cluster) prepare(initdb string, owner *syscall.Credential, o Options) error {
	own := func(path string) error {
		if owner == nil {
			return nil
		}
		return os.Chown(path, int(owner.Uid), int(owner.Gid))
	}
	write := func(name, content string) error {
		path := filepath.Join(c.Dir, name)
		return errors.Join(os.WriteFile(path, []byte(content), 0o600), own(path))
	}
	if err := errors.Join(own(c.Dir), write("password", c.Password+"\n")); err != nil {
		return err
	}
	cmd := exec.Command(initdb, "-D", c.data(), "-U", Superuser, "-A", "scram-sha-256",
		"--pwfile="+filepath.Join(c.Dir, "password"), "-E", "UTF8", "--locale=C", "-N")
	cmd.Dir, cmd.Env = c.Dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	hba := []string{
		"host all " + RolePassword + " 127.0.0.1/32 password",
		"host all " + RoleMD5 + " 127.0.0.1/32 md5",
		"host all " + RoleTrust + " 127.0.0.1/32 trust",
	}
	if o.TLS {
		hba = append(hba, "hostssl all "+RoleCert+" 127.0.0.1/32 cert", "hostssl all "+RoleTLS+" 127.0.0.1/32 scram-sha-256")
	}
	hba = append(hba,
		"host all "+RoleCert+","+RoleTLS+" 127.0.0.1/32 reject",
		"host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256")
	if err := write("data/pg_hba.conf", strings.Join(hba, "\n")+"\n"); err != nil {
		return err
	}
	if !o.TLS {
		return nil
	}
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	cert, key, err := ca.issue("localhost", "localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	c.ca, c.CAFile = ca, filepath.Join(c.Dir, "ca.pem")
	return errors.Join(write("ca.pem", string(ca.pem)), write("server.pem", string(cert)), write("server.key", string(key)))
}

// launch starts the server and returns when it takes connections.
func (c *Cluster) launch(postgres string, owner *syscall.Credential, o Options) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	c.Port, c.Addr = port, net.JoinHostPort(c.Host, strconv.Itoa(port))
	settings := []string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "port=" + strconv.Itoa(port),
		"fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=300",
		"log_min_messages=warning", "autovacuum=off",
	}
	if o.TLS {
		settings = append(settings, "ssl=on", "ssl_ca_file="+c.CAFile,
			"ssl_cert_file="+filepath.Join(c.Dir, "server.pem"), "ssl_key_file="+filepath.Join(c.Dir, "server.key"))
	}
	args := []string{"-D", c.data()}
	for _, s := range append(settings, o.Settings...) {
		args = append(args, "-c", s)
	}
	c.cmd = exec.Command(postgres, args...)
	c.cmd.Dir, c.cmd.Env = c.Dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	c.cmd.SysProcAttr = childAttr(owner)
	out, err := c.cmd.StderrPipe()
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	c.exited, c.log = make(chan struct{}), &logTail{ready: make(chan struct{})}
	go func() {
		// The kernel ties the child's life to this thread, see childAttr.
		runtime.LockOSThread()
		defer close(c.exited)
		if err := c.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		c.log.follow(out)
		_ = c.cmd.Wait() // how it ended is in its log
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	select {
	case <-c.log.ready:
		return nil
	case <-c.exited:
		return fmt.Errorf("postgres ended at once:\n%s", c.Log())
	case <-timeout.C:
		return errors.Join(fmt.Errorf("postgres isn't ready after 30 s:\n%s", c.Log()), c.end())
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// logTail keeps what the server logged.
type logTail struct {
	ready chan struct{} // closed when it takes connections

	mu    sync.Mutex
	lines []string
}

func (l *logTail) follow(r io.Reader) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	waiting := true
	for scanner.Scan() {
		line := scanner.Text()
		l.mu.Lock()
		l.lines = append(l.lines, line)
		l.mu.Unlock()
		if waiting && strings.Contains(line, "database system is ready to accept connections") {
			waiting = false
			close(l.ready)
		}
	}
}

// Log is what the server logged so far.
func (c *Cluster) Log() string {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	return strings.Join(c.log.lines, "\n")
}

// Stop ends the server and removes its folder. It may be called again.
func (c *Cluster) Stop() error { return errors.Join(c.end(), os.RemoveAll(c.Dir)) }

// end is a fast shutdown, or an immediate one when that takes too long.
func (c *Cluster) end() error {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := c.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop postgres: %w", err)
		}
		timeout := time.NewTimer(10 * time.Second)
		select {
		case <-c.exited:
			timeout.Stop()
			return nil
		case <-timeout.C:
		}
	}
	return errors.New("postgres can't be stopped")
}

// Crash ends the server at once, as a power cut would. Start it no more.
func (c *Cluster) Crash(t testing.TB) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-c.exited
}

// DSN is a connection string for a role of the server, past any gateway.
func (c *Cluster) DSN(role, password, database string) string {
	return fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", c.Host, c.Port, role, password, database)
}

// Connect opens a connection of the superuser's, closed with the test.
func (c *Cluster) Connect(t testing.TB, database string) *pgconn.PgConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, c.DSN(Superuser, c.Password, database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Exec runs SQL as the superuser, over a connection of its own, and returns
// the rows of the last statement that had any, in text; NULL is "".
func (c *Cluster) Exec(t testing.TB, database, sql string) [][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, c.DSN(Superuser, c.Password, database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var rows [][]string
	for _, result := range results {
		if len(result.FieldDescriptions) == 0 {
			continue
		}
		rows = nil
		for _, values := range result.Rows {
			var row []string
			for _, v := range values {
				row = append(row, string(v))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// ClientCertificate issues a certificate for a role, as PEM.
func (c *Cluster) ClientCertificate(t testing.TB, role string) (cert, key []byte) {
	t.Helper()
	cert, key, err := c.ca.issue(role)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}
