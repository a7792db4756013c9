// Package audit is the append-only log of every decision and every
// administrative act: a Merkle tree over its entries (RFC 6962, as the Go
// checksum database has it), signed from time to time, so that nobody can
// change, remove, insert or reorder an entry unseen. docs/audit-log.md is the
// specification.
//
// One goroutine commits: all entries that wait while one commit runs go into
// the next one together.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"postern"
)

// Store keeps the log. Rows are only ever added to it.
type Store interface {
	// AppendAudit adds a batch, all or nothing, and durably. It returns false
	// when the batch doesn't begin where the stored log ends.
	AppendAudit(context.Context, postern.AuditBatch) (bool, error)
	// AuditSize returns the number of the last entry, and how many hashes are stored.
	AuditSize(context.Context) (entries, hashes int64, err error)
	// AuditRecords returns up to limit records after an entry, oldest first, with
	// Seq and Body alone.
	AuditRecords(ctx context.Context, after int64, limit int) ([]postern.AuditRecord, error)
	// AuditHashes returns n of the stored hashes, or as many as there are.
	AuditHashes(ctx context.Context, from int64, n int) ([][32]byte, error)
	// AuditCheckpoints returns checkpoints of more than a size, smallest first.
	AuditCheckpoints(ctx context.Context, after int64, limit int) ([]postern.AuditCheckpoint, error)
	// LastAuditCheckpoint is ErrNotFound when there is none.
	LastAuditCheckpoint(context.Context) (postern.AuditCheckpoint, error)
	// Together makes what do writes, and the entries, one transaction.
	Together(ctx context.Context, entries func() []postern.AuditEntry, do func(context.Context) error) error
	// AuditOutbox returns entries that were kept in one transaction with what they
	// are about, oldest first, and the ids by which a batch takes them over.
	AuditOutbox(ctx context.Context, limit int) (entries []postern.AuditEntry, ids []string, err error)

	// PutAuditSegment keeps a segment of the index, unless it is there.
	PutAuditSegment(context.Context, postern.AuditSegment) error
	// AuditSegments returns the stored segments, in order, without their buckets.
	AuditSegments(context.Context) ([]postern.AuditSegment, error)
	// AuditPostings calls fn with a bucket of each segment from one to another.
	AuditPostings(ctx context.Context, bucket int, from, to int64, fn func(segment int64, postings []byte) error) error
	DropAuditIndex(context.Context) error
}

// Config is what a Log is made of. Store and Key are required.
type Config struct {
	Store Store
	Key   *Key
	Now   func() time.Time // nil: the system's clock
	Log   *slog.Logger     // nil: none
	// Anchor is a file outside of the store that keeps the latest checkpoint,
	// so that a store that was set back to an earlier state is noticed. "": none.
	Anchor string
	// Witnesses are handed each checkpoint, and asked at Open and by Verify for
	// the last that they have. Witnessed, which may be nil, is told how that went.
	Witnesses []Witness
	Witnessed func(name string, err error)
	// CheckpointEntries is how many entries may follow a checkpoint before the
	// next one, and CheckpointAfter how long the first of them may wait.
	// 0: 1000 entries, 10 seconds.
	CheckpointEntries int
	CheckpointAfter   time.Duration
	// QueueDelay is how long an entry that nobody waits for may wait for others
	// to be committed with. 0: 50 milliseconds.
	QueueDelay time.Duration
}

const (
	maxCheckpointEntries = 10_000
	queueSize            = 4096
	batchSize            = 512
	// page is how many records are read at once.
	page = 1000
	// retryAfter is how long a log that couldn't be written waits to try again.
	retryAfter = time.Second
	// commitTimeout ends a commit that hangs.
	commitTimeout = 30 * time.Second
)

// ErrClosed is returned by a log that was closed.
var ErrClosed = errors.New("the audit log is closed")

// TamperedError says that the log isn't what was written.
type TamperedError struct {
	Seq    int64 // the first entry that isn't; 0: none in particular
	Reason string
}

// Error names the entry.
func (e *TamperedError) Error() string {
	if e.Seq == 0 {
		return "the audit log was tampered with or damaged: " + e.Reason
	}
	return fmt.Sprintf("the audit log was tampered with or damaged at entry %d: %s", e.Seq, e.Reason)
}

// Log is the audit log. Its methods may be called from several goroutines.
type Log struct {
	cfg   Config
	queue chan item
	index *index

	witnesses []*witnessed
	hurry     chan struct{} // somebody waits for what is in queue, or it is a batch
	soon      atomic.Int64  // when somebody last came who doesn't hurry, in nanoseconds since 1970
	done      chan struct{} // closed when the committing goroutine has ended

	closing sync.RWMutex // held for reading while something is sent to queue
	closed  bool

	mu      sync.Mutex
	size    int64         // committed
	root    tlog.Hash     // of that
	changed chan struct{} // closed at the next commit
	err     error         // why the log can't be written now

	// Owned by the committing goroutine.
	items   []item               // room for those of one commit
	entries []postern.AuditEntry // the same
	tree    tree
	signed  int64  // the size of the latest checkpoint
	backlog []kept // accepted, and not written for an error
	doubt   *doubt
}

// Open checks that the stored log is what was last signed, and starts to take
// entries. A log that isn't is refused with a [*TamperedError]. The caller
// closes it.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	if cfg.Store == nil || cfg.Key == nil {
		return nil, errors.New("audit: a log needs a store and a key")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.CheckpointEntries == 0 {
		cfg.CheckpointEntries = 1000
	}
	if cfg.CheckpointAfter == 0 {
		cfg.CheckpointAfter = 10 * time.Second
	}
	if cfg.CheckpointEntries < 1 || cfg.CheckpointEntries > maxCheckpointEntries || cfg.CheckpointAfter < 0 {
		return nil, fmt.Errorf("audit: a checkpoint is due after 1 to %d entries", maxCheckpointEntries)
	}
	if cfg.Witnessed == nil {
		cfg.Witnessed = func(string, error) {}
	}
	if cfg.QueueDelay == 0 {
		cfg.QueueDelay = 50 * time.Millisecond
	}
	l := &Log{
		cfg: cfg, queue: make(chan item, queueSize), hurry: make(chan struct{}, 1),
		done: make(chan struct{}), changed: make(chan struct{}),
	}
	if err := l.load(ctx); err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	var err error
	if l.index, err = openIndex(ctx, cfg.Store, cfg.Log, l.tree.size); err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	l.publish()
	go l.index.run(context.WithoutCancel(ctx))
	l.startWitnesses(context.WithoutCancel(ctx))
	go l.run(context.WithoutCancel(ctx))
	return l, nil
}

// Err says why the log can't be written now, or nil.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Size is the number of entries that are durable.
func (l *Log) Size() int64 {
	size, _ := l.head()
	return size
}

// head is the size and the root that this process knows to be right.
func (l *Log) head() (int64, tlog.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size, l.root
}

// PublicKey is what checkpoints and exports are verified with.
func (l *Log) PublicKey() string { return l.cfg.Key.Public() }

// Close commits what waits, signs a last checkpoint, and ends the log. When ctx
// ends first, that goes on by itself.
func (l *Log) Close(ctx context.Context) error {
	l.closing.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
		l.wake()
	}
	l.closing.Unlock()
	select {
	case <-l.done:
		return l.Err()
	case <-ctx.Done():
		return fmt.Errorf("close the audit log: %w", ctx.Err())
	}
}
