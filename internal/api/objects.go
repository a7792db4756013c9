package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/policy"
)

// Document is one object of the configuration.
type Document struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Source string `json:"source" doc:"The file it is kept in, or api."`
	YAML   string `json:"yaml" doc:"Its canonical form. It refers to secrets and holds none."`
}

// Change is one difference that applying documents makes.
type Change struct {
	Action   string   `json:"action" enum:"create,change,delete"`
	Kind     string   `json:"kind"`
	Name     string   `json:"name"`
	Diff     string   `json:"diff" doc:"Unified, over the canonical forms."`
	Warnings []string `json:"warnings,omitempty" doc:"What is valid and yet probably a mistake in it."`
}

// Changes are what applying documents changes.
type Changes struct {
	Changes []Change `json:"changes"`
	Policy  string   `json:"policy" doc:"The version of the policy in force."`
}

// Unsealed is a secret to be sealed.
type Unsealed struct {
	Secret string `json:"secret" minLength:"1" maxLength:"65536"`
}

// Sealed is a secret in the form that `{sealed: …}` takes.
type Sealed struct {
	Sealed string `json:"sealed"`
}

// ObjectKeys are the keys that a kind of object takes below a path, or the words
// that the key at the path takes.
type ObjectKeys struct {
	Kind  string   `json:"kind"`
	Path  string   `json:"path" doc:"Empty: the object itself. Lists add nothing to a path."`
	Keys  []string `json:"keys,omitempty"`
	Words []string `json:"words,omitempty"`
}

type changesOutput struct{ Body Changes }

func (a *api) objectRoutes(h huma.API) {
	const tag = "objects"
	type listInput struct {
		Kind string `query:"kind" maxLength:"64" doc:"Only objects of this kind."`
	}
	type listOutput struct{ Body Page[Document] }
	handle(a, h, operation(http.MethodGet, "/objects", "list-objects", tag, "The objects in force"),
		func(_ context.Context, _ caller, in *listInput) (*listOutput, error) {
			kind := ""
			if in.Kind != "" {
				var err error
				if kind, err = kindNamed(in.Kind); err != nil {
					return nil, err
				}
			}
			page := Page[Document]{Items: []Document{}}
			for _, o := range a.Policy().Objects() {
				if kind == "" || kind == o.Kind {
					page.Items = append(page.Items, objectShown(o))
				}
			}
			return &listOutput{Body: page}, nil
		})

	type oneInput struct {
		Kind string `path:"kind" maxLength:"64"`
		Name string `path:"name" maxLength:"253"`
	}
	type oneOutput struct{ Body Document }
	handle(a, h, operation(http.MethodGet, "/objects/{kind}/{name}", "get-object", tag, "An object"),
		func(_ context.Context, _ caller, in *oneInput) (*oneOutput, error) {
			kind, err := kindNamed(in.Kind)
			if err != nil {
				return nil, err
			}
			for _, o := range a.Policy().Objects() {
				if kind == o.Kind && in.Name == o.Name {
					return &oneOutput{Body: objectShown(o)}, nil
				}
			}
			return nil, errNotFound
		})

	type nothing struct{}
	type keysOutput struct{ Body Page[ObjectKeys] }
	handle(a, h, operation(http.MethodGet, "/objects/keys", "list-object-keys", tag, "What may stand in objects, for editors"),
		func(context.Context, caller, *nothing) (*keysOutput, error) {
			page := Page[ObjectKeys]{Items: []ObjectKeys{}}
			for _, k := range a.Objects.Keys() {
				page.Items = append(page.Items, ObjectKeys(k))
			}
			return &keysOutput{Body: page}, nil
		})

	type documentsInput struct {
		RawBody []byte `contentType:"application/yaml"`
	}
	handle(a, h, operation(http.MethodPost, "/objects/plan", "plan-objects", tag, "What applying YAML documents would change"),
		func(ctx context.Context, _ caller, in *documentsInput) (*changesOutput, error) {
			changes, err := a.Objects.Plan(ctx, in.RawBody)
			return a.changes(changes), err
		})
	handle(a, h, operation(http.MethodPost, "/objects/apply", "apply-objects", tag, "Put YAML documents in force"),
		func(ctx context.Context, c caller, in *documentsInput) (*changesOutput, error) {
			return a.changeObjects(ctx, c, func(act ObjectsAct) ([]policy.Change, error) {
				return a.Objects.Apply(ctx, c.ref(), in.RawBody, act)
			})
		})
	handle(a, h, operation(http.MethodDelete, "/objects/{kind}/{name}", "delete-object", tag, "Take an object out of force"),
		func(ctx context.Context, c caller, in *oneInput) (*changesOutput, error) {
			kind, err := kindNamed(in.Kind)
			if err != nil {
				return nil, err
			}
			return a.changeObjects(ctx, c, func(act ObjectsAct) ([]policy.Change, error) {
				return a.Objects.Delete(ctx, kind, in.Name, act)
			})
		})

	type sealInput struct{ Body Unsealed }
	type sealOutput struct{ Body Sealed }
	handle(a, h, operation(http.MethodPost, "/secrets/seal", "seal-secret", tag, "Seal a secret with the gateway's key, for a {sealed: …} reference"),
		func(ctx context.Context, c caller, in *sealInput) (*sealOutput, error) {
			var out sealOutput
			err := a.act(ctx, c, postern.AuditEntry{Action: "secret.seal"}, func() error {
				var err error
				out.Body.Sealed, err = a.Seal(postern.NewSecret(in.Body.Secret))
				return err
			})
			return &out, err
		})
}

// kindNamed is the kind of object that a caller means.
func kindNamed(text string) (string, error) {
	kind, err := policy.KindNamed(text)
	if err != nil {
		return "", huma.Error422UnprocessableEntity(err.Error())
	}
	return kind, nil
}

// changeObjects makes changes. What keeps them, and an entry for each, are one
// transaction.
func (a *api) changeObjects(ctx context.Context, c caller, change func(ObjectsAct) ([]policy.Change, error)) (*changesOutput, error) {
	changes, err := change(func(changes []policy.Change, keep func(context.Context) error) error {
		err := a.changeAs(ctx, func() []postern.AuditEntry { return a.objectEntries(c, changes) }, keep)
		if err != nil && !errors.Is(err, errUnaudited) {
			a.noteFailed(ctx, c, postern.AuditEntry{Action: "object.apply"}, "it had no effect")
		}
		return err
	})
	return a.changes(changes), err
}

func (a *api) objectEntries(c caller, changes []policy.Change) []postern.AuditEntry {
	var all []postern.AuditEntry
	for _, ch := range changes {
		action := "object.apply"
		if ch.Action == "delete" {
			action = "object.delete"
		}
		all = append(all, a.about(c, postern.AuditEntry{Action: action, Target: ch.Kind + ":" + ch.Name, Reason: ch.Action, Policy: a.Policy().Version()}))
	}
	return all
}

func (a *api) changes(changes []policy.Change) *changesOutput {
	out := &changesOutput{Body: Changes{Changes: []Change{}, Policy: a.Policy().Version()}}
	for _, ch := range changes {
		out.Body.Changes = append(out.Body.Changes, Change{Action: ch.Action, Kind: ch.Kind, Name: ch.Name, Diff: ch.Diff, Warnings: ch.Warnings})
	}
	return out
}

func objectShown(o policy.Object) Document {
	return Document{Kind: o.Kind, Name: o.Name, Source: o.Source, YAML: string(o.Render())}
}
