package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"postern"
	"postern/internal/audit"
	"postern/internal/gate"
	"postern/internal/recording"
)

// recover ends what a gateway before this one left open when it died, and
// brings the audit log up to what the recordings hold: an allowed command is in
// its session's recording first, and in the log soon after.
func (s *Server) recover(ctx context.Context, _ Options) error {
	if err := s.recordings.DeleteCondemned(ctx); err != nil {
		s.log.Error("condemned recordings not deleted", "error", err)
	}
	ids, err := s.recordings.Unfinished()
	if err != nil {
		return err
	}
	condemned, err := s.recordings.Condemned(ctx)
	if err != nil {
		return err
	}
	var later []string // for the next start
	for _, id := range ids {
		if slices.Contains(condemned, id) {
			continue // what can't be deleted isn't made readable either
		}
		info, err := s.recordings.Finish(id)
		if errors.Is(err, recording.ErrLive) {
			continue
		}
		if errors.Is(err, recording.ErrUnended) {
			// Its decisions are taken over; its end, with the digest, isn't there yet.
			s.log.Error("recording can't be ended; the next start tries again", "session", id, "error", err)
			later = append(later, id)
			if info.Identity == "" {
				continue // nothing had happened yet
			}
			c := catchUp{server: s, info: info}
			if err := c.takeOver(ctx); err != nil {
				return fmt.Errorf("bring the audit log up to session %s: %w", id, err)
			}
			continue
		}
		if err != nil {
			// One broken recording must not keep the gateway down.
			s.log.Error("recording can't be finished", "session", id, "error", err)
			if info, err = s.store.Session(ctx, id); err != nil {
				continue // nothing else knows of it
			}
		}
		if info.Identity == "" { // it ends within its header, or behind it
			if info, err = s.store.Session(ctx, id); err != nil {
				continue // nothing had happened yet
			}
		}
		if err := s.endInterrupted(ctx, info); err != nil {
			return err
		}
	}
	unfinished, err := s.store.UnfinishedSessions(ctx)
	if err != nil {
		return err
	}
	for _, info := range unfinished {
		if slices.Contains(later, info.ID) {
			continue
		}
		info.EndedAt, info.EndReason = s.now().UTC(), "interrupted: the gateway stopped before the session's end"
		if err := s.endInterrupted(ctx, info); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) endInterrupted(ctx context.Context, info postern.SessionInfo) error {
	switch known, err := s.store.Session(ctx, info.ID); {
	case err == nil && !known.EndedAt.IsZero():
		// It had ended, and only its recording hadn't: what it ended of stays.
		known.Digest = cmp.Or(info.Digest, known.Digest)
		info = known
		s.log.Warn("recording had no end when its session ended", "session", info.ID, "identity", info.Identity, "resource", info.Resource)
	case err != nil && !errors.Is(err, postern.ErrNotFound):
		return err
	default:
		s.log.Warn("session was interrupted", "session", info.ID, "identity", info.Identity, "resource", info.Resource)
	}
	if info.EndedAt.IsZero() {
		info.EndedAt = s.now().UTC()
	}
	// Before the session's own end: should this process die in between, the next
	// one finds the session again, and with it its reviews.
	if err := s.reviews.Abandon(ctx, info.ID, "the gateway stopped while it waited"); err != nil {
		return err
	}
	c := catchUp{server: s, info: info}
	if err := c.run(ctx); err != nil {
		return fmt.Errorf("bring the audit log up to session %s: %w", info.ID, err)
	}
	return s.store.PutSession(ctx, c.info)
}

// catchUp writes into the audit log what it lacks of one session.
type catchUp struct {
	server *Server
	info   postern.SessionInfo

	opened, closed bool           // the log says so
	digest         string         // the recording's, if the log has it
	damaged        []string       // what the log says of that
	decided        map[int64]bool // the commands that the log has decisions of
	last           int64          // the greatest of them
	added          int
	recorded       int64 // the greatest number that the recording has a decision of
	damage         error // why the recording couldn't be read to its end
}

// takeOver writes what was before the session's end.
func (c *catchUp) takeOver(ctx context.Context) error {
	if err := c.logged(ctx); err != nil {
		return err
	}
	if !c.opened {
		entry := c.entry("session.open", "ok")
		entry.Time = c.info.StartedAt
		if err := c.server.audit.Queue(entry); err != nil {
			return err
		}
	}
	return c.replay()
}

func (c *catchUp) run(ctx context.Context) error {
	if err := c.takeOver(ctx); err != nil {
		return err
	}
	if c.closed && c.digest != "" {
		return nil
	}
	if err := c.compare(ctx); err != nil {
		return err
	}
	entry := c.entry("session.close", "interrupted")
	entry.Digest, entry.Reason = c.info.Digest, c.info.EndReason
	if c.closed {
		// Its end is in the log without a digest: the recording broke before the session did.
		if c.info.Digest == "" {
			return nil // as the log has it
		}
		entry.Action, entry.Outcome = audit.ActionFinished, "ok"
		entry.Reason = "the recording had no end when its session was closed"
	}
	if c.added > 0 {
		entry.Reason += fmt.Sprintf("; %d decisions before this entry were taken over from its recording", c.added)
	}
	return c.server.audit.Append(ctx, entry)
}

func (c *catchUp) entry(action, outcome string) postern.AuditEntry {
	return postern.AuditEntry{
		Time: c.server.now().UTC(), Action: action, Outcome: outcome, Identity: c.info.Identity, Kind: c.info.Kind, Actor: c.info.Actor,
		Resource: c.info.Resource, Session: c.info.ID, Source: c.info.Source,
	}
}

// logged gathers what the log has of the session.
func (c *catchUp) logged(ctx context.Context) error {
	c.decided = map[int64]bool{}
	const page = 1000
	for before := int64(0); ; {
		records, err := c.server.audit.Search(ctx, postern.AuditFilter{Session: c.info.ID, Before: before, Limit: page})
		if err != nil {
			return err
		}
		for i := range records {
			r := &records[i]
			switch r.Action {
			case "session.open":
				c.opened = true
			case "session.close":
				c.closed = true
				c.digest = cmp.Or(c.digest, r.Digest)
			case audit.ActionFinished:
				c.digest = cmp.Or(c.digest, r.Digest)
			case "recording.damaged":
				c.damaged = append(c.damaged, r.Reason)
			case "command":
				c.decided[r.N] = true
				c.last = max(c.last, r.N)
			}
			before = r.Seq
		}
		if len(records) < page {
			return nil
		}
	}
}

// replay reads the recording, and writes the decisions that the log lacks.
func (c *catchUp) replay() error {
	reader, err := c.server.recordings.Read(c.info.ID)
	if err != nil {
		c.damage = err
		return nil
	}
	defer func() { _ = reader.Close() }()  // only read
	waiting := map[int64]postern.Command{} // for their decision
	for {
		e, err := reader.Next()
		if errors.Is(err, io.EOF) {
			c.info.Digest = reader.Digest()
			return nil
		}
		if err != nil {
			c.damage = err
			return nil
		}
		switch e.Kind {
		case postern.EventCommand:
			if e.Command != nil {
				waiting[e.N] = *e.Command
			}
		case postern.EventDecision:
			if e.Decision == nil {
				continue
			}
			c.recorded = max(c.recorded, e.N)
			// The decision is over its command and those of the same message behind it.
			var cmds []postern.Command
			for n := e.N; ; n++ {
				cmd, ok := waiting[n]
				if !ok {
					break
				}
				cmds = append(cmds, cmd)
				delete(waiting, n)
			}
			if !c.decided[e.N] {
				if err := c.server.audit.Queue(gate.DecisionEntry(&c.info, e.Time, e.Decision, cmds)); err != nil {
					return err
				}
				c.added++
			}
		}
	}
}

// compare says in the log what is wrong with a recording that doesn't hold what
// the log, which is written after it, knows of.
func (c *catchUp) compare(ctx context.Context) error {
	var reason string
	switch {
	case c.damage != nil:
		reason = "the recording can't be read to its end: " + c.damage.Error()
	case c.last > c.recorded:
		reason = fmt.Sprintf("the log has a decision over command %d, and the recording ends with command %d: it was cut, or the machine stopped before it was written", c.last, c.recorded)
	default:
		return nil
	}
	c.server.log.Error("recording is damaged", "session", c.info.ID, "reason", reason)
	if slices.Contains(c.damaged, reason) {
		return nil // a start before this one found it like that
	}
	entry := c.entry("recording.damaged", "failed")
	entry.Reason = reason
	return c.server.audit.Append(ctx, entry)
}
