package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/internal/api"
	"postern/internal/api/client"
)

func newOfflineGrantCommand(a *app) *cobra.Command {
	cmd := group("offline-grant", "Emergency access that is issued ahead of time, for when nobody can sign in",
		"  postern offline-grant issue alice --resource orders-db --for 1h --ttl 2160h --reason 'on call, the provider may be down'\n"+
			"  postern offline-grant use --user alice --reason 'the provider is down, and so is the shop'",
		a.offlineIssueCommand(), a.offlineListCommand(), a.offlineStepCommand("approve"), a.offlineStepCommand("revoke"), a.offlineUseCommand())
	cmd.Long = "An offline grant is a code in a safe. With it, and when no identity provider answers, its holder has emergency access\n" +
		"(break_glass) to its resources, for a time, once, with a reason. Everybody is told, and it is looked at afterwards."
	return cmd
}

func (a *app) offlineIssueCommand() *cobra.Command {
	in := api.NewOfflineGrant{}
	var resources []string
	var lasts, ttl time.Duration
	cmd := &cobra.Command{
		Use: "issue USER --resource RESOURCE… --reason WHY", Short: "Issue one, and print its code once",
		Long: "Issue emergency access for somebody ahead of time, and print its code, which is for a safe and isn't shown again. Where\n" +
			"the access takes approvals in an emergency, it takes them now: of others than who issues it and whom it is for.",
		Example: "  postern offline-grant issue alice --resource orders-db --resource web-1=emergency --for 1h --ttl 2160h --reason 'on call'",
		Args:    args(1, 1, "the USER whom it is for"),
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&resources, "resource", nil, "what it opens: RESOURCE, or RESOURCE=ACCESS where there are several emergency accesses")
	flags.DurationVar(&lasts, "for", 0, "how long the access lasts from its use on (default: an hour, or as long as it can be had for)")
	flags.DurationVar(&ttl, "ttl", 0, "until when it can be used, like 2160h (default 90 days; at most 366)")
	flags.StringVar(&in.Reason, "reason", "", "why it is issued; needed")
	flags.StringVar(&in.Ticket, "ticket", "", "where that was decided")
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		in.User = given[0]
		hint := cmd.CommandPath() + " " + in.User + " --resource RESOURCE --reason 'why it is issued'"
		switch {
		case len(resources) == 0:
			return &usageError{err: errors.New("what does it open? --resource is missing"), hint: hint}
		case strings.TrimSpace(in.Reason) == "":
			return &usageError{err: errors.New("why is it issued? --reason is missing"), hint: hint}
		}
		for _, r := range resources {
			resource, access, _ := strings.Cut(r, "=")
			in.Resources = append(in.Resources, api.OfflineReaches{Resource: resource, Access: access})
		}
		var err error
		if in.For, err = lengthOf(lasts); err != nil {
			return err
		}
		if in.TTL, err = lengthOf(ttl); err != nil {
			return err
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		g, err := c.IssueOfflineGrant(cmd.Context(), in)
		if err != nil {
			return err
		}
		return a.ui.show(f, g, func() {
			a.ui.say("%s for %s, until %s, is %s. Its code, which isn't shown again:", g.ID, g.Identity, clock(g.ExpiresAt), offlineState(g.OfflineGrant))
			a.ui.line("%s", g.Code)
			if g.State == "pending" {
				a.ui.say("It opens nothing before %d of those who may approve it have run:\n  postern offline-grant approve %s", g.Approvals, g.ID)
			}
		})
	}
	return cmd
}

// offlineState is where an offline grant stands, and what is missing.
func offlineState(g api.OfflineGrant) string {
	switch g.State {
	case "pending":
		return fmt.Sprintf("pending, %d of %d approvals", len(g.Votes), g.Approvals)
	case "void":
		return "void: " + g.Problem
	}
	return g.State
}

