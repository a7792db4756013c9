package postern

import (
	"errors"
	"net/netip"
	"time"
)

// ErrNotFound is what a store returns, wrapped, for a record that it doesn't hold.
var ErrNotFound = errors.New("not found")

// SessionInfo is what is known of one session: one client connection to one
// resource by one identity, from first byte to last.
type SessionInfo struct {
	ID           string       `json:"id"` // "ss_…"
	Identity     string       `json:"identity"`
	Kind         IdentityKind `json:"kind"`
	Actor        string       `json:"actor"`
	Resource     string       `json:"resource"`
	Protocol     string       `json:"protocol"`
	Database     string       `json:"database,omitempty"`
	Token        string       `json:"token,omitempty"`  // the session token's id
	Login        string       `json:"login,omitempty"`  // the login that the identity came of
	Access       string       `json:"access,omitempty"` // the access that opened it
	Grant        string       `json:"grant,omitempty"`  // the request by which it was had
	Source       string       `json:"source"`           // the client's address
	Client       string       `json:"client,omitempty"` // the program's own name for itself
	StartedAt    time.Time    `json:"started_at"`
	EndedAt      time.Time    `json:"ended_at,omitzero"`
	Commands     int64        `json:"commands"`
	Denied       int64        `json:"denied"`
	MaskedValues int64        `json:"masked_values"`
	EndReason    string       `json:"end_reason,omitempty"`
	Digest       string       `json:"digest,omitempty"` // of the finished recording
}

// EventKind names what an Event reports.
type EventKind string

// The kinds of event in a recording, in the order in which a session meets them.
const (
	EventOpen     EventKind = "open"
	EventCommand  EventKind = "command"  // a client asked for it; written before it is forwarded
	EventDecision EventKind = "decision" // what was decided over command N
	EventReview   EventKind = "review"   // a review over command N was opened or ended
	EventResult   EventKind = "result"   // how command N ended: tag, row count, masked rows up to the limit
	EventError    EventKind = "error"    // the upstream's or the gateway's error over command N
	EventNotice   EventKind = "notice"   // an asynchronous message to the client
	EventOutput   EventKind = "output"   // a piece of what command N printed, as the client saw it
	EventInput    EventKind = "input"    // a piece of what was typed into command N
	EventResize   EventKind = "resize"   // the terminal of command N has another size: "80x24"
	EventWatch    EventKind = "watch"    // somebody began or stopped to follow the session while it lived
	EventClose    EventKind = "close"
)

// The states of an event of kind watch.
const (
	WatchBegan = "began"
	WatchEnded = "ended"
)

// Event is one thing that happened in a session. Fields that a kind has no use
// for are empty. Rows are as the client saw them: masked.
type Event struct {
	Time     time.Time    `json:"t"`
	Kind     EventKind    `json:"kind"`
	N        int64        `json:"n,omitempty"` // the command's number in the session, from 1
	Command  *Command     `json:"command,omitempty"`
	Decision *Decision    `json:"decision,omitempty"`
	Review   string       `json:"review,omitempty"` // the review's id
	State    string       `json:"state,omitempty"`  // the review's state, or of a trial, [TrialHeld] …; of watch, [WatchBegan] or [WatchEnded]
	Tag      string       `json:"tag,omitempty"`    // the upstream's own word for how it ended: "SELECT 5"
	Columns  []string     `json:"columns,omitempty"`
	Rows     [][]*string  `json:"rows,omitempty"` // nil: SQL NULL
	RowCount int64        `json:"row_count,omitempty"`
	Bytes    int64        `json:"bytes,omitempty"`
	Masked   int64        `json:"masked,omitempty"` // values masked in the result
	Code     string       `json:"code,omitempty"`   // SQLSTATE, exit status …
	Text     string       `json:"text,omitempty"`   // message; of output and input, the piece itself; of watch, who
	Stream   string       `json:"stream,omitempty"` // of output: "stderr", or "" for the other one; "terminal" for both
	Digest   string       `json:"digest,omitempty"` // of the file or stream that a result is about: "sha256:…"
	Session  *SessionInfo `json:"session,omitempty"`
}

