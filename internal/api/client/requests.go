package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"postern"
	"postern/internal/api"
)

// RequestFilter picks requests. Zero fields don't filter.
type RequestFilter struct {
	State    string
	Identity string
	Unseen   bool
	Limit    int
}

// RequestAccess asks for access.
func (c *Client) RequestAccess(ctx context.Context, in api.NewRequest) (api.Request, error) {
	return call[api.Request](ctx, c, request{method: http.MethodPost, path: "/requests"}, in)
}

// Requests lists requests, newest first.
func (c *Client) Requests(ctx context.Context, f RequestFilter) ([]api.Request, error) {
	q := query("state", f.State, "identity", f.Identity)
	if f.Unseen {
		q.Set("unseen", "true")
	}
	return pages[api.Request](ctx, c, "/requests", q, f.Limit)
}

// Request returns a request.
func (c *Client) Request(ctx context.Context, id string) (api.Request, error) {
	return call[api.Request](ctx, c, request{method: http.MethodGet, path: "/requests/" + segment(id)}, nil)
}

func (c *Client) requestStep(ctx context.Context, id, step string, in any) (api.Request, error) {
	return call[api.Request](ctx, c, request{method: http.MethodPost, path: "/requests/" + segment(id) + "/" + step}, in)
}

// ApproveRequest approves a request, perhaps for less than was asked.
func (c *Client) ApproveRequest(ctx context.Context, id string, in api.Approval) (api.Request, error) {
	return c.requestStep(ctx, id, "approve", in)
}

// DenyRequest refuses a request.
func (c *Client) DenyRequest(ctx context.Context, id, reason string) (api.Request, error) {
	return c.requestStep(ctx, id, "deny", api.Opinion{Reason: reason})
}

// RevokeRequest takes a request or its grant back.
func (c *Client) RevokeRequest(ctx context.Context, id, reason string) (api.Request, error) {
	return c.requestStep(ctx, id, "revoke", api.Opinion{Reason: reason})
}

// ExtendRequest asks to prolong a grant.
func (c *Client) ExtendRequest(ctx context.Context, id string, in api.Longer) (api.Request, error) {
	return c.requestStep(ctx, id, "extend", in)
}

// LookOverRequest says what was found in emergency access.
func (c *Client) LookOverRequest(ctx context.Context, id string, in api.Finding) (api.Request, error) {
	return c.requestStep(ctx, id, "look-over", in)
}

// UnusedAccess lists standing rights that weren't used for some days; 0: ever.
func (c *Client) UnusedAccess(ctx context.Context, days int) ([]api.UnusedAccess, error) {
	q := url.Values{"days": {strconv.Itoa(days)}}
	return items[api.UnusedAccess](ctx, c, request{method: http.MethodGet, path: "/access/unused", query: q})
}

// Shadows lists what rules in shadow mode would have done; rule "" is any.
func (c *Client) Shadows(ctx context.Context, rule string, limit int) ([]postern.ShadowCount, error) {
	q := query("rule", rule, "limit", strconv.Itoa(limit))
	return items[postern.ShadowCount](ctx, c, request{method: http.MethodGet, path: "/policy/shadow", query: q})
}
