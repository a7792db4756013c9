package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api/client"
)

// app is what the commands share.
type app struct {
	ui     *tui
	getenv func(string) string
	now    func() time.Time
	ring   secrets // the system's keyring
	server string  // --server
	caFile string  // --ca-file
}

func newApp() *app {
	return &app{ui: newTUI(), getenv: os.Getenv, now: time.Now, ring: systemKeyring{}}
}

const defaultServer = "https://localhost:8443"

// target is the gateway to call, and as whom.
type target struct {
	server string
	caFile string // absolute; "": the system's certificates
	token  postern.Secret
	user   string // of the stored login; "" when the token came from the environment
	login  storedLogin
}

// target finds the gateway: from flags, then the environment, then the last login.
func (a *app) target() (target, error) {
	t, err := a.found()
	if err != nil || t.user == "" {
		return t, err
	}
	if t.login, err = a.kept(t.server, t.login); err != nil {
		return target{}, err
	}
	if t.login.ExpiresAt.IsZero() || a.now().Before(t.login.ExpiresAt) {
		t.token = postern.NewSecret(t.login.Token)
	}
	return t, nil
}

// found is the target without the stored login's secrets, which a keyring may have.
func (a *app) found() (target, error) {
	stored, err := a.credentials().read()
	if err != nil {
		return target{}, err
	}
	t := target{server: a.server}
	if t.server == "" {
		t.server = a.getenv("POSTERN_SERVER")
	}
	if t.server == "" {
		t.server = stored.Current
	}
	if t.server == "" {
		t.server = defaultServer
	}
	t.server = strings.TrimSuffix(t.server, "/")
	login := stored.Logins[t.server]
	t.caFile = a.caFile
	if t.caFile == "" {
		t.caFile = a.getenv("POSTERN_CA_FILE")
	}
	if t.caFile == "" {
		t.caFile = login.CAFile
	}
	if t.caFile != "" {
		if t.caFile, err = filepath.Abs(t.caFile); err != nil {
			return target{}, err
		}
	}
	t.token = postern.NewSecret(strings.TrimSpace(a.getenv("POSTERN_TOKEN")))
	if t.token.IsZero() {
		t.user, t.login = login.User, login
	}
	return t, nil
}

// client makes a client for a caller who is signed in.
func (a *app) client() (*client.Client, target, error) {
	t, err := a.target()
	if err != nil {
		return nil, target{}, err
	}
	if t.token.IsZero() && t.login.Refresh == "" {
		return nil, target{}, &signedOutError{server: t.server, expired: t.user != ""}
	}
	c, err := a.dial(t)
	return c, t, err
}

func (a *app) dial(t target) (*client.Client, error) {
	c, err := client.New(client.Config{
		Server: t.server, Token: t.token, CAFile: t.caFile, UserAgent: "postern/" + version(), Exchange: a.exchanging(t), Find: a.renewing(t),
	})
	if err != nil {
		return nil, &usageError{err: err, hint: "set --server and --ca-file, or POSTERN_SERVER and POSTERN_CA_FILE"}
	}
	return c, nil
}

// usageError is a command line that can't be run as it is.
type usageError struct {
	err  error
	hint string // what to do instead; may be empty
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// signedOutError says that there is nothing to call the gateway with.
type signedOutError struct {
	server  string
	expired bool
}

func (e *signedOutError) Error() string {
	if e.expired {
		return "the login to " + e.server + " has expired"
	}
	return "not signed in to " + e.server
}

// exitError ends the program with a code of its own. Where another program has
// told the person already, quiet is set.
type exitError struct {
	code  int
	err   error
	quiet bool
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// args checks the number of arguments, and that none is empty, as a variable that
// isn't set makes it; names are as the usage line has them.
func args(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		hint := "see `" + cmd.CommandPath() + " --help`"
		switch {
		case len(given) < least && names != "":
			return &usageError{err: fmt.Errorf("%s needs %s", cmd.CommandPath(), names), hint: hint}
		case len(given) > most:
			return &usageError{err: fmt.Errorf("%s: too many arguments from %q on", cmd.CommandPath(), given[most]), hint: hint}
		}
		for i, text := range given {
			switch {
			case strings.TrimSpace(text) != "":
			case most == 1 && names != "":
				return &usageError{err: fmt.Errorf("%s needs %s: what is given is empty", cmd.CommandPath(), names), hint: hint}
			default:
				return &usageError{err: fmt.Errorf("%s: argument %d is empty", cmd.CommandPath(), i+1), hint: hint}
			}
		}
		return nil
	}
}

// noCommand refuses words that are no subcommand.
func noCommand(cmd *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	hint := "see `" + cmd.CommandPath() + " --help`"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(given[0]); len(near) > 0 {
		hint = "did you mean `" + cmd.CommandPath() + " " + near[0] + "`?"
	}
	return &usageError{err: fmt.Errorf("%s has no command %q", cmd.CommandPath(), given[0]), hint: hint}
}

func errNoSubcommand(cmd *cobra.Command) error {
	var names []string
	for _, sub := range cmd.Commands() {
		names = append(names, sub.Name())
	}
	return errors.New(cmd.CommandPath() + " needs one of " + strings.Join(names, ", "))
}
