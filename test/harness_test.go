// Package test drives the built binary with real clients against real servers.
// Each script in testdata has a gateway, and a database, of its own.
package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/test/pgcluster"
)

var (
	cluster   pgcluster.Shared
	databases atomic.Int64
	role      sync.Once // the role of every gateway's resource
)

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

// binary is the program under test: POSTERN_BIN, or built here.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("POSTERN_BIN"); path != "" {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("postern-test-%d", os.Getpid()), "postern")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/postern").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// passwordHash is the argon2id hash of the password of every user of the tests.
var passwordHash = sync.OnceValues(func() (string, error) {
	program, err := binary()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(program, "user", "hash-password", "--password-stdin")
	cmd.Stdin = strings.NewReader(password + "\n")
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
})

const (
	password     = "correct horse battery staple"
	bootstrapKey = "bootstrap-key-of-the-tests-0123456789"
)

// gateway is a running `postern serve` in a folder of its own, with one
// PostgreSQL resource, orders-db, over a database of its own.
type gateway struct {
	t        testing.TB
	dir      string
	program  string
	https    string // host:port
	postgres string
	ssh      string
	database string // the upstream's name for it
	upstream *pgcluster.Cluster
	extra    string   // more lines of postern.yaml
	wrap     []string // what runs the program; empty: nothing

	cmd    *exec.Cmd
	log    *logBuffer
	exited chan struct{}
}

// newGateway prepares a folder and a database; start runs it.
func newGateway(t testing.TB, extra string) *gateway {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{
		t: t, dir: t.TempDir(), program: program, upstream: cluster.Get(t), extra: extra,
		https: freeAddress(t), postgres: freeAddress(t), ssh: freeAddress(t), database: fmt.Sprintf("shop_%d", databases.Add(1)),
	}
	seed, err := os.ReadFile("../cmd/postern/demo/seed.sql") // the demo's shop
	if err != nil {
		t.Fatal(err)
	}
	role.Do(func() {
		g.upstream.Exec(t, "postgres", "CREATE ROLE shop LOGIN PASSWORD 'the shop''s own password'")
	})
	g.upstream.Exec(t, "postgres", "CREATE DATABASE "+g.database+" OWNER shop")
	g.upstream.Exec(t, g.database, "SET ROLE shop; "+string(seed))
	t.Cleanup(func() {
		g.stop()
		g.upstream.Exec(t, "postgres", "DROP DATABASE "+g.database+" WITH (FORCE)")
	})
	g.writeConfig()
	return g
}

// freeAddress is one that nobody listens at. Its port is below those that the
// system gives to connections that go out: one of those, of another test, could
// have it before the gateway does.
func freeAddress(t testing.TB) string {
	t.Helper()
	const lowest, outgoing = 10000, 32768
	var err error
	for range 100 {
		var l net.Listener
		l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(outgoing-lowest)))
		if err == nil {
			defer func() { _ = l.Close() }()
			return l.Addr().String()
		}
	}
	t.Fatal(err)
	return ""
}

func (g *gateway) path(name string) string { return filepath.Join(g.dir, name) }

