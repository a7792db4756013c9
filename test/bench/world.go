package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/internal/pgserver"
)

// world is everything that runs while the bench measures.
type world struct {
	cfg     settings
	dir     string
	server  *pgserver.Server
	gateway *gateway
	peers   []*peer
	missing []string // peers that weren't measured
	pgbench string
}

// plan is what a gateway has besides what every one of them has. The zero plan
// adds nothing.
type plan struct {
	config  string   // more of postern.yaml
	objects []string // documents
}

// target is a way to the database.
type target struct {
	way      string // as the report names it
	addr     string // host:port
	user     string
	password string
	database string
	ca       string // a CA's file: TLS, verified; "": clear text
	pid      int    // of the process in between; 0: none
}

const (
	role         = "shop"
	rolePassword = "the role's own password"
	database     = "shop"
)

// newWorld starts everything. The caller closes it.
func newWorld(ctx context.Context, cfg settings) (*world, error) {
	w := &world{cfg: cfg}
	if err := w.open(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) open(ctx context.Context) (err error) {
	cfg := w.cfg
	if w.pgbench, err = pgserver.Binary("pgbench"); err != nil {
		return err
	}
	if w.dir, err = os.MkdirTemp("", "postern-bench-"); err != nil {
		return err
	}
	// pgbouncer won't run as root, and has to reach its own files.
	if err := os.Chmod(w.dir, 0o711); err != nil { //nolint:gosec // nothing is listed, and each file below is private
		return err
	}
	progress("starting PostgreSQL")
	w.server, err = pgserver.Start(pgserver.Options{
		Password: "a password of the superuser",
		Settings: []string{
			"shared_buffers=512MB", // pgbouncer keeps its connections when its clients have gone
			fmt.Sprintf("max_connections=%d", 3*cfg.sessions+100),
			"max_parallel_workers_per_gather=0", "jit=off",
		},
	})
	if err != nil {
		return err
	}
	if err := w.seed(ctx); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "db.password"), []byte(rolePassword+"\n"), 0o600); err != nil {
		return err
	}
	if w.gateway, err = w.startGateway(ctx, plan{}); err != nil {
		return err
	}
	return w.startPeers(ctx)
}

