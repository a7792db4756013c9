package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/search"
)

// FoundCommand is a command that a search found.
type FoundCommand struct {
	Session  string               `json:"session"`
	N        int64                `json:"n" doc:"Its number in the session."`
	Time     time.Time            `json:"t"`
	Identity string               `json:"identity"`
	Kind     postern.IdentityKind `json:"kind"`
	Actor    string               `json:"actor"`
	Resource string               `json:"resource"`
	Protocol string               `json:"protocol"`
	Verb     string               `json:"verb"`
	Verdict  string               `json:"verdict" enum:"allow,deny,review," doc:"Empty: it isn't decided yet."`
	Text     string               `json:"text" doc:"As the caller may see it; of a long one the piece around what was found."`
}

// CommandFilter picks commands to search. Zero fields don't filter.
type CommandFilter struct {
	Text     string
	Identity string
	Resource string
	Limit    int // 0: all that there is
}

func (a *api) commandRoutes(h huma.API) {
	type searchInput struct {
		Paging
		Text     string `query:"text" required:"true" minLength:"1" maxLength:"512" doc:"Words, each of which stands in the command or its parameters; in quotation marks, as they follow each other."`
		Identity string `query:"identity" maxLength:"253"`
		Resource string `query:"resource" maxLength:"253"`
	}
	type searchOutput struct{ Body Page[FoundCommand] }
	handle(a, h, operation(http.MethodGet, "/commands", "search-commands", "sessions", "Search the commands of all sessions whose recordings the caller may see, newest first"),
		func(ctx context.Context, c caller, in *searchInput) (*searchOutput, error) {
			page, err := a.searchCommands(ctx, c, CommandFilter{Text: in.Text, Identity: in.Identity, Resource: in.Resource, Limit: in.Limit}, in.Cursor)
			return &searchOutput{Body: page}, err
		})
}

// searchCommands finds commands among those that the caller may read, as they
// may see them. That they searched is in the audit log before, and what they
// get to see of each session before they see it; what they looked for is not:
// the log outlives recordings.
func (a *api) searchCommands(ctx context.Context, c caller, f CommandFilter, cursor string) (Page[FoundCommand], error) {
	page := Page[FoundCommand]{Items: []FoundCommand{}}
	q, err := search.Parse(f.Text)
	if err != nil {
		return page, huma.Error422UnprocessableEntity(err.Error())
	}
	in, err := a.searchable(ctx, c, f)
	if err != nil {
		return page, err
	}
	if err := a.note(ctx, c, postern.AuditEntry{Action: "session.search", Resource: f.Resource, Reason: fmt.Sprintf("for %d words", q.Size())}); err != nil {
		return page, err
	}
	hits, next, err := a.Search.Search(ctx, q, in, cursor, f.Limit, func(info *postern.SessionInfo) func(*postern.Event) {
		if ok, _ := a.readable(info, c, c.may(info.Kind, info.Identity)); !ok {
			return nil // it is open, and to read it is to watch it
		}
		return a.viewerOf(c, info).show
	})
	if errors.Is(err, search.ErrCursor) {
		return page, huma.Error422UnprocessableEntity(err.Error())
	}
	if err != nil {
		return page, err
	}
	if err := a.noteFound(ctx, c, hits); err != nil {
		return page, err
	}
	for i := range hits {
		page.Items = append(page.Items, found(&hits[i], q))
	}
	page.Next = next
	return page, nil
}

// searchable are the scopes of which the caller may read sessions that have ended.
func (a *api) searchable(ctx context.Context, c caller, f CommandFilter) ([]search.Readable, error) {
	all, err := a.Search.Scopes(ctx)
	if err != nil {
		return nil, err
	}
	var in []search.Readable
	for _, s := range all {
		info := postern.SessionInfo{Resource: s.Resource, Identity: s.Identity, Kind: s.Kind, Actor: s.Actor, EndedAt: a.Now()}
		if f.Identity != "" && f.Identity != s.Identity || f.Resource != "" && f.Resource != s.Resource {
			continue
		}
		if ok, _ := a.readable(&info, c, c.may(s.Kind, s.Identity)); !ok {
			continue
		}
		v := a.viewerOf(c, &info)
		if !v.own && v.hidesText() {
			continue // nothing of its commands is shown
		}
		in = append(in, search.Readable{SearchScope: s, Masked: !v.own && len(v.masks) > 0})
	}
	return in, nil
}

// noteFound says of each session that some of its recording was read.
func (a *api) noteFound(ctx context.Context, c caller, hits []search.Hit) error {
	shown := map[string]int{}
	for i := range hits {
		shown[hits[i].Session.ID]++
	}
	for i := range hits {
		s := &hits[i].Session
		n := shown[s.ID]
		if n == 0 {
			continue
		}
		shown[s.ID] = 0
		entry := postern.AuditEntry{
			Action: "session.read", Session: s.ID, Resource: s.Resource, Target: ref(s.Kind, s.Identity),
			Reason: fmt.Sprintf("a search found commands in it; shown: %d", n),
		}
		if err := a.note(ctx, c, entry); err != nil {
			return err
		}
	}
	return nil
}

func found(h *search.Hit, q search.Query) FoundCommand {
	verdict := ""
	if h.Verdict != nil {
		verdict = h.Verdict.String()
	}
	return FoundCommand{
		Session: h.Session.ID, N: h.N, Time: utc(h.Time), Identity: h.Session.Identity, Kind: h.Session.Kind, Actor: h.Session.Actor,
		Resource: h.Session.Resource, Protocol: h.Session.Protocol, Verb: h.Command.Verb, Verdict: verdict, Text: q.Excerpt(h.Command.Text),
	}
}
