package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/audit"
)

// AuditReport says whether the audit log is what was written.
type AuditReport struct {
	Verified bool `json:"verified"`
	audit.Report
	Problem string `json:"problem,omitempty" doc:"What is wrong, when it isn't verified."`
}

// AuditKey verifies the audit log's checkpoints.
type AuditKey struct {
	Key string `json:"key"`
}

func (a *api) auditRoutes(h huma.API) {
	const tag = "audit"
	type nothing struct{}
	type tailInput struct {
		Limit  int   `query:"limit" minimum:"0" maximum:"500" default:"20" doc:"How many of the last entries, or with after how many at most."`
		After  int64 `query:"after" default:"-1" minimum:"-1" doc:"Only entries whose seq is greater. Absent: the last ones."`
		Follow bool  `query:"follow" doc:"Go on as entries are written."`
	}
	tail := operation(http.MethodGet, "/audit", "read-audit", tag, "Entries of the audit log, as JSON lines, oldest first")
	tail.Responses = jsonLines("One entry a line; a last line of kind \"problem\" says why there is no more.")
	handle(a, h, tail, func(ctx context.Context, _ caller, in *tailInput) (*huma.StreamResponse, error) {
		records, err := a.Audit.Tail(ctx, in.After, max(in.Limit, 1))
		if err != nil {
			return nil, err
		}
		if in.Limit == 0 {
			records = records[:0]
		}
		return a.streamLines(nil, func(ctx context.Context, write func(any) error) error { //nolint:contextcheck // a stream outlives the call that begins it, and has the request's own context
			return a.tail(ctx, records, in.After, in.Follow, write)
		}), nil
	})

	export := operation(http.MethodGet, "/audit/export", "export-audit", tag, "The whole audit log, in the form that `postern audit verify --file` checks")
	export.Responses = jsonLines("The log.")
	handle(a, h, export, func(ctx context.Context, c caller, _ *nothing) (*huma.StreamResponse, error) {
		if err := a.note(ctx, c, postern.AuditEntry{Action: "audit.export"}); err != nil {
			return nil, err
		}
		return a.stream("application/jsonl", nil, nil, func(ctx context.Context, w io.Writer) error { //nolint:contextcheck // a stream outlives the call that begins it, and has the request's own context
			return a.Audit.Export(ctx, w)
		}), nil
	})

	type verifyInput struct {
		Recordings bool `query:"recordings" default:"true" doc:"Compare each session's recording with its digest in the log, too."`
	}
	verify := operation(http.MethodPost, "/audit/verify", "verify-audit", tag, "Check the whole audit log against its checkpoints")
	verify.Responses = map[string]*huma.Response{"200": {
		Description: "What was found. While it is being found, line ends keep the connection open.",
		Content: map[string]*huma.MediaType{"application/json": {Schema: h.OpenAPI().Components.Schemas.Schema(
			reflect.TypeFor[AuditReport](), true, "AuditReport")}},
	}}
	handle(a, h, verify, func(_ context.Context, _ caller, in *verifyInput) (*huma.StreamResponse, error) {
		return a.stream("application/json", []byte{'\n'}, nil, func(ctx context.Context, w io.Writer) error { //nolint:contextcheck // a stream outlives the call that begins it, and has the request's own context
			report, err := a.verify(ctx, in.Recordings)
			if err != nil {
				return err
			}
			return json.NewEncoder(w).Encode(report)
		}), nil
	})
	a.auditSearchRoutes(h)

	type keyOutput struct{ Body AuditKey }
	handle(a, h, operation(http.MethodGet, "/audit/key", "audit-key", tag, "The key that verifies the audit log's checkpoints"),
		func(context.Context, caller, *nothing) (*keyOutput, error) {
			return &keyOutput{Body: AuditKey{Key: a.Audit.PublicKey()}}, nil
		})
}

// verify checks the log. What was tampered with is an answer, not an error.
func (a *api) verify(ctx context.Context, recordings bool) (AuditReport, error) {
	var digest audit.Digester
	if recordings {
		digest = a.Recordings.Digest
	}
	report, err := a.Audit.Verify(ctx, digest)
	out := AuditReport{Verified: err == nil, Report: report}
	var tampered *audit.TamperedError
	if errors.As(err, &tampered) {
		a.Log.Error("audit log is not what was written", "error", err)
		out.Problem, err = tampered.Error(), nil
	}
	return out, err
}

// tail writes records, and goes on behind them as the log grows.
func (a *api) tail(ctx context.Context, records []postern.AuditRecord, after int64, follow bool, write func(any) error) error {
	for _, r := range records {
		if err := write(r); err != nil {
			return err
		}
		after = r.Seq
	}
	if !follow {
		return nil
	}
	if after < 0 {
		after = a.Audit.Size()
	}
	err := a.Audit.Follow(ctx, after, func(r postern.AuditRecord) error { return write(r) })
	if err == nil || ctx.Err() != nil || errors.Is(err, audit.ErrClosed) {
		return nil //nolint:nilerr // the client has gone, or the gateway stops
	}
	a.Log.Error("audit log can't be followed", "error", err)
	return write(postern.Event{Time: a.Now().UTC(), Kind: EventProblem, Text: "the audit log can't be read; the gateway's log says why"})
}
