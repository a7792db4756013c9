package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api"
)

func newPolicyCommand(a *app) *cobra.Command {
	return group("policy", "Check a policy before it bites",
		"  postern policy explain orders-db --as alice -c 'DROP TABLE orders'",
		newPolicyExplainCommand(a), newPolicyTestCommand(a), newPolicyShadowCommand(a))
}

func newPolicyExplainCommand(a *app) *cobra.Command {
	var q api.Question
	cmd := &cobra.Command{
		Use:   "explain RESOURCE -c COMMAND",
		Short: "What would be decided over a command, and why",
		Long: "Say what would be decided over a command and which accesses, rules and masks were considered. Nothing runs, and\n" +
			"nothing is opened. Asking for another identity takes the role auditor or admin.",
		Example: "  postern policy explain orders-db -c 'DELETE FROM orders'\n  postern policy explain orders-db --as service:ci -c 'SELECT 1' -o json",
		Args:    args(1, 1, "the RESOURCE"),
	}
	f := formatFlag(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&q.Command, "command", "c", "", "the command")
	flags.StringVar(&q.As, "as", "", "the identity: a user's name, service:NAME or workload:NAME (default: me)")
	flags.StringSliceVar(&q.Groups, "group", nil, "a group of an identity that the gateway doesn't keep itself; may be repeated")
	flags.StringVar(&q.Source, "source", "", "the client's address (default: mine)")
	flags.StringVar(&q.At, "at", "", "the time, like 2026-01-31T09:00:00Z (default: now)")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if q.Command == "" {
			return &usageError{err: errors.New("which command? -c is missing"), hint: cmd.CommandPath() + " " + given[0] + " -c COMMAND"}
		}
		q.Resource = given[0]
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		answer, err := c.Explain(cmd.Context(), q)
		if err != nil {
			return err
		}
		return a.ui.show(f, answer, func() { a.showAnswer(answer) })
	}
	return cmd
}

func (a *app) showAnswer(answer api.Answer) {
	by := ""
	if answer.Rule != "" {
		by = " by " + answer.Rule
	}
	a.ui.line("%s%s", answer.Decision, by)
	if answer.Reason != "" {
		a.ui.line("  %s", answer.Reason)
	}
	if answer.Review != nil {
		a.ui.line("  approvers: %s (%d needed, within %s)", joinPrincipals(answer.Review.Approvers), answer.Review.Approvals, answer.Review.Timeout)
	}
	for _, c := range answer.Commands {
		a.ui.line("command: %s (%s)", strings.Join(c.Verbs, ", "), c.Access)
		for _, o := range c.Objects {
			a.ui.line("  %s %s%s", o.Kind, o.Name, written(o))
		}
		for _, f := range c.Attrs {
			if text := factText(f); text != "" {
				a.ui.line("  %s: %s", f.Name, text)
			}
		}
		if c.Problem != "" {
			a.ui.line("  not understood: %s", c.Problem)
		}
	}
	if l := answer.Limit; l != nil {
		a.ui.line("limit: %d rows, by %s; beyond it is undone", l.Rows, l.Rule)
	}
	for _, m := range answer.Masks {
		a.ui.line("mask: %s", m.Name)
	}
	if len(answer.Steps) == 0 {
		return
	}
	rows := [][]string{}
	for _, s := range answer.Steps {
		applies := "no"
		if s.Applies {
			applies = "yes"
		}
		rows = append(rows, []string{s.Kind, s.Name, applies, s.Outcome, s.Source})
	}
	a.ui.line("")
	a.ui.table([]string{"CONSIDERED", "NAME", "APPLIES", "WHY", "FROM"}, rows)
}

// factText words a fact; "" is one that says nothing.
func factText(f postern.Attr) string {
	switch {
	case f.Kind == postern.AttrBool && f.Bool:
		return "yes"
	case f.Kind == postern.AttrInt && f.Int != 0:
		return strconv.FormatInt(f.Int, 10)
	case f.Kind == postern.AttrString:
		return f.String
	}
	return strings.Join(f.Strings, ", ")
}

func written(o postern.Object) string {
	if o.Write {
		return ", written"
	}
	return ""
}

func newPolicyTestCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "test FILE",
		Short:   "Hold the policy in force against a file of expectations",
		Example: "  postern policy test policies/tests.yaml",
		Args:    args(1, 1, "a FILE of expectations"),
	}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		text, err := os.ReadFile(given[0])
		if err != nil {
			return err
		}
		var d documents
		d.add(given[0], text)
		if err := d.check(given); err != nil {
			return err
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		run, err := c.TestPolicy(cmd.Context(), d.text)
		if err != nil {
			return d.place(err)
		}
		err = a.ui.show(f, run, func() { a.showTests(given[0], run) })
		if err == nil && run.Failed > 0 {
			err = fmt.Errorf("%d of %d expectations don't hold", run.Failed, run.Failed+run.Passed)
		}
		return err
	}
	return cmd
}

func (a *app) showTests(file string, run api.TestRun) {
	rows := [][]string{}
	for _, r := range run.Cases {
		result := "ok"
		if !r.Passed {
			result = "FAILED: " + r.Problem
		}
		rows = append(rows, []string{file + ":" + strconv.Itoa(r.Line), r.Name, r.Decision.String(), r.Rule, result})
	}
	a.ui.table([]string{"CASE", "NAME", "DECISION", "RULE", "RESULT"}, rows)
}
