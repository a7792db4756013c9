package main

import (
	"bufio"
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
	"postern/internal/recording"
)

func newAuditCommand(a *app) *cobra.Command {
	return group("audit", "The log of every decision and every administrative act",
		"  postern audit tail -f\n  postern audit verify",
		newAuditTailCommand(a), newAuditSearchCommand(a), newAuditVerifyCommand(a), newAuditExportCommand(a), newAuditKeyCommand(a),
		newAuditCheckpointCommand(a), newAuditProofCommand(a))
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

// verifying are the flags of `postern audit verify`.
type verifying struct {
	file, key, proof, recordings string
	since                        []string
	skip                         bool
}

func newAuditVerifyCommand(a *app) *cobra.Command {
	var v verifying
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that the log is what was written",
		Long: "Check the gateway's log against its signed checkpoints, and each session's recording against the digest in the\n" +
			"log. With --file, check an export without the gateway: that needs the log's public key, which\n" +
			"`postern audit key` prints while the gateway is to be trusted. With --since, checkpoints that were kept\n" +
			"elsewhere show also whether the log was cut, forked, or set back to an old copy.",
		Example: "  postern audit verify\n  postern audit verify --since monday.checkpoint\n" +
			"  postern audit verify --file audit.jsonl --key \"$(cat audit.key)\" --since monday.checkpoint",
		Args: args(0, 0, ""),
	}
	f := formatFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&v.file, "file", "", "check this export instead")
	flags.StringVar(&v.proof, "proof", "", "check what `postern audit proof` wrote to this file instead")
	flags.StringVar(&v.key, "key", "", "the log's public key, with --file or --proof")
	flags.StringVar(&v.recordings, "recordings", "", "compare the recordings in this folder, with --file")
	flags.StringArrayVar(&v.since, "since", nil, "a file with checkpoints that were kept; may be given again")
	flags.BoolVar(&v.skip, "skip-recordings", false, "don't compare the gateway's recordings")
	cmd.MarkFlagsMutuallyExclusive("file", "proof")
	cmd.MarkFlagsMutuallyExclusive("recordings", "skip-recordings")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		report, err := a.verifyAudit(cmd, &v)
		if err != nil {
			return err
		}
		err = a.ui.show(f, report, func() {
			if !report.Verified {
				return
			}
			if v.proof != "" {
				a.ui.line("verified: it is one of the %d entries that the checkpoint was signed for", report.Signed)
				return
			}
			text := fmt.Sprintf("verified: %d entries, root %s; %d signed checkpoints, the last at entry %d", report.Entries, report.Root, report.Checkpoints, report.Signed)
			if report.Recordings > 0 {
				text += fmt.Sprintf("; %d recordings", report.Recordings)
			}
			a.ui.line("%s", text)
		})
		if err == nil && !report.Verified {
			err = fmt.Errorf("the audit log is not what was written: %s", report.Problem)
		}
		return err
	}
	return cmd
}

func (a *app) verifyAudit(cmd *cobra.Command, v *verifying) (api.AuditReport, error) {
	if (v.file != "" || v.proof != "") && v.key == "" {
		return api.AuditReport{}, usage("an export or a proof is checked with the log's public key: --key")
	}
	if v.proof != "" {
		return a.verifyProof(v.proof, v.key)
	}
	kept, err := checkpoints(v.since)
	if err != nil {
		return api.AuditReport{}, err
	}
	if v.file == "" {
		c, _, err := a.client()
		if err != nil {
			return api.AuditReport{}, err
		}
		defer c.Close()
		report, err := c.VerifyAudit(cmd.Context(), !v.skip)
		if err != nil || !report.Verified {
			return report, err
		}
		return a.verifySince(cmd, report, kept, v.key)
	}
	f, err := os.Open(v.file)
	if err != nil {
		return api.AuditReport{}, err
	}
	defer func() { _ = f.Close() }() // it was read
	against := audit.Against{Checkpoints: kept}
	if v.recordings != "" {
		against.Recordings = func(id string) (string, error) { return recording.Digest(v.recordings, id) }
	}
	report, err := audit.VerifyExport(cmd.Context(), f, v.key, against)
	return told(api.AuditReport{Report: report}, err)
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
	var file, format string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the whole log, so that it can be verified elsewhere",
		Long: "Write the log as JSON lines with signed checkpoints, which `postern audit verify --file` checks. With\n" +
			"--format ocsf, write events of the Open Cybersecurity Schema Framework instead, for programs that read those.",
		Example: "  postern audit export --file audit.jsonl\n  postern audit export --format ocsf | gzip > ocsf.jsonl.gz",
		Args:    args(0, 0, ""),
	}
	cmd.Flags().StringVar(&file, "file", "", "write to this file, which must not exist yet")
	cmd.Flags().StringVar(&format, "format", "json", "json or ocsf")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if format != "json" && format != "ocsf" {
			return usage("--format is json or ocsf")
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		return a.into(file, func(w io.Writer) error {
			if format == "json" {
				return c.ExportAudit(cmd.Context(), w)
			}
			return asOCSF(w, func(w io.Writer) error { return c.ExportAudit(cmd.Context(), w) })
		})
	}
	return cmd
}

// asOCSF turns what an export writes into events of OCSF.
func asOCSF(w io.Writer, export func(io.Writer) error) error {
	lines, feed := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := export(feed)
		_ = feed.CloseWithError(err) // it returns nil
		done <- err
	}()
	err := eachOCSF(w, lines)
	_ = lines.CloseWithError(err) // it returns nil
	return errors.Join(err, ignoreClosedPipe(<-done))
}

func ignoreClosedPipe(err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

func eachOCSF(w io.Writer, lines io.Reader) error {
	all := bufio.NewScanner(lines)
	all.Buffer(nil, 4<<20)
	for all.Scan() {
		r, ok, err := audit.ReadLine(all.Bytes())
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		if !ok {
			continue
		}
		event, err := audit.OCSF(&r)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(event, '\n')); err != nil {
			return err
		}
	}
	return all.Err()
}
