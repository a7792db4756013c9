package client

import (
	"context"
	"net/http"

	"postern/internal/api"
)

// AddSSHKey registers an SSH public key as the caller's.
func (c *Client) AddSSHKey(ctx context.Context, in api.SSHKeyRequest) (api.Token, error) {
	return call[api.Token](ctx, c, request{method: http.MethodPost, path: "/ssh-keys"}, in)
}

// SSHKeys lists registered SSH keys; identity "" is the caller's own.
func (c *Client) SSHKeys(ctx context.Context, identity string) ([]api.Token, error) {
	return items[api.Token](ctx, c, request{method: http.MethodGet, path: "/ssh-keys", query: query("identity", identity)})
}

// RemoveSSHKey removes a registered SSH key and ends the sessions that it opened.
func (c *Client) RemoveSSHKey(ctx context.Context, id string) error {
	_, err := call[none](ctx, c, request{method: http.MethodDelete, path: "/ssh-keys/" + segment(id)}, nil)
	return err
}

// Delegate lets somebody act for the caller.
func (c *Client) Delegate(ctx context.Context, in api.Consent) (api.Delegation, error) {
	return call[api.Delegation](ctx, c, request{method: http.MethodPost, path: "/delegations"}, in)
}

// Delegations lists who may act for somebody; identity "" is the caller.
func (c *Client) Delegations(ctx context.Context, identity string) ([]api.Delegation, error) {
	return items[api.Delegation](ctx, c, request{method: http.MethodGet, path: "/delegations", query: query("identity", identity)})
}

// EndDelegation ends a delegation and the sessions under it.
func (c *Client) EndDelegation(ctx context.Context, id string) error {
	_, err := call[none](ctx, c, request{method: http.MethodDelete, path: "/delegations/" + segment(id)}, nil)
	return err
}
