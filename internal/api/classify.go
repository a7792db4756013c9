package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"postern"
)

// Classified is what the columns of a resource were found to hold. No value of
// theirs is in it.
type Classified struct {
	Resource string             `json:"resource"`
	Columns  []ClassifiedColumn `json:"columns"`
	Unread   []string           `json:"unread,omitempty" doc:"Tables that could not be read in time."`
}

// ClassifiedColumn is one column, or one place in a column's documents, with
// what speaks for its label.
type ClassifiedColumn struct {
	Column  string `json:"column" doc:"As masks spell it: schema.table.column, or schema.table.column$.path."`
	Type    string `json:"type"`
	Label   string `json:"label" doc:"What it holds; empty: nothing that is looked for."`
	Values  int    `json:"values" doc:"How many values were looked at, empty ones apart."`
	Hits    int    `json:"hits" doc:"How many of them look like it."`
	Checked bool   `json:"checked" doc:"They were held against a checksum, or a form that nothing else has."`
	Named   bool   `json:"named" doc:"The column's name says so, too."`
}

func (a *api) classifyRoutes(h huma.API) {
	type input struct {
		Name string `path:"name" maxLength:"253"`
	}
	type output struct{ Body Classified }
	handle(a, h, operation(http.MethodPost, "/resources/{name}/classify", "classify-resource", "resources", "What the columns of a resource hold, by their names and a sample of their values"),
		func(ctx context.Context, c caller, in *input) (*output, error) {
			if a.Classify == nil {
				return nil, huma.Error501NotImplemented("this gateway doesn't look at columns")
			}
			out := &output{}
			err := a.act(ctx, c, postern.AuditEntry{Action: "resource.classify", Resource: in.Name}, func() (err error) {
				out.Body, err = a.Classify(ctx, in.Name)
				return err
			})
			if errors.Is(err, postern.ErrNotFound) {
				return nil, huma.Error404NotFound("there is no resource of that name; see `postern get resources`")
			}
			return out, err
		})
}
