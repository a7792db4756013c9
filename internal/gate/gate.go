// Package gate is the one way through. A protocol asks it, in this order, who
// the client is ([Gate.Authenticate]), whether it may open the resource
// ([Caller.Open]), for a connection to it ([Session.Dial]), and then about
// every command ([Session.Decide]), every result ([Session.Masker]) and every
// thing worth remembering ([Session.Record]). Each step returns the value that
// the next one needs, so that no protocol can skip one.
//
// Whatever the gate can't decide or record, it refuses.
package gate

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"postern"
	"postern/internal/policy"
)

// Config is what a Gate is made of. All is required, but for what says otherwise,
// Metrics and Log.
type Config struct {
	// Policy returns the set in force. It is asked anew for every decision.
	Policy func() *policy.Set
	// Admit verifies a credential. Its error is for the operator; the client
	// is told the same sentence whatever went wrong.
	// An error may say what was refused: Presented() postern.Admission.
	Admit func(context.Context, postern.Credential) (postern.Admission, error)
	// Verifier is what a protocol checks by that a client knows a session token,
	// by SCRAM-SHA-256, in RFC 5803's form. It is asked for tokens that aren't
	// there, too. nil: tokens can't be shown to be known.
	Verifier func(ctx context.Context, token string) (string, error)
	// Still says whether an admission holds yet. It is asked once the session
	// is listed as live, so that a revocation between login and that moment is
	// not missed. nil: admissions are never taken back.
	Still func(context.Context, postern.Admission) error
	// Secrets resolves a resource's credentials.
	Secrets func(context.Context, postern.CredentialRefs) (postern.Login, error)
	// Dial reaches one of a resource's addresses, directly or through its relay.
	Dial func(ctx context.Context, r postern.Resource, address string) (net.Conn, error)
	// StartRecording opens the recording of a session.
	StartRecording func(postern.SessionInfo) (Recording, error)
	Audit          Audit
	// AuditFirst says that a command is allowed only once its entry is durable in
	// the audit log. Otherwise it is durable in the recording before, and in the
	// log soon after.
	AuditFirst bool
	Reviews    Reviews
	// Grants are what an identity was granted on request. They are asked for
	// anew for every decision. nil: there are none.
	Grants func(postern.Identity) []postern.Grant
	// RequestURL is where an access can be requested; nil: nowhere.
	RequestURL func(resource, access string) string
	// Allowances count rows of delegations; nil: none opens that limits them.
	Allowances Allowances
	// Shadowed is told what rules in shadow mode would have done to what was
	// allowed. It must not wait. nil: nobody counts.
	Shadowed func(postern.SessionInfo, []postern.Command, postern.Decision)
	// MaskKey keys the hash mask. It stays the same for as long as hashes must
	// stay comparable.
	MaskKey postern.Secret
	// Seal keeps rows that approvers are shown from whoever reads the store; nil: no
	// row is kept.
	Seal func(purpose string, plaintext []byte) (string, error)
	// ReviewURL is the address at which a review can be looked at and decided.
	ReviewURL func(id string) string
	Now       func() time.Time
	Rand      io.Reader
	Log       *slog.Logger
	Metrics   Metrics
}

// Recording keeps the events of one session. Its methods may be called from
// several goroutines.
type Recording interface {
	// Append adds events in order. They reach the disk with the next Flush, or
	// soon after by themselves. After an error the recording is broken, and
	// every later call returns that error. Once it has returned it keeps nothing of
	// what it was handed but the lists of a command's analysis and of a decision's
	// masks, which nobody changes.
	Append(...postern.Event) error
	// Flush returns when all that was appended would survive the end of this process.
	Flush() error
	// Close writes the end and returns the recording's digest.
	Close() (digest string, err error)
}

