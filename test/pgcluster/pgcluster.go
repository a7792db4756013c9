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
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/internal/pgserver"
)

// Superuser is the role that owns everything at first.
const Superuser = pgserver.Superuser

// Roles that pg_hba.conf treats in their own way. A test that wants one
// creates it. All others log in with SCRAM-SHA-256.
const (
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
	*pgserver.Server
	CAFile string // with TLS: who signed its certificate

	ca *authority

	mu   sync.Mutex                  // guards kept
	kept map[string][]*pgconn.PgConn // idle connections of Exec's, by database
}

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
	case errors.Is(err, pgserver.ErrMissing) && os.Getenv("CI") != "true":
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

// Binary finds one of PostgreSQL's programs.
func Binary(name string) (string, error) { return pgserver.Binary(name) }

func start(o Options) (*Cluster, error) {
	c := &Cluster{}
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
	options := pgserver.Options{Password: "pgcluster superuser", HBA: hba, Settings: o.Settings, Below: inMemory()}
	if o.TLS {
		options.Prepare = c.certify
	}
	server, err := pgserver.Start(options)
	if err != nil {
		return nil, err
	}
	c.Server = server
	return c, nil
}

// certify gives the server a certificate.
func (c *Cluster) certify(s *pgserver.Server) ([]string, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	cert, key, err := ca.issue("localhost", "localhost", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	c.ca, c.CAFile = ca, filepath.Join(s.Dir, "ca.pem")
	err = errors.Join(s.WriteFile("ca.pem", string(ca.pem)), s.WriteFile("server.pem", string(cert)), s.WriteFile("server.key", string(key)))
	return []string{
		"ssl=on", "ssl_ca_file=" + c.CAFile,
		"ssl_cert_file=" + filepath.Join(s.Dir, "server.pem"), "ssl_key_file=" + filepath.Join(s.Dir, "server.key"),
	}, err
}

// Crash ends the server at once, as a power cut would. Start it no more.
func (c *Cluster) Crash(t testing.TB) {
	t.Helper()
	if err := c.Server.Crash(); err != nil {
		t.Fatal(err)
	}
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

// Exec runs SQL as the superuser, in a session that is as new, and returns the
// rows of the last statement that had any, in text; NULL is "".
//
// Its connection is kept for the next such call, since a process of the
// server's costs more than most of what a test asks it.
func (c *Cluster) Exec(t testing.TB, database, sql string) [][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := c.take(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer c.give(ctx, database, conn)
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

// take returns a kept connection to the database, or a new one.
func (c *Cluster) take(ctx context.Context, database string) (*pgconn.PgConn, error) {
	for {
		c.mu.Lock()
		idle := c.kept[database]
		if len(idle) == 0 {
			c.mu.Unlock()
			return pgconn.Connect(ctx, c.DSN(Superuser, c.Password, database))
		}
		conn := idle[len(idle)-1]
		c.kept[database] = idle[:len(idle)-1]
		c.mu.Unlock()
		// The server may have ended it since, or been started anew.
		if conn.Ping(ctx) == nil {
			return conn, nil
		}
		_ = conn.Close(ctx)
	}
}

// give keeps a connection, as new, unless something has been left open in it.
func (c *Cluster) give(ctx context.Context, database string, conn *pgconn.PgConn) {
	if _, err := conn.Exec(ctx, "DISCARD ALL").ReadAll(); err != nil {
		_ = conn.Close(ctx)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		c.kept = make(map[string][]*pgconn.PgConn)
	}
	c.kept[database] = append(c.kept[database], conn)
}

// leave closes the connections kept to a database.
func (c *Cluster) leave(database string) {
	c.mu.Lock()
	idle := c.kept[database]
	delete(c.kept, database)
	c.mu.Unlock()
	for _, conn := range idle {
		_ = conn.Close(context.Background())
	}
}

// Clone makes a database that is like another one, to which nobody may be
// connected, and returns its name. It is gone with the test.
func (c *Cluster) Clone(t testing.TB, template string) string {
	t.Helper()
	name := fmt.Sprintf("test_%016x", rand.Uint64()) //nolint:gosec // nobody has to guess it
	c.Copy(t, name, template)
	t.Cleanup(func() { c.Drop(t, name) })
	return name
}

// Copy is Clone for a database of a name, which stays.
func (c *Cluster) Copy(t testing.TB, name, template string) {
	t.Helper()
	c.leave(template)
	c.Exec(t, "postgres", "create database "+name+" template "+template+" strategy file_copy") // a seventh of the time, without fsync
}

// Drop drops a database, if there is one, and ends whatever is connected to it.
func (c *Cluster) Drop(t testing.TB, database string) {
	t.Helper()
	c.leave(database)
	c.Exec(t, "postgres", "drop database if exists "+database+" with (force)")
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
