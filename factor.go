package postern

import "time"

// Factor is a local user's second factor, as stored.
type Factor struct {
	Account string
	Kind    string // "totp"
	Sealed  string // its secret, sealed by the vault
	// Confirmed says that its holder has shown a code of it. Until then it
	// neither opens nor keeps out.
	Confirmed bool
	// LastStep is the time step of the last code that was taken: none counts twice.
	LastStep  int64
	CreatedAt time.Time
}

// BreakGlassLogin is a login that one person began, and that another has to
// confirm.
type BreakGlassLogin struct {
	ID          string    `json:"id"` // "bg_…"
	Account     string    `json:"account"`
	Hash        string    `json:"-"` // SHA-256 of the secret with which the first person takes it up
	Source      string    `json:"source"`
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	ConfirmedBy string    `json:"confirmed_by,omitempty"`
	UsedAt      time.Time `json:"used_at,omitzero"`
}
