package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/api"
)

func newSessionSearchCommand(a *app) *cobra.Command {
	var filter api.CommandFilter
	cmd := &cobra.Command{
		Use:   "search WORDS",
		Short: "Commands of all sessions that hold these words, newest first",
		Long: "Find commands in the recordings that I may see: mine, for auditors all but what the policy keeps from them.\n" +
			"Each word must stand in the command or its parameters; in quotation marks, as they follow each other. A\n" +
			"command of an open session is found some seconds after it ran. That I searched, and which sessions I saw\n" +
			"something of, is in the audit log; what I looked for is not.",
		Example: "  postern session search payments refund\n  postern session search '\"delete from orders\"' --identity ci\n  postern session search customer_email --resource orders-db -o json",
		Args:    args(1, 100, "words to look for"),
	}
	f := formatFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&filter.Identity, "identity", "", "only this identity's")
	flags.StringVar(&filter.Resource, "resource", "", "only on this resource")
	flags.IntVar(&filter.Limit, "limit", 50, "how many at most; 0: all")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		filter.Text = strings.Join(given, " ")
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		found, err := c.SearchCommands(cmd.Context(), filter)
		if err != nil {
			return err
		}
		rows := [][]string{}
		for _, h := range found {
			rows = append(rows, []string{clock(h.Time), h.Session, strconv.FormatInt(h.N, 10), h.Identity, h.Actor, h.Resource, h.Verdict, inTable(h.Text)})
		}
		return a.ui.show(f, found, func() {
			a.ui.table([]string{"TIME", "SESSION", "N", "IDENTITY", "ACTOR", "RESOURCE", "DECISION", "COMMAND"}, rows)
		})
	}
	return cmd
}

// inTable is a command's text in a table.
func inTable(text string) string {
	const width = 100
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) > width {
		return string(line[:width-1]) + "…"
	}
	return string(line)
}
