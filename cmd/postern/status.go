package main

import "github.com/spf13/cobra"

func newStatusCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "How the gateway is: live sessions, the policy in force, and what is wrong with it",
		Example: "  postern status\n  postern status -o json",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, t, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		status, err := c.Status(cmd.Context())
		if err != nil {
			return err
		}
		return a.ui.show(f, status, func() {
			a.ui.line("%s, version %s", t.server, status.Version)
			a.ui.line("%d live sessions, %d resources, %d objects, policy %s", status.Sessions, status.Resources, status.Objects, status.Policy)
			if status.Problem != "" {
				a.ui.line("The latest change of objects is not in force:\n%s", status.Problem)
			}
			for _, w := range status.Warnings {
				a.ui.line("warning: %s", w)
			}
		})
	}
	return cmd
}
