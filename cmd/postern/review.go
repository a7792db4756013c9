package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern"
)

// printedReview is one line of `postern review ls -o json`.
type printedReview struct {
	ID        string    `json:"id"`
	Session   string    `json:"session"`
	Identity  string    `json:"identity"`
	Actor     string    `json:"actor"`
	Resource  string    `json:"resource"`
	Command   string    `json:"command"`
	State     string    `json:"state"`
	ExpiresAt time.Time `json:"expires_at"`
}

func newReviewCommand(a *app) *cobra.Command {
	return group("review", "Decide over commands and requests that wait for people",
		"  postern review ls\n  postern review approve rv_2f…",
		newReviewLsCommand(a), newReviewShowCommand(a), newVoteCommand(a, true), newVoteCommand(a, false))
}

func newReviewLsCommand(a *app) *cobra.Command {
	var state, identity string
	var quiet bool
	var limit int
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "Reviews: mine, and those that I may decide",
		Example: "  postern review ls\n  postern review ls --state all -o json",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&state, "state", "pending", "only those: pending, approved, denied, timed_out, withdrawn, spent, void, or all")
	flags.StringVar(&identity, "identity", "", "only those whose command it is")
	flags.BoolVarP(&quiet, "quiet", "q", false, "print ids only")
	flags.IntVar(&limit, "limit", 100, "how many at most; 0: all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		if state == "all" {
			state = ""
		}
		reviews, err := c.Reviews(cmd.Context(), postern.ReviewState(state), identity, limit)
		if err != nil {
			return err
		}
		printed, rows := []printedReview{}, [][]string{}
		for _, rv := range reviews {
			if quiet {
				a.ui.line("%s", rv.ID)
				continue
			}
			printed = append(printed, printedReview{
				ID: rv.ID, Session: rv.Session, Identity: rv.Identity, Actor: rv.Actor, Resource: rv.Resource,
				Command: rv.Command, State: string(rv.State), ExpiresAt: rv.ExpiresAt,
			})
			rows = append(rows, []string{rv.ID, string(rv.State), rv.Identity, rv.Resource, clock(rv.ExpiresAt), rv.Command})
		}
		if quiet {
			return nil
		}
		return a.ui.show(f, printed, func() {
			a.ui.table([]string{"ID", "STATE", "IDENTITY", "RESOURCE", "UNTIL", "COMMAND"}, rows)
		})
	}
	return cmd
}

func newReviewShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "All that an approval would let run",
		Example: "  postern review show rv_2f…",
		Args:    args(1, 1, "the ID of a review"),
	}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		rv, err := c.Review(cmd.Context(), given[0])
		if err != nil {
			return err
		}
		return a.ui.show(f, rv, func() { a.showReview(rv) })
	}
	return cmd
}

func (a *app) showReview(rv postern.Review) {
	who := string(rv.Kind) + ":" + rv.Identity
	if rv.Actor != "" {
		who += ", through " + rv.Actor
	}
	a.ui.line("review     %s, %s", rv.ID, rv.State)
	if rv.Request != nil {
		a.ui.line("asked by   %s", who)
		a.ui.line("asks for   %s", rv.Command)
	} else {
		a.ui.line("asked by   %s in session %s", who, rv.Session)
		a.ui.line("resource   %s", rv.Resource)
		a.ui.line("rule       %s: %s", rv.Rule, rv.Message)
	}
	a.ui.line("approvers  %s (%d needed)", joinPrincipals(rv.Approvers), rv.Approvals)
	a.ui.line("asked at   %s, waits until %s", clock(rv.CreatedAt), clock(rv.ExpiresAt))
	for _, v := range rv.Votes {
		verdict := "denied"
		if v.Approve {
			verdict = "approved"
		}
		a.ui.line("vote       %s by %s at %s %s", verdict, v.By, clock(v.At), v.Reason)
	}
	a.ui.line("digest     %s", rv.Digest)
	a.showEvidence(rv.Evidence)
	for _, command := range rv.Commands {
		a.ui.line("\n%s", command.Text)
		if command.State != "" {
			a.ui.line("in %s", command.State)
		}
		for i, p := range command.Params {
			a.ui.line("$%d = %s", i+1, shownParam(p))
		}
	}
}

func shownParam(p postern.Param) string {
	switch {
	case p.Null:
		return "NULL"
	case p.Binary:
		return fmt.Sprintf(`\x%x`, p.Value)
	default:
		return "'" + string(p.Value) + "'"
	}
}

func joinPrincipals(ps []postern.Principal) string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = string(p)
	}
	return strings.Join(texts, ", ")
}

func newVoteCommand(a *app, approve bool) *cobra.Command {
	verb, short := "deny", "Refuse a command that waits"
	if approve {
		verb, short = "approve", "Let exactly what was shown run, once"
	}
	var reason string
	cmd := &cobra.Command{
		Use:     verb + " ID",
		Short:   short,
		Example: "  postern review " + verb + " rv_2f… --reason 'ticket 4711'",
		Args:    args(1, 1, "the ID of a review"),
	}
	f := formatFlag(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "told to whoever waits, and kept in the audit log")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		rv, err := c.Vote(cmd.Context(), given[0], approve, reason)
		if err != nil {
			return err
		}
		return a.ui.show(f, rv, func() {
			if rv.State == postern.ReviewPending {
				a.ui.line("%s: your vote counts; %d of %d approvals so far", rv.ID, approvals(rv), rv.Approvals)
				return
			}
			a.ui.line("%s %s: %s", rv.ID, verdictOf(rv.State), rv.Command)
		})
	}
	return cmd
}

// verdictOf is what people decided. An approval may be used up already when
// its answer comes.
func verdictOf(s postern.ReviewState) string {
	if s == postern.ReviewSpent {
		return string(postern.ReviewApproved)
	}
	return string(s)
}

func approvals(rv postern.Review) int {
	n := 0
	for _, v := range rv.Votes {
		if v.Approve {
			n++
		}
	}
	return n
}
