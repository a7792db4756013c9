package audit

import (
	"encoding/json"
	"strings"

	"postern"
)

// OCSFVersion is the version of the Open Cybersecurity Schema Framework that
// OCSF speaks. docs/audit-log.md has the mapping.
const OCSFVersion = "1.3.0"

type ocsfEvent struct {
	ActivityID  int            `json:"activity_id"`
	ActionID    int            `json:"action_id"`
	API         *ocsfAPI       `json:"api,omitempty"`
	Actor       ocsfActor      `json:"actor"`
	CategoryUID int            `json:"category_uid"`
	ClassUID    int            `json:"class_uid"`
	Disposition int            `json:"disposition_id"`
	Metadata    ocsfMetadata   `json:"metadata"`
	Policy      *ocsfPolicy    `json:"policy,omitempty"`
	Resources   []ocsfResource `json:"resources,omitempty"`
	Service     *ocsfName      `json:"service,omitempty"`
	Session     *ocsfUID       `json:"session,omitempty"`
	SeverityID  int            `json:"severity_id"`
	Source      ocsfEndpoint   `json:"src_endpoint"`
	StatusID    int            `json:"status_id"`
	Status      string         `json:"status"`
	Detail      string         `json:"status_detail,omitempty"`
	Time        int64          `json:"time"`
	TypeUID     int            `json:"type_uid"`
	Unmapped    ocsfUnmapped   `json:"unmapped"`
	User        *ocsfUser      `json:"user,omitempty"`
}

type (
	ocsfAPI struct {
		Operation string `json:"operation"`
	}
	ocsfName struct {
		Name string `json:"name"`
	}
	ocsfUID struct {
		UID string `json:"uid"`
	}
	ocsfActor struct {
		User ocsfUser `json:"user"`
		// App is the identity that acts on the user's behalf.
		App string `json:"app_name,omitempty"`
	}
	ocsfUser struct {
		Name   string `json:"name"`
		TypeID int    `json:"type_id"`
		Type   string `json:"type,omitempty"`
	}
	ocsfEndpoint struct {
		IP   string `json:"ip,omitempty"`
		Name string `json:"name,omitempty"`
	}
	ocsfResource struct {
		Name string `json:"name"`
		Type string `json:"type"`
	}
	ocsfPolicy struct {
		Name    string `json:"name,omitempty"`
		Version string `json:"version,omitempty"`
	}
	ocsfProduct struct {
		Name   string `json:"name"`
		Vendor string `json:"vendor_name"`
	}
	ocsfMetadata struct {
		EventCode string      `json:"event_code"`
		LogName   string      `json:"log_name"`
		Product   ocsfProduct `json:"product"`
		Profiles  []string    `json:"profiles"`
		Sequence  int64       `json:"sequence"`
		UID       string      `json:"uid"`
		Version   string      `json:"version"`
	}
	// ocsfUnmapped is what the framework has no place for.
	ocsfUnmapped struct {
		N         int64  `json:"n,omitempty"`
		Review    string `json:"review,omitempty"`
		Target    string `json:"target,omitempty"`
		Digest    string `json:"digest,omitempty"`
		LatencyUS int64  `json:"latency_us,omitempty"`
	}
)

// The framework's numbers.
const (
	ocsfIdentity, ocsfAuthentication = 3, 3002
	ocsfApplication, ocsfAPIActivity = 6, 6003

	ocsfLogon, ocsfLogoff                        = 1, 2
	ocsfCreate, ocsfRead, ocsfUpdate, ocsfDelete = 1, 2, 3, 4
	ocsfOther                                    = 99
	ocsfSuccess, ocsfFailure                     = 1, 2
	ocsfAllowed, ocsfDenied                      = 1, 2
	ocsfBlocked                                  = 2
	ocsfInformational, ocsfMedium, ocsfHigh      = 1, 3, 4
	ocsfUserType, ocsfSystemType, ocsfUnknown    = 1, 3, 0
)