// AuditEntry is one line of the audit log: a decision or an administrative act.
type AuditEntry struct {
	Time     time.Time    `json:"time"`
	Action   string       `json:"action"` // "login", "session.open", "command.deny", "review.approve", "object.apply" …
	Identity string       `json:"identity,omitempty"`
	Kind     IdentityKind `json:"kind,omitempty"` // of Identity: a user and a service may have one name
	Actor    string       `json:"actor,omitempty"`
	Resource string       `json:"resource,omitempty"`
	Session  string       `json:"session,omitempty"`
	N        int64        `json:"n,omitempty"` // the command's number in its session
	Verb     string       `json:"verb,omitempty"`
	Objects  []string     `json:"objects,omitempty"`
	Outcome  string       `json:"outcome"` // "allow", "deny", "review", "ok", "refused"
	Rule     string       `json:"rule,omitempty"`
	Reason   string       `json:"reason,omitempty"`
	Review   string       `json:"review,omitempty"`
	Target   string       `json:"target,omitempty"` // what an administrative act was done to: "service:ci"
	Source   string       `json:"source,omitempty"` // where from
	Digest   string       `json:"digest,omitempty"` // of a recording, or of what was approved
	Policy   string       `json:"policy,omitempty"`
	// LatencyUS, of a session that the gateway ended, is how long it took from what
	// was accepted (an event, a call) until its client was cut off and what ran
	// upstream had stopped, in microseconds.
	LatencyUS int64 `json:"latency_us,omitempty"`
}

// ReviewState is where a review stands.
type ReviewState string

// The states of a review. Pending moves to any other but spent; only approved
// moves on, to spent or void, once.
const (
	ReviewPending   ReviewState = "pending"
	ReviewApproved  ReviewState = "approved"
	ReviewDenied    ReviewState = "denied"
	ReviewTimedOut  ReviewState = "timed_out"
	ReviewWithdrawn ReviewState = "withdrawn" // the client went away
	ReviewSpent     ReviewState = "spent"     // approved, and run once
	ReviewVoid      ReviewState = "void"      // approved, but policy or rights changed before it ran
)

// What else the event of a review may say, of a command that is run before it is
// approved.
const (
	TrialBegun      = "trial"       // it is about to be run
	TrialHeld       = "held"        // it has run, and is not committed
	TrialCommitted  = "committed"   // it is committed
	TrialReleased   = "released"    // it is left to its client's own transaction
	TrialRolledBack = "rolled_back" // it is undone
	TrialLost       = "lost"        // the connection was lost in its COMMIT: only the database knows
)

// Review is a human decision over commands, bound to exactly what was shown.
type Review struct {
	ID        string       `json:"id"` // "rv_…"; of a request "rq_…"
	State     ReviewState  `json:"state"`
	Session   string       `json:"session"`
	N         int64        `json:"n"` // the first command's number in the session
	Identity  string       `json:"identity"`
	Kind      IdentityKind `json:"kind"`
	Actor     string       `json:"actor"`
	Resource  string       `json:"resource"`
	Command   string       `json:"command"` // the whole text
	Commands  []Command    `json:"commands"`
	Rule      string       `json:"rule"`
	Message   string       `json:"message,omitempty"` // the rule's own
	Approvers []Principal  `json:"approvers"`
	Approvals int          `json:"approvals"`
	Digest    string       `json:"digest"` // over text, parameters, resource, state, identity, actor, policy and id
	Policy    string       `json:"policy"`
	CreatedAt time.Time    `json:"created_at"`
	ExpiresAt time.Time    `json:"expires_at"`
	DecidedAt time.Time    `json:"decided_at,omitzero"`
	Votes     []Vote       `json:"votes,omitempty"`
	// Request is set when access is asked for; the review is then of no session
	// and no command. Approved stands for a grant that holds, spent for one that
	// ended by itself, void for one that was taken back.
	Request *AccessRequest `json:"request,omitempty"`
	// Evidence is about a command. It is no part of what is approved.
	Evidence *Evidence `json:"evidence,omitempty"`
}

