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
	var user, code, file string
	var stdin, device, noBrowser bool
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Sign in",
		Long: "Sign in through a browser on this machine, or with --device through one anywhere else. The login is kept in the\n" +
			"system's keyring where there is one, else in $XDG_CONFIG_HOME/postern/credentials.json (mode 0600), or in the folder\n" +
			"that POSTERN_CONFIG names; it renews itself until it ends. Programs need no login: they set POSTERN_TOKEN to a\n" +
			"service account's key, or to a token of their CI system. --user signs a local user in with a password, for scripts.",
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
			if user != "" {
				return a.passwordLogin(cmd.Context(), c, t, user, code, file, stdin)
			}
			if file != "" || stdin {
				return &usageError{err: errors.New("whose password? --user is missing"), hint: "postern login --user NAME, or without a password through the browser"}
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
			return a.signedIn(cmd.Context(), t, tokens)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&device, "device", false, "show a code to type into a browser on another machine")
	flags.BoolVar(&noBrowser, "no-browser", false, "print the link instead of opening it")
	flags.StringVar(&user, "user", "", "sign this local user in with a password")
	flags.StringVar(&code, "code", "", "with --user: a code of the second factor; absent: asked for when it is needed")
	flags.StringVar(&file, "password-file", "", "read the password from a file")
	flags.BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	cmd.MarkFlagsMutuallyExclusive("password-file", "password-stdin")
	cmd.MarkFlagsMutuallyExclusive("user", "device")
	return cmd
}

// signedIn keeps a login, once the gateway has said whose it is.
func (a *app) signedIn(ctx context.Context, t target, tokens client.Tokens) error {
	c, err := a.dial(target{server: t.server, caFile: t.caFile, token: tokens.Token})
	if err != nil {
		return err
	}
	defer c.Close()
	who, err := c.Whoami(ctx)
	if err != nil {
		return err
	}
	err = a.keep(t.server, storedLogin{
		User: who.Name, Token: tokens.Token.Reveal(), ExpiresAt: tokens.ExpiresAt, Refresh: tokens.Refresh.Reveal(),
		LoginEnds: tokens.LoginEnds, CAFile: t.caFile,
	})
	if err != nil {
		return err
	}
	a.ui.say("signed in to %s as %s until %s", t.server, who.Name, clock(tokens.LoginEnds))
	return a.enroll(ctx, t, tokens.Token)
}

// passwordLogin signs a local user in with a password: for scripts, and where
// there is neither a browser nor a second machine.
func (a *app) passwordLogin(ctx context.Context, c *client.Client, t target, user, code, file string, stdin bool) error {
	password, err := a.ui.password("Password of "+user+" at "+t.server+": ", file, stdin)
	if err != nil {
		return err
	}
	login, err := a.signIn(ctx, c, user, password, code)
	if err != nil {
		return err
	}
	err = a.keep(t.server, storedLogin{User: login.Identity.Name, Token: login.Token, ExpiresAt: login.ExpiresAt, CAFile: t.caFile})
	if err != nil {
		return err
	}
	a.ui.say("signed in to %s as %s until %s", t.server, login.Identity.Name, clock(login.ExpiresAt))
	return a.enroll(ctx, t, postern.NewSecret(login.Token))
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
		return a.ui.show(f, who, func() {
			a.ui.table([]string{"NAME", "KIND", "GROUPS", "ROLES", "UNTIL", "SERVER"}, [][]string{{
				who.Name, string(who.Kind), strings.Join(who.Groups, ", "), strings.Join(who.Roles, ", "), clock(who.Expires), t.server,
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
