package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api"
	"postern/internal/audit"
)

func newAuditSearchCommand(a *app) *cobra.Command {
	var filter postern.AuditFilter
	var from, to string
	cmd := &cobra.Command{
		Use:   "search [WORDS]",
		Short: "Entries that match, newest first",
		Long: "Find entries of the log. All that is given must match; names are compared whole, without regard to case.\n" +
			"WORDS, or --text, are words each of which stands in the entry, in whichever member. A time is RFC 3339,\n" +
			"a date, or an age such as 24h. The text of commands is not in the log but in the recordings.",
		Example: "  postern audit search --identity alice --verb delete --object orders\n" +
			"  postern audit search --outcome deny --from 24h\n" +
			"  postern audit search --action service-account.create --from 2026-11-01 --to 2026-12-01 -o json",
		Args: args(0, 100, ""),
	}
	f := formatFlag(cmd, "table", "json")
	flags := cmd.Flags()
	flags.StringVar(&filter.Identity, "identity", "", "who did it, or on whose behalf")
	flags.StringVar(&filter.Actor, "actor", "", "who did it on somebody's behalf")
	flags.StringVar(&filter.Resource, "resource", "", "only on this resource")
	flags.StringVar(&filter.Session, "session", "", "only in this session")
	flags.StringVar(&filter.Action, "action", "", "command, session.open, object.apply …")
	flags.StringVar(&filter.Outcome, "outcome", "", "allow, deny, ok, refused, failed …")
	flags.StringVar(&filter.Verb, "verb", "", "one of the command's verbs")
	flags.StringVar(&filter.Object, "object", "", "public.orders, or what follows one of its dots: orders")
	flags.StringVar(&filter.Rule, "rule", "", "the rule or access that decided")
	flags.StringVar(&filter.Target, "target", "", "what an administrative act was done to: service:ci")
	flags.StringVar(&filter.Text, "text", "", "words, each of which stands in the entry")
	flags.StringVar(&from, "from", "", "not before this time")
	flags.StringVar(&to, "to", "", "before this time")
	flags.IntVar(&filter.Limit, "limit", 100, "how many at most; 0: all")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		var err error
		if filter.From, err = moment(from, time.Now()); err != nil {
			return usage("--from: %w", err)
		}
		if filter.To, err = moment(to, time.Now()); err != nil {
			return usage("--to: %w", err)
		}
		for _, w := range given {
			filter.Text += " " + w
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		found, err := c.SearchAudit(cmd.Context(), filter)
		if err != nil {
			return err
		}
		for _, r := range found {
			line, err := json.Marshal(r)
			if err != nil {
				return err
			}
			show := a.auditLine
			if f.value == "json" {
				show = writeLine(a.ui.out)
			}
			if err := show(line); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// moment reads a time, a date, or how long ago.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time like 2026-11-24T09:30:00Z, date like 2026-11-24, or age like 24h", text)
}

func newAuditCheckpointCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoint",
		Short: "Print a signed statement of what the log holds now",
		Long: "Print a checkpoint: how many entries the log has, and the root of their tree, signed. Keep it elsewhere:\n" +
			"`postern audit verify --since` shows any later change to those entries.",
		Example: "  postern audit checkpoint > monday.checkpoint\n  postern audit verify --since monday.checkpoint",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			text, err := c.AuditCheckpoint(cmd.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.ui.out, text)
			return err
		},
	}
}

func newAuditProofCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "proof SEQ",
		Short: "Prove that an entry is in the log",
		Long: "Print an entry with a proof that it is in the log. Whoever has the log's public key can check it with\n" +
			"`postern audit verify --proof`, and needs neither the gateway nor any other entry.",
		Example: "  postern audit proof 4711 > entry.json\n  postern audit verify --proof entry.json --key \"$(cat audit.key)\"",
		Args:    args(1, 1, "the number of an entry"),
		RunE: func(cmd *cobra.Command, given []string) error {
			seq, err := strconv.ParseInt(given[0], 10, 64)
			if err != nil || seq < 1 {
				return usage("%q is no number of an entry", given[0])
			}
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			proof, err := c.AuditProof(cmd.Context(), seq)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(a.ui.out)
			enc.SetEscapeHTML(false) // the entry's bytes are what was hashed
			return enc.Encode(proof)
		},
	}
}

// verifyProof checks a file that `postern audit proof` wrote.
func (a *app) verifyProof(file, key string) (api.AuditReport, error) {
	report := api.AuditReport{Report: audit.Report{PublicKey: key}}
	text, err := os.ReadFile(file)
	if err != nil {
		return report, err
	}
	var p audit.Proof
	if err := json.Unmarshal(text, &p); err != nil {
		return report, fmt.Errorf("%s: it isn't what `postern audit proof` prints: %w", file, err)
	}
	if _, err := audit.VerifyProof(p, key); err != nil {
		return told(report, err)
	}
	report.Checkpoint, report.Checkpoints = p.Checkpoint, 1
	if report.Signed, err = audit.CheckpointSize(p.Checkpoint, key); err != nil {
		return report, err
	}
	report.Entries = 1
	return told(report, a.auditLine(p.Entry))
}

// told makes of tampering an answer.
func told(report api.AuditReport, err error) (api.AuditReport, error) {
	report.Verified = err == nil
	var tampered *audit.TamperedError
	if errors.As(err, &tampered) {
		report.Problem, err = tampered.Error(), nil
	}
	return report, err
}

// checkpoints reads files of checkpoints that were kept.
func checkpoints(files []string) ([]string, error) {
	var all []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		found := audit.SplitCheckpoints(string(text))
		if len(found) == 0 {
			return nil, fmt.Errorf("%s holds no checkpoint", file)
		}
		all = append(all, found...)
	}
	return all, nil
}

// verifySince asks the gateway to prove that its log goes on from checkpoints
// that were kept, and checks the proofs here.
func (a *app) verifySince(cmd *cobra.Command, report api.AuditReport, kept []string, key string) (api.AuditReport, error) {
	c, _, err := a.client()
	if err != nil {
		return report, err
	}
	defer c.Close()
	if key == "" {
		key = report.PublicKey
	}
	for _, earlier := range kept {
		size, err := audit.CheckpointSize(earlier, key)
		if err != nil {
			return told(report, &audit.TamperedError{Reason: err.Error()})
		}
		if size > report.Entries {
			return told(report, &audit.TamperedError{Seq: report.Entries + 1, Reason: fmt.Sprintf(
				"a checkpoint was signed for %d entries, and now there are %d: entries were removed, or an old copy was put back", size, report.Entries)})
		}
		x, err := c.AuditExtension(cmd.Context(), max(size, 1))
		if err == nil {
			_, _, err = audit.VerifyExtension(earlier, x, key)
		}
		if err != nil {
			return told(report, err)
		}
	}
	return report, nil
}

func usage(format string, args ...any) error { return &usageError{err: fmt.Errorf(format, args...)} }
