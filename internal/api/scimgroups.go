package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/elimity-com/scim"
	scimerrors "github.com/elimity-com/scim/errors"
	"github.com/elimity-com/scim/schema"

	"postern"
	"postern/internal/identity/directory"
)

// scimGroups are the groups of the directory that calls.
type scimGroups struct{ api *api }

// Create implements [scim.ResourceHandler].
func (h *scimGroups) Create(r *http.Request, attributes scim.ResourceAttributes) (scim.Resource, error) {
	change, err := groupChange(attributes)
	if err != nil {
		return scim.Resource{}, err
	}
	var g postern.DirectoryGroup
	err = h.api.scimAct(r, "scim.group.create", "group:"+change.Name, func(ctx context.Context, d directoryCall) error {
		var err error
		g, err = h.api.Directory.CreateGroup(ctx, d.source, change)
		return err
	})
	return groupResource(g), err
}

// Get implements [scim.ResourceHandler].
func (h *scimGroups) Get(r *http.Request, id string) (scim.Resource, error) {
	g, err := h.api.Directory.Group(r.Context(), directoryOf(r).source, id)
	return groupResource(g), h.api.scimError(err)
}

// GetAll implements [scim.ResourceHandler].
func (h *scimGroups) GetAll(r *http.Request, params scim.ListRequestParams) (scim.Page, error) {
	all, err := h.api.Directory.Groups(r.Context(), directoryOf(r).source)
	if err != nil {
		return scim.Page{}, h.api.scimError(err)
	}
	render := groupResource
	if strings.EqualFold(r.URL.Query().Get("excludedAttributes"), "members") {
		render = func(g postern.DirectoryGroup) scim.Resource {
			one := groupResource(g)
			delete(one.Attributes, "members")
			return one
		}
	}
	return page(params, all, render), nil
}

// Replace implements [scim.ResourceHandler].
func (h *scimGroups) Replace(r *http.Request, id string, attributes scim.ResourceAttributes) (scim.Resource, error) {
	return h.replace(r, id, func(map[string]any) (map[string]any, error) { return attributes, nil })
}

// Patch implements [scim.ResourceHandler].
func (h *scimGroups) Patch(r *http.Request, id string, operations []scim.PatchOperation) (scim.Resource, error) {
	return h.replace(r, id, func(was map[string]any) (map[string]any, error) {
		return patched(was, operations, schema.CoreGroupSchema())
	})
}

func (h *scimGroups) replace(r *http.Request, id string, change func(map[string]any) (map[string]any, error)) (scim.Resource, error) {
	was, err := h.api.Directory.Group(r.Context(), directoryOf(r).source, id)
	if err != nil {
		return scim.Resource{}, h.api.scimError(err)
	}
	made := func(was postern.DirectoryGroup) (directory.GroupChange, error) {
		attributes, err := change(groupAttributes(was))
		if err != nil {
			return directory.GroupChange{}, err
		}
		return groupChange(attributes)
	}
	next, err := made(was) // for the audit log; what counts is made again
	if err != nil {
		return scim.Resource{}, err
	}
	action, target := "scim.group.replace", "group:"+was.Name
	if was.Name != next.Name {
		action, target = "scim.group.rename", target+" to group:"+next.Name
	}
	var g postern.DirectoryGroup
	err = h.api.scimAct(r, action, target, func(ctx context.Context, d directoryCall) error {
		var err error
		g, err = h.api.Directory.ReplaceGroup(ctx, d.source, id, made)
		return err
	})
	return groupResource(g), err
}

// Delete implements [scim.ResourceHandler].
func (h *scimGroups) Delete(r *http.Request, id string) error {
	was, err := h.api.Directory.Group(r.Context(), directoryOf(r).source, id)
	if err != nil {
		return h.api.scimError(err)
	}
	return h.api.scimAct(r, "scim.group.delete", "group:"+was.Name, func(ctx context.Context, d directoryCall) error {
		return h.api.Directory.DeleteGroup(ctx, d.source, id)
	})
}

func groupChange(attributes map[string]any) (directory.GroupChange, error) {
	var c directory.GroupChange
	c.Name, _ = attributes["displayName"].(string)
	c.ExternalID, _ = attributes["externalId"].(string)
	if c.Name == "" {
		return c, scimerrors.ScimErrorInvalidValue
	}
	for _, m := range list0(attributes["members"]) {
		member, _ := m.(map[string]any)
		id, _ := member["value"].(string)
		if id == "" {
			return c, scimerrors.ScimErrorInvalidValue
		}
		c.Members = append(c.Members, id)
	}
	return c, nil
}

func groupAttributes(g postern.DirectoryGroup) map[string]any {
	members := []any{}
	for _, m := range g.Members {
		members = append(members, map[string]any{"value": m})
	}
	attributes := map[string]any{"displayName": g.Name, "members": members}
	if g.ExternalID != "" {
		attributes["externalId"] = g.ExternalID
	}
	return attributes
}

func groupResource(g postern.DirectoryGroup) scim.Resource {
	return resource(g.ID, g.ExternalID, g.CreatedAt, g.ModifiedAt, groupAttributes(g))
}
