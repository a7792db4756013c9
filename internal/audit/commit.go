package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"postern"
)

// item is what callers send to the committing goroutine.
type item struct {
	entry postern.AuditEntry
	done  chan error // who waits; nil: nobody
	sign  bool       // no entry, but a checkpoint
	flush bool       // no entry: done is answered once all before it are durable
	// collect: no entry, but those that the store keeps.
	collect bool
	// session is what the entry is about, for the store's list; nil: no session.
	session *postern.SessionInfo
	patient bool // who waits has nothing to do meanwhile
}

// hurries says whether somebody waits for it who would get on.
func (it *item) hurries() bool { return it.done != nil && !it.patient || it.sign }

// ends says whether it is a session's end. That is kept even when whoever waits for
// it is told of an error: the session is over, and nobody tries again.
func (it *item) ends() bool { return it.session != nil && !it.session.EndedAt.IsZero() }

// kept is an entry that was accepted, with its session's end if it is one.
type kept struct {
	entry   postern.AuditEntry
	session *postern.SessionInfo
}

// Append adds an entry and returns when it is durable. An error says that the
// entry isn't in the log, or, when it is the context's, that it may be.
func (l *Log) Append(ctx context.Context, e postern.AuditEntry) error {
	return l.wait(ctx, item{entry: e})
}

// AppendSession is Append for an entry about a session as it stands now: the
// store's list and the log have both, or neither. An error about a session's end
// says that it isn't in them yet: it is kept, and written once the log can be.
func (l *Log) AppendSession(ctx context.Context, e postern.AuditEntry, s postern.SessionInfo) error {
	return l.wait(ctx, item{entry: e, session: &s})
}

// AppendSessionSoon is AppendSession for who has time: where others have come by
// it shortly before, it waits for more to share a commit with, as long as a queued
// entry does.
func (l *Log) AppendSessionSoon(ctx context.Context, e postern.AuditEntry, s postern.SessionInfo) error {
	now := l.cfg.Now().UnixNano()
	others := now-l.soon.Swap(now) < int64(l.cfg.QueueDelay)
	return l.wait(ctx, item{entry: e, session: &s, patient: others})
}

// Queue adds an entry that becomes durable within [Config.QueueDelay], or with
// the next that somebody waits for, unless the process ends before. It waits
// while the queue is full, and returns an error while the log can't be written.
func (l *Log) Queue(e postern.AuditEntry) error {
	return l.send(context.Background(), item{entry: e})
}

func (l *Log) wait(ctx context.Context, it item) error {
	it.done = make(chan error, 1)
	if err := l.send(ctx, it); err != nil {
		return err
	}
	select {
	case err := <-it.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("audit log: %w", ctx.Err())
	}
}

func (l *Log) send(ctx context.Context, it item) error {
	if err := l.Err(); err != nil && !it.ends() {
		return err
	}
	if it.entry.Time.IsZero() {
		it.entry.Time = l.cfg.Now()
	}
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return ErrClosed
	}
	select {
	case l.queue <- it:
	case <-ctx.Done():
		return fmt.Errorf("audit log: %w", ctx.Err())
	}
	if it.hurries() || len(l.queue) >= batchSize {
		l.wake()
	}
	return nil
}

// wake ends the wait for more entries to join a commit.
func (l *Log) wake() {
	select {
	case l.hurry <- struct{}{}:
	default: // it is being woken
	}
}

// run is the committing goroutine. It ends when the queue is closed and empty.
func (l *Log) run(ctx context.Context) {
	defer func() {
		l.index.end()
		for _, w := range l.witnesses {
			w.end()
		}
		close(l.done)
	}()
	due := time.NewTimer(l.cfg.CheckpointAfter)
	due.Stop()
	armed := false
	if err := l.collect(ctx); err != nil { // what a process before this one left
		l.cfg.Log.Error("kept audit entries can't be taken over", "error", err)
	}
	for {
		var items []item
		sign := false
		select {
		case it, open := <-l.queue:
			if !open {
				l.last(ctx)
				return
			}
			items = l.gather(it)
		case <-due.C:
			sign, armed = true, false
		}
		l.settle(ctx, items, sign)
		switch unsigned := l.tree.size > l.signed; {
		case unsigned && !armed:
			due.Reset(l.cfg.CheckpointAfter)
			armed = true
		case !unsigned && armed:
			due.Stop()
			armed = false
		}
	}
}

// last signs what isn't signed yet. What couldn't be written is tried once more.
func (l *Log) last(ctx context.Context) {
	if l.Err() != nil {
		l.recover(ctx)
	}
	if l.Err() == nil && l.signed != l.tree.size {
		l.settle(ctx, nil, true)
	}
}