// Audit is the append-only log.
type Audit interface {
	// Append returns when the entry is durable.
	Append(context.Context, postern.AuditEntry) error
	// Queue adds an entry that becomes durable soon. It waits when the log is
	// behind, and returns an error once the log can't be written.
	Queue(postern.AuditEntry) error
	// AppendSession returns when the entry is durable, and with it how its session
	// stands in the list of sessions that people look at: both are, or neither is.
	AppendSession(context.Context, postern.AuditEntry, postern.SessionInfo) error
	// AppendSessionSoon is AppendSession for who can wait for others to share a
	// commit with.
	AppendSessionSoon(context.Context, postern.AuditEntry, postern.SessionInfo) error
}

// Reviews is where people decide over commands.
type Reviews interface {
	// Submit stores a pending review.
	Submit(context.Context, postern.Review) error
	// Wait returns the review once it is no longer pending. When ctx ends
	// first, the review is withdrawn; at its deadline it has timed out.
	Wait(ctx context.Context, id string) (postern.Review, error)
	// Spend moves an approved review to spent. It succeeds once, for the
	// digest that was approved.
	Spend(ctx context.Context, id, digest string) error
	// Void moves an approved review to void.
	Void(ctx context.Context, id, reason string) error
}

// Allowances are the rows that delegations may have within sixty minutes, over
// all gateways.
type Allowances interface {
	// TakeRows takes as many rows as are left of the limit within the hour that
	// ends with a moment, and no more than most.
	TakeRows(ctx context.Context, delegation string, limit, most int64, at time.Time) (int64, error)
	// ReturnRows gives back rows that were taken at a moment, and not used.
	ReturnRows(ctx context.Context, delegation string, n int64, at time.Time) error
}

// Metrics counts what happens. Every method may be called from many goroutines.
type Metrics interface {
	Login(protocol string, ok bool)
	SessionOpened(resource string)
	SessionClosed(resource string)
	Decided(protocol, verdict string, took time.Duration)
	Masked(n int64)
	Reviewed(state string, waited time.Duration)
	// Ended reports a session that the gateway ended: how long it took from what
	// was accepted until its client was cut off and its upstream stopped.
	Ended(latency time.Duration)
}

// closers is how many sessions that the gateway ended are written down at a time.
const closers = 4

// Gate admits clients and keeps the list of live sessions.
type Gate struct {
	cfg Config

	plans   plans
	meters  meters
	amounts amounts
	closing chan struct{} // holds one for each ended session that is being written down
	events  sync.Pool     // of *[1]postern.Event: on their way to a recording

	mu       sync.Mutex
	live     map[string]*Session
	draining bool
	done     sync.WaitGroup // live sessions
}

// New makes a gate. It returns an error when cfg lacks a part.
func New(cfg Config) (*Gate, error) {
	switch {
	case cfg.Policy == nil, cfg.Admit == nil, cfg.Secrets == nil, cfg.Dial == nil,
		cfg.StartRecording == nil, cfg.Audit == nil, cfg.Reviews == nil,
		cfg.MaskKey.IsZero(), cfg.ReviewURL == nil, cfg.Now == nil, cfg.Rand == nil:
		return nil, errors.New("gate: a part of the configuration is missing")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = noMetrics{}
	}
	if cfg.Grants == nil {
		cfg.Grants = func(postern.Identity) []postern.Grant { return nil }
	}
	if cfg.RequestURL == nil {
		cfg.RequestURL = func(string, string) string { return "" }
	}
	if cfg.Shadowed == nil {
		cfg.Shadowed = func(postern.SessionInfo, []postern.Command, postern.Decision) {}
	}
	return &Gate{cfg: cfg, live: make(map[string]*Session), closing: make(chan struct{}, closers)}, nil
}

// DeniedError is a refusal, in words for the person who was refused.
type DeniedError struct {
	Rule    string // what refused; "" when there is nothing to name
	Reason  string
	Session string // "" before a session exists
}

// Error is the refusal as every protocol words it.
func (e *DeniedError) Error() string {
	if e.Rule == "" {
		return "postern: " + e.Reason
	}
	return `postern: denied by rule "` + e.Rule + `": ` + e.Reason
}

// ErrRefused is what a client is told when it can't be let in: the same for a
// wrong, an expired and a foreign token, and for a resource that it may not see.
var ErrRefused = &DeniedError{Reason: "login refused: this token doesn't open that resource for that user. " +
	"Get a new one with `postern token RESOURCE`, and see `postern ls` for what you can reach."}

