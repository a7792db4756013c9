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
}

// Identity is who the client is.
func (c *Caller) Identity() postern.Identity { return c.admission.Identity }

// Open opens a session on the target, or returns a *[DeniedError]. The caller
// of Open owns the session and must Close it.
func (c *Caller) Open(ctx context.Context, target postern.Target) (*Session, error) {
	g := c.gate
	began := g.cfg.Now()
	if target.Resource != c.admission.Resource {
		// The token was checked against another name than is opened now.
		return nil, ErrRefused
	}
	set := g.cfg.Policy()
	req := policy.Request{
		Identity: c.admission.Identity, Resource: target.Resource,
		Source: c.cred.Source.Addr(), Client: target.Client, Now: began,
	}
	opening := set.Open(req)
	if !opening.Allowed {
		g.refused(ctx, c.cred, c.admission, fmt.Errorf("access: %s: %s", opening.Rule, opening.Reason))
		g.holdUntil(ctx, began.Add(refusalTime))
		if !opening.Visible {
			return nil, ErrRefused
		}
		return nil, &DeniedError{Rule: opening.Rule, Reason: opening.Reason}
	}
	resource, ok := set.Resource(target.Resource)
	if !ok || resource.Type != c.cred.Protocol {
		g.refused(ctx, c.cred, c.admission, fmt.Errorf("resource %q is not of type %s", target.Resource, c.cred.Protocol))
		g.holdUntil(ctx, began.Add(refusalTime))
		return nil, ErrRefused
	}
	return g.start(ctx, c, resource, target, req, opening)
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
		gate: g, resource: r, req: req, ctx: sctx, cancel: cancel,
		info: postern.SessionInfo{
			ID: id, Identity: req.Identity.Name, Kind: req.Identity.Kind, Actor: req.Identity.ActorName(),
			Resource: r.Name, Protocol: r.Type, Database: database, Token: c.admission.Token, Access: opening.Access,
			Source: c.cred.Source.Addr().String(), Client: target.Client, StartedAt: req.Now.UTC(),
		},
	}
	if err := s.begin(); err != nil {
		cancel(err)
		g.cfg.Log.Error("session can't start", "session", id, "resource", r.Name, "identity", req.Identity.Name, "error", err)
		return nil, &DeniedError{Reason: "the session can't be recorded, so it can't be opened. Tell an administrator; session " + id + "."}
	}
	g.cfg.Metrics.SessionOpened(r.Name)
	if g.cfg.Still != nil {
		if err := g.cfg.Still(ctx, c.admission); err != nil {
			g.refused(ctx, c.cred, c.admission, err)
			if err := s.Close("its token was taken back"); err != nil {
				g.cfg.Log.Error("session can't be closed", "session", id, "error", err)
			}
			return nil, ErrRefused
		}
	}
	s.setDeadline(opening.Until)
	g.cfg.Log.Info("session opened", "session", id, "resource", r.Name, "identity", req.Identity.Name, "actor", req.Identity.ActorName())
	return s, nil
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

	recording Recording
	commands  atomic.Int64
	denied    atomic.Int64
	masked    atomic.Int64
	planned   atomic.Pointer[planned] // the last one asked for

	mu       sync.Mutex // guards what follows
	info     postern.SessionInfo
	deadline *time.Timer
	onWait   func(postern.Review)
	closed   bool
}

func (s *Session) begin() error {
	rec, err := s.gate.cfg.StartRecording(s.info)
	if err != nil {
		return fmt.Errorf("start recording: %w", err)
	}
	s.recording = rec
	info := s.info
	if err := rec.Append(postern.Event{Time: info.StartedAt, Kind: postern.EventOpen, Session: &info}); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := rec.Flush(); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := s.gate.cfg.Sessions.PutSession(s.ctx, info); err != nil {
		return errors.Join(fmt.Errorf("store session: %w", err), closeRecording(rec))
	}
	err = s.gate.cfg.Audit.Append(s.ctx, s.entry("session.open", "ok"))
	if err == nil {
		err = s.gate.enter(s)
	}
	if err != nil {
		return errors.Join(err, closeRecording(rec))
	}
	return nil
}

func closeRecording(rec Recording) error {
	_, err := rec.Close()
	return err
}

// entry is an audit entry about this session.
func (s *Session) entry(action, outcome string) postern.AuditEntry {
	return postern.AuditEntry{
		Time: s.gate.cfg.Now(), Action: action, Outcome: outcome, Identity: s.info.Identity, Actor: s.info.Actor,
		Resource: s.info.Resource, Session: s.info.ID, Source: s.info.Source,
	}
}

// request is the asking, as of now.
func (s *Session) request() policy.Request {
	req := s.req
	req.Now = s.gate.cfg.Now()
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

// Identity is whose session it is.
func (s *Session) Identity() postern.Identity { return s.req.Identity }

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
	if err := s.recording.Append(e); err != nil {
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

// Close ends the session and waits for its recording to reach the disk: an
// unrecorded session must not look finished. It may be called again.
func (s *Session) Close(reason string) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.deadline != nil {
		s.deadline.Stop()
	}
	if cause := context.Cause(s.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		reason = cause.Error()
	}
	s.info.EndedAt, s.info.EndReason = s.gate.cfg.Now().UTC(), reason
	s.mu.Unlock()
	s.cancel(context.Canceled)

	info := s.Info()
	err := s.recording.Append(postern.Event{Time: info.EndedAt, Kind: postern.EventClose, Text: reason, Session: &info})
	digest, closeErr := s.recording.Close()
	err = errors.Join(err, closeErr)
	s.mu.Lock()
	s.info.Digest = digest
	info.Digest = digest
	s.mu.Unlock()

	// The session's own context is over; its end must be written all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), writeTimeout)
	defer cancel()
	err = errors.Join(err, s.gate.cfg.Sessions.PutSession(ctx, info))
	entry := s.entry("session.close", "ok")
	entry.Digest, entry.Reason = digest, reason
	err = errors.Join(err, s.gate.cfg.Audit.Append(ctx, entry))
	s.gate.leave(s)
	s.gate.cfg.Metrics.SessionClosed(s.resource.Name)
	s.gate.cfg.Log.Info("session closed", "session", info.ID, "resource", info.Resource, "identity", info.Identity,
		"commands", info.Commands, "denied", info.Denied, "masked", info.MaskedValues, "reason", reason)
	if err != nil {
		return fmt.Errorf("close session %s: %w", info.ID, err)
	}
	return nil
}
