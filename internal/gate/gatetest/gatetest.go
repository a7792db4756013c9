// Package gatetest makes a gate whose surroundings live in memory, for the
// tests of protocols and of the gate itself. Policy, deciding and masking are
// the real ones; recordings, audit log, reviews and logins are kept where a
// test can look at them and break them.
package gatetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern"
	"postern/internal/gate"
	"postern/internal/policy"
)

// Options say what a harness is made of.
type Options struct {
	// Objects is the policy, as YAML documents.
	Objects string
	// Protocols are the protocols that the policy may speak of.
	Protocols []policy.ProtocolType
	// Detectors are the content detectors that masks may name.
	Detectors []string
	// Identities may log in with the password "token-NAME".
	Identities []postern.Identity
	// Logins are the resolved credentials, by user name of the resource.
	Logins map[string]postern.Login
	// Dial overrides the network.
	Dial func(ctx context.Context, r postern.Resource, address string) (net.Conn, error)
}

// Harness is a gate and everything around it.
type Harness struct {
	*gate.Gate
	Recordings *Recordings
	Audit      *Audit
	Reviews    *Reviews
	Sessions   *Sessions
	Log        *Log
	Dials      atomic.Int64 // how often an upstream was reached

	t       testing.TB
	options Options
	set     atomic.Pointer[policy.Set]
	grants  atomic.Pointer[[]postern.Grant]
	shadows atomic.Pointer[[]postern.Shadow]
}

