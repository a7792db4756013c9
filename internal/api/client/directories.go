package client

import (
	"context"
	"net/http"

	"postern"
	"postern/internal/api"
)

// SCIMTokens lists the tokens of directories.
func (c *Client) SCIMTokens(ctx context.Context) ([]postern.SCIMToken, error) {
	return items[postern.SCIMToken](ctx, c, request{method: http.MethodGet, path: "/scim-tokens"})
}

// CreateSCIMToken makes a directory's token and returns its secret.
func (c *Client) CreateSCIMToken(ctx context.Context, in api.NewSCIMToken) (api.SCIMKey, error) {
	return call[api.SCIMKey](ctx, c, request{method: http.MethodPost, path: "/scim-tokens"}, in)
}

// RevokeSCIMToken makes a directory's token useless.
func (c *Client) RevokeSCIMToken(ctx context.Context, name string) error {
	_, err := call[none](ctx, c, request{method: http.MethodDelete, path: "/scim-tokens/" + segment(name)}, nil)
	return err
}

// AllowRemovals lifts the limits of a token's directory for a while.
func (c *Client) AllowRemovals(ctx context.Context, name string, in api.Removals) (api.Allowed, error) {
	return call[api.Allowed](ctx, c, request{method: http.MethodPost, path: "/scim-tokens/" + segment(name) + "/allow-removals"}, in)
}
