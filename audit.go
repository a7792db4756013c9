package postern

// AuditRecord is an entry as the audit log keeps it.
type AuditRecord struct {
	Seq int64 `json:"seq"` // from 1, without gaps
	AuditEntry
	Body []byte `json:"-"` // the line that the log's hashes are made of; its JSON says the same as the fields
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
}

// AuditFilter picks records, oldest first. Zero fields don't filter.
type AuditFilter struct {
	After    int64 // only records with a greater Seq
	Identity string
	Resource string
	Session  string
	Action   string
	Limit    int // 0: the store's own limit
}
