package client

import (
	"context"
	"net/http"

	"postern"
	"postern/internal/api"
)

// TakeBreakGlass takes up a break-glass login, once a second person confirmed.
func (c *Client) TakeBreakGlass(ctx context.Context, secret string) (api.Login, error) {
	return call[api.Login](ctx, c, request{method: http.MethodPost, path: "/login/break-glass"}, api.Taken{Secret: secret})
}

// ConfirmBreakGlass confirms somebody else's break-glass login.
func (c *Client) ConfirmBreakGlass(ctx context.Context, id, user string, password postern.Secret, code string) error {
	in := api.Credentials{User: user, Password: password.Reveal(), Code: code}
	_, err := call[none](ctx, c, request{method: http.MethodPost, path: "/login/break-glass/" + segment(id) + "/confirm"}, in)
	return err
}

// EnrolTOTP begins a second factor for whoever calls.
func (c *Client) EnrolTOTP(ctx context.Context) (api.Factor, error) {
	return call[api.Factor](ctx, c, request{method: http.MethodPost, path: "/factors/totp"}, nil)
}

// ConfirmTOTP makes it count.
func (c *Client) ConfirmTOTP(ctx context.Context, code string) error {
	_, err := call[none](ctx, c, request{method: http.MethodPost, path: "/factors/totp/confirm"}, api.Code{Code: code})
	return err
}

// ResetFactors takes a user's second factors away.
func (c *Client) ResetFactors(ctx context.Context, user string) error {
	_, err := call[none](ctx, c, request{method: http.MethodDelete, path: "/users/" + segment(user) + "/factors"}, nil)
	return err
}
