package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"postern/internal/api"
)

func newTokenLsCommand(a *app) *cobra.Command {
	var identity string
	cmd := &cobra.Command{
		Use: "ls", Short: "List my tokens, certificates and keys, and who was refused with them",
		Example: "  postern token ls", Args: args(0, 0, ""),
	}
	f := formatFlag(cmd)
	cmd.Flags().StringVar(&identity, "identity", "", "whose; for auditors and admins (default: mine)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		tokens, err := c.Tokens(cmd.Context(), identity)
		if err != nil {
			return err
		}
		return a.ui.show(f, tokens, func() {
			var rows [][]string
			for _, t := range tokens {
				rows = append(rows, []string{t.ID, t.Kind, t.Resource, uses(t), tokenState(t), misuse(t)})
			}
			a.ui.table([]string{"ID", "KIND", "RESOURCE", "USES", "STATE", "REFUSED"}, rows)
		})
	}
	return cmd
}

func uses(t api.Token) string {
	if t.MaxUses == 0 {
		return strconv.Itoa(t.Uses)
	}
	return strconv.Itoa(t.Uses) + " of " + strconv.Itoa(t.MaxUses)
}

func tokenState(t api.Token) string {
	if t.Revoked {
		return "revoked"
	}
	return "until " + clock(t.ExpiresAt)
}

// misuse says how often somebody was refused with a token: its owner may have
// been them, or may have lost it.
func misuse(t api.Token) string {
	if t.Refused == 0 {
		return ""
	}
	return strconv.Itoa(t.Refused) + ", last " + clock(t.RefusedAt) + " " + t.RefusedWhy
}

func newTokenRevokeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke a token, certificate or key, and end the sessions it opened",
		Example: "  postern token revoke tk_…", Args: args(1, 1, "the token's ID"),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.RevokeToken(cmd.Context(), given[0]); err != nil {
				return err
			}
			a.ui.say("revoked %s", given[0])
			return nil
		},
	}
}
