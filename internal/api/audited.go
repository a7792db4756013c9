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

// change does an act that the store keeps: the act's first write and its entry
// are one transaction, so that neither is there without the other. do must use
// the context that it is given. An act that fails after that has a second entry
// that says so.
func (a *api) change(ctx context.Context, c caller, entry postern.AuditEntry, do func(context.Context) error) error {
	if err := a.Audit.Err(); err != nil {
		a.Log.Error("audit log can't be written", "action", entry.Action, "error", err)
		return fmt.Errorf("%w", errUnaudited)
	}
	with, kept := a.Store.WithEntry(ctx, a.about(c, entry))
	err := do(with)
	if kept() {
		// It is durable; that it isn't in the log yet is no reason to refuse what was done.
		if err := a.Audit.Collect(context.WithoutCancel(ctx)); err != nil {
			a.Log.Error("act not in the audit log yet", "action", entry.Action, "target", entry.Target, "error", err)
		}
	} else if err == nil { // there was nothing to change
		return a.note(ctx, c, entry)
	}
	if err != nil {
		entry.Outcome, entry.Reason = "failed", "it had no effect"
		if kept() {
			entry.Reason = "the act before this entry was not done to its end"
		}
		if err := a.note(context.WithoutCancel(ctx), c, entry); err != nil {
			a.Log.Error("failed act not in the audit log", "action", entry.Action, "target", entry.Target)
		}
	}
	return err
}

// note writes an entry about what the caller does.
func (a *api) note(ctx context.Context, c caller, entry postern.AuditEntry) error {
	if err := a.Audit.Append(ctx, a.about(c, entry)); err != nil {
		a.Log.Error("audit log can't be written", "action", entry.Action, "error", err)
		return fmt.Errorf("%w", errUnaudited)
	}
	return nil
}

// about fills in who does it, from where and when.
func (a *api) about(c caller, entry postern.AuditEntry) postern.AuditEntry {
	entry.Time = a.Now().UTC()
	entry.Source = c.source.String()
	if entry.Outcome == "" {
		entry.Outcome = "ok"
	}
	if c.identity.Name != "" {
		entry.Identity, entry.Kind, entry.Actor = c.identity.Name, c.identity.Kind, c.identity.ActorName()
	}
	return entry
}
