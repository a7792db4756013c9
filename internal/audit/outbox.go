package audit

import (
	"context"
	"errors"
	"fmt"

	"postern"
)

// Act does an act that the store keeps, and writes its entries, as one
// transaction: neither is there without the other. do must use the context that
// it is given, and must not wait for anybody who writes; its error undoes
// everything, but for a [*postern.DoneError]. entries is called when do has
// succeeded, and may tell what came of it. While the log can't be written
// nothing is done: [postern.ErrUnaudited].
func (l *Log) Act(ctx context.Context, entries func() []postern.AuditEntry, do func(context.Context) error) error {
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w: %w", postern.ErrUnaudited, err)
	}
	if err := l.cfg.Store.Together(ctx, entries, do); err != nil {
		return err
	}
	// It is durable; that it isn't in the log yet is no reason to refuse what was done.
	if err := l.Collect(context.WithoutCancel(ctx)); err != nil {
		l.cfg.Log.Error("act not in the audit log yet", "error", err)
	}
	return nil
}

// Collect takes over into the log what the store keeps for it: entries that were
// written in one transaction with the act that they are about. It returns when
// they are in the log. After an error they are still kept, and are taken over
// with the next ones, or at the next start.
func (l *Log) Collect(ctx context.Context) error {
	return l.wait(ctx, item{collect: true})
}

// collect is Collect's part on the committing goroutine.
func (l *Log) collect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	for range collectTries {
		entries, ids, err := l.cfg.Store.AuditOutbox(ctx, batchSize)
		if err != nil {
			return fmt.Errorf("write the audit log: %w", err)
		}
		if len(entries) == 0 {
			return nil
		}
		b, next, err := l.batch(entries, false)
		if err != nil {
			return err
		}
		b.Outbox = ids
		ok, err := l.cfg.Store.AppendAudit(ctx, b)
		if err != nil {
			return fmt.Errorf("write the audit log: %w", err)
		}
		if ok {
			l.committed(next, &b)
			continue
		}
		// Another process came first, with these or with others.
		if err := l.catchUp(ctx); err != nil && !errors.Is(err, errSame) {
			return err
		}
	}
	return errors.New("write the audit log: the entries that the store keeps for it can't be taken over")
}

// collectTries bounds how many batches one round takes over, and how often other
// processes may come first.
const collectTries = 1000
