package gate

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern"
	"postern/internal/mask"
	"postern/internal/policy"
)

// writeTimeout bounds writing what must be written after a session has ended.
const writeTimeout = 10 * time.Second

// Caller is an authenticated client that has opened nothing yet.
type Caller struct {
	gate      *Gate
	cred      postern.Credential
	admission postern.Admission
	began     time.Time // to authenticate
}

// Identity is who the client is.
func (c *Caller) Identity() postern.Identity { return c.admission.Identity }

// Open opens a session on the target, or returns a *[DeniedError]. The caller
// of Open owns the session and must Close it.
func (c *Caller) Open(ctx context.Context, target postern.Target) (*Session, error) {
	g := c.gate
	if target.Resource != c.admission.Resource {
		// The token was checked against another name than is opened now.
		return nil, ErrRefused
	}
	set := g.cfg.Policy()
	req := policy.Request{
		Identity: c.admission.Identity, Resource: target.Resource,
		Source: c.cred.Source.Addr(), Client: target.Client, Now: g.cfg.Now(), Grants: g.cfg.Grants(c.admission.Identity),
	}
	opening := set.Open(req)
	if !opening.Allowed {
		c.refused(ctx, fmt.Errorf("access: %s: %s", opening.Rule, opening.Reason))
		if !opening.Visible {
			return nil, ErrRefused
		}
		return nil, &DeniedError{Rule: opening.Rule, Reason: opening.Reason + g.whereToAsk(target.Resource, opening.Request)}
	}
	if scope := req.Identity.Scope; scope != nil && scope.RowsPerHour > 0 && (!target.CountsRows || g.cfg.Allowances == nil) {
		reason := "the delegation allows so many rows an hour, and they can't be counted in what this client speaks."
		c.refused(ctx, fmt.Errorf("delegation: %s: %s", scope.Delegation, reason))
		return nil, &DeniedError{Rule: scope.Delegation, Reason: reason}
	}
	resource, ok := set.Resource(target.Resource)
	if !ok || resource.Type != c.cred.Protocol {
		c.refused(ctx, fmt.Errorf("resource %q is not of type %s", target.Resource, c.cred.Protocol))
		return nil, ErrRefused
	}
	return g.start(ctx, c, resource, target, req, opening)
}

// refused tells the operator why this client isn't let in, and returns when
// every other refusal would.
func (c *Caller) refused(ctx context.Context, cause error) {
	c.gate.refused(ctx, c.cred, c.admission, cause)
	c.gate.holdUntil(ctx, c.began.Add(refusalTime))
}

// start makes the session known, recorded and audited before anything can
// happen in it.
func (g *Gate) start(ctx context.Context, c *Caller, r postern.Resource, target postern.Target, req policy.Request, opening policy.Opening) (*Session, error) {
	id, err := g.newID("ss_")
	if err != nil {
		return nil, err
	}
	req.Started = req.Now
	database := target.Database
	if database == "" {
		database = r.Database
	}
	sctx, cancel := context.WithCancelCause(ctx)
	s := &Session{
		gate: g, resource: r, req: req, claims: map[string]postern.Claims{}, ctx: sctx, cancel: cancel,
		info: postern.SessionInfo{
			ID: id, Identity: req.Identity.Name, Kind: req.Identity.Kind, Actor: req.Identity.ActorName(),
			Resource: r.Name, Protocol: r.Type, Database: database, Token: c.admission.Token, Login: req.Identity.Login, Access: opening.Access, Grant: opening.Grant,
			Source: c.cred.Source.Addr().String(), Client: target.Client, StartedAt: req.Now.UTC(),
		},
	}
	if err := s.begin(); err != nil {
		cancel(err)
		g.cfg.Log.Error("session can't start", "session", id, "resource", r.Name, "identity", req.Identity.Name, "error", err)
		return nil, &DeniedError{Reason: "the session can't be recorded, so it can't be opened. Tell an administrator; session " + id + "."}
	}
	s.meter = g.meters.of(req.Identity.Scope, g.cfg.Allowances)
	if err := s.still(ctx, c.admission); err != nil {
		if err := s.Close(err.Error()); err != nil {
			g.cfg.Log.Error("session can't be closed", "session", id, "error", err)
		}
		c.refused(ctx, err)
		return nil, ErrRefused
	}
	g.cfg.Log.Info("session opened", "session", id, "resource", r.Name, "identity", req.Identity.Name, "actor", req.Identity.ActorName())
	return s, nil
}

