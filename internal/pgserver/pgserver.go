// Package pgserver runs a private PostgreSQL server: with its own data folder,
// on a port of its own on the loopback interface, gone when its owner is. The
// demo and the tests use it; nothing that serves clients does.
package pgserver

import (
	"bufio"
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
	"time"
)

// Superuser is the role that owns everything at first.
const Superuser = "postgres"

// Options say what the server is like.
type Options struct {
	Password string   // of Superuser
	HBA      []string // lines of pg_hba.conf; nil: SCRAM-SHA-256 for everybody on loopback
	Settings []string // "log_statement=all"
	// Below is the folder in which the server's is made, one that other users
	// reach; "" is the system's for temporary ones.
	Below string
	// Prepare is called once the data folder exists and before the server
	// starts; it may write files with [Server.WriteFile]. Its result is added
	// to the settings. nil: nothing to prepare.
	Prepare func(*Server) (settings []string, err error)
}

// Server is a running server. Its fields are not to be changed.
type Server struct {
	Host     string // 127.0.0.1
	Port     int
	Addr     string // host:port
	Password string // of Superuser
	Dir      string // everything of it is below

	owner  *syscall.Credential
	log    *logTail
	cmd    *exec.Cmd
	exited chan struct{} // closed when the server is gone
}

// ErrMissing says that this machine has no PostgreSQL server.
var ErrMissing = errors.New("no PostgreSQL server found: install it (Debian: apt-get install postgresql), or set POSTERN_PG_BIN to the folder of initdb and postgres")

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
		return "", fmt.Errorf("%w (%s)", ErrMissing, name)
	}
	return path, nil
}

// version is the number in a folder's name.
func version(dir string) int {
	digits := strings.Trim(filepath.Base(filepath.Dir(dir)), "abcdefghijklmnopqrstuvwxyz-@")
	n, _ := strconv.Atoi(strings.Split(digits, ".")[0])
	return n
}

// Start makes a data folder, starts a server over it and returns when the
// server takes connections. The caller stops it.
func Start(o Options) (s *Server, err error) {
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
	dir, err := os.MkdirTemp(o.Below, "pgserver-")
	if err != nil {
		return nil, err
	}
	s = &Server{Host: "127.0.0.1", Password: o.Password, Dir: dir, owner: owner}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	settings, err := s.prepare(initdb, o)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		// The port may be taken between here and there.
		if err = s.launch(postgres, settings); err == nil || attempt == 3 {
			return s, err
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

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

func (s *Server) own(path string) error {
	if s.owner == nil {
		return nil
	}
	return os.Chown(path, int(s.owner.Uid), int(s.owner.Gid))
}

// WriteFile writes a file of the server's, below Dir.
func (s *Server) WriteFile(name, content string) error {
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return s.own(path)
}

// prepare makes the data folder, and returns the settings to start with.
func (s *Server) prepare(initdb string, o Options) ([]string, error) {
	if err := errors.Join(s.own(s.Dir), s.WriteFile("password", s.Password+"\n")); err != nil {
		return nil, err
	}
	cmd := exec.Command(initdb, "-D", s.data(), "-U", Superuser, "-A", "scram-sha-256",
		"--pwfile="+filepath.Join(s.Dir, "password"), "-E", "UTF8", "--locale=C", "-N")
	cmd.Dir, cmd.Env = s.Dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	hba := o.HBA
	if hba == nil {
		hba = []string{"host all all 127.0.0.1/32 scram-sha-256"}
	}
	if err := s.WriteFile("data/pg_hba.conf", strings.Join(hba, "\n")+"\n"); err != nil {
		return nil, err
	}
	settings := o.Settings
	if o.Prepare != nil {
		more, err := o.Prepare(s)
		if err != nil {
			return nil, err
		}
		settings = append(more, settings...)
	}
	return settings, nil
}

// launch starts the server and returns when it takes connections.
func (s *Server) launch(postgres string, more []string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.Port, s.Addr = port, net.JoinHostPort(s.Host, strconv.Itoa(port))
	settings := append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "port=" + strconv.Itoa(port),
		"fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=300",
		"log_min_messages=warning", "autovacuum=off",
	}, more...)
	args := []string{"-D", s.data()}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	s.cmd = exec.Command(postgres, args...)
	s.cmd.Dir, s.cmd.Env = s.Dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	s.cmd.SysProcAttr = childAttr(s.owner)
	out, err := s.cmd.StderrPipe()
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	s.exited, s.log = make(chan struct{}), &logTail{ready: make(chan struct{})}
	go func() {
		// The kernel ties the child's life to this thread, see childAttr.
		runtime.LockOSThread()
		defer close(s.exited)
		if err := s.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		s.log.follow(out)
		_ = s.cmd.Wait() // how it ended is in its log
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	select {
	case <-s.log.ready:
		return nil
	case <-s.exited:
		return fmt.Errorf("postgres ended at once:\n%s", s.Log())
	case <-timeout.C:
		return errors.Join(fmt.Errorf("postgres isn't ready after 30 s:\n%s", s.Log()), s.end())
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
func (s *Server) Log() string {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return strings.Join(s.log.lines, "\n")
}

// Stop ends the server and removes its folder. It may be called again.
func (s *Server) Stop() error { return errors.Join(s.end(), os.RemoveAll(s.Dir)) }

// end is a fast shutdown, or an immediate one when that takes too long.
func (s *Server) end() error {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := s.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop postgres: %w", err)
		}
		timeout := time.NewTimer(10 * time.Second)
		select {
		case <-s.exited:
			timeout.Stop()
			return nil
		case <-timeout.C:
		}
	}
	return errors.New("postgres can't be stopped")
}

// Crash ends the server at once, as a power cut would.
func (s *Server) Crash() error {
	if err := s.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		return fmt.Errorf("stop postgres: %w", err)
	}
	<-s.exited
	return nil
}

// DSN is a connection string for a role of the server, past any gateway.
func (s *Server) DSN(role, password, database string) string {
	return fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", s.Host, s.Port, role, password, database)
}
