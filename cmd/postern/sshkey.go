package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/api"
)

func newSSHKeyCommand(a *app) *cobra.Command {
	return group("ssh-key", "SSH public keys that let me in", "  postern ssh-key add ~/.ssh/id_ed25519.pub\n  postern ssh-key ls",
		newSSHKeyAddCommand(a), newSSHKeyLsCommand(a), newSSHKeyRmCommand(a))
}

func newSSHKeyAddCommand(a *app) *cobra.Command {
	var in api.SSHKeyRequest
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Register an SSH public key as mine",
		Long: "Register a public key, as ssh-keygen writes it. Whoever has the private key enters SSH as you. `postern ssh config`\n" +
			"needs none: it gets certificates that last as long as the login, which is better where a program can do it.",
		Example: "  postern ssh-key add ~/.ssh/id_ed25519.pub --for 720h",
		Args:    args(1, 1, "the public key's FILE"),
	}
	f := formatFlag(cmd, "id", "json", "yaml")
	cmd.Flags().StringVar(&in.Comment, "comment", "", "what to call it (default: the file's own comment)")
	cmd.Flags().DurationVar(&lasts, "for", 0, "how long it lets me in, like 720h (default 90 days)")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		text, err := os.ReadFile(given[0])
		if err != nil {
			return err
		}
		in.PublicKey = string(text)
		if lasts > 0 {
			in.TTL = lasts.String()
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		key, err := c.AddSSHKey(cmd.Context(), in)
		if err != nil {
			return err
		}
		if f.value != "id" {
			return a.ui.show(f, key, nil)
		}
		a.ui.line("%s", key.ID)
		return nil
	}
	return cmd
}

func newSSHKeyLsCommand(a *app) *cobra.Command {
	var identity string
	cmd := &cobra.Command{Use: "ls", Short: "List registered SSH public keys", Example: "  postern ssh-key ls", Args: args(0, 0, "")}
	f := formatFlag(cmd)
	cmd.Flags().StringVar(&identity, "identity", "", "whose; for auditors and admins (default: mine)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		keys, err := c.SSHKeys(cmd.Context(), identity)
		if err != nil {
			return err
		}
		return a.ui.show(f, keys, func() {
			var rows [][]string
			for _, k := range keys {
				state := "until " + clock(k.ExpiresAt)
				if k.Revoked {
					state = "removed"
				}
				rows = append(rows, []string{k.ID, k.Key, k.Comment, state})
			}
			a.ui.table([]string{"ID", "KEY", "COMMENT", "STATE"}, rows)
		})
	}
	return cmd
}

func newSSHKeyRmCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rm ID", Short: "Remove an SSH public key, and end the sessions it opened", Example: "  postern ssh-key rm sk_…", Args: args(1, 1, "the key's ID"),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.RemoveSSHKey(cmd.Context(), given[0]); err != nil {
				return err
			}
			a.ui.say("removed %s", given[0])
			return nil
		},
	}
}
