package client

import (
	"context"
	"net/http"
	"strconv"

	"postern"
)

// Notifications lists word of reviews on its way to people; state "" is any.
func (c *Client) Notifications(ctx context.Context, state string, limit int) ([]postern.Notification, error) {
	q := query("state", state, "limit", strconv.Itoa(limit))
	return items[postern.Notification](ctx, c, request{method: http.MethodGet, path: "/notifications", query: q})
}

// RetryNotification sends one again.
func (c *Client) RetryNotification(ctx context.Context, id string) (postern.Notification, error) {
	return call[postern.Notification](ctx, c, request{method: http.MethodPost, path: "/notifications/" + segment(id) + "/retry"}, nil)
}
