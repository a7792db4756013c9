package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/policy"
)

// Resource is a target that the caller can reach or ask for. Its own address
// and credentials aren't the caller's business.
type Resource struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Labels      map[string]string `json:"labels,omitempty"`
	Database    string            `json:"database,omitempty" doc:"The database that opens when none is named."`
	Open        bool              `json:"open" doc:"It can be opened now."`
	Requestable bool              `json:"requestable" doc:"It can be asked for, just in time."`
	Access      []string          `json:"access" doc:"The accesses that say so."`
	Verbs       []string          `json:"verbs" doc:"What may be done there. Empty: anything that no rule denies."`
	Until       time.Time         `json:"until,omitzero" doc:"When a session opened now would end."`
	Host        string            `json:"host,omitempty" doc:"Where native clients connect."`
	Port        int               `json:"port,omitempty"`
}

func (a *api) resourceRoutes(h huma.API) {
	type nothing struct{}
	type output struct{ Body Page[Resource] }
	handle(a, h, operation(http.MethodGet, "/resources", "list-resources", "resources", "What I can reach, and what I could ask for"),
		func(_ context.Context, c caller, _ *nothing) (*output, error) {
			page := Page[Resource]{Items: []Resource{}}
			for _, r := range a.Policy().Reach(c.identity, a.Now(), a.Requests.Grants(c.identity)...) {
				page.Items = append(page.Items, a.resource(r))
			}
			return &output{Body: page}, nil
		})
}

func (a *api) resource(r policy.Reachable) Resource {
	out := Resource{
		Name: r.Resource.Name, Type: r.Resource.Type, Labels: r.Resource.Labels, Database: r.Resource.Database,
		Open: r.Open, Requestable: r.Requestable, Access: list(r.Access), Verbs: list(r.Verbs), Until: utc(r.Until),
	}
	if e, ok := a.Endpoint(r.Resource.Type); ok {
		out.Host, out.Port = e.Host, e.Port
	}
	return out
}

// list is s, never null in JSON.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// utc is t as every answer shows times; a zero t stays zero.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
