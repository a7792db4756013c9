package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api"
	"postern/internal/api/client"
)

// confirmAgain is how often a break-glass login is asked for.
const confirmAgain = 2 * time.Second

// signIn signs a local user in: with a code of their second factor, where they
// have one, and with a second person, where it is a break-glass account.
func (a *app) signIn(ctx context.Context, c *client.Client, user string, password postern.Secret, code string) (api.Login, error) {
	login, err := c.Login(ctx, user, password, code)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized && refused.Detail == api.CodeNeeded && code == "" {
		secret, askErr := a.ui.password("Code of the second factor: ", "code", "", false)
		if askErr != nil {
			return api.Login{}, &usageError{err: errors.New(refused.Detail), hint: "give it with --code"}
		}
		login, err = c.Login(ctx, user, password, secret.Reveal())
	}
	if err != nil {
		return login, wrongPassword(err)
	}
	if login.BreakGlass == nil {
		return login, nil
	}
	a.ui.say("%s is a break-glass account. Within 15 minutes, a second person runs:\n  postern user confirm-login %s --user THEIR-NAME", user, login.BreakGlass.ID)
	for {
		taken, err := c.TakeBreakGlass(ctx, login.BreakGlass.Secret)
		if !errors.As(err, &refused) || refused.Status != http.StatusConflict {
			return taken, err
		}
		select {
		case <-time.After(confirmAgain):
		case <-ctx.Done():
			return api.Login{}, ctx.Err()
		}
	}
}

// wrongPassword takes the hint to sign in off an error of who does.
func wrongPassword(err error) error {
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		return &exitError{code: exitSignedIn, err: err}
	}
	return err
}

func newEnrolCommand(a *app) *cobra.Command {
	var code string
	cmd := &cobra.Command{
		Use: "enrol-totp", Short: "Set up my second factor: codes of an authenticator app",
		Long: "Print a secret for an authenticator app, and ask for a code that it shows. From then on, signing in with the password\n" +
			"takes a code, too, and every login that was made without one is over.",
		Example: "  postern user enrol-totp", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if code == "" {
				f, err := c.EnrolTOTP(cmd.Context())
				if err != nil {
					return err
				}
				a.ui.line("%s", f.URL)
				a.ui.say("Add it to an authenticator app, or type its secret there: %s", f.Secret)
				secret, err := a.ui.password("A code that the app shows: ", "code", "", false)
				if err != nil {
					return &usageError{err: errors.New("there is no terminal to ask for a code at"), hint: "postern user enrol-totp --code CODE"}
				}
				code = secret.Reveal()
			}
			if err := c.ConfirmTOTP(cmd.Context(), code); err != nil {
				return err
			}
			a.ui.say("The second factor counts from now on. Sign in again, with a code.")
			return nil
		},
	}
	cmd.Flags().StringVar(&code, "code", "", "a code of the secret that was printed before; absent: a new secret")
	return cmd
}

func newResetFactorsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "reset-factors NAME", Short: "Take a user's second factor away, and end their sessions",
		Example: "  postern user reset-factors alice", Args: args(1, 1, "a NAME"),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.ResetFactors(cmd.Context(), given[0]); err != nil {
				return err
			}
			a.ui.line("user:%s has no second factor now", given[0])
			return nil
		},
	}
}

func newConfirmLoginCommand(a *app) *cobra.Command {
	var user, file, code string
	var stdin bool
	cmd := &cobra.Command{
		Use: "confirm-login ID", Short: "Confirm somebody else's break-glass login, as the second person",
		Long: "A login of a break-glass account takes a second person: another break-glass account, or an admin among the local\n" +
			"users, who shows here what they sign in with. Ask the first person, and not by a message, whether it is them.",
		Example: "  postern user confirm-login bg_2f4… --user bob", Args: args(1, 1, "the ID that the first person was shown"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if user == "" {
				return &usageError{err: errors.New("who confirms? --user is missing"), hint: "postern user confirm-login ID --user NAME"}
			}
			t, err := a.target()
			if err != nil {
				return err
			}
			password, err := a.ui.password("Password of "+user+" at "+t.server+": ", "password", file, stdin)
			if err != nil {
				return err
			}
			c, err := a.dial(target{server: t.server, caFile: t.caFile})
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.ConfirmBreakGlass(cmd.Context(), given[0], user, password, code); err != nil {
				return wrongPassword(err)
			}
			a.ui.line("%s confirmed", given[0])
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&user, "user", "", "who confirms")
	flags.StringVar(&code, "code", "", "a code of their second factor")
	flags.StringVar(&file, "password-file", "", "read the password from a file")
	flags.BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	cmd.MarkFlagsMutuallyExclusive("password-file", "password-stdin")
	return cmd
}
