package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"postern"
)

// expire deletes the recordings whose time is up and that nobody holds.
func (s *Server) expire(ctx context.Context) error {
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

// deleteRecording says so in the audit log first: should this process die in
// between, the next sweep deletes what is left, and says so again.
func (s *Server) deleteRecording(ctx context.Context, info *postern.SessionInfo, reason string) error {
	err := s.audit.Append(ctx, postern.AuditEntry{
		Time: s.now().UTC(), Action: "recording.delete", Outcome: "ok", Resource: info.Resource, Session: info.ID,
		Target: string(info.Kind) + ":" + info.Identity, Digest: info.Digest, Reason: reason,
	})
	if err != nil {
		return err
	}
	if err := s.search.Forget(ctx, info.ID); err != nil {
		return err
	}
	if err := s.recordings.Delete(info.ID); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.log.Info("recording deleted", "session", info.ID, "resource", info.Resource, "reason", reason)
	return nil
}
