package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api"
	"postern/internal/audit"
)

func newAuditCommand(a *app) *cobra.Command {
	return group("audit", "The log of every decision and every administrative act",
		"  postern audit tail -f\n  postern audit verify",
		newAuditTailCommand(a), newAuditVerifyCommand(a), newAuditExportCommand(a), newAuditKeyCommand(a))
}

func newAuditTailCommand(a *app) *cobra.Command {
	var n int
	var follow bool
	cmd := &cobra.Command{
		Use:     "tail",
		Short:   "The last entries",
		Example: "  postern audit tail -n 50\n  postern audit tail -f -o json",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd, "table", "json")
	cmd.Flags().IntVarP(&n, "lines", "n", 20, "how many")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as entries are written")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		show := writeLine(a.ui.out)
		if f.value != "json" {
			show = a.auditLine
		}
		err = c.Audit(cmd.Context(), n, follow, show)
		if follow && errors.Is(err, context.Canceled) {
			return nil // Ctrl-C is how following ends
		}
		return err
	}
	return cmd
}

// auditLine prints an entry for people, on one line.
func (a *app) auditLine(line []byte) error {
	var e postern.AuditRecord
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	parts := []string{strconv.FormatInt(e.Seq, 10), clock(e.Time), e.Action, e.Outcome}
	for _, p := range []struct{ name, value string }{
		{"identity", e.Identity},
		{"actor", e.Actor},
		{"target", e.Target},
		{"resource", e.Resource},
		{"verb", e.Verb},
		{"objects", strings.Join(e.Objects, ",")},
		{"rule", e.Rule},
		{"review", e.Review},
		{"session", e.Session},
		{"source", e.Source},
		{"reason", e.Reason},
	} {
		if p.value != "" {
			value := p.value
			if strings.ContainsAny(value, " \t\n\"") {
				value = strconv.Quote(value)
			}
			parts = append(parts, p.name+"="+value)
		}
	}
	a.ui.line("%s", printable(strings.Join(parts, " "), false))
	return nil
}

func newAuditVerifyCommand(a *app) *cobra.Command {
	var file, key string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that the log is what was written",
		Long: "Check the gateway's log against its signed checkpoints. With --file, check an export without the gateway: that\n" +
			"needs the log's public key, which `postern audit key` prints while the gateway is to be trusted.",
		Example: "  postern audit verify\n  postern audit verify --file audit.jsonl --key \"$(cat audit.key)\"",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	cmd.Flags().StringVar(&file, "file", "", "check this export instead")
	cmd.Flags().StringVar(&key, "key", "", "the log's public key, with --file")
	cmd.MarkFlagsRequiredTogether("file", "key")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		report, err := a.verifyAudit(cmd, file, key)
		if err != nil {
			return err
		}
		err = a.ui.show(f, report, func() {
			if report.Verified {
				a.ui.line("verified: %d entries, root %s; %d signed checkpoints, the last at entry %d", report.Entries, report.Root, report.Checkpoints, report.Signed)
			}
		})
		if err == nil && !report.Verified {
			err = fmt.Errorf("the audit log is not what was written: %s", report.Problem)
		}
		return err
	}
	return cmd
}

func (a *app) verifyAudit(cmd *cobra.Command, file, key string) (api.AuditReport, error) {
	if file == "" {
		c, _, err := a.client()
		if err != nil {
			return api.AuditReport{}, err
		}
		defer c.Close()
		return c.VerifyAudit(cmd.Context())
	}
	f, err := os.Open(file)
	if err != nil {
		return api.AuditReport{}, err
	}
	defer func() { _ = f.Close() }() // it was read
	report, err := audit.VerifyExport(f, key)
	out := api.AuditReport{Verified: err == nil, Report: report}
	var tampered *audit.TamperedError
	if errors.As(err, &tampered) {
		out.Problem, err = tampered.Error(), nil
	}
	return out, err
}

func newAuditKeyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "key",
		Short:   "Print the public key that verifies the log's checkpoints",
		Example: "  postern audit key > audit.key",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			key, err := c.AuditKey(cmd.Context())
			if err != nil {
				return err
			}
			a.ui.line("%s", key.Key)
			return nil
		},
	}
}

func newAuditExportCommand(a *app) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:     "export",
		Short:   "Write the whole log, so that it can be verified elsewhere",
		Example: "  postern audit export --file audit.jsonl",
		Args:    args(0, 0, ""),
	}
	cmd.Flags().StringVar(&file, "file", "", "write to this file, which must not exist yet")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		return a.into(file, func(w io.Writer) error { return c.ExportAudit(cmd.Context(), w) })
	}
	return cmd
}
