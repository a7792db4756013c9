package postern

import "time"

// Scope is what a delegation leaves of the rights of those who act under it: it
// only ever takes away. The zero Scope opens nothing.
type Scope struct {
	Delegation  string    `json:"delegation"`              // the id of the consent: "dg_…"
	Resources   []string  `json:"resources"`               // by name; no others
	Verbs       []string  `json:"verbs,omitempty"`         // as accesses spell them; none: any
	RowsPerHour int64     `json:"rows_per_hour,omitempty"` // over all sessions under it; 0: any number
	Until       time.Time `json:"until"`
}

// Delegation is the kind of a person's consent that an actor acts for them. It
// is stored like a token, and ends like one, with all that came of it.
const Delegation TokenKind = "delegation"