// refusalTime is how long every refused login takes, so that its length says
// nothing about which check failed.
const refusalTime = 300 * time.Millisecond

// Authenticate verifies a credential. Every refusal is [ErrRefused] and takes
// the same time, whatever the cause; the cause is in the log and the audit log.
func (g *Gate) Authenticate(ctx context.Context, cred postern.Credential) (*Caller, error) {
	began := g.cfg.Now()
	adm, err := g.admit(ctx, cred)
	g.cfg.Metrics.Login(cred.Protocol, err == nil)
	if err == nil {
		return &Caller{gate: g, cred: cred, admission: adm, began: began}, nil
	}
	g.refused(ctx, cred, adm, err)
	g.holdUntil(ctx, began.Add(refusalTime))
	return nil, ErrRefused
}

// Verifier is what a protocol checks by that a client knows the session token
// with this id. It then asks with the id in the credential's Proof.
func (g *Gate) Verifier(ctx context.Context, token string) (string, error) {
	if g.cfg.Verifier == nil {
		return "", errors.New("no token can be shown to be known here")
	}
	return g.cfg.Verifier(ctx, token)
}

// Refuse is what Authenticate would say to a client that has failed within the
// protocol: it takes the same time, and the cause is in both logs.
func (g *Gate) Refuse(ctx context.Context, cred postern.Credential, cause error) error {
	began := g.cfg.Now()
	g.cfg.Metrics.Login(cred.Protocol, false)
	g.refused(ctx, cred, postern.Admission{}, cause)
	g.holdUntil(ctx, began.Add(refusalTime))
	return ErrRefused
}

func (g *Gate) admit(ctx context.Context, cred postern.Credential) (postern.Admission, error) {
	if g.isDraining() {
		return postern.Admission{}, errors.New("the gateway is shutting down")
	}
	adm, err := g.cfg.Admit(ctx, cred)
	if err != nil {
		return postern.Admission{}, err
	}
	if adm.Identity.Name == "" {
		return adm, errors.New("the token names no identity")
	}
	if cred.User != adm.Identity.Name && cred.User != "postern" {
		return adm, errors.New("the user is not the token's identity")
	}
	if adm.Resource != cred.Resource {
		return adm, errors.New("the token is bound to another resource")
	}
	return adm, nil
}

// refused tells the operator about a refused login.
func (g *Gate) refused(ctx context.Context, cred postern.Credential, adm postern.Admission, cause error) {
	var known interface{ Presented() postern.Admission }
	if errors.As(cause, &known) {
		adm = known.Presented()
	}
	g.cfg.Log.Warn("login refused", "protocol", cred.Protocol, "source", cred.Source.Addr(), "identity", adm.Identity.Name, "cause", cause)
	err := g.cfg.Audit.Append(ctx, postern.AuditEntry{
		Time: g.cfg.Now(), Action: "login", Outcome: "refused", Identity: adm.Identity.Name, Kind: adm.Identity.Kind, Actor: adm.Identity.ActorName(),
		Resource: adm.Resource, Reason: cause.Error(), Source: cred.Source.Addr().String(), Target: presented(adm),
	})
	if err != nil {
		g.cfg.Log.Error("audit log can't be written", "error", err)
	}
}

// presented names what was presented in the audit log; "" when it is unknown.
func presented(adm postern.Admission) string {
	if adm.Token == "" {
		return ""
	}
	return "token:" + adm.Token
}

func (g *Gate) holdUntil(ctx context.Context, t time.Time) {
	timer := time.NewTimer(t.Sub(g.cfg.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

type noMetrics struct{}

func (noMetrics) Login(string, bool)                    {}
func (noMetrics) SessionOpened(string)                  {}
func (noMetrics) SessionClosed(string)                  {}
func (noMetrics) Decided(string, string, time.Duration) {}
func (noMetrics) Masked(int64)                          {}
func (noMetrics) Reviewed(string, time.Duration)        {}
func (noMetrics) Ended(time.Duration)                   {}
