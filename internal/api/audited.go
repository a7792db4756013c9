package api

import (
	"context"
	"fmt"

	"postern"
)

// act writes an administrative act to the audit log, and only then does it.
// When the log can't be written nothing is done. An act that then fails has a
// second entry that says so.
func (a *api) act(ctx context.Context, c caller, entry postern.AuditEntry, do func() error) error {
	if err := a.note(ctx, c, entry); err != nil {
		return err
	}
	err := do()
	if err != nil {
		entry.Outcome, entry.Reason = "failed", "the act before this entry had no effect"
		if err := a.note(context.WithoutCancel(ctx), c, entry); err != nil {
			a.Log.Error("failed act not in the audit log", "action", entry.Action, "target", entry.Target)
		}
	}
	return err
}

// note writes an entry about what the caller does.
func (a *api) note(ctx context.Context, c caller, entry postern.AuditEntry) error {
	entry.Time = a.Now().UTC()
	entry.Source = c.source.String()
	if entry.Outcome == "" {
		entry.Outcome = "ok"
	}
	if c.identity.Name != "" {
		entry.Identity, entry.Kind, entry.Actor = c.identity.Name, c.identity.Kind, c.identity.ActorName()
	}
	if err := a.Audit.Append(ctx, entry); err != nil {
		a.Log.Error("audit log can't be written", "action", entry.Action, "error", err)
		return fmt.Errorf("%w", errUnaudited)
	}
	return nil
}