// gather takes what waits, up to a batch. A commit costs nearly the same for
// one entry as for hundreds, so entries that nobody waits for are given the
// time to become many. The items hold until the next call.
func (l *Log) gather(first item) (items []item) {
	defer func() { l.items = items }()
	select {
	case <-l.hurry: // for what take finds
	default:
	}
	items, hurries, open := l.take(append(l.items[:0], first), first.hurries())
	if hurries || !open || len(items) >= batchSize {
		return items
	}
	more := time.NewTimer(l.cfg.QueueDelay)
	defer more.Stop()
	select {
	case <-more.C:
	case <-l.hurry:
	}
	items, _, _ = l.take(items, false)
	return items
}

// take adds what is in the queue, without waiting. The queue is open until it
// has been closed and emptied.
func (l *Log) take(items []item, hurried bool) (all []item, hurries, open bool) {
	for len(items) < batchSize {
		select {
		case it, open := <-l.queue:
			if !open {
				return items, hurried, false // run finds it closed again
			}
			hurried = hurried || it.hurries()
			items = append(items, it)
		default:
			return items, hurried, true
		}
	}
	return items, hurried, true
}

// settle commits items and answers those who wait. While the log can't be
// written it refuses those, keeps the entries of the others, and tries again.
func (l *Log) settle(ctx context.Context, items []item, sign bool) {
	entries := l.entries[:0]
	var sessions []postern.SessionInfo
	collect := false
	for i := range items {
		switch it := &items[i]; {
		case it.sign:
			sign = true
		case it.collect:
			collect = true
		case !it.flush:
			entries = append(entries, it.entry)
			if it.session != nil {
				sessions = append(sessions, *it.session)
			}
		}
	}
	l.entries = entries
	err := l.commitBatch(ctx, entries, sessions, sign)
	var collected error
	if collect && err == nil {
		collected = l.collect(ctx)
	}
	queued := 0
	for i := range items {
		it := &items[i]
		if err != nil && l.keep(it) {
			queued++
		}
		switch {
		case it.collect && err == nil:
			it.done <- collected
		case it.done != nil:
			it.done <- err
		}
	}
	if err == nil {
		return
	}
	if l.doubt != nil {
		l.doubt.queued = queued
	}
	l.outage(ctx, err)
}

// keep keeps what must not be lost for an error, or returns false.
func (l *Log) keep(it *item) bool {
	if it.done != nil && !it.ends() {
		return false
	}
	l.backlog = append(l.backlog, kept{it.entry, it.session})
	return true
}

// outage refuses everything until the store takes entries again. It returns
// then, or when the log is closed, or never, when the stored log was changed.
func (l *Log) outage(ctx context.Context, err error) {
	l.setErr(err)
	l.cfg.Log.Error("audit log can't be written", "error", err)
	// The log says so itself, and there is something to try the store with.
	l.backlog = append(l.backlog, kept{entry: postern.AuditEntry{Time: l.cfg.Now(), Action: "audit.outage", Outcome: "failed", Reason: err.Error()}})
	retry := time.NewTicker(retryAfter)
	defer retry.Stop()
	for {
		select {
		case it, open := <-l.queue:
			if !open {
				return
			}
			l.keep(&it) // a session's end, or sent before its sender could know
			if it.done != nil {
				it.done <- l.Err()
			}
		case <-retry.C:
			if l.recover(ctx); l.Err() == nil {
				l.cfg.Log.Info("audit log can be written again")
				return
			}
		}
	}
}

// recover looks whether the store can be written again, and writes the backlog.
func (l *Log) recover(ctx context.Context) {
	var tampered *TamperedError
	if errors.As(l.Err(), &tampered) {
		return
	}
	l.setErr(l.rewrite(ctx))
}

func (l *Log) rewrite(ctx context.Context) error {
	if d := l.doubt; d != nil {
		landed, err := l.landed(ctx, &d.batch)
		if err != nil {
			return err
		}
		if l.doubt = nil; landed {
			l.committed(d.next, &d.batch)
			l.backlog = l.backlog[d.queued:]
		}
	}
	var err error
	if l.backlog, err = l.commit(ctx, l.backlog); l.doubt != nil {
		l.doubt.queued = min(len(l.backlog), batchSize)
	}
	return err
}

// doubt is a batch of which nobody could say whether it was committed.
type doubt struct {
	batch  postern.AuditBatch
	next   tree
	queued int // how many of the backlog, from its beginning, are in the batch
}