// still asks again what was asked before the session was listed as live: a
// revocation or a change of policy between the two found no session to end.
func (s *Session) still(ctx context.Context, adm postern.Admission) error {
	if s.gate.cfg.Still != nil {
		if err := s.gate.cfg.Still(ctx, adm); err != nil {
			return err
		}
	}
	for {
		set := s.gate.cfg.Policy()
		if err := s.recheck(set); err != nil {
			return err
		}
		// A change since then may have set another deadline, which is now ours.
		if s.gate.cfg.Policy() == set {
			return nil
		}
	}
}

// recheck says why a policy would not let the session go on, or sets the
// session's end to what the policy says.
func (s *Session) recheck(set *policy.Set) error {
	opening := set.Open(s.request())
	if !opening.Allowed {
		return &EndedError{Reason: "the access that opened it is gone: " + opening.Reason}
	}
	if err := s.unmoved(set); err != nil {
		return err
	}
	s.setDeadline(opening.Until)
	return nil
}

// unmoved is an error when a policy has the resource elsewhere than where this
// session is: what it says is then about another server than ours.
func (s *Session) unmoved(set *policy.Set) error {
	ours := &s.resource
	now, ok := set.Resource(ours.Name)
	if ok && now.Type == ours.Type && slices.Equal(now.Addresses, ours.Addresses) && now.Database == ours.Database &&
		now.TLS == ours.TLS && now.Via == ours.Via && now.Credentials == ours.Credentials {
		return nil
	}
	return &EndedError{Reason: "its resource was changed; connect again"}
}

// over is why the session has ended, or nil while it lives.
func (s *Session) over() error {
	cause := context.Cause(s.ctx)
	if cause == nil {
		return nil
	}
	var ended *EndedError
	if errors.As(cause, &ended) {
		return cause
	}
	return fmt.Errorf("session %s is over: %w", s.info.ID, cause)
}

// newID makes an identifier of 120 random bits.
func (g *Gate) newID(prefix string) (string, error) {
	var b [15]byte
	if _, err := io.ReadFull(g.cfg.Rand, b[:]); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return prefix + hex.EncodeToString(b[:]), nil
}

// Session is one client connection to one resource. Its methods may be called
// from several goroutines.
type Session struct {
	gate     *Gate
	resource postern.Resource
	req      policy.Request
	ctx      context.Context
	cancel   context.CancelCauseFunc

	meter     *meter // nil: rows aren't counted
	recording Recording
	commands  atomic.Int64
	denied    atomic.Int64
	masked    atomic.Int64
	planned   atomic.Pointer[planned] // the last one asked for
	audience  audience

	mu       sync.Mutex // guards what follows
	info     postern.SessionInfo
	deadline *time.Timer
	witness  Witness
	recent   []postern.Recent
	closed   bool
	claims   map[string]postern.Claims // what is said by now of who came by a login

	decided decisions
}

// begin makes the session known. When a part of that fails, what was done of it
// is ended.
func (s *Session) begin() error {
	rec, err := s.gate.cfg.StartRecording(s.info)
	if err != nil {
		return fmt.Errorf("start recording: %w", err)
	}
	s.recording = rec
	if err := s.announce(); err != nil {
		return errors.Join(err, s.Close("it could not start"))
	}
	return nil
}

func (s *Session) announce() error {
	info := s.info
	if err := s.recording.Append(postern.Event{Time: info.StartedAt, Kind: postern.EventOpen, Session: &info}); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := s.recording.Flush(); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	entry := s.entry("session.open", "ok")
	entry.Review = s.info.Grant
	if err := s.gate.cfg.Audit.AppendSession(s.ctx, entry, info); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return s.gate.enter(s)
}

// entry is an audit entry about this session.
func (s *Session) entry(action, outcome string) postern.AuditEntry {
	return sessionEntry(&s.info, s.gate.cfg.Now(), action, outcome)
}

func sessionEntry(info *postern.SessionInfo, at time.Time, action, outcome string) postern.AuditEntry {
	return postern.AuditEntry{
		Time: at, Action: action, Outcome: outcome, Identity: info.Identity, Kind: info.Kind, Actor: info.Actor,
		Resource: info.Resource, Session: info.ID, Source: info.Source,
	}
}

