package main

import "github.com/spf13/cobra"

func newSecretCommand(a *app) *cobra.Command {
	var file string
	var stdin bool
	seal := &cobra.Command{
		Use:   "seal",
		Short: "Seal a secret with the gateway's key",
		Long: "Print a secret in the form that `credentials: {password: {sealed: …}}` takes. Only the gateway that sealed it can\n" +
			"open it, so it may be kept with the other objects.",
		Example: "  postern secret seal --secret-file db-password.txt",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret, err := a.ui.password("Secret: ", "secret", file, stdin)
			if err != nil {
				return err
			}
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			sealed, err := c.Seal(cmd.Context(), secret)
			if err != nil {
				return err
			}
			a.ui.line("%s", sealed.Sealed)
			return nil
		},
	}
	seal.Flags().StringVar(&file, "secret-file", "", "read the secret from a file")
	seal.Flags().BoolVar(&stdin, "secret-stdin", false, "read the secret from standard input")
	seal.MarkFlagsMutuallyExclusive("secret-file", "secret-stdin")
	return group("secret", "Secrets for objects", "  postern secret seal --secret-file db-password.txt", seal)
}
