package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"postern/internal/api"
	"postern/internal/api/client"
)

// native is the client program of one protocol. No secret is in its arguments
// or in its environment: it reads the session token from a file that is gone
// when it ends.
type native struct {
	program string
	install string // what to do when the program is missing
	// arguments open the session; command, when it isn't empty, is run in it.
	arguments func(token api.SessionToken, command string) []string
	// environ is what the program's environment needs besides.
	environ func(token api.SessionToken, caFile string) []string
	// secretFile writes the session token into a file of dir, and says how the
	// program's environment names it.
	secretFile func(dir string, token api.SessionToken) (environ []string, err error)
	// secret is the environment of `postern token -o env`, which asks for it.
	secret func(token api.SessionToken) []string
	// drop are the beginnings of variables that could lead the program astray.
	drop []string
	// prepare writes what else the program needs into dir, and returns the
	// arguments that come first; nil: nothing.
	prepare func(ctx context.Context, c *client.Client, dir string, token api.SessionToken) ([]string, error)
	// showsKey is the environment with which the program shows a key in its TLS
	// handshake; nil: it can't, and its tokens aren't bound to one.
	showsKey func(certFile, keyFile string) []string
	// passes says that the program's exit code is that of the command.
	passes bool
}

// nativeFor finds the client program of a protocol.
func nativeFor(protocol string) (native, error) {
	switch protocol {
	case "postgres":
		return psql(), nil
	case "ssh":
		return openssh(), nil
	default:
		return native{}, fmt.Errorf("postern doesn't know a client program for %s; `postern token RESOURCE -o json` has what any client needs", protocol)
	}
}

func psql() native {
	return native{
		program: "psql",
		install: "install PostgreSQL's client: `apt-get install postgresql-client`, `brew install libpq`",
		arguments: func(_ api.SessionToken, command string) []string {
			if command == "" {
				return nil
			}
			return []string{"--no-psqlrc", "--set=ON_ERROR_STOP=1", "--command=" + command}
		},
		environ: func(token api.SessionToken, caFile string) []string {
			return []string{
				"PGHOST=" + token.Host, "PGPORT=" + strconv.Itoa(token.Port), "PGUSER=" + token.User,
				"PGDATABASE=" + token.Database, "PGSSLMODE=verify-full", "PGSSLROOTCERT=" + caBundle(caFile),
			}
		},
		secretFile: func(dir string, token api.SessionToken) ([]string, error) {
			file := filepath.Join(dir, "pgpass")
			escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
			// With the token's id in the user's name, psql shows that it knows the token, and doesn't send it.
			user := token.User + "+" + token.ID
			line := "*:*:*:" + escape.Replace(user) + ":" + escape.Replace(secretOf(token).Reveal()) + "\n"
			return []string{"PGPASSFILE=" + file, "PGUSER=" + user, "PGREQUIREAUTH=scram-sha-256"}, os.WriteFile(file, []byte(line), 0o600)
		},
		showsKey: func(certFile, keyFile string) []string {
			return []string{"PGSSLCERT=" + certFile, "PGSSLKEY=" + keyFile}
		},
		secret: func(token api.SessionToken) []string { return []string{"PGPASSWORD=" + secretOf(token).Reveal()} },
		drop:   []string{"PG"},
	}
}

// caBundle is the file that a program which wants one checks certificates
// against: the given one, or the system's.
func caBundle(caFile string) string {
	if caFile != "" {
		return caFile
	}
	for _, file := range []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem",
	} {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return "system"
}

func newConnectCommand(a *app) *cobra.Command {
	in := api.TokenRequest{Uses: 1}
	cmd := &cobra.Command{
		Use:   "connect RESOURCE [-- ARGS…]",
		Short: "Run the native client with a fresh session token",
		Long: "Run the resource's own client (psql, ssh) against the gateway, with a fresh session token. What follows -- goes to the\n" +
			"client, and its exit code is passed on.",
		Example: "  postern connect orders-db\n  postern connect orders-db -- -c 'SELECT count(*) FROM orders'",
		Args:    resourceAndRest,
		RunE: func(cmd *cobra.Command, given []string) error {
			in.Resource = given[0]
			code, err := a.runNative(cmd, in, "", given[1:])
			if err != nil {
				return err
			}
			return passedOn(code)
		},
	}
	cmd.Flags().IntVar(&in.Uses, "uses", 1, "how many connections its token opens; 0: any number, for clients that connect again")
	delegationFlag(cmd, &in.Delegation)
	return cmd
}

func newExecCommand(a *app) *cobra.Command {
	var command string
	in := api.TokenRequest{Uses: 1}
	cmd := &cobra.Command{
		Use:   "exec RESOURCE -c COMMAND [-- ARGS…]",
		Short: "Run one command, with its result on standard output",
		Long: "Run one command through the resource's own client. The exit code is 0 when it ran, 4 when a rule denied it,\n" +
			"5 when its review was denied or timed out, and 1 when it failed: over SSH, the command's own. What follows -- goes to\n" +
			"the client.",
		Example: "  postern exec metrics-db -c 'SELECT count(*) FROM metrics.daily_sales'\n  postern exec orders-db -c 'TABLE orders' -- --csv",
		Args:    resourceAndRest,
	}
	cmd.Flags().StringVarP(&command, "command", "c", "", "the command")
	delegationFlag(cmd, &in.Delegation)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if strings.TrimSpace(command) == "" {
			return &usageError{err: errors.New("which command? -c is missing"), hint: "postern exec " + given[0] + " -c COMMAND"}
		}
		in.Resource = given[0]
		code, err := a.runNative(cmd, in, command, given[1:])
		if err != nil {
			return err
		}
		return passedOn(code)
	}
	return cmd
}