// OCSF is a record as an event of the Open Cybersecurity Schema Framework: a
// login and a session's begin and end are Authentication, all else is API Activity.
func OCSF(r *postern.AuditRecord) ([]byte, error) {
	user := ocsfUser{Name: r.Identity, Type: string(r.Kind)}
	switch r.Kind {
	case postern.User:
		user.TypeID = ocsfUserType
	case postern.Service, postern.Workload:
		user.TypeID = ocsfSystemType
	default:
		user.TypeID = ocsfUnknown
	}
	e := ocsfEvent{
		CategoryUID: ocsfApplication, ClassUID: ocsfAPIActivity, Actor: ocsfActor{User: user, App: r.Actor}, Time: r.Time.UnixMilli(),
		Metadata: ocsfMetadata{
			EventCode: r.Action, LogName: Origin, Product: ocsfProduct{"Postern", "Postern"}, Profiles: []string{"security_control"},
			Sequence: r.Seq, UID: r.Session, Version: OCSFVersion,
		},
		Source: ocsfEndpoint{IP: r.Source}, Status: r.Outcome, Detail: r.Reason,
		Unmapped: ocsfUnmapped{N: r.N, Review: r.Review, Target: r.Target, Digest: r.Digest, LatencyUS: r.LatencyUS},
	}
	if r.Source == "" {
		e.Source.Name = "postern"
	}
	if r.Rule != "" || r.Policy != "" {
		e.Policy = &ocsfPolicy{r.Rule, r.Policy}
	}
	if r.Session != "" {
		e.Session = &ocsfUID{r.Session}
	}
	e.Metadata.UID = ocsfUIDOf(r.Seq)
	e.outcome(r)
	switch r.Action {
	case "login", "session.open", "session.close":
		e.authentication(r, user)
	default:
		e.activity(r)
	}
	e.TypeUID = e.ClassUID*100 + e.ActivityID
	return json.Marshal(e)
}

func ocsfUIDOf(seq int64) string {
	text, _ := json.Marshal(seq) // a number can be encoded
	return Origin + "/" + string(text)
}

func (e *ocsfEvent) outcome(r *postern.AuditRecord) {
	e.StatusID, e.ActionID, e.Disposition, e.SeverityID = ocsfSuccess, ocsfAllowed, ocsfAllowed, ocsfInformational
	switch r.Outcome {
	case "deny", "refused", "failed":
		e.StatusID, e.ActionID, e.Disposition, e.SeverityID = ocsfFailure, ocsfDenied, ocsfBlocked, ocsfMedium
	}
	switch r.Action {
	case "audit.outage", "recording.damaged":
		e.SeverityID = ocsfHigh
	}
}

func (e *ocsfEvent) authentication(r *postern.AuditRecord, user ocsfUser) {
	e.CategoryUID, e.ClassUID, e.ActivityID = ocsfIdentity, ocsfAuthentication, ocsfLogon
	if r.Action == "session.close" {
		e.ActivityID = ocsfLogoff
	}
	e.User = &user
	e.Service = &ocsfName{"postern"}
	if r.Resource != "" {
		e.Service.Name = r.Resource
	}
}

func (e *ocsfEvent) activity(r *postern.AuditRecord) {
	e.API = &ocsfAPI{r.Action}
	if r.Action == "command" {
		e.API.Operation = r.Verb
	}
	e.ActivityID = ocsfActivity(e.API.Operation)
	if r.Resource != "" {
		e.Resources = append(e.Resources, ocsfResource{r.Resource, "resource"})
	}
	for _, o := range r.Objects {
		e.Resources = append(e.Resources, ocsfResource{o, "object"})
	}
	if r.Target != "" {
		e.Resources = append(e.Resources, ocsfResource{r.Target, "target"})
	}
}

// ocsfActivity is the kind of an action, by its last word, or of the worst of verbs.
func ocsfActivity(operation string) int {
	worst := ocsfOther
	for verb := range strings.SplitSeq(operation, ",") {
		if kind := ocsfKind(verb); ocsfWorse[kind] > ocsfWorse[worst] {
			worst = kind
		}
	}
	return worst
}

// ocsfWorse orders the kinds.
var ocsfWorse = map[int]int{ocsfOther: 0, ocsfRead: 1, ocsfCreate: 2, ocsfUpdate: 3, ocsfDelete: 4}

func ocsfKind(operation string) int {
	if _, last, ok := strings.Cut(operation, "."); ok {
		operation = last
	}
	switch strings.ToLower(operation) {
	case "insert", "create", "copy", "put", "post", "apply", "open", "upload":
		return ocsfCreate
	case "select", "show", "read", "get", "list", "explain", "search", "export", "watch", "download":
		return ocsfRead
	case "update", "merge", "alter", "set", "patch", "rotate", "enable", "disable", "grant", "revoke", "approve", "deny":
		return ocsfUpdate
	case "delete", "drop", "truncate", "rm", "del":
		return ocsfDelete
	}
	return ocsfOther
}
