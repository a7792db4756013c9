package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
)

// LoginInfo is a login as it is listed.
type LoginInfo struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind" enum:"web,cli,device,password,offline"`
	Identity  string    `json:"identity"`
	Subject   string    `json:"subject" doc:"The provider, and its own id of the person."`
	Client    string    `json:"client" doc:"What the program says of itself."`
	Source    string    `json:"source"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	EndReason string    `json:"end_reason,omitempty"`
	Current   bool      `json:"current" doc:"It is the caller's own."`
}

func (a *api) loginsRoutes(h huma.API) {
	type listInput struct {
		Identity string `query:"identity" maxLength:"256" doc:"KIND:NAME of another identity. Absent: mine."`
	}
	type listOutput struct{ Body Page[LoginInfo] }
	handle(a, h, operation(http.MethodGet, "/logins", "list-logins", "identity", "Where a person is signed in, and was lately"),
		func(ctx context.Context, c caller, in *listInput) (*listOutput, error) {
			kind, name := c.identity.Kind, c.identity.Name
			if in.Identity != "" {
				kind, name = splitRef(in.Identity)
			}
			if !c.may(kind, name) {
				return nil, errForbidden
			}
			logins, err := a.Identity.Logins(ctx, kind, name)
			page := Page[LoginInfo]{Items: []LoginInfo{}}
			for _, l := range logins {
				page.Items = append(page.Items, LoginInfo{
					ID: l.ID, Kind: string(l.Kind), Identity: ref(l.Identity.Kind, l.Identity.Name), Subject: l.Identity.Subject,
					Client: l.Client, Source: l.Source, CreatedAt: utc(l.CreatedAt), ExpiresAt: utc(l.ExpiresAt),
					EndedAt: utc(l.EndedAt), EndReason: l.EndReason, Current: l.ID == c.identity.Login,
				})
			}
			return &listOutput{Body: page}, err
		})
	type idInput struct {
		ID string `path:"id" maxLength:"128"`
	}
	type nothing struct{}
	end := operation(http.MethodDelete, "/logins/{id}", "end-login", "identity", "End a login, with the tokens and sessions that came of it")
	end.DefaultStatus = http.StatusNoContent
	handle(a, h, end, func(ctx context.Context, c caller, in *idInput) (*nothing, error) {
		l, err := a.Identity.Login(ctx, in.ID)
		if err == nil && !c.may(l.Identity.Kind, l.Identity.Name) {
			err = errNotFound
		}
		if err != nil {
			return nil, err
		}
		entry := postern.AuditEntry{Action: "login.end", Target: "login:" + l.ID, Reason: "of " + ref(l.Identity.Kind, l.Identity.Name)}
		return nil, a.change(ctx, c, entry, func(ctx context.Context) error { return a.Identity.EndLogin(ctx, l.ID, c.ref()+" ended it") })
	})
}
