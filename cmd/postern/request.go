package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api"
	"postern/internal/api/client"
)

func newRequestCommand(a *app) *cobra.Command {
	var in api.NewRequest
	var length time.Duration
	var wait bool
	cmd := &cobra.Command{
		Use:   "request RESOURCE --reason WHY",
		Short: "Ask for access that I don't have now",
		Long: "Ask for access, just in time. Others approve it, perhaps for less than was asked; then it holds for its time and ends\n" +
			"by itself, with the sessions that need it.",
		Example: "  postern request orders-db --for 2h --verbs select,update --reason 'the queue is stuck' --ticket OPS-17 --wait\n" +
			"  postern request ls\n  postern request approve rq_2f… --for 30m",
		Args: args(1, 1, "the RESOURCE, or a subcommand"),
	}
	f := formatFlag(cmd)
	flags := cmd.Flags()
	flags.DurationVar(&length, "for", 0, "how long, like 2h (default: an hour, or as long as it can be had for)")
	flags.StringVar(&in.Reason, "reason", "", "what for; needed")
	flags.StringVar(&in.Access, "access", "", "which access, where several would do")
	flags.StringSliceVar(&in.Verbs, "verbs", nil, "only these, like select,update (default: all that the access allows)")
	flags.StringVar(&in.Ticket, "ticket", "", "where the work is planned")
	flags.BoolVar(&in.BreakGlass, "break-glass", false, "an emergency: at once or with a second person, told to everybody, and looked at afterwards")
	flags.BoolVar(&wait, "wait", false, "wait until it is decided")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		in.Resource = given[0]
		if strings.TrimSpace(in.Reason) == "" {
			return &usageError{err: errors.New("what for? --reason is missing"), hint: cmd.CommandPath() + " " + given[0] + " --for 1h --reason 'what for'"}
		}
		var err error
		if in.For, err = lengthOf(length); err != nil {
			return err
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		rq, err := c.RequestAccess(cmd.Context(), in)
		if isStatus(err, 404) {
			return &exitError{code: exitDenied, err: err}
		}
		if err == nil && wait && rq.State == "pending" {
			a.ui.say("%s waits for %s, until %s", rq.ID, joinPrincipals(rq.Approvers), clock(rq.ExpiresAt))
			rq, err = decided(cmd.Context(), c, rq.ID)
		}
		if err != nil {
			return err
		}
		if err := a.ui.show(f, rq, func() { a.sayRequest(rq) }); err != nil || !wait || rq.State == "active" {
			return err
		}
		return &exitError{code: exitReview, err: fmt.Errorf("request %s is %s%s", rq.ID, rq.State, requestReasons(rq))}
	}
	cmd.AddCommand(newRequestLsCommand(a), newRequestShowCommand(a), newRequestApproveCommand(a), newRequestReasonCommand(a, "deny"),
		newRequestReasonCommand(a, "revoke"), newRequestExtendCommand(a), newRequestLookOverCommand(a))
	return cmd
}

// lengthOf is a --for as the gateway takes it.
func lengthOf(d time.Duration) (string, error) {
	switch {
	case d < 0:
		return "", &usageError{err: errors.New("--for is not negative")}
	case d == 0:
		return "", nil
	}
	return d.String(), nil
}

// askAgain is how often a request that is waited for is looked at.
const askAgain = time.Second

// decided waits until a request is no longer pending.
func decided(ctx context.Context, c *client.Client, id string) (api.Request, error) {
	for {
		rq, err := c.Request(ctx, id)
		if err != nil || rq.State != "pending" {
			return rq, err
		}
		select {
		case <-ctx.Done():
			return rq, ctx.Err()
		case <-time.After(askAgain):
		}
	}
}

func requestReasons(rq api.Request) string {
	for _, v := range rq.Votes {
		if !v.Approve && v.Reason != "" {
			return ": " + v.Reason
		}
	}
	return ""
}

