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
			if err == nil && !visible && !a.keeping(&info, c).View {
				return nil, errNotFound
			}
			return &sessionOutput{Body: info}, err
		})

	type eventsInput struct {
		ID     string `path:"id" maxLength:"128"`
		Follow bool   `query:"follow" doc:"Go on while the session lives."`
	}
	events := operation(http.MethodGet, "/sessions/{id}/events", "read-session", tag,
		"The recording, as JSON lines; a last line of kind \"problem\" says why there is no more")
	events.Responses = jsonLines("One event a line.")
	handle(a, h, events, func(ctx context.Context, c caller, in *eventsInput) (*huma.StreamResponse, error) {
		return a.events(ctx, c, in.ID, in.Follow)
	})

	type replayInput struct {
		ID       string  `path:"id" maxLength:"128"`
		Speed    float64 `query:"speed" minimum:"0" maximum:"1000" doc:"1: as it happened; 2: twice as fast; 0: all at once."`
		SkipIdle int     `query:"skip_idle" minimum:"0" maximum:"86400" doc:"The longest wait between two events, in seconds. 0: as long as it was."`
	}
	replay := operation(http.MethodGet, "/sessions/{id}/replay", "replay-session", tag, "The recording, as a transcript for people")
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

// open opens a recording that the caller may read. Reading is an act that the
// audit log keeps.
func (a *api) open(ctx context.Context, c caller, id string) (*recording.Reader, *viewer, error) {
	info, err := a.viewable(ctx, c, id)
	if err != nil {
		return nil, nil, err
	}
	reader, err := a.Recordings.Read(info.ID)
	if errors.Is(err, postern.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil, huma.Error404NotFound("the session has no recording, or it was deleted; the audit log says which")
	}
	if err != nil {
		a.Log.Error("recording can't be read", "session", info.ID, "error", err)
		return nil, nil, &RefusedError{Reason: readProblem(err)}
	}
	entry := postern.AuditEntry{Action: "session.read", Session: info.ID, Resource: info.Resource, Target: ref(info.Kind, info.Identity)}
	if err := a.note(ctx, c, entry); err != nil {
		return nil, nil, errors.Join(err, reader.Close())
	}
	return reader, a.viewerOf(c, &info), nil
}

// events streams a recording as JSON lines.
func (a *api) events(ctx context.Context, c caller, id string, follow bool) (*huma.StreamResponse, error) {
	reader, viewer, err := a.open(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return a.streamLines(func(ctx context.Context, write func(any) error) error { //nolint:contextcheck // a stream outlives the call that begins it, and has the request's own context
		var err error
		if follow {
			err = errors.Join(reader.Close(), a.Recordings.Follow(ctx, id, func(e postern.Event) error {
				viewer.show(&e)
				return write(e)
			}))
		} else {
			err = errors.Join(each(reader, viewer, write), reader.Close())
		}
		if err == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // the client has gone
		}
		a.Log.Warn("recording ended early", "session", id, "error", err)
		return write(postern.Event{Time: a.Now().UTC(), Kind: EventProblem, Text: readProblem(err)})
	}), nil
}

// replay streams a recording as a transcript, in its own time.
func (a *api) replay(ctx context.Context, c caller, id string, opts recording.ReplayOptions) (*huma.StreamResponse, error) {
	reader, viewer, err := a.open(ctx, c, id)
	if err != nil {
		return nil, err
	}
	opts.Show = viewer.show
	return a.stream("text/plain; charset=utf-8", nil, func(ctx context.Context, w io.Writer) error { //nolint:contextcheck // a stream outlives the call that begins it, and has the request's own context
		err := recording.Replay(ctx, w, reader, opts)
		var unfinished *recording.UnfinishedError
		var tampered *recording.TamperedError
		if errors.As(err, &unfinished) || errors.As(err, &tampered) {
			err = nil // the transcript says so itself
		}
		return errors.Join(err, reader.Close())
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
