// Package postern is the vocabulary of the gateway: who asks ([Identity]), for
// what ([Resource]), to do what ([Command]), what was decided ([Decision]) and
// what happened ([Event]). Every other package speaks in these words; this one
// imports nothing but the standard library and does no I/O.
//
// The words are those of docs/ARCHITECTURE.md; one word per thing.
package postern

import (
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// IdentityKind says what sort of being acts.
type IdentityKind string

// The kinds of identity.
const (
	User     IdentityKind = "user"     // a person
	Service  IdentityKind = "service"  // a service account
	Workload IdentityKind = "workload" // a CI job, a pod, an AI agent
)

// Identity is who acts. It is a value: what it says was verified when it was
// made, and holds until Expires.
type Identity struct {
	Name    string       `json:"name"`
	Kind    IdentityKind `json:"kind"`
	Subject string       `json:"subject,omitempty"` // the issuer's own id, stable across renames
	Email   string       `json:"email,omitempty"`
	Groups  []string     `json:"groups,omitempty"`
	Claims  Claims       `json:"claims,omitempty"`
	Actor   *Identity    `json:"actor,omitempty"` // who acts on this identity's behalf; rights are the intersection
	Login   string       `json:"login,omitempty"` // the login that it came of, and ends with; "": none
	Expires time.Time    `json:"expires,omitzero"`
	Scope   *Scope       `json:"scope,omitempty"` // what a delegation leaves of the rights; nil: all of them
}

// Claims are the verified claims of an identity, flattened: a nested claim's
// name is dotted, a list's value is its JSON.
type Claims map[string]string

// InGroup says whether the identity is a member of group.
func (id Identity) InGroup(group string) bool { return slices.Contains(id.Groups, group) }

// ActorName is the actor's name, or "" when the identity acts for itself.
func (id Identity) ActorName() string {
	if id.Actor == nil {
		return ""
	}
	return id.Actor.Name
}

// Principal names identities in a policy: "user:NAME", "service:NAME",
// "workload:GLOB", "group:NAME" or "everyone". Any other text matches nobody.
type Principal string

// Valid says whether the principal is spelled as one.
func (p Principal) Valid() bool {
	if p == "everyone" {
		return true
	}
	kind, name, ok := strings.Cut(string(p), ":")
	if !ok || name == "" || strings.TrimSpace(name) != name { // "group: dba" would silently be nobody
		return false
	}
	switch kind {
	case "user", "service", "group":
		return true
	case "workload":
		_, err := path.Match(name, "")
		return err == nil
	}
	return false
}

// Matches says whether the principal names id. It looks at id alone, never at
// its actor: who needs both asks twice.
func (p Principal) Matches(id Identity) bool {
	if p == "everyone" {
		return true
	}
	kind, name, ok := strings.Cut(string(p), ":")
	if !ok || name == "" {
		return false
	}
	switch kind {
	case "group":
		return id.InGroup(name)
	case "workload":
		matched, err := path.Match(name, id.Name)
		return id.Kind == Workload && err == nil && matched
	default:
		return string(id.Kind) == kind && id.Name == name
	}
}

// MatchesAny says whether one of ps names id.
func MatchesAny(ps []Principal, id Identity) bool {
	return slices.ContainsFunc(ps, func(p Principal) bool { return p.Matches(id) })
}

// Credential is what a client presented at the door. Nothing in it is verified
// but Proof and Source, which the connection itself has shown.
type Credential struct {
	User     string // the name the client gave
	Secret   Secret // the zero Secret: none was asked for, and Proof must do
	Proof    Proof
	Resource string // what it asked for
	Protocol string
	Source   netip.AddrPort
}

// Target is what an authenticated client asks to open.
type Target struct {
	Resource string
	Database string // "": the resource's own
	Client   string // the program's own name for itself; unverified
	// CountsRows says that the protocol counts by Session.Rows what the client
	// is sent. Without, who may have so many rows an hour isn't let in.
	CountsRows bool
}

// Admission is a verified credential.
type Admission struct {
	Identity Identity
	Token    string    // the id of the session token, certificate or key; never the token
	Resource string    // the only resource that it opens here
	Until    time.Time // when it stops opening sessions
}

// Resource is a named target. Its credentials never leave the gateway.
type Resource struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"` // the protocol's name
	Labels      map[string]string `json:"labels,omitempty"`
	Addresses   []string          `json:"addresses"` // host:port, tried in order
	Database    string            `json:"database,omitempty"`
	TLS         TLS               `json:"tls"`
	Credentials CredentialRefs    `json:"-"`
	Via         string            `json:"via,omitempty"` // a relay; "": dialled directly
	RecordRows  int               `json:"record_rows"`   // masked rows kept per result in the recording
	Options     map[string]string `json:"options,omitempty"`
}