// New makes a harness, or fails the test.
func New(t testing.TB, o Options) *Harness {
	t.Helper()
	h := &Harness{
		t: t, options: o, Log: &Log{t: t},
		Recordings: &Recordings{byID: make(map[string]*Recording)},
		Sessions:   &Sessions{byID: make(map[string]postern.SessionInfo)},
		Reviews:    &Reviews{opened: make(chan postern.Review, 64), byID: make(map[string]*review)},
	}
	h.Audit = &Audit{sessions: h.Sessions}
	h.SetObjects(o.Objects)
	g, err := gate.New(gate.Config{
		Policy: h.set.Load, Admit: h.admit, Secrets: h.secrets, Dial: h.dial,
		StartRecording: h.Recordings.start, Audit: h.Audit, Reviews: h.Reviews,
		MaskKey: postern.NewSecret("a mask key for tests, 32 bytes.."),
		Seal: func(purpose string, plain []byte) (string, error) {
			return "sealed for " + purpose + ": " + string(plain), nil
		},
		ReviewURL: func(id string) string { return "https://gw.test/reviews/" + id },
		Grants: func(postern.Identity) []postern.Grant {
			if g := h.grants.Load(); g != nil {
				return *g
			}
			return nil
		},
		RequestURL: func(resource, access string) string { return "https://gw.test/requests/" + resource + "/" + access },
		Shadowed:   func(_ postern.SessionInfo, _ []postern.Command, d postern.Decision) { h.shadows.Store(&d.Shadow) },
		Now:        time.Now, Rand: rand.Reader,
		Log: slog.New(slog.NewTextHandler(h.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Gate = g
	return h
}

// SetObjects puts another policy in force.
func (h *Harness) SetObjects(yaml string) {
	h.t.Helper()
	objects, err := policy.Parse("test.yaml", []byte(yaml), h.options.Protocols...)
	if err != nil {
		h.t.Fatal(err)
	}
	set, err := policy.NewSet(objects, policy.Options{Protocols: h.options.Protocols, Detectors: h.options.Detectors})
	if err != nil {
		h.t.Fatal(err)
	}
	h.set.Store(set)
}

// SetGrants puts grants in force, of whomever. The gate isn't told: see Recheck.
func (h *Harness) SetGrants(g ...postern.Grant) { h.grants.Store(&g) }

// Terms is the version of an access, which a grant has to name.
func (h *Harness) Terms(resource, access string) string { return h.set.Load().Terms(resource, access) }

// Shadows are what the gate was told last of rules in shadow mode.
func (h *Harness) Shadows() []postern.Shadow {
	if s := h.shadows.Load(); s != nil {
		return *s
	}
	return nil
}

func (h *Harness) admit(_ context.Context, cred postern.Credential) (postern.Admission, error) {
	name, ok := strings.CutPrefix(cred.Secret.Reveal(), "token-")
	for _, id := range h.options.Identities {
		if ok && id.Name == name {
			return postern.Admission{Identity: id, Token: "tk_" + name, Resource: cred.Resource, Until: time.Now().Add(time.Hour)}, nil
		}
	}
	return postern.Admission{}, errors.New("no such token")
}

func (h *Harness) secrets(_ context.Context, refs postern.CredentialRefs) (postern.Login, error) {
	login, ok := h.options.Logins[refs.Username]
	if !ok {
		return postern.Login{}, errors.New("no credentials for " + refs.Username)
	}
	return login, nil
}

func (h *Harness) dial(ctx context.Context, r postern.Resource, address string) (net.Conn, error) {
	h.Dials.Add(1)
	if h.options.Dial != nil {
		return h.options.Dial(ctx, r, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// Recordings keeps every session's events.
type Recordings struct {
	mu      sync.Mutex
	byID    map[string]*Recording
	order   []string
	broken  error
	refusal error
	onStart func()
}

// OnStart sets what happens while the next recording starts.
func (r *Recordings) OnStart(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onStart = f
}

// Refuse makes every later start of a recording fail; nil mends it.
func (r *Recordings) Refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusal = err
}

// Break makes every later write to any recording fail.
func (r *Recordings) Break(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = err
}

func (r *Recordings) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken
}

func (r *Recordings) start(info postern.SessionInfo) (gate.Recording, error) {
	r.mu.Lock()
	onStart := r.onStart
	r.onStart = nil
	r.mu.Unlock()
	if onStart != nil {
		onStart()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal != nil {
		return nil, r.refusal
	}
	rec := &Recording{all: r}
	r.byID[info.ID] = rec
	r.order = append(r.order, info.ID)
	return rec, nil
}

// Of returns the recording of a session, or nil.
func (r *Recordings) Of(session string) *Recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[session]
}

// Last returns the recording that was started last, or nil.
func (r *Recordings) Last() *Recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.order) == 0 {
		return nil
	}
	return r.byID[r.order[len(r.order)-1]]
}

// Recording is the events of one session.
type Recording struct {
	all *Recordings

	mu      sync.Mutex
	events  []postern.Event
	flushed int
	closed  bool
}

// Append implements [gate.Recording].
func (r *Recording) Append(events ...postern.Event) error {
	if err := r.all.failure(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.New("recording is closed")
	}
	r.events = append(r.events, events...)
	return nil
}

// Flush implements [gate.Recording].
func (r *Recording) Flush() error {
	if err := r.all.failure(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushed = len(r.events)
	return nil
}

// Close implements [gate.Recording].
func (r *Recording) Close() (string, error) {
	err := r.Flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if err != nil {
		return "", err
	}
	return "digest", nil
}

// Events returns what was appended so far, in order.
func (r *Recording) Events() []postern.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]postern.Event(nil), r.events...)
}

// Flushed returns what would survive the end of the process.
func (r *Recording) Flushed() []postern.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]postern.Event(nil), r.events[:r.flushed]...)
}

// Closed says whether the recording was closed, properly or broken.
func (r *Recording) Closed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Audit keeps the audit log's entries.
type Audit struct {
	sessions *Sessions

	mu      sync.Mutex
	entries []postern.AuditEntry
	broken  error
}

// Break makes every later write fail; nil mends it.
func (a *Audit) Break(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broken = err
}

// Append implements [gate.Audit].
func (a *Audit) Append(_ context.Context, e postern.AuditEntry) error { return a.Queue(e) }

