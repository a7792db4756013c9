package postern

import "time"

// DirectoryUser is a person as a provider's directory told of them.
type DirectoryUser struct {
	ID         string // ours, "du_…"
	Provider   string
	UserName   string // the directory's
	ExternalID string // the directory's own id of them
	Account    string // the name of their account; it stays when UserName changes
	Active     bool
	// Disabled says that it was the directory that disabled the account, so that
	// the directory may enable it again.
	Disabled bool
	// Deleted users are gone for the directory. Their accounts stay, disabled:
	// without them, who still can sign in there would come back.
	Deleted    bool
	Attributes string // JSON, as the directory sent it, without a password
	CreatedAt  time.Time
	ModifiedAt time.Time
}

// DirectoryGroup is a group as a provider's directory told of it.
type DirectoryGroup struct {
	ID         string // ours, "dg_…"
	Provider   string
	Name       string // the one that policies speak of
	ExternalID string
	Members    []string // ids of users
	CreatedAt  time.Time
	ModifiedAt time.Time
}

// SCIMToken is what a provider's directory calls with, as stored: without the
// secret itself.
type SCIMToken struct {
	Name     string `json:"name"`
	Hash     string `json:"-"` // SHA-256 of the secret, hex
	Provider string `json:"provider"`
	// Subjects says what the provider calls a person when they sign in:
	// "external-id", or "" when the directory doesn't know.
	Subjects  string    `json:"subjects,omitempty"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Revoked   bool      `json:"revoked"`
}