// TLS says how the gateway speaks TLS to a resource.
type TLS struct {
	Mode       string `json:"mode"` // disable | require | verify-full ("" is verify-full)
	CAFile     string `json:"ca_file,omitempty"`
	ServerName string `json:"server_name,omitempty"`
}

// CredentialRefs say where a resource's credentials are kept.
type CredentialRefs struct {
	Username    string
	Password    SecretRef
	PrivateKey  SecretRef // PEM
	Certificate SecretRef // PEM
}

// SecretRef says where one secret is kept. At most one field is set; the zero
// SecretRef is no secret.
type SecretRef struct {
	Env    string // an environment variable of the gateway
	File   string // a file's path
	Sealed string // ciphertext sealed by the gateway's vault
	Vault  string // path#field in an external vault
}

// IsZero says whether ref points nowhere.
func (ref SecretRef) IsZero() bool { return ref == SecretRef{} }

// Login is what the gateway presents to an upstream, resolved from CredentialRefs.
type Login struct {
	Username    string
	Password    Secret
	PrivateKey  Secret
	Certificate Secret
}

// Access is the worst that a command can do.
type Access uint8

// Access levels. The zero value is Unknown, and is treated as worse than Admin.
const (
	Unknown Access = iota
	Control        // steers the session alone: BEGIN, a harmless SET, DEALLOCATE
	Read
	Write
	Admin // changes structure, rights or the server itself
)

var accessNames = [...]string{"unknown", "control", "read", "write", "admin"}

// String is the level's name as policies spell it.
func (a Access) String() string {
	if int(a) < len(accessNames) {
		return accessNames[a]
	}
	return accessNames[Unknown]
}

// MarshalText implements [encoding.TextMarshaler].
func (a Access) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. A word that is no level
// is Unknown.
func (a *Access) UnmarshalText(text []byte) error {
	*a = Access(max(slices.Index(accessNames[:], string(text)), 0))
	return nil
}

// Object is one thing that a command touches.
type Object struct {
	Kind  string `json:"kind"` // "table", "column", "function", "file", "database", "program" …
	Name  string `json:"name"` // qualified: "public.users"
	Write bool   `json:"write,omitempty"`
}

// VerbUnknown is the verb of a command that could not be understood.
const VerbUnknown = "unknown"

// Command is one thing that a client asks a resource to do: the unit of decision.
type Command struct {
	Protocol string   `json:"protocol"`
	Verb     string   `json:"verb"`              // the protocol's own word: "select", "rm", "GET"
	Verbs    []string `json:"verbs"`             // every effect, worst first: WITH d AS (DELETE …) SELECT is ["delete", "select"]
	Access   Access   `json:"access"`            // the worst it can do
	Objects  []Object `json:"objects,omitempty"` // what it touches
	Attrs    []Attr   `json:"attrs,omitempty"`   // facts that the protocol declared
	Text     string   `json:"text"`              // as the client sent it: exactly this is approved and forwarded
	Params   []Param  `json:"params,omitempty"`
	State    string   `json:"state,omitempty"`   // protocol state that gives Text its meaning: database, search_path
	Problem  string   `json:"problem,omitempty"` // why it could not be understood, for the person; "" when it was
}

// VerbsOf is all that commands do, once each, in their order: of each the worst first.
// The list may be one of theirs: nobody changes it.
func VerbsOf(cmds []Command) []string {
	if len(cmds) == 1 && len(cmds[0].Verbs) > 0 {
		return cmds[0].Verbs
	}
	var all []string
	seen := map[string]bool{}
	for i := range cmds {
		verbs := cmds[i].Verbs
		if len(verbs) == 0 {
			verbs = []string{cmds[i].Verb}
		}
		for _, v := range verbs {
			if !seen[v] {
				seen[v] = true
				all = append(all, v)
			}
		}
	}
	return all
}

