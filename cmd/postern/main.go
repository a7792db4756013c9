// Command postern is the gateway, and the command line to it. Each verb has a
// file of its own; tui.go holds all the talk to people.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, newApp(), os.Args[1:])
	stop()
	os.Exit(code)
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, a *app, args []string) int {
	root := newRootCommand(a) //nolint:contextcheck // commands get it from ExecuteContext
	root.SetArgs(args)
	root.SetIn(a.ui.in)
	root.SetOut(a.ui.out)
	root.SetErr(a.ui.err)
	return a.ui.finish(root.ExecuteContext(ctx))
}

// Groups of commands in the help.
const (
	groupUse    = "use"
	groupAdmin  = "admin"
	groupServer = "server"
)

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "postern",
		Short: "An access gateway on the data path",
		Long: "People, CI jobs and AI agents get a short-lived token instead of a password; the gateway decides on every\n" +
			"command, masks what must not be seen, holds what a human should look at, and records the session.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 bad usage, 3 not signed in or expired, 4 denied by policy, 5 review denied or timed out.",
		Example:       "  postern login --server https://gw.example:8443\n  postern ls\n  postern connect orders-db",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err: err, hint: "see `" + cmd.CommandPath() + " --help`"}
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupUse, Title: "To use resources:"},
		&cobra.Group{ID: groupAdmin, Title: "To look after access:"},
		&cobra.Group{ID: groupServer, Title: "To run the gateway:"},
	)
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", "", "the gateway's URL (default $POSTERN_SERVER, or the last login's)")
	flags.StringVar(&a.caFile, "ca-file", "", "certificates to check the gateway's against, PEM (default $POSTERN_CA_FILE, or the login's)")
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add(groupUse, newLoginCommand(a), newLogoutCommand(a), newWhoamiCommand(a), newLsCommand(a), newConnectCommand(a),
		newExecCommand(a), newTokenCommand(a), newRequestCommand(a), newSSHCommand(a))
	add(groupAdmin, newReviewCommand(a), newAccessCommand(a), newNotificationCommand(a), newSessionCommand(a), newAuditCommand(a), newApplyCommand(a), newPlanCommand(a),
		newGetCommand(a), newDeleteCommand(a), newStatusCommand(a), newPolicyCommand(a), newServiceAccountCommand(a), newUserCommand(a), newSCIMTokenCommand(a), newSecretCommand(a), newOfflineGrantCommand(a))
	add(groupAdmin, newClassifyCommand(a))
	add(groupUse, newProxyCommand(a), newSSHKeyCommand(a), newDelegateCommand(a), newDelegationCommand(a))
	add(groupServer, append(gatewayCommands(), newVersionCommand(a))...)
	return root
}

// gatewayCommands run the gateway itself.
func gatewayCommands() []*cobra.Command {
	return []*cobra.Command{newServeCommand(), newDemoCommand(), newDoctorCommand()}
}

// group is a command that only holds others.
func group(use, short, example string, cmds ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{err: errNoSubcommand(cmd), hint: "see `" + cmd.CommandPath() + " --help`"}
		},
	}
	cmd.AddCommand(cmds...)
	return cmd
}
