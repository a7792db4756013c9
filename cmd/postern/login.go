package main

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api"
	"postern/internal/api/client"
)

func newLoginCommand(a *app) *cobra.Command {
	var user, code, file, keyKind string
	var stdin, device, noBrowser bool
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Sign in",
		Long: "Sign in through a browser on this machine, or with --device through one anywhere else. The login is kept in the\n" +
			"system's keyring where there is one, else in $XDG_CONFIG_HOME/postern/credentials.json (mode 0600), or in the folder\n" +
			"that POSTERN_CONFIG names; it renews itself until it ends. Programs need no login: they set POSTERN_TOKEN to a\n" +
			"service account's key, or to a token of their CI system. --user signs a local user in with a password, for scripts.\n\n" +
			"The key of the login is made in this machine's TPM 2.0, and never leaves it, where there is one that you may use\n" +
			"(Linux: /dev/tpmrm0, or what POSTERN_TPM names; off: none); elsewhere it is in a file. --key insists on either.",
		Example: "  postern login --server https://gw.example:8443\n  postern login --device\n" +
			"  postern login --user alice --password-file alice.password",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.target()
			if err != nil {
				return err
			}
			c, err := a.dial(target{server: t.server, caFile: t.caFile})
			if err != nil {
				return err
			}
			defer c.Close()
			if user == "" && (file != "" || stdin) {
				return &usageError{err: errors.New("whose password? --user is missing"), hint: "postern login --user NAME, or without a password through the browser"}
			}
			key, err := a.newLoginKey(keyKind) // before anybody signs in for nothing
			if err != nil {
				return err
			}
			if user != "" {
				login, err := a.passwordLogin(cmd.Context(), c, t, user, code, file, stdin)
				if err != nil {
					return err
				}
				return a.signedIn(cmd.Context(), t, login, key)
			}
			var tokens client.Tokens
			if device {
				tokens, err = a.deviceLogin(cmd.Context(), c)
			} else {
				tokens, err = a.browserLogin(cmd.Context(), c, !noBrowser)
			}
			if err != nil {
				return err
			}
			login, err := a.whose(cmd.Context(), t, tokens)
			if err != nil {
				return err
			}
			return a.signedIn(cmd.Context(), t, login, key)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&device, "device", false, "show a code to type into a browser on another machine")
	flags.BoolVar(&noBrowser, "no-browser", false, "print the link instead of opening it")
	flags.StringVar(&user, "user", "", "sign this local user in with a password")
	flags.StringVar(&code, "code", "", "with --user: a code of the second factor; absent: asked for when it is needed")
	flags.StringVar(&keyKind, "key", "", "where the login's key must be: tpm or file (default: in the TPM where there is one)")
	flags.StringVar(&file, "password-file", "", "read the password from a file")
	flags.BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	cmd.MarkFlagsMutuallyExclusive("password-file", "password-stdin")
	cmd.MarkFlagsMutuallyExclusive("user", "device")
	return cmd
}

// whose asks the gateway whose tokens these are.
func (a *app) whose(ctx context.Context, t target, tokens client.Tokens) (storedLogin, error) {
	c, err := a.dial(target{server: t.server, caFile: t.caFile, token: tokens.Token})
	if err != nil {
		return storedLogin{}, err
	}
	defer c.Close()
	who, err := c.Whoami(ctx)
	return storedLogin{
		User: who.Name, Token: tokens.Token.Reveal(), ExpiresAt: tokens.ExpiresAt, Refresh: tokens.Refresh.Reveal(), LoginEnds: tokens.LoginEnds,
	}, err
}

// passwordLogin signs a local user in with a password: for scripts, and where
// there is neither a browser nor a second machine.
func (a *app) passwordLogin(ctx context.Context, c *client.Client, t target, user, code, file string, stdin bool) (storedLogin, error) {
	password, err := a.ui.password("Password of "+user+" at "+t.server+": ", "password", file, stdin)
	if err != nil {
		return storedLogin{}, err
	}
	login, err := a.signIn(ctx, c, user, password, code)
	return storedLogin{User: login.Identity.Name, Token: login.Token, ExpiresAt: login.ExpiresAt}, err
}

// signedIn keeps a login and its key.
func (a *app) signedIn(ctx context.Context, t target, login storedLogin, key loginKey) error {
	var err error
	if login.TPMKey, err = key.kept(); err != nil {
		return err
	}
	login.CAFile = t.caFile
	if err := a.keep(t.server, login); err != nil {
		return err
	}
	until := login.LoginEnds
	if until.IsZero() {
		until = login.ExpiresAt
	}
	a.ui.say("signed in to %s as %s until %s", t.server, login.User, clock(until))
	return a.enroll(ctx, t, postern.NewSecret(login.Token), key)
}

func newLogoutCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "logout",
		Short:   "End the login, and the sessions that were opened with it",
		Example: "  postern logout",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, t, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if t.login.Refresh != "" { // good even where the token is over
				err = c.EndLogin(cmd.Context(), postern.NewSecret(t.login.Refresh))
			} else {
				err = c.Logout(cmd.Context())
			}
			if t.user == "" {
				return err
			}
			// Whatever the gateway says, this machine forgets the login.
			err = errors.Join(err, a.forget(), a.forgetLogin(t.server))
			if err == nil {
				a.ui.say("signed out of %s", t.server)
			}
			return err
		},
	}
}

// whoami is what the gateway says, and what this machine alone knows.
type whoami struct {
	api.Whoami
	Key string `json:"key,omitempty"` // where the login's key is: tpm, file
}

func newWhoamiCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "whoami",
		Short:   "Who I am to the gateway",
		Example: "  postern whoami -o json",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, t, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		who, err := c.Whoami(cmd.Context())
		if err != nil {
			return err
		}
		me := whoami{Whoami: who, Key: t.login.keyIn()}
		return a.ui.show(f, me, func() {
			a.ui.table([]string{"NAME", "KIND", "GROUPS", "ROLES", "UNTIL", "SERVER", "KEY"}, [][]string{{
				who.Name, string(who.Kind), strings.Join(who.Groups, ", "), strings.Join(who.Roles, ", "), clock(who.Expires), t.server, me.Key,
			}})
			a.showRefusals(who.Refusals)
		})
	}
	return cmd
}

// showRefusals shows with which of the caller's tokens somebody was refused.
func (a *app) showRefusals(all []api.Refusal) {
	if len(all) == 0 {
		return
	}
	var rows [][]string
	for _, r := range all {
		rows = append(rows, []string{r.Token, r.Kind, r.Resource, strconv.Itoa(r.Times), clock(r.At), r.Why})
	}
	a.ui.table([]string{"REFUSED", "KIND", "RESOURCE", "TIMES", "LAST", "WHY"}, rows)
	a.ui.say("if that wasn't you, somebody has a copy: postern token revoke ID")
}
