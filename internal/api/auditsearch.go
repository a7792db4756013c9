package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/audit"
)

// AuditCheckpoint is what the audit log was signed with last.
type AuditCheckpoint struct {
	Checkpoint string `json:"checkpoint" doc:"A signed note. Whoever keeps it can show any later change to the entries before it."`
}

func (a *api) auditSearchRoutes(h huma.API) {
	const tag = "audit"
	type searchInput struct {
		Paging
		Identity string    `query:"identity" maxLength:"253" doc:"Who did it, or on whose behalf."`
		Actor    string    `query:"actor" maxLength:"253" doc:"Who did it on somebody's behalf."`
		Resource string    `query:"resource" maxLength:"253"`
		Session  string    `query:"session" maxLength:"128"`
		Action   string    `query:"action" maxLength:"128" doc:"command, session.open, object.apply …"`
		Outcome  string    `query:"outcome" maxLength:"128" doc:"allow, deny, ok, refused, failed …"`
		Verb     string    `query:"verb" maxLength:"128" doc:"One of the command's verbs."`
		Object   string    `query:"object" maxLength:"512" doc:"A name: public.orders, or what follows one of its dots: orders."`
		Rule     string    `query:"rule" maxLength:"253"`
		Target   string    `query:"target" maxLength:"512" doc:"What an administrative act was done to: service:ci."`
		Text     string    `query:"text" maxLength:"512" doc:"Words, each of which stands in the entry."`
		From     time.Time `query:"from" doc:"Not before this time."`
		To       time.Time `query:"to" doc:"Before this time."`
	}
	type searchOutput struct{ Body Page[postern.AuditRecord] }
	handle(a, h, operation(http.MethodGet, "/audit/search", "search-audit", tag, "Entries of the audit log that match, newest first"),
		func(ctx context.Context, _ caller, in *searchInput) (*searchOutput, error) {
			page, err := a.search(ctx, in.Paging, postern.AuditFilter{
				Identity: in.Identity, Actor: in.Actor, Resource: in.Resource, Session: in.Session, Action: in.Action, Outcome: in.Outcome,
				Verb: in.Verb, Object: in.Object, Rule: in.Rule, Target: in.Target, Text: in.Text, From: in.From, To: in.To,
			})
			return &searchOutput{Body: page}, err
		})

	type nothing struct{}
	type checkpointOutput struct{ Body AuditCheckpoint }
	handle(a, h, operation(http.MethodGet, "/audit/checkpoint", "audit-checkpoint", tag, "Sign what the audit log holds now"),
		func(ctx context.Context, _ caller, _ *nothing) (*checkpointOutput, error) {
			text, err := a.Audit.Checkpoint(ctx)
			return &checkpointOutput{Body: AuditCheckpoint{Checkpoint: text}}, a.audited(err)
		})

	type proofInput struct {
		Seq int64 `path:"seq" minimum:"1"`
	}
	type proofOutput struct{ Body audit.Proof }
	handle(a, h, operation(http.MethodGet, "/audit/entries/{seq}/proof", "prove-audit-entry", tag, "Prove that an entry is in the log (RFC 9162, section 2.1.3)"),
		func(ctx context.Context, _ caller, in *proofInput) (*proofOutput, error) {
			proof, err := a.Audit.Prove(ctx, in.Seq)
			return &proofOutput{Body: proof}, a.audited(err)
		})

	type extensionInput struct {
		From int64 `query:"from" required:"true" minimum:"1" doc:"The number of entries of the earlier checkpoint."`
	}
	type extensionOutput struct{ Body audit.Extension }
	handle(a, h, operation(http.MethodGet, "/audit/consistency", "prove-audit-extension", tag, "Prove that the log is a continuation of an earlier one (RFC 9162, section 2.1.4)"),
		func(ctx context.Context, _ caller, in *extensionInput) (*extensionOutput, error) {
			extension, err := a.Audit.ProveExtension(ctx, in.From)
			return &extensionOutput{Body: extension}, a.audited(err)
		})
}

// audited words an error of the log: that it was tampered with is for whoever
// may read it.
func (a *api) audited(err error) error {
	var tampered *audit.TamperedError
	if !errors.As(err, &tampered) {
		return err
	}
	a.Log.Error("audit log is not what was written", "error", err)
	return &RefusedError{Reason: tampered.Error()}
}

func (a *api) search(ctx context.Context, p Paging, f postern.AuditFilter) (Page[postern.AuditRecord], error) {
	page := Page[postern.AuditRecord]{Items: []postern.AuditRecord{}}
	if p.Cursor != "" {
		before, err := strconv.ParseInt(p.Cursor, 10, 64)
		if err != nil || before < 1 {
			return page, huma.Error422UnprocessableEntity("that cursor is none of this list's")
		}
		f.Before = before
	}
	f.Limit = p.Limit
	found, err := a.Audit.Search(ctx, f)
	if errors.Is(err, audit.ErrNoWord) {
		return page, huma.Error422UnprocessableEntity(audit.ErrNoWord.Error())
	}
	if err != nil {
		return page, a.audited(err)
	}
	page.Items = append(page.Items, found...)
	if len(found) == p.Limit {
		page.Next = strconv.FormatInt(found[len(found)-1].Seq, 10)
	}
	return page, nil
}