// Attr looks up a fact by name. A fact that was not stated is the zero Attr.
func (c *Command) Attr(name string) Attr {
	for _, a := range c.Attrs {
		if a.Name == name {
			return a
		}
	}
	return Attr{}
}

// Like says whether two commands are the same but for their text and their
// parameters: what an analysis found of one it found of the other. Their lists
// have to be [Same]; equal ones of another analysis don't count.
func (c *Command) Like(other *Command) bool {
	return Same(c.Attrs, other.Attrs) && Same(c.Objects, other.Objects) && Same(c.Verbs, other.Verbs) && c.Access == other.Access &&
		c.Verb == other.Verb && c.Protocol == other.Protocol && c.State == other.State && c.Problem == other.Problem
}

// Same says whether two lists are one list in memory, or nothing both. Whoever goes
// by that keeps one of them, and relies on nobody changing it.
func Same[T any](a, b []T) bool {
	return len(a) == len(b) && (a == nil) == (b == nil) && (len(a) == 0 || &a[0] == &b[0])
}

// Param is one bound parameter of a command.
type Param struct {
	Null   bool   `json:"null,omitempty"`
	Binary bool   `json:"binary,omitempty"` // the protocol's binary format; Value is then its bytes
	Type   uint32 `json:"type,omitempty"`   // the protocol's type number; 0: left to the server
	Value  []byte `json:"value"`
}

// AttrKind is the type of an attribute, as CEL sees it.
type AttrKind uint8

// The kinds of attribute.
const (
	AttrBool AttrKind = iota + 1
	AttrInt
	AttrString
	AttrStrings
)

// AttrType declares a fact that a protocol states about its commands. Policies
// are type-checked against these when they load.
type AttrType struct {
	Name string
	Kind AttrKind
	Doc  string // one sentence for whoever writes a rule
}

// Attr is one such fact. Kind says which value counts.
type Attr struct {
	Name    string   `json:"name"`
	Kind    AttrKind `json:"kind"`
	Bool    bool     `json:"bool,omitempty"`
	Int     int64    `json:"int,omitempty"`
	String  string   `json:"string,omitempty"`
	Strings []string `json:"strings,omitempty"`
}

// BoolAttr states a yes or no.
func BoolAttr(name string, v bool) Attr { return Attr{Name: name, Kind: AttrBool, Bool: v} }

// IntAttr states a number.
func IntAttr(name string, v int64) Attr { return Attr{Name: name, Kind: AttrInt, Int: v} }

// StringAttr states a word.
func StringAttr(name, v string) Attr { return Attr{Name: name, Kind: AttrString, String: v} }

// StringsAttr states a list of words.
func StringsAttr(name string, v []string) Attr {
	return Attr{Name: name, Kind: AttrStrings, Strings: v}
}

// Verdict is what was decided over a command. The zero value denies.
type Verdict uint8

// The verdicts.
const (
	Deny Verdict = iota
	NeedsReview
	Allow
)

// String is the verdict as contract and recordings spell it.
func (v Verdict) String() string {
	switch v {
	case Allow:
		return "allow"
	case NeedsReview:
		return "review"
	default:
		return "deny"
	}
}

// MarshalText implements [encoding.TextMarshaler].
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. A word that is no
// verdict denies.
func (v *Verdict) UnmarshalText(text []byte) error {
	switch string(text) {
	case "allow":
		*v = Allow
	case "review":
		*v = NeedsReview
	default:
		*v = Deny
	}
	return nil
}

// Decision is the outcome for a command, or for the commands of one message.
// The zero Decision denies.
type Decision struct {
	Verdict Verdict      `json:"decision"`
	Rule    string       `json:"rule,omitempty"`    // the rule or access that decided
	Reason  string       `json:"reason,omitempty"`  // for the person: why, and what to do next
	Review  *ReviewTerms `json:"review,omitempty"`  // with NeedsReview
	Masks   []Mask       `json:"masks,omitempty"`   // masks that bind this identity on this resource
	Limit   *RowLimit    `json:"limit,omitempty"`   // how many rows it may change
	Policy  string       `json:"policy,omitempty"`  // the policy set's version
	N       int64        `json:"n,omitempty"`       // the first decided command's number in its session
	Request string       `json:"request,omitempty"` // the access to be requested that would allow it
	Shadow  []Shadow     `json:"shadow,omitempty"`  // what rules in shadow mode would have done

	Transfer *TransferLimit `json:"transfer,omitempty"` // how much may pass; nil: any amount
}

