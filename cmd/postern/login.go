package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"postern"
)

func newLoginCommand(a *app) *cobra.Command {
	var user, file string
	var stdin bool
	cmd := &cobra.Command{
		Use:   "login --user NAME",
		Short: "Sign in",
		Long: "Sign in as a local user. The login is kept in $XDG_CONFIG_HOME/postern/credentials.json (mode 0600), or in the\n" +
			"folder that POSTERN_CONFIG names. Programs need no login: they set POSTERN_TOKEN to a service account's key.",
		Example: "  postern login --server https://gw.example:8443 --ca-file ca.pem --user alice",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user == "" {
				return &usageError{err: errors.New("whose login? --user is missing"), hint: "postern login --user NAME"}
			}
			t, err := a.target()
			if err != nil {
				return err
			}
			password, err := a.ui.password("Password of "+user+" at "+t.server+": ", file, stdin)
			if err != nil {
				return err
			}
			c, err := a.dial(target{server: t.server, caFile: t.caFile})
			if err != nil {
				return err
			}
			defer c.Close()
			login, err := c.Login(cmd.Context(), user, password)
			if err != nil {
				return err
			}
			err = a.credentials().change(func(s *storedLogins) {
				s.Current = t.server
				s.Logins[t.server] = storedLogin{User: login.Identity.Name, Token: login.Token, ExpiresAt: login.ExpiresAt, CAFile: t.caFile}
			})
			if err != nil {
				return err
			}
			a.ui.say("signed in to %s as %s until %s", t.server, login.Identity.Name, clock(login.ExpiresAt))
			return a.enroll(cmd.Context(), t, postern.NewSecret(login.Token))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&user, "user", "", "the user's name")
	flags.StringVar(&file, "password-file", "", "read the password from a file")
	flags.BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	cmd.MarkFlagsMutuallyExclusive("password-file", "password-stdin")
	return cmd
}

func newLogoutCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "logout",
		Short:   "End the login",
		Example: "  postern logout",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, t, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			err = c.Logout(cmd.Context())
			if t.user == "" {
				return err
			}
			// Whatever the gateway says, this machine forgets the login.
			err = errors.Join(err, a.forget(), a.credentials().change(func(s *storedLogins) {
				delete(s.Logins, t.server)
				if s.Current == t.server {
					s.Current = ""
				}
			}))
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
		})
	}
	return cmd
}
