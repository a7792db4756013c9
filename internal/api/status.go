package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Status is how the gateway is.
type Status struct {
	Version   string   `json:"version"`
	Sessions  int      `json:"sessions" doc:"Open now."`
	Resources int      `json:"resources"`
	Objects   int      `json:"objects"`
	Policy    string   `json:"policy" doc:"The version of the policy in force."`
	Problem   string   `json:"problem,omitempty" doc:"Why the latest change of objects isn't in force."`
	Warnings  []string `json:"warnings" doc:"What is probably mistaken in the objects."`
}

func (a *api) statusRoutes(h huma.API) {
	type nothing struct{}
	type output struct{ Body Status }
	handle(a, h, operation(http.MethodGet, "/status", "status", "status", "How the gateway is"),
		func(context.Context, caller, *nothing) (*output, error) {
			set := a.Policy()
			status := Status{
				Version: a.Version, Sessions: len(a.Live.Live()), Resources: len(set.Resources()), Objects: len(set.Objects()),
				Policy: set.Version(), Warnings: list(set.Warnings()),
			}
			if err := a.Objects.Problem(); err != nil {
				status.Problem = err.Error()
			}
			return &output{Body: status}, nil
		})
}
