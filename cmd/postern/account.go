package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api"
	"postern/internal/api/client"
	"postern/internal/identity"
)

// printedKey is what service-account create and rotate print with -o json.
type printedKey struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

func newServiceAccountCommand(a *app) *cobra.Command {
	create := a.keyCommand("create NAME", "Create a service account, and print its key once",
		"  postern service-account create ci --group ci -o json", nil)
	groups := create.Flags().StringSlice("group", nil, "a group it is in; may be repeated")
	run := a.keyRun(create, func(ctx context.Context, c *client.Client, name string) (api.ServiceKey, error) {
		return c.CreateServiceAccount(ctx, api.NewServiceAccount{Name: name, Groups: *groups})
	})
	create.RunE = run
	rotate := a.keyCommand("rotate NAME", "Replace a service account's key; the old one is good for nothing at once",
		"  postern service-account rotate ci -o json",
		func(ctx context.Context, c *client.Client, name string) (api.ServiceKey, error) {
			return c.RotateServiceAccount(ctx, name)
		})
	remove := &cobra.Command{
		Use: "delete NAME", Short: "Delete a service account, and end its sessions",
		Example: "  postern service-account delete ci", Args: args(1, 1, "a NAME"),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.DeleteServiceAccount(cmd.Context(), given[0]); err != nil {
				return err
			}
			a.ui.line("service:%s deleted", given[0])
			return nil
		},
	}
	const noun = "service-account"
	return group(noun, "Identities for programs",
		"  postern service-account create ci --group ci -o json",
		create, a.accountsCommand(noun, "Service accounts", (*client.Client).ServiceAccounts), rotate,
		a.switchCommand(noun, true, (*client.Client).SetServiceAccount), a.switchCommand(noun, false, (*client.Client).SetServiceAccount), remove)
}

type keyCall func(ctx context.Context, c *client.Client, name string) (api.ServiceKey, error)

// keyCommand is a command whose result is a key.
func (a *app) keyCommand(use, short, example string, call keyCall) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: example, Args: args(1, 1, "a NAME")}
	if call != nil {
		cmd.RunE = a.keyRun(cmd, call)
	}
	return cmd
}

func (a *app) keyRun(cmd *cobra.Command, call keyCall) func(*cobra.Command, []string) error {
	f := formatFlag(cmd)
	return func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		key, err := call(cmd.Context(), c, given[0])
		if err != nil {
			return err
		}
		return a.ui.show(f, printedKey{Name: key.Name, Key: key.Key}, func() {
			a.ui.say("The key of service account %s. It isn't shown again; set POSTERN_TOKEN to it.", key.Name)
			a.ui.line("%s", key.Key)
		})
	}
}

func (a *app) accountsCommand(noun, short string, list func(*client.Client, context.Context) ([]postern.Account, error)) *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: short, Example: "  postern " + noun + " ls", Args: args(0, 0, "")}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		accounts, err := list(c, cmd.Context())
		if err != nil {
			return err
		}
		return a.ui.show(f, accounts, func() {
			rows := [][]string{}
			for _, account := range accounts {
				rows = append(rows, []string{
					account.Name, strings.Join(account.Groups, ", "), stateOf(account), account.Source,
					clock(account.CreatedAt), clock(account.RotatedAt),
				})
			}
			a.ui.table([]string{"NAME", "GROUPS", "STATE", "KEPT IN", "CREATED", "ROTATED"}, rows)
		})
	}
	return cmd
}

func stateOf(account postern.Account) string {
	if account.Disabled {
		return "disabled"
	}
	return "enabled"
}

// switchCommand disables or enables an account.
func (a *app) switchCommand(noun string, disable bool, set func(*client.Client, context.Context, string, bool) (postern.Account, error)) *cobra.Command {
	verb, short := "enable", "Let it in again"
	if disable {
		verb, short = "disable", "Refuse it, revoke its tokens and end its sessions"
	}
	cmd := &cobra.Command{Use: verb + " NAME", Short: short, Example: "  postern " + noun + " " + verb + " NAME", Args: args(1, 1, "a NAME")}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		account, err := set(c, cmd.Context(), given[0], disable)
		if err != nil {
			return err
		}
		return a.ui.show(f, account, func() { a.ui.line("%s:%s %sd", account.Kind, account.Name, verb) })
	}
	return cmd
}

func newUserCommand(a *app) *cobra.Command {
	const noun = "user"
	return group(noun, "People who sign in with a password",
		"  postern user ls\n  postern user disable alice",
		a.accountsCommand(noun, "Local users", (*client.Client).Users),
		a.switchCommand(noun, true, (*client.Client).SetUser), a.switchCommand(noun, false, (*client.Client).SetUser), newHashPasswordCommand(a),
		newEnrolCommand(a), newResetFactorsCommand(a), newConfirmLoginCommand(a))
}

func newHashPasswordCommand(a *app) *cobra.Command {
	var file string
	var stdin bool
	cmd := &cobra.Command{
		Use:     "hash-password",
		Short:   "Print the password_hash that postern.yaml takes",
		Example: "  postern user hash-password\n  printf %s \"$PASSWORD\" | postern user hash-password --password-stdin",
		Args:    args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			password, err := a.ui.password("Password: ", "password", file, stdin)
			if err != nil {
				return err
			}
			hash, err := identity.HashPassword(password)
			if err != nil {
				return &usageError{err: err}
			}
			a.ui.line("%s", hash)
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "password-file", "", "read the password from a file")
	cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	cmd.MarkFlagsMutuallyExclusive("password-file", "password-stdin")
	return cmd
}
