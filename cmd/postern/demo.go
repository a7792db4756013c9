package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"postern"
	"postern/internal/config"
	"postern/internal/identity"
	"postern/internal/pgserver"
	"postern/internal/server"
)

//go:embed demo
var demoFiles embed.FS

// demo is everything in one process on loopback: the sample database, the
// gateway over it, and identities to try it with.
type demo struct {
	dir      string // everything of the demo is below
	https    string
	postgres string
	ssh      string
	cmd      *cobra.Command
}

func newDemoCommand() *cobra.Command {
	d := &demo{}
	var script bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a gateway with a sample database and policies, and say what to try",
		Long: "Run a gateway on loopback with a private PostgreSQL server, a small shop in it, policies and identities,\n" +
			"and print commands to paste into a second terminal. Where OpenSSH's server is installed, there is a private one of\n" +
			"those, too. Everything it keeps is in one folder.",
		Example: "  postern demo\n  postern demo --script   # in a second terminal: play the tour, check what each step shows",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.cmd = cmd
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			dir, err := filepath.Abs(d.dir)
			if err != nil {
				return err
			}
			if script {
				return tour{dir: dir, out: cmd.OutOrStdout()}.play(ctx)
			}
			d.dir = dir
			return d.run(ctx)
		},
	}
	cmd.Flags().StringVar(&d.dir, "dir", "demo-data", "the demo's `FOLDER`")
	cmd.Flags().StringVar(&d.https, "https", "127.0.0.1:8443", "the `ADDRESS` of the API")
	cmd.Flags().StringVar(&d.postgres, "postgres", "127.0.0.1:15432", "the `ADDRESS` that PostgreSQL clients connect to")
	cmd.Flags().StringVar(&d.ssh, "ssh", "127.0.0.1:12222", "the `ADDRESS` that SSH clients connect to")
	cmd.Flags().BoolVar(&script, "script", false, "play the tour against the running demo, and fail when a step doesn't show what it should")
	return cmd
}

// demoUsers are the people of the demo, with their groups.
func demoUsers() []config.User {
	return []config.User{
		{Name: "alice", Groups: []string{"engineering"}},
		{Name: "dave", Groups: []string{"dba", "admins"}},
		{Name: "petra", Groups: []string{"privacy-office"}},
	}
}

func (d *demo) run(ctx context.Context) error {
	// A demo that runs keeps its folder.
	for flag, address := range map[string]string{"--https": d.https, "--postgres": d.postgres, "--ssh": d.ssh} {
		if err := canListen(ctx, address); err != nil {
			hint := "choose another address with " + flag + ", like 127.0.0.1:18443"
			if errors.Is(err, syscall.EADDRINUSE) {
				hint = "another demo may be running; end it, or choose another address with " + flag
			}
			return &usageError{err: err, hint: hint}
		}
	}
	// What an earlier demo left, tokens too, is worth nothing now.
	unlock, err := d.clear()
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }() // it ends with the process anyhow
	d.say("starting a private PostgreSQL server …")
	database, err := d.startDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err := database.Stop(); err != nil {
			d.say("the sample server isn't stopped: " + err.Error())
		}
	}()
	if err := d.writeObjects(database.Port); err != nil {
		return err
	}
	stopShell, missing, err := d.startShell()
	if err != nil {
		return err
	}
	defer stopShell()
	if missing != "" {
		d.say("the demo goes without a server to log in to: " + missing)
	}
	cfg, err := d.writeConfig()
	if err != nil {
		return err
	}
	logFile, err := os.OpenFile(filepath.Join(d.dir, "postern.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = logFile.Close() }() // the log of a demo
	d.cmd.SetErr(logFile)
	s, err := server.New(ctx, cfg, server.Options{Version: version(), Log: newLog(d.cmd, cfg.Log)})
	d.cmd.SetErr(nil)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(serving, nil) }()
	if err := d.signIn(ctx, s); err != nil {
		stop()
		return errors.Join(err, <-stopped)
	}
	tour{dir: d.shown(), out: d.cmd.OutOrStdout()}.print()
	return <-stopped
}

func canListen(ctx context.Context, address string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

func (d *demo) say(text string) { fmt.Fprintln(d.cmd.OutOrStdout(), text) }

// shown is the folder as people paste it: relative where that is shorter.
func (d *demo) shown() string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, d.dir); err == nil && !strings.HasPrefix(rel, "..") {
			return "./" + rel
		}
	}
	return d.dir
}

// clear empties an earlier demo's folder, and holds it until unlock. It refuses
// one that holds anything else, and one in which a demo runs.
func (d *demo) clear() (unlock func() error, err error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(d.dir, demoMark)); err != nil {
			return nil, &usageError{err: fmt.Errorf("%s is not empty, and is no demo's folder", d.dir), hint: "choose another with --dir"}
		}
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	mark := filepath.Join(d.dir, demoMark)
	if err := os.WriteFile(mark, []byte("Made by `postern demo`, and removed by the next one.\n"), 0o600); err != nil {
		return nil, err
	}
	unlock, err = server.LockDataDir(d.dir)
	if err != nil {
		return nil, &usageError{err: fmt.Errorf("a demo runs in %s: %w", d.dir, err), hint: "end it, or choose another folder with --dir"}
	}
	for _, e := range entries {
		if e.Name() != demoMark && e.Name() != server.LockFile {
			err = errors.Join(err, os.RemoveAll(filepath.Join(d.dir, e.Name())))
		}
	}
	for _, dir := range []string{filepath.Join(d.dir, "objects"), filepath.Join(d.dir, "as")} {
		err = errors.Join(err, os.MkdirAll(dir, 0o700))
	}
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	return unlock, nil
}

