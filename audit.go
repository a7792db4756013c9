package postern

import (
	"errors"
	"time"
)

// ErrUnaudited says that an act wasn't done, because its entry can't be written
// into the audit log.
var ErrUnaudited = errors.New("the audit log can't be written")

// DoneError is a refusal that did something, such as ending a login whose code
// came twice, and of which that stays done.
type DoneError struct{ Err error }

// Error implements error.
func (e *DoneError) Error() string { return e.Err.Error() }

// Unwrap returns the refusal.
func (e *DoneError) Unwrap() error { return e.Err }

// AuditRecord is an entry as the audit log keeps it.
type AuditRecord struct {
	Seq int64 `json:"seq"` // from 1, without gaps
	AuditEntry
	// Body is the line that the log's hashes are made of; its JSON says the same as
	// the fields. nil: what the store has in its place is damaged.
	Body []byte `json:"-"`
}

// AuditCheckpoint is a signed statement of what the log held at one size.
type AuditCheckpoint struct {
	Size int64
	Note string
}

// AuditBatch is what one commit adds to the stored log.
type AuditBatch struct {
	Records    []AuditRecord
	FirstHash  int64      // the index of the first of Hashes
	Hashes     [][32]byte // of the tree's complete subtrees
	Checkpoint *AuditCheckpoint
	Outbox     []string // what the store kept of them until now, by its ids
	// Sessions are those that Records are about, as they stand by then.
	Sessions []SessionInfo
}

// AuditFilter picks records. Zero fields don't filter. Names are compared
// without regard to case.
type AuditFilter struct {
	After    int64 // only records with a greater Seq
	Before   int64 // only records with a smaller Seq
	From, To time.Time
	Action   string
	Identity string // or the actor
	Actor    string
	Resource string
	Session  string
	Outcome  string
	Verb     string // one of the command's
	Object   string // its whole name, or what follows one of the name's dots
	Rule     string
	Target   string
	Text     string // each of its words is one of the entry's
	Limit    int    // 0: 100
}

// AuditSegment is a part of the audit log's index: which entries of a stretch
// of the log have which term.
type AuditSegment struct {
	Number   int64
	From, To time.Time // the first and the last time of an entry
	Buckets  [][]byte
}