// resourceAndRest takes one RESOURCE, and after -- the client's own arguments.
func resourceAndRest(cmd *cobra.Command, given []string) error {
	before := len(given)
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		before = dash
	}
	if before > 1 {
		return &usageError{
			err:  fmt.Errorf("%s: too many arguments from %q on", cmd.CommandPath(), given[1]),
			hint: "put the client's own arguments after --",
		}
	}
	return args(1, 1, "the RESOURCE to open")(cmd, given[:before])
}

func passedOn(code int) error {
	if code == 0 {
		return nil
	}
	return &exitError{code: code, err: fmt.Errorf("the client ended with exit code %d", code), quiet: true}
}

// execCode is the exit code of exec: the client's own says only that something failed.
func execCode(code int, said string) int {
	switch {
	case code == 0:
		return exitDone
	case strings.Contains(said, "postern: ") && strings.Contains(said, "review rv_"):
		return exitReview
	case strings.Contains(said, "postern: denied by"):
		return exitDenied
	default:
		return exitFailed
	}
}

// The exit codes of ssh that may be the gateway's doing: what was denied, and
// a connection that was refused or broke.
const (
	statusDenied = 126
	statusBroken = 255
)

// runNative runs the client program and returns its exit code; that of exec,
// when it is given a command.
func (a *app) runNative(cmd *cobra.Command, in api.TokenRequest, command string, more []string) (code int, err error) {
	c, t, err := a.client()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	h, err := a.holder(t)
	if err != nil {
		return 0, err
	}
	token, err := h.mint(cmd, c, in)
	if err != nil {
		return 0, err
	}
	n, err := nativeFor(token.Protocol)
	if err != nil {
		return 0, err
	}
	program, err := exec.LookPath(n.program)
	if err != nil {
		return 0, &usageError{err: fmt.Errorf("%s is not installed", n.program), hint: n.install}
	}
	dir, err := os.MkdirTemp("", "postern-") // mode 0700
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	secret, err := n.secretFile(dir, token)
	if err != nil {
		return 0, fmt.Errorf("hand over the session token: %w", err)
	}
	switch {
	case n.showsKey == nil:
	case h.inTPM():
		environ, closed, err := a.keySocket(cmd.Context(), t, h, dir, token)
		if err != nil {
			return 0, err
		}
		defer closed()
		secret = append(secret, environ...)
	default:
		certFile, keyFile, err := h.introduce(dir)
		if err != nil {
			return 0, err
		}
		secret = append(secret, n.showsKey(certFile, keyFile)...)
	}
	var first []string
	if n.prepare != nil {
		if first, err = n.prepare(cmd.Context(), c, dir, token); err != nil {
			return 0, err
		}
	}
	tail := &tailWriter{to: a.ui.err}
	// The client decides what Ctrl-C means, so its end is not this context's.
	run := exec.CommandContext(context.WithoutCancel(cmd.Context()), program, slices.Concat(first, n.arguments(token, command), more)...)
	run.Stdin, run.Stdout, run.Stderr = a.ui.in, a.ui.out, a.ui.err
	if command != "" {
		run.Stderr = tail
	}
	run.Env = slices.Concat(n.cleanEnviron(os.Environ()), n.environ(token, t.caFile), secret)
	code, err = runForeground(run)
	if command != "" && !(n.passes && code != statusDenied && code != statusBroken) {
		code = execCode(code, tail.String())
	}
	return code, err
}

// cleanEnviron is the environment without our own secrets, and without what
// could lead the client elsewhere.
func (n native) cleanEnviron(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		if strings.HasPrefix(v, "POSTERN_TOKEN=") || strings.HasPrefix(v, "POSTERN_BOOTSTRAP_KEY=") {
			return true
		}
		return slices.ContainsFunc(n.drop, func(prefix string) bool {
			return strings.HasPrefix(v, prefix) && !strings.HasPrefix(v, "PGAPPNAME=")
		})
	})
}

// runForeground runs a program that owns the terminal. Interrupts are its own
// business; being told to stop is passed on to it.
func runForeground(run *exec.Cmd) (code int, err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := run.Start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	passing := make(chan struct{})
	go func() {
		defer close(passing)
		for {
			select {
			case <-ended:
				return
			case s := <-signals:
				if s == syscall.SIGTERM || s == syscall.SIGHUP {
					_ = run.Process.Signal(s) // it may have ended by itself
				}
			}
		}
	}()
	err = run.Wait()
	close(ended)
	<-passing
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}

// tailWriter passes everything on and remembers the end of it.
type tailWriter struct {
	to   io.Writer
	tail bytes.Buffer
}

const maxTail = 16 << 10

// Write implements io.Writer.
func (w *tailWriter) Write(b []byte) (int, error) {
	w.tail.Write(b)
	if over := w.tail.Len() - maxTail; over > 0 {
		w.tail.Next(over)
	}
	return w.to.Write(b)
}

// String is the end of what was written.
func (w *tailWriter) String() string { return w.tail.String() }

// isStatus says whether the gateway answered with an HTTP status.
func isStatus(err error, status int) bool {
	var refused *client.Error
	return errors.As(err, &refused) && refused.Status == status
}
