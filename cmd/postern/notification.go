package main

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"
)

func newNotificationCommand(a *app) *cobra.Command {
	return group("notification", "Look at word of reviews on its way to people",
		"  postern notification ls --state dead\n  postern notification retry 17",
		newNotificationLsCommand(a), newNotificationRetryCommand(a))
}

func newNotificationLsCommand(a *app) *cobra.Command {
	var state string
	var limit int
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "What was sent, what waits, and the dead letters that were given up",
		Example: "  postern notification ls --state dead",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	cmd.Flags().StringVar(&state, "state", "all", "only those: queued, sent, dead, or all")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many at most, up to 1000")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 || limit > 1000 {
			return &usageError{err: errors.New("--limit is a number from 1 to 1000")}
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		if state == "all" {
			state = ""
		}
		all, err := c.Notifications(cmd.Context(), state, limit)
		if err != nil {
			return err
		}
		return a.ui.show(f, all, func() {
			rows := [][]string{}
			for _, n := range all {
				rows = append(rows, []string{
					strconv.FormatInt(n.ID, 10), n.State, n.Channel, n.Review, n.Step, strconv.Itoa(n.Attempts), clock(n.NextAt), n.Problem,
				})
			}
			a.ui.table([]string{"ID", "STATE", "CHANNEL", "REVIEW", "STEP", "ATTEMPTS", "NEXT", "PROBLEM"}, rows)
		})
	}
	return cmd
}

func newNotificationRetryCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "retry ID",
		Short:   "Send one again",
		Example: "  postern notification retry 17",
		Args:    args(1, 1, "the ID of a notification"),
	}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		n, err := c.RetryNotification(cmd.Context(), given[0])
		if err != nil {
			return err
		}
		return a.ui.show(f, n, func() { a.ui.line("%d is %s for %s", n.ID, n.State, n.Channel) })
	}
	return cmd
}
