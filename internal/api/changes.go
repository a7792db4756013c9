package api

import (
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
)

// changesPause is how long changes are gathered before they are told together.
const changesPause = 200 * time.Millisecond

// topics are what of the console an entry of the audit log makes out of date.
func topics(e *postern.AuditEntry) []string {
	area, _, _ := strings.Cut(e.Action, ".")
	switch area {
	case "session":
		return []string{"sessions"}
	case "review", "request", "grant", "break_glass", "offline-grant":
		return []string{"reviews", "requests"}
	case "object", "policy":
		return []string{"objects"}
	case "token", "login", "logout", "certificate":
		return []string{"tokens"}
	case "account", "user", "service", "group", "scim":
		return []string{"accounts"}
	default:
		return nil
	}
}

// changeRoutes tell a page that what it shows is out of date. What has changed
// isn't told: the page reads again, with its reader's own rights.
func (a *api) changeRoutes(h huma.API) {
	type nothing struct{}
	op := operation(http.MethodGet, "/changes", "watch-changes", "status", "Which topics have changed, as server-sent events")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Events named changed, whose data are topics: sessions, reviews, requests, objects, tokens, accounts.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}},
	}}
	handle(a, h, op, func(_ context.Context, c caller, _ *nothing) (*huma.StreamResponse, error) {
		return a.stream("text/event-stream", []byte(":\n\n"), nil, func(ctx context.Context, w io.Writer) error { //nolint:contextcheck // a stream outlives the call that begins it, and has the request's own context
			return a.changed(ctx, c, w)
		}), nil
	})
}

// changed writes the topics of what happens from now on, as far as the caller
// may know that it happened.
func (a *api) changed(ctx context.Context, c caller, w io.Writer) error {
	told := make(chan []string, 64)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failed error // once stopped is closed
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		failed = a.Audit.Follow(ctx, a.Audit.Size(), func(r postern.AuditRecord) error {
			found := topics(&r.AuditEntry)
			if len(found) == 0 || !a.concerns(ctx, c, &r.AuditEntry) {
				return nil
			}
			select {
			case told <- found:
			case <-ctx.Done():
			}
			return ctx.Err()
		})
	}()
	defer func() {
		cancel()
		<-stopped
	}()
	if _, err := io.WriteString(w, "retry: 2000\n\n"); err != nil {
		return err
	}
	due := map[string]bool{}
	tick := time.NewTicker(changesPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-stopped:
			if ctx.Err() != nil {
				return nil // the client has gone
			}
			return failed
		case found := <-told:
			for _, topic := range found {
				due[topic] = true
			}
		case <-tick.C:
			if len(due) == 0 {
				continue
			}
			if _, err := io.WriteString(w, "event: changed\ndata: "+strings.Join(slices.Sorted(maps.Keys(due)), " ")+"\n\n"); err != nil {
				return err
			}
			clear(due)
		}
	}
}

// concerns says whether the caller may know that an entry was written: it is
// theirs, or of a review that they see, or they see everything.
func (a *api) concerns(ctx context.Context, c caller, e *postern.AuditEntry) bool {
	if c.auditor || c.owns(e.Kind, e.Identity) || e.Target == c.ref() || strings.HasPrefix(e.Action, "object.") {
		return true
	}
	if e.Review == "" {
		return false
	}
	rv, err := a.Store.Review(ctx, e.Review)
	return err == nil && c.seesReview(rv)
}