func (w *world) close() error {
	var errs []error
	for _, p := range w.peers {
		errs = append(errs, p.stop())
	}
	if w.gateway != nil {
		errs = append(errs, w.gateway.stop())
	}
	if w.server != nil {
		errs = append(errs, w.server.Stop())
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// seed fills the database: pgbench's own tables, and a large one of eight
// columns, every value of it invented.
func (w *world) seed(ctx context.Context) error {
	if err := w.exec(ctx, "postgres", fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", role, strings.ReplaceAll(rolePassword, "'", "''")),
		fmt.Sprintf("CREATE DATABASE %s OWNER %s", database, role)); err != nil {
		return err
	}
	progress("filling it")
	cmd := exec.CommandContext(ctx, w.pgbench, "-i", "-q", "-s", "5", "--unlogged-tables")
	cmd.Env = w.direct().environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pgbench -i: %w\n%s", err, out)
	}
	shop, err := os.ReadFile("cmd/postern/demo/seed.sql")
	if err != nil {
		return fmt.Errorf("run it at the root of the repository: %w", err)
	}
	return w.exec(ctx, database, "SET ROLE "+role, string(shop), fmt.Sprintf(`
		CREATE UNLOGGED TABLE people AS
		SELECT n::bigint AS id, 'Person ' || n AS name, 'person.' || n || '@example.com' AS email,
			'+1 415 555 01' || lpad((n %% 100)::text, 2, '0') AS phone,
			(ARRAY['Trieste', 'Gdynia', 'Kumasi', 'Tainan', 'Bursa'])[1 + n %% 5] AS city,
			(n * 37 %% 100000)::numeric / 100 AS amount,
			'2026-01-01 08:00+00'::timestamptz + n * interval '7 seconds' AS joined,
			'prefers the morning, order ' || n AS note
		FROM generate_series(1, %d) n`, w.cfg.rows), "VACUUM ANALYZE people", "RESET ROLE", "CHECKPOINT")
}

func (w *world) exec(ctx context.Context, in string, statements ...string) error {
	conn, err := pgconn.Connect(ctx, w.server.DSN(pgserver.Superuser, w.server.Password, in))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) direct() target {
	return target{way: "direct", addr: w.server.Addr, user: role, password: rolePassword, database: database}
}

// gateway is a running `postern serve`.
type gateway struct {
	dir     string
	process *process
	https   string
	addr    string // of the PostgreSQL listener
	ca      string
	binary  string
	keys    map[string]string // of the service accounts
	tokens  map[string]string // by identity and resource: "clerk orders-db"
}

const bootstrapKey = "bootstrap-key-of-the-benchmark-0123456789"

// policies are added to those of the tests. The resource people-db is the same
// database, with a mask over one column and no looking into values.
const policies = `kind: Access
name: people
to: ["group:engineering"]
on: {names: [people-db]}
---
kind: Mask
name: people-email
on: {names: [people-db]}
columns: ["public.people.email"]
with: partial
`

// startGateway runs the gateway over the tests' own policies. The identity
// clerk has rules and masks; keeper has none.
func (w *world) startGateway(ctx context.Context, p plan) (*gateway, error) {
	progress("starting the gateway")
	g := &gateway{binary: w.cfg.binary, keys: make(map[string]string), tokens: make(map[string]string)}
	if err := w.openGateway(ctx, g, p); err != nil {
		return nil, errors.Join(err, g.stop())
	}
	return g, nil
}

func (w *world) openGateway(ctx context.Context, g *gateway, p plan) (err error) {
	if g.dir, err = os.MkdirTemp(w.dir, "gateway-"); err != nil {
		return err
	}
	if g.https, err = freeAddress(); err != nil {
		return err
	}
	if g.addr, err = freeAddress(); err != nil {
		return err
	}
	g.ca = filepath.Join(g.dir, "data", "ca.pem")
	if err := w.configure(g, p); err != nil {
		return err
	}
	cmd := exec.Command(w.cfg.binary, "serve", "--config", filepath.Join(g.dir, "postern.yaml"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir, "POSTERN_BOOTSTRAP_KEY=" + bootstrapKey}
	for _, name := range []string{"GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GODEBUG"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	if g.process, err = start("postern", cmd); err != nil {
		return err
	}
	if err := g.process.listening(ctx, g.https, g.addr); err != nil {
		return err
	}
	for name, group := range map[string]string{"clerk": "engineering", "keeper": "dba"} {
		if err := g.enrol(ctx, name, group); err != nil {
			return err
		}
	}
	for _, of := range [][2]string{{"clerk", "orders-db"}, {"clerk", "people-db"}, {"keeper", "orders-db"}} {
		if err := g.admit(ctx, of[0], of[1]); err != nil {
			return err
		}
	}
	progress("the gateway's process is %d", g.process.pid())
	return nil
}

func (w *world) configure(g *gateway, p plan) error {
	tests, err := os.ReadFile("test/testdata/policies.yaml")
	if err != nil {
		return err
	}
	objects := []string{policies, w.resource("orders-db", database, "bench"), w.resource("people-db", database, "bench")}
	objects = append(objects, p.objects...)
	for name, content := range map[string]string{
		"postern.yaml": fmt.Sprintf("data_dir: data\nlisten: {https: %q, postgres: %q, ssh: off}\nallow_plaintext: true\nobjects: [objects]\n"+
			"drain_timeout: 1s\nrecordings: {min_free: 1MiB}\nsessions: {token_ttl: 1h, max_token_ttl: 1h}\nlog: {level: warn}\n", g.https, g.addr) + p.config,
		"objects/policies.yaml": string(tests),
		"objects/bench.yaml":    strings.Join(objects, "---\n"),
	} {
		path := filepath.Join(g.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// resource is a database of the server's as a resource.
func (w *world) resource(name, in, env string) string {
	return fmt.Sprintf("kind: Resource\nname: %s\ntype: postgres\nlabels: {env: %s}\naddress: %s\ndatabase: %s\n"+
		"tls: {mode: disable}\ncredentials: {username: %s, password: {file: %q}}\n", name, env, w.server.Addr, in, role, filepath.Join(w.dir, "db.password"))
}

// enrol makes a service account.
func (g *gateway) enrol(ctx context.Context, name, group string) error {
	out, err := g.cli(ctx, bootstrapKey, "service-account", "create", name, "--group", group, "-o", "json")
	if err != nil {
		return err
	}
	var account struct{ Key string }
	if err := json.Unmarshal(out, &account); err != nil {
		return fmt.Errorf("service account %s: %w", name, err)
	}
	g.keys[name] = account.Key
	return nil
}

// admit gets an account's token for a resource.
func (g *gateway) admit(ctx context.Context, name, resource string) error {
	token, err := g.cli(ctx, g.keys[name], "token", resource, "--ttl", "1h")
	g.tokens[name+" "+resource] = strings.TrimSpace(string(token))
	return err
}

// cli runs the CLI with a token.
func (g *gateway) cli(ctx context.Context, token string, args ...string) ([]byte, error) {
	out, err := g.command(ctx, token, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("postern %s: %w\n%s", args[0], err, exit.Stderr)
	}
	return out, err
}

// command is the CLI with a token.
func (g *gateway) command(ctx context.Context, token string, args ...string) *exec.Cmd {
	_, port, _ := net.SplitHostPort(g.https) // it was put together by us
	cmd := exec.CommandContext(ctx, g.binary, args...)
	cmd.Env = []string{"HOME=" + g.dir, "POSTERN_SERVER=https://localhost:" + port, "POSTERN_CA_FILE=" + g.ca, "POSTERN_TOKEN=" + token}
	return cmd
}

// through is the way through the gateway.
func (g *gateway) through(identity, resource string, tls bool) target {
	t := target{
		way: "Postern, plain", addr: g.addr, user: identity, password: g.tokens[identity+" "+resource], database: resource, pid: g.process.pid(),
	}
	if tls {
		t.way, t.ca = "Postern, TLS", g.ca
	}
	return t
}

func (g *gateway) stop() error {
	if g.process == nil {
		return nil
	}
	return g.process.stop()
}

// environ is what libpq is told of a target.
func (t target) environ() []string {
	host, port, _ := net.SplitHostPort(t.addr) // it was put together by us
	env := []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "PGHOST=localhost", "PGHOSTADDR=" + host, "PGPORT=" + port,
		"PGUSER=" + t.user, "PGPASSWORD=" + t.password, "PGDATABASE=" + t.database, "PGGSSENCMODE=disable",
	}
	if t.ca == "" {
		return append(env, "PGSSLMODE=disable")
	}
	return append(env, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+t.ca)
}

// connect opens a connection.
func (t target) connect(ctx context.Context) (*pgconn.PgConn, error) {
	_, port, err := net.SplitHostPort(t.addr)
	if err != nil {
		return nil, err
	}
	dsn := fmt.Sprintf("host=localhost port=%s user=%s dbname=%s sslmode=disable", port, t.user, t.database)
	if t.ca != "" {
		dsn = strings.Replace(dsn, "sslmode=disable", "sslmode=verify-full sslrootcert="+t.ca, 1)
	}
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.Password = t.password
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	config.Fallbacks = nil
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return pgconn.ConnectConfig(ctx, config)
}

// hijack opens a connection, and takes it away from its driver. The caller
// closes it.
func (t target) hijack(ctx context.Context) (*pgconn.HijackedConn, error) {
	conn, err := t.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.way, err)
	}
	// The driver reads ahead where a write took long.
	if err := conn.SyncConn(ctx); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn.Hijack()
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
