package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"postern"
	"postern/internal/recording"
)

// Times of a stream.
const (
	streamTime = 30 * time.Second       // for a client to take what is written
	idleTime   = 20 * time.Second       // of silence, before an empty line shows that the stream lives
	flushTime  = 100 * time.Millisecond // until what is written reaches the client
	askTime    = 2 * time.Second        // until somebody who may no longer read is noticed
)

// streamLines answers with JSON lines, events as recordings spell them. run writes
// them and returns when there are no more, or when its context ends because the
// client went away. still is as of stream.
func (a *api) streamLines(still func(caller) error, run func(ctx context.Context, write func(any) error) error) *huma.StreamResponse {
	return a.stream("application/jsonl", []byte{'\n'}, still, func(ctx context.Context, w io.Writer) error {
		return run(ctx, func(v any) error {
			var line []byte
			var err error
			if e, ok := v.(postern.Event); ok {
				line = recording.AppendEvent(nil, &e) // encoding/json would lose what isn't UTF-8
			} else if line, err = json.Marshal(v); err != nil {
				return err
			}
			_, err = w.Write(append(line, '\n'))
			return err
		})
	})
}

// stream answers with what run writes. heartbeat is written into long silence;
// none when it is empty. still says whether a caller may go on reading it; nil:
// whoever may begin may go on.
func (a *api) stream(contentType string, heartbeat []byte, still func(caller) error, run func(context.Context, io.Writer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		r, w := humago.Unwrap(hctx)
		w.Header().Set("Content-Type", contentType)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		s := &stream{out: bufio.NewWriterSize(w, 16<<10), control: http.NewResponseController(w), cancel: cancel}
		done := s.keepFlushing(ctx, a.Stopping, heartbeat, a.stillMay(hctx, still))
		err := run(ctx, s)
		cancel()
		<-done
		err = errors.Join(err, s.flush())
		if err != nil && r.Context().Err() == nil {
			// What broke off must not look complete: the client sees the connection break.
			a.Log.Warn("stream broke off", "path", r.Pattern, "error", err)
			panic(http.ErrAbortHandler)
		}
	}}
}

// stillMay asks again what was asked when a stream began: accounts are disabled
// and logins end while it runs. A login's token may be over by then, where its
// login isn't. also asks for more; nil: there is no more.
func (a *api) stillMay(hctx huma.Context, also func(caller) error) func() error {
	began, _ := hctx.Context().Value(callerKey{}).(caller)
	need := a.rights[hctx.Operation().Method+" "+hctx.Operation().Path]
	return func() error {
		id, err := a.Identity.Continues(hctx.Context(), began.bearer, began.identity)
		if err != nil {
			return err
		}
		now, ok := a.withRoles(began, id).reach(need)
		if !ok || now.all != began.all {
			return errForbidden
		}
		if also != nil {
			return also(now)
		}
		return nil
	}
}

// stream writes to a client. Its methods may be called from several goroutines.
type stream struct {
	mu      sync.Mutex
	out     *bufio.Writer
	control *http.ResponseController
	cancel  context.CancelFunc // ends what writes when the client takes no more
	err     error
	silent  time.Duration
}

// Write adds to what the client gets soon.
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = 0
	if s.err == nil {
		_ = s.control.SetWriteDeadline(time.Now().Add(streamTime)) // tests' recorders have none
		_, s.err = s.out.Write(b)
	}
	return s.result(len(b))
}

func (s *stream) result(n int) (int, error) {
	if s.err != nil {
		s.cancel()
		return 0, s.err
	}
	return n, nil
}

// breakOff ends the stream without its end.
func (s *stream) breakOff(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.cancel()
}

func (s *stream) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		_ = s.control.SetWriteDeadline(time.Now().Add(streamTime)) // tests' recorders have none
		s.err = s.out.Flush()
	}
	if s.err == nil {
		s.err = s.control.Flush()
	}
	_, err := s.result(0)
	return err
}

// keepFlushing flushes what was written until ctx ends, and ends the stream when
// the gateway stops or its reader may read no longer. The channel is closed when
// it is done.
func (s *stream) keepFlushing(ctx context.Context, stopping <-chan struct{}, heartbeat []byte, stillMay func() error) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(flushTime)
		defer tick.Stop()
		ask := time.NewTicker(askTime)
		defer ask.Stop()
		for {
			if s.flush() != nil { // at once, so that the client has its headers
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-stopping:
				s.cancel()
				return
			case <-ask.C:
				if err := stillMay(); err != nil && ctx.Err() == nil {
					s.breakOff(err)
					return
				}
				continue
			case <-tick.C:
			}
			if s.wasSilent() && len(heartbeat) > 0 {
				if _, err := s.Write(heartbeat); err != nil {
					return
				}
			}
		}
	}()
	return done
}

// wasSilent says whether nothing was written for idleTime. It is asked once
// in flushTime.
func (s *stream) wasSilent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent += flushTime
	if s.silent < idleTime {
		return false
	}
	s.silent = 0
	return true
}