// sayRequest says where a request stands, in a line.
func (a *app) sayRequest(rq api.Request) {
	switch {
	case rq.Grant != nil && rq.State == "active":
		a.ui.line("%s is active until %s: postern connect %s", rq.ID, clock(rq.Grant.Until), rq.Resource)
	case rq.State == "pending" && approvedBy(rq) > 0:
		a.ui.line("%s is pending: %d of %d approvals so far", rq.ID, approvedBy(rq), rq.Approvals)
	case rq.State == "pending":
		a.ui.line("%s is pending: %d of %s must approve, until %s", rq.ID, rq.Approvals, joinPrincipals(rq.Approvers), clock(rq.ExpiresAt))
	default:
		a.ui.line("%s is %s", rq.ID, rq.State)
	}
}

func approvedBy(rq api.Request) int {
	n := 0
	for _, v := range rq.Votes {
		if v.Approve {
			n++
		}
	}
	return n
}

func newRequestLsCommand(a *app) *cobra.Command {
	var filter client.RequestFilter
	var quiet bool
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "Requests: mine, and those that I may decide",
		Example: "  postern request ls --state pending\n  postern request ls --unseen",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&filter.State, "state", "all", "only those: pending, active, ended, revoked, denied, timed_out, withdrawn, void, or all")
	flags.StringVar(&filter.Identity, "identity", "", "only those of that name")
	flags.BoolVar(&filter.Unseen, "unseen", false, "only emergency access that nobody has looked at yet")
	flags.IntVar(&filter.Limit, "limit", 100, "how many at most; 0: all")
	flags.BoolVarP(&quiet, "quiet", "q", false, "print ids only")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		if filter.State == "all" {
			filter.State = ""
		}
		all, err := c.Requests(cmd.Context(), filter)
		if err != nil {
			return err
		}
		if quiet {
			for _, rq := range all {
				a.ui.line("%s", rq.ID)
			}
			return nil
		}
		return a.ui.show(f, all, func() {
			rows := [][]string{}
			for _, rq := range all {
				rows = append(rows, []string{rq.ID, requestState(rq), rq.Identity, rq.Resource, rq.Access, rq.For, until(rq), orAny(rq.Verbs), rq.Reason})
			}
			a.ui.table([]string{"ID", "STATE", "IDENTITY", "RESOURCE", "ACCESS", "FOR", "UNTIL", "MAY", "REASON"}, rows)
		})
	}
	return cmd
}

func requestState(rq api.Request) string {
	if rq.Unseen {
		return rq.State + ", unseen"
	}
	return rq.State
}

// until is when a grant ends, or until when a request waits.
func until(rq api.Request) string {
	switch {
	case rq.Grant != nil:
		return clock(rq.Grant.Until)
	case rq.State == "pending":
		return clock(rq.ExpiresAt)
	}
	return ""
}

func newRequestShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "All that an approval would give",
		Example: "  postern request show rq_2f…",
		Args:    args(1, 1, "the ID of a request"),
	}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		return a.withRequest(f, func(c *client.Client) (api.Request, error) { return c.Request(cmd.Context(), given[0]) }, a.showRequest)
	}
	return cmd
}

// withRequest calls the gateway about a request, and prints what it is then.
func (a *app) withRequest(f *format, call func(*client.Client) (api.Request, error), plain func(api.Request)) error {
	c, _, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	rq, err := call(c)
	if err != nil {
		return err
	}
	return a.ui.show(f, rq, func() { plain(rq) })
}