// Vote is one person's answer.
type Vote struct {
	By      string       `json:"by"`
	Kind    IdentityKind `json:"kind,omitempty"`
	Subject string       `json:"subject,omitempty"` // of the identity By, as its issuer knows it
	Actor   string       `json:"actor,omitempty"`   // who cast it on By's behalf
	Approve bool         `json:"approve"`
	Reason  string       `json:"reason,omitempty"`
	Seconds int64        `json:"seconds,omitempty"` // of a request: for no longer than this
	Verbs   []string     `json:"verbs,omitempty"`   // of a request: for no more than these
	At      time.Time    `json:"at"`
}

// SessionFilter picks sessions, newest first. Zero fields don't filter.
type SessionFilter struct {
	Identity string
	Resource string
	Live     *bool
	Before   string // a session's id: only sessions that started before it
	Limit    int    // 0: the store's own limit
}

// MaskedNotice is the SQLSTATE of the notice in which the gateway says which
// values of a result it masked, to clients that asked: a warning's class, and
// a subclass from the range that the standard leaves to implementations.
const MaskedNotice = "01M01"

// SessionCount counts the sessions with one resource that began in one slot of
// time.
type SessionCount struct {
	At                                 time.Time // when the slot begins
	Resource                           string
	Sessions, Commands, Denied, Masked int64
}

// ReviewFilter picks reviews, newest first. Zero fields don't filter.
type ReviewFilter struct {
	State    ReviewState
	Identity string
	Of       string // "request" or "command": only reviews of that
	Before   string // a review's id: only reviews that were made before it
	Limit    int    // 0: the store's own limit
}

// ObjectKey names one object of the configuration.
type ObjectKey struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// StoredObject is an object that was applied through the API, as it is kept.
type StoredObject struct {
	ObjectKey
	YAML      string    `json:"yaml"` // the object's document, as it was applied
	UpdatedBy string    `json:"updated_by"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Account is an identity that the gateway knows: a service account, a local
// user, or a person who comes from an identity provider. Secrets are stored as
// hashes only. Who has an account stands and falls with it.
type Account struct {
	Name string       `json:"name"`
	Kind IdentityKind `json:"kind"`
	// Subject is the provider's name, a colon and the provider's own id of the
	// person, stable across renames; "" for local users and service accounts.
	// With nothing after the colon the account waits for its person: it takes
	// the subject of the first who signs in at that provider under its name.
	Subject    string   `json:"subject,omitempty"`
	Email      string   `json:"email,omitempty"`
	Groups     []string `json:"groups"`
	SecretHash string   `json:"-"` // SHA-256 of a service account's key, argon2id of a user's password
	// BreakGlass is for emergencies: a login takes a second person, and is loud.
	BreakGlass bool      `json:"break_glass,omitempty"`
	Disabled   bool      `json:"disabled"`
	Source     string    `json:"source"` // "api", the file it is declared in, "provider NAME" or "directory NAME"
	CreatedAt  time.Time `json:"created_at"`
	RotatedAt  time.Time `json:"rotated_at,omitzero"`
	LoginAt    time.Time `json:"login_at,omitzero"` // of the latest sign-in through a provider
}

// TokenKind says what a token is good for.
type TokenKind string

// The kinds of token.
const (
	SessionToken TokenKind = "session" // enters a native listener, for one resource
	LoginToken   TokenKind = "login"   // calls the API as its identity
	WebToken     TokenKind = "web"     // the cookie of a browser: calls the API from the gateway's own pages
	// Certificate stands for the X.509 and SSH certificates that the gateway
	// issued for one key: with either, the key's holder enters a native listener.
	Certificate TokenKind = "certificate"
	// SSHKey is a public key that its owner has registered.
	SSHKey TokenKind = "ssh-key"
)

// Token is what lets its holder in for a while: a secret that the gateway
// minted, or a key that it certified. It is stored without the secret.
type Token struct {
	ID        string    `json:"id"`
	Kind      TokenKind `json:"kind"`
	Hash      string    `json:"-"` // SHA-256 of the secret, hex; of what has none, its own name
	Identity  Identity  `json:"identity"`
	Resource  string    `json:"resource,omitempty"` // the only one that it opens; of a session token always set
	MaxUses   int       `json:"max_uses,omitempty"` // 0: any number
	Uses      int       `json:"uses"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Revoked   bool      `json:"revoked,omitempty"`

	// Key is the [Fingerprint] of the key that must be shown with it; "": none.
	Key string `json:"key,omitempty"`
	// Networks are where it may be used from; none: anywhere.
	Networks []netip.Prefix `json:"networks,omitempty"`
	// Parent is the id of the login that it came of, and ends with; "": none.
	Parent string `json:"parent,omitempty"`
	// Verifier checks that a client knows the secret, by SCRAM-SHA-256 (RFC
	// 5803's form). Like Hash, it doesn't let anybody in.
	Verifier string `json:"-"`
	// Comment is what its owner calls it.
	Comment string `json:"comment,omitempty"`
	// Refused is how often it was refused to whoever presented it; RefusedAt
	// and RefusedWhy are of the last time.
	Refused    int       `json:"refused,omitempty"`
	RefusedAt  time.Time `json:"refused_at,omitzero"`
	RefusedWhy string    `json:"refused_why,omitempty"`
}