func (a *app) offlineListCommand() *cobra.Command {
	var limit int
	var quiet bool
	cmd := &cobra.Command{
		Use: "ls", Short: "Who has which, until when, and whether it was used; never a code", Example: "  postern offline-grant ls", Args: args(0, 0, ""),
	}
	f := formatFlag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "how many at most; 0: all")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print ids only")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		all, err := c.OfflineGrants(cmd.Context(), limit)
		if err != nil {
			return err
		}
		if quiet {
			for _, g := range all {
				a.ui.line("%s", g.ID)
			}
			return nil
		}
		return a.ui.show(f, all, func() {
			rows := [][]string{}
			for _, g := range all {
				used := ""
				if !g.UsedAt.IsZero() {
					used = clock(g.UsedAt) + " from " + g.UsedFrom + ": " + g.UsedFor
				}
				rows = append(rows, []string{g.ID, offlineState(g), g.Identity, reaches(g), g.For, clock(g.ExpiresAt), g.IssuedBy, used})
			}
			a.ui.table([]string{"ID", "STATE", "FOR", "OPENS", "LASTS", "UNTIL", "ISSUED BY", "USED"}, rows)
		})
	}
	return cmd
}

func reaches(g api.OfflineGrant) string {
	all := make([]string, len(g.Resources))
	for i, r := range g.Resources {
		all[i] = r.Resource
	}
	return strings.Join(all, ", ")
}

func (a *app) offlineStepCommand(verb string) *cobra.Command {
	var reason string
	short, call := "Approve one that somebody else issued", (*client.Client).ApproveOfflineGrant
	if verb == "revoke" {
		short, call = "Make one useless before it is used", (*client.Client).RevokeOfflineGrant
	}
	cmd := &cobra.Command{
		Use: verb + " ID", Short: short, Example: "  postern offline-grant " + verb + " og_2f… --reason 'as agreed on'", Args: args(1, 1, "the ID of an offline grant"),
	}
	f := formatFlag(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "kept in the audit log")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		g, err := call(c, cmd.Context(), given[0], reason)
		if err != nil {
			return err
		}
		return a.ui.show(f, g, func() { a.ui.line("%s is %s", g.ID, offlineState(g)) })
	}
	return cmd
}

func (a *app) offlineUseCommand() *cobra.Command {
	var in api.OfflineCode
	var file string
	var stdin bool
	cmd := &cobra.Command{
		Use: "use --user USER --reason WHY", Short: "Use mine, when nobody can sign in",
		Long: "Use an offline grant, once: a session token for each of its resources is printed, and the access runs from now on.\n" +
			"Everybody who is told of emergencies is told, and what is done with it is looked at afterwards.",
		Example: "  postern offline-grant use --user alice --reason 'the provider is down, and so is the shop'", Args: args(0, 0, ""),
	}
	flags := cmd.Flags()
	flags.StringVar(&in.User, "user", "", "whom it is for")
	flags.StringVar(&in.Reason, "reason", "", "what the emergency is; needed")
	flags.StringVar(&in.Ticket, "ticket", "", "where it is worked on")
	flags.StringVar(&in.Code, "code", "", "a code of the second factor, for who has one here")
	flags.StringVar(&file, "secret-file", "", "read the grant's code from a file")
	flags.BoolVar(&stdin, "secret-stdin", false, "read the grant's code from standard input")
	cmd.MarkFlagsMutuallyExclusive("secret-file", "secret-stdin")
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case in.User == "":
			return &usageError{err: errors.New("whom is it for? --user is missing"), hint: cmd.CommandPath() + " --user NAME --reason 'what the emergency is'"}
		case strings.TrimSpace(in.Reason) == "":
			return &usageError{err: errors.New("what is the emergency? --reason is missing"), hint: cmd.CommandPath() + " --user " + in.User + " --reason 'what the emergency is'"}
		}
		t, err := a.target()
		if err != nil {
			return err
		}
		secret, err := a.ui.password("Code of the offline grant of "+in.User+": ", "secret", file, stdin)
		if err != nil {
			return err
		}
		c, err := a.dial(target{server: t.server, caFile: t.caFile})
		if err != nil {
			return err
		}
		defer c.Close()
		in.Secret = strings.TrimSpace(secret.Reveal())
		entry, err := c.UseOfflineGrant(cmd.Context(), in)
		if err != nil {
			return err
		}
		return a.ui.show(f, entry, func() {
			a.ui.say("Emergency access as %s until %s. Everybody is told; what you do is recorded, and looked at afterwards.", entry.Identity.Name, clock(entry.Until))
			for _, token := range entry.Tokens {
				how := token.DSN
				if how == "" {
					how = fmt.Sprintf("%s:%d as %s with the token %s", token.Host, token.Port, token.User, token.Token)
				}
				a.ui.line("%s  %s", token.Database, how)
			}
		})
	}
	return cmd
}