func (g *gateway) write(name, content string) {
	g.t.Helper()
	if err := os.MkdirAll(filepath.Dir(g.path(name)), 0o700); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(g.path(name), []byte(content), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// writeConfig writes what every script starts from: three people, a resource,
// and the folder `objects` for the script's own policies.
func (g *gateway) writeConfig() {
	g.t.Helper()
	hash, err := passwordHash()
	if err != nil {
		g.t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(g.https)
	if err != nil {
		g.t.Fatal(err)
	}
	g.write("postern.yaml", fmt.Sprintf(`data_dir: data
listen: {https: %q, postgres: %q, ssh: %q}
public_url: https://localhost:%s
allow_plaintext: true
objects: [objects]
drain_timeout: 2s
log: {level: debug}
recordings: {min_free: 1MiB}
identity:
  local:
    users:
      - {name: alice, groups: [engineering], password_hash: %q}
      - {name: dave, groups: [dba, admins], password_hash: %q}
      - {name: petra, groups: [privacy-office, auditors], password_hash: %q}
%s`, g.https, g.postgres, g.ssh, port, hash, hash, hash, g.extra))
	g.write("db.password", "the shop's own password\n")
	g.write("objects/resources.yaml", fmt.Sprintf(`kind: Resource
name: orders-db
type: postgres
labels: {env: test}
address: %s
database: %s
tls: {mode: disable}
credentials: {username: shop, password: {file: %q}}
`, g.upstream.Addr, g.database, g.path("db.password")))
	policies, err := os.ReadFile("testdata/policies.yaml")
	if err != nil {
		g.t.Fatal(err)
	}
	g.write("objects/policies.yaml", string(policies))
}

func (g *gateway) read(name string) string {
	g.t.Helper()
	data, err := os.ReadFile(g.path(name))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(data)
}

// start runs the gateway and returns when it is ready.
func (g *gateway) start() {
	g.t.Helper()
	g.launch()
	if err := g.answers("/readyz"); err != nil {
		g.kill()
		g.t.Fatalf("the gateway isn't ready: %v\n%s", err, g.logged())
	}
}

// launch runs the gateway.
func (g *gateway) launch() {
	g.t.Helper()
	g.log = &logBuffer{}
	command := append(slices.Clone(g.wrap), g.program, "serve", "--config", g.path("postern.yaml"))
	g.cmd = exec.Command(command[0], command[1:]...)
	g.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir, "POSTERN_BOOTSTRAP_KEY=" + bootstrapKey}
	g.cmd.Stderr = g.log
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.exited = make(chan struct{})
	go func() {
		_ = g.cmd.Wait() // how it ended is asked of its state
		close(g.exited)
	}()
}

// answers waits until a path of the API answers well.
func (g *gateway) answers(path string) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := g.ask(path)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-g.exited:
			return errors.New("it ended")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ask gets a path of the API, trusting the gateway's own CA alone.
func (g *gateway) ask(path string) error {
	ca, err := os.ReadFile(g.path("data/ca.pem"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+g.https+path, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return nil
}

// stop ends the gateway as systemd would.
func (g *gateway) stop() { g.signal(syscall.SIGTERM) }

// kill ends it as a power cut would.
func (g *gateway) kill() { g.signal(syscall.SIGKILL) }

func (g *gateway) signal(sig syscall.Signal) {
	if g.cmd == nil {
		return
	}
	_ = g.cmd.Process.Signal(sig) // it may have ended
	select {
	case <-g.exited:
	case <-time.After(20 * time.Second):
		g.t.Errorf("the gateway didn't end on %v", sig)
		_ = g.cmd.Process.Kill()
		<-g.exited
	}
	g.cmd = nil
}

// environ is the environment of somebody's shell.
func (g *gateway) environ(token string) []string {
	_, port, _ := net.SplitHostPort(g.https)
	_, pgPort, _ := net.SplitHostPort(g.postgres)
	return []string{
		"HOME=" + g.dir, "PATH=" + filepath.Dir(g.program) + ":" + os.Getenv("PATH"),
		"POSTERN_SERVER=https://localhost:" + port, "POSTERN_CA_FILE=" + g.path("data/ca.pem"), "POSTERN_TOKEN=" + token,
		"PGHOST=localhost", "PGPORT=" + pgPort, "PGSSLMODE=verify-full", "PGSSLROOTCERT=" + g.path("data/ca.pem"),
		"POSTERN_TPM=off", "PGDATABASE=orders-db", "PAGER=cat", "LC_ALL=C.UTF-8", "UPSTREAM=" + g.upstream.Addr, "GATEWAY=" + g.postgres,
	}
}

// run runs the CLI as somebody.
func (g *gateway) run(token string, args ...string) (string, error) {
	cmd := exec.Command(g.program, args...)
	cmd.Env, cmd.Dir = g.environ(token), g.dir
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("postern %s: %w\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// login signs a person in, and returns the login token.
func (g *gateway) login(name string) string {
	g.t.Helper()
	home := g.path("home-" + name)
	cmd := exec.Command(g.program, "login", "--user", name, "--password-stdin")
	cmd.Env, cmd.Dir = append(g.environ(""), "POSTERN_CONFIG="+home), g.dir
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		g.t.Fatalf("login as %s: %v\n%s", name, err, out)
	}
	data, err := os.ReadFile(filepath.Join(home, "credentials.json"))
	if err != nil {
		g.t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(data), `"token": "`)
	if !ok {
		_, rest, ok = strings.Cut(string(data), `"token":"`)
	}
	token, _, closed := strings.Cut(rest, `"`)
	if !ok || !closed {
		g.t.Fatal("the stored login has no token")
	}
	return token
}

// sessionToken mints a token for orders-db.
func (g *gateway) sessionToken(login string) string {
	g.t.Helper()
	token, err := g.run(login, "token", "orders-db")
	if err != nil {
		g.t.Fatal(err)
	}
	return token
}

// connect opens a connection through the gateway.
func (g *gateway) connect(user, token string, change func(*pgconn.Config)) (*pgconn.PgConn, error) {
	host, port, err := net.SplitHostPort(g.postgres)
	if err != nil {
		return nil, err
	}
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=localhost port=%s user=%s dbname=orders-db sslmode=verify-full sslrootcert=%s", port, user, g.path("data/ca.pem")))
	if err != nil {
		return nil, err
	}
	_ = host
	config.Password = token
	if change != nil {
		change(config)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return pgconn.ConnectConfig(ctx, config)
}

// mustConnect is connect for those who are let in.
func (g *gateway) mustConnect(user, token string) *pgconn.PgConn {
	g.t.Helper()
	conn, err := g.connect(user, token, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// logBuffer is written by one process and read by tests meanwhile.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// logged is what the gateway logged since it was started.
func (g *gateway) logged() string { return g.log.String() }

// String is everything written so far.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
