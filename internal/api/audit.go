package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"postern"
)

// AuditLine is one entry of the audit log with its number.
type AuditLine struct {
	Index int64 `json:"index" doc:"The entry's number in the log, from 0."`
	postern.AuditEntry
}

// AuditReport says whether the audit log is what was written.
type AuditReport struct {
	Verified   bool   `json:"verified"`
	Entries    int64  `json:"entries"`
	Root       string `json:"root,omitempty" doc:"The tree's root hash."`
	Checkpoint string `json:"checkpoint,omitempty" doc:"The latest signed checkpoint."`
	Problem    string `json:"problem,omitempty" doc:"What is wrong, when it isn't verified."`
}

// AuditKey verifies the audit log's checkpoints.
type AuditKey struct {
	Key string `json:"key"`
}

func (a *api) auditRoutes(h huma.API) {
	const tag = "audit"
	type nothing struct{}
	type tailInput struct {
		Limit  int  `query:"limit" minimum:"0" maximum:"10000" default:"20" doc:"How many of the last entries."`
		Follow bool `query:"follow" doc:"Go on as entries are written."`
	}
	tail := operation(http.MethodGet, "/audit", "read-audit", tag, "The last entries of the audit log, as JSON lines, oldest first")
	tail.Responses = jsonLines("One entry a line.")
	handle(a, h, tail, func(ctx context.Context, _ caller, in *tailInput) (*huma.StreamResponse, error) {
		lines, err := a.Audit.Tail(ctx, max(in.Limit, 1))
		if err != nil {
			return nil, err
		}
		return a.streamLines(func(ctx context.Context, write func(any) error) error {
			next := int64(0)
			for _, line := range lines {
				next = line.Index + 1
				if in.Limit == 0 {
					break
				}
				if err := write(line); err != nil {
					return err
				}
			}
			if !in.Follow {
				return nil
			}
			err := a.Audit.Follow(ctx, next, func(line AuditLine) error { return write(line) })
			if err == nil || ctx.Err() != nil {
				return nil
			}
			a.Log.Error("audit log can't be followed", "error", err)
			return write(postern.Event{Time: a.Now().UTC(), Kind: EventProblem, Text: "the audit log can't be read; the gateway's log says why"})
		}), nil
	})

	export := operation(http.MethodGet, "/audit/export", "export-audit", tag, "The whole audit log, in the form that `postern audit verify --file` reads")
	export.Responses = jsonLines("The log.")
	handle(a, h, export, func(ctx context.Context, c caller, _ *nothing) (*huma.StreamResponse, error) {
		if err := a.note(ctx, c, postern.AuditEntry{Action: "audit.export"}); err != nil {
			return nil, err
		}
		return a.stream("application/jsonl", nil, func(ctx context.Context, w io.Writer) error {
			return a.Audit.Export(ctx, w)
		}), nil
	})

	type verifyOutput struct{ Body AuditReport }
	handle(a, h, operation(http.MethodPost, "/audit/verify", "verify-audit", tag, "Check the whole audit log against its checkpoints"),
		func(ctx context.Context, _ caller, _ *nothing) (*verifyOutput, error) {
			report, err := a.Audit.Verify(ctx)
			return &verifyOutput{Body: report}, err
		})

	type keyOutput struct{ Body AuditKey }
	handle(a, h, operation(http.MethodGet, "/audit/key", "audit-key", tag, "The key that verifies the audit log's checkpoints"),
		func(context.Context, caller, *nothing) (*keyOutput, error) {
			return &keyOutput{Body: AuditKey{Key: a.Audit.PublicKey()}}, nil
		})
}
