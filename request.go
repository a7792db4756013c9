package postern

import (
	"slices"
	"time"
)

// Being is one identity of a chain: who asks, or who acts for them. It tells
// apart what a name alone doesn't.
type Being struct {
	Kind    IdentityKind `json:"kind"`
	Name    string       `json:"name"`
	Subject string       `json:"subject,omitempty"`
}

// Beings are the identity and whoever acts for it, in that order.
func (id Identity) Beings() []Being {
	var all []Being
	for being := &id; being != nil; being = being.Actor {
		all = append(all, Being{Kind: being.Kind, Name: being.Name, Subject: being.Subject})
	}
	return all
}

// AccessRequest is what a review over a request is about: access that its
// identity doesn't have now. Approved, it holds the grant.
type AccessRequest struct {
	Access  string    `json:"access"`            // the access that is asked for
	Terms   string    `json:"terms"`             // that access's version; another is another access
	By      []Being   `json:"by"`                // who asks, and who acts for them: nobody else can use the grant
	Seconds int64     `json:"seconds"`           // how long, from the approval on
	Verbs   []string  `json:"verbs,omitempty"`   // asked for; empty: all that the access allows
	Reason  string    `json:"reason"`            // of who asks
	Ticket  string    `json:"ticket,omitempty"`  // where the work is planned
	Extends string    `json:"extends,omitempty"` // the request whose grant this prolongs
	After   time.Time `json:"after,omitzero"`    // that grant's end
	Latest  time.Time `json:"latest,omitzero"`   // the end that no approval goes beyond
	Max     int64     `json:"max"`               // seconds that a grant lasts at most, with all that prolongs it
	// BreakGlass says that it is access in an emergency, looked at afterwards.
	BreakGlass bool `json:"break_glass,omitempty"`
	// Reviewers look at it afterwards, each of another name than who asked.
	Reviewers []Principal `json:"reviewers,omitempty"`
	Grant     *Grant      `json:"grant,omitempty"`    // once it is approved
	Findings  *Vote       `json:"findings,omitempty"` // of who looked at it afterwards
	// Offline is the offline grant that this came of.
	Offline string `json:"offline,omitempty"`
	Login   string `json:"login,omitempty"` // by which its holder entered; it ends with it
	// IssuedBy are who issued that offline grant.
	IssuedBy []Being `json:"issued_by,omitempty"`
}

// Grant is access that was requested and approved. It ends by itself.
type Grant struct {
	Request   string    `json:"request"` // the id of the request, and so of the grant
	Access    string    `json:"access"`
	Terms     string    `json:"terms"`
	Resource  string    `json:"resource"`
	By        []Being   `json:"by"`
	Verbs     []string  `json:"verbs,omitempty"` // empty: all that the access allows
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	RevokedBy string    `json:"revoked_by,omitempty"`
}

// Holds says whether the grant is in force at a moment, for exactly these
// beings, on a resource.
func (g *Grant) Holds(now time.Time, resource string, by []Being) bool {
	return g.RevokedAt.IsZero() && !now.Before(g.From) && now.Before(g.Until) &&
		g.Resource == resource && len(by) > 0 && slices.Equal(g.By, by)
}

// Ballot is what an approver says. With a request, an approval may be for less
// than was asked.
type Ballot struct {
	Approve bool
	Reason  string
	Seconds int64    // 0: as long as was asked for
	Verbs   []string // empty: those that were asked for
}

// ShadowCount is how often a rule in shadow mode would have done something.
type ShadowCount struct {
	Rule     string       `json:"rule"`
	Verdict  Verdict      `json:"verdict"` // what it would have come to
	Resource string       `json:"resource"`
	Identity string       `json:"identity"`
	Kind     IdentityKind `json:"kind"`
	Verb     string       `json:"verb"`
	Commands int64        `json:"commands"`
	FirstAt  time.Time    `json:"first_at"`
	LastAt   time.Time    `json:"last_at"`
	Session  string       `json:"session"` // the last one, to look at
	N        int64        `json:"n"`       // the command's number there
}

