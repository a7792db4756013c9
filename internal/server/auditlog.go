package server

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"time"

	"postern/internal/audit"
)

// auditOrigin names the log in its checkpoints.
const auditOrigin = "postern/audit"

func (s *Server) openAudit(ctx context.Context, _ Options) error {
	key, err := audit.OpenKey(ctx, s.store, s.vault, auditOrigin, rand.Reader)
	if err != nil {
		return err
	}
	witnesses, err := s.witnesses()
	if err != nil {
		return err
	}
	s.audit, err = audit.Open(ctx, audit.Config{
		Store: s.store, Key: key, Now: s.now, Log: s.log, Anchor: filepath.Join(s.cfg.DataDir, "audit.checkpoint"),
		Witnesses: witnesses, Witnessed: s.metrics.audit.witness,
	})
	if err != nil {
		return err
	}
	s.undo = append(s.undo, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return s.audit.Close(ctx)
	})
	return nil
}