// Shadow is what a rule in shadow mode would have made of a decision.
type Shadow struct {
	Rule    string  `json:"rule"`
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"`
}

// ReviewTerms say who may approve a command, and for how long it waits.
type ReviewTerms struct {
	Approvers []Principal   `json:"approvers"`
	Approvals int           `json:"approvals"`
	Timeout   time.Duration `json:"timeout"`
	Evidence  string        `json:"evidence,omitempty"` // what approvers are shown besides; "": [EvidencePlan]
	// Commit is set where the command is run first, and held until people have
	// decided, if it can be undone; nil: it runs when they have.
	Commit *CommitTerms `json:"commit,omitempty"`
}

// CommitTerms bound a command that was run and is not yet committed.
type CommitTerms struct {
	Hold   time.Duration `json:"hold"`   // how long it is held, and so what it has locked
	Rows   int64         `json:"rows"`   // how many rows it may change
	Sample int           `json:"sample"` // how many of them approvers are shown
}

// RowLimit is how many rows a command may change. One that changes more is undone.
type RowLimit struct {
	Rows   int64  `json:"rows"`
	Rule   string `json:"rule"`
	Reason string `json:"reason,omitempty"` // for the person: what to do instead
}

// TransferLimit is how much an access lets pass in an hour. 0 is any amount.
type TransferLimit struct {
	Access string `json:"access"`
	Files  int64  `json:"files,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
}

// Mask says which values must not reach the client, and what they see instead.
type Mask struct {
	Name    string    `json:"name"`
	Columns []string  `json:"columns,omitempty"` // "schema.table.column", each part a glob
	Detect  []string  `json:"detect,omitempty"`  // by content: email, credit_card, iban, ssn, phone, ip, secret
	With    MaskStyle `json:"with"`
	Bucket  Bucket    `json:"bucket,omitzero"` // with MaskBucket: how large
}

// Bucket is how large the buckets of a mask are. The zero Bucket shows a number's
// first digit, and a date's year.
type Bucket struct {
	Number int64  `json:"number,omitempty"` // the width; 0: all digits but the first become zero
	Date   string `json:"date,omitempty"`   // year, quarter, month, week, day or hour; "" is year
}

// MaskStyle is what stands in place of a masked value.
type MaskStyle string

// The mask styles.
const (
	MaskRedact  MaskStyle = "redact"  // the fixed text [redacted]; NULL where the type has no text
	MaskPartial MaskStyle = "partial" // enough to recognise, too little to use
	MaskHash    MaskStyle = "hash"    // a stable keyed hash: equal values stay equal
	MaskNull    MaskStyle = "null"
	MaskBucket  MaskStyle = "bucket" // where the number's or the date's neighbourhood begins
)

// ColumnName is a column of a stored table, by its full name.
type ColumnName struct{ Schema, Table, Column string }

// String is the name as masks and messages spell it: schema.table.column.
func (c ColumnName) String() string { return c.Schema + "." + c.Table + "." + c.Column }

// ValueType is what masking needs to know of a value's type.
type ValueType uint8

// The value types. The zero value, opaque, can only be replaced by NULL.
const (
	OpaqueValue ValueType = iota
	TextValue
	IntValue
	FloatValue
	NumericValue
	BoolValue
	DateValue
	TimeValue // a timestamp, with or without zone
	BytesValue
	JSONValue
	UUIDValue
	ArrayValue // an array of any of these
)

// Column describes one column of a result, as masking sees it.
type Column struct {
	Name string
	Type ValueType
	// Elem is the element's type when Type is ArrayValue.
	Elem ValueType
	// Width is the size in bytes of a fixed-width value in binary form; 0: variable.
	Width int
	// Binary says that values come in the protocol's binary format.
	Binary bool
	// Sources are the stored columns that the value is computed from.
	Sources []ColumnName
	// Proven says that Sources are complete: whatever else the value is, it
	// depends on no other stored column. Unproven columns are masked wherever
	// a column mask binds.
	Proven bool
	// Plain says that the value is the stored column itself, not an expression over it.
	Plain bool
}