func (l *Log) setErr(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// commit adds what was kept in batches. It returns what it didn't come to.
func (l *Log) commit(ctx context.Context, all []kept) ([]kept, error) {
	for {
		n := min(len(all), batchSize)
		entries := make([]postern.AuditEntry, n)
		var sessions []postern.SessionInfo
		for i, k := range all[:n] {
			entries[i] = k.entry
			if k.session != nil {
				sessions = append(sessions, *k.session)
			}
		}
		if err := l.commitBatch(ctx, entries, sessions, false); err != nil {
			return all, err
		}
		if all = all[n:]; len(all) == 0 {
			return nil, nil
		}
	}
}

// commitBatch adds a batch of entries at most, the sessions that they are about,
// and a checkpoint when one is due or asked for.
func (l *Log) commitBatch(ctx context.Context, entries []postern.AuditEntry, sessions []postern.SessionInfo, sign bool) error {
	if err := l.tryBatch(ctx, entries, sessions, sign); err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}

func (l *Log) tryBatch(ctx context.Context, entries []postern.AuditEntry, sessions []postern.SessionInfo, sign bool) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	for {
		b, next, err := l.batch(entries, sign)
		if err != nil {
			return err
		}
		b.Sessions = sessions
		if len(b.Records) == 0 && b.Checkpoint == nil {
			return nil
		}
		ok, err := l.cfg.Store.AppendAudit(ctx, b)
		if err != nil {
			// It may have been committed all the same.
			landed, lookErr := l.landed(ctx, &b)
			if lookErr != nil {
				l.doubt = &doubt{batch: b, next: next}
			}
			if !landed {
				return errors.Join(err, lookErr)
			}
			ok = true
		}
		if ok {
			l.committed(next, &b)
			return nil
		}
		// Another process came first.
		if err := l.catchUp(ctx); err != nil {
			if errors.Is(err, errSame) {
				err = l.another()
			}
			return err
		}
	}
}

// another says that the stored log can't be ours.
func (l *Log) another() error {
	return &TamperedError{Reason: fmt.Sprintf("the stored log isn't the one of %d entries that this process wrote", l.tree.size)}
}

// errSame says that nobody added to the stored log.
var errSame = errors.New("the audit log hasn't moved on")

// usualLine is the room that most lines need.
const usualLine = 400

// batch prepares what a commit adds to the tree, without changing it.
func (l *Log) batch(entries []postern.AuditEntry, sign bool) (postern.AuditBatch, tree, error) {
	next := l.tree
	b := postern.AuditBatch{FirstHash: tlog.StoredHashCount(next.size)}
	// Of n entries, n hashes are their own, and fewer than n + 63 complete subtrees.
	b.Hashes = make([][32]byte, 0, 2*len(entries)+8)
	b.Records = make([]postern.AuditRecord, len(entries))
	lines := make([]byte, 0, len(entries)*usualLine)
	for i, e := range entries {
		b.Records[i], lines = appendRecord(lines, next.size+1, e)
		b.Hashes = next.add(b.Hashes, tlog.RecordHash(b.Records[i].Body))
	}
	due := next.size > 0 && (l.signed == 0 || next.size-l.signed >= int64(l.cfg.CheckpointEntries))
	if due || sign && next.size > l.signed {
		signed, err := l.cfg.Key.sign(checkpoint{size: next.size, root: next.root(), at: l.cfg.Now()})
		if err != nil {
			return b, next, err
		}
		b.Checkpoint = &postern.AuditCheckpoint{Size: next.size, Note: signed}
	}
	return b, next, nil
}

// landed says whether a batch whose commit returned an error is in the store.
func (l *Log) landed(ctx context.Context, b *postern.AuditBatch) (bool, error) {
	if len(b.Records) == 0 {
		return false, nil
	}
	stored, err := l.cfg.Store.AuditRecords(ctx, l.tree.size, 1)
	if err != nil || len(stored) == 0 {
		return false, err
	}
	return string(stored[0].Body) == string(b.Records[0].Body), nil
}

// catchUp reads what other processes added, and checks that it extends what was
// here.
func (l *Log) catchUp(ctx context.Context) error {
	t, signed, err := l.readHead(ctx)
	if err != nil {
		return err
	}
	then, err := readTree(ctx, l.cfg.Store, l.tree.size)
	if err != nil {
		return err
	}
	if t.size == l.tree.size && then.root() == l.tree.root() {
		return errSame
	}
	if t.size <= l.tree.size || then.root() != l.tree.root() {
		return l.another()
	}
	l.tree, l.signed = t, signed
	l.publish()
	return nil
}

// committed makes a commit's tree the log's.
func (l *Log) committed(next tree, b *postern.AuditBatch) {
	l.tree = next
	l.publish()
	if len(b.Records) > 0 {
		l.index.committed(b.Records)
	}
	c := b.Checkpoint
	if c == nil {
		return
	}
	l.signed = c.Size
	l.cfg.Log.Info("audit log checkpoint", "entries", c.Size, "root", next.root().String())
	for _, w := range l.witnesses {
		w.tell(c.Note, false)
	}
	if l.cfg.Anchor == "" {
		return
	}
	if err := l.writeAnchor(c.Note); err != nil {
		l.cfg.Log.Error("checkpoint can't be kept outside of the store", "path", l.cfg.Anchor, "error", err)
	}
}

// publish wakes those who follow.
func (l *Log) publish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size, l.root = l.tree.size, l.tree.root()
	close(l.changed)
	l.changed = make(chan struct{})
}