func (a *app) showRequest(rq api.Request) {
	who := string(rq.Kind) + ":" + rq.Identity
	if rq.Actor != "" {
		who += ", through " + rq.Actor
	}
	a.ui.line("request    %s, %s", rq.ID, requestState(rq))
	if rq.BreakGlass {
		a.ui.line("EMERGENCY  looked at afterwards by %s", joinPrincipals(rq.Reviewers))
	}
	a.ui.line("asked by   %s at %s", who, clock(rq.CreatedAt))
	a.ui.line("for        access %s to %s, %s, %s", rq.Access, rq.Resource, rq.For, orAny(rq.Verbs))
	a.ui.line("reason     %s", rq.Reason)
	if rq.Ticket != "" {
		a.ui.line("ticket     %s", rq.Ticket)
	}
	if rq.Extends != "" {
		a.ui.line("prolongs   %s", rq.Extends)
	}
	a.ui.line("approvers  %s (%d needed), until %s", joinPrincipals(rq.Approvers), rq.Approvals, clock(rq.ExpiresAt))
	for _, v := range rq.Votes {
		a.ui.line("vote       %s", requestVote(v))
	}
	if g := rq.Grant; g != nil {
		a.ui.line("granted    from %s until %s, %s", clock(g.From), clock(g.Until), orAny(g.Verbs))
		if !g.RevokedAt.IsZero() {
			a.ui.line("revoked    by %s at %s", g.RevokedBy, clock(g.RevokedAt))
		}
	}
	if v := rq.Finding; v != nil {
		found := "not in order"
		if v.Approve {
			found = "in order"
		}
		a.ui.line("finding    %s, by %s at %s: %s", found, v.By, clock(v.At), v.Reason)
	}
}

func requestVote(v postern.Vote) string {
	text := "denied"
	if v.Approve {
		text = "approved"
	}
	text += " by " + v.By + " at " + clock(v.At)
	if v.Seconds > 0 {
		text += ", for " + (time.Duration(v.Seconds) * time.Second).String()
	}
	if len(v.Verbs) > 0 {
		text += ", to " + strings.Join(v.Verbs, ", ")
	}
	return text + " " + v.Reason
}

func newRequestApproveCommand(a *app) *cobra.Command {
	var in api.Approval
	var length time.Duration
	cmd := &cobra.Command{
		Use:     "approve ID",
		Short:   "Approve a request, perhaps for less than was asked",
		Example: "  postern request approve rq_2f… --for 30m --verbs select --reason 'reading is enough'",
		Args:    args(1, 1, "the ID of a request"),
	}
	f := formatFlag(cmd)
	flags := cmd.Flags()
	flags.DurationVar(&length, "for", 0, "for no longer than this (default: as long as was asked)")
	flags.StringSliceVar(&in.Verbs, "verbs", nil, "for no more than these (default: those that were asked for)")
	flags.StringVar(&in.Reason, "reason", "", "told to whoever asked, and kept in the audit log")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		var err error
		if in.For, err = lengthOf(length); err != nil {
			return err
		}
		return a.withRequest(f, func(c *client.Client) (api.Request, error) { return c.ApproveRequest(cmd.Context(), given[0], in) }, a.sayRequest)
	}
	return cmd
}

// newRequestReasonCommand makes the commands that take a request's id and a reason.
func newRequestReasonCommand(a *app, verb string) *cobra.Command {
	var reason string
	short := "Refuse a request"
	if verb == "revoke" {
		short = "Take back a request or a grant: sessions that need it end"
	}
	cmd := &cobra.Command{
		Use:     verb + " ID",
		Short:   short,
		Example: "  postern request " + verb + " rq_2f… --reason 'not during the freeze'",
		Args:    args(1, 1, "the ID of a request"),
	}
	f := formatFlag(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "told to whoever asked, and kept in the audit log")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		return a.withRequest(f, func(c *client.Client) (api.Request, error) {
			if verb == "revoke" {
				return c.RevokeRequest(cmd.Context(), given[0], reason)
			}
			return c.DenyRequest(cmd.Context(), given[0], reason)
		}, a.sayRequest)
	}
	return cmd
}

func newRequestExtendCommand(a *app) *cobra.Command {
	var in api.Longer
	var length time.Duration
	cmd := &cobra.Command{
		Use:     "extend ID --for LONGER --reason WHY",
		Short:   "Ask to prolong a grant that holds",
		Long:    "Ask to prolong a grant that holds. It takes the same approvals again, and never goes beyond the longest that the access\ncan be had for, counted from the grant's beginning.",
		Example: "  postern request extend rq_2f… --for 30m --reason 'the index still builds'",
		Args:    args(1, 1, "the ID of a request"),
	}
	f := formatFlag(cmd)
	cmd.Flags().DurationVar(&length, "for", 0, "how much longer; needed")
	cmd.Flags().StringVar(&in.Reason, "reason", "", "what for; needed")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if length <= 0 || strings.TrimSpace(in.Reason) == "" {
			return &usageError{err: errors.New("how much longer, and what for? --for and --reason are needed"), hint: "see `" + cmd.CommandPath() + " --help`"}
		}
		in.For = length.String()
		return a.withRequest(f, func(c *client.Client) (api.Request, error) { return c.ExtendRequest(cmd.Context(), given[0], in) }, a.sayRequest)
	}
	return cmd
}

