package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/api"
)

func newDelegateCommand(a *app) *cobra.Command {
	var in api.Consent
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "delegate --to IDENTITY --resource NAME",
		Short: "Let an agent, a bot or a colleague act for me, within limits",
		Long: "Let somebody else act in your name: an AI agent, a bot, a colleague. They can do what both of you may, and no\n" +
			"more than you allow here; every session, command and log entry names both. They use it with a token of their own:\n" +
			"`postern exec RESOURCE --delegation ID -c COMMAND`. `postern delegation end ID` ends it, and their sessions, at once.",
		Example: "  postern delegate --to service:report-bot --resource orders-db --verb select --rows-per-hour 1000 --for 4h\n" +
			"  POSTERN_TOKEN=… postern exec orders-db --delegation dg_… -c 'SELECT count(*) FROM orders'",
		Args: args(0, 0, ""),
	}
	f := formatFlag(cmd, "id", "json", "yaml")
	flags := cmd.Flags()
	flags.StringVar(&in.To, "to", "", "who is to act: service:NAME, workload:NAME or user:NAME")
	flags.StringArrayVar(&in.Resources, "resource", nil, "a resource that they may open; may be repeated")
	flags.StringArrayVar(&in.Verbs, "verb", nil, "what they may do there, like select; may be repeated (default: what both of you may)")
	flags.Int64Var(&in.RowsPerHour, "rows-per-hour", 0, "how many rows they may be sent within an hour; 0: any number")
	flags.DurationVar(&lasts, "for", 0, "how long it lasts, like 4h (default 8h)")
	flags.StringVar(&in.Comment, "comment", "", "what it is for")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if in.To == "" || len(in.Resources) == 0 {
			return &usageError{err: errors.New("--to and --resource say who may act for you, and where"), hint: "see `postern delegate --help`"}
		}
		if lasts > 0 {
			in.TTL = lasts.String()
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		d, err := c.Delegate(cmd.Context(), in)
		if err != nil {
			return err
		}
		if f.value != "id" {
			return a.ui.show(f, d, nil)
		}
		a.ui.line("%s", d.ID)
		a.ui.say("%s may act as %s on %s until %s: %s", d.Actor, d.Identity, strings.Join(d.Resources, ", "), clock(d.ExpiresAt), limits(d))
		return nil
	}
	return cmd
}

// limits words how far a delegation reaches.
func limits(d api.Delegation) string {
	text := "what both may"
	if len(d.Verbs) > 0 {
		text = strings.Join(d.Verbs, ", ")
	}
	if d.RowsPerHour > 0 {
		text += ", " + strconv.FormatInt(d.RowsPerHour, 10) + " rows an hour"
	}
	return text
}

func newDelegationCommand(a *app) *cobra.Command {
	return group("delegation", "Who may act in my name", "  postern delegation ls\n  postern delegation end dg_…", newDelegationLsCommand(a), newDelegationEndCommand(a))
}

func newDelegationLsCommand(a *app) *cobra.Command {
	var identity string
	cmd := &cobra.Command{
		Use: "ls", Short: "List who may act in my name, and how far", Example: "  postern delegation ls -o json", Args: args(0, 0, ""),
	}
	f := formatFlag(cmd)
	cmd.Flags().StringVar(&identity, "identity", "", "in whose name; for auditors and admins (default: mine)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		all, err := c.Delegations(cmd.Context(), identity)
		if err != nil {
			return err
		}
		return a.ui.show(f, all, func() {
			var rows [][]string
			for _, d := range all {
				state := "until " + clock(d.ExpiresAt)
				if d.Ended {
					state = "ended"
				}
				rows = append(rows, []string{d.ID, d.Actor, strings.Join(d.Resources, ", "), limits(d), strconv.Itoa(d.Sessions), state, d.Comment})
			}
			a.ui.table([]string{"ID", "ACTOR", "RESOURCES", "MAY", "SESSIONS", "STATE", "COMMENT"}, rows)
		})
	}
	return cmd
}

func newDelegationEndCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "end ID", Short: "End a delegation, and the sessions under it", Example: "  postern delegation end dg_…", Args: args(1, 1, "the delegation's ID"),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.EndDelegation(cmd.Context(), given[0]); err != nil {
				return err
			}
			a.ui.say("ended %s", given[0])
			return nil
		},
	}
}
