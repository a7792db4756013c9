package postern

import "time"

// OfflineGrant is emergency access that was issued ahead of time, for the day on
// which nobody can sign in. Whoever it is for has a code for it, in a safe.
type OfflineGrant struct {
	ID        string          `json:"id"` // "og_…"
	Hash      string          `json:"-"`  // SHA-256 of its code
	For       Being           `json:"for"`
	Accesses  []OfflineAccess `json:"accesses"`
	Seconds   int64           `json:"seconds"` // how long the access lasts, from its use on
	Reason    string          `json:"reason"`  // why it was issued
	Approvals int             `json:"approvals"`
	Votes     []Vote          `json:"votes,omitempty"` // approvals, of others than who issued it and whom it is for
	IssuedBy  []Being         `json:"issued_by"`       // who issued it, and who acted for them
	IssuedAt  time.Time       `json:"issued_at"`
	ExpiresAt time.Time       `json:"expires_at"` // the last moment at which it can be used
	RevokedAt time.Time       `json:"revoked_at,omitzero"`
	RevokedBy string          `json:"revoked_by,omitempty"`
	UsedAt    time.Time       `json:"used_at,omitzero"`
	UsedFrom  string          `json:"used_from,omitempty"` // the client's address
	UsedFor   string          `json:"used_for,omitempty"`  // what its holder gave as the reason
	Requests  []string        `json:"requests,omitempty"`  // the emergency access that came of it
}

// OfflineAccess is one access that an offline grant gives, on the terms that
// were in force when it was issued.
type OfflineAccess struct {
	Resource  string      `json:"resource"`
	Access    string      `json:"access"`
	Terms     string      `json:"terms"` // the access's version; another is another access
	Max       int64       `json:"max"`   // seconds that the access lasts at most
	Approvers []Principal `json:"approvers,omitempty"`
	Reviewers []Principal `json:"reviewers,omitempty"` // who looks at its use afterwards
}
