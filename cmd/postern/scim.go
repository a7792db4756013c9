package main

import (
	"errors"

	"github.com/spf13/cobra"

	"postern/internal/api"
)

// printedSCIM is what scim-token create prints with -o json.
type printedSCIM struct {
	Name  string `json:"name"`
	Token string `json:"token"`
	URL   string `json:"url"`
}

func newSCIMTokenCommand(a *app) *cobra.Command {
	return group("scim-token", "Directories that keep people and groups through SCIM",
		"  postern scim-token create okta --provider corp",
		a.scimCreateCommand(), a.scimListCommand(), a.scimRevokeCommand(), a.scimAllowCommand())
}

func (a *app) scimCreateCommand() *cobra.Command {
	var in api.NewSCIMToken
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a directory's token, and print it once",
		Long: "Make the token with which a provider's directory calls /scim/v2. It is good for nothing else, and for the people\n" +
			"of that provider only.",
		Example: "  postern scim-token create okta --provider corp --subjects external-id -o json", Args: args(1, 1, "a NAME"),
	}
	cmd.Flags().StringVar(&in.Provider, "provider", "", "the provider whose people it keeps: a name of identity.oidc")
	cmd.Flags().StringVar(&in.Subjects, "subjects", "", "external-id: its externalId is what the provider calls a person who signs in")
	cmd.Flags().StringVar(&in.TTL, "ttl", "", "how long it is good, like 2160h (default a year)")
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if in.Provider == "" {
			return &usageError{err: errors.New("whose people? --provider is missing"), hint: "postern scim-token create NAME --provider PROVIDER"}
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		in.Name = given[0]
		key, err := c.CreateSCIMToken(cmd.Context(), in)
		if err != nil {
			return err
		}
		return a.ui.show(f, printedSCIM{Name: key.Name, Token: key.Token, URL: key.URL}, func() {
			a.ui.say("The token of directory %s, for %s, until %s. It isn't shown again.", key.Name, key.URL, clock(key.ExpiresAt))
			a.ui.line("%s", key.Token)
		})
	}
	return cmd
}

func (a *app) scimListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "Tokens of directories, without their secrets", Example: "  postern scim-token ls", Args: args(0, 0, "")}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		all, err := c.SCIMTokens(cmd.Context())
		if err != nil {
			return err
		}
		return a.ui.show(f, all, func() {
			rows := [][]string{}
			for _, t := range all {
				state := "good"
				switch {
				case t.Revoked:
					state = "revoked"
				case !a.now().Before(t.ExpiresAt):
					state = "expired"
				}
				rows = append(rows, []string{t.Name, t.Provider, state, t.CreatedBy, clock(t.CreatedAt), clock(t.ExpiresAt)})
			}
			a.ui.table([]string{"NAME", "PROVIDER", "STATE", "MADE BY", "CREATED", "UNTIL"}, rows)
		})
	}
	return cmd
}

func (a *app) scimRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME", Short: "Make a directory's token useless", Example: "  postern scim-token revoke okta", Args: args(1, 1, "a NAME"),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.RevokeSCIMToken(cmd.Context(), given[0]); err != nil {
				return err
			}
			a.ui.line("scim-token:%s revoked", given[0])
			return nil
		},
	}
}

func (a *app) scimAllowCommand() *cobra.Command {
	var lasts string
	cmd := &cobra.Command{
		Use: "allow-removals NAME", Short: "Let a directory remove more people than its limits allow, for a while",
		Long: "A directory that would take something from many people within an hour is refused (identity.scim.max_removals and\n" +
			"max_share). When that is meant, this lets it.",
		Example: "  postern scim-token allow-removals okta --for 30m", Args: args(1, 1, "a NAME"),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			allowed, err := c.AllowRemovals(cmd.Context(), given[0], api.Removals{For: lasts})
			if err != nil {
				return err
			}
			a.ui.line("the directory of %s may remove people without limit until %s", allowed.Provider, clock(allowed.Until))
			return nil
		},
	}
	cmd.Flags().StringVar(&lasts, "for", "", "how long, an hour at most (default 1h)")
	return cmd
}
