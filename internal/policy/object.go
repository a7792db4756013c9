package policy

import (
	"fmt"
	"strings"
	"time"

	"postern"
)

// The kinds of object.
const (
	KindResource       = "Resource"
	KindAccess         = "Access"
	KindRule           = "Rule"
	KindMask           = "Mask"
	KindClassification = "Classification"
	KindServiceAccount = "ServiceAccount"
	KindRecordings     = "Recordings"
)

// Kinds lists the kinds of object in the order in which `postern get` shows them.
func Kinds() []string {
	return []string{KindResource, KindAccess, KindRule, KindMask, KindClassification, KindServiceAccount, KindRecordings}
}

// KindNamed is the kind that a person means, in whatever case they write it. The
// error names the kinds there are.
func KindNamed(text string) (string, error) {
	for _, kind := range Kinds() {
		if strings.EqualFold(kind, text) {
			return kind, nil
		}
	}
	return "", fmt.Errorf("%s is not a kind; %s", shown(text), oneOf(text, Kinds()))
}

// SourceAPI is the source of an object that was applied through the API.
const SourceAPI = "api"

// Object is one policy object. Exactly one of the spec pointers is set, the one
// that Kind names. An Object is not changed once it was parsed.
type Object struct {
	Kind   string
	Name   string
	Source string // the file it was read from, or [SourceAPI]
	Line   int    // of the document's first key in Source, from 1
	YAML   []byte // the document as it was written; [Object.Render] is the canonical form

	Resource       *postern.Resource
	Access         *Access
	Rule           *Rule
	Mask           *Mask
	Classification *Classification
	ServiceAccount *ServiceAccount
	Recordings     *Recordings

	lines map[string]int // the line of each key, by its path ("allow[0].verbs")
}

// Ref is the object's kind and name, as commands and messages spell it.
func (o Object) Ref() string { return o.Kind + " " + o.Name }

// Selector picks resources. All of its parts must hold; an absent part always
// does. The zero Selector picks every resource.
type Selector struct {
	Names  []string          // globs
	Labels map[string]string // values are globs
	Types  []string
}

// Access lets identities open resources, and says what they may do there.
type Access struct {
	To         []postern.Principal
	On         Selector
	Allow      []Clause // empty: anything that no rule denies
	Within     *Within  // nil: always, from everywhere
	MaxSession time.Duration
	Request    *RequestTerms // set: only just in time; never a standing right
	// Section narrows it, and to the resources of one protocol, SectionOf; nil: it
	// has none.
	Section   Section
	SectionOf string
}

// Clause allows verbs on objects.
type Clause struct {
	Verbs   []string // "*": any
	Objects []string // patterns; empty: any object
}

// RequestTerms say how access that is only just in time can be had.
type RequestTerms struct {
	Approvers []postern.Principal
	Approvals int
	Max       time.Duration // the longest grant, with all that prolongs it
	Timeout   time.Duration // how long a request waits for its approvers
	When      string        // CEL over the request; "": any
	Message   string        // for whoever When refuses
	// BreakGlass: for emergencies. Approvals may then be 0, and Reviewers look
	// at it afterwards.
	BreakGlass bool
	Reviewers  []postern.Principal
}

// Rule is a guardrail over commands. Exactly one of When and Use is set.
type Rule struct {
	On      Selector
	To      []postern.Principal // empty: everyone
	Except  []postern.Principal
	When    string // CEL
	Use     string // a shipped rule
	Then    postern.Verdict
	Message string
	Review  *postern.ReviewTerms // set with Then: review
	Shadow  bool                 // it is only counted, and never decides
	// MaxAffected is how many rows a command that it matches may change; 0: it
	// denies such a command outright.
	MaxAffected int64
}

// Mask says which values the identities must not see.
type Mask struct {
	On      Selector
	To      []postern.Principal // empty: everyone
	Except  []postern.Principal
	Columns []string
	// Labels stand for the columns that a Classification gives one of them.
	Labels []string
	Detect []string
	With   postern.MaskStyle
	Bucket postern.Bucket // with [postern.MaskBucket]
	// AllowPredicates lets masked columns stand in conditions.
	AllowPredicates bool
	// MaskOpaque masks results that can't be followed to their columns, where
	// otherwise the command is denied.
	MaskOpaque bool
}

// Classification says what the columns of resources hold, for masks that go by
// labels.
type Classification struct {
	On      Selector
	Columns map[string][]string // a column's pattern, as in Mask, and its labels
}

// ServiceAccount declares an identity that the gateway itself keeps. Its key is
// made by `postern service-account rotate`; it never stands in a file.
type ServiceAccount struct {
	Name     string // the object's
	Source   string // the object's
	Groups   []string
	Disabled bool
}
