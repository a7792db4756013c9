package api

import (
	"context"
	"errors"
	"fmt"

	"postern"
)

// act writes an administrative act to the audit log, and only then does it: one
// that isn't kept in the store, and of which a crash leaves nothing undone. When
// the log can't be written nothing is done. An act that then fails has a second
// entry that says so.
func (a *api) act(ctx context.Context, c caller, entry postern.AuditEntry, do func() error) error {
	if err := a.note(ctx, c, entry); err != nil {
		return err
	}
	err := do()
	if err != nil {
		a.noteFailed(ctx, c, entry, "the act before this entry had no effect")
	}
	return err
}

// change does an act that the store keeps: what it writes and its entry are one
// transaction, so that neither is there without the other. do must use the
// context that it is given. That an act failed has an entry, too.
func (a *api) change(ctx context.Context, c caller, entry postern.AuditEntry, do func(context.Context) error) error {
	err := a.changeAs(ctx, func() []postern.AuditEntry { return []postern.AuditEntry{a.about(c, entry)} }, do)
	if err != nil && !errors.Is(err, errUnaudited) {
		a.noteFailed(ctx, c, entry, "it had no effect")
	}
	return err
}

// changeAs is change for an act whose entries tell what came of it: they are
// asked for when it has succeeded. One that failed has none.
func (a *api) changeAs(ctx context.Context, entries func() []postern.AuditEntry, do func(context.Context) error) error {
	ctx, release := a.Identity.Exclusive(ctx)
	defer release()
	err := a.Audit.Act(ctx, entries, func(ctx context.Context) error {
		a.Store.After(ctx, release) // durable, it needs nobody to wait until it is in the log, too
		return do(ctx)
	})
	if errors.Is(err, postern.ErrUnaudited) {
		a.Log.Error("audit log can't be written", "error", err)
		return fmt.Errorf("%w", errUnaudited)
	}
	return err
}

// noteFailed writes that an act wasn't done.
func (a *api) noteFailed(ctx context.Context, c caller, entry postern.AuditEntry, why string) {
	entry.Outcome, entry.Reason = "failed", why
	if err := a.note(context.WithoutCancel(ctx), c, entry); err != nil {
		a.Log.Error("failed act not in the audit log", "action", entry.Action, "target", entry.Target)
	}
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
