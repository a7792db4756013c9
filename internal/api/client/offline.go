package client

import (
	"context"
	"net/http"

	"postern/internal/api"
)

// IssueOfflineGrant issues emergency access ahead of time, and returns its code.
func (c *Client) IssueOfflineGrant(ctx context.Context, in api.NewOfflineGrant) (api.IssuedOfflineGrant, error) {
	return call[api.IssuedOfflineGrant](ctx, c, request{method: http.MethodPost, path: "/offline-grants"}, in)
}

// OfflineGrants lists offline grants, newest first.
func (c *Client) OfflineGrants(ctx context.Context, limit int) ([]api.OfflineGrant, error) {
	return pages[api.OfflineGrant](ctx, c, "/offline-grants", query(), limit)
}

// ApproveOfflineGrant approves one as a second person.
func (c *Client) ApproveOfflineGrant(ctx context.Context, id, reason string) (api.OfflineGrant, error) {
	return call[api.OfflineGrant](ctx, c, request{method: http.MethodPost, path: "/offline-grants/" + segment(id) + "/approve"}, api.Opinion{Reason: reason})
}

// RevokeOfflineGrant takes one back before it is used.
func (c *Client) RevokeOfflineGrant(ctx context.Context, id, reason string) (api.OfflineGrant, error) {
	return call[api.OfflineGrant](ctx, c, request{method: http.MethodPost, path: "/offline-grants/" + segment(id) + "/revoke"}, api.Opinion{Reason: reason})
}

// UseOfflineGrant uses one, once. It needs no login.
func (c *Client) UseOfflineGrant(ctx context.Context, in api.OfflineCode) (api.OfflineEntry, error) {
	return call[api.OfflineEntry](ctx, c, request{method: http.MethodPost, path: "/login/offline"}, in)
}
