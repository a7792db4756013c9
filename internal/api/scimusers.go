package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/elimity-com/scim"
	scimerrors "github.com/elimity-com/scim/errors"
	"github.com/elimity-com/scim/optional"
	"github.com/elimity-com/scim/schema"

	"postern"
	"postern/internal/identity/directory"
)

// scimUsers are the people of the directory that calls.
type scimUsers struct{ api *api }

// Create implements [scim.ResourceHandler].
func (h *scimUsers) Create(r *http.Request, attributes scim.ResourceAttributes) (scim.Resource, error) {
	change, err := userChange(attributes)
	if err != nil {
		return scim.Resource{}, err
	}
	var u postern.DirectoryUser
	err = h.api.scimAct(r, "scim.user.create", ref(postern.User, change.UserName), func(ctx context.Context, d directoryCall) error {
		var err error
		u, err = h.api.Directory.CreateUser(ctx, d.source, change)
		return err
	})
	return userResource(u), err
}

// Get implements [scim.ResourceHandler].
func (h *scimUsers) Get(r *http.Request, id string) (scim.Resource, error) {
	u, err := h.api.Directory.User(r.Context(), directoryOf(r).source, id)
	return userResource(u), h.api.scimError(err)
}

// GetAll implements [scim.ResourceHandler].
func (h *scimUsers) GetAll(r *http.Request, params scim.ListRequestParams) (scim.Page, error) {
	all, err := h.api.Directory.Users(r.Context(), directoryOf(r).source)
	if err != nil {
		return scim.Page{}, h.api.scimError(err)
	}
	return page(params, all, userResource), nil
}

// Replace implements [scim.ResourceHandler].
func (h *scimUsers) Replace(r *http.Request, id string, attributes scim.ResourceAttributes) (scim.Resource, error) {
	return h.replace(r, id, func(map[string]any) (map[string]any, error) { return attributes, nil })
}

// Patch implements [scim.ResourceHandler].
func (h *scimUsers) Patch(r *http.Request, id string, operations []scim.PatchOperation) (scim.Resource, error) {
	return h.replace(r, id, func(was map[string]any) (map[string]any, error) {
		return patched(was, operations, schema.CoreUserSchema(), schema.ExtensionEnterpriseUser())
	})
}

func (h *scimUsers) replace(r *http.Request, id string, change func(map[string]any) (map[string]any, error)) (scim.Resource, error) {
	was, err := h.api.Directory.User(r.Context(), directoryOf(r).source, id)
	if err != nil {
		return scim.Resource{}, h.api.scimError(err)
	}
	made := func(was postern.DirectoryUser) (directory.UserChange, error) {
		attributes, err := change(userAttributes(was))
		if err != nil {
			return directory.UserChange{}, err
		}
		return userChange(attributes)
	}
	next, err := made(was) // for the audit log; what counts is made again
	if err != nil {
		return scim.Resource{}, err
	}
	action := "scim.user.replace"
	if was.Active && !next.Active {
		action = "scim.user.deactivate"
	}
	var u postern.DirectoryUser
	err = h.api.scimAct(r, action, ref(postern.User, was.Account), func(ctx context.Context, d directoryCall) error {
		var err error
		u, err = h.api.Directory.ReplaceUser(ctx, d.source, id, made)
		return err
	})
	return userResource(u), err
}

// Delete implements [scim.ResourceHandler].
func (h *scimUsers) Delete(r *http.Request, id string) error {
	was, err := h.api.Directory.User(r.Context(), directoryOf(r).source, id)
	if err != nil {
		return h.api.scimError(err)
	}
	return h.api.scimAct(r, "scim.user.delete", ref(postern.User, was.Account), func(ctx context.Context, d directoryCall) error {
		return h.api.Directory.DeleteUser(ctx, d.source, id)
	})
}

// userChange is what matters here of a person's attributes. A password is never
// kept, and who isn't said to be active is.
func userChange(attributes map[string]any) (directory.UserChange, error) {
	kept := deepCopy(attributes)
	for _, name := range []string{"password", "groups", "id", "meta", "schemas"} {
		delete(kept, name)
	}
	c := directory.UserChange{Active: true}
	c.UserName, _ = kept["userName"].(string)
	c.ExternalID, _ = kept["externalId"].(string)
	if active, there := kept["active"]; there {
		value, ok := active.(bool)
		if !ok {
			return c, scimerrors.ScimErrorInvalidValue
		}
		c.Active = value
	} else {
		kept["active"] = true
	}
	c.Email = email(kept)
	text, err := json.Marshal(kept)
	if err != nil || c.UserName == "" || strings.TrimSpace(c.UserName) != c.UserName {
		return c, scimerrors.ScimErrorInvalidValue
	}
	c.Attributes = string(text)
	return c, nil
}

// email is a person's primary address, or else their first.
func email(attributes map[string]any) string {
	first := ""
	for _, e := range list0(attributes["emails"]) {
		entry, _ := e.(map[string]any)
		address, _ := entry["value"].(string)
		if primary, _ := entry["primary"].(bool); primary && address != "" {
			return address
		}
		if first == "" {
			first = address
		}
	}
	return first
}

func userAttributes(u postern.DirectoryUser) map[string]any {
	attributes := map[string]any{}
	_ = json.Unmarshal([]byte(u.Attributes), &attributes) // it was made by userChange
	attributes["userName"], attributes["active"] = u.UserName, u.Active
	if u.ExternalID != "" {
		attributes["externalId"] = u.ExternalID
	}
	return attributes
}

func userResource(u postern.DirectoryUser) scim.Resource {
	return resource(u.ID, u.ExternalID, u.CreatedAt, u.ModifiedAt, userAttributes(u))
}

func resource(id, externalID string, created, modified time.Time, attributes map[string]any) scim.Resource {
	r := scim.Resource{ID: id, Attributes: attributes, Meta: scim.Meta{Created: &created, LastModified: &modified}}
	if externalID != "" {
		r.ExternalID = optional.NewString(externalID)
	}
	return r
}

// page picks those of a list that a filter lets through, and of them a page.
func page[T any](params scim.ListRequestParams, all []T, render func(T) scim.Resource) scim.Page {
	out := scim.Page{Resources: []scim.Resource{}}
	for _, one := range all {
		r := render(one)
		if params.FilterValidator != nil {
			searched := map[string]any{"id": r.ID}
			for name, v := range r.Attributes {
				searched[name] = v
			}
			if params.FilterValidator.PassesFilter(searched) != nil {
				continue
			}
		}
		out.TotalResults++
		if out.TotalResults >= params.StartIndex && len(out.Resources) < params.Count {
			out.Resources = append(out.Resources, r)
		}
	}
	return out
}
