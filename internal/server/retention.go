package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern"
)

// expire deletes the recordings whose time is up and that nobody holds.
func (s *Server) expire(ctx context.Context) error {
	if err := s.recordings.DeleteCondemned(ctx); err != nil {
		s.log.Error("condemned recordings not deleted", "error", err)
	}
	set, now := s.objects.Set(), s.now()
	shortest := set.ShortestKeep()
	if shortest == 0 {
		return nil
	}
	return s.recordings.Finished(now.Add(-shortest), func(id string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := s.store.Session(ctx, id)
		if err != nil {
			// Whose it is nobody knows: it stays, and verify tells of it.
			if errors.Is(err, postern.ErrNotFound) {
				return nil
			}
			return err
		}
		k := set.Keeping(info.Resource, postern.Identity{Name: info.Identity, Kind: info.Kind}, postern.Identity{})
		if k.Keep == 0 || k.Hold != "" || info.EndedAt.IsZero() || now.Before(info.EndedAt.Add(k.Keep)) {
			return nil
		}
		return s.deleteRecording(ctx, &info, fmt.Sprintf("its %d days are over", int(k.Keep/(24*time.Hour))))
	})
}

// deleteRecording condemns a recording, as one transaction with its entry in the
// audit log, and deletes it: should this process die in between, the next one does.
func (s *Server) deleteRecording(ctx context.Context, info *postern.SessionInfo, reason string) error {
	err := s.audit.Act(ctx, func() []postern.AuditEntry {
		return []postern.AuditEntry{{
			Time: s.now().UTC(), Action: "recording.delete", Outcome: "ok", Resource: info.Resource, Session: info.ID,
			Target: string(info.Kind) + ":" + info.Identity, Digest: info.Digest, Reason: reason,
		}}
	}, func(ctx context.Context) error {
		return errors.Join(s.search.Forget(ctx, info.ID), s.recordings.Condemn(ctx, info.ID))
	})
	if err != nil {
		return err
	}
	if err := s.recordings.DeleteCondemned(ctx); err != nil {
		return err
	}
	s.log.Info("recording deleted", "session", info.ID, "resource", info.Resource, "reason", reason)
	return nil
}