// AccessUse is how an access was used on a resource.
type AccessUse struct {
	Access   string    `json:"access"`
	Resource string    `json:"resource"`
	Sessions int64     `json:"sessions"`
	LastAt   time.Time `json:"last_at,omitzero"`
}

// Notification is word of a step of a review, on its way to one channel.
type Notification struct {
	ID        int64     `json:"id"`
	Channel   string    `json:"channel"`
	Review    string    `json:"review"`
	Step      string    `json:"step"`
	State     string    `json:"state"` // queued, sent or dead
	Attempts  int       `json:"attempts"`
	NextAt    time.Time `json:"next_at,omitzero"` // the next attempt, of a queued one
	Problem   string    `json:"problem,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	Body      []byte    `json:"-"` // the message
}

// The states of a notification.
const (
	NotificationQueued = "queued"
	NotificationSent   = "sent"
	NotificationDead   = "dead" // given up
)

// Evidence is what is known of a command beyond its text, for whoever decides
// over it. It holds no row, but what Trial has of them. What couldn't be had is in
// Missing, with why.
type Evidence struct {
	Formatted string     `json:"formatted,omitempty"` // the text, laid out; not what is approved
	Plan      []PlanStep `json:"plan,omitempty"`      // the server's estimate, the outermost step first
	Rows      *int64     `json:"rows,omitempty"`      // that an UPDATE or DELETE would touch, counted
	Effects   []string   `json:"effects,omitempty"`   // triggers that fire, foreign keys that cascade
	Recent    []Recent   `json:"recent,omitempty"`    // what its session asked for before, latest last
	Missing   []string   `json:"missing,omitempty"`   // "no count, because …"
	Trial     *Trial     `json:"trial,omitempty"`     // what it did, of one that was run and is held
}

// Trial is what a command did that was run and is not yet committed.
type Trial struct {
	Tag     string        `json:"tag"`               // the server's own word for it: "UPDATE 3"
	Rows    int64         `json:"rows"`              // that the command itself changed, by the server's count
	Changes []TableChange `json:"changes,omitempty"` // of all tables, triggers and cascades included
	// Within says that it is part of the client's own transaction: approved, it is
	// the client's to commit.
	Within bool    `json:"within,omitempty"`
	Sample *Sample `json:"sample,omitempty"`
	// Sealed is the sample as it is kept, until the review is decided.
	Sealed string `json:"sealed,omitempty"`
	// Missing is what couldn't be had, with why.
	Missing []string `json:"missing,omitempty"`
}

// SealSample is the purpose that samples are sealed for.
const SealSample = "review sample"

// TableChange is how many rows of one table were changed.
type TableChange struct {
	Table    string `json:"table"`
	Inserted int64  `json:"inserted,omitempty"`
	Updated  int64  `json:"updated,omitempty"`
	Deleted  int64  `json:"deleted,omitempty"`
}

// Sample is some of the rows that a command changed. Its values are masked as they
// are for somebody whom every mask binds.
type Sample struct {
	Table   string      `json:"table"`
	Columns []string    `json:"columns"`
	Rows    []SampleRow `json:"rows"`
}

// SampleRow is one row before and after. A list that is null: there was no such row,
// or it can't be told. A value that is null is the database's NULL.
type SampleRow struct {
	Before  []*string `json:"before,omitempty"`
	After   []*string `json:"after,omitempty"`
	Changed []int     `json:"changed,omitempty"` // the numbers, from 0, of columns that differ, masked or not
}

// PlanStep is one step of a server's plan.
type PlanStep struct {
	Depth int     `json:"depth"`
	Does  string  `json:"does"`         // "Seq Scan"
	On    string  `json:"on,omitempty"` // the table or index
	Rows  float64 `json:"rows"`         // estimated
	Cost  float64 `json:"cost"`         // estimated, in the server's own unit
}

// Recent is a command that a session asked for earlier.
type Recent struct {
	N        int64   `json:"n"`
	Text     string  `json:"text"`
	Decision Verdict `json:"decision"`
}

// What a review shows its approvers.
const (
	EvidenceNone  = "none"
	EvidencePlan  = "plan"  // the server's estimate, triggers and cascades
	EvidenceCount = "count" // and how many rows would be touched, exactly
)