func newRequestLookOverCommand(a *app) *cobra.Command {
	var in api.Finding
	var amiss bool
	cmd := &cobra.Command{
		Use:     "look-over ID --finding WORDS",
		Short:   "Say what I found in emergency access, afterwards",
		Example: "  postern session ls --identity alice\n  postern request look-over rq_2f… --finding 'restarted the queue, nothing else'",
		Args:    args(1, 1, "the ID of a request"),
	}
	f := formatFlag(cmd)
	cmd.Flags().StringVar(&in.Words, "finding", "", "what you found; needed")
	cmd.Flags().BoolVar(&amiss, "not-in-order", false, "it should not have been done")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if in.Words == "" {
			return &usageError{err: errors.New("what did you find? --finding is missing"), hint: "see `" + cmd.CommandPath() + " --help`"}
		}
		in.InOrder = !amiss
		return a.withRequest(f, func(c *client.Client) (api.Request, error) { return c.LookOverRequest(cmd.Context(), given[0], in) }, a.showRequest)
	}
	return cmd
}

func newAccessCommand(a *app) *cobra.Command {
	return group("access", "Look at standing rights", "  postern access unused --days 30", newAccessUnusedCommand(a))
}

func newAccessUnusedCommand(a *app) *cobra.Command {
	var days int
	cmd := &cobra.Command{
		Use:     "unused",
		Short:   "Standing rights that nobody used: candidates for access on request",
		Example: "  postern access unused\n  postern access unused --days 0   # never used",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	cmd.Flags().IntVar(&days, "days", 90, "not used for so many days; 0: never used")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if days < 0 {
			return &usageError{err: errors.New("--days is not negative")}
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		all, err := c.UnusedAccess(cmd.Context(), days)
		if err != nil {
			return err
		}
		return a.ui.show(f, all, func() {
			rows := [][]string{}
			for _, u := range all {
				last := "never"
				if !u.LastUsed.IsZero() {
					last = clock(u.LastUsed)
				}
				rows = append(rows, []string{u.Access, u.Resource, joinPrincipals(u.To), orAny(u.Verbs), last, u.Source})
			}
			a.ui.table([]string{"ACCESS", "RESOURCE", "FOR", "MAY", "LAST USED", "FROM"}, rows)
		})
	}
	return cmd
}

func newPolicyShadowCommand(a *app) *cobra.Command {
	var rule string
	var limit int
	cmd := &cobra.Command{
		Use:     "shadow",
		Short:   "What rules in shadow mode would have done",
		Example: "  postern policy shadow\n  postern policy shadow --rule no-drop-table -o json",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	cmd.Flags().StringVar(&rule, "rule", "", "only this rule")
	cmd.Flags().IntVar(&limit, "limit", 200, "how many lines at most, up to 1000")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 || limit > 1000 {
			return &usageError{err: errors.New("--limit is a number from 1 to 1000")}
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		all, err := c.Shadows(cmd.Context(), rule, limit)
		if err != nil {
			return err
		}
		return a.ui.show(f, all, func() {
			rows := [][]string{}
			for _, s := range all {
				rows = append(rows, []string{
					s.Rule, s.Verdict.String(), s.Resource, s.Identity, s.Verb, fmt.Sprint(s.Commands), clock(s.LastAt), fmt.Sprintf("%s #%d", s.Session, s.N),
				})
			}
			a.ui.table([]string{"RULE", "WOULD", "RESOURCE", "IDENTITY", "VERB", "COMMANDS", "LAST", "IN SESSION"}, rows)
		})
	}
	return cmd
}