// request is the asking, as of now.
func (s *Session) request() policy.Request {
	req := s.req
	req.Identity = s.Identity()
	req.Now = s.gate.cfg.Now()
	req.Grants = s.gate.cfg.Grants(req.Identity)
	return req
}

// Context ends when the session must: on expiry, revocation, kill, or a
// recording that can't be written. Its cause is an *[EndedError] whose words
// are for the client.
func (s *Session) Context() context.Context { return s.ctx }

// ID is the session's id, for hints.
func (s *Session) ID() string { return s.info.ID }

// Resource is what the session is open on.
func (s *Session) Resource() postern.Resource { return s.resource }

// Identity is whose session it is, with the claims that are theirs by now.
func (s *Session) Identity() postern.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.claims) == 0 {
		return s.req.Identity
	}
	return withClaims(s.req.Identity, s.claims)
}

// reclaimed says whether anybody's claims were replaced.
func (s *Session) reclaimed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.claims) > 0
}

// withClaims is id with other claims, by login, for it and for who acts in its name.
func withClaims(id postern.Identity, claims map[string]postern.Claims) postern.Identity {
	if now, ok := claims[id.Login]; ok {
		id.Claims = now
	}
	if id.Actor != nil {
		actor := withClaims(*id.Actor, claims)
		id.Actor = &actor
	}
	return id
}

// reclaim replaces the claims of whoever came by a login, and returns them as
// they were; false when nobody here did.
func (s *Session) reclaim(login string, now postern.Claims) (was postern.Claims, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := &s.req.Identity; id != nil && !ok; id = id.Actor {
		was, ok = id.Claims, id.Login == login
	}
	if !ok {
		return nil, false
	}
	if said, told := s.claims[login]; told {
		was = said
	}
	s.claims[login] = now
	return was, true
}

// Database is the database asked for, or the resource's own.
func (s *Session) Database() string { return s.info.Database }

// Info is the session as it stands.
func (s *Session) Info() postern.SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := s.info
	info.Commands, info.Denied, info.MaskedValues = s.commands.Load(), s.denied.Load(), s.masked.Load()
	return info
}

// end ends the session's context. The first cause stays.
func (s *Session) end(cause error) { s.cancel(cause) }

func (s *Session) setDeadline(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deadline != nil {
		s.deadline.Stop()
		s.deadline = nil
	}
	if until.IsZero() || s.closed {
		return
	}
	s.deadline = time.AfterFunc(until.Sub(s.gate.cfg.Now()), func() {
		s.end(&EndedError{Reason: "its time is up; connect again if your access still allows it"})
	})
}

// Dial connects to one of the resource's addresses; any other is refused. The
// caller owns the connection.
func (s *Session) Dial(ctx context.Context, address string) (net.Conn, error) {
	if !slices.Contains(s.resource.Addresses, address) {
		return nil, fmt.Errorf("dial %s: not an address of resource %s", address, s.resource.Name)
	}
	conn, err := s.gate.cfg.Dial(ctx, s.resource, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", s.resource.Name, err)
	}
	return conn, nil
}

// Login resolves what the gateway presents to the upstream.
func (s *Session) Login(ctx context.Context) (postern.Login, error) {
	login, err := s.gate.cfg.Secrets(ctx, s.resource.Credentials)
	if err != nil {
		return postern.Login{}, fmt.Errorf("credentials of %s: %w", s.resource.Name, err)
	}
	return login, nil
}

// Masker plans the masking of a result's columns under a decision. It returns
// nil when nothing needs masking, and the result can be forwarded undecoded.
func (s *Session) Masker(d postern.Decision, columns []postern.Column) *mask.Row {
	if len(d.Masks) == 0 {
		return nil
	}
	return s.plan(d.Masks).Row(columns)
}

// TextMasker masks values in text that is no column: errors, notices. It
// returns nil when no mask of the decision looks at content.
func (s *Session) TextMasker(d postern.Decision) *mask.Text {
	if len(d.Masks) == 0 {
		return nil
	}
	return s.plan(d.Masks).Text()
}

// TerminalMasker masks what a program prints, for whoever reads it meanwhile.
// It returns nil when no mask of the decision looks at content.
func (s *Session) TerminalMasker(d postern.Decision) *mask.Terminal {
	if len(d.Masks) == 0 {
		return nil
	}
	return s.plan(d.Masks).Terminal()
}

