// Package sink carries the audit log to where others watch it: a file, syslog,
// a webhook, an OpenTelemetry collector. A [Shipper] delivers every entry in order and at
// least once, and remembers in the store how far it came: whoever was away gets
// what he missed.
package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"postern"
	"postern/internal/audit"
)

// Sink takes entries. One goroutine calls it.
type Sink interface {
	// Deliver returns when the other side has taken all records. After an error
	// the same records are delivered again, and the first of them may have
	// been taken before.
	Deliver(context.Context, []postern.AuditRecord) error
	Close() error
}

// Format spells an entry.
type Format func(*postern.AuditRecord) ([]byte, error)

// JSON is the log's own line.
func JSON(r *postern.AuditRecord) ([]byte, error) { return r.Body, nil }

// OCSF is an event of the Open Cybersecurity Schema Framework.
func OCSF(r *postern.AuditRecord) ([]byte, error) { return audit.OCSF(r) }

// Source is the log.
type Source interface {
	// Next returns up to limit entries after one, once there are some.
	Next(ctx context.Context, after int64, limit int) ([]postern.AuditRecord, error)
	Size() int64
}

// Offsets keep how far each sink came.
type Offsets interface {
	Meta(ctx context.Context, name string) (string, error)
	PutMeta(ctx context.Context, name, value string) error
}

// Config is what a Shipper is made of. All but Log and Report are required.
type Config struct {
	Name   string
	Sink   Sink
	Source Source
	Store  Offsets
	Log    *slog.Logger
	// Report is told how many entries were delivered, how many wait, and why a
	// delivery failed.
	Report func(delivered int, behind int64, err error)
}

// Shipper delivers the log to one sink.
type Shipper struct{ cfg Config }

// New makes a shipper.
func New(cfg Config) *Shipper {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Report == nil {
		cfg.Report = func(int, int64, error) {}
	}
	return &Shipper{cfg}
}

const (
	batch = 500
	// linger is how long a few entries wait for others, so that keeping the
	// offset doesn't cost the store a commit for each.
	linger       = 200 * time.Millisecond
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = 30 * time.Second
	deliverTime  = 30 * time.Second
)

// Run delivers until ctx ends or the log is closed. It closes the sink.
func (s *Shipper) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.cfg.Sink.Close()) }()
	offset, err := s.offset(ctx)
	if err != nil {
		return err
	}
	for {
		records, err := s.cfg.Source.Next(ctx, offset, batch)
		if ctx.Err() != nil || errors.Is(err, audit.ErrClosed) {
			return nil //nolint:nilerr // the gateway stops
		}
		if err == nil && len(records) < batch && pause(ctx, linger) {
			records, err = s.cfg.Source.Next(ctx, offset, batch)
		}
		if err != nil {
			s.failed(offset, err)
			pause(ctx, lastBackoff)
			continue
		}
		if !s.deliver(ctx, records, offset) {
			return nil
		}
		offset = records[len(records)-1].Seq
		s.cfg.Report(len(records), s.cfg.Source.Size()-offset, nil)
		if err := s.cfg.Store.PutMeta(ctx, s.key(), strconv.FormatInt(offset, 10)); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("audit sink's offset not kept", "sink", s.cfg.Name, "error", err)
		}
	}
}

// deliver tries until it succeeds, or until ctx ends.
func (s *Shipper) deliver(ctx context.Context, records []postern.AuditRecord, offset int64) bool {
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		attempt, cancel := context.WithTimeout(ctx, deliverTime)
		err := s.cfg.Sink.Deliver(attempt, records)
		cancel()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.failed(offset, err)
		if !pause(ctx, backoff) {
			return false
		}
	}
}

func (s *Shipper) failed(offset int64, err error) {
	behind := s.cfg.Source.Size() - offset
	s.cfg.Report(0, behind, err)
	s.cfg.Log.Warn("audit sink doesn't take entries", "sink", s.cfg.Name, "behind", behind, "error", err)
}

func (s *Shipper) key() string { return "audit-sink " + s.cfg.Name }

func (s *Shipper) offset(ctx context.Context) (int64, error) {
	text, err := s.cfg.Store.Meta(ctx, s.key())
	if errors.Is(err, postern.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("audit sink %s: %w", s.cfg.Name, err)
	}
	offset, err := strconv.ParseInt(text, 10, 64)
	if err != nil || offset < 0 || offset > s.cfg.Source.Size() {
		// It belongs to another log, or to a later state of this one: twice is better than never.
		return 0, nil //nolint:nilerr // begin anew
	}
	return offset, nil
}

// pause waits, and says whether ctx is still good.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
