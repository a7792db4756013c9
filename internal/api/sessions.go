package api

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/gate"
	"postern/internal/recording"
)

// Farewell is what a killed session's client is told.
type Farewell struct {
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"Told to the session's client."`
}

// Killed says what became of a session that was to end.
type Killed struct {
	ID    string `json:"id"`
	Ended bool   `json:"ended" doc:"false: it was over already."`
}

// EventProblem is the kind of a stream's last line when the stream ends before
// the recording does. No recording holds such an event.
const EventProblem postern.EventKind = "problem"

type sessionOutput struct{ Body postern.SessionInfo }

func (a *api) sessionRoutes(h huma.API) {
	const tag = "sessions"
	type listInput struct {
		Paging
		Identity string `query:"identity" maxLength:"128"`
		Resource string `query:"resource" maxLength:"253"`
		Live     string `query:"live" enum:"true,false" doc:"Only those that are open, or only those that have ended."`
	}
	type listOutput struct {
		Body Page[postern.SessionInfo]
	}
	handle(a, h, operation(http.MethodGet, "/sessions", "list-sessions", tag, "Sessions, newest first"),
		func(ctx context.Context, c caller, in *listInput) (*listOutput, error) {
			filter := postern.SessionFilter{Identity: in.Identity, Resource: in.Resource}
			if in.Live != "" {
				live := in.Live == "true"
				filter.Live = &live
			}
			if !c.all {
				if in.Identity != "" && in.Identity != c.identity.Name {
					return nil, errForbidden
				}
				filter.Identity = c.identity.Name
			}
			page, err := a.listSessions(ctx, c, filter, in.Paging)
			return &listOutput{Body: page}, err
		})

	type idInput struct {
		ID string `path:"id" maxLength:"128"`
	}
	handle(a, h, operation(http.MethodGet, "/sessions/{id}", "get-session", tag, "A session"),
		func(ctx context.Context, c caller, in *idInput) (*sessionOutput, error) {
			info, visible, err := a.lookup(ctx, c, in.ID)
			if k := a.keeping(&info, c); err == nil && !visible && !k.View && !k.Watch {
				return nil, errNotFound
			}
			return &sessionOutput{Body: info}, err
		})

	type eventsInput struct {
		ID     string `path:"id" maxLength:"128"`
		Follow bool   `query:"follow" doc:"Go on while the session lives."`
	}
	events := operation(http.MethodGet, "/sessions/{id}/events", "read-session", tag,
		"The recording, as JSON lines; a last line of kind \"problem\" says why there is no more. Of an open session: for those who may watch it, and its client is told")
	events.Responses = jsonLines("One event a line.")
	handle(a, h, events, func(ctx context.Context, c caller, in *eventsInput) (*huma.StreamResponse, error) {
		return a.events(ctx, c, in.ID, in.Follow)
	})

	type replayInput struct {
		ID       string  `path:"id" maxLength:"128"`
		Speed    float64 `query:"speed" minimum:"0" maximum:"1000" doc:"1: as it happened; 2: twice as fast; 0: all at once."`
		SkipIdle int     `query:"skip_idle" minimum:"0" maximum:"86400" doc:"The longest wait between two events, in seconds. 0: as long as it was."`
	}
	replay := operation(http.MethodGet, "/sessions/{id}/replay", "replay-session", tag, "The recording, as a transcript for people. Of an open session: for those who may watch it, and its client is told")
	replay.Responses = map[string]*huma.Response{"200": {
		Description: "Text that can't harm a terminal.",
		Content:     map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: "string"}}},
	}}
	handle(a, h, replay, func(ctx context.Context, c caller, in *replayInput) (*huma.StreamResponse, error) {
		return a.replay(ctx, c, in.ID, recording.ReplayOptions{Speed: in.Speed, SkipIdle: time.Duration(in.SkipIdle) * time.Second})
	})

	type killInput struct {
		ID   string `path:"id" maxLength:"128"`
		Body Farewell
	}
	type killOutput struct{ Body Killed }
	handle(a, h, operation(http.MethodPost, "/sessions/{id}/kill", "kill-session", tag, "End a live session now"),
		func(ctx context.Context, c caller, in *killInput) (*killOutput, error) {
			killed, err := a.kill(ctx, c, in.ID, in.Body.Reason)
			return &killOutput{Body: killed}, err
		})

	type shredInput struct {
		ID     string `path:"id" maxLength:"128"`
		Reason string `query:"reason" required:"true" minLength:"1" maxLength:"500" doc:"Kept in the audit log."`
	}
	type nothing struct{}
	handle(a, h, operation(http.MethodDelete, "/sessions/{id}/recording", "delete-recording", tag, "Destroy a recording's key, and remove it"),
		func(ctx context.Context, c caller, in *shredInput) (*nothing, error) {
			return nil, a.shred(ctx, c, in.ID, in.Reason)
		})
}

func (a *api) listSessions(ctx context.Context, c caller, filter postern.SessionFilter, p Paging) (Page[postern.SessionInfo], error) {
	live := map[string]postern.SessionInfo{}
	for _, info := range a.Live.Live() {
		live[info.ID] = info
	}
	fetch := func(ctx context.Context, cursor string, limit int) ([]postern.SessionInfo, error) {
		filter.Before, filter.Limit = cursor, limit
		return a.Store.Sessions(ctx, filter)
	}
	page, err := gather(ctx, p, fetch, func(s postern.SessionInfo) string { return s.ID },
		func(s postern.SessionInfo) bool { return c.may(s.Kind, s.Identity) })
	for i, info := range page.Items {
		if now, ok := live[info.ID]; ok {
			info = now
		}
		page.Items[i] = sessionShown(info)
	}
	return page, err
}

// session finds a session that the caller may see, as it stands now.
func (a *api) session(ctx context.Context, c caller, id string) (postern.SessionInfo, error) {
	info, visible, err := a.lookup(ctx, c, id)
	if err == nil && !visible {
		return postern.SessionInfo{}, errNotFound
	}
	return info, err
}

func sessionShown(info postern.SessionInfo) postern.SessionInfo {
	info.StartedAt, info.EndedAt = utc(info.StartedAt), utc(info.EndedAt)
	return info
}

// kill ends a live session.
func (a *api) kill(ctx context.Context, c caller, id, reason string) (Killed, error) {
	info, err := a.session(ctx, c, id)
	if err != nil {
		return Killed{}, err
	}
	killed := Killed{ID: info.ID}
	entry := postern.AuditEntry{Action: "session.kill", Session: info.ID, Resource: info.Resource, Target: ref(info.Kind, info.Identity), Reason: reason}
	err = a.act(ctx, c, entry, func() error {
		told := "ended by " + c.identity.Name
		if reason != "" {
			told += ": " + reason
		}
		killed.Ended = a.Live.End(told, func(s postern.SessionInfo) bool { return s.ID == info.ID }) > 0
		return nil
	})
	return killed, err
}

// opened is a recording that a caller reads.
type opened struct {
	*recording.Reader
	info   postern.SessionInfo
	viewer *viewer
	still  func(caller) error // whether a caller may go on reading
	stop   func()             // tells the session's client that nobody watches any more
}

// Close ends the reading.
func (o *opened) Close() error {
	o.stop()
	return o.Reader.Close()
}

// open opens a recording that the caller may read. Reading is an act that the
// audit log keeps. While its session is open, to read it is to watch the session,
// and its client is told.
func (a *api) open(ctx context.Context, c caller, id string) (*opened, error) {
	info, err := a.viewable(ctx, c, id)
	if err != nil {
		return nil, err
	}
	o := &opened{info: info, viewer: a.viewerOf(c, &info), stop: func() {}, still: func(now caller) error { return a.stillViews(&info, now) }}
	entry := postern.AuditEntry{Action: "session.read", Session: info.ID, Resource: info.Resource, Target: ref(info.Kind, info.Identity)}
	if info.EndedAt.IsZero() && !ownSession(&info, c) {
		entry.Action = "session.watch"
	}
	if err := a.note(ctx, c, entry); err != nil {
		return nil, err
	}
	if entry.Action == "session.watch" {
		if o.stop, err = a.watch(ctx, c, entry); err != nil {
			return nil, err
		}
	}
	o.Reader, err = a.Recordings.Read(info.ID)
	if err == nil {
		return o, nil
	}
	o.stop()
	if errors.Is(err, postern.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return nil, huma.Error404NotFound("the session has no recording, or it was deleted; the audit log says which")
	}
	a.Log.Error("recording can't be read", "session", info.ID, "error", err)
	return nil, &RefusedError{Reason: readProblem(err)}
}

// watch has a session's client told that the caller watches it. stop tells it
// that they have stopped, and the audit log, too.
func (a *api) watch(ctx context.Context, c caller, entry postern.AuditEntry) (stop func(), err error) {
	who := c.identity.Name
	if actor := c.identity.ActorName(); actor != "" {
		who = actor + " for " + who
	}
	untell, err := a.Live.Watch(entry.Session, who)
	var denied *gate.DeniedError
	switch {
	case err == nil:
	case errors.As(err, &denied):
		a.noteFailed(ctx, c, entry, denied.Reason)
		return nil, &RefusedError{Reason: denied.Reason}
	default:
		a.noteFailed(ctx, c, entry, "it isn't open on this gateway")
		return nil, &RefusedError{Reason: "the session has just ended, or is open on another gateway: only that one can tell its client that it is watched. Try again there, or when it has ended"}
	}
	return func() {
		entry.Outcome = "ended"
		if err := a.note(context.WithoutCancel(ctx), c, entry); err != nil {
			a.Log.Error("end of watching not in the audit log", "session", entry.Session)
		}
		untell()
	}, nil
}

// events streams a recording as JSON lines.
func (a *api) events(ctx context.Context, c caller, id string, follow bool) (*huma.StreamResponse, error) {
	o, err := a.open(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return a.streamLines(o.still, func(ctx context.Context, write func(any) error) error { //nolint:contextcheck // a stream outlives the call that begins it, and has the request's own context
		var err error
		if follow {
			err = a.Recordings.Follow(ctx, id, func(e postern.Event) error {
				o.viewer.show(&e)
				return write(e)
			})
		} else {
			err = each(o.Reader, o.viewer, write)
		}
		err = errors.Join(err, o.Close())
		if err == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // the client has gone
		}
		a.Log.Warn("recording ended early", "session", id, "error", err)
		return write(postern.Event{Time: a.Now().UTC(), Kind: EventProblem, Text: readProblem(err)})
	}), nil
}

// replay streams a recording as a transcript, in its own time.
func (a *api) replay(ctx context.Context, c caller, id string, opts recording.ReplayOptions) (*huma.StreamResponse, error) {
	o, err := a.open(ctx, c, id)
	if err != nil {
		return nil, err
	}
	opts.Show = o.viewer.show
	return a.stream("text/plain; charset=utf-8", nil, o.still, func(ctx context.Context, w io.Writer) error { //nolint:contextcheck // a stream outlives the call that begins it, and has the request's own context
		err := recording.Replay(ctx, w, o.Reader, opts)
		var unfinished *recording.UnfinishedError
		var tampered *recording.TamperedError
		if errors.As(err, &unfinished) || errors.As(err, &tampered) {
			err = nil // the transcript says so itself
		}
		return errors.Join(err, o.Close())
	}), nil
}

func each(r *recording.Reader, v *viewer, write func(any) error) error {
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		v.show(&e)
		if err := write(e); err != nil {
			return err
		}
	}
}

// readProblem says what is wrong with a recording, where that is fit to be told.
func readProblem(err error) string {
	var unfinished *recording.UnfinishedError
	var tampered *recording.TamperedError
	switch {
	case errors.As(err, &unfinished):
		return unfinished.Error()
	case errors.As(err, &tampered):
		return tampered.Error()
	case errors.Is(err, recording.ErrShredded):
		return recording.ErrShredded.Error()
	default:
		return "the recording can't be read; the gateway's log says why"
	}
}

// jsonLines describes a stream of JSON lines.
func jsonLines(what string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: what,
		Content:     map[string]*huma.MediaType{"application/jsonl": {Schema: &huma.Schema{Type: "string"}}},
	}}
}