// Masked counts values that were masked on their way to the client.
func (s *Session) Masked(n int64) {
	if n > 0 {
		s.masked.Add(n)
		s.gate.cfg.Metrics.Masked(n)
	}
}

// Record adds an event to the recording. An error has ended the session.
func (s *Session) Record(e postern.Event) error {
	if e.Time.IsZero() {
		e.Time = s.gate.cfg.Now().UTC()
	}
	one, ok := s.gate.events.Get().(*[1]postern.Event)
	if !ok {
		one = new([1]postern.Event)
	}
	one[0] = e
	err := s.recording.Append(one[:]...)
	one[0] = postern.Event{}
	s.gate.events.Put(one)
	if err != nil {
		return s.unrecorded(err)
	}
	return nil
}

// unrecorded ends a session whose recording can't be written.
func (s *Session) unrecorded(cause error) error {
	s.gate.cfg.Log.Error("session can't be recorded", "session", s.info.ID, "resource", s.info.Resource, "error", cause)
	ended := &EndedError{Reason: "it can't be recorded any more. Tell an administrator; session " + s.info.ID + "."}
	s.end(ended)
	return ended
}

// damaged says that the recording has no end, for what cause. The entry becomes
// durable with that of the session's end, which follows it.
func (s *Session) damaged(cause error) error {
	s.gate.cfg.Log.Error("recording is damaged", "session", s.info.ID, "resource", s.info.Resource, "error", cause)
	entry := s.entry("recording.damaged", "failed")
	entry.Reason = "the recording has no end, and may lack what came last: " + cause.Error()
	return s.gate.cfg.Audit.Queue(entry)
}

// Close ends the session and waits for its recording to reach the disk: an
// unrecorded session must not look finished. One whose recording can't be ended
// has failed, whatever its client was told. It may be called again.
//
// Of a session that the gateway ended, the protocol has cut the client off and
// stopped the upstream before it calls Close: the latency that the audit log
// tells ends here.
func (s *Session) Close(reason string) error {
	now := s.gate.cfg.Now()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.deadline != nil {
		s.deadline.Stop()
	}
	var latency time.Duration
	if cause := context.Cause(s.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		reason = cause.Error()
		var ended *EndedError
		if errors.As(cause, &ended) && !ended.Since.IsZero() {
			latency = max(now.Sub(ended.Since), time.Microsecond)
		}
	}
	s.info.EndedAt, s.info.EndReason = now.UTC(), reason
	s.mu.Unlock()
	s.cancel(context.Canceled)
	if latency > 0 {
		// Five hundred that end together would write down their ends while others
		// of them are yet to be cut off.
		s.gate.closing <- struct{}{}
		defer func() { <-s.gate.closing }()
	}

	info := s.Info()
	err := s.recording.Append(postern.Event{Time: info.EndedAt, Kind: postern.EventClose, Text: reason, Session: &info})
	digest, closeErr := s.recording.Close()
	if closeErr == nil {
		closeErr = err
	}
	s.mu.Lock()
	s.info.Digest = digest
	info.Digest = digest
	s.mu.Unlock()

	// The session's own context is over; its end must be written all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), writeTimeout)
	defer cancel()
	entry := s.entry("session.close", "ok")
	entry.Digest, entry.Reason = digest, reason
	write := s.gate.cfg.Audit.AppendSessionSoon
	if latency > 0 {
		entry.Outcome, entry.LatencyUS = "ended", latency.Microseconds()
		s.gate.cfg.Metrics.Ended(latency)
		write = s.gate.cfg.Audit.AppendSession
	}
	err = closeErr
	if closeErr != nil {
		entry.Outcome = "failed"
		err = errors.Join(err, s.damaged(closeErr))
	}
	if s.meter != nil {
		err = errors.Join(err, s.gate.meters.release(ctx, s.meter))
	}
	// One without an end, in the list and in the log, gets both at the next start.
	err = errors.Join(err, write(ctx, entry, info))
	s.gate.leave(s)
	s.gate.cfg.Log.Info("session closed", "session", info.ID, "resource", info.Resource, "identity", info.Identity,
		"commands", info.Commands, "denied", info.Denied, "masked", info.MaskedValues, "reason", reason)
	if err != nil {
		return fmt.Errorf("close session %s: %w", info.ID, err)
	}
	return nil
}