// AppendSession implements [gate.Audit].
func (a *Audit) AppendSession(ctx context.Context, e postern.AuditEntry, info postern.SessionInfo) error {
	if err := a.Append(ctx, e); err != nil {
		return err
	}
	a.sessions.put(info)
	return nil
}

// AppendSessionSoon implements [gate.Audit].
func (a *Audit) AppendSessionSoon(ctx context.Context, e postern.AuditEntry, info postern.SessionInfo) error {
	return a.AppendSession(ctx, e, info)
}

// Queue implements [gate.Audit].
func (a *Audit) Queue(e postern.AuditEntry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken != nil {
		return a.broken
	}
	a.entries = append(a.entries, e)
	return nil
}

// Entries returns the entries so far, in order.
func (a *Audit) Entries() []postern.AuditEntry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]postern.AuditEntry(nil), a.entries...)
}

// Sessions keeps the sessions' last known state.
type Sessions struct {
	mu   sync.Mutex
	byID map[string]postern.SessionInfo
}

func (s *Sessions) put(info postern.SessionInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[info.ID] = info
}

// All returns the sessions known.
func (s *Sessions) All() []postern.SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []postern.SessionInfo
	for _, info := range s.byID {
		all = append(all, info)
	}
	return all
}

// Reviews is a review queue whose decisions a test makes.
type Reviews struct {
	opened chan postern.Review

	mu    sync.Mutex
	byID  map[string]*review
	onEnd func()
}

type review struct {
	postern.Review
	done chan struct{}
}

// Opened delivers each review when it is submitted.
func (r *Reviews) Opened() <-chan postern.Review { return r.opened }

// Settle gives a pending review its answer.
func (r *Reviews) Settle(id string, state postern.ReviewState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rv := r.byID[id]; rv != nil && rv.State == postern.ReviewPending {
		rv.State = state
		close(rv.done)
	}
}

// State returns where a review stands.
func (r *Reviews) State(id string) postern.ReviewState {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rv := r.byID[id]; rv != nil {
		return rv.State
	}
	return ""
}

// Submit implements [gate.Reviews].
func (r *Reviews) Submit(ctx context.Context, rv postern.Review) error {
	r.mu.Lock()
	r.byID[rv.ID] = &review{Review: rv, done: make(chan struct{})}
	r.mu.Unlock()
	select {
	case r.opened <- rv:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// OnEnd sets what happens between the end of a review and the moment at which
// the gate learns of it.
func (r *Reviews) OnEnd(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onEnd = f
}

// Wait implements [gate.Reviews].
func (r *Reviews) Wait(ctx context.Context, id string) (postern.Review, error) {
	r.mu.Lock()
	rv := r.byID[id]
	r.mu.Unlock()
	if rv == nil {
		return postern.Review{}, errors.New("no such review")
	}
	timer := time.NewTimer(time.Until(rv.ExpiresAt))
	defer timer.Stop()
	select {
	case <-rv.done:
	case <-timer.C:
		r.Settle(id, postern.ReviewTimedOut)
	case <-ctx.Done():
		r.Settle(id, postern.ReviewWithdrawn)
	}
	r.mu.Lock()
	ended, then := rv.Review, r.onEnd
	r.mu.Unlock()
	if then != nil {
		then()
	}
	return ended, nil
}

// Spend implements [gate.Reviews].
func (r *Reviews) Spend(_ context.Context, id, digest string) error {
	return r.move(id, digest, postern.ReviewSpent)
}

// Void implements [gate.Reviews].
func (r *Reviews) Void(_ context.Context, id, _ string) error {
	return r.move(id, "", postern.ReviewVoid)
}

func (r *Reviews) move(id, digest string, to postern.ReviewState) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	rv := r.byID[id]
	if rv == nil || rv.State != postern.ReviewApproved || (digest != "" && digest != rv.Digest) {
		return errors.New("the review is not approved for this")
	}
	rv.State = to
	return nil
}

// Log collects what was logged, and passes it on to the test's own log while
// the test runs.
type Log struct {
	t testing.TB

	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String is everything logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