const demoMark = ".postern-demo"

// startDatabase runs the sample server and fills it. The role that the gateway
// uses owns the shop, and is no superuser.
func (d *demo) startDatabase(ctx context.Context) (*pgserver.Server, error) {
	s, err := pgserver.Start(pgserver.Options{Password: rand.Text()})
	if errors.Is(err, pgserver.ErrMissing) {
		return nil, &usageError{
			err:  errors.New("the demo needs PostgreSQL's server, and finds none"),
			hint: "apt-get install postgresql, or set POSTERN_PG_BIN to the folder that holds initdb; `make demo` installs it on Debian",
		}
	}
	if err != nil {
		return nil, err
	}
	password := rand.Text()
	seed, err := demoFiles.ReadFile("demo/seed.sql")
	if err == nil {
		err = errors.Join(
			os.WriteFile(d.passwordFile(), []byte(password+"\n"), 0o600),
			execSQL(ctx, s.DSN(pgserver.Superuser, s.Password, "postgres"),
				"CREATE ROLE shop LOGIN PASSWORD '"+password+"'", "CREATE DATABASE shop OWNER shop"),
			execSQL(ctx, s.DSN("shop", password, "shop"), string(seed)),
		)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fill the sample database: %w", err), s.Stop())
	}
	return s, nil
}

func (d *demo) passwordFile() string { return filepath.Join(d.dir, "orders-db.password") }

func execSQL(ctx context.Context, dsn string, statements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement).ReadAll(); err != nil {
			return errors.Join(err, conn.Close(ctx))
		}
	}
	return conn.Close(ctx)
}

func (d *demo) writeObjects(port int) error {
	names, err := fs.Glob(demoFiles, "demo/objects/*.yaml")
	if err != nil {
		return err
	}
	for _, name := range names {
		tmpl, err := template.ParseFS(demoFiles, name)
		if err != nil {
			return err
		}
		var text strings.Builder
		err = tmpl.Execute(&text, struct {
			PostgresPort int
			PasswordFile string
		}{port, strconv.Quote(d.passwordFile())})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(d.dir, "objects", filepath.Base(name)), []byte(text.String()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// demoPasswordLen is 60 random bits.
const demoPasswordLen = 12

// writeConfig writes the configuration, and reads it as serve would.
func (d *demo) writeConfig() (config.Config, error) {
	_, port, err := net.SplitHostPort(d.https)
	if err != nil {
		return config.Config{}, &usageError{err: fmt.Errorf("--https: %w", err), hint: "write it as 127.0.0.1:8443"}
	}
	text := fmt.Sprintf("# The demo's configuration; `postern serve --config` runs it too, while the sample server runs.\n"+
		"data_dir: data\nlisten: {https: %q, postgres: %q, ssh: %q}\npublic_url: https://localhost:%s\nobjects: [objects]\ndrain_timeout: 2s\n"+
		"identity:\n  local:\n    users:\n", d.https, d.postgres, d.ssh, port)
	passwords := ""
	for _, u := range demoUsers() {
		// The tour needs none of them: it has everybody signed in. They are for a browser.
		password := strings.ToLower(rand.Text()[:demoPasswordLen])
		passwords += u.Name + " " + password + "\n"
		hash, err := identity.HashPassword(postern.NewSecret(password))
		if err != nil {
			return config.Config{}, err
		}
		text += fmt.Sprintf("      - {name: %s, groups: [%s], password_hash: %q}\n", u.Name, strings.Join(u.Groups, ", "), hash)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "passwords"), []byte(passwords), 0o600); err != nil {
		return config.Config{}, err
	}
	file := filepath.Join(d.dir, "postern.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return config.Config{}, err
	}
	return config.Load(file)
}

// signIn leaves a file for each identity, to be sourced by a shell: who I am,
// where the gateway is, and whom to trust.
func (d *demo) signIn(ctx context.Context, s *server.Server) error {
	for _, u := range demoUsers() {
		token, _, err := s.Identity().MintLogin(ctx, postern.Identity{Name: u.Name, Kind: postern.User, Groups: u.Groups, Subject: "local:" + u.Name})
		if err != nil {
			return fmt.Errorf("sign %s in: %w", u.Name, err)
		}
		if err := d.writeEnv(s, u.Name, token); err != nil {
			return err
		}
	}
	_, key, err := s.Identity().RotateKey(ctx, "ci")
	if err != nil {
		return fmt.Errorf("make CI's key: %w", err)
	}
	return d.writeEnv(s, "ci", key)
}

func (d *demo) writeEnv(s *server.Server, name string, token postern.Secret) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.Addr("https"))
	if err != nil {
		return err
	}
	text := "# Makes this shell " + name + "'s.\n" +
		"export POSTERN_SERVER=https://localhost:" + port + "\n" +
		"export POSTERN_CA_FILE=" + shellQuote(s.CAFile()) + "\n" +
		"export POSTERN_TOKEN=" + token.Reveal() + "\n" +
		"export PATH=" + shellQuote(filepath.Dir(program)) + ":\"$PATH\"\n"
	return os.WriteFile(filepath.Join(d.dir, "as", name), []byte(text), 0o600)
}