// LoginKind says where a login was made.
type LoginKind string

// The kinds of login.
const (
	WebLogin      LoginKind = "web"      // a browser's session
	CLILogin      LoginKind = "cli"      // the command line, through a browser on the same machine
	DeviceLogin   LoginKind = "device"   // the command line, through a browser elsewhere
	PasswordLogin LoginKind = "password" // the command line, with a local user's password
	OfflineLogin  LoginKind = "offline"  // by an offline grant's code; it reaches that grant's resources alone
)

// LoginRecord is one sign-in of a person, from its beginning to its end. Tokens that
// came of it, and what was opened with them, end with it.
type LoginRecord struct {
	ID         string    `json:"id"` // "lg_…"
	Kind       LoginKind `json:"kind"`
	Identity   Identity  `json:"identity"` // as it was verified last
	Grant      string    `json:"-"`        // the provider's grant behind it; "": none
	Client     string    `json:"client"`   // what the client says of itself; unverified
	Source     string    `json:"source"`   // the client's address
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	EndedAt    time.Time `json:"ended_at,omitzero"`
	EndReason  string    `json:"end_reason,omitempty"`
	Generation int       `json:"-"` // of the refresh token that is good now
}

// LoginGrant is what a provider gave when a person signed in: every login that
// came of it ends when the provider takes it back.
type LoginGrant struct {
	ID        string // "gr_…"
	Kind      IdentityKind
	Name      string // of the identity
	Subject   string // "PROVIDER:SUB"
	SID       string // the provider's id of its own session, for its back-channel logout
	Refresh   string // the provider's refresh token, sealed; "": it gave none
	CreatedAt time.Time
	CheckedAt time.Time // when the provider last stood by it
	EndedAt   time.Time
}

// DeviceState is where the login of a device stands.
type DeviceState string

// The states of a device's login.
const (
	DevicePending  DeviceState = "pending"
	DeviceApproved DeviceState = "approved"
	DeviceDenied   DeviceState = "denied"
	DeviceSpent    DeviceState = "spent"
)

// Device is a machine without a browser that waits to be signed in: RFC 8628.
type Device struct {
	Hash      string // SHA-256 of its device code
	UserCode  string // what its person types into a browser elsewhere
	State     DeviceState
	Client    string   // what it says of itself; unverified
	Source    string   // its address
	Identity  Identity // whose login it becomes, once approved; with the approving Login
	CreatedAt time.Time
	ExpiresAt time.Time
}

// LoginCode is a one-time code that a program exchanges for a login: RFC 6749,
// section 4.1, bound to the program by RFC 7636.
type LoginCode struct {
	Hash      string // SHA-256 of the code
	Challenge string // S256 of the program's verifier
	Redirect  string // where the code was sent
	Client    string
	Source    string
	Identity  Identity // with the approving Login
	ExpiresAt time.Time
	Login     string // what it was exchanged for; "": it wasn't yet
}
